"""RMI commands that set the RIPAS of a range: before activation by the Host, afterwards on the realm's request.

Source: DEN0137 1.0-rel0, B4.3.18, B4.3.21, A5.2.4, A5.3.5 and A5.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from refmodel.rmm.command import Command, Condition, Maybe, Success, Verdict, failed, failed_rtt
from refmodel.rmm.context import AddrIsGranuleAligned, Context
from refmodel.rmm.measurement import RimExtendRipas
from refmodel.rmm.rtt import AlignDownToRttLevel, RttLevelSize, RttSkipEntriesWithRipas, Walk
from refmodel.rmm.state import RttEntry, State
from refmodel.rmm.types import (
    RMM_GRANULE_SIZE,
    RMM_RTT_PAGE_LEVEL,
    EntryState,
    GranuleState,
    RealmState,
    RecState,
    Ripas,
    Rmi,
)

_INPUT_1 = failed(Rmi.RMI_ERROR_INPUT, outputs=1)
_REALM_1 = failed(Rmi.RMI_ERROR_REALM, outputs=1)
_REC_1 = failed(Rmi.RMI_ERROR_REC, outputs=1)
_RTT_1 = failed_rtt(outputs=1)


def _base_walk(c: Context) -> Walk:
    return c.RttWalk(c.base, RMM_RTT_PAGE_LEVEL)


def _set_range(c: Context, top: int, ripas: Ripas) -> State:
    """The state with ``ripas`` in every entry of the walk's table that describes ``[base, top)``."""
    walk = c.walk
    entries = list(c.walk_rtt)
    first = AlignDownToRttLevel(c.base, walk.level, c.p.stride)
    count = (top - first) // RttLevelSize(walk.level, c.p.stride)
    for number in range(walk.entry_idx, walk.entry_idx + count):
        entries[number] = entries[number]._replace(ripas=ripas)
    return c.state._replace(rtts=c.state.rtts.set(walk.rtt_addr, tuple(entries)))


# RTT_INIT_RIPAS ----------------------------------------------------------------------------------------------------


def _init_top(c: Context) -> int:
    """``walk_top`` by the letter: the run ends at a table, at the end of the walk's table or at ``top``."""
    return RttSkipEntriesWithRipas(c.walk_rtt, c.walk, c.base, c.top, False, c.p.stride)


def _stops_init(entry: RttEntry) -> bool:
    return entry.state is not EntryState.UNASSIGNED or entry.ripas is Ripas.DESTROYED


def _init_top_cautious(c: Context) -> int:
    """Where an RMM stops that passes over nothing but UNASSIGNED entries with RIPAS EMPTY or RAM (A5.3.5, TF-RMM)."""
    walk = c.walk
    size = RttLevelSize(walk.level, c.p.stride)
    top = AlignDownToRttLevel(c.base, walk.level, c.p.stride)
    for entry in c.walk_rtt[walk.entry_idx :]:
        if _stops_init(entry) or top + size > c.top:
            break
        top += size
    return min(top, _init_top(c))


def _init_no_progress(c: Context) -> Verdict:
    if c.base == _init_top(c):
        return True
    return Maybe("an entry that is DESTROYED ends the run") if c.base == _init_top_cautious(c) else False


def _initialised(c: Context, top: int, reason: str) -> Success:
    realm = c.realm
    size = RttLevelSize(c.walk.level, c.p.stride)
    rim = RimExtendRipas(realm.hash_algo, realm.measurements[0], c.base, top, size, c.p.measurement)
    measured = realm._replace(measurements=(rim, *realm.measurements[1:]))
    return Success(_set_range(c, top, Ripas.RAM).with_realm(c.rd, measured), (top,), None, reason)


def _init(c: Context) -> Iterator[Success]:
    top, cautious = _init_top(c), _init_top_cautious(c)
    if top > c.base:
        yield _initialised(c, top, "success")
    if c.base < cautious < top:
        yield _initialised(c, cautious, "stops at an entry that is not UNASSIGNED, or DESTROYED")


