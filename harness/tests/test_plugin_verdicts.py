"""No way to end green without evidence: a trick on a suite that would pass is seen in the verdicts and the claim."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from harness.errors import TargetLostError
from harness.report import ClaimResult
from harness.rules.catalogue import Catalogue, load_catalogue
from harness.targets.model import ModelTarget
from harness.tests.suite_project import GOOD, OPTIONS, make, summary, verdicts

pytest_plugins = ["pytester"]

ALSO_BAD = """
@rule
def test_other(check):
    run(check, load(check, 64))
    assert False
"""


def run_suite(pytester: pytest.Pytester, suite: str, *arguments: str) -> tuple[int, str]:
    """(exit status, terminal) of a run of the suite on the model, in this process."""
    make(pytester.path, suite)
    result = pytester.runpytest_inprocess(*OPTIONS, "--target=model", *(arguments or ("suites",)))
    return int(result.ret), result.stdout.str() + result.stderr.str()


def test_the_suite_passes_untouched(pytester: pytest.Pytester) -> None:
    status, terminal = run_suite(pytester, GOOD)
    assert status == 0
    assert verdicts(pytester.path) == ["PASS", "PASS"]
    assert summary(pytester.path).result is ClaimResult.SELF_TEST_PASSED
    assert "SELF-TEST passed" in terminal


TRICKS = """
def broken(*_):
    raise ValueError("judge broken")

@pytest.fixture
def more():
    raise RuntimeError("no more")

@rule
def test_empty_batch(check):
    run(check)

@rule
def test_unused(check):
    pass

@rule
def test_assertion(check):
    run(check, load(check))
    assert not "bad"

@rule
def test_skip(check):
    run(check, load(check))
    pytest.skip("enough")

@rule
def test_xfail(check):
    run(check, load(check))
    pytest.xfail("known")

@rule
@pytest.mark.skip(reason="slow")
def test_marked(check):
    run(check, load(check))

@rule
def test_other_fixture(check, more):
    run(check, load(check))

@rule
def test_judge(check, monkeypatch):
    monkeypatch.setattr("harness.judge.judging.BatchJudge.judge", broken)
    run(check, load(check))

@rule
def test_good(check):
    run(check, load(check))
"""


def test_a_test_that_broke_off_is_not_passed(pytester: pytest.Pytester) -> None:
    status, terminal = run_suite(pytester, TRICKS)
    assert status == 1
    said = summary(pytester.path)
    found = {check.deciding.test.rpartition("::")[2]: check.deciding for check in said.checks}
    expected = {
        "test_empty_batch": ("INCONCLUSIVE", "no observation was decided by this rule"),
        "test_unused": ("INCONCLUSIVE", "no observation was decided by this rule"),
        "test_assertion": ("INCONCLUSIVE", "the test did not finish: AssertionError"),
        "test_skip": ("INCONCLUSIVE", "the test did not finish: Skipped: enough"),
        "test_xfail": ("INCONCLUSIVE", "the test did not finish: XFailed: known"),
        "test_marked": ("NOT_RUN", "skipped: slow"),
        "test_other_fixture": ("INCONCLUSIVE", "set-up failed: no more"),
        "test_judge": ("INCONCLUSIVE", "the test did not finish: ValueError: judge broken"),
        "test_good": ("PASS", ""),
    }
    assert {name: result.verdict.value for name, result in found.items()} == {n: v for n, (v, _) in expected.items()}
    for name, (_, reason) in expected.items():
        assert reason in found[name].reason
    assert said.result is ClaimResult.INCONCLUSIVE
    assert not said.run.complete
    assert "1 passed, 1 skipped" in terminal


@pytest.mark.parametrize(
    ("suite", "arguments", "status", "expected", "reason"),
    [
        (GOOD, ("-k", "1"), 0, ["PASS", "NOT_RUN"], "deselected"),
        (GOOD, ("--deselect=suites/small/test_small.py::test_it[2]",), 0, ["PASS", "NOT_RUN"], "deselected"),
        (ALSO_BAD + GOOD, ("-x",), 1, ["INCONCLUSIVE", "NOT_RUN", "NOT_RUN"], "the run ended before it"),
        (GOOD, ("--setup-only",), 0, ["NOT_RUN", "NOT_RUN"], "the run ended before it"),
    ],
)
def test_what_was_left_out_is_not_passed(
    pytester: pytest.Pytester, suite: str, arguments: tuple[str, ...], status: int, expected: list[str], reason: str
) -> None:
    found, terminal = run_suite(pytester, suite, "suites", *arguments)
    assert found == status, terminal
    assert verdicts(pytester.path) == expected
    said = summary(pytester.path)
    assert said.result.exit_code != 0
    assert not said.run.complete
    assert any(reason in check.deciding.reason for check in said.checks)


def test_a_target_that_never_starts_is_tried_twice(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    starts: list[object] = []

    def lost(target: ModelTarget) -> None:
        starts.append(target)
        raise TargetLostError("no power")

    monkeypatch.setattr(ModelTarget, "power_on", lost)
    assert run_suite(pytester, GOOD.replace("[1, 2]", "range(5)"))[0] == 1
    assert len(starts) == 2
    assert verdicts(pytester.path) == ["INCONCLUSIVE"] * 5
    said = summary(pytester.path)
    assert said.result is ClaimResult.INCONCLUSIVE
    assert "no power (not tried again: it failed to start 2 times in a row)" in said.checks[4].deciding.reason


def test_an_error_after_the_test_leaves_no_clean_claim(pytester: pytest.Pytester) -> None:
    suite = "@pytest.fixture\ndef late():\n    yield\n    raise RuntimeError('late')\n" + GOOD.replace(
        "n):", "n, late):"
    )
    assert run_suite(pytester, suite)[0] == 1
    assert summary(pytester.path).result is ClaimResult.INCONCLUSIVE


@pytest.mark.parametrize(
    ("suite", "message"),
    [
        ("def test_it(check):\n    run(check, load(check))\n", "cites no rule; mark it with @pytest.mark.rule"),
        (GOOD.replace("@rule", "@pytest.mark.rule('GPC-999')"), "cites unknown rule GPC-999"),
        (GOOD.replace("@rule", "@rule\n@pytest.mark.xfail"), "xfail would hide a deviation; write a waiver"),
    ],
)
def test_a_check_that_cannot_count_is_refused(pytester: pytest.Pytester, suite: str, message: str) -> None:
    status, terminal = run_suite(pytester, suite)
    assert status == pytest.ExitCode.USAGE_ERROR
    assert message in terminal
    assert not (pytester.path / "out").exists()


def test_a_later_success_does_not_hide_a_failure(pytester: pytest.Pytester) -> None:
    suite = """
