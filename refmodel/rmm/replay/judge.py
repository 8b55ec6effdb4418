"""One call of a log against what is known: permitted, not permitted, or nothing to hold it against.

A result is permitted if there is a state that agrees with everything known and in which the specification permits it.
Afterwards only such states are left.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from refmodel.rmm.command import Command, Maybe
from refmodel.rmm.context import IllFormed, NotKnown
from refmodel.rmm.replay.effects import apply
from refmodel.rmm.replay.knowledge import EVERY_KIND, Kind, Knowledge
from refmodel.rmm.replay.plausible import implausible
from refmodel.rmm.replay.view import View
from refmodel.rmm.results import RmiResult
from refmodel.rmm.types import RMM_GRANULE_SIZE, Rmi


class Shown(NamedTuple):
    """An RMI call as a log shows it: status and index of X0, and the outputs that are printed."""

    args: tuple[int, ...]
    status: int
    error_index: int = 0
    outputs: tuple[int, ...] = ()


class Verdict(Enum):
    """What came of a call: every condition was known, some were, none was, or the result is not permitted."""

    CHECKED = "checked"
    PARTLY = "partly checked"
    NOT_CHECKABLE = "not checkable"
    VIOLATED = "violated"


@dataclass(frozen=True)
class Judgement:
    """A verdict and, if the result is not permitted, what is wrong."""

    verdict: Verdict
    message: str = ""


_GRANULE_INPUTS: Final = {
    "addr",
    "rd",
    "rec",
    "rtt",
    "data",
    "src",
    "params_ptr",
    "run_ptr",
    "calling_rec",
    "target_rec",
}


def judge(command: Command, shown: Shown, knowledge: Knowledge) -> Judgement:
    """Judge a call and learn from it.  A violation leaves the knowledge as it is."""
    kept: list[Mapping[int, Kind]] = []
    known: set[bool] = set()
    reasons: dict[str, None] = {}
    for assumed in _assignments(command, shown.args, knowledge):
        permitted, complete, reason = _permitted(command, shown, View(command, shown.args, knowledge, assumed))
        if permitted:
            kept.append(assumed)
            known.add(complete)
        else:
            reasons[reason] = None
    if not kept:
        return Judgement(Verdict.VIOLATED, "; or ".join(reasons))
    message = implausible(command, shown.args, shown.status, shown.error_index, shown.outputs, knowledge)
    if message:
        return Judgement(Verdict.VIOLATED, message)
    told = _told(command, knowledge, shown)
    _narrow(kept, knowledge)
    apply(command, shown.args, shown.status, shown.outputs, knowledge)
    if not told:
        return Judgement(Verdict.NOT_CHECKABLE)
    return Judgement(Verdict.CHECKED if known == {True} else Verdict.PARTLY)


def _told(command: Command, knowledge: Knowledge, shown: Shown) -> bool:
    """Whether the log has told anything of a granule that an argument names, or the call names none."""
    named = zip(command.inputs, shown.args, strict=False)
    addresses = [value & ~(RMM_GRANULE_SIZE - 1) for name, value in named if name in _GRANULE_INPUTS]
    return not addresses or any(knowledge.kinds(addr) != EVERY_KIND for addr in addresses)


def _assignments(command: Command, args: tuple[int, ...], knowledge: Knowledge) -> Iterator[Mapping[int, Kind]]:
    """Every way to tell what the granules are that the arguments name."""
    addresses = list(
        dict.fromkeys(
            value & ~(RMM_GRANULE_SIZE - 1)
            for name, value in zip(command.inputs, args, strict=False)
            if name in _GRANULE_INPUTS
        )
    )
    options = [sorted(knowledge.kinds(addr), key=lambda kind: kind.value) for addr in addresses]
    for kinds in itertools.product(*options):
        yield dict(zip(addresses, kinds, strict=True))


def _permitted(command: Command, shown: Shown, view: View) -> tuple[bool, bool, str]:
    """(whether the result may be, whether every condition was known, why not)."""
    must: list[int] = []
    may: list[int] = []
    for number, condition in enumerate(command.conditions):
        try:
            verdict = condition.pre(view)
        except IllFormed:
            continue
        except NotKnown:
            may.append(number)
            continue
        if isinstance(verdict, Maybe):
            may.append(number)
        elif verdict:
            must.append(number)
    if shown.status == Rmi.RMI_SUCCESS:
        labels = ", ".join(command.conditions[number].label for number in must)
        return not must, not may, f"it cannot succeed: {labels} holds"
    for number in (*must, *may):
        if not command.preceded(number, must) and _gives(command, number, shown, view):
            return True, not may, ""
    labels = ", ".join(command.conditions[number].label for number in must)
    why = f"{labels} holds, which gives another result" if labels else "no condition with this result can hold"
    return False, not may, why


def _gives(command: Command, number: int, shown: Shown, view: View) -> bool:
    try:
        result = command.conditions[number].post(view)
    except NotKnown:
        # Only post-conditions that name the level of a walk look at the state.
        return shown.status == Rmi.RMI_ERROR_RTT
    except IllFormed:
        return False
    return isinstance(result, RmiResult) and (result.status, result.error_index) == (shown.status, shown.error_index)


def _narrow(kept: list[Mapping[int, Kind]], knowledge: Knowledge) -> None:
    for addr in kept[0]:
        knowledge.learn(addr, {assumed[addr] for assumed in kept})
