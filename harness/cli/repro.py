"""``realmcheck repro CASE -o DIR``: a case as a state file, a standalone ELF, a script and the expected syndrome."""

from __future__ import annotations

import argparse
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from harness.cli.probe import add_target_options, factory_of, verdict_line
from harness.reproduce import images_of
from harness.state import State, read_state
from harness.state.bundle import run_script, write_bundle
from harness.state.capture import capture, named
from harness.state.replay import Outcome, Player, Replay, player
from harness.state.shrink import shrink
from harness.targets.factory import TargetFactory

_CASE = "RESULTS_DIR, RESULTS_DIR:TEST, RESULTS_DIR:BATCH/INDEX (the line 'standalone' of a failure), or a state file"


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``repro``."""
    text = "exit status: 0 the case shows again what it showed, 1 it shows something else, 2 could not tell, 3 misuse"
    parser = subparsers.add_parser("repro", help="make a standalone reproducer of a case", epilog=text)
    parser.add_argument("case", metavar="CASE", help=_CASE)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="where to write")
    parser.add_argument("--keep", action="store_true", help="write the state as it is, not made smaller")
    add_target_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Carry the command out."""
    if Path(args.case).is_file():
        state = read_state(Path(args.case))
    else:
        results, rest = named(args.case)
        state = capture(results, rest)
        for option, value in images_of(results).items():
            setattr(args, option, getattr(args, option) or value)
    factory = factory_of(args)
    # A case of a machine with several PEs is mostly one of a machine with those that its records name.
    fewer = replace(state, needs=replace(state.needs, pes=1 + max(record.pe for record in state.records)))
    if state.origin.target and not args.keep and fewer != state:
        with _started(factory, fewer) as on:
            seen = on.play(fewer)
            if seen.outcome is _known(state):
                return _make(args, fewer, seen, factory, on)
    with _started(factory, state) as on:
        return _make(args, state, on.play(state), factory, on)


@contextmanager
def _started(factory: TargetFactory, state: State) -> Iterator[Player]:
    with tempfile.TemporaryDirectory(prefix="realmcheck-") as logs, player(factory, state.needs, Path(logs)) as on:
        yield on


def _make(args: argparse.Namespace, state: State, seen: Replay, factory: TargetFactory, on: Player) -> int:
    info = on.session.target.info
    before = state
    if not args.keep:
        state, seen = shrink(on, state, seen)
    bundle = write_bundle(args.output, on, state, seen, factory.probe_elf)
    print(verdict_line(f"{info.name} {info.version}", seen))
    print(f"records: {len(before.records)} -> {len(state.records)}, memory: {_bytes(before)} -> {_bytes(state)} bytes")
    for path in bundle.files:
        print(path)
    if not bundle.elf:
        print(f"no standalone ELF: {info.name} runs no probe firmware; use --target=qemu")
        return _status(before, seen, seen.outcome)
    ran = run_script(bundle, factory.qemu_argv)
    print(f"run it: QEMU={shlex.quote(shlex.join(factory.qemu_argv))} {bundle.directory / 'run.sh'}")
    print(f"run here: exit status {int(ran)}")
    return _status(before, seen, ran)


def _bytes(state: State) -> int:
    return sum(len(block.data) for block in state.memory)


def _status(before: State, seen: Replay, ran: Outcome) -> int:
    """2 when it cannot be told, 1 when the ELF or the run shows something else than what the case is about."""
    if Outcome.CANNOT_TELL in (seen.outcome, ran):
        return Outcome.CANNOT_TELL
    origin = before.origin
    # A state that a person wrote has no history: then it is enough that the image shows the same.
    wanted = _known(before) if origin.target else seen.outcome
    return int(not seen.outcome == ran == wanted)


def _known(state: State) -> Outcome:
    """What was seen of the state before."""
    return Outcome.DEVIATES if state.origin.rules else Outcome.PERMITTED
