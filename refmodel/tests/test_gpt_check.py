"""The granule protection check: the GPI matrix, and the order in which the conditions are looked at."""

from __future__ import annotations

import pytest

from refmodel.features import Features
from refmodel.gpt.check import GPICheck, GranuleProtectionCheck
from refmodel.gpt.types import GPCF, GPCFRecord, GPCState
from refmodel.memory import Memory
from refmodel.observe import RuleCollector, Tracer
from refmodel.pas import FullAddress, PASpace
from refmodel.rules import Rule
from refmodel.sysregs import GPCCR_EL3, GPTBR_EL3
from refmodel.tests.machine import (
    GPCCR_ON,
    GPT_L0,
    NON_SECURE,
    REALM,
    ROOT,
    SECURE,
    everything_is_ram,
    put,
)

NONE, FAIL, WALK, SIZE = GPCF.GPCF_None, GPCF.GPCF_Fail, GPCF.GPCF_Walk, GPCF.GPCF_AddressSize

# DDI 0487, pseudocode GPICheck: rows are GPI encodings, columns Secure, Non-secure, Root, Realm.
MATRIX = {
    0b0000: (False, False, False, False),
    0b1000: (True, False, False, False),
    0b1001: (False, True, False, False),
    0b1010: (False, False, True, False),
    0b1011: (False, False, False, True),
    0b1111: (True, True, True, True),
}


@pytest.mark.parametrize("gpi", MATRIX)
def test_gpi_matrix(gpi: int) -> None:
    assert tuple(GPICheck(pas, gpi) for pas in (SECURE, NON_SECURE, ROOT, REALM)) == MATRIX[gpi]


def test_a_reserved_gpi_never_gets_that_far() -> None:
    with pytest.raises(AssertionError, match=r"GPI 0101 \(reserved\) is not valid"):
        GPICheck(ROOT, 0b0101)


def check(memory: Memory, gpccr: int, gptbr: int, address: FullAddress) -> tuple[GPCFRecord, list[Rule]]:
    collector = RuleCollector()
    gpc = GPCState(GPCCR_EL3(gpccr), GPTBR_EL3(gptbr), Features(pamax=48))
    return GranuleProtectionCheck(gpc, memory, address, collector), collector.rules


OFF = GPCCR_ON & ~0x1_0000
ABOVE = 1 << 40
GPTBR_ABOVE = 1 << 40 - 12


# Each row breaks one condition more than the row above; the result is that of the condition added last.
# DDI 0487, pseudocode GranuleProtectionCheck.
@pytest.mark.parametrize(
    ("gpccr", "gptbr", "pas", "pa", "gpf", "level", "rule"),
    [
        (GPCCR_ON, GPT_L0 >> 12, ROOT, 0x1000, FAIL, 0, Rule.GPI_REALM),
        (GPCCR_ON, GPT_L0 + 0x2000 >> 12, ROOT, 0x1000, WALK, 0, Rule.L0_INVALID),
        (GPCCR_ON, GPTBR_ABOVE, ROOT, 0x1000, SIZE, 0, Rule.GPTBR_ABOVE_PPS),
        (GPCCR_ON, GPTBR_ABOVE, ROOT, ABOVE, FAIL, 0, Rule.ABOVE_PPS_FAULT),
        (GPCCR_ON, GPTBR_ABOVE, NON_SECURE, ABOVE, NONE, 0, Rule.ABOVE_PPS_NON_SECURE),
        # SH = 01: inconsistent, for the Non-secure address above the protected size too.
        (GPCCR_ON & ~0x2000, GPTBR_ABOVE, NON_SECURE, ABOVE, WALK, 0, Rule.SH_RESERVED),
        # PPS = 52 bits on a PE with 48.
        (GPCCR_ON & ~0x2007 | 6, GPTBR_ABOVE, NON_SECURE, ABOVE, WALK, 0, Rule.PPS_RESERVED),
        (OFF & ~0x2007 | 7, GPTBR_ABOVE, ROOT, ABOVE, NONE, 0, Rule.DISABLED),
    ],
)
def test_order(gpccr: int, gptbr: int, pas: PASpace, pa: int, gpf: GPCF, level: int, rule: Rule) -> None:
    memory = everything_is_ram()
    put(memory, GPT_L0, 0b1011 << 4 | 1)
    record, rules = check(memory, gpccr, gptbr, FullAddress(pas, pa))
    assert (record, rules[-1]) == (GPCFRecord(gpf, level), rule)


@pytest.mark.parametrize("pas", PASpace)
@pytest.mark.parametrize("gpi", MATRIX)
def test_a_refusal_carries_the_level_of_the_entry(gpi: int, pas: PASpace) -> None:
    granted = MATRIX[gpi][(SECURE, NON_SECURE, ROOT, REALM).index(pas)]
    memory = everything_is_ram()
    put(memory, GPT_L0, gpi << 4 | 1)
    put(memory, GPT_L0 + 8, 0x8000_0003)
    put(memory, 0x8000_0000, gpi | 0xFFF0)
    for pa, level in ((0, 0), (1 << 30, 1)):
        record, _ = check(memory, GPCCR_ON, GPT_L0 >> 12, FullAddress(pas, pa))
        assert record == (GPCFRecord(NONE, 0) if granted else GPCFRecord(FAIL, level))


def test_steps_in_words() -> None:
    memory = everything_is_ram()
    put(memory, GPT_L0, 0b1011 << 4 | 1)
    tracer = Tracer()
    gpc = GPCState(GPCCR_EL3(GPCCR_ON), GPTBR_EL3(GPT_L0 >> 12), Features())
    GranuleProtectionCheck(gpc, memory, FullAddress(ROOT, 0x1234), tracer)
    assert [str(step) for step in tracer.steps] == [
        "GPC-010: level 0 entry [0] at 0x100000 = 0xb1",
        "GPC-014: Block descriptor: GPI 1011, level 0, range 1 << 30",
        "GPC-034: GPI 1011, access to Root:0x1234: False",
    ]
