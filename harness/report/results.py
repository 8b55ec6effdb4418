"""The run directory and ``results.jsonl``: append-only, one whole line per write, readable after SIGKILL.

``open_run_directory`` names the directory, ``ResultWriter`` appends, ``read_run`` reads a complete or an interrupted
run.  It does not judge: see ``summary.py``.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from harness.errors import BadInputError, MisuseError
from harness.report.codec import DecodeError, decode, encode
from harness.report.records import (
    SCHEMA_VERSION,
    Cells,
    CheckResult,
    Counts,
    RunEnd,
    RunHeader,
    TargetRecord,
    subject_of,
)

RESULTS = "results.jsonl"
VIEWS = ("junit.xml", "report.html")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")

T = TypeVar("T")


def open_run_directory(explicit: Path | None = None, *, root: Path = Path("results")) -> Path:
    """Create and return the directory of a run.

    ``explicit`` (option ``--results DIR``) is used as it is; an earlier ``results.jsonl`` in it, and its views, are
    renamed, not overwritten.  Otherwise it is ``root/<UTC time>-<process id>`` and ``root/latest`` is linked to it.
    Raises MisuseError when the directory cannot be made.
    """
    directory = explicit or root / f"{_stamp(time.time())}-{os.getpid()}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if explicit:
            _keep_earlier(directory / RESULTS)
        else:
            _link_latest(root, directory)
    except OSError as error:
        remedy = "give a directory that can be written with --results DIR"
        raise MisuseError(f"{directory}: cannot be used for results: {error.strerror}; {remedy}") from None
    return directory


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%dT%H%M%SZ")


def _keep_earlier(path: Path) -> None:
    if not path.exists():
        return
    if _in_use(path):
        raise MisuseError(f"{path.parent}: another run is writing its results there; give another --results DIR")
    stamp, number = _stamp(path.stat().st_mtime), 1
    target = path.with_name(f"{path.stem}-{stamp}{path.suffix}")
    while target.exists():
        number += 1
        target = path.with_name(f"{path.stem}-{stamp}-{number}{path.suffix}")
    # The views too: should this run not reach its end, theirs must not be taken for its own.
    for view in (path.with_name(name) for name in VIEWS):
        if view.exists():
            view.rename(view.with_name(target.name.replace(path.stem, view.stem, 1)).with_suffix(view.suffix))
    path.rename(target)


def _in_use(path: Path) -> bool:
    """Whether a running ``ResultWriter`` holds the file; the kernel drops its lock however that run ends."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False  # a file system that cannot lock
    return False


def _link_latest(root: Path, directory: Path) -> None:
    temporary = root / f".latest-{os.getpid()}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(directory.name)
    temporary.replace(root / "latest")


def by_subject(coverage: Iterable[tuple[str, Cells]]) -> dict[str, Cells]:
    """The coverage of tests (node id, coverage) added up by subject; subjects without any are left out."""
    found: dict[str, Cells] = {}
    for test, cells in coverage:
        if cells.total:
            found[subject_of(test)] = found.get(subject_of(test), Cells()) + cells
    return found


