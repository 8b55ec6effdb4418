"""Registers as typed values: laws that hold for every register, and layouts and encodings from the manual."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refmodel.bits import AlignDown, IsZero, Ones, Slice
from refmodel.registers import Bits, Register
from refmodel.sysregs import (
    CLIDR_EL1,
    ESR_EL3,
    GPCBW_EL3,
    GPCCR_EL3,
    GPTBR_EL3,
    HCR_EL2,
    HCRX_EL2,
    HPFAR_EL2,
    MFAR_EL3,
    PAR_EL1,
    REGISTERS,
    SCR_EL3,
    SCTLR2_EL1,
    SCTLR2_EL2,
    SCTLR_EL1,
    SCTLR_EL2,
    TCR_EL1,
    TCR_EL2,
    TCR_EL2_E2H,
    TCR_EL3,
    TTBR0_EL1,
    TTBR0_EL2,
    TTBR0_EL3,
    TTBR1_EL1,
    TTBR1_EL2,
    VSTCR_EL2,
    VSTTBR_EL2,
    VTCR_EL2,
    VTTBR_EL2,
)

values = st.integers(0, (1 << 64) - 1)
registers = st.sampled_from(REGISTERS)


@given(registers, values)
def test_fields_and_reserved_bits_make_up_the_value(kind: type[Register], value: int) -> None:
    register = kind(value)
    rebuilt = register.reserved
    for field in kind.fields:
        rebuilt |= getattr(register, field.name) << field.lsb
    assert rebuilt == value


@given(registers, values, st.data())
def test_replace_changes_one_field_and_nothing_else(kind: type[Register], value: int, data: st.DataObject) -> None:
    field = data.draw(st.sampled_from(kind.fields))
    wanted = data.draw(st.integers(0, (1 << (field.msb - field.lsb + 1)) - 1))
    before, after = kind(value), kind(value).replace(**{field.name: wanted})
    assert getattr(after, field.name) == wanted
    assert before.value == value
    others = [other.name for other in kind.fields if other is not field]
    assert [getattr(after, name) for name in others] == [getattr(before, name) for name in others]
    assert after.reserved == before.reserved


@given(registers, values, values)
def test_equality_and_hash_are_by_type_and_value(kind: type[Register], one: int, other: int) -> None:
    assert (kind(one) == kind(other)) is (one == other)
    assert hash(kind(one)) == hash(kind(one))
    assert all(kind(one) != different(one) for different in REGISTERS if different is not kind)


# DDI 0487, "Accessing the ...": op0, op1, CRn, CRm, op2.
ENCODINGS = {
    GPCCR_EL3: (3, 6, 2, 1, 6),
    GPTBR_EL3: (3, 6, 2, 1, 4),
    MFAR_EL3: (3, 6, 6, 0, 5),
    ESR_EL3: (3, 6, 5, 2, 0),
    SCR_EL3: (3, 6, 1, 1, 0),
    TTBR0_EL3: (3, 6, 2, 0, 0),
    TCR_EL3: (3, 6, 2, 0, 2),
    GPCBW_EL3: (3, 6, 2, 1, 5),
    HCR_EL2: (3, 4, 1, 1, 0),
    HCRX_EL2: (3, 4, 1, 2, 2),
    SCTLR2_EL1: (3, 0, 1, 0, 3),
    SCTLR2_EL2: (3, 4, 1, 0, 3),
    HPFAR_EL2: (3, 4, 6, 0, 4),
    PAR_EL1: (3, 0, 7, 4, 0),
    CLIDR_EL1: (3, 1, 0, 0, 1),
    SCTLR_EL1: (3, 0, 1, 0, 0),
    SCTLR_EL2: (3, 4, 1, 0, 0),
    TCR_EL1: (3, 0, 2, 0, 2),
    TCR_EL2: (3, 4, 2, 0, 2),
    TCR_EL2_E2H: (3, 4, 2, 0, 2),
    TTBR0_EL1: (3, 0, 2, 0, 0),
    TTBR1_EL1: (3, 0, 2, 0, 1),
    TTBR0_EL2: (3, 4, 2, 0, 0),
    TTBR1_EL2: (3, 4, 2, 0, 1),
    VTTBR_EL2: (3, 4, 2, 1, 0),
    VTCR_EL2: (3, 4, 2, 1, 2),
    VSTTBR_EL2: (3, 4, 2, 6, 0),
    VSTCR_EL2: (3, 4, 2, 6, 2),
}


def test_encodings() -> None:
    assert {register: register.encoding for register in REGISTERS} == ENCODINGS


# DDI 0487, the register descriptions; one bit or field at a time.
@pytest.mark.parametrize(
    ("register", "name", "mask"),
    [
        (GPCCR_EL3, "L0GPTSZ", 0x0000_0000_00F0_0000),
        (GPCCR_EL3, "GPCP", 0x0000_0000_0002_0000),
        (GPCCR_EL3, "GPC", 0x0000_0000_0001_0000),
        (GPCCR_EL3, "PGS", 0x0000_0000_0000_C000),
        (GPCCR_EL3, "SH", 0x0000_0000_0000_3000),
        (GPCCR_EL3, "ORGN", 0x0000_0000_0000_0C00),
        (GPCCR_EL3, "IRGN", 0x0000_0000_0000_0300),
        (GPCCR_EL3, "PPS", 0x0000_0000_0000_0007),
        (GPCCR_EL3, "GPCBW", 0x0000_0000_2000_0000),
        (GPCCR_EL3, "APPSAA", 0x0000_0000_0100_0000),
        (GPCCR_EL3, "NSO", 0x0000_0000_0008_0000),
        (GPCCR_EL3, "SPAD", 0x0000_0000_0000_0080),
        (GPCCR_EL3, "NSPAD", 0x0000_0000_0000_0040),
        (GPCCR_EL3, "RLPAD", 0x0000_0000_0000_0020),
        (GPCCR_EL3, "PPS3", 0x0000_0000_0000_0008),
        (GPTBR_EL3, "BADDR_55_52", 0x0000_0F00_0000_0000),
        (GPTBR_EL3, "BADDR", 0x0000_00FF_FFFF_FFFF),
        (GPCBW_EL3, "BWSIZE", 0x0000_00E0_0000_0000),
        (GPCBW_EL3, "BWSTRIDE", 0x0000_001F_0000_0000),
        (GPCBW_EL3, "BWADDR", 0x0000_0000_03FF_FFFF),
        (HCR_EL2, "GPF", 0x0001_0000_0000_0000),
        (HCR_EL2, "TEA", 0x0000_0020_0000_0000),
        (HCR_EL2, "E2H", 0x0000_0004_0000_0000),
        (HCR_EL2, "TGE", 0x0000_0000_0800_0000),
        (HCR_EL2, "VM", 0x0000_0000_0000_0001),
        (HCRX_EL2, "TMEA", 0x0000_0000_0008_0000),
        (SCTLR2_EL1, "EASE", 0x0000_0000_0000_0020),
        (HPFAR_EL2, "FIPA", 0x0000_FFFF_FFFF_FFF0),
        (PAR_EL1, "FST", 0x0000_0000_0000_007E),
        (SCR_EL3, "TMEA", 0x0008_0000_0000_0000),
        (SCR_EL3, "SIF", 0x0000_0000_0000_0200),
        (TCR_EL1, "IPS", 0x0000_0007_0000_0000),
        (TCR_EL1, "EPD1", 0x0000_0000_0080_0000),
        (TCR_EL1, "DS", 0x0800_0000_0000_0000),
        (TCR_EL2, "HPD", 0x0000_0000_0100_0000),
        (MFAR_EL3, "NS", 0x8000_0000_0000_0000),
        (MFAR_EL3, "NSE", 0x4000_0000_0000_0000),
        (MFAR_EL3, "FPA", 0x00FF_FFFF_FFFF_F000),
        (ESR_EL3, "ISS2", 0x00FF_FFFF_0000_0000),
        (ESR_EL3, "EC", 0x0000_0000_FC00_0000),
        (ESR_EL3, "IL", 0x0000_0000_0200_0000),
        (ESR_EL3, "ISS", 0x0000_0000_01FF_FFFF),
        (SCR_EL3, "NSE", 0x4000_0000_0000_0000),
        (SCR_EL3, "GPF", 0x0001_0000_0000_0000),
        (SCR_EL3, "EASE", 0x0000_0000_0008_0000),
        (SCR_EL3, "EEL2", 0x0000_0000_0004_0000),
        (SCR_EL3, "EA", 0x0000_0000_0000_0008),
        (SCR_EL3, "NS", 0x0000_0000_0000_0001),
        (TTBR0_EL3, "CnP", 0x0000_0000_0000_0001),
        (TCR_EL3, "DS", 0x0000_0001_0000_0000),
        (TCR_EL3, "PS", 0x0000_0000_0007_0000),
        (TCR_EL3, "TG0", 0x0000_0000_0000_C000),
        (TCR_EL3, "T0SZ", 0x0000_0000_0000_003F),
    ],
)
def test_layout(register: type[Register], name: str, mask: int) -> None:
    assert getattr(register, name).mask == mask


def test_print_like_the_manual() -> None:
    shown = str(GPCCR_EL3(0x8001_3502))
    assert shown == (
        "GPCCR_EL3=0x0000000080013502 [GPCBW=0b0 (no bypass windows) APPSAA=0b0 (above PPS Non-secure only) "
        "L0GPTSZ=0b0000 (1GB) NSO=0b0 (GPI 0b1101 reserved) GPCP=0b0 (all GPC faults reported) GPC=0b1 (enabled) "
        "PGS=0b00 (4KB) SH=0b11 (Inner) ORGN=0b01 (WB RAWA) IRGN=0b01 (WB RAWA) SPAD=0b0 NSPAD=0b0 RLPAD=0b0 "
        "PPS3=0b0 PPS=0b010 (1TB) reserved=0x80000000]"
    )
    assert str(GPTBR_EL3(0x1234)) == "GPTBR_EL3=0x0000000000001234 [BADDR_55_52=0b0000 BADDR=0x1234]"
    assert repr(GPTBR_EL3(0x1234)) == "GPTBR_EL3(0x1234)"


def test_overlapping_fields_are_refused() -> None:
    with pytest.raises(TypeError, match=re.escape("Overlap.low [4:0] overlaps another field")):

        class Overlap(Register):
            high = Bits(7, 4)
            low = Bits(4, 0)


def test_a_derived_register_adds_to_the_fields_it_inherits() -> None:
    class Wider(GPTBR_EL3):
        TOP = Bits(63)

    assert [field.name for field in Wider.fields] == ["TOP", "BADDR_55_52", "BADDR"]
    assert [field.name for field in GPTBR_EL3.fields] == ["BADDR_55_52", "BADDR"]
    assert Wider.encoding == (3, 6, 2, 1, 4)
    assert Wider(1 << 63).reserved == 0


@pytest.mark.parametrize(("msb", "lsb"), [(64, 0), (3, 4), (1, -1)])
def test_impossible_bits_are_refused(msb: int, lsb: int) -> None:
    with pytest.raises(TypeError, match=re.escape(f"0 <= lsb <= msb <= 63, not [{msb}:{lsb}]")):
        Bits(msb, lsb)


@pytest.mark.parametrize("value", [-1, 1 << 64])
def test_values_that_do_not_fit_are_refused(value: int) -> None:
    with pytest.raises(ValueError, match=re.escape(f"GPCCR_EL3 holds 64 bits, {value} does not fit")):
        GPCCR_EL3(value)
    with pytest.raises(ValueError, match=re.escape(f"PPS is 3 bits wide, {value} does not fit")):
        GPCCR_EL3.of(PPS=value)


def test_unknown_fields_are_named_with_the_known_ones() -> None:
    with pytest.raises(TypeError, match="GPTBR_EL3 has no field PPS; it has BADDR_55_52, BADDR"):
        GPTBR_EL3.of(PPS=1)
    with pytest.raises(TypeError, match="GPTBR_EL3 has no field value; it has BADDR_55_52, BADDR"):
        GPTBR_EL3.of(value=1)


def test_registers_are_immutable() -> None:
    with pytest.raises(AttributeError, match=re.escape("GPCCR_EL3 is immutable; use replace(PPS=...)")):
        GPCCR_EL3().PPS = 1


@given(values, st.integers(0, 63), st.integers(0, 63))
def test_slice(value: int, msb: int, lsb: int) -> None:
    """``value[msb:lsb]``, worked out from the binary digits."""
    digits = f"{value:064b}"[63 - msb : 64 - lsb]
    assert Slice(value, msb, lsb) == (int(digits, 2) if digits and msb >= lsb else 0)


def test_small_helpers() -> None:
    assert [Ones(0), Ones(1), Ones(12)] == [0, 1, 0xFFF]
    assert (IsZero(0), IsZero(4)) == (True, False)
    assert (AlignDown(0x1FFF, 12), AlignDown(0x1FFF, 0)) == (0x1000, 0x1FFF)
