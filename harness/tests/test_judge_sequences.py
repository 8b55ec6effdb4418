"""Sequences on several PEs, operations, and stimuli under registers of their own: what the judge makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.judge.operation import Operation
from harness.judge.scene import Invalidate, Item, On, Scene, SetRegister, TableWrite, Under
from harness.judge.session import Session
from harness.judge.stimulus import Kind, Stimulus
from harness.judge.tally import Tally
from harness.probe.records import Op, Record, Result, World
from harness.targets.target import TargetOptions
from harness.tests.judge_samples import LOW, FalsifiedTarget, builder
from refmodel.gpt.build import GPTBuilder, granules_descriptor
from refmodel.gpt.decode import GPT_Any, GPT_NoAccess
from refmodel.gpt.tlbi import TLBIOp, encode_rpa
from refmodel.rules import Rule

CLOSED = granules_descriptor([GPT_NoAccess] * 16)


@pytest.fixture
def target(tmp_path: Path) -> Iterator[FalsifiedTarget]:
    made = FalsifiedTarget(tmp_path, TargetOptions(pes=2))
    made.power_on()
    yield made
    made.power_off()


@pytest.fixture
def session(target: FalsifiedTarget) -> Session:
    return Session(target)


def changed(session: Session) -> tuple[GPTBuilder, Stimulus, TableWrite]:
    made = builder(session)
    return made, session.stimulus(Kind.LOAD, LOW, World.SECURE), TableWrite(made.address_1(LOW), CLOSED)


def performed(result: Result) -> Result:
    return result._replace(taken=0, target_el=0, vector=0, esr=0, far=0, mfar=0, spsr=0, scr=0)


def run(session: Session, made: GPTBuilder, items: list[Item]) -> Tally:
    tally = Tally()
    session.run(Scene.of("a sequence", made), items, tally)
    return tally


@pytest.mark.parametrize(
    ("op", "rule"),
    [
        (TLBIOp.PAALL, Rule.LOCAL_INVALIDATION),
        (TLBIOp.PAALLOS, Rule.BROADCAST_INVALIDATION),
        (TLBIOp.RPAOS, Rule.RANGE_INVALIDATED),
    ],
)
def test_a_stale_answer_after_the_invalidation_fails_its_rule(
    session: Session, target: FalsifiedTarget, op: TLBIOp, rule: Rule
) -> None:
    made, load, write = changed(session)
    invalidate = Invalidate(op, encode_rpa(LOW, 12) if op.by_range else 0, pe=1)
    items: list[Item] = [load, On(1, load), write, On(1, load), invalidate, On(1, load)]
    assert run(session, made, items).failed == 0
    target.falsify = lambda record, result: performed(result) if record.id == 5 else result
    tally = run(session, made, items)
    assert (tally.failed, tally.rule(rule).failed) == (1, 1)
    assert tally.choices == {"GPT information from before a change is used until it is invalidated": {"seen": 1}}


def test_paall_of_one_pe_leaves_the_other_its_choice(session: Session, target: FalsifiedTarget) -> None:
    made, load, write = changed(session)
    items: list[Item] = [load, On(1, load), write, Invalidate(TLBIOp.PAALL, pe=1), load, On(1, load)]
    tally = run(session, made, items)
    assert (tally.failed, tally.rule(Rule.CACHED).weak) == (0, 1)
    assert tally.rule(Rule.LOCAL_INVALIDATION).judged == 2  # the instruction, and the access of the second PE


def test_reads_between_changes_share_a_group(session: Session, target: FalsifiedTarget) -> None:
    seen: list[tuple[int, int]] = []

    def note(record: Record, result: Result) -> Result:
        seen.append((record.pe, record.group))
        return result

    made, load, write = changed(session)
    store = session.stimulus(Kind.STORE, LOW + 4096, World.ROOT)
    target.falsify = note
    run(session, made, [load, On(1, load), write, Invalidate(), On(1, load), load, store, load])
    assert seen == [(0, 0), (1, 0), (0, 1), (0, 2), (1, 3), (0, 3), (0, 4), (0, 5)]


def test_pes_configured_apart(session: Session) -> None:
    """A GPC that is off on one PE is that PE's own; a register stays set until the end of the batch."""
    made, load, _ = changed(session)
    made.granule(LOW, GPT_NoAccess)
    off = SetRegister(made.geometry.gpccr(enable=False), 1)
    tally = run(session, made, [off, Invalidate(TLBIOp.PAALLOS), load, On(1, load)])
    assert (tally.failed, tally.rule(Rule.DISABLED).judged) == (0, 1)
    assert run(session, made, [load, On(1, load)]).rule(Rule.DISABLED).judged == 0


