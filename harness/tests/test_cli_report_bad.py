"""``realmcheck report`` on what is no run, or not all of one: one line, exit status 3; 2 where a run broke off."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.cli import main
from harness.report import BatchStore
from harness.tests.report_samples import check, header, write_run
from harness.tests.suite_project import PROFILES, RULES, environment

Change = Callable[[list[bytes]], bytes]


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    directory = tmp_path / "rules"
    directory.mkdir()
    (directory / "rules.toml").write_text(RULES)
    (directory / "profiles.toml").write_text(PROFILES)
    return directory


def report(directory: Path, rules: Path, *options: str) -> int:
    return main(["report", str(directory), "--rules", str(rules), *options])


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("realmcheck: ")
    return err


def number(digits: int) -> bytes:
    return b'{"kind":"check","attempt":' + b"9" * digits + b"}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: b"", "holds no complete line; the run ended before its header was written"),
        (lambda lines: lines[0], "holds no complete line"),
        (lambda lines: bytes(range(128, 256)) * 40 + b"\n", "line 1: not UTF-8 text"),
        (lambda lines: b"\n", "line 1: not JSON"),
        (lambda lines: b"\0" * 4096 + b"\n", "line 1: not JSON"),
        (lambda lines: lines[0].replace(b'"schema":1', b'"schema":2') + b"\n", "line 1: results schema version 2"),
        (lambda lines: lines[0] + b"\n" + number(5000) + b"\n", "line 2: a number that cannot be read: Exceeds"),
        (lambda lines: lines[0] + b'\n{"kind":"end","duration":NaN}\n', "line 2: a number that cannot be read: NaN"),
        (lambda lines: lines[0] + b'\n{"kind":"end","duration":1e999}\n', "line 2: a number that cannot be read: 1e"),
        (lambda lines: lines[0] + b'\n{"kind":"check","test":"\\ud800"}\n', "line 2: half a surrogate pair is no text"),
        (lambda lines: lines[0] + b'\n{"kind":["check"]}\n', "line 2: unknown kind ['check']"),
        (lambda lines: b"\n".join([lines[0], lines[1], lines[1], lines[2], b""]), "counts 1 checks, the file holds 2"),
        (lambda lines: b"\n".join([lines[0], lines[2], b""]), "counts 1 checks, the file holds 0"),
    ],
    ids=["emptied", "torn header", "binary", "blank", "zeros", "schema", "huge number", "NaN", "infinite", "surrogate",
         "kind", "check twice", "check missing"],
)  # fmt: skip
def test_results_that_are_none(
    tmp_path: Path, rules: Path, capsys: pytest.CaptureFixture[str], change: Change, message: str
) -> None:
    path = write_run(tmp_path / "run", check()) / "results.jsonl"
    path.write_bytes(change(path.read_bytes().splitlines()))
    assert report(tmp_path / "run", rules) == 3
    said = one_line(capsys)
    assert str(path) in said and message in said


def test_a_directory_that_is_none(tmp_path: Path, rules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for directory in (tmp_path / "missing", tmp_path, tmp_path / "file"):
        (tmp_path / "file").write_text("")
        assert report(directory, rules) == 3
        assert "give the directory of a run, such as results/latest" in one_line(capsys)


def test_rules_that_are_none(tmp_path: Path, rules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "run", check())
    assert report(tmp_path / "run", tmp_path / "missing") == 3
    assert "holds no rule catalogue; run in the project or give --rules DIR" in one_line(capsys)
    (rules / "rules.toml").write_text(RULES[:100])
    assert report(tmp_path / "run", rules) == 3
    assert "rules.toml: is not valid TOML" in one_line(capsys)


def test_a_torn_last_line_is_an_interrupted_run(
    tmp_path: Path, rules: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_run(tmp_path / "run", check(rules=("GPC-080",)), check(rules=("GPC-080",))) / "results.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.rindex(b'{"kind":"end"') - 30])
    assert report(tmp_path / "run", rules) == 2
    assert "interrupted: the run has no end line" in capsys.readouterr().out


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "replace"])
def test_a_damaged_batch_is_found(tmp_path: Path, rules: Path, capsys: pytest.CaptureFixture[str], damage: str) -> None:
    (tmp_path / "run").mkdir()
    store = BatchStore(tmp_path / "run")
    name = store.store(os.urandom(4000), bytes(4000))
    write_run(tmp_path / "run", check(rules=("GPC-080",), batches=(name,)))
    assert report(tmp_path / "run", rules, "--check") != 3
    capsys.readouterr()
    path, data = store.path(name), bytearray(store.path(name).read_bytes())
    match damage:
        case "flip":
            data[len(data) // 2] ^= 0x10
        case "cut":
            del data[-1:]
        case "replace":
            data[:] = b"text"
    path.write_bytes(data)
    if damage == "remove":
        path.unlink()
    assert report(tmp_path / "run", rules, "--check") == 3
    said = one_line(capsys)
    assert str(path) in said and "copy the run directory again" in said


def test_output_that_cannot_be_written_is_no_verdict(tmp_path: Path, rules: Path) -> None:
    write_run(tmp_path / "run", check(rules=("GPC-080",)), head=header())
    script = "import sys; from harness.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", script, "report", "run", "--rules", str(rules)]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command, cwd=tmp_path, env=environment(), stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 3
    assert done.stderr == "realmcheck: No space left on device; free space or check the path\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "invalid choice: 'nonsense'"),
        ([], "required: COMMAND"),
        (["report"], "required: DIR"),
        (["mutants", "--subject=nonsense"], "there are no mutants of subject 'nonsense'; subjects: "),
        (["mutants", "--jobs=0"], "--jobs must be 1 or more, not 0"),
        (["rules", "--rules=/nonexistent", "list"], "holds no rule catalogue"),
        (["images", "path", "nonsense"], "nonsense"),
    ],
)
def test_misuse_of_the_command(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    try:
        status = main(arguments)
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else -1
    out, err = capsys.readouterr()
    assert (status, out) == (3, "")
    assert message in err and "Traceback" not in err


def test_json_of_the_summary_says_that_a_run_broke_off(
    tmp_path: Path, rules: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "run", check(rules=("GPC-080",)), status=None)
    assert report(tmp_path / "run", rules, "--json") == 2
    said = json.loads(capsys.readouterr().out)
    assert (said["result"], said["interrupted"], said["complete"]) == ("INCONCLUSIVE", True, False)
    assert "no end line" in said["problems"][0]
