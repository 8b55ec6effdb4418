"""What the tests and the mutants cite: tests by ``pytest --collect-only`` in a process of its own, mutants by import.

Loaded as a pytest plugin in that process (option ``--rule-marks-to FILE``), and called from the command line.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import MisuseError
from harness.mutants import MUTANTS

if TYPE_CHECKING:
    import pytest

_OPTION = "--rule-marks-to"
_NO_TESTS = 5  # pytest's exit status when nothing was collected


def collect_tests(suites: Path) -> Mapping[str, tuple[str, ...]]:
    """Node id of every test under ``suites`` to the rules that its ``@pytest.mark.rule`` marks name.

    Raises MisuseError, with pytest's last line, when collection fails.
    """
    with tempfile.TemporaryDirectory(prefix="realmcheck-") as scratch:
        output = Path(scratch) / "marks.json"
        options = ["--collect-only", "-q", "-p", "no:cacheprovider", "-p", "harness.rules.collect"]
        command = [sys.executable, "-m", "pytest", *options, f"{_OPTION}={output}", str(suites)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode not in (0, _NO_TESTS) or not output.exists():
            lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
            last = lines[-1] if lines else f"exit status {done.returncode}"
            raise MisuseError(f"{suites}: tests cannot be collected: {last}; run pytest --collect-only {suites}")
        marks: dict[str, list[str]] = json.loads(output.read_text(encoding="utf-8"))
    return {node: tuple(rules) for node, rules in marks.items()}


def collect_mutants() -> Mapping[str, tuple[str, ...]]:
    """Name of every mutant that suites hunt to the rules that it breaks."""
    return {mutant.name: tuple(mutant.rules) for mutant in MUTANTS}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Pytest hook: where to write the marks."""
    parser.addoption(_OPTION, metavar="FILE", help="write the rules that each collected test cites to FILE, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    """Pytest hook: make the mark known where the harness's own plugin is not installed."""
    config.addinivalue_line("markers", "rule(*ids): the rules that a test checks")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Pytest hook: write the marks of everything that was collected."""
    marks = {
        item.nodeid: [rule for mark in item.iter_markers("rule") for rule in mark.args] for item in session.items
    }  # fmt: skip
    Path(session.config.getoption(_OPTION)).write_text(json.dumps(marks), encoding="utf-8")
