"""Writing and reading runs: SIGKILL, torn lines, garbage, a full disk, the run directory, the published schema."""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness import report
from harness.errors import BadInputError, MisuseError
from harness.report import (
    Cells,
    CheckResult,
    Counts,
    FailingCase,
    Outcome,
    ResultWriter,
    RunEnd,
    RunHeader,
    TargetRecord,
    Verdict,
    Waiver,
    open_run_directory,
    read_run,
)
from harness.report.schema import check_lines, check_run, validator
from harness.targets.target import Layout, TargetInfo, Window
from harness.tests.report_samples import WAIVER, case, check, header, write_run
from images.image import Provenance

SCHEMA: dict[str, Any] = json.loads((Path(report.__file__).parent / "results.schema.json").read_text())


def test_a_run_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    checks = (check(), check(Verdict.FAIL, cases=(case(1), case(2))), check(Verdict.NOT_OBSERVABLE))
    head = header(waivers=(WAIVER,), profiles=("rme-gpc",))
    run = read_run(write_run(tmp_path, *checks, head=head, status=1))
    assert (run.header, run.checks) == (head, checks)
    assert run.end is not None
    assert (run.end.exit_status, run.end.checks, run.end.counts.failed) == (1, 3, 2)
    assert run.complete and not run.interrupted and not run.torn


def test_the_last_target_line_wins(tmp_path: Path) -> None:
    info = TargetInfo(
        name="qemu",
        kind="qemu",
        version="11.1.4",
        self_test=False,
        layout=Layout(probe=(), tables=Window(base=0, size=1), test=()),
        id_registers={"ID_AA64PFR0_EL1": 0x11},
        features={"FEAT_RME": True, "GPT": 2, "FEAT_MEC": False},
    )
    writer = ResultWriter(tmp_path, header())
    writer.target(TargetRecord.of(info))
    writer.finish(0, complete=True)
    target = read_run(tmp_path).target
    assert target.version == "11.1.4"
    assert target.id_registers == {"ID_AA64PFR0_EL1": "0x11"}
    assert target.features == {"FEAT_RME": "present", "GPT": "2", "FEAT_MEC": "absent"}


def test_features_that_rules_cite_come_from_the_id_registers() -> None:
    registers = {"ID_AA64PFR0_EL1": 2 << 52, "ID_AA64MMFR0_EL1": 6, "ID_AA64ISAR0_EL1": 0}
    info = TargetInfo(
        name="qemu", kind="qemu", version="10.0", self_test=False, id_registers=registers, features={"l0gptsz": 30},
        layout=Layout(probe=(), tables=Window(base=0, size=1), test=()),
    )  # fmt: skip
    features = TargetRecord.of(info).features
    wanted = {"FEAT_RME_GPC2": "present", "FEAT_RME_GPC3": "absent", "FEAT_LSE": "absent", "l0gptsz": "30"}
    assert {name: features[name] for name in wanted} == wanted


def test_every_line_is_on_disk_at_once_and_survives_sigkill(tmp_path: Path) -> None:
    script = f"""
import os, signal
from pathlib import Path
from harness.report import ResultWriter
from harness.tests.report_samples import check, header
writer = ResultWriter(Path({str(tmp_path)!r}), header())
for number in range(5):
    writer.add(check(test=f"t::{{number}}"))
os.kill(os.getpid(), signal.SIGKILL)
"""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, check=False)
    assert done.returncode == -signal.SIGKILL
    run = read_run(tmp_path)
    assert [item.test for item in run.checks] == [f"t::{number}" for number in range(5)]
    assert run.end is None and run.interrupted and not run.complete


def test_a_torn_last_line_is_left_out_wherever_it_is_cut(tmp_path: Path) -> None:
    path = write_run(tmp_path, check(), check(), status=None) / "results.jsonl"
    whole = path.read_bytes()
    start = whole[:-1].rindex(b"\n") + 1
    for cut in (start + 1, start + 20, len(whole) - 1):
        path.write_bytes(whole[:cut])
        run = read_run(tmp_path)
        assert (len(run.checks), run.torn, run.interrupted) == (1, True, True)


