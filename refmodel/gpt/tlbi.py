"""TLB invalidation of granule protection information: what TLBI PAALL, PAALLOS, RPAOS and RPALOS must remove.

Over-invalidation is always permitted (I_ZZJVG), so everything here is the least that an instruction must do.

Source: DDI 0487 issue M, C5.5 TLBI PAALL, PAALLOS, RPAOS, RPALOS; D9.5 "GPT caching and invalidation"; D9.6 R_YNKWN,
R_SSKBB.  The pseudocode ``AArch64_TLBI_RPA`` takes a reserved SIZE as one granule and aligns the base down; the text
requires no invalidation in both cases, and it is the text that the model has.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from refmodel.bits import IsAligned, Slice
from refmodel.gpt.decode import DecodePGS
from refmodel.gpt.types import GPCState

RANGE_BITS = {0b0000: 12, 0b0001: 14, 0b0010: 16, 0b0011: 21, 0b0100: 25, 0b0101: 29, 0b0110: 30, 0b0111: 34,
               0b1000: 36, 0b1001: 39}  # fmt: skip
"""log2 of bytes by SIZE."""


class TLBIOp(Enum):
    """The instructions; the value is {op1, CRn, CRm, op2} of SYS."""

    PAALL = (6, 8, 7, 4)
    PAALLOS = (6, 8, 1, 4)
    RPAOS = (6, 8, 4, 3)
    RPALOS = (6, 8, 4, 7)

    @property
    def broadcast(self) -> bool:
        """Whether it reaches every TLB in the Outer Shareable domain, which is all of them (R_LRKLF)."""
        return self is not TLBIOp.PAALL

    @property
    def by_range(self) -> bool:
        """Whether it takes an address and a size."""
        return self in (TLBIOp.RPAOS, TLBIOp.RPALOS)


@dataclass(frozen=True, slots=True)
class RangeInvalidation:
    """What a TLBI RPA* must remove: entries for [start, end), of the last level of the walk only or of any level."""

    start: int
    end: int
    last_level: bool

    def removes(self, start: int, size_bits: int, *, table: bool) -> bool:
        """Whether a cached entry for the aligned range of 1 << ``size_bits`` bytes at ``start`` must be gone.

        Only when the instruction covers all that the entry covers; ``table`` is an entry of a level 0 Table
        descriptor, which last-level invalidation leaves alone.
        """
        covered = self.start <= start and start + (1 << size_bits) <= self.end
        return covered and not (table and self.last_level)


def encode_rpa(address: int, size_bits: int) -> int:
    """Xt of TLBI RPAOS and RPALOS for a PA and log2 of a size in bytes; KeyError for a size without an encoding."""
    size = {bits: field for field, bits in RANGE_BITS.items()}[size_bits]
    return size << 44 | address >> 12


def DecodeRPA(gpc: GPCState, xt: int, *, last_level: bool) -> RangeInvalidation | None:
    """What a range instruction with operand ``xt`` must remove; None where nothing is required.

    That is so for a reserved SIZE, a reserved GPCCR_EL3.PGS, a base that is not aligned to the effective size, and one
    above the implemented physical address size.  Address bits [55:52] count only where that size is 56 bits.
    """
    size_bits = RANGE_BITS.get(Slice(xt, 47, 44))
    if size_bits is None or gpc.gpccr.PGS == 0b11:
        return None
    granule = DecodePGS(gpc.gpccr).value
    size_bits = max(size_bits, granule)
    field = Slice(xt, 43 if gpc.features.pamax == 56 else 39, 0)
    base = field << 12 >> granule << granule
    if not IsAligned(base, 1 << size_bits) or base >> gpc.features.pamax:
        return None
    return RangeInvalidation(base, base + (1 << size_bits), last_level)
