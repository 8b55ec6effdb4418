"""Stage 2 of translation, 4 KB granule: parameters, walk, permissions, output space, of all three states.

Non-secure and Realm state have one set of tables (VTTBR_EL2, VTCR_EL2); Secure state has one for Secure and one for
Non-secure intermediate addresses (VSTTBR_EL2 and VSTCR_EL2 beside them).  Memory attributes are looked at only as far
as HCR_EL2.PTW and fetches from Device memory need; permission indirection, hardware update, 52-bit descriptors and
HCR_EL2.DC are not modelled.

Source: DDI 0487, shared pseudocode ``AArch64_S2Translate``, ``AArch64_S2Walk``, ``AArch64_NSS2TTWParams``,
``AArch64_SS2TTWParams``, ``AArch64_RLS2TTWParams``, ``AArch64_S2InvalidSL``, ``AArch64_S2InconsistentSL``,
``AArch64_S2TxSZFaults``, ``AArch64_S2InitialTTWState``, ``AArch64_SS2InitialTTWState``, ``AArch64_S2SLTTEntryAddress``,
``AArch64_S2NextWalkStateLeaf``, ``AArch64_SS2OutputPASpace``, ``AArch64_S2DirectBasePermissions`` and
``AArch64_S2CheckPermissions``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from refmodel.accdesc import AccessDescriptor, AccessType, CacheOp
from refmodel.bits import AlignDown, Slice
from refmodel.choices import Chooser, Option
from refmodel.context import PEContext
from refmodel.faultrecord import Fault, FaultRecord
from refmodel.features import Features
from refmodel.gpt.types import Checker
from refmodel.memory import Memory
from refmodel.observe import Observer, unobserved
from refmodel.pas import EL, FullAddress, PASpace, SecurityState
from refmodel.registers import Register
from refmodel.rules import Rule
from refmodel.sysregs import GPCCR_EL3, VSTCR_EL2, VSTTBR_EL2, VTCR_EL2, VTTBR_EL2
from refmodel.translation.fetch import FetchStage2Descriptor
from refmodel.translation.walkstate import (
    DESCRIPTOR_BITS,
    FINAL_LEVEL,
    MAX_TXSZ,
    OWN_SPACE,
    ContiguousBit,
    DecodeDescriptorType,
    DescriptorAddress,
    DescriptorType,
    OAOutOfRange,
    TTEntryAddress,
    TTWParams,
    TTWState,
    contiguous_bits,
    index_lsb,
)

_START_LEVELS = {0b00: 2, 0b01: 1, 0b10: 0, 0b11: 3}
_SL0_NEEDS_PA_BITS = 44
_CONCATENATED_BITS, _STRIDE, _GRANULE_BITS = 4, 9, 12


@dataclass(frozen=True, slots=True, kw_only=True)
class S2TTWParams(TTWParams):
    """S2TTWParams of the pseudocode, 4 KB granule, with the root of the walk."""

    sl0: int
    ttbr: int
    ptw: bool = False
    sw: bool = False
    sa: bool = False
    nsw: bool = False
    nsa: bool = False

    @property
    def start_level(self) -> int:
        """``AArch64_S2StartLevel`` with SL2 = 0."""
        return _START_LEVELS[self.sl0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage2:
    """The registers of stage 2; the Secure ones count in Secure state only.

    ValueError for what is not modelled.
    """

    vtcr: VTCR_EL2
    vttbr: VTTBR_EL2
    vstcr: VSTCR_EL2 = VSTCR_EL2()  # noqa: RUF009 - immutable
    vsttbr: VSTTBR_EL2 = VSTTBR_EL2()  # noqa: RUF009 - immutable

    def __post_init__(self) -> None:
        if self.vtcr.TG0 or self.vstcr.TG0:
            raise ValueError("only the 4KB translation granule of stage 2 is modelled")
        if self.vtcr.HA or self.vtcr.HD or self.vtcr.S2PIE or self.vtcr.DS:
            raise ValueError("VTCR_EL2.HA, HD, S2PIE and DS are not modelled")

    def registers(self) -> tuple[Register, ...]:
        """The registers, as they are set."""
        return self.vtcr, self.vttbr, self.vstcr, self.vsttbr

    def walkparams(self, pe: PEContext, ipaspace: PASpace) -> S2TTWParams:
        """``AArch64_GetS2TTWParams`` for an intermediate address in ``ipaspace``."""
        secure = pe.ss is SecurityState.SS_Secure
        own = secure and ipaspace is PASpace.PAS_Secure
        control = self.vstcr if own else self.vtcr
        return S2TTWParams(
            txsz=control.T0SZ,
            sl0=control.SL0,
            ttbr=self.vsttbr.value if own else self.vttbr.value,
            ps=self.vtcr.PS,
            ptw=pe.hcr.PTW == 1 and not pe.hcr.TGE,
            sw=secure and self.vstcr.SW == 1,
            sa=secure and self.vstcr.SA == 1,
            nsw=secure and self.vtcr.NSW == 1,
            nsa=secure and self.vtcr.NSA == 1,
        )


def stage2_from(value: Callable[[type[Register]], int]) -> Stage2:
    """Stage 2 from values of its registers."""
    return Stage2(
        vtcr=VTCR_EL2(value(VTCR_EL2)),
        vttbr=VTTBR_EL2(value(VTTBR_EL2)),
        vstcr=VSTCR_EL2(value(VSTCR_EL2)),
        vsttbr=VSTTBR_EL2(value(VSTTBR_EL2)),
    )


@dataclass(frozen=True, slots=True)
class S2Walk:
    """What stage 2 works with: registers, PE, the check and GPCCR_EL3 for GPCP, memory, choices, an observer."""

    stage2: Stage2
    pe: PEContext
    check: Checker
    gpccr: GPCCR_EL3
    memory: Memory
    choose: Chooser
    observe: Observer = unobserved


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A leaf of stage 2: where it leads, its level, and the fields of its descriptor that decide permission."""

    state: TTWState
    descriptor: int

    @property
    def device(self) -> bool:
        """MemAttr [5:2] names Device memory, as HCR_EL2.FWB is 0."""
        return Slice(self.descriptor, 5, 4) == 0b00


