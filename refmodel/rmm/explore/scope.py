"""What an exploration may do: a small platform, and the calls that are tried in a state.

Granules are interchangeable while nothing tells them apart, so of each kind only as many are tried as a call can use.
Tables have two entries: addresses resolve one bit at a level, and everything else is as in the specification.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from refmodel.rmm.calls import (
    AccessKind,
    Call,
    DataSource,
    HostCall,
    Memory,
    RealmAccess,
    RealmInterrupt,
    RealmParams,
    RealmSmc,
    RecEnter,
    RecParams,
)
from refmodel.rmm.rmi_rec import mpidr_of
from refmodel.rmm.state import State
from refmodel.rmm.types import (
    FID_PSCI_CPU_OFF,
    FID_PSCI_CPU_ON,
    FID_PSCI_SYSTEM_OFF,
    RMM_GRANULE_SIZE,
    GranuleState,
)
from refmodel.rmm.version import Parameters

PAGE: Final = RMM_GRANULE_SIZE
_BASE: Final = 0x10000
_NS: Final = 0x80000
"""A granule that always stays Non-secure: it holds parameters, and is what a realm's Unprotected IPAs are mapped to."""
_RSI_IPA_STATE_SET: Final = 0xC4000197
_RSI_HOST_CALL: Final = 0xC4000199
_MEMATTR_RW: Final = 0b110 << 2 | 0b11 << 6


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Bounds of an exploration.

    ``granules`` can be delegated; ``start_level`` 3 gives each half of the IPA space one page and no further tables,
    2 gives each half one table of two pages.  ``recs`` is how many RECs a realm may ever create.
    """

    name: str
    granules: int
    realms: int = 2
    recs: int = 1
    start_level: int = 3
    unprotected: bool = True
    ripas: bool = True

    @property
    def addresses(self) -> range:
        """The granules."""
        return range(_BASE, _BASE + self.granules * PAGE, PAGE)

    @property
    def ipa_width(self) -> int:
        """Two starting level entries: one for each half."""
        return 13 + (3 - self.start_level)

    @property
    def protected_pages(self) -> int:
        """Pages of the protected half."""
        return 1 << 3 - self.start_level

    @property
    def parameters(self) -> Parameters:
        """The implementation that is explored."""
        addresses = frozenset(self.addresses) | {_NS}
        return Parameters(
            delegable=addresses.__contains__,
            stride=1,
            min_ipa_width=1,
            rec_aux_count=0,
            max_recs_order=2,
        )


SCOPES: Final = (
    Scope(name="two realms", granules=5, unprotected=False, ripas=False),
    Scope(name="tables", granules=5, realms=1, start_level=2, recs=0),
    Scope(name="execution", granules=5, realms=1, recs=1, start_level=2, unprotected=False),
    Scope(name="two RECs", granules=5, realms=1, recs=2, ripas=False, unprotected=False),
)
"""The explorations that ``realmcheck rmm explore`` makes."""


def _representatives(state: State, scope: Scope) -> list[int]:
    """Granules to try: every one that is something, and of those that are alike no more than two."""
    seen: dict[object, int] = {}
    chosen = []
    for addr in scope.addresses:
        granule = state.granule(addr)
        if granule.state is GranuleState.UNDELEGATED or granule.state is GranuleState.DELEGATED:
            seen[granule] = seen.get(granule, 0) + 1
            if seen[granule] > 2:
                continue
        chosen.append(addr)
    return chosen


def calls(state: State, scope: Scope) -> Iterator[Call]:
    """Every call that is tried in ``state``: good ones and bad ones."""
    granules = _representatives(state, scope)
    yield from _granule_calls(granules)
    yield from _realm_calls(state, scope, granules)
    yield from _memory_calls(state, scope, granules)
    for rec in state.recs:
        yield from _realm_events(state, scope, rec)


def _host(fid: int, *args: int, memory: Memory = None) -> HostCall:
    return HostCall(fid, args, memory)


def _granule_calls(granules: list[int]) -> Iterator[Call]:
    for addr in granules:
        yield _host(0xC4000151, addr)
        yield _host(0xC4000152, addr)


def _realm_calls(state: State, scope: Scope, granules: list[int]) -> Iterator[Call]:
    used = {realm.vmid for _, realm in state.realms.items()}
    # One VMID in use and one that is free.
    vmids = [*sorted(used)[:1], *[vmid for vmid in range(scope.realms) if vmid not in used][:1]]
    for rd in granules:
        for rtt in granules:
            for vmid in vmids:
                params = RealmParams(scope.ipa_width, rtt, scope.start_level, 1, vmid)
                yield _host(0xC4000158, rd, _NS, memory=params)
        yield _host(0xC4000157, rd)
        yield _host(0xC4000159, rd)
        yield _host(0xC400015B, rd)
        yield _host(0xC400015C, rd, _NS, memory=RecEnter())
    for rd, realm in state.realms.items():
        if realm.rec_index < scope.recs:
            for rec in granules:
                made = RecParams(0, (), mpidr_of(realm.rec_index), int(realm.rec_index == 0))
                yield _host(0xC400015A, rd, rec, _NS, memory=made)
    for calling in state.recs:
        for target in state.recs:
            yield _host(0xC4000164, calling, target, 0)


def _memory_calls(state: State, scope: Scope, granules: list[int]) -> Iterator[Call]:
    pages = range(0, scope.protected_pages * PAGE, PAGE)
    half = scope.protected_pages * PAGE
    for rd in state.realms:
        for ipa in pages:
            for data in granules:
                yield _host(0xC4000153, rd, data, ipa, _NS, 1, memory=DataSource())
                yield _host(0xC4000154, rd, data, ipa)
            yield _host(0xC4000155, rd, ipa)
            if scope.ripas:
                yield _host(0xC4000168, rd, ipa, ipa + PAGE)
                for rec in state.recs:
                    yield _host(0xC4000169, rd, rec, ipa, half)
        for ipa in (0, half) if scope.start_level < 3 else ():
            for rtt in granules:
                yield _host(0xC400015D, rd, rtt, ipa, 3)
            yield _host(0xC400015E, rd, ipa, 3)
            yield _host(0xC4000166, rd, ipa, 3)
        if scope.unprotected:
            for level in (2, 3):
                yield _host(0xC400015F, rd, half, level, _NS | _MEMATTR_RW)
                yield _host(0xC4000162, rd, half, level)


def _realm_events(state: State, scope: Scope, rec: int) -> Iterator[Call]:
    if state.recs[rec].state.value != "RUNNING":
        return
    yield RealmInterrupt(rec)
    for ipa in range(0, scope.protected_pages * PAGE, PAGE):
        for kind in (AccessKind.READ, AccessKind.WRITE):
            yield RealmAccess(rec, ipa, kind, value=1)
    if scope.unprotected:
        yield RealmAccess(rec, scope.protected_pages * PAGE)
    if scope.ripas:
        for ripas in (0, 1):
            for flags in (0, 1):
                yield RealmSmc(rec, (_RSI_IPA_STATE_SET, 0, scope.protected_pages * PAGE, ripas, flags))
    yield RealmSmc(rec, (_RSI_HOST_CALL, 0))
    yield RealmSmc(rec, (FID_PSCI_CPU_OFF,))
    yield RealmSmc(rec, (FID_PSCI_SYSTEM_OFF,))
    if scope.recs > 1:
        yield RealmSmc(rec, (FID_PSCI_CPU_ON, mpidr_of(1), 0, 0))
        yield RealmSmc(rec, (FID_PSCI_CPU_ON, mpidr_of(0), 0, 0))
