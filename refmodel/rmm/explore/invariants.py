"""What must hold in every reachable state, and at every transition.

Each invariant is one function that yields what is wrong, in words.  They are consequences of the specification's
security guarantees (A2.1.2, A2.2, A5.2, A7.1), not rules that a command states.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from refmodel.rmm.calls import Call, HostCall
from refmodel.rmm.explore.canonical import is_host_content
from refmodel.rmm.rmi_realm import rtts_of
from refmodel.rmm.rtt import RttLevelSize, protected_entries
from refmodel.rmm.state import Author, RttEntry, State
from refmodel.rmm.types import (
    RMM_GRANULE_SIZE,
    RMM_RTT_PAGE_LEVEL,
    EntryState,
    Gpt,
    GranuleState,
    RealmState,
    RecState,
    Ripas,
)
from refmodel.rmm.version import Parameters

_RIM_COMMANDS: Final = frozenset({0xC4000153, 0xC4000168, 0xC400015A})
"""RMI_DATA_CREATE, RMI_RTT_INIT_RIPAS and RMI_REC_CREATE extend the RIM (A7.1.1)."""
_SET_RIPAS: Final = 0xC4000169
_DATA_CREATE_UNKNOWN: Final = 0xC4000154


def roles(state: State, p: Parameters) -> dict[int, list[tuple[GranuleState, int]]]:
    """For every granule that is referred to: as what, and by the realm with which descriptor."""
    found: dict[int, list[tuple[GranuleState, int]]] = {}
    for rd, realm in state.realms.items():
        found.setdefault(rd, []).append((GranuleState.RD, rd))
        pending = [(addr, realm.rtt_level_start) for addr in rtts_of(realm.rtt_base, realm.rtt_num_start)]
        while pending:
            table, level = pending.pop()
            found.setdefault(table, []).append((GranuleState.RTT, rd))
            for entry in (state.rtts.get(table) or ()) if level <= RMM_RTT_PAGE_LEVEL else ():
                if entry.state is EntryState.TABLE:
                    pending.append((entry.addr, level + 1))
                elif entry.state is EntryState.ASSIGNED:
                    block = range(entry.addr, entry.addr + RttLevelSize(level, p.stride), RMM_GRANULE_SIZE)
                    for addr in block:
                        found.setdefault(addr, []).append((GranuleState.DATA, rd))
    for addr, rec in state.recs.items():
        found.setdefault(addr, []).append((GranuleState.REC, rec.owner))
        for aux in rec.aux:
            found.setdefault(aux, []).append((GranuleState.REC_AUX, rec.owner))
    return found


def one_owner(state: State, p: Parameters) -> Iterator[str]:
    """A granule is one thing of one realm at most, and it is that exactly if something refers to it as that."""
    found = roles(state, p)
    for addr, uses in found.items():
        if len(uses) > 1:
            yield f"granule {addr:#x} is used {len(uses)} times: {', '.join(use.value for use, _ in uses)}"
        elif state.granule(addr).state is not uses[0][0]:
            yield f"granule {addr:#x} is used as {uses[0][0].value} and is {state.granule(addr).state.value}"
    for addr, rec in state.recs.items():
        if rec.owner not in state.realms:
            yield f"the REC at {addr:#x} belongs to no realm"
    for addr, granule in state.granules.items():
        free = granule.state is GranuleState.UNDELEGATED or granule.state is GranuleState.DELEGATED
        if not free and addr not in found:
            yield f"granule {addr:#x} is {granule.state.value} and belongs to no realm"


def gpt_follows_state(state: State, p: Parameters) -> Iterator[str]:
    """The GPT entry is Realm exactly while the granule is not UNDELEGATED (D_MPLGT)."""
    for addr, granule in state.granules.items():
        if (granule.gpt is Gpt.GPT_REALM) is (granule.state is GranuleState.UNDELEGATED):
            yield f"granule {addr:#x} is {granule.state.value} with GPT entry {granule.gpt.value}"


def host_reads_nothing(state: State, p: Parameters) -> Iterator[str]:
    """What the Host can read holds nothing that a realm or the RMM wrote (A2.1.2.2, R_TMGSL)."""
    for addr, granule in state.granules.items():
        if granule.gpt is not Gpt.GPT_REALM and not is_host_content(granule.content):
            yield f"granule {addr:#x} is the Host's again and holds what {granule.content.author.value} wrote"


def nothing_reaches_the_next(state: State, p: Parameters) -> Iterator[str]:
    """A realm's granules hold nothing of another realm, living or gone (R_TMGSL)."""
    for addr, uses in roles(state, p).items():
        realm = state.realms.get(uses[0][1])
        owner = state.granule(addr).content.owner
        if realm is not None and owner not in (0, realm.serial):
            yield f"granule {addr:#x} of the realm at {uses[0][1]:#x} holds content of another realm"


def recs_run_in_active_realms(state: State, p: Parameters) -> Iterator[str]:
    """A REC runs only in a realm that was activated."""
    for addr, rec in state.recs.items():
        realm = state.realms.get(rec.owner)
        if realm is not None and rec.state is RecState.REC_RUNNING and realm.state is RealmState.REALM_NEW:
            yield f"the REC at {addr:#x} runs in a NEW realm"


