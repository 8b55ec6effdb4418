"""Mutants of translation, both stages: what a walk, a permission or a report may get wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from refmodel.accdesc import AccessType
from refmodel.bits import AlignDown, Slice
from refmodel.context import Regime
from refmodel.faultrecord import Fault
from refmodel.features import Features
from refmodel.gpt.types import GPCF
from refmodel.mutants.mutant import Mutant, Original, Patch
from refmodel.pas import EL, FullAddress, PASpace, SecurityState
from refmodel.rules import Rule
from refmodel.translation.walkstate import (
    FINAL_LEVEL,
    OWN_SPACE,
    ContiguousBit,
    DescriptorType,
    PhysicalAddressSize,
    TTWState,
    contiguous_bits,
)

_STAGE1, _WALKSTATE, _REGIMES = (
    "refmodel.translation.stage1",
    "refmodel.translation.walkstate",
    "refmodel.translation.regimes",
)
_STAGE2 = "refmodel.translation.stage2"
_PERMISSIONS, _FETCH, _FAULTS = "refmodel.translation.permissions", "refmodel.translation.fetch", "refmodel.faults"
_FEATURES = Features(pamax=52, lpa2=True)
_FETCHES, _WNR = AccessType.AccessType_IFETCH, 1 << 6


def _mutant(name: str, rule: Rule, *patches: Patch, kind: str = "model") -> Mutant:
    return Mutant(name, "translation", (rule.value,), patches, kind)


def _always(module: str, attribute: str, value: Any) -> Patch:
    return Patch(module, attribute, lambda original: lambda *arguments: value)


# Walks -------------------------------------------------------------------------------------------------------------


def _reserved_block(original: Original) -> Any:
    def DecodeDescriptorType(params: Any, descriptor: int, level: int) -> Any:
        if level == FINAL_LEVEL and Slice(descriptor, 1, 0) == 0b01:
            return DescriptorType.DescriptorType_Leaf
        return original(params, descriptor, level)

    return DecodeDescriptorType


def _level_2_covers_a_gigabyte(original: Original) -> Any:
    def StageOA(va: int, state: TTWState) -> FullAddress:
        output: FullAddress = original(va, state)
        if state.level != FINAL_LEVEL - 1:
            return output
        return FullAddress(output.paspace, AlignDown(output.address, 30) | Slice(va, 29, 0))

    return StageOA


def _truncated(original: Original) -> Any:
    """A walk state, made from parameters, whose address is cut to the output size."""

    def made(params: Any, *arguments: Any) -> TTWState:
        state: TTWState = original(params, *arguments)
        address = state.baseaddress.address & (1 << PhysicalAddressSize(params, _FEATURES)) - 1
        return replace(state, baseaddress=FullAddress(state.baseaddress.paspace, address))

    return made


def _range_params(**changes: Any) -> Patch:
    return Patch(
        _REGIMES, "_two_range_params", lambda original: lambda *arguments: replace(original(*arguments), **changes)
    )


def _at_leaf(change: Callable[..., Any]) -> Patch:
    """The end of a walk changed: (fault, state, params, descriptor) to (fault, state)."""

    def make(original: Original) -> Any:
        def _leaf(fault: Any, params: Any, va: int, stage1: Any, walk: Any, table: Any, *rest: Any) -> Any:
            found, state = original(fault, params, va, stage1, walk, table, *rest)
            return change(found, state, params, rest[1])

        return _leaf

    return Patch(_STAGE1, "_leaf", make)


def _flag_before_size(fault: Any, state: Any, params: Any, descriptor: int) -> Any:
    flagged = fault.statuscode is Fault.Fault_AddressSize and not Slice(descriptor, 10, 10)
    return (fault.with_(Fault.Fault_AccessFlag) if flagged else fault), state


def _permission_before_flag(fault: Any, state: Any, params: Any, descriptor: int) -> Any:
    denied = fault.statuscode is Fault.Fault_AccessFlag and Slice(descriptor, 7, 7) and fault.access.write
    return (fault.with_(Fault.Fault_Permission) if denied else fault), state


def _contiguous_size_fault(fault: Any, state: Any, params: Any, descriptor: int) -> Any:
    if state is None or not state.contiguous or contiguous_bits(state.level) <= params.iasize:
        return fault, state
    return fault.with_(Fault.Fault_AddressSize), None


def _contiguous_read_only(original: Original) -> Any:
    def S1NextWalkStateLeaf(params: Any, state: Any, regime: Any, descriptor: int, features: Any) -> Any:
        read_only = 1 << 7 if ContiguousBit(state.level, descriptor) else 0
        return original(params, state, regime, descriptor | read_only, features)

    return S1NextWalkStateLeaf


def _flat_map_truncates(original: Original) -> Any:
    return lambda fault, stage1, va, walk: original(fault, stage1, va & (1 << walk.pe.features.pamax) - 1, walk)


def _without_hpd(original: Original) -> Any:
    return lambda params, *rest: original(replace(params, hpd=False), *rest)


def _abort_at_level_0(original: Original) -> Any:
    def _read(memory: Any, where: Any, fault: Any) -> Any:
        found, descriptor = original(memory, where, fault)
        aborted = found.statuscode is Fault.Fault_SyncExternalOnWalk
        return (found.at_level(0) if aborted else found), descriptor

    return _read


# Permissions -------------------------------------------------------------------------------------------------------


def _leaf_permissions(change: Callable[[Any, Any], dict[str, Any]]) -> Patch:
    """Permissions of the leaf changed: (permissions, access) to fields."""

    def make(original: Original) -> Any:
        def S1DirectBasePermissions(pe: Any, regime: Any, params: Any, state: Any, accdesc: Any, *rest: Any) -> Any:
            permissions = replace(state.permissions, **change(state.permissions, accdesc))
            return original(pe, regime, params, replace(state, permissions=permissions), accdesc, *rest)

        return S1DirectBasePermissions

    return Patch(_PERMISSIONS, "S1DirectBasePermissions", make)


def _writable_by_privileged_only(permissions: Any, accdesc: Any) -> dict[str, Any]:
    return {"ap": permissions.ap & 0b10} if accdesc.acctype is _FETCHES and accdesc.el is not EL.EL0 else {}


def _computed(change: Callable[[Any, Any, Any], tuple[Any, Any]]) -> Patch:
    """Permissions computed for another PE or other parameters: (PE, parameters, access) to both."""

    def make(original: Original) -> Any:
        def S1ComputePermissions(pe: Any, regime: Regime, params: Any, state: Any, accdesc: Any, *rest: Any) -> Any:
            pe, params = change(pe, params, accdesc)
            return original(pe, regime, params, state, accdesc, *rest)

        return S1ComputePermissions

    return Patch(_PERMISSIONS, "S1ComputePermissions", make)


def _pan_hides_wxn(pe: Any, params: Any, accdesc: Any) -> tuple[Any, Any]:
    hidden = pe.pan and params.epan and accdesc.acctype is _FETCHES
    return pe, (replace(params, wxn=False) if hidden else params)


# Reports -----------------------------------------------------------------------------------------------------------


def _to_el2(original: Original) -> Any:
    def _abort_target(fault: Any, pe: Any) -> Any:
        target, rules = original(fault, pe)
        moved = target is EL.EL1 and fault.gpcf.gpf is GPCF.GPCF_None
        return (EL.EL2 if moved else target), rules

    return _abort_target


def _wnr_inverted(original: Original) -> Any:
    def AArch64_FaultSyndrome(fault: Any, *, d_side: bool) -> Any:
        iss, known = original(fault, d_side=d_side)
        return (iss ^ _WNR if d_side and fault.gpcf.gpf is GPCF.GPCF_None else iss), known

    return AArch64_FaultSyndrome


# Stage 2 -----------------------------------------------------------------------------------------------------------


def _leaf_of_stage_2(change: Callable[[int], int]) -> Patch:
    """A leaf descriptor of stage 2 that is read changed."""

    def make(original: Original) -> Any:
        def _leaf(fault: Any, params: Any, table: Any, ipa: Any, descriptor: int, *rest: Any) -> Any:
            return original(fault, params, table, ipa, change(descriptor), *rest)

        return _leaf

    return Patch(_STAGE2, "_leaf", make)


def _one_table(original: Original) -> Any:
    """Concatenated tables taken for one of 512 entries."""

    def _first_entry(params: Any, ipa: int, state: TTWState) -> FullAddress:
        found: FullAddress = original(params, ipa, state)
        return FullAddress(found.paspace, state.baseaddress.address | found.address & 0xFFF)

    return _first_entry


def _ipa_truncated(original: Original) -> Any:
    def S2Translate(fault: Any, ipa: FullAddress, accdesc: Any, walk: Any) -> Any:
        size = 64 - walk.stage2.walkparams(walk.pe, ipa.paspace).txsz
        return original(fault, FullAddress(ipa.paspace, ipa.address & (1 << size) - 1), accdesc, walk)

    return S2Translate


def _checked_as(change: Callable[[Any, Any, Any], tuple[Any, Any]]) -> Patch:
    """Stage 2 permissions checked with another leaf or other parameters: (leaf, parameters, access) to both."""

    def make(original: Original) -> Any:
        def S2CheckPermissions(fault: Any, leaf: Any, params: Any, accdesc: Any, walk: Any) -> Any:
            leaf, params = change(leaf, params, accdesc)
            return original(fault, leaf, params, accdesc, walk)

        return S2CheckPermissions

    return Patch(_STAGE2, "S2CheckPermissions", make)


def _all_permitted(leaf: Any, params: Any, accdesc: Any) -> tuple[Any, Any]:
    walk = accdesc.acctype is AccessType.AccessType_TTW
    return (leaf if walk else replace(leaf, descriptor=leaf.descriptor | 0b11 << 6)), params


def _tables_readable(leaf: Any, params: Any, accdesc: Any) -> tuple[Any, Any]:
    walk = accdesc.acctype is AccessType.AccessType_TTW
    return (replace(leaf, descriptor=leaf.descriptor | 1 << 6) if walk else leaf), params


def _at_home(acctype: AccessType) -> Callable[[Any, Any, Any], tuple[Any, Any]]:
    """Accesses of one kind find everything in the Realm space, for the check alone."""

    def change(leaf: Any, params: Any, accdesc: Any) -> tuple[Any, Any]:
        if accdesc.acctype is not acctype or accdesc.ss is not SecurityState.SS_Realm:
            return leaf, params
        home = FullAddress(PASpace.PAS_Realm, leaf.state.baseaddress.address)
        return replace(leaf, state=replace(leaf.state, baseaddress=home)), params

    return change


def _own_tables_only(original: Original) -> Any:
    return lambda params, *rest: original(replace(params, sw=False, nsw=False), *rest)


def _rerouted(concerned: Callable[[Any, Any], bool], target: EL) -> Patch:
    """Faults of translation itself that go to another level."""

    def make(original: Original) -> Any:
        def _abort_target(fault: Any, pe: Any) -> Any:
            found, rules = original(fault, pe)
            moved = fault.gpcf.gpf is GPCF.GPCF_None and concerned(fault, pe)
            return (target if moved else found), rules

        return _abort_target

    return Patch(_FAULTS, "_abort_target", make)


def _first_stage_below(fault: Any, pe: Any) -> bool:
    return bool(pe.hcr.VM) and not fault.secondstage and not (fault.access.read and fault.access.write)


def _first_stage_of_atomic(fault: Any, pe: Any) -> bool:
    return bool(pe.hcr.VM) and not fault.secondstage and fault.access.atomicop


def _s1ptw_lost(original: Original) -> Any:
    def AArch64_FaultSyndrome(fault: Any, *, d_side: bool) -> Any:
        iss, known = original(fault, d_side=d_side)
        return (iss & ~(1 << 7) if fault.gpcf.gpf is GPCF.GPCF_None else iss), known

    return AArch64_FaultSyndrome


def _next_ipa(original: Original) -> Any:
    def encode_hpfar(fault: Any, pe: Any) -> Any:
        found = original(fault, pe)
        return found if found is None or fault.gpcf.gpf is not GPCF.GPCF_None else found ^ 1 << 4

    return encode_hpfar


TRANSLATION_MUTANTS: tuple[Mutant, ...] = (
    _mutant("reserved-block-accepted", Rule.S1_DESCRIPTOR, Patch(_STAGE1, "DecodeDescriptorType", _reserved_block)),
    _mutant("leaf-level-2-covers-1gb", Rule.S1_LEAF, Patch(_STAGE1, "StageOA", _level_2_covers_a_gigabyte)),
    _mutant("start-level-rounded-down", Rule.S1_START_LEVEL,
            Patch(_WALKSTATE, "S1StartLevel", lambda original: lambda params: FINAL_LEVEL - (params.iasize - 12) // 9)),
    _mutant("va-range-ignored", Rule.VA_RANGE, _always(_STAGE1, "VAIsOutOfRange", False)),
    _mutant("tbi-ignored", Rule.TOP_BYTE_IGNORED, _always(_REGIMES, "_addrtop", 63)),
    _mutant("tbid-ignored", Rule.TOP_BYTE_OF_FETCH,
            Patch(_REGIMES, "_addrtop", lambda original: lambda tbi, tbid, acctype: original(tbi, 0, acctype))),
    _mutant("epd-ignored", Rule.WALKS_DISABLED, _range_params(epd=False)),
    _mutant("e0pd-ignored", Rule.E0PD, _range_params(e0pd=False)),
    _mutant("leaf-size-ignored", Rule.LEAF_SIZE, Patch(_STAGE1, "S1NextWalkStateLeaf", _truncated)),
    _mutant("access-flag-before-size", Rule.LEAF_SIZE, _at_leaf(_flag_before_size)),
    _mutant("table-size-ignored", Rule.TABLE_SIZE, Patch(_STAGE1, "S1NextWalkStateTable", _truncated)),
    _mutant("ttbr-size-ignored", Rule.TTBR_SIZE, Patch(_STAGE1, "S1InitialTTWState", _truncated)),
    _mutant("txsz-out-of-range-taken-as-30", Rule.TXSZ_OUT_OF_RANGE,
            Patch(_STAGE1, "_in_range", lambda original: lambda params, walk: (
                params if 16 <= params.txsz <= 48 else replace(params, txsz=30)))),
    _mutant("access-flag-ignored", Rule.ACCESS_FLAG, _always(_STAGE1, "_access_flag_faults", False)),
    _mutant("permission-before-access-flag", Rule.ACCESS_FLAG, _at_leaf(_permission_before_flag)),
    _mutant("contiguous-too-large-is-size-fault", Rule.CONTIGUOUS_TOO_LARGE, _at_leaf(_contiguous_size_fault)),
    _mutant("contiguous-is-read-only", Rule.S1_CONTIGUOUS,
            Patch(_STAGE1, "S1NextWalkStateLeaf", _contiguous_read_only)),
    _mutant("flat-map-truncates", Rule.S1_OFF_SIZE, Patch(_STAGE1, "S1DisabledOutput", _flat_map_truncates)),
    _mutant("read-only-written", Rule.AP_READ_ONLY, _leaf_permissions(lambda p, accdesc: {"ap": p.ap & 0b01})),
    _mutant("el0-reads-privileged", Rule.AP_EL0, _leaf_permissions(lambda p, accdesc: {"ap": p.ap | 0b01})),
    _mutant("xn-ignored", Rule.EXECUTE_NEVER, _leaf_permissions(lambda p, accdesc: {"xn": False})),
    _mutant("pxn-ignored", Rule.PRIVILEGED_EXECUTE_NEVER, _leaf_permissions(lambda p, accdesc: {"pxn": False})),
    _mutant("el0-writable-executed", Rule.EL0_WRITABLE_NOT_EXECUTED, _leaf_permissions(_writable_by_privileged_only)),
    _mutant("wxn-ignored", Rule.WXN, _computed(lambda pe, params, accdesc: (pe, replace(params, wxn=False)))),
    _mutant("pan-ignored", Rule.PAN, _computed(lambda pe, params, accdesc: (replace(pe, pan=0), params))),
    _mutant("epan-ignored", Rule.EPAN, _computed(lambda pe, params, accdesc: (pe, replace(params, epan=False)))),
    _mutant("ap-table-ignored", Rule.AP_TABLE, _leaf_permissions(lambda p, accdesc: {"ap_table": 0})),
    _mutant("xn-table-ignored", Rule.XN_TABLE, _leaf_permissions(lambda p, accdesc: {"xn_table": False})),
    _mutant("pxn-table-ignored", Rule.PXN_TABLE, _leaf_permissions(lambda p, accdesc: {"pxn_table": False})),
    _mutant("hpd-ignored", Rule.HIERARCHY_DISABLED, Patch(_STAGE1, "S1NextWalkStateTable", _without_hpd)),
    _mutant("ldtr-is-privileged", Rule.UNPRIVILEGED_ACCESS, _always("refmodel.access", "IsUnprivAccessPriv", True)),
    _mutant("wxn-after-pan", Rule.WXN_BESIDE_PAN, _computed(_pan_hides_wxn)),
    _mutant("stage-1-fault-to-el2", Rule.S1_FAULT_ROUTE, Patch(_FAULTS, "_abort_target", _to_el2)),
    _mutant("wnr-inverted", Rule.S1_FAULT_ISS, Patch(_FAULTS, "AArch64_FaultSyndrome", _wnr_inverted)),
    _mutant("stage-1-far-is-page", Rule.S1_FAULT_FAR,
            Patch("harness.targets.model_machine", "far_of", lambda original: lambda record: record.address & ~0xFFF),
            kind="observation"),
    _mutant("external-abort-on-walk-at-level-0", Rule.WALK_EXTERNAL_ABORT, Patch(_FETCH, "_read", _abort_at_level_0)),
    _mutant("stage-2-reserved-accepted", Rule.S2_DESCRIPTOR, Patch(_STAGE2, "DecodeDescriptorType", _reserved_block)),
    _mutant("stage-2-leaf-is-another-page", Rule.S2_LEAF, _leaf_of_stage_2(lambda descriptor: descriptor ^ 1 << 16)),
    _mutant("concatenation-ignored", Rule.S2_START_LEVEL, Patch(_STAGE2, "_first_entry", _one_table)),
    _mutant("ipa-truncated", Rule.IPA_RANGE, Patch("refmodel.access", "S2Translate", _ipa_truncated)),
    _mutant("stage-2-size-ignored", Rule.S2_ADDRESS_SIZE, _always(_STAGE2, "OAOutOfRange", False)),
    _mutant("stage-2-txsz-taken-as-30", Rule.S2_TXSZ,
            Patch(_STAGE2, "_in_range", lambda original: lambda params, walk: (
                params if 16 <= params.txsz <= 48 else replace(params, txsz=30, sl0=1)))),
    _mutant("stage-2-access-flag-ignored", Rule.S2_ACCESS_FLAG,
            _leaf_of_stage_2(lambda descriptor: descriptor | 1 << 10)),
    _mutant("s2ap-ignored", Rule.S2AP, _checked_as(_all_permitted)),
    _mutant("stage-2-xn-ignored", Rule.S2_XN, _always(_STAGE2, "_executable", True)),
    _mutant("stage-2-tables-readable", Rule.S2_TABLE_READ, _checked_as(_tables_readable)),
    _mutant("ptw-ignored", Rule.S2_PTW,
            _checked_as(lambda leaf, params, accdesc: (leaf, replace(params, ptw=False)))),
    _mutant("sw-and-nsw-ignored", Rule.S2_WALK_SPACE, Patch(_STAGE2, "_initial", _own_tables_only)),
    _mutant("stage-2-own-space-only", Rule.S2_OUTPUT_SPACE,
            Patch(_STAGE2, "S2OutputPASpace", lambda original: lambda params, space, ss, found: OWN_SPACE[ss])),
    _mutant("realm-tables-anywhere", Rule.REALM_TABLES_OWN, _checked_as(_at_home(AccessType.AccessType_TTW))),
    _mutant("realm-executes-anything", Rule.REALM_EXECUTES_OWN, _checked_as(_at_home(_FETCHES))),
    _mutant("stage-2-fault-to-el1", Rule.S2_FAULT_ROUTE, _rerouted(lambda fault, pe: fault.secondstage, EL.EL1)),
    _mutant("s1ptw-lost-in-translation", Rule.S2_FAULT_ISS, Patch(_FAULTS, "AArch64_FaultSyndrome", _s1ptw_lost)),
    _mutant("hpfar-names-the-next-page", Rule.S2_FAULT_HPFAR, Patch(_FAULTS, "encode_hpfar", _next_ipa)),
    _mutant("stage-2-takes-stage-1-faults", Rule.FAULT_PRIORITY, _rerouted(_first_stage_below, EL.EL2)),
    _mutant("stage-2-takes-atomics-faults", Rule.ATOMIC_PRIORITY, _rerouted(_first_stage_of_atomic, EL.EL2)),
)  # fmt: skip
