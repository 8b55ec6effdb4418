"""System instructions of FEAT_MEC at a level and state: sent as one batch, held against who may execute them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from harness.check import Check
from harness.errors import TargetProtocolError
from harness.mec.verdict import judge
from harness.probe import lower
from harness.probe.batch import Batch
from harness.probe.records import Op, Record, RegisterEntry, Result, Status, World, sysreg_encoding
from refmodel.mec.registers import (
    EC_SYSTEM_REGISTER,
    EC_UNKNOWN,
    HOLDERS,
    MEC_REGISTERS,
    MECIDR_EL2,
    RT,
    SCR_EL3_MEC,
    Accessed,
    Maintenance,
    MaintenanceAccess,
    RegisterAccess,
    Where,
    stored,
    trap_iss,
    undefined_target,
)
from refmodel.pas import EL, SecurityState
from refmodel.registers import Register
from refmodel.rules import Rule

_ISS: Final = (1 << 25) - 1
_ALL: Final = (1 << 64) - 1

PLACES: Final = (
    (EL.EL3, SecurityState.SS_Root),
    *((el, state) for state in SecurityState if state is not SecurityState.SS_Root for el in (EL.EL0, EL.EL1, EL.EL2)),
)
"""Every level and state that an instruction can be executed in."""


def enc(register: type[Register]) -> int:
    """A register's 16-bit encoding."""
    assert register.encoding is not None
    return sysreg_encoding(*register.encoding)


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """An MRS, or MSR of ``value`` with ``write``, of a register, or a DC by PA with operand ``value``."""

    what: type[Register] | Maintenance
    where: Where
    write: bool = False
    value: int = 0

    @property
    def name(self) -> str:
        """``MRS MECIDR_EL2`` or ``DC CIPAE``."""
        if isinstance(self.what, Maintenance):
            return f"DC {self.what.name}"
        return f"{'MSR' if self.write else 'MRS'} {self.what.__name__}"

    @property
    def place(self) -> str:
        """``EL2 in Realm state, SCR_EL3.MECEn = 1``."""
        state = self.where.state.name.removeprefix("SS_")
        return f"{self.where.el.name} in {state} state, SCR_EL3.MECEn = {self.where.mecen}"

    def record(self) -> Record:
        """The probe record."""
        state, el = World(self.where.state.value), self.where.el.value
        if isinstance(self.what, Maintenance):
            return Record(0, Op.SYS, state=state, el=el, aux=sysreg_encoding(*self.what.value), address=self.value)
        op = Op.MSR if self.write else Op.MRS
        return Record(0, op, state=state, el=el, aux=enc(self.what), value0=self.value)

    def registers(self) -> tuple[RegisterEntry, ...]:
        """The record's register list: SCR_EL3 with MECEn, for records below EL3."""
        if self.where.el is EL.EL3:
            return ()
        return (RegisterEntry(lower.SCR_EL3, lower.SCR_BASE | SCR_EL3_MEC.of(MECEn=self.where.mecen).value),)

    def permitted(self) -> Accessed:
        """What becomes of it."""
        if isinstance(self.what, Maintenance):
            return MaintenanceAccess(self.what, self.where)
        return RegisterAccess(self.what, self.where, write=self.write)

    def expected(self) -> dict[str, str]:
        """The exception, or none, in words that compare."""
        match self.permitted():
            case Accessed.PERFORMED:
                return {"exception": "none"}
            case Accessed.UNDEFINED:
                return _exception(undefined_target(self.where.el), EC_UNKNOWN, 0)
            case Accessed.TRAPPED:
                assert not isinstance(self.what, Maintenance) and self.what.encoding is not None
                return _exception(EL.EL3, EC_SYSTEM_REGISTER, trap_iss(self.what.encoding, write=self.write))

    def observed(self, result: Result) -> dict[str, str]:
        """The same of a result."""
        if not result.taken:
            return {"exception": "none"}
        ec, iss = result.esr >> 26 & 0x3F, result.esr & _ISS
        return _exception(EL(result.target_el), ec, iss & ~RT if ec == EC_SYSTEM_REGISTER else iss)


def _exception(el: EL, ec: int, iss: int) -> dict[str, str]:
    return {"exception": f"to {el.name}", "EC": f"{ec:#04x}", "ISS": f"{iss:#09x}"}


def execute(check: Check, instructions: Sequence[Instruction], context: Sequence[RegisterEntry] = ()) -> list[Result]:
    """Send instructions as one batch; TargetProtocolError when one was not issued."""
    lists = {index: made.registers() for index, made in enumerate(instructions) if made.registers()}
    batch = Batch(records=[made.record() for made in instructions], context=context, registers=lists)
    results = check.session.target.run(batch)
    for made, result in zip(instructions, results, strict=True):
        if result.status != Status.DONE:
            raise TargetProtocolError(f"{made.name} at {made.place}: status {result.status}, not DONE")
    check.tally.stimuli += len(instructions)
    return list(results)


def judge_access(check: Check, rule: Rule, made: Instruction, result: Result) -> None:
    """Who may execute it."""
    expected, observed = made.expected(), made.observed(result)
    judge(
        check,
        rule,
        case=f"{made.name} at {made.place}",
        signature=f"{made.name} at {made.place}: {' '.join(observed.values())}",
        holds=expected == observed,
        stimulus={"instruction": made.name, "from": made.place},
        expected=[expected],
        observed=observed,
    )


def judge_value(check: Check, rule: Rule, made: Instruction, result: Result, value: int) -> None:
    """What a read returns."""
    seen = "an exception" if result.taken else f"{result.data0:#x}"
    judge(
        check,
        rule,
        case=f"{made.name} at {made.place}",
        signature=f"{made.name}: wrong value",
        holds=seen == f"{value:#x}",
        stimulus={"instruction": made.name, "from": made.place},
        expected=[{"value": f"{value:#x}"}],
        observed={"value": seen},
    )


def everywhere(register: type[Register]) -> list[Instruction]:
    """A read and a write of a register from every level and state, with either value of SCR_EL3.MECEn below EL3."""
    return [
        Instruction(what=register, where=Where(el=el, state=state, mecen=mecen), write=write, value=1)
        for el, state in PLACES
        for mecen in ((0, 1) if el is not EL.EL3 else (0,))
        for write in (True, False)
    ]


def at_el3(register: type[Register], value: int | None = None) -> Instruction:
    """A write of ``value``, or a read, at EL3."""
    where = Where(el=EL.EL3, state=SecurityState.SS_Root)
    return Instruction(what=register, where=where, write=value is not None, value=value or 0)


def mecid_width(check: Check) -> int:
    """The width in bits of a MECID that MECIDR_EL2 reports."""
    (result,) = execute(check, [at_el3(MECIDR_EL2)])
    return MECIDR_EL2(result.data0 & 0xF).width


def written(width: int) -> list[tuple[type[Register], int, int]]:
    """Registers with a value to write and the value to read after it: ones, zeros, each bit, and what RES0 leaves."""
    values = (_ALL, 0, *(1 << bit for bit in range(20)), 1 << 63)
    return [(register, value, stored(value, width)) for register in HOLDERS for value in values]


def put_back() -> tuple[RegisterEntry, ...]:
    """A context that makes the probe restore all MECIDs after the batch."""
    return tuple(RegisterEntry(enc(register), 0) for register in MEC_REGISTERS if register is not MECIDR_EL2)
