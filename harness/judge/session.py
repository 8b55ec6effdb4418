"""A session with one powered-on target: sends scenes and stimuli, keeps the model's memory in step, has them judged.

``judging.py`` judges a batch, ``tally.py`` counts.  Here: what is sent, and what happens when the target is lost.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from harness.errors import MisuseError, TargetError, TargetLostError
from harness.judge import cases
from harness.judge.calibration import calibrate, read_regime, register_entry
from harness.judge.history import History, HistoryJudge, kept_by
from harness.judge.judging import BatchJudge, Bench, SceneState
from harness.judge.losses import SOMEWHERE, Loss, report_lost
from harness.judge.operation import Operation
from harness.judge.operation_judging import OperationJudge, WorldOperationJudge
from harness.judge.scene import (
    Change,
    From,
    Invalidate,
    Item,
    On,
    Scene,
    SetRegister,
    TableWrite,
    Under,
    pe_of,
    stimulus_of,
)
from harness.judge.stimulus import RET, WRITING, Kind, Stimulus
from harness.judge.tally import Tally
from harness.judge.world import WorldScene
from harness.judge.world_judging import WorldJudge
from harness.probe.address_space import MemoryType, Windows, va_of
from harness.probe.batch import Batch, EncodedBatch, decode_results, pool_pointer
from harness.probe.records import Op, Record, RegisterEntry, World, sysreg_encoding
from harness.targets.target import Target
from refmodel.access import PEState
from refmodel.features import Features
from refmodel.gpt.tlbi import TLBIOp
from refmodel.memory import Memory, RegionKind
from refmodel.rules import Rule
from refmodel.sysregs import GPCCR_EL3

_CULPRITS = 2
"""So many stimuli of a scene may take the target down before the scene itself is given up."""

StoreBatch = Callable[[bytes, bytes, Sequence[tuple[int, bytes]], str], str]
"""(batch image, result bytes, memory writes before it, title) -> name under which the raw batch is kept."""


class Session:
    """Judged probing of one powered-on target.

    ``store`` keeps raw batches; ``reproduce`` is the command that runs the current check again.
    """

    def __init__(self, target: Target, *, store: StoreBatch | None = None) -> None:
        self.target = target
        self.reproduce = ""
        self._store = store
        self._windows: Windows | None = None
        self._begin()

    def _begin(self) -> None:
        info = self.target.info
        layout = info.layout
        self.features = Features.from_id_registers(info.id_registers)
        self.l0gptsz = GPCCR_EL3(info.id_registers["GPCCR_EL3"]).L0GPTSZ
        self.memory = Memory(layout.memory_map())
        regime = read_regime(self.target, self.memory)
        self.pe = PEState(regime, self.memory)
        if self._windows is None:
            self._windows = Windows(layout.windows_l1, ds=bool(regime.tcr.DS))
        # After a power cycle, windows given out before are still in the hands of whoever asks again.
        self._windows.renew()
        self.calibration = calibrate(self.target, layout)
        scratch = layout.test[0].base
        self.memory.write(scratch, self.target.read_memory(scratch, 16))
        self._own = (*layout.probe, layout.tables, *layout.secure)
        self._dirty: dict[int, int] = {}
        self._state: SceneState | None = None

    @property
    def pes(self) -> int:
        """How many PEs the target has, the first included."""
        return self.target.info.pes

    @property
    def windows(self) -> Windows:
        """Windows on addresses that the probe's fixed map does not reach."""
        assert self._windows is not None  # _begin made them
        return self._windows

    def restart(self) -> None:
        """Power-cycle the target after it was lost, and begin again with the state of a fresh machine."""
        self.target.power_cycle()
        self._begin()

    def stimulus(
        self,
        kind: Kind,
        pa: int,
        pas: World,
        *,
        size_log2: int = 3,
        value0: int = 0,
        value1: int = 0,
        memory: MemoryType = MemoryType.NORMAL_WB,
    ) -> Stimulus:
        """A stimulus at a physical address, through the probe's fixed map or a window."""
        return Stimulus(kind, self.windows.va(pa, pas, memory), pa, pas, size_log2, value0, value1)

    def write(self, pa: int, data: bytes) -> None:
        """Write memory of target and model alike, outside any batch."""
        self.target.write_memory(pa, data)
        self.memory.write(pa, data)

    def run(self, scene: Scene, items: Sequence[Item], tally: Tally) -> frozenset[int]:
        """Set the scene, run the items as one batch, judge every stimulus into ``tally``; the items that were judged.

        A target that is lost is power-cycled and asked once more.  A second loss at the same item is a failure of
        AVAILABILITY, and the rest runs without it; when another item goes the same way, it is the scene that takes the
        target down, and the rest is given up.  Where the target cannot say at which item it was lost, shorter batches
        find it.  A loss that cannot be pinned to an item is raised, and so is one that somebody else caused: no machine
        sends SIGKILL to itself.
        """
        remaining = list(items)
        numbers = list(range(len(remaining)))
        suspect: int | None = None
        culprits = 0
        while remaining:
            attempt = tally.fork()
            try:
                self._run_once(scene, remaining, attempt)
                tally.merge(attempt)
                return frozenset(numbers)
            except TargetError as error:
                loss = self._lost(error, attempt, tally)
                if suspect is None:
                    suspect = loss.at
                    tally.lost.append(f"{error}; power-cycled and asked again")
                    continue
                if suspect == loss.at == SOMEWHERE and isinstance(error, TargetLostError):
                    loss = self._pin(scene, remaining, loss, tally)
                elif loss.at != suspect:
                    raise
                if loss.killed or not 0 <= loss.at < len(remaining):
                    raise
                report_lost(scene, remaining.pop(loss.at), loss, tally, self.reproduce)
                numbers.pop(loss.at)
                suspect = None
                culprits += 1
                if culprits == _CULPRITS and remaining:
                    tally.unjudged.append(f"{len(remaining)} more stimuli of {scene.title!r} were not sent")
                    break
        return frozenset()

    def _lost(self, error: TargetError, attempt: Tally, tally: Tally) -> Loss:
        """Power-cycle, and say what is known of the loss."""
        # What was recorded of the attempt stays, although nothing of it is counted.
        tally.batches += attempt.batches
        self.restart()
        at = error.evidence.record_index
        return Loss(error, SOMEWHERE if at is None else at, attempt.batches[-1] if attempt.batches else "")

    def _pin(self, scene: Scene, items: Sequence[Item], loss: Loss, tally: Tally) -> Loss:
        """The loss at the last item of the shortest beginning that loses the target.

        Where none is needed, because the scene's registers are enough, it is at the first, as on a target that says.
        """
        survives, loses = 0, len(items)
        while loses - survives > 1:
            length = (survives + loses) // 2
            attempt = tally.fork()
            try:
                self._run_once(scene, items[:length], attempt)
                tally.batches += attempt.batches
                survives = length
            except TargetLostError as error:
                loss, loses = self._lost(error, attempt, tally), length
        return replace(loss, at=loses - 1)

    def _run_once(self, scene: Scene, items: Sequence[Item], tally: Tally) -> None:
        state = self._state_of(scene)
        writes = self._prepare(scene, items, set_up=state is not self._state)
        # Kept only when the batch ends well and changes no table.
        self._state = None
        with gc_paused():
            encoded = self._batch(scene, items).encode()
        try:
            raw = self.target.run_encoded(encoded)
        except TargetError:
            self._record(encoded, self.target.partial_results(), writes, f"{scene.title}, cut short", tally)
            raise
        name = self._record(encoded, raw, writes, scene.title, tally)
        around = cases.Circumstances(
            reproduce=self.reproduce, stage="probe", console=lambda: self.target.console_tail(20)
        )
        bench = Bench(
            pe=self.pe,
            aliased=self.calibration.aliased,
            prompt=self.calibration.prompt,
            read_memory=self.target.read_memory,
            around=around,
            zva_bits=self.calibration.dczid.block_bits,
            clidr=self.calibration.clidr,
        )
        with gc_paused():
            results = decode_results(raw, encoded.count)
            judge_for(scene, items)(bench, state, tally, name).judge(items, results)
        tally.count((Rule.AVAILABILITY,), len(items), weak=False)
        if not any(isinstance(item, Change) for item in items):
            self._state = state

    def _record(
        self, encoded: EncodedBatch, raw: bytes, writes: Sequence[tuple[int, bytes]], title: str, tally: Tally
    ) -> str:
        """Keep a raw batch, if batches are kept at all; its name."""
        if self._store is None:
            return ""
        name = self._store(encoded.image, raw, writes, title)
        tally.batches.append(name)
        return name

    def _state_of(self, scene: Scene) -> SceneState:
        """The state of the last scene if this is the same and nothing is to be written under it, else a new one."""
        if self._state is not None and self._state.scene is scene and not self.windows.pending:
            return self._state
        pes = 1 if isinstance(scene, WorldScene) else self.pes
        return SceneState(self.pe, scene, scene.gpc(self.l0gptsz, self.features), pes=pes)

    def _prepare(self, scene: Scene, items: Sequence[Item], *, set_up: bool) -> list[tuple[int, bytes]]:
        """Write what the batch needs: tables, window descriptors, RET instructions; former tables are cleared.

        The answer is all that the batch rests on, also what is there from batches before: a stored batch stands for
        itself.
        """
        stimuli = [s for s in map(stimulus_of, items) if s is not None]
        self._stay_inside(stimuli)
        writes: list[tuple[int, bytes]] = []
        if set_up:
            writes += [(pa, bytes(length)) for pa, length in self._dirty.items()]
            self._dirty = {pa: len(data) for pa, data in scene.tables}
            writes += [*scene.tables, *self.windows.pending]
            self.windows.pending.clear()
        ret = RET.to_bytes(4, "little")
        fetched = sorted({s.pa for s in stimuli if s.kind is Kind.FETCH})
        _keep_code(stimuli, fetched)
        code = [(pa, ret) for pa in fetched if self.memory.map.lookup_any(pa) is RegionKind.RAM]
        for pa, data in (*writes, *code):
            self.write(pa, data)
        return [*scene.tables, *self.windows.writes(), *code]

    def _stay_inside(self, stimuli: Sequence[Stimulus]) -> None:
        """MisuseError for an access to what the probe or the harness needs: it would be judged by what it destroys."""
        for window in self._own:
            for stimulus in stimuli:
                if window.base <= stimulus.pa < window.end and stimulus.kind in WRITING:
                    raise MisuseError(
                        f"a {stimulus.kind.title} to {stimulus.pa:#x} would change memory that the probe or its tables "
                        f"need; use an address in {self.target.info.layout.test}"
                    )

    def _batch(self, scene: Scene, items: Sequence[Item]) -> Batch:
        records: list[Record] = []
        registers: dict[int, tuple[RegisterEntry, ...]] = {}
        pool = bytearray()
        start = pool_pointer(len(items))
        groups = _groups(items)
        for index, item in enumerate(items):
            match item:
                case Stimulus():
                    made = item.record()
                case Under(stimulus, gpccr, gptbr, gpcbw, flags):
                    made = stimulus.record()._replace(flags=int(flags))
                    registers[index] = tuple(register_entry(r) for r in (gpcbw, gptbr, gpccr) if r is not None)
                case On(_, stimulus):
                    made = stimulus.record()
                case From(where, stimulus):
                    made = where.record(stimulus)
                    registers[index] = where.entries()
                case TableWrite(pa):
                    offset = start + len(pool)
                    pool += item.data
                    made = Record(0, Op.MEM_WRITE, address=va_of(pa, World.ROOT), value0=offset, aux=len(item.data))
                case SetRegister(register):
                    entry = register_entry(register)
                    made = Record(0, Op.MSR, aux=entry.encoding, value0=entry.value)
                case Invalidate(TLBIOp.PAALL):
                    made = Record(0, Op.TLBI_PAALL)
                case Invalidate(op, xt):
                    made = Record(0, Op.SYS, aux=sysreg_encoding(1, *op.value), address=xt)
            records.append(made._replace(pe=pe_of(item), group=groups[index]) if groups else made)
        context = (*map(register_entry, scene.registers()), *kept_by(items))
        if isinstance(scene, WorldScene):
            records = scene.below(records)
            context = (*context, *scene.context.entries())
        return Batch(records=records, context=context, registers=registers, pool=bytes(pool))


