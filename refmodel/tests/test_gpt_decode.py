"""Descriptors by hand: which are well formed, what they say, and which rule refuses the others."""

from __future__ import annotations

import pytest

from refmodel.features import Features
from refmodel.gpt.decode import (
    DecodeGPTBlock,
    DecodeGPTContiguous,
    DecodeGPTGranules,
    DecodeGPTTable,
    GPIValid,
    gpi_name,
)
from refmodel.gpt.types import GPCF, GPCState, GPTEntry, PGSe
from refmodel.rules import Rule
from refmodel.sysregs import GPCCR_EL3, GPTBR_EL3

ALLOCATED = (0b0000, 0b1000, 0b1001, 0b1010, 0b1011, 0b1111)
RESERVED = tuple(sorted(set(range(16)) - set(ALLOCATED)))
WALK, SIZE, NONE = GPCF.GPCF_Walk, GPCF.GPCF_AddressSize, GPCF.GPCF_None
L0GPTSZ = {30: 0b0000, 34: 0b0100, 36: 0b0110, 39: 0b1001}


def state(*, l0gptsz: int = 30, pps: int = 6, sel2: bool = True) -> GPCState:
    gpccr = GPCCR_EL3.of(L0GPTSZ=L0GPTSZ[l0gptsz], PPS=pps)
    return GPCState(gpccr, GPTBR_EL3(), Features(pamax=52, sel2=sel2))


@pytest.mark.parametrize("gpi", range(16))
def test_gpi_encodings(gpi: int) -> None:
    """``GPIValid``: 0000, 1000 (with FEAT_SEL2 only), 1001, 1010, 1011, 1111."""
    assert GPIValid(Features(sel2=True), gpi) is (gpi in ALLOCATED)
    assert GPIValid(Features(sel2=False), gpi) is (gpi in ALLOCATED and gpi != 0b1000)


def test_gpi_names() -> None:
    assert [gpi_name(0), gpi_name(0b1011), gpi_name(1)] == ["0000 (No access)", "1011 (Realm)", "0001 (reserved)"]


@pytest.mark.parametrize("gpi", ALLOCATED)
@pytest.mark.parametrize("l0gptsz", L0GPTSZ)
def test_block(gpi: int, l0gptsz: int) -> None:
    gpf, entry, rule = DecodeGPTBlock(state(l0gptsz=l0gptsz), PGSe.PGS_16KB, gpi << 4 | 0b0001)
    assert (gpf, entry, rule) == (NONE, GPTEntry(gpi, size=14, contig_size=l0gptsz, level=0), Rule.L0_BLOCK)


@pytest.mark.parametrize("bit", range(8, 64))
def test_block_reserved_bits(bit: int) -> None:
    """[63:8] are RES0; they are looked at before the GPI is."""
    for gpi in (0b1111, 0b0001):
        assert DecodeGPTBlock(state(), PGSe.PGS_4KB, 1 << bit | gpi << 4 | 1) == (WALK, None, Rule.L0_BLOCK_RESERVED)


@pytest.mark.parametrize("gpi", RESERVED)
def test_reserved_gpi_in_block_and_contiguous(gpi: int) -> None:
    assert DecodeGPTBlock(state(), PGSe.PGS_4KB, gpi << 4 | 1) == (WALK, None, Rule.L0_BLOCK_GPI_RESERVED)
    contiguous = DecodeGPTContiguous(state(), PGSe.PGS_4KB, 0x100 | gpi << 4 | 1)
    assert contiguous == (WALK, None, Rule.L1_CONTIGUOUS_GPI_RESERVED)


def test_secure_gpi_needs_secure_state() -> None:
    without = state(sel2=False)
    assert DecodeGPTBlock(without, PGSe.PGS_4KB, 0x81)[::2] == (WALK, Rule.L0_BLOCK_GPI_RESERVED)
    assert DecodeGPTContiguous(without, PGSe.PGS_4KB, 0x181)[::2] == (WALK, Rule.L1_CONTIGUOUS_GPI_RESERVED)
    granules = DecodeGPTGranules(without, PGSe.PGS_4KB, 5, 0x9999_9999_9989_9999)
    assert granules == (WALK, None, Rule.L1_GRANULES_GPI_RESERVED)
    granules = DecodeGPTGranules(without, PGSe.PGS_4KB, 0, 0x9999_9999_9989_9999)
    assert granules == (WALK, None, Rule.L1_GRANULES_OTHER_GPI_RESERVED)


