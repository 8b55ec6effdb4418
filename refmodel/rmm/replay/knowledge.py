"""What a log has told so far of the RMM's state, and what may have happened between two of its lines.

A log shows some calls: which granule a realm descriptor is, how many RECs a realm has.  It does not show parameters in
memory, and stock firmware does not print calls that succeed and are frequent.  So a granule has a *set* of possible
states; commands that are not printed widen it, results narrow it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from refmodel.rmm.state import HOST_CONTENT as CONTENT
from refmodel.rmm.state import Granule, delegated, owned
from refmodel.rmm.types import Gpt, GranuleState, RealmState


class Kind(Enum):
    """What a granule may be; ``OUTSIDE`` is memory that cannot be delegated, ``FOREIGN`` has a GPT entry not NS."""

    __hash__ = object.__hash__

    OUTSIDE = "not delegable"
    NS = "UNDELEGATED"
    FOREIGN = "UNDELEGATED, not Non-secure"
    DELEGATED = "DELEGATED"
    RD = "RD"
    REC = "REC"
    REC_AUX = "REC_AUX"
    DATA = "DATA"
    RTT = "RTT"


AS_GRANULE: Final = {
    Kind.NS: Granule(),
    Kind.FOREIGN: Granule(GranuleState.UNDELEGATED, Gpt.GPT_SECURE, CONTENT),
    Kind.DELEGATED: delegated(CONTENT),
    Kind.RD: owned(GranuleState.RD, CONTENT),
    Kind.REC: owned(GranuleState.REC, CONTENT),
    Kind.REC_AUX: owned(GranuleState.REC_AUX, CONTENT),
    Kind.DATA: owned(GranuleState.DATA, CONTENT),
    Kind.RTT: owned(GranuleState.RTT, CONTENT),
}
EVERY_KIND: Final = frozenset(Kind)
_AT_BOOT: Final = frozenset({Kind.OUTSIDE, Kind.NS, Kind.FOREIGN})

_MOVES: Final = (
    ("RMI_GRANULE_DELEGATE", Kind.NS, Kind.DELEGATED),
    ("RMI_GRANULE_UNDELEGATE", Kind.DELEGATED, Kind.NS),
    ("RMI_DATA_CREATE", Kind.DELEGATED, Kind.DATA),
    ("RMI_DATA_CREATE_UNKNOWN", Kind.DELEGATED, Kind.DATA),
    ("RMI_DATA_DESTROY", Kind.DATA, Kind.DELEGATED),
    ("RMI_RTT_CREATE", Kind.DELEGATED, Kind.RTT),
    ("RMI_RTT_DESTROY", Kind.RTT, Kind.DELEGATED),
    ("RMI_RTT_FOLD", Kind.RTT, Kind.DELEGATED),
)
"""What a command that is not printed may do to a granule."""
_UNSHOWN: Final = (
    ("RMI_REALM_CREATE", Kind.DELEGATED, Kind.RTT),
    ("RMI_REALM_DESTROY", Kind.RTT, Kind.DELEGATED),
    ("RMI_REC_CREATE", Kind.DELEGATED, Kind.REC_AUX),
    ("RMI_REC_DESTROY", Kind.REC_AUX, Kind.DELEGATED),
)
"""What a printed command may do to granules that only its parameters in memory name."""


@dataclass
class KnownRealm:
    """A realm: what printed commands tell.  ``maybe_off``: some realm has turned its system off, perhaps this one."""

    state: RealmState
    rec_index: int = 0
    num_recs: int = 0
    aux_count: int | None = None
    maybe_off: bool = False


@dataclass
class KnownRec:
    """A REC: its owner, and its MPIDR by the order of creation."""

    owner: int
    mpidr: int


@dataclass
class Knowledge:
    """The state as far as it is known.

    ``printed``: commands whose successes the log shows.  ``from_boot``: the log begins before the first call.
    ``requests``: MPIDRs of PSCI requests that no RMI_PSCI_COMPLETE has answered.  ``pages``: DATA granules by realm and
    IPA, kept only while every command that could change them is printed.
    """

    printed: frozenset[str]
    from_boot: bool
    realms: dict[int, KnownRealm] = field(default_factory=dict)
    recs: dict[int, KnownRec] = field(default_factory=dict)
    pages: dict[tuple[int, int], int] = field(default_factory=dict)
    requests: Counter[int] = field(default_factory=Counter)
    features: int | None = None
    lost: bool = False
    """Some line could not be read: calls may be missing that would have been printed."""
    _granules: dict[int, tuple[frozenset[Kind], tuple[int, ...]]] = field(default_factory=dict)
    _done: Counter[str] = field(default_factory=Counter)
    _hidden: list[tuple[Kind, Kind]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._hidden = [(start, end) for name, start, end in _MOVES if name not in self.printed]

    def kinds(self, addr: int) -> frozenset[Kind]:
        """What the granule at ``addr`` may be now."""
        default = (_AT_BOOT if self.from_boot else EVERY_KIND, (0,) * len(_UNSHOWN))
        kinds, then = self._granules.get(addr, default)
        moves = list(self._hidden)
        for (name, start, end), count in zip(_UNSHOWN, then, strict=True):
            if self._done[name] > count:
                moves.append((start, end))
        return _closure(kinds, moves)

    def learn(self, addr: int, kinds: Iterable[Kind]) -> None:
        """The granule at ``addr`` is one of ``kinds``, as of now."""
        self._granules[addr] = frozenset(kinds), tuple(self._done[name] for name, _, _ in _UNSHOWN)

    def did(self, name: str) -> None:
        """A command succeeded."""
        self._done[name] += 1

    def lose(self) -> None:
        """A line could not be read: whatever it was, what was known of granules may be over."""
        self.lost = True
        self.from_boot = False
        self._granules.clear()
        self.pages.clear()

    @property
    def pages_known(self) -> bool:
        """Whether every command that maps or unmaps DATA is printed."""
        return {"RMI_DATA_CREATE", "RMI_DATA_CREATE_UNKNOWN", "RMI_DATA_DESTROY"} <= self.printed

    def describe(self, addr: int) -> str:
        """What is known of a granule, in words."""
        return " or ".join(sorted(kind.value for kind in self.kinds(addr)))


def _closure(kinds: frozenset[Kind], moves: Iterable[tuple[Kind, Kind]]) -> frozenset[Kind]:
    reached = set(kinds)
    todo = list(moves)
    changed = True
    while changed:
        changed = False
        for start, end in todo:
            if start in reached and end not in reached:
                reached.add(end)
                changed = True
    return frozenset(reached)
