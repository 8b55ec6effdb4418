"""The one exception of ``images``: something to boot, or the tool that builds it, cannot be obtained."""

from __future__ import annotations


class ImageError(Exception):
    """An image cannot be provided; the message is one line: where, what, remedy (exit code 3).

    ``where`` names the file, key or command, ``remedy`` what the reader can do about it.  Line breaks in any part
    (a tool's output, say) are folded into spaces.
    """

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        self.what = _one_line(what)
        self.where = _one_line(where)
        self.remedy = _one_line(remedy)
        place = f"{self.where}: " if self.where else ""
        super().__init__(place + self.what + (f"; {self.remedy}" if self.remedy else ""))


def _one_line(text: str) -> str:
    return " ".join(text.split())
