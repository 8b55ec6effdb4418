"""Cache maintenance, DC ZVA, AT and page crossings: their permitted sets, worked out by hand.

DDI 0487, AArch64_DC, AArch64_IC, AArch64_MemZero, AArch64_AT, AArch64_EncodePAR; issue M, D7.5.9.7 and D7.5.9.8.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from refmodel.accdesc import CacheOp, CacheOpScope
from refmodel.access import Explore, PEState, access_at
from refmodel.choices import Chooser
from refmodel.context import AT_EL3, PEContext, Regime
from refmodel.gpt.cache import PossibleGPT
from refmodel.memory import Memory
from refmodel.observe import Observer
from refmodel.operations import (
    AccessSpan,
    AddressTranslate,
    DataCacheByVA,
    DataCacheToPoE,
    DataCacheToPoPA,
    DataCacheZero,
    InstructionCacheByVA,
    Translation,
)
from refmodel.outcomes import AccessPerformed, AddressTranslated, ExceptionTaken, Outcome
from refmodel.pas import EL, SecurityState
from refmodel.sysregs import CLIDR_EL1, HCR_EL2
from refmodel.tests.test_regimes_stage1 import (
    AF,
    EL3_REGIME,
    L2,
    L3,
    NO_ACCESS,
    NS_BIT,
    PAGE,
    READ_ONLY,
    TABLE,
    VA,
    regime_of,
    tables,
)
from refmodel.tests.worlds import context, esr, gpt_of, put64

S, NS, REALM = SecurityState.SS_Secure, SecurityState.SS_NonSecure, SecurityState.SS_Realm
EL0, EL1, EL2, EL3 = EL
GPF_1 = 0b001101 << 14
CLEAN, INVALIDATE = CacheOp.CacheOp_Clean, CacheOp.CacheOp_Invalidate
POC, POU = CacheOpScope.CacheOpScope_PoC, CacheOpScope.CacheOpScope_PoU


def machine(
    pe: PEContext, memory: Memory | None = None, gpis: dict[int, int] | None = None
) -> tuple[PEState, PossibleGPT]:
    memory = memory or tables()
    regimes = {r: regime_of(r) for r in (Regime.Regime_EL2, Regime.Regime_EL20, Regime.Regime_EL10)}
    return PEState(EL3_REGIME, memory, pe, regimes), gpt_of(memory, gpis or {}, pe.features)


def permitted(gpt: PossibleGPT, run: Callable[[Chooser, Observer], Outcome]) -> list[tuple[Outcome, bool]]:
    """Outcomes with their weakness, the one with nothing cached first."""
    return [(a.outcome, a.weak) for a in Explore(run, gpt).alternatives]


@pytest.mark.parametrize("cacheop", list(CacheOp))
def test_dc_by_va_may_be_checked(cacheop: CacheOp) -> None:
    pe, gpt = machine(context(EL2, NS, scr={"GPF": 1}), gpis={PAGE: NO_ACCESS})
    fault, passed = permitted(gpt, lambda c, o: DataCacheByVA(pe, gpt, VA, cacheop, POC, c, o))
    assert esr(fault[0]) == (EL3, 0x1E, GPF_1 | 1 << 8 | 1 << 6 | 0x28)
    assert fault[1] is False
    assert passed == (AccessPerformed(), True)


def test_dc_walk_faults_are_always_reported() -> None:
    """Only the check of the output is the part's choice: table fetches are checked."""
    pe, gpt = machine(context(EL2, NS, scr={"GPF": 1}), gpis={L3: NO_ACCESS})
    only = permitted(gpt, lambda c, o: DataCacheByVA(pe, gpt, VA, CLEAN, POC, c, o))
    assert [(esr(outcome), weak) for outcome, weak in only] == [((EL3, 0x1E, GPF_1 | 1 << 8 | 1 << 6 | 0x27), False)]


def test_dc_permissions() -> None:
    """Invalidation needs write permission; a clean needs none above EL0."""
    pe, gpt = machine(context(EL1, NS), tables(PAGE | AF | TABLE | READ_ONLY))
    (denied,) = permitted(gpt, lambda c, o: DataCacheByVA(pe, gpt, VA, INVALIDATE, POC, c, o))
    assert esr(denied[0]) == (EL1, 0x25, 1 << 8 | 1 << 6 | 0x0F)
    assert permitted(gpt, lambda c, o: DataCacheByVA(pe, gpt, VA, CLEAN, POC, c, o)) == [(AccessPerformed(), False)]


