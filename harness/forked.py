"""Many pytest runs from one warm process: each in a forked child that has every import done already.

A run in a child cannot leave anything behind in the next one, as with a new interpreter, and starts in a third of the
time.
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

_CRASHED = 3
"""Exit status of a child in which pytest itself did not work, as pytest has it for an internal error."""


def run_all(runs: Sequence[tuple[Sequence[str], Path]], jobs: int) -> Iterator[int]:
    """Run pytest with each list of arguments, ``jobs`` at a time; yields exit statuses in the order of ``runs``.

    Everything that a run prints goes to the file named with its arguments.  A child that a signal ended yields the
    signal's number, negative.  This process must have no other thread: a fork copies the locks that it holds.
    """
    context = multiprocessing.get_context("fork")
    done: dict[int, int] = {}
    living: dict[int, ForkProcess] = {}
    started = answered = 0
    try:
        while answered < len(runs):
            while started < len(runs) and len(living) < jobs:
                arguments, output = runs[started]
                child = context.Process(target=_child, args=(tuple(arguments), output))
                child.start()
                living[started] = child
                started += 1
            wait([child.sentinel for child in living.values()])
            for index, child in list(living.items()):
                if not child.is_alive():
                    child.join()
                    done[index] = child.exitcode if child.exitcode is not None else _CRASHED
                    del living[index]
            while answered in done:
                yield done.pop(answered)
                answered += 1
    finally:
        for child in living.values():
            child.terminate()
            child.join()


def _child(arguments: tuple[str, ...], output: Path) -> None:
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    # Whatever stood in the place of the parent's streams is not the child's.
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115  open until the process ends
    sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    try:
        status = int(pytest.main(list(arguments)))
    except BaseException:
        traceback.print_exc()
        status = _CRASHED
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
