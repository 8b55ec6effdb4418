"""Access descriptors: who makes an access, and what kind it is, as far as a fault depends on it.

Source: DDI 0487, shared pseudocode ``NewAccDesc`` and ``CreateAccDesc*``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from refmodel.context import PEContext
from refmodel.pas import EL, SecurityState


class AccessType(Enum):
    """AccessType of the pseudocode, as far as stimuli make such accesses."""

    AccessType_GPR = "data"
    AccessType_IFETCH = "fetch"
    AccessType_DC = "data cache maintenance"
    AccessType_DCZero = "DC ZVA"
    AccessType_IC = "instruction cache maintenance"
    AccessType_AT = "address translation"
    AccessType_NV2 = "register access in memory (FEAT_NV2)"
    AccessType_TTW = "translation table walk"


class MemOp(Enum):
    """MemOp of the pseudocode."""

    MemOp_LOAD = "load"
    MemOp_STORE = "store"


class CacheOp(Enum):
    """CacheOp of the pseudocode."""

    CacheOp_Clean = "clean"
    CacheOp_Invalidate = "invalidate"
    CacheOp_CleanInvalidate = "clean and invalidate"


class CacheOpScope(Enum):
    """CacheOpScope of the pseudocode, without set/way."""

    CacheOpScope_PoU = "PoU"
    CacheOpScope_PoC = "PoC"
    CacheOpScope_PoP = "PoP"
    CacheOpScope_PoDP = "PoDP"
    CacheOpScope_PoPA = "PoPA"
    CacheOpScope_PoE = "PoE"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessDescriptor:
    """Who accesses and how; the pseudocode's record, reduced to fields that decide something here.

    ``el`` is the exception level whose permissions count: EL0 for an unprivileged load at EL1.
    """

    acctype: AccessType
    el: EL = EL.EL3
    ss: SecurityState = SecurityState.SS_Root
    read: bool = False
    write: bool = False
    exclusive: bool = False
    atomicop: bool = False
    pan: bool = False
    cacheop: CacheOp | None = None
    opscope: CacheOpScope | None = None

    @property
    def maintenance(self) -> bool:
        """Whether it is made by DC by address, IC or AT: such faults are reported with CM and WnR set."""
        return self.acctype in (AccessType.AccessType_DC, AccessType.AccessType_IC, AccessType.AccessType_AT)


def CreateAccDescIFetch(pe: PEContext) -> AccessDescriptor:
    """An instruction fetch.  The pseudocode leaves ``read`` FALSE; so does this."""
    return AccessDescriptor(acctype=AccessType.AccessType_IFETCH, el=pe.el, ss=pe.ss)


def IsUnprivAccessPriv(pe: PEContext) -> bool:
    """Whether LDTR and STTR access as privileged: at EL3, and at EL2 unless HCR_EL2.{E2H, TGE} are {1, 1}.

    Source: DDI 0487, pseudocode ``AArch64_IsUnprivAccessPriv``; PSTATE.UAO and HCR_EL2.{NV, NV1} are taken as 0.
    """
    match pe.el:
        case EL.EL0 | EL.EL1:
            return False
        case EL.EL2:
            return not (pe.features.vhe and pe.hcr.E2H == 1 and pe.hcr.TGE == 1)
        case EL.EL3:
            return True


def CreateAccDescGPR(pe: PEContext, memop: MemOp, *, privileged: bool = True) -> AccessDescriptor:
    """A load or store of general-purpose registers, single or pair."""
    return AccessDescriptor(
        acctype=AccessType.AccessType_GPR,
        el=pe.el if privileged else EL.EL0,
        ss=pe.ss,
        read=memop is MemOp.MemOp_LOAD,
        write=memop is MemOp.MemOp_STORE,
        pan=True,
    )


def CreateAccDescExLDST(pe: PEContext, memop: MemOp) -> AccessDescriptor:
    """A load-exclusive or a store-exclusive."""
    return AccessDescriptor(
        acctype=AccessType.AccessType_GPR,
        el=pe.el,
        ss=pe.ss,
        read=memop is MemOp.MemOp_LOAD,
        write=memop is MemOp.MemOp_STORE,
        exclusive=True,
        pan=True,
    )


def CreateAccDescExclusiveSequence(pe: PEContext) -> AccessDescriptor:
    """A load-exclusive and then, if it is performed, a store-exclusive to the same address.

    ``Access`` makes it two accesses.
    """
    return AccessDescriptor(
        acctype=AccessType.AccessType_GPR, el=pe.el, ss=pe.ss, read=True, write=True, exclusive=True, pan=True
    )


def CreateAccDescAtomicOp(pe: PEContext) -> AccessDescriptor:
    """An atomic of FEAT_LSE: it reads and writes."""
    return AccessDescriptor(
        acctype=AccessType.AccessType_GPR, el=pe.el, ss=pe.ss, read=True, write=True, atomicop=True, pan=True
    )


def CreateAccDescDC(pe: PEContext, cacheop: CacheOp, opscope: CacheOpScope) -> AccessDescriptor:
    """Data cache maintenance by address: neither a read nor a write."""
    return AccessDescriptor(acctype=AccessType.AccessType_DC, el=pe.el, ss=pe.ss, cacheop=cacheop, opscope=opscope)


def CreateAccDescIC(pe: PEContext) -> AccessDescriptor:
    """Instruction cache maintenance by VA to PoU."""
    return AccessDescriptor(
        acctype=AccessType.AccessType_IC,
        el=pe.el,
        ss=pe.ss,
        cacheop=CacheOp.CacheOp_Invalidate,
        opscope=CacheOpScope.CacheOpScope_PoU,
    )


def CreateAccDescDCZero(pe: PEContext) -> AccessDescriptor:
    """DC ZVA: a write."""
    return AccessDescriptor(acctype=AccessType.AccessType_DCZero, el=pe.el, ss=pe.ss, write=True, pan=True)


def CreateAccDescAT(ss: SecurityState, el: EL, *, write: bool, pan: bool) -> AccessDescriptor:
    """An address translation instruction as if by ``el``."""
    return AccessDescriptor(acctype=AccessType.AccessType_AT, el=el, ss=ss, read=not write, write=write, pan=pan)


def CreateAccDescS1TTW(accdesc: AccessDescriptor) -> AccessDescriptor:
    """A stage 1 descriptor fetch on behalf of an access."""
    return AccessDescriptor(acctype=AccessType.AccessType_TTW, el=accdesc.el, ss=accdesc.ss, read=True)


def CreateAccDescNV2(pe: PEContext, memop: MemOp) -> AccessDescriptor:
    """A register access at EL1 that FEAT_NV2 turns into a memory access, made as EL2."""
    return AccessDescriptor(
        acctype=AccessType.AccessType_NV2,
        el=EL.EL2,
        ss=pe.SecurityStateAtEL(EL.EL2),
        read=memop is MemOp.MemOp_LOAD,
        write=memop is MemOp.MemOp_STORE,
    )
