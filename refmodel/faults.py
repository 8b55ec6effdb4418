"""From a fault to the exception that reports it: the one place where faults become exceptions.

Who takes it (routing), at which vector, with which syndrome.  Source: DDI 0487, shared pseudocode
``ReportAsGPCException``, ``AArch64_Abort``, ``TakeGPCException``, ``AArch64_DataAbort``, ``AArch64_InstructionAbort``,
``AArch64_SyncExternalAbortTarget``, ``AArch64_RouteToSErrorOffset``, ``AArch64_ExceptionClass``,
``AArch64_TakeException`` and ``AArch64_ReportException``.  Debug exceptions and AArch32 are not here.
"""

from __future__ import annotations

from dataclasses import replace

from refmodel.accdesc import AccessDescriptor, AccessType
from refmodel.context import AT_EL3, PEContext
from refmodel.faultrecord import Fault, FaultRecord, IPAValid, IsExternalAbort, IsSecondStage
from refmodel.gpt.types import GPCF
from refmodel.outcomes import ExceptionTaken, Syndrome
from refmodel.pas import EL
from refmodel.rules import Rule
from refmodel.syndrome import (
    EC_DATA_ABORT_LOWER,
    EC_DATA_ABORT_SAME,
    EC_GPC,
    EC_INSTRUCTION_ABORT_LOWER,
    EC_INSTRUCTION_ABORT_SAME,
    EC_SERROR,
    FNV,
    AArch64_FaultSyndrome,
    EncodeGPCSC,
    EncodeLDFSC,
    GPCSyndrome,
    encode_hpfar,
    encode_mfar,
)

__all__ = [
    "EC_DATA_ABORT_LOWER",
    "EC_DATA_ABORT_SAME",
    "EC_GPC",
    "EC_INSTRUCTION_ABORT_LOWER",
    "EC_INSTRUCTION_ABORT_SAME",
    "EC_SERROR",
    "AArch64_Abort",
    "AArch64_RouteToSErrorOffset",
    "AArch64_SyncExternalAbortTarget",
    "AccessDescriptor",
    "AccessType",
    "EncodeGPCSC",
    "EncodeLDFSC",
    "Fault",
    "FaultRecord",
    "IsExternalAbort",
    "PhysicalSError",
    "ReportAsGPCException",
    "WithoutFAR",
    "encode_mfar",
]

_SERROR_OFFSET = 0x180
_SPX_OFFSET, _LOWER_OFFSET = 0x200, 0x400


def ReportAsGPCException(fault: FaultRecord, *, el: EL, scr_gpf: bool) -> bool:
    """Whether a GPC fault met at ``el`` is reported as a GPC exception (QEMU cites R_PYTGX and R_BLYPM)."""
    match fault.gpcf.gpf:
        case GPCF.GPCF_Walk | GPCF.GPCF_AddressSize | GPCF.GPCF_EABT:
            return True
        case GPCF.GPCF_Fail:
            return scr_gpf and el is not EL.EL3
        case GPCF.GPCF_None:
            raise ValueError("no GPC fault to report")


def AArch64_RouteToSErrorOffset(pe: PEContext, target_el: EL) -> bool:
    """Whether a synchronous external abort taken to ``target_el`` uses the SError vector.

    FEAT_DoubleFault, which FEAT_RME requires, has the control for EL3; FEAT_DoubleFault2 those for EL2 and EL1.
    """
    match target_el:
        case EL.EL3:
            return pe.scr.EASE == 1
        case EL.EL2:
            enabled = pe.scr.SCTLR2En == 1 and pe.EL2Enabled()
            return pe.features.doublefault2 and enabled and pe.sctlr2_el2.EASE == 1
        case _:
            enabled = pe.scr.SCTLR2En == 1 and (
                not pe.EL2Enabled() or (pe.IsHCRXEL2Enabled() and pe.hcrx.SCTLR2En == 1)
            )
            return pe.features.doublefault2 and enabled and pe.sctlr2_el1.EASE == 1


