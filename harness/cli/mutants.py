"""``realmcheck mutants``: run the suites against every mutant and print which were noticed.

A mutant is killed when a check of a rule that it breaks fails (a failure of some other rule does not count).
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.boot.mutants import StackMutant
from harness.errors import BadInputError, MisuseError
from harness.mutants import MUTANTS
from harness.report import Verdict, read_run
from harness.rules.catalogue import load_catalogue
from refmodel.mutants import Mutant

_TOGETHER = 4
"""Mutants on one machine at most: every attack adds to the kernel's log, whose beginning has to stay there."""


@dataclass(frozen=True)
class Kill:
    """What became of a mutant: the failed rules that it breaks, others that failed, and why when nothing was seen.

    ``ran``: whether the suite ran to its end; otherwise nothing is known of a mutant that was not killed.
    """

    mutant: Mutant
    by: tuple[str, ...]
    others: tuple[str, ...]
    problem: str = ""
    ran: bool = True

    @property
    def killed(self) -> bool:
        """Whether a check of one of its rules failed."""
        return bool(self.by)

    @property
    def unknown(self) -> bool:
        """Whether nothing was seen because the suite could not run."""
        return not self.killed and not self.ran


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``mutants``."""
    text = "exit status: 0 all are killed, 1 one survived or a rule has none, 2 a suite could not run, 3 misuse"
    parser = subparsers.add_parser(
        "mutants", help="prove that the checks bite: run the suites against mutants", epilog=text
    )
    parser.add_argument("--subject", default="", metavar="S", help="only mutants of this subject")
    parser.add_argument("--suites", type=Path, default=Path("suites"), metavar="DIR", help="default: suites")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="mutants at a time (default 2)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="seed of the suites' random stimuli")
    parser.add_argument("--list", action="store_true", help="only list the mutants and the rules they break")
    parser.add_argument(
        "--json", action="store_true", help="print JSON: killed, survived, not_run, rules_without_mutant"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Carry the command out: 0 all killed and every rule has a mutant, 1 not so, 2 a suite could not run."""
    chosen = [mutant for mutant in MUTANTS if args.subject in ("", mutant.subject)]
    if not chosen:
        subjects = ", ".join(sorted({mutant.subject for mutant in MUTANTS}))
        raise MisuseError(f"there are no mutants of subject {args.subject!r}; subjects: {subjects}")
    if args.jobs < 1:
        raise MisuseError(f"--jobs must be 1 or more, not {args.jobs}")
    if args.list and args.json:
        print(json.dumps({mutant.name: list(mutant.rules) for mutant in chosen}, indent=2))
        return 0
    if args.list:
        for mutant in chosen:
            print(f"{mutant.name:42} {', '.join(mutant.rules)}")
        return 0
    catalogue = load_catalogue(args.suites / "rules")
    kills = []
    for kill in hunt(chosen, args.suites, args.seed, args.jobs):
        kills.append(kill)
        if not args.json:
            print(_line(kill), flush=True)
    breaking = {rule for mutant in MUTANTS for rule in mutant.rules}
    bare = [rule.id for rule in catalogue.rules.values() if not rule.reserved and rule.id not in breaking]
    killed = [kill.mutant.name for kill in kills if kill.killed]
    unknown = [kill.mutant.name for kill in kills if kill.unknown]
    survived = [kill.mutant.name for kill in kills if not kill.killed and not kill.unknown]
    if args.json:
        found = {"killed": killed, "survived": survived, "not_run": unknown, "rules_without_mutant": bare}
        print(json.dumps(found, indent=2))
    else:
        not_run = f", {len(unknown)} not run" if unknown else ""
        print(f"{len(killed)} of {len(kills)} mutants killed{not_run}")
        print(f"rules without a mutant: {', '.join(bare) or 'none'}")
    if survived or bare:
        return 1
    return 2 if unknown else 0


def _line(kill: Kill) -> str:
    verdict = "killed by " + ", ".join(kill.by) if kill.killed else "NOT RUN" if kill.unknown else "SURVIVED"
    also = f" (also failing: {', '.join(kill.others)})" if kill.others else ""
    problem = f": {kill.problem}" if kill.problem and not kill.killed else ""
    return f"{kill.mutant.name:42} {verdict}{also}{problem}"


