"""The granule protection check itself.

Source: DDI 0487, shared pseudocode ``GPCRegistersConsistent``, ``GPICheck`` and ``GranuleProtectionCheck``; the order
of the tests is the order of priority (QEMU's comments name R_GMGRR, R_JWCSM and R_CPDSB for it).  What GPC2 and GPC3
add is not in the public pseudocode and follows the register descriptions of GPCCR_EL3 and GPCBW_EL3, D9.2 "GPC bypass
windows" and D9.6.5 "GPI field encoding".  That a disabled address space comes second, before the protected size, is
from QEMU's comments alone (R_TCWMD); it decides nothing but Non-secure accesses above the protected size.
"""

from __future__ import annotations

from refmodel.gpt.bypass import GPCBWValid, PAWithinGPCBypassWindow
from refmodel.gpt.decode import (
    PPS_OF_GPC3,
    AbovePPS,
    DecodePGS,
    DecodePPS,
    GPT_Any,
    GPT_NoAccess,
    GPT_NonSecure,
    GPT_NonSecureOnly,
    GPT_Realm,
    GPT_Root,
    GPT_Secure,
    PPSValid,
    gpi_name,
)
from refmodel.gpt.types import GPC_NO_FAULT, GPCF, GPCFault, GPCFRecord, GPCState
from refmodel.gpt.walk import GPTWalk
from refmodel.memory import Memory
from refmodel.observe import Observer, unobserved
from refmodel.pas import FullAddress, PASpace, SecurityState
from refmodel.rules import Rule
from refmodel.sysregs import GPCCR_EL3

_GPI_RULE = {
    GPT_NoAccess: Rule.GPI_NO_ACCESS,
    GPT_Secure: Rule.GPI_SECURE,
    GPT_NonSecure: Rule.GPI_NON_SECURE,
    GPT_Root: Rule.GPI_ROOT,
    GPT_Realm: Rule.GPI_REALM,
    GPT_Any: Rule.GPI_ANY,
    GPT_NonSecureOnly: Rule.GPI_NON_SECURE_ONLY,
}

_SPACE_DISABLE = {
    PASpace.PAS_Secure: (GPCCR_EL3.SPAD, Rule.SECURE_SPACE_DISABLED),
    PASpace.PAS_NonSecure: (GPCCR_EL3.NSPAD, Rule.NON_SECURE_SPACE_DISABLED),
    PASpace.PAS_Realm: (GPCCR_EL3.RLPAD, Rule.REALM_SPACE_DISABLED),
}
_ANY_DISABLE = sum(field.mask for field, _ in _SPACE_DISABLE.values())
_NSO_STATES = (SecurityState.SS_NonSecure, SecurityState.SS_Root)


def GPCRegistersConsistent(gpc: GPCState, observe: Observer = unobserved) -> bool:
    """Whether GPCCR_EL3 holds no reserved or contradictory configuration."""
    gpccr = gpc.gpccr
    if not PPSValid(gpccr, gpc.features):
        observe(
            Rule.PPS_RESERVED,
            "{} is reserved or above {} bits",
            GPCCR_EL3.PPS.describe(gpccr.value),
            gpc.features.pamax,
        )
        return False
    if (gpccr.PPS3 or gpccr.PPS == 0b111) and DecodePPS(gpccr) in PPS_OF_GPC3:
        observe(Rule.PPS_56_BITS, "{} bits are protected, an encoding of FEAT_RME_GPC3", DecodePPS(gpccr))
    if gpccr.PGS == 0b11:
        observe(Rule.PGS_RESERVED, "GPCCR_EL3.PGS=0b11 is reserved")
        return False
    if DecodePGS(gpccr).bits not in gpc.features.granules:
        observe(Rule.PGS_NOT_IMPLEMENTED, "{} is no granule of this PE", GPCCR_EL3.PGS.describe(gpccr.value))
        return False
    if gpccr.SH == 0b01:
        observe(Rule.SH_RESERVED, "GPCCR_EL3.SH=0b01 is reserved")
        return False
    if gpccr.ORGN == 0 and gpccr.IRGN == 0:
        observe(Rule.NC_NEEDS_OUTER, "Non-cacheable GPT fetches need SH=0b10, here {:#04b}", gpccr.SH)
        if gpccr.SH != 0b10:
            return False
    if gpccr.GPCBW and not GPCBWValid(gpc.gpcbw):
        observe(Rule.BYPASS_INVALID, "bypass windows are enabled and {} is not valid", gpc.gpcbw)
        return False
    return True


