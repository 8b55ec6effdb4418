"""Fixtures for tests that need a real QEMU and the probe: obtained when they are not there yet.

They are skipped only where REALMCHECK_OFFLINE forbids to obtain what is missing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import images
from harness.targets.qemu import QemuTarget
from harness.targets.target import TargetOptions

MakeTarget = Callable[..., QemuTarget]


@pytest.fixture(scope="session")
def qemu_argv() -> tuple[str, ...]:
    """What starts QEMU: REALMCHECK_QEMU, or the one in the cache."""
    return _provide("qemu").argv


@pytest.fixture(scope="session")
def probe_elf() -> Path:
    """The `root` probe, built from the sources as they stand."""
    return _provide("probe-root").path


@pytest.fixture(scope="session")
def tfa_source() -> Path:
    """The tarball of TF-A's sources."""
    return _provide("tfa-source").path


def _provide(name: str) -> images.Image:
    if os.environ.get("REALMCHECK_OFFLINE", "") in ("", "0"):
        return images.provide(name)
    try:
        return images.provide(name, offline=True)
    except images.ImageError as error:
        pytest.skip(str(error))


@pytest.fixture
def make_target(qemu_argv: tuple[str, ...], probe_elf: Path, tmp_path: Path) -> Iterator[MakeTarget]:
    """Makes targets that are on; they are off after the test."""
    made: list[QemuTarget] = []

    def make(*, wire_only: bool = False, timeout_scale: float = 1.0) -> QemuTarget:
        target = QemuTarget(
            qemu_argv=qemu_argv,
            probe_elf=probe_elf,
            log_directory=tmp_path / f"logs{len(made)}",
            options=TargetOptions(wire_only=wire_only, timeout_scale=timeout_scale),
        )
        made.append(target)
        target.power_on()
        return target

    yield make
    for target in made:
        target.power_off()
