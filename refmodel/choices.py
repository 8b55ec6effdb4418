"""Where the architecture leaves a choice: run a deterministic description once for each combination of choices.

A model function that meets a choice calls ``choose(options)`` and goes on with the answer, so that it still reads like
the pseudocode; ``explore`` runs it again and again until every combination has been seen.  Caching, IMPLEMENTATION
DEFINED behaviour and CONSTRAINED UNPREDICTABLE behaviour are all options: one mechanism for all permitted sets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Option(Generic[T]):
    """One way to go on: the value, why it is permitted, and whether it is ``weak``.

    A weak option is legal but is no evidence that the rule under test holds (a stale cached entry, for example).
    """

    value: T
    reason: str = ""
    weak: bool = False


class Chooser:
    """Answers choices from a script, taking the first option where the script ends, and remembers what was on offer."""

    def __init__(self, script: Sequence[int] = ()) -> None:
        self._script = script
        self.taken: list[int] = []
        self.offered: list[int] = []
        self.reasons: list[str] = []
        self.weak = False
        self.last_weak = False

    def __call__(self, options: Sequence[Option[T]]) -> T:
        """Choose among ``options`` (at least one)."""
        position = len(self.taken)
        index = self._script[position] if position < len(self._script) else 0
        option = options[index]
        self.taken.append(index)
        self.offered.append(len(options))
        if option.reason:
            self.reasons.append(option.reason)
        self.weak |= option.weak
        self.last_weak = option.weak
        return option.value


@dataclass(frozen=True, slots=True)
class Explored(Generic[R]):
    """One complete run: its result, the reasons of the options it took, whether any, or the last one, was weak."""

    result: R
    reasons: tuple[str, ...]
    weak: bool
    last_weak: bool


def explore(run: Callable[[Chooser], R]) -> list[Explored[R]]:
    """Every combination of choices, the run that takes all first options first."""
    results: list[Explored[R]] = []
    pending: list[list[int]] = [[]]
    while pending:
        chooser = Chooser(pending.pop(0))
        scripted = len(chooser._script)
        result = run(chooser)
        results.append(Explored(result, tuple(chooser.reasons), chooser.weak, chooser.last_weak))
        for position in range(scripted, len(chooser.taken)):
            for index in range(1, chooser.offered[position]):
                pending.append([*chooser.taken[:position], index])
    return results
