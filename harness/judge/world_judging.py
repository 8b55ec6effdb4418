"""Judging a batch below EL3: the permitted set is that of the scene's PE, and routing is a subject of its own.

The fast path of ``expectation.py`` knows EL3's stage 1 only; here each page and kind of access is computed once.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.errors import MisuseError, TargetProtocolError
from harness.judge import compare
from harness.judge.expectation import Expectation, compile_permitted
from harness.judge.judging import REPORTING, BatchJudge, Bench, SceneState
from harness.judge.scene import Item, Under
from harness.judge.stimulus import Stimulus, access_name_of
from harness.judge.tally import Tally
from harness.judge.world import BelowEL3, WorldScene
from harness.probe.records import RecordFlag, Result, Status, World
from refmodel.access import FullTranslate, PermittedOutcomes, PEState, access_at
from refmodel.bits import Slice
from refmodel.choices import Chooser
from refmodel.faults import (
    EC_DATA_ABORT_LOWER,
    EC_DATA_ABORT_SAME,
    EC_INSTRUCTION_ABORT_LOWER,
    EC_INSTRUCTION_ABORT_SAME,
)
from refmodel.gpt.cache import PossibleGPT
from refmodel.observe import unobserved
from refmodel.outcomes import AccessPerformed, Alternative, ExceptionTaken, Permitted
from refmodel.pas import FullAddress, PASpace
from refmodel.rules import Rule

ROUTES = (
    Rule.GPF_TO_EL3, Rule.GPF_TO_EL2, Rule.GPF_TGE, Rule.GPF_SECOND_STAGE, Rule.GPF_STAYS, Rule.GPT_FAULT_FROM_BELOW,
    Rule.EXTERNAL_ABORT_ROUTE, Rule.S1_FAULT_ROUTE, Rule.S2_FAULT_ROUTE,
)  # fmt: skip
"""Rules about which exception level takes an exception."""

_DETAILS = frozenset(
    {*ROUTES, Rule.VECTOR, Rule.EC_LOWER, Rule.EXTERNAL_ABORT_VECTOR, Rule.HPFAR, Rule.SECOND_STAGE_ISS,
     Rule.CACHE_MAINTENANCE_ISS, Rule.OUTPUT_SPACE, Rule.FLAT_MAP, Rule.WALK_SPACE} | REPORTING
)  # fmt: skip
_PAIRS = (
    {EC_DATA_ABORT_LOWER, EC_DATA_ABORT_SAME},
    {EC_INSTRUCTION_ABORT_LOWER, EC_INSTRUCTION_ABORT_SAME},
)
_TRANSLATION_FAULT = frozenset({Rule.S1_FAULT_ISS, Rule.S2_FAULT_ISS})
_PRIORITIES = (Rule.ATOMIC_PRIORITY, Rule.FAULT_PRIORITY)
"""Rules about whose fault it is: another level takes that of another stage."""
_FSC_WALK = 0b1001
_PAGE_BITS = 12


class WorldJudge(BatchJudge):
    """One batch of a scene below EL3."""

    def __init__(self, bench: Bench, state: SceneState, tally: Tally, batch: str = "") -> None:
        super().__init__(bench, state, tally, batch)
        if not isinstance(state.scene, WorldScene):
            raise TypeError(f"{state.scene.title} is no scene below EL3")
        self._context = state.scene.context
        pe = self._context.pe(self._gpt.gpc.features)
        self._pe = PEState(bench.pe.regime, bench.pe.memory, pe, self._context.regimes(), self._context.stage2())
        self._known: dict[tuple[int, int], Expectation] = {}

    def judge(self, items: Sequence[Item], results: Sequence[Result]) -> None:
        """Judge every result; TargetProtocolError when one was not run where it should have been."""
        for index, (item, result) in enumerate(zip(items, results, strict=True)):
            stimulus = _stimulus(item)
            if stimulus is None:
                raise MisuseError(f"{self._scene.title}: a scene below EL3 takes stimuli only, not {item}")
            check_source(result, self._context, f"record {index} of {self._scene.title}")
            self._one(stimulus, result, self._expectation(stimulus), self._gpt, index)
        self._close(len(items), self._known.values())

    def _expectation(self, stimulus: Stimulus) -> Expectation:
        key = (stimulus.va >> _PAGE_BITS, stimulus.kind.number)
        if key not in self._known:
            made = self._known[key] = compile_permitted(self._permitted(stimulus, self._gpt), stimulus.va)
            # An address that is not translated has no map to be checked.
            if any(_TRANSLATION_FAULT.isdisjoint(alternative.rules) for alternative in made.alternatives):
                check_map(self._pe, self._gpt, stimulus)
        return self._known[key]

    def _permitted(self, stimulus: Stimulus, gpt: PossibleGPT, *, trace: bool = False) -> Permitted:
        accdesc = access_at(access_name_of(stimulus), self._pe.context)
        return PermittedOutcomes(self._pe, gpt, stimulus.va, accdesc, trace=trace)

    def _against(
        self, stimulus: Stimulus, nearest: Alternative, mismatches: Sequence[compare.Mismatch], result: Result
    ) -> list[tuple[Rule, str]]:
        different = otherwise(stimulus, nearest, mismatches, result, self._deciding(nearest))
        if different is None:
            return super()._against(stimulus, nearest, mismatches, result)
        rule, text = different
        return [(rule, text) for rule in self._tally.speaks_against((rule,))]

    def _wrong_data(
        self, rule: Rule, signature: str, stimulus: Stimulus, expected: dict[str, str], observed: dict[str, str],
        index: int,
    ) -> None:  # fmt: skip
        """In a test about where leaves lead, the wrong data are those of a wrong address."""
        if rule is Rule.PERMITTED_ACCESS_EFFECT:
            leads = (Rule.S2_LEAF, Rule.S1_LEAF)
            rule = next((leaf for leaf in leads if leaf in self._tally.cited), rule)
        super()._wrong_data(rule, signature, stimulus, expected, observed, index)

    def _deciding(self, alternative: Alternative) -> Rule:
        """The rule that decides the outcome; a test about translation hears of the last of its own that fired."""
        own = (rule for rule in reversed(alternative.rules) if rule in self._tally.cited)
        return next((rule for rule in own if rule.value.startswith("TRN") and rule not in _DETAILS), None) or (
            deciding_rule(alternative)
        )


def check_source(result: Result, context: BelowEL3, where: str) -> None:
    """TargetProtocolError unless the operation was issued, and an exception came from the state and level of
    ``context``.
    """
    if result.status != Status.DONE:
        raise TargetProtocolError(f"{where}: status {result.status}, not DONE (ESR {result.esr:#x})")
    if result.taken != 1:
        return
    el, state = Slice(result.spsr, 3, 2), Slice(result.scr, 62, 62) << 1 | result.scr & 1
    if (el, state) != (context.el, context.state):
        raise TargetProtocolError(f"{where}: came from EL{el} in {World(state).name} state")


def check_map(pe: PEState, gpt: PossibleGPT, stimulus: Stimulus) -> None:
    """ValueError when the model translates the address to another than the stimulus says."""
    accdesc = access_at(access_name_of(stimulus), pe.context)
    _, address = FullTranslate(pe, gpt, stimulus.va, accdesc, Chooser(), unobserved)
    if address not in (None, FullAddress(PASpace(stimulus.pas), stimulus.pa)):
        raise ValueError(f"VA {stimulus.va:#x} is {address} for the model, not {stimulus.pa:#x} in {stimulus.pas}")


def otherwise(
    stimulus: Stimulus, nearest: Alternative, mismatches: Sequence[compare.Mismatch], result: Result,
    deciding: Rule | None = None,
) -> tuple[Rule, str] | None:  # fmt: skip
    """The rule that an outcome of another kind speaks against, and how: performed or not, routing, class, vector, code
    of an exception.  None where only the report differs.  ``deciding``: the rule that decides, if that is known.
    """
    deciding = deciding or deciding_rule(nearest)
    outcome = nearest.outcome
    if isinstance(outcome, AccessPerformed) or not result.taken:
        return deciding, compare.signature(stimulus, nearest, mismatches, result)
    return _another_exception(nearest, outcome, result, deciding)


def _stimulus(item: Item) -> Stimulus | None:
    """What can be judged here: nothing changes in such a scene, so that an invalidation leaves no trace."""
    match item:
        case Stimulus():
            return item
        case Under(stimulus, None, None, None, RecordFlag.TLBI_BEFORE):
            return stimulus
        case _:
            return None


def deciding_rule(alternative: Alternative) -> Rule:
    """The rule that decides between performed and faulting: the last that is not about a report or a place."""
    return next((rule for rule in reversed(alternative.rules) if rule not in _DETAILS), Rule.AVAILABILITY)


def _another_exception(
    alternative: Alternative, outcome: ExceptionTaken, result: Result, deciding: Rule
) -> tuple[Rule, str] | None:
    """The rule that another exception than the permitted one breaks, and how; None if only its report differs."""
    syndrome, ec = outcome.syndrome, Slice(result.esr, 31, 26)
    permitted, observed = Slice(syndrome.iss, 5, 0), Slice(result.esr, 5, 0)
    shape = f"EC={syndrome.ec:#04x} FSC={permitted:#04x}"
    if result.target_el != syndrome.el.value:
        route = next((rule for rule in (*_PRIORITIES, *ROUTES) if rule in alternative.rules), deciding)
        return route, f"{shape}: taken to EL{result.target_el} instead of {syndrome.el.name}"
    if ec != syndrome.ec:
        same = {ec, syndrome.ec} in _PAIRS and Rule.EC_LOWER in alternative.rules
        return (Rule.EC_LOWER if same else deciding), f"{shape}: EC={ec:#04x} FSC={observed:#04x} instead"
    if result.vector != syndrome.vector:
        serror = Rule.EXTERNAL_ABORT_VECTOR in alternative.rules
        text = f"{shape}: vector {result.vector:#x} instead of {syndrome.vector:#x}"
        return (Rule.EXTERNAL_ABORT_VECTOR if serror else Rule.VECTOR), text
    if permitted != observed:
        walk = Rule.S1_WALK_CHECKED if permitted >> 2 == observed >> 2 == _FSC_WALK else deciding
        return walk, f"{shape}: FSC={observed:#04x} instead"
    return None
