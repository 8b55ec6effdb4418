"""Physical memory behind the granule protection check: what answers where, and the bytes the model knows.

The check only decides whether an access may leave the PE; what it then meets (RAM, a device, nothing) decides between
completion and an external abort, so the permitted set needs both.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from refmodel.bits import AlignDown
from refmodel.pas import FullAddress, PASpace

_PAGE_BITS = 12
_PAGE = 1 << _PAGE_BITS
_ZERO_PAGE = bytes(_PAGE)


class RegionKind(Enum):
    """What stands behind a range of physical addresses."""

    RAM = "ram"
    DEVICE = "device"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Region:
    """[base, base + size) answers as ``kind`` to the spaces in ``spaces``; for the others there is nothing there."""

    base: int
    size: int
    kind: RegionKind
    spaces: frozenset[PASpace] = frozenset(PASpace)


@dataclass(frozen=True, slots=True)
class MemoryMap:
    """Regions in order; the first that holds an address decides, an address in none meets nothing."""

    regions: tuple[Region, ...]

    def lookup(self, address: FullAddress) -> RegionKind:
        """What an access to ``address`` meets."""
        for region in self.regions:
            if region.base <= address.address < region.base + region.size:
                return region.kind if address.paspace in region.spaces else RegionKind.NOTHING
        return RegionKind.NOTHING

    def lookup_any(self, address: int) -> RegionKind:
        """What stands at ``address``, in whichever space it answers to."""
        for region in self.regions:
            if region.base <= address < region.base + region.size:
                return region.kind
        return RegionKind.NOTHING

    def private(self, address: int) -> bool:
        """Whether what stands at ``address`` answers to some spaces only."""
        for region in self.regions:
            if region.base <= address < region.base + region.size:
                return len(region.spaces) < len(PASpace)
        return False


class PhysMemRetStatus(Enum):
    """Result of a physical access, reduced to what the model tells apart."""

    OK = "ok"
    SyncExternal = "external abort"


class Memory:
    """Sparse bytes of RAM, the same whatever PAS names them; unwritten RAM reads as zeros.

    Whether the physical address spaces alias the same storage is IMPLEMENTATION DEFINED; the model keeps one image and
    lets the judge compare data only where a calibration in the run has shown aliasing.
    """

    def __init__(self, memory_map: MemoryMap) -> None:
        self.map = memory_map
        self._pages: dict[int, bytearray] = {}

    def write(self, address: int, data: bytes) -> None:
        """Store ``data`` at a physical address, past every check."""
        offset = 0
        while offset < len(data):
            at = address + offset
            page, start = at >> _PAGE_BITS, at & (_PAGE - 1)
            length = min(_PAGE - start, len(data) - offset)
            target = self._pages.get(page)
            if target is None:
                target = self._pages[page] = bytearray(_PAGE)
            target[start : start + length] = data[offset : offset + length]
            offset += length

    def read(self, address: int, length: int) -> bytes:
        """Bytes at a physical address, past every check."""
        first, last = address >> _PAGE_BITS, (address + length - 1) >> _PAGE_BITS
        if first == last:
            start = address & (_PAGE - 1)
            return bytes(self._pages.get(first, _ZERO_PAGE)[start : start + length])
        whole = b"".join(bytes(self._pages.get(page, _ZERO_PAGE)) for page in range(first, last + 1))
        start = address - AlignDown(address, _PAGE_BITS)
        return whole[start : start + length]

    def read64(self, address: int) -> int:
        """A little-endian doubleword at a multiple of 8, past every check."""
        page = self._pages.get(address >> _PAGE_BITS)
        start = address & (_PAGE - 1)
        return 0 if page is None else int.from_bytes(page[start : start + 8], "little")

    def PhysMemRead(self, address: FullAddress, size: int) -> tuple[PhysMemRetStatus, int]:
        """A read by the PE: an external abort where nothing answers, else the little-endian value.

        Source: DDI 0487, pseudocode ``PhysMemRead``.
        """
        if self.map.lookup(address) is RegionKind.NOTHING:
            return PhysMemRetStatus.SyncExternal, 0
        if size == 8 and not address.address & 7:
            return PhysMemRetStatus.OK, self.read64(address.address)
        return PhysMemRetStatus.OK, int.from_bytes(self.read(address.address, size), "little")
