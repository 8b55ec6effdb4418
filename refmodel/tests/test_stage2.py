"""Stage 2 with tables laid out by hand: levels, permissions, spaces, stage-1 fetches through it, what comes first.

DDI 0487, AArch64_S2Translate, AArch64_S2Walk, AArch64_S2CheckPermissions, AArch64_SS2OutputPASpace,
AArch64_FullTranslate.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from refmodel.access import PermittedOutcomes, PEState, access_at
from refmodel.features import Features
from refmodel.memory import Memory
from refmodel.outcomes import AccessPerformed, ExceptionTaken, Outcome
from refmodel.pas import EL, PASpace, SecurityState
from refmodel.rules import Rule
from refmodel.sysregs import HCR_EL2, VSTCR_EL2, VSTTBR_EL2, VTCR_EL2, VTTBR_EL2
from refmodel.tests.test_regimes_stage1 import (
    AF,
    EL0,
    EL0_MAY,
    EL1,
    EL3_REGIME,
    L0,
    L1,
    L2,
    L3,
    NS,
    NS_BIT,
    PAGE,
    READ_ONLY,
    REALM,
    TABLE,
    VA,
    S,
    regime_of,
    tables,
)
from refmodel.tests.worlds import context, gpt_of, put64
from refmodel.translation.stage2 import S2OutputPASpace, S2TTWParams, Stage2

SECOND, SECOND_NS = 0x6000_0000, 0x6010_0000
"""Roots of stage 2, SL0 = 1: tables of level 1, 2 and 3, a page apart, for the gigabyte at 0x4000_0000."""
NORMAL, READ, WRITE, NS_55 = 0b1111 << 2, 1 << 6, 1 << 7, 1 << 55
ALL = AF | NORMAL | READ | WRITE
STATES = pytest.mark.parametrize("ss", [S, NS, REALM])


def both(leaf: int = ALL | PAGE, *, table: int | None = None, first: int = PAGE | AF | TABLE, level: int = 3) -> Memory:
    """Stage 1 under a stage 2 that maps its gigabyte; ``leaf`` maps the page, ``table`` the table of level 3."""
    memory = tables(first)
    for root in (SECOND, SECOND_NS):
        put64(memory, root + 8 * (PAGE >> 30), (root + 0x1000) | TABLE)
        for region in range(512):
            put64(memory, root + 0x1000 + 8 * region, (0x4000_0000 + (region << 21)) | ALL | 0b01)
        index = PAGE >> 21 & 511
        if level == 2:
            put64(memory, root + 0x1000 + 8 * index, leaf & ~0x1F_F000 | 0b01)
        else:
            put64(memory, root + 0x1000 + 8 * index, (root + 0x2000) | TABLE)
            put64(memory, root + 0x2000 + 8 * (PAGE >> 12 & 511), leaf | 0b11 if leaf else 0)
        if table is not None:
            put64(memory, root + 0x1000, (root + 0x3000) | TABLE)
            for at in (L0, L1, L2):
                put64(memory, root + 0x3000 + 8 * (at >> 12 & 511), at | ALL | 0b11)
            put64(memory, root + 0x3000 + 8 * (L3 >> 12 & 511), L3 | table | 0b11 if table else 0)
    return memory


def stage_2(*, t0sz: int = 25, sl0: int = 1, ps: int = 5, **secure: int) -> Stage2:
    ns = {name: value for name, value in secure.items() if name.startswith("NS")}
    own = {name: value for name, value in secure.items() if not name.startswith("NS")}
    return Stage2(
        vtcr=VTCR_EL2.of(T0SZ=t0sz, SL0=sl0, PS=ps, **ns),
        vttbr=VTTBR_EL2(SECOND_NS),
        vstcr=VSTCR_EL2.of(T0SZ=25, SL0=1, **own),
        vsttbr=VSTTBR_EL2(SECOND),
    )


def outcomes(
    memory: Memory, ss: SecurityState, kind: str = "load", *, el: EL = EL1, second: Stage2 | None = None,
    gpis: dict[int, int] | None = None, hcr: dict[str, int] | None = None, features: Features | None = None,
    scr: dict[str, int] | None = None,
) -> list[Outcome]:  # fmt: skip
    pe = context(el, ss, hcr=HCR_EL2.of(VM=1, **(hcr or {})), scr=scr)
    pe = replace(pe, features=features or Features())
    stage1 = regime_of(pe.TranslationRegime(el))
    state = PEState(EL3_REGIME, memory, pe, {stage1.regime: stage1}, second or stage_2())
    found = PermittedOutcomes(state, gpt_of(memory, gpis or {}, pe.features), VA, access_at(kind, pe))
    return [alternative.outcome for alternative in found.alternatives]


def fault(outcome: Outcome) -> tuple[int, int, int]:
    """Exception level, status code, S1PTW."""
    assert isinstance(outcome, ExceptionTaken), outcome
    iss = outcome.syndrome.iss
    return outcome.syndrome.el.value, iss & 0x3F, iss >> 7 & 1


@STATES
def test_a_page_through_both_stages(ss: SecurityState) -> None:
    assert outcomes(both(), ss) == [AccessPerformed()]
    assert outcomes(both(level=2), ss) == [AccessPerformed()]


@STATES
@pytest.mark.parametrize(
    ("leaf", "kind", "expected"),
    [
        (0, "load", (2, 0x07, 0)),
        (PAGE | ALL & ~AF, "load", (2, 0x0B, 0)),
        (PAGE | ALL & ~READ, "load", (2, 0x0F, 0)),
        (PAGE | ALL & ~WRITE, "store", (2, 0x0F, 0)),
        (PAGE | ALL & ~WRITE, "load", None),
        (PAGE | ALL | 1 << 54, "fetch", (2, 0x0F, 0)),
        (PAGE | ALL | 1 << 53, "fetch", (2, 0x0F, 0)),
        (PAGE | ALL | 3 << 53, "fetch", None),
    ],
)
def test_leaves(ss: SecurityState, leaf: int, kind: str, expected: tuple[int, int, int] | None) -> None:
    (outcome,) = outcomes(both(leaf), ss, kind)
    if expected is None:
        assert outcome == AccessPerformed()
        return
    assert fault(outcome) == expected
    assert isinstance(outcome, ExceptionTaken) and outcome.far == VA
    named = None if expected[1] == 0x0F else (PAGE >> 12) << 4
    assert outcome.hpfar == named, "a permission fault names no intermediate address"


def test_xn_is_one_bit_without_xnx() -> None:
    user = PAGE | AF | TABLE | EL0_MAY | READ_ONLY
    for el, kind in ((EL1, "fetch"), (EL0, "fetch")):
        memory = both(PAGE | ALL | 1 << 53, first=user)
        assert outcomes(memory, NS, kind, el=el, features=Features(xnx=False)) == [AccessPerformed()]
    assert outcomes(both(PAGE | ALL | 1 << 53, first=user), NS, "fetch", el=EL0) == [AccessPerformed()]


@STATES
@pytest.mark.parametrize(("table", "code"), [(0, 0x07), (ALL & ~AF, 0x0B), (ALL & ~READ, 0x0F)])
def test_a_stage_1_fetch(ss: SecurityState, table: int, code: int) -> None:
    (outcome,) = outcomes(both(table=table), ss, "store")
    assert fault(outcome) == (2, code, 1)
    assert isinstance(outcome, ExceptionTaken)
    assert outcome.hpfar == (L3 >> 12) << 4 and outcome.syndrome.iss >> 6 & 1, "WnR is the store's"
    assert outcomes(both(table=ALL & ~WRITE), ss, "store") == [AccessPerformed()]


def test_a_realms_tables_and_code_are_its_own() -> None:
    assert fault(*outcomes(both(table=ALL | NS_55), REALM)) == (2, 0x0F, 1)
    assert fault(*outcomes(both(PAGE | ALL | NS_55), REALM, "fetch")) == (2, 0x0F, 0)
    assert outcomes(both(PAGE | ALL | NS_55), REALM) == [AccessPerformed()]
    assert outcomes(both(PAGE | ALL | NS_55), NS, "fetch") == [AccessPerformed()]


def test_protected_walk() -> None:
    device = ALL & ~NORMAL | 0b0001 << 2
    assert outcomes(both(table=device), NS) == [AccessPerformed()]
    assert fault(*outcomes(both(table=device), NS, hcr={"PTW": 1})) == (2, 0x0F, 1)
    fetched = outcomes(both(PAGE | device), NS, "fetch")
    assert fetched[0] == AccessPerformed() and fault(fetched[1]) == (2, 0x0F, 0)


@STATES
def test_stage_1_comes_first(ss: SecurityState) -> None:
    denied = both(PAGE | AF, first=PAGE | AF | TABLE | READ_ONLY)
    assert fault(*outcomes(denied, ss, "store")) == (1, 0x0F, 0)
    assert fault(*outcomes(denied, ss, "atomic")) == (1, 0x0F, 0)
    assert fault(*outcomes(denied, ss, "exclusive-sequence")) == (2, 0x0F, 0), "its load comes before its store"


@pytest.mark.parametrize(
    ("bits", "t0sz", "sl0", "fits"),
    [(39, 25, 1, True), (43, 21, 1, True), (44, 20, 1, False), (31, 33, 1, True), (30, 34, 1, False), (40, 24, 2, True),
     (39, 25, 2, False), (48, 16, 2, True), (34, 30, 0, True), (35, 29, 0, False)],
)  # fmt: skip
def test_start_levels(bits: int, t0sz: int, sl0: int, fits: bool) -> None:
    """SL0 resolves 1 bit at least at its level, and up to 16 tables."""
    assert bits == 64 - t0sz
    memory = both()
    found = outcomes(memory, NS, second=stage_2(t0sz=t0sz, sl0=sl0))
    inconsistent = [fault(outcome) == (2, 0x04, 1) for outcome in found if isinstance(outcome, ExceptionTaken)]
    if not fits:
        assert inconsistent == [True]
    else:
        assert found == [AccessPerformed()] or sl0 != 1


def test_sizes() -> None:
    assert fault(*outcomes(both(PAGE | ALL | 1 << 40), NS, second=stage_2(ps=2))) == (2, 0x03, 0)
    above = tables(PAGE | 1 << 39 | AF | TABLE)
    for at in range(0, 0x4000, 8):
        put64(above, SECOND_NS + at, both().read64(SECOND_NS + at))
    assert fault(*outcomes(above, NS)) == (2, 0x04, 0)


def params(**fields: bool) -> S2TTWParams:
    return S2TTWParams(txsz=25, ps=5, sl0=1, ttbr=0, **fields)


@pytest.mark.parametrize("sw", [False, True])
@pytest.mark.parametrize("sa", [False, True])
@pytest.mark.parametrize("nsw", [False, True])
@pytest.mark.parametrize("nsa", [False, True])
def test_secure_output(sw: bool, sa: bool, nsw: bool, nsa: bool) -> None:
    made = params(sw=sw, sa=sa, nsw=nsw, nsa=nsa)
    own = S2OutputPASpace(made, PASpace.PAS_Secure, S, 0)
    other = S2OutputPASpace(made, PASpace.PAS_NonSecure, S, 0)
    assert own is (PASpace.PAS_NonSecure if sw or sa else PASpace.PAS_Secure)
    assert other is (PASpace.PAS_NonSecure if sw or sa or nsw or nsa else PASpace.PAS_Secure)


def test_non_secure_addresses_of_secure_state_have_tables_of_their_own() -> None:
    """HPFAR_EL2.NS tells them apart."""
    first = PAGE | AF | TABLE | NS_BIT
    memory = both(first=first)
    put64(memory, SECOND_NS + 0x2000 + 8 * (PAGE >> 12 & 511), 0)
    (outcome,) = outcomes(memory, S)
    assert fault(outcome) == (2, 0x07, 0) and isinstance(outcome, ExceptionTaken)
    assert outcome.hpfar == 1 << 63 | (PAGE >> 12) << 4


def test_a_denied_stage_2_table() -> None:
    """S2PTW in a GPC exception, HPFAR_EL2 with it; an abort to EL2 otherwise."""
    memory = both()
    (below,) = outcomes(memory, NS, gpis={SECOND_NS + 0x2000: 0})
    assert fault(below) == (2, 0x27, 0)
    (above,) = outcomes(memory, NS, gpis={SECOND_NS + 0x2000: 0}, scr={"GPF": 1})
    assert isinstance(above, ExceptionTaken) and above.syndrome.iss >> 21 & 1
    assert above.hpfar == (PAGE >> 12) << 4


def test_rules_that_both_stages_show() -> None:
    pe = context(EL1, REALM, hcr=HCR_EL2.of(VM=1))
    stage1 = regime_of(pe.TranslationRegime(EL1))
    memory = both()
    state = PEState(EL3_REGIME, memory, pe, {stage1.regime: stage1}, stage_2())
    (only,) = PermittedOutcomes(state, gpt_of(memory, {}, pe.features), VA, access_at("load", pe)).alternatives
    assert {Rule.S1_LEAF, Rule.S2_LEAF, Rule.S2AP, Rule.S2_OUTPUT_SPACE, Rule.S2_WALK_SPACE} <= set(only.rules)


@pytest.mark.parametrize("fields", [{"TG0": 1}, {"HA": 1}, {"S2PIE": 1}, {"DS": 1}])
def test_what_is_not_modelled(fields: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="modelled"):
        Stage2(vtcr=VTCR_EL2.of(**fields), vttbr=VTTBR_EL2())
