"""Granule protection check bypass windows (FEAT_RME_GPC3): equal windows at a common stride, in which GPI is Any.

Source: DDI 0487 issue M, GPCBW_EL3 and D9.2 "GPC bypass windows" (R_SRQWF, R_VKXCB, I_XNHTX); its pseudocode function
``PAWithinGPCBypassWindow`` is in no public machine-readable release, so the functions here follow the text.
Issues of the register description before it give BWSIZE 0b011 and 0b100 for 16 GB and 64 GB in one table and 0b100 and
0b110 in another; the model has the latter, which is the one that issue M states throughout.
"""

from __future__ import annotations

from refmodel.bits import IsZero, Slice
from refmodel.gpt.types import GPCState
from refmodel.sysregs import GPCBW_EL3

_GPCBWL = {0b000: 30, 0b001: 31, 0b010: 32, 0b100: 34, 0b110: 36}
"""Lowest PA bit that is compared, by BWSIZE: log2 of a window's bytes."""
_GPCBWU = {0b00000: 39, 0b00010: 41, 0b00100: 43, 0b00110: 45, 0b00111: 46, 0b01000: 47, 0b01001: 48, 0b01010: 49,
           0b10000: 55}  # fmt: skip
"""Highest PA bit that is compared, by BWSTRIDE: one less than log2 of the stride."""


def window_base(gpcbw: GPCBW_EL3) -> int:
    """Address of the first window: BWADDR is its bits [55:30]."""
    return gpcbw.BWADDR << 30


def GPCBWValid(gpcbw: GPCBW_EL3) -> bool:
    """Whether GPCBW_EL3 holds allocated encodings and a base that is aligned to the size and below the stride."""
    low, high = _GPCBWL.get(gpcbw.BWSIZE), _GPCBWU.get(gpcbw.BWSTRIDE)
    if low is None or high is None:
        return False
    base = window_base(gpcbw)
    return IsZero(Slice(base, low - 1, 0)) and IsZero(base >> high + 1)


def PAWithinGPCBypassWindow(gpc: GPCState, address: int) -> bool:
    """Whether a PA is in a window: bits [gpcbwu:gpcbwl] of the PA and of the base are the same.

    GPCBW_EL3 is valid where this is asked (``GPCRegistersConsistent`` comes first), or windows are disabled.
    """
    if not gpc.gpccr.GPCBW:
        return False
    low, high = _GPCBWL[gpc.gpcbw.BWSIZE], _GPCBWU[gpc.gpcbw.BWSTRIDE]
    return Slice(address, high, low) == Slice(window_base(gpc.gpcbw), high, low)
