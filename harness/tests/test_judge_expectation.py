"""Expectations are the model's permitted sets, whatever is shared between pages, granules and kinds of access."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from harness.judge.expectation import Expectation, Expectations, compile_permitted
from harness.judge.session import Session
from harness.judge.stimulus import Kind, Stimulus, access_of
from harness.probe.records import World
from harness.targets.model import ModelTarget
from refmodel.access import PermittedOutcomes
from refmodel.gpt.build import Geometry, GPTBuilder, contiguous_descriptor, granules_descriptor
from refmodel.gpt.cache import PossibleGPT
from refmodel.gpt.decode import GPI_NAMES, GPT_Any
from refmodel.gpt.types import GPCState, PGSe
from refmodel.sysregs import GPTBR_EL3

LOW = 2 << 30
HOLE = 0x2_0000_0000
WINDOW = 1 << 41


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    target = ModelTarget(log_directory=tmp_path_factory.mktemp("model"))
    target.power_on()
    yield Session(target)
    target.power_off()


def tables(session: Session, rng: random.Random, pgs: PGSe) -> GPTBuilder:
    """A GPT with every descriptor and every GPI, valid and reserved, in random places."""
    layout = session.target.info.layout
    made = GPTBuilder(Geometry(pgs=pgs, pps=40), layout.tables.base, layout.tables.size)
    made.block(0, GPT_Any)
    made.table(1 << 30)
    made.granule(layout.windows_l1 or 1 << 30, GPT_Any)
    made.table(LOW)
    span = 16 << pgs.value
    for number in range(64):
        gpis = [rng.choice(list(GPI_NAMES) if rng.random() < 0.9 else range(16)) for _ in range(16)]
        entry = contiguous_descriptor(rng.randrange(16), rng.randrange(4)) if number % 8 == 7 else None
        made.raw_level_1(LOW + number * span, entry if entry is not None else granules_descriptor(gpis))
    made.raw_level_0(HOLE, rng.choice([0xF1, 0x91, 0x01, 0x2, 0x1F1]))
    return made


def stimuli(session: Session, rng: random.Random, pgs: PGSe, count: int) -> list[Stimulus]:
    places = [lambda: LOW + rng.randrange(64 * 16 << pgs.value), lambda: HOLE + rng.randrange(1 << 28), lambda: WINDOW]
    return [
        session.stimulus(rng.choice(list(Kind)), rng.choice(places)() & ~0xF, rng.choice(list(World)))
        for _ in range(count)
    ]


def text(expectation: Expectation, stimulus: Stimulus) -> list[object]:
    """Everything that decides a judgement, for one stimulus, in the model's order."""
    return [alternative.alternative(stimulus) for alternative in expectation.alternatives]


@pytest.mark.parametrize("stale", [False, True], ids=["nothing stale", "stale"])
@pytest.mark.parametrize("pgs", PGSe, ids=lambda pgs: pgs.name)
def test_shared_expectations_are_the_models_own(session: Session, pgs: PGSe, stale: bool) -> None:
    rng = random.Random(f"{pgs.name} {stale}")
    made = tables(session, rng, pgs)
    chosen = stimuli(session, rng, pgs, 300 if stale else 1500)
    for pa, data in (*made.writes(), *session.windows.pending):
        session.memory.write(pa, data)
    gpc = GPCState(made.geometry.gpccr(), made.gptbr, session.features)
    gpt = PossibleGPT(gpc, session.memory)
    if stale:
        gpt.write(made.address_1(LOW), granules_descriptor([0b1010] * 16).to_bytes(8, "little"))
    expectations = Expectations(session.pe, gpt)
    seen: set[int] = set()
    for stimulus in chosen:
        found = expectations.of(stimulus)
        fresh = PossibleGPT(gpc, session.memory)
        fresh.stale = gpt.stale
        wanted = compile_permitted(PermittedOutcomes(session.pe, fresh, stimulus.va, access_of(stimulus)), stimulus.va)
        assert text(found, stimulus) == text(wanted, stimulus), stimulus
        seen.add(id(found))
    assert len(seen) < len(chosen), "nothing was shared, so that sharing has not been tested"


def test_a_change_is_not_answered_from_memory(session: Session) -> None:
    rng = random.Random(3)
    made = tables(session, rng, PGSe.PGS_4KB)
    made.granule(LOW, 0b1111)
    made.raw_level_1(LOW, granules_descriptor([0b1111] * 16))
    for pa, data in made.writes():
        session.memory.write(pa, data)
    gpt = PossibleGPT(GPCState(made.geometry.gpccr(), made.gptbr, session.features), session.memory)
    expectations = Expectations(session.pe, gpt)
    stimulus = session.stimulus(Kind.LOAD, LOW, World.REALM)
    assert expectations.of(stimulus).performed is not None
    gpt.write(made.address_1(LOW), granules_descriptor([0b1010] * 16).to_bytes(8, "little"))
    gpt.invalidate_all()
    expectations.changed()
    assert expectations.of(stimulus).performed is None


def test_a_stimulus_that_says_another_address_than_the_model_is_an_error(session: Session) -> None:
    gpt = PossibleGPT(GPCState(Geometry().gpccr(enable=False), GPTBR_EL3(0), session.features), session.memory)
    stimulus = session.stimulus(Kind.LOAD, LOW, World.ROOT)._replace(pa=LOW + 0x1000)
    with pytest.raises(ValueError, match="VA 0x80000000 is Root:0x80000000 for the model, 0x80001000 for the stimulus"):
        Expectations(session.pe, gpt).of(stimulus)


def test_an_expectation_is_drained_as_long_as_it_may_be_hit(session: Session) -> None:
    gpt = PossibleGPT(GPCState(Geometry().gpccr(enable=False), GPTBR_EL3(0), session.features), session.memory)
    expectations = Expectations(session.pe, gpt)
    first, second = (session.stimulus(Kind.LOAD, LOW + at, World.ROOT) for at in (0, 0x20_0000))
    assert expectations.of(first) is expectations.of(second)
    assert len(expectations.drain()) == len(expectations.drain()) == 1
    expectations.changed()
    assert len(expectations.drain()) == 1
    assert expectations.drain() == []
