"""States on the model and on mutants of it: judging, refusing, shrinking, and taking them from results."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness import cli
from harness.errors import MisuseError
from harness.judge.operation import Operation
from harness.probe.records import RESULT, Op, RecordFlag, RegisterEntry, Result, World
from harness.state import MemoryBlock, Needs, Origin, State, StateRecord, read_state, state_text
from harness.state.elf import Allowed, allowed
from harness.state.replay import Outcome, Player
from harness.state.shrink import shrink
from harness.state.state import REGISTERS
from harness.tests.judge_samples import LOW, FalsifiedTarget
from harness.tests.state_samples import CONTEXT, OPEN, RESERVED, TABLES, state

LOAD = StateRecord(op=Op.LOAD, pa=LOW + 0x128, pas=World.SECURE)
DENY, OPEN_GPT = 0x01, 0xF1


@pytest.fixture
def target(tmp_path: Path) -> FalsifiedTarget:
    made = FalsifiedTarget(tmp_path / "logs")
    made.power_on()
    return made


@pytest.fixture
def player(target: FalsifiedTarget) -> Player:
    return Player(target)


def mfar_with_low_bits(record: object, result: Result) -> Result:
    return result._replace(mfar=result.mfar | 0x128) if result.mfar else result


def test_what_the_model_permits_is_permitted(player: Player) -> None:
    seen = player.play(state())
    assert seen.outcome is Outcome.PERMITTED and seen.result is not None and seen.result.esr == 0x7A010028
    assert seen.case.expected[0].fields["ESR_EL3"] == seen.case.observed.fields["ESR_EL3"] == "0x7a010028"


def test_a_deviation_is_one_with_its_rule(player: Player, target: FalsifiedTarget) -> None:
    target.falsify = mfar_with_low_bits
    seen = player.play(state())
    assert seen.outcome is Outcome.DEVIATES and seen.case.rules == ("GPC-043",)


def test_only_the_judged_record_counts(player: Player, target: FalsifiedTarget) -> None:
    other = replace(LOAD, pa=LOW)
    target.falsify = lambda record, result: mfar_with_low_bits(record, result) if record.id == 0 else result
    assert player.play(state(LOAD, other, judged=1)).outcome is Outcome.PERMITTED
    assert player.play(state(LOAD, other, judged=0)).outcome is Outcome.DEVIATES


def test_a_target_that_is_lost_twice_deviates(player: Player, target: FalsifiedTarget) -> None:
    target.lose = lambda record: record.op == Op.LOAD and record.address & 0xFFF == 0x128
    seen = player.play(state())
    assert seen.outcome is Outcome.DEVIATES and seen.lost and seen.case.rules == ("GPC-080",)
    assert seen.case.expected[0].fields["ESR_EL3"] == "0x7a010028"


ACROSS = StateRecord(op=Op.LOAD, pa=LOW + 0xFFC, pas=World.SECURE)
DC = StateRecord(op=Op.SYS, aux=Operation.DC_CIVAC.aux, pa=LOW + 0x828, pas=World.SECURE)
AT = StateRecord(op=Op.SYS, aux=Operation.AT_S1E3R.aux, pa=LOW + 0x828, pas=World.REALM)
ZVA = StateRecord(op=Op.DC_ZVA, pa=LOW + 0x840, pas=World.ROOT)
BY_PA = StateRecord(op=Op.SYS, aux=Operation.DC_CIPAPA.aux, va=1 << 63 | LOW)


@pytest.mark.parametrize("entry", [OPEN, RESERVED], ids=["open", "denied"])
@pytest.mark.parametrize("record", [ACROSS, DC, AT, ZVA, BY_PA], ids=["across", "dc", "at", "zva", "by-pa"])
def test_operations_are_judged_and_compared_in_the_image(record: StateRecord, entry: int, player: Player) -> None:
    seen = player.play(state(record, entry=entry))
    assert seen.outcome is Outcome.PERMITTED and seen.testimony is not None and seen.result is not None
    permitted = allowed(seen.testimony, player.session)
    lane = player.session.target.read_memory(seen.testimony.stimulus.pa & -16, 16)
    assert any(one.matches(RESULT.pack(*seen.result), lane) for one in permitted)
    other = RESULT.pack(*seen.result._replace(taken=3))
    assert not any(one.matches(other, lane) for one in permitted)


@pytest.mark.parametrize(
    ("record", "field"), [(DC, "far"), (DC, "esr"), (ACROSS, "far"), (ZVA, "far")], ids=lambda what: str(what)[:5]
)
def test_a_deviation_of_an_operation_is_seen(
    record: StateRecord, field: str, player: Player, target: FalsifiedTarget
) -> None:
    target.falsify = lambda _, result: result._replace(**{field: getattr(result, field) ^ 0x40})
    seen = player.play(state(record))
    assert seen.outcome is Outcome.DEVIATES and seen.testimony is not None and seen.result is not None
    assert not any(one.matches(RESULT.pack(*seen.result), bytes(16)) for one in allowed(seen.testimony, player.session))


def test_a_wrong_par_is_a_deviation(player: Player, target: FalsifiedTarget) -> None:
    target.falsify = lambda _, result: result._replace(par=result.par ^ 1 << 12)
    seen = player.play(state(AT, entry=OPEN))
    assert seen.outcome is Outcome.DEVIATES and seen.testimony is not None and seen.result is not None
    assert not any(one.matches(RESULT.pack(*seen.result), bytes(16)) for one in allowed(seen.testimony, player.session))


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (state(LOAD, replace(LOAD, state=World.REALM, el=1, pa=None, va=16), judged=1), "not PE 0 at EL1 in REALM"),
        (state(replace(LOAD, pa=None, va=1 << 47)), "virtual address 0x800000000000 is not one of the probe's map"),
        (state(StateRecord(op=Op.NOP)), "record 0 is NOP, which is no operation to be judged"),
        (state(StateRecord(op=Op.NOP), LOAD, judged=1), "operation NOP is not judged"),
        (state(StateRecord(op=Op.TLBI_PAALL)), "record 0 is TLBI_PAALL, which is no operation"),
        (
            state(ACROSS, replace(LOAD, registers=CONTEXT[:1])),
            "record 1: registers and flags of its own are not judged",
        ),
        (state(replace(ACROSS, op=Op.ATOMIC_ADD)), "which is no operation to be judged"),
        (state(context=CONTEXT[:1]), "a context that sets GPCCR_EL3 and GPTBR_EL3"),
        (state(replace(LOAD, registers=(RegisterEntry(REGISTERS["SCR_EL3"], 1),))), "SCR_EL3 in its list"),
    ],
    ids=["el1", "va", "nop", "among-nop", "tlbi", "registers-beside", "atomic-across", "context", "register"],
)
def test_what_cannot_be_judged_is_run_and_said(player: Player, made: State, why: str) -> None:
    seen = player.play(made)
    assert seen.outcome is Outcome.CANNOT_TELL and seen.result is not None
    assert why in seen.reason


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (state(memory=(MemoryBlock(pa=0x4800_0000, data=bytes(8)),)), "memory at 0x48000000 is not memory that model"),
        (state(memory=(MemoryBlock(pa=0x3000, data=bytes(8)),)), "move it into 0x50000000 to 0x7fffffff"),
    ],
)
def test_what_the_target_lacks_is_refused_before_anything_runs(
    player: Player, target: FalsifiedTarget, made: State, message: str
) -> None:
    before = target.batches
    with pytest.raises(MisuseError, match=message):
        player.play(made)
    assert target.batches == before


def test_a_feature_that_the_target_lacks_is_refused_before_anything_runs(
    player: Player, target: FalsifiedTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(player.session, "features", replace(player.session.features, rme=2))
    before = target.batches
    with pytest.raises(MisuseError, match=r"needs FEAT_RME_GPC3, which model .* does not have"):
        player.play(state(needs=Needs(features=("FEAT_RME", "FEAT_RME_GPC3"))))
    assert target.batches == before


def test_shrinking_drops_what_does_not_matter(player: Player, target: FalsifiedTarget) -> None:
    target.falsify = mfar_with_low_bits
    noise = [StateRecord(op=Op.LOAD, pa=LOW + 64 * index) for index in range(20)]
    table = MemoryBlock(pa=TABLES + 0x10000, data=b"\xff" * 4096)
    made = state(*noise, LOAD, judged=20)
    made = replace(made, memory=(*made.memory, table))
    small, seen = shrink(player, made, player.play(made))
    assert small.records == (LOAD,) and small.judged == 0 and small.memory == state().memory
    assert seen.outcome is Outcome.DEVIATES


def test_shrinking_keeps_what_the_record_depends_on(player: Player) -> None:
    """The entry is closed, then opened and closed again: only the last write and its invalidation matter."""
    writes = [
        StateRecord(op=Op.MEM_WRITE, pa=TABLES + 16, data=value.to_bytes(8, "little"))
        for value in (DENY, OPEN_GPT, DENY)
    ]
    invalidate = StateRecord(op=Op.TLBI_PAALL)
    records = [part for write in writes for part in (write, invalidate, replace(LOAD, pa=LOW))]
    made = state(*records, LOAD, judged=len(records), entry=OPEN)
    small, seen = shrink(player, made, player.play(made))
    assert small.records[-1] == LOAD and small.records[0].op is Op.MEM_WRITE
    assert 2 <= len(small.records) <= 3 and small.records[0].data == DENY.to_bytes(8, "little")
    assert seen.result is not None and seen.result.taken


CLEAN = LOW + 0x2000  # where no calibration has left anything
STORE = StateRecord(op=Op.STORE, pa=CLEAN, value0=7)


@pytest.mark.parametrize(
    "record",
    [
        replace(LOAD, pa=CLEAN),
        STORE,
        replace(STORE, op=Op.STORE_EXCLUSIVE),
        replace(STORE, op=Op.ATOMIC_ADD),
        replace(LOAD, op=Op.FETCH, pa=CLEAN),
        replace(LOAD, pa=CLEAN, flags=RecordFlag.TLBI_BEFORE, registers=CONTEXT[:1]),
    ],
    ids=["load", "store", "store-exclusive", "atomic", "fetch", "under"],
)
@pytest.mark.parametrize("entry", [OPEN, DENY], ids=["open", "denied"])
def test_the_image_compares_as_the_judge_does(player: Player, record: StateRecord, entry: int) -> None:
    made = state(record, entry=entry)
    seen = player.play(made)
    assert seen.outcome is Outcome.PERMITTED and seen.testimony is not None and seen.result is not None
    permitted = allowed(seen.testimony, player.session)
    raw = RESULT.pack(*seen.result)
    assert record.pa is not None
    lane = player.session.target.read_memory(record.pa, 16)
    assert any(one.matches(raw, lane) for one in permitted)
    for change in ({"taken": seen.result.taken ^ 1}, {"status": 2}):
        assert not any(one.matches(RESULT.pack(*seen.result._replace(**change)), lane) for one in permitted)
    if entry == DENY:
        for name in ("esr", "far", "vector", "target_el"):
            other = RESULT.pack(*seen.result._replace(**{name: getattr(seen.result, name) ^ 1}))
            assert not any(one.matches(other, lane) for one in permitted)
    if record.op is Op.STORE:
        assert not any(one.matches(raw, bytes(15) + b"\1") for one in permitted)


def test_an_allowed_outcome_packs_as_the_probe_reads_it() -> None:
    one = Allowed(mask=b"\1" * 128, value=b"\2" * 128, pa=LOW, memory_mask=b"\3" * 16, memory=b"\4" * 16)
    assert one.pack() == b"\1" * 128 + b"\2" * 128 + LOW.to_bytes(8, "little") + bytes(8) + b"\3" * 16 + b"\4" * 16
    assert len(one.pack()) == 304


def run(*arguments: object) -> int:
    return cli.main([*map(str, arguments)])


def test_the_command_runs_a_state(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.state"
    path.write_text(state_text(state()))
    assert run("probe", "run", path, "--target=model") == 0
    assert "ESR_EL3 = 0x7a010028" in capsys.readouterr().out
    assert run("probe", "run", path, "--target=mutant:mfar-low-bits", "--json") == 1
    said = json.loads(capsys.readouterr().out)
    assert said["outcome"] == "deviates" and said["rules"] == ["GPC-043"] and said["permitted"]
    assert run("probe", "run", path, "--target=nothing") == 3


def test_the_command_writes_a_bundle_without_an_elf_on_the_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.state"
    path.write_text(state_text(state()))
    assert run("repro", path, "-o", tmp_path / "out", "--target=model") == 0
    assert "no standalone ELF: model runs no probe firmware" in capsys.readouterr().out
    assert run("repro", path, "-o", tmp_path / "out", "--target=mutant:mfar-low-bits") == 0
    path.write_text(state_text(state(origin=Origin(target="qemu"))))
    assert run("repro", path, "-o", tmp_path / "out", "--target=mutant:mfar-low-bits") == 1
    path.write_text(state_text(state()))
    assert run("repro", path, "-o", tmp_path / "out", "--target=model") == 0
    assert read_state(tmp_path / "out/case.state") == state()
    expected = (tmp_path / "out/expected.txt").read_text()
    assert "Granule Protection Check; GPT walk fault, level 0" in expected and "the model's walk" in expected
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["case.state", "expected.txt"]
