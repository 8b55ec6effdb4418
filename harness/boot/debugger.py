"""System registers of a stopped machine, read through QEMU's gdb stub.

GPCCR_EL3 and GPTBR_EL3 are invisible to everything below EL3, and the probe is below EL3 on a whole stack.  The stub
lists every system register with its name, and reading one changes nothing.
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import time
from collections.abc import Iterator, Sequence
from typing import Final

from harness.errors import TargetLostError, TargetProtocolError

_TIMEOUT: Final = 10.0
_CHUNK: Final = 0x7FF


class Debugger:
    """The stub at the other end of ``channel``, once the monitor's ``gdbserver`` has put it there.

    A stub that has just been put there has stopped the machine.
    """

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._pending = b""
        self._numbers: dict[str, int] = {}

    def stop(self) -> None:
        """Stop the machine; at the first time, learn the registers' numbers."""
        if self._numbers:
            self._send(b"\x03")
            self._answer()
            return
        self._ask(b"qSupported:xmlRegisters=aarch64")
        number = 0
        for file in re.findall(r'href="([^"]+)"', self._document("target.xml")):
            for words in re.findall(r"<reg\s([^>]*)>", self._document(file)):
                attributes = dict(re.findall(r'(\w+)="([^"]*)"', words))
                number = int(attributes.get("regnum", number))
                self._numbers[attributes["name"]] = number
                number += 1

    def go_on(self) -> None:
        """Let the machine run on."""
        self._send(_framed(b"c"))

    def read(self, name: str) -> int:
        """The value of a register such as ``GPCCR_EL3``; TargetProtocolError when the machine has none of that name."""
        if name not in self._numbers:
            raise TargetProtocolError(f"QEMU's debugger knows no register {name}")
        answer = self._ask(b"p%x" % self._numbers[name])
        try:
            return int.from_bytes(bytes.fromhex(answer.decode()), "little")
        except ValueError as error:
            raise TargetProtocolError(f"QEMU's debugger answers {answer[:40]!r} for {name}") from error

    def close(self) -> None:
        """Close the socket; idempotent."""
        self._channel.close()

    def _document(self, name: str) -> str:
        text = b""
        while True:
            part = self._ask(b"qXfer:features:read:%s:%x,%x" % (name.encode(), len(text), _CHUNK))
            if part[:1] not in (b"m", b"l"):
                raise TargetProtocolError(f"QEMU's debugger does not describe its registers: {part[:40]!r}")
            text += part[1:]
            if part[:1] == b"l":
                return text.decode("utf-8", "replace")

    def _ask(self, packet: bytes) -> bytes:
        self._send(_framed(packet))
        return self._answer()

    def _send(self, data: bytes) -> None:
        try:
            self._channel.sendall(data)
        except OSError as error:
            raise TargetLostError("QEMU's debugger was closed") from error

    def _answer(self) -> bytes:
        deadline = time.monotonic() + _TIMEOUT
        while True:
            found = re.search(rb"\$([^#]*)#[0-9a-f]{2}", self._pending)
            if found:
                self._pending = self._pending[found.end() :]
                self._send(b"+")
                return found[1]
            self._pending += self._more(deadline)

    def _more(self, deadline: float) -> bytes:
        poller = select.poll()
        poller.register(self._channel, select.POLLIN)
        left = deadline - time.monotonic()
        if left <= 0 or not poller.poll(left * 1000):
            raise TargetLostError("QEMU's debugger does not answer")
        data = self._channel.recv(1 << 16)
        if not data:
            raise TargetLostError("QEMU's debugger was closed")
        return data


def _framed(packet: bytes) -> bytes:
    return b"$%s#%02x" % (packet, sum(packet) & 0xFF)


@contextlib.contextmanager
def stopped(debugger: Debugger) -> Iterator[Debugger]:
    """The machine stands still inside; it goes on afterwards, unless it is gone."""
    debugger.stop()
    try:
        yield debugger
    finally:
        with contextlib.suppress(TargetLostError):
            debugger.go_on()


def read_all(debugger: Debugger, names: Sequence[str]) -> dict[str, int]:
    """Several registers by name."""
    return {name: debugger.read(name) for name in names}
