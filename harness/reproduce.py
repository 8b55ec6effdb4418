"""The command that runs one test again as it was run: same target, stimuli, transport and images; and back again."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import images
from harness.boot.prepare import RMM_VARIABLE
from harness.report import Run

_IMAGES = {"qemu": "qemu", "probe": "probe-root"}
"""Option of pytest to the image in ``images/catalogue.toml`` that it replaces."""


class Options(Protocol):
    """The options of pytest that change what a test does or meets; ``harness/plugin.py`` explains them."""

    target: str
    scale: str
    wire_only: bool
    timeout_scale: float
    qemu: str
    probe: str
    rmm: Path | None


def command(test: str, options: Options, seed: int, environment: Mapping[str, str] = os.environ) -> str:
    """The command line for ``test`` (a pytest node id), quoted for a shell.

    Target, seed and scale are always named, other options where they are not the default.  An image or RMM that an
    environment variable names is named by its option, so that the command means the same in another shell.
    """
    words = ["pytest", test, f"--target={options.target}", f"--seed={seed}", f"--scale={options.scale}"]
    words += ["--wire-only"] if options.wire_only else []
    words += [f"--timeout-scale={options.timeout_scale:g}"] if options.timeout_scale != 1 else []
    if options.target == "qemu":
        variables = {spec.name: spec.environment for spec in images.list_images()}
        for option, image in _IMAGES.items():
            chosen = getattr(options, option) or environment.get(variables[image], "")
            words += [f"--{option}={chosen}"] if chosen else []
        rmm = str(options.rmm or environment.get(RMM_VARIABLE, ""))
        words += [f"--rmm={rmm}"] if rmm else []
    return shlex.join(words)


def images_of(run: Run) -> dict[str, str]:
    """Values of ``--qemu`` and ``--probe`` that a run had, as far as it had them.

    The command of a failing case also names what came from environment variables; without one it is that of the run.
    """
    commands = (case.reproduce for check in run.checks for case in check.cases if case.reproduce)
    words = shlex.split(next(commands, "")) or run.header.command
    return {option: value for option in _IMAGES for value in _values(words, f"--{option}")}


def _values(words: Sequence[str], option: str) -> Iterable[str]:
    """``--option=VALUE`` and ``--option VALUE``."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word.startswith(f"{option}="):
            yield word.removeprefix(f"{option}=")
        elif word == option and following:
            yield following
