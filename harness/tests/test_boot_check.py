"""Verdicts of checks that boot stacks, and what QEMU's monitor and debugger may answer."""

from __future__ import annotations

import json
import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from harness.boot.check import StackCheck
from harness.boot.debugger import Debugger, stopped
from harness.boot.monitor import Monitor
from harness.boot.pool import StackOptions, StackPool
from harness.boot.stages import StageFailedError
from harness.errors import TargetLostError, TargetProtocolError
from harness.report import Verdict
from harness.tests.boot_samples import MANIFEST, executable


def check(directory: Path, behaviour: str = "good", waived: str = "") -> StackCheck:
    (directory / "sample.toml").write_text(MANIFEST)
    options = StackOptions(qemu=str(executable(directory, behaviour)))
    return StackCheck(
        test="suites/x.py::test",
        cited=("BOOT-001", "BOOT-002"),
        pool=StackPool(options, logs=lambda: directory / "logs"),
        rng=random.Random(1),
        waive=lambda rule, signature: "known" if signature == waived else None,
    )


def judge(made: StackCheck, rule: str, holds: bool) -> bool:
    return made.judge(rule, holds, case="c", stimulus={"s": "1"}, expected={"x": "1"}, observed={"x": "2"})


def verdicts(made: StackCheck, problem: str = "") -> dict[str, Verdict]:
    return {result.rules[0]: result.verdict for result in made.results(problem)}


def test_a_rule_passes_only_on_its_own_observations(tmp_path: Path) -> None:
    made = check(tmp_path)
    assert judge(made, "BOOT-001", True)
    assert verdicts(made) == {"BOOT-001": Verdict.PASS, "BOOT-002": Verdict.INCONCLUSIVE}
    assert made.results()[1].reason == "no observation was decided by this rule"


def test_one_wrong_observation_fails_its_rule(tmp_path: Path) -> None:
    made = check(tmp_path)
    for holds in (True, False, True):
        judge(made, "BOOT-002", holds)
    assert not judge(made, "BOOT-009", False)  # a rule that the test does not cite
    assert verdicts(made) == {
        "BOOT-001": Verdict.INCONCLUSIVE, "BOOT-002": Verdict.FAIL, "BOOT-009": Verdict.FAIL,
    }  # fmt: skip
    found = made.results()[1]
    assert (found.counts.judged, found.counts.passed, found.counts.failed) == (3, 2, 1)
    assert found.signatures == {"c: x 2": 1} and made.failed == 2
    assert made.first_case is not None and made.first_case.expected[0].fields == {"x": "1"}


def test_a_waiver_covers_one_signature(tmp_path: Path) -> None:
    made = check(tmp_path, waived="c: x 2")
    judge(made, "BOOT-001", False)
    assert verdicts(made)["BOOT-001"] is Verdict.WAIVED and made.first_case is None
    made.judge("BOOT-001", False, case="c", stimulus={}, expected={"x": "1"}, observed={"x": "3"})
    assert verdicts(made)["BOOT-001"] is Verdict.FAIL
    assert made.first_case is not None and made.first_case.signature == "c: x 3"


def test_missing_evidence_is_no_pass(tmp_path: Path) -> None:
    made = check(tmp_path)
    judge(made, "BOOT-001", True)
    made.not_observable("BOOT-002", "the host hides it")
    assert verdicts(made)["BOOT-002"] is Verdict.NOT_OBSERVABLE
    assert set(verdicts(made, "the machine is gone").values()) == {Verdict.INCONCLUSIVE}
    assert not made.has_rmm()
    assert set(verdicts(made).values()) == {Verdict.NOT_APPLICABLE}


def test_machines_are_shared_until_their_state_is_unknown(tmp_path: Path) -> None:
    made = check(tmp_path)
    name = str(tmp_path / "sample.toml")
    first = made.boot(name)
    assert made.boot(name) is first and made.boot(name, fresh=True) is not first
    pid = first.pid
    made.release()
    assert not Path(f"/proc/{pid}").exists() and made.boot(name) is not first
    made.pool.close()


