"""The RMM's side of Memory Encryption Contexts: which MECIDs are shared, and who has the private ones.

Every MECID up to ``max_mecid`` is shared, private and unassigned, or private and assigned to the one realm that was
created with it.  A step takes the state to the state after it, or to the reason why it is refused; every refusal is
RMI_ERROR_INPUT.  Commands of RMM 1.0 have no MECID: ``step.py`` does not call this.

Source: RMM specification 1.1 (alpha), RMI_MEC_SET_SHARED and RMI_MEC_SET_PRIVATE (conditions mecid_bound, state,
members), RmiRealmParams.mecid, RmmMecState.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final

FID_MEC_SET_SHARED: Final = 0xC400_018C
FID_MEC_SET_PRIVATE: Final = 0xC400_018D


class MecState(Enum):
    """RmmMecState."""

    MEC_STATE_SHARED = "shared"
    MEC_STATE_PRIVATE_UNASSIGNED = "private, unassigned"
    MEC_STATE_PRIVATE_ASSIGNED = "private, assigned"


class Refused(Enum):
    """The condition that makes a command fail with RMI_ERROR_INPUT."""

    mecid_bound = "the MECID is above max_mecid"
    state = "the MEC is not in the state that the command needs"
    members = "realms still use the shared MEC"


@dataclass(frozen=True)
class Mecs:
    """All MECs: ``shared`` ones, and the MECID of every realm by its RD; whatever is neither is private, unassigned.

    Which MECIDs are shared at first is the implementation's.
    """

    max_mecid: int
    shared: frozenset[int] = frozenset({0})
    realms: Mapping[int, int] = field(default_factory=dict)

    def members(self, mecid: int) -> frozenset[int]:
        """RDs of the realms that have ``mecid``."""
        return frozenset(rd for rd, own in self.realms.items() if own == mecid)

    def state(self, mecid: int) -> MecState:
        """State of a MEC."""
        if mecid in self.shared:
            return MecState.MEC_STATE_SHARED
        assigned = self.members(mecid)
        return MecState.MEC_STATE_PRIVATE_ASSIGNED if assigned else MecState.MEC_STATE_PRIVATE_UNASSIGNED


def _bound(mecs: Mecs, mecid: int) -> bool:
    return 0 <= mecid <= mecs.max_mecid


def set_shared(mecs: Mecs, mecid: int) -> Mecs | Refused:
    """RMI_MEC_SET_SHARED: a private MEC that no realm has becomes shared."""
    if not _bound(mecs, mecid):
        return Refused.mecid_bound
    if mecs.state(mecid) is not MecState.MEC_STATE_PRIVATE_UNASSIGNED:
        return Refused.state
    return replace(mecs, shared=mecs.shared | {mecid})


def set_private(mecs: Mecs, mecid: int) -> Mecs | Refused:
    """RMI_MEC_SET_PRIVATE: a shared MEC that no realm has becomes private."""
    if not _bound(mecs, mecid):
        return Refused.mecid_bound
    if mecs.state(mecid) is not MecState.MEC_STATE_SHARED:
        return Refused.state
    if mecs.members(mecid):
        return Refused.members
    return replace(mecs, shared=mecs.shared - {mecid})


def create(mecs: Mecs, rd: int, mecid: int) -> Mecs | Refused:
    """RMI_REALM_CREATE with ``mecid`` in its parameters: any number of realms share a MEC, one has a private one."""
    if not _bound(mecs, mecid):
        return Refused.mecid_bound
    if mecs.state(mecid) is MecState.MEC_STATE_PRIVATE_ASSIGNED:
        return Refused.state
    return replace(mecs, realms={**mecs.realms, rd: mecid})


def destroy(mecs: Mecs, rd: int) -> Mecs:
    """RMI_REALM_DESTROY: the realm's MEC is free again if it was private; KeyError for an RD that is none."""
    realms = dict(mecs.realms)
    del realms[rd]
    return replace(mecs, realms=realms)
