"""A scene: the tables and registers under which stimuli run, and the items of a sequence inside it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from harness.judge.stimulus import Stimulus
from harness.probe.records import RecordFlag
from refmodel.features import Features
from refmodel.gpt.build import GPTBuilder
from refmodel.gpt.tlbi import TLBIOp
from refmodel.gpt.types import GPCState
from refmodel.registers import Register
from refmodel.sysregs import GPCBW_EL3, GPCCR_EL3, GPTBR_EL3

if TYPE_CHECKING:
    from harness.judge.world import BelowEL3


@dataclass(frozen=True, kw_only=True)
class Scene:
    """GPT content as (PA, bytes), GPCCR_EL3 and GPTBR_EL3; ``title`` says what is special about it.

    ``gpcbw`` is GPCBW_EL3 on a PE that has it; None leaves the register alone, and 0 in the model.  ``contiguity``: the
    tables mark ranges contiguous whose descriptors differ, so any of them may answer.
    """

    title: str
    gpccr: GPCCR_EL3
    gptbr: GPTBR_EL3
    tables: tuple[tuple[int, bytes], ...] = ()
    gpcbw: GPCBW_EL3 | None = None
    contiguity: bool = False

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

    def scene(self, around: Scene) -> Scene:
        """The scene with the registers that the stimulus itself runs under."""
        own = (("gpccr", self.gpccr), ("gptbr", self.gptbr), ("gpcbw", self.gpcbw))
        return replace(around, **{name: register for name, register in own if register is not None})  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class On:
    """A stimulus at EL3 of PE ``pe``; without it a stimulus is the first PE's."""

    pe: int
    stimulus: Stimulus


@dataclass(frozen=True, slots=True)
class From:
    """A stimulus below EL3 in the middle of a sequence, by PE ``pe`` in ``context``, with stage 1 off.

    The context's registers stay set until the end of the batch, and nothing is invalidated.
    """

    context: BelowEL3
    stimulus: Stimulus
    pe: int = 0


@dataclass(frozen=True, slots=True)
class TableWrite:
    """Write a doubleword of a table, ``count`` times in a row, as Root software does: store, clean, DSB.

    Nothing is invalidated.  ``pe`` does it, and every PE sees it.
    """

    pa: int
    value: int
    count: int = 1
    pe: int = 0

    @property
    def data(self) -> bytes:
        """The bytes that are written."""
        return self.value.to_bytes(8, "little") * self.count


@dataclass(frozen=True, slots=True)
class SetRegister:
    """PE ``pe`` writes GPCCR_EL3, GPTBR_EL3 or GPCBW_EL3; the value stays until the end of the batch."""

    register: GPCCR_EL3 | GPTBR_EL3 | GPCBW_EL3
    pe: int = 0


@dataclass(frozen=True, slots=True)
class Invalidate:
    """A TLBI by PA with its barriers, executed by PE ``pe``; ``xt`` is the operand of a range instruction."""

    op: TLBIOp = TLBIOp.PAALL
    xt: int = 0
    pe: int = 0


Change = TableWrite | SetRegister | Invalidate
"""Items that change what a check may answer."""

Item = Stimulus | Under | On | From | Change
"""What a sequence consists of."""


def stimulus_of(item: Item) -> Stimulus | None:
    """The stimulus in an item, if there is one."""
    match item:
        case Stimulus():
            return item
        case Under(stimulus) | On(_, stimulus) | From(_, stimulus):
            return stimulus
        case _:
            return None


def pe_of(item: Item) -> int:
    """The PE that carries an item out."""
    return 0 if isinstance(item, Stimulus | Under) else item.pe
