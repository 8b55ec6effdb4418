"""The command in "reproduce:" names what the run was given, and nothing that is the default."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from harness import reproduce
from harness.report import Verdict, read_run
from harness.tests.report_samples import case, check, header, write_run

TEST = "suites/gpt/test_gpi.py::test_matrix[block-PGS_4KB]"


def command(environment: dict[str, str] | None = None, **changes: str | bool | float | Path) -> str:
    default: dict[str, object] = {
        "target": "qemu",
        "scale": "default",
        "wire_only": False,
        "timeout_scale": 1.0,
        "qemu": "",
        "probe": "",
        "rmm": None,
    }
    return reproduce.command(TEST, argparse.Namespace(**(default | changes)), 7, environment or {})


def test_defaults_are_left_out() -> None:
    assert command() == f"pytest '{TEST}' --target=qemu --seed=7 --scale=default"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"wire_only": True}, "--wire-only"),
        ({"timeout_scale": 2.5}, "--timeout-scale=2.5"),
        ({"qemu": "qemu10"}, "--qemu=qemu10"),
        ({"qemu": "/my qemu"}, "'--qemu=/my qemu'"),
        ({"probe": "probe.elf", "wire_only": True}, "--wire-only --probe=probe.elf"),
        ({"rmm": Path("own rmm.img"), "qemu": "qemu10"}, "--qemu=qemu10 '--rmm=own rmm.img'"),
    ],
)
def test_other_options_are_named(changes: dict[str, str | bool | float | Path], words: str) -> None:
    assert command(None, **changes) == f"{command()} {words}"


def test_images_of_the_environment_are_named_by_options() -> None:
    chosen = {"REALMCHECK_QEMU": "qemu10", "REALMCHECK_PROBE": "probe.elf"}
    assert command(chosen) == f"{command()} --qemu=qemu10 --probe=probe.elf"
    assert command(chosen, qemu="mine") == f"{command()} --qemu=mine --probe=probe.elf"


def test_the_rmm_of_the_environment_is_named_by_its_option() -> None:
    chosen = {"REALMCHECK_RMM": "rmm.img"}
    assert command(chosen) == f"{command()} --rmm=rmm.img"
    assert command(chosen, rmm=Path("mine.img")) == f"{command()} --rmm=mine.img"


def test_a_self_test_has_no_images() -> None:
    environment = {"REALMCHECK_QEMU": "qemu10", "REALMCHECK_RMM": "rmm.img"}
    assert command(environment, target="model", qemu="mine", rmm=Path("own.img")) == command(target="model")


@pytest.mark.parametrize(
    ("command", "reproduced", "found"),
    [
        (("pytest", "suites/", "--qemu", "qemu10"), "", {"qemu": "qemu10"}),
        (("pytest", "--probe=own.elf", "suites/"), "", {"probe": "own.elf"}),
        (
            ("pytest", "suites/"),
            "pytest x --target=qemu '--qemu=/my qemu' --probe=own.elf",
            {"qemu": "/my qemu", "probe": "own.elf"},
        ),
        (("pytest", "suites/"), "", {}),
        (("pytest", "suites/", "--qemu"), "", {}),
    ],
    ids=["two-words", "one-word", "environment", "default", "nothing-follows"],
)
def test_the_images_of_a_run_are_read_back(
    command: tuple[str, ...], reproduced: str, found: dict[str, str], tmp_path: Path
) -> None:
    cases = (case(reproduce=reproduced),) if reproduced else ()
    write_run(tmp_path / "run", check(Verdict.FAIL, cases=cases), head=header(command=command), status=1)
    assert reproduce.images_of(read_run(tmp_path / "run")) == found
