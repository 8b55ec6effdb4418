"""Realm translation tables: geometry, the walk, and the functions over tables that command conditions use.

Pure functions over a state; nothing here changes one.  ``stride`` is 9 for the specification's tables.

Source: DEN0137 1.0-rel0, A5.5 and B3.4 to B3.8, B3.52 to B3.78.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from refmodel.rmm.state import UNASSIGNED_NS, Realm, Rtt, RttEntry, State
from refmodel.rmm.types import RMM_GRANULE_SIZE, RMM_RTT_PAGE_LEVEL, EntryState, Ripas

_PAGE_BITS: Final = 12
_BLOCK_LEVELS: Final = (1, 2)
"""Levels whose entries may be blocks: those whose child tables fold to one are 2 and 3 (A5.5.6)."""
_UNASSIGNED, _ASSIGNED = EntryState.UNASSIGNED, EntryState.ASSIGNED
_ASSIGNED_NS, _TABLE = EntryState.ASSIGNED_NS, EntryState.TABLE


def RttLevelSize(level: int, stride: int) -> int:
    """Bytes that an entry of a table at ``level`` describes."""
    return 1 << _PAGE_BITS + stride * (RMM_RTT_PAGE_LEVEL - level)


def AddrIsRttLevelAligned(addr: int, level: int, stride: int) -> bool:
    """Whether ``addr`` is aligned to what an entry at ``level`` describes; no address is, for a level above 3."""
    return level <= RMM_RTT_PAGE_LEVEL and not addr & (RttLevelSize(level, stride) - 1)


def AlignDownToRttLevel(addr: int, level: int, stride: int) -> int:
    """``addr``, aligned down."""
    return addr & ~(RttLevelSize(level, stride) - 1)


def AddrIsProtected(addr: int, realm: Realm) -> bool:
    """Whether ``addr`` is a Protected IPA: in the lower half of the IPA space."""
    return addr < 1 << (realm.ipa_width - 1)


def AddrRangeIsProtected(base: int, top: int, realm: Realm) -> bool:
    """Whether ``[base, top)`` is a range of Protected IPAs.  Source: B3.6."""
    size = top - base
    return AddrIsProtected(base, realm) and 0 < size < 1 << realm.ipa_width and AddrIsProtected(top - 1, realm)


def start_rtts(ipa_width: int, level: int, stride: int) -> int:
    """How many starting level tables an IPA width needs; 0 if the level resolves none of its bits.

    Source: the VMSA by way of A5.5.3: one table resolves ``stride`` bits, more of them are concatenated.
    """
    resolved = ipa_width - (_PAGE_BITS + stride * (RMM_RTT_PAGE_LEVEL - level))
    if resolved < 1:
        return 0
    return 1 << max(0, resolved - stride)


def RttLevelIsValid(realm: Realm, level: int) -> bool:
    """Whether the realm has tables at ``level``."""
    return realm.rtt_level_start <= level <= RMM_RTT_PAGE_LEVEL


def RttLevelIsStarting(realm: Realm, level: int) -> bool:
    """Whether ``level`` is the realm's starting level."""
    return level == realm.rtt_level_start


def RttLevelIsBlockOrPage(realm: Realm, level: int) -> bool:
    """Whether an entry at ``level`` may be a block or a page."""
    return RttLevelIsValid(realm, level) and (level == RMM_RTT_PAGE_LEVEL or level in _BLOCK_LEVELS)


class Walk(NamedTuple):
    """``RmmRttWalkResult`` (C1.31), and the index of the entry in its table."""

    level: int
    rtt_addr: int
    entry_idx: int
    rtte: RttEntry


def RttEntryIndex(addr: int, level: int, stride: int) -> int:
    """Index of the entry for ``addr`` in its table at ``level``."""
    return addr >> (_PAGE_BITS + stride * (RMM_RTT_PAGE_LEVEL - level)) & ((1 << stride) - 1)


def RttWalk(state: State, realm: Realm, addr: int, level: int, stride: int) -> Walk:
    """Walk from the realm's starting level to ``level``, or to the first entry that is no table.

    ``addr`` is below the end of the IPA space.  Source: A5.5.10.
    """
    at = realm.rtt_level_start
    entry_bits = _PAGE_BITS + stride * (RMM_RTT_PAGE_LEVEL - at)
    mask = (1 << stride) - 1
    table = realm.rtt_base + (addr >> (entry_bits + stride)) * RMM_GRANULE_SIZE
    while True:
        index = addr >> entry_bits & mask
        rtte = state.rtts[table][index]
        if at >= level or rtte.state is not _TABLE:
            return Walk(at, table, index, rtte)
        table, at, entry_bits = rtte.addr, at + 1, entry_bits - stride


