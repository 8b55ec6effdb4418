"""Consoles that split, drop, duplicate, interleave, hang, panic and loop: each gets its name, none spoils the next."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest

from harness.boot import How, StackMachine, StageFailedError
from harness.boot.typing import type_text
from harness.errors import MisuseError, TargetProtocolError
from harness.tests.boot_samples import fake, sample

WELL = ["first", "second", "third", "shell"]


def end(machine: StackMachine) -> StageFailedError | None:
    """Boot to the end; the failure, with the machine off."""
    try:
        machine.boot()
        return None
    except StageFailedError as error:
        return error
    finally:
        machine.power_off()


def held() -> list[str]:
    """The files that this process has open, and the names of shared memory."""
    return sorted(str(path) for place in ("/proc/self/fd", "/dev/shm") for path in Path(place).iterdir())


@pytest.mark.parametrize("behaviour", ["good", "split", "line-ends", "interleaved", "half-line"])
def test_what_a_console_does_to_text_is_seen_through(tmp_path: Path, behaviour: str) -> None:
    machine = fake(tmp_path, behaviour)
    assert end(machine) is None
    assert [item.stage for item in machine.reached] == WELL
    assert all(0 <= item.seconds <= item.at < 5 for item in machine.reached)


BAD = {
    "dropped": ("second", How.DEADLINE, "nothing like 'NOTICE:  second up' in 1 s"),
    "duplicated": ("second", How.DEADLINE, "nothing like 'NOTICE:  second up' in 1 s"),
    "hanging": ("second", How.DEADLINE, "nothing like"),
    "endless-line": ("first", How.DEADLINE, "nothing like 'NOTICE:  first up' in 2 s"),
    "reported": ("second", How.REPORTED, "ERROR:   second failed: -7"),
    "reported-elsewhere": ("first", How.REPORTED, "PANIC in EL3 at x30"),
    "skipped": ("second", How.SKIPPED, "third says INFO:    ready"),
    "looping": ("third", How.RESTARTED, "first again: NOTICE:  first up"),
    "aborting": ("third", How.LOST, r"QEMU aborted \(SIGABRT\); ERROR:target/arm/ptw.c:1: assertion failed"),
    "ending": ("third", How.LOST, r"QEMU ended with an exit code \(3\)"),
    "closing": ("second", How.LOST, "the console was closed by the machine"),
    "refusing": ("first", How.LOST, "Property 'max-arm-cpu.x-rme' not found"),
}


@pytest.mark.parametrize("behaviour", BAD)
def test_every_failure_has_its_name(tmp_path: Path, behaviour: str) -> None:
    stage, how, message = BAD[behaviour]
    begin = time.monotonic()
    failure = end(fake(tmp_path, behaviour))
    assert failure is not None and time.monotonic() - begin < 8
    assert (failure.stage, failure.how) == (stage, how)
    with pytest.raises(StageFailedError, match=message):
        raise failure
    assert "\n" not in str(failure) and failure.evidence.stage == stage
    assert failure.evidence.log == str(tmp_path / behaviour / "uart0.log")


def test_a_stage_that_failed_fails_even_if_the_last_one_comes_up(tmp_path: Path) -> None:
    machine = fake(tmp_path, "reported")
    failure = end(machine)
    assert failure is not None and [item.stage for item in machine.reached] == ["first"]
    assert "ERROR:   second failed: -7" in "\n".join(failure.evidence.tail)


def test_logs_stay_and_the_next_case_is_unaffected(tmp_path: Path) -> None:
    for behaviour in ("aborting", "hanging", "endless-line", "reported"):
        failure = end(fake(tmp_path, behaviour))
        assert failure is not None and failure.stage == BAD[behaviour][0]
        assert (tmp_path / behaviour / "uart0.log").stat().st_size > 0
        assert end(fake(tmp_path, "good")) is None
    assert b"last words of the guest" in (tmp_path / "aborting/uart0.log").read_bytes()
    assert "assertion failed" in (tmp_path / "aborting/qemu.stderr").read_text()


@pytest.mark.parametrize("behaviour", ["good", "reported", "aborting", "hanging"])
def test_nothing_is_left_behind(tmp_path: Path, behaviour: str) -> None:
    before = held()
    machine = fake(tmp_path, behaviour)
    with contextlib.suppress(StageFailedError):
        machine.boot()
    pid = machine.pid
    machine.power_off()
    assert not Path(f"/proc/{pid}").exists()
    assert held() == before
    assert not [path for path in tmp_path.rglob("*") if path.is_socket() or path.is_fifo()]
    machine.power_off()  # once more does no harm


def test_a_boot_that_python_cannot_start_leaves_nothing(tmp_path: Path) -> None:
    before = held()
    machine = fake(tmp_path, "good")
    object.__setattr__(machine.prepared, "qemu", (str(tmp_path / "absent"),))
    with pytest.raises(MisuseError, match=r"cannot start .*absent: No such file"):
        machine.boot()
    assert held() == before


def test_one_option_scales_every_deadline(tmp_path: Path) -> None:
    failure = end(fake(tmp_path, "hanging", timeout_scale=0.5))
    assert failure is not None and "in 0.5 s" in str(failure)


def test_until_ends_the_boot_and_the_console_goes_on_there(tmp_path: Path) -> None:
    machine = fake(tmp_path, "good")
    try:
        assert [item.stage for item in machine.boot("second")] == ["first", "second"]
        said, begin = b"", time.monotonic()
        while b"est:~#" not in said and time.monotonic() - begin < 5:
            said += machine.console("uart0").read(0.5)
        assert said.startswith(b"INFO:    ready\r\n")
        with pytest.raises(MisuseError, match="no console 'uart7'; there are: uart0, uart1"):
            machine.console("uart7")
    finally:
        machine.power_off()


LONG = "echo " + "0123456789abcdef" * 12


def test_long_input_is_typed_at_the_pace_of_its_echo(tmp_path: Path) -> None:
    machine = fake(tmp_path, "echoing")
    try:
        machine.boot()
        console = machine.console("uart0")
        type_text(console, LONG + "\n", timeout=20.0)
        said, begin = b"", time.monotonic()
        while b"ANSWER" not in said and time.monotonic() - begin < 5:
            said += console.read(0.5)
        assert LONG.encode() in said
    finally:
        machine.power_off()


def test_input_that_arrives_damaged_is_an_error(tmp_path: Path) -> None:
    """The other side would run, or sign, something else than was asked: nothing may be concluded from its answer."""
    machine = fake(tmp_path, "losing")
    try:
        machine.boot()
        with pytest.raises(TargetProtocolError, match=r"typed 'echo 0123456789a.*', the console shows '.*'"):
            type_text(machine.console("uart0"), LONG + "\n", timeout=1.0)
    finally:
        machine.power_off()


def test_a_stage_types_its_answer_and_the_next_one_is_waited_for(tmp_path: Path) -> None:
    text = (Path(__file__).with_name("boot_samples.py")).read_text().split('MANIFEST = r"""')[1].split('"""')[0]
    text += 'send = "run\\n"\n\n[[stage]]\nname = "answer"\nexpect = "^ANSWER$"\ndeadline = 2.0\n'
    machine = fake(tmp_path, "echoing", sample(tmp_path, text))
    assert end(machine) is None
    assert [item.stage for item in machine.reached][-1] == "answer"
