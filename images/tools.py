"""Running other people's tools: a missing, failing, hanging or disk-filling tool becomes one clear ImageError."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from images.errors import ImageError

_NO_SPACE = ("No space left on device", "enough free space", "Disk quota exceeded")


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 600.0,
    text: str = "",
    remedy: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run a tool to its end and return it, whatever its exit status; output is captured as text in the C locale.

    ``text`` is what the tool reads, ``timeout`` is in seconds.  ImageError (with ``remedy``) when the
    tool cannot be started or does not end in time.
    """
    try:
        return subprocess.run(
            list(argv),
            env={**(os.environ if env is None else env), "LC_ALL": "C"},
            cwd=cwd,
            timeout=timeout,
            input=text,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ImageError(f"did not end within {timeout:g} s", where=argv[0], remedy=remedy) from error
    except OSError as error:
        raise ImageError(f"cannot be started: {error.strerror}", where=argv[0], remedy=remedy) from error


def is_no_space(text: str) -> bool:
    """Whether a tool's output says that a file system is full."""
    return any(marker in text for marker in _NO_SPACE)


def no_space(path: Path) -> ImageError:
    """The error for a full file system at ``path``."""
    return ImageError(
        "no space left on the device",
        where=str(path),
        remedy="free about 600 MB there, or set XDG_CACHE_HOME to a directory on a larger file system",
    )


def file_error(error: OSError, path: Path) -> ImageError:
    """The error for a file operation below ``path`` that failed."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return no_space(path)
    return ImageError(
        f"cannot be written: {error.strerror or error}",
        where=str(error.filename or path),
        remedy="make the cache directory writable, or set XDG_CACHE_HOME to another directory",
    )


def first_line(text: str, *markers: str) -> str:
    """The first line that holds one of ``markers``, else the last non-empty line, stripped; empty for no text."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for marker in markers:
        for line in lines:
            if marker in line:
                return line
    return lines[-1] if lines else ""