def test_a_tlbi_that_takes_an_exception_fails(session: Session, target: FalsifiedTarget) -> None:
    def trap(record: Record, result: Result) -> Result:
        return result._replace(taken=1, target_el=3, esr=1 << 25) if record.op == Op.SYS else result

    made, load, _ = changed(session)
    target.falsify = trap
    tally = run(session, made, [load, Invalidate(TLBIOp.RPAOS, 0xF << 44)])
    case = tally.first_case
    assert case is not None
    assert case.rules == (Rule.RANGE_NOT_REQUIRED.value,)
    assert case.title == "TLBI RPAOS: permitted no exception; observed EC=0x00"
    assert case.stimulus["instruction"] == "TLBI RPAOS, Xt=0xf00000000000 by PE 0 at EL3"


def test_a_failure_shows_the_registers_of_its_own(session: Session, target: FalsifiedTarget) -> None:
    made, load, _ = changed(session)
    gpccr = made.geometry.gpccr().replace(SH=0b01)
    target.falsify = lambda record, result: performed(result)
    case = run(session, made, [Under(load, gpccr=gpccr)]).first_case
    assert case is not None
    assert case.stimulus["GPCCR_EL3"] == str(gpccr)
    assert case.stimulus["GPTBR_EL3"] == str(made.gptbr)


def test_par_is_compared(session: Session, target: FalsifiedTarget) -> None:
    made = builder(session)
    at = Stimulus(Operation.AT_S1E3R, session.windows.va(LOW, World.SECURE), LOW, World.SECURE)
    assert run(session, made, [at]).failed == 0
    target.falsify = lambda record, result: result._replace(par=result.par | 1 << 9)
    case = run(session, made, [at]).first_case
    assert case is not None
    assert case.rules == (Rule.AT_SPACE.value,)
    assert case.title.endswith("observed no exception, PAR_EL1 with an address, NSE 0, NS 1")


@pytest.mark.parametrize(("offset", "fails"), [(-4, False), (4, True)])
def test_what_a_crossing_store_leaves(session: Session, target: FalsifiedTarget, offset: int, fails: bool) -> None:
    """Bytes of the permitted page may have arrived; one on the denied page must not."""
    made = builder(session)
    made.granule(LOW + 4096, GPT_NoAccess)
    edge = LOW + 4096
    session.write(edge - 16, bytes(32))
    store = Stimulus(
        Operation.STORE_ACROSS, session.windows.va(edge - 4, World.ROOT), edge - 4, World.ROOT, 3, 0x1111_1111_1111_1111
    )

    def leave(record: Record, result: Result) -> Result:
        target.write_memory(edge + offset if offset < 0 else edge, b"\x11\x11")
        return result

    target.falsify = leave
    tally = run(session, made, [store])
    assert (tally.failed, tally.rule(Rule.DENIED_STORE_NO_EFFECT).failed) == (int(fails), int(fails))
    assert tally.rule(Rule.PAGE_CROSSING).judged == 1


def test_dc_zva_writes_its_block(session: Session) -> None:
    made = builder(session)
    session.write(LOW, b"\xff" * 128)
    zero = Stimulus(Operation.DC_ZVA, session.windows.va(LOW + 70, World.ROOT), LOW + 70, World.ROOT)
    tally = run(session, made, [zero])
    assert (tally.failed, session.memory.read(LOW, 128)) == (0, b"\xff" * 64 + bytes(64))


def test_gpis_of_a_misprogrammed_range(session: Session) -> None:
    """Two possible answers are weak; one that both descriptors give is evidence."""
    made = builder(session)
    made.contiguous(LOW, 21, GPT_NoAccess)
    made.raw_level_1(LOW, granules_descriptor([GPT_Any] * 16))
    scene = Scene.of("mixed", made)
    tally = Tally()
    session.run(
        type(scene)(**{**vars(scene), "contiguity": True}), [session.stimulus(Kind.LOAD, LOW, World.ROOT)], tally
    )
    assert (tally.failed, tally.rule(Rule.CONTIGUOUS_MISPROGRAMMED).judged) == (0, 1)
