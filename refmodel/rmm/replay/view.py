"""The context of a host command in a replay: conditions see what is known, and raise ``NotKnown`` for the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from refmodel.rmm.command import Command
from refmodel.rmm.context import Context, IllFormed, NotKnown
from refmodel.rmm.replay.knowledge import AS_GRANULE, Kind, Knowledge
from refmodel.rmm.rtt import Walk
from refmodel.rmm.state import Granule, Realm, Rec, Rtt, RttEntry, State
from refmodel.rmm.types import RMM_GRANULE_SIZE, RealmState
from refmodel.rmm.version import Parameters

if TYPE_CHECKING:
    from refmodel.rmm.calls import RealmParams, RecEnter, RecParams

_OFFSET = RMM_GRANULE_SIZE - 1


class _Known:
    """An object of which some fields are known."""

    def __init__(self, **fields: object) -> None:
        self.__dict__.update(fields)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any field may be asked for
        raise NotKnown(name)


def _anything(addr: int) -> bool:
    return True


PARAMETERS = Parameters(delegable=_anything)
"""Only what no implementation can choose is taken from here."""


class View(Context):
    """A command's context over ``knowledge``, with the granules that its arguments name taken to be ``assumed``."""

    __slots__ = ("_assumed", "_knowledge")

    def __init__(
        self, command: Command, args: tuple[int, ...], knowledge: Knowledge, assumed: Mapping[int, Kind]
    ) -> None:
        super().__init__(State(), PARAMETERS, command.inputs, args, command.walk)
        self._knowledge = knowledge
        self._assumed = assumed
        self.p = cast(Parameters, _Known())

    def PaIsDelegable(self, addr: int) -> bool:
        """B3.25, of memory that the log has shown."""
        kind = self._kind(addr & ~_OFFSET)
        return kind is not Kind.OUTSIDE

    def _kind(self, addr: int) -> Kind:
        if addr in self._assumed:
            return self._assumed[addr]
        kinds = self._knowledge.kinds(addr)
        if len(kinds) == 1:
            return next(iter(kinds))
        raise NotKnown

    def Granule(self, addr: int) -> Granule:
        """B3.19, as assumed."""
        if addr & _OFFSET:
            raise IllFormed
        kind = self._kind(addr)
        if kind is Kind.OUTSIDE:
            raise IllFormed
        return AS_GRANULE[kind]

    @property
    def realm(self) -> Realm:
        """``Realm(rd)``: its state and RECs are known, its configuration is not."""
        return self._known_realm(self.rd)

    def _known_realm(self, rd: int) -> Realm:
        if rd & _OFFSET or self._kind(rd) is not Kind.RD:
            raise IllFormed
        known = self._knowledge.realms.get(rd)
        if known is None:
            raise NotKnown
        fields = {"state": known.state, "rec_index": known.rec_index, "num_recs": known.num_recs}
        return cast(Realm, _Known(**fields))

    def Realm(self, rd: int) -> Realm:
        """B3.29, for RMI_REC_ENTER, which asks whether the system is off."""
        known = self._knowledge.realms.get(rd)
        if known is None or known.maybe_off:
            raise NotKnown
        return cast(Realm, _Known(state=known.state))

    @property
    def the_rec(self) -> Rec:
        """``Rec(rec)``."""
        return self.Rec(self.rec)

    def Rec(self, addr: int) -> Rec:
        """B3.35: owner and MPIDR are known, what it does is not."""
        if addr & _OFFSET or self._kind(addr) is not Kind.REC:
            raise IllFormed
        known = self._knowledge.recs.get(addr)
        if known is None:
            raise NotKnown
        return cast(Rec, _Known(owner=known.owner, mpidr=known.mpidr))

    @property
    def realm_params(self) -> RealmParams:
        """Never shown."""
        raise NotKnown

    @property
    def rec_params(self) -> RecParams:
        """Never shown."""
        raise NotKnown

    @property
    def enter(self) -> RecEnter:
        """Never shown."""
        raise NotKnown

    def RttWalk(self, addr: int, level: int) -> Walk:
        """Tables are not known."""
        raise NotKnown

    @property
    def walk(self) -> Walk:
        """Tables are not known."""
        raise NotKnown

    @property
    def rtte(self) -> RttEntry:
        """Tables are not known."""
        raise NotKnown

    @property
    def walk_rtt(self) -> Rtt:
        """Tables are not known."""
        raise NotKnown

    @property
    def child(self) -> Rtt:
        """Tables are not known."""
        raise NotKnown

    def AddrIsProtected(self, addr: int) -> bool:
        """B3.4: an address that no IPA width of 52 bits or less has is not protected; else the width decides."""
        self._known_realm(self.rd)
        if addr >> 51:
            return False
        raise NotKnown

    def AddrIsRttLevelAligned(self, addr: int, level: int) -> bool:
        """B3.5."""
        return -1 <= level <= 3 and not addr & ((RMM_GRANULE_SIZE << 9 * (3 - level)) - 1)


def live_realms(knowledge: Knowledge) -> list[int]:
    """Realms that may run."""
    return [rd for rd, realm in knowledge.realms.items() if realm.state is RealmState.REALM_ACTIVE]
