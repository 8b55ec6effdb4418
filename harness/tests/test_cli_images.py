"""``realmcheck images``: what it prints, and exit code 3 with one line for every kind of failure."""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import images
from harness.cli import images as command

Command = Callable[..., int]


@pytest.fixture
def realmcheck(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("REALMCHECK_OFFLINE", "1")
    for name in ("QEMU", "QEMU10", "CC", "PROBE"):
        monkeypatch.delenv(f"REALMCHECK_{name}", raising=False)

    def run(*arguments: str) -> int:
        parser = argparse.ArgumentParser()
        command.register(parser.add_subparsers())
        args = parser.parse_args(["images", *arguments])
        return int(args.run(args))

    return run


@pytest.fixture
def own_qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "own-qemu"
    path.write_text("#!/bin/sh\necho QEMU emulator version 11.2.0\n")
    path.chmod(0o755)
    monkeypatch.setenv("REALMCHECK_QEMU", str(path))
    return path


def test_list_names_every_image(realmcheck: Command, own_qemu: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert realmcheck("list", "--json") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["qemu"]["present"] and rows["qemu"]["path"] == str(own_qemu)
    assert not rows["qemu10"]["present"]
    assert realmcheck("list") == 0
    assert "not there yet" in capsys.readouterr().out


def test_provide_and_path(realmcheck: Command, own_qemu: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert realmcheck("provide", "qemu") == 0
    assert capsys.readouterr().out.splitlines() == [f"qemu: user QEMU emulator version 11.2.0 {own_qemu}"]
    assert realmcheck("provide", "qemu", "--json") == 0
    facts = json.loads(capsys.readouterr().out)[0]
    assert facts["version"] == "11.2.0" and facts["provenance"][0]["sha256"]
    assert realmcheck("path", "qemu") == 0
    assert capsys.readouterr().out == f"{own_qemu}\n"


def test_path_with_argv_is_a_command_that_starts(
    realmcheck: Command, own_qemu: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    spaced = own_qemu.rename(tmp_path / "own qemu")
    monkeypatch.setenv("REALMCHECK_QEMU", str(spaced))
    assert realmcheck("path", "qemu", "--argv") == 0
    line = capsys.readouterr().out
    assert line == f"'{spaced}'\n"
    done = subprocess.run(f"{line.strip()} --version", shell=True, capture_output=True, text=True, check=True)
    assert done.stdout == "QEMU emulator version 11.2.0\n"
    assert realmcheck("path", "qemu", "--argv", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"name": "qemu", "path": str(spaced), "argv": [str(spaced)]}


def test_data_has_no_argv(
    realmcheck: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = images.Image(name="probe-root", kind="probe", path=tmp_path, origin="built")
    monkeypatch.setattr(images, "find", lambda name: data)
    assert realmcheck("path", "probe-root", "--argv") == 3
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert "image probe-root is no program of this machine; leave --argv out" in captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("provide", "qemu"), "not in the cache and the network is not to be used"),
        (("path", "qemu10", "--argv"), "not there yet; run 'realmcheck images provide qemu10'"),
        (("path", "qemu10"), "not there yet; run 'realmcheck images provide qemu10'"),
        (("provide", "nothing"), "there is no image 'nothing'"),
        (("clean", "nothing"), "there is no image 'nothing'"),
    ],
)
def test_failures_are_one_line_and_exit_code_3(
    realmcheck: Command, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert realmcheck(*arguments) == 3
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1 and message in captured.err


def test_clean_empties_the_cache(realmcheck: Command, tmp_path: Path) -> None:
    entry = tmp_path / "xdg/realmcheck/entries/qemu-0123456789abcdef0123"
    entry.mkdir(parents=True)
    downloads = tmp_path / "xdg/realmcheck/apt/host-amd64"
    downloads.mkdir(parents=True)
    assert realmcheck("clean", "qemu") == 0
    assert not entry.exists() and downloads.exists()
    assert realmcheck("clean") == 0
    assert not downloads.exists()
