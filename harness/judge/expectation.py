"""What the model permits for a page and a kind of access, compiled for comparing many observations quickly.

Within one state of registers, tables and possible cached entries the permitted set of an access depends on the page it
names and on its access descriptor, not on the offset in the page: every check is per granule, which is 4 KB at least,
FAR_ELx is the virtual address itself and MFAR_EL3 names a page.  Two more facts save work where nothing stale is
cached: a stage-1 leaf of 1 GB translates all its addresses alike, and how a check's outcome is reported depends on the
outcome and the access, not on the address.  Nothing else is assumed; ``harness/tests/test_judge_expectation.py`` holds
all of this against the model, probe by probe.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from harness.judge.stimulus import Stimulus
from refmodel.access import PermittedOutcomes, PEState
from refmodel.choices import Chooser
from refmodel.faults import encode_mfar
from refmodel.gpt.cache import PossibleGPT
from refmodel.gpt.types import GPCFRecord
from refmodel.memory import RegionKind
from refmodel.observe import Observer
from refmodel.outcomes import AccessPerformed, Alternative, ExceptionTaken, Permitted
from refmodel.pas import FullAddress
from refmodel.rules import Rule
from refmodel.translation.el3 import S1Translate, Translated

_PAGE_BITS = 12
_LEAF_BITS = 30
_LEAF_LEVEL = 1
_ISS_MASK = (1 << 25) - 1


@dataclass(slots=True)
class CompiledException:
    """An exception as masks and values: ``(esr ^ value) & mask == 0``; ``far_is_va`` and ``mfar`` None = UNKNOWN."""

    value: int
    mask: int
    vector: int
    target_el: int
    far_is_va: bool
    mfar: int | None
    rules: tuple[Rule, ...]
    reason: str
    weak: bool
    hits: int = 0


@dataclass(slots=True)
class CompiledPerformed:
    """The access may be performed."""

    rules: tuple[Rule, ...]
    reason: str
    weak: bool
    hits: int = 0


@dataclass(slots=True)
class Expectation:
    """The permitted set of one page and access: whether it may be performed, and the exceptions it may take."""

    performed: CompiledPerformed | None
    exceptions: tuple[CompiledException, ...]

    @property
    def alternatives(self) -> tuple[CompiledPerformed | CompiledException, ...]:
        """Every permitted outcome."""
        return self.exceptions if self.performed is None else (self.performed, *self.exceptions)


def compile_permitted(permitted: Permitted, va: int) -> Expectation:
    """Compile a permitted set computed for ``va``; ValueError if FAR is neither ``va`` nor UNKNOWN."""
    performed: CompiledPerformed | None = None
    exceptions: list[CompiledException] = []
    for alternative in permitted.alternatives:
        outcome = alternative.outcome
        if isinstance(outcome, AccessPerformed):
            performed = CompiledPerformed(alternative.rules, alternative.reason, alternative.weak)
        else:
            exceptions.append(_compile_exception(alternative, outcome, va))
    return Expectation(performed, tuple(exceptions))


def _compile_exception(alternative: Alternative, outcome: ExceptionTaken, va: int) -> CompiledException:
    if outcome.far not in (None, va):
        raise ValueError(f"FAR {outcome.far} is not the access's virtual address {va:#x}")
    syndrome = outcome.syndrome
    return CompiledException(
        value=syndrome.ec << 26 | syndrome.il << 25 | syndrome.iss,
        mask=~_ISS_MASK & (1 << 64) - 1 | syndrome.iss_known,
        vector=syndrome.vector,
        target_el=syndrome.el.value,
        far_is_va=outcome.far is not None,
        mfar=outcome.mfar,
        rules=alternative.rules,
        reason=alternative.reason,
        weak=alternative.weak,
    )


@dataclass
class Expectations:
    """Expectations by page and kind, valid until the state they were computed in changes."""

    pe: PEState
    gpt: PossibleGPT
    _memo: dict[int, Expectation] = field(default_factory=dict)
    _used: list[Expectation] = field(default_factory=list)
    _leaves: dict[tuple[int, int], Translated | None] = field(default_factory=dict)
    _reports: dict[tuple[GPCFRecord, int], tuple[Expectation, int]] = field(default_factory=dict)

    def changed(self) -> None:
        """Registers, tables or cached entries changed: nothing computed so far holds any longer."""
        self._memo.clear()
        self._leaves.clear()
        self._reports.clear()

    def of(self, stimulus: Stimulus) -> Expectation:
        """The permitted set of a stimulus."""
        key = (stimulus.va >> _PAGE_BITS) << 4 | stimulus.kind.number
        found = self._memo.get(key)
        if found is None:
            found = self._memo[key] = self._by_leaf(stimulus) or self._computed(stimulus)
            self._used.append(found)
        return found

    def _computed(self, stimulus: Stimulus) -> Expectation:
        return compile_permitted(PermittedOutcomes(self.pe, self.gpt, stimulus.va, stimulus.kind.access), stimulus.va)

    def _by_leaf(self, stimulus: Stimulus) -> Expectation | None:
        """The expectation from the gigabyte's translation and the granule's check; None where that is not enough."""
        if self.gpt.stale:
            return None
        leaf = self._leaf(stimulus)
        if leaf is None:
            return None
        offset = stimulus.va & (1 << _LEAF_BITS) - 1
        address = FullAddress(leaf.address.paspace, leaf.address.address >> _LEAF_BITS << _LEAF_BITS | offset)
        if self.pe.memory.map.lookup(address) is RegionKind.NOTHING:
            return None
        checked = self.gpt.checked(address)
        key = (checked.options[0].value, stimulus.kind.number)
        report = self._reports.get(key)
        if report is None:
            first = self._computed(stimulus)
            # The rules of the check come first, those of its report after them.
            report = self._reports[key] = (first, len(checked.rules))
            return first
        pattern, known = report
        return _adapt(pattern, known, checked.rules, address)

    def _leaf(self, stimulus: Stimulus) -> Translated | None:
        key = (stimulus.va >> _LEAF_BITS, stimulus.kind.number)
        if key not in self._leaves:
            choose = Chooser()

            def check(address: FullAddress, observe: Observer) -> GPCFRecord:
                return self.gpt.check(address, choose, observe)

            _, leaf = S1Translate(self.pe.regime, check, self.pe.memory, stimulus.va, stimulus.kind.access)
            self._leaves[key] = leaf if leaf is not None and leaf.level == _LEAF_LEVEL else None
        return self._leaves[key]

    def drain(self) -> list[Expectation]:
        """Every expectation used since the last call, with its hit counts."""
        used, self._used = self._used, []
        return used


def _adapt(pattern: Expectation, known: int, rules: tuple[Rule, ...], address: FullAddress) -> Expectation:
    """The expectation of another granule whose check has the same outcome: its own rules, its own MFAR."""
    if pattern.performed is not None:
        performed = pattern.performed
        return Expectation(CompiledPerformed(rules + performed.rules[known:], performed.reason, performed.weak), ())
    (exception,) = pattern.exceptions
    mfar = None if exception.mfar is None else encode_mfar(address)
    return Expectation(None, (replace(exception, rules=rules + exception.rules[known:], mfar=mfar, hits=0),))
