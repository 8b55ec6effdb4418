"""``realmcheck compare A B``: which rules changed between two devices, most important first, on one screen."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.report import Summary, read_run, summarise
from harness.report.codec import encode
from harness.report.compare import Comparison, Deviation, DeviationChange, Difference, Kind, RuleChange, compare
from harness.report.verdicts import Verdict
from harness.rules.catalogue import DEFAULT_DIRECTORY, load_catalogue

_RULE_LINES = 32
"""Lines for rules; what does not fit is counted, and is in the JSON."""
_DEVIATIONS = 3
_OTHERS = 6
_WIDTH = 118


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``compare``."""
    text = "exit status: 0 no rule differs, 1 rules differ, 2 a run is inconclusive or interrupted, 3 bad input"
    parser = subparsers.add_parser("compare", help="which rules changed between two runs", epilog=text)
    parser.add_argument("a", type=Path, metavar="RESULTS_A", help="the directory of a run, such as results/latest")
    parser.add_argument("b", type=Path, metavar="RESULTS_B", help="the directory of the other run")
    parser.add_argument("--rules", type=Path, default=DEFAULT_DIRECTORY, metavar="DIR", help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Carry the command out; raises BadInputError for results that cannot be read."""
    catalogue = load_catalogue(args.rules)
    a, b = (summarise(read_run(directory), catalogue) for directory in (args.a, args.b))
    comparison = compare(a, b)
    print(json.dumps(as_json(comparison), indent=2) if args.json else "\n".join(as_lines(comparison)))
    return comparison.exit_code


def as_lines(comparison: Comparison) -> list[str]:
    """The comparison for a terminal: runs, notes, rules, then features, choices and binaries."""
    lines = [f"{name}: {_run_text(summary)}" for name, summary in (("A", comparison.a), ("B", comparison.b))]
    lines += [part for note in comparison.notes[:_OTHERS] for part in _fit(f"note: {note}")]
    if len(comparison.notes) > _OTHERS:
        lines.append(f"and {len(comparison.notes) - _OTHERS} more notes; --json has them all")
    differing, unclear = len(comparison.differing), len(comparison.of(Kind.UNCLEAR))
    same = len(comparison.rules) - differing - unclear
    lines += [f"rules: {differing} differ, {unclear} unclear, {same} the same", ""]
    lines += _rules(comparison)
    for title, items in (
        ("features", comparison.features),
        ("choices", comparison.choices),
        ("binaries", comparison.provenance),
    ):
        lines += _others(title, items)
    return lines if lines[-1] else lines[:-1]


def _run_text(summary: Summary) -> str:
    target, header = summary.run.target, summary.run.header
    seeds = ", ".join(f"{name} {value}" for name, value in header.seeds.items())
    return f"{target.name} {target.version}: {summary.result.words} ({summary.run.directory}, {seeds})"


def _rules(comparison: Comparison) -> list[str]:
    lines: list[str] = []
    changed = comparison.of(*(kind for kind in Kind if kind is not Kind.SAME))
    for number, change in enumerate(changed):
        block = _rule(change)
        if lines and len(lines) + len(block) > _RULE_LINES:
            return [*lines, f"and {len(changed) - number} more rules; --json has them all", ""]
        lines += block
    return [*lines, ""] if lines else []


def _rule(change: RuleChange) -> list[str]:
    verdicts = " -> ".join(verdict.value if verdict else "no check" for verdict in (change.a, change.b))
    lines = [f"{change.kind.value}: {change.id} {verdicts}  {change.title}"]
    for item in change.deviations[:_DEVIATIONS]:
        lines += _fit(f"  {_deviation(item, change.kind)}")
    if len(change.deviations) > _DEVIATIONS:
        lines.append(f"  and {len(change.deviations) - _DEVIATIONS} more")
    return lines


def _deviation(change: DeviationChange, kind: Kind) -> str:
    # Where a run says nothing about the rule, what it lacks is neither new nor gone.
    new, gone = ("only in B", "only in A") if kind is Kind.UNCLEAR else ("new", "gone")
    if change.a is None:
        return f"{new}, {_seen(change.b)}: {change.signature}"
    if change.b is None:
        return f"{gone}, {_seen(change.a)}: {change.signature}"
    return f"{_seen(change.a)} -> {_seen(change.b)}: {change.signature}"


def _seen(deviation: Deviation | None) -> str:
    if deviation is None:
        return ""
    return f"{deviation.count} x" + (" waived" if deviation.waiver else "")


def _others(title: str, items: Sequence[Difference]) -> Iterator[str]:
    if not items:
        return
    yield f"{title}:"
    for item in items[:_OTHERS]:
        yield from _fit(f"  {item.name}: {item.a or 'none'} -> {item.b or 'none'}")
    if len(items) > _OTHERS:
        yield f"  and {len(items) - _OTHERS} more; --json has them all"


def _fit(line: str) -> list[str]:
    """A line in the width of a screen, a long one in two; what is still too long is cut, and is in the JSON."""
    indent = len(line) - len(line.lstrip())
    return textwrap.wrap(
        line.strip(), _WIDTH, initial_indent=" " * indent, subsequent_indent=" " * (indent + 2), max_lines=2,
        placeholder=" ...",
    )  # fmt: skip


def as_json(comparison: Comparison) -> dict[str, Any]:
    """The comparison as JSON values; of the rules those that differ in anything, counts included."""
    return {
        "a": _run_json(comparison.a),
        "b": _run_json(comparison.b),
        "exit_status": comparison.exit_code,
        "notes": list(comparison.notes),
        "same_stimuli": comparison.same_stimuli,
        "rules": [_rule_json(rule) for rule in comparison.rules if rule.kind is not Kind.SAME or rule.deviations],
        "same": [rule.id for rule in comparison.of(Kind.SAME)],
        "features": [encode(item) for item in comparison.features],
        "choices": [encode(item) for item in comparison.choices],
        "provenance": [encode(item) for item in comparison.provenance],
    }


def _run_json(summary: Summary) -> dict[str, Any]:
    header, target = summary.run.header, summary.run.target
    return {
        "directory": str(summary.run.directory),
        "target": {"name": target.name, "version": target.version},
        "result": summary.result.value,
        "complete": summary.run.complete,
        "realmcheck": header.realmcheck,
        "catalogue": header.catalogue,
        "command": list(header.command),
        "seeds": dict(header.seeds),
    }


def _rule_json(change: RuleChange) -> dict[str, Any]:
    def name(verdict: Verdict | None) -> str | None:
        return verdict.value if verdict else None

    return {
        "id": change.id,
        "kind": change.kind.value,
        "a": name(change.a),
        "b": name(change.b),
        "deviations": [
            {"signature": item.signature, "a": encode(item.a), "b": encode(item.b)} for item in change.deviations
        ],
    }
