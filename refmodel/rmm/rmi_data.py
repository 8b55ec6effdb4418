"""RMI commands on DATA granules: memory of a realm at Protected IPAs.

Source: DEN0137 1.0-rel0, B4.3.1 to B4.3.3.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from refmodel.rmm.command import Command, Condition, Success, failed, failed_rtt
from refmodel.rmm.context import AddrIsGranuleAligned, Context
from refmodel.rmm.measurement import RimExtendData
from refmodel.rmm.results import UNDEFINED, Result, RmiResult
from refmodel.rmm.rtt import RttSkipNonLiveEntries, Walk
from refmodel.rmm.state import UNASSIGNED_DESTROYED, UNASSIGNED_EMPTY, WIPED, Content, RttEntry, State, delegated, owned
from refmodel.rmm.types import RMM_RTT_PAGE_LEVEL, EntryState, GranuleState, RealmState, Ripas, Rmi

_INPUT = failed(Rmi.RMI_ERROR_INPUT)
_REALM = failed(Rmi.RMI_ERROR_REALM)
_RTT = failed_rtt()


def _page_walk(c: Context) -> Walk:
    return c.RttWalk(c.ipa, RMM_RTT_PAGE_LEVEL)


_DATA: Final = (
    Condition("data_align", lambda c: not AddrIsGranuleAligned(c.data), _INPUT),
    Condition("data_bound", lambda c: not c.PaIsDelegable(c.data), _INPUT),
    Condition("data_state", lambda c: c.Granule(c.data).state is not GranuleState.DELEGATED, _INPUT),
    Condition("data_bound2", lambda c: not c.realm.feat_lpa2 and c.data >= 1 << 48, _INPUT),
    Condition("rd_align", lambda c: not AddrIsGranuleAligned(c.rd), _INPUT),
    Condition("rd_bound", lambda c: not c.PaIsDelegable(c.rd), _INPUT),
    Condition("rd_state", lambda c: c.Granule(c.rd).state is not GranuleState.RD, _INPUT),
    Condition("ipa_align", lambda c: not AddrIsGranuleAligned(c.ipa), _INPUT),
    Condition("ipa_bound", lambda c: not c.AddrIsProtected(c.ipa), _INPUT),
)
_WALK: Final = (
    Condition("rtt_walk", lambda c: c.walk.level < RMM_RTT_PAGE_LEVEL, _RTT),
    Condition("rtte_state", lambda c: c.rtte.state is not EntryState.UNASSIGNED, _RTT),
)


def _map(c: Context, ripas: Ripas, content: Content) -> State:
    """The state with ``data`` assigned at ``ipa``."""
    walk = c.walk
    entry = RttEntry(EntryState.ASSIGNED, ripas, c.data)
    state = c.state.with_granule(c.data, owned(GranuleState.DATA, content))
    return state.with_entry(walk.rtt_addr, walk.entry_idx, entry)


def _create(c: Context) -> Iterable[Success]:
    realm, source = c.realm, c.source
    rim = RimExtendData(realm.hash_algo, realm.measurements[0], c.ipa, c.flags, source.page, c.p.measurement)
    measured = realm._replace(measurements=(rim, *realm.measurements[1:]))
    yield Success(_map(c, Ripas.RAM, source.content).with_realm(c.rd, measured))


DATA_CREATE: Final = Command(
    name="RMI_DATA_CREATE",
    fid=0xC4000153,
    section="B4.3.1",
    inputs=("rd", "data", "ipa", "src", "flags"),
    walk=_page_walk,
    conditions=(
        Condition("src_align", lambda c: not AddrIsGranuleAligned(c.src), _INPUT),
        Condition("src_bound", lambda c: not c.PaIsDelegable(c.src), _INPUT),
        Condition("src_pas", lambda c: not c.AccessPermittedNS(c.src), _INPUT),
        *_DATA,
        Condition("realm_state", lambda c: c.realm.state is not RealmState.REALM_NEW, _REALM),
        *_WALK,
    ),
    order=(
        (("rd_bound", "rd_state"), ("realm_state",)),
        (("rd_bound", "rd_state"), ("rtt_walk", "rtte_state")),
        (("ipa_bound",), ("rtt_walk", "rtte_state")),
    ),
    success=_create,
)


def _create_unknown(c: Context) -> Iterable[Success]:
    yield Success(_map(c, c.rtte.ripas, WIPED))


DATA_CREATE_UNKNOWN: Final = Command(
    name="RMI_DATA_CREATE_UNKNOWN",
    fid=0xC4000154,
    section="B4.3.2",
    inputs=("rd", "data", "ipa"),
    walk=_page_walk,
    conditions=(*_DATA, *_WALK),
    order=(
        (("rd_bound", "rd_state"), ("rtt_walk", "rtte_state")),
        (("ipa_bound",), ("rtt_walk", "rtte_state")),
    ),
    success=_create_unknown,
)


# Outputs of a failure that the walk does not decide: data is not valid, top is 0 (the table of B4.3.3.1.3).
_INPUT_TOP_0: Final = RmiResult(Rmi.RMI_ERROR_INPUT, 0, (UNDEFINED, 0))


def _input_top_0(_: Context) -> Result:
    return _INPUT_TOP_0


def _walk_top(c: Context) -> int:
    return RttSkipNonLiveEntries(c.walk_rtt, c.walk, c.ipa, c.p.stride)


def _rtt_top(c: Context) -> Result:
    return RmiResult(Rmi.RMI_ERROR_RTT, c.walk.level, (UNDEFINED, _walk_top(c)))


def _destroy(c: Context) -> Iterable[Success]:
    walk, state = c.walk, c.state
    data = walk.rtte.addr
    left = UNASSIGNED_EMPTY if walk.rtte.ripas is Ripas.EMPTY else UNASSIGNED_DESTROYED
    after = state.with_entry(walk.rtt_addr, walk.entry_idx, left)
    # walk_top is a value of the state after the command: the entry itself is no longer live.
    top = RttSkipNonLiveEntries(after.rtts[walk.rtt_addr], walk, c.ipa, c.p.stride)
    yield Success(after.with_granule(data, delegated(state.granules[data].content)), (data, top))


DATA_DESTROY: Final = Command(
    name="RMI_DATA_DESTROY",
    fid=0xC4000155,
    section="B4.3.3",
    inputs=("rd", "ipa"),
    outputs=("data", "top"),
    walk=_page_walk,
    conditions=(
        Condition("rd_align", lambda c: not AddrIsGranuleAligned(c.rd), _input_top_0),
        Condition("rd_bound", lambda c: not c.PaIsDelegable(c.rd), _input_top_0),
        Condition("rd_state", lambda c: c.Granule(c.rd).state is not GranuleState.RD, _input_top_0),
        Condition("ipa_align", lambda c: not AddrIsGranuleAligned(c.ipa), _input_top_0),
        Condition("ipa_bound", lambda c: not c.AddrIsProtected(c.ipa), _input_top_0),
        Condition("rtt_walk", lambda c: c.walk.level < RMM_RTT_PAGE_LEVEL, _rtt_top),
        Condition("rtte_state", lambda c: c.rtte.state is not EntryState.ASSIGNED, _rtt_top),
    ),
    order=(
        (("rd_bound", "rd_state"), ("rtt_walk", "rtte_state")),
        (("ipa_bound",), ("rtt_walk", "rtte_state")),
    ),
    success=_destroy,
)
