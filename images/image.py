"""Values that providers hand out: an image, and the provenance of the files behind it.  Nothing is obtained here."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from images.errors import ImageError


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """A file that takes part in a run: what it is, where it lies (or lay), its sha256 in hex, version and origin."""

    name: str
    path: str
    sha256: str
    version: str = ""
    origin: str = ""


@dataclass(frozen=True, kw_only=True)
class Image:
    """Something that a run boots or builds with.

    ``argv`` is the command prefix that starts it (empty for a probe: that is data), ``path`` its main file,
    ``version`` the numbers of its version (empty for a probe), ``version_text`` the whole version line.
    ``origin`` is ``debian`` (unpacked from packages), ``system``, ``user`` (an option or an environment variable) or
    ``built``.  ``provenance`` lists the main binaries, ``packages`` every package that was unpacked for it.
    """

    name: str
    kind: str
    path: Path
    argv: tuple[str, ...] = ()
    version: tuple[int, ...] = ()
    version_text: str = ""
    origin: str
    provenance: tuple[Provenance, ...] = ()
    packages: tuple[Provenance, ...] = ()


def parse_version(text: str) -> tuple[int, ...]:
    """The numbers of the first dotted version in ``text``: ``QEMU emulator version 11.1.3 (...)`` -> (11, 1, 3).

    An empty tuple when there is none.
    """
    found = re.search(r"\d+(?:\.\d+)+", text)
    return tuple(int(part) for part in found.group().split(".")) if found else ()


def sha256_of(path: Path) -> str:
    """The sha256 of a file in hex; ImageError when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror}", where=str(path)) from error