def S2Translate(
    fault: FaultRecord, ipa: FullAddress, accdesc: AccessDescriptor, walk: S2Walk
) -> tuple[FaultRecord, FullAddress | None]:
    """Translate an intermediate address for ``accdesc``: the access itself, or a stage 1 descriptor fetch.

    With HCR_EL2.VM = 0 the intermediate address is the physical one.  On success the record is the one given.
    """
    if not walk.pe.hcr.VM:
        return fault, ipa
    given = fault
    ttw = accdesc.acctype is AccessType.AccessType_TTW
    fault = fault.with_(Fault.Fault_None, secondstage=True, s2fs1walk=ttw, ipaddress=ipa)
    params = _in_range(walk.stage2.walkparams(walk.pe, ipa.paspace), walk)
    if params is None:
        return fault.with_(Fault.Fault_Translation, level=0), None
    if _invalid_sl(params, walk.pe.features) or _inconsistent_sl(params):
        walk.observe(Rule.S2_START_LEVEL, "SL0 {:#b} does not fit {} input bits", params.sl0, params.iasize)
        return fault.with_(Fault.Fault_Translation, level=0), None
    if ipa.address >> params.iasize:
        walk.observe(Rule.IPA_RANGE, "{} has more than {} bits", ipa, params.iasize)
        return fault.with_(Fault.Fault_Translation, level=0), None
    fault, leaf = _walk(fault, params, ipa, accdesc, walk)
    if leaf is None:
        return fault, None
    fault = S2CheckPermissions(fault, leaf, params, accdesc, walk)
    if fault.statuscode is not Fault.Fault_None:
        return fault, None
    low = Slice(ipa.address, index_lsb(leaf.state.level) - 1, 0)
    output = FullAddress(leaf.state.baseaddress.paspace, leaf.state.baseaddress.address | low)
    walk.observe(Rule.S2_OUTPUT_SPACE, "{} is {}", ipa, output)
    return given, output


