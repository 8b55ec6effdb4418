"""Talking to a probe over its console: requests, answers, retries.  Frames are ``wire.py``'s subject."""

from __future__ import annotations

import itertools
import struct
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from harness.console import Console
from harness.errors import MisuseError, TargetLostError, TargetProtocolError
from harness.probe.banner import Banner, parse_banner
from harness.probe.batch import EncodedBatch
from harness.probe.records import RESULT_SIZE, BatchStatus
from harness.probe.wire import CHUNK, DAMAGED, BadFrame, Frame, FrameReader, encode

ATTEMPTS: Final = 4
ANSWER_TIMEOUT: Final = 8.0
DAMAGED_TIMEOUT: Final = 0.2
BABBLE_LIMIT: Final = 1 << 20
_SLICE: Final = 0.05
_DRAIN_FRAMES: Final = 64
_FILL_MIN: Final = 64
_RUN_ANSWER: Final = struct.Struct("<III")

BAD_REASONS: Final = (
    "",
    "its address",
    "its magic or version",
    "its layout",
    "its checksum",
    "a context register",
    "a lost PE",
)
"""What was wrong with a batch that the probe refused, by the probe's reason code."""


class WireClient:
    """A client of one probe.

    ``watch`` is called while waiting and raises when the machine is gone.  ``scale`` multiplies every deadline.
    """

    def __init__(self, console: Console, *, watch: Callable[[], None], scale: float = 1.0) -> None:
        self._console = console
        self._watch = watch
        self._scale = scale
        self._reader = FrameReader()
        self._frames: deque[Frame | BadFrame] = deque()
        self._sequences = itertools.cycle(range(1, 256))
        self._waste = 0

    def await_banner(self, timeout: float) -> Banner:
        """The banner that the probe sends unasked when it starts."""
        last_bad, deadline = "", time.monotonic() + timeout * self._scale
        while (frame := self._next(deadline)) is not None:
            _check_fatal(frame)
            if isinstance(frame, BadFrame):
                last_bad = frame.reason
            elif frame.command == "BANNER":
                return parse_banner(frame.text)
        if last_bad:
            raise TargetProtocolError(f"the probe's banner arrived damaged ({last_bad}); check the line or the probe")
        if self._waste:
            raise TargetProtocolError(
                f"no banner in {timeout * self._scale:.1f} s, only text; is this image the probe?"
            )
        raise TargetLostError(f"the console stayed silent for {timeout * self._scale:.1f} s; no probe runs there")

    def hello(self) -> Banner:
        """Ask for the banner: the beginning of a session with a probe that already runs."""
        return parse_banner(self._ask("HELLO").text)

    def read(self, pa: int, length: int) -> bytes:
        """Read Root memory below 512 GB."""
        pieces = []
        for at in range(0, length, CHUNK):
            size = min(CHUNK, length - at)
            answer = self._ask("READ", struct.pack("<QQ", pa + at, size)).payload
            if len(answer) != size:
                raise TargetProtocolError(f"READ of {size} bytes was answered with {len(answer)}")
            pieces.append(answer)
        return b"".join(pieces)

    def write(self, pa: int, data: bytes) -> None:
        """Write Root memory below 512 GB; long runs of one 64-bit pattern travel as FILL."""
        for at, length, pattern in runs(data):
            if pattern is not None:
                self._ask("FILL", struct.pack("<QQQ", pa + at, length, pattern))
                continue
            for part in range(at, at + length, CHUNK):
                piece = data[part : min(part + CHUNK, at + length)]
                self._ask("WRITE", struct.pack("<Q", pa + part) + piece)

    def run(self, pa: int, encoded: EncodedBatch, timeout: float) -> bytes:
        """Send a batch to ``pa``, run it there, fetch the result bytes."""
        self.write(pa, encoded.image)
        answer = self._ask("RUN", struct.pack("<Q", pa), timeout)
        if len(answer.payload) != _RUN_ANSWER.size:
            raise TargetProtocolError(f"RUN was answered with {len(answer.payload)} bytes, not {_RUN_ANSWER.size}")
        status, completed, reason = _RUN_ANSWER.unpack(answer.payload)
        check_run(status, completed, reason, encoded.count)
        return self.read(pa + encoded.results_offset, encoded.count * RESULT_SIZE)

    def drain(self) -> None:
        """Take what the console has without waiting; raises when it is a FATAL frame, the end, a reset, or babble.

        A bounded number of frames at a time: the caller has a deadline, and a flood must not keep it from looking.
        """
        for _ in range(_DRAIN_FRAMES):
            frame = self._next(0.0)
            if frame is None:
                return
            _check_unasked(frame)

    def _ask(self, command: str, payload: bytes = b"", timeout: float = ANSWER_TIMEOUT) -> Frame:
        """Send a request until it is answered, ``timeout`` being for all attempts together.

        Asking again costs nothing: the probe carries a sequence number out only once.
        """
        request = Frame(next(self._sequences), command, payload)
        line = encode(request)
        trouble = ""
        for _ in range(ATTEMPTS):
            self._console.send(line, ANSWER_TIMEOUT * self._scale)
            answer, trouble = self._answer(request, timeout * self._scale / ATTEMPTS)
            if answer is None:
                continue
            if answer.command == "OK":
                return answer
            raise _refusal(request, answer)
        waited = timeout * self._scale
        if trouble:
            raise TargetProtocolError(
                f"{command} failed {ATTEMPTS} times: {trouble}; check the line for noise and the probe's version"
            )
        raise TargetLostError(f"{command} was not answered within {waited:.1f} s, asked {ATTEMPTS} times")

    def _answer(self, request: Frame, timeout: float) -> tuple[Frame | None, str]:
        """The answer, or None and why it is worth asking again (empty: silence).

        After something damaged the answer may still be on its way, but is not waited for as long.
        """
        trouble, deadline = "", time.monotonic() + timeout
        while (frame := self._next(deadline)) is not None:
            _check_unasked(frame)
            if isinstance(frame, BadFrame):
                trouble = f"a damaged answer ({frame.reason})"
            elif frame.command == "NAK" and frame.text in DAMAGED:
                trouble = f"the request arrived damaged ({frame.text})"
            elif frame.sequence == request.sequence:
                return frame, ""
            if time.monotonic() > deadline:
                break  # a flood of frames never leaves _next without one
            if trouble:
                deadline = min(deadline, time.monotonic() + DAMAGED_TIMEOUT * self._scale)
        return None, trouble

    def _next(self, deadline: float) -> Frame | BadFrame | None:
        """The next frame, or None at the deadline; at least one look is taken."""
        while not self._frames:
            remaining = deadline - time.monotonic()
            data = self._console.read(min(remaining, _SLICE))
            self._waste += len(data)
            self._frames.extend(self._reader.feed(data))
            if any(isinstance(frame, Frame) for frame in self._frames):
                self._waste = 0
            if self._waste > BABBLE_LIMIT:
                raise TargetProtocolError(
                    f"the console babbles: {self._waste} bytes without one frame; is this image the probe?"
                )
            if not data:
                self._watch()
            if remaining <= 0 and not self._frames:
                return None
        return self._frames.popleft()