# DDI 0487, Contig field of a Contiguous descriptor: 01 2MB, 10 32MB, 11 512MB.
@pytest.mark.parametrize(("descriptor", "range_bits"), [(0x1A1, 21), (0x2A1, 25), (0x3A1, 29)])
@pytest.mark.parametrize("pgs", PGSe)
def test_contiguous(descriptor: int, range_bits: int, pgs: PGSe) -> None:
    gpf, entry, rule = DecodeGPTContiguous(state(), pgs, descriptor)
    assert (gpf, entry, rule) == (NONE, GPTEntry(0b1010, pgs.value, range_bits, level=1), Rule.L1_CONTIGUOUS)


def test_contiguous_refused() -> None:
    assert DecodeGPTContiguous(state(), PGSe.PGS_4KB, 0x0A1) == (WALK, None, Rule.L1_CONTIGUOUS_SIZE_RESERVED)
    for bit in range(10, 64):
        refused = DecodeGPTContiguous(state(), PGSe.PGS_4KB, 1 << bit | 0x1A1)
        assert refused == (WALK, None, Rule.L1_CONTIGUOUS_RESERVED)


@pytest.mark.parametrize("index", range(16))
def test_granules(index: int) -> None:
    """Field i is bits [4i+3:4i]: here 8 9 A B F 0 and so on, granule 0 first."""
    fields = [0x8, 0x9, 0xA, 0xB, 0xF, 0x0, 0x8, 0x9, 0xA, 0xB, 0xF, 0x0, 0x8, 0x9, 0xA, 0xB]
    gpf, entry, rule = DecodeGPTGranules(state(), PGSe.PGS_64KB, index, 0xBA98_0FBA_980F_BA98)
    assert (gpf, entry, rule) == (NONE, GPTEntry(fields[index], 16, 16, level=1), Rule.L1_GRANULES)


@pytest.mark.parametrize("reserved", RESERVED)
def test_a_reserved_gpi_anywhere_spoils_a_granules_descriptor(reserved: int) -> None:
    for place in range(16):
        entry = 0xFFFF_FFFF_FFFF_FFFF & ~(0xF << 4 * place) | reserved << 4 * place
        for index in (0, place, 15):
            refused = DecodeGPTGranules(state(), PGSe.PGS_4KB, index, entry)
            own = Rule.L1_GRANULES_GPI_RESERVED if index == place else Rule.L1_GRANULES_OTHER_GPI_RESERVED
            assert refused == (WALK, None, own)


@pytest.mark.parametrize("bit", [*range(4, 12), *range(52, 64)])
def test_table_reserved_bits(bit: int) -> None:
    refused = DecodeGPTTable(state(), PGSe.PGS_4KB, 1 << bit | 0x8000_0003)
    assert refused == (WALK, None, Rule.L0_TABLE_RESERVED)


# A level 1 table has one doubleword for each 16 granules of the 1 << l0gptsz bytes: log2 of its size by hand.
TABLE_BITS = {
    (30, 12): 17, (30, 14): 15, (30, 16): 13,
    (34, 12): 21, (34, 14): 19, (34, 16): 17,
    (36, 12): 23, (36, 14): 21, (36, 16): 19,
    (39, 12): 26, (39, 14): 24, (39, 16): 22,
}  # fmt: skip


@pytest.mark.parametrize(("l0gptsz", "pgs"), TABLE_BITS)
def test_table_alignment(l0gptsz: int, pgs: int) -> None:
    """Every address bit below the table's size is RES0, every one from there to bit 51 is address."""
    aligned = TABLE_BITS[l0gptsz, pgs]
    for bit in range(12, 52):
        gpf, table, rule = DecodeGPTTable(state(l0gptsz=l0gptsz), PGSe(pgs), 1 << bit | 0b0011)
        if bit < aligned:
            assert (gpf, table, rule) == (WALK, None, Rule.L0_TABLE_ALIGNMENT)
        else:
            assert gpf is NONE
            assert table is not None
            assert table.address == 1 << bit


def test_table_above_the_protected_size() -> None:
    """Reserved bits and alignment are looked at first, then the size (PPS = 36 bits here)."""
    small = state(pps=1)
    assert DecodeGPTTable(small, PGSe.PGS_4KB, 1 << 36 | 3) == (SIZE, None, Rule.L0_TABLE_ABOVE_PPS)
    assert DecodeGPTTable(small, PGSe.PGS_4KB, 1 << 36 | 1 << 16 | 3) == (WALK, None, Rule.L0_TABLE_ALIGNMENT)
    assert DecodeGPTTable(small, PGSe.PGS_4KB, 1 << 36 | 1 << 4 | 3) == (WALK, None, Rule.L0_TABLE_RESERVED)
    assert DecodeGPTTable(small, PGSe.PGS_4KB, 1 << 35 | 3)[0] is NONE