def AArch64_SyncExternalAbortTarget(fault: FaultRecord, pe: PEContext) -> EL:
    """Exception level that takes a synchronous external abort."""
    if pe.el is EL.EL3 or pe.scr.EA:
        return EL.EL3
    tea = pe.hcr.TEA == 1 and pe.features.ras
    route_to_el2 = False
    if pe.EL2Enabled() and pe.el is EL.EL1:
        route_to_el2 = tea or fault.access.acctype is AccessType.AccessType_NV2 or IsSecondStage(fault)
    elif pe.EL2Enabled() and pe.el is EL.EL0:
        route_to_el2 = not pe.IsInHost() and (pe.hcr.TGE == 1 or tea or IsSecondStage(fault))
    masked_to_el2 = masked_to_el3 = False
    if pe.features.doublefault2 and pe.masked:
        masked_to_el2 = pe.el is EL.EL1 and pe.IsHCRXEL2Enabled() and pe.hcrx.TMEA == 1
        to_el2 = route_to_el2 or masked_to_el2
        masked_to_el3 = not to_el2 and pe.el in (EL.EL1, EL.EL2) and pe.scr.TMEA == 1
    if masked_to_el3:
        return EL.EL3
    if pe.el is EL.EL2 or pe.IsInHost() or route_to_el2 or masked_to_el2:
        return EL.EL2
    return EL.EL1


def _abort_target(fault: FaultRecord, pe: PEContext) -> tuple[EL, tuple[Rule, ...]]:
    """Exception level that takes an abort, and the rules that put it there."""
    if IsExternalAbort(fault):
        return AArch64_SyncExternalAbortTarget(fault, pe), () if pe.el is EL.EL3 else (Rule.EXTERNAL_ABORT_ROUTE,)
    gpf = fault.gpcf.gpf is GPCF.GPCF_Fail
    if pe.el is EL.EL3:
        return EL.EL3, (Rule.GPF_AT_EL3,) if gpf else ()
    if pe.el is EL.EL2:
        return EL.EL2, (Rule.GPF_STAYS,) if gpf else ()
    if pe.EL2Enabled():
        if pe.hcr.TGE:
            return EL.EL2, (Rule.GPF_TGE,) if gpf else ()
        if IsSecondStage(fault):
            return EL.EL2, (Rule.GPF_SECOND_STAGE,) if gpf else ()
        if gpf and pe.hcr.GPF:
            return EL.EL2, (Rule.GPF_TO_EL2,)
        if fault.access.acctype is AccessType.AccessType_NV2:
            return EL.EL2, (Rule.VNCR,)
    return EL.EL1, (Rule.GPF_STAYS,) if gpf else ()


def _vector(pe: PEContext, target_el: EL, *, serror: bool) -> int:
    """Offset from VBAR_ELx.  Source: DDI 0487, pseudocode ``AArch64_TakeException``."""
    offset = _SERROR_OFFSET if serror else 0
    if target_el.value > pe.el.value:
        return offset + _LOWER_OFFSET
    return offset + (_SPX_OFFSET if pe.sp else 0)


def TakeGPCException(vaddress: int | None, fault: FaultRecord, pe: PEContext) -> ExceptionTaken:
    """The GPC exception, always to EL3, that reports ``fault``."""
    if fault.paddress is None:
        raise ValueError("a GPC fault carries the physical address that met it")
    iss, known = GPCSyndrome(fault)
    rules: tuple[Rule, ...] = (Rule.GPT_FAULT_IS_GPC_EXCEPTION, Rule.GPCSC, Rule.ISS)
    if fault.gpcf.gpf is GPCF.GPCF_Fail:
        rules = (Rule.GPF_TO_EL3, *rules[1:])
    elif pe.el is not EL.EL3:
        rules = (Rule.GPT_FAULT_FROM_BELOW, *rules)
    serror = IsExternalAbort(fault) and AArch64_RouteToSErrorOffset(pe, EL.EL3)
    if serror:
        rules = (*rules, Rule.EXTERNAL_ABORT_VECTOR)
    syndrome = Syndrome(
        el=EL.EL3,
        ec=EC_GPC,
        il=1,
        iss=iss,
        iss_known=known,
        vector=_vector(pe, EL.EL3, serror=serror),
        rules=(*rules, *_details(fault, pe)),
    )
    mfar = encode_mfar(fault.paddress)
    return ExceptionTaken(syndrome, far=vaddress, mfar=mfar, hpfar=encode_hpfar(fault, pe))


