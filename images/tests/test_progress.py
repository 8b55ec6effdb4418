"""What a person sees: a bar on a terminal, one line in a pipe."""

from __future__ import annotations

import io
import os

from images.progress import Bar, Lines, progress_for


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_pipe_gets_one_line_per_image() -> None:
    stream = io.StringIO()
    progress = progress_for(stream)
    assert isinstance(progress, Lines)
    for fraction in (0.0, 0.5, 1.0):
        progress.step("qemu", "downloading", fraction)
    progress.done("qemu", "11.1.3")
    progress.close()
    assert stream.getvalue() == "qemu: 11.1.3\n"


def test_terminal_gets_a_bar_that_goes_away() -> None:
    stream = Terminal()
    progress = progress_for(stream)
    assert isinstance(progress, Bar)
    progress.step("qemu", "downloading", 0.5)
    assert "qemu: downloading" in stream.getvalue() and "50%" in stream.getvalue()
    progress.step("qemu", "unpacking", 2.0)
    assert "100%" in stream.getvalue()
    progress.close()
    progress.done("qemu", "11.1.3")
    assert stream.getvalue().endswith("\rqemu: 11.1.3\n")


def test_terminal_that_tells_no_size_gets_the_bar_too() -> None:
    master, slave = os.openpty()
    assert os.get_terminal_size(slave) == (0, 0)
    with os.fdopen(slave, "w") as stream:
        progress = progress_for(stream)
        progress.step("qemu", "downloading", 0.5)
        progress.close()
        seen = os.read(master, 4096).decode()
    os.close(master)
    assert "qemu: downloading" in seen and "50%" in seen
