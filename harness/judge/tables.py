"""Stage-1 tables that are themselves the subject of a test: any descriptor at any level, any controls of a regime.

4 KB granule, 64-bit descriptors.  A ``TableBuilder`` makes the tables that a descriptor needs above it; ``Controls``
are the fields of TCR_ELx and SCTLR_ELx that decide faults.  The probe's own pages are mapped in the lower range, read
and executed at every level, under tables that no test changes.

Source: DDI 0487, D8.3 "Translation table descriptor formats"; TCR_ELx, SCTLR_ELx.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from harness.errors import MisuseError
from harness.judge.world import Stage1Source, TabledContext
from harness.probe import lower
from harness.probe.records import RegisterEntry
from refmodel.bits import Slice
from refmodel.context import Regime
from refmodel.registers import Register
from refmodel.sysregs import (
    SCTLR_EL1,
    SCTLR_EL2,
    TCR_EL1,
    TCR_EL2,
    TCR_EL2_E2H,
    TTBR0_EL1,
    TTBR0_EL2,
    TTBR1_EL1,
    TTBR1_EL2,
)
from refmodel.translation.regimes import upper_range
from refmodel.translation.stage2 import Stage2
from refmodel.translation.walkstate import FINAL_LEVEL, MAX_TXSZ, S1StartLevel, S1TTWParams, index_lsb

TABLE: Final = 0b11
PAGE: Final = 0b11
BLOCK: Final = 0b01
AF: Final = 1 << 10
SHARED: Final = 0b11 << 8
EL0: Final = 1 << 6
READ_ONLY: Final = 1 << 7
NS: Final = 1 << 5
NSE: Final = 1 << 11
CONTIGUOUS: Final = 1 << 52
PXN: Final = 1 << 53
XN: Final = 1 << 54

PXN_TABLE: Final = 1 << 59
XN_TABLE: Final = 1 << 60
NO_EL0_TABLE: Final = 1 << 61
READ_ONLY_TABLE: Final = 1 << 62
NS_TABLE: Final = 1 << 63

_PAGE_BYTES: Final = 4096
_ENTRIES: Final = 512
_MAIR: Final = 0x04FF  # 0 Normal write-back, 1 Device-nGnRE
_RANGE: Final = 0b11 << 12 | 1 << 10 | 1 << 8  # SH, ORGN, IRGN of one range
_CACHES: Final = 1 << 12 | 1 << 2  # I, C
_TCR_EL2: Final = 1 << 31 | 1 << 23 | _RANGE  # RES1
_TCR_TWO: Final = 0b10 << 30 | _RANGE << 16 | _RANGE  # TG1
_SCTLR_EL1: Final = 0x30D0_0800 | 1 << 26 | 1 << 18 | 1 << 16 | 1 << 15 | 1 << 14 | _CACHES  # UCI nTWE nTWI UCT DZE
_SCTLR_EL2: Final = 0x30C5_0830 | _CACHES


@dataclass(frozen=True, kw_only=True)
class Controls:
    """Fields of TCR_ELx and SCTLR_ELx; pairs are of the lower and the upper range.

    A regime with one range takes the lower of a pair, and has no E0PD, EPD, EPAN.
    """

    txsz: tuple[int, int] = (16, 16)
    ps: int = 0b101
    tbi: tuple[int, int] = (0, 0)
    tbid: tuple[int, int] = (0, 0)
    hpd: tuple[int, int] = (0, 0)
    e0pd1: int = 0
    epd1: int = 0
    wxn: int = 0
    epan: int = 0

    def one_range(self) -> TCR_EL2:
        """TCR_EL2 with HCR_EL2.E2H = 0."""
        return TCR_EL2(_TCR_EL2).replace(
            T0SZ=self.txsz[0], PS=self.ps, TBI=self.tbi[0], TBID=self.tbid[0], HPD=self.hpd[0]
        )

    def fields(self) -> dict[str, int]:
        """The fields of a TCR with two ranges."""
        pairs = {"TBI": self.tbi, "TBID": self.tbid, "HPD": self.hpd}
        fields = {f"{name}{upper}": pair[upper] for name, pair in pairs.items() for upper in (0, 1)}
        sizes = {"T0SZ": self.txsz[0], "T1SZ": self.txsz[1], "IPS": self.ps}
        return {**fields, **sizes, "E0PD1": self.e0pd1, "EPD1": self.epd1}


def start_level(txsz: int) -> int:
    """Level of the first table of a range; a TxSZ out of range is taken as its limit."""
    return S1StartLevel(S1TTWParams(txsz=min(max(txsz, 16), MAX_TXSZ), ps=0))


class TableBuilder:
    """Tables in [base, base + size), one after the other, for both ranges; MisuseError when they do not fit.

    ``spacing``: bytes from one table to the next, more than 4 KB where the GPT is to treat tables apart.
    """

    def __init__(self, base: int, size: int, *, txsz: tuple[int, int] = (16, 16), spacing: int = _PAGE_BYTES) -> None:
        self.base = base
        self._end = base + size
        self._spacing = spacing
        self._tables: dict[int, dict[int, int]] = {}
        self._start = start_level(txsz[0]), start_level(txsz[1])
        self._size = 64 - min(max(txsz[0], 16), MAX_TXSZ), 64 - min(max(txsz[1], 16), MAX_TXSZ)
        self.roots = self._new(), self._new()

    def _new(self) -> int:
        at = self.base + self._spacing * len(self._tables)
        if at + _PAGE_BYTES > self._end:
            raise MisuseError(f"more than {len(self._tables)} tables do not fit in [{self.base:#x}, {self._end:#x})")
        self._tables[at] = {}
        return at

    def index(self, va: int, level: int) -> int:
        """Index of the entry for ``va`` in its table of ``level``."""
        low = index_lsb(level)
        return Slice(va, min(low + 9, self._size[upper_range(va)]) - 1, low)

    def table(self, va: int, level: int) -> int:
        """PA of the table of ``level`` that the walk for ``va`` comes to, made if there is none."""
        upper = upper_range(va)
        at = self.roots[upper]
        for above in range(self._start[upper], level):
            entries, index = self._tables[at], self.index(va, above)
            if not entries.get(index, 0) & 1:
                entries[index] = self._new() | TABLE
            at = entries[index] & 0xFFFF_FFFF_F000
        return at

    def put(self, va: int, level: int, descriptor: int) -> None:
        """The descriptor for ``va`` at ``level``."""
        self._tables[self.table(va, level)][self.index(va, level)] = descriptor

    def entry(self, va: int, level: int) -> int:
        """PA of the descriptor for ``va`` at ``level``."""
        return self.table(va, level) + 8 * self.index(va, level)

    def upper_bits(self, va: int, level: int, bits: int) -> None:
        """Set bits, such as APTable, in the Table descriptor for ``va`` at ``level``, made if there is none."""
        self.table(va, level + 1)
        self._tables[self.table(va, level)][self.index(va, level)] |= bits

    def map_probe(self, pages: int) -> None:
        """Map the probe's pages, VA = PA, read and executed at every level."""
        whole = lower.LowerPages(pages).whole
        for pa in range(whole.base, whole.end, _PAGE_BYTES):
            self.put(pa, FINAL_LEVEL, pa | AF | SHARED | READ_ONLY | EL0 | PAGE)

    def writes(self) -> Iterator[tuple[int, bytes]]:
        """The tables as (PA, bytes)."""
        for at, entries in self._tables.items():
            yield at, struct.pack(f"<{_ENTRIES}Q", *(entries.get(index, 0) for index in range(_ENTRIES)))


