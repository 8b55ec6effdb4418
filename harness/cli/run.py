"""``realmcheck run STACK``: boot a stack, say how far it came and how fast, and give a person its console."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from harness.boot import How, Prepared, Reached, StackMachine, StageFailedError, prepare
from harness.boot.rmm import version_in
from harness.errors import MisuseError
from harness.report import open_run_directory
from images import stack as stacks
from images.download import UnreachableError
from images.progress import Silent, progress_for
from images.stack import Stack

GOOD, BAD, INCONCLUSIVE = 0, 1, 2
_GDB = 1234


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``run``."""
    parser = subparsers.add_parser("run", help="boot a stack, with times; without --until, its console is yours")
    parser.add_argument("stack", nargs="?", metavar="STACK", help="a stack's name, or a manifest of your own (*.toml)")
    parser.add_argument("--list", action="store_true", help="list the stacks that ship with the project")
    parser.add_argument("--until", default="", metavar="STAGE", help="end when this stage is reached")
    parser.add_argument("--rmm", type=Path, default=None, metavar="FILE", help="your RMM (or REALMCHECK_RMM)")
    parser.add_argument("--bl33", type=Path, default=None, metavar="FILE", help="a non-secure payload of your own")
    parser.add_argument("--file", action="append", default=[], metavar="NAME=PATH", help="a file of the manifest")
    parser.add_argument("--gdb", nargs="?", type=int, const=_GDB, default=0, metavar="PORT", help="wait for a debugger")
    parser.add_argument("--pause-on-fail", action="store_true", help="give the console when a stage fails")
    parser.add_argument("--timeout-scale", type=float, default=1.0, metavar="X", help="multiplies every deadline")
    parser.add_argument("--logs", type=Path, default=None, metavar="DIR", help="default: results/boots/<time>-<pid>")
    parser.add_argument("--qemu", default="", metavar="PATH", help="your own qemu-system-aarch64")
    parser.add_argument("--offline", action="store_true", help="use what the cache has; never the network")
    parser.add_argument("--json", action="store_true", help="print each stage's seconds as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Carry the command out: 0 reached, 1 a stage failed, 2 silence or a lost machine, 3 misuse."""
    if args.list:
        return _list(as_json=args.json)
    if args.stack is None:
        raise MisuseError("name a stack; 'realmcheck run --list' prints the stacks")
    if not 0 < args.timeout_scale <= 1000:
        raise MisuseError(f"--timeout-scale must be above 0 and up to 1000, not {args.timeout_scale:g}")
    if not 0 <= args.gdb <= 0xFFFF:
        raise MisuseError(f"--gdb takes a TCP port, not {args.gdb}")
    stack = stacks.load(args.stack)
    if args.until:
        stack.stage(args.until)
    try:
        prepared = _prepare(stack, args)
    except UnreachableError as error:
        return _not_run(stack, error, as_json=args.json)
    logs = open_run_directory(args.logs, root=Path("results/boots"))
    machine = StackMachine(prepared, logs=logs, timeout_scale=args.timeout_scale, gdb=args.gdb)
    try:
        return _boot(machine, prepared, args)
    finally:
        machine.power_off()


def _prepare(stack: Stack, args: argparse.Namespace) -> Prepared:
    return prepare(
        stack,
        rmm=args.rmm,
        bl33=args.bl33,
        files=_files(args.file),
        qemu=args.qemu,
        offline=args.offline,
        progress=Silent() if args.json else progress_for(sys.stderr),
    )


def _not_run(stack: Stack, error: UnreachableError, *, as_json: bool) -> int:
    """What the stack boots cannot be reached from here: that says nothing about the stack."""
    if as_json:
        print(json.dumps({"stack": stack.name, "reached": False, "verdict": "NOT_RUN", "reason": str(error)}, indent=2))
    else:
        print(f"NOT_RUN: {error}", file=sys.stderr)
    return INCONCLUSIVE


def _list(*, as_json: bool) -> int:
    found = {name: stacks.load(name) for name in stacks.names()}
    if as_json:
        print(json.dumps({name: {"summary": stack.summary} for name, stack in found.items()}, indent=2))
        return GOOD
    for name, stack in found.items():
        print(f"{name:14} {stack.summary}\n{'':14} stages: {', '.join(stage.name for stage in stack.stages)}")
    return GOOD


def _files(words: list[str]) -> dict[str, Path]:
    found = {}
    for word in words:
        name, equals, path = word.partition("=")
        if not (name and equals and path):
            raise MisuseError(f"--file takes NAME=PATH, not {word!r}")
        found[name] = Path(path)
    return found


def _boot(machine: StackMachine, prepared: Prepared, args: argparse.Namespace) -> int:
    def watch(reached: Reached) -> None:
        if not args.json:
            print(f"{reached.at:8.3f} s  {reached.stage:14} (+{reached.seconds:.3f} s)  {reached.line}", flush=True)

    if args.gdb:
        print(f"QEMU waits for a debugger: target remote 127.0.0.1:{args.gdb}", file=sys.stderr, flush=True)
    failure: StageFailedError | None = None
    try:
        machine.boot(args.until, watch)
    except StageFailedError as error:
        failure = error
    if args.json:
        print(json.dumps(_report(machine, args, failure), indent=2), flush=True)
    elif failure:
        _show(failure)
    person = sys.stdin.isatty() and not args.json
    if person and (args.pause_on_fail if failure else not args.until):
        _give_console(machine, failure)
    elif failure and args.pause_on_fail:
        raise MisuseError("--pause-on-fail needs a terminal and no --json")
    if failure is None:
        return GOOD
    return BAD if failure.how in (How.REPORTED, How.SKIPPED, How.RESTARTED) else INCONCLUSIVE


def _report(machine: StackMachine, args: argparse.Namespace, failure: StageFailedError | None) -> dict[str, object]:
    stack = machine.stack
    logs = {name: machine.logs / f"{name}.log" for name in stack.consoles}
    rmm = version_in("".join(machine.console(name).logged() for name in stack.consoles))
    return {
        "stack": stack.name,
        "until": args.until or stack.stages[-1].name,
        "reached": failure is None,
        "stages": [vars(item) for item in machine.reached],
        "failure": None
        if failure is None
        else {"stage": failure.stage, "how": failure.how.name.lower(), "message": str(failure)},
        "rmm": None if rmm is None else vars(rmm),
        "logs": {name: str(path) for name, path in logs.items()},
    }


def _show(failure: StageFailedError) -> None:
    evidence = failure.evidence
    print(f"FAILED: {failure}", flush=True)
    for line in evidence.tail:
        print(f"  | {line}")
    print(f"log: {evidence.log}", flush=True)


def _give_console(machine: StackMachine, failure: StageFailedError | None) -> None:
    # Imported here: terminals of this kind exist only where a person can be.
    from harness.cli.terminal import attach

    stage = failure.stage if failure else machine.reached[-1].stage
    console = machine.stack.stage(stage).console
    attach(machine, console)
