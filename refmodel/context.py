"""What the pseudocode reads of PSTATE and of control registers to translate an access and to route an exception."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from refmodel.features import Features
from refmodel.pas import EL, SecurityState
from refmodel.sysregs import CLIDR_EL1, HCR_EL2, HCRX_EL2, SCR_EL3, SCTLR2_EL1, SCTLR2_EL2

_ROOT_SCR = SCR_EL3.of(NSE=1)
_CACHES = CLIDR_EL1.of(LoUU=1, LoC=1)


class Regime(Enum):
    """Regime of the pseudocode, those of AArch64."""

    Regime_EL3 = "EL3"
    Regime_EL2 = "EL2"
    Regime_EL20 = "EL2&0"
    Regime_EL10 = "EL1&0"

    @property
    def has_unprivileged(self) -> bool:
        """Whether EL0 uses the regime too, and it has two VA ranges (``HasUnprivileged``)."""
        return self in (Regime.Regime_EL20, Regime.Regime_EL10)


@dataclass(frozen=True, slots=True, kw_only=True)
class PEContext:
    """PSTATE.{EL, SP, A, PAN}, SCR_EL3, HCR_EL2 and others, and the features that decide how they are read.

    ValueError for a security state that does not exist: SCR_EL3.{NSE, NS} = {1, 0} below EL3.  AArch32 is not modelled.
    """

    el: EL = EL.EL3
    sp: int = 1
    masked: int = 1
    """PSTATE.A."""
    pan: int = 0
    scr: SCR_EL3 = _ROOT_SCR
    hcr: HCR_EL2 = HCR_EL2()  # noqa: RUF009 - immutable
    hcrx: HCRX_EL2 = HCRX_EL2()  # noqa: RUF009 - immutable
    sctlr2_el1: SCTLR2_EL1 = SCTLR2_EL1()  # noqa: RUF009 - immutable
    sctlr2_el2: SCTLR2_EL2 = SCTLR2_EL2()  # noqa: RUF009 - immutable
    clidr: CLIDR_EL1 = _CACHES
    features: Features = Features()  # noqa: RUF009 - immutable

    def __post_init__(self) -> None:
        if self.el is not EL.EL3 and self.SecurityStateAtEL(self.el) is SecurityState.SS_Root:
            raise ValueError("SCR_EL3.{NSE, NS} = {1, 0} below EL3: there is no such security state")
        if self.el is EL.EL2 and not self.EL2Enabled():
            raise ValueError("EL2 is not enabled in this security state")

    def at(self, el: EL) -> PEContext:
        """The same PE at another exception level."""
        return replace(self, el=el)

    @property
    def effective_ns(self) -> int:
        """``EffectiveSCR_EL3_NS``: 1 on a PE without a Secure state."""
        return self.scr.NS if self.features.sel2 else 1

    def SecurityStateAtEL(self, el: EL) -> SecurityState:
        """Security state of an exception level.  Source: DDI 0487, pseudocode ``SecurityStateAtEL``."""
        if el is EL.EL3:
            return SecurityState.SS_Root
        return SecurityState(self.scr.NSE << 1 | self.effective_ns)

    @property
    def ss(self) -> SecurityState:
        """``CurrentSecurityState``."""
        return self.SecurityStateAtEL(self.el)

    def IsSecureEL2Enabled(self) -> bool:
        """Source: DDI 0487, pseudocode ``IsSecureEL2Enabled``."""
        return self.features.sel2 and self.scr.EEL2 == 1

    def EL2Enabled(self) -> bool:
        """Whether EL2 exists in the security state below EL3.  Source: DDI 0487, pseudocode ``EL2Enabled``."""
        return self.effective_ns == 1 or self.IsSecureEL2Enabled()

    def ELIsInHost(self, el: EL) -> bool:
        """Whether an exception level is in a host (E2H).  Source: DDI 0487, pseudocode ``ELIsInHost``."""
        if not self.features.vhe or not self.EL2Enabled():
            return False
        match el:
            case EL.EL2:
                return self.hcr.E2H == 1
            case EL.EL0:
                return self.hcr.E2H == 1 and self.hcr.TGE == 1
            case EL.EL1 | EL.EL3:
                return False

    def IsInHost(self) -> bool:
        """``ELIsInHost`` of the current exception level."""
        return self.ELIsInHost(self.el)

    def IsHCRXEL2Enabled(self) -> bool:
        """Source: DDI 0487, pseudocode ``IsHCRXEL2Enabled``, on a PE with FEAT_HCX."""
        return self.scr.HXEn == 1 and self.EL2Enabled()

    def TranslationRegime(self, el: EL) -> Regime:
        """Regime that an access as ``el`` uses.  Source: DDI 0487, pseudocode ``TranslationRegime``."""
        match el:
            case EL.EL3:
                return Regime.Regime_EL3
            case EL.EL2:
                return Regime.Regime_EL20 if self.ELIsInHost(EL.EL2) else Regime.Regime_EL2
            case EL.EL1:
                return Regime.Regime_EL10
            case EL.EL0:
                return Regime.Regime_EL20 if self.ELIsInHost(EL.EL0) else Regime.Regime_EL10


AT_EL3 = PEContext()
"""EL3 with SP_EL3, errors masked, SCR_EL3 with nothing but NSE set."""
