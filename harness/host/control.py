"""Controls of the attacks from Linux: that the way to memory works, and that the kernel's answers are answers.

An attack that was never made, and a log or a memory map that shows nothing, look like an attack that was refused.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from typing import Final

from harness.boot.machine import RAM_BASE
from harness.boot.physical import PhysicalMemory
from harness.host.linux import Attack, HostShell

CONTROL: Final = 0xBF00_2000
"""RAM that Linux was told nothing of (``mem=`` in the manifest) and that is Non-secure: the tool has to reach it."""

GUEST_SAYS: Final = "guest-of-an-rme-host"
"""What an ordinary guest prints through its VMM."""


def dead_way(host: HostShell, rng: random.Random) -> str:
    """Load, store and a guest's load at ``CONTROL``: what does not work, in words; empty when all do.

    What a store leaves is read by the way that the tests take to look at memory.
    """
    first, second = (rng.getrandbits(64) | 1 for _ in range(2))
    host.machine.ram.write(CONTROL - RAM_BASE, first.to_bytes(8, "little"))
    for what, seen in (("load", host.read(CONTROL)), ("load of a guest", host.guest_read(CONTROL))):
        if seen.outcome != "done" or seen.value != first:
            return f"{what}: {dict(seen.words)}, wanted {first:#x}"
    seen = host.write(CONTROL, second)
    left = int.from_bytes(PhysicalMemory(host.machine).read(CONTROL, 8), "little")
    if seen.outcome != "done" or left != second:
        return f"store: {dict(seen.words)}, left {left:#x}, wanted {second:#x}"
    return ""


def missing_reports(attacks: Iterable[Attack], log: Sequence[str]) -> list[int]:
    """Processes that the kernel killed for an attack and that its log does not name."""
    pids = [int(seen.words.get("pid", "0"), 16) for seen in attacks if seen.outcome == "killed"]
    text = "\n".join(log)
    return [pid for pid in pids if f"attack[{pid}]: unhandled exception" not in text]


def system_ram(iomem: Iterable[str]) -> list[tuple[int, int]]:
    """First and last address of each range of Linux's own RAM; without ranges of zeros, all that some readers see."""
    found = re.findall(r"([0-9a-f]+)-([0-9a-f]+) : System RAM", "\n".join(iomem))
    return [(int(first, 16), int(last, 16)) for first, last in found if int(last, 16)]
