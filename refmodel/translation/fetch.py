"""Fetching translation table descriptors through the granule protection check.

Source: DDI 0487, shared pseudocode ``FetchDescriptor`` and ``HandleExternalTTWAbort``; GPCCR_EL3.GPCP.
"""

from __future__ import annotations

from collections.abc import Callable

from refmodel.choices import Chooser, Option
from refmodel.faultrecord import Fault, FaultRecord
from refmodel.gpt.types import GPCF, Checker, GPCFRecord
from refmodel.memory import Memory, PhysMemRetStatus
from refmodel.observe import Observer, unobserved
from refmodel.pas import FullAddress
from refmodel.rules import Rule
from refmodel.sysregs import GPCCR_EL3


def FetchDescriptor(
    check: Checker, memory: Memory, where: FullAddress, fault: FaultRecord, observe: Observer = unobserved
) -> tuple[FaultRecord, int]:
    """Read the 64-bit descriptor at ``where``; 0 comes with a fault.

    ``fault`` says who walks and at which level: a GPC fault of a stage 2 fetch is marked as such.
    """
    gpcf = check(where, observe)
    if gpcf.gpf is not GPCF.GPCF_None:
        observe(Rule.S1_WALK_CHECKED, "stage 1 level {} descriptor at {}: {}", fault.level, where, gpcf)
        return _gpc_fault(fault, gpcf, where), 0
    return _read(memory, where, fault)


def FetchStage2Descriptor(
    check: Checker,
    memory: Memory,
    where: FullAddress,
    fault: FaultRecord,
    *,
    gpccr: GPCCR_EL3,
    is_table: Callable[[int], bool],
    choose: Chooser,
    observe: Observer = unobserved,
) -> tuple[FaultRecord, int]:
    """As ``FetchDescriptor``, for stage 2, where GPCCR_EL3.GPCP may let a GPC fault pass.

    With GPCP = 1 a GPC fault on the fetch of a *Table* descriptor might not be generated or reported; the walk then
    goes on with the descriptor, and what it leads to is checked.  An implementation may also treat GPCP as 0.
    """
    gpcf = check(where, observe)
    if gpcf.gpf is GPCF.GPCF_None:
        return _read(memory, where, fault)
    reported = _gpc_fault(fault, gpcf, where), 0
    status, descriptor = _read(memory, where, fault)
    if not gpccr.GPCP or status.statuscode is not Fault.Fault_None or not is_table(descriptor):
        observe(Rule.GPCP, "stage 2 level {} descriptor at {}: {}", fault.level, where, gpcf)
        return reported
    observe(Rule.GPCP, "GPCP=1: {} on the Table descriptor at {} might not be reported", gpcf, where)
    options = (Option(reported), Option((status, descriptor), "GPCCR_EL3.GPCP=1", weak=True))
    return choose(options)


def _gpc_fault(fault: FaultRecord, gpcf: GPCFRecord, where: FullAddress) -> FaultRecord:
    return fault.with_(Fault.Fault_GPCFOnWalk, gpcf=gpcf, paddress=where, gpcfs2walk=fault.secondstage)


def _read(memory: Memory, where: FullAddress, fault: FaultRecord) -> tuple[FaultRecord, int]:
    status, descriptor = memory.PhysMemRead(where, 8)
    if status is not PhysMemRetStatus.OK:
        return fault.with_(Fault.Fault_SyncExternalOnWalk), 0
    return fault, descriptor