def runs(data: bytes) -> Iterator[tuple[int, int, int | None]]:
    """Split into (offset, length, pattern): pattern is the 64-bit word that repeats, None where nothing does."""
    plain = at = 0
    words = len(data) // 8
    while at < words * 8:
        word = data[at : at + 8]
        end = at + 8
        while data[end : end + 8] == word:
            end += 8
        if end - at >= _FILL_MIN:
            if plain < at:
                yield plain, at - plain, None
            yield at, end - at, int.from_bytes(word, "little")
            plain = end
        at = end
    if plain < len(data):
        yield plain, len(data) - plain, None


def check_run(status: int, completed: int, reason: int, count: int) -> None:
    """TargetProtocolError unless the probe ran all of a batch.

    MisuseError for a context it cannot set, TargetLostError when one of its PEs is lost.
    """
    code, index = reason & 0xFFFF, reason >> 16
    if status == BatchStatus.BAD and code == BAD_REASONS.index("a context register"):
        raise MisuseError(f"register {index} of the batch's context cannot be set on this machine")
    if status == BatchStatus.BAD and code == BAD_REASONS.index("a lost PE"):
        raise TargetLostError("a PE of the probe came to no barrier any more; only a reset brings it back")
    if status == BatchStatus.BAD:
        what = BAD_REASONS[code] if code < len(BAD_REASONS) else f"reason {code}"
        raise TargetProtocolError(f"the probe refused the batch because of {what}; was it changed on its way?")
    if status != BatchStatus.DONE or completed != count:
        raise TargetProtocolError(f"the probe ran {completed} of {count} records, status {status}")


def _check_fatal(frame: Frame | BadFrame) -> None:
    if isinstance(frame, Frame) and frame.command == "FATAL":
        raise TargetLostError(f"the probe stopped after a fault of its own: {frame.text}")


def _check_unasked(frame: Frame | BadFrame) -> None:
    """TargetLostError for what only a probe that died, or began anew, says without being asked."""
    _check_fatal(frame)
    if isinstance(frame, Frame) and frame.command == "BANNER":
        raise TargetLostError("the probe started anew by itself: the machine was reset")


def _refusal(request: Frame, answer: Frame) -> TargetProtocolError:
    if answer.command == "NAK":
        return TargetProtocolError(f"the probe refused {request.command}: {answer.text}")
    return TargetProtocolError(f"{request.command} was answered with the unknown command {answer.command!r}")
