"""Fetching a token on a shell: the commands, run by a real shell in a folder that stands for configfs-tsm."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.attestation import tsm
from harness.errors import TargetProtocolError
from harness.tests.attestation_samples import RECORDED

CHALLENGE = bytes(range(0, 256, 4))


class LocalShell:
    """A shell of this machine; ``spoil`` changes what the console shows."""

    def __init__(self, spoil: Callable[[str, list[str]], list[str]] = lambda command, lines: lines) -> None:
        self.commands: list[str] = []
        self._spoil = spoil

    def run(self, command: str, timeout: float = 20.0) -> list[str]:
        self.commands.append(command)
        done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, timeout=timeout, check=False)
        return self._spoil(command, (done.stdout + done.stderr).splitlines())


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    """A report whose outblob is there already; rmdir of it fails, as nothing here depends on."""
    report = tmp_path / "report" / "realmcheck"
    report.mkdir(parents=True)
    (report / "outblob").write_bytes(RECORDED.read_bytes())
    return report.parent


def fetch(shell: tsm.Shell, reports: Path) -> bytes:
    return tsm.fetch(shell, CHALLENGE, reports=str(reports), scratch=str(reports.parent))


def test_the_token_comes_and_the_challenge_goes(reports: Path) -> None:
    shell = LocalShell()
    assert fetch(shell, reports) == RECORDED.read_bytes()
    assert (reports / "realmcheck" / "inblob").read_bytes() == CHALLENGE
    assert not any("mount" in command and "||" not in command for command in shell.commands)


def test_other_lines_on_the_console_are_passed_over(reports: Path) -> None:
    def noisy(command: str, lines: list[str]) -> list[str]:
        return ["[   12.3] a kernel message", *lines, "SMC_RSI_HOST_CALL 0 > 1"]

    assert fetch(LocalShell(noisy), reports) == RECORDED.read_bytes()


def test_a_row_that_was_lost_is_no_token(reports: Path) -> None:
    def loses(command: str, lines: list[str]) -> list[str]:
        return lines[:5] + lines[6:] if command.startswith("od") else lines

    with pytest.raises(TargetProtocolError, match="holds others"):
        fetch(LocalShell(loses), reports)


def test_a_challenge_that_was_not_typed_right_is_not_sent(reports: Path) -> None:
    wrong = hashlib.sha256(b"other").hexdigest()

    def types_wrong(command: str, lines: list[str]) -> list[str]:
        return [f"{wrong}  challenge"] if command.startswith("sha256sum") else lines

    with pytest.raises(TargetProtocolError, match="64 bytes went over the console"):
        fetch(LocalShell(types_wrong), reports)
    assert not (reports / "realmcheck" / "inblob").exists()


def test_a_realm_without_a_report_is_said(reports: Path) -> None:
    with pytest.raises(TargetProtocolError, match="the realm has no"):
        fetch(LocalShell(lambda command, lines: [] if "sha256sum" in command else lines), reports)
