"""A console's bytes as lines, whatever the transport and other software did to them.

Line ends are a newline with any number of carriage returns.  A line that is still arriving is never taken for a whole
one.  Escape sequences go, also those that a read cut in two.  Text of firmware (``noise``) is cut out of a line; what
was printed around it is one line again, so that a marker with an RMM's log line in its middle is still found.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_LINE_END: Final = re.compile(rb"\r*\n")
_ESCAPE: Final = re.compile(rb"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[@-Z\\-_=>78]")
_OPEN_ESCAPE: Final = re.compile(rb"\x1b(\[[0-9;?]*[ -/]*)?$")
_LONGEST: Final = 1 << 16


@dataclass(frozen=True)
class Line:
    """A whole line without its end, cleaned; ``end`` is the offset of the first byte after it since the start."""

    text: str
    end: int


class Transcript:
    """Fed with bytes as they come; gives whole lines once each, and the unfinished one as it stands."""

    def __init__(self, noise: Sequence[str] = ()) -> None:
        self._noise = re.compile("|".join(f"(?:{pattern})" for pattern in noise)) if noise else None
        self._pending = b""
        self._offset = 0
        self._torn = ""

    def feed(self, data: bytes) -> list[Line]:
        """The lines that ``data`` completes."""
        self._pending += data
        lines = []
        while found := _LINE_END.search(self._pending):
            raw = self._pending[: found.start()]
            self._pending = self._pending[found.end() :]
            self._offset += found.end()
            text, torn = self._cut(_clean(raw))
            if torn:
                self._torn += text
                continue
            lines.append(Line(self._torn + text, self._offset))
            self._torn = ""
        if len(self._pending) > _LONGEST:  # a machine that never ends a line must not fill the host's memory
            self._offset += len(self._pending) - _LONGEST
            self._pending = self._pending[-_LONGEST:]
        return lines

    @property
    def partial(self) -> str:
        """The line that is still arriving, cleaned; an escape sequence that has not ended yet is left out."""
        text, _ = self._cut(_clean(_OPEN_ESCAPE.sub(b"", self._pending)))
        return self._torn + text

    @property
    def end(self) -> int:
        """The offset of the first byte that has not come yet."""
        return self._offset + len(self._pending)

    def _cut(self, text: str) -> tuple[str, bool]:
        """``text`` without noise, and whether noise took the line's end, so that the next line goes on with this one.

        A line that is nothing but noise stands for itself.
        """
        if self._noise is None:
            return text, False
        found = self._noise.search(text)
        if found is None:
            return text, False
        before, after = text[: found.start()], text[found.end() :]
        return (before + after, bool(before) and not after) if before else (text, False)


def _clean(raw: bytes) -> str:
    text = _ESCAPE.sub(b"", raw).decode("utf-8", "replace")
    return text.replace("\r", "").replace("\0", "")
