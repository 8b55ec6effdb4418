"""Observations of calls against the model: all states that agree with what was seen so far are kept.

RMI_REC_ENTER returns when the realm is left, an SMC that leaves the realm when it is entered again: their observations
are held against the outcome that ends them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from harness.probe.records import Status
from harness.rmi.records import Observation
from refmodel.rmm.calls import Call, HostCall, RealmInterrupt, RealmSmc
from refmodel.rmm.layout import EXIT_OFFSET, PAGE, pack_rec_exit
from refmodel.rmm.results import (
    Accessed,
    Entered,
    Exited,
    Outcome,
    Output,
    RealmException,
    RmiResult,
    RsiResult,
    SmcResult,
    ToRealm,
    all_match,
)
from refmodel.rmm.state import State
from refmodel.rmm.step import step
from refmodel.rmm.version import Parameters

_X16: Final = 17
_FSC: Final = {RealmException.SEA: 0b010000, RealmException.ADDRESS_SIZE: 0b000000, RealmException.GPF: 0b101000}
ReadMemory = Callable[[int, int], bytes]


@dataclass(frozen=True)
class Belief:
    """A state that may be, with the calls that have not returned: REC to the index of its call."""

    state: State
    entries: Mapping[int, int] = field(default_factory=dict)
    left: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Deviation:
    """A call whose observation no permitted outcome explains."""

    index: int
    call: Call
    permitted: tuple[Outcome, ...]
    observed: str


class Judge:
    """Judges calls one after the other, from a state that is known."""

    def __init__(self, parameters: Parameters, read_memory: ReadMemory, state: State) -> None:
        self._parameters = parameters
        self._read = read_memory
        self.beliefs = [Belief(state)]

    def judge(self, calls: Sequence[Call], seen: Sequence[Observation]) -> Deviation | None:
        """The first deviation, or None; interrupts are calls without an observation."""
        self._calls, self._seen = list(calls), list(seen)
        return self._go_on(0)

    def finish(self, interrupts: Sequence[Call]) -> Deviation | None:
        """The exits of RECs that still run when the calls of ``judge`` are over."""
        start = len(self._calls)
        self._calls += interrupts
        return self._go_on(start)

    def _go_on(self, start: int) -> Deviation | None:
        for index, call in enumerate(self._calls[start:], start):
            outcomes: list[Outcome] = []
            after: list[Belief] = []
            for belief in self.beliefs:
                for outcome in step(belief.state, call, self._parameters):
                    outcomes.append(outcome)
                    made = self._follow(index, call, belief, outcome)
                    if made is not None and made not in after:
                        after.append(made)
            if not after:
                return Deviation(index, call, tuple(outcomes), self._observed(index))
            self.beliefs = after
        return None

    def _observed(self, index: int) -> str:
        if isinstance(self._calls[index], RealmInterrupt):
            return "the exit differs"
        seen = self._seen[index]
        if seen.taken:
            return f"exception at EL{seen.target_el}, ESR {seen.esr:#x}"
        if seen.status != Status.DONE:
            return f"record status {Status(seen.status).name}"
        return " ".join(f"x{number}={value:#x}" for number, value in enumerate(seen.registers[:5])) or "done"

    def _follow(self, index: int, call: Call, belief: Belief, outcome: Outcome) -> Belief | None:
        """The belief after an outcome, None if what was seen is something else."""
        match outcome.result:
            case RmiResult() as result:
                fits = self._registers(index, (result.x0, *result.outputs))
            case RsiResult(status, outputs):
                fits = self._registers(index, (int(status), *outputs))
            case SmcResult(x0):
                fits = self._registers(index, (x0,))
            case Entered() as entered:
                return self._entered(index, belief, outcome.state, entered)
            case Exited() as exited:
                return self._exited(index, call, belief, outcome.state, exited)
            case ToRealm(exception):
                seen = self._seen[index]
                fits = seen.taken == 1 and seen.target_el == 1 and seen.esr & 0x3F == _FSC.get(exception, 0)
            case Accessed():
                fits = self._seen[index].status == Status.DONE and not self._seen[index].taken
        return Belief(outcome.state, belief.entries, belief.left) if fits else None

    def _registers(self, index: int, permitted: tuple[Output, ...]) -> bool:
        seen = self._seen[index]
        registers = list(seen.registers[:_X16])
        call = self._calls[index]
        if isinstance(call, HostCall):
            # X4 and up that hold no result: 0 by R_KBWJD, the caller's by the SMC Calling Convention.
            for number in range(max(4, len(permitted)), len(registers)):
                if number <= len(call.args) and registers[number] == call.args[number - 1]:
                    registers[number] = 0
        return seen.status == Status.DONE and not seen.taken and all_match(permitted, registers)

    def _entered(self, index: int, belief: Belief, state: State, entered: Entered) -> Belief | None:
        # A result that is no success cannot be that of an entry; the rest is known at the exit.
        if self._seen[index].registers[0] & 0xFF:
            return None
        left = dict(belief.left)
        call = left.pop(entered.rec, None)
        if call is not None and not self._registers(call, entered.gprs[:_X16]):
            return None
        return Belief(state, {**belief.entries, entered.rec: index}, left)

    def _exited(self, index: int, call: Call, belief: Belief, state: State, exited: Exited) -> Belief | None:
        entries, left = dict(belief.entries), dict(belief.left)
        if isinstance(call, HostCall):
            entry = index
        else:
            entry = entries.pop(call.rec)
            if isinstance(call, RealmSmc):
                # Its result is what the realm finds at the next entry, if there is one.
                left[call.rec] = index
        host = self._calls[entry]
        assert isinstance(host, HostCall)
        told = self._read(host.args[1] + EXIT_OFFSET, PAGE - EXIT_OFFSET)
        if not self._registers(entry, (0,)) or told != pack_rec_exit(exited.exit):
            return None
        return Belief(state, entries, left)
