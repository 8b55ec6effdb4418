"""Typing on a console as slowly as the other side can take it.

A burst of more than 64 bytes stalls a realm's console, and blind pauses lose characters.  So eight characters go out,
and the next eight only when the echo of these has come; what the echo shows is compared with what was typed.
"""

from __future__ import annotations

import time
from typing import Final

from harness.boot.transcript import Transcript
from harness.console import Console
from harness.errors import TargetProtocolError

CHUNK: Final = 8


def type_text(console: Console, text: str, *, timeout: float, noise: tuple[str, ...] = ()) -> None:
    """Type ``text``, waiting for its echo; a newline at its end is sent last and its echo is not waited for.

    What the console said meanwhile is not used up.  TargetProtocolError when the echo differs or does not come
    within ``timeout`` seconds: what arrived at the other side is not what was meant, and nothing follows from it.
    """
    body = text.rstrip("\n")
    heard = Transcript(noise)
    seen: list[str] = []
    deadline = time.monotonic() + timeout
    mark = console.position
    for start in range(0, len(body), CHUNK):
        console.send(body[start : start + CHUNK].encode(), timeout)
        wanted = body[: start + CHUNK]
        while not _echoed(wanted, seen, heard.partial):
            left = deadline - time.monotonic()
            if left <= 0:
                what = heard.partial or (seen[-1] if seen else "")
                raise TargetProtocolError(f"typed {wanted!r}, the console shows {what[-80:]!r}")
            seen += [line.text for line in heard.feed(console.read(left))]
    if text.endswith("\n"):
        console.send(b"\n", timeout)
    console.rewind(mark)


def _echoed(wanted: str, lines: list[str], partial: str) -> bool:
    """Whether what was typed stands at the end of the current line (or of one that other software ended)."""
    return any(line.endswith(wanted) for line in (partial, *lines[-2:]))
