"""The granule protection tables of a running machine: registers, then memory, walked by the model.

The walk is ``refmodel.gpt.walk.GPTWalk`` over a copy of the tables.  Here it is only decided at which addresses to
walk, so that every granule of the protected space is covered without asking for each one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from harness.boot.debugger import read_all
from harness.boot.machine import StackMachine
from harness.boot.physical import PhysicalMemory
from harness.errors import TargetProtocolError
from refmodel.bits import Slice
from refmodel.features import Features
from refmodel.gpt.decode import DecodeGPTTable, DecodePGS, DecodePPS, GPT_Contig, GPT_Table, GPTL0Size, gpi_name
from refmodel.gpt.types import GPCState
from refmodel.gpt.walk import GPTBaseAddress, GPTWalk
from refmodel.memory import Memory, MemoryMap, Region, RegionKind
from refmodel.sysregs import GPCCR_EL3, GPTBR_EL3

_REGISTERS: Final = ("GPCCR_EL3", "GPTBR_EL3", "SCR_EL3", "cpsr")
_FEATURES: Final = Features(rme=3, pamax=52)
"""All that the model knows: fields of an absent feature are RES0 and read as zero, so they cannot mislead the walk."""
_GPIS_PER_ENTRY: Final = 16
_ENTRY_BYTES: Final = 8


@dataclass(frozen=True)
class Span:
    """Granules [base, end) with the same GPI; None where the walk faults, and ``why`` says how."""

    base: int
    end: int
    gpi: int | None
    why: str = ""

    def __str__(self) -> str:
        what = self.why if self.gpi is None else gpi_name(self.gpi)
        return f"{self.base:#x}..{self.end - 1:#x} {what}"


@dataclass(frozen=True)
class Tables:
    """A snapshot of the tables: the registers, the memory they lie in, and where the level 1 tables are."""

    gpc: GPCState
    memory: Memory
    level_1: tuple[int, ...]

    @property
    def base(self) -> int:
        """Address of the level 0 table."""
        return GPTBaseAddress(self.gpc)

    @property
    def level_0_size(self) -> int:
        """Bytes of the level 0 table."""
        return _ENTRY_BYTES << max(DecodePPS(self.gpc.gpccr) - GPTL0Size(self.gpc.gpccr), 0)

    @property
    def level_1_size(self) -> int:
        """Bytes of one level 1 table: an entry for each 16 granules."""
        return _ENTRY_BYTES << (GPTL0Size(self.gpc.gpccr) - DecodePGS(self.gpc.gpccr).bits - 4)

    def gpi(self, pa: int) -> int | None:
        """The GPI of the granule at ``pa``; None where the walk faults."""
        _, entry = GPTWalk(self.gpc, self.memory, pa)
        return None if entry is None else entry.gpi

    def spans(self) -> tuple[Span, ...]:
        """The whole protected space in order, granules with the same GPI together."""
        merged: list[Span] = []
        for span in self._pieces():
            last = merged[-1] if merged else None
            if last and (last.gpi, last.why) == (span.gpi, span.why):
                merged[-1] = Span(last.base, span.end, span.gpi, span.why)
            else:
                merged.append(span)
        return tuple(merged)

    def _pieces(self) -> Iterator[Span]:
        """One piece per level 0 block, level 1 entry, or (where an entry is mixed) granule."""
        gpccr = self.gpc.gpccr
        block, granule = 1 << GPTL0Size(gpccr), 1 << DecodePGS(gpccr).bits
        alike: dict[int, Span] = {}
        for pa in range(0, 1 << max(DecodePPS(gpccr), GPTL0Size(gpccr)), block):
            table = self._level_1_table(pa)
            if table is None:
                yield self._walk(pa, block)
                continue
            for index, low in enumerate(range(pa, pa + block, granule * _GPIS_PER_ENTRY)):
                descriptor = self.memory.read64(table + index * _ENTRY_BYTES)
                yield from self._entry(low, descriptor, granule, alike)

    def _entry(self, pa: int, descriptor: int, granule: int, alike: dict[int, Span]) -> Iterator[Span]:
        """The pieces of one level 1 entry; ``alike`` remembers what descriptors say whose 16 granules are alike."""
        size = granule * _GPIS_PER_ENTRY
        nibbles = {Slice(descriptor, bit + 3, bit) for bit in range(0, 64, 4)}
        # A Granules descriptor of one value, or a Contiguous one: the walk ends the same for each of its granules, and
        # for every other entry with this descriptor.
        if len(nibbles) == 1 or Slice(descriptor, 3, 0) == GPT_Contig:
            if descriptor not in alike:
                alike[descriptor] = self._walk(pa, size)
            known = alike[descriptor]
            yield Span(pa, pa + size, known.gpi, known.why)
            return
        for address in range(pa, pa + size, granule):
            yield self._walk(address, granule)

    def _walk(self, pa: int, size: int) -> Span:
        fault, entry = GPTWalk(self.gpc, self.memory, pa)
        return Span(pa, pa + size, None, str(fault)) if entry is None else Span(pa, pa + size, entry.gpi)

    def _level_1_table(self, pa: int) -> int | None:
        gpccr = self.gpc.gpccr
        index = 0 if DecodePPS(gpccr) <= GPTL0Size(gpccr) else Slice(pa, DecodePPS(gpccr) - 1, GPTL0Size(gpccr))
        return _level_1_address(self.gpc, self.memory.read64(self.base + index * _ENTRY_BYTES))


def _level_1_address(gpc: GPCState, descriptor: int) -> int | None:
    if Slice(descriptor, 3, 0) != GPT_Table:
        return None
    _, table, _ = DecodeGPTTable(gpc, DecodePGS(gpc.gpccr), descriptor)
    return None if table is None else table.address


def read_registers(machine: StackMachine) -> dict[str, int]:
    """GPCCR_EL3, GPTBR_EL3, SCR_EL3 and PSTATE (as ``cpsr``), with the machine stopped meanwhile."""
    with machine.stopped() as debugger:
        return read_all(debugger, _REGISTERS)


def state_of(registers: dict[str, int]) -> GPCState:
    """What the model's check reads of the PE."""
    return GPCState(
        GPCCR_EL3(registers["GPCCR_EL3"]),
        GPTBR_EL3(registers["GPTBR_EL3"]),
        _FEATURES,
    )


