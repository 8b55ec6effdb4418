"""A state below EL3 as a scene: the PE from the registers of the context, and where its virtual addresses lead.

The tables are the state's own, of whatever shape; the model walks them.  All records are in one state and level, and
every register that the model reads is in the context, so that model and machine start from the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from harness.judge.stimulus import Kind
from harness.judge.world import BelowEL3, WorldScene
from harness.probe import lower
from harness.probe.records import RecordFlag, RegisterEntry, World
from harness.state.state import REGISTERS, StateRecord, register_name
from refmodel.access import FullTranslate, PEState, access_at
from refmodel.choices import Chooser
from refmodel.features import Features
from refmodel.gpt.cache import PossibleGPT
from refmodel.gpt.types import GPCState
from refmodel.memory import Memory
from refmodel.observe import unobserved
from refmodel.registers import Register
from refmodel.sysregs import GPCCR_EL3, GPTBR_EL3, HCR_EL2, SCR_EL3, VSTCR_EL2, VSTTBR_EL2, VTCR_EL2, VTTBR_EL2
from refmodel.translation.el3 import EL3Regime
from refmodel.translation.regimes import controls
from refmodel.translation.stage2 import Stage2, stage2_from

UNREAD: Final = frozenset({lower.MAIR_EL1, lower.MAIR_EL2, lower.CPTR_EL2})
"""Registers that decide no fault: memory attributes and traps of SIMD."""

NOWHERE: Final = 0
"""Physical address of an access that is not translated: no RAM, so that nothing is looked at there."""


@dataclass(frozen=True, kw_only=True)
class RecordedContext(BelowEL3):
    """A PE below EL3 whose registers are these, in the order in which they are set."""

    given: tuple[RegisterEntry, ...]

    def controls(self) -> tuple[Register, ...]:
        """Those of the regime, from the list."""
        values = {entry.encoding: entry.value for entry in self.given}
        return tuple(register(values[encoding(register)]) for register in controls(self.regime()))

    def stage2(self) -> Stage2 | None:
        """Stage 2 where HCR_EL2.VM is 1, from the list."""
        if not self.hcr.VM:
            return None
        values = {entry.encoding: entry.value for entry in self.given}
        return stage2_from(lambda register: values[encoding(register)])

    def entries(self) -> tuple[RegisterEntry, ...]:
        """The list as it is."""
        return self.given


def encoding(register: type[Register]) -> int:
    """The 16-bit encoding of a register of the model."""
    return REGISTERS[register.__name__.removesuffix("_E2H")]


def context_of(record: StateRecord, entries: Sequence[RegisterEntry]) -> RecordedContext | str:
    """The context of a record from the registers below the GPC's own; or why the model cannot have it."""
    values = {entry.encoding: entry.value for entry in entries}
    if len(values) < len(entries):
        return "its context sets a register twice"
    scr, hcr = values.get(lower.SCR_EL3), values.get(lower.HCR_EL2)
    if scr is None or hcr is None:
        return f"its context does not set {'SCR_EL3' if scr is None else 'HCR_EL2'}, which the model reads"
    made = RecordedContext(
        state=record.state,
        el=record.el,
        scr=SCR_EL3(scr),
        hcr=HCR_EL2(hcr),
        pan=int(bool(record.flags & RecordFlag.PAN)),
        given=tuple(entries),
    )
    read = {lower.SCR_EL3, lower.HCR_EL2, *(encoding(register) for register in controls(made.regime()))}
    second = {encoding(register) for register in (VTCR_EL2, VTTBR_EL2, VSTCR_EL2, VSTTBR_EL2)}
    read |= second if made.hcr.VM else set()
    for number in sorted(read - values.keys()):
        return f"its context does not set {register_name(number)}, which the model reads"
    for number in sorted(values.keys() - read - UNREAD):
        return f"{register_name(number)} in its context is not judged at EL{record.el}"
    try:
        made.regimes()
        made.stage2()
    except ValueError as error:
        return str(error)
    return made


class Places:
    """Where the virtual addresses of a scene lead, by the tables in ``memory``.

    Nothing is checked on the way, unless ``gpt`` says by what.
    """

    def __init__(
        self,
        scene: WorldScene,
        features: Features,
        regime: EL3Regime,
        memory: Memory,
        gpt: PossibleGPT | None = None,
    ) -> None:
        context = scene.context
        self._pe = PEState(regime, memory, context.pe(features), context.regimes(), context.stage2())
        self._gpt = gpt or PossibleGPT(GPCState(GPCCR_EL3(), GPTBR_EL3(), features), memory)

    def of(self, va: int, kind: Kind) -> tuple[int, World] | str:
        """Physical address and space, or why the model cannot say; ``NOWHERE`` where stage 1 refuses the access."""
        accdesc = access_at(kind.access_name, self._pe.context)
        try:
            _, address = FullTranslate(self._pe, self._gpt, va, accdesc, Chooser(), unobserved)
        except ValueError as error:
            return str(error)
        if address is None:
            return NOWHERE, World(self._pe.context.ss.value)
        return address.address, World(address.paspace.value)
