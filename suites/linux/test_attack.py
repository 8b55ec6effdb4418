"""The hypervisor as attacker: Linux and its guests at memory of the Root, Secure and Realm worlds.

Every address has its permitted outcomes from the machine's own tables, by the model.  A control in Linux's own reach
shows that the way to memory works, so that "no data" means something.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pytest

from harness.boot.check import StackCheck
from harness.boot.machine import RAM_BASE, StackMachine
from harness.boot.physical import NotReadableError, PhysicalMemory
from harness.host.control import GUEST_SAYS, dead_way, missing_reports
from harness.host.linux import Attack, HostShell, shell
from harness.host.outside import Outside, outside
from images.stack import Owner

STACKS: Final = ("tfa-linux", "tfa-rmm-linux")
DELEGATED: Final = (0xBF00_0000, 0xBF00_1000)
"""Granules that the shim gave to the Realm world before it entered Linux."""

KERNEL_ERRORS: Final = ("Internal error", "BUG:", "Kernel panic", "Unable to handle kernel", "Call trace:", "WARNING:")
"""What the kernel's log says when the kernel itself has met an error."""

GRANULE: Final = 4096
UART: Final = 0x0904_0000
"""The Secure UART of the machine."""


def forbidden(machine: StackMachine) -> dict[str, tuple[int, int]]:
    """What a hypervisor must not reach, first and last address of an access: the manifest's regions, and more."""
    found = {
        f"{region.owner.value}: {region.name}": (region.base, region.base + region.size - 8)
        for region in machine.stack.regions
        if region.owner is not Owner.NON_SECURE
    }
    found["realm: delegated granules"] = (DELEGATED[0], DELEGATED[1] + 0xFF8)
    found["secure: UART"] = (UART, UART)
    return found


@dataclass(frozen=True, kw_only=True)
class _Scene:
    host: HostShell
    outside: Outside


def _scene(stack: StackCheck, name: str) -> _Scene | None:
    """The host, and what its accesses may meet; None where an RMM is needed or this host hides the tables."""
    if "rmm" in name and not stack.has_rmm():
        return None
    machine = stack.boot(name, "shell")
    host = shell(machine)
    try:
        seen = outside(machine)
    except NotReadableError as error:
        for rule in stack.cited:
            stack.not_observable(rule, str(error))
        return None
    if dead := dead_way(host, stack.rng):
        pytest.fail(f"the attack tool does not reach Non-secure memory outside Linux's RAM: {dead}")
    return _Scene(host=host, outside=seen)


def _addresses(stack: StackCheck, machine: StackMachine) -> Iterator[tuple[str, int]]:
    """First, last and random addresses of what is forbidden."""
    for what, (first, last) in forbidden(machine).items():
        count = max(1, round(2 * stack.scale)) if last > first else 0
        chosen = [first, last, *(stack.rng.randrange(first, last + 1, 8) for _ in range(count))]
        yield from ((what, pa) for pa in dict.fromkeys(chosen))


def _judge(
    stack: StackCheck, rule: str, what: str, seen: Attack, wrong: str, stimulus: dict[str, str], expected: str
) -> None:
    if not seen.made:
        pytest.fail(f"{what}: the access was not made: {seen.words}")
    stack.judge(
        rule,
        not wrong,
        case=what,
        stimulus=stimulus,
        expected={"exception": expected, "data": "none"},
        observed={"outcome": seen.outcome, "ESR": f"{seen.esr:#x}", "data": f"{seen.value:#x}"},
        signature=f"{what}: {wrong}",
    )


@pytest.mark.rule("LNX-010")
@pytest.mark.parametrize("name", STACKS)
def test_reads(stack: StackCheck, name: str) -> None:
    """Loads from user space fault as the tables say and bring nothing."""
    if (scene := _scene(stack, name)) is None:
        return
    for pa in DELEGATED:  # zeros that came back would look like none
        scene.host.machine.ram.write(pa - RAM_BASE, stack.rng.randbytes(GRANULE))
    for what, pa in _addresses(stack, scene.host.machine):
        seen = scene.host.read(pa)
        expected = scene.outside.permitted("load", pa)
        wrong = expected.differs(seen.outcome, seen.esr) or ("data came back" if seen.value else "")
        _judge(stack, "LNX-010", f"read {what}", seen, wrong, {"load": f"{pa:#x}"}, str(expected))


@pytest.mark.rule("LNX-011")
@pytest.mark.parametrize("name", STACKS)
def test_writes(stack: StackCheck, name: str) -> None:
    """Stores from user space fault as the tables say and change nothing."""
    if (scene := _scene(stack, name)) is None:
        return
    memory = PhysicalMemory(scene.host.machine)
    for what, pa in _addresses(stack, scene.host.machine):
        value = stack.rng.getrandbits(64).to_bytes(8, "little")
        seen = scene.host.write(pa, int.from_bytes(value, "little"))
        expected = scene.outside.permitted("store", pa)
        arrived = any(block.holds(pa, 8) for block in memory.blocks) and memory.read(pa, 8) == value
        wrong = expected.differs(seen.outcome, seen.esr) or ("it arrived" if arrived else "")
        _judge(stack, "LNX-011", f"write {what}", seen, wrong, {"store": f"{pa:#x}"}, str(expected))


@pytest.mark.rule("LNX-012")
@pytest.mark.parametrize("name", STACKS)
def test_guest_with_foreign_memory(stack: StackCheck, name: str) -> None:
    """A guest whose stage 2 maps another world's memory meets the same fault, and its load brings nothing."""
    if (scene := _scene(stack, name)) is None:
        return
    for what, (first, _) in forbidden(scene.host.machine).items():
        seen = scene.host.guest_read(first)
        expected = scene.outside.permitted_to_guest(first)
        wrong = expected.differs(seen.outcome, seen.esr) or ("data came back" if seen.value else "")
        _judge(stack, "LNX-012", f"guest reads {what}", seen, wrong, {"load of a guest": f"{first:#x}"}, str(expected))


@pytest.mark.rule("LNX-013")
@pytest.mark.parametrize("name", STACKS)
def test_machine_survives(stack: StackCheck, name: str) -> None:
    """After all that the kernel has reported no error of its own, and a guest still starts."""
    if (scene := _scene(stack, name)) is None:
        return
    places = forbidden(scene.host.machine).values()
    attacks = [seen for first, _ in places for seen in (scene.host.read(first), scene.host.write(first, 0))]
    if idle := [seen.words for seen in attacks if not seen.made]:
        pytest.fail(f"an access was not made: {idle[0]}")
    log = scene.host.log()
    if missing := missing_reports(attacks, log):
        pytest.fail(f"the kernel's log says nothing of attacks that it ended (process {missing[0]}): is it its log?")
    bad = [line for line in log if any(word in line for word in KERNEL_ERRORS)]
    guest = scene.host.guest()
    stack.judge(
        "LNX-013",
        not bad and guest.outcome == "done" and guest.words.get("said") == GUEST_SAYS,
        case="the machine after attacks",
        stimulus={"attacks": str(2 * len(places))},
        expected={"kernel's errors": "none", "guest": "done"},
        observed={
            "kernel's errors": "; ".join(bad[:3]) or "none",
            "guest": f"{guest.outcome}, said {guest.words.get('said', 'nothing')}",
        },
        signature=f"after attacks: {bad[0] if bad else 'a guest ' + guest.outcome}",
    )