class ResultWriter:
    """Writes one run; the header is on disk when the constructor returns.

    Every line is one ``write`` on a descriptor opened for appending.  When the disk is full the torn line is taken
    back, the lines before it stay, and MisuseError says so.  One writer per run: with pytest-xdist it lives in the
    controller.
    """

    def __init__(self, directory: Path, header: RunHeader) -> None:
        self.path = directory / RESULTS
        self._started = time.monotonic()
        self._checks = 0
        self._counts = Counts()
        self._coverage: dict[tuple[str, tuple[str, ...]], CheckResult] = {}
        try:
            self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise MisuseError(f"{self.path}: cannot be created: {error.strerror}") from None
        # Not every file system can lock; then only the advice to one run per directory is left.
        with contextlib.suppress(OSError):
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            self._line("run", header)
        except MisuseError:
            os.close(self._fd)
            self.path.unlink()  # a file without header says nothing and would be in the way of the next run
            raise

    def target(self, record: TargetRecord) -> None:
        """Record what a target says about itself once it is on; later lines win over earlier ones and the header."""
        self._line("target", {"target": record})  # nested: a target has a kind of its own

    def add(self, check: CheckResult) -> None:
        """Append one check."""
        self._line("check", check)
        self._checks += 1
        self._counts += check.counts
        if check.cells.total:
            # Another attempt at the same check takes the place of the one before.
            self._coverage[check.test, check.rules] = replace(check, cases=())

    def finish(self, exit_status: int, *, complete: bool) -> None:
        """Append the end line and close; ``complete``: nothing was deselected and the run was not interrupted."""
        end = RunEnd(
            exit_status=exit_status,
            complete=complete,
            checks=self._checks,
            duration=round(time.monotonic() - self._started, 3),
            counts=self._counts,
            ended=datetime.now(UTC).isoformat(timespec="seconds"),
            cells=by_subject((check.test, check.cells) for check in self._coverage.values()),
            interactions=by_subject((check.test, check.interactions) for check in self._coverage.values()),
        )
        try:
            self._line("end", end)
            os.fsync(self._fd)
        except OSError as error:
            raise MisuseError(f"{self.path}: the last results may not be on disk: {error.strerror}") from None
        finally:
            os.close(self._fd)

    def _line(self, kind: str, value: object) -> None:
        record = {"kind": kind, **encode(value)}
        data = (json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n").encode(
            "utf-8", "replace"
        )
        size = os.fstat(self._fd).st_size
        try:
            written = os.write(self._fd, data)
            while written < len(data):  # a disk that fills up takes a part first; only the next write says why
                written += os.write(self._fd, data[written:])
        except OSError as error:
            self._refuse(size, error.strerror or "write error")

    def _refuse(self, size: int, why: str) -> NoReturn:
        os.ftruncate(self._fd, size)
        kept = f"the header and {self._checks} checks before it are kept" if size else "nothing was recorded"
        raise MisuseError(f"{self.path}: a result could not be written: {why}; {kept}; free space and run again")


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run as read back; ``end`` is None and ``torn`` may be set when the run was interrupted."""

    directory: Path
    header: RunHeader
    target: TargetRecord
    checks: tuple[CheckResult, ...]
    end: RunEnd | None
    torn: bool = False

    @property
    def interrupted(self) -> bool:
        """Whether the run did not reach its end (killed, or pytest was interrupted or broke: exit status above 1)."""
        return self.end is None or self.end.exit_status not in (0, 1)

    @property
    def complete(self) -> bool:
        """Whether the whole suite was selected and ran to its end."""
        return not self.interrupted and self.end is not None and self.end.complete


def read_run(directory: Path) -> Run:
    """Read ``directory/results.jsonl``.

    A last line without newline is a torn write and is left out.  Raises BadInputError, with the line number, for a
    missing file, garbage, another schema version or a line out of place.
    """
    path = directory / RESULTS
    lines, torn = _lines(path)
    if not lines:
        raise BadInputError("holds no complete line", path=path, remedy="the run ended before its header was written")
    header = _header(path, _parse(path, 1, lines[0]))
    target, checks, end = header.target, list[CheckResult](), None
    for number, line in enumerate(lines[1:], 2):
        value = _parse(path, number, line)
        if end:
            raise BadInputError("a line after the end line", path=path, where=f"line {number}")
        match value.pop("kind", None):
            case "target":
                target = _decode(path, number, TargetRecord, value.get("target"))
            case "check":
                checks.append(_decode(path, number, CheckResult, value))
            case "end":
                end = _decode(path, number, RunEnd, value)
            case kind:
                raise BadInputError(f"unknown kind {kind!r}", path=path, where=f"line {number}")
    if end and end.checks != len(checks):
        raise BadInputError(f"the end line counts {end.checks} checks, the file holds {len(checks)}", path=path)
    return Run(directory=directory, header=header, target=target, checks=tuple(checks), end=end, torn=torn)


def _lines(path: Path) -> tuple[list[bytes], bool]:
    try:
        data = path.read_bytes()
    except OSError as error:
        remedy = "give the directory of a run, such as results/latest"
        raise BadInputError(f"cannot be read: {error.strerror}", path=path, remedy=remedy) from None
    *whole, rest = data.split(b"\n")
    return whole, bool(rest)


def _parse(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line.decode(), parse_constant=_no_number, parse_float=_finite)
        if _SURROGATE.search(line):
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeDecodeError:
        raise BadInputError("not UTF-8 text", path=path, where=f"line {number}") from None
    except UnicodeEncodeError:
        raise BadInputError("half a surrogate pair is no text", path=path, where=f"line {number}") from None
    except json.JSONDecodeError as error:
        raise BadInputError(f"not JSON ({error.msg})", path=path, where=f"line {number}") from None
    except ValueError as error:
        what = str(error).partition(";")[0]
        raise BadInputError(f"a number that cannot be read: {what}", path=path, where=f"line {number}") from None
    except RecursionError:
        raise BadInputError("not JSON (nested too deep)", path=path, where=f"line {number}") from None
    if not isinstance(value, dict):
        raise BadInputError("not a JSON object", path=path, where=f"line {number}")
    return value


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is too large")
    return value


def _header(path: Path, value: Mapping[str, Any]) -> RunHeader:
    fields = dict(value)
    if fields.pop("kind", None) != "run":
        raise BadInputError("the first line is not a run header", path=path, where="line 1")
    if fields.get("schema") != SCHEMA_VERSION:
        what = f"results schema version {fields.get('schema')!r}, this realmcheck reads {SCHEMA_VERSION}"
        remedy = f"use realmcheck {fields.get('realmcheck', 'of the same version')}, which wrote it"
        raise BadInputError(what, path=path, where="line 1", remedy=remedy)
    return _decode(path, 1, RunHeader, fields)


def _decode(path: Path, number: int, cls: type[T], value: object) -> T:
    try:
        return decode(cls, value)
    except DecodeError as error:
        raise BadInputError(str(error), path=path, where=f"line {number}") from None
