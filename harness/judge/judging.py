"""Judging one batch: every observation against the permitted set, data and memory against the model's."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from harness.errors import MisuseError, TargetProtocolError
from harness.judge import cases, compare
from harness.judge.expectation import CompiledException, CompiledPerformed, Expectation, Expectations, compile_permitted
from harness.judge.scene import Change, From, Invalidate, Item, On, Scene, SetRegister, TableWrite, Under
from harness.judge.stimulus import WRITING, Kind, Performed, Stimulus, access_of, perform
from harness.judge.tally import Tally
from harness.probe.records import RecordFlag, Result, Status, World
from harness.report.records import FailingCase
from refmodel.access import PermittedOutcomes, PEState
from refmodel.bits import Slice
from refmodel.context import AT_EL3
from refmodel.faults import EC_GPC, EC_SERROR
from refmodel.gpt.cache import PossibleGPT
from refmodel.gpt.pes import PossibleGPTs
from refmodel.gpt.types import GPCState
from refmodel.memory import RegionKind
from refmodel.outcomes import Alternative, Permitted
from refmodel.pas import PASpace
from refmodel.registers import Register
from refmodel.rules import Rule
from refmodel.sysregs import CLIDR_EL1, GPCBW_EL3, GPCCR_EL3, GPTBR_EL3

REPORTING = frozenset(
    {Rule.PERMITTED_ACCESS_EFFECT, Rule.GPF_AT_EL3, Rule.GPT_FAULT_IS_GPC_EXCEPTION, Rule.GPCSC, Rule.ISS, Rule.FAR,
     Rule.MFAR, Rule.CACHED, Rule.INVALIDATED, Rule.L0_INDEX, Rule.S1_FAULT_ROUTE, Rule.S1_FAULT_ISS,
     Rule.S1_FAULT_FAR, Rule.S2_FAULT_ROUTE, Rule.S2_FAULT_ISS, Rule.S2_FAULT_HPFAR}
)  # fmt: skip
"""Rules about how an outcome is reported or where it is looked up: never the one that decides it."""

_DECISIVE = (
    Rule.CONTIGUOUS_MISPROGRAMMED, Rule.SHARED_TLB, Rule.LAST_LEVEL_ONLY, Rule.RANGE_NEEDS_WHOLE_ENTRY,
    Rule.RANGE_INVALIDATED, Rule.ONLY_VALID_CACHED, Rule.LOCAL_INVALIDATION, Rule.BROADCAST_INVALIDATION, Rule.CACHED,
    Rule.INVALIDATED,
)  # fmt: skip
"""Rules on what may be cached, the most particular first: where one takes part, it decides."""

_FORMER = "GPT information from before a change is used until it is invalidated"
_LANE = 16
_PAGE_BITS = 12
_DONE = int(Status.DONE)  # a plain number: every result is compared with it
_FSC_SYNC_EXTERNAL = 0b010000


def deciding_rule(alternative: Alternative) -> Rule:
    """The rule that decides the outcome: one about what may be cached, else the last that is not about reporting."""
    for rule in _DECISIVE:
        if rule in alternative.rules:
            return rule
    return next((rule for rule in reversed(alternative.rules) if rule not in REPORTING), Rule.AVAILABILITY)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What a batch is judged with: the PE and memory as the model has them, and the target's memory to look into.

    ``aliased``: data written in one PAS is what another reads; otherwise data is compared in the Root PAS only.
    ``prompt``: new registers are in use at once for pages that nothing has touched since an invalidation.
    ``zva_bits``: log2 of the bytes of DC ZVA's block; ``clidr``: CLIDR_EL1.
    """

    pe: PEState
    aliased: bool
    prompt: bool
    read_memory: Callable[[int, int], bytes]
    around: cases.Circumstances
    zva_bits: int = 6
    clidr: CLIDR_EL1 = AT_EL3.clidr


class SceneState:
    """What the model knows of a scene: the GPT that may be in force, and what has been computed under it so far.

    It serves further batches of the same scene as long as none of them changes a table: a batch starts and ends with
    an invalidation.
    """

    def __init__(self, pe: PEState, scene: Scene, gpc: GPCState, *, pes: int = 1) -> None:
        self.scene = scene
        self.gpts = PossibleGPTs([gpc] * pes, pe.memory, contiguity=scene.contiguity)
        self.expectations = tuple(Expectations(pe, gpt) for gpt in self.gpts.pes)

    @property
    def gpt(self) -> PossibleGPT:
        """The first PE's."""
        return self.gpts.pes[0]


