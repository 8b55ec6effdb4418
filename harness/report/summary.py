"""One run against the catalogue: settled checks, rule verdicts, claims, waivers in use, choices, and problems.

Pure: takes a ``Run`` and a ``Catalogue``, gives a ``Summary`` that every view (HTML, JUnit, terminal, JSON) shows.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.report.claims import Circumstances, Claim, ClaimResult, combine, evaluate
from harness.report.records import Cells, CheckResult, Counts
from harness.report.results import Run, by_subject
from harness.report.verdicts import Verdict, merge, settle
from harness.report.waivers import Waiver
from harness.rules.catalogue import Catalogue, Level, Rule, matches


@dataclass(frozen=True, kw_only=True)
class Check:
    """A check with all its attempts, oldest first; the ``deciding`` one gave the verdict, and its counts stand."""

    attempts: tuple[CheckResult, ...]
    verdict: Verdict

    @property
    def deciding(self) -> CheckResult:
        """The latest attempt that has the settled verdict."""
        return [attempt for attempt in self.attempts if attempt.verdict is self.verdict][-1]


@dataclass(frozen=True, kw_only=True)
class RuleSummary:
    """A rule and what this run says about it.

    ``rule`` is None for an id that checks cite and the catalogue does not know.  ``tally`` counts checks by verdict,
    ``missing`` names tests of the rule of which no check was recorded, ``why`` explains a verdict that is not good.
    """

    id: str
    rule: Rule | None
    verdict: Verdict
    tally: Mapping[Verdict, int]
    counts: Counts
    cells: Cells
    missing: tuple[str, ...]
    why: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class WaiverUse:
    """A waiver of this run: how many observations it covered, and whether it should have covered one and did not."""

    waiver: Waiver
    matched: int
    unused: bool


@dataclass(frozen=True, kw_only=True)
class SubjectCoverage:
    """What was observed and judged of the matrices of a subject's checks: cells, and interactions of their factors."""

    subject: str
    cells: Cells
    interactions: Cells


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something about the run as a whole that a claim cannot say, and what it does to the result."""

    text: str
    result: ClaimResult


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Everything that the views show; ``probes`` counts those of all attempts."""

    run: Run
    catalogue: Catalogue
    checks: tuple[Check, ...]
    rules: tuple[RuleSummary, ...]
    claims: tuple[Claim, ...]
    waivers: tuple[WaiverUse, ...]
    problems: tuple[Problem, ...]
    choices: Mapping[str, Mapping[str, int]]
    tally: Mapping[Verdict, int]
    counts: Counts
    coverage: tuple[SubjectCoverage, ...]
    probes: int
    result: ClaimResult

    @property
    def catalogue_changed(self) -> bool:
        """Whether the catalogue is not the one of the run."""
        return bool(self.run.header.catalogue) and self.run.header.catalogue != self.catalogue.digest

    @property
    def flips(self) -> tuple[str, ...]:
        """Implementation choices that were seen with more than one value, or not as the target declares."""
        declared = self.run.target.choices
        return tuple(
            name
            for name, seen in self.choices.items()
            if len(seen) > 1 or (name in declared and declared[name] not in seen)
        )


def seconds(checks: Iterable[Check]) -> float:
    """Time spent on checks; those of one test share its time, so each attempt at a test counts once."""
    spent: dict[tuple[str, int], float] = {}
    for check in checks:
        for attempt in check.attempts:
            key = attempt.test, attempt.attempt
            spent[key] = max(spent.get(key, 0.0), attempt.duration)
    return sum(spent.values())


def summarise(run: Run, catalogue: Catalogue) -> Summary:
    """Evaluate a run against a catalogue."""
    checks = _settled(run.checks)
    rules = _rules(checks, catalogue)
    circumstances = Circumstances(run.target.self_test, run.interrupted, run.target.features)
    verdicts = {item.id: item.verdict for item in rules}
    claims = tuple(
        evaluate(catalogue.profiles[name], catalogue.members(catalogue.profiles[name]), verdicts, circumstances)
        for name in _claimed(run, catalogue, rules)
    )
    waivers = _waivers(run, catalogue, checks)
    problems = tuple(_problems(run, catalogue, checks, claims, waivers))
    counts = sum((check.deciding.counts for check in checks), Counts())
    return Summary(
        run=run,
        catalogue=catalogue,
        checks=checks,
        rules=rules,
        claims=claims,
        waivers=waivers,
        problems=problems,
        choices=_choices(checks),
        tally=Counter(check.verdict for check in checks),
        counts=counts,
        coverage=_coverage(checks),
        probes=sum(result.probes for result in run.checks),
        result=combine([*(c.result for c in claims), *(p.result for p in problems)], self_test=run.target.self_test),
    )


def _settled(results: Iterable[CheckResult]) -> tuple[Check, ...]:
    groups: dict[tuple[str, tuple[str, ...]], list[CheckResult]] = defaultdict(list)
    for result in results:
        groups[result.test, result.rules].append(result)
    checks = []
    for group in groups.values():
        group.sort(key=lambda result: result.attempt)
        checks.append(Check(attempts=tuple(group), verdict=settle([result.verdict for result in group])))
    return tuple(checks)


def _rules(checks: Sequence[Check], catalogue: Catalogue) -> tuple[RuleSummary, ...]:
    cited: dict[str, list[Check]] = {rule: [] for rule in catalogue.rules}
    for check in checks:
        for rule in check.deciding.rules:
            cited.setdefault(rule, []).append(check)
    return tuple(_rule(name, catalogue.rules.get(name), own) for name, own in cited.items())


