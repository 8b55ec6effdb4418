"""Every field of an observation counts: falsified one by one, each fails the rule that it breaks, and says how."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from harness.check import Check
from harness.errors import MisuseError, TargetEvidence, TargetLostError, TargetProtocolError
from harness.judge.scene import Invalidate, Scene, TableWrite, Under
from harness.judge.session import Session
from harness.judge.stimulus import Kind, Stimulus
from harness.judge.tally import Tally
from harness.probe.batch import EncodedBatch, decode_header
from harness.probe.records import Op, Record, RecordFlag, Result, Status, World
from harness.report import Verdict
from harness.tests.judge_samples import LOW, FalsifiedTarget, builder, scene
from refmodel.gpt.build import granules_descriptor
from refmodel.rules import Rule

NO_ACCESS, SECURE, ROOT, ANY, MALFORMED = LOW, LOW + 0x1000, LOW + 0x3000, LOW + 0x5000, LOW + (1 << 30)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FalsifiedTarget]:
    target = FalsifiedTarget(tmp_path_factory.mktemp("model"))
    target.power_on()
    yield target
    target.power_off()


@pytest.fixture
def session(machine: FalsifiedTarget) -> Iterator[Session]:
    yield Session(machine)
    machine.falsify = lambda record, result: result
    machine.lose = lambda record: False


def judged(session: Session, *stimuli: Stimulus, cited: tuple[Rule, ...] = ()) -> Tally:
    tally = Tally(cited=cited)
    session.run(scene(session), stimuli, tally)
    return tally


def failures(tally: Tally) -> dict[Rule, list[str]]:
    return {rule: list(found.signatures) for rule, found in tally.rules.items() if found.failed}


def test_what_the_model_does_is_permitted(session: Session) -> None:
    places = (NO_ACCESS, SECURE, ROOT, ANY, MALFORMED)
    stimuli = [
        session.stimulus(kind, pa + 0x40 * kind.number + 0x10 * (kind is Kind.FETCH), pas)
        for kind in Kind
        for pa in places
        for pas in World
    ]
    tally = judged(session, *stimuli)
    assert failures(tally) == {}
    assert tally.stimuli == len(stimuli)
    assert tally.rule(Rule.GPI_NO_ACCESS).judged > 0


FIELDS: dict[str, tuple[int, Callable[[Result], Result], Rule, str]] = {
    "MFAR low bits": (MALFORMED + 0x40, lambda r: r._replace(mfar=r.mfar | 0x40), Rule.MFAR,
        "MFAR_EL3[11:0] holds the low bits of the address instead of zero"),
    "MFAR other low bits": (MALFORMED + 0x40, lambda r: r._replace(mfar=r.mfar | 0x80), Rule.MFAR,
        "MFAR_EL3[11:0] is not zero"),
    "MFAR page": (MALFORMED, lambda r: r._replace(mfar=r.mfar ^ 0x1000), Rule.MFAR, "MFAR_EL3 names another page"),
    "MFAR space": (MALFORMED, lambda r: r._replace(mfar=r.mfar ^ 1 << 63), Rule.MFAR,
        "MFAR_EL3 names the NonSecure PAS instead of Secure"),
    "FAR page": (MALFORMED + 0x40, lambda r: r._replace(far=r.far & ~0xFFF), Rule.FAR,
        "FAR_EL3 is the address's page only"),
    "FAR": (MALFORMED, lambda r: r._replace(far=r.far ^ 1 << 40), Rule.FAR, "FAR_EL3 is another address"),
    "WnR": (MALFORMED, lambda r: r._replace(esr=r.esr | 1 << 6), Rule.ISS,
        "ISS: permitted 0x10028, observed 0x10068"),
    "S1PTW": (MALFORMED, lambda r: r._replace(esr=r.esr | 1 << 7), Rule.ISS,
        "ISS: permitted 0x10028, observed 0x100a8"),
    "IL": (MALFORMED, lambda r: r._replace(esr=r.esr & ~(1 << 25)), Rule.ISS, "IL: permitted 0x1, observed 0x0"),
    "ISS2": (MALFORMED, lambda r: r._replace(esr=r.esr | 1 << 40), Rule.ISS, "ISS2: permitted 0x0, observed 0x100"),
}  # fmt: skip
"""Falsified fields of the report of a GPT walk fault: place, change, the rule it speaks against, signature."""


@pytest.mark.parametrize("name", FIELDS)
def test_a_wrong_field_of_a_report_breaks_that_fields_rule_alone(
    session: Session, machine: FalsifiedTarget, name: str
) -> None:
    pa, change, rule, signature = FIELDS[name]
    machine.falsify = lambda record, result: change(result)
    tally = judged(session, session.stimulus(Kind.LOAD, pa, World.SECURE), cited=(Rule.L0_BLOCK_GPI_RESERVED,))
    assert failures(tally) == {rule: [signature]}
    # The rest of the observation is as permitted, and counts for the rules that decided it.
    assert tally.rule(Rule.L0_BLOCK_GPI_RESERVED).judged == 1
    assert tally.rule(Rule.GPT_FAULT_IS_GPC_EXCEPTION).judged == 1


OUTCOMES: dict[str, tuple[int, World, Callable[[Result], Result], Rule, str]] = {
    "GPCSC level": (MALFORMED, World.ROOT, lambda r: r._replace(esr=r.esr | 1 << 14), Rule.GPCSC,
        "GPCSC (GPC fault, not on a walk): permitted GPT walk fault, level 0, observed GPT walk fault, level 1"),
    "GPCSC kind": (MALFORMED, World.ROOT, lambda r: r._replace(esr=r.esr ^ 0b000100 << 14), Rule.GPCSC,
        "GPCSC (GPC fault, not on a walk): permitted GPT walk fault, level 0, "
        "observed GPT address size fault, level 0"),
    "no exception": (NO_ACCESS, World.ROOT, lambda r: r._replace(taken=0, esr=0), Rule.GPI_NO_ACCESS,
        "load: permitted EC=0x25 ISS=0x28; observed no exception"),
    "exception": (ANY, World.ROOT, lambda r: r._replace(taken=1, esr=0x96000028), Rule.GPI_ANY,
        "load: permitted no exception; observed EC=0x25 ISS=0x28"),
    "GPF as GPC exception": (SECURE, World.ROOT, lambda r: r._replace(esr=0x7A034028, mfar=0), Rule.GPF_AT_EL3,
        "load: permitted EC=0x25 ISS=0x28; observed EC=0x1e ISS=0x34028"),
    "GPT fault as abort": (MALFORMED, World.ROOT, lambda r: r._replace(esr=0x96000028), Rule.L0_BLOCK_GPI_RESERVED,
        "load: permitted EC=0x1e ISS=0x10028; observed EC=0x25 ISS=0x28"),
    "EL": (SECURE, World.ROOT, lambda r: r._replace(target_el=2), Rule.GPI_SECURE,
        "load: permitted EC=0x25 ISS=0x28; observed EC=0x25 ISS=0x28"),
    "vector": (SECURE, World.ROOT, lambda r: r._replace(vector=0x400), Rule.GPI_SECURE,
        "load: permitted EC=0x25 ISS=0x28; observed EC=0x25 ISS=0x28"),
    "two exceptions": (SECURE, World.ROOT, lambda r: r._replace(taken=2), Rule.AVAILABILITY,
        "exceptions: permitted 0x1, observed 0x2"),
}  # fmt: skip


@pytest.mark.parametrize("name", OUTCOMES)
def test_another_outcome_breaks_the_rule_that_decides(session: Session, machine: FalsifiedTarget, name: str) -> None:
    pa, pas, change, rule, signature = OUTCOMES[name]
    machine.falsify = lambda record, result: change(result)
    tally = judged(session, session.stimulus(Kind.LOAD, pa, pas))
    assert failures(tally)[rule] == [signature]
    case = tally.first_case
    assert case is not None
    assert case.walk, "a failing case shows the model's steps"
    assert case.expected
    assert case.observed


def test_wrong_data_is_a_failure(session: Session, machine: FalsifiedTarget) -> None:
    machine.falsify = lambda record, result: result._replace(data0=result.data0 ^ 1)
    tally = judged(session, session.stimulus(Kind.LOAD, ANY, World.ROOT))
    assert failures(tally) == {Rule.PERMITTED_ACCESS_EFFECT: ["load: performed, but returns other data"]}
    assert tally.rule(Rule.GPI_ANY).judged == 0


def test_a_denied_store_that_arrives_is_a_failure(session: Session, machine: FalsifiedTarget) -> None:
    def arrives(record: Record, result: Result) -> Result:
        machine.write_memory(SECURE, b"\xff" * 16)
        return result

    session.write(SECURE, bytes(16))
    machine.falsify = arrives
    tally = judged(session, session.stimulus(Kind.STORE, SECURE, World.ROOT, value0=7))
    assert failures(tally) == {Rule.DENIED_STORE_NO_EFFECT: ["store: a denied store changed memory"]}


def test_a_permitted_store_that_is_lost_is_a_failure(session: Session, machine: FalsifiedTarget) -> None:
    def lost(record: Record, result: Result) -> Result:
        machine.write_memory(ANY, bytes(16))
        return result

    session.write(ANY, bytes(16))
    machine.falsify = lost
    tally = judged(session, session.stimulus(Kind.STORE, ANY, World.ROOT, value0=7))
    assert failures(tally) == {Rule.PERMITTED_ACCESS_EFFECT: ["store: memory does not hold what was stored"]}


def test_a_record_that_was_not_run_is_no_observation(session: Session, machine: FalsifiedTarget) -> None:
    stimulus = session.stimulus(Kind.LOAD, ANY, World.ROOT)

    def unsupported(record: Record, result: Result) -> Result:
        return result._replace(status=Status.UNSUPPORTED) if record.address == stimulus.va else result

    machine.falsify = unsupported
    with pytest.raises(TargetProtocolError, match=f"status {int(Status.UNSUPPORTED)}, not DONE"):
        judged(session, stimulus)


def test_a_stale_answer_is_permitted_and_no_evidence(session: Session, machine: FalsifiedTarget) -> None:
    made = builder(session)
    entry = made.address_1(LOW)
    stimulus = session.stimulus(Kind.LOAD, LOW + 0x8000, World.REALM)
    closed = TableWrite(entry, granules_descriptor([0b1010] * 16))
    tally = Tally()
    session.run(Scene.of("stale", made), [stimulus, closed, stimulus, Invalidate(), stimulus], tally)
    assert failures(tally) == {}
    assert tally.rule(Rule.CACHED).judged + tally.rule(Rule.CACHED).weak == 1

    # An old answer after the invalidation is none any more.
    def open_again(record: Record, result: Result) -> Result:
        return result._replace(taken=0, esr=0, data0=0) if record.op == Op.LOAD else result

    machine.falsify = open_again
    tally = Tally(cited=(Rule.INVALIDATED,))
    session.run(Scene.of("stale", made), [stimulus, closed, stimulus, Invalidate(), stimulus], tally)
    assert list(failures(tally)) == [Rule.INVALIDATED]
    assert tally.rule(Rule.INVALIDATED).failed == 1


def test_under_other_registers_the_former_ones_are_no_excuse_for_an_untouched_page(
    session: Session, machine: FalsifiedTarget
) -> None:
    made = builder(session)
    reserved = made.geometry.gpccr().replace(PGS=0b11)
    beside = session.stimulus(Kind.LOAD, LOW + 0x10000, World.SECURE)
    stimulus = session.stimulus(Kind.LOAD, LOW + 0x8000, World.SECURE)

    def performs(record: Record, result: Result) -> Result:
        return result._replace(taken=0, esr=0, far=0, mfar=0, data0=0)

    def run(items: list[Stimulus | Under]) -> Tally:
        tally = Tally(cited=(Rule.PGS_RESERVED,))
        session.run(Scene.of("reserved", made), items, tally)
        return tally

    warm: list[Stimulus | Under] = [beside, Under(stimulus, gpccr=reserved, flags=RecordFlag(0))]
    assert failures(run(warm)) == {}
    machine.falsify = performs
    assert list(failures(run(warm))) == [Rule.PGS_RESERVED]
    # The same page touched before: what it was permitted to do then may still be cached.
    touched: list[Stimulus | Under] = [stimulus, Under(stimulus, gpccr=reserved, flags=RecordFlag(0))]
    assert failures(run(touched)) == {}


def test_accesses_to_what_the_probe_needs_are_refused(session: Session) -> None:
    tables = session.target.info.layout.tables.base
    with pytest.raises(MisuseError, match="would change memory that the probe or its tables need"):
        judged(session, session.stimulus(Kind.STORE, tables, World.ROOT))


def test_a_store_over_an_instruction_to_be_fetched_is_refused(session: Session) -> None:
    fetch = session.stimulus(Kind.FETCH, ANY, World.ROOT)
    with pytest.raises(MisuseError, match="keep stores and fetches of a batch in different 16-byte lanes"):
        judged(session, fetch, session.stimulus(Kind.STORE, ANY + 8, World.ROOT))


def check_of(session: Session, tally: Tally, *cited: Rule) -> Check:
    return Check(test="suites/x.py::test", cited=cited, session=session, tally=tally, rng=random.Random(0))


def test_a_stimulus_that_loses_the_target_twice_fails_availability_and_the_rest_is_judged(
    session: Session, machine: FalsifiedTarget
) -> None:
    fatal = session.stimulus(Kind.LOAD, ANY + 0x100, World.ROOT)
    machine.lose = lambda record: record.address == fatal.va
    power_ons = machine.power_ons
    tally = judged(session, session.stimulus(Kind.LOAD, ANY, World.ROOT), fatal)
    assert failures(tally) == {Rule.AVAILABILITY: ["sample: the target is lost, aborted (machine: assertion failed)"]}
    assert machine.power_ons - power_ons == 2
    assert tally.rule(Rule.GPI_ANY).judged == 1
    results = {r.rules[0]: r.verdict for r in check_of(session, tally, Rule.GPI_ANY).results()}
    assert results == {"GPC-035": Verdict.INCONCLUSIVE, "GPC-080": Verdict.FAIL}


def lost_once(session: Session, machine: FalsifiedTarget, *waived: Rule) -> dict[str, Verdict]:
    """Verdicts of a check that cites GPI_ANY, after one loss that is waived for some rules."""
    fatal = session.stimulus(Kind.LOAD, ANY + 0x100, World.ROOT)
    machine.lose = lambda record: record.address == fatal.va
    names = {rule.value for rule in waived}
    tally = Tally(waive=lambda rule, signature: "known" if rule in names and "assertion failed" in signature else None)
    session.run(scene(session), [session.stimulus(Kind.LOAD, ANY, World.ROOT), fatal], tally)
    return {r.rules[0]: r.verdict for r in check_of(session, tally, Rule.GPI_ANY).results()}


def test_a_waiver_of_the_loss_does_not_excuse_the_rule_that_was_not_observed(
    session: Session, machine: FalsifiedTarget
) -> None:
    verdicts = lost_once(session, machine, Rule.AVAILABILITY)
    assert verdicts == {"GPC-035": Verdict.INCONCLUSIVE, "GPC-080": Verdict.WAIVED}


def test_a_waiver_of_the_rule_covers_the_stimulus_and_the_rule_does_not_pass(
    session: Session, machine: FalsifiedTarget
) -> None:
    verdicts = lost_once(session, machine, Rule.AVAILABILITY, Rule.GPI_ANY)
    assert verdicts == {"GPC-035": Verdict.WAIVED, "GPC-080": Verdict.WAIVED}


def test_an_attempt_that_breaks_off_is_not_counted(session: Session, machine: FalsifiedTarget) -> None:
    read, failures_left = machine.read_memory, [1]

    def breaks_off(pa: int, length: int) -> bytes:
        if pa == ANY and failures_left:
            failures_left.pop()
            raise TargetLostError("the machine is gone while its memory is read")
        return read(pa, length)

    machine.read_memory = breaks_off  # type: ignore[method-assign]
    stores = [session.stimulus(Kind.STORE, ANY + 16 * n, World.ROOT) for n in range(5)]
    tally = judged(session, *stores)
    del machine.read_memory
    assert not failures_left
    assert (tally.stimuli, tally.rule(Rule.GPI_ANY).judged) == (5, 5)
    assert len(tally.lost) == 1


def test_a_target_that_somebody_killed_is_no_failure_of_its_own(session: Session, machine: FalsifiedTarget) -> None:
    machine.exit_status = "killed (SIGKILL)"
    machine.lose = lambda record: record.address == session.windows.va(ANY, World.ROOT)
    with pytest.raises(TargetLostError):
        judged(session, session.stimulus(Kind.LOAD, ANY, World.ROOT))
    machine.exit_status = "aborted"


def test_other_last_words_are_another_loss(session: Session, machine: FalsifiedTarget) -> None:
    machine.last_words = ("machine: something else",)
    machine.lose = lambda record: record.op == Op.LOAD and record.address == session.windows.va(ANY, World.ROOT)
    tally = Tally(waive=lambda rule, signature: "known" if "assertion failed" in signature else None)
    session.run(scene(session), [session.stimulus(Kind.LOAD, ANY, World.ROOT)], tally)
    machine.last_words = ("machine: assertion failed",)
    assert tally.rule(Rule.AVAILABILITY).failed == 1


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("qemu: target/arm/tcg/tlb_helper.c:156: report: failed", "qemu: target/arm/tcg/tlb_helper.c: report: failed"),
        ("qemu: ./include/qemu/bitops.h:574: extract64: failed", "qemu: ./include/qemu/bitops.h: extract64: failed"),
        ("machine: code:12: failed", "machine: code:12: failed"),
    ],
)
def test_a_signature_has_no_line_of_the_machines_source(
    words: str, shown: str, session: Session, machine: FalsifiedTarget
) -> None:
    """Lines move from release to release; a waiver of an assertion is for its whole version range."""
    machine.last_words = (words,)
    machine.lose = lambda record: record.op == Op.LOAD and record.address == session.windows.va(ANY, World.ROOT)
    tally = judged(session, session.stimulus(Kind.LOAD, ANY, World.ROOT))
    machine.last_words = ("machine: assertion failed",)
    assert failures(tally) == {Rule.AVAILABILITY: [f"sample: the target is lost, aborted ({shown})"]}


def test_a_scene_that_loses_the_target_with_every_stimulus_is_given_up(
    session: Session, machine: FalsifiedTarget
) -> None:
    stimuli = [session.stimulus(Kind.LOAD, ANY + 16 * n, World.ROOT) for n in range(50)]
    addresses = {stimulus.va for stimulus in stimuli}
    machine.lose = lambda record: record.address in addresses
    batches = machine.batches
    tally = judged(session, *stimuli)
    assert tally.rule(Rule.AVAILABILITY).failed == 2
    assert "48 more stimuli of 'sample' were not sent" in tally.unjudged
    assert machine.batches - batches < 30


@pytest.mark.parametrize("place", [0, 1, 6, 11])
def test_a_loss_that_does_not_say_where_is_pinned_by_shorter_batches(
    place: int, session: Session, machine: FalsifiedTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    stimuli = [session.stimulus(Kind.LOAD, ANY + 16 * n, World.ROOT) for n in range(12)]
    monkeypatch.setattr(machine, "says_where", False)
    monkeypatch.setattr(machine, "lose", lambda record: record.address == stimuli[place].va)
    tally = judged(session, *stimuli)
    assert failures(tally) == {Rule.AVAILABILITY: ["sample: the target is lost, aborted (machine: assertion failed)"]}
    assert tally.rule(Rule.GPI_ANY).judged == 11
    (case,) = tally.rule(Rule.AVAILABILITY).cases
    assert case.index == place and f"{stimuli[place].pa:#x}" in case.stimulus["address"]


def test_a_scene_that_loses_the_target_whatever_is_sent_is_given_up(
    session: Session, machine: FalsifiedTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scene's own registers, say."""
    stimuli = [session.stimulus(Kind.LOAD, ANY + 16 * n, World.ROOT) for n in range(4)]
    original = machine.run_encoded

    def run_encoded(encoded: EncodedBatch) -> bytes:
        header = decode_header(encoded.image)
        if header.context_count and header.record_count <= len(stimuli):
            raise TargetLostError("the machine is gone", TargetEvidence(exit_status="aborted"))
        return original(encoded)

    monkeypatch.setattr(machine, "run_encoded", run_encoded)
    tally = judged(session, *stimuli)
    assert tally.rule(Rule.AVAILABILITY).signatures == {"sample: the target is lost, aborted": 2}
    assert "2 more stimuli of 'sample' were not sent" in tally.unjudged


