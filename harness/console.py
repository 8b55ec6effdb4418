"""A serial console over a file descriptor: every byte is logged before it is looked at.

Driven through pexpect's ``fdspawn``.  What the bytes mean (frames, boot stages) is not known here.
"""

from __future__ import annotations

import os
import re
import select
import socket
from pathlib import Path
from typing import Final

import pexpect
from pexpect.fdpexpect import fdspawn

from harness.errors import MisuseError, TargetLostError

_READ_SIZE: Final = 1 << 16
_TAIL_BYTES: Final = 1 << 16
_LINE_END = re.compile(rb"\r*\n")
_REMEDY: Final = "free space or give another directory with --results DIR"


class Console:
    """One UART: ``channel`` is the harness's end of a socket pair, ``log`` the file that gets every byte read."""

    def __init__(self, channel: socket.socket, log: Path) -> None:
        self.log_path = log
        self._channel = channel
        try:
            self._log = log.open("ab", buffering=0)
        except OSError as error:
            channel.close()
            raise MisuseError(f"{log}: the console's log cannot be opened: {error.strerror}; {_REMEDY}") from None
        self._child: fdspawn[bytes] = fdspawn(channel.fileno(), use_poll=True, timeout=None)
        self._log_start = self._log.tell()
        self._recent = b""
        self._again = b""
        self._received = 0

    def read(self, timeout: float) -> bytes:
        """What arrived, waiting at most ``timeout`` seconds for something; empty when nothing came.

        TargetLostError when the other end is gone; MisuseError when the log cannot be written.
        """
        if self._again:
            data, self._again = self._again, b""
            return data
        try:
            data = self._child.read_nonblocking(_READ_SIZE, max(timeout, 0.0))
        except pexpect.TIMEOUT:
            return b""
        except (pexpect.EOF, ConnectionError) as error:
            raise TargetLostError("the console was closed by the machine") from error
        self._keep(data)
        self._recent = (self._recent + data)[-_TAIL_BYTES:]
        self._received += len(data)
        return data

    @property
    def position(self) -> int:
        """How many bytes ``read`` has given since the console was opened."""
        return self._received - len(self._again)

    def rewind(self, position: int) -> None:
        """Let ``read`` give everything after ``position`` once more, as far back as recent bytes are kept."""
        ahead = min(self._received - position, len(self._recent))
        self._again = self._recent[len(self._recent) - ahead :]

    def skip(self) -> None:
        """Take what ``read`` would give once more as read."""
        self._again = b""

    def logged(self) -> str:
        """Everything that was read since this console was opened; what an earlier boot left in the log is not in it."""
        return self.log_path.read_bytes()[self._log_start :].decode("utf-8", errors="replace")

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._channel.fileno()

    def send(self, data: bytes, timeout: float) -> None:
        """Send all of ``data``; TargetLostError when the machine takes nothing for ``timeout`` seconds."""
        poller = select.poll()
        poller.register(self._channel, select.POLLOUT)
        rest = memoryview(data)
        while rest:
            if not poller.poll(timeout * 1000):
                raise TargetLostError(f"the machine took no input on its console for {timeout:.1f} s")
            try:
                sent = self._channel.send(rest, socket.MSG_DONTWAIT)
            except BlockingIOError:
                continue
            except ConnectionError as error:
                raise TargetLostError("the console was closed by the machine") from error
            rest = rest[sent:]

    def _keep(self, data: bytes) -> None:
        """Append to the log, to the last byte: an unbuffered file may take a part only."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._log.write(rest) :]
        except OSError as error:
            raise MisuseError(f"{self.log_path}: the console's log is cut short: {error.strerror}; {_REMEDY}") from None

    def tail(self, lines: int = 20) -> tuple[str, ...]:
        """The last lines, without line ends; any number of carriage returns and a newline end a line."""
        text = _LINE_END.sub(b"\n", self._recent).decode("ascii", "replace")
        return tuple(text.splitlines()[-lines:])

    def close(self) -> None:
        """Close channel and log; idempotent."""
        self._channel.close()
        self._log.close()


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """(harness's end, machine's end); the machine's end may be inherited by the child that is to have it."""
    mine, theirs = socket.socketpair()
    os.set_inheritable(theirs.fileno(), True)
    return mine, theirs
