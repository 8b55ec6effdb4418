"""Findings: every deviation with its rule, claim and file offset, and what was checked and held."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from refmodel.rules import Rule


@dataclass(frozen=True, slots=True)
class Finding:
    """One deviation or remark.

    ``claim`` is the claim or part that it is about, ``offset`` the file offset in bytes where that stands (None: the
    part is not there at all and nothing holds its place).
    """

    rule: Rule
    claim: str
    message: str
    offset: int | None = None

    def __str__(self) -> str:
        place = f" at byte {self.offset}" if self.offset is not None else ""
        return f"{self.rule.value} {self.claim}{place}: {self.message}"


@dataclass
class Findings:
    """Collects; nothing stops at the first error.

    ``errors`` refuse a token, ``notes`` do not.  ``held`` counts by rule the checks that were made and came out well.
    """

    errors: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    held: Counter[Rule] = field(default_factory=Counter)

    def error(self, rule: Rule, claim: str, message: str, offset: int | None = None) -> None:
        """A deviation from ``rule``."""
        self.errors.append(Finding(rule, claim, message, offset))

    def note(self, rule: Rule, claim: str, message: str, offset: int | None = None) -> None:
        """A remark that refuses nothing."""
        self.notes.append(Finding(rule, claim, message, offset))

    def hold(self, rule: Rule) -> None:
        """A check of ``rule`` came out well."""
        self.held[rule] += 1

    def expect(self, holds: bool, rule: Rule, claim: str, message: str, offset: int | None = None) -> bool:
        """Count a check: held, or an error with ``message``; hands ``holds`` back."""
        if holds:
            self.held[rule] += 1
        else:
            self.error(rule, claim, message, offset)
        return holds

    def broken(self) -> frozenset[Rule]:
        """The rules that something deviates from."""
        return frozenset(finding.rule for finding in self.errors)
