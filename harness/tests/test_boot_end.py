"""Runs of stack suites that end before their end: what they started is gone, what they recorded stays."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from harness.report import read_run
from harness.tests.boot_samples import MANIFEST, executable
from harness.tests.suite_project import make, start, verdicts
from harness.tests.test_bad_end import gone, wait_for

SUITE = """
import pytest
from pathlib import Path

@pytest.mark.rule("GPC-080")
@pytest.mark.parametrize("n", [1, 2, 3])
def test_it(stack, n):
    machine = stack.boot("sample.toml", fresh=n == 2)
    stack.judge("GPC-080", True, case="it boots", stimulus={}, expected={}, observed={})
    if n == 2 and Path("pause").exists():
        Path("pid").write_text(str(machine.pid))
        import time
        time.sleep(60)
"""


def project(directory: Path) -> Path:
    make(directory, "")
    (directory / "suites/small/test_small.py").write_text(SUITE)
    (directory / "sample.toml").write_text(MANIFEST)
    return directory


def machines(directory: Path) -> list[int]:
    """Every process whose command line names this directory's fake."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"socket,id=uart0" in b"".join(words) and (path.parent / "cwd").readlink() == directory:
            found.append(int(path.parent.name))
    return found


@pytest.mark.parametrize(("how", "status"), [(signal.SIGKILL, -9), (signal.SIGINT, 2)])
def test_an_early_end_leaves_no_machine(tmp_path: Path, how: signal.Signals, status: int) -> None:
    made = project(tmp_path)
    (made / "pause").touch()
    memory = sorted(Path("/dev/shm").iterdir())
    run = start(made, f"--qemu={executable(tmp_path, 'good')}")
    try:
        wait_for(lambda: run.poll() is not None or ((made / "pid").exists() and (made / "pid").read_text() != ""), 60)
        assert run.poll() is None, run.stdout and run.stdout.read()
        there = machines(made)
        assert int((made / "pid").read_text()) in there and len(there) == 2
        os.kill(run.pid, how)
        wait_for(lambda: gone(run.pid), 10)
        wait_for(lambda: all(map(gone, there)), 5)
    finally:
        run.kill()
        run.communicate()
    assert run.returncode == status and sorted(Path("/dev/shm").iterdir()) == memory
    assert not [path for path in made.rglob("*") if path.is_socket()]
    assert verdicts(made)[0] == "PASS"


@pytest.mark.parametrize(("behaviour", "verdict"), [("good", "PASS"), ("reported", "INCONCLUSIVE")])
def test_a_whole_run_leaves_no_machine(tmp_path: Path, behaviour: str, verdict: str) -> None:
    made = project(tmp_path)
    run = start(made, f"--qemu={executable(tmp_path, behaviour)}")
    said, _ = run.communicate(timeout=60)
    assert verdicts(made) == [verdict] * 3 and not machines(made)
    found = read_run(made / "out")
    assert found.target.name == "qemu" and found.target.version == "99.0.1"
    if behaviour == "reported":
        assert run.returncode == 1
        assert "stage second: the firmware reports a failure: ERROR:   second failed: -7" in said
        assert "Traceback" not in said
        assert all("second failed: -7" in check.reason for check in found.checks)


def test_a_target_that_boots_nothing_is_not_asked(tmp_path: Path) -> None:
    made = project(tmp_path)
    run = start(made, "--target=model")
    run.communicate(timeout=60)
    assert verdicts(made) == ["NOT_APPLICABLE"] * 3
    assert {check.reason for check in read_run(made / "out").checks} == {"the target model boots no firmware"}
