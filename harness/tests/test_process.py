"""Processes end with the harness, and how they ended is told apart."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import MisuseError
from harness.process import ExitKind, ExitStatus, Process, classify

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("returncode", "kind", "text"),
    [
        (0, ExitKind.NORMAL, "ended normally"),
        (3, ExitKind.EXIT_CODE, "ended with an exit code (3)"),
        (-6, ExitKind.ABORTED, "aborted (SIGABRT)"),
        (134, ExitKind.ABORTED, "aborted (SIGABRT)"),
        (-9, ExitKind.SIGNALLED, "ended by a signal (SIGKILL)"),
        (139, ExitKind.SIGNALLED, "ended by a signal (SIGSEGV)"),
        (255, ExitKind.EXIT_CODE, "ended with an exit code (255)"),
    ],
)
def test_classify(returncode: int, kind: ExitKind, text: str) -> None:
    status = classify(returncode)
    assert status.kind is kind
    assert str(status) == text


def test_a_process_that_the_harness_killed_is_told_apart(tmp_path: Path) -> None:
    process = Process(["/bin/sleep", "60"], stderr=tmp_path / "stderr")
    assert process.poll() is None
    assert process.kill() == ExitStatus(ExitKind.KILLED)
    assert process.kill().kind is ExitKind.KILLED


def test_a_process_that_ended_before_keeps_its_status(tmp_path: Path) -> None:
    process = Process(["/bin/sh", "-c", "echo trouble >&2; exit 4"], stderr=tmp_path / "stderr")
    assert process.wait(5) == ExitStatus(ExitKind.EXIT_CODE, 4)
    assert process.kill() == ExitStatus(ExitKind.EXIT_CODE, 4)
    assert process.stderr_tail() == ("trouble",)


def test_standard_error_of_an_earlier_process_is_not_taken_for_its_own(tmp_path: Path) -> None:
    for text in ("first", "second"):
        process = Process(["/bin/sh", "-c", f"echo {text} >&2"], stderr=tmp_path / "stderr")
        process.wait(5)
    assert process.stderr_tail() == ("second",)
    assert (tmp_path / "stderr").read_text() == "first\nsecond\n"


def test_kill_ends_the_whole_group(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    process = Process(["/bin/sh", "-c", f"sleep 60 & echo $! > {note}; wait"], stderr=tmp_path / "stderr")
    wait_for(lambda: note.exists() and note.read_text().strip() != "")
    process.kill()
    wait_for(lambda: not alive(int(note.read_text())))


def test_a_paused_process_stands_still_and_goes_on(tmp_path: Path) -> None:
    note = tmp_path / "note"
    loop = f"while :; do echo x >> {note}; sleep 0.01; done"
    process = Process(["/bin/sh", "-c", loop], stderr=tmp_path / "stderr")
    try:
        wait_for(note.exists)
        process.pause()
        wait_for(lambda: stopped(process.pid))
        size = note.stat().st_size
        time.sleep(0.1)
        assert note.stat().st_size == size
        process.resume()
        wait_for(lambda: note.stat().st_size > size)
        process.pause()
        assert process.poll() is None
    finally:
        process.kill()
    process.pause()  # of a process that has ended: nothing
    assert process.poll() is not None


def stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def test_a_program_that_cannot_start_is_named(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match=r"cannot start /nonexistent: No such file or directory; check the path"):
        Process(["/nonexistent"], stderr=tmp_path / "stderr")


def test_a_process_dies_with_a_harness_that_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from harness.process import Process\n"
        f"print(Process(['/bin/sleep', '60'], stderr=Path({str(tmp_path / 'stderr')!r})).pid, flush=True)\n"
        "time.sleep(60)"
    )
    harness = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert harness.stdout is not None
    pid = int(harness.stdout.readline())
    assert alive(pid)
    harness.send_signal(signal.SIGKILL)
    harness.wait()
    harness.stdout.close()
    wait_for(lambda: not alive(pid))


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_for(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        time.sleep(0.01)
