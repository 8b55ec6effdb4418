"""Stage 1 direct permissions.

Source: DDI 0487, shared pseudocode ``AArch64_S1DirectBasePermissions``, ``AArch64_S1ComputePermissions`` and
``AArch64_S1CheckPermissions``.  Indirect permissions, overlays, GCS, NV1 and fetches from Device memory are not here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from refmodel.accdesc import AccessDescriptor, AccessType, CacheOp
from refmodel.choices import Chooser, Option
from refmodel.context import PEContext, Regime
from refmodel.faultrecord import Fault, FaultRecord
from refmodel.observe import Observer, unobserved
from refmodel.pas import EL, PASpace, SecurityState
from refmodel.rules import Rule
from refmodel.translation.walkstate import S1TTWParams, TTWState


@dataclass(frozen=True, slots=True)
class S1AccessControls:
    """What stage 1 lets an access do: read, write, execute."""

    r: bool
    w: bool
    x: bool


def S1DirectBasePermissions(
    pe: PEContext,
    regime: Regime,
    params: S1TTWParams,
    state: TTWState,
    accdesc: AccessDescriptor,
    choose: Chooser | None = None,
) -> S1AccessControls:
    """Permissions of a leaf for an access, without WXN and without the space it leads to.

    Without ``choose`` the space does not affect EPAN.
    """
    permissions = state.permissions
    if not regime.has_unprivileged:
        writable = not permissions.ap & 0b10 and not permissions.ap_table & 0b10
        return S1AccessControls(True, writable, not permissions.xn and not permissions.xn_table)
    read_only, user = bool(permissions.ap & 0b10), bool(permissions.ap & 0b01)
    pr, pw, ur, uw = True, not read_only, user, user and not read_only
    if permissions.ap_table & 0b01:
        ur = uw = False
    if permissions.ap_table & 0b10:
        pw = uw = False
    px = not (permissions.pxn or permissions.pxn_table or uw)
    ux = not (permissions.xn or permissions.xn_table)
    if (
        accdesc.pan
        and pe.pan
        and (ur or uw or (params.epan and ux and _executable_for_epan(params, regime, state, accdesc, choose)))
    ):
        pr = pw = False
    return S1AccessControls(ur, uw, ux) if accdesc.el is EL.EL0 else S1AccessControls(pr, pw, px)


def _executable_for_epan(
    params: S1TTWParams, regime: Regime, state: TTWState, accdesc: AccessDescriptor, choose: Chooser | None
) -> bool:
    """Whether memory that EL0 may execute by its descriptor counts as such for EPAN.

    IMPLEMENTATION DEFINED where its space forbids execution: SIF in Secure state, the Realm EL2&0 regime.
    """
    space = state.baseaddress.paspace
    sif = accdesc.ss is SecurityState.SS_Secure and space is PASpace.PAS_NonSecure and params.sif
    realm = accdesc.ss is SecurityState.SS_Realm and regime is Regime.Regime_EL20 and space is not PASpace.PAS_Realm
    return choose(_FOREIGN_EPAN) if choose is not None and (sif or realm) else True


_FOREIGN_EPAN = (
    Option(True, "EPAN counts what the space forbids to execute as executable (IMPLEMENTATION DEFINED)"),
    Option(False, "EPAN does not count what the space forbids to execute as executable (IMPLEMENTATION DEFINED)"),
)


def _denied_by(
    pe: PEContext, regime: Regime, params: S1TTWParams, state: TTWState, accdesc: AccessDescriptor
) -> Iterator[Rule]:
    """Every control that by itself denies the access, as rules."""
    permissions, user = state.permissions, accdesc.el is EL.EL0
    read_only, ro_table = bool(permissions.ap & 0b10), bool(permissions.ap_table & 0b10)
    no_el0, no_el0_table = not permissions.ap & 0b01, bool(permissions.ap_table & 0b01)
    if accdesc.acctype is not AccessType.AccessType_IFETCH:
        if accdesc.write and read_only:
            yield Rule.AP_READ_ONLY
        if accdesc.write and ro_table:
            yield Rule.AP_TABLE
        if user and no_el0:
            yield Rule.AP_EL0
        if user and no_el0_table:
            yield Rule.AP_TABLE
        if accdesc.pan and pe.pan and not user and regime.has_unprivileged:
            if not (no_el0 or no_el0_table):
                yield Rule.PAN
            elif params.epan and not (permissions.xn or permissions.xn_table):
                yield Rule.EPAN
        return
    own_xn = user or not regime.has_unprivileged
    if own_xn and permissions.xn:
        yield Rule.EXECUTE_NEVER
    if own_xn and permissions.xn_table:
        yield Rule.XN_TABLE
    if not own_xn and permissions.pxn:
        yield Rule.PRIVILEGED_EXECUTE_NEVER
    if not own_xn and permissions.pxn_table:
        yield Rule.PXN_TABLE
    if not own_xn and not (read_only or ro_table or no_el0 or no_el0_table):
        yield Rule.EL0_WRITABLE_NOT_EXECUTED
    writable = not (read_only or ro_table) and not (user and (no_el0 or no_el0_table))
    if params.wxn and writable:
        yield Rule.WXN
        if pe.pan and params.epan and not user:
            yield Rule.WXN_BESIDE_PAN


def S1ComputePermissions(
    pe: PEContext,
    regime: Regime,
    params: S1TTWParams,
    state: TTWState,
    accdesc: AccessDescriptor,
    observe: Observer = unobserved,
    choose: Chooser | None = None,
) -> S1AccessControls:
    """Permissions of a leaf for an access.

    Nothing executes from a foreign space: Root from no other, Realm EL2 from the Realm space only, Secure from the
    Non-secure space unless SCR_EL3.SIF is 0.
    """
    base = S1DirectBasePermissions(pe, regime, params, state, accdesc, choose)
    x = base.x and not (params.wxn and base.w)
    space = state.baseaddress.paspace
    foreign = (
        (accdesc.ss is SecurityState.SS_Secure and space is PASpace.PAS_NonSecure and params.sif)
        or (accdesc.ss is SecurityState.SS_Root and space is not PASpace.PAS_Root)
        or (
            accdesc.ss is SecurityState.SS_Realm
            and regime in (Regime.Regime_EL2, Regime.Regime_EL20)
            and space is not PASpace.PAS_Realm
        )
    )
    if x and foreign and accdesc.acctype is AccessType.AccessType_IFETCH:
        root = accdesc.ss is SecurityState.SS_Root
        rule = Rule.ROOT_EXECUTE_NEVER if root else Rule.FOREIGN_EXECUTE_NEVER
        observe(rule, "{} is execute-never for {}", state.baseaddress, accdesc.ss.name)
    return S1AccessControls(base.r, base.w, x and not foreign)


def S1CheckPermissions(
    fault: FaultRecord,
    pe: PEContext,
    regime: Regime,
    params: S1TTWParams,
    state: TTWState,
    observe: Observer = unobserved,
    choose: Chooser | None = None,
) -> FaultRecord:
    """The fault, if any, that the permissions of the leaf mean for ``fault.access``.

    Whether IC IVAU at EL0 without read permission faults is IMPLEMENTATION DEFINED; it is taken not to.
    """
    accdesc = fault.access
    s1perms = S1ComputePermissions(pe, regime, params, state, accdesc, observe, choose)
    denied, write = _denied(accdesc, s1perms)
    if accdesc.el is not pe.el and accdesc.acctype is AccessType.AccessType_GPR:
        observe(Rule.UNPRIVILEGED_ACCESS, "the access has the permissions of {}", accdesc.el.name)
    if not denied:
        _observe_permitted(regime, accdesc, observe)
        return fault
    for rule in _denied_by(pe, regime, params, state, accdesc):
        observe(rule, "{} does not permit the {}", state.permissions, accdesc.acctype.value)
    return fault.with_(Fault.Fault_Permission, write=fault.write if write is None else write)


def _denied(accdesc: AccessDescriptor, s1perms: S1AccessControls) -> tuple[bool, bool | None]:
    """Whether the access is denied, and whether that is reported as a write (None: as before)."""
    match accdesc.acctype:
        case AccessType.AccessType_IFETCH:
            return not s1perms.x, None
        case AccessType.AccessType_DC if accdesc.cacheop is CacheOp.CacheOp_Invalidate:
            return not s1perms.w, None
        case AccessType.AccessType_DC if accdesc.el is EL.EL0:
            return not s1perms.r, None
        case AccessType.AccessType_DC | AccessType.AccessType_IC:
            return False, None
        case _ if accdesc.read and not s1perms.r:
            return True, False
        case _:
            return accdesc.write and not s1perms.w, True


def _observe_permitted(regime: Regime, accdesc: AccessDescriptor, observe: Observer) -> None:
    """The rules that a permitted access speaks for."""
    if accdesc.acctype is AccessType.AccessType_IFETCH:
        privileged = regime.has_unprivileged and accdesc.el is not EL.EL0
        observe(Rule.PRIVILEGED_EXECUTE_NEVER if privileged else Rule.EXECUTE_NEVER, "may be executed")
    elif accdesc.write:
        observe(Rule.AP_READ_ONLY, "may be written")
    if accdesc.el is EL.EL0:
        observe(Rule.AP_EL0, "EL0 may access")
