"""What a state is: needs, register context, memory, records, and where it was seen.  No I/O, no judging."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import refmodel.sysregs
from harness.probe.address_space import MemoryType
from harness.probe.records import (
    RECORD_SIZE,
    SMC_REGISTERS,
    Op,
    Record,
    RecordFlag,
    RegisterEntry,
    Requester,
    World,
    sysreg_encoding,
)
from refmodel.features import Features
from refmodel.registers import Register
from refmodel.sysregs import GPCBW_EL3, GPCCR_EL3

VERSION: Final = 1

SMC_LIKE: Final = frozenset({Op.SMC, Op.HVC, Op.SVC})
ATOMICS: Final = frozenset({Op.ATOMIC_ADD, Op.ATOMIC_SWAP, Op.ATOMIC_CAS})

FEATURES: Final[Mapping[str, str]] = {
    "FEAT_RME": "rme",
    "FEAT_RME_GPC2": "gpc2",
    "FEAT_RME_GPC3": "gpc3",
    "FEAT_LSE": "lse",
    "FEAT_SEL2": "sel2",
}
"""Features that a state can need, and what the model's ``Features`` calls them."""


def _register_names() -> dict[str, int]:
    """Names of system registers to 16-bit encodings, those that the model knows.

    TCR_EL2 has one layout with HCR_EL2.E2H and one without, and one name.
    """
    found: dict[str, int] = {}
    for name, value in vars(refmodel.sysregs).items():
        if isinstance(value, type) and issubclass(value, Register) and value.encoding is not None:
            found[name.removesuffix("_E2H")] = sysreg_encoding(*value.encoding)
    return found


REGISTERS: Final[Mapping[str, int]] = _register_names()
_NAMES: Final = {encoding: name for name, encoding in REGISTERS.items()}
_GPCCR: Final = REGISTERS["GPCCR_EL3"]
_GPC2_FIELDS: Final = (GPCCR_EL3.APPSAA, GPCCR_EL3.NSO, GPCCR_EL3.SPAD, GPCCR_EL3.NSPAD, GPCCR_EL3.RLPAD)
_GPC3_FIELDS: Final = (GPCCR_EL3.GPCBW, GPCCR_EL3.PPS3)


def register_name(encoding: int) -> str:
    """``GPCCR_EL3``, or ``S3_6_C2_C1_6`` where the model has no name for it."""
    op0, op1, crn, crm, op2 = (encoding >> at & mask for at, mask in ((14, 3), (11, 7), (7, 15), (3, 15), (0, 7)))
    return _NAMES.get(encoding, f"S{op0}_{op1}_C{crn}_C{crm}_{op2}")


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where the state was seen.

    ``target``, ``version``, ``realmcheck``: on what, judged by which release; ``test``, ``rules``, ``signature``: of
    the failing case, empty for an observation that was permitted; ``batch``, ``index``: the raw record; ``lost``: the
    target did not survive.
    """

    target: str = ""
    version: str = ""
    realmcheck: str = ""
    test: str = ""
    rules: tuple[str, ...] = ()
    signature: str = ""
    batch: str = ""
    index: int = 0
    lost: bool = False


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a target must have: GPCCR_EL3.L0GPTSZ in bits (30, 34, 36 or 39), number of PEs, names in ``FEATURES``."""

    l0gptsz: int = 30
    pes: int = 1
    features: tuple[str, ...] = ("FEAT_RME",)

    def lacking(self, features: Features) -> tuple[str, ...]:
        """The needed features that a target does not have."""
        return tuple(name for name in self.features if not getattr(features, FEATURES[name]))


@dataclass(frozen=True, kw_only=True)
class MemoryBlock:
    """Bytes at a physical address."""

    pa: int
    data: bytes

    @property
    def end(self) -> int:
        """First address after the block."""
        return self.pa + len(self.data)


def merged(writes: Iterable[tuple[int, bytes]]) -> tuple[MemoryBlock, ...]:
    """What memory holds after these writes (PA, bytes): blocks in the order of their addresses, neighbours as one."""
    blocks: list[MemoryBlock] = []
    for pa, data in writes:
        end = pa + len(data)
        apart = [block for block in blocks if block.end < pa or end < block.pa]
        joined = [block for block in blocks if block not in apart]
        start = min([pa, *(block.pa for block in joined)])
        whole = bytearray(max([end, *(block.end for block in joined)]) - start)
        for block in joined:
            whole[block.pa - start : block.end - start] = block.data
        whole[pa - start : end - start] = data
        blocks = [*apart, MemoryBlock(pa=start, data=bytes(whole))]
    return tuple(sorted(blocks, key=lambda block: block.pa))


