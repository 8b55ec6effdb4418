"""States below EL3 and with bypass windows: judged like any other, made small, and refused where the model cannot."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from harness.judge.operation import Operation
from harness.probe import lower
from harness.probe.records import RESULT, Op, Record, RecordFlag, RegisterEntry, Result, World
from harness.state import MemoryBlock, State, StateRecord
from harness.state.elf import allowed
from harness.state.items import judgeable
from harness.state.replay import Outcome, Player
from harness.state.shrink import shrink
from harness.state.state import REGISTERS
from harness.tests.judge_samples import LOW, FalsifiedTarget
from harness.tests.state_samples import CONTEXT, OPEN, TABLES, state

CLEAN = LOW + 0x2000  # where no calibration has left anything
DENY = 0x01
GPCCR, GPCBW = REGISTERS["GPCCR_EL3"], REGISTERS["GPCBW_EL3"]
STAGE_1_OFF = {
    lower.HCR_EL2: lower.HCR_RW,
    lower.TCR_EL1: 0,
    lower.TTBR0_EL1: 0,
    lower.TTBR1_EL1: 0,
    lower.SCTLR_EL1: 0,
    lower.SCR_EL3: lower.SCR_BASE,
}
"""EL1 with stage 1 off: addresses are physical ones of the state's own space."""

TWO_RANGES = 0b10 << 30 | 16 << 16 | 16  # TG1, T1SZ, T0SZ

LOAD = StateRecord(op=Op.LOAD, va=CLEAN, state=World.REALM, el=1, flags=RecordFlag.TLBI_BEFORE)


@pytest.fixture
def target(tmp_path: Path) -> FalsifiedTarget:
    made = FalsifiedTarget(tmp_path / "logs")
    made.power_on()
    return made


@pytest.fixture
def player(target: FalsifiedTarget) -> Player:
    return Player(target)


def below(
    *records: StateRecord, entry: int = DENY, registers: dict[int, int] | None = None, **changes: object
) -> State:
    values = STAGE_1_OFF if registers is None else registers
    context = (*CONTEXT, *(RegisterEntry(*pair) for pair in values.items()))
    return state(*(records or (LOAD,)), entry=entry, context=context, **changes)


def test_a_denied_access_of_a_realm_is_an_abort_to_its_el1(player: Player) -> None:
    seen = player.play(below())
    assert seen.outcome is Outcome.PERMITTED and seen.result is not None
    assert (seen.result.target_el, seen.result.esr >> 26, seen.result.esr & 0x3F) == (1, 0x25, 0x28)
    assert seen.case.stimulus["access"] == "load, 64 bits, from EL1 in Realm state"
    assert seen.case.stimulus["address"].startswith(f"Realm PAS {CLEAN:#x}")


@pytest.mark.parametrize(
    ("field", "flip", "rule"), [("target_el", 3, "GPC-124"), ("vector", 0x600, "GPC-128"), ("esr", 1 << 26, "GPC-129")]
)
def test_a_deviation_below_el3_has_its_rule(
    field: str, flip: int, rule: str, player: Player, target: FalsifiedTarget
) -> None:
    def falsify(record: Record, result: Result) -> Result:
        return result._replace(**{field: getattr(result, field) ^ flip}) if record.el == 1 else result

    target.falsify = falsify
    seen = player.play(below())
    assert seen.outcome is Outcome.DEVIATES and seen.case.rules == (rule,)


@pytest.mark.parametrize("op", [Op.LOAD, Op.STORE, Op.FETCH], ids=lambda op: op.name)
@pytest.mark.parametrize("entry", [OPEN, DENY], ids=["open", "denied"])
@pytest.mark.parametrize("where", [World.SECURE, World.NON_SECURE, World.REALM], ids=lambda state: state.name)
def test_the_image_compares_as_the_judge_does(where: World, entry: int, op: Op, player: Player) -> None:
    seen = player.play(below(replace(LOAD, op=op, state=where, value0=7), entry=entry))
    assert seen.outcome is Outcome.PERMITTED and seen.testimony is not None and seen.result is not None
    assert seen.testimony.stimulus.pas is where
    permitted = allowed(seen.testimony, player.session)
    lane = player.session.target.read_memory(CLEAN, 16)
    assert any(one.matches(RESULT.pack(*seen.result), lane) for one in permitted)
    for name in ("taken", *(("esr", "far", "vector", "target_el") if entry == DENY else ())):
        other = RESULT.pack(*seen.result._replace(**{name: getattr(seen.result, name) ^ 1}))
        assert not any(one.matches(other, lane) for one in permitted)


@pytest.mark.parametrize("entry", [OPEN, DENY], ids=["open", "denied"])
@pytest.mark.parametrize(
    "operation",
    [Operation.AT_S1E1R, Operation.DC_CVAC, Operation.DC_ZVA, Operation.LOAD_ACROSS, Operation.STORE_ACROSS],
    ids=lambda operation: operation.title,
)
def test_operations_are_judged(operation: Operation, entry: int, player: Player, target: FalsifiedTarget) -> None:
    va = CLEAN + (0xFFC if operation.elements else 0x40)
    record = replace(LOAD, op=operation.op, aux=operation.aux, va=va)
    seen = player.play(below(record, entry=entry))
    assert seen.testimony is not None and seen.testimony.stimulus.kind is operation
    assert seen.outcome is Outcome.PERMITTED
    wrong = {"taken": 1, "target_el": 2, "vector": 0x400, "esr": 0, "spsr": 4, "scr": 1 << 62 | 1}
    target.falsify = lambda one, result: result._replace(**wrong) if one.el == 1 else result
    assert player.play(below(record, entry=entry)).outcome is Outcome.DEVIATES


