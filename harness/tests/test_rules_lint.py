"""The linter, with one finding for each way to break a catalogue, and the command ``realmcheck rules``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from harness.cli import rules as command
from harness.errors import BadInputError, MisuseError
from harness.rules import collect
from harness.rules.catalogue import load_catalogue
from harness.rules.lint import lint
from harness.tests.report_samples import RULES, THREATS, parser_with, write_rules

TESTS = {
    "suites/gpt/test_gpi.py::test_matrix[a]": ("GPC-001",),
    "suites/gpt/test_gpi.py::test_matrix[b]": ("GPC-001",),
    "suites/gpt/test_gpi.py::test_level": ("GPC-002",),
}
MUTANTS = {"gpi-any": ("GPC-001",), "level-zero": ("GPC-002", "GPC-001")}
KILLS = {"gpi-any": True, "level-zero": True}


def kinds(tmp_path: Path, *, rules: str = RULES, threats: str = THREATS, **changes: Any) -> list[tuple[str, str]]:
    catalogue = load_catalogue(write_rules(tmp_path / "rules", rules, threats=threats))
    arguments: dict[str, Any] = {"tests": TESTS, "mutants": MUTANTS, "kills": KILLS} | changes
    findings = lint(catalogue, arguments["tests"], arguments["mutants"], arguments["kills"])
    assert all("\n" not in finding.message for finding in findings)
    return [(finding.kind.value, finding.subject) for finding in findings]


def test_a_sound_catalogue_has_no_finding(tmp_path: Path) -> None:
    assert kinds(tmp_path) == []
    assert kinds(tmp_path, kills=None) == []


def test_a_rule_without_test(tmp_path: Path) -> None:
    tests = {node: rules for node, rules in TESTS.items() if "level" not in node}
    assert kinds(tmp_path, tests=tests) == [("unknown-test", "GPC-002"), ("rule-without-test", "GPC-002")]


def test_a_test_without_rule_is_named_once(tmp_path: Path) -> None:
    tests = TESTS | {"suites/x.py::test_y[1]": (), "suites/x.py::test_y[2]": ()}
    assert kinds(tmp_path, tests=tests) == [("test-without-rule", "suites/x.py::test_y")]


def test_a_test_that_cites_what_does_not_exist(tmp_path: Path) -> None:
    tests = TESTS | {"suites/x.py::test_y": ("GPC-777",)}
    assert kinds(tmp_path, tests=tests) == [("unknown-rule", "suites/x.py::test_y")]


def test_a_test_that_its_rule_does_not_list(tmp_path: Path) -> None:
    tests = TESTS | {"suites/x.py::test_y": ("GPC-001",)}
    assert kinds(tmp_path, tests=tests) == [("unknown-test", "suites/x.py::test_y")]


def test_a_listed_test_that_does_not_cite_the_rule(tmp_path: Path) -> None:
    rules = RULES.replace('::test_level"]', '::test_level", "suites/gpt/test_gpi.py::test_matrix"]')
    assert kinds(tmp_path, rules=rules) == [("unknown-test", "GPC-002")]


def test_a_rule_without_a_killed_mutant(tmp_path: Path) -> None:
    assert kinds(tmp_path, mutants={"gpi-any": ("GPC-001",)}) == [("rule-without-mutant", "GPC-002")]
    assert kinds(tmp_path, kills={"gpi-any": True}) == [
        ("rule-without-mutant", "GPC-002"),
        ("mutant-survived", "level-zero"),
    ]


def test_a_mutant_of_an_unknown_rule_and_an_unknown_mutant(tmp_path: Path) -> None:
    extra = {"odd": ("GPC-777",)}
    assert kinds(tmp_path, mutants=MUTANTS | extra, kills=KILLS | {"odd": True}) == [("unknown-rule", "odd")]
    rules = RULES.replace("tests =", 'mutants = ["gone"]\ntests =', 1)
    assert kinds(tmp_path, rules=rules) == [("unknown-mutant", "GPC-001")]


def test_threats_and_profiles(tmp_path: Path) -> None:
    assert kinds(tmp_path, rules=RULES.replace('"T-READ"', '"T-GONE"', 1)) == [("unknown-threat", "GPC-001")]
    assert kinds(tmp_path, threats=THREATS + THREATS.replace("T-READ", "T-IDLE")) == [("unused-threat", "T-IDLE")]
    rules = RULES.replace('profiles = ["rme-gpc"]', "", 1)
    assert kinds(tmp_path, rules=rules) == [("rule-without-profile", "GPC-001")]


@pytest.fixture
def suites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with two tests, collected by a pytest that sees this checkout and no installed plugins."""
    folder = tmp_path / "suites/gpt"
    folder.mkdir(parents=True)
    (folder / "test_gpi.py").write_text(
        "import pytest\n"
        "@pytest.mark.rule('GPC-001')\n@pytest.mark.parametrize('n', 'ab')\ndef test_matrix(n): raise SystemExit\n"
        "@pytest.mark.rule('GPC-002', 'GPC-001')\ndef test_level(): pass\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n")
    monkeypatch.chdir(tmp_path)
    root = str(Path(__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    return Path("suites")


def test_marks_are_collected_without_running_anything(suites: Path) -> None:
    assert collect.collect_tests(suites) == {
        "suites/gpt/test_gpi.py::test_matrix[a]": ("GPC-001",),
        "suites/gpt/test_gpi.py::test_matrix[b]": ("GPC-001",),
        "suites/gpt/test_gpi.py::test_level": ("GPC-002", "GPC-001"),
    }


def test_a_suite_that_cannot_be_collected_is_one_line(suites: Path) -> None:
    (suites / "gpt/test_broken.py").write_text("import nothing_like_this\n")
    with pytest.raises(MisuseError, match=r"cannot be collected: .*error.*; run pytest --coll") as caught:
        collect.collect_tests(suites)
    assert "\n" not in str(caught.value)


def test_an_empty_suite_is_no_error(tmp_path: Path, suites: Path) -> None:
    (suites / "gpt/test_gpi.py").unlink()
    assert collect.collect_tests(suites) == {}


def test_the_command_lists_shows_and_lints(
    tmp_path: Path, suites: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rules(tmp_path / "suites/rules", RULES.replace('test_level"]', 'test_level"]\nmutants = ["level-zero"]'))
    monkeypatch.setattr(command, "collect_mutants", lambda: MUTANTS)

    def run(*arguments: str) -> tuple[int, str]:
        args = parser_with(command).parse_args(["rules", *arguments])
        code = args.run(args)
        return code, capsys.readouterr().out

    assert run("list") == (
        0,
        "GPC-001  mandatory    Access from a foreign PAS faults\n"
        "GPC-002  optional     The fault reports its level\n"
        "GPC-090  reserved     External debug respects the GPC\n",
    )
    code, text = run("show", "GPC-090")
    assert code == 0 and "NOT_APPLICABLE: no target offers" in text and "T-READ: A hypervisor" in text
    assert json.loads(run("show", "GPC-001", "--json")[1])["level"] == "mandatory"
    assert len(json.loads(run("--json", "list")[1])) == 3
    code, text = run("lint")
    assert code == 1
    assert text.startswith("unknown-test: suites/gpt/test_gpi.py::test_level: cites GPC-001, whose 'tests'")
    (tmp_path / "kills.json").write_text('{"killed": ["gpi-any"], "survived": ["level-zero"]}')
    kinds = [finding["kind"] for finding in json.loads(run("lint", "--json", "--kills", "kills.json")[1])]
    assert kinds == ["rule-without-mutant", "unknown-test", "mutant-survived"]
    with pytest.raises(MisuseError, match="no rule 'GPC-5'; see realmcheck rules list"):
        run("show", "GPC-5")
    (tmp_path / "kills.json").write_text("[]")
    with pytest.raises(BadInputError, match="is not a kill table; write it with realmcheck mutants --json"):
        run("lint", "--kills", "kills.json")
