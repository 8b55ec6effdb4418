"""Construction files: how a realm was built, written down in TOML for ``realmcheck rim``.

Contents of Granules are files named relative to the TOML file.  ``docs/reference/attestation.md`` has the format; the
other form, a recorded sequence of RMI calls, is read by ``rmi_sequence.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from harness.attestation.rmi_sequence import read_sequence
from harness.attestation.tables import Table, read_document
from harness.errors import BadInputError
from refmodel.attestation.claimset import HASHES
from refmodel.attestation.rim import Construction, Data, Extend, Rec, Ripas, Step
from refmodel.rmm.measurement import PAGE_BYTES, MeasuredRealmParams

ENTRY_BYTES: Final = {0: 1 << 39, 1: 1 << 30, 2: 1 << 21, 3: 1 << 12}
"""Size of an RTT entry by level, for Granules of 4 KB."""
_PARAMS: Final = {"flags": 64, "s2sz": 8, "sve_vl": 8, "num_bps": 8, "num_wps": 8, "pmu_num_ctrs": 8}
_LARGEST: Final = 1 << 32


def load_construction(path: Path) -> Construction:
    """Read a construction file (``.toml``) or a recorded sequence (anything else); BadInputError for what is wrong."""
    if path.suffix == ".toml":
        return _construction(read_document(path))
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInputError(f"cannot be read: {error.strerror}", path=path) from None
    return read_sequence(data, path)


def _construction(document: Table) -> Construction:
    document.only("realm", "step", "extend")
    realm = document.values.get("realm")
    if not isinstance(realm, dict):
        raise document.error("has no table [realm]", remedy="add the realm's parameters")
    params = _params(Table(document.path, "[realm]", realm))
    steps = [step for table in document.tables("step") for step in _steps(table)]
    return Construction(params, tuple(steps), tuple(map(_extend, document.tables("extend"))))


def _params(table: Table) -> MeasuredRealmParams:
    table.only("hash_algo", *_PARAMS)
    name = table.text("hash_algo")
    if name not in HASHES:
        raise table.error(f"no hash algorithm {name!r}", remedy=f"known: {', '.join(HASHES)}")
    values = {key: table.number(key, None if key == "s2sz" else 0, bits) for key, bits in _PARAMS.items()}
    return MeasuredRealmParams(hash_algo=HASHES[name], **values)


def _steps(table: Table) -> Iterator[Step]:
    makers: dict[str, Callable[[Table], Iterator[Step]]] = {"data": _data, "ripas": _ripas, "rec": _rec}
    kind = table.text("kind")
    if kind not in makers:
        raise table.error(f"no step of kind {kind!r}", remedy=f"known kinds: {', '.join(makers)}")
    yield from makers[kind](table)


def _data(table: Table) -> Iterator[Step]:
    """A file's Granules in ascending order; the last one is filled with zeros."""
    table.only("kind", "ipa", "file", "offset", "size", "flags")
    ipa, flags = table.number("ipa"), table.number("flags", 1)
    if ipa % PAGE_BYTES:
        raise table.error(f"ipa {ipa:#x} is not a multiple of {PAGE_BYTES}")
    source = table.path.parent / table.text("file")
    offset = table.number("offset", 0)
    try:
        with source.open("rb") as file:
            file.seek(offset)
            content = file.read(min(table.number("size", _LARGEST), _LARGEST))
    except OSError as error:
        raise table.error(f"{source}: cannot be read: {error.strerror}") from None
    if not content:
        raise table.error(f"{source}: holds nothing from byte {offset} on")
    for start in range(0, len(content), PAGE_BYTES):
        yield Data(ipa + start, flags, content[start : start + PAGE_BYTES].ljust(PAGE_BYTES, b"\0"))


def _ripas(table: Table) -> Iterator[Step]:
    table.only("kind", "base", "top", "level")
    base, top, level = table.number("base"), table.number("top"), table.number("level")
    if level not in ENTRY_BYTES:
        raise table.error(f"level must be 0 to 3, not {level}", remedy="give the level at which the RTT walk ends")
    if base % PAGE_BYTES or top % PAGE_BYTES or top <= base:
        raise table.error(f"base {base:#x} and top {top:#x} must be Granule aligned, and top above base")
    yield Ripas(base, top, ENTRY_BYTES[level])


def _rec(table: Table) -> Iterator[Step]:
    table.only("kind", "flags", "pc", "gprs")
    gprs = table.values.get("gprs", [])
    if not isinstance(gprs, list) or len(gprs) > 8 or not all(isinstance(value, int) for value in gprs):
        raise table.error("key 'gprs' must be an array of at most 8 integers")
    yield Rec(table.number("flags", 1), table.number("pc"), (*gprs, *[0] * (8 - len(gprs))))


def _extend(table: Table) -> Extend:
    table.only("index", "value")
    index, value = table.number("index"), table.digits("value")
    if not 1 <= index <= 4:
        raise table.error(f"index must be 1 to 4, not {index}", remedy="RSI numbers the REMs from 1")
    if len(value) > 64:
        raise table.error(f"value has {len(value)} bytes; at most 64 extend a measurement")
    return Extend(index, value)