def hunt(chosen: Sequence[Mutant], suites: Path, seed: int, jobs: int) -> Iterator[Kill]:
    """Run the tests that cite a rule of each mutant against it, ``jobs`` mutants at a time."""
    # Imported here: the other commands must not pay for pytest and what it brings.
    from harness.forked import run_all

    with tempfile.TemporaryDirectory(prefix="realmcheck-mutants-") as scratch:
        groups = grouped(chosen, jobs)
        places = [[Path(scratch) / mutant.name for mutant in group] for group in groups]
        controls = [Path(scratch) / f"control-{number}" for number in range(len(groups))]
        runs = []
        for group, where, control in zip(groups, places, controls, strict=True):
            pairs = zip(group, where, strict=True)
            runs.append(
                [(_arguments(mutant, suites, seed, place), place.with_suffix(".out")) for mutant, place in pairs]
            )
            if len(group) > 1:
                runs[-1].append((_control(group, suites, seed, control), control.with_suffix(".out")))
        for group, where, control, statuses in zip(groups, places, controls, run_all(runs, jobs), strict=True):
            spoilt = _spoilt(control, statuses[-1]) if len(group) > 1 else ""
            for mutant, place, status in zip(group, where, statuses, strict=False):
                kill = _kill(mutant, place, status)
                yield Kill(mutant, (), kill.others, spoilt, ran=False) if spoilt else kill
            for place in (*where, control):
                shutil.rmtree(place, ignore_errors=True)


def grouped(chosen: Sequence[Mutant], jobs: int) -> list[list[Mutant]]:
    """Mutants that are hunted one after the other on the same machines (at least ``jobs`` groups), or alone."""
    sharing: dict[str, list[Mutant]] = {}
    alone = []
    for mutant in chosen:
        if isinstance(mutant, StackMutant) and mutant.shares:
            sharing.setdefault(mutant.subject, []).append(mutant)
        else:
            alone.append([mutant])
    parts = []
    for mutants in sharing.values():
        count = min(len(mutants), max(jobs, -(-len(mutants) // _TOGETHER)))
        parts += [mutants[part::count] for part in range(count)]
    return [*parts, *alone]


def _arguments(mutant: Mutant, suites: Path, seed: int, results: Path) -> list[str]:
    arguments = _common(mutant.subject, suites, seed, results, mutant.rules)
    return [*arguments, f"--target=mutant:{mutant.name}", "--stop-when-rules-failed"]


def _control(group: Sequence[Mutant], suites: Path, seed: int, results: Path) -> list[str]:
    """The same checks without a mutant, on the machines that a group of mutants has used."""
    rules = dict.fromkeys(rule for mutant in group for rule in mutant.rules)
    return _common(group[0].subject, suites, seed, results, list(rules))


def _common(subject: str, suites: Path, seed: int, results: Path, rules: Sequence[str]) -> list[str]:
    arguments = [str(suites / subject), f"--results={results}", f"--seed={seed}", "--scale=smoke"]
    return [*arguments, "-q", "-p", "no:cacheprovider", *(f"--rule={rule}" for rule in rules)]


def _spoilt(control: Path, status: int) -> str:
    """Why the kills of a group say nothing: what fails without a mutant too; empty when all is well."""
    if status == pytest.ExitCode.OK:
        return ""
    why = _why(control.with_suffix(".out"), status)
    return f"the checks fail on the machine that the mutants shared, without a mutant too: {why}"


def _kill(mutant: Mutant, results: Path, status: int) -> Kill:
    output = results.with_suffix(".out")
    if status == pytest.ExitCode.NO_TESTS_COLLECTED:
        return Kill(mutant, (), (), "no test cites its rules")
    try:
        checks = read_run(results).checks
    except BadInputError:
        return Kill(mutant, (), (), f"the suite did not run: {_why(output, status)}", ran=False)
    failed = {rule for check in checks if check.verdict is Verdict.FAIL for rule in check.rules}
    own = tuple(rule for rule in mutant.rules if rule in failed)
    others = tuple(sorted(failed - set(own)))
    ran = status in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    return Kill(mutant, own, others, "" if ran else f"pytest exit status {status}: {_why(output, status)}", ran=ran)


def _why(output: Path, status: int) -> str:
    """The first line of pytest's output that names an error, or its last line."""
    lines = [line.strip() for line in output.read_text(errors="replace").splitlines() if line.strip()]
    named = (line for line in lines if line.startswith(("ERROR", "E   ", "error:")))
    return next(named, lines[-1] if lines else f"exit status {status}")
