"""One access end to end: (GPCCR_EL3, descriptors, PA, PAS) to the exact ESR_EL3, MFAR_EL3 and FAR_EL3, by hand.

The pseudocode goes ``AArch64_TranslateAddress`` -> ``GranuleProtectionCheck`` -> ``AArch64_Abort``; the numbers are put
together as in ``test_faults.py``.  FAR_EL3 is always the virtual address.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refmodel.access import ACCESSES, PermittedOutcomes
from refmodel.choices import Chooser
from refmodel.features import Features
from refmodel.gpt.cache import PossibleGPT
from refmodel.gpt.check import GranuleProtectionCheck
from refmodel.gpt.types import GPCF
from refmodel.observe import unobserved
from refmodel.outcomes import AccessPerformed, ExceptionTaken
from refmodel.pas import FullAddress, PASpace
from refmodel.rules import Rule
from refmodel.sysregs import GPCCR_EL3
from refmodel.tests.machine import (
    FEATURES,
    GB,
    GPCCR_ON,
    GPT_L0,
    GPT_L1,
    NON_SECURE,
    RAM_TOP,
    REALM,
    ROOT,
    SECURE,
    Machine,
    put,
    va_of,
)

PA = GB + 0x5678
"""Second GB: level 0 entry 1, level 1 entry 0, granule 5 with 4 KB granules."""

TABLE = GPT_L1 | 0b0011
ANY = 0xFFFF_FFFF_FFFF_FFFF
ON_64KB = GPCCR_ON | 0x4000


def run(machine: Machine, level_0: int, level_1: int, kind: str, pas: PASpace, pa: int) -> list[str]:
    """The permitted set as text: ``none``, or ESR with MFAR."""
    put(machine.memory, GPT_L0 + 8, level_0)
    put(machine.memory, GPT_L1, level_1)
    return [text(a.outcome, va_of(pa, pas)) for a in machine.permitted(kind, pa, pas).alternatives]


def text(outcome: AccessPerformed | ExceptionTaken, va: int) -> str:
    if isinstance(outcome, AccessPerformed):
        return "none"
    s = outcome.syndrome
    if outcome.far is not None:
        assert outcome.far == va
    mfar = "" if outcome.mfar is None else f" MFAR {outcome.mfar:#018x}"
    return f"ESR {s.ec << 26 | s.il << 25 | s.iss:#x} vector {s.vector:#x}{mfar}"


# MFAR_EL3 of PA 0x4000_5678: page 0x4000_5000, NS in bit 63, NSE in bit 62.
M_SECURE, M_NON_SECURE = " MFAR 0x0000000040005000", " MFAR 0x8000000040005000"
M_ROOT, M_REALM = " MFAR 0x4000000040005000", " MFAR 0xc000000040005000"


@pytest.mark.parametrize(
    ("gpccr", "level_0", "level_1", "pas", "kind", "expected"),
    [
        # Permitted: Block, Contiguous, Granules field 5.
        (GPCCR_ON, 0xA1, 0, ROOT, "store", "none"),
        (GPCCR_ON, TABLE, 0x191, NON_SECURE, "load", "none"),
        (GPCCR_ON, TABLE, 0x0000_0000_00B0_0000, REALM, "atomic", "none"),
        # GPI refuses: a Data or Instruction Abort at EL3, MFAR_EL3 UNKNOWN.
        (GPCCR_ON, 0xA1, 0, REALM, "load", "ESR 0x96000028 vector 0x200"),
        (GPCCR_ON, TABLE, 0x0000_0000_00B0_0000, ROOT, "store", "ESR 0x96000068 vector 0x200"),
        (GPCCR_ON, TABLE, 0xFFFF_FFFF_FF0F_FFFF, ROOT, "fetch", "ESR 0x86000028 vector 0x200"),
        (GPCCR_ON, TABLE, 0x181, ROOT, "atomic", "ESR 0x96000028 vector 0x200"),
        # Stage 1 comes first: Root does not execute from another space, whatever the GPT says (level 1 leaf).
        (GPCCR_ON, 0x01, 0, REALM, "fetch", "ESR 0x8600000d vector 0x200"),
        # Malformed level 0 entries: EC 0x1E, GPCSC 000100.
        (GPCCR_ON, 0x0, 0, SECURE, "load", "ESR 0x7a010028 vector 0x200" + M_SECURE),
        (GPCCR_ON, 0x1F1, 0, NON_SECURE, "store", "ESR 0x7a010068 vector 0x200" + M_NON_SECURE),
        (GPCCR_ON, 0x51, 0, ROOT, "fetch", "ESR 0x7a110028 vector 0x200" + M_ROOT),
        (GPCCR_ON, TABLE | 1 << 16, ANY, REALM, "load", "ESR 0x7a010028 vector 0x200" + M_REALM),
        (GPCCR_ON, TABLE | 1 << 4, ANY, REALM, "store", "ESR 0x7a010068 vector 0x200" + M_REALM),
        (GPCCR_ON, TABLE | 1 << 63, ANY, SECURE, "fetch", "ESR 0x8600000d vector 0x200"),
        (GPCCR_ON, TABLE | 1 << 63, ANY, SECURE, "load", "ESR 0x7a010028 vector 0x200" + M_SECURE),
        # With 64KB granules bit 16 of the table's address is address, bit 12 is still reserved.
        (ON_64KB, TABLE | 1 << 16, ANY, ROOT, "load", "none"),
        (ON_64KB, TABLE | 1 << 12, ANY, ROOT, "load", "ESR 0x7a010028 vector 0x200" + M_ROOT),
        # A table above the protected 40 bits: address size fault, GPCSC 000000.
        (GPCCR_ON, 1 << 40 | 0b0011, 0, REALM, "store", "ESR 0x7a000068 vector 0x200" + M_REALM),
        # Malformed level 1 entries: GPCSC 000101.
        (GPCCR_ON, TABLE, 0x0F1, REALM, "load", "ESR 0x7a014028 vector 0x200" + M_REALM),
        (GPCCR_ON, TABLE, 0x5F1, REALM, "store", "ESR 0x7a014068 vector 0x200" + M_REALM),
        (GPCCR_ON, TABLE, 0x151, REALM, "store", "ESR 0x7a014068 vector 0x200" + M_REALM),
        (GPCCR_ON, TABLE, 0x7FFF_FFFF_FFFF_FFFF, ROOT, "atomic", "ESR 0x7a014028 vector 0x200" + M_ROOT),
        # Nothing answers at the level 1 table (5 GB): external abort on a GPT fetch, level 1, GPCSC 010101.
        (GPCCR_ON, 5 * GB | 0b0011, 0, SECURE, "dc-zva", "ESR 0x7a054068 vector 0x200" + M_SECURE),
        # GPC disabled: nothing is looked at.
        (GPCCR_ON & ~0x1_0000 | 7, 0, 0, REALM, "store", "none"),
    ],
)
def test_exact_outcomes(gpccr: int, level_0: int, level_1: int, pas: PASpace, kind: str, expected: str) -> None:
    machine = Machine(gpccr=gpccr)
    if level_0 == TABLE | 1 << 16:
        put(machine.memory, GPT_L1 | 1 << 16, ANY)
    assert run(machine, level_0, level_1, kind, pas, PA) == [expected]


@pytest.mark.parametrize(
    ("pas", "expected"),
    # Root, Realm, Secure above the protected size (PPS 32 bits): granule protection fault.  5 GB meets nothing, so that
    # Non-secure, which is not checked, ends in an external abort: synchronous, or an SError.
    [
        (ROOT, ["ESR 0x96000068 vector 0x200"]),
        (REALM, ["ESR 0x96000068 vector 0x200"]),
        (SECURE, ["ESR 0x96000068 vector 0x200"]),
        (NON_SECURE, ["ESR 0x96000050 vector 0x200", "ESR 0x96000450 vector 0x200", "ESR 0xbe000000 vector 0x380"]),
    ],
)
def test_above_the_protected_size(pas: PASpace, expected: list[str]) -> None:
    assert run(Machine(gpccr=GPCCR_ON & ~7), 0, 0, "store", pas, 5 * GB) == expected


@pytest.mark.parametrize(
    ("gpccr", "gptbr", "expected"),
    [
        # The walk's first fetch meets the fault: level 0 (0b100100), MFAR the Root page of the stage-1 table.
        (GPCCR_ON | 7, GPT_L0 >> 12, "ESR 0x7a010064 vector 0x200 MFAR 0x4000000000010000"),
        (GPCCR_ON, 1 << 28, "ESR 0x7a000064 vector 0x200 MFAR 0x4000000000010000"),
        (GPCCR_ON, 5 * GB >> 12, "ESR 0x7a050064 vector 0x200 MFAR 0x4000000000010000"),
    ],
)
def test_faults_on_the_stage_1_walk(gpccr: int, gptbr: int, expected: str) -> None:
    assert run(Machine(gpccr=gpccr, gptbr=gptbr), 0xF1, 0, "store", REALM, PA) == [expected]


def test_wnr_is_not_compared_for_an_atomic_on_an_external_abort() -> None:
    machine = Machine()
    put(machine.memory, GPT_L0 + 8, 5 * GB | 0b0011)
    (alternative,) = machine.permitted("atomic", PA, ROOT).alternatives
    assert isinstance(alternative.outcome, ExceptionTaken)
    assert alternative.outcome.syndrome.iss_known == 0x1FF_FFBF


def test_rules_and_steps_tell_why() -> None:
    machine = Machine()
    put(machine.memory, GPT_L0 + 8, 0)
    permitted = PermittedOutcomes(machine.pe, machine.gpt, va_of(PA, REALM), ACCESSES["load"], trace=True)
    assert permitted.alternatives[0].rules == (
        Rule.L0_INDEX,
        Rule.L0_INVALID,
        Rule.GPT_FAULT_IS_GPC_EXCEPTION,
        Rule.GPCSC,
        Rule.ISS,
        Rule.FAR,
        Rule.MFAR,
    )
    assert [str(step) for step in permitted.steps] == [
        "GPC-010: level 0 entry [1] at 0x100008 = 0x0",
        "GPC-011: descriptor type 0b0000 is not allocated at level 0",
    ]


entries = st.sampled_from([0x01, 0x81, 0x91, 0xA1, 0xB1, 0xF1, 0x1F1, 0x0, TABLE, 5 * GB | 0b0011])
pages = st.sampled_from([0x0, 0x181, 0x1B1, 0xFFFF_FFFF_FFFF_FFFF, 0xBBBB_BBBB_BBAB_BBBB, 0x1F1, 0x0F1])
spaces = st.sampled_from(list(PASpace))
kinds = st.sampled_from(sorted(ACCESSES))
changes = st.lists(st.tuples(st.sampled_from([GPT_L0 + 8, GPT_L1]), entries | pages), max_size=3)


@given(changes, spaces, kinds, st.booleans())
def test_the_uncached_outcome_is_always_permitted_and_comes_first(
    made: list[tuple[int, int]], pas: PASpace, kind: str, disabled: bool
) -> None:
    """Whatever may be cached, the answer of tables and registers as they stand is in the set; TLBI leaves only it."""
    machine = Machine()
    put(machine.memory, GPT_L0 + 8, 0xF1)
    for address, value in made:
        machine.gpt.write(address, value.to_bytes(8, "little"))
    if disabled:
        machine.gpccr &= ~0x1_0000
        machine.gpt.set_registers(machine.state())
    fresh = PermittedOutcomes(
        machine.pe, PossibleGPT(machine.state(), machine.memory), va_of(PA, pas), ACCESSES[kind]
    ).alternatives
    possible = machine.permitted(kind, PA, pas).alternatives
    assert possible[0].outcome == fresh[0].outcome
    assert not possible[0].weak
    assert {a.outcome for a in fresh} <= {a.outcome for a in possible}
    assert len({a.outcome for a in possible}) == len(possible)
    machine.gpt.invalidate_all()
    after = machine.permitted(kind, PA, pas).alternatives
    assert [a.outcome for a in after] == [a.outcome for a in fresh]


@given(st.integers(0, 7), st.integers(0, 3), st.integers(0, (1 << 52) - 1), spaces)
def test_the_check_is_the_same_everywhere_in_a_granule(pps: int, pgs: int, pa: int, pas: PASpace) -> None:
    """What the judge relies on: offsets within 4 KB never matter."""
    machine = Machine(gpccr=GPCCR_ON & ~0xC007 | pgs << 14 | pps, features=Features(pamax=52))
    put(machine.memory, GPT_L0 + 8, TABLE)
    put(machine.memory, GPT_L1, 0x8AB9_F0A8_9BF0_A89B)
    for base in (pa, GB | pa & 0xFFFF):
        answers = {
            GranuleProtectionCheck(machine.state(), machine.memory, FullAddress(pas, base & ~0xFFF | offset))
            for offset in (0, 8, 0xFF0, base & 0xFFF)
        }
        assert len(answers) == 1


def test_data_behind_the_check_decides_between_completion_and_external_abort() -> None:
    machine = Machine()
    for gigabyte in range(1, 8):
        put(machine.memory, GPT_L0 + 8 * gigabyte, 0xF1)
    last = [a.outcome for a in machine.permitted("load", RAM_TOP - 8, ROOT).alternatives]
    beyond = [text(a.outcome, va_of(RAM_TOP, ROOT)) for a in machine.permitted("load", RAM_TOP, ROOT).alternatives]
    assert last == [AccessPerformed()]
    assert beyond == ["ESR 0x96000010 vector 0x200", "ESR 0x96000410 vector 0x200", "ESR 0xbe000000 vector 0x380"]


def test_a_stale_answer_is_weak_and_gone_after_the_invalidation() -> None:
    machine = Machine()
    put(machine.memory, GPT_L0 + 8, 0xF1)
    machine.gpt.write(GPT_L0 + 8, (0x01).to_bytes(8, "little"))
    now, stale = machine.permitted("load", PA, ROOT).alternatives
    assert (text(now.outcome, va_of(PA, ROOT)), now.weak) == ("ESR 0x96000028 vector 0x200", False)
    assert (stale.outcome, stale.weak) == (AccessPerformed(), True)
    assert stale.reason == "GPT information from before the last change may still be cached"
    assert Rule.CACHED in stale.rules
    machine.gpt.invalidate_all()
    (only,) = machine.permitted("load", PA, ROOT).alternatives
    assert only.outcome == now.outcome
    assert Rule.INVALIDATED in only.rules


def test_a_stale_permission_that_ends_in_an_external_abort_is_weak() -> None:
    # 5 GB meets nothing; the GPT allowed it until the last write: only the fault of today's table is evidence.
    machine = Machine()
    put(machine.memory, GPT_L0 + 8 * 5, 0xF1)
    machine.gpt.write(GPT_L0 + 8 * 5, (0x81).to_bytes(8, "little"))
    now, *stale = machine.permitted("load", 5 * GB, ROOT).alternatives
    assert (text(now.outcome, va_of(5 * GB, ROOT)), now.weak) == ("ESR 0x96000028 vector 0x200", False)
    assert [a.weak for a in stale] == [True, True, True]


def test_pages_known_to_be_uncached_have_no_stale_answer() -> None:
    machine = Machine()
    put(machine.memory, GPT_L0 + 8, 0xF1)
    machine.gpt.untouched = frozenset({(REALM, PA >> 12)})
    machine.gpt.set_registers(machine.state())
    machine.gpt.write(GPT_L0 + 8, (0x01).to_bytes(8, "little"))
    counts = {pas: len(machine.permitted("load", PA, pas).alternatives) for pas in PASpace}
    assert counts == {SECURE: 2, NON_SECURE: 2, ROOT: 2, REALM: 1}


def test_stale_registers_answer_too_until_invalidated() -> None:
    machine = Machine(gpccr=GPCCR_ON & ~0x1_0000)
    put(machine.memory, GPT_L0 + 8, 0x01)
    machine.gpccr = GPCCR_ON
    machine.gpt.set_registers(machine.state())
    address = FullAddress(REALM, PA)
    assert [o.value.gpf for o in machine.gpt.checked(address).options] == [GPCF.GPCF_Fail, GPCF.GPCF_None]
    assert machine.gpt.check(address, Chooser([1]), unobserved).gpf is GPCF.GPCF_None
    machine.gpt.invalidate_all()
    assert [o.value.gpf for o in machine.gpt.checked(address).options] == [GPCF.GPCF_Fail]
    assert machine.gpt.gpc.gpccr == GPCCR_EL3(GPCCR_ON)
    assert machine.gpt.gpc.features == FEATURES
