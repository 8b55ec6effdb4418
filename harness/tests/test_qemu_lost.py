"""A real QEMU that is killed, hangs, aborts or whose probe breaks: what is said, and that nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from harness.errors import MisuseError, TargetLostError
from harness.probe.batch import Batch, decode_results
from harness.probe.records import RESULT_SIZE, Op, Record, RecordFlag, RegisterEntry, Status, sysreg_encoding
from harness.report import read_run
from harness.targets.qemu import QemuTarget
from harness.tests.conftest import MakeTarget

DATA = 0x8000_0000
HERE = (0x14000000).to_bytes(4, "little")  # b .
GPCCR = sysreg_encoding(3, 6, 2, 1, 6)
ROOT = Path(__file__).parents[2]


def load(n: int = 0) -> Record:
    return Record(0, Op.LOAD, address=DATA + 8 * n)


def endless(target: QemuTarget) -> Record:
    target.write_memory(DATA + 0x1000, HERE)
    return Record(0, Op.FETCH, address=DATA + 0x1000)


@pytest.fixture
def marked(make_target: MakeTarget) -> QemuTarget:
    target = make_target(timeout_scale=0.1)
    target.write_memory(DATA, bytes(range(64)))
    return target


def test_a_hang_is_pinned_to_its_record(marked: QemuTarget) -> None:
    begin = time.monotonic()
    with pytest.raises(TargetLostError, match=r"the batch did not end within 0\.5 s \(stage record 2 of 4\)") as caught:
        marked.run(Batch(records=[load(0), load(1), endless(marked), load(2)]))
    assert time.monotonic() - begin < 2
    evidence = caught.value.evidence
    assert evidence.record_index == 2
    assert evidence.stimulus == "record 2: FETCH of 8 bytes at VA 0x80001000, ROOT EL3"
    assert [r.data0 for r in decode_results(marked.partial_results(), 2)] == [0x0706050403020100, 0x0F0E0D0C0B0A0908]
    marked.power_cycle()
    assert marked.run(Batch(records=[load()]))[0].status == Status.DONE


def test_kill_in_mid_batch(make_target: MakeTarget) -> None:
    target = make_target()
    killer = threading.Timer(0.3, os.kill, (target.pid, signal.SIGKILL))
    killer.start()
    begin = time.monotonic()
    with pytest.raises(TargetLostError, match=r"QEMU ended by a signal \(SIGKILL\) \(stage record 1 of 3\)") as caught:
        target.run(Batch(records=[load(), endless(target), load()]))
    assert time.monotonic() - begin < 2
    assert caught.value.evidence.exit_status == "ended by a signal (SIGKILL)"
    assert caught.value.evidence.record_index == 1
    assert len(target.partial_results()) == RESULT_SIZE
    assert any("realmcheck probe" in line for line in caught.value.evidence.tail)


def test_a_killed_qemu_over_the_wire(make_target: MakeTarget) -> None:
    target = make_target(wire_only=True)
    os.kill(target.pid, signal.SIGKILL)
    with pytest.raises(TargetLostError, match=r"QEMU ended by a signal \(SIGKILL\)"):
        target.read_memory(DATA, 8)


def test_a_fault_of_the_probe_itself_is_reported_at_once(make_target: MakeTarget) -> None:
    target = make_target()
    bad = 1 << 16 | 3 << 14 | 1 << 12 | 7
    keep = load()._replace(flags=RecordFlag.KEEP_REGS | RecordFlag.TLBI_BEFORE)
    begin = time.monotonic()
    with pytest.raises(TargetLostError, match="the probe stopped after a fault of its own: ESR_EL3=7a") as caught:
        target.run(Batch(records=[load(), keep, load()], registers={1: (RegisterEntry(GPCCR, bad),)}))
    assert time.monotonic() - begin < 2
    assert caught.value.evidence.record_index == 1


def test_a_probe_that_qemu_cannot_load_is_named(qemu_argv: tuple[str, ...], tmp_path: Path) -> None:
    target = QemuTarget(qemu_argv=qemu_argv, probe_elf=tmp_path / "probe.elf", log_directory=tmp_path)
    with pytest.raises(TargetLostError, match=r"QEMU ended with an exit code \(1\); .*Cannot load specified image"):
        target.power_on()


def test_a_probe_that_cannot_reach_its_own_vectors_is_pinned_to_its_record(marked: QemuTarget) -> None:
    bad = 1 << 16 | 3 << 14 | 1 << 12 | 7
    storm = load()._replace(flags=RecordFlag.TLBI_AFTER_REGS)
    with pytest.raises(TargetLostError, match=r"the batch did not end within 0\.5 s \(stage record 1 of 3\)"):
        marked.run(Batch(records=[load(), storm, load()], registers={1: (RegisterEntry(GPCCR, bad),)}))
    marked.power_cycle()
    assert marked.run(Batch(records=[load()]))[0].status == Status.DONE


def test_a_hang_over_the_wire(make_target: MakeTarget) -> None:
    target = make_target(wire_only=True, timeout_scale=0.1)
    begin = time.monotonic()
    with pytest.raises(TargetLostError, match=r"RUN was not answered within 0\.5 s, asked 4 times"):
        target.run(Batch(records=[endless(target)]))
    assert time.monotonic() - begin < 2


def test_a_machine_without_rme_says_so(qemu_argv: tuple[str, ...], probe_elf: Path, tmp_path: Path) -> None:
    target = QemuTarget(
        qemu_argv=qemu_argv, probe_elf=probe_elf, log_directory=tmp_path, extra_args=("-cpu", "max,x-rme=off")
    )
    with pytest.raises(TargetLostError, match="the probe stopped after a fault of its own: no FEAT_RME"):
        target.power_on()


def test_a_batch_that_is_too_large_is_misuse(make_target: MakeTarget) -> None:
    target = make_target()
    with pytest.raises(MisuseError, match=r"the batch needs \d+ bytes, the probe has \d+; send smaller batches"):
        target.run(Batch(records=[load()], pool=bytes(1 << 27)))
    assert target.run(Batch(records=[load()]))[0].status == Status.DONE


def test_nothing_is_left_when_the_harness_is_killed(
    qemu_argv: tuple[str, ...], probe_elf: Path, tmp_path: Path
) -> None:
    before = set(Path("/dev/shm").iterdir())
    script = (
        "import sys, time; from pathlib import Path; from harness.targets.qemu import QemuTarget\n"
        f"t = QemuTarget(qemu_argv={qemu_argv!r}, probe_elf=Path({str(probe_elf)!r}), "
        f"log_directory=Path({str(tmp_path)!r}))\n"
        "t.power_on(); print(t.pid, flush=True); time.sleep(60)"
    )
    harness = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert harness.stdout is not None
    pid = int(harness.stdout.readline())
    assert Path(f"/proc/{pid}").exists()
    harness.send_signal(signal.SIGKILL)
    harness.wait()
    harness.stdout.close()
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]:
        assert time.monotonic() < deadline, "QEMU outlived the harness"
        time.sleep(0.01)
    assert set(Path("/dev/shm").iterdir()) - before == set()


def test_an_idle_probe_costs_little(make_target: MakeTarget) -> None:
    target = make_target()
    time.sleep(0.3)
    begin = cpu_seconds(target.pid)
    time.sleep(1.0)
    assert cpu_seconds(target.pid) - begin < 0.6


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_an_abort_over_the_wire_is_pinned_to_its_stimulus(qemu_argv: tuple[str, ...], tmp_path: Path) -> None:
    """Without shared memory a machine that is gone does not say how far it came; shorter batches do."""
    version = subprocess.run([*qemu_argv, "--version"], capture_output=True, text=True, check=True).stdout
    if " 11.1." not in version:
        pytest.skip(f"the abort is waived for QEMU 11.1, this is {version.splitlines()[0]}")
    test = "suites/gpt/test_worlds.py::test_deep_table_fetch_denied[NON_SECURE-EL1]"
    command = [sys.executable, "-m", "pytest", "-q", test, "--wire-only", f"--results={tmp_path / 'run'}", "--seed=1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    cases = [case for check in read_run(tmp_path / "run").checks for case in check.cases if check.rules == ("GPC-080",)]
    assert {(case.waiver, case.index) for case in cases} == {("qemu-abort-deep-table-fetch", 1)}
