"""A batch: probe records with their register lists and pool, laid out as the probe wants them in memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from harness.errors import MisuseError, TargetProtocolError
from harness.probe.records import (
    BATCH_HEADER,
    BATCH_HEADER_SIZE,
    BATCH_MAGIC,
    DUMP_SIZE,
    RECORD,
    RECORD_SIZE,
    RESULT,
    RESULT_SIZE,
    VERSION,
    BatchFlag,
    BatchHeader,
    BatchStatus,
    Record,
    RecordFlag,
    RegisterEntry,
    Result,
)

_DUMP = int(RecordFlag.DUMP)  # a plain number: it is asked of every record
_CRC_OFFSET = 48  # BatchHeader.crc32, completed, status follow one another


def _align(value: int, to: int) -> int:
    return (value + to - 1) & ~(to - 1)


@dataclass(frozen=True)
class EncodedBatch:
    """A batch as bytes, and where the probe will put its results.

    ``image`` holds header, records and pool; results (``count`` x 128 bytes) start at ``results_offset``, right after
    the image; ``size`` is the whole footprint in bytes.
    """

    image: bytes
    count: int
    results_offset: int
    size: int


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Records to run under one register context.

    ``context`` is set before the first record and put back after the last; ``registers[k]`` is record k's own list
    (absent: none).  Record ids, register offsets and dump offsets are filled in by ``encode``.
    """

    records: Sequence[Record]
    context: Sequence[RegisterEntry] = ()
    registers: Mapping[int, tuple[RegisterEntry, ...]] | None = None
    pool: bytes = b""
    batch_id: int = 0

    def encode(self) -> EncodedBatch:
        """Lay the batch out: header, records, user pool, context list, register lists and dump areas, results."""
        records_offset = BATCH_HEADER_SIZE
        pool_offset = records_offset + RECORD_SIZE * len(self.records)
        pool = bytearray(self.pool)
        pool += bytes(_align(len(pool), 16) - len(pool))
        context_offset = pool_offset + len(pool)
        pool += b"".join(entry.pack() for entry in self.context)
        lists: dict[tuple[RegisterEntry, ...], int] = {}
        own = self.registers or {}
        packed: list[bytes] = []
        for index, record in enumerate(self.records):
            if record.flags & _DUMP or index in own:
                record = self._placed(record, own.get(index, ()), lists, pool, pool_offset)
            packed.append(RECORD.pack(index, *record[1:]))
        results_offset = _align(pool_offset + len(pool), 64)
        pool += bytes(results_offset - pool_offset - len(pool))
        count = len(packed)
        header = BatchHeader(
            BATCH_MAGIC, VERSION, BATCH_HEADER_SIZE, count, records_offset, results_offset, pool_offset, len(pool),
            context_offset if self.context else 0, len(self.context), self.batch_id, self._flags(), 0, 0, 0, 0,
        )  # fmt: skip
        body = b"".join(packed) + bytes(pool)
        crc = zlib.crc32(body, zlib.crc32(BATCH_HEADER.pack(*header)))
        image = BATCH_HEADER.pack(*header._replace(crc32=crc)) + body
        return EncodedBatch(image, count, results_offset, results_offset + RESULT_SIZE * count)

    @staticmethod
    def _placed(
        record: Record,
        entries: tuple[RegisterEntry, ...],
        lists: dict[tuple[RegisterEntry, ...], int],
        pool: bytearray,
        pool_offset: int,
    ) -> Record:
        """A record with its register list (each list is kept once) and its dump area put into the pool."""
        if entries and entries not in lists:
            lists[entries] = pool_offset + len(pool)
            pool += b"".join(entry.pack() for entry in entries)
        record = record._replace(regs_offset=lists.get(entries, 0), regs_count=len(entries))
        if record.flags & _DUMP:
            record = record._replace(dump_offset=pool_offset + len(pool))
            pool += bytes(DUMP_SIZE)
        return record

    def _flags(self) -> BatchFlag:
        """PES where records name another PE or a group; MisuseError when groups decrease from record to record."""
        groups = [record.group for record in self.records]
        if not any(groups):
            return BatchFlag.PES if any(record.pe for record in self.records) else BatchFlag.NONE
        if any(later < earlier for earlier, later in pairwise(groups)):
            raise MisuseError("ordering groups must not decrease from record to record; sort the records by group")
        return BatchFlag.PES


def pool_pointer(count: int) -> int:
    """Offset of the pool from the batch's start in a batch of ``count`` records, for records that name pool data."""
    return BATCH_HEADER_SIZE + RECORD_SIZE * count


def decode_header(data: bytes | memoryview) -> BatchHeader:
    """Read a batch header; TargetProtocolError when it is none."""
    if len(data) < BATCH_HEADER_SIZE:
        raise TargetProtocolError(f"batch header needs {BATCH_HEADER_SIZE} bytes, not {len(data)}")
    header = BatchHeader._make(BATCH_HEADER.unpack_from(data))
    if header.magic != BATCH_MAGIC or header.version != VERSION:
        raise TargetProtocolError(f"not a version {VERSION} batch: magic {header.magic:#x}, version {header.version}")
    return header


def decode_results(data: bytes | memoryview, count: int) -> list[Result]:
    """Read ``count`` results of 128 bytes; TargetProtocolError when ids are not 0..count-1 in order."""
    if len(data) < count * RESULT_SIZE:
        raise TargetProtocolError(f"{count} results need {count * RESULT_SIZE} bytes, not {len(data)}")
    results = list(map(Result._make, RESULT.iter_unpack(data[: count * RESULT_SIZE])))
    ids = [result[0] for result in results]
    if ids != list(range(count)):
        index = next(index for index, found in enumerate(ids) if index != found)
        raise TargetProtocolError(f"result {index} carries id {ids[index]}")
    return results


def check_done(header: BatchHeader, count: int) -> None:
    """TargetProtocolError unless the probe says that it ran all ``count`` records."""
    if header.status != BatchStatus.DONE or header.completed != count:
        raise TargetProtocolError(f"the probe ran {header.completed} of {count} records, status {header.status}")


def records_of(image: bytes | memoryview) -> Iterable[Record]:
    """The records of an encoded batch, in order."""
    header = decode_header(image)
    start = header.records_offset
    stop = start + header.record_count * RECORD_SIZE
    return (Record._make(fields) for fields in RECORD.iter_unpack(bytes(image[start:stop])))
