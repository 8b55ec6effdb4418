"""Granule protection information that may still be cached: which outcomes a check may have before an invalidation.

GPT entries may be cached in TLBs, alone or with translations, at any time and speculatively, until a TLBI by PA; so
between a change of a table or of GPCCR_EL3/GPTBR_EL3 and the invalidation every configuration since the last
invalidation may answer, granule by granule.  Faulting walks are permitted here to be cached too: the pseudocode caches
only successful ones, the register description of GPCCR_EL3 only says that fields may be cached; see
docs/explanation/open-questions.md.

Source: DDI 0487, pseudocode ``GPTTLBLookup``, ``TLBIncludesGPT`` and TLBI PAALL; one mechanism: ``refmodel.choices``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from refmodel.choices import Chooser, Option
from refmodel.gpt.check import GranuleProtectionCheck
from refmodel.gpt.types import GPCFRecord, GPCState
from refmodel.memory import Memory
from refmodel.observe import Observer, RuleCollector, unobserved
from refmodel.pas import FullAddress, PASpace
from refmodel.rules import Rule


@dataclass(frozen=True, slots=True)
class Configuration:
    """Registers and the doublewords (PA -> value) that differed from today's memory when they were in force."""

    gpc: GPCState
    overlay: Mapping[int, int] = field(default_factory=dict)


class _Overlaid(Memory):
    """Today's memory with some doublewords as they were."""

    def __init__(self, memory: Memory, overlay: Mapping[int, int]) -> None:
        self.map = memory.map
        self._memory = memory
        self._overlay = overlay

    def read(self, address: int, length: int) -> bytes:
        if length == 8 and address in self._overlay:
            return self._overlay[address].to_bytes(8, "little")
        return self._memory.read(address, length)

    def read64(self, address: int) -> int:
        return self._overlay[address] if address in self._overlay else self._memory.read64(address)


_GRANULE_BITS = 12
"""The smallest granule: a check has the same outcome for all addresses in it."""


class Checked:
    """Outcome of a check: the options (today's first), and the rules that fired on the way to the first."""

    __slots__ = ("options", "rules")

    def __init__(self, options: tuple[Option[GPCFRecord], ...], rules: tuple[Rule, ...]) -> None:
        self.options = options
        self.rules = rules


class PossibleGPT:
    """The configurations that may answer a check: today's, and those since the last invalidation.

    A check is pure in registers, memory and these configurations, so its options are remembered until one of them
    changes; whoever changes memory that a table lives in does it through ``write``.
    """

    def __init__(self, gpc: GPCState, memory: Memory) -> None:
        self.gpc = gpc
        self.memory = memory
        self.stale: tuple[Configuration, ...] = ()
        self._invalidated: tuple[Configuration, ...] = ()
        self.untouched: frozenset[tuple[PASpace, int]] = frozenset()
        """Pages (PAS, PA >> 12) of which nothing is cached: known from a calibration, not from the architecture."""
        self._remembered: dict[tuple[PASpace, int], Checked] = {}

    def forget(self) -> None:
        """Compute every check anew, so that an observer hears its steps in words."""
        self._remembered.clear()

    def set_registers(self, gpc: GPCState) -> None:
        """GPCCR_EL3 or GPTBR_EL3 was written; the former values may stay in use."""
        if gpc != self.gpc:
            self.stale = (*self.stale, Configuration(self.gpc))
            self.gpc = gpc
            self._remembered.clear()

    def write(self, address: int, data: bytes) -> None:
        """Memory that a GPT may live in was written; the former doublewords may stay in use."""
        first = address & ~7
        last = (address + len(data) - 1) & ~7
        old = {at: self.memory.read64(at) for at in range(first, last + 8, 8)}
        self.memory.write(address, data)
        former = [Configuration(c.gpc, {**old, **c.overlay}) for c in self.stale]
        self.stale = (*former, Configuration(self.gpc, old))
        self._remembered.clear()

    def invalidate_all(self) -> None:
        """TLBI PAALL, completed by DSB and ISB: only today's configuration answers from here on."""
        self._invalidated, self.stale = self.stale, ()
        self._remembered.clear()

    def check(self, address: FullAddress, choose: Chooser, observe: Observer = unobserved) -> GPCFRecord:
        """A granule protection check in which any possible cached entry may be used."""
        key = (address.paspace, address.address >> _GRANULE_BITS)
        known = self._remembered.get(key)
        if known is None:
            known = self._remembered[key] = self._check(address, observe)
        else:
            for rule in known.rules:
                observe(rule, "")
        chosen = choose(known.options)
        if len(known.options) > 1:
            observe(Rule.CACHED, "before an invalidation {} may answer for {}", chosen, address)
        return chosen

    def checked(self, address: FullAddress) -> Checked:
        """The options of a check and the rules that fired, without choosing."""
        key = (address.paspace, address.address >> _GRANULE_BITS)
        known = self._remembered.get(key)
        if known is None:
            known = self._remembered[key] = self._check(address, unobserved)
        return known

    def _check(self, address: FullAddress, observe: Observer) -> Checked:
        fired = RuleCollector()

        def both(rule: Rule, text: str, *values: object) -> None:
            fired(rule, text)
            observe(rule, text, *values)

        if observe is unobserved:
            both = fired
        now = GranuleProtectionCheck(self.gpc, self.memory, address, both)
        if any(self._under(former, address) != now for former in self._invalidated):
            both(Rule.INVALIDATED, "the invalidation took the former answer for {} away: {}", address, now)
        options = {now: Option(now)}
        untouched = (address.paspace, address.address >> _GRANULE_BITS) in self.untouched
        for former in () if untouched else self.stale:
            then = self._under(former, address)
            if then not in options:
                options[then] = Option(then, "GPT information from before the last change may still be cached", True)
        return Checked(tuple(options.values()), tuple(fired.rules))

    def _under(self, former: Configuration, address: FullAddress) -> GPCFRecord:
        memory = _Overlaid(self.memory, former.overlay) if former.overlay else self.memory
        return GranuleProtectionCheck(former.gpc, memory, address)
