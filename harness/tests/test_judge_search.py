"""Random histories bite, and a failing one is made small: on mutants of what the model machine keeps."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import strategies as st

from harness.judge.search import search
from harness.judge.tally import Tally
from harness.report import Verdict, read_run
from harness.report.records import CheckResult, FailingCase, Outcome
from refmodel.rules import Rule

ROOT = Path(__file__).parents[2]


def histories(tmp_path: Path, target: str, pes: int) -> tuple[CheckResult, ...]:
    test = f"suites/gpt/test_histories.py::test_history[{pes}]"
    command = [sys.executable, "-m", "pytest", "-q", test, f"--target={target}", "--seed=1", f"--results={tmp_path}"]
    subprocess.run([*command, "-p", "no:cacheprovider"], cwd=ROOT, env={**os.environ}, capture_output=True, check=False)
    return read_run(tmp_path).checks


def steps(case: FailingCase) -> list[str]:
    return [text for name, text in case.stimulus.items() if re.fullmatch(r"step \d+", name)]


@pytest.mark.parametrize("pes", [1, 2])
def test_an_ignored_invalidation_is_found_and_made_small(tmp_path: Path, pes: int) -> None:
    """Looked at, changed, invalidated, looked at again: no history of fewer than four steps shows it."""
    checks = histories(tmp_path, "mutant:invalidation-ignored", pes)
    (failed,) = [check for check in checks if check.verdict is Verdict.FAIL]
    assert failed.rules == ("GPC-052",)
    found = steps(failed.cases[0])
    assert 4 <= len(found) <= 5
    assert any("TLBI" in step for step in found)
    assert (
        "TLBI" not in found[-1]
        and "test_history" in failed.cases[0].reproduce
        and "--seed=1" in failed.cases[0].reproduce
    )


def test_the_same_seed_finds_the_same(tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        (failed,) = [c for c in histories(tmp_path / name, "mutant:half-written-until-invalidated", 1) if c.cases]
        found.append(steps(failed.cases[0]))
    assert found[0] == found[1]
    assert len(found[0]) <= 5


def failing_on(tally: Tally, rule: Rule = Rule.INVALIDATED) -> None:
    case = FailingCase(
        case="c",
        title="t",
        signature="wrong",
        rules=(rule.value,),
        stimulus={},
        expected=(),
        observed=Outcome(fields={}),
    )
    tally.fail(rule, "wrong", lambda waiver: case)


def test_only_the_smallest_failing_history_is_counted() -> None:
    seen: list[list[int]] = []

    def run(history: list[int], tally: Tally) -> None:
        seen.append(history)
        tally.stimuli += len(history)
        if sum(number > 3 for number in history) >= 2:
            failing_on(tally)

    tally = Tally()
    passed = search(st.lists(st.integers(0, 9), max_size=20), run, tally, count=200, at=1)
    assert tally.failed == 1
    assert seen[-1] != seen[0]
    assert tally.stimuli == sum(len(history) for history in seen[:passed]) + 2


def test_histories_that_pass_are_counted() -> None:
    tally = Tally()

    def run(history: list[int], attempt: Tally) -> None:
        attempt.stimuli += 1
        attempt.lost.append("once")

    assert search(st.lists(st.integers()), run, tally, count=30, at=1) == 30
    assert (tally.stimuli, len(tally.lost)) == (30, 30)


def test_a_lost_machine_is_not_shrunk() -> None:
    runs = []

    def run(history: list[int], attempt: Tally) -> None:
        runs.append(history)
        if len(history) > 3:
            attempt.fatal.append("gone")
            failing_on(attempt, Rule.AVAILABILITY)

    tally = Tally()
    search(st.lists(st.integers(), min_size=1, max_size=9), run, tally, count=50, at=1)
    assert sum(len(history) > 3 for history in runs) == 1
    assert tally.fatal == ["gone"]


def test_an_answer_that_changes_is_still_a_failure() -> None:
    calls = iter(range(10_000))

    def run(history: list[int], attempt: Tally) -> None:
        if next(calls) == 5:
            failing_on(attempt)

    tally = Tally()
    search(st.lists(st.integers(), min_size=1), run, tally, count=50, at=1)
    assert tally.failed == 1