class BatchJudge:
    """One batch's judgement, from results to tally; the model's memory follows the target's."""

    def __init__(self, bench: Bench, state: SceneState, tally: Tally, batch: str = "") -> None:
        self._bench = bench
        self._scene = state.scene
        self._shown = state.scene
        """The scene with the registers that the stimulus being judged runs under."""
        self._tally = tally
        self._batch = batch
        self._gpts = state.gpts
        self._gpt = state.gpt
        self._expectations = state.expectations
        self._touched: dict[int, tuple[int, Stimulus, bool]] = {}
        self._hits: Counter[tuple[tuple[Rule, ...], bool]] = Counter()
        self._pages: set[int] = set()
        """Pages (PA >> 12) accessed since the last invalidation, kept only where a stimulus asks for it."""

    def judge(self, items: Sequence[Item], results: Sequence[Result]) -> None:
        """Judge every result against its item; TargetProtocolError when one was not run."""
        of = self._expectations[0].of
        pages = self._pages if any(isinstance(item, Under) for item in items) else None
        for index, (item, result) in enumerate(zip(items, results, strict=True)):
            if result.status != _DONE:
                raise TargetProtocolError(f"record {index} of {self._scene.title}: status {result.status}, not DONE")
            if isinstance(item, Stimulus):
                self._one(item, result, of(item), self._gpt, index)
                if pages is not None:
                    pages.add(item.pa >> _PAGE_BITS)
            elif isinstance(item, Under):
                self._under(item, result, index)
            elif isinstance(item, From):
                self._from(item, result, index)
            elif isinstance(item, On):
                expectation = self._expectations[item.pe].of(item.stimulus)
                self._one(item.stimulus, result, expectation, self._gpts.pes[item.pe], index)
            else:
                self._follow(item, result, index)
        used = itertools.chain.from_iterable(expectations.drain() for expectations in self._expectations)
        self._close(sum(not isinstance(item, Change) for item in items), used)

    def _close(self, stimuli: int, expectations: Iterable[Expectation]) -> None:
        """Count what was judged, and look at the memory that stores were aimed at."""
        self._tally.stimuli += stimuli
        for expectation in expectations:
            self._count(expectation)
        for (rules, weak), hits in self._hits.items():
            self._tally.count(rules, hits, weak=weak)
        self._verify_memory()

    def _one(self, stimulus: Stimulus, result: Result, expectation: Expectation, gpt: PossibleGPT, index: int) -> None:
        if not result.taken:
            performed = expectation.performed
            if performed is not None:
                if stimulus.pas is World.ROOT or self._bench.aliased:
                    performed.hits += self._effect(stimulus, result, index)
                else:
                    # Another space's data is not compared, so the access says nothing about its effect.
                    self._hits[_without_effect(performed.rules), performed.weak] += 1
                return
            self._follow_denied(stimulus)
        else:
            if stimulus.kind in WRITING and self._is_ram(stimulus.pa):
                self._touched.setdefault(stimulus.pa, (index, stimulus, False))
            for exception in expectation.exceptions:
                if matches(exception, stimulus, result):
                    exception.hits += 1
                    return
        self._deviates(stimulus, result, expectation, gpt, index)

    def _follow_denied(self, stimulus: Stimulus) -> None:
        """A store that should have been denied and was not has changed memory: what comes after it has to know."""
        memory = self._bench.pe.memory
        if isinstance(stimulus.kind, Kind) and stimulus.kind in WRITING and self._is_ram(stimulus.pa):
            effect = perform(stimulus, memory.read(stimulus.pa, _LANE))
            if effect.memory is not None:
                memory.write(stimulus.pa, effect.memory)

    def _permitted(self, stimulus: Stimulus, gpt: PossibleGPT, *, trace: bool = False) -> Permitted:
        """The permitted set, computed from scratch."""
        return PermittedOutcomes(self._bench.pe, gpt, stimulus.va, access_of(stimulus), trace=trace)

    def _is_ram(self, pa: int) -> bool:
        return self._bench.pe.memory.map.lookup_any(pa) is RegionKind.RAM

    def _effect(self, stimulus: Stimulus, result: Result, index: int) -> bool:
        """Check the data that a performed access returned, and let the model's memory follow; False on wrong data."""
        memory = self._bench.pe.memory
        effect = perform(stimulus, memory.read(stimulus.pa, _LANE))
        if stimulus.kind is Kind.STORE_EXCLUSIVE and result.data1 == 1:
            # A store-exclusive may fail at any time; then it stores nothing.
            effect = Performed(effect.data0, 1, None)
        if effect.memory is not None:
            memory.write(stimulus.pa, effect.memory)
            self._touched[stimulus.pa] = (index, stimulus, True)
        if (result.data0, result.data1) == (effect.data0, effect.data1):
            return True
        self._wrong_data(
            Rule.PERMITTED_ACCESS_EFFECT,
            f"{stimulus.kind.title}: performed, but returns other data",
            stimulus,
            {"data0": f"{effect.data0:#x}", "data1": f"{effect.data1:#x}"},
            {"data0": f"{result.data0:#x}", "data1": f"{result.data1:#x}"},
            index,
        )
        return False

    def _under(self, item: Under, result: Result, index: int) -> None:
        """A stimulus under its own registers: the former ones may answer for what was cached before the change."""
        gpt = PossibleGPT(self._gpt.gpc, self._bench.pe.memory)
        gpt.stale = () if item.flags & RecordFlag.TLBI_BEFORE else self._gpt.stale
        now = gpt.gpc
        gpc = GPCState(item.gpccr or now.gpccr, item.gptbr or now.gptbr, now.features, item.gpcbw or now.gpcbw)
        gpt.set_registers(gpc)
        page = item.stimulus.pa >> _PAGE_BITS
        if item.flags & RecordFlag.TLBI_AFTER_REGS:
            gpt.invalidate_all()
        elif self._bench.prompt and (item.flags & RecordFlag.TLBI_BEFORE or page not in self._pages):
            gpt.untouched = frozenset((space, page) for space in PASpace)
        # The probe invalidates when it has put the registers back.
        self._pages.clear()
        permitted = self._permitted(item.stimulus, gpt)
        expectation = compile_permitted(permitted, item.stimulus.va)
        self._shown = item.scene(self._scene)
        self._one(item.stimulus, result, expectation, gpt, index)
        self._shown = self._scene
        self._count(expectation)

    def _from(self, item: From, result: Result, index: int) -> None:
        raise MisuseError(f"{self._scene.title}: a history has a judge of its own, {item} is none of this one's")

    def _follow(self, item: Change, result: Result, index: int) -> None:
        """Let the model's GPT follow a change."""
        if result.taken and not isinstance(item, Invalidate):
            raise TargetProtocolError(f"record {index} of {self._scene.title}: {item} took an exception")
        match item:
            case TableWrite(pa):
                self._gpts.write(pa, item.data)
            case SetRegister(register, pe):
                self._gpts.set_registers(pe, with_register(self._gpts.pes[pe].gpc, register))
            case Invalidate(op, xt, pe):
                self._invalidation(item, result, index)
                self._gpts.tlbi(pe, op, xt)
                self._pages.clear()
        for expectations in self._expectations:
            expectations.changed()

    def _invalidation(self, item: Invalidate, result: Result, index: int) -> None:
        """The instruction itself: it takes no exception, whatever its operand."""
        rule = self._gpts.rule_of(item.pe, item.op, item.xt)
        if not result.taken:
            self._tally.count((rule,), 1, weak=False)
            return
        what = f"TLBI {item.op.name}: permitted no exception; observed EC={Slice(result.esr, 31, 26):#04x}"

        def case(waiver: str) -> FailingCase:
            return cases.refused(
                self._scene, item, result, rule=rule.value, signature=what, index=index, batch=self._batch,
                waiver=waiver, around=self._bench.around,
            )  # fmt: skip

        self._tally.fail(rule, what, case)

    def _count(self, expectation: Expectation) -> None:
        # Permitted side by side with nothing cached: left to the implementation, a choice that a part makes once.
        choices = [a for a in expectation.alternatives if Rule.CACHED not in a.rules and is_external_abort(a)]
        for alternative in expectation.alternatives:
            if alternative.hits:
                self._hits[alternative.rules, alternative.weak] += alternative.hits
                if len(choices) > 1 and alternative in choices:
                    self._tally.choice("external abort", alternative.reason or "synchronous", alternative.hits)
                if Rule.CACHED in alternative.rules and alternative.weak:
                    self._tally.choice(_FORMER, "seen", alternative.hits)
                alternative.hits = 0

    def _deviates(
        self, stimulus: Stimulus, result: Result, expectation: Expectation, gpt: PossibleGPT, index: int
    ) -> None:
        """The observation is outside the permitted set: find the rules it speaks against."""
        nearest, mismatches = compare.closest([a.alternative(stimulus) for a in expectation.alternatives], result)
        against = self._against(stimulus, nearest, mismatches, result)
        rules = tuple(dict.fromkeys(rule.value for rule, _ in against))
        signature = "; ".join(dict.fromkeys(text for _, text in against))

        def case(waiver: str) -> FailingCase:
            # Only a case that is kept needs the model's steps in words.
            permitted = self._permitted(stimulus, gpt, trace=True)
            return cases.deviation(
                self._shown, stimulus, result, permitted, rules=rules, signature=signature, index=index,
                batch=self._batch, waiver=waiver, around=self._bench.around,
            )  # fmt: skip

        for rule, text in against:
            self._tally.fail(rule, text, case)

    def _against(
        self, stimulus: Stimulus, nearest: Alternative, mismatches: Sequence[compare.Mismatch], result: Result
    ) -> list[tuple[Rule, str]]:
        """The rules that the mismatches speak against, each with its own signature.

        A field of the report that is wrong speaks against that field's rule and no other; where nothing else differs,
        the rules that decided the outcome have been seen to hold.
        """
        fields = [m for m in mismatches if m.rule in compare.REPORT_FIELDS]
        rest = [m for m in mismatches if m.rule not in compare.REPORT_FIELDS]
        if any(m.rule is None for m in rest):
            # Another outcome altogether: its report is not compared field by field.
            fields, rest = [], list(mismatches)
        against = [(m.rule, m.text) for m in fields if m.rule is not None]
        if rest:
            broken = compare.broken_rules(nearest, rest, result, deciding_rule(nearest))
            signature = compare.signature(stimulus, nearest, rest, result)
            against += [(rule, signature) for rule in self._tally.speaks_against(broken)]
        else:
            wrong = {rule for rule, _ in against}
            self._hits[tuple(rule for rule in nearest.rules if rule not in wrong), nearest.weak] += 1
        return against

    def _wrong_data(
        self, rule: Rule, signature: str, stimulus: Stimulus, expected: dict[str, str], observed: dict[str, str],
        index: int,
    ) -> None:  # fmt: skip
        def case(waiver: str) -> FailingCase:
            return cases.wrong_data(
                self._shown, stimulus, expected=expected, observed=observed, rule=rule.value, signature=signature,
                index=index, batch=self._batch, waiver=waiver, around=self._bench.around,
            )  # fmt: skip

        self._tally.fail(rule, signature, case)

    def _verify_memory(self) -> None:
        """Memory that stores were aimed at is as the model has it: permitted ones arrived, denied ones did not."""
        memory = self._bench.pe.memory
        denied = performed = 0
        for pa, (index, stimulus, arrived) in self._touched.items():
            wanted, found = memory.read(pa, _LANE), self._bench.read_memory(pa, _LANE)
            if wanted == found:
                performed += arrived
                denied += not arrived
                continue
            rule = Rule.PERMITTED_ACCESS_EFFECT if arrived else Rule.DENIED_STORE_NO_EFFECT
            what = "memory does not hold what was stored" if arrived else "a denied store changed memory"
            signature = f"{stimulus.kind.title}: {what}"
            memory.write(pa, found)
            self._wrong_data(rule, signature, stimulus, {"memory": wanted.hex()}, {"memory": found.hex()}, index)
        self._tally.count((Rule.DENIED_STORE_NO_EFFECT,), denied, weak=False)
        self._tally.count((Rule.PERMITTED_ACCESS_EFFECT,), performed, weak=False)


