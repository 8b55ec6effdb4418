"""Fixtures for tests that need a real QEMU: skipped when none is at hand without the network."""

from __future__ import annotations

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
    image = images.find("qemu")
    if image is None:
        pytest.skip("QEMU is not in the cache; 'realmcheck images provide qemu' obtains it")
    return image.argv


@pytest.fixture(scope="session")
def probe_elf() -> Path:
    """The `root` probe, built from the sources as they stand."""
    if images.find("compiler") is None:
        pytest.skip("no compiler is in the cache; 'realmcheck images provide compiler' obtains it")
    return images.provide("probe-root", offline=True).path


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
