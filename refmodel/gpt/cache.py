"""Granule protection information that may still be cached: which outcomes a check may have before an invalidation.

GPT entries may be cached in TLBs, alone or with translations, at any time and speculatively, until a TLBI by PA.  So
until the invalidation a check may use, at each level of the walk, today's descriptor or any that was there since, and
GPCCR_EL3 and GPCBW_EL3 as they were.  An entry is cached only if it was reachable and valid (R_QBKYP): a former
descriptor answers with its GPI, or leads to a level 1 table, but never makes a walk fault.

Source: DDI 0487 issue M, D9.5 "GPT caching and invalidation" (R_YMSWK, R_QBKYP, I_JMYRB, R_MGSTK, I_BKJTM); pseudocode
``GPTTLBLookup``, ``TLBIncludesGPT``; one mechanism for all that may be chosen: ``refmodel.choices``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from refmodel.bits import AlignDown, Slice
from refmodel.choices import Chooser, Option, explore
from refmodel.gpt.check import GPICheck, GranuleProtectionCheck, NeedsWalk
from refmodel.gpt.contiguous import ContiguousRanges
from refmodel.gpt.decode import DecodePGS, GPT_Contig, GPT_Table, GPTL0Size
from refmodel.gpt.tlbi import RangeInvalidation
from refmodel.gpt.types import GPC_NO_FAULT, GPCF, GPCFault, GPCFRecord, GPCState
from refmodel.memory import Memory, PhysMemRetStatus
from refmodel.observe import Observer, RuleCollector, unobserved
from refmodel.pas import FullAddress, PASpace, SecurityState
from refmodel.rules import Rule


@dataclass(frozen=True, slots=True)
class Configuration:
    """A former state: registers in force, doublewords (PA -> value) overwritten when it ended, and what was
    invalidated by range since.
    """

    gpc: GPCState
    overlay: Mapping[int, int] = field(default_factory=dict)
    invalidated: tuple[RangeInvalidation, ...] = ()


_CONTIG_BITS = {0b01: 21, 0b10: 25, 0b11: 29}


def cached_extent(gpc: GPCState, level: int, descriptor: int) -> int:
    """log2 of the bytes that one cached entry of a descriptor may cover, as ``contig_size`` of the pseudocode."""
    if level == 0:
        return GPTL0Size(gpc.gpccr)
    if Slice(descriptor, 3, 0) == GPT_Contig:
        return _CONTIG_BITS.get(Slice(descriptor, 9, 8), DecodePGS(gpc.gpccr).value)
    return DecodePGS(gpc.gpccr).value


class _Remembering(Memory):
    """Memory as a walk sees it whose descriptor fetches may be answered by cached entries.

    ``last`` is set where that happened to the last fetch; ``gone`` holds the rules by which range invalidations have
    since removed entries that were used; ``fetches`` counts.
    """

    def __init__(self, history: Iterable[Configuration], choose: Chooser, walk: _Walk) -> None:
        self.map = walk.memory.map
        self._walk = walk
        self._history = tuple(history)
        self._choose = choose
        self.fetches = 0
        self.last = False
        self.gone: set[Rule] = set()

    def PhysMemRead(self, address: FullAddress, size: int) -> tuple[PhysMemRetStatus, int]:
        status, today = self._walk.memory.PhysMemRead(address, size)
        level, self.fetches = self.fetches, self.fetches + 1
        self.last = False
        if status is not PhysMemRetStatus.OK:
            return status, today
        sources: dict[int, Configuration | None] = {today: self._walk.through if level == 0 else None}
        for configuration in reversed(self._history):
            sources.setdefault(configuration.overlay.get(address.address, today), configuration)
        value, source = self._choose([Option(pair) for pair in sources.items()])
        if source is not None:
            self.last = True
            self.gone |= self._walk.removed(source, level, value)
        return status, value


@dataclass(frozen=True, slots=True)
class _Walk:
    """One check with cached entries: registers, today's memory, address, requester.

    ``through`` is the former state whose GPTBR_EL3 is used, where that differs from today's: its level 0 entry can
    come from a cache only.
    """

    gpc: GPCState
    memory: Memory
    address: FullAddress
    ss: SecurityState
    through: Configuration | None

    def removed(self, source: Configuration, level: int, descriptor: int) -> frozenset[Rule]:
        """The rules by which a range invalidation since has taken the entry away; empty where it may still be there."""
        size_bits = cached_extent(self.gpc, level, descriptor)
        start = AlignDown(self.address.address, size_bits)
        table = level == 0 and Slice(descriptor, 3, 0) == GPT_Table
        if not any(range_.removes(start, size_bits, table=table) for range_ in source.invalidated):
            return frozenset()
        if table:
            return frozenset({Rule.RANGE_INVALIDATED, Rule.LAST_LEVEL_ONLY})
        if size_bits > DecodePGS(self.gpc.gpccr).value:
            return frozenset({Rule.RANGE_INVALIDATED, Rule.RANGE_NEEDS_WHOLE_ENTRY})
        return frozenset({Rule.RANGE_INVALIDATED})

    def answer(self, history: Iterable[Configuration], choose: Chooser) -> tuple[GPCFRecord, frozenset[Rule]]:
        """The check's outcome with one choice of former entries, and the rules by which those cannot be cached."""
        view = _Remembering(history, choose, self)
        record = GranuleProtectionCheck(self.gpc, view, self.address, unobserved, self.ss)
        faulty = record.gpf in (GPCF.GPCF_Walk, GPCF.GPCF_AddressSize)
        unreachable = self.through is not None and not view.fetches and record.gpf is GPCF.GPCF_AddressSize
        if (view.last and faulty) or unreachable:
            view.gone.add(Rule.ONLY_VALID_CACHED)
        return record, frozenset(view.gone)