def _rule(name: str, rule: Rule | None, checks: Sequence[Check]) -> RuleSummary:
    tests = rule.tests if rule else ()
    missing = tuple(test for test in tests if not any(matches(test, check.deciding.test) for check in checks))
    verdict = merge([check.verdict for check in checks] + [Verdict.NOT_RUN] * bool(missing))
    why = [check.deciding.reason for check in checks if check.deciding.reason and check.verdict is verdict]
    if rule and rule.reserved and rule.reserved_verdict:
        verdict, why = Verdict[rule.reserved_verdict.name], [rule.reserved]
    elif verdict is Verdict.NOT_RUN and not why:
        why = [f"no check of {test} was recorded" for test in missing] or ["no check cites it"]
    return RuleSummary(
        id=name,
        rule=rule,
        verdict=verdict,
        tally=Counter(check.verdict for check in checks),
        counts=sum((check.deciding.counts for check in checks), Counts()),
        cells=Cells(
            covered=sum(check.deciding.cells.covered for check in checks),
            total=sum(check.deciding.cells.total for check in checks),
        ),
        missing=missing,
        why=tuple(dict.fromkeys(why)),
    )


def _claimed(run: Run, catalogue: Catalogue, rules: Sequence[RuleSummary]) -> list[str]:
    if run.header.profiles:
        return [name for name in run.header.profiles if name in catalogue.profiles]
    touched = {item.id for item in rules if item.tally and not (item.rule and item.rule.reserved)}
    return [p.id for p in catalogue.profiles.values() if any(r.id in touched for r in catalogue.members(p))]


def _waivers(run: Run, catalogue: Catalogue, checks: Sequence[Check]) -> tuple[WaiverUse, ...]:
    matched: Counter[str] = Counter()
    for check in checks:
        matched.update(check.deciding.waived)
    uses = []
    for waiver in run.header.waivers:
        expected = waiver.applies(run.target.name, run.target.version) and run.complete
        expected = expected and _ran(waiver.rule, catalogue, checks)
        unused = expected and not matched[waiver.id]
        uses.append(WaiverUse(waiver=waiver, matched=matched[waiver.id], unused=unused))
    return tuple(uses)


def _ran(rule: str, catalogue: Catalogue, checks: Sequence[Check]) -> bool:
    """Whether every test of a rule gave a verdict about observations."""
    own = [check for check in checks if rule in check.deciding.rules]
    if any(not (check.verdict.ran or check.verdict is Verdict.NOT_APPLICABLE) for check in own):
        return False
    tests = catalogue.rules[rule].tests if rule in catalogue.rules else ()
    return bool(own) and all(any(matches(test, check.deciding.test) for check in own) for test in tests)


def _problems(
    run: Run, catalogue: Catalogue, checks: Sequence[Check], claims: Sequence[Claim], waivers: Sequence[WaiverUse]
) -> Iterable[Problem]:
    bad, unclear = ClaimResult.NON_CONFORMING, ClaimResult.INCONCLUSIVE
    if run.end is None:
        last = run.checks[-1].test if run.checks else "the header"
        yield Problem(text=f"interrupted: the run has no end line; the last thing recorded is {last}", result=unclear)
    elif run.interrupted:
        yield Problem(text=f"interrupted: pytest ended with status {run.end.exit_status}", result=unclear)
    elif run.end.exit_status == 1 and not any(c.verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE) for c in checks):
        yield Problem(text="pytest reported a failure that no check explains; see its output", result=unclear)
    elif not run.complete:
        yield Problem(text="only a part of the suites was selected or reached", result=unclear)
    if not claims:
        yield Problem(text="no profile of the catalogue was claimed or touched", result=unclear)
    for name in run.header.profiles:
        if name not in catalogue.profiles:
            yield Problem(text=f"claimed profile {name} is not in the catalogue", result=unclear)
    for use in waivers:
        if use.unused:
            text = f"waiver {use.waiver.id} matched nothing although {use.waiver.rule} was checked; remove it"
            yield Problem(text=text, result=bad)
        if use.matched and not use.waiver.applies(run.target.name, run.target.version):
            text = f"waiver {use.waiver.id} is for {use.waiver.target} {use.waiver.versions}, not for this target"
            yield Problem(text=text, result=bad)
    known = {use.waiver.id for use in waivers}
    for name in dict.fromkeys(name for check in checks for name in check.deciding.waived if name not in known):
        yield Problem(text=f"waiver {name} was used but the header does not list it", result=bad)
    yield from _outside(catalogue, checks, claims)


def _outside(catalogue: Catalogue, checks: Sequence[Check], claims: Sequence[Claim]) -> Iterable[Problem]:
    """Failures that no claim counts: they are never silent, and only advice (recommended rules) does not count."""
    counted = {objection.rule for claim in claims for objection in claim.against}
    for check in checks:
        if check.verdict is not Verdict.FAIL or counted.intersection(check.deciding.rules):
            continue
        rules = [catalogue.rules[name] for name in check.deciding.rules if name in catalogue.rules]
        advice = bool(rules) and all(rule.level is Level.RECOMMENDED for rule in rules)
        if not advice:
            text = f"{check.deciding.test} failed, outside the claimed profiles"
            yield Problem(text=text, result=ClaimResult.NON_CONFORMING)


def _coverage(checks: Iterable[Check]) -> tuple[SubjectCoverage, ...]:
    deciding = [check.deciding for check in checks]
    cells = by_subject((check.test, check.cells) for check in deciding)
    interactions = by_subject((check.test, check.interactions) for check in deciding)
    return tuple(
        SubjectCoverage(subject=name, cells=found, interactions=interactions.get(name, Cells()))
        for name, found in cells.items()
    )


def _choices(checks: Iterable[Check]) -> Mapping[str, Mapping[str, int]]:
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for check in checks:
        for name, values in check.deciding.choices.items():
            seen[name].update(values)
    return {name: dict(values) for name, values in sorted(seen.items())}
