"""The RMM's abstract state: granules, realms, RECs and realm translation tables, as immutable values.

What may change them is elsewhere: host commands in ``rmi_*``, realm commands in ``rsi`` and ``psci``, entry and exit in
``entry`` and ``exits``.  A field has the specification's name where that has one.

Source: DEN0137 1.0-rel0, A2.1 to A2.3, A5.5 and C1.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

from refmodel.rmm.measurement import ZERO_MEASUREMENT, HashAlgorithm
from refmodel.rmm.pmap import PMap
from refmodel.rmm.types import EntryState, Gpt, GranuleState, RealmState, RecResponse, RecState, Ripas

REC_GPRS: Final = 32
ZERO_GPRS: Final = (0,) * REC_GPRS


class Author(Enum):
    """Who has written what a granule holds."""

    __hash__ = object.__hash__

    HOST = "host"
    REALM = "realm"
    RMM = "RMM"
    WIPED = "wiped"


class Content(NamedTuple):
    """What a granule holds, as an abstract tag: who wrote it, for which realm, and which value.

    ``owner`` is the serial number of the realm that the content belongs to, 0 for none: addresses of realm descriptors
    are used again, serial numbers are not.  ``value`` tells two contents of one author apart.
    """

    author: Author
    owner: int = 0
    value: int = 0


WIPED: Final = Content(Author.WIPED)
HOST_CONTENT: Final = Content(Author.HOST)


class Granule(NamedTuple):
    """``RmmGranule`` (C1.6) and what it holds."""

    state: GranuleState = GranuleState.UNDELEGATED
    gpt: Gpt = Gpt.GPT_NS
    content: Content = HOST_CONTENT


NS_GRANULE: Final = Granule()
"""A granule that nothing was done to: undelegated, Non-secure, the Host's."""


class RttEntry(NamedTuple):
    """``RmmRttEntry`` (C1.29).  ``addr`` is 0 unless an output address is held; Unprotected entries have no RIPAS."""

    state: EntryState
    ripas: Ripas = Ripas.EMPTY
    addr: int = 0
    MemAttr: int = 0
    S2AP: int = 0

    @property
    def live(self) -> bool:
        """Whether a physical address is stored in the entry (A5.5.8)."""
        state = self.state
        return state is not EntryState.UNASSIGNED and state is not EntryState.UNASSIGNED_NS


UNASSIGNED_EMPTY: Final = RttEntry(EntryState.UNASSIGNED)
UNASSIGNED_RAM: Final = RttEntry(EntryState.UNASSIGNED, Ripas.RAM)
UNASSIGNED_DESTROYED: Final = RttEntry(EntryState.UNASSIGNED, Ripas.DESTROYED)
UNASSIGNED_NS: Final = RttEntry(EntryState.UNASSIGNED_NS)

Rtt = tuple[RttEntry, ...]
"""``RmmRtt`` (C1.28): the entries of one table granule."""


class Realm(NamedTuple):
    """``RmmRealm`` (C1.16).  ``serial`` tells realms apart that were created one after the other at one address."""

    state: RealmState
    serial: int
    ipa_width: int
    rtt_base: int
    rtt_level_start: int
    rtt_num_start: int
    vmid: int
    hash_algo: HashAlgorithm = HashAlgorithm.SHA_256
    feat_lpa2: bool = False
    rpv: bytes = bytes(64)
    measurements: tuple[bytes, ...] = (ZERO_MEASUREMENT,) * 5
    rec_index: int = 0
    num_recs: int = 0


class LastExit(Enum):
    """What the next entry has to know of the most recent exit from a REC (A4.2.2, A4.2.3)."""

    __hash__ = object.__hash__

    NONE = "no exit yet"
    PSCI = "PSCI"
    RIPAS_CHANGE = "RIPAS change pending"
    HOST_CALL = "Host call"
    EMULATABLE_ABORT = "Emulatable Data Abort"
    UNPROTECTED_ABORT = "Non-emulatable Data Abort at an Unprotected IPA"
    OTHER = "another reason"


class Rec(NamedTuple):
    """``RmmRec`` (C1.19).

    Beyond the specification's attributes: ``last_exit``, and ``esr`` of an Emulatable Data Abort, which says how its
    emulation ends; ``trap_wfi`` and ``trap_wfe`` of the entry in force while the REC runs.  ``gprs`` are registers as
    saved: while the REC runs, those of its PE are not the RMM's.
    """

    owner: int
    mpidr: int
    runnable: bool
    state: RecState = RecState.REC_READY
    gprs: tuple[int, ...] = ZERO_GPRS
    pc: int = 0
    aux: tuple[int, ...] = ()
    emulatable_abort: bool = False
    psci_pending: bool = False
    host_call_pending: bool = False
    attest_in_progress: bool = False
    attest_challenge: tuple[int, ...] = (0,) * 8
    ripas_addr: int = 0
    ripas_top: int = 0
    ripas_value: Ripas = Ripas.EMPTY
    ripas_destroyed: bool = False
    ripas_response: RecResponse = RecResponse.ACCEPT
    last_exit: LastExit = LastExit.NONE
    esr: int = 0
    trap_wfi: bool = False
    trap_wfe: bool = False


class State(NamedTuple):
    """Everything.  Addresses that ``granules`` does not have hold ``NS_GRANULE``.

    ``realms`` is by the address of the realm descriptor, ``recs`` by that of the REC, ``rtts`` by that of the table.
    ``next_serial`` is the serial number of the next realm.
    """

    granules: PMap[Granule] = PMap()
    realms: PMap[Realm] = PMap()
    recs: PMap[Rec] = PMap()
    rtts: PMap[Rtt] = PMap()
    next_serial: int = 1

    def granule(self, addr: int) -> Granule:
        """The granule at a granule-aligned physical address."""
        return self.granules.get(addr) or NS_GRANULE

    def with_granule(self, addr: int, granule: Granule) -> State:
        """The state with another granule at ``addr``."""
        return self._replace(granules=self.granules.set(addr, granule))

    def with_realm(self, rd: int, realm: Realm) -> State:
        """The state with another realm at ``rd``."""
        return self._replace(realms=self.realms.set(rd, realm))

    def with_rec(self, addr: int, rec: Rec) -> State:
        """The state with another REC at ``addr``."""
        return self._replace(recs=self.recs.set(addr, rec))

    def with_entry(self, table: int, index: int, entry: RttEntry) -> State:
        """The state with another entry in a table."""
        rtt = self.rtts[table]
        return self._replace(rtts=self.rtts.set(table, (*rtt[:index], entry, *rtt[index + 1 :])))


def delegated(content: Content) -> Granule:
    """A delegated granule: nobody can see what it still holds."""
    return Granule(GranuleState.DELEGATED, Gpt.GPT_REALM, content)


def owned(state: GranuleState, content: Content) -> Granule:
    """A granule that a realm owns."""
    return Granule(state, Gpt.GPT_REALM, content)
