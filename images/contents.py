"""What the files of a finished cache entry are: written down when it is made, compared whenever it is used.

``files.json`` lists every file below the entry with its sha256 in hex, and every symbolic link with its target (an
arrow before it).  Its own sha256 stands in the entry's record, so a damaged list is noticed too.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from images.errors import ImageError
from images.image import sha256_of

LIST: Final = "files.json"
_ARROW: Final = "-> "


def write(entry: Path) -> str:
    """Write the list for all that is below ``entry`` now and return its sha256; OSError or ImageError as files do.

    Set-user-ID and set-group-ID bits are taken off: an unpacked package never needs them here, and a copy of ``passwd``
    that nobody keeps up to date must not have them.
    """
    for path in _files(entry):
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID):
            path.chmod(stat.S_IMODE(mode) & 0o777)
    listed = {str(path.relative_to(entry)): _describe(path) for path in sorted(_files(entry))}
    (entry / LIST).write_text(json.dumps(listed, indent=0) + "\n", encoding="utf-8")
    return sha256_of(entry / LIST)


def difference(entry: Path, digest: str, apart_from: str) -> str:
    """The first difference between ``entry`` and its list (whose sha256 is ``digest``) in words; empty for none.

    ``apart_from`` is the one file that is written after the list.
    """
    try:
        if sha256_of(entry / LIST) != digest:
            return f"{LIST} has changed"
        listed: Mapping[str, str] = json.loads((entry / LIST).read_text(encoding="utf-8"))
        found = {str(path.relative_to(entry)): path for path in _files(entry)}
        for name, description in listed.items():
            if name not in found:
                return f"{name} is missing"
            if _describe(found[name]) != description:
                return f"{name} has changed"
    except (ImageError, OSError) as error:
        return str(error)
    added = found.keys() - listed.keys() - {LIST, apart_from}
    return f"{min(added)} does not belong there" if added else ""


def _files(entry: Path) -> Iterator[Path]:
    for directory, _, names in os.walk(entry):
        yield from (Path(directory, name) for name in names)


def _describe(path: Path) -> str:
    return _ARROW + str(path.readlink()) if path.is_symlink() else sha256_of(path)