@rule
def test_it(check):
    run(check, load(check))
    mark = Path("second-time")
    if not mark.exists():
        mark.touch()
        from harness.judge.losses import report_lost
        report_lost(*lost_twice(check), check.tally, "")

def lost_twice(check):
    from harness.errors import TargetLostError
    from harness.judge.losses import Loss
    from harness.judge.scene import Scene
    from refmodel.gpt.build import Geometry, GPTBuilder
    made = GPTBuilder(Geometry(pgs=PGSe.PGS_4KB, pps=40, l0gptsz=30), 0x50000000, 1 << 20)
    return Scene.of("lost", made), load(check), Loss(TargetLostError("gone"), 0, "")
"""
    arguments = ("suites/small/test_small.py", "suites/small/test_small.py", "--keep-duplicates")
    assert run_suite(pytester, suite, *arguments)[0] == 1
    assert sorted(verdicts(pytester.path)) == ["FAIL", "PASS"]
    assert summary(pytester.path).result is ClaimResult.SELF_TEST_FAILED


@pytest.mark.parametrize("trick", ["write_text('')", "unlink()", "write_text(path.read_text() * 2)"])
def test_results_that_were_tampered_with_are_no_claim(pytester: pytest.Pytester, trick: str) -> None:
    suite = GOOD + f"    if n == 2:\n        path = Path('out/results.jsonl')\n        path.{trick}\n"
    status, terminal = run_suite(pytester, suite)
    assert status == 3
    assert "SELF-TEST passed" not in terminal
    assert "results.jsonl: " in terminal and "inconclusive: " in terminal
    assert not (pytester.path / "out/report.html").exists()


def test_a_session_is_not_used_again_after_a_test_that_broke_off(pytester: pytest.Pytester) -> None:
    suite = """
seen = []

@rule
@pytest.mark.parametrize("n", range(3))
def test_it(check, n):
    seen.append(check.session)
    run(check, load(check))
    if n == 1:
        assert False

@rule
def test_sessions(check):
    assert seen[0] is seen[1] is not seen[2]
    run(check, load(check))
"""
    run_suite(pytester, suite)
    assert verdicts(pytester.path) == ["PASS", "INCONCLUSIVE", "PASS", "PASS"]


@pytest.mark.parametrize(("name", "wrong", "right"), [("rme", 7, 3), ("FEAT_SEL2", False, True)])
def test_a_feature_that_the_id_registers_deny_is_an_error_not_a_skip(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, name: str, wrong: int, right: int
) -> None:
    start = ModelTarget.power_on
    for declared, status, seen in ((wrong, 1, "INCONCLUSIVE"), (right, 0, "PASS")):

        def declaring(target: ModelTarget, value: int = declared) -> None:
            start(target)
            monkeypatch.setattr(target, "_info", replace(target.info, features={name: value}))

        monkeypatch.setattr(ModelTarget, "power_on", declaring)
        got, terminal = run_suite(pytester, GOOD)
        assert got == status and set(verdicts(pytester.path)) == {seen}
        said = f"declares {name} as {wrong!r}, its ID registers report {right!r}; correct the target's declaration"
        assert (said in terminal) is (declared == wrong)
        shutil.rmtree(pytester.path / "suites")


SEVERAL = """
@rule
@pytest.mark.parametrize("l0gptsz", [30, 34, 30])
def test_it(check, l0gptsz):
    assert not check.session.target.paused
    assert all(t.paused for t in type(check.session.target).made if t is not check.session.target)
    run(check, load(check))
"""


class PausableModel(ModelTarget):
    """A model target that knows whether it was paused, and which ones there are."""

    made: ClassVar[list[PausableModel]] = []
    paused = False

    def power_on(self) -> None:
        self.made.append(self)
        super().power_on()

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False


def test_only_the_machine_in_use_runs(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.targets.factory.ModelTarget", PausableModel)
    PausableModel.made.clear()
    run_suite(pytester, SEVERAL)
    assert len(PausableModel.made) == 2
    assert verdicts(pytester.path) == ["PASS"] * 3


def test_the_catalogue_is_read_once_for_all_tests(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[Path] = []

    def load(directory: Path) -> Catalogue:
        loads.append(directory)
        return load_catalogue(directory)

    monkeypatch.setattr("harness.run.load_catalogue", load)
    run_suite(pytester, GOOD)
    assert len(loads) == 1
