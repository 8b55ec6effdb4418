"""GPCCR_EL3: which configurations are consistent, what the size fields mean, where GPTBR_EL3 points."""

from __future__ import annotations

import itertools

import pytest

from refmodel.features import Features
from refmodel.gpt.check import GPCRegistersConsistent
from refmodel.gpt.decode import AbovePPS, DecodePGS, DecodePPS, GPTL0Size
from refmodel.gpt.types import GPCState, PGSe
from refmodel.gpt.walk import GPTBaseAddress
from refmodel.observe import RuleCollector
from refmodel.rules import Rule
from refmodel.sysregs import GPCCR_EL3, GPTBR_EL3

# DDI 0487, GPCCR_EL3.PPS: protected size in bits.
PPS_BITS = {0: 32, 1: 36, 2: 40, 3: 42, 4: 44, 5: 48, 6: 52}


def state(gpccr: int, gptbr: int = 0, features: Features = Features(pamax=52)) -> GPCState:  # noqa: B008
    return GPCState(GPCCR_EL3(gpccr), GPTBR_EL3(gptbr), features)


@pytest.mark.parametrize("pamax", [32, 36, 40, 42, 44, 48, 52, 56])
def test_every_configuration(pamax: int) -> None:
    """All 2048 values of {PPS, PGS, SH, ORGN, IRGN} against the four conditions of ``GPCRegistersConsistent``."""
    features = Features(pamax=pamax)
    for pps, pgs, sh, orgn, irgn in itertools.product(range(8), range(4), range(4), range(4), range(4)):
        value = pgs << 14 | sh << 12 | orgn << 10 | irgn << 8 | pps
        good = pps in PPS_BITS and PPS_BITS[pps] <= pamax
        good &= pgs in (0b00, 0b01, 0b10)
        good &= sh in (0b00, 0b10, 0b11)
        good &= sh == 0b10 or orgn != 0 or irgn != 0
        assert GPCRegistersConsistent(state(value, features=features)) is good, f"{value:#x}, PAMax {pamax}"


@pytest.mark.parametrize(
    ("gpccr", "rules"),
    [
        (0x3507, [Rule.PPS_RESERVED]),
        (0xF502, [Rule.PGS_RESERVED]),
        (0x1502, [Rule.SH_RESERVED]),
        (0x3002, [Rule.NC_NEEDS_OUTER]),
        (0x0002, [Rule.NC_NEEDS_OUTER]),
        (0x2002, [Rule.NC_NEEDS_OUTER]),
        (0x3502, []),
        # Several conditions at once: the first of the pseudocode's order decides.
        (0xF007, [Rule.PPS_RESERVED]),
        (0xD002, [Rule.PGS_RESERVED]),
        (0x1002, [Rule.SH_RESERVED]),
    ],
)
def test_the_rule_that_decides(gpccr: int, rules: list[Rule]) -> None:
    collector = RuleCollector()
    GPCRegistersConsistent(state(gpccr), collector)
    assert collector.rules == rules


def test_size_fields() -> None:
    assert {field: DecodePPS(GPCCR_EL3.of(PPS=field)) for field in range(7)} == PPS_BITS
    # DDI 0487, GPCCR_EL3.PGS: 00 4KB, 01 64KB, 10 16KB.
    granules = [DecodePGS(GPCCR_EL3.of(PGS=field)) for field in range(3)]
    assert granules == [PGSe.PGS_4KB, PGSe.PGS_64KB, PGSe.PGS_16KB]
    assert [granule.value for granule in granules] == [12, 16, 14]
    # DDI 0487, GPCCR_EL3.L0GPTSZ: 1GB, 16GB, 64GB, 512GB.
    assert [GPTL0Size(GPCCR_EL3.of(L0GPTSZ=field)) for field in (0b0000, 0b0100, 0b0110, 0b1001)] == [30, 34, 36, 39]


def test_reserved_sizes_have_no_meaning() -> None:
    with pytest.raises(KeyError):
        DecodePPS(GPCCR_EL3.of(PPS3=1, PPS=2))
    with pytest.raises(KeyError):
        DecodePGS(GPCCR_EL3.of(PGS=3))
    for field in set(range(16)) - {0b0000, 0b0100, 0b0110, 0b1001}:
        with pytest.raises(KeyError):
            GPTL0Size(GPCCR_EL3.of(L0GPTSZ=field))


@pytest.mark.parametrize(("field", "bits"), PPS_BITS.items())
def test_the_first_address_above_the_protected_size(field: int, bits: int) -> None:
    gpccr = GPCCR_EL3.of(PPS=field)
    assert not AbovePPS(gpccr, 2**bits - 1)
    assert AbovePPS(gpccr, 2**bits)
    assert AbovePPS(gpccr, 1 << 55)


@pytest.mark.parametrize(
    ("pps", "l0gptsz", "clear_bits"),
    # GPTWalk: alignment is Max(pps - l0sz + 3, 12); the numbers are worked out by hand.
    [
        (0, 0b0000, 12),  # 32 - 30 + 3 = 5
        (2, 0b0000, 13),  # 40 - 30 + 3
        (3, 0b0000, 15),  # 42 - 30 + 3
        (4, 0b0000, 17),  # 44 - 30 + 3
        (5, 0b0000, 21),  # 48 - 30 + 3
        (6, 0b0000, 25),  # 52 - 30 + 3
        (5, 0b0100, 17),  # 48 - 34 + 3
        (6, 0b0100, 21),  # 52 - 34 + 3
        (6, 0b0110, 19),  # 52 - 36 + 3
        (6, 0b1001, 16),  # 52 - 39 + 3
        (0, 0b1001, 12),  # 32 - 39 + 3 < 0
    ],
)
def test_gptbr_bits_below_the_alignment_are_taken_as_zero(pps: int, l0gptsz: int, clear_bits: int) -> None:
    ones = (1 << 40) - 1
    base = GPTBaseAddress(state(pps | l0gptsz << 20, ones))
    assert base == 0xF_FFFF_FFFF_FFFF - (2**clear_bits - 1)
