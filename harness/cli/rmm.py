"""``realmcheck rmm explore|replay``: the RMM model explored, and held against firmware logs."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from harness.errors import MisuseError
from harness.rmmlog.replay import Report, replay
from refmodel.mutants import RMM_MUTANTS, apply
from refmodel.rmm.explore.scope import SCOPES, Scope
from refmodel.rmm.explore.search import Exploration, describe, explore
from refmodel.rmm.replay.judge import Verdict

GOOD, BAD, INCONCLUSIVE = 0, 1, 2


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``rmm``."""
    parser = subparsers.add_parser("rmm", help="the RMM model: explore it, replay a firmware log on it")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    search = actions.add_parser("explore", help="visit every reachable state at small scope, check invariants")
    search.add_argument("--json", action="store_true", help="print JSON")
    names = ", ".join(repr(scope.name) for scope in SCOPES)
    search.add_argument("--scope", action="append", default=[], metavar="NAME", help=f"only this one; {names}")
    search.add_argument("--limit", type=int, default=1_000_000, metavar="N", help="end a scope at N states (exit 2)")
    search.add_argument(
        "--mutant", default="", metavar="NAME", help="explore the model with this fault; exit 1 is good"
    )
    again = actions.add_parser("replay", help="hold a firmware log (TF-RMM, Islet) against the model")
    again.add_argument("log", type=Path, help="console log, plain or gzip")
    again.add_argument("--json", action="store_true", help="print JSON")
    again.add_argument(
        "--revision", default="", metavar="R", help="the RMI revision to judge by, whatever the log says"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Carry the command out: 0 nothing violated, 1 a violation, 2 not all states, or nothing in a log to judge."""
    return _replay(args) if args.action == "replay" else _explore(args)


def _replay(args: argparse.Namespace) -> int:
    if args.revision not in ("", "1.0"):
        raise MisuseError(f"--revision must be 1.0, the only one that is modelled, not {args.revision!r}")
    report = replay(args.log, revision=args.revision)
    if args.json:
        print(json.dumps(_replayed(report), indent=2))
    else:
        _tell_replay(report)
    return BAD if report.divergences else INCONCLUSIVE if report.inconclusive else GOOD


def _replayed(report: Report) -> dict[str, object]:
    return {
        "revision": "1.0",
        "firmware": report.firmware,
        "abi": report.abi,
        "from_boot": report.from_boot,
        "printed": list(report.printed),
        "calls": report.calls,
        **{verdict.value.replace(" ", "_"): report.counts[verdict] for verdict in Verdict},
        "garbled": report.garbled,
        "suspect": report.suspect,
        "violations": [asdict(found) for found in report.divergences],
    }


def _tell_replay(report: Report) -> None:
    who = f"TF-RMM {report.firmware}" if report.firmware else "an RMM that does not name itself"
    print(f"{who}, judged by RMM 1.0: {report.calls} calls, {report.garbled} lines that cannot be read")
    for verdict in Verdict:
        print(f"  {verdict.value:15} {report.counts[verdict]:>7}")
    if not report.from_boot:
        print("  the log does not begin at the RMM's boot: what was before it is not known")
    for found in report.divergences[:1]:
        print(f"first divergence, line {found.line}: {found.text.strip()}\n  {found.message}")
        for text in found.known:
            print(f"  known: {text}")
        for text in found.before:
            print(f"  before: {text}")


def _scopes(names: Sequence[str]) -> Sequence[Scope]:
    known = {scope.name: scope for scope in SCOPES}
    for name in names:
        if name not in known:
            raise MisuseError(f"there is no scope {name!r}; scopes: {', '.join(known)}")
    return [known[name] for name in names] or SCOPES


def _explore(args: argparse.Namespace) -> int:
    if args.limit < 1:
        raise MisuseError(f"--limit must be 1 or more, not {args.limit}")
    scopes = _scopes(args.scope)
    if args.mutant:
        if args.mutant not in {mutant.name for mutant in RMM_MUTANTS}:
            names = ", ".join(mutant.name for mutant in RMM_MUTANTS)
            raise MisuseError(f"there is no mutant {args.mutant!r} of the RMM model; mutants: {names}")
        apply(args.mutant)
    made: list[tuple[Exploration, float]] = []
    for scope in scopes:
        begin = time.perf_counter()
        made.append((explore(scope, limit=args.limit), time.perf_counter() - begin))
        if not args.json:
            _tell(*made[-1])
    found = [exploration for exploration, _ in made]
    if args.json:
        print(json.dumps(_document(made), indent=2))
    if any(exploration.violations for exploration in found):
        return BAD
    return GOOD if all(exploration.complete for exploration in found) else INCONCLUSIVE


def _tell(found: Exploration, seconds: float) -> None:
    state = "" if found.complete else ", not complete"
    print(
        f"{found.scope}: {found.states} states, {found.transitions} transitions, "
        f"{len(found.violations)} violations in {seconds:.1f} s{state}",
        flush=True,
    )
    for violation in found.violations:
        print(violation)


def _document(made: Sequence[tuple[Exploration, float]]) -> dict[str, object]:
    scopes = [
        {
            "scope": found.scope,
            "states": found.states,
            "transitions": found.transitions,
            "complete": found.complete,
            "seconds": round(seconds, 3),
        }
        for found, seconds in made
    ]
    violations = [
        {
            "scope": found.scope,
            "invariant": violation.invariant,
            "message": violation.message,
            "calls": [describe(call) for call in violation.calls],
        }
        for found, _ in made
        for violation in found.violations
    ]
    return {
        "states": sum(found.states for found, _ in made),
        "transitions": sum(found.transitions for found, _ in made),
        "violations": violations,
        "seconds": round(sum(seconds for _, seconds in made), 3),
        "complete": all(found.complete for found, _ in made),
        "scopes": scopes,
    }
