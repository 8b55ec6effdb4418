"""``realmcheck compare``: one screen, everything as JSON, and an exit status that a script can use."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.cli import main
from harness.report import CheckResult, Counts, Verdict
from harness.tests.report_samples import WAIVER, check, header, write_rules, write_run
from images.image import Provenance

SCREEN = 66
"""Lines of a tall terminal."""
ABORT = "one level 0 entry: the target is lost, aborted (SIGABRT) (qemu: assertion " + "length " * 60 + "failed)"


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    return write_rules(tmp_path / "rules")


def run(tmp_path: Path, name: str, *checks: CheckResult, seed: int = 1, status: int | None = 0) -> Path:
    return write_run(tmp_path / name, *checks, head=header(seeds={"seed": str(seed)}), status=status)


def failed(signature: str, count: int = 1, rule: str = "GPC-001") -> CheckResult:
    counts = Counts(stimuli=count, judged=count, failed=count)
    return check(Verdict.FAIL, rules=(rule,), signatures={signature: count}, counts=counts, cases=())


def command(rules: Path, *arguments: Path | str) -> int:
    return main(["compare", *map(str, arguments), "--rules", str(rules)])


def test_a_run_is_like_itself(tmp_path: Path, rules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = run(tmp_path, "a", check(), check(rules=("GPC-002",), test="suites/gpt/test_gpi.py::test_level"))
    assert command(rules, a, a) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"A: qemu 11.1.3: conforming ({a}, seed 1)",
        f"B: qemu 11.1.3: conforming ({a}, seed 1)",
        "rules: 0 differ, 0 unclear, 2 the same",
    ]


def test_what_differs_is_shown(tmp_path: Path, rules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = run(tmp_path, "a", failed("EC=0x25", 3), check(rules=("GPC-777",)))
    b = write_run(
        tmp_path / "b",
        check(Verdict.FAIL, signatures={"EC=0x26": 1}, waived={"qemu-1": 1}, cases=(),
              counts=Counts(stimuli=2, judged=2, failed=1, waived=1)),
        failed("boom", rule="GPC-777"),
        head=header(
            seeds={"seed": "1"}, waivers=(WAIVER,),
            provenance=(Provenance(name="QEMU", path="/q", sha256="ee" * 32, version="12"),),
        ),
    )  # fmt: skip
    assert command(rules, a, b) == 1
    out = capsys.readouterr().out
    assert out.partition("rules: ")[2] == (
        """2 differ, 0 unclear, 0 the same

worse: GPC-777 PASS -> FAIL  not in the catalogue
  new, 1 x: boom
deviations: GPC-001 FAIL -> FAIL  Access from a foreign PAS faults
  new, 1 x: EC=0x26
  3 x -> 1 x waived: EC=0x25

binaries:
  QEMU: sha256 abababababababab -> 12 sha256 eeeeeeeeeeeeeeee
"""
    )


def test_what_an_unclear_rule_lacks_is_neither_new_nor_gone(
    tmp_path: Path, rules: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = run(tmp_path, "a", failed("EC=0x25")), run(tmp_path, "b", check(Verdict.INCONCLUSIVE))
    assert command(rules, a, b) == 2
    assert "  only in A, 1 x: EC=0x25\n" in capsys.readouterr().out
    assert command(rules, b, a) == 2
    assert "  only in B, 1 x: EC=0x25\n" in capsys.readouterr().out


def test_much_still_fits_a_screen(tmp_path: Path, rules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"R-{number:03}" for number in range(100)]
    many = tuple(replace(WAIVER, id=f"unused-{number}") for number in range(50))
    binaries = tuple(Provenance(name=f"file {number}", path="/f", sha256="ab" * 32) for number in range(50))
    texts = [ABORT, "x" * 1000, "y", "z"]
    a = run(tmp_path, "a", *(check(rules=(name,)) for name in names), check())
    b = write_run(
        tmp_path / "b",
        *(
            check(Verdict.FAIL, rules=(name,), signatures=dict.fromkeys(texts, 1), cases=(),
                  counts=Counts(stimuli=4, judged=4, failed=4))
            for name in names
        ),
        check(),
        head=header(waivers=many, provenance=binaries),
    )  # fmt: skip
    assert command(rules, a, b) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= SCREEN and max(map(len, lines[2:])) <= 120
    shown = sum(line.startswith("worse: ") for line in lines)
    assert 0 < shown < 100
    for left_out in (f"and {100 - shown} more rules", "  and 1 more", "  and 45 more", "more notes"):
        assert any(left_out in line for line in lines)
    assert command(rules, a, b, "--json") == 1
    everything = json.loads(capsys.readouterr().out)
    assert len(everything["rules"]) == 100 and len(everything["provenance"]) == 51
    assert [item["signature"] for item in everything["rules"][0]["deviations"]] == texts


def test_json(tmp_path: Path, rules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = run(tmp_path, "a", check(), failed("x", 1, "R-1"), check(rules=("R-2",)))
    b = run(tmp_path, "b", failed("y"), failed("x", 2, "R-1"), seed=2)
    assert command(rules, a, b, "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert found["exit_status"] == 1 and found["same_stimuli"] is False and found["same"] == ["R-1"]
    assert found["a"]["directory"] == str(a) and found["b"]["seeds"] == {"seed": "2"}
    assert found["rules"] == [
        {"id": "GPC-001", "kind": "worse", "a": "PASS", "b": "FAIL",
         "deviations": [{"signature": "y", "a": None, "b": {"count": 1, "waiver": ""}}]},
        {"id": "R-2", "kind": "only in A", "a": "PASS", "b": None, "deviations": []},
        {"id": "R-1", "kind": "same", "a": "FAIL", "b": "FAIL",
         "deviations": [{"signature": "x", "a": {"count": 1, "waiver": ""}, "b": {"count": 2, "waiver": ""}}]},
    ]  # fmt: skip


def test_an_interrupted_run(tmp_path: Path, rules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = run(tmp_path, "a", check()), run(tmp_path, "b", check(), status=None)
    assert command(rules, a, b) == 2
    assert "note: B: interrupted: the run has no end line" in capsys.readouterr().out


def test_bad_input_is_one_line_and_status_3(tmp_path: Path, rules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = run(tmp_path, "a", check())
    broken = run(tmp_path, "b", check())
    (broken / "results.jsonl").write_bytes(b"garbage\n")
    for first, second, place in (
        (good, tmp_path / "none", "none/results.jsonl: cannot be read"),
        (broken, good, "results.jsonl: line 1: not JSON"),
    ):
        assert command(rules, first, second) == 3
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1 and place in err
    assert command(tmp_path / "no-rules", good, good) == 3
    assert capsys.readouterr().err.count("\n") == 1


def test_both_directories_are_needed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["compare", str(tmp_path)])
    assert caught.value.code == 3
    assert "RESULTS_B" in capsys.readouterr().err
