"""Physical memory of the virt machine as the host sees it: past the GPC, secure RAM and flash included.

RAM is the mapping that the harness shares with QEMU.  Secure RAM and flash are private memory of QEMU's process: the
monitor tells where each block lies there, and a parent may read its child.  What the kernel does not let it read is
``NotReadableError``, never zeros.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Final, Protocol

from harness.errors import TargetError, TargetProtocolError

RAM_BASE: Final = 0x4000_0000
PLACES: Final = {"virt.flash0": 0x0, "virt.flash1": 0x0400_0000, "virt.secure-ram": 0x0E00_0000, "ram0": RAM_BASE}
"""QEMU's blocks of memory of the virt machine, by name, and where they are."""


class NotReadableError(TargetError):
    """Memory of the machine cannot be observed on this host.

    Causes: nothing is there, or the kernel forbids a parent to read its child (ptrace restrictions of a container).
    """


class Observed(Protocol):
    """What is needed of a machine."""

    @property
    def pid(self) -> int:
        """Process id of QEMU."""

    def human(self, line: str) -> str:
        """What the human monitor answers."""


@dataclass(frozen=True)
class Block:
    """A block of memory: its name, first physical address, size in bytes, and address in QEMU's process."""

    name: str
    base: int
    size: int
    host: int

    def holds(self, pa: int, length: int) -> bool:
        """Whether [pa, pa + length) lies inside."""
        return self.base <= pa and pa + length <= self.base + self.size


def blocks(machine: Observed) -> tuple[Block, ...]:
    """The machine's memory, by physical address; blocks of devices (no place in the map) are left out."""
    found = []
    for line in machine.human("info ramblock").splitlines():
        words = line.split()
        match = re.search(r"(0x[0-9a-f]+) (0x[0-9a-f]+) (0x[0-9a-f]+) (0x[0-9a-f]+)", line)
        if match and words[0] in PLACES:
            found.append(Block(words[0], PLACES[words[0]], int(match[2], 16), int(match[4], 16)))
    if not any(block.name == "ram0" for block in found):
        raise TargetProtocolError("QEMU's monitor names no RAM block")
    return tuple(sorted(found, key=lambda block: block.base))


class PhysicalMemory:
    """Reads any memory of a running machine; the blocks are asked for once."""

    def __init__(self, machine: Observed) -> None:
        self._machine = machine
        self.blocks = blocks(machine)

    def read(self, pa: int, length: int) -> bytes:
        """``length`` bytes from physical address ``pa`` on; NotReadableError when they cannot be observed."""
        for block in self.blocks:
            if block.holds(pa, length):
                return self._read(block.host + pa - block.base, length, pa)
        raise NotReadableError(f"no memory at {pa:#x}, {length} bytes")

    def _read(self, address: int, length: int, pa: int) -> bytes:
        try:
            fd = os.open(f"/proc/{self._machine.pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
            try:
                data = os.pread(fd, length, address)
            finally:
                os.close(fd)
        except OSError as error:
            raise NotReadableError(f"QEMU's memory cannot be read on this host: {error.strerror}") from error
        if len(data) != length:
            raise NotReadableError(f"QEMU gave {len(data)} of {length} bytes at {pa:#x}")
        return data
