"""The granule protection check itself.

Source: DDI 0487, shared pseudocode ``GPCRegistersConsistent``, ``GPICheck`` and ``GranuleProtectionCheck``; the order
of the tests is the order of priority (QEMU's comments name R_GMGRR, R_JWCSM and R_CPDSB for it).
"""

from __future__ import annotations

from refmodel.gpt.decode import (
    AbovePPS,
    DecodePPS,
    GPT_Any,
    GPT_NoAccess,
    GPT_NonSecure,
    GPT_Realm,
    GPT_Root,
    GPT_Secure,
    gpi_name,
)
from refmodel.gpt.types import GPC_NO_FAULT, GPCF, GPCFault, GPCFRecord, GPCState
from refmodel.gpt.walk import GPTWalk
from refmodel.memory import Memory
from refmodel.observe import Observer, unobserved
from refmodel.pas import FullAddress, PASpace
from refmodel.rules import Rule
from refmodel.sysregs import GPCCR_EL3

_GPI_RULE = {
    GPT_NoAccess: Rule.GPI_NO_ACCESS,
    GPT_Secure: Rule.GPI_SECURE,
    GPT_NonSecure: Rule.GPI_NON_SECURE,
    GPT_Root: Rule.GPI_ROOT,
    GPT_Realm: Rule.GPI_REALM,
    GPT_Any: Rule.GPI_ANY,
}


def GPCRegistersConsistent(gpc: GPCState, observe: Observer = unobserved) -> bool:
    """Whether GPCCR_EL3 holds no reserved or contradictory configuration."""
    gpccr = gpc.gpccr
    if gpccr.PPS == 0b111 or DecodePPS(gpccr) > gpc.features.pamax:
        observe(
            Rule.PPS_RESERVED,
            "{} is reserved or above {} bits",
            GPCCR_EL3.PPS.describe(gpccr.value),
            gpc.features.pamax,
        )
        return False
    if gpccr.PGS == 0b11:
        observe(Rule.PGS_RESERVED, "GPCCR_EL3.PGS=0b11 is reserved")
        return False
    if gpccr.SH == 0b01:
        observe(Rule.SH_RESERVED, "GPCCR_EL3.SH=0b01 is reserved")
        return False
    if gpccr.ORGN == 0 and gpccr.IRGN == 0:
        observe(Rule.NC_NEEDS_OUTER, "Non-cacheable GPT fetches need SH=0b10, here {:#04b}", gpccr.SH)
        return gpccr.SH == 0b10
    return True


def GPICheck(paspace: PASpace, gpi: int) -> bool:
    """Whether a granule with ``gpi`` (a valid one) may be accessed in ``paspace``."""
    match gpi:
        case gpi if gpi == GPT_NoAccess:
            return False
        case gpi if gpi == GPT_Secure:
            return paspace is PASpace.PAS_Secure
        case gpi if gpi == GPT_NonSecure:
            return paspace is PASpace.PAS_NonSecure
        case gpi if gpi == GPT_Root:
            return paspace is PASpace.PAS_Root
        case gpi if gpi == GPT_Realm:
            return paspace is PASpace.PAS_Realm
        case gpi if gpi == GPT_Any:
            return True
        case _:
            raise AssertionError(f"GPI {gpi_name(gpi)} is not valid: GPTWalk has let a reserved encoding through")


def GranuleProtectionCheck(
    gpc: GPCState, memory: Memory, address: FullAddress, observe: Observer = unobserved
) -> GPCFRecord:
    """Check one access of a PE with base FEAT_RME, with nothing cached."""
    if gpc.gpccr.GPC == 0:
        observe(Rule.DISABLED, "GPCCR_EL3.GPC=0: no check")
        return GPC_NO_FAULT

    if not GPCRegistersConsistent(gpc, observe):
        return GPCFault(GPCF.GPCF_Walk, 0)

    if AbovePPS(gpc.gpccr, address.address):
        if address.paspace is PASpace.PAS_NonSecure:
            observe(Rule.ABOVE_PPS_NON_SECURE, "{} is above the protected size: no check", address)
            return GPC_NO_FAULT
        observe(Rule.ABOVE_PPS_FAULT, "{} is above the protected size", address)
        return GPCFault(GPCF.GPCF_Fail, 0)

    if AbovePPS(gpc.gpccr, gpc.gptbr.BADDR << 12):
        observe(Rule.GPTBR_ABOVE_PPS, "GPTBR_EL3 names {:#x}, above the protected size", gpc.gptbr.BADDR << 12)
        return GPCFault(GPCF.GPCF_AddressSize, 0)

    gpcf, entry = GPTWalk(gpc, memory, address.address, observe)
    if entry is None:
        return gpcf

    permitted = GPICheck(address.paspace, entry.gpi)
    observe(_GPI_RULE[entry.gpi], "GPI {:04b}, access to {}: {}", entry.gpi, address, permitted)
    if not permitted:
        return GPCFault(GPCF.GPCF_Fail, entry.level)
    return GPC_NO_FAULT
