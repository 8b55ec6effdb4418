"""A session with one powered-on target: sends scenes and stimuli, keeps the model's memory in step, has them judged.

``judging.py`` judges a batch, ``tally.py`` counts.  Here: what is sent, and what happens when the target is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.errors import TargetError
from harness.judge import cases
from harness.judge.calibration import calibrate, read_regime, register_entry
from harness.judge.judging import BatchJudge, Bench
from harness.judge.scene import Invalidate, Item, Scene, TableWrite, Under
from harness.judge.stimulus import RET, Kind, Stimulus
from harness.judge.tally import Tally
from harness.probe.address_space import MemoryType, Windows, va_of
from harness.probe.batch import Batch, pool_pointer
from harness.probe.records import RESULT, Op, Record, RegisterEntry, World
from harness.report.records import FailingCase
from harness.report.records import Outcome as ReportOutcome
from harness.targets.target import Target
from refmodel.access import PEState
from refmodel.features import Features
from refmodel.gpt.types import GPCState
from refmodel.memory import Memory, MemoryMap, Region, RegionKind
from refmodel.rules import Rule
from refmodel.sysregs import GPCCR_EL3

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
        self._begin()

    def _begin(self) -> None:
        info = self.target.info
        layout = info.layout
        self.features = Features.from_id_registers(info.id_registers)
        self.l0gptsz = GPCCR_EL3(info.id_registers["GPCCR_EL3"]).L0GPTSZ
        ram = (*layout.probe, layout.tables, *layout.test)
        self.memory = Memory(MemoryMap(tuple(Region(w.base, w.size, RegionKind.RAM) for w in ram)))
        regime = read_regime(self.target, self.memory)
        self.pe = PEState(regime, self.memory)
        self.windows = Windows(layout.windows_l1, ds=bool(regime.tcr.DS))
        self.calibration = calibrate(self.target, layout)
        scratch = layout.test[0].base
        self.memory.write(scratch, self.target.read_memory(scratch, 16))
        self._dirty: dict[int, int] = {}

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

    def run(self, scene: Scene, items: Sequence[Item], tally: Tally) -> None:
        """Set the scene, run the items as one batch, judge every stimulus into ``tally``.

        A target that is lost is power-cycled and asked once more.  A second loss at the same item is a failure of
        AVAILABILITY, and the rest runs without it; a loss that cannot be pinned to an item is raised.
        """
        remaining = list(items)
        suspect: int | None = None
        while remaining:
            try:
                self._run_once(scene, remaining, tally)
                return
            except TargetError as error:
                at = error.evidence.record_index
                self.restart()
                if suspect is None:
                    suspect = -1 if at is None else at
                    tally.lost.append(f"{error}; power-cycled and asked again")
                    continue
                if at is None or at != suspect or at >= len(remaining):
                    raise
                self._report_lost(scene, remaining.pop(at), error, tally)
                suspect = None

    def _report_lost(self, scene: Scene, item: Item, error: TargetError, tally: Tally) -> None:
        stimulus = _stimulus_of(item)
        text = cases.scene_lines(scene, stimulus) if stimulus else {"scene": scene.title, "item": repr(item)}
        evidence = error.evidence
        signature = f"target lost twice at the same stimulus: {evidence.exit_status or 'no answer'}"

        def case(waiver: str) -> FailingCase:
            return FailingCase(
                case=scene.title,
                title=signature,
                signature=signature,
                rules=(Rule.AVAILABILITY.value,),
                stimulus=text,
                expected=(ReportOutcome(fields={"target": "goes on"}),),
                observed=ReportOutcome(fields={"target": str(error), "exit": evidence.exit_status}),
                stage=evidence.stage,
                console=evidence.tail,
                reproduce=self.reproduce,
                waiver=waiver,
            )

        tally.stimuli += 1
        tally.fail(Rule.AVAILABILITY, signature, case)

    def _run_once(self, scene: Scene, items: Sequence[Item], tally: Tally) -> None:
        writes = self._prepare(scene, items)
        batch = self._batch(scene, items)
        results = self.target.run(batch)
        name = ""
        if self._store is not None:
            raw = b"".join([RESULT.pack(*result) for result in results])
            name = self._store(batch.encode().image, raw, writes, scene.title)
            tally.batches.append(name)
        around = cases.Circumstances(
            reproduce=self.reproduce, stage="probe", console=lambda: self.target.console_tail(20)
        )
        bench = Bench(
            pe=self.pe,
            aliased=self.calibration.aliased,
            prompt=self.calibration.prompt,
            read_memory=self.target.read_memory,
            around=around,
        )
        # L0GPTSZ is read-only: whatever is written, the machine's value is in force.
        gpc = GPCState(scene.gpccr.replace(L0GPTSZ=self.l0gptsz), scene.gptbr, self.features)
        BatchJudge(bench, scene, gpc, tally, name).judge(items, results)
        tally.count((Rule.AVAILABILITY,), len(items), weak=False)

    def _prepare(self, scene: Scene, items: Sequence[Item]) -> list[tuple[int, bytes]]:
        """Memory writes before the batch: former tables cleared, tables, window descriptors, RET instructions."""
        writes = [(pa, bytes(length)) for pa, length in self._dirty.items()]
        self._dirty = {pa: len(data) for pa, data in scene.tables}
        writes += [*scene.tables, *self.windows.pending]
        self.windows.pending.clear()
        ram = self.memory.map
        fetched = {s.pa: s for s in map(_stimulus_of, items) if s is not None and s.kind is Kind.FETCH}
        ret = RET.to_bytes(4, "little")
        answering = (pa for pa in sorted(fetched) if ram.lookup_any(pa) is RegionKind.RAM)
        writes += [(pa, ret) for pa in answering]
        for pa, data in writes:
            self.write(pa, data)
        return writes

    def _batch(self, scene: Scene, items: Sequence[Item]) -> Batch:
        records: list[Record] = []
        registers: dict[int, tuple[RegisterEntry, ...]] = {}
        pool = bytearray()
        start = pool_pointer(len(items))
        for index, item in enumerate(items):
            match item:
                case Stimulus():
                    records.append(item.record())
                case Under(stimulus, gpccr, gptbr, flags):
                    records.append(stimulus.record()._replace(flags=int(flags)))
                    registers[index] = tuple(register_entry(r) for r in (gptbr, gpccr) if r is not None)
                case TableWrite(pa, value):
                    offset = start + len(pool)
                    pool += value.to_bytes(8, "little")
                    records.append(Record(0, Op.MEM_WRITE, address=va_of(pa, World.ROOT), value0=offset, aux=8))
                case Invalidate():
                    records.append(Record(0, Op.TLBI_PAALL))
        context = (register_entry(scene.gptbr), register_entry(scene.gpccr))
        return Batch(records=records, context=context, registers=registers, pool=bytes(pool))


def _stimulus_of(item: Item) -> Stimulus | None:
    match item:
        case Stimulus():
            return item
        case Under(stimulus):
            return stimulus
        case _:
            return None
