"""A scene below EL3: the PE's security state, exception level and control registers, and its stage 1.

All stimuli of such a scene are issued in the one state and level.  Every register that the model reads is set, so that
model and machine start from the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from harness.errors import MisuseError
from harness.judge.calibration import register_entry
from harness.judge.scene import Scene
from harness.judge.stage1 import Stage1Tables
from harness.judge.stimulus import Stimulus
from harness.probe import lower
from harness.probe.records import Record, RecordFlag, RegisterEntry, World
from refmodel.context import PEContext, Regime
from refmodel.features import Features
from refmodel.pas import EL
from refmodel.registers import Register
from refmodel.sysregs import HCR_EL2, SCR_EL3
from refmodel.translation.regimes import Stage1, stage1_from
from refmodel.translation.stage2 import Stage2


class Stage1Source(Protocol):
    """Where stage 1 of a scene comes from: tables, and the registers that put them in force."""

    def writes(self) -> Iterable[tuple[int, bytes]]:
        """The tables as (PA, bytes)."""

    def registers(self, regime: Regime) -> tuple[Register, ...]:
        """What to set to have these tables in a regime, the enable last."""

    def attributes(self, regime: Regime) -> tuple[RegisterEntry, ...]:
        """Memory attributes, which decide no fault."""


@dataclass(frozen=True, kw_only=True)
class BelowEL3(ABC):
    """A PE in ``state`` at ``el`` (0, 1 or 2) with PSTATE.PAN and these control registers.

    MisuseError for a state or level that no record below EL3 has.
    """

    state: World
    el: int
    scr: SCR_EL3
    hcr: HCR_EL2
    pan: int = 0

    def __post_init__(self) -> None:
        if self.state not in lower.STATES or self.el not in (0, 1, 2):
            raise MisuseError(f"nothing runs at EL{self.el} in {World(self.state).name} state below EL3")

    @abstractmethod
    def controls(self) -> tuple[Register, ...]:
        """The registers that control stage 1 of the regime."""

    @abstractmethod
    def entries(self) -> tuple[RegisterEntry, ...]:
        """Everything to set below the GPC's own registers, as the probe sets it."""

    @property
    def source(self) -> str:
        """``EL1 in Realm state``."""
        return f"EL{self.el} in {World(self.state).name.replace('_', '-').title()} state"

    def pe(self, features: Features) -> PEContext:
        """The PE as the model has it when a record's operation is issued (SPSR_EL3 of the probe: EL0t, EL1h, EL2h)."""
        scr = self.scr.replace(NSE=self.state >> 1, NS=self.state & 1)
        return PEContext(
            el=EL(self.el), sp=int(self.el > 0), masked=0, pan=self.pan, scr=scr, hcr=self.hcr, features=features
        )

    def regime(self) -> Regime:
        """The regime of the level's accesses."""
        return self.pe(Features()).TranslationRegime(EL(self.el))

    def stage2(self) -> Stage2 | None:
        """The registers of stage 2, None where the context has none."""
        return None

    def registers(self) -> tuple[Register, ...]:
        """What the model reads, but for SCR_EL3."""
        stage2 = self.stage2()
        return (*(() if stage2 is None else stage2.registers()), self.hcr, *self.controls())

    def record(self, stimulus: Stimulus) -> Record:
        """The record of a stimulus in the middle of a batch at EL3: registers stay set, nothing is invalidated."""
        return stimulus.record()._replace(state=self.state, el=self.el, flags=int(RecordFlag.KEEP_REGS))

    def regimes(self) -> Mapping[Regime, Stage1]:
        """Stage 1 of the regime, for the model."""
        regime, values = self.regime(), {type(register): register.value for register in self.controls()}
        return {regime: stage1_from(regime, lambda register: values[register])}


@dataclass(frozen=True, kw_only=True)
class TabledContext(BelowEL3):
    """A PE below EL3 with tables that the harness makes."""

    @property
    @abstractmethod
    def source_of_stage1(self) -> Stage1Source:
        """Stage 1 of the regime."""

    def controls(self) -> tuple[Register, ...]:
        """Those that lead to the tables."""
        return self.source_of_stage1.registers(self.regime())

    def entries(self) -> tuple[RegisterEntry, ...]:
        """The registers that the model reads, and what it does not read: memory attributes and SIMD traps."""
        fixed = [*self.source_of_stage1.attributes(self.regime()), RegisterEntry(lower.SCR_EL3, self.scr.value)]
        fixed += [RegisterEntry(lower.CPTR_EL2, lower.CPTR_E2H)] if self.hcr.E2H else []
        return (*map(register_entry, self.registers()), *fixed)


@dataclass(frozen=True, kw_only=True)
class WorldContext(TabledContext):
    """A PE below EL3 with tables of ``stage1``'s shape."""

    stage1: Stage1Tables

    @property
    def source_of_stage1(self) -> Stage1Source:
        return self.stage1


@dataclass(frozen=True, kw_only=True)
class WorldScene(Scene):
    """A scene whose stimuli are issued below EL3, in ``context``."""

    context: BelowEL3

    @classmethod
    def below_el3(cls, scene: Scene, context: TabledContext) -> WorldScene:
        """The same GPT and GPC registers, seen from ``context``."""
        return cls(
            title=scene.title,
            gpccr=scene.gpccr,
            gptbr=scene.gptbr,
            tables=(*scene.tables, *context.source_of_stage1.writes()),
            gpcbw=scene.gpcbw,
            context=context,
        )

    def below(self, records: Sequence[Record]) -> list[Record]:
        """The records of stimuli moved to the context; the first invalidates what its state may have cached."""
        state, el = self.context.state, self.context.el
        pan = int(RecordFlag.PAN) if self.context.pan else 0
        moved = [record._replace(state=state, el=el, flags=record.flags | pan) for record in records]
        return [record._replace(flags=record.flags | RecordFlag.TLBI_BEFORE) for record in moved[:1]] + moved[1:]

    def describe(self, stimulus: Stimulus) -> dict[str, str]:
        """The stimulus with the registers it runs under, for a person."""
        text = super().describe(stimulus) | stimulus.describe(self.context.source)
        registers = (self.context.scr, *self.context.registers())
        text |= {"PSTATE.PAN": "1"} if self.context.pan else {}
        return text | {type(register).__name__: str(register) for register in registers}
