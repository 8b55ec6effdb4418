"""Many pytest runs from one warm process: each in a forked child that has every import done already.

A run in a child cannot leave anything behind in the next one, as with a new interpreter, and starts in a third of the
time.  Runs that may share a booted stack are given as a group, which is one child.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from pathlib import Path

import hypothesis  # noqa: F401  pytest's plugin of it would import it in every child
import pytest

import harness.plugin  # noqa: F401  as above: what conftest.py asks for
from harness.boot.pool import KeptStacks

_CRASHED = 3
"""Exit status of a child in which pytest itself did not work, as pytest has it for an internal error."""


Run = tuple[Sequence[str], Path]
"""Arguments of pytest, and the file that gets everything that it prints."""


def run_all(groups: Sequence[Sequence[Run]], jobs: int) -> Iterator[tuple[int, ...]]:
    """Run pytest for each run, ``jobs`` groups at a time; yields each group's exit statuses, in order.

    A group is one child: its runs come one after the other and share the stacks that they boot.  In a child that a
    signal ended, the runs that had not ended have the signal's number, negative, as their status.  This process must
    have no other thread: a fork copies the locks that it holds.
    """
    context = multiprocessing.get_context("fork")
    done: dict[int, tuple[int, ...]] = {}
    living: dict[int, ForkProcess] = {}
    started = answered = 0
    try:
        while answered < len(groups):
            while started < len(groups) and len(living) < jobs:
                child = context.Process(target=_child, args=(groups[started],))
                child.start()
                living[started] = child
                started += 1
            wait([child.sentinel for child in living.values()])
            for index, child in list(living.items()):
                if not child.is_alive():
                    child.join()
                    status = child.exitcode if child.exitcode else _CRASHED
                    done[index] = tuple(_status(output, status) for _, output in groups[index])
                    del living[index]
            while answered in done:
                yield done.pop(answered)
                answered += 1
    finally:
        for child in living.values():
            child.terminate()
            child.join()


def _status(output: Path, otherwise: int) -> int:
    """The status that a run left beside its output."""
    try:
        return int(_beside(output).read_text())
    except (OSError, ValueError):
        return otherwise


def _beside(output: Path) -> Path:
    return output.with_name(output.name + ".status")


def _child(runs: Sequence[Run]) -> None:
    kept = KeptStacks()
    try:
        for arguments, output in runs:
            status = _run(arguments, output, kept)
            _beside(output).write_text(str(status))
    finally:
        kept.close()
        os._exit(0)


def _run(arguments: Sequence[str], output: Path, kept: KeptStacks) -> int:
    _beside(output).unlink(missing_ok=True)
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    # Whatever stood in the place of the parent's streams is not the child's.
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115  open until the process ends
    sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    try:
        status = int(pytest.main(list(arguments), plugins=[kept]))
    except BaseException:
        traceback.print_exc()
        status = _CRASHED
    sys.stdout.flush()
    sys.stderr.flush()
    return status
