"""Encoding syndromes: fault status codes, the ISS of aborts and of GPC exceptions, MFAR_EL3 and HPFAR_EL2.

Source: DDI 0487, shared pseudocode ``EncodeLDFSC``, ``EncodeGPCSC``, ``AArch64_FaultSyndrome``, ``TakeGPCException``
and ``AArch64_ReportException``.
"""

from __future__ import annotations

from refmodel.accdesc import AccessType
from refmodel.bits import Ones
from refmodel.context import PEContext
from refmodel.faultrecord import Fault, FaultRecord, IPAValid, IsExternalAbort, IsSecondStage
from refmodel.gpt.types import GPCF, GPCFRecord
from refmodel.pas import FullAddress, PASpace, SecurityState
from refmodel.sysregs import HPFAR_EL2, MFAR_EL3

EC_GPC = 0x1E
EC_INSTRUCTION_ABORT_LOWER, EC_INSTRUCTION_ABORT_SAME = 0x20, 0x21
EC_DATA_ABORT_LOWER, EC_DATA_ABORT_SAME = 0x24, 0x25
EC_SERROR = 0x2F

ISS_ALL = Ones(25)
_S2PTW, _IND, _VNCR, _CM, _S1PTW, _WNR = 1 << 21, 1 << 20, 1 << 13, 1 << 8, 1 << 7, 1 << 6
_SET, _EA = 0b11 << 11, 1 << 9
FNV = 1 << 10
_ISV_TO_AR = 0b111_1111_1111 << 14
"""ISV [24] to AR [14]: the instruction syndrome of a stage 2 abort."""


def EncodeGPCSC(gpcf: GPCFRecord) -> int:
    """The 6-bit GPCSC field of a GPC exception's ISS."""
    match gpcf.gpf:
        case GPCF.GPCF_AddressSize:
            return 0b000000 | gpcf.level
        case GPCF.GPCF_Walk:
            return 0b000100 | gpcf.level
        case GPCF.GPCF_Fail:
            return 0b001100 | gpcf.level
        case GPCF.GPCF_EABT:
            return 0b010100 | gpcf.level
        case GPCF.GPCF_None:
            raise ValueError("no GPC fault to encode")


_LDFSC_LEVEL_MINUS_1 = {
    Fault.Fault_AddressSize: 0b101001,
    Fault.Fault_Translation: 0b101011,
    Fault.Fault_SyncExternalOnWalk: 0b010011,
    Fault.Fault_GPCFOnWalk: 0b100011,
}


def EncodeLDFSC(statuscode: Fault, level: int) -> int:
    """The 6-bit fault status code of long-descriptor formats, for levels -1 to 3."""
    if level == -1:
        return _LDFSC_LEVEL_MINUS_1[statuscode]
    match statuscode:
        case Fault.Fault_AddressSize:
            return 0b000000 | level
        case Fault.Fault_Translation:
            return 0b000100 | level
        case Fault.Fault_AccessFlag:
            return 0b001000 | level
        case Fault.Fault_Permission:
            return 0b001100 | level
        case Fault.Fault_SyncExternal:
            return 0b010000
        case Fault.Fault_SyncExternalOnWalk:
            return 0b010100 | level
        case Fault.Fault_GPCFOnWalk:
            return 0b100100 | level
        case Fault.Fault_GPCFOnOutput:
            return 0b101000
        case Fault.Fault_None:
            raise ValueError("no fault to encode")


def _WnR(fault: FaultRecord) -> tuple[int, int]:
    """WnR and the mask of its bit where it is UNKNOWN: 1 for cache maintenance and AT, UNKNOWN for an atomic that meets
    an external abort.
    """
    if fault.access.maintenance:
        return _WNR, 0
    if fault.access.atomicop and IsExternalAbort(fault):
        return 0, _WNR
    return (_WNR if fault.write else 0), 0


def GPCSyndrome(fault: FaultRecord) -> tuple[int, int]:
    """ISS of a GPC exception, and its bits that are not UNKNOWN.  Source: DDI 0487, ``TakeGPCException``."""
    iss = EncodeGPCSC(fault.gpcf) << 14 | EncodeLDFSC(fault.statuscode, fault.level)
    iss |= _S2PTW if fault.gpcfs2walk else 0
    iss |= _IND if fault.access.acctype is AccessType.AccessType_IFETCH else 0
    iss |= _VNCR if fault.access.acctype is AccessType.AccessType_NV2 else 0
    iss |= _CM if fault.access.maintenance else 0
    iss |= _S1PTW if fault.s2fs1walk else 0
    wnr, unknown = _WnR(fault)
    return iss | wnr, ISS_ALL & ~unknown


def AArch64_FaultSyndrome(fault: FaultRecord, *, d_side: bool) -> tuple[int, int]:
    """ISS of a Data (``d_side``) or Instruction Abort, and its bits that are not UNKNOWN or the implementation's.

    The instruction syndrome of a stage 2 Data Abort (ISV to AR) depends on the instruction, which is not known here:
    those bits are left out.  ISS2 is 0: no permission overlays, GCS or LS64 here.
    """
    iss, known = EncodeLDFSC(fault.statuscode, fault.level), ISS_ALL
    if d_side:
        iss |= _VNCR if fault.access.acctype is AccessType.AccessType_NV2 else 0
        iss |= _CM if fault.access.maintenance else 0
        wnr, unknown = _WnR(fault)
        iss, known = iss | wnr, known & ~unknown
        if IsSecondStage(fault) and not fault.s2fs1walk and not IsExternalAbort(fault):
            known &= ~_ISV_TO_AR
    if IsExternalAbort(fault):
        # EA classifies the error and is the implementation's to report.
        known &= ~_EA
    if fault.statuscode is Fault.Fault_SyncExternal:
        # SET too, but for this status code only: it is RES0 for all others, an abort on a walk included.
        known &= ~_SET
    return iss | (_S1PTW if fault.s2fs1walk else 0), known


def encode_mfar(address: FullAddress) -> int:
    """MFAR_EL3 after a GPC exception for ``address``: PAS in [63:62], page in [55:12], bits [11:0] zero.

    Source: DDI 0487, pseudocode ``AArch64_ReportException``.
    """
    space = address.paspace.value
    return MFAR_EL3.of(NSE=space >> 1, NS=space & 1, FPA=address.address >> 12).value


def encode_hpfar(fault: FaultRecord, pe: PEContext) -> int | None:
    """HPFAR_EL2 that reports the IPA of a fault; None where it is not written, or UNKNOWN.

    NS is 1 only for an IPA in the Non-secure space met from Secure state with EL2 enabled.

    Source: DDI 0487, pseudocode ``AArch64_ReportException``.
    """
    if not IPAValid(fault):
        return None
    if fault.ipaddress is None:
        raise ValueError("a stage 2 fault carries the IPA that met it")
    secure = pe.IsSecureEL2Enabled() and pe.ss is SecurityState.SS_Secure
    ns = secure and fault.ipaddress.paspace is PASpace.PAS_NonSecure
    return HPFAR_EL2.of(NS=int(ns), FIPA=fault.ipaddress.address >> 12).value