@dataclass(frozen=True, kw_only=True)
class StateRecord:
    """One probe record, independent of where things lie in a batch.

    At EL3 an address is a physical one in a PAS with a memory type, for the probe's map to reach; else ``va`` is the
    virtual address.  ``data``: what MEM_WRITE writes, or x0 to x17 of SMC, HVC, SVC.  ``aux``: encoding or length.
    """

    op: Op
    pa: int | None = None
    pas: World = World.ROOT
    memory: MemoryType = MemoryType.NORMAL_WB
    va: int = 0
    size_log2: int = 3
    value0: int = 0
    value1: int = 0
    aux: int = 0
    data: bytes = b""
    state: World = World.ROOT
    el: int = 3
    pe: int = 0
    group: int = 0
    requester: Requester = Requester.PE_DATA
    flags: RecordFlag = RecordFlag.NONE
    registers: tuple[RegisterEntry, ...] = ()


@dataclass(frozen=True, kw_only=True)
class State:
    """Registers, memory and records; ``judged`` is the index of the record that the state is about.

    Memory of the tables' window that no block names is zero.
    """

    title: str
    records: tuple[StateRecord, ...]
    judged: int = 0
    needs: Needs = field(default_factory=Needs)
    context: tuple[RegisterEntry, ...] = ()
    memory: tuple[MemoryBlock, ...] = ()
    origin: Origin = field(default_factory=Origin)

    @property
    def record(self) -> StateRecord:
        """The record that the state is about."""
        return self.records[self.judged]


def needs_of(
    records: Sequence[StateRecord], context: Sequence[RegisterEntry], *, l0gptsz: int, features: Features
) -> Needs:
    """What these records need, of all that the target they were seen on has."""
    entries = [*context, *(entry for record in records for entry in record.registers)]
    gpccr = [entry.value for entry in entries if entry.encoding == _GPCCR]
    bypass = sysreg_encoding(*GPCBW_EL3.encoding) if GPCBW_EL3.encoding else 0
    needed = {
        "FEAT_RME": True,
        "FEAT_RME_GPC2": any(value & part.mask for value in gpccr for part in _GPC2_FIELDS),
        "FEAT_RME_GPC3": any(value & part.mask for value in gpccr for part in _GPC3_FIELDS)
        or any(entry.encoding == bypass for entry in entries),
        "FEAT_LSE": any(record.op in ATOMICS for record in records),
        "FEAT_SEL2": any(record.state is World.SECURE and record.el == 2 for record in records),
    }
    # A bit that means nothing where the feature is absent is part of the stimulus there, not a need.
    names = tuple(name for name, need in needed.items() if need and getattr(features, FEATURES[name]))
    return Needs(l0gptsz=l0gptsz, pes=1 + max((record.pe for record in records), default=0), features=names)


def lay_out(record: StateRecord, va: int, pool: bytearray, start: int) -> Record:
    """The probe record with its data put into ``pool``, which begins ``start`` bytes after the batch's head."""
    value0, value1, aux = record.value0, record.value1, record.aux
    if record.op is Op.MEM_WRITE:
        value0, aux = start + len(pool), len(record.data)
        pool += record.data
    elif record.op is Op.MEM_READ:
        value0 = start + len(pool)
        pool += bytes(aux)
    elif record.op in SMC_LIKE:
        value0 = start + len(pool)
        value1 = value0 + 8 * SMC_REGISTERS
        pool += record.data.ljust(8 * SMC_REGISTERS, b"\0") + bytes(8 * SMC_REGISTERS)
    pool += bytes(-len(pool) % 8)
    assert start >= RECORD_SIZE  # a pool lies behind the records
    return Record(
        0, record.op, record.size_log2, record.pe, record.group, record.requester, record.state, record.el, 0,
        int(record.flags), va, value0, value1, aux,
    )  # fmt: skip
