"""``realmcheck report DIR``: rebuild the views of a run from ``results.jsonl`` and say what it claims."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from harness.report import Summary, build_views, read_run
from harness.report.claims import ClaimResult, grouped
from harness.report.codec import encode
from harness.report.schema import check_run
from harness.report.summary import SubjectCoverage, WaiverUse
from harness.report.verdicts import SEVERITY
from harness.rules.catalogue import DEFAULT_DIRECTORY, load_catalogue

_SHOWN = 10


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``report``."""
    text = "exit status: 0 conforming or SELF-TEST passed, 1 non-conforming, 2 inconclusive, 3 misuse or bad input"
    parser = subparsers.add_parser("report", help="rebuild the views of a run and print its claims", epilog=text)
    parser.add_argument("directory", type=Path, metavar="DIR", help="the directory of a run, such as results/latest")
    parser.add_argument("--rules", type=Path, default=DEFAULT_DIRECTORY, metavar="DIR", help="default: %(default)s")
    parser.add_argument("--check", action="store_true", help="check every line and every batch checksum first")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Carry the command out; raises BadInputError for results that cannot be read."""
    catalogue = load_catalogue(args.rules)
    batches = check_run(read_run(args.directory)) if args.check else None
    summary = build_views(args.directory, catalogue)
    if args.json:
        print(json.dumps(as_json(summary), indent=2))
        return summary.result.exit_code
    print("\n".join(as_lines(summary)))
    if batches is not None:
        print(f"checked: every line fits the schema, {batches} batches fit their checksums")
    print(f"views: {args.directory / 'report.html'}, {args.directory / 'junit.xml'}")
    return summary.result.exit_code


def _waived(summary: Summary) -> list[str]:
    """The waivers that matched, those with the same reason together."""
    by_reason: dict[str, list[WaiverUse]] = {}
    for use in summary.waivers:
        if use.matched:
            by_reason.setdefault(use.waiver.reason, []).append(use)
    return [
        f"WAIVED {', '.join(dict.fromkeys(use.waiver.rule for use in uses))}: {sum(use.matched for use in uses)} "
        f"observations by {', '.join(use.waiver.id for use in uses)}: {reason}"
        for reason, uses in by_reason.items()
    ]


def as_lines(summary: Summary) -> list[str]:
    """The summary for a terminal: result, verdicts, claims with what speaks against them, waivers, problems."""
    target = summary.run.target
    lines = [f"{target.name} {target.version}: {summary.result.words}"]
    tally = ", ".join(f"{summary.tally[v]} {v.value}" for v in SEVERITY if summary.tally.get(v))
    probes = f"{summary.probes} probes sent, " if summary.probes else ""
    lines.append(f"checks: {tally or 'none'}; {probes}{summary.counts.judged} observations judged")
    lines += [f"coverage of {item.subject}: {coverage_words(item)}" for item in summary.coverage]
    for claim in summary.claims:
        if claim.result is ClaimResult.NOT_MADE:
            lines.append(f"claim {claim.profile.id}: {claim.result.words}, {claim.left_out[0].why}")
            continue
        waived = f", {len(claim.waived)} waived" if claim.waived else ""
        left_out = f", {len(claim.left_out)} left out" if claim.left_out else ""
        lines.append(
            f"claim {claim.profile.id}: {claim.result.words} ({claim.counted} rules counted{waived}{left_out})"
        )  # fmt: skip
        against = grouped(claim.against)
        lines += [f"  {item.verdict.value} {', '.join(item.rules)}: {item.why}" for item in against[:_SHOWN]]
        if len(against) > _SHOWN:
            lines.append(f"  and more for {len(against) - _SHOWN} other reasons; see report.html")
    lines += _waived(summary)
    lines += [f"problem: {problem.text}" for problem in summary.problems]
    lines += [f"choice not steady: {name}" for name in summary.flips]
    if summary.catalogue_changed:
        lines.append("note: the rule catalogue has changed since the run; claims use today's")
    return lines


def coverage_words(item: SubjectCoverage) -> str:
    """``1,200 of 3,400 cells, 560 of 560 interactions``."""
    cells, interactions = item.cells, item.interactions
    return (
        f"{cells.covered:,} of {cells.total:,} cells, "
        f"{interactions.covered:,} of {interactions.total:,} interactions observed"
    )


def as_json(summary: Summary) -> dict[str, Any]:
    """The summary as JSON values."""
    return {
        "result": summary.result.value,
        "target": {"name": summary.run.target.name, "version": summary.run.target.version},
        "interrupted": summary.run.interrupted,
        "complete": summary.run.complete,
        "checks": {verdict.value: summary.tally.get(verdict, 0) for verdict in SEVERITY},
        "probes": summary.probes,
        "counts": encode(summary.counts),
        "coverage": {
            item.subject: {"cells": encode(item.cells), "interactions": encode(item.interactions)}
            for item in summary.coverage
        },
        "rules": {item.id: item.verdict.value for item in summary.rules},
        "claims": [
            {
                "profile": claim.profile.id,
                "result": claim.result.value,
                "counted": claim.counted,
                "against": [encode(item) for item in claim.against],
                "waived": list(claim.waived),
                "left_out": [encode(item) for item in claim.left_out],
            }
            for claim in summary.claims
        ],
        "waivers": {use.waiver.id: {"matched": use.matched, "unused": use.unused} for use in summary.waivers},
        "problems": [problem.text for problem in summary.problems],
        "unsteady_choices": list(summary.flips),
        "catalogue_changed": summary.catalogue_changed,
    }
