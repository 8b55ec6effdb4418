"""A check against a booted stack: what a test of the boot and Linux suites holds in its hands (fixture ``stack``).

A test boots a stack, observes, and states with ``judge`` whether an observation is what a rule demands.  Verdicts,
waivers and result lines are made here; how a stack is booted is not known.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from harness.boot.machine import StackMachine
from harness.boot.pool import StackPool
from harness.judge.tally import CASES_PER_SIGNATURE, RuleTally
from harness.report.records import CheckResult, Counts, FailingCase, Outcome
from harness.report.verdicts import Verdict

Waive = Callable[[str, str], str | None]
"""(rule id, signature) -> name of the waiver that covers it, or None."""


@dataclass(kw_only=True)
class StackCheck:
    """One test against stacks; ``pool`` has the machines, ``rng`` is seeded from the run's seed and the test's name."""

    test: str
    cited: tuple[str, ...]
    pool: StackPool
    rng: random.Random
    waive: Waive
    scale: float = 1.0
    reproduce: str = ""
    parameters: dict[str, str] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)
    not_applicable: str = ""
    notes: list[str] = field(default_factory=list)
    _rules: dict[str, RuleTally] = field(default_factory=dict)
    _not_observable: dict[str, str] = field(default_factory=dict)
    _used: list[StackMachine] = field(default_factory=list)

    def boot(self, stack: str, until: str = "", *, fresh: bool = False) -> StackMachine:
        """A machine on which ``stack`` has reached ``until`` (default: its last stage), shared with other tests.

        ``fresh``: one that was powered on for this test, and that no other test gets.  TargetError when the boot fails.
        """
        machine = self.pool.boot(stack, until, fresh=fresh)
        self._used.append(machine)
        return machine

    def has_rmm(self) -> bool:
        """Whether the user gave an RMM; without one no cited rule applies."""
        if not self.pool.rmm_given:
            self.not_applicable = "no RMM was named: give --rmm FILE or set REALMCHECK_RMM"
        return self.pool.rmm_given

    def note(self, text: str) -> None:
        """Something that the report should show beside the verdict, a time for instance."""
        self.notes.append(text)

    def not_observable(self, rule: str, reason: str) -> None:
        """The machine cannot show what ``rule`` is about, as something in this run has shown."""
        self._not_observable[rule] = reason

    def judge(
        self,
        rule: str,
        holds: bool,
        *,
        case: str,
        stimulus: Mapping[str, str],
        expected: Mapping[str, str] | Sequence[Mapping[str, str]],
        observed: Mapping[str, str],
        signature: str = "",
        walk: Sequence[str] = (),
        machine: StackMachine | None = None,
    ) -> bool:
        """One observation that ``rule`` decides: ``holds`` says whether it is permitted; returns it.

        ``expected`` is one permitted outcome or several, ``signature`` the stable text of the deviation (default: case
        and observation), by which waivers match.
        """
        tally = self._rules.setdefault(rule, RuleTally())
        tally.judged += 1
        if holds:
            return True
        text = signature or f"{case}: " + ", ".join(f"{name} {value}" for name, value in observed.items())
        waiver = self.waive(rule, text)
        if waiver is None:
            tally.failed += 1
            tally.signatures[text] += 1
            seen = tally.signatures[text]
        else:
            tally.waived += 1
            tally.waivers[waiver] += 1
            seen = tally.waivers[waiver]
        if seen <= CASES_PER_SIGNATURE:
            outcomes = [expected] if isinstance(expected, Mapping) else expected
            evidence = (machine or self._used[-1]).evidence() if machine or self._used else None
            tally.cases.append(
                FailingCase(
                    case=case,
                    title=text,
                    signature=text,
                    rules=(rule,),
                    stimulus=dict(stimulus),
                    expected=tuple(Outcome(fields=dict(outcome)) for outcome in outcomes),
                    observed=Outcome(fields=dict(observed)),
                    walk=tuple(walk),
                    stage=evidence.stage if evidence else "",
                    console=evidence.tail if evidence else (),
                    reproduce=self.reproduce,
                    waiver=waiver or "",
                )
            )
        return False

    def release(self) -> None:
        """The test has ended badly: the state of every machine that it used is unknown, so they go off."""
        for machine in self._used:
            self.pool.discard(machine)

    @property
    def failed(self) -> int:
        """Failing observations that no waiver covers."""
        return sum(tally.failed for tally in self._rules.values())

    @property
    def first_case(self) -> FailingCase | None:
        """The first failing case that no waiver covers."""
        cases = (case for tally in self._rules.values() for case in tally.cases if not case.waiver)
        return next(cases, None)

    def results(self, problem: str = "") -> list[CheckResult]:
        """The result lines, one per cited rule and per other rule that failed; ``problem``: why evidence is missing."""
        others = [rule for rule, tally in self._rules.items() if tally.failed or tally.waived]
        return [self._result(rule, problem) for rule in dict.fromkeys([*self.cited, *others])]

    def _result(self, rule: str, problem: str) -> CheckResult:
        found = self._rules.get(rule, RuleTally())
        verdict, reason = self._verdict(rule, found, problem)
        return CheckResult(
            test=self.test,
            rules=(rule,),
            verdict=verdict,
            reason="; ".join(filter(None, (reason, *self.notes))),
            parameters=self.parameters,
            counts=Counts(
                stimuli=found.judged,
                judged=found.judged,
                passed=found.judged - found.failed - found.waived,
                failed=found.failed,
                waived=found.waived,
            ),
            signatures=dict(found.signatures),
            waived=dict(found.waivers),
            cases=tuple(found.cases),
            duration=round(time.monotonic() - self.started, 3),
        )

    def _verdict(self, rule: str, found: RuleTally, problem: str) -> tuple[Verdict, str]:
        if found.failed:
            return Verdict.FAIL, problem
        if problem:
            return Verdict.INCONCLUSIVE, problem
        if self.not_applicable:
            return Verdict.NOT_APPLICABLE, self.not_applicable
        if rule in self._not_observable:
            return Verdict.NOT_OBSERVABLE, self._not_observable[rule]
        if found.waived:
            return Verdict.WAIVED, ""
        if found.judged:
            return Verdict.PASS, ""
        return Verdict.INCONCLUSIVE, "no observation was decided by this rule"
