"""Scenes below EL3: each field of an exception is judged by the rule that fixes it, and what cannot be is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from harness.errors import MisuseError, TargetProtocolError
from harness.judge.scene import Invalidate
from harness.judge.session import Session
from harness.judge.stage1 import Stage1Tables
from harness.judge.stimulus import Kind, Stimulus
from harness.judge.tally import Tally
from harness.judge.world import WorldContext, WorldScene
from harness.probe import lower
from harness.probe.records import Record, Result, Status, World
from harness.tests.judge_samples import LOW, FalsifiedTarget, scene
from refmodel.context import Regime
from refmodel.rules import Rule
from refmodel.sysregs import HCR_EL2, SCR_EL3

NO_ACCESS, NON_SECURE, REALM, ANY, MALFORMED = LOW, LOW + 0x2000, LOW + 0x4000, LOW + 0x5000, LOW + (1 << 30)
TABLES, PAGES = LOW + (768 << 20), LOW + (512 << 20)


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


def context(session: Session, state: World, el: int, *, enabled: bool = True, **fields: int) -> WorldContext:
    return WorldContext(
        state=state,
        el=el,
        scr=SCR_EL3(lower.SCR_BASE).replace(GPF=fields.pop("scr_gpf", 0)),
        hcr=HCR_EL2(lower.HCR_RW).replace(**fields),
        stage1=Stage1Tables(
            base=TABLES,
            lower_pages=session.target.info.layout.lower,
            pages=PAGES,
            unprivileged=el == 0,
            enabled=enabled,
        ),
    )


def judged(session: Session, where: WorldContext, *stimuli: Stimulus, cited: tuple[Rule, ...] = ()) -> Tally:
    tally = Tally(cited=cited)
    session.run(WorldScene.below_el3(scene(session), where), stimuli, tally)
    return tally


def failures(tally: Tally) -> dict[Rule, list[str]]:
    return {rule: list(found.signatures) for rule, found in tally.rules.items() if found.failed}


def load(where: WorldContext, pa: int, space: World, *, ns: bool = False) -> Stimulus:
    return Stimulus(Kind.LOAD, where.stage1.block(pa, ns=ns), pa, space)


def test_routes_and_spaces_of_the_model_are_permitted(session: Session) -> None:
    where = context(session, World.SECURE, 1, GPF=1)
    stimuli = [load(where, pa, World.SECURE) for pa in (NO_ACCESS, NON_SECURE, ANY, MALFORMED)]
    stimuli.append(load(where, NON_SECURE, World.NON_SECURE, ns=True))
    tally = judged(session, where, *stimuli)
    assert failures(tally) == {}
    assert (tally.rule(Rule.GPF_TO_EL2).judged, tally.rule(Rule.GPT_FAULT_FROM_BELOW).judged) == (2, 1)
    assert tally.rule(Rule.OUTPUT_SPACE).judged == len(stimuli)


FIELDS: dict[str, tuple[Callable[[Result], Result], Rule, str]] = {
    "EL": (lambda r: r._replace(target_el=2, vector=0x400), Rule.GPF_STAYS,
           "EC=0x25 FSC=0x28: taken to EL2 instead of EL1"),
    "EC": (lambda r: r._replace(esr=r.esr ^ 1 << 26), Rule.EC_LOWER, "EC=0x25 FSC=0x28: EC=0x24 FSC=0x28 instead"),
    "vector": (lambda r: r._replace(vector=0x400), Rule.VECTOR, "EC=0x25 FSC=0x28: vector 0x400 instead of 0x200"),
    "FSC": (lambda r: r._replace(esr=r.esr & ~0x3F | 0x0F), Rule.GPI_NO_ACCESS, "EC=0x25 FSC=0x28: FSC=0x0f instead"),
    "FAR": (lambda r: r._replace(far=r.far ^ 1 << 40), Rule.FAR, "FAR_EL1 is another address"),
    "taken": (lambda r: r._replace(taken=0), Rule.GPI_NO_ACCESS,
              "load: permitted EC=0x25 ISS=0x28; observed no exception"),
}  # fmt: skip


@pytest.mark.parametrize("name", FIELDS)
def test_each_field_has_its_rule(session: Session, machine: FalsifiedTarget, name: str) -> None:
    change, rule, text = FIELDS[name]
    where = context(session, World.NON_SECURE, 1)
    machine.falsify = lambda record, result: change(result) if record.state == World.NON_SECURE else result
    assert failures(judged(session, where, load(where, NO_ACCESS, World.NON_SECURE))) == {rule: [text]}


def test_another_level_of_the_walk_speaks_against_the_walk(session: Session, machine: FalsifiedTarget) -> None:
    where = context(session, World.REALM, 2)
    made = WorldScene.below_el3(scene(session), where)
    stimulus = Stimulus(Kind.LOAD, where.stage1.page(PAGES), PAGES, World.REALM)
    machine.falsify = lambda record, result: _walk_fault(record, result, level=2)
    denied = replace(made, tables=tuple(_deny(made, where.stage1.table(1))))
    tally = Tally()
    session.run(denied, [stimulus], tally)
    assert failures(tally) == {Rule.S1_WALK_CHECKED: ["EC=0x25 FSC=0x25: FSC=0x26 instead"]}


def _walk_fault(record: Record, result: Result, *, level: int) -> Result:
    return result._replace(esr=result.esr & ~0b11 | level) if record.state == World.REALM else result


def _deny(made: WorldScene, pa: int) -> Iterator[tuple[int, bytes]]:
    """The scene's tables with the granule of ``pa`` made inaccessible: its GPI is 4 bits of the level 1 table."""
    for at, data in made.tables:
        if len(data) == (1 << 30) >> 13:
            index = pa % (1 << 30) >> 12
            byte = data[index // 2] & (0x0F if index % 2 else 0xF0)
            data = data[: index // 2] + bytes([byte]) + data[index // 2 + 1 :]
        yield at, data


def test_an_exception_from_elsewhere_is_no_evidence(session: Session, machine: FalsifiedTarget) -> None:
    where = context(session, World.REALM, 1)
    machine.falsify = lambda record, result: result._replace(scr=1) if record.state == World.REALM else result
    with pytest.raises(TargetProtocolError, match="came from EL1 in NON_SECURE state"):
        judged(session, where, load(where, NO_ACCESS, World.REALM))


def test_a_record_that_was_not_issued_is_no_evidence(session: Session, machine: FalsifiedTarget) -> None:
    where = context(session, World.REALM, 1)
    machine.falsify = lambda record, result: (
        result._replace(status=Status.NOT_ENTERED) if record.state == World.REALM else result
    )
    with pytest.raises(TargetProtocolError, match="status 5, not DONE"):
        judged(session, where, load(where, ANY, World.REALM))


def test_what_a_scene_below_el3_refuses(session: Session) -> None:
    where = context(session, World.REALM, 1)
    with pytest.raises(MisuseError, match="takes stimuli only"):
        session.run(WorldScene.below_el3(scene(session), where), [Invalidate()], Tally())
    with pytest.raises(ValueError, match=r"is Realm:0x80005000 for the model, not 0x80005000 in"):
        judged(session, where, load(where, ANY, World.NON_SECURE))
    with pytest.raises(MisuseError, match="nothing runs at EL1 in ROOT state below EL3"):
        replace(where, state=World.ROOT)
    with pytest.raises(MisuseError, match="no block of the scene's stage 1 leads to 0x40000000"):
        where.stage1.block(0x4000_0000)
    with pytest.raises(MisuseError, match="is in none of the 512 pages"):
        where.stage1.page(PAGES - 16)


def test_regime_of_a_context(session: Session) -> None:
    assert context(session, World.REALM, 2).regime() is Regime.Regime_EL2
    assert context(session, World.REALM, 2, E2H=1).regime() is Regime.Regime_EL20
    assert context(session, World.REALM, 0, E2H=1, TGE=1).regime() is Regime.Regime_EL20
    assert context(session, World.REALM, 0, TGE=1).regime() is Regime.Regime_EL10


def test_the_failing_case_names_state_level_and_registers(session: Session, machine: FalsifiedTarget) -> None:
    where = context(session, World.SECURE, 0, TGE=1, enabled=False)
    machine.falsify = lambda record, result: result._replace(far=0) if record.el == 0 else result
    tally = judged(session, where, load(where, NO_ACCESS, World.SECURE))
    case = tally.first_case
    assert case is not None
    assert case.stimulus["access"] == "load, 64 bits, from EL0 in Secure state"
    assert "TGE=0b1" in case.stimulus["HCR_EL2"]
    assert case.observed.fields["taken to"] == "EL2" and "ESR_EL2" in case.observed.fields