def _in_range(params: S2TTWParams, walk: S2Walk) -> S2TTWParams | None:
    """``AArch64_S2TxSZFaults``: parameters with T0SZ inside its limits, None for a fault."""
    features = walk.pe.features
    smallest = 64 - min(48, features.pamax)
    if smallest <= params.txsz <= MAX_TXSZ:
        return params
    walk.observe(Rule.S2_TXSZ, "VTCR_EL2.T0SZ {} is out of range", params.txsz)
    below = params.txsz < smallest
    if (below and features.pamax >= 52) or walk.choose(_TXSZ_FAULTS):
        return None
    return replace(params, txsz=smallest if below else MAX_TXSZ)


_TXSZ_FAULTS = (
    Option(True, "T0SZ of stage 2 out of range: a translation fault"),
    Option(False, "T0SZ of stage 2 out of range: taken as its limit"),
)


def _invalid_sl(params: S2TTWParams, features: Features) -> bool:
    """``AArch64_S2InvalidSL``."""
    if params.sl0 == 0b10:
        return features.pamax < _SL0_NEEDS_PA_BITS
    return params.sl0 == 0b11 and not features.ttst


def _inconsistent_sl(params: S2TTWParams) -> bool:
    """``AArch64_S2InconsistentSL``: the first level resolves 1 bit at least, and up to 16 concatenated tables."""
    least = (FINAL_LEVEL - params.start_level) * _STRIDE + _GRANULE_BITS + 1
    return not least <= params.iasize <= least + _STRIDE - 1 + _CONCATENATED_BITS


def _initial(params: S2TTWParams, ipa: FullAddress, ss: SecurityState) -> TTWState:
    """The walk's first state.  In Secure state SW and NSW choose the space of the tables, by that of the address."""
    space = OWN_SPACE[ss]
    if ss is SecurityState.SS_Secure and (params.sw if ipa.paspace is PASpace.PAS_Secure else params.nsw):
        space = PASpace.PAS_NonSecure
    size_bits = params.iasize - index_lsb(params.start_level) + DESCRIPTOR_BITS
    return TTWState(FullAddress(space, AlignDown(Slice(params.ttbr, 47, 1) << 1, size_bits)), params.start_level)


def _first_entry(params: S2TTWParams, ipa: int, state: TTWState) -> FullAddress:
    """``AArch64_S2SLTTEntryAddress``: concatenated tables are one."""
    index = Slice(ipa, params.iasize - 1, index_lsb(state.level))
    return FullAddress(state.baseaddress.paspace, state.baseaddress.address | index << DESCRIPTOR_BITS)


