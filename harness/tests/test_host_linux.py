"""A Linux host's shell over a console that does to text what consoles do."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.boot import Prepared, StackMachine
from harness.errors import TargetLostError, TargetProtocolError
from harness.host import linux
from harness.host.linux import HostShell, shell
from harness.tests.boot_samples import sample

FAKE = Path(__file__).with_name("fake_linux.py")
MANIFEST = r"""
summary = "a Linux host for tests"

[machine]
machine = "virt"
cpu = "max"
memory_mib = 64

[consoles]
uart0 = "Linux"

[[stage]]
name = "shell"
prompt = "^realmcheck-host# $"
deadline = 5.0
"""
MakeShell = Callable[[str], HostShell]


@pytest.fixture
def make_shell(tmp_path: Path) -> Iterator[MakeShell]:
    made: list[StackMachine] = []

    def make(behaviour: str) -> HostShell:
        stack = sample(tmp_path, MANIFEST)
        qemu = (sys.executable, str(FAKE), behaviour)
        prepared = Prepared(stack=stack, qemu=qemu, flash=None, files={}, rmm=None, provenance=())
        machine = StackMachine(prepared, logs=tmp_path / behaviour)
        made.append(machine)
        machine.boot()
        return shell(machine)

    yield make
    for machine in made:
        machine.power_off()


def test_answers_stand_between_echo_and_marker(make_shell: MakeShell) -> None:
    host = make_shell("good")
    assert host.run("uname -a") == ["ran uname -a"]
    assert host.run("a rather long command of more than sixty-four characters, typed in pieces of eight") == [
        "ran a rather long command of more than sixty-four characters, typed in pieces of eight"
    ]
    assert shell(host.machine) is host


@pytest.mark.parametrize("behaviour", ["good", "interleaved"])
def test_syndrome_of_a_killed_process_comes_from_the_kernels_log(make_shell: MakeShell, behaviour: str) -> None:
    seen = make_shell(behaviour).read(0x4010_0000)
    assert (seen.outcome, seen.signal, seen.esr, seen.value) == ("killed", 9, 0x9200_0028, 0)
    assert seen.made


def test_access_is_made_again_where_the_kernel_kept_the_syndrome_to_itself(
    make_shell: MakeShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linux, "_PAUSES", [0.0, 0.0])
    assert make_shell("limited").read(0x4010_0000).esr == 0x9200_0028
    with pytest.raises(TargetProtocolError, match="killed the process and its log gives no syndrome"):
        make_shell("silent-log").read(0x4010_0000)


def test_tool_that_answers_something_else_is_an_error(make_shell: MakeShell) -> None:
    with pytest.raises(TargetProtocolError, match="'attack read 40100000' was answered with"):
        make_shell("confused").read(0x4010_0000)


def test_command_that_does_not_end_is_a_lost_target(make_shell: MakeShell) -> None:
    with pytest.raises(TargetLostError, match="'sleep' did not end within 1 s"):
        make_shell("hanging").run("sleep", timeout=1.0)
