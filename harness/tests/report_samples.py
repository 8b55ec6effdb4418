"""Sample catalogue, waiver and run for the tests of reports and rules; small, but with every verdict's shape."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from harness.report import (
    CheckResult,
    Counts,
    FailingCase,
    Outcome,
    ResultWriter,
    RunHeader,
    TargetRecord,
    Verdict,
    Waiver,
)
from images.image import Provenance

THREATS = """
[[threat]]
id = "T-READ"
title = "A hypervisor reads Realm memory"
summary = "Software in Non-secure state loads from a granule of a Realm."
"""
PROFILES = """
[[profile]]
id = "rme-gpc"
title = "Granule protection checks"
"""
RULES = """
[[rule]]
id = "GPC-001"
title = "Access from a foreign PAS faults"
document = "DDI 0487"
issue = "L.b"
section = "GPIValid()"
summary = "An access is permitted only when the GPI of the granule allows its physical address space."
level = "mandatory"
threat = "T-READ"
profiles = ["rme-gpc"]
tests = ["suites/gpt/test_gpi.py::test_matrix"]

[[rule]]
id = "GPC-002"
title = "The fault reports its level"
document = "DDI 0487"
section = "CreateFaultRecord()"
summary = "The level of the lookup is in the syndrome."
level = "optional"
feature = "FEAT_X"
threat = "T-READ"
profiles = ["rme-gpc"]
tests = ["suites/gpt/test_gpi.py::test_level"]

[[rule]]
id = "GPC-090"
title = "External debug respects the GPC"
document = "DDI 0487"
section = "H9"
summary = "A debugger's access is checked."
level = "mandatory"
threat = "T-READ"
profiles = ["rme-gpc"]
reserved = "no target offers external debug of Realm state"
reserved_verdict = "NOT_APPLICABLE"
"""
MATRIX = "suites/gpt/test_gpi.py::test_matrix"
WAIVER = Waiver(
    id="qemu-1",
    target="qemu",
    versions=">=11,<12",
    rule="GPC-001",
    reason="GPIValid() is called once too often.",
    link="docs/findings.md",
    since="2026-01",
    signature="EC=0x25",
)


def write_rules(directory: Path, rules: str = RULES, *, threats: str = THREATS, profiles: str = PROFILES) -> Path:
    """A catalogue directory."""
    directory.mkdir(exist_ok=True)
    (directory / "gpc.toml").write_text(rules)
    (directory / "threats.toml").write_text(threats)
    (directory / "profiles.toml").write_text(profiles)
    return directory


def header(**changes: object) -> RunHeader:
    """A header for QEMU 11.1.3."""
    target = TargetRecord(name="qemu", kind="qemu", version="11.1.3")
    fields: dict[str, Any] = {
        "realmcheck": "0.1.0",
        "started": "2026-01-02T03:04:05+00:00",
        "command": ("pytest", "suites/"),
        "target": target,
        "seeds": {"suite": "0x5eed"},
        "provenance": (Provenance(name="QEMU", path="/p/qemu-system-aarch64", sha256="ab" * 32),),
    }
    return RunHeader(**(fields | changes))


def case(number: int = 0, **changes: object) -> FailingCase:
    """A failing case with everything that fits on one screen."""
    fields: dict[str, Any] = {
        "case": f"case-{number}",
        "title": f"load number {number} from a Root granule",
        "signature": "EC=0x25",
        "rules": ("GPC-001",),
        "stimulus": {"operation": "LOAD", "address": f"{number:#x}"},
        "expected": (
            Outcome(fields={"ESR_EL3": "0x7a"}, decoded={"ESR_EL3": "GPC exception"}, reasons=("GPI is Root",)),
        ),
        "observed": Outcome(fields={"ESR_EL3": "0x96"}, decoded={"ESR_EL3": "Data Abort"}),
        "walk": ("L0 entry 0: table", "L1 entry 1: Root"),
        "stage": "probe",
        "console": tuple(f"line {line}" for line in range(30)),
        "reproduce": f"pytest suites/gpt --case case-{number}",
        "batch": "cd" * 32,
        "index": number,
    }
    return FailingCase(**(fields | changes))


def check(verdict: Verdict = Verdict.PASS, *, rules: tuple[str, ...] = ("GPC-001",), **changes: object) -> CheckResult:
    """A check with counts that suit its verdict."""
    counts = {
        Verdict.PASS: Counts(stimuli=10, judged=10, passed=10),
        Verdict.FAIL: Counts(stimuli=10, judged=10, passed=8, failed=2),
        Verdict.WAIVED: Counts(stimuli=10, judged=10, passed=9, waived=1),
    }.get(verdict, Counts())
    fields: dict[str, Any] = {
        "test": f"{MATRIX}[a]",
        "rules": rules,
        "verdict": verdict,
        "counts": counts,
        "reason": "" if verdict.ran else "a reason",
        "cases": (case(),) if verdict is Verdict.FAIL else (),
        "signatures": {"EC=0x25": 2} if verdict is Verdict.FAIL else {},
        "waived": {"qemu-1": 1} if verdict is Verdict.WAIVED else {},
    }
    return CheckResult(**(fields | changes))


def write_run(
    directory: Path, *checks: CheckResult, head: RunHeader | None = None, status: int | None = 0, complete: bool = True
) -> Path:
    """A run directory; ``status`` None leaves the run without its end line."""
    directory.mkdir(exist_ok=True)
    writer = ResultWriter(directory, head or header())
    for item in checks:
        writer.add(item)
    if status is not None:
        writer.finish(status, complete=complete)
    return directory


def parser_with(module: object) -> argparse.ArgumentParser:
    """A command line with one command."""
    parser = argparse.ArgumentParser()
    module.register(parser.add_subparsers())  # type: ignore[attr-defined]
    return parser
