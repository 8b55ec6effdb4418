"""Wrong options and damaged files of a run: one line that names the thing and the remedy, and no results directory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.report import ResultWriter, open_run_directory
from harness.tests.report_samples import header
from harness.tests.suite_project import GOOD, OPTIONS, PRELUDE, RULES, make

pytest_plugins = ["pytester"]


def refused(pytester: pytest.Pytester, *arguments: str) -> str:
    """The last line that a refused run says; it must not have made a results directory."""
    result = pytester.runpytest_inprocess(*OPTIONS, *arguments, "suites")
    assert result.ret == pytest.ExitCode.USAGE_ERROR, result.stdout.str()
    assert not (pytester.path / "out").exists()
    lines = [line for line in result.stderr.lines if line.strip()]
    assert not any("Traceback" in line for line in lines)
    return "\n".join(lines)


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("way", ["option", "environment"])
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "missing: does not exist; name a qemu-system-aarch64"),
        ("old", "old: QEMU 7.2.0 has no RME; name a qemu-system-aarch64 of 8.1 or newer"),
        ("plain", "plain: is not executable; name a qemu-system-aarch64"),
        ("folder", "folder: is not executable; name a qemu-system-aarch64"),
        ("other", "other: does not answer --version as QEMU does: hello"),
    ],
)
def test_a_wrong_qemu(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, kind: str, message: str, way: str
) -> None:
    make(pytester.path)
    path = pytester.path / kind
    match kind:
        case "old":
            script(path, "echo 'QEMU emulator version 7.2.0 (Debian 1:7.2+dfsg-7)'")
        case "plain":
            path.write_text("text")
        case "folder":
            path.mkdir()
        case "other":
            script(path, "echo hello")
    if way == "environment":
        monkeypatch.setenv("REALMCHECK_QEMU", str(path))
        assert message in refused(pytester)
    else:
        assert message in refused(pytester, f"--qemu={path}")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:3000], "truncated: 3000 bytes, segment 0 needs"),
        (lambda data: data[:40], "not a readable ELF file"),
        (lambda data: b"", "not a readable ELF file"),
        (lambda data: b"text\n", "not a readable ELF file"),
        (lambda data: data[:18] + b"\x3e" + data[19:], "built for EM_X86_64"),
    ],
    ids=["truncated", "headers cut", "empty", "text", "x86"],
)
def test_a_wrong_probe(
    pytester: pytest.Pytester, probe_elf: Path, damage: Callable[[bytes], bytes], message: str
) -> None:
    make(pytester.path)
    qemu = script(pytester.path / "qemu", "echo 'QEMU emulator version 11.1.3'")
    path = pytester.path / "probe.elf"
    path.write_bytes(damage(probe_elf.read_bytes()))
    said = refused(pytester, f"--qemu={qemu}", f"--probe={path}")
    assert f"{path}: {message}" in said
    assert "build it again" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target=nonsense"], "unknown target 'nonsense'; known are qemu, model, mutant:NAME"),
        (["--target="], "unknown target ''; known are"),
        (["--target=mutant:nonsense"], "no mutant 'nonsense'; 'realmcheck mutants --list' prints their names"),
        (["--timeout-scale=0"], "--timeout-scale: must be a number above 0 and up to 1000, not '0'"),
        (["--timeout-scale=-1"], "above 0 and up to 1000, not '-1'"),
        (["--timeout-scale=nan"], "above 0 and up to 1000, not 'nan'"),
        (["--timeout-scale=inf"], "above 0 and up to 1000, not 'inf'"),
        (["--timeout-scale=much"], "above 0 and up to 1000, not 'much'"),
        (["--seed=1.5"], "--seed: invalid int value: '1.5'"),
        (["--scale=none"], "--scale: invalid choice: 'none'"),
        (["--rule=GPC-999"], "--rule: no such rule: GPC-999; 'realmcheck rules list' prints the rules"),
        (["--rule=GPC-080", "--rule=NOPE"], "--rule: no such rule: NOPE"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_option(pytester: pytest.Pytester, arguments: list[str], message: str) -> None:
    make(pytester.path)
    assert message in refused(pytester, "--target=model", *arguments)


def test_a_rule_that_no_selected_test_cites_selects_nothing(pytester: pytest.Pytester) -> None:
    make(pytester.path)
    result = pytester.runpytest_inprocess(*OPTIONS, "--target=model", "--rule=GPC-001", "suites")
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_results_that_cannot_be_written(pytester: pytest.Pytester) -> None:
    make(pytester.path)
    (pytester.path / "file").write_text("kept")
    assert "file: cannot be used for results: File exists; give a directory" in refused(
        pytester, "--target=model", "--results=file"
    )
    assert (pytester.path / "file").read_text() == "kept"
    assert "cannot be used for results" in refused(pytester, "--target=model", "--results=/proc/nowhere")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("rules/rules.toml", RULES[: RULES.index("summary") + 15], "is not valid TOML"),
        ("rules/rules.toml", RULES.replace('"mandatory"', "3"), "rule GPC-080, key 'level': must be one of mandatory"),
        ("rules/rules.toml", RULES.replace('"small"', '"large"'), "names unknown profile 'large'"),
        ("rules/rules.toml", "\udcff", "is not UTF-8 text"),
        ("waivers/some.toml", "waiver = 3", "'waiver' is not an array of tables; write [[waiver]]"),
        ("waivers/some.toml", '[[waiver]]\nid = "x"\ntarget = 3', "waiver x, key 'target': must be a string, not 3"),
        ("waivers/some.toml", '[[waiver]]\nid = "x', "is not valid TOML"),
    ],
)
def test_a_damaged_catalogue_or_waiver(pytester: pytest.Pytester, name: str, text: str, message: str) -> None:
    make(pytester.path)
    path = pytester.path / "suites" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.encode(errors="surrogateescape"))
    said = refused(pytester, "--target=model")
    assert str(path) in said
    assert message in said


def test_a_check_outside_the_suites(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(PRELUDE + GOOD)
    result = pytester.runpytest_inprocess(*OPTIONS, "--target=model")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "must lie in a folder suites/, beside its rules/" in result.stderr.str()


def test_a_directory_in_use_is_left_alone(pytester: pytest.Pytester) -> None:
    make(pytester.path)
    (pytester.path / "busy").mkdir()
    writer = ResultWriter(pytester.path / "busy", header())
    before = (pytester.path / "busy/results.jsonl").read_bytes()
    said = refused(pytester, "--target=model", "--results=busy")
    assert "busy: another run is writing its results there; give another --results DIR" in said
    assert (pytester.path / "busy/results.jsonl").read_bytes() == before
    writer.finish(0, complete=True)


def test_views_of_an_earlier_run_are_not_taken_for_this_one(pytester: pytest.Pytester) -> None:
    make(pytester.path)
    assert pytester.runpytest_inprocess(*OPTIONS, "--target=model", "suites").ret == 0
    out = pytester.path / "out"
    views = {name: (out / name).read_bytes() for name in ("report.html", "junit.xml")}
    open_run_directory(out)
    assert [path.name for path in out.iterdir() if path.name in (*views, "results.jsonl")] == []
    for pattern in ("report-*.html", "junit-*.xml"):
        (kept,) = out.glob(pattern)
        assert kept.read_bytes() == views[pattern.replace("-*", "")]
