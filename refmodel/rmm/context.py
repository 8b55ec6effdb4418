"""What a command's conditions look at: its input values, and context values that are computed when first asked for.

A context value that does not exist in the state (the realm of an address that is no realm descriptor) raises
``IllFormed``: the condition that asked is not well-formed, so it is not observed.

Source: DEN0137 1.0-rel0, B1.5, B1.6 and the condition functions of B3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from refmodel.rmm.calls import NO_VCPU, DataSource, HostCallData, Memory, RealmParams, RecEnter, RecParams, Vcpu
from refmodel.rmm.rtt import AddrIsProtected, AddrIsRttLevelAligned, RttWalk, Walk
from refmodel.rmm.state import Granule, Realm, Rec, Rtt, RttEntry, State
from refmodel.rmm.types import RMM_GRANULE_SIZE, EntryState, Gpt
from refmodel.rmm.version import Parameters


class IllFormed(Exception):
    """A condition expression that has no value in this state."""


class NotKnown(Exception):
    """A value that exists and that nobody has told: a replayed log does not show everything."""


_OFFSET = RMM_GRANULE_SIZE - 1
_SIGNED = {"level"}


class Context:
    """Inputs and context values of one execution of a command; ``values`` are its arguments, X1 onwards.

    A command of a realm has the calling REC as ``rec`` and its owner as ``rd``.  Arguments that are not given are 0.
    """

    __slots__ = (
        "_realm",
        "_rec",
        "_walk",
        "_walker",
        "addr",
        "base",
        "calling_rec",
        "context_id",
        "data",
        "desc",
        "entry_point_address",
        "fid",
        "flags",
        "index",
        "ipa",
        "level",
        "lowest_affinity_level",
        "memory",
        "offset",
        "p",
        "params_ptr",
        "power_state",
        "psci_func_id",
        "rd",
        "rec",
        "req",
        "ripas",
        "rtt",
        "run_ptr",
        "size",
        "src",
        "state",
        "status",
        "target_affinity",
        "target_cpu",
        "target_rec",
        "top",
        "values",
        "vcpu",
    )

    addr: int
    base: int
    calling_rec: int
    context_id: int
    data: int
    desc: int
    entry_point_address: int
    fid: int
    flags: int
    index: int
    ipa: int
    level: int
    lowest_affinity_level: int
    offset: int
    params_ptr: int
    power_state: int
    psci_func_id: int
    rd: int
    rec: int
    req: int
    ripas: int
    rtt: int
    run_ptr: int
    size: int
    src: int
    status: int
    target_affinity: int
    target_cpu: int
    target_rec: int
    top: int

    def __init__(
        self,
        state: State,
        parameters: Parameters,
        inputs: tuple[str, ...],
        args: Sequence[int],
        walker: Callable[[Context], Walk],
        *,
        memory: Memory | HostCallData = None,
        vcpu: Vcpu = NO_VCPU,
    ) -> None:
        self.state = state
        self.p = parameters
        self.memory = memory
        self.vcpu = vcpu
        self.values = args
        self._realm: Realm | None = None
        self._rec: Rec | None = None
        self._walk: Walk | None = None
        self._walker = walker
        self.rd = self.rec = 0
        for name in inputs[len(args) :]:
            setattr(self, name, 0)
        for name, value in zip(inputs, args, strict=False):
            # Int64 inputs are signed; everything else is an address or a UInt64.
            setattr(self, name, value - (1 << 64) if name in _SIGNED and value >> 63 else value)

    @property
    def values_with_fid(self) -> tuple[int, ...]:
        """X0 onwards, as a realm had them when it executed SMC."""
        return (self.fid, *self.values)

    # Granules -------------------------------------------------------------------------------------------------------

    def PaIsDelegable(self, addr: int) -> bool:
        """B3.25, of the granule that holds ``addr``."""
        return self.p.delegable(addr & ~_OFFSET)

    def Granule(self, addr: int) -> Granule:
        """B3.19.  No granule is located at an unaligned address, or at one that is not delegable memory."""
        if addr & _OFFSET or not self.p.delegable(addr):
            raise IllFormed
        return self.state.granule(addr)

    def AccessPermittedNS(self, addr: int) -> bool:
        """``GranuleAccessPermitted(addr, PAS_NS)`` (B3.20)."""
        gpt = self.Granule(addr).gpt
        return gpt is Gpt.GPT_NS or gpt is Gpt.GPT_AAP

    # Objects --------------------------------------------------------------------------------------------------------

    @property
    def realm(self) -> Realm:
        """``Realm(rd)`` (B3.29)."""
        if self._realm is None:
            self._realm = self.state.realms.get(self.rd)
            if self._realm is None:
                raise IllFormed
        return self._realm

    @property
    def the_rec(self) -> Rec:
        """``Rec(rec)`` (B3.35)."""
        if self._rec is None:
            self._rec = self.Rec(self.rec)
        return self._rec

    def Rec(self, addr: int) -> Rec:
        """B3.35, of any address."""
        found = self.state.recs.get(addr)
        if found is None:
            raise IllFormed
        return found

    def Realm(self, rd: int) -> Realm:
        """B3.29, of any address."""
        found = self.state.realms.get(rd)
        if found is None:
            raise IllFormed
        return found

    # Memory of the Host ---------------------------------------------------------------------------------------------

    def _readable(self, addr: int) -> None:
        if not self.AccessPermittedNS(addr):
            raise IllFormed

    @property
    def realm_params(self) -> RealmParams:
        """``RealmParams(params_ptr)`` (B3.33): UNKNOWN unless the granule is Non-secure."""
        self._readable(self.params_ptr)
        if not isinstance(self.memory, RealmParams):
            raise IllFormed
        return self.memory

    @property
    def rec_params(self) -> RecParams:
        """``RecParams(params_ptr)`` (B3.39)."""
        self._readable(self.params_ptr)
        if not isinstance(self.memory, RecParams):
            raise IllFormed
        return self.memory

    @property
    def enter(self) -> RecEnter:
        """``RecRun(run_ptr).enter`` (B3.41); memory that nobody wrote counts as zeros."""
        self._readable(self.run_ptr)
        return self.memory if isinstance(self.memory, RecEnter) else RecEnter()

    @property
    def source(self) -> DataSource:
        """The granule at ``src``; memory that nobody wrote counts as zeros."""
        self._readable(self.src)
        return self.memory if isinstance(self.memory, DataSource) else DataSource()

    # Realm translation tables ---------------------------------------------------------------------------------------

    def RttWalk(self, addr: int, level: int) -> Walk:
        """B3.78: needs an address below the end of the IPA space and a level that is the realm's."""
        realm = self.realm
        if addr >> realm.ipa_width or not realm.rtt_level_start <= level <= 3:
            raise IllFormed
        return RttWalk(self.state, realm, addr, level, self.p.stride)

    @property
    def walk(self) -> Walk:
        """The command's context value ``walk``, on the state before the command."""
        if self._walk is None:
            self._walk = self._walker(self)
        return self._walk

    @property
    def rtte(self) -> RttEntry:
        """``walk.rtte``."""
        return self.walk.rtte

    @property
    def walk_rtt(self) -> Rtt:
        """``Rtt(walk.rtt_addr)``."""
        return self.state.rtts[self.walk.rtt_addr]

    @property
    def child(self) -> Rtt:
        """``Rtt(walk.rtte.addr)``: needs an entry that leads to a table."""
        rtte = self.walk.rtte
        if rtte.state is not EntryState.TABLE:
            raise IllFormed
        return self.state.rtts[rtte.addr]

    def AddrIsProtected(self, addr: int) -> bool:
        """B3.4, for the command's realm."""
        return AddrIsProtected(addr, self.realm)

    def AddrIsRttLevelAligned(self, addr: int, level: int) -> bool:
        """B3.5: no address is aligned for an invalid level."""
        return level >= -1 and AddrIsRttLevelAligned(addr, level, self.p.stride)


def AddrIsGranuleAligned(addr: int) -> bool:
    """B3.3."""
    return not addr & _OFFSET