def snapshot(memory: PhysicalMemory, gpc: GPCState) -> Tables:
    """Copy the tables that ``gpc`` points at out of the machine's memory; NotReadableError where that is impossible."""
    regions = tuple(Region(block.base, block.size, RegionKind.RAM) for block in memory.blocks)
    copy = Memory(MemoryMap(regions))
    tables = Tables(gpc, copy, ())
    level_0 = memory.read(tables.base, tables.level_0_size)
    copy.write(tables.base, level_0)
    found = []
    for offset in range(0, len(level_0), _ENTRY_BYTES):
        address = _level_1_address(gpc, int.from_bytes(level_0[offset : offset + _ENTRY_BYTES], "little"))
        if address is not None and address not in found:
            copy.write(address, memory.read(address, tables.level_1_size))
            found.append(address)
    return Tables(gpc, copy, tuple(found))


@dataclass(frozen=True, kw_only=True)
class Announced:
    """What TF-A says of its tables in its log: PPS and L0GPTSZ and PGS in bits, the number of PAS regions, the base."""

    pps: int
    pgs: int
    l0gptsz: int
    pas_count: int
    l0_base: int


_ANNOUNCED: Final = {
    "pps": r"PPS/T: +0x[0-9a-f]+/(\d+)",
    "pgs": r"PGS/P: +0x[0-9a-f]+/(\d+)",
    "l0gptsz": r"L0GPTSZ/S: +0x[0-9a-f]+/(\d+)",
    "pas_count": r"PAS count: +(\d+)",
    "l0_base": r"L0 base: +(0x[0-9a-f]+)",
}


def announced(log: str) -> Announced:
    """Read TF-A's ``GPT: Boot Configuration``; TargetProtocolError names the line that is missing."""
    found = {}
    for name, pattern in _ANNOUNCED.items():
        match = re.search(pattern, log)
        if match is None:
            raise TargetProtocolError(f"the firmware's log has no line like {pattern!r}")
        found[name] = int(match[1], 0)
    return Announced(**found)
