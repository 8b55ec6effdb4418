"""Downloading one file over HTTP into the cache: continued where it broke off, taken only when its sha256 is right."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final

from images import tools
from images.errors import ImageError
from images.image import sha256_of

PAUSES: Final = (1.0, 4.0)  # seconds before each further attempt
STALLED: Final = 60.0  # seconds without a byte after which an attempt has failed
_PIECE: Final = 1 << 16
_AGENT: Final = {"User-Agent": "realmcheck"}
_REMEDY: Final = "check the network and the proxy variables, then run again: what was downloaded is kept"


class UnreachableError(ImageError):
    """What should be downloaded cannot be reached from this machine: nothing was learned of it (NOT_RUN)."""


class _TryAgain(Exception):
    """An attempt that broke off; the message is one line."""


def fetch(url: str, sha256: str, target: Path, report: Callable[[float], None]) -> None:
    """Download ``url`` to ``target``; ``report`` hears the fraction done.

    What an earlier call left in ``target``'s place with ``.part`` appended is continued.  UnreachableError when the
    server cannot be reached, ImageError when it has no such file or one with another sha256.
    """
    part = target.with_name(f"{target.name}.part")
    for pause in (*PAUSES, None):
        try:
            _attempt(url, part, report)
            break
        except _TryAgain as error:
            if pause is None:
                raise UnreachableError(f"{error} ({len(PAUSES) + 1} attempts)", where=url, remedy=_REMEDY) from error
            time.sleep(pause)
        except OSError as error:
            raise tools.file_error(error, part) from error
    found = sha256_of(part)
    if found != sha256:
        part.unlink()
        raise ImageError(
            f"the file has sha256 {found}, not {sha256}",
            where=url,
            remedy="it was changed at its source or on the way and is not used; look for a newer catalogue",
        )
    part.rename(target)


def _attempt(url: str, part: Path, report: Callable[[float], None]) -> None:
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={**_AGENT, **({"Range": f"bytes={have}-"} if have else {})})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=STALLED) as answer:  # noqa: S310  the catalogue admits http(s) only
            continued = answer.status == http.HTTPStatus.PARTIAL_CONTENT and _starts_at(answer, have)
            length = answer.headers.get("Content-Length")
            start = have if continued else 0
            whole = start + int(length) if length else 0
            with part.open("ab" if continued else "wb") as file:
                _copy(answer, file, start, whole, report)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            # What is there is the whole file already, or nothing that this server's file begins with.
            if not _is_whole(error, have):
                part.unlink()
                raise _TryAgain("the server has another file than the part that was kept") from error
            return
        if error.code < http.HTTPStatus.INTERNAL_SERVER_ERROR and error.code != http.HTTPStatus.TOO_MANY_REQUESTS:
            raise ImageError(f"the server answers {error.code} {error.reason}", where=url) from error
        raise _TryAgain(f"the server answers {error.code} {error.reason}") from error
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        raise _TryAgain(f"cannot be downloaded: {reason or type(error).__name__}") from error


def _starts_at(answer: http.client.HTTPResponse, have: int) -> bool:
    return answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")


def _is_whole(error: urllib.error.HTTPError, have: int) -> bool:
    return error.headers.get("Content-Range", "") == f"bytes */{have}"


def _copy(
    answer: http.client.HTTPResponse, file: IO[bytes], done: int, whole: int, report: Callable[[float], None]
) -> None:
    while data := answer.read(_PIECE):
        file.write(data)
        done += len(data)
        report(done / whole if whole else 0.0)
    if done < whole:
        raise _TryAgain(f"broke off after {done} of {whole} bytes")
