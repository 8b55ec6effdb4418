"""A check in progress: what a test of a suite holds in its hands, and the result lines it becomes.

A test cites rules with ``@pytest.mark.rule``; it becomes one result line per cited rule (and one for every other rule
that an observation spoke against), so that a rule's verdict rests on the observations in which that rule decided.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from harness.coverage import Cell, Depth, Group, Matrix
from harness.errors import MisuseError, TargetError
from harness.judge.scene import Item, Scene
from harness.judge.session import Session
from harness.judge.tally import RuleTally, Tally
from harness.report import Cells, CheckResult, Counts, Verdict
from refmodel.rules import Rule

_WEAK = "every observation may have come from what was still cached, or from a choice of the implementation"


@dataclass
class Check:
    """One test against one session.

    ``rng`` is seeded from the run's seed and the test's name; ``scale`` multiplies the number of random stimuli,
    ``depth`` says how much of a matrix is asked for, ``most_cells`` how many of those cells at most (0: all of them).
    """

    test: str
    cited: tuple[Rule, ...]
    session: Session
    tally: Tally
    rng: random.Random
    scale: float = 1.0
    depth: Depth = Depth.PAIRWISE
    most_cells: int = 0
    parameters: dict[str, str] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    def plan(self, *groups: Group, costly: bool = False) -> tuple[Cell, ...]:
        """The cells of the test's matrix that this run asks for; parameters of the test are no factors of it.

        ``costly``: a machine may have to be started again for each, so that pairs are left to an exhaustive run.
        """
        matrix = Matrix.of(*groups)
        self.tally.observed.declare(matrix)
        cells = matrix.plan(Depth.EACH if costly and self.depth is Depth.PAIRWISE else self.depth)
        if not 0 < self.most_cells < len(cells):
            return cells
        return tuple(cells[index] for index in sorted(self.rng.sample(range(len(cells)), self.most_cells)))

    def run(
        self, scene: Scene, items: Sequence[Item], cells: Sequence[Cell | None] = (), *, whole: Cell | None = None
    ) -> None:
        """Run items in a scene and judge them.

        ``cells``: the cell that each item shows (None: none).  A cell counts when all its items were judged.
        ``whole``: the one cell that all items show.
        """
        cells = cells or [whole] * len(items)
        if len(cells) != len(items):
            raise MisuseError(f"{scene.title}: {len(items)} items show {len(cells)} cells; give one, or None, for each")
        judged = self.session.run(scene, items, self.tally)
        missed = {cell for index, cell in enumerate(cells) if index not in judged}
        self.tally.observed.add(cell for cell in cells if cell is not None and cell not in missed)

    def not_observable(self, rule: Rule, reason: str) -> None:
        """A calibration in this run showed that the target cannot show what ``rule`` is about."""
        self.tally.not_observable[rule] = reason

    def needs(self, what: str, present: bool) -> bool:
        """The run showed whether the target has something; without it no cited rule applies."""
        if not present:
            self.tally.not_applicable = f"the target has no {what}"
        return present

    def applies(self, feature: str, present: bool) -> bool:
        """Whether the target has a feature that its ID registers report; without it no cited rule applies."""
        if not present:
            self.tally.not_applicable = f"the ID registers report no {feature}"
        return present

    def results(self, problem: str = "") -> list[CheckResult]:
        """The result lines; ``problem`` says why the evidence is incomplete, if it is."""
        failing = [rule for rule, tally in self.tally.rules.items() if tally.failed or tally.waived]
        rules = list(dict.fromkeys([*self.cited, *failing]))
        return [self._result(rule, problem, first=not index) for index, rule in enumerate(rules)]

    def _result(self, rule: Rule, problem: str, *, first: bool) -> CheckResult:
        found = self._found(rule)
        verdict, reason = self._verdict(rule, found, problem)
        passed = found.judged - found.failed - found.waived
        weak = f"; {found.weak} more answered from what may still be cached" if found.weak else ""
        lost = "; ".join(self.tally.lost)
        return CheckResult(
            test=self.test,
            rules=(rule.value,),
            verdict=verdict,
            reason="; ".join(filter(None, (reason, lost))) + weak,
            parameters=self.parameters,
            counts=Counts(
                stimuli=max(self.tally.stimuli, found.judged),
                judged=found.judged,
                passed=passed,
                failed=found.failed,
                waived=found.waived,
            ),
            cells=Cells.of(self.tally.observed.cells) if first else Cells(),
            interactions=Cells.of(self.tally.observed.interactions) if first else Cells(),
            choices={name: dict(seen) for name, seen in self.tally.choices.items()} if first else {},
            owners={name: tuple(seen) for name, seen in self.tally.owners.items()} if first else {},
            signatures=dict(found.signatures),
            waived=dict(found.waivers),
            cases=tuple(found.cases),
            batches=tuple(dict.fromkeys(self.tally.batches)) if first else (),
            duration=round(time.monotonic() - self.started, 3),
            probes=self.tally.stimuli if first else 0,
        )

    def _found(self, rule: Rule) -> RuleTally:
        """What was counted for a rule; a stimulus that took the target down counts where a waiver of that rule says so.

        The waiver of the loss itself (rule AVAILABILITY) is no excuse for the rule that could not be observed.
        """
        found = self.tally.rules.get(rule, RuleTally())
        if rule is Rule.AVAILABILITY:
            return found
        excuses = Counter(waiver for loss in self.tally.fatal if (waiver := self.tally.waiver(rule, loss)))
        covered = excuses.total()
        return replace(
            found, judged=found.judged + covered, waived=found.waived + covered, waivers=found.waivers + excuses
        )

    def _verdict(self, rule: Rule, found: RuleTally, problem: str) -> tuple[Verdict, str]:
        if found.failed:
            return Verdict.FAIL, problem
        if problem:
            return Verdict.INCONCLUSIVE, problem
        if self.tally.not_applicable:
            return Verdict.NOT_APPLICABLE, self.tally.not_applicable
        if rule in self.tally.not_observable:
            return Verdict.NOT_OBSERVABLE, self.tally.not_observable[rule]
        if self.tally.unjudged and rule is not Rule.AVAILABILITY:
            excused = all(self.tally.waiver(rule, loss) for loss in self.tally.fatal)
            return (Verdict.WAIVED if excused else Verdict.INCONCLUSIVE), "; ".join(dict.fromkeys(self.tally.unjudged))
        if found.waived:
            return Verdict.WAIVED, ""
        if found.judged:
            return Verdict.PASS, ""
        if found.weak:
            return (
                Verdict.NOT_OBSERVABLE,
                _WEAK,
            )
        return Verdict.INCONCLUSIVE, "no observation was decided by this rule"


def unstarted(test: str, cited: tuple[Rule, ...], parameters: dict[str, str], problem: str) -> list[CheckResult]:
    """Result lines of a test whose target never came up."""
    return [
        CheckResult(test=test, rules=(rule.value,), verdict=Verdict.INCONCLUSIVE, reason=problem, parameters=parameters)
        for rule in cited
    ]


def describe(error: TargetError) -> str:
    """A target error with its evidence: stage, exit, the console's last lines."""
    evidence = error.evidence
    facts = [str(error)]
    facts += [f"stage {evidence.stage} after {evidence.elapsed:.1f} s"] if evidence.stage else []
    facts += [f"exit: {evidence.exit_status}"] if evidence.exit_status else []
    facts += [f"stimulus: {evidence.stimulus}"] if evidence.stimulus else []
    facts += [f"log: {evidence.log}"] if evidence.log else []
    return "; ".join(facts) + "".join(f"\n  | {line}" for line in evidence.tail[-20:])
