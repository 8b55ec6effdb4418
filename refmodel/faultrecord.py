"""Fault records: what stopped a translation or an access, before it is decided who hears of it.

Source: DDI 0487, shared pseudocode ``Fault``, ``FaultRecord``, ``NoFault`` and the predicates on it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from refmodel.accdesc import AccessDescriptor
from refmodel.gpt.types import GPC_NO_FAULT, GPCF, GPCFRecord
from refmodel.pas import FullAddress


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


_IPA_VALID = (Fault.Fault_AccessFlag, Fault.Fault_Translation, Fault.Fault_AddressSize)


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRecord:
    """A fault: kind, the access that met it, level, and for a GPC fault the record and the physical address.

    ``secondstage``: met in stage 2, with ``ipaddress``; ``s2fs1walk``: by stage 2 of a stage 1 descriptor fetch;
    ``gpcfs2walk``: a GPC fault of a stage 2 descriptor fetch.
    """

    statuscode: Fault
    access: AccessDescriptor
    level: int = 0
    gpcf: GPCFRecord = GPC_NO_FAULT
    paddress: FullAddress | None = None
    write: bool = False
    secondstage: bool = False
    s2fs1walk: bool = False
    gpcfs2walk: bool = False
    ipaddress: FullAddress | None = None

    @classmethod
    def none(cls, accdesc: AccessDescriptor) -> FaultRecord:
        """``NoFault(accdesc)``: ``write`` is set for an access that writes and does not read."""
        return cls(statuscode=Fault.Fault_None, access=accdesc, write=not accdesc.read and accdesc.write)

    def with_(self, statuscode: Fault, **changes: object) -> FaultRecord:
        """A copy with another status and further changes."""
        return replace(self, statuscode=statuscode, **changes)  # type: ignore[arg-type]

    def at_level(self, level: int) -> FaultRecord:
        """A copy at another level of the walk: what ``with_`` does, spelt out, as every descriptor fetch needs it."""
        return FaultRecord(
            statuscode=self.statuscode,
            access=self.access,
            level=level,
            gpcf=self.gpcf,
            paddress=self.paddress,
            write=self.write,
            secondstage=self.secondstage,
            s2fs1walk=self.s2fs1walk,
            gpcfs2walk=self.gpcfs2walk,
            ipaddress=self.ipaddress,
        )


def IsExternalAbort(fault: FaultRecord) -> bool:
    """Whether the fault is an external abort, on a GPT fetch included."""
    external = (Fault.Fault_SyncExternal, Fault.Fault_SyncExternalOnWalk)
    return fault.statuscode in external or fault.gpcf.gpf is GPCF.GPCF_EABT


def IsSecondStage(fault: FaultRecord) -> bool:
    """Whether the fault was met in stage 2."""
    return fault.secondstage


def IPAValid(fault: FaultRecord) -> bool:
    """Whether HPFAR_EL2 is written with the IPA.  Source: DDI 0487, pseudocode ``IPAValid``."""
    if fault.gpcf.gpf is not GPCF.GPCF_None:
        return fault.secondstage
    if fault.s2fs1walk:
        return fault.statuscode in (*_IPA_VALID, Fault.Fault_Permission)
    return fault.secondstage and fault.statuscode in _IPA_VALID
