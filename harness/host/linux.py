"""A Linux host on its console: commands, and what the attack tool and the kernel's log say.

Whatever else prints on the console meanwhile is let pass: an answer is what stands between a command's echo and a
marker that only the shell can make, because the echo shows it unevaluated.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from weakref import WeakKeyDictionary

from harness.boot.machine import StackMachine
from harness.boot.transcript import Transcript
from harness.boot.typing import type_text
from harness.errors import TargetLostError, TargetProtocolError

_TIMEOUT: Final = 20.0
_SLICE: Final = 0.2
_ANSWER: Final = re.compile(r"attack: ([a-z]+)((?: [a-z]+=\S*)*) end")
_KILLED: Final = re.compile(r"unhandled exception: .*ESR (0x[0-9a-f]+)")
_PAUSES = [2.0, 5.5]
"""Seconds before each further attempt: Linux reports ten signals in five seconds (DEFAULT_RATELIMIT_*)."""
_shells: WeakKeyDictionary[StackMachine, HostShell] = WeakKeyDictionary()


@dataclass(frozen=True, kw_only=True)
class Attack:
    """What became of an access from Linux's user space or of a guest.

    ``outcome``: ``done`` (no exception), ``fault`` (a signal that the process took, or an exception that the guest
    took), ``killed`` (a signal that it could not take), or why it was not made: ``cannot-open``, ``cannot-map``,
    ``failed``.  ``esr`` is the syndrome that the kernel or the guest gave, 0 where none was given, ``value`` what was
    read, ``words`` everything the tool said.
    """

    outcome: str
    value: int
    signal: int
    esr: int
    words: Mapping[str, str]

    @property
    def made(self) -> bool:
        """Whether the access was made at all."""
        return self.outcome in ("done", "fault", "killed")


class HostShell:
    """The root shell of a Linux host; ``shell`` makes it."""

    def __init__(self, machine: StackMachine, console: str = "uart0") -> None:
        self.machine = machine
        self._console = machine.console(console)
        self._number = 0

    def run(self, command: str, timeout: float = _TIMEOUT) -> list[str]:
        """The lines that a command prints; TargetLostError when it does not come to its end."""
        self._number += 1
        scaled = timeout * self.machine.timeout_scale
        type_text(self._console, f"{command}; echo end-$((1000+{self._number}))\n", timeout=scaled)
        marker = f"end-{1000 + self._number}"
        heard, lines = Transcript(self.machine.stack.noise), list[str]()
        deadline = time.monotonic() + scaled
        while time.monotonic() < deadline:
            self.machine.check_alive()
            for line in heard.feed(self._console.read(_SLICE)):
                if line.text.endswith(marker):
                    return [*lines, *filter(None, (line.text.removesuffix(marker),))]
                if f"echo end-$((1000+{self._number}))" in line.text:
                    lines.clear()
                else:
                    lines.append(line.text)
        raise TargetLostError(f"{command!r} did not end within {scaled:.0f} s", self.machine.evidence("shell"))

    def log(self) -> list[str]:
        """The kernel's log."""
        return self.run("dmesg")

    def read(self, pa: int) -> Attack:
        """Load 8 bytes at a physical address through /dev/mem."""
        return self._attack(f"attack read {pa:x}")

    def write(self, pa: int, value: int) -> Attack:
        """Store 8 bytes at a physical address through /dev/mem."""
        return self._attack(f"attack write {pa:x} {value:x}")

    def guest(self) -> Attack:
        """Run an ordinary KVM guest; ``words["said"]`` is what it printed."""
        return self._attack("attack guest")

    def guest_read(self, pa: int) -> Attack:
        """Run a KVM guest whose stage 2 maps a physical page, and that loads 8 bytes from it."""
        return self._attack(f"attack guest-read {pa:x}")

    def _attack(self, command: str) -> Attack:
        """Run the tool; again where the kernel, which limits its reports of signals, kept a syndrome to itself."""
        for pause in (*_PAUSES, None):
            words = self._words(command)
            number = {key: int(words.get(key, "0"), 16) for key in ("value", "signal", "esr", "pid")}
            esr: int | None = number["esr"]
            if words["outcome"] == "killed":
                esr = self._esr_of(number["pid"])
            if esr is not None:
                return Attack(
                    outcome=words["outcome"], value=number["value"], signal=number["signal"], esr=esr, words=words
                )
            if pause is not None:
                time.sleep(pause)
        raise TargetProtocolError(
            f"{command!r}: the kernel killed the process and its log gives no syndrome", self.machine.evidence("shell")
        )

    def _words(self, command: str) -> dict[str, str]:
        lines = self.run(command)
        found = _ANSWER.search("\n".join(lines))
        words = dict(word.split("=", 1) for word in found[2].split()) if found else {}
        if "outcome" not in words:
            raise TargetProtocolError(f"{command!r} was answered with {lines[-3:]}", self.machine.evidence("shell"))
        return words

    def _esr_of(self, pid: int) -> int | None:
        """The syndrome that the kernel's log gives for a process that it killed; None where it gives none."""
        found = _KILLED.search("\n".join(self.run(f"dmesg | grep 'attack.{pid}.: unhandled'")))
        return int(found[1], 16) if found else None


def shell(machine: StackMachine) -> HostShell:
    """The shell of a machine that has reached its stage ``shell``; the same one whenever it is asked for."""
    if machine not in _shells:
        _shells[machine] = HostShell(machine)
    return _shells[machine]
