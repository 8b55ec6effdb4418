"""``report.html`` from a summary: one self-contained file without script or external request.

It chooses what is shown and says what is left out; the template ``report.html`` and ``report.css`` say how it looks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from harness.report.claims import grouped
from harness.report.files import replace_file
from harness.report.records import Cells, CheckResult, Counts, FailingCase
from harness.report.summary import Check, RuleSummary, Summary, seconds
from harness.report.verdicts import SEVERITY, Verdict, merge
from harness.rules.catalogue import Threat

CASES_PER_CHECK = 20
CASES_IN_ALL = 200
SIGNATURES_SHOWN = 50
OUTCOMES_SHOWN = 4
WALK_SHOWN = 40
CONSOLE_SHOWN = 20
CONSOLE_WIDTH = 200
FAILED_CHECKS_SHOWN = 200
GRANULES_SHOWN = 200


@dataclass(frozen=True)
class Cell:
    """One value of the comparison.

    ``differs``: of an observation, that no permitted outcome agrees; of a permitted outcome, that it does not agree.
    """

    value: str
    decoded: str
    differs: bool


@dataclass(frozen=True)
class Comparison:
    """Observed against permitted outcomes: a row per field, the observed cell first."""

    columns: tuple[str, ...]
    reasons: tuple[tuple[str, ...], ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    left_out: int


@dataclass(frozen=True)
class Owned:
    """A granule, and the memory encryption contexts that wrote it in a test, one after the other."""

    test: str
    granule: str
    owners: tuple[str, ...]


@dataclass(frozen=True)
class Case:
    """A failing case and its comparison."""

    case: FailingCase
    comparison: Comparison
    walk: tuple[str, ...]
    walk_left_out: int
    console: tuple[str, ...]


@dataclass(frozen=True)
class Failure:
    """A check that failed, was inconclusive or waived: what is shown of it and how much is not."""

    check: Check
    result: CheckResult
    rules: tuple[tuple[str, str], ...]
    cases: tuple[Case, ...]
    cases_left_out: int
    signatures: tuple[tuple[str, int], ...]
    signatures_left_out: int


@dataclass(frozen=True)
class TestRow:
    """A test function over all its parameter sets."""

    name: str
    verdict: Verdict
    checks: int
    probes: int
    counts: Counts
    cells: Cells
    interactions: Cells
    duration: float


def write_html(summary: Summary, path: Path) -> None:
    """Write the HTML view of a run; a former one is replaced only by a whole one."""
    replace_file(path, render(summary).encode("utf-8", errors="replace"))


def render(summary: Summary) -> str:
    """The HTML view of a run as text."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["thousands"] = lambda number: f"{number:,}".replace(",", "\u202f")
    environment.filters["seconds"] = _seconds
    environment.filters["grouped"] = grouped
    css = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    failed = [check for check in summary.checks if check.verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE)]
    failed.sort(key=lambda check: SEVERITY.index(check.verdict))
    failures = _failures(summary, failed[:FAILED_CHECKS_SHOWN])
    owned = _owned(summary.checks)
    return environment.get_template("report.html").render(
        s=summary,
        run=summary.run,
        header=summary.run.header,
        target=summary.run.target,
        css=css,
        failures=failures,
        failures_left_out=len(failed) - len(failures),
        cases_shown=sum(len(failure.cases) for failure in failures),
        tests=_tests(summary.checks),
        groups=_groups(summary),
        severity=SEVERITY,
        unchecked=_unchecked(summary.rules),
        owned=owned[:GRANULES_SHOWN],
        owned_left_out=len(owned[GRANULES_SHOWN:]),
        provenance=(*summary.run.header.provenance, *summary.run.target.provenance),
    )


