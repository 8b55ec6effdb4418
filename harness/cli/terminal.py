"""A person at a console: what is typed goes there, what it says is shown, Ctrl-] ends it."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import tty
from collections.abc import Iterator

from harness.boot.machine import StackMachine
from harness.errors import TargetLostError

LEAVE = b"\x1d"
_SHOWN = 10  # lines of what came before, the unfinished last one (a prompt) included
_TICK = 200  # milliseconds


def attach(machine: StackMachine, console: str) -> None:
    """Connect standard input and output with a console until the person leaves or the machine ends."""
    channel = machine.console(console)
    with _raw(sys.stdin.fileno()):
        # Said only now: what was typed before the terminal was switched over would be lost.
        os.write(sys.stdout.fileno(), f"console {console}; Ctrl-] ends the machine\r\n".encode())
        os.write(sys.stdout.fileno(), "\r\n".join(channel.tail(_SHOWN)).encode())
        channel.skip()
        while True:
            ready, _, _ = select.select([sys.stdin.fileno()], [], [], 0)
            if ready:
                typed = os.read(sys.stdin.fileno(), 64)
                if not typed or LEAVE in typed:
                    return
                channel.send(typed, 5.0)
            try:
                said = channel.read(_TICK / 1000)
            except TargetLostError:
                return
            os.write(sys.stdout.fileno(), said)


@contextlib.contextmanager
def _raw(fd: int) -> Iterator[None]:
    """The terminal passes on every key, Ctrl-C included, and does not echo; it is put back whatever happens."""
    before = termios.tcgetattr(fd)
    try:
        tty.setraw(fd)
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
