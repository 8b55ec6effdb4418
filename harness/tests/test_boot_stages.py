"""Console text and the graph of stages, without any machine."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.boot.rmm import version_in
from harness.boot.stages import How, Progress, needed
from harness.boot.transcript import Transcript
from harness.tests.boot_samples import MANIFEST, sample
from images.errors import ImageError
from images.stack import Stack

NOISE = ["SMC_R[MS]I_.*"]
TEXT = (
    b"NOTICE:  one\r\n\x1b[6nroot@gu\x1b[1;32mest\x1b[0m:~# \r\r\n"
    b"kvm [1]: VHE modeSMC_RMI_DATA_CREATE 4190 > RMI_SUCCESS\r\n initialized\r\n"
    b"SMC_RMI_VERSION 10000 > RMI_SUCCESS\r\nlast\n"
)
LINES = [
    "NOTICE:  one",
    "root@guest:~# ",
    "kvm [1]: VHE mode initialized",
    "SMC_RMI_VERSION 10000 > RMI_SUCCESS",
    "last",
]


@given(st.lists(st.integers(0, len(TEXT)), max_size=30))
def test_lines_do_not_depend_on_how_the_bytes_arrive(cuts: list[int]) -> None:
    transcript, found = Transcript(NOISE), []
    edges = [0, *sorted(cuts), len(TEXT)]
    for start, end in itertools.pairwise(edges):
        found += transcript.feed(TEXT[start:end])
    assert [line.text for line in found] == LINES
    assert [line.end for line in found][-1] == len(TEXT) == transcript.end


@given(st.binary(max_size=200), st.integers(0, 200))
def test_any_bytes_are_text_and_none_is_lost(data: bytes, cut: int) -> None:
    transcript = Transcript(NOISE)
    lines = transcript.feed(data[:cut]) + transcript.feed(data[cut:])
    assert transcript.end == len(data)
    assert all("\n" not in line.text and "\r" not in line.text for line in lines)
    assert [line.end for line in lines] == sorted({line.end for line in lines})


def test_the_line_that_is_still_arriving() -> None:
    transcript = Transcript(NOISE)
    assert transcript.feed(b"root@gu\x1b[") == [] and transcript.partial == "root@gu"
    assert transcript.feed(b"0mest") == [] and transcript.partial == "root@guest"
    transcript.feed(b"SMC_RSI_VERSION > RSI_SUCCESS\r\n")
    assert transcript.partial == "root@guest"
    transcript.feed(b":~# ")
    assert transcript.partial == "root@guest:~# "


def test_a_line_without_an_end_takes_no_endless_memory() -> None:
    transcript = Transcript()
    for _ in range(100):
        transcript.feed(b"x" * 10000)
    assert len(transcript.partial) <= 1 << 16 and transcript.end == 1_000_000


GRAPH = """
summary = "two consoles that meet"

[machine]
machine = "virt"
cpu = "max"
memory_mib = 64

[consoles]
uart0 = "host"
hvc0 = "realm"

[[stage]]
name = "host"
expect = "Booting Linux"
deadline = 10

[[stage]]
name = "realm"
console = "hvc0"
expect = "Booting Linux"
deadline = 20

[[stage]]
name = "token"
console = "hvc0"
expect = "token"
deadline = 5

[[stage]]
name = "monitor"
after = ["host"]
expect = "ATTEST"
deadline = 30