RTT_INIT_RIPAS: Final = Command(
    name="RMI_RTT_INIT_RIPAS",
    fid=0xC4000168,
    section="B4.3.18",
    inputs=("rd", "base", "top"),
    outputs=("out_top",),
    walk=_base_walk,
    conditions=(
        Condition("rd_align", lambda c: not AddrIsGranuleAligned(c.rd), _INPUT_1),
        Condition("rd_bound", lambda c: not c.PaIsDelegable(c.rd), _INPUT_1),
        Condition("rd_state", lambda c: c.Granule(c.rd).state is not GranuleState.RD, _INPUT_1),
        Condition("size_valid", lambda c: c.top <= c.base, _INPUT_1),
        Condition("top_bound", lambda c: not c.AddrIsProtected((c.top - RMM_GRANULE_SIZE) & ((1 << 64) - 1)), _INPUT_1),
        Condition("realm_state", lambda c: c.realm.state is not RealmState.REALM_NEW, _REALM_1),
        Condition("base_align", lambda c: not c.AddrIsRttLevelAligned(c.base, c.walk.level), _RTT_1),
        Condition("rtte_state", lambda c: c.rtte.state is not EntryState.UNASSIGNED, _RTT_1),
        Condition("top_gran_align", lambda c: not AddrIsGranuleAligned(c.top), _INPUT_1),
        Condition("no_progress", _init_no_progress, _RTT_1),
    ),
    order=(
        (("rd_bound", "rd_state"), ("realm_state",)),
        (("rd_bound", "rd_state"), ("base_align", "rtte_state")),
        (("rd_bound", "rd_state"), ("no_progress",)),
        (("top_gran_align",), ("no_progress",)),
    ),
    success=_init,
)


# RTT_SET_RIPAS -----------------------------------------------------------------------------------------------------


def _set_top(c: Context) -> int:
    rec = c.the_rec
    return RttSkipEntriesWithRipas(c.walk_rtt, c.walk, c.base, c.top, not rec.ripas_destroyed, c.p.stride)


def _same_ripas(c: Context) -> bool:
    """``ripas == rec.ripas_value``: there is nothing to change in the entry at ``base``."""
    return c.rtte.ripas is c.the_rec.ripas_value


def _base_misaligned(c: Context) -> Verdict:
    if c.AddrIsRttLevelAligned(c.base, c.walk.level):
        return False
    # A request that changes nothing is spared the test by the text, not by TF-RMM.
    return Maybe("a base that is not aligned, with its RIPAS as requested") if _same_ripas(c) else True


def _no_progress(c: Context) -> Verdict:
    if _set_top(c) != c.base:
        return False
    return Maybe("no progress, with the RIPAS as requested") if _same_ripas(c) else True


def _set(c: Context) -> Iterable[Success]:
    rec = c.the_rec
    top = _set_top(c)
    # By the letter, walk_top may lie below a base that is not aligned; out_top is then taken to be the base.
    reached = max(min(c.top, top), c.base)
    after = _set_range(c, top, rec.ripas_value) if top > c.base else c.state
    yield Success(after.with_rec(c.rec, rec._replace(ripas_addr=reached)), (reached,))


RTT_SET_RIPAS: Final = Command(
    name="RMI_RTT_SET_RIPAS",
    fid=0xC4000169,
    section="B4.3.21",
    inputs=("rd", "rec", "base", "top"),
    outputs=("out_top",),
    walk=_base_walk,
    conditions=(
        Condition("rd_align", lambda c: not AddrIsGranuleAligned(c.rd), _INPUT_1),
        Condition("rd_bound", lambda c: not c.PaIsDelegable(c.rd), _INPUT_1),
        Condition("rd_state", lambda c: c.Granule(c.rd).state is not GranuleState.RD, _INPUT_1),
        Condition("rec_align", lambda c: not AddrIsGranuleAligned(c.rec), _INPUT_1),
        Condition("rec_bound", lambda c: not c.PaIsDelegable(c.rec), _INPUT_1),
        Condition("rec_gran_state", lambda c: c.Granule(c.rec).state is not GranuleState.REC, _INPUT_1),
        Condition("rec_state", lambda c: c.the_rec.state is RecState.REC_RUNNING, _REC_1),
        Condition("rec_owner", lambda c: c.the_rec.owner != c.rd, _REC_1),
        Condition("size_valid", lambda c: c.top <= c.base, _INPUT_1),
        Condition("base_bound", lambda c: c.base != c.the_rec.ripas_addr, _INPUT_1),
        Condition("top_bound", lambda c: c.top > c.the_rec.ripas_top, _INPUT_1),
        Condition("base_align", _base_misaligned, _RTT_1),
        Condition("top_gran_align", lambda c: not AddrIsGranuleAligned(c.top), _INPUT_1),
        Condition("no_progress", _no_progress, _RTT_1),
    ),
    order=(
        (("rd_bound", "rd_state"), ("base_align",)),
        (("rd_bound", "rd_state"), ("no_progress",)),
        (("rec_bound", "rec_gran_state"), ("rec_state", "rec_owner")),
        (("base_bound",), ("base_align",)),
        (("top_gran_align",), ("no_progress",)),
    ),
    success=_set,
)
