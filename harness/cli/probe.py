"""``realmcheck probe run STATE``: run a state file on a target and judge it with today's model."""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.judge.cases import failure_text
from harness.state import read_state
from harness.state.replay import Outcome, Replay, player
from harness.targets.factory import KNOWN, TargetFactory
from images.progress import progress_for

_VERDICTS = {
    Outcome.PERMITTED: "as the model permits",
    Outcome.DEVIATES: "deviates from what the model permits",
    Outcome.CANNOT_TELL: "cannot tell",
}


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``probe``."""
    parser = subparsers.add_parser("probe", help="run probe records")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    text = "exit status: 0 as the model permits, 1 deviates, 2 could not tell, 3 misuse or bad input"
    run_parser = actions.add_parser("run", help="run a state file and judge it", epilog=text)
    run_parser.add_argument("state", type=Path, metavar="STATE", help="a state file")
    add_target_options(run_parser)
    run_parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def add_target_options(parser: argparse.ArgumentParser) -> None:
    """The options that say what to run on."""
    parser.add_argument("--target", default="qemu", metavar="TARGET", help=f"{KNOWN}; default: %(default)s")
    parser.add_argument("--qemu", default="", metavar="PATH", help="your own qemu-system-aarch64, or qemu10")
    parser.add_argument("--probe", default="", metavar="ELF", help="your own probe firmware")
    parser.add_argument("--offline", action="store_true", help="use what the cache has; never the network")
    parser.add_argument("--wire-only", action="store_true", help="no shared memory: everything over the UART")


def factory_of(args: argparse.Namespace) -> TargetFactory:
    """The factory that the options ask for, its images obtained."""
    factory = TargetFactory(
        spec=args.target,
        qemu=args.qemu,
        probe=args.probe,
        offline=args.offline,
        wire_only=args.wire_only,
        progress=progress_for(),
    )
    factory.prepare()
    return factory


def run(args: argparse.Namespace) -> int:
    """Carry the command out."""
    state = read_state(args.state)
    factory = factory_of(args)
    with tempfile.TemporaryDirectory(prefix="realmcheck-") as logs, player(factory, state.needs, Path(logs)) as on:
        seen = on.play(state)
        info = on.session.target.info
        name = f"{info.name} {info.version}"
    if args.json:
        print(json.dumps({"target": name, **as_json(seen)}, indent=2))
        return seen.outcome
    print(failure_text(seen.case))
    print(verdict_line(name, seen))
    return seen.outcome


def verdict_line(target: str, seen: Replay) -> str:
    """The last line: on what, and what came of it."""
    return f"{target}: {_VERDICTS[seen.outcome]}" + (f" ({seen.reason})" if seen.reason else "")


def as_json(seen: Replay) -> dict[str, Any]:
    """What ``--json`` prints of a replay."""
    return {
        "outcome": seen.outcome.name.lower().replace("_", "-"),
        "rules": seen.case.rules,
        "signature": seen.case.signature,
        "stimulus": seen.case.stimulus,
        "permitted": [asdict(outcome) for outcome in seen.case.expected],
        "observed": asdict(seen.case.observed),
        "walk": seen.case.walk,
        "reason": seen.reason,
    }
