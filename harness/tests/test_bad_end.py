"""Runs that end before their end: killed, interrupted, or out of disk.  What was recorded stays, and claims nothing."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.cli import main
from harness.errors import MisuseError
from harness.report import ClaimResult, read_run
from harness.targets.qemu import QemuTarget
from harness.targets.target import TargetOptions
from harness.tests.suite_project import GOOD, OPTIONS, make, start, summary, verdicts

pytest_plugins = ["pytester"]

PAUSE = """
@rule
@pytest.mark.parametrize("n", [1, 2, 3])
def test_it(check, n):
    run(check, load(check, 16 * n))
    if n == 2:
        target = check.session.target
        Path("pid").write_text(str(target._process.pid))
        import time
        time.sleep(60)
"""


@contextmanager
def paused(project: Path, *options: str) -> Iterator[tuple[int, int]]:
    """A run that rests in its second test: (pytest's process id, the machine's)."""
    make(project, PAUSE)
    run = start(project, *options)
    pid = project / "pid"
    try:
        wait_for(lambda: run.poll() is not None or (pid.exists() and pid.read_text() != ""), 60)
        if run.poll() is not None:
            pytest.fail(f"the run ended early:\n{run.stdout.read() if run.stdout else ''}")
        yield run.pid, int((project / "pid").read_text())
    finally:
        run.kill()
        run.communicate()


def wait_for(condition: object, seconds: float) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def report(project: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    status = main(["report", str(project / "out"), "--rules", str(project / "suites/rules")])
    return status, capsys.readouterr().out


@pytest.mark.parametrize("target", ["qemu", "model"])
def test_a_run_that_is_killed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], qemu_argv: tuple[str, ...], probe_elf: Path, target: str
) -> None:
    with paused(tmp_path, f"--target={target}", "--offline") as (pid, machine):
        assert not gone(machine)
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: gone(pid), 5)
        wait_for(lambda: gone(machine), 5)
    assert verdicts(tmp_path) == ["PASS"]
    assert read_run(tmp_path / "out").end is None
    status, said = report(tmp_path, capsys)
    assert status == 2
    assert (
        "interrupted: the run has no end line; the last thing recorded is suites/small/test_small.py::test_it" in said
    )
    assert "inconclusive" in (tmp_path / "out/report.html").read_text().lower()


def test_a_run_that_is_interrupted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], qemu_argv: tuple[str, ...], probe_elf: Path
) -> None:
    with paused(tmp_path, "--offline") as (pid, machine):
        os.kill(pid, signal.SIGINT)
        wait_for(lambda: gone(pid), 10)
        assert gone(machine)
    assert verdicts(tmp_path) == ["PASS", "INCONCLUSIVE", "NOT_RUN"]
    run = read_run(tmp_path / "out")
    assert run.end is not None and run.end.exit_status == pytest.ExitCode.INTERRUPTED
    assert "KeyboardInterrupt" in run.checks[1].reason
    status, said = report(tmp_path, capsys)
    assert status == 2
    assert "interrupted: pytest ended with status 2" in said


MANY = GOOD.replace("[1, 2]", "range(40)")
BIG = """
@rule
@pytest.mark.parametrize("n", [1, 2])
def test_it(check, n):
    run(check, *[load(check, 16 * i) for i in range(20 if n == 1 else 20000)])
"""


@pytest.mark.parametrize(
    ("suite", "limit", "what"),
    [
        (MANY, 6_000, "out/results.jsonl: a result could not be written: File too large; the header and"),
        (BIG, 60_000, ".bin: a batch could not be written: File too large; earlier batches and results are kept"),
    ],
    ids=["results", "batch"],
)
def test_a_disk_that_fills_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], suite: str, limit: int, what: str
) -> None:
    make(tmp_path, suite)
    run = start(tmp_path, "--target=model", limit=limit)
    said, _ = run.communicate(timeout=60)
    assert run.returncode == 3
    (line,) = [line for line in said.splitlines() if what in line]
    assert "free space and run again" in line
    assert "Traceback" not in said and "conforming" not in said and "SELF-TEST" not in said
    found = verdicts(tmp_path)
    assert found[0] == "PASS" and set(found[1:]) <= {"PASS", "INCONCLUSIVE"}
    assert not read_run(tmp_path / "out").torn
    assert not list((tmp_path / "out/batches").glob(".*"))
    assert report(tmp_path, capsys)[0] == 2


def test_no_room_for_the_header(tmp_path: Path) -> None:
    make(tmp_path)
    run = start(tmp_path, "--target=model", limit=200)
    said, _ = run.communicate(timeout=60)
    assert run.returncode == pytest.ExitCode.USAGE_ERROR
    assert "results.jsonl: a result could not be written: File too large; nothing was recorded; free space" in said
    assert not (tmp_path / "out/results.jsonl").exists()


def test_no_room_for_the_views(pytester: pytest.Pytester) -> None:
    make(pytester.path)
    (pytester.path / "out").mkdir()
    # A view is written beside its place and moved there.
    (pytester.path / f"out/.report.html-{os.getpid()}").symlink_to("/dev/full")
    result = pytester.runpytest_inprocess(*OPTIONS, "--target=model", "suites")
    assert result.ret == 3
    result.stdout.fnmatch_lines(["out: the views cannot be written: No space left on device*", "inconclusive: *"])
    assert summary(pytester.path).result is ClaimResult.SELF_TEST_PASSED  # nothing recorded is lost


def test_no_room_for_the_console_log(qemu_argv: tuple[str, ...], probe_elf: Path, tmp_path: Path) -> None:
    (tmp_path / "uart0.log").symlink_to("/dev/full")
    target = QemuTarget(
        qemu_argv=qemu_argv, probe_elf=probe_elf, log_directory=tmp_path, options=TargetOptions(timeout_scale=0.5)
    )
    before = sorted(path.name for path in Path("/proc/self/fd").iterdir())
    with pytest.raises(MisuseError, match=r"uart0\.log: the console's log is cut short: No space left on device; free"):
        target.power_on()
    assert sorted(path.name for path in Path("/proc/self/fd").iterdir()) == before


def test_logs_that_cannot_be_made(pytester: pytest.Pytester) -> None:
    make(pytester.path)
    (pytester.path / "out").mkdir()
    (pytester.path / "out/logs").write_text("a file")
    assert pytester.runpytest_inprocess(*OPTIONS, "--target=model", "suites").ret == 1
    assert verdicts(pytester.path) == ["INCONCLUSIVE", "INCONCLUSIVE"]
    assert "logs/0: cannot be used for logs: " in summary(pytester.path).checks[0].deciding.reason


def test_memory_that_cannot_be_had(tmp_path: Path, qemu_argv: tuple[str, ...]) -> None:
    make(tmp_path)
    run = start(tmp_path, "--offline", limit=1 << 20)
    said, _ = run.communicate(timeout=60)
    assert run.returncode == 1
    assert "RAM cannot be mapped: File too large; raise the limits of this shell" in said
    assert verdicts(tmp_path) == ["INCONCLUSIVE", "INCONCLUSIVE"]