def _failures(summary: Summary, checks: Sequence[Check]) -> list[Failure]:
    """Share the room for cases among the failing checks, so that each shows at least its first ones."""
    share = max(1, min(CASES_PER_CHECK, CASES_IN_ALL // max(1, len(checks))))
    return [_failure(summary, check, share) for check in checks]


def _failure(summary: Summary, check: Check, share: int) -> Failure:
    result = check.deciding
    cases = [case for case in result.cases if not case.waiver]
    rules = summary.catalogue.rules
    ranked = sorted(result.signatures.items(), key=lambda item: -item[1])
    return Failure(
        check=check,
        result=result,
        rules=tuple((name, rules[name].title if name in rules else "not in the catalogue") for name in result.rules),
        cases=tuple(_case(case) for case in cases[:share]),
        cases_left_out=result.counts.failed - min(share, len(cases)),
        signatures=tuple(ranked[:SIGNATURES_SHOWN]),
        signatures_left_out=len(ranked) - len(ranked[:SIGNATURES_SHOWN]),
    )


def _case(case: FailingCase) -> Case:
    return Case(
        case=case,
        comparison=compare(case),
        walk=case.walk[:WALK_SHOWN],
        walk_left_out=len(case.walk) - len(case.walk[:WALK_SHOWN]),
        console=tuple(line[:CONSOLE_WIDTH] for line in case.console[-CONSOLE_SHOWN:]),
    )


def compare(case: FailingCase) -> Comparison:
    """Observed against permitted: a cell differs where the observation agrees with no outcome, or this outcome not."""
    shown = case.expected[:OUTCOMES_SHOWN]
    names = dict.fromkeys([*case.observed.fields, *(name for outcome in shown for name in outcome.fields)])
    rows = []
    for name in names:
        seen = case.observed.fields.get(name)
        permitted = [outcome.fields.get(name) for outcome in case.expected]
        alien = any(value is not None for value in permitted) and seen not in permitted
        cells = [Cell(seen or "", case.observed.decoded.get(name, ""), alien)]
        for outcome in shown:
            value = outcome.fields.get(name)
            cells.append(Cell(value or "", outcome.decoded.get(name, ""), value is not None and value != seen))
        rows.append((name, tuple(cells)))
    titles = ["permitted"] if len(shown) == 1 else [f"permitted {number}" for number in range(1, len(shown) + 1)]
    return Comparison(
        columns=tuple(titles),
        reasons=tuple(outcome.reasons for outcome in shown),
        rows=tuple(rows),
        left_out=len(case.expected) - len(shown),
    )


def _tests(checks: Iterable[Check]) -> list[TestRow]:
    groups: dict[str, list[Check]] = {}
    for check in checks:
        groups.setdefault(check.deciding.test.partition("[")[0], []).append(check)
    return [
        TestRow(
            name=name,
            verdict=merge(check.verdict for check in group),
            checks=len(group),
            probes=sum(attempt.probes for check in group for attempt in check.attempts),
            counts=sum((check.deciding.counts for check in group), Counts()),
            cells=sum((check.deciding.cells for check in group), Cells()),
            interactions=sum((check.deciding.interactions for check in group), Cells()),
            duration=seconds(group),
        )
        for name, group in groups.items()
    ]


def _groups(summary: Summary) -> list[tuple[Threat | None, list[RuleSummary]]]:
    """The rules by the threat that they counter; those with no known threat come last."""
    threats = summary.catalogue.threats
    groups: dict[str, list[RuleSummary]] = {threat: [] for threat in [*threats, ""]}
    for item in summary.rules:
        groups[item.rule.threat if item.rule and item.rule.threat in threats else ""].append(item)
    return [(threats.get(name), items) for name, items in groups.items() if items]


def _unchecked(rules: Iterable[RuleSummary]) -> list[RuleSummary]:
    unseen = (Verdict.NOT_RUN, Verdict.NOT_OBSERVABLE, Verdict.NOT_APPLICABLE)
    return [item for item in rules if item.verdict in unseen]


def _owned(checks: Iterable[Check]) -> list[Owned]:
    return [
        Owned(check.deciding.test, granule, owners)
        for check in checks
        for granule, owners in check.deciding.owners.items()
    ]


def _seconds(value: float) -> str:
    if value < 60:
        return f"{value:.1f} s" if value >= 0.1 else f"{value * 1000:.0f} ms"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest:02d} s"
