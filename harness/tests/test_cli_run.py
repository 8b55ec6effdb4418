"""``realmcheck run``: exit status, JSON, files of the user, and what it refuses."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import images
from harness.cli import main
from harness.tests.boot_samples import MANIFEST, executable
from images import flash, tfa
from images.catalogue import FirmwareSpec


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test runs in its own directory and without the user's variables."""
    for name in ("REALMCHECK_RMM", "REALMCHECK_QEMU", "REALMCHECK_TFA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sample.toml").write_text(MANIFEST)
    return tmp_path


def run(place: Path, behaviour: str, *options: str) -> int:
    return main(["run", "sample.toml", f"--qemu={executable(place, behaviour)}", *options])


def test_each_stage_with_its_seconds(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(place, "good", "--until", "third", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [item["stage"] for item in found["stages"]] == ["first", "second", "third"]
    assert all(isinstance(item["seconds"], float) for item in found["stages"])
    assert (found["stack"], found["until"], found["reached"], found["failure"]) == ("sample", "third", True, None)
    assert Path(found["logs"]["uart0"]).read_bytes().startswith(b"NOTICE:  first up\r\n")
    assert not (place / "results/latest").exists()  # that is the last report


@pytest.mark.parametrize(
    ("behaviour", "status", "stage", "how"),
    [
        ("reported", 1, "second", "reported"),
        ("skipped", 1, "second", "skipped"),
        ("looping", 1, "third", "restarted"),
        ("hanging", 2, "second", "deadline"),
        ("aborting", 2, "third", "lost"),
    ],
)
def test_zero_only_when_the_stage_was_reached(
    place: Path, capsys: pytest.CaptureFixture[str], behaviour: str, status: int, stage: str, how: str
) -> None:
    assert run(place, behaviour, "--json") == status
    found = json.loads(capsys.readouterr().out)
    assert not found["reached"] and (found["failure"]["stage"], found["failure"]["how"]) == (stage, how)


def test_for_people(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(place, "reported", "--logs", "mine") == 1
    said = capsys.readouterr().out
    assert "s  first          (+" in said
    assert "FAILED: stage second: the firmware reports a failure: ERROR:   second failed: -7" in said
    assert "  | ERROR:   second failed: -7" in said and "log: mine/uart0.log" in said
    assert run(place, "good", "--logs", "mine") == 0
    assert "shell          (+" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ([], "name a stack; 'realmcheck run --list' prints the stacks"),
        (["tfa"], "there is no stack 'tfa'; stacks: "),
        (["sample.toml", "--until", "nowhere"], "stack sample has no stage 'nowhere'; its stages: first, second"),
        (["sample.toml", "--timeout-scale", "0"], "--timeout-scale must be above 0 and up to 1000, not 0"),
        (["sample.toml", "--gdb", "70000"], "--gdb takes a TCP port, not 70000"),
        (["sample.toml", "--file", "disk"], "--file takes NAME=PATH, not 'disk'"),
        (["sample.toml", "--file", "disk=x"], "stack sample has no file 'disk'; its files: none"),
        (["sample.toml", "--qemu", "no-such-qemu"], "no-such-qemu: does not exist"),
        (
            ["sample.toml", "--rmm", "x"],
            "stack sample takes no RMM; leave --rmm out, or use tfa-rmm, tfa-rmm-host or tfa-rmm-linux",
        ),
        (["sample.toml", "--bl33", "x"], "stack sample brings its own flash image: BL33 cannot be put into it"),
        (["tfa-rmm"], "stack tfa-rmm needs an RMM and none was named; give --rmm FILE or set REALMCHECK_RMM"),
        (["tfa-rmm", "--rmm", "absent.img"], "absent.img: cannot be read: No such file or directory"),
    ],
)
def test_misuse_is_one_line(place: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], what: str) -> None:
    if arguments and "--qemu" not in arguments:
        arguments = [*arguments, f"--qemu={executable(place, 'good')}"]
    try:
        status = main(["run", *arguments])
    except SystemExit as error:
        status = int(str(error.code))
    said = capsys.readouterr().err
    assert status == 3 and what in said and said.count("\n") == 1


