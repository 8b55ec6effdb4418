"""Raw stimulus and observation batches: ``batches/<sha256>.bin``, verified when read.

A file is a header (magic, version, flags, lengths, CRC of the payload as stored) and a payload: JSON meta data, the
memory writes that preceded the batch, the encoded batch image and the result bytes.  The name is the sha256 of the
payload before compression, so equal batches are stored once.  It does not decode records: see ``harness.probe.batch``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import BadInputError, MisuseError

_MAGIC = b"RCBATCH1"
_HEADER = struct.Struct("<8sIIQQ")  # magic, flags, CRC-32 of the stored payload, stored length, plain length
_COUNTS = struct.Struct("<IIQQ")  # meta length, number of memory writes, image length, results length
_WRITE = struct.Struct("<QQ")  # physical address, length
_COMPRESSED = 1
_SAMPLE = 1 << 16
_PAYS = 0.7  # stored only compressed when a sample shrinks below this part of its size


@dataclass(frozen=True, kw_only=True)
class RawBatch:
    """A batch as it was sent and answered; ``memory`` holds (physical address, bytes) in the order written."""

    image: bytes
    results: bytes
    memory: tuple[tuple[int, bytes], ...]
    meta: Mapping[str, object]


class BatchStore:
    """The batches of one run, in ``directory/batches``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "batches"

    def path(self, name: str) -> Path:
        """The file of a batch."""
        return self.directory / f"{name}.bin"

    def store(
        self,
        image: bytes,
        results: bytes,
        memory: Sequence[tuple[int, bytes]] = (),
        meta: Mapping[str, object] | None = None,
    ) -> str:
        """Write a batch and return its name (64 hexadecimal digits).

        A file appears under its name only when it is whole.  Raises MisuseError when it cannot be written.
        """
        head = json.dumps(meta or {}, separators=(",", ":"), sort_keys=True).encode()
        parts = [_COUNTS.pack(len(head), len(memory), len(image), len(results)), head]
        for pa, data in memory:
            parts += [_WRITE.pack(pa, len(data)), data]
        parts += [image, results]
        digest = hashlib.sha256()
        for part in parts:
            digest.update(part)
        name = digest.hexdigest()
        if not self.path(name).exists():
            self._write(name, parts)
        return name

    def load(self, name: str) -> RawBatch:
        """Read a batch back; BadInputError when the file is missing, cut short or not what its name says."""
        return load(self.path(name))

    def _write(self, name: str, parts: Sequence[bytes]) -> None:
        plain = sum(map(len, parts))
        stored: Sequence[bytes] = parts
        flags = 0
        if _compresses(parts):
            engine = zlib.compressobj(1)
            stored = [*(engine.compress(part) for part in parts), engine.flush()]
            flags = _COMPRESSED
        crc = 0
        for part in stored:
            crc = zlib.crc32(part, crc)
        header = _HEADER.pack(_MAGIC, flags, crc, sum(map(len, stored)), plain)
        temporary = self.directory / f".{name}-{os.getpid()}"
        try:
            self.directory.mkdir(exist_ok=True)
            with temporary.open("wb") as file:
                file.writelines([header, *stored])
            temporary.replace(self.path(name))
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            what = f"{self.path(name)}: a batch could not be written: {error.strerror}"
            raise MisuseError(f"{what}; earlier batches and results are kept; free space and run again") from None


def _compresses(parts: Sequence[bytes]) -> bool:
    longest = max(parts, key=len)
    middle = max(0, len(longest) // 2 - _SAMPLE // 2)
    sample = longest[middle : middle + _SAMPLE]
    return len(zlib.compress(sample, 1)) < _PAYS * len(sample)


def load(path: Path) -> RawBatch:
    """Read and verify one batch file; BadInputError names the file and what does not fit."""
    remedy = "copy the run directory again, or run the check again"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInputError(f"cannot be read: {error.strerror}", path=path, remedy=remedy) from None
    if len(data) < _HEADER.size or not data.startswith(_MAGIC):
        raise BadInputError("is not a version 1 batch file", path=path, where="offset 0", remedy=remedy)
    _, flags, crc, length, plain = _HEADER.unpack_from(data)
    if flags not in (0, _COMPRESSED):
        raise BadInputError(f"unknown flags {flags:#x}", path=path, where="offset 8", remedy=remedy)
    stored = memoryview(data)[_HEADER.size :]
    if len(stored) != length:
        what = f"holds {len(stored)} payload bytes, its header says {length}"
        raise BadInputError(what, path=path, where=f"offset {_HEADER.size}", remedy=remedy)
    if zlib.crc32(stored) != crc:
        raise BadInputError("checksum mismatch", path=path, remedy=remedy)
    try:
        payload = zlib.decompress(stored) if flags & _COMPRESSED else bytes(stored)
    except zlib.error:
        raise BadInputError("cannot be decompressed", path=path, remedy=remedy) from None
    if len(payload) != plain or hashlib.sha256(payload).hexdigest() != path.stem:
        raise BadInputError("content does not match the sha256 in its name", path=path, remedy=remedy)
    return _split(payload)


def _split(payload: bytes) -> RawBatch:
    meta_size, writes, image_size, results_size = _COUNTS.unpack_from(payload)
    at = _COUNTS.size + meta_size
    meta = json.loads(payload[_COUNTS.size : at])
    memory = []
    for _ in range(writes):
        pa, length = _WRITE.unpack_from(payload, at)
        at += _WRITE.size
        memory.append((pa, payload[at : at + length]))
        at += length
    image = payload[at : at + image_size]
    results = payload[at + image_size : at + image_size + results_size]
    return RawBatch(image=image, results=results, memory=tuple(memory), meta=meta)
