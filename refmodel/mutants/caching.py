"""Mutants of what a machine keeps cached, and of TLB invalidation by PA (GPC-16x).

Faults of the model machine, not of the model: what may be cached is the judge's question, what is, the machine's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from refmodel.bits import Slice
from refmodel.gpt.contiguous import ContiguousRanges
from refmodel.gpt.decode import GPT_Table
from refmodel.gpt.tlbi import DecodeRPA, RangeInvalidation, TLBIOp
from refmodel.gpt.types import GPC_NO_FAULT, GPCState
from refmodel.memory import Memory
from refmodel.mutants.mutant import Mutant, Original, Patch
from refmodel.outcomes import ExceptionTaken, Syndrome
from refmodel.pas import EL, FullAddress
from refmodel.rules import Rule

_MACHINE, _TLB, _CACHE = "harness.targets.model_machine", "harness.targets.model_tlb", "refmodel.gpt.cache"
_GRANULE = 16
"""log2 of the largest granule."""


def _mutant(name: str, rule: Rule, *patches: Patch) -> Mutant:
    return Mutant(name, "gpt", (rule.value,), patches, "observation")


def _without(*ops: TLBIOp) -> Patch:
    """Instructions that do nothing."""

    def make(original: Original) -> Any:
        def tlbi(self: Any, op: TLBIOp = TLBIOp.PAALL, xt: int = 0) -> None:
            if op not in ops:
                original(self, op, xt)

        return tlbi

    return Patch(_MACHINE, "Machine.tlbi", make)


def _local(*ops: TLBIOp) -> Patch:
    """Broadcast instructions that reach no other PE."""

    def make(original: Original) -> Any:
        def tlbi(self: Any, op: TLBIOp = TLBIOp.PAALL, xt: int = 0) -> None:
            every, self.pes = self.pes, [self.own] if op in ops else self.pes
            original(self, op, xt)
            self.pes = every

        return tlbi

    return Patch(_MACHINE, "Machine.tlbi", make)


def _half(original: Original) -> Any:
    def invalidate_range(self: Any, range_: RangeInvalidation) -> None:
        original(self, replace(range_, end=range_.start + (range_.end - range_.start) // 2))

    return invalidate_range


def _not_above(size_bits: int, original: Original) -> Any:
    """Entries that cover more than 1 << ``size_bits`` bytes, those of Table descriptors aside, stay."""

    def removes(self: Any, start: int, bits: int, *, table: bool) -> bool:
        return original(self, start, bits, table=table) and (table or bits <= size_bits)

    return removes


def _never_tables(original: Original) -> Any:
    return lambda self, start, bits, *, table: not table and original(self, start, bits, table=table)


def _traps_reserved_operands(original: Original) -> Any:
    syndrome = Syndrome(el=EL.EL3, ec=0x00, il=1, iss=0, iss_known=0, vector=0x200)

    def _tlbi_by_range(self: Any, record: Any, op: TLBIOp) -> Any:
        if DecodeRPA(self.own.gpt.gpc, record.address, last_level=False) is None:
            return ExceptionTaken(syndrome, far=None, mfar=None)
        return original(self, record, op)

    return _tlbi_by_range


def _any_gpi_of_a_range(original: Original) -> Any:
    """A Contig range with several GPIs is open to everybody."""

    def GranuleProtectionCheck(gpc: GPCState, memory: Memory, address: FullAddress, *rest: Any) -> Any:
        answer = original(gpc, memory, address, *rest)
        walked = answer.level == 1 or answer == GPC_NO_FAULT
        behind = getattr(memory, "_memory", memory)
        mixed = walked and gpc.gpccr.GPC and _has_table(gpc, behind, address.address)
        if mixed and len(ContiguousRanges().gpis(gpc, behind, address.address)) > 1:
            return GPC_NO_FAULT
        return answer

    return GranuleProtectionCheck


def _has_table(gpc: GPCState, memory: Memory, pa: int) -> bool:
    return Slice(memory.read64(gpc.base + 8 * (pa >> 30)), 3, 0) == GPT_Table and pa >> 36 == 0


def _granule_size_of_the_last_pe(original: Original) -> Any:
    def _gpc(self: Any, of: Any) -> GPCState:
        state: GPCState = original(self, of)
        pes = getattr(self, "pes", ())
        if not pes:
            return state
        last = original(self, pes[-1].registers)
        return replace(state, gpccr=state.gpccr.replace(PGS=last.gpccr.PGS)) if last.gpccr.GPC else state

    return _gpc


def _all_bound_again(original: Original) -> Any:
    """Registers of one PE concern the checks of all."""

    def set_register(self: Any, number: int, value: int) -> None:
        original(self, number, value)
        for pe in self.pes:
            pe.bind(self._gpc(pe.registers), self.memory)

    return set_register


CACHING_MUTANTS: tuple[Mutant, ...] = (
    _mutant("paall-ignored", Rule.LOCAL_INVALIDATION, _without(TLBIOp.PAALL)),
    _mutant("paallos-ignored", Rule.BROADCAST_INVALIDATION, _without(TLBIOp.PAALLOS)),
    _mutant("paallos-is-local", Rule.BROADCAST_INVALIDATION, _local(TLBIOp.PAALLOS)),
    _mutant("rpalos-ignored", Rule.RANGE_INVALIDATED, _without(TLBIOp.RPALOS)),
    _mutant("ranges-are-local", Rule.RANGE_INVALIDATED, _local(TLBIOp.RPAOS, TLBIOp.RPALOS)),
    _mutant("range-is-half", Rule.RANGE_INVALIDATED, Patch(_TLB, "PE.invalidate_range", _half)),
    _mutant("range-leaves-blocks", Rule.RANGE_NEEDS_WHOLE_ENTRY,
            Patch("refmodel.gpt.tlbi", "RangeInvalidation.removes", lambda original: _not_above(29, original))),
    _mutant("range-leaves-contiguous", Rule.RANGE_NEEDS_WHOLE_ENTRY,
            Patch("refmodel.gpt.tlbi", "RangeInvalidation.removes", lambda original: _not_above(_GRANULE, original))),
    _mutant("rpaos-leaves-tables", Rule.LAST_LEVEL_ONLY,
            Patch("refmodel.gpt.tlbi", "RangeInvalidation.removes", _never_tables)),
    _mutant("reserved-range-undefined", Rule.RANGE_NOT_REQUIRED,
            Patch(_MACHINE, "Machine._tlbi_by_range", _traps_reserved_operands)),
    _mutant("invalid-entries-kept", Rule.ONLY_VALID_CACHED,
            Patch(_TLB, "KeepingGPT.valid", lambda original: lambda self, gpf: self._view.fetched)),
    _mutant("mixed-range-is-open", Rule.CONTIGUOUS_MISPROGRAMMED,
            Patch(_CACHE, "GranuleProtectionCheck", _any_gpi_of_a_range)),
    _mutant("granule-size-of-another-pe", Rule.SHARED_TLB,
            Patch(_MACHINE, "Machine._gpc", _granule_size_of_the_last_pe),
            Patch(_MACHINE, "Machine.set_register", _all_bound_again)),
)  # fmt: skip
