"""Whole runs on machines that die, hang, babble or lie: INCONCLUSIVE with a reason, logs kept, nothing left behind."""

from __future__ import annotations

import os
import resource
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.report import CheckResult, ClaimResult, read_run
from harness.tests.suite_project import GOOD, OPTIONS, ROOT, make, summary, verdicts

pytest_plugins = ["pytester"]

FAKE = "fake_machine.py"
BAD = "bad_machine.py"
CACHE = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
Run = Callable[..., list[CheckResult]]


@pytest.fixture
def bad_run(
    pytester: pytest.Pytester, probe_elf: Path, qemu_argv: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Runs a suite on ``program behaviour`` in the place of QEMU; the result lines."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def run(program: str, behaviour: str, *options: str, suite: str = GOOD, status: int = 1) -> list[CheckResult]:
        make(pytester.path, suite)
        qemu = pytester.path / "qemu"
        words = [sys.executable, str(Path(__file__).with_name(program)), behaviour]
        words += [shlex.join(qemu_argv)] if program == BAD else []
        qemu.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        qemu.chmod(0o755)
        before = left_open()
        result = pytester.runpytest_inprocess(*OPTIONS, f"--qemu={qemu}", f"--probe={probe_elf}", *options, "suites")
        assert result.ret == status, result.stdout.str()
        assert left_open() == before
        assert not children()
        return list(read_run(pytester.path / "out").checks)

    return run


def left_open() -> int:
    return sum(len(list(Path(place).iterdir())) for place in ("/proc/self/fd", "/dev/shm"))


def children() -> list[str]:
    """Running children of this process, by name."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = path.read_text().rpartition(")")
        except OSError:
            continue
        if rest.split()[1] == str(os.getpid()):
            found.append(name)
    return found


@pytest.mark.parametrize(
    ("program", "behaviour", "options", "reason"),
    [
        (FAKE, "refusing", (), "QEMU ended with an exit code (1); qemu: x-rme=on: property not found"),
        (FAKE, "aborting", (), "QEMU aborted (SIGABRT)"),
        (FAKE, "silent", ("--timeout-scale=0.1",), "the console stayed silent for 1.0 s; no probe runs there"),
        (FAKE, "text", ("--timeout-scale=0.3",), "no banner in 3.0 s, only text; is this image the probe?"),
        (FAKE, "old-banner", (), "record version 7, not 1; boot a probe built from the same release"),
        (
            FAKE,
            "damaged-banner",
            ("--timeout-scale=0.3",),
            "the probe's banner arrived damaged (CRC); check the line or the probe",
        ),
        (FAKE, "damaged-answers", ("--wire-only",), "the target"),
        (BAD, "noise", (), "; is this image the probe?"),
        (BAD, "endless-line", (), "the console babbles"),
        (BAD, "frames", ("--wire-only", "--timeout-scale=0.2"), "was not answered within"),
        (BAD, "banners", ("--wire-only",), "the probe started anew by itself: the machine was reset"),
        (
            BAD,
            "wrong-checksums",
            ("--wire-only", "--timeout-scale=0.3"),
            "failed 4 times: a damaged answer (CRC); check the line",
        ),
        (BAD, "mailbox-outside", (), "the probe's banner puts its mailbox at 0xfffffffffffff000"),
        (BAD, "batch-outside", (), "the probe's banner puts its batch at 0xffff0000"),
        (BAD, "batch-too-big", (), "the probe's banner puts its batch at 0x48001000, 0x7fffffff000 bytes"),
        (BAD, "mailbox-elsewhere", (), "no version 1 mailbox at 0x47000000"),
        (BAD, "negative", (), "the probe's banner puts its windows_l1 at -0x1000"),
        (BAD, "other-personality", (), "'host' at EL3, not 'root' at EL3; boot the probe of personality root"),
        (BAD, "other-level", (), "'root' at EL2, not 'root' at EL3"),
        (BAD, "no-register", ("--wire-only",), "qemu does not report ID_AA64ISAR0_EL1; boot a probe built from"),
        (BAD, "other-l0gptsz", ("--wire-only",), "QEMU has GPCCR_EL3.L0GPTSZ 0b0100, asked for 0b0000"),
        (BAD, "old-protocol", (), "the probe speaks protocol version 9, not 1"),
        (BAD, "no-number", (), "the probe's banner has a value that is no number"),
    ],
)
def test_a_machine_that_cannot_be_used(
    bad_run: Run, pytester: pytest.Pytester, program: str, behaviour: str, options: tuple[str, ...], reason: str
) -> None:
    begin = time.monotonic()
    checks = bad_run(program, behaviour, *options, suite=GOOD.replace("[1, 2]", "[1]"))
    assert time.monotonic() - begin < 20
    (check,) = checks
    assert check.verdict.value == "INCONCLUSIVE"
    assert reason in check.reason and "\n" not in check.reason
    assert summary(pytester.path).result is ClaimResult.INCONCLUSIVE
    assert (pytester.path / "out/logs/0/uart0.log").exists()


def test_a_flood_is_bounded(bad_run: Run, pytester: pytest.Pytester) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    bad_run(BAD, "endless-line")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB
    # The second test tried again, on a machine of its own with logs of its own.
    sizes = [path.stat().st_size for path in (pytester.path / "out/logs").glob("*/uart0.log")]
    assert len(sizes) == 2 and all(1 << 20 < size < 8 << 20 for size in sizes)


KILLED = """
def states(pid):
    stats = [(task / "stat").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    return {stat.rpartition(")")[2].split()[0] for stat in stats}

def kill(check, name):
    pid = check.session.target.pid
    os.kill(pid, getattr(signal, name))
    # A thread that is running on the other core stops when the signal reaches it, not before.
    while name == "SIGSTOP" and states(pid) != {"T"}:
        time.sleep(0.001)

@rule
@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV", "SIGSTOP"])
def test_once(check, name):
    kill(check, name)
    run(check, load(check))

@rule
@pytest.mark.parametrize("name", ["SIGKILL", "SIGSTOP"])
def test_always(check, name, monkeypatch):
    once = check.session._run_once
    monkeypatch.setattr(check.session, "_run_once", lambda *args: (kill(check, name), once(*args)))
    run(check, load(check))

@rule
def test_after(check):
    run(check, load(check))
"""


@pytest.fixture
def real_run(
    pytester: pytest.Pytester, probe_elf: Path, qemu_argv: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Runs a suite on the real QEMU; the result lines."""
    monkeypatch.setenv("XDG_CACHE_HOME", CACHE)  # pytester gives its tests a home of their own

    def run(suite: str, *options: str, status: int = 1) -> list[CheckResult]:
        make(pytester.path, suite)
        result = pytester.runpytest_inprocess(*OPTIONS, "--offline", f"--probe={probe_elf}", *options, "suites")
        assert result.ret == status, result.stdout.str()
        assert not children()
        return list(read_run(pytester.path / "out").checks)

    return run


def test_a_killed_or_stopped_qemu(real_run: Run, pytester: pytest.Pytester) -> None:
    checks = real_run(KILLED, "--timeout-scale=0.2")
    killed, crashed, stopped, gone, still, after = checks
    for check, why in ((killed, "QEMU ended by a signal (SIGKILL)"), (crashed, "(SIGSEGV)"), (stopped, "within 1.0 s")):
        assert check.verdict.value == "PASS"
        assert why in check.reason and check.reason.endswith("power-cycled and asked again")
    for check, why in ((gone, "QEMU ended by a signal (SIGKILL)"), (still, "did not end within 1.0 s")):
        assert check.verdict.value in ("INCONCLUSIVE", "FAIL")
        assert why in check.reason + "".join(case.observed.fields["target"] for case in check.cases)
    assert (after.verdict.value, after.reason) == ("PASS", "")
    assert summary(pytester.path).result.exit_code != 0


ENDLESS = """
@rule
def test_endless(check):
    run(check, load(check), *hang(check), load(check, 16))

@rule
def test_after(check):
    run(check, load(check))
"""


def the_finding(checks: list[CheckResult], exit_status: str) -> None:
    found, after = checks
    assert (found.verdict.value, found.rules) == ("FAIL", ("GPC-080",))
    (case,) = found.cases
    assert exit_status in case.observed.fields["target"]
    assert "0x80011000" in str(case.stimulus)
    assert found.counts.failed == 1 and found.counts.passed == 3  # the rest of the batch was judged
    assert "power-cycled and asked again" in found.reason
    assert after.verdict.value == "PASS"


def test_a_stimulus_that_hangs_the_machine_is_a_finding(real_run: Run, pytester: pytest.Pytester) -> None:
    the_finding(real_run(ENDLESS, "--timeout-scale=0.1"), "the batch did not end within 0.5 s")
    assert summary(pytester.path).result is ClaimResult.NON_CONFORMING


def test_a_stimulus_that_makes_qemu_abort_is_a_finding(bad_run: Run, pytester: pytest.Pytester) -> None:
    the_finding(bad_run(BAD, "breaking", suite=ENDLESS), "aborted (SIGABRT)")
    assert summary(pytester.path).result is ClaimResult.NON_CONFORMING
    assert "Assertion `!endless' failed" in (pytester.path / "out/logs/0/qemu.stderr").read_text()


def test_the_model_that_dies_is_a_finding(pytester: pytest.Pytester) -> None:
    make(pytester.path, KILLED.replace("target.pid", "target._process.pid").replace(', "SIGSTOP"', ""))
    assert pytester.runpytest_inprocess(*OPTIONS, "--target=model", "suites").ret == 1
    assert verdicts(pytester.path)[:2] == ["PASS", "PASS"] and verdicts(pytester.path)[-1] == "PASS"
    assert summary(pytester.path).result.exit_code != 0
