"""Coverage in results: counted from what was judged, not from what was asked; by check and by subject."""

from __future__ import annotations

import json

import pytest

from harness.report.results import read_run
from harness.report.schema import check_run
from harness.tests.suite_project import OPTIONS, make, summary

pytest_plugins = ["pytester"]

PLANNED = """
from harness.coverage import group

def go(check, cells, extra=()):
    items = [load(check, 16 * n + 4096 * page) for n, page, _ in cells]
    run_with(check, [*items, *extra], [*cells, *[None] * len(extra)])

def run_with(check, items, cells):
    tables = check.session.target.info.layout.tables
    made = GPTBuilder(Geometry(pgs=PGSe.PGS_4KB, pps=40, l0gptsz=30), tables.base, tables.size)
    for index in range(3):
        made.block(index * GB, GPT_Any)
    check.run(Scene.of("small", made), items, cells)

@rule
def test_it(check):
    go(check, check.plan(group(n=range(4)), group(page=range(3)), group(none=range(2))))
"""
INTERACTIONS = 4 + 3 + 2 + 4 * 3 + 4 * 2 + 3 * 2


def run_suite(pytester: pytest.Pytester, suite: str, *arguments: str) -> str:
    make(pytester.path, suite)
    result = pytester.runpytest_inprocess(*OPTIONS, "--target=model", *arguments, "suites")
    return result.stdout.str()


@pytest.mark.parametrize(
    ("option", "cells", "interactions"),
    [("--scale=default", 12, INTERACTIONS), ("--exhaustive", 24, INTERACTIONS), ("--scale=smoke", 4, None)],
)
def test_depth(pytester: pytest.Pytester, option: str, cells: int, interactions: int | None) -> None:
    terminal = run_suite(pytester, PLANNED, option)
    run = read_run(pytester.path / "out")
    (check,) = run.checks
    assert (check.cells.covered, check.cells.total) == (cells, 24)
    assert check.interactions.total == INTERACTIONS
    assert check.interactions.covered == (interactions or check.interactions.covered) > 0
    assert (interactions is None) == (check.interactions.covered < INTERACTIONS)
    assert run.end is not None
    assert (run.end.cells, run.end.interactions) == ({"small": check.cells}, {"small": check.interactions})
    assert f"coverage of small: {cells} of 24 cells, {check.interactions.covered} of {INTERACTIONS} inter" in terminal
    page = (pytester.path / "out/report.html").read_text()
    assert f"{cells} of 24 cells" in page
    assert f"{cells} / 24</td>" in page
    assert check_run(run) > 0
    assert run.header.seeds["depth"] == {12: "pairwise", 24: "full", 4: "each"}[cells]
    assert [(item.subject, item.cells.covered) for item in summary(pytester.path).coverage] == [("small", cells)]


def test_what_was_asked_for_and_not_judged_is_not_covered(pytester: pytest.Pytester) -> None:
    """The machine is lost at one cell, again and again: the rest of the batch is judged, that cell is not."""
    suite = """
from harness.targets.model import ModelTarget
from harness.errors import TargetEvidence, TargetLostError
from harness.probe.batch import records_of

@pytest.fixture
def dies(monkeypatch):
    honest = ModelTarget.run_encoded
    def run_encoded(self, encoded):
        for index, record in enumerate(records_of(encoded.image)):
            if record.address & 0xFFFF == 0x1010:
                raise TargetLostError("gone", TargetEvidence(record_index=index, exit_status="aborted"))
        return honest(self, encoded)
    monkeypatch.setattr(ModelTarget, "run_encoded", run_encoded)
"""
    run_suite(pytester, suite + PLANNED.replace("def test_it(check)", "def test_it(check, dies)"))
    check = read_run(pytester.path / "out").checks[0]
    lost = sum(1 for n, page, _ in pairwise_cells() if (n, page) == (1, 1))
    assert lost >= 1
    assert check.cells.covered == 12 - lost


def pairwise_cells() -> tuple[tuple[int, int, int], ...]:
    from harness.coverage import Depth, Matrix, group

    matrix = Matrix.of(group(n=range(4)), group(page=range(3)), group(none=range(2)))
    return matrix.plan(Depth.PAIRWISE)


def test_a_cell_for_each_item_or_none(pytester: pytest.Pytester) -> None:
    terminal = run_suite(
        pytester, PLANNED + "\n@rule\ndef test_short(check):\n    run_with(check, [load(check)], [(1,), (2,)])\n"
    )
    assert "1 items show 2 cells; give one, or None, for each" in terminal


def test_items_that_show_no_cell_are_not_counted(pytester: pytest.Pytester) -> None:
    body = "    go(check, check.plan(group(n=range(4)), group(page=range(3)), group(none=range(2))))\n"
    assert body in PLANNED
    run_suite(pytester, PLANNED.replace(body, body[:-2] + ", [load(check, 8)] * 5)\n"))
    check = read_run(pytester.path / "out").checks[0]
    assert (check.cells.covered, check.probes) == (12, 17)
    lines = (pytester.path / "out/results.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["cells"] == {"small": {"covered": 12, "total": 24}}
