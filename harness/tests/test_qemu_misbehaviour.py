"""What a user reads when the machine is not what it should be: a small program stands for QEMU."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.errors import MisuseError, TargetError, TargetLostError, TargetProtocolError
from harness.targets import qemu
from harness.targets.qemu import QemuTarget
from harness.targets.target import TargetOptions

FAKE = Path(__file__).with_name("fake_machine.py")
ROOT = Path(__file__).parents[2]
MakeFake = Callable[..., QemuTarget]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeFake]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    made: list[QemuTarget] = []

    def make(behaviour: str, scale: float = 0.15, boot: float = 10.0) -> QemuTarget:
        monkeypatch.setattr(qemu, "BOOT_TIMEOUT", boot)
        target = QemuTarget(
            qemu_argv=(sys.executable, str(FAKE), behaviour),
            probe_elf=tmp_path / "probe.elf",
            log_directory=tmp_path / "logs",
            options=TargetOptions(wire_only=True, timeout_scale=scale),
        )
        made.append(target)
        return target

    yield make
    for target in made:
        target.power_off()


@pytest.mark.parametrize(
    ("behaviour", "error", "message"),
    [
        ("silent", TargetLostError, r"the console stayed silent for 1\.5 s; no probe runs there"),
        (
            "babbling",
            TargetProtocolError,
            r"the console babbles: \d+ bytes without one frame; is this image the probe\?",
        ),
        ("text", TargetProtocolError, r"no banner in 1\.5 s, only text; is this image the probe\?"),
        ("refusing", TargetLostError, r"QEMU ended with an exit code \(1\); qemu: x-rme=on: property not found"),
        ("aborting", TargetLostError, r"QEMU aborted \(SIGABRT\)"),
        ("damaged-banner", TargetProtocolError, r"the probe's banner arrived damaged \(CRC\); check the line"),
        ("old-banner", TargetProtocolError, r"record version 7, not 1; boot a probe built from the same release"),
        ("short-banner", TargetProtocolError, r"the probe's banner has no 'el'; boot a probe built from"),
    ],
)
def test_power_on_says_what_is_wrong(fake: MakeFake, behaviour: str, error: type[TargetError], message: str) -> None:
    target = fake(behaviour)
    with pytest.raises(error, match=message) as caught:
        target.power_on()
    assert type(caught.value) is error
    assert "\n" not in str(caught.value)
    assert caught.value.evidence.stage == "boot"
    assert caught.value.evidence.log == str(target.log_directory / "uart0.log")
    with pytest.raises(MisuseError, match="not powered on"):
        _ = target.pid


def test_the_console_log_has_what_was_said(fake: MakeFake) -> None:
    target = fake("text")
    with pytest.raises(TargetProtocolError) as caught:
        target.power_on()
    assert caught.value.evidence.tail == ("Some other firmware 1.0",)
    assert (target.log_directory / "uart0.log").read_bytes() == b"Some other firmware 1.0\r\n"
    assert target.console_tail() == ("Some other firmware 1.0",)


def test_frames_on_the_console_are_shown_as_text(fake: MakeFake) -> None:
    target = fake("fatal", scale=0.04, boot=250.0)
    target.power_on()
    with pytest.raises(TargetLostError) as caught:
        target.read_memory(0x8000_0000, 16)
    target.power_off()
    for tail in (caught.value.evidence.tail, target.console_tail()):
        assert tail[0].startswith("!00 BANNER protocol=1 personality=root record=1 el=3 ")
        assert tail[1] == "!00 FATAL ESR_EL3=96000021 ELR_EL3=40200000"
    assert (target.log_directory / "uart0.log").read_bytes().startswith(b"!00 BANNER 009b 70726f746f636f6c")


@pytest.mark.parametrize(
    ("behaviour", "error", "message"),
    [
        ("damaged-answers", TargetProtocolError, r"READ failed 4 times: a damaged answer \(CRC\); check the line"),
        ("deaf", TargetLostError, r"READ was not answered within 0\.3 s, asked 4 times"),
        ("fatal", TargetLostError, r"the probe stopped after a fault of its own: ESR_EL3=96000021 ELR_EL3=40200000"),
    ],
)
def test_a_request_says_what_is_wrong(fake: MakeFake, behaviour: str, error: type[TargetError], message: str) -> None:
    target = fake(behaviour, scale=0.04, boot=250.0)
    target.power_on()
    with pytest.raises(error, match=message) as caught:
        target.read_memory(0x8000_0000, 16)
    assert caught.value.evidence.stage == "probe"


def test_noise_and_a_damaged_request_are_overcome(fake: MakeFake) -> None:
    target = fake("noisy", scale=1.0)
    target.power_on()
    begin = time.monotonic()
    assert target.read_memory(0x8000_0000, 16) == bytes(16)
    assert time.monotonic() - begin < 2  # asked again at once, not after a deadline


def test_a_missing_qemu_is_named(tmp_path: Path) -> None:
    target = QemuTarget(qemu_argv=("/nonexistent/qemu",), probe_elf=tmp_path / "x", log_directory=tmp_path)
    with pytest.raises(MisuseError, match=r"cannot run /nonexistent/qemu: .*REALMCHECK_QEMU"):
        target.power_on()


def test_something_else_is_not_taken_for_qemu(tmp_path: Path) -> None:
    target = QemuTarget(qemu_argv=("/bin/echo",), probe_elf=tmp_path / "x", log_directory=tmp_path)
    with pytest.raises(MisuseError, match=r"/bin/echo is not QEMU"):
        target.power_on()


def test_power_off_leaves_no_descriptor(fake: MakeFake) -> None:
    target = fake("deaf", boot=60.0)
    target.power_on()
    target.power_off()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        target.power_on()
        target.power_off()
    target.power_off()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
