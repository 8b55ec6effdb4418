"""Stage 1 direct permissions.

Source: DDI 0487, shared pseudocode ``AArch64_S1DirectBasePermissions``, ``AArch64_S1ComputePermissions`` and
``AArch64_S1CheckPermissions``.  Indirect permissions, overlays, GCS, NV1 and fetches from Device memory are not here.
"""

from __future__ import annotations

from dataclasses import dataclass

from refmodel.accdesc import AccessDescriptor, AccessType, CacheOp
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
    pe: PEContext, regime: Regime, params: S1TTWParams, state: TTWState, accdesc: AccessDescriptor
) -> S1AccessControls:
    """Permissions of a leaf for an access, without WXN and without the space it leads to."""
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
    if accdesc.pan and pe.pan and (ur or uw or (params.epan and ux)):
        pr = pw = False
    return S1AccessControls(ur, uw, ux) if accdesc.el is EL.EL0 else S1AccessControls(pr, pw, px)


def S1ComputePermissions(
    pe: PEContext,
    regime: Regime,
    params: S1TTWParams,
    state: TTWState,
    accdesc: AccessDescriptor,
    observe: Observer = unobserved,
) -> S1AccessControls:
    """Permissions of a leaf for an access.

    Nothing executes from a foreign space: Root from no other, Realm EL2 from the Realm space only, Secure from the
    Non-secure space unless SCR_EL3.SIF is 0.
    """
    base = S1DirectBasePermissions(pe, regime, params, state, accdesc)
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
) -> FaultRecord:
    """The fault, if any, that the permissions of the leaf mean for ``fault.access``.

    Whether IC IVAU at EL0 without read permission faults is IMPLEMENTATION DEFINED; it is taken not to.
    """
    accdesc = fault.access
    s1perms = S1ComputePermissions(pe, regime, params, state, accdesc, observe)
    match accdesc.acctype:
        case AccessType.AccessType_IFETCH:
            return fault if s1perms.x else fault.with_(Fault.Fault_Permission)
        case AccessType.AccessType_DC if accdesc.cacheop is CacheOp.CacheOp_Invalidate:
            return fault if s1perms.w else fault.with_(Fault.Fault_Permission)
        case AccessType.AccessType_DC if accdesc.el is EL.EL0:
            return fault if s1perms.r else fault.with_(Fault.Fault_Permission)
        case AccessType.AccessType_DC | AccessType.AccessType_IC:
            return fault
        case _:
            if accdesc.read and not s1perms.r:
                return fault.with_(Fault.Fault_Permission, write=False)
            if accdesc.write and not s1perms.w:
                return fault.with_(Fault.Fault_Permission, write=True)
            return fault
