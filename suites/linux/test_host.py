"""Linux on an RME machine: what its kernel says of it, and that an ordinary guest starts."""

from __future__ import annotations

import re
from typing import Final

import pytest

from harness.boot.check import StackCheck
from harness.host.control import GUEST_SAYS, system_ram
from harness.host.linux import HostShell, shell
from images.stack import Owner

STACKS: Final = ("tfa-linux", "tfa-rmm-linux")


def _shell(stack: StackCheck, name: str) -> HostShell | None:
    """The shell of a stack; None where that needs an RMM and none was given."""
    if "rmm" in name and not stack.has_rmm():
        return None
    return shell(stack.boot(name, "shell"))


@pytest.mark.rule("LNX-001")
@pytest.mark.parametrize("name", STACKS)
def test_kernel_messages(stack: StackCheck, name: str) -> None:
    """Every PE came up at EL2, the kernel runs there, and KVM is ready."""
    if (host := _shell(stack, name)) is None:
        return
    pes = host.machine.stack.machine.pes
    log = "\n".join(host.log())
    for what, pattern in {
        "every PE starts at EL2": r"CPU: All CPU\(s\) started at EL2",
        "the kernel runs at EL2": r"CPU features: detected: Virtualization Host Extensions|VHE mode initialized",
        "KVM is ready": r"kvm \[1\]: VHE mode initialized successfully",
        "as many PEs as the machine has": rf"Brought up 1 node, {pes} CPUs?\b",
    }.items():
        found = re.search(pattern, log)
        stack.judge(
            "LNX-001",
            found is not None,
            case=what,
            stimulus={"stack": name, "log": "dmesg"},
            expected={"message": pattern},
            observed={"message": found[0] if found else "none like it"},
            signature=f"{what}: no message",
        )


@pytest.mark.rule("LNX-002")
@pytest.mark.parametrize("name", STACKS)
def test_rmm_memory_is_reserved(stack: StackCheck, name: str) -> None:
    """The memory that the firmware gave to the RMM is no memory of Linux."""
    if (host := _shell(stack, name)) is None:
        return
    ram = system_ram(host.run("cat /proc/iomem"))
    (region,) = (item for item in host.machine.stack.regions if item.owner is Owner.REALM)
    low, high = region.base, region.base + region.size - 1
    inside = [f"{first:#x}..{last:#x}" for first, last in ram if first <= high and low <= last]
    stack.judge(
        "LNX-002",
        bool(ram) and not inside,
        case="System RAM of Linux and the RMM's memory",
        stimulus={"stack": name, "the RMM's memory": f"{low:#x}..{high:#x}"},
        expected={"System RAM that overlaps": "none"},
        observed={"System RAM that overlaps": ", ".join(inside) or ("none" if ram else "no System RAM is listed")},
        signature="Linux takes the RMM's memory for its own",
    )


@pytest.mark.rule("LNX-003")
@pytest.mark.parametrize("name", STACKS)
def test_ordinary_guest(stack: StackCheck, name: str) -> None:
    """A guest that is no realm starts, prints through its VMM and ends."""
    if (host := _shell(stack, name)) is None:
        return
    seen = host.guest()
    stack.judge(
        "LNX-003",
        seen.outcome == "done" and seen.words.get("said") == GUEST_SAYS,
        case="an ordinary KVM guest",
        stimulus={"stack": name},
        expected={"outcome": "done", "said": GUEST_SAYS},
        observed={"outcome": seen.outcome, "said": seen.words.get("said", ""), "at": seen.words.get("at", "")},
        signature=f"an ordinary guest: {seen.outcome} {seen.words.get('at', '')}".rstrip(),
    )
