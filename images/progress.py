"""Telling a person how far providing an image is: a bar on a terminal, one line per image in a pipe."""

from __future__ import annotations

import shutil
import sys
from typing import Final, NoReturn, Protocol, TextIO

from tqdm import tqdm

_ROWS: Final = 24  # one bar needs no more


class Progress(Protocol):
    """What providers report to; ``fraction`` runs from 0.0 to 1.0 within each step."""

    def step(self, image: str, what: str, fraction: float) -> None:
        """``image`` is doing ``what``, this far."""

    def done(self, image: str, what: str) -> None:
        """``image`` is there; ``what`` says what it is."""

    def close(self) -> None:
        """Leave the terminal as it was: always called, whether all went well or not."""


class Silent:
    """Reports nothing."""

    def step(self, image: str, what: str, fraction: float) -> None:
        """Nothing."""

    def done(self, image: str, what: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Lines:
    """One line when an image is there: for pipes and logs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def step(self, image: str, what: str, fraction: float) -> None:
        """Nothing: steps are for terminals."""

    def done(self, image: str, what: str) -> None:
        """Write the line."""
        self._stream.write(f"{image}: {what}\n")
        self._stream.flush()

    def close(self) -> None:
        """Nothing."""


class Bar:
    """A bar that is redrawn for each step, and a line when the image is there."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._bar: tqdm[NoReturn] | None = None
        self._label = ""

    def step(self, image: str, what: str, fraction: float) -> None:
        """Draw the bar of this step; a new ``what`` starts a new bar in the same place."""
        label = f"{image}: {what}"
        if label != self._label or self._bar is None:
            self.close()
            self._label = label
            self._bar = tqdm(
                total=100,
                desc=label,
                file=self._stream,
                leave=False,
                bar_format="{desc} {bar} {percentage:3.0f}%",
                ncols=shutil.get_terminal_size().columns,  # tqdm itself draws nothing where the size is 0 x 0, as on
                nrows=_ROWS,  # many consoles of containers and CI
            )
        self._bar.n = round(100 * min(1.0, max(0.0, fraction)))
        self._bar.refresh()

    def done(self, image: str, what: str) -> None:
        """Remove the bar and write the line."""
        self.close()
        self._stream.write(f"{image}: {what}\n")
        self._stream.flush()

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
        self._bar = None


def progress_for(stream: TextIO | None = None) -> Progress:
    """The reporter that suits ``stream`` (default: standard error)."""
    out = sys.stderr if stream is None else stream
    return Bar(out) if out.isatty() else Lines(out)
