"""Judging a history: accesses at EL3 and below, on several PEs, among changes of tables and registers and TLBIs.

Items at EL3 are judged as in any batch; those below it with stage 1 off, by the model's view from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from harness.judge import compare
from harness.judge.expectation import compile_permitted
from harness.judge.judging import BatchJudge, Bench, SceneState
from harness.judge.judging import deciding_rule as deciding_rule_of_history
from harness.judge.scene import From, Item, Scene
from harness.judge.stimulus import Stimulus, access_name_of
from harness.judge.tally import Tally
from harness.judge.world import BelowEL3
from harness.judge.world_judging import check_map, check_source, otherwise
from harness.probe.records import RegisterEntry, Result
from refmodel.access import PermittedOutcomes, PEState, access_at
from refmodel.gpt.cache import PossibleGPT
from refmodel.outcomes import Alternative, Permitted
from refmodel.rules import Rule


@dataclass(frozen=True, kw_only=True)
class History(Scene):
    """A scene whose items are a history; ``steps`` says in words what they are, for a person.

    ``context``: where a stimulus that is being judged is issued, None for EL3.
    """

    steps: tuple[str, ...] = ()
    context: BelowEL3 | None = None

    def describe(self, stimulus: Stimulus) -> dict[str, str]:
        """The stimulus, and the whole history that it is a part of; registers are those before the first step."""
        numbered = {f"step {number}": step for number, step in enumerate(self.steps, 1)}
        source = {} if self.context is None else stimulus.describe(self.context.source)
        return {**super().describe(stimulus), **source, **numbered}


def kept_by(items: Iterable[Item]) -> tuple[RegisterEntry, ...]:
    """The registers that items below EL3 leave set, one entry each: in the batch's context, they are put back at its
    end.
    """
    found: dict[int, RegisterEntry] = {}
    for item in items:
        if isinstance(item, From):
            for entry in item.context.entries():
                found.setdefault(entry.encoding, entry)
    return tuple(found.values())


class HistoryJudge(BatchJudge):
    """One batch of a history."""

    def __init__(self, bench: Bench, state: SceneState, tally: Tally, batch: str = "") -> None:
        super().__init__(bench, state, tally, batch)
        if not isinstance(state.scene, History):
            raise TypeError(f"{state.scene.title} is no history")
        self._history = state.scene
        self._views: dict[BelowEL3, PEState] = {}
        self._view: PEState | None = None
        """The PE as it issues the stimulus that is being judged, if below EL3."""

    def _from(self, item: From, result: Result, index: int) -> None:
        context, gpt = item.context, self._gpts.pes[item.pe]
        check_source(result, context, f"record {index} of {self._scene.title}")
        pe = self._views.get(context)
        if pe is None:
            own = context.pe(gpt.gpc.features)
            pe = self._views[context] = PEState(self._bench.pe.regime, self._bench.pe.memory, own, context.regimes())
        check_map(pe, gpt, item.stimulus)
        self._view, self._shown = pe, replace(self._history, context=context)
        expectation = compile_permitted(self._permitted(item.stimulus, gpt), item.stimulus.va)
        self._one(item.stimulus, result, expectation, gpt, index)
        self._view, self._shown = None, self._history
        self._count(expectation)

    def _permitted(self, stimulus: Stimulus, gpt: PossibleGPT, *, trace: bool = False) -> Permitted:
        if self._view is None:
            return super()._permitted(stimulus, gpt, trace=trace)
        accdesc = access_at(access_name_of(stimulus), self._view.context)
        return PermittedOutcomes(self._view, gpt, stimulus.va, accdesc, trace=trace)

    def _against(
        self, stimulus: Stimulus, nearest: Alternative, mismatches: Sequence[compare.Mismatch], result: Result
    ) -> list[tuple[Rule, str]]:
        different = None if self._view is None else otherwise(stimulus, nearest, mismatches, result)
        if different is None:
            return super()._against(stimulus, nearest, mismatches, result)
        # What is decided here is decided by what may be cached; the place it is seen from is another matter.
        rules = self._tally.speaks_against((deciding_rule_of_history(nearest), different[0]))
        return [(rule, different[1]) for rule in rules]