class Stage2Builder(TableBuilder):
    """Tables of stage 2 for intermediate addresses of ``bits`` bits that start at ``level``, concatenated as needed.

    ``concatenated`` is how many tables the first one consists of; they lie at a multiple of their size.
    """

    def __init__(self, base: int, size: int, *, bits: int = 39, level: int = 1, spacing: int = _PAGE_BYTES) -> None:
        self.concatenated = 1 << max(0, bits - index_lsb(level) - 9)
        super().__init__(base, size, spacing=spacing)
        self._tables.clear()
        root = self._new()
        for _ in range(self.concatenated - 1):
            self._new()
        if root % (self.concatenated * spacing):
            raise MisuseError(f"{self.concatenated} concatenated tables do not fit at {root:#x}")
        self.roots, self._start, self._size = (root, root), (level, level), (bits, bits)

    def index(self, va: int, level: int) -> int:
        """Index of the entry in its table; in the first one it goes on over all that are concatenated."""
        if level == self._start[0]:
            return Slice(va, self._size[0] - 1, index_lsb(level))
        return super().index(va, level)

    def table(self, va: int, level: int) -> int:
        """PA of the table of ``level`` for an intermediate address, made if there is none."""
        at = self.roots[0]
        for above in range(self._start[0], level):
            entries, index = self._entries(at, self.index(va, above))
            if not entries.get(index, 0) & 1:
                entries[index] = self._new() | TABLE
            at = entries[index] & 0xFFFF_FFFF_F000
        return at

    def _entries(self, at: int, index: int) -> tuple[dict[int, int], int]:
        return self._tables[at + index // _ENTRIES * self._spacing], index % _ENTRIES

    def put(self, va: int, level: int, descriptor: int) -> None:
        """The descriptor for an intermediate address at ``level``."""
        entries, index = self._entries(self.table(va, level), self.index(va, level))
        entries[index] = descriptor

    def map_identity(self, pa: int, size: int, level: int) -> None:
        """Map [pa, pa + size) to itself, read, written and executed at every level, by leaves of ``level``."""
        for at in range(pa, pa + size, 1 << index_lsb(level)):
            self.put(at, level, at | S2_ALL | (PAGE if level == FINAL_LEVEL else BLOCK))


S2_NORMAL: Final = 0b1111 << 2
S2_READ: Final = 1 << 6
S2_WRITE: Final = 1 << 7
S2_XN_EL1: Final = 1 << 53
S2_XN: Final = 1 << 54
S2_NS: Final = 1 << 55
S2_ALL: Final = AF | SHARED | S2_NORMAL | S2_READ | S2_WRITE


@dataclass(frozen=True, kw_only=True)
class BuiltStage1:
    """Built tables under controls; ``roots`` are the values of TTBR0_ELx and TTBR1_ELx."""

    tables: tuple[tuple[int, bytes], ...]
    roots: tuple[int, int]
    controls: Controls = Controls()
    enabled: bool = True

    def writes(self) -> Iterable[tuple[int, bytes]]:
        """The tables as (PA, bytes)."""
        return self.tables

    def attributes(self, regime: Regime) -> tuple[RegisterEntry, ...]:
        """Memory attributes, which decide no fault."""
        return (RegisterEntry(lower.MAIR_EL1 if regime is Regime.Regime_EL10 else lower.MAIR_EL2, _MAIR),)

    def registers(self, regime: Regime) -> tuple[Register, ...]:
        """What to set to have the tables in a regime, the enable last; ValueError for EL3's."""
        controls, (low, high), enable = self.controls, self.roots, int(self.enabled)
        sctlr = {"M": enable, "WXN": controls.wxn}
        match regime:
            case Regime.Regime_EL10:
                two = TTBR0_EL1(low), TTBR1_EL1(high), SCTLR_EL1(_SCTLR_EL1).replace(**sctlr, EPAN=controls.epan)
                return (TCR_EL1(_TCR_TWO).replace(**controls.fields()), *two)
            case Regime.Regime_EL20:
                host = TTBR0_EL2(low), TTBR1_EL2(high), SCTLR_EL2(_SCTLR_EL1).replace(**sctlr, EPAN=controls.epan)
                return (TCR_EL2_E2H(_TCR_TWO).replace(**controls.fields()), *host)
            case Regime.Regime_EL2:
                return (controls.one_range(), TTBR0_EL2(low), SCTLR_EL2(_SCTLR_EL2).replace(**sctlr))
            case Regime.Regime_EL3:
                raise ValueError("EL3's stage 1 is the probe's")


@dataclass(frozen=True, kw_only=True)
class BuiltContext(TabledContext):
    """A PE below EL3 with built tables; ``second`` are the registers of stage 2, whose tables are among the others."""

    stage1: BuiltStage1
    second: Stage2 | None = None

    def stage2(self) -> Stage2 | None:
        """The registers of stage 2."""
        return self.second

    @property
    def source_of_stage1(self) -> Stage1Source:
        return self.stage1
