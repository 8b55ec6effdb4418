"""``realmcheck rmm explore|replay``: the RMM model explored, and held against firmware logs."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence

from harness.errors import MisuseError
from refmodel.mutants import RMM_MUTANTS, apply
from refmodel.rmm.explore.scope import SCOPES, Scope
from refmodel.rmm.explore.search import Exploration, describe, explore

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
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Carry the command out: 0 nothing violated, 1 a violation, 2 a scope is larger than the limit."""
    return _explore(args)


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
