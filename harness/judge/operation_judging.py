"""Judging operations that are no single access, at EL3 and below: each address has a permitted set of its own.

What a store that crosses into a denied page leaves on the other page is not fixed (``refmodel.operations.AccessSpan``);
what it must not change is the denied page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.errors import MisuseError, TargetProtocolError
from harness.judge.expectation import CompiledPerformed, Expectation, compile_permitted
from harness.judge.judging import BatchJudge, Bench, SceneState
from harness.judge.operation import CHANGING, Issued, Operation
from harness.judge.scene import Change, Item
from harness.judge.stimulus import Stimulus
from harness.judge.tally import Tally
from harness.judge.world_judging import WorldJudge
from harness.probe.records import Result, Status, World
from refmodel.access import Access, Explore, PEState, access_at
from refmodel.bits import AlignDown
from refmodel.choices import Chooser
from refmodel.gpt.cache import PossibleGPT
from refmodel.outcomes import AccessPerformed, Permitted
from refmodel.rules import Rule

_PAGE = 4096
_PAGE_BITS = 12
_LANE = 16


def choice_name(operation: Operation) -> str:
    """The choice that a part makes where an operation may fault or not."""
    return f"{operation.title} where a fault is left to the implementation"


class _Operations(BatchJudge):
    """A judge of operations, single accesses among them; the stimuli of a batch are judged one by one."""

    _pe: PEState

    def __init__(self, bench: Bench, state: SceneState, tally: Tally, batch: str = "") -> None:
        super().__init__(bench, state, tally, batch)
        if not hasattr(self, "_pe"):
            self._pe = bench.pe
        self._pe = replace(self._pe, context=replace(self._pe.context, clidr=bench.clidr))
        self._used: list[Expectation] = []
        self._crossed: dict[int, tuple[int, Stimulus, bytes]] = {}

    def _permitted(self, stimulus: Stimulus, gpt: PossibleGPT, *, trace: bool = False) -> Permitted:
        if not isinstance(stimulus.kind, Operation):
            return super()._permitted(stimulus, gpt, trace=trace)
        issued = Issued(self._pe, gpt, stimulus.va, stimulus.size_log2, self._bench.zva_bits)
        model = stimulus.kind.model
        return Explore(lambda choose, observe: model(issued, choose, observe), gpt, trace=trace)

    def _expectation(self, stimulus: Stimulus) -> Expectation:
        made = compile_permitted(self._permitted(stimulus, self._gpt), stimulus.va)
        self._used.append(made)
        return made

    def _one(self, stimulus: Stimulus, result: Result, expectation: Expectation, gpt: PossibleGPT, index: int) -> None:
        kind = stimulus.kind
        if not isinstance(kind, Operation):
            super()._one(stimulus, result, expectation, gpt, index)
            return
        if expectation.performed is not None and expectation.exceptions:
            self._tally.choice(choice_name(kind), "exception" if result.taken else "no exception")
        if not result.taken:
            fitting = (a for a in expectation.alternatives if isinstance(a, CompiledPerformed) and a.fits(result.par))
            performed = next(fitting, None)
            if performed is None:
                self._deviates(stimulus, result, expectation, gpt, index)
                return
            comparable = stimulus.pas is World.ROOT or self._bench.aliased
            performed.hits += self._effect(stimulus, result, index) if comparable else 1
            return
        if kind in CHANGING and self._is_ram(stimulus.pa):
            self._denied(stimulus, index)
        super()._one(stimulus, result, expectation, gpt, index)

    def _effect(self, stimulus: Stimulus, result: Result, index: int) -> bool:
        if stimulus.kind is not Operation.DC_ZVA:
            return super()._effect(stimulus, result, index)
        block = AlignDown(stimulus.pa, self._bench.zva_bits)
        self._bench.pe.memory.write(block, bytes(1 << self._bench.zva_bits))
        for lane in range(block, block + (1 << self._bench.zva_bits), _LANE):
            self._touched[lane] = (index, stimulus, True)
        return True

    def _denied(self, stimulus: Stimulus, index: int) -> None:
        """Remember what a denied operation must leave alone."""
        before = self._bench.pe.memory.read(stimulus.pa, _LANE)
        if stimulus.kind is Operation.DC_ZVA:
            block = AlignDown(stimulus.pa, self._bench.zva_bits)
            for lane in range(block, block + (1 << self._bench.zva_bits), _LANE):
                self._touched.setdefault(lane, (index, stimulus, False))
        else:
            self._crossed[stimulus.pa] = (index, stimulus, before)

    def _verify_memory(self) -> None:
        memory = self._bench.pe.memory
        for pa, (index, stimulus, before) in self._crossed.items():
            self._touched.pop(pa, None)
            found = self._bench.read_memory(pa, _LANE)
            kept = self._kept(stimulus)
            changed = [at for at in kept if found[at] != before[at]]
            if changed:
                text = f"{stimulus.kind.title}: a denied store changed memory of a page that it may not access"
                rule = Rule.DENIED_STORE_NO_EFFECT
                observed, wanted = {"memory": found.hex()}, {"memory": f"{before.hex()} in bytes {kept}"}
                self._wrong_data(rule, text, stimulus, wanted, observed, index)
            else:
                self._tally.count((Rule.DENIED_STORE_NO_EFFECT,), 1, weak=False)
            memory.write(pa, found)
        super()._verify_memory()

    def _kept(self, stimulus: Stimulus) -> list[int]:
        """Offsets of bytes that a denied store may not have changed: on denied pages, and beyond its end."""
        assert isinstance(stimulus.kind, Operation)
        size = stimulus.kind.elements << stimulus.size_log2
        accdesc = access_at("store", self._pe.context)
        second = AlignDown(stimulus.va + size - 1, _PAGE_BITS)
        denied = {
            va >> _PAGE_BITS
            for va in (stimulus.va, second)
            if not isinstance(Access(self._pe, self._gpt, va, accdesc, Chooser()), AccessPerformed)
        }
        return [at for at in range(_LANE) if at >= size or stimulus.va + at >> _PAGE_BITS in denied]


class OperationJudge(_Operations):
    """One batch of operations at EL3."""

    def judge(self, items: Sequence[Item], results: Sequence[Result]) -> None:
        """Judge every result; TargetProtocolError when one was not run."""
        for index, (item, result) in enumerate(zip(items, results, strict=True)):
            if result.status != Status.DONE:
                raise TargetProtocolError(f"record {index} of {self._scene.title}: status {result.status}, not DONE")
            if isinstance(item, Stimulus):
                self._one(item, result, self._expectation(item), self._gpt, index)
            elif isinstance(item, Change):
                self._follow(item, result, index)
            else:
                raise MisuseError(f"{self._scene.title}: a batch of operations takes stimuli and changes, not {item}")
        self._close(sum(isinstance(item, Stimulus) for item in items), self._used)


class WorldOperationJudge(_Operations, WorldJudge):
    """One batch of operations of a scene below EL3."""

    def _expectation(self, stimulus: Stimulus) -> Expectation:
        made = super()._expectation(stimulus)
        # WorldJudge closes with what it knows; an address has an entry of its own.
        self._known[len(self._known), -1] = made
        return made