[[stage]]
name = "off"
after = ["token", "monitor"]
expect = "Power down"
deadline = 5
"""


@pytest.fixture
def graph(tmp_path: Path) -> Stack:
    return sample(tmp_path, GRAPH)


def test_stages_on_two_consoles(graph: Stack) -> None:
    progress = Progress(graph, "off")
    assert [stage.name for stage in progress.under_way] == ["host"] and progress.deadline() == 10
    progress.feed("uart0", b"Booting Linux\n", 1.0)
    assert [stage.name for stage in progress.under_way] == ["realm", "monitor"] and progress.deadline() == 21
    progress.feed("hvc0", b"Booting Linux\ntoken\n", 3.0)
    assert progress.deadline() == 31 and not progress.complete
    progress.feed("uart0", b"ATTEST\n", 4.0)
    assert progress.deadline() == 9
    progress.feed("uart0", b"Power down\nmore\n", 6.5)
    assert progress.complete and progress.failure is None
    assert {name: (item.at, item.seconds) for name, item in progress.reached.items()} == {
        "host": (1.0, 1.0), "realm": (3.0, 2.0), "token": (3.0, 0.0), "monitor": (4.0, 3.0), "off": (6.5, 2.5),
    }  # fmt: skip
    assert progress.consumed("uart0") == len(b"Booting Linux\nATTEST\nPower down\n")


def test_a_mark_on_the_wrong_console_shows_nothing(graph: Stack) -> None:
    progress = Progress(graph, "off")
    progress.feed("hvc0", b"Booting Linux\n", 1.0)
    assert progress.reached == {} and progress.failure is None
    progress.check_time(10.0)
    assert progress.failure is not None and (progress.failure.stage, progress.failure.how) == ("host", How.DEADLINE)


def test_only_what_is_on_the_way_is_waited_for(graph: Stack) -> None:
    assert [stage.name for stage in needed(graph, "token")] == ["host", "realm", "token"]
    progress = Progress(graph, "token")
    progress.feed("uart0", b"Booting Linux\n", 1.0)
    progress.feed("hvc0", b"Booting Linux\ntoken\n", 40.0)
    progress.check_time(1000.0)
    assert progress.complete and progress.failure is None
    with pytest.raises(ImageError, match="stack sample has no stage 'tokens'"):
        needed(graph, "tokens")


def test_a_mark_that_comes_too_early_names_what_is_missing(graph: Stack) -> None:
    progress = Progress(graph, "off")
    progress.feed("uart0", b"Booting Linux\nPower down\n", 1.0)
    assert progress.failure is not None
    assert (progress.failure.stage, progress.failure.how) == ("token", How.SKIPPED)


@pytest.mark.parametrize("late", [b"ERROR: second failed\n", b"PANIC in EL3\n"])
def test_a_failure_counts_whenever_it_is_reported(tmp_path: Path, late: bytes) -> None:
    progress = Progress(sample(tmp_path), "shell")
    progress.feed("uart0", b"NOTICE:  first up\nNOTICE:  second up\nINFO:    ready\n", 1.0)
    progress.feed("uart0", late + b"root@guest", 1.1)
    assert progress.failure is not None and progress.failure.how is How.REPORTED and not progress.complete
    assert progress.failure.stage == ("second" if b"second" in late else "shell")


def test_a_report_that_no_stage_under_way_knows_is_let_pass(tmp_path: Path) -> None:
    progress = Progress(sample(tmp_path), "shell")
    progress.feed("uart0", b"second failed\nNOTICE:  first up\n", 0.5)  # before it was the second stage's turn
    assert progress.failure is None and list(progress.reached) == ["first"]


def test_after_the_end_nothing_changes(tmp_path: Path) -> None:
    progress = Progress(sample(tmp_path), "first")
    progress.feed("uart0", b"NOTICE:  first up\nPANIC in EL3\n", 0.5)
    progress.check_time(100.0)
    progress.lost("gone")
    assert progress.complete and progress.failure is None


def test_deadlines_scale(tmp_path: Path) -> None:
    progress = Progress(sample(tmp_path), "first", scale=3.0)
    progress.check_time(5.9)
    assert progress.failure is None
    progress.check_time(6.0)
    assert progress.failure is not None and "in 6 s" in progress.failure.what


def test_no_stage_takes_less_than_no_time(tmp_path: Path) -> None:
    progress = Progress(sample(tmp_path), "second")
    progress.feed("uart0", b"NOTICE:  first up\nNOTICE:  second up\n", 0.0468)
    assert str(progress.reached["second"].seconds) == "0.0"


def test_long_lines_are_shortened(tmp_path: Path) -> None:
    progress = Progress(sample(tmp_path), "first")
    progress.feed("uart0", b"NOTICE:  first up" + b"." * 1000 + b"\n", 0.5)
    assert len(progress.reached["first"].line) == 160


def test_the_sample_is_read(tmp_path: Path) -> None:
    assert MANIFEST.count("[[stage]]") == len(sample(tmp_path).stages)


def test_which_rmm_runs() -> None:
    log = "INFO:    RMM init start.\r\nBooting RMM v.0.6.0(release) abc Built with GCC 12.2.0\r\n"
    log += "RMI/RSI ABI v.1.0/1.1 built: x\r\n"
    found = version_in(log)
    assert found is not None and (found.rmi, found.rsi) == ("1.0", "1.1")
    assert found.name == "TF-RMM v.0.6.0(release) abc Built with GCC 12.2.0"
    payload = version_in("NOTICE:  TRP: v2.12.1(debug):realmcheck\r\nNOTICE:  TRP: Built : x\r\n")
    assert payload is not None and payload.name == "test realm payload v2.12.1(debug):realmcheck"
    assert version_in("Booting Linux") is None
