"""RMI commands that create, activate and destroy realms.

Source: DEN0137 1.0-rel0, B4.3.8 to B4.3.10.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from refmodel.rmm.calls import RealmParams
from refmodel.rmm.command import Command, Condition, Maybe, Success, Verdict, failed
from refmodel.rmm.context import AddrIsGranuleAligned, Context
from refmodel.rmm.measurement import HashAlgorithm, MeasuredRealmParams, RimInit
from refmodel.rmm.rtt import RttIsLive, start_rtts, starting_tables
from refmodel.rmm.state import Author, Content, Realm, delegated, owned
from refmodel.rmm.types import RMM_GRANULE_SIZE, GranuleState, RealmState, Rmi
from refmodel.rmm.version import Parameters

_INPUT = failed(Rmi.RMI_ERROR_INPUT)
_REALM = failed(Rmi.RMI_ERROR_REALM)
_KNOWN_FLAGS: Final = 0b111
_LPA2, _SVE, _PMU = 1, 2, 4
HASHES: Final = {0: HashAlgorithm.SHA_256, 1: HashAlgorithm.SHA_512}


def rtts_of(base: int, count: int) -> range:
    """Addresses of the starting level tables."""
    return range(base, base + count * RMM_GRANULE_SIZE, RMM_GRANULE_SIZE)


def _params_invalid(c: Context) -> Verdict:
    """``!RmiRealmParamsIsValid``: an encoding that is reserved is invalid; bits that SBZ may be looked at or not."""
    params = c.realm_params
    if params.hash_algo not in HASHES:
        return True
    return Maybe("reserved bits of flags SBZ") if params.flags & ~_KNOWN_FLAGS else False


def _params_unsupported(c: Context) -> Verdict:
    """``!RealmParamsSupported``.  Source: A3.1.1 to A3.1.5."""
    params, p = c.realm_params, c.p
    width_limit = p.max_ipa_width if params.flags & _LPA2 else min(p.max_ipa_width, 48)
    if not p.min_ipa_width <= params.s2sz <= width_limit or (params.flags & _LPA2 and not p.feat_lpa2):
        return True
    if params.flags & _SVE and (not p.feat_sve or params.sve_vl > p.max_sve_vl):
        return True
    if params.num_bps > p.num_bps or params.num_wps > p.num_wps:
        return True
    if params.flags & _PMU and (not p.feat_pmu or params.pmu_num_ctrs > p.pmu_num_ctrs):
        return True
    if not {0: p.feat_sha_256, 1: p.feat_sha_512}.get(params.hash_algo, False):
        return True
    if params.num_bps == 0 or params.num_wps == 0:
        return Maybe("the value 0 of num_bps and num_wps is reserved")
    if params.pmu_num_ctrs > p.pmu_num_ctrs:
        return Maybe("counters beyond what is available are requested with the PMU disabled")
    return False


def _rtt_config_valid(params: RealmParams, p: Parameters) -> bool:
    """``RttConfigIsValid`` (B3.55): the number of starting level tables is a function of width and level."""
    level = params.rtt_level_start
    if not (-1 if params.flags & _LPA2 else 0) <= level <= 3:
        return False
    needed = start_rtts(params.s2sz, level, p.stride)
    return 0 < needed <= (p.max_start_rtts if level >= 0 else 1) and params.rtt_num_start == needed


def _vmid_bad(c: Context) -> bool:
    vmid = c.realm_params.vmid
    return bool(vmid >> c.p.vmid_bits) or any(realm.vmid == vmid for _, realm in c.state.realms.items())


def _alias(c: Context) -> bool:
    """``AddrInRange(rd, rtt_base, (rtt_num_start - 1) * RMM_GRANULE_SIZE)`` (B3.1)."""
    params = c.realm_params
    return params.rtt_base <= c.rd <= params.rtt_base + (params.rtt_num_start - 1) * RMM_GRANULE_SIZE


def _rtt_misaligned(c: Context) -> bool:
    params = c.realm_params
    size = params.rtt_num_start * RMM_GRANULE_SIZE
    return bool(params.rtt_base % size) if size else not AddrIsGranuleAligned(params.rtt_base)


def _rtts_not_delegated(c: Context) -> bool:
    """``!RttsStateEqual(rtt_base, rtt_num_start, DELEGATED)`` (B3.77)."""
    params = c.realm_params
    # A number of tables that no configuration has is for rtt_num_level; the first one that is wrong ends the search.
    return any(
        not c.PaIsDelegable(addr) or c.Granule(addr).state is not GranuleState.DELEGATED
        for addr in rtts_of(params.rtt_base, min(params.rtt_num_start, c.p.max_start_rtts))
    )


def _create(c: Context) -> Iterable[Success]:
    params, p, state = c.realm_params, c.p, c.state
    serial = state.next_serial
    algorithm = HASHES[params.hash_algo]
    rim = RimInit(
        MeasuredRealmParams(
            params.flags,
            params.s2sz,
            algorithm,
            params.sve_vl,
            params.num_bps,
            params.num_wps,
            params.pmu_num_ctrs,
        ),
        p.measurement,
    )
    zero = bytes(len(rim))
    realm = Realm(
        RealmState.REALM_NEW,
        serial,
        params.s2sz,
        params.rtt_base,
        params.rtt_level_start,
        params.rtt_num_start,
        params.vmid,
        algorithm,
        bool(params.flags & _LPA2),
        params.rpv,
        (rim, zero, zero, zero, zero),
    )
    content = Content(Author.RMM, serial)
    tables = starting_tables(params.s2sz, params.rtt_level_start, params.rtt_num_start, p.stride)
    addresses = rtts_of(params.rtt_base, params.rtt_num_start)
    granules = {c.rd: owned(GranuleState.RD, content)}
    granules.update((addr, owned(GranuleState.RTT, content)) for addr in addresses)
    yield Success(
        state._replace(
            granules=state.granules.update(granules),
            realms=state.realms.set(c.rd, realm),
            rtts=state.rtts.update(dict(zip(addresses, tables, strict=True))),
            next_serial=serial + 1,
        )
    )


REALM_CREATE: Final = Command(
    name="RMI_REALM_CREATE",
    fid=0xC4000158,
    section="B4.3.9",
    inputs=("rd", "params_ptr"),
    conditions=(
        Condition("params_align", lambda c: not AddrIsGranuleAligned(c.params_ptr), _INPUT),
        Condition("params_bound", lambda c: not c.PaIsDelegable(c.params_ptr), _INPUT),
        Condition("params_pas", lambda c: not c.AccessPermittedNS(c.params_ptr), _INPUT),
        Condition("params_valid", _params_invalid, _INPUT),
        Condition("params_supp", _params_unsupported, _INPUT),
        Condition("alias", _alias, _INPUT),
        Condition("rd_align", lambda c: not AddrIsGranuleAligned(c.rd), _INPUT),
        Condition("rd_bound", lambda c: not c.PaIsDelegable(c.rd), _INPUT),
        Condition("rd_state", lambda c: c.Granule(c.rd).state is not GranuleState.DELEGATED, _INPUT),
        Condition("rtt_align", _rtt_misaligned, _INPUT),
        Condition("rtt_num_level", lambda c: not _rtt_config_valid(c.realm_params, c.p), _INPUT),
        Condition("rtt_state", _rtts_not_delegated, _INPUT),
        Condition("vmid_valid", _vmid_bad, _INPUT),
    ),
    success=_create,
)


def _activate(c: Context) -> Iterable[Success]:
    yield Success(c.state.with_realm(c.rd, c.realm._replace(state=RealmState.REALM_ACTIVE)))


REALM_ACTIVATE: Final = Command(
    name="RMI_REALM_ACTIVATE",
    fid=0xC4000157,
    section="B4.3.8",
    inputs=("rd",),
    conditions=(
        Condition("rd_align", lambda c: not AddrIsGranuleAligned(c.rd), _INPUT),
        Condition("rd_bound", lambda c: not c.PaIsDelegable(c.rd), _INPUT),
        Condition("rd_state", lambda c: c.Granule(c.rd).state is not GranuleState.RD, _INPUT),
        Condition("realm_state", lambda c: c.realm.state is not RealmState.REALM_NEW, _REALM),
    ),
    order=((("rd_bound", "rd_state"), ("realm_state",)),),
    success=_activate,
)


def RealmIsLive(c: Context) -> bool:
    """B3.32: it owns RECs, or one of its starting level tables is live (A2.1.4)."""
    realm = c.realm
    return realm.num_recs != 0 or any(
        RttIsLive(c.state.rtts[addr]) for addr in rtts_of(realm.rtt_base, realm.rtt_num_start)
    )


def _destroy(c: Context) -> Iterable[Success]:
    realm, state = c.realm, c.state
    granules, rtts = state.granules, state.rtts
    for addr in rtts_of(realm.rtt_base, realm.rtt_num_start):
        granules = granules.set(addr, delegated(granules[addr].content))
        rtts = rtts.remove(addr)
    granules = granules.set(c.rd, delegated(granules[c.rd].content))
    yield Success(state._replace(granules=granules, rtts=rtts, realms=state.realms.remove(c.rd)))


REALM_DESTROY: Final = Command(
    name="RMI_REALM_DESTROY",
    fid=0xC4000159,
    section="B4.3.10",
    inputs=("rd",),
    conditions=(
        Condition("rd_align", lambda c: not AddrIsGranuleAligned(c.rd), _INPUT),
        Condition("rd_bound", lambda c: not c.PaIsDelegable(c.rd), _INPUT),
        Condition("rd_state", lambda c: c.Granule(c.rd).state is not GranuleState.RD, _INPUT),
        Condition("realm_live", RealmIsLive, _REALM),
    ),
    order=((("rd_bound", "rd_state"), ("realm_live",)),),
    success=_destroy,
)
