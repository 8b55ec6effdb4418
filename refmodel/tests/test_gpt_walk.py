"""Walks at every geometry: PGS x PPS x L0GPTSZ, with table places computed by division instead of by bit slices."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refmodel.features import Features
from refmodel.gpt.build import Geometry
from refmodel.gpt.types import GPCF, GPCFRecord, GPCState, GPTEntry, PGSe
from refmodel.gpt.walk import GPIIndex, GPTLevel0Index, GPTLevel1Index, GPTWalk
from refmodel.memory import Memory, MemoryMap, Region, RegionKind
from refmodel.observe import Tracer
from refmodel.pas import PASpace
from refmodel.rules import Rule
from refmodel.sysregs import GPCCR_EL3, GPTBR_EL3
from refmodel.tests.machine import everything_is_ram, put

GEOMETRIES = [
    Geometry(pgs=pgs, pps=pps, l0gptsz=l0gptsz)
    for pgs, pps, l0gptsz in itertools.product(PGSe, (32, 36, 40, 42, 44, 48, 52), (30, 34, 36, 39))
]
# Both aligned enough for every geometry: level 0 up to 32 MB, level 1 up to 64 MB; and below the smallest PPS.
LEVEL_0, LEVEL_1 = 1 << 30, 1 << 31

geometries = st.sampled_from(GEOMETRIES)


@dataclass
class Placed:
    """Where the entries for one address lie."""

    entry_0: int
    entry_1: int
    field: int


def place(geometry: Geometry, pa: int) -> Placed:
    span, granule = 2**geometry.l0gptsz, 2**geometry.pgs.value
    return Placed(LEVEL_0 + pa // span * 8, LEVEL_1 + pa % span // (granule * 16) * 8, pa // granule % 16)


def state(geometry: Geometry, base: int = LEVEL_0) -> GPCState:
    return GPCState(geometry.gpccr(), GPTBR_EL3(base >> 12), Features(pamax=52))


def draw_pa(data: st.DataObject, geometry: Geometry) -> int:
    top = 2**geometry.pps
    return data.draw(st.integers(0, top - 1) | st.sampled_from([0, top - 1, top // 2]))


@given(geometries, st.data())
def test_a_granule_is_found_and_its_neighbours_are_not(geometry: Geometry, data: st.DataObject) -> None:
    pa, memory = draw_pa(data, geometry), everything_is_ram()
    at = place(geometry, pa)
    put(memory, at.entry_0, LEVEL_1 | 0b0011)
    put(memory, at.entry_1, 0b1011 << 4 * at.field)
    fault, entry = GPTWalk(state(geometry), memory, pa)
    size = geometry.pgs.value
    assert fault.gpf is GPCF.GPCF_None
    assert entry == GPTEntry(0b1011, size, size, level=1)
    # Another granule of the same descriptor, and one of the next descriptor: No access.
    for other in (pa ^ 2**size, pa ^ 2 ** (size + 4)):
        _, entry = GPTWalk(state(geometry), memory, other)
        assert entry is not None
        assert entry.gpi == 0


@given(geometries, st.data())
def test_a_block_speaks_for_its_whole_range(geometry: Geometry, data: st.DataObject) -> None:
    pa, memory = draw_pa(data, geometry), everything_is_ram()
    put(memory, place(geometry, pa).entry_0, 0b1001 << 4 | 0b0001)
    start = pa // 2**geometry.l0gptsz * 2**geometry.l0gptsz
    last = min(start + 2**geometry.l0gptsz, 2**geometry.pps) - 1
    for address in (start, pa, last):
        _, entry = GPTWalk(state(geometry), memory, address)
        assert entry == GPTEntry(0b1001, geometry.pgs.value, geometry.l0gptsz, level=0)
    if last + 1 < 2**geometry.pps:
        # The next level 0 entry is zero, a type that is not allocated.
        assert GPTWalk(state(geometry), memory, last + 1) == (GPCFRecord(GPCF.GPCF_Walk, 0), None)


@given(geometries, st.sampled_from([(0b01, 21), (0b10, 25), (0b11, 29)]), st.data())
def test_a_contiguous_descriptor(geometry: Geometry, contig: tuple[int, int], data: st.DataObject) -> None:
    pa, memory = draw_pa(data, geometry), everything_is_ram()
    at = place(geometry, pa)
    put(memory, at.entry_0, LEVEL_1 | 0b0011)
    put(memory, at.entry_1, contig[0] << 8 | 0b1111 << 4 | 0b0001)
    _, entry = GPTWalk(state(geometry), memory, pa)
    assert entry == GPTEntry(0b1111, geometry.pgs.value, contig[1], level=1)


@given(geometries, st.data())
def test_gptbr_low_bits_do_not_move_the_walk(geometry: Geometry, data: st.DataObject) -> None:
    pa, memory = draw_pa(data, geometry), everything_is_ram()
    put(memory, place(geometry, pa).entry_0, 0b1010 << 4 | 0b0001)
    low = data.draw(st.integers(0, (geometry.level_0_size >> 12) - 1))
    tracer = Tracer()
    _, entry = GPTWalk(state(geometry, LEVEL_0 | low << 12), memory, pa, tracer)
    assert entry is not None
    assert entry.gpi == 0b1010
    assert (Rule.GPTBR_ALIGNMENT in tracer.rules) is (low != 0)


# Indices of three addresses, worked out by hand from the binary digits.
@pytest.mark.parametrize(
    ("gpccr", "pa", "index_0", "index_1", "gpi_index"),
    [
        # PPS 40, 1GB, 4KB: PA[39:30], PA[29:16], PA[15:12].
        (0x2, 0x12_3456_789A, 0x48, 0x3456, 0x7),
        # PPS 40, 1GB, 64KB: PA[39:30], PA[29:20], PA[19:16].
        (0x4002, 0x12_3456_789A, 0x48, 0x345, 0x6),
        # PPS 40, 1GB, 16KB: PA[39:30], PA[29:18], PA[17:14].
        (0x8002, 0x12_3456_789A, 0x48, 0xD15, 0x9),
        # PPS 52, 16GB, 4KB: PA[51:34], PA[33:16].
        (0x40_0006, 0xF_EDCB_A987_6543, 0x3_FB72, 0x3_A987, 0x6),
        # PPS 32, 64GB: one entry covers more than the protected space, index 0; PA[35:16].
        (0x60_0000, 0xFEDC_BA98, 0, 0xFEDC, 0xB),
    ],
)
def test_indices(gpccr: int, pa: int, index_0: int, index_1: int, gpi_index: int) -> None:
    register = GPCCR_EL3(gpccr)
    assert hex(GPTLevel0Index(register, pa)) == hex(index_0)
    assert hex(GPTLevel1Index(register, pa)) == hex(index_1)
    assert hex(GPIIndex(register, pa)) == hex(gpi_index)


@pytest.mark.parametrize("type_", range(16))
def test_level_0_types(type_: int) -> None:
    """0001 is a Block, 0011 a Table; every other type of a level 0 entry is a walk fault at level 0."""
    geometry, memory = GEOMETRIES[0], everything_is_ram()
    put(memory, LEVEL_0, LEVEL_1 | type_ if type_ == 0b0011 else 0b1111 << 4 | type_)
    fault, entry = GPTWalk(state(geometry), memory, 0)
    if type_ in (0b0001, 0b0011):
        assert entry is not None
        assert (fault.gpf, entry.level) == (GPCF.GPCF_None, 0 if type_ == 0b0001 else 1)
    else:
        assert (fault, entry) == (GPCFRecord(GPCF.GPCF_Walk, 0), None)


def test_table_type_at_level_1_is_a_granules_descriptor_with_a_reserved_gpi() -> None:
    memory = everything_is_ram()
    put(memory, LEVEL_0, LEVEL_1 | 0b0011)
    put(memory, LEVEL_1, LEVEL_1 | 0b0011)
    assert GPTWalk(state(GEOMETRIES[0]), memory, 0) == (GPCFRecord(GPCF.GPCF_Walk, 1), None)


def test_external_aborts_carry_the_level() -> None:
    """Nothing answers at the level 0 table, then at the level 1 table only."""
    geometry = GEOMETRIES[0]
    for hole, level in ((LEVEL_0, 0), (LEVEL_1, 1)):
        regions = (Region(hole, 1 << 20, RegionKind.NOTHING), Region(0, 1 << 52, RegionKind.RAM))
        memory = Memory(MemoryMap(regions))
        put(memory, LEVEL_0, LEVEL_1 | 0b0011)
        assert GPTWalk(state(geometry), memory, 0) == (GPCFRecord(GPCF.GPCF_EABT, level), None)


@pytest.mark.parametrize("space", [PASpace.PAS_Root, PASpace.PAS_Secure, PASpace.PAS_NonSecure, PASpace.PAS_Realm])
def test_both_fetches_are_made_in_the_root_space(space: PASpace) -> None:
    tables = Region(LEVEL_0, 1 << 31, RegionKind.RAM, frozenset({space}))
    memory, tracer = Memory(MemoryMap((tables,))), Tracer()
    put(memory, LEVEL_0, LEVEL_1 | 0b0011)
    put(memory, LEVEL_1, 0b1011)
    record, entry = GPTWalk(state(Geometry()), memory, 0, tracer)
    fired = tracer.rules.count(Rule.FETCH_IN_ROOT)
    if space is PASpace.PAS_Root:
        assert (record.gpf, entry and entry.gpi, fired) == (GPCF.GPCF_None, 0b1011, 2)
    else:
        assert (record, entry, fired) == (GPCFRecord(GPCF.GPCF_EABT, 0), None, 0)