@pytest.mark.parametrize(
    ("loc", "louu", "scope", "may_skip"), [(1, 1, POC, False), (0, 0, POC, True), (1, 0, POU, True), (1, 0, POC, False)]
)
def test_dc_without_caches(loc: int, louu: int, scope: CacheOpScope, may_skip: bool) -> None:
    pe, gpt = machine(context(EL2, NS, clidr=CLIDR_EL1.of(LoC=loc, LoUU=louu)), gpis={L3: NO_ACCESS})
    outcomes = permitted(gpt, lambda c, o: DataCacheByVA(pe, gpt, VA, CLEAN, scope, c, o))
    assert ((AccessPerformed(), True) in outcomes) == may_skip


def test_dc_access_flag_fault_is_a_choice() -> None:
    pe, gpt = machine(context(EL2, NS), tables(PAGE | TABLE))
    outcomes = permitted(gpt, lambda c, o: DataCacheByVA(pe, gpt, VA, CLEAN, POC, c, o))
    assert esr(outcomes[0][0]) == (EL2, 0x25, 1 << 8 | 1 << 6 | 0x0B)
    assert outcomes[1:] == [(AccessPerformed(), True)]


def test_dc_to_popa_is_never_checked() -> None:
    _, gpt = machine(AT_EL3, gpis={PAGE: NO_ACCESS})
    assert permitted(gpt, lambda c, o: DataCacheToPoPA(1 << 63 | 1 << 62 | PAGE, o)) == [(AccessPerformed(), False)]


def test_dc_to_poe() -> None:
    """IMPLEMENTATION DEFINED whether checked, FAR UNKNOWN, nothing outside the Realm space."""
    pe, gpt = machine(context(EL2, REALM, scr={"GPF": 1}), gpis={PAGE: NO_ACCESS})
    fault, passed = permitted(gpt, lambda c, o: DataCacheToPoE(pe, gpt, 0b11 << 62 | PAGE, c, o))
    assert esr(fault[0]) == (EL3, 0x1E, GPF_1 | 1 << 8 | 1 << 6 | 0x28)
    assert isinstance(fault[0], ExceptionTaken)
    assert (fault[0].far, fault[0].mfar) == (None, 0b11 << 62 | PAGE)
    assert passed == (AccessPerformed(), True)
    assert permitted(gpt, lambda c, o: DataCacheToPoE(pe, gpt, 1 << 63 | PAGE, c, o)) == [(AccessPerformed(), False)]


def test_ic_by_va_is_checked_if_translated() -> None:
    pe, gpt = machine(context(EL1, NS, scr={"GPF": 1}), gpis={PAGE: NO_ACCESS})
    fault, skipped = permitted(gpt, lambda c, o: InstructionCacheByVA(pe, gpt, VA, c, o))
    assert esr(fault[0]) == (EL3, 0x1E, GPF_1 | 1 << 8 | 1 << 6 | 0x28)
    assert skipped == (AccessPerformed(), True)


def test_dc_zva_reports_its_operand() -> None:
    pe, gpt = machine(context(EL2, NS), gpis={PAGE: NO_ACCESS})
    ((outcome, weak),) = permitted(gpt, lambda c, o: DataCacheZero(pe, gpt, VA + 7, 6, c, o))
    assert esr(outcome) == (EL2, 0x25, 1 << 6 | 0x28)
    assert isinstance(outcome, ExceptionTaken)
    assert (outcome.far, weak) == (VA + 7, False)


NEXT = PAGE + 0x1000
EDGE = (VA & ~0xFFF) + 0xFFC


def crossing(gpis: dict[int, int], kind: str = "load", second: int = NEXT | AF | TABLE) -> list[tuple[Outcome, bool]]:
    memory = tables()
    put64(memory, L3 + 8 * 5, second)
    pe, gpt = machine(context(EL2, NS), memory, gpis)
    return permitted(gpt, lambda c, o: AccessSpan(pe, gpt, EDGE, 8, access_at(kind, pe.context), c, o))


def test_page_crossings() -> None:
    def seen(outcomes: list[tuple[Outcome, bool]]) -> list[tuple[int, int | None]]:
        return [(esr(o)[2], o.far) for o, _ in outcomes if isinstance(o, ExceptionTaken)]

    assert crossing({}) == [(AccessPerformed(), False)]
    assert seen(crossing({PAGE: NO_ACCESS}, "store")) == [(1 << 6 | 0x28, EDGE)]
    assert seen(crossing({NEXT: NO_ACCESS}, "store")) == [(1 << 6 | 0x28, EDGE + 4)]
    assert seen(crossing({PAGE: NO_ACCESS, NEXT: NO_ACCESS})) == [(0x28, EDGE), (0x28, EDGE + 4)]
    assert seen(crossing({PAGE: NO_ACCESS}, second=0)) == [(0x28, EDGE), (0x07, EDGE + 4)]
    assert len(crossing({NEXT: NO_ACCESS})) == 1, "AccessPerformed is not permitted"


