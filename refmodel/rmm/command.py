"""How a command of the specification is written down here, and how its permitted outcomes follow from that.

A command is data: inputs, context, failure conditions with the specification's labels, their partial order, and one
function for the success conditions.  ``permitted`` is the only place that knows what the order means.

Source: DEN0137 1.0-rel0, chapter B1, B1.6 above all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from refmodel.rmm.context import Context, IllFormed
from refmodel.rmm.results import UNDEFINED, Outcome, Output, Result, RmiResult
from refmodel.rmm.rtt import Walk
from refmodel.rmm.state import State
from refmodel.rmm.types import Rmi


class Maybe:
    """A pre-condition that the specification leaves open: an implementation may find it true or false."""

    __slots__ = ("why",)

    def __init__(self, why: str) -> None:
        self.why = why


Verdict = bool | Maybe
Post = Callable[[Context], Result]


class Condition(NamedTuple):
    """A failure condition: its label, its pre-condition, and the result that its post-condition demands.

    A pre-condition that is not well-formed in a state (it asks for the realm of an address where none is) raises
    ``IllFormed`` and is not observed.
    """

    label: str
    pre: Callable[[Context], Verdict]
    post: Post


class Success(NamedTuple):
    """One permitted successful execution: the state after it, and X1 onwards or another result than RMI_SUCCESS."""

    state: State
    outputs: tuple[Output, ...] = ()
    result: Result | None = None
    reason: str = "success"


Order = tuple[tuple[str, ...], tuple[str, ...]]
"""``[A, B] < [C, D]``: conditions of the first group precede those of the second."""


def _no_walk(_: Context) -> Walk:
    raise IllFormed


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command.  ``inputs`` name X1 onwards, ``outputs`` too; ``section`` is where the specification has it."""

    name: str
    fid: int
    section: str
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    walk: Callable[[Context], Walk] = _no_walk
    conditions: tuple[Condition, ...] = ()
    order: tuple[Order, ...] = ()
    success: Callable[[Context], Iterable[Success]]
    _before: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        labels = [condition.label for condition in self.conditions]
        if len(set(labels)) != len(labels):
            raise ValueError(f"{self.name}: a label stands twice")
        object.__setattr__(self, "_before", _predecessors(self.name, labels, self.order))

    def permitted(self, context: Context) -> tuple[Outcome, ...]:
        """Every permitted outcome.  A failure leaves the state as it is (R_WZYBV)."""
        must = may = 0
        bit = 1
        for condition in self.conditions:
            try:
                verdict = condition.pre(context)
            except IllFormed:
                verdict = False
            if verdict is True:
                must |= bit
            elif verdict is not False:
                may |= bit
            bit <<= 1
        if not must and not may:
            return tuple(self._succeed(context))
        failures = self._fail(context, must, may)
        # What the text calls for comes before what it leaves open.
        return tuple(failures) if must else (*self._succeed(context), *failures)

    def successes(self, context: Context) -> Iterable[Outcome]:
        """The permitted outcomes that are no failure: the same as in ``permitted``, found without the others."""
        for condition in self.conditions:
            try:
                if condition.pre(context) is True:
                    return ()
            except IllFormed:
                continue
        return self._succeed(context)

    def preceded(self, number: int, must: Iterable[int]) -> bool:
        """Whether one of the conditions ``must``, which hold, precedes condition ``number``."""
        return any(self._before[number] >> other & 1 for other in must)

    def true_conditions(self, context: Context) -> frozenset[str]:
        """Labels of the pre-conditions that hold, whatever their order."""
        found = set()
        for condition in self.conditions:
            try:
                if condition.pre(context) is True:
                    found.add(condition.label)
            except IllFormed:
                continue
        return frozenset(found)

    def _fail(self, context: Context, must: int, may: int) -> list[Outcome]:
        """Failures that may be seen: conditions that no condition that surely holds precedes."""
        results: dict[Result, list[str]] = {}
        for number, condition in enumerate(self.conditions):
            if (must | may) >> number & 1 and not self._before[number] & must:
                results.setdefault(condition.post(context), []).append(condition.label)
        return [Outcome(context.state, result, "|".join(labels)) for result, labels in results.items()]

    def _succeed(self, context: Context) -> Iterable[Outcome]:
        for made in self.success(context):
            result = made.result or RmiResult(Rmi.RMI_SUCCESS, 0, made.outputs)
            yield Outcome(made.state, result, made.reason)


def _predecessors(name: str, labels: Sequence[str], order: Sequence[Order]) -> tuple[int, ...]:
    """For each condition the mask of those that precede it; ValueError for a label that is not there."""
    before = [0] * len(labels)
    for firsts, thens in order:
        for label in (*firsts, *thens):
            if label not in labels:
                raise ValueError(f"{name}: the order names {label}, which is no condition")
        mask = sum(1 << labels.index(first) for first in firsts)
        for then in thens:
            before[labels.index(then)] |= mask
    return tuple(before)


# Post-conditions ---------------------------------------------------------------------------------------------------


def failed(status: Rmi, index: int = 0, *, outputs: int = 0) -> Post:
    """A failure with nothing else said: ``outputs`` output values are UNDEFINED."""
    result = RmiResult(status, index, (UNDEFINED,) * outputs)
    return lambda context: result


def failed_rtt(*, outputs: int = 0) -> Post:
    """RMI_ERROR_RTT with the level that the walk reached."""
    undefined = (UNDEFINED,) * outputs
    return lambda context: RmiResult(Rmi.RMI_ERROR_RTT, context.walk.level, undefined)
