"""Logs replayed on the model: two real ones, logs made by the model, and what is wrong with logs that were changed."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from harness.cli import main
from harness.errors import BadInputError
from harness.rmmlog.lines import Event, Garbled, Unknown, parse
from harness.rmmlog.replay import Report, replay
from refmodel.rmm.calls import HostCall
from refmodel.rmm.replay.judge import Verdict
from refmodel.rmm.results import RmiResult
from refmodel.rmm.scenario import Layout, Script
from refmodel.rmm.state import State
from refmodel.rmm.step import RMI_COMMANDS, step
from refmodel.rmm.types import Rmi
from refmodel.rmm.version import Parameters

DATA = Path(__file__).parent / "data"
BOOT = "Booting RMM v.0.6.0(release) tf-rmm-v0.6.0 Built with GCC 12.2.0"
REALM = [
    "SMC_RMI_VERSION               10000 > RMI_SUCCESS 10000 10000",
    "SMC_RMI_REALM_CREATE          41eff000 41f2c000 > RMI_SUCCESS",
    "SMC_RMI_REC_AUX_COUNT         41eff000 > RMI_SUCCESS 10",
    "SMC_RMI_REC_CREATE            41eff000 42f23000 42f22000 > RMI_SUCCESS",
    "SMC_RMI_REC_CREATE            41eff000 42f33000 42f22000 > RMI_SUCCESS",
    "SMC_RMI_REALM_ACTIVATE        41eff000 > RMI_SUCCESS",
]


def log(tmp_path: Path, *lines: str, boot: bool = True) -> Path:
    path = tmp_path / "console.log"
    path.write_text("\n".join([*([BOOT] if boot else []), *lines]) + "\n", encoding="utf-8")
    return path


def replayed(tmp_path: Path, *lines: str, boot: bool = True) -> Report:
    return replay(log(tmp_path, *lines, boot=boot))


# Real logs ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "calls", "garbled"), [("cca-linux-realm-boot.log.gz", 62, 0), ("rmm-0.6.0-tftf.log.gz", 6106, 25)]
)
def test_real_firmware_does_what_the_model_permits(name: str, calls: int, garbled: int) -> None:
    report = replay(DATA / name)
    assert report.divergences == []
    assert (report.calls, report.garbled, report.firmware, report.from_boot) == (calls, garbled, "0.6.0", True)
    assert report.counts[Verdict.CHECKED] > 10
    assert report.counts[Verdict.PARTLY] > 40


def test_every_line_with_a_piece_of_a_call_is_read_or_counted() -> None:
    text = gzip.decompress((DATA / "rmm-0.6.0-tftf.log.gz").read_bytes()).decode("utf-8", errors="replace")
    lines = text.split("\n")
    found = {item.line for item in parse(lines) if isinstance(item, Event | Garbled | Unknown)}
    for number, line in enumerate(lines, 1):
        if "SMC_RMI_" in line or "SMC_RSI_" in line or "PSCI_8" in line:
            assert number in found, line


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("SMC_RMI_REALM_ACTIVATE        41eff000 > RMI_SUCCESS",
         "SMC_RMI_REALM_ACTIVATE        41eff000 > RMI_ERROR_INPUT",
         "no condition with this result can hold"),
        ("SMC_RMI_REC_DESTROY           42f23000 > RMI_SUCCESS", "SMC_RMI_REC_DESTROY           42f24000 > RMI_SUCCESS",
         "it cannot succeed: rec_gran_state holds"),
        ("RMI_ERROR_RTT 3 0 87f61000", "RMI_ERROR_RTT 3 0 87f61800", "is no entry of the level 3 table"),
        ("RMI_ERROR_RTT 2 0 200000000", "RMI_ERROR_RTT 2 0 240000000", "is no entry of the level 2 table"),
        ("0 3 > RMI_ERROR_RTT 2 0 40000000", "0 3 > RMI_ERROR_RTT 4 0 40000000", "goes no further than 3"),
        ("40000000 40100000 > RSI_SUCCESS 40100000 0", "40000000 40100000 > RSI_SUCCESS 40200000 0",
         "out_top 0x40200000 is not in the range"),
        ("81132000 0 1000 > RSI_SUCCESS 84c", "81132000 0 1000 > RSI_SUCCESS 184c", "0x184c bytes were written"),
        ("PSCI_84000000                 0 0 0 0 0 0 0 > 10001", "PSCI_84000000                 0 0 0 0 0 0 0 > 10002",
         "only 0x10001 may be returned"),
        ("80000002 0 0 ffff8000805ff000 ffff800080648000 ffff8000804d6618 ffff8000804d6000 > ffffffffffffffff",
         "80000002 0 0 ffff8000805ff000 ffff800080648000 ffff8000804d6618 ffff8000804d6000 > 0",
         "only SMCCC_NOT_SUPPORTED may be returned"),
    ],
)  # fmt: skip
def test_a_changed_log_is_found_out(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = gzip.decompress((DATA / "cca-linux-realm-boot.log.gz").read_bytes()).decode("utf-8", errors="replace")
    assert old in text
    path = tmp_path / "changed.log"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    report = replay(path)
    assert report.divergences, "not noticed"
    assert message in report.divergences[0].message
    assert new in report.divergences[0].text


# Calls that cannot have been ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("SMC_RMI_REALM_ACTIVATE 41eff000 > RMI_SUCCESS", "it cannot succeed: realm_state holds"),
        ("SMC_RMI_REC_CREATE 41eff000 42f43000 42f22000 > RMI_SUCCESS", "it cannot succeed: realm_state holds"),
        ("SMC_RMI_REALM_CREATE 41eff000 41f2c000 > RMI_SUCCESS", "rd_state holds"),
        ("SMC_RMI_REALM_CREATE 42f23000 41f2c000 > RMI_SUCCESS", "rd_state holds"),
        ("SMC_RMI_REALM_DESTROY 41eff000 > RMI_ERROR_RTT 1", "realm_live holds, which gives another result"),
        ("SMC_RMI_REALM_DESTROY 41eff000 > RMI_SUCCESS", "realm_live holds"),
        ("SMC_RMI_REC_AUX_COUNT 41eff000 > RMI_SUCCESS 8", "it was 16 for the same realm"),
        ("SMC_RMI_REC_AUX_COUNT 41eff800 > RMI_SUCCESS 10", "rd_align holds"),
        ("SMC_RMI_REC_DESTROY 41eff000 > RMI_SUCCESS", "rec_gran_state holds"),
        ("SMC_RMI_REC_DESTROY 41eff000 > RMI_ERROR_REC", "rec_gran_state holds, which gives another result"),
        ("SMC_RMI_PSCI_COMPLETE 42f23000 42f33000 0 > RMI_SUCCESS", "no PSCI request for the REC with MPIDR 0x1"),
        ("SMC_RMI_PSCI_COMPLETE 42f23000 42f23000 0 > RMI_SUCCESS", "alias holds"),
        ("SMC_RMI_GRANULE_UNDELEGATE 41eff000 > RMI_SUCCESS", "gran_state holds"),
        ("SMC_RMI_DATA_CREATE_UNKNOWN 41eff000 42f23000 0 > RMI_SUCCESS", "data_state holds"),
        ("SMC_RMI_DATA_CREATE 41eff000 42f53000 0 42f63000 0 > RMI_SUCCESS", "realm_state holds"),
        ("SMC_RMI_RTT_CREATE 41eff000 42f53000 0 3 > RMI_ERROR_RTT 3", "goes no further than 2"),
        ("SMC_RMI_REC_ENTER 42f23000 42f22000 > RMI_ERROR_REALM 0", "no condition with this result can hold"),
        ("SMC_RMI_FEATURES 1 > RMI_SUCCESS 30", "only feature register 0 has a value"),
        ("SMC_RMI_VERSION 10000 > RMI_SUCCESS 20000 20000", "lower must be what was asked for"),
        ("SMC_RSI_IPA_STATE_GET 1000 1000 > RSI_SUCCESS 1000 0", "only RSI_ERROR_INPUT may be returned"),
        ("SMC_RSI_HOST_CALL 60131e80 > c4000199", "it cannot leave the realm: addr_align holds"),
        ("SMC_RSI_VERSION 10001 > RSI_SUCCESS 10000 10000", "lower must be what was asked for"),
        ("SMC_RSI_FEATURES 0 > RSI_SUCCESS 1", "RSI_FEATURES returns 0"),
        ("PSCI_8400000a c4000003 0 0 0 0 0 0 > ffffffffffffffff 0 0 0", "only 0x0 may be returned"),
    ],
)  # fmt: skip
def test_what_is_not_permitted(tmp_path: Path, line: str, message: str) -> None:
    report = replayed(tmp_path, *REALM, line)
    assert [found.line for found in report.divergences] == [len(REALM) + 2]
    assert message in report.divergences[0].message
    assert report.divergences[0].before[-1].endswith(REALM[-1])


@pytest.mark.parametrize(
    "line",
    [
        "SMC_RMI_REALM_ACTIVATE 41eff000 > RMI_ERROR_REALM",
        "SMC_RMI_REALM_DESTROY 41eff000 > RMI_ERROR_REALM",
        "SMC_RMI_REC_ENTER 42f23000 42f22000 > RMI_ERROR_REC",
        "SMC_RMI_GRANULE_UNDELEGATE 41eff000 > RMI_ERROR_INPUT",
        "SMC_RMI_GRANULE_DELEGATE 43000000 > RMI_ERROR_INPUT",
        "SMC_RMI_DATA_DESTROY 41eff000 0 > RMI_ERROR_RTT 2 0 40000000",
        "SMC_RMI_RTT_DESTROY 41eff000 40000000 3 > RMI_ERROR_RTT 3 0 40000000",
        "SMC_RSI_IPA_STATE_GET 1000 1000 > RSI_ERROR_INPUT 0 0",
    ],
)
def test_what_is_permitted(tmp_path: Path, line: str) -> None:
    assert replayed(tmp_path, *REALM, line).divergences == []


def test_psci_requests_are_remembered(tmp_path: Path) -> None:
    request = "PSCI_c4000003 1 6011d000 101 0 0 0 0 > c4000003 1 6011d000 101"
    complete = "SMC_RMI_PSCI_COMPLETE 42f23000 42f33000 0 > RMI_SUCCESS"
    assert replayed(tmp_path, *REALM, request, complete).divergences == []
    report = replayed(tmp_path, *REALM, request, complete, complete)
    assert [found.line for found in report.divergences] == [len(REALM) + 4]


def test_without_its_beginning_a_log_is_judged_by_what_it_shows(tmp_path: Path) -> None:
    line = "SMC_RMI_REALM_DESTROY 41eff000 > RMI_SUCCESS"
    assert replayed(tmp_path, line, boot=False).divergences == []
    assert len(replayed(tmp_path, line).divergences) == 1


def test_a_second_boot_forgets(tmp_path: Path) -> None:
    assert replayed(tmp_path, *REALM, BOOT, *REALM).divergences == []
    assert len(replayed(tmp_path, *REALM, *REALM).divergences) > 0


# Forms of lines ----------------------------------------------------------------------------------------------------


def test_forms_of_lines() -> None:
    lines = [
        "SMC_RMI_REALM_DESTROY         41eff000 > RMI_SUCCESS",
        "SMC_RMI_REALM_DESTROY             41eff000 > RMI_SUCCESS",
        "[   rmm ] SMC_RMI_REALM_DESTROY 41eff000 > RMI_SUCCESS",
        "[  12.5] [rmm] SMC_RMI_REALM_DESTROY 41eff000 > RMI_SUCCESS\r",
        'RMI: REALM_DESTROY ["41eff000"] > ["0"]',
        "[INFO] RMI: RMI_REALM_DESTROY [41eff000, 0, 0] > [0]",
    ]
    for item in parse(lines):
        assert isinstance(item, Event)
        assert (item.name, item.args, item.x0, item.suspect) == ("RMI_REALM_DESTROY", (0x41EFF000,), 0, False)


def test_islet_encodes_the_index(tmp_path: Path) -> None:
    (event,) = parse(["RMI: DATA_DESTROY [41eff000, 0] > [204, 0, 40000000]"])
    assert isinstance(event, Event)
    assert (event.x0, event.outputs) == (0x204, (0, 0x40000000))


@pytest.mark.parametrize(
    "line",
    [
        "SMC_RSSMIC_HOST_CALL             6013a900 > c4000199",
        "SMC_RSI_HOST_CALL             6013b900 > c40001995",
        "SMC_RSI_HOST_CALL 1 2 > c4000199",
        "SMC_RMI_DATA_DESTROY 41eff000 > RMI_SUCCESS",
        "SMC_RMI_REALM_DESTROY 41eff000 > RMI_SUCCESS 5",
        "    60348e00 > c40001SMC_R99",
        "PSCI_c4000003 1 6011d000 > c4000003 1 6011d000 101",
    ],
)
def test_what_cannot_have_been_printed_is_garbled(line: str) -> None:
    assert [type(item) for item in parse([line])] == [Garbled]


def test_a_call_after_other_text_counts_for_nothing_if_it_does_not_fit(tmp_path: Path) -> None:
    report = replayed(tmp_path, *REALM, "[VMID 3 SMC_RMI_REALM_ACTIVATE 41eff000 > RMI_SUCCESS")
    assert (report.divergences, report.suspect) == ([], 1)


def test_a_garbled_rmi_line_ends_what_was_known_of_granules(tmp_path: Path) -> None:
    report = replayed(tmp_path, *REALM, "SMC_RMI_REC_CRSMC_RMI_", "SMC_RMI_REC_DESTROY 43000000 > RMI_SUCCESS")
    assert (report.divergences, report.garbled) == ([], 1)


# A log that shows everything ---------------------------------------------------------------------------------------


def tf_rmm_line(call: HostCall, result: RmiResult) -> str:
    """A line as TF-RMM prints it, for a build that prints every call."""
    command = RMI_COMMANDS[call.fid]
    args = " ".join(f"{value:x}" for value in call.args)
    index = f" {result.error_index:x}" if result.status is Rmi.RMI_ERROR_RTT else ""
    printed = result.outputs if result.status is Rmi.RMI_SUCCESS or index else ()
    outputs = "".join(f" {value:x}" if isinstance(value, int) else " 0" for value in printed)
    return f"SMC_{command.name:25} {args} > {result.status.name}{index}{outputs}"


def everything(rounds: int = 1) -> list[str]:
    """A realm's life with every call printed."""
    base, size = 0x80000000, 64 << 20
    parameters = Parameters(delegable=lambda addr: base <= addr < base + size, rec_aux_count=1)
    s = Script(Layout(base=base, size=size, outside=0), parameters)
    rd = s.realm()
    rec = s.rec(rd)
    s.tables(rd, 0)
    data = [s.data_unknown(rd, page << 12) for page in range(8)]
    s.activate(rd)
    for _ in range(rounds):
        for page in range(8):
            s.host("RMI_DATA_DESTROY", rd, page << 12)
            s.host("RMI_DATA_CREATE_UNKNOWN", rd, data[page], page << 12)
    s.host("RMI_REC_DESTROY", rec)
    state, lines = State(), []
    for call in s.calls:
        assert isinstance(call, HostCall)
        outcome = step(state, call, parameters)[0]
        assert isinstance(outcome.result, RmiResult)
        lines.append(tf_rmm_line(call, outcome.result))
        state = outcome.state
    return lines


