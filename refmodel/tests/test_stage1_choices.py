"""Stage 1 where the architecture leaves a choice: TxSZ out of range, contiguous ranges, EPAN; and which rules tell why.

DDI 0487, AArch64_S1TxSZFaults, AArch64_ContiguousBitFaults, AArch64_S1DirectBasePermissions, AArch64_AddrTop.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from refmodel.access import PermittedOutcomes, PEState, access_at
from refmodel.context import PEContext, Regime
from refmodel.features import Features
from refmodel.memory import Memory
from refmodel.outcomes import AccessPerformed, ExceptionTaken, Permitted
from refmodel.rules import Rule
from refmodel.sysregs import HCR_EL2
from refmodel.tests.test_regimes_stage1 import (
    AF,
    EL0,
    EL0_MAY,
    EL1,
    EL2,
    EL3_REGIME,
    L0,
    L3,
    NS,
    NS_BIT,
    PAGE,
    PXN,
    READ_ONLY,
    REALM,
    TABLE,
    UXN,
    VA,
    S,
    regime_of,
    tables,
)
from refmodel.tests.worlds import context, gpt_of, put64, ram
from refmodel.translation.regimes import Stage1

CONTIGUOUS = 1 << 52


def permitted(memory: Memory, pe: PEContext, stage1: Stage1, kind: str = "load", va: int = VA) -> Permitted:
    accdesc = access_at(kind, pe)
    state = PEState(EL3_REGIME, memory, pe, {stage1.regime: stage1})
    return PermittedOutcomes(state, gpt_of(memory, {}, pe.features), va, accdesc)


def codes(found: Permitted) -> set[int | None]:
    """Fault status codes of the permitted set, None for an access that is performed."""
    outcomes = (alternative.outcome for alternative in found.alternatives)
    return {o.syndrome.iss & 0x3F if isinstance(o, ExceptionTaken) else None for o in outcomes}


@pytest.mark.parametrize(
    ("txsz", "lva", "expected"),
    [
        (16, False, {None}),
        (15, True, {0x04}),
        (15, False, {0x04, None}),
        (0, True, {0x04}),
        (48, True, {0x04}),
        (49, True, {0x04, 0x0B}),
        (63, False, {0x04, 0x0B}),
    ],
)
def test_txsz_out_of_range(txsz: int, lva: bool, expected: set[int | None]) -> None:
    """Taken as 48 the input size is 16 bits: one level, whose entry here has no access flag."""
    pe = replace(context(EL2, NS), features=Features(lva=lva))
    va = VA if txsz < 48 else (1 << 16 if txsz == 48 else 0x1000)
    assert codes(permitted(tables(), pe, regime_of(Regime.Regime_EL2, T0SZ=txsz), va=va)) == expected


def test_a_contiguous_range_above_the_input_size_may_fault() -> None:
    memory = ram()
    put64(memory, L0, 0x4000_0000 | AF | CONTIGUOUS | 0b01)
    stage1 = regime_of(Regime.Regime_EL2, T0SZ=33)
    found = permitted(memory, context(EL2, NS), stage1, va=0x1000)
    assert codes(found) == {None, 0x05} and not any(alternative.weak for alternative in found.alternatives)
    put64(memory, L0, 0x4000_0000 | AF | 0b01)
    assert codes(permitted(memory, context(EL2, NS), stage1, va=0x1000)) == {None}


def _sixteen(memory: Memory, changed: int, descriptor: int) -> None:
    for index in range(16):
        put64(memory, L3 + 8 * index, PAGE + (index - 4) * 4096 | AF | CONTIGUOUS | TABLE)
    put64(memory, L3 + 8 * changed, descriptor)


@pytest.mark.parametrize(
    ("changed", "descriptor", "kind", "expected", "weak"),
    [
        (9, PAGE + 5 * 4096 | AF | CONTIGUOUS | TABLE | READ_ONLY, "store", {None, 0x0F}, {0x0F}),
        (9, PAGE + 5 * 4096 | AF | CONTIGUOUS | TABLE | READ_ONLY, "load", {None}, set()),
        (9, 0, "store", {None}, set()),
        (4, 0, "store", {0x07, None}, {None}),
        (4, PAGE | TABLE, "store", {0x0B, None}, {None}),
        (4, PAGE | AF | TABLE | READ_ONLY, "store", {0x0F, None}, {None}),
        (4, PAGE | AF | TABLE | READ_ONLY, "load", {None}, set()),
    ],
)
def test_a_misprogrammed_contiguous_range(
    changed: int, descriptor: int, kind: str, expected: set[int | None], weak: set[int | None]
) -> None:
    """What any valid Contiguous descriptor of the sixteen says is permitted, and only the own one is evidence."""
    memory = tables()
    _sixteen(memory, changed, descriptor)
    found = permitted(memory, context(EL2, NS), regime_of(Regime.Regime_EL2), kind)
    assert codes(found) == expected
    assert codes(Permitted(tuple(a for a in found.alternatives if a.weak))) == weak


@pytest.mark.parametrize(
    ("pe", "regime", "sif", "expected"),
    [
        (context(EL1, S, pan=1, scr={"SIF": 1}), Regime.Regime_EL10, 1, {0x0F, None}),
        (context(EL1, S, pan=1), Regime.Regime_EL10, 0, {0x0F}),
        (context(EL2, REALM, pan=1, hcr=HCR_EL2.of(E2H=1)), Regime.Regime_EL20, 0, {0x0F, None}),
        (context(EL1, REALM, pan=1), Regime.Regime_EL10, 0, {0x0F}),
    ],
)
def test_epan_and_foreign_memory(pe: PEContext, regime: Regime, sif: int, expected: set[int | None]) -> None:
    """Memory that only EL0 may execute, in the Non-secure space by NS where the state can name it."""
    stage1 = regime_of(regime, sctlr={"EPAN": 1})
    assert codes(permitted(tables(PAGE | AF | TABLE | NS_BIT), pe, stage1)) == expected


@pytest.mark.parametrize(
    ("descriptor", "upper", "kind", "el", "rule"),
    [
        (READ_ONLY, 0, "store", EL1, Rule.AP_READ_ONLY),
        (0, 1 << 62, "store", EL1, Rule.AP_TABLE),
        (0, 0, "load", EL0, Rule.AP_EL0),
        (EL0_MAY, 1 << 61, "load", EL0, Rule.AP_TABLE),
        (UXN | EL0_MAY, 0, "fetch", EL0, Rule.EXECUTE_NEVER),
        (EL0_MAY, 1 << 60, "fetch", EL0, Rule.XN_TABLE),
        (PXN, 0, "fetch", EL1, Rule.PRIVILEGED_EXECUTE_NEVER),
        (0, 1 << 59, "fetch", EL1, Rule.PXN_TABLE),
        (EL0_MAY, 0, "fetch", EL1, Rule.EL0_WRITABLE_NOT_EXECUTED),
        (0, 0, "load-unprivileged", EL1, Rule.UNPRIVILEGED_ACCESS),
    ],
)
def test_what_denies_is_told(descriptor: int, upper: int, kind: str, el: object, rule: Rule) -> None:
    pe = context(EL0 if el is EL0 else EL1, NS)
    memory = tables(PAGE | AF | TABLE | descriptor, upper)
    (only,) = permitted(memory, pe, regime_of(Regime.Regime_EL10), kind).alternatives
    assert codes(Permitted((only,))) == {0x0F} and rule in only.rules
    assert {Rule.S1_FAULT_ROUTE, Rule.S1_FAULT_ISS, Rule.S1_FAULT_FAR} <= set(only.rules)


def test_pan_and_wxn_tell_apart() -> None:
    pan = context(EL1, NS, pan=1)
    both = regime_of(Regime.Regime_EL10, sctlr={"WXN": 1, "EPAN": 1})
    (fetch,) = permitted(tables(), pan, both, "fetch").alternatives
    assert codes(Permitted((fetch,))) == {0x0F} and Rule.WXN_BESIDE_PAN in fetch.rules
    (load,) = permitted(tables(PAGE | AF | TABLE | EL0_MAY), pan, both).alternatives
    assert Rule.PAN in load.rules and Rule.EPAN not in load.rules
    (load,) = permitted(tables(), pan, both).alternatives
    assert Rule.EPAN in load.rules and Rule.PAN not in load.rules
    without = regime_of(Regime.Regime_EL10, sctlr={"WXN": 1})
    (fetch,) = permitted(tables(), pan, without, "fetch").alternatives
    assert Rule.WXN in fetch.rules and Rule.WXN_BESIDE_PAN not in fetch.rules


def test_the_top_byte() -> None:
    """TBI ignores it for data; with TBID a fetch does not."""
    pe, tagged = context(EL2, NS), VA | 5 << 56
    stage1 = regime_of(Regime.Regime_EL2, TBI=1, TBID=1)
    (load,) = permitted(tables(), pe, stage1, va=tagged).alternatives
    assert load.outcome == AccessPerformed() and Rule.TOP_BYTE_IGNORED in load.rules
    (fetch,) = permitted(tables(), pe, stage1, "fetch", va=tagged).alternatives
    assert codes(Permitted((fetch,))) == {0x04} and Rule.TOP_BYTE_OF_FETCH in fetch.rules
    (plain,) = permitted(tables(), pe, regime_of(Regime.Regime_EL2), va=tagged).alternatives
    assert codes(Permitted((plain,))) == {0x04} and Rule.TOP_BYTE_OF_FETCH not in plain.rules
