"""Reproducers of the findings on QEMU, from a real results directory: the state, the standalone ELF, the script."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness import cli
from harness.probe.records import Op, World
from harness.report import Run, read_run
from harness.report.records import FailingCase
from harness.state import MemoryBlock, Needs, StateRecord, read_state, state_text
from harness.tests.judge_samples import LOW
from harness.tests.state_samples import OPEN, TABLES, state

PROJECT = Path(__file__).parents[2]
FINDINGS = (
    "test_mfar_low_bits",
    "test_gpcsc_level_on_walk",
    "test_table_above_pps",
    "test_reserved_gpi_of_a_neighbour",
    "test_single_level_0_entry",
    "test_gptbr_above_pps_on_walk",
    "test_deep_table_fetch",
    "test_gpcsc_level_on_walk_from_below",
    "test_external_abort_route[SCR_EL3.EA]",
    "test_external_abort_route[HCR_EL2.TEA]",
    "test_gpt_external_abort_vector",
    "test_protected_size_of_46_bits",
    "test_bypass_window_of_16_gb",
    "test_reserved_bypass_size",
    "test_atomic_is_denied_as_a_read[2]",
    "test_dc_report",
    "test_at_at_el2",
)
ABORTS = ("test_single_level_0_entry", "test_gptbr_above_pps_on_walk", "test_deep_table_fetch")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, qemu_argv: tuple[str, ...], probe_elf: Path) -> Path:
    """A run of the findings and of one random history."""
    version = subprocess.run([*qemu_argv, "--version"], capture_output=True, text=True, check=True).stdout
    if " 11.1." not in version:
        pytest.skip(f"the findings are of QEMU 11.1, this is {version.splitlines()[0]}")
    directory = tmp_path_factory.mktemp("repro") / "run"
    suites = ["suites/gpt/test_findings.py", "suites/gpt/test_sequences.py::test_random_history[PGS_4KB]"]
    command = [sys.executable, "-m", "pytest", "-q", *suites, f"--results={directory}", "--scale=smoke", "--seed=1"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return directory


def first_case(run: Run, test: str) -> FailingCase:
    return next(case for check in run.checks if f"::{test}" in check.test for case in check.cases)


def script(
    directory: Path, qemu: tuple[str, ...], *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(directory / "run.sh"), *arguments],
        env={"PATH": os.environ["PATH"], "QEMU": shlex.join(qemu), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("test", FINDINGS)
def test_each_finding_is_reproduced(
    test: str, results: Path, tmp_path: Path, qemu_argv: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    case = first_case(read_run(results), test)
    name = case.standalone(str(results)).split()[2]
    assert cli.main(["repro", name, "-o", str(tmp_path / "out")]) == 0
    assert "run here: exit status 1" in capsys.readouterr().out
    done = script(tmp_path / "out", qemu_argv)
    assert done.returncode == 1
    assert ("Assertion" if test in ABORTS else "realmcheck case: deviates") in done.stdout
    state = read_state(tmp_path / "out/case.state")
    assert len(state.records) == 1 and state.origin.lost is (test in ABORTS)
    # That of several PEs is shown by no machine with one; the others have lost what they did not need.
    assert state.needs.pes == (2 if test.endswith("[2]") else 1)
    expected = (tmp_path / "out/expected.txt").read_text()
    assert "permitted\n  " in expected and "qemu-system-aarch64 -M virt" in expected
    assert cli.main(["probe", "run", str(tmp_path / "out/case.state")]) == 1
    assert cli.main(["probe", "run", str(tmp_path / "out/case.state"), "--target=model"]) == 0


def test_a_permitted_case_ends_with_0(
    results: Path, tmp_path: Path, qemu_argv: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """The last access of a random history: what comes before it matters only in part."""
    check = next(c for c in read_run(results).checks if "test_random_history" in c.test and c.batches)
    out = tmp_path / "out"
    assert cli.main(["repro", f"{results}:{check.batches[0][:16]}/599", "-o", str(out)]) == 0
    assert "run here: exit status 0" in capsys.readouterr().out
    done = script(out, qemu_argv)
    assert done.returncode == 0 and "realmcheck case: permitted" in done.stdout
    assert len(read_state(out / "case.state").records) < 20

    # The same image with other expectations deviates: the comparison in the firmware is no formality.
    image = bytearray((out / "case.elf").read_bytes())
    at = image.rindex(b"RCCS")
    windows = int.from_bytes(image[at + 20 : at + 24], "little")
    taken = at + 32 + 16 * windows + 128 + 6  # `taken` in the first alternative's value
    for number in range(int.from_bytes(image[at + 24 : at + 28], "little")):
        image[taken + 304 * number] ^= 1
    (out / "case.elf").write_bytes(image)
    assert script(out, qemu_argv).returncode == 1


def test_what_cannot_be_told_is_2_and_skipped_by_a_bisection(
    results: Path, tmp_path: Path, qemu_argv: tuple[str, ...]
) -> None:
    out = tmp_path / "out"
    case = first_case(read_run(results), FINDINGS[0])
    assert cli.main(["repro", case.standalone(str(results)).split()[2], "-o", str(out)]) == 0
    assert script(out, qemu_argv, "--bisect").returncode == 1
    false = (shutil.which("false") or "",)
    assert script(out, false).returncode == 2 and script(out, false, "--bisect").returncode == 125
    assert script(out, ("sleep", "9;"), TIMEOUT="1").returncode == 2
    # An abort is the deviation only where the case is about one.
    abort = tmp_path / "abort"
    abort.write_text("#!/bin/sh\necho realmcheck case: running\nkill -ABRT $$\n")
    abort.chmod(0o755)
    assert script(out, (str(abort),)).returncode == 2


def granules_but_batch() -> bytes:
    """A level 1 table of Any for a gigabyte, but for the granules of the batch."""
    table = bytearray(b"\xff" * (8 << 14))
    at = 8 * (0x0800_0000 >> 16)
    table[at : at + 8] = bytes(8)
    return bytes(table)


@pytest.mark.parametrize(
    ("entry", "table", "said"),
    [(0x01, b"", "running"), (TABLES + 0x20000 | 3, granules_but_batch(), "the probe itself took an exception")],
    ids=["hangs", "reports"],
)
def test_a_state_that_takes_the_probe_down_cannot_be_told(
    entry: int, table: bytes, said: str, tmp_path: Path, qemu_argv: tuple[str, ...],
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The GPT denies the probe its own memory: that is no answer of the machine."""
    monkeypatch.setenv("TIMEOUT", "3")
    words = b"".join(word.to_bytes(8, "little") for word in (OPEN, entry, OPEN))
    memory = [MemoryBlock(pa=TABLES, data=words)] + [MemoryBlock(pa=TABLES + 0x20000, data=table)] * bool(table)
    path = tmp_path / "a.state"
    path.write_text(state_text(state(memory=tuple(memory))))
    assert cli.main(["repro", str(path), "-o", str(tmp_path / "out"), "--keep"]) == 2
    out = capsys.readouterr().out
    assert "the state's tables deny the probe its own memory" in out and "run here: exit status 2" in out
    assert said in script(tmp_path / "out", qemu_argv, TIMEOUT="3").stdout


