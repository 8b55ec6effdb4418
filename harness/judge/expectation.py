"""What the model permits for a page and a kind of access, compiled for comparing many observations quickly.

Within one state of registers, tables and possible cached entries the permitted set of an access depends on the page it
names and on its access descriptor, not on the offset in the page: every check is per granule, which is 4 KB at least,
FAR_ELx is the virtual address itself and MFAR_EL3 names a page.  Two more facts save work where nothing stale is
cached: a stage-1 leaf of 1 GB translates all its addresses alike, or refuses them alike, and how a check's outcome is
reported depends on the outcome, the address space and the access, not on the address.  Nothing else is assumed;
``harness/tests/test_judge_expectation.py`` holds all of this against the model, probe by probe.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from harness.judge.stimulus import Stimulus, access_of
from refmodel.access import PermittedOutcomes, PEState
from refmodel.bits import Slice
from refmodel.choices import Chooser, Option
from refmodel.gpt.cache import Checked, PossibleGPT
from refmodel.gpt.types import GPCFRecord
from refmodel.memory import RegionKind
from refmodel.observe import Observer
from refmodel.outcomes import AccessPerformed, AddressTranslated, Alternative, ExceptionTaken, Permitted, Syndrome
from refmodel.pas import EL, FullAddress, PASpace
from refmodel.rules import Rule
from refmodel.sysregs import MFAR_EL3
from refmodel.translation.el3 import S1Translate, Translated

_PAGE_BITS = 12
_KIND_BITS = 4
_LEAF_BITS = 30
_LEAF_LEVEL = 1
_ISS_MASK = (1 << 25) - 1
_MFAR_PAGE = MFAR_EL3.FPA.mask


@dataclass(slots=True)
class CompiledException:
    """An exception as masks and values: ``(esr ^ value) & mask == 0``.

    ``far_is_va`` False and ``mfar`` None stand for UNKNOWN; FAR is ``far_offset`` bytes after the address.  With
    ``mfar_of_output`` the page that the access is translated to has yet to be added to ``mfar``, which then holds the
    address space alone.
    """

    value: int
    mask: int
    vector: int
    target_el: int
    far_is_va: bool
    mfar: int | None
    mfar_of_output: bool
    hpfar: int | None
    rules: tuple[Rule, ...]
    reason: str
    weak: bool
    hits: int = 0
    far_offset: int = 0

    def mfar_for(self, pa: int) -> int | None:
        """MFAR_EL3 when the access is translated to ``pa``; None where it is UNKNOWN."""
        return self.mfar | pa & _MFAR_PAGE if self.mfar_of_output and self.mfar is not None else self.mfar

    def alternative(self, stimulus: Stimulus) -> Alternative:
        """The permitted outcome for a stimulus, as the model would give it."""
        syndrome = Syndrome(
            el=EL(self.target_el), ec=Slice(self.value, 31, 26), il=Slice(self.value, 25, 25),
            iss=self.value & _ISS_MASK, iss_known=self.mask & _ISS_MASK, vector=self.vector,
            rules=self.rules,
        )  # fmt: skip
        far = stimulus.va + self.far_offset if self.far_is_va else None
        outcome = ExceptionTaken(syndrome, far=far, mfar=self.mfar_for(stimulus.pa), hpfar=self.hpfar)
        return Alternative(outcome, self.rules, self.reason, self.weak)


@dataclass(slots=True)
class CompiledPerformed:
    """The operation may be performed; of an AT, PAR_EL1 compares in the bits of ``par_known``."""

    rules: tuple[Rule, ...]
    reason: str
    weak: bool
    hits: int = 0
    par: int = 0
    par_known: int = 0

    def fits(self, par: int) -> bool:
        """Whether PAR_EL1 is as it has to be."""
        return (par ^ self.par) & self.par_known == 0

    def alternative(self, stimulus: Stimulus) -> Alternative:
        """The permitted outcome, as the model would give it; the same for every stimulus."""
        outcome = AddressTranslated(self.par, self.par_known) if self.par_known else AccessPerformed()
        return Alternative(outcome, self.rules, self.reason, self.weak)


@dataclass(slots=True)
class Expectation:
    """The permitted set of an access; ``alternatives`` in the model's order, the one with nothing cached first."""

    alternatives: tuple[CompiledPerformed | CompiledException, ...]
    performed: CompiledPerformed | None = field(init=False)
    exceptions: tuple[CompiledException, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.performed = next((a for a in self.alternatives if isinstance(a, CompiledPerformed)), None)
        self.exceptions = tuple(a for a in self.alternatives if isinstance(a, CompiledException))


def compile_permitted(permitted: Permitted, va: int) -> Expectation:
    """Compile a permitted set computed for ``va``."""
    return Expectation(tuple(_compile(alternative, va) for alternative in permitted.alternatives))


def _compile(alternative: Alternative, va: int) -> CompiledPerformed | CompiledException:
    outcome = alternative.outcome
    if isinstance(outcome, AddressTranslated):
        known = outcome.par_known
        return CompiledPerformed(alternative.rules, alternative.reason, alternative.weak, 0, outcome.par, known)
    if isinstance(outcome, AccessPerformed):
        return CompiledPerformed(alternative.rules, alternative.reason, alternative.weak)
    syndrome = outcome.syndrome
    return CompiledException(
        value=syndrome.ec << 26 | syndrome.il << 25 | syndrome.iss,
        mask=~_ISS_MASK & (1 << 64) - 1 | syndrome.iss_known,
        vector=syndrome.vector,
        target_el=syndrome.el.value,
        far_is_va=outcome.far is not None,
        mfar=outcome.mfar,
        mfar_of_output=False,
        hpfar=outcome.hpfar,
        rules=alternative.rules,
        reason=alternative.reason,
        weak=alternative.weak,
        far_offset=0 if outcome.far is None else outcome.far - va,
    )


@dataclass
class Expectations:
    """Expectations by page and kind, valid until the state they were computed in changes."""

    pe: PEState
    gpt: PossibleGPT
    _memo: dict[int, Expectation] = field(default_factory=dict)
    _used: list[Expectation] = field(default_factory=list)
    _gone: list[Expectation] = field(default_factory=list)
    _leaves: dict[int, Translated | Expectation | None] = field(default_factory=dict)
    _pages: dict[int, Checked | None] = field(default_factory=dict)
    _reports: dict[tuple[GPCFRecord, int, PASpace], tuple[Expectation, int]] = field(default_factory=dict)
    _shared: dict[tuple[int, int, PASpace], Expectation] = field(default_factory=dict)
    _checks: dict[tuple[tuple[Option[GPCFRecord], ...], tuple[Rule, ...]], Checked] = field(default_factory=dict)

    def changed(self) -> None:
        """Registers, tables or cached entries changed: nothing computed so far holds any longer."""
        # What was hit until now has yet to be counted.
        self._gone += self._used
        self._used = []
        self._memo.clear()
        self._leaves.clear()
        self._pages.clear()
        self._reports.clear()
        self._shared.clear()
        self._checks.clear()

    def of(self, stimulus: Stimulus) -> Expectation:
        """The permitted set of a stimulus."""
        key = (stimulus.va >> _PAGE_BITS) << _KIND_BITS | stimulus.kind.number
        found = self._memo.get(key)
        if found is None:
            found = self._memo[key] = self._by_leaf(stimulus) or self._computed(stimulus)
        return found

    def _computed(self, stimulus: Stimulus) -> Expectation:
        permitted = PermittedOutcomes(self.pe, self.gpt, stimulus.va, access_of(stimulus))
        return self._use(compile_permitted(permitted, stimulus.va))

    def _use(self, made: Expectation) -> Expectation:
        self._used.append(made)
        return made

    def _by_leaf(self, stimulus: Stimulus) -> Expectation | None:
        """The expectation from the gigabyte's translation and the granule's check; None where that is not enough."""
        if self.gpt.stale:
            return None
        leaf = self._leaf(stimulus)
        if leaf is None or isinstance(leaf, Expectation):
            return leaf
        checked = self._checked(stimulus, leaf)
        if checked is None:
            return None
        # Equal checks are one object, see _one_for_all.
        shared = self._shared.get((id(checked), stimulus.kind.number, leaf.address.paspace))
        return shared or self._share(stimulus, leaf.address.paspace, checked)

    def _checked(self, stimulus: Stimulus, leaf: Translated) -> Checked | None:
        """The check of the page that the leaf translates to; None where nothing answers."""
        page = stimulus.va >> _PAGE_BITS
        if page not in self._pages:
            offset = stimulus.va & (1 << _LEAF_BITS) - 1
            address = FullAddress(leaf.address.paspace, leaf.address.address >> _LEAF_BITS << _LEAF_BITS | offset)
            if address.address != stimulus.pa:
                raise ValueError(f"VA {stimulus.va:#x} is {address} for the model, {stimulus.pa:#x} for the stimulus")
            nothing = self.pe.memory.map.lookup(address) is RegionKind.NOTHING
            self._pages[page] = None if nothing else self._alone(self.gpt.checked(address))
        return self._pages[page]

    def _share(self, stimulus: Stimulus, space: PASpace, checked: Checked) -> Expectation:
        """An expectation for every granule whose check has this outcome and fires these rules."""
        record, kind = checked.options[0].value, stimulus.kind.number
        key = (record, kind, space)
        if key not in self._reports:
            permitted = PermittedOutcomes(self.pe, self.gpt, stimulus.va, access_of(stimulus))
            # The rules of the check come first, those of its report after them.
            self._reports[key] = (compile_permitted(permitted, stimulus.va), len(checked.rules))
        pattern, known = self._reports[key]
        shared = self._use(Expectation(tuple(_of_output(a, known, checked.rules) for a in pattern.alternatives)))
        self._shared[id(checked), kind, space] = shared
        return shared

    def _alone(self, checked: Checked) -> Checked | None:
        """The check for all granules like this one; None where more than today's table may answer."""
        return self._one_for_all(checked) if len(checked.options) == 1 else None

    def _one_for_all(self, checked: Checked) -> Checked:
        """The first check seen that has this outcome and these rules."""
        return self._checks.setdefault((checked.options, checked.rules), checked)

    def _leaf(self, stimulus: Stimulus) -> Translated | Expectation | None:
        """The gigabyte's leaf, or what an access to it meets instead; None where a level 2 table decides."""
        key = (stimulus.va >> _LEAF_BITS) << _KIND_BITS | stimulus.kind.number
        if key not in self._leaves:
            self._leaves[key] = self._walk(stimulus)
        return self._leaves[key]

    def _walk(self, stimulus: Stimulus) -> Translated | Expectation | None:
        choose = Chooser()

        def check(address: FullAddress, observe: Observer) -> GPCFRecord:
            return self.gpt.check(address, choose, observe)

        fault, leaf = S1Translate(self.pe.regime, check, self.pe.memory, stimulus.va, access_of(stimulus))
        if leaf is not None:
            return leaf if leaf.level == _LEAF_LEVEL else None
        return self._computed(stimulus) if fault.level <= _LEAF_LEVEL else None

    def drain(self) -> list[Expectation]:
        """Every expectation that may have been hit since the last call; whoever counts its hits sets them to 0."""
        gone, self._gone = self._gone, []
        return [*gone, *self._used]


def _of_output(
    made: CompiledPerformed | CompiledException, known: int, rules: tuple[Rule, ...]
) -> CompiledPerformed | CompiledException:
    """The same outcome for whichever granule: the rules of its own check, and its own page in MFAR_EL3."""
    if isinstance(made, CompiledPerformed):
        return replace(made, rules=rules + made.rules[known:])
    space = None if made.mfar is None else made.mfar & ~_MFAR_PAGE
    return replace(made, rules=rules + made.rules[known:], mfar=space, mfar_of_output=True)
