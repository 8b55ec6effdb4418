"""The address space that the `root` probe runs in: which virtual address names which physical address in which PAS.

EL3 stage 1, 4 KB granule, 48-bit input.  Level 0 slot VA[47:39] = memory type << 2 | PAS index: the first 512 GB of
every physical address space, as three memory types, at a fixed place; slot 16 is a table of 512 gigabyte windows that
the harness points anywhere.  The probe builds the fixed part, ``images/probe`` has the same numbers.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from harness.errors import MisuseError
from harness.probe.records import World

SLOT_BITS: Final = 39
WINDOW_SLOT: Final = 16
WINDOW_COUNT: Final = 512
WINDOW_BITS: Final = 30


class MemoryType(IntEnum):
    """Memory attributes of a mapping; the value is the slot's upper part and the MAIR index."""

    NORMAL_WB = 0
    NORMAL_NC = 1
    DEVICE = 2


def pas_index(pas: World) -> int:
    """0 Root, 1 Realm, 2 Secure, 3 Non-secure: {NSE, NS} with NSE inverted, so that Root is the identity map."""
    return int(pas) ^ 0b10


def va_of(pa: int, pas: World, memory: MemoryType = MemoryType.NORMAL_WB) -> int:
    """Virtual address of ``pa`` (below 512 GB) in ``pas``; MisuseError above, where a window is needed."""
    if pa >> SLOT_BITS:
        raise MisuseError(f"{pa:#x} is above the probe's fixed map of 512 GB; map a window on it")
    return (memory << 2 | pas_index(pas)) << SLOT_BITS | pa


def block_descriptor(pa: int, pas: World, memory: MemoryType = MemoryType.NORMAL_WB, *, ds: bool = False) -> int:
    """A level 1 Block descriptor (1 GB) of EL3 stage 1: valid, AF, {NSE, NS} in bits 11 and 5, executable.

    ``ds``: TCR_EL3.DS is 1, so [9:8] are address bits [51:50]; otherwise Inner Shareable.
    """
    base = pa >> WINDOW_BITS << WINDOW_BITS
    top = base >> 50 << 8 if ds else 0b11 << 8
    nse, ns = int(pas) >> 1, int(pas) & 1
    return (base & (1 << 50) - 1) | top | 1 << 10 | nse << 11 | ns << 5 | memory << 2 | 0b01


class Windows:
    """Gigabyte windows handed out in slot 16, one for each (gigabyte, PAS, memory type) asked for.

    ``l1`` is the PA of the window table; ``pending`` collects descriptor writes (PA, bytes) to make before use.
    """

    def __init__(self, l1: int, *, ds: bool) -> None:
        self._l1 = l1
        self._ds = ds
        self._given: dict[tuple[int, World, MemoryType], int] = {}
        self.pending: list[tuple[int, bytes]] = []

    def reset(self) -> None:
        """Hand all windows out anew; what was given before is no longer valid."""
        self._given.clear()
        self.pending.clear()

    def writes(self) -> list[tuple[int, bytes]]:
        """The descriptor writes of all windows that are given out."""
        return [self._write(index, key) for key, index in self._given.items()]

    def renew(self) -> None:
        """Write all windows again: the machine has lost them."""
        self.pending = self.writes()

    def _write(self, index: int, key: tuple[int, World, MemoryType]) -> tuple[int, bytes]:
        gigabyte, pas, memory = key
        descriptor = block_descriptor(gigabyte << WINDOW_BITS, pas, memory, ds=self._ds)
        return self._l1 + 8 * index, descriptor.to_bytes(8, "little")

    def va(self, pa: int, pas: World, memory: MemoryType = MemoryType.NORMAL_WB) -> int:
        """Virtual address of ``pa``: in the fixed map below 512 GB, else in a window."""
        if not pa >> SLOT_BITS:
            return va_of(pa, pas, memory)
        key = (pa >> WINDOW_BITS, pas, memory)
        index = self._given.get(key)
        if index is None:
            index = len(self._given)
            if index >= WINDOW_COUNT:
                raise MisuseError(f"all {WINDOW_COUNT} windows of the probe are in use; use fewer distinct gigabytes")
            self._given[key] = index
            self.pending.append(self._write(index, key))
        return WINDOW_SLOT << SLOT_BITS | index << WINDOW_BITS | pa & (1 << WINDOW_BITS) - 1