def test_records_of_other_pes_run_alone(tmp_path: Path, qemu_argv: tuple[str, ...]) -> None:
    """The model does not judge them: they are run and shown."""
    record = StateRecord(op=Op.LOAD, va=LOW, state=World.REALM, el=2, pe=1)
    path = tmp_path / "a.state"
    path.write_text(state_text(state(record, entry=OPEN, needs=Needs(pes=2))))
    assert cli.main(["probe", "run", str(path)]) == 2
    assert cli.main(["repro", str(path), "-o", str(tmp_path / "out")]) == 2
    done = script(tmp_path / "out", qemu_argv)
    assert done.returncode == 2 and "status=1 taken=0" in done.stdout and "cannot tell" in done.stdout


def test_a_probe_that_takes_no_case_is_refused(
    results: Path, tmp_path: Path, probe_elf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own.elf"
    own.write_bytes(probe_elf.read_bytes().replace(b"standalone_case_pa", b"standalone_case_xx"))
    case = first_case(read_run(results), FINDINGS[0])
    name = case.standalone(str(results)).split()[2]
    assert cli.main(["repro", name, "-o", str(tmp_path / "out"), f"--probe={own}"]) == 3
    assert "has no symbol standalone_case_pa, so it cannot take a case; use the probe of this release" in (
        capsys.readouterr().err
    )
