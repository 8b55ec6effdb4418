"""Stage 1 of translation: the walk, and what comes out of it, for every AArch64 regime.

Every descriptor fetch passes the granule protection check in the walking state's own physical address space.

Source: DDI 0487, shared pseudocode ``AArch64_S1Walk``, ``AArch64_S1Translate``, ``AArch64_S1DisabledOutput``,
and ``AArch64_VAIsOutOfRange``.  With stage 2 on, ``Walk.fetch`` translates where a descriptor is, and the caller
gets an intermediate address.  Memory attributes and alignment are not here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from refmodel.accdesc import AccessDescriptor, AccessType, CreateAccDescS1TTW
from refmodel.bits import AlignDown, Ones, Slice
from refmodel.choices import Chooser, Option
from refmodel.context import PEContext, Regime
from refmodel.faultrecord import Fault, FaultRecord, IsExternalAbort
from refmodel.gpt.types import Checker
from refmodel.memory import Memory
from refmodel.observe import Observer, unobserved
from refmodel.pas import EL, FullAddress
from refmodel.rules import Rule
from refmodel.translation.fetch import FetchDescriptor
from refmodel.translation.permissions import S1CheckPermissions
from refmodel.translation.regimes import Stage1, upper_range
from refmodel.translation.stage2 import S2Translate, S2Walk
from refmodel.translation.walkstate import (
    CONTIGUOUS_ENTRIES_BITS,
    DESCRIPTOR_BITS,
    MAX_TXSZ,
    OWN_SPACE,
    ContiguousBit,
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
    contiguous_bits,
    index_lsb,
)


@dataclass(frozen=True, slots=True)
class Walk:
    """What a walk works with: the PE, the granule protection check, memory, choices, an observer."""

    pe: PEContext
    check: Checker
    memory: Memory
    choose: Chooser
    observe: Observer = unobserved
    stage2: S2Walk | None = None
    """What translates the addresses of descriptors, where stage 2 is on."""

    def fetch(
        self, where: FullAddress, accdesc: AccessDescriptor, fault: FaultRecord
    ) -> tuple[FaultRecord, int, FullAddress]:
        """Read a stage 1 descriptor; ``accdesc`` is the fetch's own, by which stage 2 translates ``where``.

        The physical address comes with it.
        """
        assert accdesc.acctype is AccessType.AccessType_TTW
        if self.stage2 is not None:
            fault, physical = S2Translate(fault, where, accdesc, self.stage2)
            if physical is None:
                return fault, 0, where
            where = physical
        return (*FetchDescriptor(self.check, self.memory, where, fault, self.observe), where)


def S1Walk(
    fault: FaultRecord, params: S1TTWParams, va: int, stage1: Stage1, walk: Walk
) -> tuple[FaultRecord, TTWState | None]:
    """Walk the tables for ``va``; the leaf is None on a fault."""
    accdesc, features = fault.access, walk.pe.features
    if params.epd:
        walk.observe(Rule.WALKS_DISABLED, "EPD is 1: no walk for {:#x}", va)
        return fault.with_(Fault.Fault_Translation, level=0), None
    state = S1InitialTTWState(params, stage1.ttbr(va), accdesc.ss)
    if stage1.regime is not Regime.Regime_EL3:
        walk.observe(Rule.WALK_SPACE, "tables of {} are in {}", accdesc.ss.name, state.baseaddress)
    where = TTEntryAddress(params, va, state)
    if OAOutOfRange(where.address, params, features):
        walk.observe(Rule.TTBR_SIZE, "the first table {} is above the output size", where)
        return fault.with_(Fault.Fault_AddressSize, level=0), None
    fetch = CreateAccDescS1TTW(accdesc)
    walk.observe(Rule.S1_START_LEVEL, "{} input bits: the walk starts at level {}", params.iasize, state.level)
    while True:
        fault = fault.at_level(state.level)
        fault, descriptor, physical = walk.fetch(where, fetch, fault)
        if fault.statuscode is not Fault.Fault_None:
            if IsExternalAbort(fault) and not fault.secondstage:
                walk.observe(Rule.WALK_EXTERNAL_ABORT, "level {} descriptor at {}: external abort", fault.level, where)
            return fault, None
        kind = DecodeDescriptorType(params, descriptor, state.level)
        if kind is not DescriptorType.DescriptorType_Table:
            return _leaf(fault, params, va, stage1, walk, state, physical, descriptor, kind)
        if params.hpd and Slice(descriptor, 62, 59):
            walk.observe(Rule.HIERARCHY_DISABLED, "HPD is 1: bits [62:59] of {:#x} do not count", descriptor)
        state = S1NextWalkStateTable(params, state, stage1.regime, descriptor)
        where = TTEntryAddress(params, va, state)
        if OAOutOfRange(where.address, params, features):
            # Reported at the level of the descriptor that names the table, not of the table.
            walk.observe(Rule.TABLE_SIZE, "the table {} is above the output size", where)
            return fault.with_(Fault.Fault_AddressSize), None


def _leaf(
    fault: FaultRecord, params: S1TTWParams, va: int, stage1: Stage1, walk: Walk, table: TTWState, where: FullAddress,
    descriptor: int, kind: DescriptorType,
) -> tuple[FaultRecord, TTWState | None]:  # fmt: skip
    """The end of a walk: the descriptor at the physical address ``where`` in ``table`` is a leaf, or invalid."""
    regime, features = stage1.regime, walk.pe.features
    state = S1NextWalkStateLeaf(params, table, regime, descriptor, features)
    others = _contiguous_with(state, params, va, regime, walk, table, where)
    if others:
        reason = "the Contiguous bit is misprogrammed: any entry of its range may answer"
        options: list[Option[TTWState | None]] = [Option(None)]
        options += [Option(other, reason, weak=True) for other in others]
        chosen = walk.choose(options)
        if chosen is not None:
            return fault, chosen
    if kind is DescriptorType.DescriptorType_Invalid:
        walk.observe(Rule.S1_DESCRIPTOR, "level {} descriptor {:#x} is invalid", table.level, descriptor)
        return fault.with_(Fault.Fault_Translation), None
    if state.contiguous and contiguous_bits(state.level) > params.iasize:
        walk.observe(Rule.CONTIGUOUS_TOO_LARGE, "16 entries of level {} exceed the input size", state.level)
        if walk.choose(_CONTIGUOUS_FAULTS):
            return fault.with_(Fault.Fault_Translation), None
    if OAOutOfRange(state.baseaddress.address, params, features):
        walk.observe(Rule.LEAF_SIZE, "{} is above the output size", state.baseaddress)
        return fault.with_(Fault.Fault_AddressSize), None
    if not Slice(descriptor, 10, 10) and _access_flag_faults(fault.access, walk):
        walk.observe(Rule.ACCESS_FLAG, "the access flag of {:#x} is clear", descriptor)
        return fault.with_(Fault.Fault_AccessFlag), None
    if state.contiguous:
        walk.observe(Rule.S1_CONTIGUOUS, "Contiguous descriptor {:#x}", descriptor)
    walk.observe(Rule.S1_LEAF, "level {} descriptor {:#x}", state.level, descriptor)
    return fault, state


_CONTIGUOUS_FAULTS = (
    Option(False),
    Option(True, "a contiguous range above the input size may be a translation fault (IMPLEMENTATION DEFINED)"),
)


def _contiguous_with(
    own: TTWState, params: S1TTWParams, va: int, regime: Regime, walk: Walk, table: TTWState, where: FullAddress
) -> list[TTWState]:
    """What a TLB entry made from another descriptor of the same contiguous range says of ``va``, where that differs.

    The 16 descriptors are read without a check: that a TLB holds one means that it has been fetched before.
    """
    if table.level == 0 or contiguous_bits(table.level) > params.iasize:
        return []
    size_bits = CONTIGUOUS_ENTRIES_BITS + DESCRIPTOR_BITS
    group = walk.memory.read(AlignDown(where.address, size_bits), 1 << size_bits)
    if not any(high & _CONTIGUOUS_IN_BYTE_6 for high in group[6::8]):
        return []
    found: list[TTWState] = []
    range_bits = contiguous_bits(table.level)
    for at in range(0, len(group), 8):
        descriptor = int.from_bytes(group[at : at + 8], "little")
        leaf = DecodeDescriptorType(params, descriptor, table.level) is DescriptorType.DescriptorType_Leaf
        if not leaf or not ContiguousBit(table.level, descriptor) or not Slice(descriptor, 10, 10):
            continue
        state = S1NextWalkStateLeaf(params, table, regime, descriptor, walk.pe.features)
        offset = AlignDown(Slice(va, range_bits - 1, 0), index_lsb(table.level))
        base = AlignDown(state.baseaddress.address, range_bits) | offset
        state = replace(state, baseaddress=FullAddress(state.baseaddress.paspace, base))
        if state != own and state not in found:
            found.append(state)
    return found


_CONTIGUOUS_IN_BYTE_6 = 1 << 4


def _access_flag_faults(accdesc: AccessDescriptor, walk: Walk) -> bool:
    """Whether a clear access flag faults: always, except that for DC and IC it is IMPLEMENTATION DEFINED."""
    if accdesc.acctype not in (AccessType.AccessType_DC, AccessType.AccessType_IC):
        return True
    return walk.choose((Option(True), Option(False, "DC and IC need not generate access flag faults", weak=True)))


def VAIsOutOfRange(va: int, acctype: AccessType, stage1: Stage1, params: S1TTWParams) -> bool:
    """Whether the bits of ``va`` above the input size are not the sign of its range."""
    top = stage1.addrtop(va, acctype)
    if top < params.iasize:
        return False
    above = Slice(va, top, params.iasize)
    if stage1.regime.has_unprivileged and upper_range(va):
        return above != Ones(top - params.iasize + 1)
    return above != 0


def S1DisabledOutput(fault: FaultRecord, stage1: Stage1, va: int, walk: Walk) -> tuple[FaultRecord, FullAddress | None]:
    """With stage 1 off the address is the input, in the state's own physical address space."""
    if Slice(va, stage1.addrtop(va, fault.access.acctype), walk.pe.features.pamax):
        walk.observe(Rule.S1_OFF_SIZE, "stage 1 is off and {:#x} is above the implemented size", va)
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
    params = _in_range(stage1.walkparams(walk.pe, va), walk)
    if params is None:
        return fault.with_(Fault.Fault_Translation, level=0), None
    if VAIsOutOfRange(va, accdesc.acctype, stage1, params):
        walk.observe(Rule.VA_RANGE, "{:#x} has more than {} significant bits", va, params.iasize)
        if stage1.addrtop(va, AccessType.AccessType_GPR) < stage1.addrtop(va, accdesc.acctype):
            walk.observe(Rule.TOP_BYTE_OF_FETCH, "the top byte is ignored for data, not for fetches")
        return fault.with_(Fault.Fault_Translation, level=0), None
    if accdesc.el is EL.EL0 and params.e0pd:
        walk.observe(Rule.E0PD, "E0PD is 1: no access by EL0 to {:#x}", va)
        return fault.with_(Fault.Fault_Translation, level=0), None
    if stage1.addrtop(va, accdesc.acctype) == _TOP_WITHOUT_BYTE and Slice(va, 63, 56) not in (
        0,
        Slice(va, 55, 55) * 0xFF,
    ):
        walk.observe(Rule.TOP_BYTE_IGNORED, "the top byte of {:#x} is ignored", va)
    fault, state = S1Walk(fault, params, va, stage1, walk)
    if state is None:
        return fault, None
    fault = S1CheckPermissions(fault, walk.pe, stage1.regime, params, state, walk.observe, walk.choose)
    if fault.statuscode is not Fault.Fault_None:
        return fault, None
    output = StageOA(va, state)
    if stage1.regime is not Regime.Regime_EL3:
        walk.observe(Rule.OUTPUT_SPACE, "{:#x} is {}", va, output)
    return fault, Translated(output, state.level)


_TOP_WITHOUT_BYTE = 55


def _in_range(params: S1TTWParams, walk: Walk) -> S1TTWParams | None:
    """``AArch64_S1TxSZFaults``: parameters with TxSZ inside its limits, None for a fault.

    Below the minimum it is a fault with FEAT_LVA; otherwise, and above the maximum, an implementation faults or takes
    the limit.
    """
    if params.smallest_txsz <= params.txsz <= MAX_TXSZ:
        return params
    walk.observe(Rule.TXSZ_OUT_OF_RANGE, "TxSZ {} is out of range", params.txsz)
    below = params.txsz < params.smallest_txsz
    if (below and walk.pe.features.lva) or walk.choose(_TXSZ_FAULTS):
        return None
    return replace(params, txsz=params.smallest_txsz if below else MAX_TXSZ)


_TXSZ_FAULTS = (
    Option(True, "TxSZ out of range: a translation fault"),
    Option(False, "TxSZ out of range: taken as its limit"),
)