def _skip(rtt: Rtt, walk: Walk, ipa: int, stride: int, live: bool, destroyed: bool) -> int:
    """IPA of the first entry from ``ipa`` on that is a table, or live, or DESTROYED as asked; or of the table's end."""
    size = RttLevelSize(walk.level, stride)
    first = ipa & ~(size - 1)
    count = 0
    for entry in rtt[walk.entry_idx :]:
        state = entry.state
        if state is _TABLE or (live and (state is _ASSIGNED or state is _ASSIGNED_NS)):
            break
        if destroyed and entry.ripas is Ripas.DESTROYED:
            break
        count += 1
    return first + count * size


def RttSkipNonLiveEntries(rtt: Rtt, walk: Walk, ipa: int, stride: int) -> int:
    """IPA of the first live entry from ``ipa`` on, or of the end of the table.  Source: B3.76."""
    return _skip(rtt, walk, ipa, stride, live=True, destroyed=False)


def RttSkipEntriesWithRipas(rtt: Rtt, walk: Walk, base: int, top: int, stop_at_destroyed: bool, stride: int) -> int:
    """Where a run of entries with a RIPAS ends, at the latest at ``top`` aligned down to the level.  Source: B3.75."""
    found = _skip(rtt, walk, base, stride, live=False, destroyed=stop_at_destroyed)
    return AlignDownToRttLevel(min(found, top), walk.level, stride)


def RttIsLive(rtt: Rtt) -> bool:
    """Whether a table refers to another object of the RMM: any entry is ASSIGNED or TABLE.  Source: A5.5.8."""
    return any(entry.state is _ASSIGNED or entry.state is _TABLE for entry in rtt)


def RttFold(rtt: Rtt, level: int, stride: int) -> RttEntry | None:
    """The entry that replaces a homogeneous table at ``level``, None if it is not homogeneous.  Source: A5.5.6."""
    first = rtt[0]
    match first.state:
        case EntryState.UNASSIGNED | EntryState.UNASSIGNED_NS:
            return first if rtt == (first,) * len(rtt) else None
        case EntryState.ASSIGNED | EntryState.ASSIGNED_NS:
            size = RttLevelSize(level, stride)
            contiguous = all(entry == first._replace(addr=first.addr + n * size) for n, entry in enumerate(rtt))
            aligned = AddrIsRttLevelAligned(first.addr, level - 1, stride)
            return first if contiguous and aligned and level - 1 in _BLOCK_LEVELS else None
        case EntryState.TABLE:
            return None


def unfold(entry: RttEntry, level: int, stride: int) -> Rtt:
    """The table at ``level`` that takes an entry's place: all entries as it, addresses contiguous.  Source: A5.5.7."""
    if not entry.live:
        return (entry,) * (1 << stride)
    size = RttLevelSize(level, stride)
    return tuple(entry._replace(addr=entry.addr + number * size) for number in range(1 << stride))


def starting_tables(ipa_width: int, level: int, count: int, stride: int) -> list[Rtt]:
    """Starting level tables of a new realm: UNASSIGNED/EMPTY in the protected half, UNASSIGNED_NS above (B4.3.9.3).

    Entries of a single table beyond the IPA space, which no IPA identifies, are UNASSIGNED_NS too.
    """
    protected = 1 << (ipa_width - 1 - (_PAGE_BITS + stride * (RMM_RTT_PAGE_LEVEL - level)))
    entries = 1 << stride
    flat = [RttEntry(_UNASSIGNED)] * protected + [UNASSIGNED_NS] * (count * entries - protected)
    return [tuple(flat[number * entries : (number + 1) * entries]) for number in range(count)]


def protected_entries(state: State, realm: Realm, base: int, top: int, stride: int) -> Iterator[tuple[int, RttEntry]]:
    """(end, entry) for the entries that describe ``[base, top)``, in rising order."""
    while base < top:
        walk = RttWalk(state, realm, base, RMM_RTT_PAGE_LEVEL, stride)
        base = AlignDownToRttLevel(base, walk.level, stride) + RttLevelSize(walk.level, stride)
        yield base, walk.rtte