OWN = """
summary = "a flash image of the user's"
extends = "tfa-trp"

[machine]
args = ["-bios", "{flash}"]

[firmware]
image = "none"

[files]
flash = { user = "a flash image that starts with BL1" }
"""


def test_the_users_own_files(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = MANIFEST.replace("memory_mib = 64", 'memory_mib = 64\nargs = ["-bios", "{flash}", "-x", "a={flash},b"]')
    (place / "sample.toml").write_text(
        text.replace("[consoles]", '[files]\nflash = { user = "BL1 and a FIP" }\n[consoles]')
    )
    assert run(place, "good") == 3
    assert (
        "stack sample needs your file 'flash' (BL1 and a FIP); name it by --file flash=PATH" in capsys.readouterr().err
    )
    assert run(place, "good", "--file", "flash=absent") == 3
    assert "absent: does not exist; correct --file flash=PATH" in capsys.readouterr().err
    (place / "my,flash").write_bytes(b"x")
    assert run(place, "good", "--file", "flash=my,flash") == 0


def test_an_unreachable_archive_is_not_run(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / "cache"))
    options = [f"--qemu={executable(place, 'good')}", "--offline"]
    assert main(["run", "qemu-rme", *options, "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "NOT_RUN" and "is not in the cache and the network is not to be used" in found["reason"]
    assert main(["run", "qemu-rme", *options]) == 2
    assert capsys.readouterr().err.startswith("NOT_RUN: ")


def test_the_stacks_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--list"]) == 0
    assert "stages: bl1, gpt, bl2, bl31, rmm, normal-world" in capsys.readouterr().out
    assert main(["run", "--list", "--json"]) == 0
    assert {"tfa-trp", "tfa-rmm", "qemu-rme"} <= json.loads(capsys.readouterr().out).keys()


@pytest.mark.parametrize(("behaviour", "option"), [("echoing", []), ("reported", ["--pause-on-fail"])])
def test_a_person_gets_the_console(place: Path, behaviour: str, option: list[str]) -> None:
    """On a terminal: what is typed goes to the machine, Ctrl-] ends it, the terminal is put back."""
    mine, theirs = pty.openpty()
    command = [sys.executable, "-c", "import sys; from harness.cli import main; sys.exit(main(sys.argv[1:]))"]
    command += ["run", "sample.toml", f"--qemu={executable(place, behaviour)}", *option]
    child = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    try:
        until(mine, rb"(?s)console uart0; Ctrl-\] ends the machine\r\n.*est:~#")
        if behaviour == "echoing":
            os.write(mine, b"hello\n")
            until(mine, b"ANSWER")
        os.write(mine, b"\x1d")
        assert child.wait(10) == (1 if option else 0)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
        os.close(mine)


def until(fd: int, what: bytes, seconds: float = 20.0) -> None:
    """Wait for text that the pattern ``what`` finds."""
    said, begin = b"", time.monotonic()
    while not re.search(what, said):
        left = seconds - (time.monotonic() - begin)
        assert left > 0, said
        if select.select([fd], [], [], left)[0]:
            said += os.read(fd, 4096)


def test_pause_on_fail_needs_a_person(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(place, "reported", "--pause-on-fail", "--json") == 3
    assert "--pause-on-fail needs a terminal and no --json" in capsys.readouterr().err


def test_a_flash_image_of_ones_own_boots(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file kind, on a real QEMU: the image that the stack tfa-trp would make, given as a file."""
    offline = os.environ.get("REALMCHECK_OFFLINE", "") not in ("", "0")
    try:
        built = images.provide("tfa", offline=offline)
    except images.ImageError as error:
        if not offline:
            raise
        pytest.skip(str(error))
    mine = FirmwareSpec(name="tfa", kind="firmware", summary="", environment="X", source="x")
    (place / "flash.bin").write_bytes(flash.compose(tfa.own(mine, str(built.path.parent))))
    (place / "own.toml").write_text(OWN)
    assert main(["run", "own.toml", "--file", "flash=flash.bin", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rmm"]["name"].startswith("test realm payload")