def test_what_the_model_does_is_permitted(tmp_path: Path) -> None:
    report = replayed(tmp_path, *everything())
    assert report.divergences == []
    assert report.counts[Verdict.NOT_CHECKABLE] == 0


def test_with_everything_printed_memory_is_followed(tmp_path: Path) -> None:
    lines = everything()
    at = next(number for number, line in enumerate(lines) if "DATA_DESTROY" in line)
    granule = lines[at].split()[5]
    changed = lines[at].replace(granule, f"{int(granule, 16) + 0x1000:x}")
    report = replayed(tmp_path, *lines[:at], changed, *lines[at + 1 :])
    assert report.divergences[0].message.startswith("the granule at IPA 0x0 is")
    twice = next(line for line in lines if "DATA_CREATE_UNKNOWN" in line)
    delegated = "SMC_RMI_GRANULE_DELEGATE 83000000 > RMI_SUCCESS"
    report = replayed(tmp_path, *lines[:at], delegated, twice.replace(granule, "83000000"), *lines[at:])
    assert "IPA 0x0 is assigned already" in report.divergences[0].message
    report = replayed(tmp_path, *lines, f"SMC_RMI_GRANULE_UNDELEGATE {granule} > RMI_SUCCESS")
    assert "gran_state holds" in report.divergences[-1].message


