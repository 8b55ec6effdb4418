"""Watching the model work: which rules fire, and the walk's steps in words for a person.

A model function calls ``observe(rule, text, *values)`` at each step; the text is a ``str.format`` template that is only
filled in by an observer that wants words, so that a trace costs nothing to who does not read it.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Protocol

from refmodel.rules import Rule


class Observer(Protocol):
    """Told each step as it happens."""

    def __call__(self, rule: Rule, text: str, *values: object) -> None: ...


def unobserved(rule: Rule, text: str, *values: object) -> None:
    """The observer of who does not want to know."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step in words, and the rule that fired."""

    rule: Rule
    text: str

    def __str__(self) -> str:
        return f"{self.rule.value}: {self.text}"


class RuleCollector:
    """Collects the rules that fire, in order."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []

    def __call__(self, rule: Rule, text: str, *values: object) -> None:
        self.rules.append(rule)


class Tracer(RuleCollector):
    """Collects rules and steps in words."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Step] = []

    def __call__(self, rule: Rule, text: str, *values: object) -> None:
        super().__call__(rule, text, *values)
        self.steps.append(Step(rule, text.format(*values)))


class Deferred:
    """Keeps what it is told, and passes it on only when asked: for steps that matter only if they end in a fault."""

    def __init__(self, observe: Observer) -> None:
        self._observe = observe
        self._kept: list[tuple[Rule, str, tuple[object, ...]]] = []

    def __call__(self, rule: Rule, text: str, *values: object) -> None:
        self._kept.append((rule, text, values))

    def release(self, only: Container[Rule] = frozenset(Rule)) -> None:
        """Pass on what is kept, of the rules in ``only``; keep nothing."""
        for rule, text, values in self._kept:
            if rule in only:
                self._observe(rule, text, *values)
        self._kept.clear()