def vmids_are_unique(state: State, p: Parameters) -> Iterator[str]:
    """No two realms have one VMID (I_QRVTT)."""
    vmids = [realm.vmid for _, realm in state.realms.items()]
    if len(set(vmids)) != len(vmids):
        yield "two realms have one VMID"


def liveness_counts_recs(state: State, p: Parameters) -> Iterator[str]:
    """num_recs is the number of RECs that the realm owns: RMI_REALM_DESTROY relies on it (A2.1.4)."""
    for rd, realm in state.realms.items():
        owned = sum(rec.owner == rd for _, rec in state.recs.items())
        if owned != realm.num_recs:
            yield f"the realm at {rd:#x} owns {owned} RECs and counts {realm.num_recs}"


# Transitions -------------------------------------------------------------------------------------------------------


def measurements_change_by_measured_commands(before: State, call: Call, after: State, p: Parameters) -> Iterator[str]:
    """A RIM changes by the three measured commands in a NEW realm, a REM by RSI_MEASUREMENT_EXTEND alone."""
    for rd, realm in after.realms.items():
        old = before.realms.get(rd)
        if old is None or old.serial != realm.serial:
            continue
        if old.measurements[0] != realm.measurements[0] and not (
            old.state is RealmState.REALM_NEW and isinstance(call, HostCall) and call.fid in _RIM_COMMANDS
        ):
            yield f"the RIM of the realm at {rd:#x} changes"
        if old.measurements[1:] != realm.measurements[1:] and isinstance(call, HostCall):
            yield f"a REM of the realm at {rd:#x} changes by a command of the Host"


def the_host_cannot_change_memory(before: State, call: Call, after: State, p: Parameters) -> Iterator[str]:
    """By a command of the Host an active realm's page that it can use stays as it is, or it can no longer be used.

    RIPAS changes only to DESTROYED, and to what a REC has asked for only by RMI_RTT_SET_RIPAS (A5.2.5).
    """
    if not isinstance(call, HostCall):
        return
    for rd, realm in after.realms.items():
        old = before.realms.get(rd)
        if old is None or old.serial != realm.serial or old.state is RealmState.REALM_NEW:
            continue
        top = 1 << realm.ipa_width - 1
        for (_, was), (end, now) in zip(_pages(before, rd, top, p), _pages(after, rd, top, p), strict=True):
            if was.ripas is now.ripas or now.ripas is Ripas.DESTROYED:
                pass
            elif call.fid != _SET_RIPAS or not _asked_for(before, call.args[1], end, was, now):
                yield f"RIPAS of the page below {end:#x} goes from {was.ripas.name} to {now.ripas.name}"
            usable = now.state is EntryState.ASSIGNED and now.ripas is Ripas.RAM
            if usable and was.state is EntryState.ASSIGNED and was.ripas is Ripas.RAM and was.addr != now.addr:
                yield f"the page below {end:#x} is another granule"


def _asked_for(before: State, addr: int, end: int, was: RttEntry, now: RttEntry) -> bool:
    """Whether the REC at ``addr`` has asked for this change of the page that ends at ``end``."""
    rec = before.recs[addr]
    return (
        rec.ripas_addr < end <= rec.ripas_top
        and now.ripas is rec.ripas_value
        and (rec.ripas_destroyed or was.ripas is not Ripas.DESTROYED)
    )


def _pages(state: State, rd: int, top: int, p: Parameters) -> Iterator[tuple[int, RttEntry]]:
    """(end, entry) for every protected page, blocks as the pages they are made of."""
    base = 0
    for end, entry in protected_entries(state, state.realms[rd], 0, top, p.stride):
        for ipa in range(base, end, RMM_GRANULE_SIZE):
            yield ipa + RMM_GRANULE_SIZE, entry._replace(addr=entry.addr + ipa - base) if entry.live else entry
        base = end


def unknown_content_is_wiped(before: State, call: Call, after: State, p: Parameters) -> Iterator[str]:
    """RMI_DATA_CREATE_UNKNOWN gives the realm nothing that was in the granule before (B4.3.2.3)."""
    if isinstance(call, HostCall) and call.fid == _DATA_CREATE_UNKNOWN and before is not after:
        content = after.granule(call.args[1]).content
        if content.author is not Author.WIPED:
            yield f"granule {call.args[1]:#x} still holds what {content.author.value} wrote"


STATE_INVARIANTS: Final[tuple[Callable[[State, Parameters], Iterator[str]], ...]] = (
    one_owner,
    gpt_follows_state,
    host_reads_nothing,
    nothing_reaches_the_next,
    recs_run_in_active_realms,
    vmids_are_unique,
    liveness_counts_recs,
)
TRANSITION_INVARIANTS: Final[tuple[Callable[[State, Call, State, Parameters], Iterator[str]], ...]] = (
    measurements_change_by_measured_commands,
    the_host_cannot_change_memory,
    unknown_content_is_wiped,
)
