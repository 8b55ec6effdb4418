"""Calls as probe records, and what records report as observations.

A host command is an SMC at Non-secure EL2, an event in a realm a record at Realm EL1; structures that a command reads
are written into memory beforehand.  Source: the record format, ``harness/probe/records.py``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from harness.errors import MisuseError
from harness.probe.batch import Batch, pool_pointer
from harness.probe.records import SMC_REGISTERS, Op, Record, Result, World
from refmodel.rmm.calls import (
    AccessKind,
    Call,
    DataSource,
    HostCall,
    RealmAccess,
    RealmInterrupt,
    RealmParams,
    RealmSmc,
    RecEnter,
    RecParams,
)
from refmodel.rmm.layout import pack_realm_params, pack_rec_enter, pack_rec_params

_REGISTERS: Final = struct.Struct(f"<{SMC_REGISTERS}Q")
_OP: Final = {AccessKind.READ: Op.LOAD, AccessKind.WRITE: Op.STORE, AccessKind.FETCH: Op.FETCH}
_EL2, _EL1 = 2, 1


class Observation(NamedTuple):
    """What a record reported: status of the record, exception if one was taken, X0 to X17 of an SMC, data read."""

    status: int
    taken: int
    target_el: int
    esr: int
    registers: tuple[int, ...]
    data0: int = 0


def structures(calls: Sequence[Call]) -> Iterator[tuple[int, bytes]]:
    """(physical address, bytes) of every structure that the calls' arguments name."""
    for call in calls:
        if not isinstance(call, HostCall):
            continue
        match call.memory:
            case RealmParams():
                yield call.args[1], pack_realm_params(call.memory)
            case RecParams():
                yield call.args[2], pack_rec_params(call.memory)
            case RecEnter():
                yield call.args[1], pack_rec_enter(call.memory)
            case DataSource(page):
                yield call.args[3], page
            case _:
                pass


def batch_of(calls: Sequence[Call]) -> tuple[Batch, list[int]]:
    """The batch that makes the calls in order, and for each record the offset of its registers after it, or 0."""
    shown = [call for call in calls if not isinstance(call, RealmInterrupt)]
    pool = bytearray()
    start = pool_pointer(len(shown))
    records: list[Record] = []
    offsets: list[int] = []
    for call in shown:
        record, registers = _record(call)
        if registers is not None:
            before = start + len(pool)
            pool += _REGISTERS.pack(*registers) + bytes(_REGISTERS.size)
            record = record._replace(value0=before, value1=before + _REGISTERS.size)
        records.append(record)
        offsets.append(record.value1 if registers is not None else 0)
    return Batch(records=records, pool=bytes(pool)), offsets


def _record(call: Call) -> tuple[Record, tuple[int, ...] | None]:
    match call:
        case HostCall(fid, args, _):
            record = Record(0, Op.SMC, state=World.NON_SECURE, el=_EL2)
            return record, _filled((fid, *args))
        case RealmSmc(_, args, _):
            return Record(0, Op.SMC, state=World.REALM, el=_EL1), _filled(args)
        case RealmAccess(_, ipa, kind):
            return Record(0, _OP[kind], state=World.REALM, el=_EL1, address=ipa, value0=call.value), None
    raise MisuseError(f"no probe record does {call}")


def _filled(values: Sequence[int]) -> tuple[int, ...]:
    return (*values, *(0,) * (SMC_REGISTERS - len(values)))


def observations(results: Sequence[Result], image: bytes, offsets: Sequence[int]) -> list[Observation]:
    """What each record reported; ``image`` is the batch after the run."""
    return [
        Observation(
            result.status,
            result.taken,
            result.target_el,
            result.esr,
            _REGISTERS.unpack_from(image, offset) if offset else (),
            result.data0,
        )
        for result, offset in zip(results, offsets, strict=True)
    ]
