"""From a fault to the exception that reports it: the one place where faults become syndromes.

Source: DDI 0487, shared pseudocode ``ReportAsGPCException``, ``EncodeGPCSC``, ``EncodeLDFSC``, ``AArch64_Abort``,
``TakeGPCException``, ``AArch64_DataAbort``, ``AArch64_InstructionAbort``, ``AArch64_FaultSyndrome`` and
``AArch64_ReportException``.  Faults of EL3 itself only; routing from lower levels is not here yet.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from refmodel.bits import Ones
from refmodel.gpt.types import GPC_NO_FAULT, GPCF, GPCFRecord
from refmodel.outcomes import ExceptionTaken, Syndrome
from refmodel.pas import EL, FullAddress, SecurityState
from refmodel.rules import Rule
from refmodel.sysregs import MFAR_EL3, SCR_EL3

EC_GPC = 0x1E
EC_INSTRUCTION_ABORT_LOWER, EC_INSTRUCTION_ABORT_SAME = 0x20, 0x21
EC_DATA_ABORT_LOWER, EC_DATA_ABORT_SAME = 0x24, 0x25
EC_SERROR = 0x2F

VECTOR_SYNC_SPX, VECTOR_SERROR_SPX = 0x200, 0x380

_ISS_ALL = Ones(25)
_ROOT_SCR = SCR_EL3.of(NSE=1)
_SET, _FNV, _EA, _WNR = 0b11 << 11, 1 << 10, 1 << 9, 1 << 6


class AccessType(Enum):
    """AccessType of the pseudocode, as far as stimuli make such accesses."""

    AccessType_GPR = "data"
    AccessType_IFETCH = "fetch"
    AccessType_DCZero = "DC ZVA"
    AccessType_TTW = "translation table walk"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessDescriptor:
    """Who accesses and how; the pseudocode's record, reduced to fields that decide something here."""

    acctype: AccessType
    el: EL = EL.EL3
    ss: SecurityState = SecurityState.SS_Root
    read: bool = False
    write: bool = False
    exclusive: bool = False
    atomicop: bool = False


class Fault(Enum):
    """Fault of the pseudocode, reduced to kinds that occur here."""

    Fault_None = "none"
    Fault_AddressSize = "address size fault"
    Fault_Translation = "translation fault"
    Fault_AccessFlag = "access flag fault"
    Fault_Permission = "permission fault"
    Fault_SyncExternal = "synchronous external abort"
    Fault_SyncExternalOnWalk = "synchronous external abort on walk"
    Fault_GPCFOnWalk = "granule protection check fault on walk"
    Fault_GPCFOnOutput = "granule protection check fault on output"


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRecord:
    """A fault: kind, the access that met it, stage-1 level, and for a GPC fault the record and the physical address."""

    statuscode: Fault
    access: AccessDescriptor
    level: int = 0
    gpcf: GPCFRecord = GPC_NO_FAULT
    paddress: FullAddress | None = None
    write: bool = False

    @classmethod
    def none(cls, accdesc: AccessDescriptor) -> FaultRecord:
        """``NoFault(accdesc)``: ``write`` is set for an access that writes and does not read."""
        return cls(statuscode=Fault.Fault_None, access=accdesc, write=not accdesc.read and accdesc.write)

    def with_(self, statuscode: Fault, **changes: object) -> FaultRecord:
        """A copy with another status and further changes."""
        return replace(self, statuscode=statuscode, **changes)  # type: ignore[arg-type]


def IsExternalAbort(fault: FaultRecord) -> bool:
    """Whether the fault is an external abort, on a GPT fetch included."""
    external = (Fault.Fault_SyncExternal, Fault.Fault_SyncExternalOnWalk)
    return fault.statuscode in external or fault.gpcf.gpf is GPCF.GPCF_EABT


def AArch64_RouteToSErrorOffset(scr: SCR_EL3) -> bool:
    """Whether a synchronous external abort taken to EL3 uses the SError vector (FEAT_DoubleFault, which RME requires).

    Source: DDI 0487, pseudocode ``AArch64_RouteToSErrorOffset``.
    """
    return scr.EASE == 1


def _vector(fault: FaultRecord, scr: SCR_EL3) -> int:
    return VECTOR_SERROR_SPX if IsExternalAbort(fault) and AArch64_RouteToSErrorOffset(scr) else VECTOR_SYNC_SPX


