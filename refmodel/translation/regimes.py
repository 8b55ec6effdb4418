"""The registers of the translation regimes below EL3, and what one of their VA ranges walks with.

Source: DDI 0487, shared pseudocode ``AArch64_S1TTWParamsEL2``, ``AArch64_S1TTWParamsEL20``,
``AArch64_S1TTWParamsEL10``, ``AArch64_S1Enabled``, ``AArch64_GetVARange``, ``AArch64_S1EPD`` and ``AArch64_S1TTBR``;
TCR_ELx, SCTLR_ELx.
ValueError for what is not modelled: other granules, hardware update of descriptors, big-endian tables, HCR_EL2.DC,
nested virtualization (NV, NV1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from refmodel.accdesc import AccessType
from refmodel.bits import Slice
from refmodel.context import PEContext, Regime
from refmodel.registers import Register
from refmodel.sysregs import (
    SCTLR_EL1,
    SCTLR_EL2,
    TCR_EL1,
    TCR_EL2,
    TCR_EL2_E2H,
    TTBR0_EL1,
    TTBR0_EL2,
    TTBR1_EL1,
    TTBR1_EL2,
    TwoRangeTCR,
)
from refmodel.translation.walkstate import S1TTWParams

_TG0_4KB, _TG1_4KB = 0b00, 0b10
_WALKS_OFF: Final = TwoRangeTCR.of(EPD0=1, EPD1=1).value


class Stage1(Protocol):
    """Stage 1 of a regime: which it is, whether it is on, and with what it walks for an address."""

    @property
    def regime(self) -> Regime:
        """The regime."""

    def enabled(self, pe: PEContext) -> bool:
        """``AArch64_S1Enabled``."""

    def walkparams(self, pe: PEContext, va: int) -> S1TTWParams:
        """``AArch64_GetS1TTWParams`` for the range that ``va`` is in."""

    def addrtop(self, va: int, acctype: AccessType) -> int:
        """Highest bit of ``va`` that is translated (``AArch64_AddrTop``): top-byte-ignore takes bits [63:56] out."""

    def ttbr(self, va: int) -> int:
        """Value of the TTBRn_ELx for the range that ``va`` is in (``AArch64_S1TTBR``)."""


def upper_range(va: int) -> bool:
    """Whether an address is in the upper VA range of a regime that has two (``AArch64_GetVARange``)."""
    return Slice(va, 55, 55) == 1


def _addrtop(tbi: int, tbid: int, acctype: AccessType) -> int:
    return 55 if tbi and not (tbid and acctype is AccessType.AccessType_IFETCH) else 63


def _addrtop_of_two(tcr: TwoRangeTCR, va: int, acctype: AccessType) -> int:
    if upper_range(va):
        return _addrtop(tcr.TBI1, tcr.TBID1, acctype)
    return _addrtop(tcr.TBI0, tcr.TBID0, acctype)


def _check_common(*, ha: int, hd: int, ee: int, tg_is_4kb: bool) -> None:
    if not tg_is_4kb:
        raise ValueError("only the 4KB translation granule is modelled")
    if ha or hd:
        raise ValueError("hardware update of descriptors (HA, HD) is not modelled")
    if ee:
        raise ValueError("big-endian translation tables (EE) are not modelled")


def _sif(pe: PEContext) -> bool:
    """SCR_EL3.SIF, which has no effect on a PE with FEAT_RME and without FEAT_SEL2."""
    return pe.features.sel2 and pe.scr.SIF == 1


@dataclass(frozen=True, slots=True)
class EL2Regime:
    """The EL2 regime (HCR_EL2.E2H = 0): one VA range, no EL0."""

    ttbr0: TTBR0_EL2
    tcr: TCR_EL2
    sctlr: SCTLR_EL2

    def __post_init__(self) -> None:
        tcr = self.tcr
        _check_common(ha=tcr.HA, hd=tcr.HD, ee=self.sctlr.EE, tg_is_4kb=tcr.TG0 == _TG0_4KB)

    @property
    def regime(self) -> Regime:
        return Regime.Regime_EL2

    def enabled(self, pe: PEContext) -> bool:
        return self.sctlr.M == 1

    def walkparams(self, pe: PEContext, va: int) -> S1TTWParams:
        tcr = self.tcr
        return S1TTWParams(
            txsz=tcr.T0SZ,
            ps=tcr.PS,
            ds=pe.features.lpa2 and tcr.DS == 1,
            hpd=pe.features.hpds and tcr.HPD == 1,
            wxn=self.sctlr.WXN == 1,
            sif=_sif(pe),
        )

    def addrtop(self, va: int, acctype: AccessType) -> int:
        return _addrtop(self.tcr.TBI, self.tcr.TBID, acctype)

    def ttbr(self, va: int) -> int:
        return self.ttbr0.value


def _two_range_params(pe: PEContext, tcr: TwoRangeTCR, sctlr: SCTLR_EL1 | SCTLR_EL2, va: int) -> S1TTWParams:
    upper = upper_range(va)
    return S1TTWParams(
        txsz=tcr.T1SZ if upper else tcr.T0SZ,
        ps=tcr.IPS,
        ds=pe.features.lpa2 and tcr.DS == 1,
        hpd=pe.features.hpds and (tcr.HPD1 if upper else tcr.HPD0) == 1,
        epd=(tcr.EPD1 if upper else tcr.EPD0) == 1,
        e0pd=pe.features.e0pd and (tcr.E0PD1 if upper else tcr.E0PD0) == 1,
        wxn=sctlr.WXN == 1,
        epan=pe.features.pan3 and sctlr.EPAN == 1,
        sif=_sif(pe),
    )


def _check_two_ranges(tcr: TwoRangeTCR, sctlr: SCTLR_EL1 | SCTLR_EL2) -> None:
    # The granule of a range whose walks are disabled does not count.
    tg_is_4kb = (tcr.TG0 == _TG0_4KB or tcr.EPD0 == 1) and (tcr.TG1 == _TG1_4KB or tcr.EPD1 == 1)
    _check_common(ha=tcr.HA, hd=tcr.HD, ee=sctlr.EE, tg_is_4kb=tg_is_4kb)


@dataclass(frozen=True, slots=True)
class EL20Regime:
    """The EL2&0 regime (HCR_EL2.E2H = 1)."""

    ttbr0: TTBR0_EL2
    ttbr1: TTBR1_EL2
    tcr: TCR_EL2_E2H
    sctlr: SCTLR_EL2

    def __post_init__(self) -> None:
        _check_two_ranges(self.tcr, self.sctlr)

    @property
    def regime(self) -> Regime:
        return Regime.Regime_EL20

    def enabled(self, pe: PEContext) -> bool:
        return self.sctlr.M == 1

    def walkparams(self, pe: PEContext, va: int) -> S1TTWParams:
        return _two_range_params(pe, self.tcr, self.sctlr, va)

    def addrtop(self, va: int, acctype: AccessType) -> int:
        return _addrtop_of_two(self.tcr, va, acctype)

    def ttbr(self, va: int) -> int:
        return self.ttbr1.value if upper_range(va) else self.ttbr0.value


@dataclass(frozen=True, slots=True)
class EL10Regime:
    """Stage 1 of the EL1&0 regime."""

    ttbr0: TTBR0_EL1
    ttbr1: TTBR1_EL1
    tcr: TCR_EL1
    sctlr: SCTLR_EL1

    def __post_init__(self) -> None:
        _check_two_ranges(self.tcr, self.sctlr)

    @property
    def regime(self) -> Regime:
        return Regime.Regime_EL10

    def enabled(self, pe: PEContext) -> bool:
        """SCTLR_EL1.M, and with EL2 not HCR_EL2.TGE, which turns stage 1 of EL1&0 off."""
        if pe.EL2Enabled() and (pe.hcr.DC or pe.hcr.NV or pe.hcr.NV1):
            raise ValueError("HCR_EL2.DC, NV and NV1 are not modelled")
        return not (pe.EL2Enabled() and pe.hcr.TGE) and self.sctlr.M == 1

    def walkparams(self, pe: PEContext, va: int) -> S1TTWParams:
        return _two_range_params(pe, self.tcr, self.sctlr, va)

    def addrtop(self, va: int, acctype: AccessType) -> int:
        return _addrtop_of_two(self.tcr, va, acctype)

    def ttbr(self, va: int) -> int:
        return self.ttbr1.value if upper_range(va) else self.ttbr0.value


def stage1_from(regime: Regime, value: Callable[[type[Register]], int]) -> Stage1:
    """Stage 1 of a regime from values of the registers that control it.

    With stage 1 off TCR_ELx is not read, and its reset value need not name a granule for the upper range.  ValueError
    for the EL3 regime.
    """
    match regime:
        case Regime.Regime_EL2:
            return EL2Regime(TTBR0_EL2(value(TTBR0_EL2)), TCR_EL2(value(TCR_EL2)), SCTLR_EL2(value(SCTLR_EL2)))
        case Regime.Regime_EL20:
            host = SCTLR_EL2(value(SCTLR_EL2))
            host_tcr = TCR_EL2_E2H(value(TCR_EL2_E2H) if host.M else _WALKS_OFF)
            return EL20Regime(TTBR0_EL2(value(TTBR0_EL2)), TTBR1_EL2(value(TTBR1_EL2)), host_tcr, host)
        case Regime.Regime_EL10:
            control = SCTLR_EL1(value(SCTLR_EL1))
            tcr = TCR_EL1(value(TCR_EL1) if control.M else _WALKS_OFF)
            return EL10Regime(TTBR0_EL1(value(TTBR0_EL1)), TTBR1_EL1(value(TTBR1_EL1)), tcr, control)
        case Regime.Regime_EL3:
            raise ValueError("EL3 has a regime of its own")


def controls(regime: Regime) -> tuple[type[Register], ...]:
    """The registers that ``stage1_from`` reads for a regime below EL3."""
    match regime:
        case Regime.Regime_EL2:
            return (TTBR0_EL2, TCR_EL2, SCTLR_EL2)
        case Regime.Regime_EL20:
            return (TTBR0_EL2, TTBR1_EL2, TCR_EL2_E2H, SCTLR_EL2)
        case Regime.Regime_EL10:
            return (TTBR0_EL1, TTBR1_EL1, TCR_EL1, SCTLR_EL1)
        case Regime.Regime_EL3:
            raise ValueError("EL3 has a regime of its own")