def _take_abort(vaddress: int | None, fault: FaultRecord, pe: PEContext) -> ExceptionTaken:
    """``AArch64_DataAbort`` and ``AArch64_InstructionAbort``.

    MFAR_EL3 is UNKNOWN after an abort to EL3, and is not written by one to EL1 or EL2.
    """
    fetch = fault.access.acctype is AccessType.AccessType_IFETCH
    nv2 = fault.access.acctype is AccessType.AccessType_NV2
    target_el, rules = _abort_target(fault, pe)
    ec = EC_INSTRUCTION_ABORT_LOWER if fetch else EC_DATA_ABORT_LOWER
    if target_el is pe.el or (nv2 and target_el is not EL.EL3):
        # An access that FEAT_NV2 makes of a register access is reported as one of EL2 itself.
        ec = EC_INSTRUCTION_ABORT_SAME if fetch else EC_DATA_ABORT_SAME
    iss, known = AArch64_FaultSyndrome(fault, d_side=not fetch)
    serror = IsExternalAbort(fault) and AArch64_RouteToSErrorOffset(pe, target_el)
    if serror:
        rules = (*rules, Rule.EXTERNAL_ABORT_VECTOR)
    if fault.gpcf.gpf is not GPCF.GPCF_None:
        rules = (*rules, Rule.ISS, *_details(fault, pe))
    elif not IsExternalAbort(fault):
        rules = (*rules, *_translation_rules(fault))
    syndrome = Syndrome(
        el=target_el,
        ec=ec,
        il=1,
        iss=iss,
        iss_known=known,
        vector=_vector(pe, target_el, serror=serror),
        rules=rules,
    )
    return ExceptionTaken(syndrome, far=vaddress, mfar=None, hpfar=encode_hpfar(fault, pe))


def _translation_rules(fault: FaultRecord) -> tuple[Rule, ...]:
    """Rules on how a fault of translation itself is reported."""
    if not IsSecondStage(fault):
        return (Rule.S1_FAULT_ROUTE, Rule.S1_FAULT_ISS)
    rules = (Rule.S2_FAULT_ROUTE, Rule.S2_FAULT_ISS)
    return (*rules, Rule.S2_FAULT_HPFAR) if IPAValid(fault) else rules


def _details(fault: FaultRecord, pe: PEContext) -> tuple[Rule, ...]:
    """Rules on how a GPC fault is reported that not every fault meets."""
    rules: tuple[Rule, ...] = ()
    if fault.access.maintenance:
        rules = (*rules, Rule.CACHE_MAINTENANCE_ISS)
    if fault.access.acctype is AccessType.AccessType_NV2:
        rules = (*rules, Rule.VNCR)
    if IsSecondStage(fault):
        rules = (*rules, Rule.SECOND_STAGE_ISS)
    if IPAValid(fault):
        rules = (*rules, Rule.HPFAR)
    if pe.el is not EL.EL3:
        rules = (*rules, Rule.VECTOR, Rule.EC_LOWER)
    return rules


def AArch64_Abort(vaddress: int | None, fault: FaultRecord, pe: PEContext = AT_EL3) -> ExceptionTaken:
    """The exception that reports ``fault`` of an access by ``pe`` to ``vaddress`` (None: FAR is UNKNOWN).

    Of a synchronous external abort this is the form with a valid FAR; ``WithoutFAR`` gives the other one.
    """
    gpc = fault.gpcf.gpf is not GPCF.GPCF_None
    if gpc and ReportAsGPCException(fault, el=pe.el, scr_gpf=pe.scr.GPF == 1):
        return TakeGPCException(vaddress, fault, pe)
    return _take_abort(vaddress, fault, pe)


def WithoutFAR(abort: ExceptionTaken) -> ExceptionTaken:
    """The same synchronous external abort with ISS.FnV = 1: FAR_ELx is not valid.

    Source: DDI 0487, ESR_ELx, ISS encoding for Data and Instruction Aborts, FnV.
    """
    return replace(abort, syndrome=replace(abort.syndrome, iss=abort.syndrome.iss | FNV), far=None)


def PhysicalSError(pe: PEContext) -> ExceptionTaken | None:
    """The SError that an external abort taken asynchronously becomes; None below EL3 unless SCR_EL3.EA sends it there.

    Its ISS is the implementation's, and PSTATE.A does not mask an SError from a lower exception level to EL3.  Where EA
    is 0 it goes to EL1 or EL2 if it is not masked there, at a time that is not fixed: not modelled.
    """
    if pe.el is not EL.EL3 and not pe.scr.EA:
        return None
    vector = _vector(pe, EL.EL3, serror=True)
    syndrome = Syndrome(el=EL.EL3, ec=EC_SERROR, il=1, iss=0, iss_known=0, vector=vector)
    return ExceptionTaken(syndrome, far=None, mfar=None)