class Checked:
    """Outcome of a check: the options (today's first), and the rules that fired on the way to the first.

    ``stale``: a former entry may answer.
    """

    __slots__ = ("options", "rules", "stale")

    def __init__(self, options: tuple[Option[GPCFRecord], ...], rules: tuple[Rule, ...]) -> None:
        self.options = options
        self.rules = rules
        self.stale = any(option.reason is _STALE for option in options)


_GRANULE_BITS = 12
"""The smallest granule: a check has the same outcome for all addresses in it."""
_STALE = "GPT information from before the last change may still be cached"
_MISPROGRAMMED = "a Contiguous descriptor is misprogrammed: any GPI of its range may answer"
_SHARED = "a TLB may be shared with a PE whose GPC configuration differs"


class PossibleGPT:
    """The configurations of one PE that may answer a check: today's, and those since the last invalidation.

    A check is pure in registers, memory and these configurations, so its options are remembered until one of them
    changes; whoever changes memory that a table lives in does it through ``write``.  ``contiguity`` adds what
    misprogrammed Contiguous descriptors permit.
    """

    def __init__(self, gpc: GPCState, memory: Memory, *, contiguity: bool = False) -> None:
        self.gpc = gpc
        self.memory = memory
        self.stale: tuple[Configuration, ...] = ()
        self._invalidated: tuple[Configuration, ...] = ()
        self._by = Rule.LOCAL_INVALIDATION
        self.untouched: frozenset[tuple[PASpace, int]] = frozenset()
        """Pages (PAS, PA >> 12) of which nothing is cached: known from a calibration, not from the architecture."""
        self.shared: tuple[GPCState, ...] = ()
        """Registers of other PEs with which TLBs may be shared, where they differ from this PE's (R_XLDKK)."""
        self._remembered: dict[tuple[PASpace, int, SecurityState], Checked] = {}
        self._contiguous = ContiguousRanges() if contiguity else None

    def forget(self) -> None:
        """Compute every check anew, so that an observer hears its steps in words."""
        self._remembered.clear()
        if self._contiguous is not None:
            self._contiguous.clear()

    def set_registers(self, gpc: GPCState) -> None:
        """GPCCR_EL3, GPTBR_EL3 or GPCBW_EL3 was written; the former values may stay in use."""
        if gpc != self.gpc:
            self.stale = (*self.stale, Configuration(self.gpc))
        self.gpc = gpc  # equal values may have been written with other bits that have no effect
        self.forget()

    def write(self, address: int, data: bytes) -> None:
        """Memory that a GPT may live in was written; the former doublewords may stay in use."""
        old = doublewords(self.memory, address, len(data))
        self.memory.write(address, data)
        self.overwritten(old)

    def overwritten(self, old: Mapping[int, int]) -> None:
        """Doublewords (PA -> former value) were overwritten, by this PE or by another."""
        self.stale = (*self.stale, Configuration(self.gpc, old))
        self.forget()

    def invalidate_all(self, by: Rule = Rule.LOCAL_INVALIDATION) -> None:
        """TLBI PAALL or PAALLOS, completed by DSB and ISB: only today's configuration answers from here on.

        ``by``: the rule that obliges this PE.
        """
        self._invalidated, self._by, self.stale = self.stale, by, ()
        self.forget()

    def invalidate_range(self, range_: RangeInvalidation) -> None:
        """TLBI RPAOS or RPALOS, completed: entries for the range are gone, registers may stay as they were."""
        self.stale = tuple(replace(c, invalidated=(*c.invalidated, range_)) for c in self.stale)
        self.forget()

    def check(
        self,
        address: FullAddress,
        choose: Chooser,
        observe: Observer = unobserved,
        ss: SecurityState = SecurityState.SS_Root,
    ) -> GPCFRecord:
        """A granule protection check in which any possible cached entry may be used."""
        key = (address.paspace, address.address >> _GRANULE_BITS, ss)
        known = self._remembered.get(key)
        if known is None:
            known = self._remembered[key] = self._check(address, observe, ss)
        else:
            for rule in known.rules:
                observe(rule, "")
        chosen = choose(known.options)
        if known.stale:
            observe(Rule.CACHED, "before an invalidation {} may answer for {}", chosen, address)
        return chosen

    def checked(self, address: FullAddress, ss: SecurityState = SecurityState.SS_Root) -> Checked:
        """The options of a check and the rules that fired, without choosing."""
        key = (address.paspace, address.address >> _GRANULE_BITS, ss)
        known = self._remembered.get(key)
        if known is None:
            known = self._remembered[key] = self._check(address, unobserved, ss)
        return known

    def _check(self, address: FullAddress, observe: Observer, ss: SecurityState) -> Checked:
        fired = RuleCollector()

        def both(rule: Rule, text: str, *values: object) -> None:
            fired(rule, text)
            observe(rule, text, *values)

        now = GranuleProtectionCheck(self.gpc, self.memory, address, fired if observe is unobserved else both, ss)
        options = {now: Option(now)}
        untouched = (address.paspace, address.address >> _GRANULE_BITS) in self.untouched
        former = list(self._answers(() if untouched else self.stale, address, ss))
        for then, gone in former:
            if not gone:
                options.setdefault(then, Option(then, _STALE, True))
        if self.shared:
            both(Rule.SHARED_TLB, "a TLB may be shared with a PE that is configured otherwise")
        for shared in self.shared:
            then = GranuleProtectionCheck(shared, self.memory, address, unobserved, ss)
            options.setdefault(then, Option(then, _SHARED, True))
        for then in self._misprogrammed(address, ss, both):
            options.setdefault(then, Option(then, _MISPROGRAMMED, True))
        # What cannot be cached any more is evidence where nothing else permits the same answer.
        if any(not gone and then not in options for then, gone in self._answers(self._invalidated, address, ss)):
            both(Rule.INVALIDATED, "the invalidation took the former answer for {} away: {}", address, now)
            both(self._by, "... as {} demands", self._by.value)
        removed = set().union(*(gone for then, gone in former if then not in options))
        for rule in sorted(removed, key=lambda rule: rule.value):
            both(rule, "a former answer for {} cannot be cached any more", address)
        return Checked(tuple(options.values()), tuple(fired.rules))

    def _answers(
        self, history: tuple[Configuration, ...], address: FullAddress, ss: SecurityState
    ) -> Iterator[tuple[GPCFRecord, frozenset[Rule]]]:
        """What former entries answer, each with the rules by which it is gone; empty where it may be cached."""
        if not history:
            return
        registers: dict[GPCState, Configuration | None] = {self.gpc: None}
        for configuration in reversed(history):
            registers.setdefault(configuration.gpc, configuration)
        for gpc, source in registers.items():
            through = None if gpc.gptbr == self.gpc.gptbr else source
            walk = _Walk(gpc, self.memory, address, ss, through)

            def run(choose: Chooser, walk: _Walk = walk) -> tuple[GPCFRecord, frozenset[Rule]]:
                return walk.answer(history, choose)

            yield from (explored.result for explored in explore(run))

    def _misprogrammed(self, address: FullAddress, ss: SecurityState, observe: Observer) -> Iterator[GPCFRecord]:
        """Answers that other descriptors of a misprogrammed Contig range permit."""
        if self._contiguous is None or not NeedsWalk(self.gpc, address):
            return
        gpis = self._contiguous.gpis(self.gpc, self.memory, address.address)
        if len(gpis) > 1:
            observe(Rule.CONTIGUOUS_MISPROGRAMMED, "the Contig range of {} has GPIs {}", address, sorted(gpis))
        for gpi in sorted(gpis):
            yield GPC_NO_FAULT if GPICheck(address.paspace, gpi, ss) else GPCFault(GPCF.GPCF_Fail, 1)


def doublewords(memory: Memory, address: int, length: int) -> dict[int, int]:
    """The aligned doublewords (PA -> value) that [address, address + length) touches."""
    first, last = address & ~7, (address + length - 1) & ~7
    return {at: memory.read64(at) for at in range(first, last + 8, 8)}
