"""The published JSON schema of ``results.jsonl``, and checking a run against it line by line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from harness.errors import BadInputError
from harness.report.batches import BatchStore
from harness.report.results import RESULTS, Run


@cache
def validator() -> Draft202012Validator:
    """A validator for one line."""
    text = Path(__file__).with_name("results.schema.json").read_text(encoding="utf-8")
    return Draft202012Validator(json.loads(text))


def check_lines(lines: Iterable[bytes], path: Path) -> None:
    """Raise BadInputError, with the line number and the place in the line, for the first line that does not fit."""
    for number, line in enumerate(lines, 1):
        error = next(iter(sorted(validator().iter_errors(json.loads(line)), key=_depth, reverse=True)), None)
        if error is not None:
            place = "/".join(str(part) for part in error.absolute_path)
            where = f"line {number}" + (f", {place}" if place else "")
            raise BadInputError(error.message[:200], path=path, where=where)


def check_run(run: Run) -> int:
    """Check every line against the schema and every batch against its checksum; the number of batches checked.

    Raises BadInputError for the first thing that does not fit.
    """
    path = run.directory / RESULTS
    check_lines(path.read_bytes().split(b"\n")[:-1], path)
    store = BatchStore(run.directory)
    names = dict.fromkeys(name for check in run.checks for name in check.batches)
    for name in names:
        store.load(name)
    return len(names)


def _depth(error: Any) -> int:  # noqa: ANN401 - jsonschema's error type is not worth naming
    return len(error.absolute_path)
