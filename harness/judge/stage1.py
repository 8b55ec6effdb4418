"""Stage 1 of a scene below EL3: tables, and the registers that switch them on or off.

4 KB granule, 48-bit addresses, two ways to memory.  The *blocks*: virtual addresses of gigabytes, each of the first 128
(but for the probe's) four times, as {read-only, NS}.  The *pages*: 512 pages below three tables of their own, reached
from either end of the address space, so that the fetch of each table can be made to fault while the probe's own
instructions are still found.  Every table has 64 KB for itself: a GPT of any granule size can treat it apart.

Source: DDI 0487, D8.3 "Translation table descriptor formats", D8.4 "Memory access control".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from harness.errors import MisuseError
from harness.probe import lower
from harness.probe.records import RegisterEntry
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

SPACING: Final = 1 << 16
"""Bytes from one table to the next."""

_GB: Final = 1 << 30
_PAGE: Final = 4096
_ENTRIES: Final = 512
_BLOCKS: Final = 128
_TABLE: Final = 0b11
_LEAF: Final = 1 << 10 | 0b11 << 8  # AF, Inner Shareable, AttrIndx 0
_NS: Final = 1 << 5
_NS_TABLE: Final = 1 << 63
_READ_ONLY: Final = 0b10 << 6
_UNPRIVILEGED: Final = 0b01 << 6
_LOWER_L0, _L1, _PROBE_L2, _PROBE_L3, _UPPER_L0, _PAGES_L1, _PAGES_L2, _PAGES_L3 = range(8)

_MAIR: Final = 0x04FF  # 0 Normal write-back, 1 Device-nGnRE
_RANGE: Final = 0b11 << 12 | 1 << 10 | 1 << 8 | 16  # SH, ORGN, IRGN, TnSZ: as they stand for one range
_SIZE_48: Final = 0b101
_TWO_RANGES: Final = _SIZE_48 << 32 | 0b10 << 30 | _RANGE << 16 | _RANGE  # IPS, TG1
_ONE_RANGE: Final = 1 << 31 | 1 << 23 | _SIZE_48 << 16 | _RANGE  # RES1, PS
_CACHES: Final = 1 << 12 | 1 << 2  # I, C
_SCTLR_EL1: Final = 0x30D0_0800 | 1 << 26 | 1 << 18 | 1 << 16 | 1 << 15 | 1 << 14 | _CACHES  # UCI nTWE nTWI UCT DZE
_SCTLR_EL2: Final = 0x30C5_0830 | _CACHES


@dataclass(frozen=True, kw_only=True)
class Stage1Tables:
    """Tables from PA ``base`` on (``SPACING`` x 8 bytes) that map the probe's pages at ``lower_pages``.

    ``pages``: PA of the 512 pages.  ``unprivileged``: EL0 may use what is mapped, so EL1 does not execute what can be
    written.  ``enabled``: with False the tables are there and SCTLR_ELx.M is 0.  ``ns``: the pages are mapped with NS;
    ``ns_table``: the level 1 table leads to level 2 with NSTable.
    """

    base: int
    lower_pages: int
    pages: int
    unprivileged: bool = False
    enabled: bool = True
    ns: bool = False
    ns_table: bool = False

    def table(self, level: int, *, upper: bool = False) -> int:
        """PA of the table of a level on the way to the pages; level 0 is another one for the ``upper`` range."""
        return self._at((_UPPER_L0 if upper else _LOWER_L0, _PAGES_L1, _PAGES_L2, _PAGES_L3)[level])

    def block(self, pa: int, *, ns: bool = False, read_only: bool = False) -> int:
        """Virtual address of ``pa`` by a block, or ``pa`` itself with stage 1 off; MisuseError where there is none."""
        if not self.enabled:
            return pa
        if not self._mapped(pa // _GB):
            raise MisuseError(f"no block of the scene's stage 1 leads to {pa:#x}")
        return (2 * read_only + ns) * _BLOCKS * _GB + pa

    def page(self, pa: int, *, upper: bool = False) -> int:
        """Virtual address of ``pa`` by a page, in the upper or the lower range."""
        offset = pa - self.pages
        if not 0 <= offset < _ENTRIES * _PAGE:
            raise MisuseError(f"{pa:#x} is in none of the 512 pages from {self.pages:#x} on")
        return (0xFFFF << 48 if upper else 1 << 39) | offset

    def writes(self) -> Iterator[tuple[int, bytes]]:
        """The tables as (PA, bytes)."""
        home, ns_table = self.lower_pages, _NS_TABLE if self.ns_table else 0
        tables = {
            _LOWER_L0: {0: self._at(_L1) | _TABLE, 1: self._at(_PAGES_L1) | _TABLE},
            _L1: {**self._blocks(), home // _GB: self._at(_PROBE_L2) | _TABLE},
            _PROBE_L2: {home % _GB >> 21: self._at(_PROBE_L3) | _TABLE},
            _PROBE_L3: self._probe(),
            _UPPER_L0: {0: self._at(_PAGES_L1) | _TABLE},
            _PAGES_L1: {0: self._at(_PAGES_L2) | _TABLE | ns_table},
            _PAGES_L2: {0: self._at(_PAGES_L3) | _TABLE},
            _PAGES_L3: {i: self.pages + _PAGE * i | self._leaf(self.ns) | 0b11 for i in range(_ENTRIES)},
        }
        for number, entries in tables.items():
            yield self._at(number), struct.pack(f"<{_ENTRIES}Q", *(entries.get(i, 0) for i in range(_ENTRIES)))

    def _at(self, number: int) -> int:
        return self.base + SPACING * number

    def _mapped(self, gigabyte: int) -> bool:
        return 1 < gigabyte < _BLOCKS and gigabyte != self.lower_pages // _GB

    def _leaf(self, ns: bool) -> int:
        return _LEAF | (_UNPRIVILEGED if self.unprivileged else 0) | (_NS if ns else 0)

    def _blocks(self) -> dict[int, int]:
        return {
            (2 * read_only + ns) * _BLOCKS + g: g * _GB | self._leaf(bool(ns)) | read_only * _READ_ONLY | 0b01
            for read_only in (0, 1)
            for ns in (0, 1)
            for g in range(_BLOCKS)
            if self._mapped(g)
        }

    def _probe(self) -> dict[int, int]:
        """The probe's pages: read and executed at every level."""
        whole = lower.LowerPages(self.lower_pages).whole
        start = self.lower_pages >> 21 << 21
        addresses = (start + _PAGE * index for index in range(_ENTRIES))
        return {
            (pa - start) // _PAGE: pa | _LEAF | _READ_ONLY | _UNPRIVILEGED | 0b11 for pa in addresses if whole.holds(pa)
        }

    def attributes(self, regime: Regime) -> tuple[RegisterEntry, ...]:
        """Memory attributes, which decide no fault."""
        return (RegisterEntry(lower.MAIR_EL1 if regime is Regime.Regime_EL10 else lower.MAIR_EL2, _MAIR),)

    def registers(self, regime: Regime) -> tuple[Register, ...]:
        """What to set to have these tables in a regime, the enable last."""
        lower_l0, upper_l0, enable = self._at(_LOWER_L0), self._at(_UPPER_L0), int(self.enabled)
        match regime:
            case Regime.Regime_EL10:
                two = (TCR_EL1(_TWO_RANGES), TTBR0_EL1(lower_l0), TTBR1_EL1(upper_l0))
                return (*two, SCTLR_EL1(_SCTLR_EL1 | enable))
            case Regime.Regime_EL20:
                host = (TCR_EL2_E2H(_TWO_RANGES), TTBR0_EL2(lower_l0), TTBR1_EL2(upper_l0))
                return (*host, SCTLR_EL2(_SCTLR_EL1 | enable))
            case Regime.Regime_EL2:
                return (TCR_EL2(_ONE_RANGE), TTBR0_EL2(lower_l0), SCTLR_EL2(_SCTLR_EL2 | enable))
            case Regime.Regime_EL3:
                raise ValueError("EL3's stage 1 is the probe's")
