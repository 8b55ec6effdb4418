"""When two states are the same for an exploration: up to which granule is which, and what no behaviour depends on.

Left out: measurements (an invariant on transitions watches them), serial numbers but for whether a granule's content is
its owner's, and saved registers but for those that a pending request is read from.
"""

from __future__ import annotations

from refmodel.rmm.state import Author, Content, Realm, Rec, State
from refmodel.rmm.types import RMM_GRANULE_SIZE, RMM_RTT_PAGE_LEVEL, EntryState, GranuleState

Key = tuple[object, ...]


def _content(content: Content, owner: int, alive: dict[int, int]) -> object:
    """Content by whose it is: nobody's, the owner's, another living realm's (which one), or a former realm's."""
    if content.owner == 0:
        return content.author.value
    whose = "own" if content.owner == owner else alive.get(content.owner, "former")
    return content.author.value, whose


def _rec(rec: Rec) -> Key:
    """What behaviour depends on of a REC.  Booleans stand for their values, enumerations for their names."""
    registers = rec.gprs[:4] if rec.psci_pending else (rec.gprs[1],) if rec.host_call_pending else ()
    ripas = (rec.ripas_addr, rec.ripas_top, rec.ripas_value, rec.ripas_destroyed) if rec.ripas_top else ()
    return (
        rec.mpidr,
        rec.runnable,
        rec.state.value,
        rec.psci_pending,
        rec.host_call_pending,
        rec.emulatable_abort,
        rec.last_exit.value,
        registers,
        ripas,
    )


def _data(state: State, addr: int, size: int, owner: int, alive: dict[int, int], seen: set[int]) -> list[object]:
    """The granules of a page or block.  Where a block may lie and fold depends on addresses, so that stays too."""
    made: list[object] = [addr & (2 * size - 1)]
    for granule in range(addr, addr + size, RMM_GRANULE_SIZE):
        made.append(addr if granule in seen else 0)
        seen.add(granule)
        made.append(_granule(state, granule, owner, alive))
    return made


def _table(state: State, addr: int, size: int, owner: int, alive: dict[int, int], seen: set[int]) -> Key:
    """A table as the tree below it, its entries describing ``size`` bytes.

    An address that was met before is kept, so that a state with aliases is no other state's twin.
    """
    if addr in seen:
        return ("alias", addr)
    seen.add(addr)
    made: list[object] = [_granule(state, addr, owner, alive)]
    for entry in state.rtts.get(addr) or ():
        if entry.state is EntryState.TABLE:
            made.append(_table(state, entry.addr, size >> 1, owner, alive, seen))
        elif entry.state is EntryState.ASSIGNED:
            made.append((entry.ripas, *_data(state, entry.addr, size, owner, alive, seen)))
        else:
            made.append((entry.state.value, entry.ripas, entry.addr))
    return tuple(made)


def _granule(state: State, addr: int, owner: int, alive: dict[int, int]) -> Key:
    granule = state.granule(addr)
    return granule.state.value, granule.gpt.value, _content(granule.content, owner, alive)


def _realm(state: State, rd: int, realm: Realm, alive: dict[int, int], seen: set[int]) -> Key:
    seen.add(rd)
    size = RMM_GRANULE_SIZE << RMM_RTT_PAGE_LEVEL - realm.rtt_level_start
    tables = [
        _table(state, realm.rtt_base + number * RMM_GRANULE_SIZE, size, realm.serial, alive, seen)
        for number in range(realm.rtt_num_start)
    ]
    recs = []
    for addr, rec in state.recs.items():
        if rec.owner == rd:
            seen.add(addr)
            recs.append((_rec(rec), _granule(state, addr, realm.serial, alive)))
    head = (realm.state.value, realm.vmid, realm.rec_index, realm.num_recs, _granule(state, rd, realm.serial, alive))
    return (head, tuple(tables), tuple(sorted(recs, key=repr)))


def canonical(state: State, addresses: range) -> Key:
    """A key that is equal for two states exactly if they are the same up to the names of granules."""
    realms = sorted(state.realms.items(), key=lambda item: item[1].vmid)
    alive = {realm.serial: number for number, (_, realm) in enumerate(realms)}
    seen: set[int] = set()
    described = tuple(_realm(state, rd, realm, alive, seen) for rd, realm in realms)
    free: dict[Key, int] = {}
    for addr in addresses:
        if addr not in seen:
            key = _granule(state, addr, 0, alive)
            free[key] = free.get(key, 0) + 1
    return described, tuple(sorted(free.items(), key=repr))


def at_rest(state: State, addresses: range) -> bool:
    """Whether the Host has all its granules back."""
    return not state.realms and all(state.granule(addr).state is GranuleState.UNDELEGATED for addr in addresses)


def is_host_content(content: Content) -> bool:
    """Whether the Host may see it: its own, or wiped."""
    return content.author in (Author.HOST, Author.WIPED)
