"""FEAT_MEC's registers and instructions: who may use them, what they hold, where the rest is taken."""

from __future__ import annotations

import pytest

from harness.check import Check
from harness.mec.instructions import (
    PLACES,
    Instruction,
    at_el3,
    everywhere,
    execute,
    judge_access,
    judge_value,
    mecid_width,
    put_back,
    written,
)
from harness.mec.verdict import judge
from refmodel.mec.registers import (
    CONTROLS,
    EL2_HOLDERS,
    MECID_RL_A_EL3,
    MECIDR_EL2,
    Accessed,
    Maintenance,
    Where,
)
from refmodel.pas import EL
from refmodel.registers import Register
from refmodel.rules import Rule


def _has_mec(check: Check) -> bool:
    return check.applies("FEAT_MEC", check.session.features.mec)


@pytest.mark.smoke
@pytest.mark.rule("MEC-001")
def test_identification(check: Check) -> None:
    """MECIDR_EL2 from every level and state: the same value wherever it is read, and never written."""
    if not _has_mec(check):
        return
    made = everywhere(MECIDR_EL2)
    width = mecid_width(check)
    for instruction, result in zip(made, execute(check, made), strict=True):
        judge_access(check, Rule.MECIDR_ACCESS, instruction, result)
        if not instruction.write and instruction.permitted() is Accessed.PERFORMED:
            judge_value(check, Rule.MECIDR_ACCESS, instruction, result, width - 1)


@pytest.mark.smoke
@pytest.mark.rule("MEC-002", "MEC-003")
@pytest.mark.parametrize("register", EL2_HOLDERS, ids=lambda register: register.__name__)
def test_el2_holders(check: Check, register: type[Register]) -> None:
    """MECID_*_EL2 and VMECID_*_EL2: at EL2 only in Realm state, and trapped to EL3 there without SCR_EL3.MECEn."""
    if not _has_mec(check):
        return
    made = everywhere(register)
    for instruction, result in zip(made, execute(check, made, put_back()), strict=True):
        trapped = instruction.permitted() is Accessed.TRAPPED
        judge_access(check, Rule.MECEN_TRAP if trapped else Rule.MECID_EL2_ACCESS, instruction, result)


@pytest.mark.rule("MEC-004")
def test_el3_holder(check: Check) -> None:
    """MECID_RL_A_EL3: at EL3 and nowhere else."""
    if not _has_mec(check):
        return
    made = everywhere(MECID_RL_A_EL3)
    for instruction, result in zip(made, execute(check, made, put_back()), strict=True):
        judge_access(check, Rule.MECID_EL3_ACCESS, instruction, result)


@pytest.mark.smoke
@pytest.mark.rule("MEC-005")
def test_width(check: Check) -> None:
    """Every register that holds a MECID keeps as many bits as MECIDR_EL2 says, and reads 0 above."""
    if not _has_mec(check):
        return
    cases = written(mecid_width(check))
    made = [part for register, value, _ in cases for part in (at_el3(register, value), at_el3(register))]
    results = execute(check, made, put_back())
    for number, (_, value, kept) in enumerate(cases):
        read = made[2 * number + 1]
        judge_value(check, Rule.MECID_WIDTH, read, results[2 * number + 1], kept)
        check.tally.choice("MECID bits kept of all ones", f"{kept:#x}") if value == (1 << 64) - 1 else None


@pytest.mark.rule("MEC-006")
@pytest.mark.parametrize("operation", Maintenance, ids=lambda operation: operation.name)
def test_maintenance(check: Check, operation: Maintenance) -> None:
    """DC by PA to the PoE at Realm EL2 and EL3, to the PoPA at EL3, UNDEFINED elsewhere."""
    if not _has_mec(check) or (operation.tags and not check.applies("FEAT_MTE2", check.session.features.mte2)):
        return
    pa = check.session.target.info.layout.test[0].base | 0b11 << 62
    made = [
        Instruction(what=operation, where=Where(el=el, state=state, mecen=mecen), value=pa)
        for el, state in PLACES
        for mecen in ((0, 1) if el is not EL.EL3 else (0,))
    ]
    for instruction, result in zip(made, execute(check, made), strict=True):
        judge_access(check, Rule.MEC_MAINTENANCE_ACCESS, instruction, result)


@pytest.mark.rule("MEC-007")
@pytest.mark.parametrize("register", CONTROLS, ids=lambda register: register.__name__)
def test_controls(check: Check, register: type[Register]) -> None:
    """EMEC of SCTLR2_EL2 and SCTLR2_EL3, AMEC0 and AMEC1 of TCR2_EL2 hold what is written, each alone."""
    if not _has_mec(check):
        return
    (was,) = execute(check, [at_el3(register)])
    for field in register.fields:
        values = (was.data0 & ~register.covered, was.data0 & ~register.covered | field.mask)
        made = [part for value in values for part in (at_el3(register, value), at_el3(register))]
        results = execute(check, [*made, at_el3(register, was.data0)])
        for wanted, result in zip((0, field.mask), results[1:4:2], strict=True):
            observed = result.data0 & register.covered
            judge(
                check,
                Rule.MEC_CONTROLS,
                case=f"{register.__name__}.{field.name} = {int(bool(wanted))}",
                signature=f"{register.__name__}.{field.name} does not hold what is written",
                holds=observed == wanted,
                stimulus={"register": register.__name__, "written": f"{wanted:#x}"},
                expected=[{"read": f"{wanted:#x}"}],
                observed={"read": f"{observed:#x}"},
            )
