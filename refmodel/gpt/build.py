"""Encoding granule protection tables: the inverse of ``gpt/decode.py``, for whoever has to put a table in memory.

``GPTBuilder`` makes tables that are well formed unless told otherwise by ``raw_level_0`` and ``raw_level_1``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from refmodel.bits import Ones
from refmodel.gpt.decode import GPT_Any, GPT_Block, GPT_Contig, GPT_Table, GPTRange_2MB, GPTRange_32MB, GPTRange_512MB
from refmodel.gpt.types import PGSe
from refmodel.sysregs import GPCCR_EL3, GPTBR_EL3

CONTIGUOUS = {GPTRange_2MB: 0b01, GPTRange_32MB: 0b10, GPTRange_512MB: 0b11}
"""Contig field by log2 of the range in bytes."""

_PGS_FIELD = {PGSe.PGS_4KB: 0b00, PGSe.PGS_16KB: 0b10, PGSe.PGS_64KB: 0b01}
_PPS_FIELD = {32: 0b0000, 36: 0b0001, 40: 0b0010, 42: 0b0011, 44: 0b0100, 46: 0b1000, 47: 0b1001, 48: 0b0101,
              52: 0b0110, 56: 0b0111}  # fmt: skip
"""PPS[3:0] by protected size; 46, 47 and 56 bits need FEAT_RME_GPC3."""
_L0GPTSZ_FIELD = {30: 0b0000, 34: 0b0100, 36: 0b0110, 39: 0b1001}


def block_descriptor(gpi: int) -> int:
    """A level 0 Block descriptor."""
    return GPT_Block | gpi << 4


def table_descriptor(address: int) -> int:
    """A level 0 Table descriptor for the level 1 table at ``address``."""
    return GPT_Table | address


def contiguous_descriptor(gpi: int, contig: int) -> int:
    """A level 1 Contiguous descriptor; ``contig`` is its two-bit size field."""
    return GPT_Contig | gpi << 4 | contig << 8


def granules_descriptor(gpis: Sequence[int]) -> int:
    """A level 1 Granules descriptor of 16 GPI values, granule 0 first."""
    if len(gpis) != 16:
        raise ValueError(f"a Granules descriptor holds 16 GPI values, not {len(gpis)}")
    return sum(gpi << 4 * index for index, gpi in enumerate(gpis))


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """Shape of a GPT: granule size, protected size in bits, log2 of what one level 0 entry covers."""

    pgs: PGSe = PGSe.PGS_4KB
    pps: int = 40
    l0gptsz: int = 30

    def __post_init__(self) -> None:
        for name, value, known in (("pps", self.pps, _PPS_FIELD), ("l0gptsz", self.l0gptsz, _L0GPTSZ_FIELD)):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(map(str, known))}, not {value!r}")

    @property
    def level_0_size(self) -> int:
        """Bytes of the level 0 table, which is aligned to that size (4 KB at least)."""
        return max(8 << max(self.pps - self.l0gptsz, 0), 4096)

    @property
    def level_1_size(self) -> int:
        """Bytes of a level 1 table, which is aligned to its size (one entry for each 16 granules)."""
        return 8 << (self.l0gptsz - self.pgs.value - 4)

    def gpccr(self, *, enable: bool = True) -> GPCCR_EL3:
        """GPCCR_EL3 for this shape, with write-back Inner Shareable fetches."""
        return GPCCR_EL3.of(
            PPS=_PPS_FIELD[self.pps] & 0b111,
            PPS3=_PPS_FIELD[self.pps] >> 3,
            PGS=_PGS_FIELD[self.pgs],
            L0GPTSZ=_L0GPTSZ_FIELD[self.l0gptsz],
            SH=0b11,
            ORGN=0b01,
            IRGN=0b01,
            GPC=int(enable),
        )


class GPTBuilder:
    """A GPT under construction in [base, base + size): level 0 first, level 1 tables after it.

    MemoryError when the range is too small, ValueError for an address above the protected size.
    Nothing is written anywhere: ``writes`` yields (PA, bytes).
    """

    def __init__(self, geometry: Geometry, base: int, size: int) -> None:
        self.geometry = geometry
        self._end = base + size
        self.level_0 = self._align(base, geometry.level_0_size)
        self._next = self.level_0 + geometry.level_0_size
        self._entries: dict[int, int] = {}
        self._tables: dict[int, tuple[int, bytearray]] = {}
        self._check_room()

    @staticmethod
    def _align(address: int, size: int) -> int:
        return (address + size - 1) & ~(size - 1)

    def _check_room(self) -> None:
        if self._next > self._end:
            raise MemoryError(f"the GPT needs memory up to {self._next:#x}, the range given ends at {self._end:#x}")

    @property
    def gptbr(self) -> GPTBR_EL3:
        """GPTBR_EL3 for the table."""
        return GPTBR_EL3.of(BADDR=self.level_0 >> 12 & Ones(40), BADDR_55_52=self.level_0 >> 52)

    def index_0(self, pa: int) -> int:
        """Level 0 index of ``pa``; ValueError above the protected size, where no entry speaks for it."""
        if pa >> self.geometry.pps:
            raise ValueError(f"{pa:#x} is above the protected size of {self.geometry.pps} bits")
        return pa >> self.geometry.l0gptsz

    def address_0(self, pa: int) -> int:
        """PA of the level 0 entry for ``pa``."""
        return self.level_0 + 8 * self.index_0(pa)

    def address_1(self, pa: int) -> int:
        """PA of the level 1 entry for ``pa``; KeyError where there is no level 1 table."""
        return self._tables[self.index_0(pa)][0] + self._offset_1(pa)

    def _offset_1(self, pa: int) -> int:
        return ((pa & Ones(self.geometry.l0gptsz)) >> (self.geometry.pgs.value + 4)) * 8

    def block(self, pa: int, gpi: int) -> None:
        """Make the level 0 entry for ``pa`` a Block."""
        self.raw_level_0(pa, block_descriptor(gpi))

    def raw_level_0(self, pa: int, descriptor: int) -> None:
        """Set the level 0 entry for ``pa`` to any 64-bit value."""
        self._entries[self.index_0(pa)] = descriptor

    def table(self, pa: int, gpi: int = GPT_Any, *, covered: int | None = None) -> int:
        """Give the level 0 entry for ``pa`` a level 1 table filled with ``gpi``; return the table's PA.

        Only the part below the protected size is written, and of that, if given, the first ``covered`` bytes of the
        address range that the table speaks for.
        """
        size = self.geometry.level_1_size
        address = self._align(self._next, max(size, 4096))
        reach = min(covered or 1 << self.geometry.l0gptsz, 1 << self.geometry.pps, 1 << self.geometry.l0gptsz)
        used = reach + (16 << self.geometry.pgs.value) - 1 >> (self.geometry.pgs.value + 4) << 3
        self._next = address + max(used, 4096)
        self._check_room()
        self._tables[self.index_0(pa)] = (address, bytearray(bytes([gpi << 4 | gpi]) * used))
        self.raw_level_0(pa, table_descriptor(address))
        return address

    def raw_level_1(self, pa: int, descriptor: int) -> None:
        """Set the level 1 entry for ``pa`` to any 64-bit value."""
        content = self._tables[self.index_0(pa)][1]
        offset = self._offset_1(pa)
        content[offset : offset + 8] = descriptor.to_bytes(8, "little")

    def level_1(self, pa: int) -> int:
        """The level 1 entry for ``pa``."""
        content = self._tables[self.index_0(pa)][1]
        offset = self._offset_1(pa)
        return int.from_bytes(content[offset : offset + 8], "little")

    def granule(self, pa: int, gpi: int) -> None:
        """Set the GPI of the granule at ``pa`` in its Granules descriptor."""
        shift = 4 * (pa >> self.geometry.pgs.value & 15)
        self.raw_level_1(pa, self.level_1(pa) & ~(0xF << shift) | gpi << shift)

    def contiguous(self, pa: int, range_bits: int, gpi: int) -> None:
        """Fill the naturally aligned range of 1 << ``range_bits`` bytes around ``pa`` with Contiguous descriptors."""
        start = pa >> range_bits << range_bits
        self.fill_level_1(start, range_bits, contiguous_descriptor(gpi, CONTIGUOUS[range_bits]))

    def fill_level_1(self, pa: int, range_bits: int, descriptor: int) -> None:
        """Set every level 1 entry of the range of 1 << ``range_bits`` bytes from ``pa`` on to one 64-bit value."""
        content = self._tables[self.index_0(pa)][1]
        offset, count = self._offset_1(pa), max(1 << range_bits - self.geometry.pgs.value - 4, 1)
        content[offset : offset + 8 * count] = descriptor.to_bytes(8, "little") * count

    def writes(self) -> Iterator[tuple[int, bytes]]:
        """The tables as (PA, bytes), level 0 as runs of entries that are set; entries not set are not written."""
        run_start, run = 0, bytearray()
        for index in sorted(self._entries):
            if run and index != run_start + len(run) // 8:
                yield self.level_0 + 8 * run_start, bytes(run)
                run.clear()
            if not run:
                run_start = index
            run += self._entries[index].to_bytes(8, "little")
        if run:
            yield self.level_0 + 8 * run_start, bytes(run)
        for address, content in self._tables.values():
            yield address, bytes(content)
