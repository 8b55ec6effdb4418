"""Stage 1 for records below EL3: an identity map of the first 512 GB and the registers that switch it on.

One map serves EL1&0, EL2 and EL2&0: 4 KB granule, 39-bit addresses, TTBR0 only.  Gigabytes are Blocks, but the one
that the probe lies in: its code pages are mapped one by one, so that a test can leave some out.  Not the place for
tables that are themselves the subject of a test.

Source: DDI 0487, D8.3 "Translation table descriptor formats", D8.4 "Memory access control".
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from typing import Final

from harness.errors import MisuseError
from harness.probe import lower
from harness.probe.records import RegisterEntry

TABLE_SIZE: Final = 3 * 4096
"""Bytes that ``identity_map`` makes: one table each of level 1, 2 and 3."""

_PAGE: Final = 4096
_MB2: Final = 1 << 21
_GB: Final = 1 << 30
_ENTRIES: Final = 512
_AF_SHARED: Final = 1 << 10 | 0b11 << 8
_DEVICE: Final = 1 << 2  # AttrIndx 1
_NS: Final = 1 << 5
_RW_ALL: Final = 0b01 << 6  # AP[2:1]: written at EL0 too, so EL1 may not execute it
_RO_ALL: Final = 0b11 << 6
_XN: Final = 1 << 54 | 1 << 53
_MAIR: Final = 0x04FF  # 0 Normal write-back, 1 Device-nGnRE
_TCR: Final = 0b11 << 12 | 1 << 10 | 1 << 8 | 25  # SH0, ORGN0, IRGN0, T0SZ
_SIZE_48: Final = 0b101
_TCR_EL1: Final = _SIZE_48 << 32 | 1 << 23 | _TCR  # IPS, EPD1
_TCR_EL2: Final = 1 << 31 | 1 << 23 | _SIZE_48 << 16 | _TCR  # RES1, PS
_SCTLR_ON: Final = 1 << 12 | 1 << 2 | 1 << 0  # I, C, M
_SCTLR_EL1: Final = 0x30D0_0800 | 1 << 26 | 1 << 18 | 1 << 16 | 1 << 15 | 1 << 14 | _SCTLR_ON  # UCI nTWE nTWI UCT DZE
_SCTLR_EL2: Final = 0x30C5_0830 | _SCTLR_ON


class Regime(Enum):
    """A translation regime, and which ELs it has."""

    EL1_0 = "EL1&0"
    EL2 = "EL2"
    EL2_0 = "EL2&0"


@dataclass(frozen=True)
class IdentityMap:
    """Tables for PA ``base`` (4 KB aligned, ``TABLE_SIZE`` bytes).

    Gigabyte 0 is Device and never executed; the others are read and written at every EL, and executed at EL0 and EL2.
    Of the probe's gigabyte only its pages, from ``lower_pages`` on, are mapped, read and executed at every EL.
    ``ns``: the gigabytes other than the probe's are accessed as Non-secure.  ``absent``: PAs of pages to leave out.
    """

    base: int
    lower_pages: int
    ns: bool = False
    absent: Collection[int] = ()

    def tables(self) -> bytes:
        """The bytes to write to ``base``."""
        home = self.lower_pages // _GB
        level2, level3 = self.base + _PAGE, self.base + 2 * _PAGE
        data = _RW_ALL | _AF_SHARED | (_NS if self.ns else 0) | 0b01
        level1 = [gigabyte * _GB | data for gigabyte in range(_ENTRIES)]
        level1[0] = _RW_ALL | _AF_SHARED | _DEVICE | _XN | 0b01
        level1[home] = level2 | 0b11
        middle = [0] * _ENTRIES
        middle[self.lower_pages % _GB // _MB2] = level3 | 0b11
        pages = [self._page(self.lower_pages // _MB2 * _MB2 + _PAGE * index) for index in range(_ENTRIES)]
        return struct.pack(f"<{3 * _ENTRIES}Q", *level1, *middle, *pages)

    def _page(self, pa: int) -> int:
        if pa in self.absent or not lower.LowerPages(self.lower_pages).whole.holds(pa):
            return 0
        return pa | _RO_ALL | _AF_SHARED | 0b11

    def registers(self, regime: Regime) -> tuple[RegisterEntry, ...]:
        """What to set at EL3, HCR_EL2 excepted, to have these tables in a regime."""
        if self.base % _PAGE:
            raise MisuseError(f"tables at {self.base:#x} are not on a 4 KB boundary; choose another address")
        el1 = regime is Regime.EL1_0
        mair, tcr, ttbr, sctlr = (
            (lower.MAIR_EL1, lower.TCR_EL1, lower.TTBR0_EL1, lower.SCTLR_EL1)
            if el1
            else (lower.MAIR_EL2, lower.TCR_EL2, lower.TTBR0_EL2, lower.SCTLR_EL2)
        )
        return (
            RegisterEntry(mair, _MAIR),
            RegisterEntry(tcr, _TCR_EL2 if regime is Regime.EL2 else _TCR_EL1),
            RegisterEntry(ttbr, self.base),
            RegisterEntry(sctlr, _SCTLR_EL2 if regime is Regime.EL2 else _SCTLR_EL1),
        )
