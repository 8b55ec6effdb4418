"""Controls that keep a dead tool, an empty log or yesterday's log from looking like a machine that resists."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from harness.boot.machine import RAM_BASE
from harness.boot.rmm import RmmVersion
from harness.console import Console, socket_pair
from harness.errors import TargetProtocolError
from harness.host import control, version
from harness.host.granules import Granules, same_words
from harness.host.linux import Attack, HostShell
from harness.host.probe import HostProbe


def test_a_console_gives_what_it_logged_itself(tmp_path: Path) -> None:
    log = tmp_path / "uart0.log"
    log.write_text("PAS count: 9, yesterday\n")
    mine, theirs = socket_pair()
    console = Console(mine, log)
    theirs.sendall(b"PAS count: 6\n")
    console.read(1.0)
    assert console.logged() == "PAS count: 6\n"
    assert log.read_text() == "PAS count: 9, yesterday\nPAS count: 6\n"
    console.close()
    theirs.close()


@dataclass
class Ram:
    content: dict[int, bytes] = field(default_factory=dict)

    def write(self, offset: int, data: bytes) -> None:
        self.content[offset] = data


@dataclass
class Machine:
    ram: Ram = field(default_factory=Ram)

    def evidence(self, stage: str = "") -> None:
        return None


@dataclass
class Host:
    """A Linux host in this process; ``broken`` names the way to memory that does nothing."""

    broken: str = ""
    machine: Machine = field(default_factory=Machine)

    def _cell(self) -> int:
        return int.from_bytes(self.machine.ram.content[control.CONTROL - RAM_BASE], "little")

    def read(self, pa: int) -> Attack:
        return attack("done", 0 if self.broken == "load" else self._cell())

    def guest_read(self, pa: int) -> Attack:
        return attack("fault" if self.broken == "load of a guest" else "done", self._cell())

    def write(self, pa: int, value: int) -> Attack:
        if self.broken != "store":
            self.machine.ram.write(pa - RAM_BASE, value.to_bytes(8, "little"))
        return attack("done", 0)


class Seen:
    """Physical memory as the harness sees it: the RAM of ``Host``, or with ``blind`` some other memory."""

    blind = False

    def __init__(self, machine: Machine) -> None:
        self.ram = machine.ram

    def read(self, pa: int, length: int) -> bytes:
        return bytes(length) if self.blind else self.ram.content[pa - RAM_BASE][:length]


def attack(outcome: str, value: int, **words: str) -> Attack:
    return Attack(outcome=outcome, value=value, signal=0, esr=0, words={"outcome": outcome, **words})


@pytest.mark.parametrize("broken", ["", "load", "load of a guest", "store"])
def test_a_way_to_memory_that_does_nothing_is_noticed(monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    monkeypatch.setattr(control, "PhysicalMemory", Seen)
    found = control.dead_way(cast(HostShell, Host(broken)), random.Random(1))
    assert found.startswith(f"{broken}: ") if broken else found == ""


def test_a_reader_of_other_memory_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "PhysicalMemory", type("Blind", (Seen,), {"blind": True}))
    assert control.dead_way(cast(HostShell, Host()), random.Random(1)).startswith("store: ")
    granules: Any = Granules.__new__(Granules)
    granules.machine = Machine()
    granules.memory = Seen(granules.machine)
    granules.fill(0x7200_0000, b"content")
    granules.memory.blind = True
    with pytest.raises(TargetProtocolError, match="0x72000000 does not show what was just written"):
        granules.fill(0x7200_0000, b"content")


def test_a_log_without_the_attacks_is_noticed() -> None:
    seen = [attack("killed", 0, pid="0x67"), attack("done", 0, pid="0x68")]
    line = "[ 4.5] attack[103]: unhandled exception: DABT (lower EL), ESR 0x0000000092000028"
    assert control.missing_reports(seen, [line]) == []
    assert control.missing_reports(seen, []) == [0x67]


def test_a_memory_map_of_zeros_is_none() -> None:
    assert control.system_ram(["00000000-00000000 : System RAM"]) == []
    assert control.system_ram(["40000000-400fffff : System RAM", "  40000000-4000ffff : reserved"]) == [
        (0x4000_0000, 0x400F_FFFF)
    ]


def test_words_that_stayed() -> None:
    assert same_words(b"A" * 8 + b"B" * 8, b"A" * 8 + bytes(8)) == [0]


class Rmm:
    """An RMM whose only interface version is 1.0, as DEN0137 B4.3.23 has it."""

    def smc(self, function: int, requested: int) -> tuple[int, ...]:
        assert function == 0xC400_0150
        return (0 if requested == 0x1_0000 else 1, 0x1_0000, 0x1_0000)


@pytest.mark.parametrize(
    ("logged", "agrees"),
    [("1.0", lambda count: count == 3), ("1.1", lambda count: count == 0), ("2.0", lambda n: n < 3)],
)
def test_an_rmm_is_compared_with_its_log(logged: str, agrees: Callable[[int], bool]) -> None:
    named = RmmVersion(name="TF-RMM", rmi=logged)
    found = list(version.answers(cast(HostProbe, Rmm()), named))
    assert agrees(sum(answer.observed == answer.expected for answer in found))
    assert found[0].requested == int(logged[0]) << 16 | int(logged[2])