def _walk(
    fault: FaultRecord, params: S2TTWParams, ipa: FullAddress, accdesc: AccessDescriptor, walk: S2Walk
) -> tuple[FaultRecord, _Leaf | None]:
    """``AArch64_S2Walk``."""
    features = walk.pe.features
    state = _initial(params, ipa, accdesc.ss)
    walk.observe(Rule.S2_WALK_SPACE, "stage 2 tables of {} are in {}", accdesc.ss.name, state.baseaddress)
    where = _first_entry(params, ipa.address, state)
    if OAOutOfRange(where.address, params, features):
        walk.observe(Rule.S2_ADDRESS_SIZE, "the first table of stage 2 {} is above the output size", where)
        return fault.with_(Fault.Fault_AddressSize, level=0), None
    walk.observe(Rule.S2_START_LEVEL, "{} input bits from level {}", params.iasize, state.level)
    while True:
        level = state.level
        fault, descriptor = FetchStage2Descriptor(
            walk.check,
            walk.memory,
            where,
            fault.at_level(level),
            gpccr=walk.gpccr,
            is_table=lambda found, level=level: (  # type: ignore[misc]
                DecodeDescriptorType(params, found, level) is DescriptorType.DescriptorType_Table
            ),
            choose=walk.choose,
            observe=walk.observe,
        )
        if fault.statuscode is not Fault.Fault_None:
            return fault, None
        match DecodeDescriptorType(params, descriptor, level):
            case DescriptorType.DescriptorType_Invalid:
                walk.observe(Rule.S2_DESCRIPTOR, "stage 2 level {} descriptor {:#x} is invalid", level, descriptor)
                return fault.with_(Fault.Fault_Translation), None
            case DescriptorType.DescriptorType_Leaf:
                return _leaf(fault, params, state, ipa, descriptor, accdesc, walk)
            case DescriptorType.DescriptorType_Table:
                table = FullAddress(state.baseaddress.paspace, DescriptorAddress(params, descriptor))
                state = TTWState(table, level + 1)
        where = TTEntryAddress(params, ipa.address, state)
        if OAOutOfRange(where.address, params, features):
            walk.observe(Rule.S2_ADDRESS_SIZE, "the stage 2 table {} is above the output size", where)
            return fault.with_(Fault.Fault_AddressSize), None


def _leaf(
    fault: FaultRecord, params: S2TTWParams, table: TTWState, ipa: FullAddress, descriptor: int,
    accdesc: AccessDescriptor, walk: S2Walk,
) -> tuple[FaultRecord, _Leaf | None]:  # fmt: skip
    level = table.level
    if ContiguousBit(level, descriptor) and contiguous_bits(level) > params.iasize and walk.choose(_CONTIGUOUS_FAULTS):
        return fault.with_(Fault.Fault_Translation), None
    address = AlignDown(DescriptorAddress(params, descriptor), index_lsb(level))
    if OAOutOfRange(address, params, walk.pe.features):
        walk.observe(Rule.S2_ADDRESS_SIZE, "stage 2 output {:#x} is above the output size", address)
        return fault.with_(Fault.Fault_AddressSize), None
    maintenance = accdesc.acctype in (AccessType.AccessType_DC, AccessType.AccessType_IC)
    if not Slice(descriptor, 10, 10) and (not maintenance or walk.choose(_FLAG_FAULTS)):
        walk.observe(Rule.S2_ACCESS_FLAG, "the access flag of stage 2 descriptor {:#x} is clear", descriptor)
        return fault.with_(Fault.Fault_AccessFlag), None
    space = S2OutputPASpace(params, ipa.paspace, accdesc.ss, descriptor)
    walk.observe(Rule.S2_LEAF, "stage 2 level {} descriptor {:#x}", level, descriptor)
    return fault, _Leaf(TTWState(FullAddress(space, address), level), descriptor)


_CONTIGUOUS_FAULTS = (
    Option(False),
    Option(True, "a contiguous range above the input size may be a translation fault (IMPLEMENTATION DEFINED)"),
)
_FLAG_FAULTS = (Option(True), Option(False, "DC and IC need not generate access flag faults", weak=True))


def S2OutputPASpace(params: S2TTWParams, ipaspace: PASpace, ss: SecurityState, descriptor: int) -> PASpace:
    """Physical address space of a leaf: NS [55] in Realm state; SW, SA, NSW, NSA in Secure state.

    Non-secure tables, or output, of Secure addresses make everything that Non-secure addresses lead to Non-secure too.
    """
    match ss:
        case SecurityState.SS_Realm:
            return PASpace.PAS_NonSecure if Slice(descriptor, 55, 55) else PASpace.PAS_Realm
        case SecurityState.SS_Secure:
            foreign = params.sw or params.sa
            if ipaspace is PASpace.PAS_NonSecure:
                foreign = foreign or params.nsw or params.nsa
            return PASpace.PAS_NonSecure if foreign else PASpace.PAS_Secure
        case _:
            return PASpace.PAS_NonSecure