def ReportAsGPCException(fault: FaultRecord, *, el: EL, scr_gpf: bool) -> bool:
    """Whether a GPC fault met at ``el`` is reported as a GPC exception (QEMU cites R_PYTGX and R_BLYPM)."""
    match fault.gpcf.gpf:
        case GPCF.GPCF_Walk | GPCF.GPCF_AddressSize | GPCF.GPCF_EABT:
            return True
        case GPCF.GPCF_Fail:
            return scr_gpf and el is not EL.EL3
        case GPCF.GPCF_None:
            raise ValueError("no GPC fault to report")


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


def _gpc_syndrome(fault: FaultRecord, scr: SCR_EL3) -> Syndrome:
    """``TakeGPCException``: EC 0x1E at EL3; S2PTW, NV2 and S1PTW are 0 without a second stage."""
    fetch = fault.access.acctype is AccessType.AccessType_IFETCH
    iss = EncodeGPCSC(fault.gpcf) << 14 | EncodeLDFSC(fault.statuscode, fault.level)
    iss |= (1 << 20 if fetch else 0) | (_WNR if fault.write else 0)
    # WnR is UNKNOWN for an atomic that meets an external abort.
    unknown = _WNR if fault.access.atomicop and IsExternalAbort(fault) else 0
    rules = (Rule.GPT_FAULT_IS_GPC_EXCEPTION, Rule.GPCSC, Rule.ISS)
    return Syndrome(
        el=EL.EL3, ec=EC_GPC, il=1, iss=iss, iss_known=_ISS_ALL & ~unknown, vector=_vector(fault, scr), rules=rules
    )


def _abort_syndrome(fault: FaultRecord, scr: SCR_EL3, rules: tuple[Rule, ...]) -> Syndrome:
    """``AArch64_FaultSyndrome`` for an abort taken from EL3 to EL3."""
    fetch = fault.access.acctype is AccessType.AccessType_IFETCH
    iss = EncodeLDFSC(fault.statuscode, fault.level)
    known = _ISS_ALL
    if not fetch:
        iss |= _WNR if fault.write else 0
    if IsExternalAbort(fault):
        # EA classifies the error and is the implementation's to report; WnR is UNKNOWN for an atomic.
        known &= ~_EA & ~(_WNR if fault.access.atomicop else 0)
    if fault.statuscode is Fault.Fault_SyncExternal:
        # SET too, but for this status code only: it is RES0 for all others, an abort on a walk included.
        known &= ~_SET
    ec = EC_INSTRUCTION_ABORT_SAME if fetch else EC_DATA_ABORT_SAME
    return Syndrome(el=EL.EL3, ec=ec, il=1, iss=iss, iss_known=known, vector=_vector(fault, scr), rules=rules)


def encode_mfar(address: FullAddress) -> int:
    """MFAR_EL3 after a GPC exception for ``address``: PAS in [63:62], page in [55:12], bits [11:0] zero.

    Source: DDI 0487, pseudocode ``AArch64_ReportException``.
    """
    space = address.paspace.value
    return MFAR_EL3.of(NSE=space >> 1, NS=space & 1, FPA=address.address >> 12).value


def AArch64_Abort(vaddress: int, fault: FaultRecord, scr: SCR_EL3 = _ROOT_SCR) -> ExceptionTaken:
    """The exception that reports ``fault`` of an EL3 access to ``vaddress``; of ``scr``, EASE and GPF count.

    MFAR_EL3 is UNKNOWN after an abort to EL3 that is no GPC exception.  Of a synchronous external abort this is the
    form with a valid FAR; ``WithoutFAR`` gives the other one.
    """
    gpc = fault.gpcf.gpf is not GPCF.GPCF_None
    if gpc and ReportAsGPCException(fault, el=EL.EL3, scr_gpf=scr.GPF == 1):
        if fault.paddress is None:
            raise ValueError("a GPC fault carries the physical address that met it")
        return ExceptionTaken(_gpc_syndrome(fault, scr), far=vaddress, mfar=encode_mfar(fault.paddress))
    syndrome = _abort_syndrome(fault, scr, (Rule.GPF_AT_EL3, Rule.ISS) if gpc else ())
    return ExceptionTaken(syndrome, far=vaddress, mfar=None)


def WithoutFAR(abort: ExceptionTaken) -> ExceptionTaken:
    """The same synchronous external abort with ISS.FnV = 1: FAR_ELx is not valid.

    Source: DDI 0487, ESR_EL3, ISS encoding for Data and Instruction Aborts, FnV.
    """
    return replace(abort, syndrome=replace(abort.syndrome, iss=abort.syndrome.iss | _FNV), far=None)
