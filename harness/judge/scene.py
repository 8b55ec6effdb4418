"""A scene: the tables and registers under which stimuli run, and the items of a sequence inside it."""

from __future__ import annotations

from dataclasses import dataclass

from harness.judge.stimulus import Stimulus
from harness.probe.records import RecordFlag
from refmodel.features import Features
from refmodel.gpt.build import GPTBuilder
from refmodel.gpt.types import GPCState
from refmodel.registers import Register
from refmodel.sysregs import GPCBW_EL3, GPCCR_EL3, GPTBR_EL3


@dataclass(frozen=True, kw_only=True)
class Scene:
    """GPT content as (PA, bytes), GPCCR_EL3 and GPTBR_EL3; ``title`` says what is special about it.

    ``gpcbw`` is GPCBW_EL3 on a PE that has it; None leaves the register alone, and 0 in the model.
    """

    title: str
    gpccr: GPCCR_EL3
    gptbr: GPTBR_EL3
    tables: tuple[tuple[int, bytes], ...] = ()
    gpcbw: GPCBW_EL3 | None = None

    def gpc(self, l0gptsz: int, features: Features) -> GPCState:
        """The GPC registers in force: L0GPTSZ is read-only, so the machine's value stays whatever is written."""
        gpccr = self.gpccr.replace(L0GPTSZ=l0gptsz)
        return GPCState(gpccr, self.gptbr, features, self.gpcbw or GPCBW_EL3())

    def registers(self) -> tuple[Register, ...]:
        """What to set before the first stimulus, GPCCR_EL3 after what it refers to."""
        return (*(() if self.gpcbw is None else (self.gpcbw,)), self.gptbr, self.gpccr)

    def describe(self, stimulus: Stimulus) -> dict[str, str]:
        """The stimulus with the registers it runs under, for a person."""
        registers = {type(register).__name__: str(register) for register in reversed(self.registers())}
        return {"scene": self.title, **stimulus.describe(), **registers}

    @classmethod
    def of(
        cls, title: str, builder: GPTBuilder, *, gpccr: GPCCR_EL3 | None = None, gpcbw: GPCBW_EL3 | None = None
    ) -> Scene:
        """The scene of a finished builder; ``gpccr`` replaces the register that fits its geometry."""
        return cls(
            title=title,
            gpccr=gpccr or builder.geometry.gpccr(),
            gptbr=builder.gptbr,
            tables=tuple(builder.writes()),
            gpcbw=gpcbw,
        )


@dataclass(frozen=True, slots=True)
class Under:
    """A stimulus under its own GPCCR_EL3, GPTBR_EL3 or GPCBW_EL3, put back (and invalidated) after it.

    ``flags``: TLBI_BEFORE leaves nothing cached from before the change except what the probe itself uses.  Without it
    a stimulus just before, to another page of the same gigabyte, leaves the translation tables' granules cached, and
    the check of the output alone meets the new registers.
    """

    stimulus: Stimulus
    gpccr: GPCCR_EL3 | None = None
    gptbr: GPTBR_EL3 | None = None
    gpcbw: GPCBW_EL3 | None = None
    flags: RecordFlag = RecordFlag.TLBI_BEFORE


@dataclass(frozen=True, slots=True)
class TableWrite:
    """Write a doubleword of a table as Root software does: store, clean, DSB; no invalidation."""

    pa: int
    value: int


@dataclass(frozen=True, slots=True)
class Invalidate:
    """TLBI PAALL with its barriers."""


Item = Stimulus | Under | TableWrite | Invalidate


def stimulus_of(item: Item) -> Stimulus | None:
    """The access among what an item is; None where it is something else."""
    match item:
        case Stimulus():
            return item
        case Under(stimulus):
            return stimulus
        case _:
            return None
