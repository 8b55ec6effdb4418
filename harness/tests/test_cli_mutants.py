"""``realmcheck mutants``: what its exit status and its lines say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness import cli
from harness.cli import mutants
from harness.cli.mutants import Kill
from harness.tests import suite_project
from refmodel.mutants import by_name

MUTANT = replace(by_name("reserved-size-kills-machine"), subject="small")
KILLED, SURVIVED = Kill(MUTANT, ("GPC-080",), ()), Kill(MUTANT, (), ())
NOT_RUN = Kill(MUTANT, (), (), "pytest exit status 4", ran=False)
KILLED_ALL_THE_SAME = replace(KILLED, ran=False)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(mutants, "MUTANTS", (MUTANT,))
    monkeypatch.chdir(suite_project.make(tmp_path))
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["harness.plugin"]\n')
    return tmp_path


@pytest.mark.parametrize(
    ("kills", "status"),
    [
        ((KILLED,), 0),
        ((KILLED_ALL_THE_SAME,), 0),
        ((KILLED, SURVIVED), 1),
        ((KILLED, NOT_RUN), 2),
        ((SURVIVED, NOT_RUN), 1),
    ],
    ids=["killed", "killed-and-broken-off", "survived", "not-run", "survived-and-not-run"],
)
def test_the_exit_status(
    kills: tuple[Kill, ...], status: int, project: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    left: Iterator[Kill] = iter(kills)
    monkeypatch.setattr(mutants, "MUTANTS", (MUTANT,) * len(kills))
    monkeypatch.setattr(mutants, "hunt", lambda *arguments: left)
    assert cli.main(["mutants", "--json", "--jobs=1"]) == status
    found = json.loads(capsys.readouterr().out)
    lists = {"killed": KILLED, "survived": SURVIVED, "not_run": NOT_RUN}
    for name, like in lists.items():
        same = [k for k in kills if (k.killed, k.unknown) == (like.killed, like.unknown)]
        assert len(found[name]) == len(same)


def test_a_suite_that_notices_nothing_is_1(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["mutants"]) == 1
    assert "SURVIVED\n0 of 1 mutants killed\n" in capsys.readouterr().out


@pytest.mark.parametrize("broken", ["def test_it(:\n", "import nothing_of_that_name\n"], ids=["syntax", "import"])
def test_a_suite_that_cannot_run_is_2(broken: str, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "suites/small/test_small.py").write_text(broken)
    assert cli.main(["mutants"]) == 2
    out = capsys.readouterr().out
    assert "NOT RUN: the suite did not run: E  " in out and "0 of 1 mutants killed, 1 not run\n" in out


def test_a_mutant_that_no_test_is_about_has_survived(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "suites/small/test_small.py").write_text("")
    assert cli.main(["mutants"]) == 1
    assert "SURVIVED: no test cites its rules" in capsys.readouterr().out