def test_an_access_inside_a_page_is_one_translation() -> None:
    pe, gpt = machine(context(EL2, NS), gpis={NEXT: NO_ACCESS})
    va = (VA & ~0xFFF) + 0xFF8
    assert permitted(gpt, lambda c, o: AccessSpan(pe, gpt, va, 8, access_at("load", pe.context), c, o)) == [
        (AccessPerformed(), False)
    ]


def at(
    pe: PEContext, operand: Translation, memory: Memory | None = None, gpis: dict[int, int] | None = None
) -> Outcome:
    state, gpt = machine(pe, memory, gpis)
    ((outcome, _),) = permitted(gpt, lambda c, o: AddressTranslate(state, gpt, VA, operand, c, o))
    return outcome


def par(outcome: Outcome) -> int:
    assert isinstance(outcome, AddressTranslated), outcome
    return outcome.par & outcome.par_known


def test_at_does_not_check_its_output() -> None:
    for gpi in (0b1111, NO_ACCESS):
        assert par(at(context(EL2, NS), Translation(EL2), gpis={PAGE: gpi})) == PAGE


@pytest.mark.parametrize(
    ("pe", "operand", "ns"),
    [
        (context(EL2, S), Translation(EL2), True),
        (context(EL2, REALM), Translation(EL2), True),
        (context(EL2, NS), Translation(EL2), None),
        (context(EL1, REALM), Translation(EL1), None),
        (context(EL1, S), Translation(EL1), True),
    ],
)
def test_par_of_a_translation(pe: PEContext, operand: Translation, ns: bool | None) -> None:
    """NS [9] is known in Secure state and in the Realm EL2 regimes."""
    outcome = at(pe, operand, tables(PAGE | AF | TABLE | NS_BIT))
    assert par(outcome) == PAGE | (1 << 9 if ns else 0)
    assert isinstance(outcome, AddressTranslated)
    assert bool(outcome.par_known & 1 << 9) == (ns is not None)


WALK_PAR = 1 << 11 | 0x27 << 1 | 1
"""RES1, FST: GPC fault on walk at level 3, F."""


@pytest.mark.parametrize(
    ("pe", "operand", "taken"),
    [
        (context(EL2, NS), Translation(EL2), None),
        (context(EL2, NS, hcr=HCR_EL2.of(GPF=1)), Translation(EL1), None),
        (context(EL2, NS, scr={"GPF": 1}), Translation(EL2), (EL3, 0x1E, GPF_1 | 1 << 8 | 1 << 6 | 0x27)),
        (context(EL1, NS), Translation(EL1), None),
        (context(EL1, NS, hcr=HCR_EL2.of(GPF=1)), Translation(EL1), (EL2, 0x24, 1 << 8 | 1 << 6 | 0x27)),
        (context(EL1, NS, hcr=HCR_EL2.of(GPF=1)), Translation(EL0), (EL2, 0x24, 1 << 8 | 1 << 6 | 0x27)),
        (PEContext(scr=context(EL1, NS, scr={"GPF": 1}).scr), Translation(EL1), None),
    ],
)
def test_gpc_fault_of_an_at(pe: PEContext, operand: Translation, taken: tuple[EL, int, int] | None) -> None:
    """At EL3, SCR_EL3.GPF does not make it an exception."""
    outcome = at(pe, operand, gpis={L3: NO_ACCESS})
    if taken is None:
        assert par(outcome) == WALK_PAR
    else:
        assert esr(outcome) == taken


def test_at_at_el3_for_el1_is_of_the_state_below() -> None:
    pe = PEContext(scr=context(EL1, REALM).scr)
    own = {L3: 0b1011}
    assert par(at(pe, Translation(EL1), gpis=own)) == PAGE
    with pytest.raises(ValueError, match="UNDEFINED"):
        at(AT_EL3, Translation(EL1))


def test_at_for_el1_in_a_host_translates_for_el2() -> None:
    host = context(EL2, NS, hcr=HCR_EL2.of(E2H=1, TGE=1))
    assert par(at(host, Translation(EL1))) == PAGE
    assert par(at(host, Translation(EL1), tables(PAGE | TABLE))) == 1 << 11 | 0x0B << 1 | 1, (
        "access flag fault, level 3"
    )


def test_at_write_permission() -> None:
    pe = context(EL1, NS)
    memory = tables(PAGE | AF | TABLE | READ_ONLY)
    assert par(at(pe, Translation(EL1), memory)) == PAGE
    assert par(at(pe, Translation(EL1, write=True), memory)) == 1 << 11 | 0x0F << 1 | 1


def test_external_abort_of_an_at_is_an_exception() -> None:
    """The walk reads where nothing answers."""
    memory = tables(size=1 << 36)
    put64(memory, L2 + 8 * 3, 1 << 40 | TABLE)
    assert esr(at(context(EL1, NS), Translation(EL1), memory)) == (EL1, 0x25, 1 << 8 | 1 << 6 | 0x17)
