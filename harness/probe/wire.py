"""Frames of the probe's wire protocol: encoding and a reader that survives noise.  Nothing is sent or received here.

``docs/reference/probe-protocol.md`` is the definition.  A frame is one line,
``@SS COMMAND LLLL HEX CCCCCCCC`` (a request) or ``!SS COMMAND LLLL HEX CCCCCCCC`` (an answer).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

VERSION: Final = 1
CHUNK: Final = 1024
LINE_LIMIT: Final = 2 * (CHUNK + 16) + 48
REQUEST_MARK: Final = b"@"
ANSWER_MARK: Final = b"!"
DAMAGED: Final = frozenset({"SEQUENCE", "TRUNCATED", "CRC", "LENGTH", "PAYLOAD", "TOO_LONG"})
"""Reasons of a NAK that mean "the request did not arrive whole": it was not carried out and may be sent again."""

TEXTUAL: Final = frozenset({"BANNER", "FATAL", "NAK"})
"""Commands whose payload is text."""

_SHOWN: Final = 120
"""Characters of a payload, or of a line that is no frame, that a person is shown."""

_FRAME = re.compile(rb"([0-9a-f]{2}) ([A-Z]{1,8}) ([0-9a-f]{4}) ((?:[0-9a-f]{2})*) ([0-9a-f]{8})")
_CRC_CHARACTERS: Final = 8


@dataclass(frozen=True)
class Frame:
    """A frame: sequence number 0..255 (0: unsolicited), command of 1..8 capital letters, payload."""

    sequence: int
    command: str
    payload: bytes = b""

    @property
    def text(self) -> str:
        """The payload of frames that carry text (``TEXTUAL``)."""
        return self.payload.decode("ascii", "replace")


@dataclass(frozen=True)
class BadFrame:
    """Something that began like a frame and is none; ``reason`` is TRUNCATED, FORM, LENGTH, CRC or TOO_LONG."""

    reason: str


def encode(frame: Frame, mark: bytes = REQUEST_MARK) -> bytes:
    """The frame as a line, newline included."""
    payload = frame.payload.hex()
    body = f"{frame.sequence:02x} {frame.command} {len(frame.payload):04x} {payload} ".encode("ascii")
    return mark + body + b"%08x\n" % zlib.crc32(body)


def decode(body: bytes) -> Frame | BadFrame:
    """A frame from the characters between marker and line end."""
    match = _FRAME.fullmatch(body)
    if match is None:
        return BadFrame("FORM")
    if zlib.crc32(body[:-_CRC_CHARACTERS]) != int(match[5], 16):
        return BadFrame("CRC")
    payload = bytes.fromhex(match[4].decode("ascii"))
    if len(payload) != int(match[3], 16):
        return BadFrame("LENGTH")
    return Frame(int(match[1], 16), match[2].decode("ascii"), payload)


def readable(line: str) -> str:
    """A console line for a person: a frame with its payload as text or shortened, any other line shortened.

    The line itself stays whole in the console's log.
    """
    mark, body = line[:1], line[1:].encode("ascii", "replace")
    frame = decode(body) if mark in ("!", "@") else None
    if not isinstance(frame, Frame):
        return _shortened(line, f"{len(line)} characters")
    text = frame.text if frame.command in TEXTUAL else frame.payload.hex()
    shown = _shortened("".join(c if c.isprintable() else "?" for c in text), f"{len(frame.payload)} bytes")
    return f"{mark}{frame.sequence:02x} {frame.command} {shown}".rstrip()


def _shortened(text: str, whole: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({whole})"


class FrameReader:
    """Finds frames in a stream of bytes.

    Text between frames is skipped; a marker begins anew at any time, so that a damaged frame costs only itself.
    """

    def __init__(self, mark: bytes = ANSWER_MARK) -> None:
        self._mark = mark
        self._body: bytes | None = None

    def feed(self, data: bytes) -> Iterator[Frame | BadFrame]:
        """The frames that ``data`` completes, bad ones included."""
        for index, piece in enumerate(data.split(self._mark)):
            if index:
                if self._body is not None:
                    yield BadFrame("TRUNCATED")
                self._body = b""
            if self._body is None:
                continue
            body, newline, _ = piece.partition(b"\n")
            self._body += body.replace(b"\r", b"")
            if newline:
                found, self._body = decode(self._body), None
                yield found
            elif len(self._body) > LINE_LIMIT:
                self._body = None
                yield BadFrame("TOO_LONG")