def test_a_batch_that_cannot_be_judged_is_no_loss(
    session: Session, machine: FalsifiedTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "falsify", lambda record, result: result._replace(status=Status.REFUSED))
    monkeypatch.setattr(session, "restart", lambda: None)
    batches = machine.batches
    with pytest.raises(TargetProtocolError, match="status 3, not DONE"):
        judged(session, *(session.stimulus(Kind.LOAD, ANY + 16 * n, World.ROOT) for n in range(4)))
    assert machine.batches - batches == 2


def test_a_scene_is_kept_from_batch_to_batch_and_judged_the_same(session: Session, machine: FalsifiedTarget) -> None:
    kept = scene(session)
    stimuli = [session.stimulus(Kind.LOAD, pa, pas) for pa in (SECURE, ROOT, ANY) for pas in World]
    first, second = Tally(), Tally()
    session.run(kept, stimuli, first)
    session.run(kept, stimuli, second)
    assert {r: t.judged for r, t in first.rules.items()} == {r: t.judged for r, t in second.rules.items()}
    machine.falsify = lambda record, result: result._replace(taken=0, esr=0)
    third = Tally()
    session.run(kept, stimuli, third)
    assert third.failed > 0


def test_windows_are_there_again_after_a_power_cycle(session: Session, machine: FalsifiedTarget) -> None:
    """The retry asks for the same address: above 512 GB it needs the window's descriptor, which the machine lost."""
    stimulus = session.stimulus(Kind.LOAD, 1 << 42, World.NON_SECURE)
    lose = [True]
    machine.lose = lambda record: record.address == stimulus.va and bool(lose) and lose.pop()
    tally = Tally()
    session.run(scene(session), [stimulus], tally)
    assert (len(tally.lost), tally.failed) == (1, 0)
    # PPS is 1 TB in this scene: above it Non-secure passes the check, and meets nothing.
    assert tally.rule(Rule.ABOVE_PPS_NON_SECURE).judged == 1


def test_data_that_is_not_compared_is_no_evidence_of_an_effect(session: Session) -> None:
    """On a machine whose spaces do not share storage, data is compared in the Root space alone."""
    session.calibration = replace(session.calibration, aliased=False)
    tally = judged(session, *(session.stimulus(Kind.LOAD, ANY, pas) for pas in World))
    assert tally.failed == 0
    assert tally.rule(Rule.GPI_ANY).judged == len(World)
    assert tally.rule(Rule.PERMITTED_ACCESS_EFFECT).judged == 1