def with_register(gpc: GPCState, register: Register) -> GPCState:
    """The state with a register written; L0GPTSZ is read-only."""
    match register:
        case GPCCR_EL3():
            return replace(gpc, gpccr=register.replace(L0GPTSZ=gpc.gpccr.L0GPTSZ))
        case GPTBR_EL3():
            return replace(gpc, gptbr=register)
        case GPCBW_EL3():
            return replace(gpc, gpcbw=register)
        case _:
            raise TypeError(f"{type(register).__name__} is no register of the granule protection check")


def _without_effect(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    return tuple(rule for rule in rules if rule is not Rule.PERMITTED_ACCESS_EFFECT)


def is_external_abort(alternative: CompiledPerformed | CompiledException) -> bool:
    """Whether it reports an external abort that the access itself met, not one on a walk or on a GPT fetch."""
    if isinstance(alternative, CompiledPerformed):
        return False
    ec = Slice(alternative.value, 31, 26)
    return ec == EC_SERROR or (ec != EC_GPC and Slice(alternative.value, 5, 0) == _FSC_SYNC_EXTERNAL)


def matches(exception: CompiledException, stimulus: Stimulus, result: Result) -> bool:
    """Whether an observation is exactly this exception, as far as it is not UNKNOWN."""
    return (
        (result.esr ^ exception.value) & exception.mask == 0
        and result.taken == 1
        and (not exception.far_is_va or result.far == stimulus.va + exception.far_offset)
        and (exception.mfar is None or result.mfar == exception.mfar_for(stimulus.pa))
        and (exception.hpfar is None or result.hpfar == exception.hpfar)
        and result.vector == exception.vector
        and result.target_el == exception.target_el
    )
