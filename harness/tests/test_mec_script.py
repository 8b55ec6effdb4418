"""Scripts of FEAT_MEC: their records, and verdicts on results that are written by hand."""

from __future__ import annotations

from harness.mec.instructions import Instruction, enc, written
from harness.mec.script import Beliefs, Clean, Read, Script, Write, lower_script
from harness.probe.records import Op, RecordFlag, Result, World
from refmodel.mec.memory import Choices
from refmodel.mec.registers import MECID_P0_EL2, MECID_RL_A_EL3, SCTLR2_EL3, Maintenance, Where
from refmodel.pas import EL, SecurityState
from refmodel.rules import Rule

PA, A, B = 0x8000_0000, 5, 6
_NOTHING = Result._make([0] * 22)


def loaded(value: int) -> Result:
    return _NOTHING._replace(status=1, data0=value)


def aborted(esr: int) -> Result:
    return _NOTHING._replace(status=1, taken=1, target_el=3, esr=esr)


def read(mecid: int) -> Read:
    return Read(pa=PA, mecid=mecid, rule=Rule.MEC_ISOLATION)


def after_write_and_clean() -> Beliefs:
    beliefs = Beliefs(Choices())
    beliefs.write(Write(pa=PA, mecid=A, value=0x1234))
    beliefs.clean(Clean(pa=PA, mecid=A))
    return beliefs


def test_records() -> None:
    """The MECID is set when it changes, a clean waits for earlier stores, and the operand of a DC names the space."""
    script: Script = [
        Write(pa=PA, mecid=A, value=1),
        Clean(pa=PA, mecid=A),
        Read(pa=PA, mecid=B, rule=Rule.MEC_ISOLATION),
    ]
    lowered = lower_script(script)
    assert [Op(record.op) for record in lowered.records] == [Op.MSR, Op.MSR, Op.STORE, Op.SYS, Op.MSR, Op.LOAD]
    assert [record.value0 for record in lowered.records if record.op == Op.MSR] == [2, A, B]
    assert lowered.records[0].aux == enc(SCTLR2_EL3) and lowered.records[1].aux == enc(MECID_RL_A_EL3)
    assert lowered.own == [2, 3, 5]
    assert lowered.records[3].address == PA | 0b11 << 62
    assert all(lowered.records[at].flags == RecordFlag.TLBI_BEFORE for at in lowered.own)


def test_several_pes_go_one_after_the_other() -> None:
    lowered = lower_script([Write(pa=PA, mecid=A, value=1), Read(pa=PA, mecid=A, pe=1, rule=Rule.MEC_TWO_PES)])
    groups = [record.group for record in lowered.records]
    assert groups == sorted(set(groups))
    assert [record.pe for record in lowered.records] == [0, 0, 0, 1, 1, 1]


def test_other_spaces_need_no_register() -> None:
    lowered = lower_script([Clean(pa=PA, mecid=A, pas=World.NON_SECURE, to_poe=False)])
    assert [record.op for record in lowered.records] == [Op.SYS]
    assert lowered.records[0].address == PA | 1 << 63


def test_plaintext_is_for_its_own_context() -> None:
    assert after_write_and_clean().read(read(A), loaded(0x1234)) == (True, ["0x1234"])
    assert after_write_and_clean().read(read(A), loaded(0x1235))[0] is False
    assert after_write_and_clean().read(read(B), loaded(0x1234))[0] is False
    assert after_write_and_clean().read(read(B), loaded(0x9999)) == (True, ["an external abort", "other data"])


def test_an_abort_must_be_external() -> None:
    external, translation = 0x25 << 26 | 0x10, 0x25 << 26 | 0x07
    assert after_write_and_clean().read(read(B), aborted(external))[0] is True
    assert after_write_and_clean().read(read(B), aborted(translation))[0] is False
    assert after_write_and_clean().read(read(A), aborted(external))[0] is False


def test_a_step_without_emec_has_the_default_context() -> None:
    beliefs = Beliefs(Choices())
    beliefs.write(Write(pa=PA, mecid=A, emec=0, value=0x1234))
    beliefs.clean(Clean(pa=PA))
    assert beliefs.read(read(0), loaded(0x1234))[0] is True
    beliefs.clean(Clean(pa=PA))
    assert beliefs.read(read(A), loaded(0x1234))[0] is False


def test_instructions() -> None:
    """The trap's ISS without Rt; an UNDEFINED instruction has none; a performed one no exception."""
    realm = Where(el=EL.EL2, state=SecurityState.SS_Realm, mecen=0)
    made = Instruction(what=MECID_P0_EL2, where=realm)
    iss = 3 << 20 | 4 << 14 | 10 << 10 | 8 << 1 | 1
    trapped = _NOTHING._replace(taken=1, target_el=3, esr=0x18 << 26 | 1 << 25 | iss | 3 << 5)
    assert made.expected() == made.observed(trapped)
    assert made.observed(_NOTHING) != made.expected()
    maintenance = Instruction(what=Maintenance.CIPAE, where=realm, value=PA)
    assert maintenance.expected() == maintenance.observed(_NOTHING) == {"exception": "none"}
    assert (MECID_P0_EL2, 1 << 8, 0) in written(8) and (MECID_P0_EL2, 1 << 7, 1 << 7) in written(8)
