"""QEMU's machine protocol (QMP) on one socket: commands in, answers out; events are let pass."""

from __future__ import annotations

import json
import select
import socket
import time
from typing import Any, Final

from harness.errors import TargetLostError, TargetProtocolError

_TIMEOUT: Final = 10.0


class Monitor:
    """The monitor at the other end of ``channel``; it is spoken to only when something is asked."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._pending = b""
        self._greeted = False

    def command(self, name: str, *, timeout: float = _TIMEOUT, **arguments: Any) -> Any:  # noqa: ANN401  # as QMP has it
        """Run a QMP command and return its ``return`` value; TargetProtocolError when QEMU refuses it."""
        deadline = time.monotonic() + timeout
        if not self._greeted:
            self._until("QMP", deadline)
            self._exchange({"execute": "qmp_capabilities"}, deadline)
            self._greeted = True
        return self._exchange({"execute": name, "arguments": arguments}, deadline)

    def human(self, line: str, *, timeout: float = _TIMEOUT) -> str:
        """What the human monitor answers to a line such as ``info ramblock``."""
        return str(self.command("human-monitor-command", timeout=timeout, **{"command-line": line}))

    def close(self) -> None:
        """Close the socket; idempotent."""
        self._channel.close()

    def _exchange(self, message: dict[str, Any], deadline: float) -> Any:  # noqa: ANN401
        try:
            self._channel.sendall(json.dumps(message).encode() + b"\n")
        except OSError as error:
            raise TargetLostError("QEMU's monitor was closed") from error
        answer = self._until("return", deadline, "error")
        if "error" in answer:
            raise TargetProtocolError(f"QEMU refuses {message['execute']}: {answer['error'].get('desc')}")
        return answer["return"]

    def _until(self, key: str, deadline: float, other: str = "") -> dict[str, Any]:
        while True:
            answer = self._message(deadline)
            if key in answer or (other and other in answer):
                return answer

    def _message(self, deadline: float) -> dict[str, Any]:
        poller = select.poll()
        poller.register(self._channel, select.POLLIN)
        while b"\n" not in self._pending:
            left = deadline - time.monotonic()
            if left <= 0 or not poller.poll(left * 1000):
                raise TargetLostError("QEMU's monitor does not answer")
            data = self._channel.recv(1 << 16)
            if not data:
                raise TargetLostError("QEMU's monitor was closed")
            self._pending += data
        line, _, self._pending = self._pending.partition(b"\n")
        try:
            answer = json.loads(line)
        except ValueError as error:
            raise TargetProtocolError(f"QEMU's monitor says {line[:80]!r}") from error
        if not isinstance(answer, dict):
            raise TargetProtocolError(f"QEMU's monitor says {line[:80]!r}")
        return answer
