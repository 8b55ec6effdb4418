"""A token out of a Linux realm: by configfs-tsm, on the realm's shell.

The challenge goes in as octal escapes and the token comes out as hexadecimal digits with its sha256, so that what a
console loses or puts in between is noticed and never judged.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final, Protocol

from harness.errors import TargetProtocolError

REPORTS: Final = "/sys/kernel/config/tsm/report"
_SCRATCH: Final = "/tmp"  # noqa: S108 - inside the realm, which has no other user
_ROW: Final = re.compile(r"(?: [0-9a-f]{2})+")
_SHA256: Final = re.compile(r"\b([0-9a-f]{64})\b")
_PIECE: Final = 8


class Shell(Protocol):
    """A root shell inside a realm."""

    def run(self, command: str, timeout: float = ...) -> list[str]:
        """The lines that a command prints."""


def fetch(shell: Shell, challenge: bytes, *, reports: str = REPORTS, scratch: str = _SCRATCH) -> bytes:
    """The token for a challenge of 64 bytes.

    TargetProtocolError when there is no configfs-tsm, or the bytes that arrived are not those that the realm has.
    """
    asked, token = f"{scratch}/challenge", f"{scratch}/token"
    shell.run(f"test -d {reports} || mount -t configfs none /sys/kernel/config")
    shell.run(f"rm -f {asked} {token}")
    for start in range(0, len(challenge), _PIECE):
        escapes = "".join(f"\\{byte:03o}" for byte in challenge[start : start + _PIECE])
        shell.run(f"printf '{escapes}' >> {asked}")
    _same(shell, asked, challenge)
    report = f"{reports}/realmcheck"
    shell.run(f"mkdir -p {report}; cat {asked} > {report}/inblob; cat {report}/outblob > {token}", 60.0)
    rows = [line for line in shell.run(f"od -An -v -tx1 {token}", 60.0) if _ROW.fullmatch(line.rstrip())]
    shell.run(f"rmdir {report}")
    data = bytes.fromhex("".join(rows))
    _same(shell, token, data)
    return data


def _same(shell: Shell, file: str, data: bytes) -> None:
    """The realm's file has these bytes."""
    lines = shell.run(f"sha256sum {file}")
    found = _SHA256.search("\n".join(lines))
    if found is None:
        raise TargetProtocolError(f"the realm has no {file}: {' / '.join(lines)[-200:] or 'no answer'}")
    if found[1] != hashlib.sha256(data).hexdigest():
        raise TargetProtocolError(f"{len(data)} bytes went over the console, and the realm's {file} holds others")
