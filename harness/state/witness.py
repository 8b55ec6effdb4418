"""What the model permits for the judged record of a state, with nothing in memory but what the state says.

The preceding records are followed with the results that they had.  The words that the model reads on its way say which
part of the tables the answer rests on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from harness.judge import cases
from harness.judge.calibration import read_regime
from harness.judge.expectation import Expectation
from harness.judge.judging import BatchJudge, Bench, SceneState
from harness.judge.operation_judging import OperationJudge, WorldOperationJudge
from harness.judge.scene import Item, Scene, stimulus_of
from harness.judge.session import Session, judge_for
from harness.judge.stimulus import Kind, Stimulus
from harness.judge.tally import Tally
from harness.judge.world import WorldScene
from harness.judge.world_judging import WorldJudge
from harness.probe.lower import LowerPages
from harness.probe.records import RESULT, RESULT_SIZE, Result, Status
from harness.state.below import Places
from refmodel.access import PEState
from refmodel.gpt.cache import PossibleGPT
from refmodel.gpt.types import GPCF
from refmodel.memory import Memory, MemoryMap
from refmodel.outcomes import Alternative
from refmodel.pas import FullAddress, PASpace

BATCH_PA: Final = 0x4800_1000
"""Start of the probe's batch area, see docs/reference/probe-protocol.md."""

_GB: Final = 1 << 30
_STEP: Final = 1 << 16  # the least that one level 1 entry covers: 16 granules of 4 KB


class ReadMemory(Memory):
    """Memory that remembers which doublewords were read."""

    def __init__(self, memory_map: MemoryMap) -> None:
        super().__init__(memory_map)
        self.words: set[int] = set()

    def read64(self, address: int) -> int:
        """As ``Memory``."""
        self.words.add(address & ~7)
        return super().read64(address)

    def read(self, address: int, length: int) -> bytes:
        """As ``Memory``."""
        self.words.update(range(address & ~7, address + length, 8))
        return super().read(address, length)


@dataclass(frozen=True)
class Testimony:
    """The judged stimulus, what is permitted for it, the model's walk in words, the 16 bytes at its PA before it.

    ``probe_denied``: the context denies the probe its own memory, so that it can answer nothing.
    ``words``: PAs of the doublewords that this, and the probe's own work under the scene's registers, rests on.
    """

    stimulus: Stimulus
    alternatives: tuple[Alternative, ...]
    walk: tuple[str, ...]
    before: bytes
    words: frozenset[int]
    probe_denied: bool


class _Witness(BatchJudge):
    """A judge that stops at one record and keeps what is permitted there."""

    wanted = 0
    found: tuple[Stimulus, tuple[Alternative, ...], tuple[str, ...], bytes] | None = None

    def _one(self, stimulus: Stimulus, result: Result, expectation: Expectation, gpt: PossibleGPT, index: int) -> None:
        if index != self.wanted:
            super()._one(stimulus, result, expectation, gpt, index)
            return
        permitted = self._permitted(stimulus, gpt, trace=True)
        before = self._bench.pe.memory.read(stimulus.pa, 16)
        self.found = (stimulus, permitted.alternatives, tuple(map(str, permitted.steps)), before)


class _WorldWitness(_Witness, WorldJudge):
    """The same below EL3."""


class _OperationWitness(_Witness, OperationJudge):
    """The same for operations that are no single access."""


class _WorldOperationWitness(_Witness, WorldOperationJudge):
    """Those below EL3."""


_WITNESSES: Final[Mapping[type[BatchJudge], type[_Witness]]] = {
    BatchJudge: _Witness,
    WorldJudge: _WorldWitness,
    OperationJudge: _OperationWitness,
    WorldOperationJudge: _WorldOperationWitness,
}


def testify(
    session: Session, scene: Scene, items: Sequence[Item], judged: int, results: bytes, *, probe: bool = False
) -> Testimony:
    """Ask the model; ``results`` are the target's for the preceding records.

    ``probe``: also collect the words that the granule protection checks of the probe's own accesses read.
    """
    memory = ReadMemory(session.memory.map)
    regime = read_regime(session.target, memory)
    for pa, data in (*scene.tables, *session.windows.writes()):
        memory.write(pa, data)
    pe = PEState(regime, memory)
    gpc = scene.gpc(session.l0gptsz, session.features)
    bench = Bench(
        pe=pe,
        aliased=session.calibration.aliased,
        prompt=session.calibration.prompt,
        read_memory=memory.read,
        around=cases.Circumstances(),
        zva_bits=session.calibration.dczid.block_bits,
        clidr=session.calibration.clidr,
    )
    state = SceneState(pe, scene, gpc)
    denied = any(_denied(state, pa) for pa in (regime.ttbr0.BADDR << 1, BATCH_PA))
    memory.words.clear()
    if probe:
        _probe_checks(session, state)
        if isinstance(scene, WorldScene):
            _below(session, state, scene, items)
    # By the kinds of all items, as the run was judged, although only those up to the judged one are looked at.
    witness = _WITNESSES[judge_for(scene, items)](bench, state, Tally())
    witness.wanted = judged
    witness.judge(items[: judged + 1], [_result(results, index) for index in range(judged + 1)])
    assert witness.found is not None  # the judged item is an access
    stimulus, alternatives, walk, before = witness.found
    return Testimony(stimulus, alternatives, walk, before, frozenset(memory.words), denied)


def _denied(state: SceneState, pa: int) -> bool:
    checked = state.gpt.checked(FullAddress(PASpace.PAS_Root, pa))
    return checked.options[0].value.gpf is not GPCF.GPCF_None


def _result(results: bytes, index: int) -> Result:
    """The result at ``index``, or one that says that the operation was issued, where the target did not get so far."""
    data = results[index * RESULT_SIZE : (index + 1) * RESULT_SIZE]
    if len(data) == RESULT_SIZE:
        result = Result._make(RESULT.unpack(data))
        if result.status == Status.DONE:
            return result
    return Result(index, Status.DONE, *[0] * (len(Result._fields) - 2))


def _probe_checks(session: Session, state: SceneState) -> None:
    """Check what the probe uses itself: its own memory, the harness's tables, and gigabyte 0 with the devices."""
    layout = session.target.info.layout
    own = [(window.base, window.end) for window in layout.probe]
    for base, end in (*own, (0, _GB)):
        for pa in range(base, end, _STEP):
            state.gpt.checked(FullAddress(PASpace.PAS_Root, pa))


def _below(session: Session, state: SceneState, scene: WorldScene, items: Sequence[Item]) -> None:
    """Walk to the probe's pages below EL3 as its own fetches do, and to where the stimuli lead whatever denies them."""
    of = (scene, session.features, session.pe.regime, state.gpt.memory)
    checked, places = Places(*of, state.gpt), Places(*of)
    for page in LowerPages(session.target.info.layout.lower).of(scene.context.state):
        state.gpt.checked(FullAddress(PASpace(scene.context.state), page.base))
        checked.of(page.base, Kind.FETCH)
    for stimulus in filter(None, map(stimulus_of, items)):
        places.of(stimulus.va, stimulus.kind if isinstance(stimulus.kind, Kind) else Kind.LOAD)
