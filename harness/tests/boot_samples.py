"""A stack for tests: its manifest, and machines on which ``fake_stack.py`` plays QEMU."""

from __future__ import annotations

import sys
from pathlib import Path

from harness.boot import Prepared, StackMachine
from images.stack import Stack, load

FAKE = Path(__file__).with_name("fake_stack.py")
MANIFEST = r"""
summary = "a stack for tests"

[machine]
machine = "virt"
cpu = "max"
memory_mib = 64

[consoles]
uart0 = "everything"
uart1 = "crash reports"

[boot]
fail = ["PANIC in EL3"]
noise = ["SMC_R[MS]I_.*"]

[[stage]]
name = "first"
expect = "NOTICE:  first up"
deadline = 2.0

[[stage]]
name = "second"
expect = "NOTICE:  second up"
fail = ["second failed"]
deadline = 1.0

[[stage]]
name = "third"
expect = "^INFO:    ready$"
deadline = 1.0

[[stage]]
name = "shell"
prompt = "root@guest"
deadline = 1.0
"""


def sample(directory: Path, text: str = MANIFEST) -> Stack:
    """The stack of a manifest's text."""
    path = directory / "sample.toml"
    path.write_text(text)
    return load(str(path))


def fake(directory: Path, behaviour: str, stack: Stack | None = None, **options: float) -> StackMachine:
    """A machine, still off, on which the fake behaves as ``behaviour``."""
    prepared = Prepared(
        stack=stack or sample(directory),
        qemu=(sys.executable, str(FAKE), behaviour),
        flash=None,
        files={},
        rmm=None,
        provenance=(),
    )
    return StackMachine(prepared, logs=directory / behaviour, **options)  # type: ignore[arg-type]


def executable(directory: Path, behaviour: str) -> Path:
    """The fake as a program, for ``--qemu``."""
    path = directory / f"qemu-{behaviour}"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{FAKE}" {behaviour} "$@"\n')
    path.chmod(0o755)
    return path