def judge_for(scene: Scene, items: Sequence[Item]) -> type[BatchJudge]:
    """The judge of a batch: another where operations are asked for that are no single access."""
    if isinstance(scene, History):
        return HistoryJudge
    stimuli = filter(None, map(stimulus_of, items))
    if any(isinstance(stimulus.kind, Operation) for stimulus in stimuli):
        return WorldOperationJudge if isinstance(scene, WorldScene) else OperationJudge
    return WorldJudge if isinstance(scene, WorldScene) else BatchJudge


def _groups(items: Sequence[Item]) -> list[int]:
    """Ordering groups, where several PEs take part: reads between two changes go together, anything else is alone."""
    if not any(pe_of(item) for item in items):
        return []
    groups, alone = [0], False
    for item in items:
        stimulus = stimulus_of(item)
        was_alone, alone = alone, stimulus is None or stimulus.kind in WRITING
        groups.append(groups[-1] + (alone or was_alone))
    return groups[1:]


@contextlib.contextmanager
def gc_paused() -> Iterator[None]:
    """No garbage collection: a batch makes hundreds of thousands of small objects, none of them in a cycle."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _keep_code(stimuli: Sequence[Stimulus], fetched: Sequence[int]) -> None:
    """MisuseError when a store would overwrite an instruction that another stimulus of the batch fetches."""
    lanes = {pa >> 4 for pa in fetched}
    for stimulus in stimuli if lanes else ():
        if stimulus.kind in WRITING and stimulus.pa >> 4 in lanes:
            raise MisuseError(
                f"a {stimulus.kind.title} to {stimulus.pa:#x} overwrites an instruction to be fetched; keep stores and "
                "fetches of a batch in different 16-byte lanes"
            )
