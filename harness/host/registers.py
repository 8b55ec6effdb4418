"""System registers of EL0, EL1 and EL2 that belong to the Normal world and that a call of the firmware has to preserve.

Names and encodings are those of the Arm Architecture Reference Manual (DDI 0487).  ``filled`` are the bits that a test
may set while the probe runs at EL2 with its MMU off and nothing below: none of a register that governs the probe.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_ALL: Final = (1 << 64) - 1
_LOW: Final = (1 << 32) - 1


@dataclass(frozen=True)
class HostRegister:
    """A register: name, 16-bit encoding ``op0:op1:CRn:CRm:op2``, and the bits that may be filled (0: only watched)."""

    name: str
    encoding: int
    filled: int


def _r(name: str, op1: int, crn: int, crm: int, op2: int, filled: int = _ALL, op0: int = 3) -> HostRegister:
    return HostRegister(name, op0 << 14 | op1 << 11 | crn << 7 | crm << 3 | op2, filled)


EL1: Final = (
    _r("SCTLR_EL1", 0, 1, 0, 0),
    _r("ACTLR_EL1", 0, 1, 0, 1),
    _r("CPACR_EL1", 0, 1, 0, 2),
    _r("SCTLR2_EL1", 0, 1, 0, 3),
    _r("RGSR_EL1", 0, 1, 0, 5),
    _r("GCR_EL1", 0, 1, 0, 6),
    _r("ZCR_EL1", 0, 1, 2, 0, 0xF),
    _r("TTBR0_EL1", 0, 2, 0, 0),
    _r("TTBR1_EL1", 0, 2, 0, 1),
    _r("TCR_EL1", 0, 2, 0, 2),
    _r("TCR2_EL1", 0, 2, 0, 3),
    _r("APIAKeyLo_EL1", 0, 2, 1, 0),
    _r("APIAKeyHi_EL1", 0, 2, 1, 1),
    _r("APIBKeyLo_EL1", 0, 2, 1, 2),
    _r("APIBKeyHi_EL1", 0, 2, 1, 3),
    _r("APDAKeyLo_EL1", 0, 2, 2, 0),
    _r("APDAKeyHi_EL1", 0, 2, 2, 1),
    _r("APDBKeyLo_EL1", 0, 2, 2, 2),
    _r("APDBKeyHi_EL1", 0, 2, 2, 3),
    _r("APGAKeyLo_EL1", 0, 2, 3, 0),
    _r("APGAKeyHi_EL1", 0, 2, 3, 1),
    _r("GCSCR_EL1", 0, 2, 5, 0),
    _r("GCSPR_EL1", 0, 2, 5, 1),
    _r("GCSCRE0_EL1", 0, 2, 5, 2, 0),
    _r("SPSR_EL1", 0, 4, 0, 0),
    _r("ELR_EL1", 0, 4, 0, 1),
    _r("SP_EL0", 0, 4, 1, 0),
    _r("AFSR0_EL1", 0, 5, 1, 0),
    _r("AFSR1_EL1", 0, 5, 1, 1),
    _r("ESR_EL1", 0, 5, 2, 0),
    _r("TFSR_EL1", 0, 5, 6, 0),
    _r("TFSRE0_EL1", 0, 5, 6, 1),
    _r("FAR_EL1", 0, 6, 0, 0),
    _r("PAR_EL1", 0, 7, 4, 0),
    _r("MAIR_EL1", 0, 10, 2, 0),
    _r("PIRE0_EL1", 0, 10, 2, 2),
    _r("PIR_EL1", 0, 10, 2, 3),
    _r("POR_EL1", 0, 10, 2, 4),
    _r("AMAIR_EL1", 0, 10, 3, 0),
    _r("VBAR_EL1", 0, 12, 0, 0),
    _r("DISR_EL1", 0, 12, 1, 1),
    _r("CONTEXTIDR_EL1", 0, 13, 0, 1),
    _r("TPIDR_EL1", 0, 13, 0, 4),
    _r("SCXTNUM_EL1", 0, 13, 0, 7),
    _r("CNTKCTL_EL1", 0, 14, 1, 0),
    _r("CSSELR_EL1", 2, 0, 0, 0, 0xE),
    _r("SP_EL1", 4, 4, 1, 0),
    _r("MDSCR_EL1", 0, 0, 2, 2, 1 << 13 | 1 << 15, op0=2),
    _r("DBGBVR0_EL1", 0, 0, 0, 4, op0=2),
    _r("DBGBCR0_EL1", 0, 0, 0, 5, 0xFE, op0=2),  # bit 0 would arm it
    _r("DBGWVR0_EL1", 0, 0, 0, 6, op0=2),
    _r("DBGWCR0_EL1", 0, 0, 0, 7, 0x1FFE, op0=2),
)
EL0: Final = (
    _r("TPIDR_EL0", 3, 13, 0, 2),
    _r("TPIDRRO_EL0", 3, 13, 0, 3),
    _r("TPIDR2_EL0", 3, 13, 0, 5),
    _r("SCXTNUM_EL0", 3, 13, 0, 7),
    _r("POR_EL0", 3, 10, 2, 4),
    _r("GCSPR_EL0", 3, 2, 5, 1),
    _r("FPMR", 3, 4, 4, 2),
    _r("DAIF", 3, 4, 2, 1, 0),
    _r("PMCR_EL0", 3, 9, 12, 0, 0),
    _r("PMCNTENSET_EL0", 3, 9, 12, 1, 0),
    _r("PMSELR_EL0", 3, 9, 12, 5, 0x1F),
    _r("PMUSERENR_EL0", 3, 9, 14, 0, 0xF),
    _r("PMINTENSET_EL1", 0, 9, 14, 1, 0),
    _r("PMCCFILTR_EL0", 3, 14, 15, 7, 0xF << 28),
    _r("PMEVCNTR0_EL0", 3, 14, 8, 0, _LOW),
    _r("PMEVTYPER0_EL0", 3, 14, 12, 0, 0x3FF),
    _r("CNTP_CTL_EL0", 3, 14, 2, 1, 2),
    _r("CNTP_CVAL_EL0", 3, 14, 2, 2),
    _r("CNTV_CTL_EL0", 3, 14, 3, 1, 2),
    _r("CNTV_CVAL_EL0", 3, 14, 3, 2),
)
EL2: Final = (
    _r("VPIDR_EL2", 4, 0, 0, 0, _LOW),
    _r("VMPIDR_EL2", 4, 0, 0, 5),
    _r("SCTLR_EL2", 4, 1, 0, 0, 0),
    _r("ACTLR_EL2", 4, 1, 0, 1),
    _r("SCTLR2_EL2", 4, 1, 0, 3, 0),
    _r("HCR_EL2", 4, 1, 1, 0, 0),
    _r("MDCR_EL2", 4, 1, 1, 1, 0xE00),
    _r("CPTR_EL2", 4, 1, 1, 2, 0),
    _r("HSTR_EL2", 4, 1, 1, 3, 0xFFFF),
    _r("HFGRTR_EL2", 4, 1, 1, 4),
    _r("HFGWTR_EL2", 4, 1, 1, 5),
    _r("HFGITR_EL2", 4, 1, 1, 6),
    _r("HACR_EL2", 4, 1, 1, 7),
    _r("ZCR_EL2", 4, 1, 2, 0, 0xF),
    _r("HCRX_EL2", 4, 1, 2, 2),
    _r("TTBR0_EL2", 4, 2, 0, 0),
    _r("TTBR1_EL2", 4, 2, 0, 1),
    _r("TCR_EL2", 4, 2, 0, 2),
    _r("TCR2_EL2", 4, 2, 0, 3),
    _r("VTTBR_EL2", 4, 2, 1, 0),
    _r("VTCR_EL2", 4, 2, 1, 2),
    _r("GCSCR_EL2", 4, 2, 5, 0, 0),
    _r("GCSPR_EL2", 4, 2, 5, 1),
    _r("HDFGRTR_EL2", 4, 3, 1, 4),
    _r("HDFGWTR_EL2", 4, 3, 1, 5),
    _r("HAFGRTR_EL2", 4, 3, 1, 6),
    _r("SPSR_EL2", 4, 4, 0, 0),
    _r("ELR_EL2", 4, 4, 0, 1),
    _r("AFSR0_EL2", 4, 5, 1, 0),
    _r("AFSR1_EL2", 4, 5, 1, 1),
    _r("ESR_EL2", 4, 5, 2, 0),
    _r("VSESR_EL2", 4, 5, 2, 3),
    _r("TFSR_EL2", 4, 5, 6, 0),
    _r("FAR_EL2", 4, 6, 0, 0),
    _r("HPFAR_EL2", 4, 6, 0, 4),
    _r("MAIR_EL2", 4, 10, 2, 0),
    _r("PIRE0_EL2", 4, 10, 2, 2),
    _r("PIR_EL2", 4, 10, 2, 3),
    _r("POR_EL2", 4, 10, 2, 4),
    _r("S2PIR_EL2", 4, 10, 2, 5),
    _r("AMAIR_EL2", 4, 10, 3, 0),
    _r("VBAR_EL2", 4, 12, 0, 0, 0),
    _r("VDISR_EL2", 4, 12, 1, 1),
    _r("ICH_AP0R0_EL2", 4, 12, 8, 0, 0),
    _r("ICH_AP1R0_EL2", 4, 12, 9, 0, 0),
    _r("ICH_HCR_EL2", 4, 12, 11, 0, 0),
    _r("ICH_VMCR_EL2", 4, 12, 11, 7, 0xFF << 24),
    _r("ICH_LR0_EL2", 4, 12, 12, 0, _LOW),
    _r("ICH_LR1_EL2", 4, 12, 12, 1, _LOW),
    _r("CONTEXTIDR_EL2", 4, 13, 0, 1),
    _r("TPIDR_EL2", 4, 13, 0, 2),
    _r("SCXTNUM_EL2", 4, 13, 0, 7),
    _r("CNTVOFF_EL2", 4, 14, 0, 3, 0xFFFF),
    _r("CNTHCTL_EL2", 4, 14, 1, 0, 3),
    _r("CNTHP_CTL_EL2", 4, 14, 2, 1, 2),
    _r("CNTHP_CVAL_EL2", 4, 14, 2, 2),
    _r("CNTHV_CTL_EL2", 4, 14, 3, 1, 2),
    _r("CNTHV_CVAL_EL2", 4, 14, 3, 2),
)
REGISTERS: Final = (*EL1, *EL0, *EL2)
BY_ENCODING: Final = {register.encoding: register for register in REGISTERS}