def test_a_stack_that_does_not_boot_leaves_no_machine(tmp_path: Path) -> None:
    made = check(tmp_path, "reported")
    with pytest.raises(StageFailedError):
        made.boot(str(tmp_path / "sample.toml"))
    made.pool.close()
    assert (tmp_path / "logs/sample-0/uart0.log").stat().st_size > 0


@contextmanager
def answering(answer: Callable[[bytes], bytes], greeting: bytes = b"") -> Iterator[socket.socket]:
    """One end of a socket pair; at the other end a thread sends ``greeting`` and then answers."""
    mine, theirs = socket.socketpair()

    def serve() -> None:
        with theirs:
            theirs.sendall(greeting)
            with suppress(ConnectionError):  # whoever asked need not wait for the answer
                while data := theirs.recv(1 << 16):
                    if not (reply := answer(data)):
                        return
                    theirs.sendall(reply)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield mine
    finally:
        mine.close()
        thread.join()


GREETING = b'{"QMP": {"version": {}}}\r\n'


def test_the_monitor_lets_events_pass() -> None:
    def answer(data: bytes) -> bytes:
        asked = json.loads(data)
        said = "text" if asked["execute"] == "human-monitor-command" else {}
        return b'{"event": "RESUME"}\r\n' + json.dumps({"return": said}).encode() + b"\r\n"

    with answering(answer, GREETING) as channel:
        assert Monitor(channel).human("info x") == "text"


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (b'{"error": {"desc": "no such command"}}\n', TargetProtocolError, "QEMU refuses qmp_capabilities: no such"),
        (b"nonsense\n", TargetProtocolError, "QEMU's monitor says b'nonsense'"),
        (b"[]\n", TargetProtocolError, r"QEMU's monitor says b'\[\]'"),
        (b"", TargetLostError, "QEMU's monitor was closed"),
    ],
)
def test_what_the_monitor_may_not_answer(answer: bytes, error: type[Exception], message: str) -> None:
    with answering(lambda data: answer, GREETING) as channel, pytest.raises(error, match=message):
        Monitor(channel).human("info x")


def test_a_silent_monitor_is_a_lost_machine() -> None:
    mine, theirs = socket.socketpair()
    with mine, theirs, pytest.raises(TargetLostError, match="QEMU's monitor does not answer"):
        Monitor(mine).command("stop", timeout=0.05)


def framed(data: bytes) -> bytes:
    return b"$%s#%02x" % (data, sum(data) & 0xFF)


XML = {
    b"target.xml": b'<target><xi:include href="core.xml"/><xi:include href="system.xml"/></target>',
    b"core.xml": b'<reg name="x0" bitsize="64" regnum="0"/><reg name="cpsr" bitsize="32"/>',
    b"system.xml": b'<reg name="SCR_EL3" bitsize="64" regnum="70"/>',
}


def stub(data: bytes) -> bytes:
    """A stub with three registers; the last answer to a request in ``data``."""
    request = data.rpartition(b"$")[2].partition(b"#")[0]
    if request.startswith(b"qSupported"):
        return b"+" + framed(b"PacketSize=1000")
    if request.startswith(b"qXfer"):
        name, place = request.split(b":")[3:]
        offset, length = (int(part, 16) for part in place.split(b","))
        rest = XML[name][offset : offset + min(length, 40)]
        return b"+" + framed((b"l" if offset + len(rest) >= len(XML[name]) else b"m") + rest)
    if request.startswith(b"p"):
        return b"+" + framed({b"0": b"0100000000000000", b"1": b"c9030000", b"46": b"E14"}[request[1:]])
    return b"+"


def test_registers_are_found_by_name_over_many_pieces() -> None:
    with answering(stub) as channel, stopped(Debugger(channel)) as debugger:
        assert (debugger.read("x0"), debugger.read("cpsr")) == (1, 0x3C9)
        with pytest.raises(TargetProtocolError, match="QEMU's debugger answers b'E14' for SCR_EL3"):
            debugger.read("SCR_EL3")
        with pytest.raises(TargetProtocolError, match="QEMU's debugger knows no register GPCCR_EL3"):
            debugger.read("GPCCR_EL3")


def test_a_debugger_that_is_closed_is_a_lost_machine() -> None:
    with answering(lambda data: b"") as channel, pytest.raises(TargetLostError, match="QEMU's debugger was closed"):
        Debugger(channel).stop()