# The command -------------------------------------------------------------------------------------------------------


def test_the_command_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rmm", "replay", str(DATA / "cca-linux-realm-boot.log.gz"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["revision"], document["calls"], document["violated"]) == ("1.0", 62, 0)
    assert document["checked"] + document["partly_checked"] + document["not_checkable"] == 62


def test_the_command_shows_the_first_divergence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rmm", "replay", str(log(tmp_path, *REALM, REALM[-1]))]) == 1
    out = capsys.readouterr().out
    assert f"first divergence, line 8: {REALM[-1]}" in out
    assert "it cannot succeed: realm_state holds" in out
    assert "known: rd 0x41eff000: realm, ACTIVE, 2 RECs" in out
    assert f"before: 7: {REALM[-1]}" in out


def test_nothing_to_judge_is_inconclusive(tmp_path: Path) -> None:
    assert (
        main(["rmm", "replay", str(log(tmp_path, "SMC_RMI_GRANULE_DELEGATE 43000000 > RMI_ERROR_INPUT", boot=False))])
        == 2
    )


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["hello"], "has no call of an RMM"),
        ([*REALM, "SMC_RMI_OP_CONTINUE 1 > RMI_SUCCESS"], "line 8: command RMI_OP_CONTINUE is not known"),
        ([*REALM, "SMC_RMI_REALM_DESTROY 41eff000 > RMI_ERROR_SOUP"], "line 8: status RMI_ERROR_SOUP is not known"),
        (["RMI/RSI ABI v.2.0/2.0 built: today", *REALM], "line 2: RMI 2.0 is not modelled"),
    ],
)
def test_bad_logs(tmp_path: Path, capsys: pytest.CaptureFixture[str], lines: list[str], message: str) -> None:
    assert main(["rmm", "replay", str(log(tmp_path, *lines))]) == 3
    assert message in capsys.readouterr().err


def test_bad_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.log.gz"
    broken.write_bytes((DATA / "cca-linux-realm-boot.log.gz").read_bytes()[:200])
    with pytest.raises(BadInputError, match="is a broken gzip file"):
        replay(broken)
    assert main(["rmm", "replay", str(tmp_path / "missing.log")]) == 3
    assert "No such file" in capsys.readouterr().err
    assert main(["rmm", "replay", str(broken), "--revision", "9"]) == 3


def test_unknown_items_name_what_is_unknown() -> None:
    (item,) = parse(["SMC_RMI_MEC_SET_SHARED 1 > RMI_SUCCESS"])
    assert item == Unknown(1, "SMC_RMI_MEC_SET_SHARED 1 > RMI_SUCCESS", "command RMI_MEC_SET_SHARED")
