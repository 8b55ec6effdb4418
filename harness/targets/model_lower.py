"""Records below EL3 on the model as a machine: the PE's state from its registers, and one access in it.

The probe's stubs and vectors are not executed: an operation is issued as soon as its record asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from harness.judge.stimulus import Kind
from harness.probe.lower import SCR_BASE, STATES
from harness.probe.records import Record, RecordFlag, sysreg_encoding
from refmodel.access import FullTranslate, PEState, access_at
from refmodel.choices import Chooser
from refmodel.context import PEContext
from refmodel.features import Features
from refmodel.gpt.cache import PossibleGPT
from refmodel.memory import Memory
from refmodel.observe import unobserved
from refmodel.pas import EL
from refmodel.registers import Register
from refmodel.sysregs import (
    HCR_EL2,
    SCR_EL3,
    SCTLR_EL1,
    SCTLR_EL2,
    TCR_EL1,
    TCR_EL2,
    TTBR0_EL1,
    TTBR0_EL2,
    TTBR1_EL1,
    TTBR1_EL2,
    VSTCR_EL2,
    VSTTBR_EL2,
    VTCR_EL2,
    VTTBR_EL2,
)
from refmodel.translation.el3 import EL3Regime
from refmodel.translation.regimes import stage1_from
from refmodel.translation.stage2 import stage2_from

_RW: Final = 1 << 31


def encoding(register: type[Register]) -> int:
    """A register's 16-bit encoding."""
    assert register.encoding is not None
    return sysreg_encoding(*register.encoding)


START: Final[Mapping[int, int]] = {
    encoding(SCR_EL3): SCR_BASE,
    encoding(HCR_EL2): _RW,
    **{
        encoding(register): 0
        for register in (
            SCTLR_EL1,
            SCTLR_EL2,
            TTBR0_EL1,
            TTBR1_EL1,
            TTBR0_EL2,
            TTBR1_EL2,
            TCR_EL1,
            TCR_EL2,
            VTCR_EL2,
            VTTBR_EL2,
            VSTCR_EL2,
            VSTTBR_EL2,
        )
    },
    sysreg_encoding(3, 0, 10, 2, 0): 0,  # MAIR_EL1
    sysreg_encoding(3, 4, 10, 2, 0): 0,  # MAIR_EL2
    sysreg_encoding(3, 4, 1, 1, 2): 0,  # CPTR_EL2
}
"""Registers below EL3, and SCR_EL3, as the probe has them at its start."""


def can_issue(record: Record) -> bool:
    """Whether there is such a state and exception level."""
    return record.state in STATES and record.el < EL.EL3.value


def pe_state(
    record: Record, registers: Mapping[int, int], features: Features, regime: EL3Regime, memory: Memory
) -> PEState:
    """The PE that issues ``record``, from the machine's registers."""
    scr = SCR_EL3(registers[encoding(SCR_EL3)]).replace(NSE=record.state >> 1, NS=record.state & 1)
    hcr = HCR_EL2(registers[encoding(HCR_EL2)])
    pan = int(bool(record.flags & RecordFlag.PAN))
    context = PEContext(el=EL(record.el), sp=int(record.el > 0), masked=0, pan=pan, scr=scr, hcr=hcr, features=features)
    in_use = context.TranslationRegime(context.el)
    stage1 = stage1_from(in_use, lambda register: registers[encoding(register)])
    stage2 = stage2_from(lambda register: registers[encoding(register)]) if hcr.VM else None
    return PEState(regime, memory, context, {in_use: stage1}, stage2)


def key_of(record: Record) -> tuple[int, int, int]:
    """What of a record decides the PE that issues it, its registers apart."""
    return record.state, record.el, record.flags & RecordFlag.PAN


def physical(pe: PEState, gpt: PossibleGPT, va: int, kind: Kind) -> int:
    """Physical address of a virtual one whose access is performed."""
    accdesc = access_at(kind.access_name, pe.context)
    _, address = FullTranslate(pe, gpt, va, accdesc, Chooser(), unobserved)
    assert address is not None  # the access was performed
    return address.address


def saved_program_status(record: Record) -> int:
    """M[3:0] of the SPSR after an exception: the level, and SP_ELx but for EL0."""
    return record.el << 2 | (record.el > 0)


def saved_scr(record: Record) -> int:
    """{NSE, NS} of SCR_EL3 while the record's state was in force."""
    return (record.state >> 1) << 62 | record.state & 1
