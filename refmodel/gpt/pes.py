"""Several PEs over one memory: whose possible cached entries a table write, a register write and a TLBI concern.

Source: DDI 0487 issue M, D9.5 "GPT caching and invalidation" (R_YMRVT, R_XLDKK, R_LRKLF) and C5.5 TLBI PAALL,
PAALLOS, RPAOS, RPALOS.
"""

from __future__ import annotations

from collections.abc import Sequence

from refmodel.gpt.cache import Configuration, PossibleGPT, doublewords
from refmodel.gpt.tlbi import DecodeRPA, TLBIOp
from refmodel.gpt.types import GPCState
from refmodel.memory import Memory
from refmodel.rules import Rule


class PossibleGPTs:
    """One ``PossibleGPT`` for each PE, by PE index, kept in step."""

    def __init__(self, states: Sequence[GPCState], memory: Memory, *, contiguity: bool = False) -> None:
        self.memory = memory
        self.pes = tuple(PossibleGPT(state, memory, contiguity=contiguity) for state in states)
        self._share()

    def set_registers(self, pe: int, gpc: GPCState) -> None:
        """PE ``pe`` wrote GPCCR_EL3, GPTBR_EL3 or GPCBW_EL3.

        What another PE may have taken from a shared TLB under the former values may stay there.
        """
        former = self.pes[pe].gpc
        self.pes[pe].set_registers(gpc)
        for possible in self.pes:
            if former != gpc and former in possible.shared:
                possible.stale = (*possible.stale, Configuration(former))
        self._share()

    def write(self, address: int, data: bytes) -> None:
        """Memory that a GPT may live in was written, by whichever PE: every PE may have the former value cached."""
        old = doublewords(self.memory, address, len(data))
        self.memory.write(address, data)
        for possible in self.pes:
            possible.overwritten(old)

    def tlbi(self, pe: int, op: TLBIOp, xt: int = 0) -> None:
        """PE ``pe`` executed a TLBI by PA, completed by DSB; ``xt`` is the operand of a range instruction.

        A receiving PE whose GPCCR_EL3.PGS differs need not invalidate anything for a range.
        """
        reached = self.pes if op.broadcast else (self.pes[pe],)
        if not op.by_range:
            for possible in reached:
                possible.invalidate_all(self.rule_of(pe, op))
            return
        issuing = self.pes[pe].gpc
        range_ = DecodeRPA(issuing, xt, last_level=op is TLBIOp.RPALOS)
        if range_ is None:
            return
        for possible in reached:
            if possible.gpc.gpccr.PGS == issuing.gpccr.PGS:
                possible.invalidate_range(range_)

    def rule_of(self, pe: int, op: TLBIOp, xt: int = 0) -> Rule:
        """The rule that says what a TLBI by PA of PE ``pe`` must do."""
        if not op.by_range:
            return Rule.BROADCAST_INVALIDATION if op.broadcast else Rule.LOCAL_INVALIDATION
        required = DecodeRPA(self.pes[pe].gpc, xt, last_level=op is TLBIOp.RPALOS)
        return Rule.RANGE_NOT_REQUIRED if required is None else Rule.RANGE_INVALIDATED

    def _share(self) -> None:
        """Where registers differ, a PE may behave as another is configured, unless one of the two has GPC off.

        The architecture lets a PE without GPC share a TLB only while one of its translation stages is enabled; that
        is not known here, and such a PE is taken not to share.
        """
        for possible in self.pes:
            others = (other.gpc for other in self.pes if other.gpc != possible.gpc and other.gpc.gpccr.GPC)
            possible.shared = tuple(dict.fromkeys(others)) if possible.gpc.gpccr.GPC else ()
            possible.forget()
