"""Built tables walk back to what was built, at every geometry whose tables are small enough to fill."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refmodel.features import Features
from refmodel.gpt.build import Geometry, GPTBuilder, granules_descriptor
from refmodel.gpt.types import GPCF, GPCState, PGSe
from refmodel.gpt.walk import GPTWalk
from refmodel.tests.machine import everything_is_ram
from refmodel.tests.test_gpt_walk import GEOMETRIES

GPIS = (0b0000, 0b1000, 0b1001, 0b1010, 0b1011, 0b1111)
FILLABLE = [geometry for geometry in GEOMETRIES if geometry.level_1_size <= 1 << 19]


@given(st.sampled_from(FILLABLE), st.sampled_from([21, 25]), st.data())
def test_build_then_walk(geometry: Geometry, range_bits: int, data: st.DataObject) -> None:
    """One table of the space: background, a contiguous range, then single granules outside it; one block elsewhere."""
    span, granule = 2**geometry.l0gptsz, 2**geometry.pgs.value
    start = data.draw(st.integers(0, 2**geometry.pps - 1)) // span * span
    here = st.integers(start, min(start + span, 2**geometry.pps) - 1)
    gpis = st.sampled_from(GPIS)
    builder = GPTBuilder(geometry, 0x100, 1 << 27)
    background, filled = data.draw(gpis), data.draw(gpis)
    builder.table(start, background)
    chosen = data.draw(here)
    builder.contiguous(chosen, range_bits, filled)
    first = chosen >> range_bits << range_bits
    singles: dict[int, int] = {}
    for _ in range(4):
        pa, gpi = data.draw(here), data.draw(gpis)
        if not first <= pa < first + 2**range_bits:
            builder.granule(pa, gpi)
            singles[pa // granule] = gpi

    memory = everything_is_ram()
    for at, content in builder.writes():
        memory.write(at, content)
    gpc = GPCState(geometry.gpccr(), builder.gptbr, Features(pamax=52))

    def gpi_at(pa: int) -> int:
        fault, entry = GPTWalk(gpc, memory, pa)
        assert fault.gpf is GPCF.GPCF_None
        assert entry is not None
        return entry.gpi

    for page, gpi in singles.items():
        assert gpi_at(page * granule) == gpi
        assert gpi_at(page * granule + granule - 1) == gpi
    for pa in (first, chosen, min(first + 2**range_bits, 2**geometry.pps) - 1):
        assert gpi_at(pa) == filled
    for pa in (data.draw(here), start):
        if pa // granule not in singles and not first <= pa < first + 2**range_bits:
            assert gpi_at(pa) == background


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_sizes_and_registers_of_every_geometry(geometry: Geometry) -> None:
    gpccr = geometry.gpccr()
    assert geometry.level_0_size == max(2**geometry.pps // 2**geometry.l0gptsz * 8, 4096)
    assert geometry.level_1_size == 2**geometry.l0gptsz // (16 * 2**geometry.pgs.value) * 8
    assert {12: 0, 16: 1, 14: 2}[geometry.pgs.value] == gpccr.PGS
    assert {32: 0, 36: 1, 40: 2, 42: 3, 44: 4, 48: 5, 52: 6}[geometry.pps] == gpccr.PPS
    assert {30: 0, 34: 4, 36: 6, 39: 9}[geometry.l0gptsz] == gpccr.L0GPTSZ
    assert gpccr.GPC == 1
    assert geometry.gpccr(enable=False) == gpccr.replace(GPC=0)


def test_tables_are_aligned_to_their_size_and_do_not_overlap() -> None:
    builder = GPTBuilder(Geometry(pgs=PGSe.PGS_64KB, pps=44), 0x12_3000, 1 << 24)
    tables = [builder.table(gigabyte << 30) for gigabyte in range(3)]
    assert builder.level_0 == 0x14_0000  # 2**14 entries: 128 KB, the next multiple
    assert builder.gptbr.value == 0x140
    assert tables == [0x16_0000, 0x16_2000, 0x16_4000]  # 2**10 entries: 8 KB each


def test_writes_are_runs_of_entries() -> None:
    builder = GPTBuilder(Geometry(), 0x10_0000, 1 << 20)
    for gigabyte in (0, 1, 3):
        builder.block(gigabyte << 30, 0b1111)
    block = (0xF1).to_bytes(8, "little")
    assert list(builder.writes()) == [(0x10_0000, block * 2), (0x10_0018, block)]


def test_misuse_is_named() -> None:
    with pytest.raises(ValueError, match="holds 16 GPI values, not 15"):
        granules_descriptor([0] * 15)
    with pytest.raises(
        ValueError, match=re.escape("pps must be one of 32, 36, 40, 42, 44, 46, 47, 48, 52, 56, not 41")
    ):
        Geometry(pps=41)
    with pytest.raises(ValueError, match=re.escape("l0gptsz must be one of 30, 34, 36, 39, not 31")):
        Geometry(l0gptsz=31)
    with pytest.raises(MemoryError, match=re.escape("needs memory up to 0x2000, the range given ends at 0x1fff")):
        GPTBuilder(Geometry(pps=32), 0x1000, 0xFFF)
    builder = GPTBuilder(Geometry(pps=32, l0gptsz=39), 0x10_0000, 1 << 27)
    builder.table(0)
    for build in (builder.block, builder.granule, builder.raw_level_0, builder.raw_level_1):
        with pytest.raises(ValueError, match="0x100000000 is above the protected size of 32 bits"):
            build(1 << 32, 0)