def GPICheck(paspace: PASpace, gpi: int, ss: SecurityState = SecurityState.SS_Root) -> bool:
    """Whether a granule with ``gpi`` (a valid one) may be accessed in ``paspace`` from security state ``ss``."""
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
        case gpi if gpi == GPT_NonSecureOnly:
            return paspace is PASpace.PAS_NonSecure and ss in _NSO_STATES
        case gpi if gpi == GPT_Any:
            return True
        case _:
            raise AssertionError(f"GPI {gpi_name(gpi)} is not valid: GPTWalk has let a reserved encoding through")


def SpaceDisabled(gpccr: GPCCR_EL3, paspace: PASpace, observe: Observer = unobserved) -> bool:
    """Whether GPCCR_EL3.{SPAD, NSPAD, RLPAD} disables the address space; the Root space cannot be disabled."""
    if not gpccr.value & _ANY_DISABLE or paspace not in _SPACE_DISABLE:
        return False
    field, rule = _SPACE_DISABLE[paspace]
    if not gpccr.value & field.mask:
        return False
    observe(rule, "GPCCR_EL3.{} is 1", field.name)
    return True


def NeedsWalk(gpc: GPCState, address: FullAddress) -> bool:
    """Whether the check of an address depends on the tables, and not on registers alone."""
    gpccr = gpc.gpccr
    return (
        gpccr.GPC == 1
        and GPCRegistersConsistent(gpc)
        and not SpaceDisabled(gpccr, address.paspace)
        and not AbovePPS(gpccr, address.address)
        and not PAWithinGPCBypassWindow(gpc, address.address)
        and not AbovePPS(gpccr, gpc.base)
    )


def GranuleProtectionCheck(
    gpc: GPCState,
    memory: Memory,
    address: FullAddress,
    observe: Observer = unobserved,
    ss: SecurityState = SecurityState.SS_Root,
) -> GPCFRecord:
    """Check one access that security state ``ss`` makes, with nothing cached."""
    if gpc.gpccr.GPC == 0:
        observe(Rule.DISABLED, "GPCCR_EL3.GPC=0: no check")
        return GPC_NO_FAULT

    for rule in gpc.ignored:
        observe(rule, "taken as if bits without a meaning were 0: {}, {}", gpc.gpccr, gpc.gptbr)
    if not GPCRegistersConsistent(gpc, observe):
        return GPCFault(GPCF.GPCF_Walk, 0)

    if SpaceDisabled(gpc.gpccr, address.paspace, observe):
        return GPCFault(GPCF.GPCF_Fail, 0)

    if AbovePPS(gpc.gpccr, address.address):
        if address.paspace is PASpace.PAS_NonSecure:
            observe(Rule.ABOVE_PPS_NON_SECURE, "{} is above the protected size: no check", address)
            return GPC_NO_FAULT
        if gpc.gpccr.APPSAA:
            observe(Rule.ABOVE_PPS_ALL_ACCESS, "{} is above the protected size, APPSAA=1: no check", address)
            return GPC_NO_FAULT
        observe(Rule.ABOVE_PPS_FAULT, "{} is above the protected size", address)
        return GPCFault(GPCF.GPCF_Fail, 0)

    # After the faults that need no table and before those of GPTBR_EL3 (I_XNHTX).
    if gpc.gpccr.GPCBW:
        observe(Rule.BYPASS_GEOMETRY, "{} and the windows of {}", address, gpc.gpcbw)
    if PAWithinGPCBypassWindow(gpc, address.address):
        observe(Rule.BYPASS_WINDOW, "{} is in a bypass window: all accesses permitted", address)
        return GPC_NO_FAULT

    if AbovePPS(gpc.gpccr, gpc.base):
        observe(Rule.GPTBR_ABOVE_PPS, "GPTBR_EL3 names {:#x}, above the protected size", gpc.base)
        return GPCFault(GPCF.GPCF_AddressSize, 0)

    gpcf, entry = GPTWalk(gpc, memory, address.address, observe)
    if entry is None:
        return gpcf

    permitted = GPICheck(address.paspace, entry.gpi, ss)
    observe(_GPI_RULE[entry.gpi], "GPI {:04b}, access to {}: {}", entry.gpi, address, permitted)
    if not permitted:
        return GPCFault(GPCF.GPCF_Fail, entry.level)
    return GPC_NO_FAULT
