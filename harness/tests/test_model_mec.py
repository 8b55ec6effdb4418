"""FEAT_MEC on the model machine: refusals and contexts, from registers that are written by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.mec.instructions import enc
from harness.probe.records import Op, Record, World, sysreg_encoding
from harness.targets.model_lower import START as LOWER
from harness.targets.model_mec import START, Contexts, maintenance, refused, set_value, slot
from refmodel.context import PEContext
from refmodel.features import Features
from refmodel.mec.memory import Tag
from refmodel.mec.registers import (
    MECID_A0_EL2,
    MECID_P0_EL2,
    MECID_RL_A_EL3,
    MECIDR_EL2,
    SCR_EL3_MEC,
    SCTLR2_EL2_EMEC,
    SCTLR2_EL3,
    TCR2_EL2,
    VMECID_A_EL2,
    VMECID_P_EL2,
    Maintenance,
)
from refmodel.pas import EL, PASpace
from refmodel.sysregs import HCR_EL2, SCR_EL3

REALM, NS = PASpace.PAS_Realm, PASpace.PAS_NonSecure
SCR = enc(SCR_EL3)
REGISTERS = {
    **LOWER, **START, SCR: SCR_EL3_MEC.of(SCTLR2En=1, TCR2En=1, MECEn=1).value, enc(SCTLR2_EL2_EMEC): 2,
    enc(SCTLR2_EL3): 2, enc(TCR2_EL2): 1 << 12, enc(MECID_P0_EL2): 1, enc(MECID_A0_EL2): 2, enc(VMECID_P_EL2): 3,
    enc(VMECID_A_EL2): 4, enc(MECID_RL_A_EL3): 5,
}  # fmt: skip


def contexts(el: int, state: World = World.REALM, **hcr: int) -> Contexts:
    scr = SCR_EL3(REGISTERS[SCR]).replace(NSE=state >> 1, NS=state & 1)
    made = HCR_EL2(1 << 31).replace(**hcr)
    context = PEContext(el=EL(el), sp=1, masked=0, scr=scr, hcr=made, features=Features(mec=True))
    return Contexts(Record(0, Op.LOAD, state=state, el=el), REGISTERS, context)


def test_contexts_of_accesses() -> None:
    """P0 and A0 by AMEC at EL2, VMECID_P at EL1 and by stage 2's AMEC, RL_A at EL3; other spaces have MECID 0."""
    amec = 1 << 63
    assert [contexts(2).output(REALM, d) for d in (0, amec, None)] == [Tag(REALM, 1), Tag(REALM, 2), Tag(REALM, 1)]
    assert contexts(1).output(REALM, amec) == Tag(REALM, 3)
    assert [contexts(1, VM=1).second_output(REALM, d) for d in (0, amec)] == [Tag(REALM, 3), Tag(REALM, 4)]
    assert contexts(3, World.ROOT).output(REALM, 0) == Tag(REALM, 5)
    assert contexts(2).output(NS, amec) == Tag(NS, 0)
    assert contexts(1, VM=1).second_stage and not contexts(1).second_stage


def test_contexts_of_walks() -> None:
    assert contexts(2).walk() == Tag(REALM, 1) and contexts(1).walk() == Tag(REALM, 3)
    assert contexts(2, World.NON_SECURE).walk() == Tag(NS, 0)


def test_amec_fault_needs_it_to_be_disabled() -> None:
    enabled = contexts(2)
    disabled = replace(enabled, registers={**REGISTERS, enc(TCR2_EL2): 0})
    assert not enabled.amec_fault(REALM, 1 << 63) and disabled.amec_fault(REALM, 1 << 63)
    assert not disabled.amec_fault(REALM, 0) and not disabled.amec_fault(REALM, None)


@pytest.mark.parametrize(("mecen", "ec", "el"), [(0, 0x18, EL.EL3), (1, None, None)])
def test_trap(mecen: int, ec: int | None, el: EL | None) -> None:
    registers = {**REGISTERS, SCR: SCR_EL3_MEC.of(MECEn=mecen).value}
    record = Record(0, Op.MRS, state=World.REALM, el=2, aux=enc(MECID_P0_EL2))
    found = refused(record, registers, tags=False)
    assert (found.exception.syndrome.ec, found.exception.syndrome.el) == (ec, el) if found else ec is None


def test_undefined_and_foreign_instructions() -> None:
    outside = Record(0, Op.MRS, state=World.NON_SECURE, el=2, aux=enc(MECID_P0_EL2))
    found = refused(outside, REGISTERS, tags=False)
    assert found is not None and (found.exception.syndrome.ec, found.exception.syndrome.el) == (0, EL.EL2)
    tagged = Record(0, Op.SYS, state=World.ROOT, el=3, aux=sysreg_encoding(*Maintenance.CIGDPAE.value))
    assert refused(tagged, REGISTERS, tags=False) is not None and refused(tagged, REGISTERS, tags=True) is None
    assert refused(Record(0, Op.MRS, aux=SCR), REGISTERS, tags=False) is None


def test_values_and_operands() -> None:
    assert set_value(enc(MECID_P0_EL2), (1 << 64) - 1) == 0xFFFF
    assert set_value(enc(MECIDR_EL2), 0) == 15 and set_value(SCR, 1 << 40) == 1 << 40
    operand = Record(0, Op.SYS, aux=sysreg_encoding(*Maintenance.CIPAPA.value), address=1 << 63 | 0x4000)
    assert maintenance(operand) == (Maintenance.CIPAPA, NS, 0x4000)
    assert slot(1 << 39) == (REALM, True) and slot(5 << 39) == (REALM, False)
