"""RMI commands on realm translation tables and on mappings of Non-secure memory.

Source: DEN0137 1.0-rel0, B4.3.15 to B4.3.17, B4.3.19, B4.3.20 and B4.3.22.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from refmodel.rmm.command import Command, Condition, Success, failed, failed_rtt
from refmodel.rmm.context import AddrIsGranuleAligned, Context, IllFormed
from refmodel.rmm.descriptor import RttDescriptorIsValidForUnprotected, RttEntryFromDescriptor, descriptor_of
from refmodel.rmm.results import UNDEFINED, Output, Result, RmiResult
from refmodel.rmm.rtt import (
    RttFold,
    RttIsLive,
    RttLevelIsBlockOrPage,
    RttLevelIsStarting,
    RttLevelIsValid,
    RttSkipNonLiveEntries,
    Walk,
    unfold,
)
from refmodel.rmm.state import (
    UNASSIGNED_DESTROYED,
    UNASSIGNED_NS,
    Author,
    Content,
    RttEntry,
    delegated,
    owned,
)
from refmodel.rmm.types import RMI_ENTRY_STATE, EntryState, GranuleState, Rmi

_INPUT = failed(Rmi.RMI_ERROR_INPUT)
_INPUT_1 = failed(Rmi.RMI_ERROR_INPUT, outputs=1)
_INPUT_4 = failed(Rmi.RMI_ERROR_INPUT, outputs=4)
_RTT = failed_rtt()
_RTT_1 = failed_rtt(outputs=1)


def _parent_walk(c: Context) -> Walk:
    return c.RttWalk(c.ipa, c.level - 1)


def _level_walk(c: Context) -> Walk:
    return c.RttWalk(c.ipa, c.level)


def _not_a_child_level(c: Context) -> bool:
    return not RttLevelIsValid(c.realm, c.level) or RttLevelIsStarting(c.realm, c.level)


def _beyond_ipa_space(c: Context) -> bool:
    return c.ipa >= 1 << c.realm.ipa_width


# RTT_CREATE --------------------------------------------------------------------------------------------------------


def _create(c: Context) -> Iterable[Success]:
    walk, state = c.walk, c.state
    content = Content(Author.RMM, c.realm.serial)
    state = state.with_granule(c.rtt, owned(GranuleState.RTT, content))
    state = state._replace(rtts=state.rtts.set(c.rtt, unfold(walk.rtte, c.level, c.p.stride)))
    yield Success(state.with_entry(walk.rtt_addr, walk.entry_idx, RttEntry(EntryState.TABLE, addr=c.rtt)))


RTT_CREATE: Final = Command(
    name="RMI_RTT_CREATE",
    fid=0xC400015D,
    section="B4.3.15",
    inputs=("rd", "rtt", "ipa", "level"),
    walk=_parent_walk,
    conditions=(
        Condition("rd_align", lambda c: not AddrIsGranuleAligned(c.rd), _INPUT),
        Condition("rd_bound", lambda c: not c.PaIsDelegable(c.rd), _INPUT),
        Condition("rd_state", lambda c: c.Granule(c.rd).state is not GranuleState.RD, _INPUT),
        Condition("level_bound", _not_a_child_level, _INPUT),
        Condition("ipa_align", lambda c: not c.AddrIsRttLevelAligned(c.ipa, c.level - 1), _INPUT),
        Condition("ipa_bound", _beyond_ipa_space, _INPUT),
        Condition("rtt_align", lambda c: not AddrIsGranuleAligned(c.rtt), _INPUT),
        Condition("rtt_bound", lambda c: not c.PaIsDelegable(c.rtt), _INPUT),
        Condition("rtt_state", lambda c: c.Granule(c.rtt).state is not GranuleState.DELEGATED, _INPUT),
        Condition("rtt_bound2", lambda c: not c.realm.feat_lpa2 and c.rtt >= 1 << 48, _INPUT),
        Condition("rtt_walk", lambda c: c.walk.level < c.level - 1, _RTT),
        Condition("rtte_state", lambda c: c.rtte.state is EntryState.TABLE, _RTT),
    ),
    order=(
        (("rd_bound", "rd_state"), ("rtt_walk", "rtte_state")),
        (("level_bound", "ipa_bound"), ("rtt_walk", "rtte_state")),
    ),
    success=_create,
)


# RTT_DESTROY -------------------------------------------------------------------------------------------------------

_INPUT_TOP_0: Final = RmiResult(Rmi.RMI_ERROR_INPUT, 0, (UNDEFINED, 0))


def _input_top_0(_: Context) -> Result:
    return _INPUT_TOP_0


def _walk_top(c: Context) -> int:
    return RttSkipNonLiveEntries(c.walk_rtt, c.walk, c.ipa, c.p.stride)


def _rtt_top(c: Context) -> Result:
    return RmiResult(Rmi.RMI_ERROR_RTT, c.walk.level, (UNDEFINED, _walk_top(c)))


def _live_top(c: Context) -> Result:
    return RmiResult(Rmi.RMI_ERROR_RTT, c.level, (UNDEFINED, c.ipa))


def _destroy(c: Context) -> Iterable[Success]:
    walk, state = c.walk, c.state
    rtt = walk.rtte.addr
    # B4.3.16.3 states UNASSIGNED and DESTROYED for any IPA; those are states of Protected IPAs alone (A5.5.4).
    left = UNASSIGNED_DESTROYED if c.AddrIsProtected(c.ipa) else UNASSIGNED_NS
    after = state.with_entry(walk.rtt_addr, walk.entry_idx, left)
    top = RttSkipNonLiveEntries(after.rtts[walk.rtt_addr], walk, c.ipa, c.p.stride)
    after = after._replace(
        granules=after.granules.set(rtt, delegated(state.granules[rtt].content)), rtts=after.rtts.remove(rtt)
    )
    yield Success(after, (rtt, top))


RTT_DESTROY: Final = Command(
    name="RMI_RTT_DESTROY",
    fid=0xC400015E,
    section="B4.3.16",
    inputs=("rd", "ipa", "level"),
    outputs=("rtt", "top"),
    walk=_parent_walk,
    conditions=(
        Condition("rd_align", lambda c: not AddrIsGranuleAligned(c.rd), _input_top_0),
        Condition("rd_bound", lambda c: not c.PaIsDelegable(c.rd), _input_top_0),
        Condition("rd_state", lambda c: c.Granule(c.rd).state is not GranuleState.RD, _input_top_0),
        Condition("level_bound", _not_a_child_level, _input_top_0),
        Condition("ipa_align", lambda c: not c.AddrIsRttLevelAligned(c.ipa, c.level - 1), _input_top_0),
        Condition("ipa_bound", _beyond_ipa_space, _input_top_0),
        Condition("rtt_walk", lambda c: c.walk.level < c.level - 1, _rtt_top),
        Condition("rtte_state", lambda c: c.rtte.state is not EntryState.TABLE, _rtt_top),
        Condition("rtt_live", lambda c: RttIsLive(c.child), _live_top),
    ),
    order=(
        (("rd_bound", "rd_state"), ("rtt_walk", "rtte_state", "rtt_live")),
        (("level_bound", "ipa_bound"), ("rtt_walk", "rtte_state")),
    ),
    success=_destroy,
)


# RTT_FOLD ----------------------------------------------------------------------------------------------------------


def _fold(c: Context) -> RttEntry | None:
    return RttFold(c.child, c.level, c.p.stride)


def _rtt_not_homogeneous(c: Context) -> Result:
    return RmiResult(Rmi.RMI_ERROR_RTT, c.level, (UNDEFINED,))


def _fold_success(c: Context) -> Iterable[Success]:
    walk, state = c.walk, c.state
    rtt, entry = walk.rtte.addr, _fold(c)
    if entry is None:
        raise IllFormed
    state = state.with_entry(walk.rtt_addr, walk.entry_idx, entry)
    state = state._replace(
        granules=state.granules.set(rtt, delegated(state.granules[rtt].content)), rtts=state.rtts.remove(rtt)
    )
    yield Success(state, (rtt,))


RTT_FOLD: Final = Command(
    name="RMI_RTT_FOLD",
    fid=0xC4000166,
    section="B4.3.17",
    inputs=("rd", "ipa", "level"),
    outputs=("rtt",),
    walk=_parent_walk,
    conditions=(
        Condition("rd_align", lambda c: not AddrIsGranuleAligned(c.rd), _INPUT_1),
        Condition("rd_bound", lambda c: not c.PaIsDelegable(c.rd), _INPUT_1),
        Condition("rd_state", lambda c: c.Granule(c.rd).state is not GranuleState.RD, _INPUT_1),
        Condition("level_bound", _not_a_child_level, _INPUT_1),
        Condition("ipa_align", lambda c: not c.AddrIsRttLevelAligned(c.ipa, c.level - 1), _INPUT_1),
        Condition("ipa_bound", _beyond_ipa_space, _INPUT_1),
        Condition("rtt_walk", lambda c: c.walk.level < c.level - 1, _RTT_1),
        Condition("rtte_state", lambda c: c.rtte.state is not EntryState.TABLE, _RTT_1),
        Condition("rtt_homo", lambda c: _fold(c) is None, _rtt_not_homogeneous),
    ),
    order=(
        (("rd_bound", "rd_state"), ("rtt_walk", "rtte_state", "rtt_homo")),
        (("level_bound", "ipa_bound"), ("rtt_walk", "rtte_state")),
    ),
    success=_fold_success,
)


# RTT_MAP_UNPROTECTED -----------------------------------------------------------------------------------------------


def _not_unprotected(c: Context) -> bool:
    return _beyond_ipa_space(c) or c.AddrIsProtected(c.ipa)


def _from_descriptor(c: Context) -> RttEntry:
    return RttEntryFromDescriptor(c.desc, c.realm.feat_lpa2)


def _map(c: Context) -> Iterable[Success]:
    walk = c.walk
    yield Success(c.state.with_entry(walk.rtt_addr, walk.entry_idx, _from_descriptor(c)))


RTT_MAP_UNPROTECTED: Final = Command(
    name="RMI_RTT_MAP_UNPROTECTED",
    fid=0xC400015F,
    section="B4.3.19",
    inputs=("rd", "ipa", "level", "desc"),
    walk=_level_walk,
    conditions=(
        Condition("attr_valid", lambda c: not RttDescriptorIsValidForUnprotected(c.desc, c.realm.feat_lpa2), _INPUT),
        Condition("rd_align", lambda c: not AddrIsGranuleAligned(c.rd), _INPUT),
        Condition("rd_bound", lambda c: not c.PaIsDelegable(c.rd), _INPUT),
        Condition("rd_state", lambda c: c.Granule(c.rd).state is not GranuleState.RD, _INPUT),
        Condition("level_bound", lambda c: not RttLevelIsBlockOrPage(c.realm, c.level), _INPUT),
        Condition("addr_align", lambda c: not c.AddrIsRttLevelAligned(_from_descriptor(c).addr, c.level), _INPUT),
        Condition("addr_bound", lambda c: not c.realm.feat_lpa2 and _from_descriptor(c).addr >= 1 << 48, _INPUT),
        Condition("ipa_align", lambda c: not c.AddrIsRttLevelAligned(c.ipa, c.level), _INPUT),
        Condition("ipa_bound", _not_unprotected, _INPUT),
        Condition("rtt_walk", lambda c: c.walk.level < c.level, _RTT),
        Condition("rtte_state", lambda c: c.rtte.state is not EntryState.UNASSIGNED_NS, _RTT),
    ),
    order=(
        (("rd_bound", "rd_state"), ("rtt_walk", "rtte_state")),
        (("level_bound", "ipa_bound"), ("rtt_walk", "rtte_state")),
    ),
    success=_map,
)


# RTT_READ_ENTRY ----------------------------------------------------------------------------------------------------


def _read(c: Context) -> Iterable[Success]:
    walk = c.walk
    rtte = walk.rtte
    # Nothing is said of the RIPAS of an entry that leads to a table.
    ripas: Output = UNDEFINED if rtte.state is EntryState.TABLE else int(rtte.ripas)
    desc = descriptor_of(rtte, c.realm.feat_lpa2)
    yield Success(c.state, (walk.level, RMI_ENTRY_STATE[rtte.state], desc, ripas))


RTT_READ_ENTRY: Final = Command(
    name="RMI_RTT_READ_ENTRY",
    fid=0xC4000161,
    section="B4.3.20",
    inputs=("rd", "ipa", "level"),
    outputs=("walk_level", "state", "desc", "ripas"),
    walk=_level_walk,
    conditions=(
        Condition("rd_align", lambda c: not AddrIsGranuleAligned(c.rd), _INPUT_4),
        Condition("rd_bound", lambda c: not c.PaIsDelegable(c.rd), _INPUT_4),
        Condition("rd_state", lambda c: c.Granule(c.rd).state is not GranuleState.RD, _INPUT_4),
        Condition("level_bound", lambda c: not RttLevelIsValid(c.realm, c.level), _INPUT_4),
        Condition("ipa_align", lambda c: not c.AddrIsRttLevelAligned(c.ipa, c.level), _INPUT_4),
        Condition("ipa_bound", _beyond_ipa_space, _INPUT_4),
    ),
    success=_read,
)


# RTT_UNMAP_UNPROTECTED ---------------------------------------------------------------------------------------------

_INPUT_ONLY_TOP_0: Final = RmiResult(Rmi.RMI_ERROR_INPUT, 0, (0,))


def _input_only_top_0(_: Context) -> Result:
    return _INPUT_ONLY_TOP_0


def _rtt_only_top(c: Context) -> Result:
    return RmiResult(Rmi.RMI_ERROR_RTT, c.walk.level, (_walk_top(c),))


def _unmap(c: Context) -> Iterable[Success]:
    walk = c.walk
    after = c.state.with_entry(walk.rtt_addr, walk.entry_idx, UNASSIGNED_NS)
    yield Success(after, (RttSkipNonLiveEntries(after.rtts[walk.rtt_addr], walk, c.ipa, c.p.stride),))


RTT_UNMAP_UNPROTECTED: Final = Command(
    name="RMI_RTT_UNMAP_UNPROTECTED",
    fid=0xC4000162,
    section="B4.3.22",
    inputs=("rd", "ipa", "level"),
    outputs=("top",),
    walk=_level_walk,
    conditions=(
        Condition("rd_align", lambda c: not AddrIsGranuleAligned(c.rd), _input_only_top_0),
        Condition("rd_bound", lambda c: not c.PaIsDelegable(c.rd), _input_only_top_0),
        Condition("rd_state", lambda c: c.Granule(c.rd).state is not GranuleState.RD, _input_only_top_0),
        Condition("level_bound", lambda c: not RttLevelIsBlockOrPage(c.realm, c.level), _input_only_top_0),
        Condition("ipa_align", lambda c: not c.AddrIsRttLevelAligned(c.ipa, c.level), _input_only_top_0),
        Condition("ipa_bound", _not_unprotected, _input_only_top_0),
        Condition("rtt_walk", lambda c: c.walk.level < c.level, _rtt_only_top),
        Condition("rtte_state", lambda c: c.rtte.state is not EntryState.ASSIGNED_NS, _rtt_only_top),
    ),
    order=(
        (("rd_bound", "rd_state"), ("rtt_walk", "rtte_state")),
        (("level_bound", "ipa_bound"), ("rtt_walk", "rtte_state")),
    ),
    success=_unmap,
)
