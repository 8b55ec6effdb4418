"""Misprogrammed Contiguous descriptors: what else may answer for a granule inside a Contig range.

A Contiguous descriptor may be cached for its whole range.  If descriptors in that range hold different GPI values, an
access may be judged by any of them.  Software has to avoid it; a permitted set has to know it.

Source: DDI 0487 issue M, D9.6.4 R_MNZWK, R_SPLJH, R_SMQTZ, R_NNHCF.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from refmodel.bits import AlignDown, Slice
from refmodel.gpt.decode import (
    DecodeGPTContiguous,
    DecodeGPTTable,
    DecodePGS,
    GPIValid,
    GPT_Contig,
    GPT_Table,
    GPTRange_512MB,
)
from refmodel.gpt.types import GPCState
from refmodel.gpt.walk import GPTBaseAddress, GPTLevel0Index, GPTLevel1Index
from refmodel.memory import Memory

Window = tuple[int, tuple[int, ...], tuple[tuple[int, int], ...]]
"""512 MB of level 1: the PA at its start, its descriptors, and (PA, log2 of bytes) of each range marked contiguous."""


class ContiguousRanges:
    """The Contig ranges of today's tables, scanned 512 MB at a time and remembered until ``clear``."""

    def __init__(self) -> None:
        self._windows: dict[int, Window] = {}

    def clear(self) -> None:
        """The tables or the registers changed."""
        self._windows.clear()

    def gpis(self, gpc: GPCState, memory: Memory, pa: int) -> frozenset[int]:
        """Every valid GPI programmed in Contig ranges that hold ``pa``; empty where there is none.

        ``pa`` is below the protected size and the registers are consistent.
        """
        level_0_entry = memory.read64(GPTBaseAddress(gpc) + GPTLevel0Index(gpc.gpccr, pa) * 8)
        if Slice(level_0_entry, 3, 0) != GPT_Table:
            return frozenset()
        _, table, _ = DecodeGPTTable(gpc, DecodePGS(gpc.gpccr), level_0_entry)
        if table is None:
            return frozenset()
        start, descriptors, ranges = self._window(gpc, memory, table.address, AlignDown(pa, GPTRange_512MB))
        covered = DecodePGS(gpc.gpccr).value + 4
        found: set[int] = set()
        for base, size_bits in ranges:
            if base == AlignDown(pa, size_bits):
                first = base - start >> covered
                for descriptor in descriptors[first : first + (1 << size_bits - covered)]:
                    found.update(gpi for gpi in _gpis_of(descriptor) if GPIValid(gpc.features, gpi, gpc.gpccr.NSO))
        return frozenset(found)

    def _window(self, gpc: GPCState, memory: Memory, table: int, start: int) -> Window:
        address = table + GPTLevel1Index(gpc.gpccr, start) * 8
        known = self._windows.get(address)
        if known is None:
            count = 1 << GPTRange_512MB - DecodePGS(gpc.gpccr).value - 4
            descriptors = struct.unpack(f"<{count}Q", memory.read(address, count * 8))
            known = self._windows[address] = (start, descriptors, tuple(_ranges(gpc, start, descriptors)))
        return known


def _ranges(gpc: GPCState, start: int, descriptors: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    pgs = DecodePGS(gpc.gpccr)
    seen: set[tuple[int, int]] = set()
    for index, descriptor in enumerate(descriptors):
        if descriptor & 0xF != GPT_Contig:
            continue
        _, entry, _ = DecodeGPTContiguous(gpc, pgs, descriptor)
        if entry is None:
            continue
        found = (AlignDown(start + (index << pgs.value + 4), entry.contig_size), entry.contig_size)
        if found not in seen:
            seen.add(found)
            yield found


def _gpis_of(descriptor: int) -> Iterator[int]:
    if descriptor & 0xF == GPT_Contig:
        yield Slice(descriptor, 7, 4)
    else:
        yield from (Slice(descriptor, lsb + 3, lsb) for lsb in range(0, 64, 4))