@pytest.mark.parametrize(
    ("line", "text", "message"),
    [
        (2, b"{nonsense", "line 2: not JSON"),
        (2, b"\xff\xfe", "line 2: not UTF-8"),
        (2, b"[1]", "line 2: not a JSON object"),
        (2, b"[" * 100000, "line 2: not JSON"),
        (2, b'{"kind":"chek"}', "line 2: unknown kind 'chek'"),
        (2, b'{"kind":"target"}', "line 2: TargetRecord must be an object"),
        (3, b'{"kind":"check","test":"t","rules":[]}', "line 3: verdict is missing"),
        (3, b'{"kind":"check","test":"t","rules":[],"verdict":"PASS"}', "line 3: t: a PASS needs"),
        (1, b'{"kind":"check"}', "line 1: the first line is not a run header"),
        (1, b'{"kind":"run","schema":2,"realmcheck":"9.9"}', "line 1: results schema version 2.*realmcheck 9.9"),
    ],
)
def test_garbage_is_named_with_its_line(tmp_path: Path, line: int, text: bytes, message: str) -> None:
    path = write_run(tmp_path, check(), check()) / "results.jsonl"
    lines = path.read_bytes().split(b"\n")
    lines[line - 1] = text
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(BadInputError, match=message) as caught:
        read_run(tmp_path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_without_header_or_with_lines_missing_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="results/latest"):
        read_run(tmp_path / "nowhere")
    path = write_run(tmp_path, check(), check()) / "results.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], lines[1], lines[3]]))
    with pytest.raises(BadInputError, match="counts 2 checks, the file holds 1"):
        read_run(tmp_path)
    path.write_bytes(b"".join([*lines, lines[1]]))
    with pytest.raises(BadInputError, match="line 5: a line after the end line"):
        read_run(tmp_path)
    path.write_bytes(lines[0][:10])
    with pytest.raises(BadInputError, match="no complete line"):
        read_run(tmp_path)


def test_a_full_disk_is_one_clear_line_and_loses_nothing(tmp_path: Path) -> None:
    writer = ResultWriter(tmp_path, header())
    writer.add(check())
    size = (tmp_path / "results.jsonl").stat().st_size
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50, limits[1]))
        with pytest.raises(MisuseError, match=r"could not be written.*1 checks before it are kept; free space"):
            writer.add(check())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert len(read_run(tmp_path).checks) == 1 and not read_run(tmp_path).torn
    writer.add(check())
    writer.finish(0, complete=True)
    assert len(read_run(tmp_path).checks) == 2


def test_a_writer_never_overwrites(tmp_path: Path) -> None:
    write_run(tmp_path, check())
    with pytest.raises(MisuseError, match="cannot be created"):
        ResultWriter(tmp_path, header())


def test_the_default_directory_is_linked_as_latest(tmp_path: Path) -> None:
    first = open_run_directory(root=tmp_path / "results")
    assert first.name.endswith(f"Z-{os.getpid()}")
    assert (tmp_path / "results/latest").resolve() == first.resolve()
    (tmp_path / "results/latest").unlink()
    (tmp_path / "results/latest").symlink_to("gone")
    again = open_run_directory(root=tmp_path / "results")
    assert (tmp_path / "results/latest").resolve() == again.resolve()


def test_an_explicit_directory_keeps_earlier_results(tmp_path: Path) -> None:
    for expected in (0, 1, 2):
        directory = open_run_directory(tmp_path / "mine")
        assert directory == tmp_path / "mine"
        assert len(list(directory.glob("results-*.jsonl"))) == expected
        write_run(directory, check())
    assert not (tmp_path / "latest").exists()


def test_a_directory_that_cannot_be_made_is_misuse(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MisuseError, match="--results DIR"):
        open_run_directory(tmp_path / "file")


def test_every_written_line_fits_the_published_schema(tmp_path: Path) -> None:
    checks = [check(verdict) for verdict in Verdict]
    write_run(tmp_path, *checks, head=header(waivers=(WAIVER,)))
    path = tmp_path / "results.jsonl"
    check_lines(path.read_bytes().splitlines(), path)
    assert check_run(read_run(tmp_path)) == 0


@pytest.mark.parametrize(
    ("change", "where"),
    [({"verdict": "GOOD"}, "verdict"), ({"attempt": 0}, "attempt"), ({"batches": ["x"]}, "batches/0"), ({"x": 1}, "")],
)
def test_the_schema_refuses(tmp_path: Path, change: dict[str, Any], where: str) -> None:
    path = write_run(tmp_path, check()) / "results.jsonl"
    line = json.loads(path.read_bytes().splitlines()[1]) | change
    with pytest.raises(BadInputError, match=f"line 1{', ' + where if where else ''}:"):
        check_lines([json.dumps(line).encode()], path)


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        (RunHeader, "run"),
        (RunEnd, "end"),
        (CheckResult, "check"),
        (FailingCase, "case"),
        (Outcome, "outcome"),
        (Counts, "counts"),
        (Cells, "cells"),
        (TargetRecord, "target"),
        (Provenance, "provenance"),
        (Waiver, "waiver"),
    ],
)
def test_schema_and_layouts_name_the_same_fields(cls: type, name: str) -> None:
    published = SCHEMA["$defs"][name]
    fields = {field.name for field in dataclasses.fields(cls)}
    tag = {"kind"} - fields
    assert set(published["properties"]) - tag == fields
    assert set(published["required"]) - tag <= fields


def test_the_schema_is_a_valid_schema() -> None:
    validator().check_schema(SCHEMA)