def test_only_the_judged_record_counts(player: Player, target: FalsifiedTarget) -> None:
    def falsify(record: Record, result: Result) -> Result:
        return result._replace(target_el=2) if record.el == 1 and record.id == 0 else result

    target.falsify = falsify
    other = replace(LOAD, va=CLEAN + 64, flags=RecordFlag.NONE)
    assert player.play(below(LOAD, other, judged=1)).outcome is Outcome.PERMITTED
    assert player.play(below(LOAD, other, judged=0)).outcome is Outcome.DEVIATES


def test_shrinking_drops_the_records_before_and_keeps_the_invalidation(player: Player) -> None:
    others = [LOAD, *(replace(LOAD, va=CLEAN + 64 * n, flags=RecordFlag.NONE) for n in range(1, 5))]
    made = below(*others, replace(LOAD, va=CLEAN + 0x800, flags=RecordFlag.NONE), judged=5)
    made = replace(made, memory=(*made.memory, MemoryBlock(pa=TABLES + 0x10000, data=b"\xff" * 4096)))
    small, seen = shrink(player, made, player.play(made))
    assert small.records == (replace(LOAD, va=CLEAN + 0x800),) and small.memory == below().memory
    assert seen.outcome is Outcome.PERMITTED


def without(number: int) -> dict[int, int]:
    return {encoding: value for encoding, value in STAGE_1_OFF.items() if encoding != number}


def test_an_address_that_stage_1_refuses_is_judged(player: Player) -> None:
    """No table at all, and PAN: a translation fault of level 0, which no memory has to do with."""
    made = below(
        replace(LOAD, flags=RecordFlag.TLBI_BEFORE | RecordFlag.PAN),
        registers={**STAGE_1_OFF, lower.SCTLR_EL1: 1, lower.TCR_EL1: TWO_RANGES, lower.TTBR0_EL1: CLEAN},
        entry=OPEN,
    )
    seen = player.play(made)
    assert seen.outcome is Outcome.PERMITTED and seen.result is not None
    assert (seen.result.target_el, seen.result.esr >> 26, seen.result.esr & 0x3F) == (1, 0x25, 0x04)
    said = judgeable(below(LOAD, replace(LOAD, flags=RecordFlag.PAN)), player.session)
    assert isinstance(said, str) and "one PSTATE.PAN" in said


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (below(registers=without(lower.SCR_EL3)), "does not set SCR_EL3"),
        (below(registers=without(lower.TCR_EL1)), "does not set TCR_EL1"),
        (below(registers={**STAGE_1_OFF, lower.VTTBR_EL2: 1}), "VTTBR_EL2 in its context is not judged at EL1"),
        (below(registers={**STAGE_1_OFF, lower.HCR_EL2: lower.HCR_RW | 1}), "does not set VTTBR_EL2"),
        (
            below(registers={**STAGE_1_OFF, lower.SCTLR_EL1: 1, lower.TCR_EL1: 1 << 14}),
            "only the 4KB translation granule",
        ),
        (below(replace(LOAD, flags=RecordFlag.NONE)), "record 0 does not have TLBI_BEFORE"),
        (below(LOAD, replace(LOAD, state=World.SECURE)), "record 1: the model judges PE 0 at EL1 in REALM"),
        (below(LOAD, StateRecord(op=Op.TLBI_PAALL)), "not PE 0 at EL3 in ROOT"),
        (below(LOAD, replace(LOAD, op=Op.NOP)), "record 1: operation NOP is not judged"),
        (below(replace(LOAD, registers=CONTEXT[:1])), "record 0: GPTBR_EL3 in its list is not judged"),
        (below(replace(LOAD, flags=RecordFlag.TLBI_BEFORE | RecordFlag.KEEP_REGS)), "flags .*KEEP_REGS.* not judged"),
    ],
    ids=[
        "scr", "tcr", "vttbr", "stage-2", "granule", "no-tlbi", "two-states", "two-levels", "op", "list",
        "flags",
    ],
)  # fmt: skip
def test_what_cannot_be_judged_is_said(player: Player, made: State, why: str) -> None:
    said = judgeable(made, player.session)
    assert isinstance(said, str) and re.search(why, said)


def test_what_cannot_be_judged_is_run_all_the_same(player: Player) -> None:
    seen = player.play(below(replace(LOAD, flags=RecordFlag.NONE)))
    assert seen.outcome is Outcome.CANNOT_TELL and seen.result is not None and "TLBI_BEFORE" in seen.reason


def bypassed(gpcbw: int, *, own: bool = False) -> State:
    """A load from the third gigabyte, which the table denies, with a bypass window."""
    enabled = RegisterEntry(GPCCR, CONTEXT[1].value | 1 << 29)
    window = RegisterEntry(GPCBW, gpcbw)
    record = StateRecord(op=Op.LOAD, pa=CLEAN, pas=World.SECURE)
    if own:
        lists = replace(record, registers=(window, enabled), flags=RecordFlag.TLBI_BEFORE)
        return state(lists, entry=DENY)
    return state(record, entry=DENY, context=(window, CONTEXT[0], enabled))


@pytest.mark.parametrize("own", [False, True], ids=["context", "list"])
@pytest.mark.parametrize(("gigabyte", "taken"), [(2, 0), (3, 1)])
def test_a_bypass_window_is_judged(gigabyte: int, taken: int, own: bool, player: Player) -> None:
    seen = player.play(bypassed(gigabyte, own=own))
    assert seen.outcome is Outcome.PERMITTED and seen.result is not None and seen.result.taken == taken
