"""Stimuli of the granule protection suites: what is asked, as a probe record and as the model's access."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from harness.judge.operation import CHANGING, Operation
from harness.probe.records import Op, Record, Requester, World
from refmodel.access import ACCESSES
from refmodel.faults import AccessDescriptor

RET = 0xD65F03C0
"""The A64 instruction that a fetch stimulus must find."""


class Kind(Enum):
    """A kind of access: the probe's operation and the model's access descriptor."""

    LOAD = ("load", Op.LOAD)
    STORE = ("store", Op.STORE)
    LOAD_PAIR = ("load", Op.LOAD_PAIR)
    STORE_PAIR = ("store", Op.STORE_PAIR)
    LOAD_EXCLUSIVE = ("load-exclusive", Op.LOAD_EXCLUSIVE)
    STORE_EXCLUSIVE = ("exclusive-sequence", Op.STORE_EXCLUSIVE)
    ATOMIC_ADD = ("atomic", Op.ATOMIC_ADD)
    ATOMIC_SWAP = ("atomic", Op.ATOMIC_SWAP)
    ATOMIC_CAS = ("atomic", Op.ATOMIC_CAS)
    FETCH = ("fetch", Op.FETCH)
    LOAD_UNPRIVILEGED = ("load-unprivileged", Op.LOAD_UNPRIVILEGED)
    STORE_UNPRIVILEGED = ("store-unprivileged", Op.STORE_UNPRIVILEGED)

    def __init__(self, access: str, op: Op) -> None:
        # Plain attributes: these are read for every single probe.
        self.access_name: str = access
        """The model's name for the access."""
        self.access: AccessDescriptor = ACCESSES[access]
        """The access at EL3 that decides; of a store-exclusive that is the load-exclusive before it too."""
        self.op: Op = op
        """The probe's operation."""
        self.requester: Requester = Requester.PE_FETCH if op is Op.FETCH else Requester.PE_DATA
        """Who accesses, as the record says it."""
        self.number: int = len(type(self).__members__)
        self.aux: int = 0
        """The record's ``aux``."""

    @property
    def title(self) -> str:
        """``load-pair``."""
        return self.name.lower().replace("_", "-")

    @property
    def family(self) -> str:
        """What deviations of this kind are told as."""
        return self.title


class Stimulus(NamedTuple):
    """One access: its kind, virtual address, the physical address and space that the map in force gives it.

    The map is the probe's at EL3, or in a scene below EL3 the scene's.

    ``size_log2`` is log2 of the bytes of one element; ``value0``/``value1`` are the probe's operands.
    """

    kind: Kind | Operation
    va: int
    pa: int
    pas: World
    size_log2: int = 3
    value0: int = 0
    value1: int = 0

    def record(self) -> Record:
        """The probe record."""
        kind = self.kind
        # Positional, for speed: id, op, size_log2, pe, group, requester, state, el, reserved0, flags, address, values,
        # aux.
        return Record(
            0, kind.op, self.size_log2, 0, 0, kind.requester, World.ROOT, 3, 0, 0, self.va, self.value0, self.value1,
            kind.aux,
        )  # fmt: skip

    def describe(self, source: str = "EL3 in Root state") -> dict[str, str]:
        """For a person: ordered name -> text."""
        width = 8 << self.size_log2
        text = {
            "access": f"{self.kind.title}, {width} bits, from {source}",
            "address": f"{self.pas.name.replace('_', '-').title()} PAS {self.pa:#x} (VA {self.va:#x})",
        }
        if self.kind in WRITING:
            text["value"] = f"{self.value0:#x}" + (f", {self.value1:#x}" if self.kind in _TWO else "")
        return text


WRITING: frozenset[Kind | Operation] = CHANGING | {
    Kind.STORE, Kind.STORE_PAIR, Kind.STORE_EXCLUSIVE, Kind.ATOMIC_ADD, Kind.ATOMIC_SWAP, Kind.ATOMIC_CAS,
    Kind.STORE_UNPRIVILEGED
}  # fmt: skip
_TWO: frozenset[Kind | Operation] = frozenset({Kind.STORE_PAIR, Kind.ATOMIC_CAS, Operation.STORE_PAIR_ACROSS})


class Performed(NamedTuple):
    """What an access that is performed returns and leaves behind: registers, and the bytes at its address after it."""

    data0: int
    data1: int
    memory: bytes | None


def access_name_of(stimulus: Stimulus) -> str:
    """The model's name of a stimulus that is one access; TypeError for another operation."""
    if isinstance(stimulus.kind, Operation):
        raise TypeError(f"{stimulus.kind.title} is no single access")
    return stimulus.kind.access_name


def access_of(stimulus: Stimulus) -> AccessDescriptor:
    """The access at EL3 of a stimulus that is one access; TypeError for another operation."""
    if isinstance(stimulus.kind, Operation):
        raise TypeError(f"{stimulus.kind.title} is no single access")
    return stimulus.kind.access


def perform(stimulus: Stimulus, before: bytes) -> Performed:
    """The effect of the access on ``before`` (the 16 bytes at its physical address): data returned, bytes written.

    Source: DDI 0487, A64 instruction descriptions of LDR, STR, LDP, STP, LDXR, STXR, LDADD, SWP, CAS, LDTR and STTR.
    """
    size = 1 << stimulus.size_log2
    mask = (1 << 8 * size) - 1
    old = int.from_bytes(before[:size], "little")
    new0 = (stimulus.value0 & mask).to_bytes(size, "little")
    match stimulus.kind:
        case Kind.LOAD | Kind.LOAD_EXCLUSIVE | Kind.LOAD_UNPRIVILEGED | Operation.LOAD_ACROSS:
            return Performed(old, 0, None)
        case Kind.STORE | Kind.STORE_UNPRIVILEGED | Operation.STORE_ACROSS:
            return Performed(0, 0, new0)
        case Kind.LOAD_PAIR | Operation.LOAD_PAIR_ACROSS:
            return Performed(old, int.from_bytes(before[size : 2 * size], "little"), None)
        case Kind.STORE_PAIR | Operation.STORE_PAIR_ACROSS:
            return Performed(0, 0, new0 + (stimulus.value1 & mask).to_bytes(size, "little"))
        case Kind.STORE_EXCLUSIVE:
            return Performed(old, 0, new0)
        case Kind.ATOMIC_ADD:
            return Performed(old, 0, ((old + stimulus.value0) & mask).to_bytes(size, "little"))
        case Kind.ATOMIC_SWAP:
            return Performed(old, 0, new0)
        case Kind.ATOMIC_CAS:
            swapped = old == stimulus.value0 & mask
            return Performed(old, 0, (stimulus.value1 & mask).to_bytes(size, "little") if swapped else None)
        case Kind.FETCH | Operation():
            return Performed(0, 0, None)
