"""Stage 1 of translation: the walk, and what comes out of it, for every AArch64 regime.

Every descriptor fetch passes the granule protection check in the walking state's own physical address space.

Source: DDI 0487, shared pseudocode ``AArch64_S1Walk``, ``AArch64_S1Translate``, ``AArch64_S1DisabledOutput``,
and ``AArch64_VAIsOutOfRange``.  Where stage 2 will come in: ``Walk.fetch``, through which
descriptors of the EL1&0 regime are read, and the caller, who gets an IPA.  Memory attributes and alignment are not
here.
"""

from __future__ import annotations

from dataclasses import dataclass

from refmodel.accdesc import AccessDescriptor, AccessType, CreateAccDescS1TTW
from refmodel.bits import Ones, Slice
from refmodel.choices import Chooser, Option
from refmodel.context import PEContext, Regime
from refmodel.faultrecord import Fault, FaultRecord
from refmodel.gpt.types import Checker
from refmodel.memory import Memory
from refmodel.observe import Observer, unobserved
from refmodel.pas import EL, FullAddress
from refmodel.rules import Rule
from refmodel.translation.fetch import FetchDescriptor
from refmodel.translation.permissions import S1CheckPermissions
from refmodel.translation.regimes import Stage1, upper_range
from refmodel.translation.walkstate import (
    OWN_SPACE,
    DecodeDescriptorType,
    DescriptorType,
    OAOutOfRange,
    S1InitialTTWState,
    S1NextWalkStateLeaf,
    S1NextWalkStateTable,
    S1TTWParams,
    StageOA,
    TTEntryAddress,
    TTWState,
)


@dataclass(frozen=True, slots=True)
class Walk:
    """What a walk works with: the PE, the granule protection check, memory, choices, an observer."""

    pe: PEContext
    check: Checker
    memory: Memory
    choose: Chooser
    observe: Observer = unobserved

    def fetch(self, where: FullAddress, accdesc: AccessDescriptor, fault: FaultRecord) -> tuple[FaultRecord, int]:
        """Read a stage 1 descriptor; ``accdesc`` is the fetch's own, by which stage 2 would translate ``where``."""
        assert accdesc.acctype is AccessType.AccessType_TTW
        return FetchDescriptor(self.check, self.memory, where, fault, self.observe)


def S1Walk(
    fault: FaultRecord, params: S1TTWParams, va: int, stage1: Stage1, walk: Walk
) -> tuple[FaultRecord, TTWState | None]:
    """Walk the tables for ``va``; the leaf is None on a fault."""
    accdesc, features = fault.access, walk.pe.features
    if params.epd:
        return fault.with_(Fault.Fault_Translation, level=0), None
    state = S1InitialTTWState(params, stage1.ttbr(va), accdesc.ss)
    if stage1.regime is not Regime.Regime_EL3:
        walk.observe(Rule.WALK_SPACE, "tables of {} are in {}", accdesc.ss.name, state.baseaddress)
    where = TTEntryAddress(params, va, state)
    if OAOutOfRange(where.address, params, features):
        return fault.with_(Fault.Fault_AddressSize, level=0), None
    while True:
        fault = fault.with_(fault.statuscode, level=state.level)
        fault, descriptor = walk.fetch(where, CreateAccDescS1TTW(accdesc), fault)
        if fault.statuscode is not Fault.Fault_None:
            return fault, None
        match DecodeDescriptorType(params, descriptor, state.level):
            case DescriptorType.DescriptorType_Invalid:
                return fault.with_(Fault.Fault_Translation), None
            case DescriptorType.DescriptorType_Leaf:
                state = S1NextWalkStateLeaf(params, state, stage1.regime, descriptor, features)
                break
            case DescriptorType.DescriptorType_Table:
                state = S1NextWalkStateTable(params, state, stage1.regime, descriptor)
        where = TTEntryAddress(params, va, state)
        if OAOutOfRange(where.address, params, features):
            # Reported at the level of the descriptor that names the table, not of the table.
            return fault.with_(Fault.Fault_AddressSize), None
    if OAOutOfRange(state.baseaddress.address, params, features):
        return fault.with_(Fault.Fault_AddressSize), None
    if not Slice(descriptor, 10, 10) and _access_flag_faults(accdesc, walk):
        return fault.with_(Fault.Fault_AccessFlag), None
    return fault, state


def _access_flag_faults(accdesc: AccessDescriptor, walk: Walk) -> bool:
    """Whether a clear access flag faults: always, except that for DC and IC it is IMPLEMENTATION DEFINED."""
    if accdesc.acctype not in (AccessType.AccessType_DC, AccessType.AccessType_IC):
        return True
    return walk.choose((Option(True), Option(False, "DC and IC need not generate access flag faults", weak=True)))


def VAIsOutOfRange(va: int, acctype: AccessType, stage1: Stage1, params: S1TTWParams) -> bool:
    """Whether the bits of ``va`` above the input size are not the sign of its range."""
    top = stage1.addrtop(va, acctype)
    above = Slice(va, top, params.iasize)
    if stage1.regime.has_unprivileged and upper_range(va):
        return above != Ones(top - params.iasize + 1)
    return above != 0


def S1DisabledOutput(fault: FaultRecord, stage1: Stage1, va: int, walk: Walk) -> tuple[FaultRecord, FullAddress | None]:
    """With stage 1 off the address is the input, in the state's own physical address space."""
    if Slice(va, stage1.addrtop(va, fault.access.acctype), walk.pe.features.pamax):
        return fault.with_(Fault.Fault_AddressSize, level=0), None
    output = FullAddress(OWN_SPACE[fault.access.ss], Slice(va, 55, 0))
    walk.observe(Rule.FLAT_MAP, "stage 1 is off: {:#x} is {}", va, output)
    return fault, output


@dataclass(frozen=True, slots=True)
class Translated:
    """Where an address is translated to, and at which level the leaf is (0 with stage 1 off)."""

    address: FullAddress
    level: int


def S1Translate(fault: FaultRecord, stage1: Stage1, va: int, walk: Walk) -> tuple[FaultRecord, Translated | None]:
    """Translate ``va`` for ``fault.access`` and check permissions; the leaf is None on a fault."""
    accdesc = fault.access
    if not stage1.enabled(walk.pe):
        fault, flat = S1DisabledOutput(fault, stage1, va, walk)
        return fault, None if flat is None else Translated(flat, 0)
    params = stage1.walkparams(walk.pe, va)
    if VAIsOutOfRange(va, accdesc.acctype, stage1, params) or (accdesc.el is EL.EL0 and params.e0pd):
        return fault.with_(Fault.Fault_Translation, level=0), None
    fault, state = S1Walk(fault, params, va, stage1, walk)
    if state is None:
        return fault, None
    fault = S1CheckPermissions(fault, walk.pe, stage1.regime, params, state, walk.observe)
    if fault.statuscode is not Fault.Fault_None:
        return fault, None
    output = StageOA(va, state)
    if stage1.regime is not Regime.Regime_EL3:
        walk.observe(Rule.OUTPUT_SPACE, "{:#x} is {}", va, output)
    return fault, Translated(output, state.level)
