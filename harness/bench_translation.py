"""Measuring speed: random states of stage 1 on QEMU, judged end to end, and the model alone.

A state is a leaf under its own table bits, level and controls, with one access to it: no two are walked alike by
construction, so that nothing can be computed once for many.  A figure says what this machine did today.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from harness.errors import MisuseError, TargetError
from harness.judge.scene import Item, Scene
from harness.judge.session import Session, StoreBatch
from harness.judge.stimulus import Kind, Stimulus
from harness.judge.tables import AF, BLOCK, EL0, PAGE, SHARED, BuiltContext, BuiltStage1, Controls, TableBuilder
from harness.judge.tally import Tally
from harness.judge.world import WorldScene
from harness.probe import lower
from harness.probe.records import World
from harness.report import BatchStore
from harness.targets.factory import TargetFactory
from harness.targets.target import TargetOptions
from images.progress import Progress
from refmodel.accdesc import AccessDescriptor
from refmodel.access import PermittedOutcomes, PEState, access_at
from refmodel.bits import AlignDown
from refmodel.gpt.build import Geometry, GPTBuilder
from refmodel.gpt.cache import PossibleGPT
from refmodel.gpt.decode import GPT_Any
from refmodel.gpt.types import GPCState
from refmodel.sysregs import HCR_EL2, SCR_EL3
from refmodel.translation.walkstate import FINAL_LEVEL, index_lsb

_SEED: Final = 1
_SUBTREES: Final = 8
_LEAVES: Final = 512
_SCENE: Final = _SUBTREES * _LEAVES
_LEVELS: Final = (1, 2, 3)
_TABLES: Final = 768 << 20
_DATA: Final = 512 << 20
_PLACES: Final = tuple((state, el, e2h) for state in lower.STATES for el, e2h in ((2, 0), (2, 1), (1, 0), (0, 0)))


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What ``realmcheck bench translation`` measures; rates are per second of wall time.

    ``states_per_second``: from random bits to the tally: tables laid out and written, run on QEMU, read back, stored,
    judged, memory compared.  ``model_states_per_second``: the permitted sets of the same states alone.
    """

    states_per_second: float
    model_states_per_second: float
    states: int
    cpus: int


def bench_translation(
    *, count: int, qemu: str = "", offline: bool = False, progress: Progress | None = None
) -> dict[str, float]:
    """Measure with at least ``count`` states on QEMU; TargetError when an observation is not permitted."""
    if count < 1:
        raise MisuseError(f"--states must be at least 1, not {count}")
    factory = TargetFactory(spec="qemu", qemu=qemu, offline=offline, progress=progress)
    factory.prepare()
    with tempfile.TemporaryDirectory(prefix="realmcheck-bench-") as scratch:
        target = factory.make(TargetOptions(), Path(scratch) / "logs")
        try:
            target.power_on()
            return asdict(_measure(Session(target, store=_store(Path(scratch))), count))
        finally:
            target.power_off()


def _store(place: Path) -> StoreBatch:
    store = BatchStore(place)
    return lambda image, results, memory, title: store.store(image, results, memory, {"scene": title})


def _measure(session: Session, count: int) -> Figures:
    rng, tally = random.Random(_SEED), Tally()
    scenes = -(-count // _SCENE)
    begin = time.perf_counter()
    for number in range(scenes):
        scene, items = _scene(session, rng, number)
        session.run(scene, items, tally)
    spent = time.perf_counter() - begin
    if tally.failed or tally.stimuli != scenes * _SCENE:
        raise TargetError(f"{tally.stimuli} states were judged, and {tally.failed} observations are not permitted")
    return Figures(
        states_per_second=tally.stimuli / spent,
        model_states_per_second=_model(session, scene, items),
        states=tally.stimuli,
        cpus=len(os.sched_getaffinity(0)),
    )


def _scene(session: Session, rng: random.Random, number: int) -> tuple[WorldScene, list[Item]]:
    """A place, controls, tables with random hierarchical bits, and a random leaf and access for each state."""
    state, el, e2h = _PLACES[number % len(_PLACES)]
    layout = session.target.info.layout
    base = layout.test[0].base
    made = TableBuilder(base + _TABLES, 64 << 20)
    made.map_probe(layout.lower)
    items: list[Item] = []
    for subtree in range(_SUBTREES):
        root = 1 + subtree << 39
        for index in range(_LEAVES):
            va, level, page = _place(rng, root, index, base + _DATA)
            made.put(va, level, _leaf(rng, level, page))
            items.append(_access(rng, va, level, page, state))
        made.upper_bits(root, 0, rng.getrandbits(4) << 59)
    context = BuiltContext(
        state=state,
        el=el,
        scr=SCR_EL3(lower.SCR_BASE),
        hcr=HCR_EL2(lower.HCR_RW).replace(E2H=e2h),
        # Without PAN: WXN beside it is known to be wrong on QEMU (docs/findings).
        stage1=BuiltStage1(
            tables=tuple(made.writes()),
            roots=made.roots,
            controls=Controls(wxn=rng.getrandbits(1), hpd=(rng.getrandbits(1), 0)),
        ),
    )
    gpt = GPTBuilder(Geometry(pps=36), layout.tables.base, layout.tables.size)
    for gigabyte in range((base >> 30) + 1):
        gpt.block(gigabyte << 30, GPT_Any)
    return WorldScene.below_el3(Scene.of(f"bench: random leaves {number}", gpt), context), items


def _place(rng: random.Random, root: int, index: int, data: int) -> tuple[int, int, int]:
    """Virtual address of a leaf, its level, and the page that it leads to: no two leaves share an entry."""
    level = _LEVELS[min(rng.randrange(8), 2)] if index < 400 else FINAL_LEVEL
    page = data + (rng.randrange(256) << 12)
    match level:
        case 1:
            return root | 64 + index << 30, 1, page
        case 2:
            return root | 1 << 30 | index << 21, 2, page
        case _:
            return root | 2 << 30 | index << 12, FINAL_LEVEL, page


def _leaf(rng: random.Random, level: int, page: int) -> int:
    bits = rng.getrandbits(2) << 6 | rng.getrandbits(2) << 53 | EL0 * (rng.random() < 0.5)
    flag = AF if rng.random() < 0.9 else 0
    return AlignDown(page, index_lsb(level)) | SHARED | bits | flag | (PAGE if level == FINAL_LEVEL else BLOCK)


def _access(rng: random.Random, va: int, level: int, page: int, state: World) -> Stimulus:
    kind = rng.choice(tuple(Kind))
    # Instructions in odd lanes, data in even ones.
    pa = page + rng.randrange(128) * 32 + 16 * (kind is Kind.FETCH)
    return Stimulus(kind, va + pa - AlignDown(page, index_lsb(level)), pa, state, 3, rng.getrandbits(64))


def _model(session: Session, scene: WorldScene, items: Sequence[Item]) -> float:
    """Permitted sets a second of the states of a scene, with nothing else done."""
    gpt = PossibleGPT(GPCState(scene.gpccr, scene.gptbr, session.features), session.memory)
    context = scene.context.pe(session.features)
    pe = PEState(session.pe.regime, session.memory, context, scene.context.regimes())
    stimuli = [item for item in items if isinstance(item, Stimulus)]
    kinds: dict[object, AccessDescriptor] = {kind: access_at(kind.access_name, context) for kind in Kind}
    begin = time.perf_counter()
    for stimulus in stimuli:
        PermittedOutcomes(pe, gpt, stimulus.va, kinds[stimulus.kind])
    return len(stimuli) / (time.perf_counter() - begin)