def S2CheckPermissions(
    fault: FaultRecord, leaf: _Leaf, params: S2TTWParams, accdesc: AccessDescriptor, walk: S2Walk
) -> FaultRecord:
    """The fault, if any, that S2AP [7:6], XN [54:53], and a Realm's foreign memory mean for an access.

    Whether an instruction fetch from Device memory faults is CONSTRAINED UNPREDICTABLE.
    """
    descriptor = leaf.descriptor
    r, w = bool(Slice(descriptor, 6, 6)), bool(Slice(descriptor, 7, 7))
    realm_foreign = accdesc.ss is SecurityState.SS_Realm and leaf.state.baseaddress.paspace is not PASpace.PAS_Realm
    match accdesc.acctype:
        case AccessType.AccessType_TTW:
            if params.ptw and leaf.device:
                walk.observe(Rule.S2_PTW, "HCR_EL2.PTW is 1: a stage 1 table in Device memory")
                return fault.with_(Fault.Fault_Permission)
            if realm_foreign:
                walk.observe(Rule.REALM_TABLES_OWN, "a Realm's stage 1 table in {}", leaf.state.baseaddress)
                return fault.with_(Fault.Fault_Permission)
            if not r:
                walk.observe(Rule.S2_TABLE_READ, "S2AP does not let a stage 1 table be read")
                return fault.with_(Fault.Fault_Permission)
        case AccessType.AccessType_IFETCH:
            if leaf.device and walk.choose(_DEVICE_FETCH):
                return fault.with_(Fault.Fault_Permission)
            if realm_foreign:
                walk.observe(Rule.REALM_EXECUTES_OWN, "a Realm does not execute {}", leaf.state.baseaddress)
                return fault.with_(Fault.Fault_Permission)
            if not _executable(descriptor, accdesc.el, walk.pe.features):
                walk.observe(Rule.S2_XN, "XN {:#b} denies execution to {}", Slice(descriptor, 54, 53), accdesc.el.name)
                return fault.with_(Fault.Fault_Permission)
            walk.observe(Rule.S2_XN, "XN {:#b}", Slice(descriptor, 54, 53))
        case AccessType.AccessType_DC if accdesc.cacheop is CacheOp.CacheOp_Invalidate:
            return fault if w else fault.with_(Fault.Fault_Permission)
        case AccessType.AccessType_DC if accdesc.el is EL.EL0:
            return fault if r else fault.with_(Fault.Fault_Permission)
        case AccessType.AccessType_DC | AccessType.AccessType_IC:
            return fault
        case _:
            walk.observe(Rule.S2AP, "S2AP {:#b}", Slice(descriptor, 7, 6))
            if accdesc.read and not r:
                return fault.with_(Fault.Fault_Permission, write=False)
            if accdesc.write and not w:
                return fault.with_(Fault.Fault_Permission, write=True)
    return fault


_DEVICE_FETCH = (
    Option(False, "an instruction may be fetched from Device memory (CONSTRAINED UNPREDICTABLE)"),
    Option(True, "an instruction fetch from Device memory may be a permission fault (CONSTRAINED UNPREDICTABLE)"),
)


def _executable(descriptor: int, el: EL, features: Features) -> bool:
    """XN [54] and, with FEAT_XNX, [53]: 00 both levels, 01 EL0 only, 10 none, 11 EL1 only."""
    xn, xnx = Slice(descriptor, 54, 54), Slice(descriptor, 53, 53) if features.xnx else 0
    px, ux = (xn, xnx) in ((0, 0), (1, 1)), not xn
    return ux if el is EL.EL0 else px
