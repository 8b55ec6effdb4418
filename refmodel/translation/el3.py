"""The EL3 translation regime: its registers, and its translation through the walk that all regimes share.

SCTLR_EL3.{M, WXN, EE} are {1, 0, 0}.  Source: DDI 0487, shared pseudocode ``AArch64_S1TTWParamsEL3``; TCR_EL3.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from refmodel.choices import Chooser
from refmodel.context import PEContext, Regime
from refmodel.faults import AccessDescriptor, AccessType, FaultRecord
from refmodel.features import Features
from refmodel.gpt.types import Checker
from refmodel.memory import Memory
from refmodel.observe import Observer, unobserved
from refmodel.sysregs import TCR_EL3, TTBR0_EL3
from refmodel.translation import stage1
from refmodel.translation.stage1 import Translated, Walk
from refmodel.translation.walkstate import PhysicalAddressSize, S1TTWParams

__all__ = ["EL3Regime", "S1Translate", "Translated"]

_TCR_RES1 = 1 << 31 | 1 << 23
_WIDEST = Features(pamax=52, lpa2=True)


@dataclass(frozen=True, slots=True)
class EL3Regime:
    """The EL3 translation regime, enabled: TTBR0_EL3, TCR_EL3, and the PE's features.

    ValueError for a TCR_EL3 whose walk is not modelled: another granule, an input size that CONSTRAINED UNPREDICTABLE
    behaviour decides, or a field beyond PS, TG0, T0SZ, DS and the cacheability of walks.
    """

    ttbr0: TTBR0_EL3
    tcr: TCR_EL3
    features: Features = _WIDEST

    def __post_init__(self) -> None:
        if self.tcr.TG0 != 0:
            raise ValueError(f"only the 4KB granule is modelled, not {TCR_EL3.TG0.describe(self.tcr.value)}")
        smallest = 12 if self.ds else 16
        if not smallest <= self.tcr.T0SZ <= 48:
            raise ValueError(f"TCR_EL3.T0SZ must be {smallest} to 48 here, not {self.tcr.T0SZ}")
        unknown = self.tcr.reserved & ~_TCR_RES1
        if unknown:
            raise ValueError(f"TCR_EL3 bits {unknown:#x} change the walk in a way that is not modelled")

    @property
    def ds(self) -> bool:
        """Whether descriptors hold 52-bit addresses: TCR_EL3.DS on a PE with FEAT_LPA2."""
        return self.features.lpa2 and self.tcr.DS == 1

    @property
    def output_bits(self) -> int:
        """Output address size in bits."""
        return PhysicalAddressSize(_params(self), self.features)

    @property
    def regime(self) -> Regime:
        """The regime."""
        return Regime.Regime_EL3

    def enabled(self, pe: PEContext) -> bool:
        """SCTLR_EL3.M is 1."""
        return True

    def walkparams(self, pe: PEContext, va: int) -> S1TTWParams:
        """``AArch64_S1TTWParamsEL3``: one VA range, no hierarchical disable, no SIF as Root is not Secure state."""
        return _params(self)

    def addrtop(self, va: int, acctype: AccessType) -> int:
        """TCR_EL3.TBI is 0."""
        return 63

    def ttbr(self, va: int) -> int:
        """TTBR0_EL3."""
        return self.ttbr0.value


@lru_cache(maxsize=64)
def _params(regime: EL3Regime) -> S1TTWParams:
    return S1TTWParams(txsz=regime.tcr.T0SZ, ps=regime.tcr.PS, ds=regime.ds)


@lru_cache(maxsize=64)
def _context(features: Features) -> PEContext:
    return PEContext(features=features)


def S1Translate(
    regime: EL3Regime,
    check: Checker,
    memory: Memory,
    va: int,
    accdesc: AccessDescriptor,
    observe: Observer = unobserved,
    choose: Chooser | None = None,
) -> tuple[FaultRecord, Translated | None]:
    """Walk and check permissions; the translation is None on a fault.  Without ``choose`` first options are taken."""
    walk = Walk(_context(regime.features), check, memory, choose or Chooser(), observe)
    return stage1.S1Translate(FaultRecord.none(accdesc), regime, va, walk)
