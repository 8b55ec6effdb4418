"""Verdicts, results, reports, waivers and claims.

What the pytest plugin needs::

    directory = open_run_directory(option_results)            # results/<time>-<pid>, or exactly DIR
    writer = ResultWriter(directory, RunHeader(...))          # the header is on disk from here on
    writer.target(TargetRecord.of(target.info))               # once the target is on, and when it changes
    name = BatchStore(directory).store(image, results, memory, meta)
    waiver = find(waivers, rules, signature, observed)        # waivers: those that ``applies`` to the target
    writer.add(CheckResult(...))                              # one line per check and attempt
    writer.finish(exit_status, complete=nothing_was_deselected)
    summary = build_views(directory, catalogue)               # report.html, junit.xml; summary.result.exit_code

One ``CheckResult`` per rule where a test checks several: a FAIL counts against every rule that its check cites.
Errors are ``MisuseError`` (disk full, directory not usable) and ``BadInputError`` (a file is not what it should be).
"""

from __future__ import annotations

from pathlib import Path

from harness.errors import MisuseError
from harness.report.batches import BatchStore, RawBatch
from harness.report.claims import Claim, ClaimResult
from harness.report.html import write_html
from harness.report.junit import write_junit
from harness.report.records import (
    Cells,
    CheckResult,
    Counts,
    FailingCase,
    Outcome,
    RunEnd,
    RunHeader,
    TargetRecord,
)
from harness.report.results import ResultWriter, Run, open_run_directory, read_run
from harness.report.summary import Summary, summarise
from harness.report.verdicts import Verdict, merge, settle
from harness.report.waivers import Waiver, find, load_waivers
from harness.rules.catalogue import Catalogue

__all__ = [
    "BatchStore",
    "Cells",
    "CheckResult",
    "Claim",
    "ClaimResult",
    "Counts",
    "FailingCase",
    "Outcome",
    "RawBatch",
    "ResultWriter",
    "Run",
    "RunEnd",
    "RunHeader",
    "Summary",
    "TargetRecord",
    "Verdict",
    "Waiver",
    "build_views",
    "find",
    "load_waivers",
    "merge",
    "open_run_directory",
    "read_run",
    "settle",
    "summarise",
]


def build_views(directory: Path, catalogue: Catalogue) -> Summary:
    """Write ``junit.xml`` and ``report.html`` of a run from its ``results.jsonl``, and return its summary.

    Raises BadInputError when the results cannot be read, MisuseError when a view cannot be written.
    """
    summary = summarise(read_run(directory), catalogue)
    try:
        write_junit(summary, directory / "junit.xml")
        write_html(summary, directory / "report.html")
    except OSError as error:
        remedy = "free space or make it writable; results.jsonl is kept"
        raise MisuseError(f"{directory}: the views cannot be written: {error.strerror}; {remedy}") from None
    return summary
