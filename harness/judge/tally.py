"""The tally of a check: per rule what was judged and what failed, with the failing cases in full."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from harness.coverage import Observed
from harness.report.records import FailingCase
from refmodel.rules import Rule

CASES_PER_SIGNATURE = 5
"""Failing cases kept in full for each signature; all are counted."""

Waive = Callable[[str, str], str | None]
"""(rule id, signature) -> name of the waiver that covers it, or None."""


def never(rule: str, signature: str) -> str | None:
    """No waivers."""
    return None


@dataclass
class RuleTally:
    """Counts for one rule: observations judged, those that failed or were waived, and weak ones.

    A weak observation was permitted only because of a possible cached entry or a choice: it is no evidence.
    """

    judged: int = 0
    failed: int = 0
    waived: int = 0
    weak: int = 0
    signatures: Counter[str] = field(default_factory=Counter)
    waivers: Counter[str] = field(default_factory=Counter)
    cases: list[FailingCase] = field(default_factory=list)

    def add(self, other: RuleTally) -> None:
        """Add the counts of another part of the same check; of each signature only the first cases are kept."""
        self.judged += other.judged
        self.failed += other.failed
        self.waived += other.waived
        self.weak += other.weak
        self.signatures += other.signatures
        self.waivers += other.waivers
        kept = Counter(case.signature for case in self.cases)
        for case in other.cases:
            kept[case.signature] += 1
            if kept[case.signature] <= CASES_PER_SIGNATURE:
                self.cases.append(case)


@dataclass
class Tally:
    """Everything that one check has judged so far; ``cited``: the rules its test is about, the first above all."""

    waive: Waive = never
    cited: tuple[Rule, ...] = ()
    stimuli: int = 0
    rules: dict[Rule, RuleTally] = field(default_factory=dict)
    choices: dict[str, Counter[str]] = field(default_factory=dict)
    owners: dict[str, list[str]] = field(default_factory=dict)
    """Granules, and the memory encryption contexts that wrote them, one after the other."""
    batches: list[str] = field(default_factory=list)
    observed: Observed = field(default_factory=Observed)
    not_observable: dict[Rule, str] = field(default_factory=dict)
    not_applicable: str = ""
    """Why no cited rule applies to the target; empty when they do."""
    lost: list[str] = field(default_factory=list)
    """Losses of the target in words, those that a second attempt made good included."""
    fatal: list[str] = field(default_factory=list)
    """Signatures of the losses that no attempt made good: one for each stimulus that was never judged."""
    unjudged: list[str] = field(default_factory=list)
    """Why stimuli were not judged."""
    _waiver: dict[tuple[Rule, str], str | None] = field(default_factory=dict)
    _parent: Tally | None = None
    """The tally of the check, in one that is an attempt's."""

    def rule(self, rule: Rule) -> RuleTally:
        """The counts of ``rule``."""
        return self.rules.setdefault(rule, RuleTally())

    def count(self, rules: Iterable[Rule], hits: int, *, weak: bool) -> None:
        """``hits`` observations were in the permitted set, decided by ``rules``."""
        for rule in dict.fromkeys(rules):
            tally = self.rule(rule)
            if weak:
                tally.weak += hits
            else:
                tally.judged += hits

    def speaks_against(self, rules: Iterable[Rule]) -> tuple[Rule, ...]:
        """Of the rules that a deviation may break, those the test is about; failing that, the test's first rule.

        A test about the level 0 index that meets a wrong GPI decision has found a wrong index, not a wrong GPI.
        """
        found = tuple(rules)
        if not self.cited:
            return found
        return tuple(rule for rule in found if rule in self.cited) or self.cited[:1]

    def fail(self, rule: Rule, case_signature: str, make_case: Callable[[str], FailingCase]) -> None:
        """An observation speaks against ``rule``; the case is only built when it will be kept."""
        tally = self.rule(rule)
        tally.judged += 1
        waiver = self.waiver(rule, case_signature)
        if waiver is None:
            tally.failed += 1
            tally.signatures[case_signature] += 1
            seen = tally.signatures[case_signature] + self._before(lambda known: known.signatures[case_signature], rule)
        else:
            tally.waived += 1
            tally.waivers[waiver] += 1
            seen = tally.waivers[waiver] + self._before(lambda known: known.waivers[waiver], rule)
        if seen <= CASES_PER_SIGNATURE:
            tally.cases.append(make_case(waiver or ""))

    def _before(self, count: Callable[[RuleTally], int], rule: Rule) -> int:
        """A count of what the check had seen when this attempt began: of equal cases only the first are made."""
        known = self._parent
        if known is None:
            return 0
        return (count(known.rules[rule]) if rule in known.rules else 0) + known._before(count, rule)

    def waiver(self, rule: Rule, case_signature: str) -> str | None:
        """The waiver that covers this deviation from ``rule``, by name."""
        if (rule, case_signature) not in self._waiver:
            self._waiver[rule, case_signature] = self.waive(rule.value, case_signature)
        return self._waiver[rule, case_signature]

    def fork(self) -> Tally:
        """An empty tally of the same check, for an attempt that may come to nothing."""
        return Tally(waive=self.waive, cited=self.cited, _parent=self, _waiver=self._waiver)

    def merge(self, attempt: Tally) -> None:
        """Add what an attempt that came to its end has judged."""
        self.stimuli += attempt.stimuli
        for rule, found in attempt.rules.items():
            self.rule(rule).add(found)
        for name, seen in attempt.choices.items():
            self.choices.setdefault(name, Counter()).update(seen)
        for granule, owners in attempt.owners.items():
            self.owners.setdefault(granule, []).extend(owners)
        self.batches += attempt.batches
        self.lost += attempt.lost
        self.fatal += attempt.fatal
        self.unjudged += attempt.unjudged

    def choice(self, name: str, value: str, times: int = 1) -> None:
        """The target made an implementation's choice."""
        self.choices.setdefault(name, Counter())[value] += times

    def owned(self, granule: str, owner: str) -> None:
        """A granule is written under a context; the same as before is not told again."""
        known = self.owners.setdefault(granule, [])
        if known[-1:] != [owner]:
            known.append(owner)

    @property
    def failed(self) -> int:
        """Failing observations that no waiver covers, over all rules."""
        return sum(tally.failed for tally in self.rules.values())

    @property
    def first_case(self) -> FailingCase | None:
        """The first failing case that no waiver covers."""
        unwaived = (case for tally in self.rules.values() for case in tally.cases if not case.waiver)
        return next(unwaived, None)
