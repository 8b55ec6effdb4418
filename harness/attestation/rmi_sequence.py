"""Recorded sequences of RMI and RSI calls, as JSON lines, turned into the construction of one realm.

Each line is one call with its arguments, its results and what it read from memory.  The RTT is followed far enough to
know at which level a walk ends, on which the measurement of RMI_RTT_INIT_RIPAS depends.  Calls that failed, that are
not measured, or that are another realm's are passed over.

``{"call": "RMI_REALM_CREATE", "args": [rd, params_ptr], "result": [0], "params": {"s2sz": 40, "hash_algo": 0, ...}}``
``{"call": "RMI_RTT_CREATE", "args": [rd, rtt, ipa, level], "result": [0]}``
``{"call": "RMI_RTT_INIT_RIPAS", "args": [rd, base, top], "result": [0, out_top]}``
``{"call": "RMI_DATA_CREATE", "args": [rd, data, ipa, src, flags], "result": [0], "content": "<base64 of 4 KB>"}``
``{"call": "RMI_REC_CREATE", "args": [rd, rec, params_ptr], "result": [0], "params": {"flags": 1, "pc": 0}}``
``{"call": "RMI_REALM_ACTIVATE", "args": [rd], "result": [0]}``
``{"call": "RSI_MEASUREMENT_EXTEND", "args": [index, size, v0, .. v7], "result": [0]}``

Source: DEN0137 1.0-rel0, B4.3.9, B4.3.12, B4.3.14, B4.3.18, B4.3.1 and B5.3.7.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from harness.errors import BadInputError
from refmodel.attestation.rim import Construction, Data, Extend, Rec, Ripas, Step
from refmodel.rmm.measurement import PAGE_BYTES, HashAlgorithm, MeasuredRealmParams

_LEVEL_BITS: Final = 9
_GRANULE_BITS: Final = 12
_LAST_LEVEL: Final = 3
_REMEDY: Final = "see docs/reference/attestation.md for the form of a recorded sequence"
_OPTIONAL: Final = ("sve_vl", "num_bps", "num_wps", "pmu_num_ctrs")
_ALGORITHMS: Final = {algorithm.encoding: algorithm for algorithm in HashAlgorithm}


def entry_bytes(level: int) -> int:
    """Size of an RTT entry at a level, for Granules of 4 KB."""
    return 1 << (_GRANULE_BITS + _LEVEL_BITS * (_LAST_LEVEL - level))


@dataclass
class _Recorded:
    """What the calls of a sequence have built so far."""

    rd: int | None = None
    params: MeasuredRealmParams | None = None
    start_level: int = 0
    tables: set[tuple[int, int]] = field(default_factory=set)
    steps: list[Step] = field(default_factory=list)
    extends: list[Extend] = field(default_factory=list)

    def walk_level(self, ipa: int) -> int:
        """The level at which the RTT walk to ``ipa`` ends: the deepest table that covers it."""
        level = self.start_level
        while level < _LAST_LEVEL and (level + 1, ipa - ipa % entry_bytes(level)) in self.tables:
            level += 1
        return level


def read_calls(calls: Sequence[dict[str, Any]]) -> Construction:
    """The construction of the first realm that well-formed calls create; ValueError when they create none."""
    made = _Recorded()
    for call in calls:
        _take(call, made)
    if made.params is None:
        raise ValueError("the calls create no realm")
    return Construction(made.params, tuple(made.steps), tuple(made.extends))


def read_sequence(data: bytes, path: Path) -> Construction:
    """The construction that a sequence records, of the first realm that it creates; BadInputError for what is wrong."""
    made = _Recorded()
    for number, line in enumerate(data.splitlines(), 1):
        if line.strip():
            try:
                _take(json.loads(line), made)
            except (ValueError, KeyError, TypeError, IndexError, struct.error) as error:
                what = f"no {error}" if isinstance(error, KeyError) else str(error)
                raise BadInputError(
                    f"is no recorded call: {what}", path=path, where=f"line {number}", remedy=_REMEDY
                ) from None
    if made.params is None:
        raise BadInputError("creates no realm", path=path, remedy=_REMEDY)
    return Construction(made.params, tuple(made.steps), tuple(made.extends))


def as_calls(construction: Construction, rd: int = 0x1000) -> list[dict[str, Any]]:
    """Calls that build a construction: the inverse of ``read_calls`` (addresses other than IPAs are made up)."""
    params = construction.params
    fields = {name: getattr(params, name) for name in ("flags", "s2sz", *_OPTIONAL)}
    fields |= {"hash_algo": params.hash_algo.encoding, "rtt_level_start": 0}
    calls = [_call("RMI_REALM_CREATE", [rd, 0], params=fields)]
    for step in construction.steps:
        match step:
            case Ripas(base=base, top=top, entry_bytes=size):
                level = next(level for level in range(_LAST_LEVEL + 1) if entry_bytes(level) == size)
                calls += [_call("RMI_RTT_CREATE", [rd, 0, base, lower]) for lower in range(1, level + 1)]
                calls.append({"call": "RMI_RTT_INIT_RIPAS", "args": [rd, base, top], "result": [0, top]})
                calls += [_call("RMI_RTT_FOLD", [rd, base, lower]) for lower in range(1, level + 1)]
            case Data(ipa=ipa, flags=flags, content=content):
                encoded = base64.b64encode(content).decode()
                calls.append(_call("RMI_DATA_CREATE", [rd, 0, ipa, 0, flags], content=encoded))
            case Rec(flags=flags, pc=pc, gprs=gprs):
                calls.append(_call("RMI_REC_CREATE", [rd, 0, 0], params={"flags": flags, "pc": pc, "gprs": gprs}))
    calls.append(_call("RMI_REALM_ACTIVATE", [rd]))
    for extend in construction.extends:
        words = struct.unpack("<8Q", extend.value.ljust(64, b"\0"))
        calls.append(_call("RSI_MEASUREMENT_EXTEND", [extend.index, len(extend.value), *words]))
    return calls


def _call(name: str, args: list[int], **more: object) -> dict[str, Any]:
    return {"call": name, "args": args, "result": [0], **more}


def _take(call: dict[str, Any], made: _Recorded) -> None:
    name, args, result = call["call"], call["args"], call["result"]
    if result[0] & 0xFF:
        return
    if name == "RSI_MEASUREMENT_EXTEND":
        made.extends.append(_extend(args))
        return
    if name == "RMI_REALM_CREATE" and made.rd is None:
        made.rd, made.params = args[0], _realm_params(call["params"])
        made.start_level = call["params"].get("rtt_level_start", 0)
    if made.rd is None or args[0] != made.rd:
        return
    match name:
        case "RMI_RTT_CREATE":
            level, ipa = args[3], args[2]
            made.tables.add((level, ipa - ipa % entry_bytes(level - 1)))
        case "RMI_RTT_DESTROY" | "RMI_RTT_FOLD":
            level, ipa = args[2], args[1]
            made.tables.discard((level, ipa - ipa % entry_bytes(level - 1)))
        case "RMI_RTT_INIT_RIPAS":
            made.steps.append(Ripas(args[1], result[1], entry_bytes(made.walk_level(args[1]))))
        case "RMI_DATA_CREATE":
            made.steps.append(Data(args[2], args[4], _content(call, args[4])))
        case "RMI_REC_CREATE":
            params = call["params"]
            gprs = params.get("gprs", [])
            made.steps.append(Rec(params["flags"], params["pc"], (*gprs, *[0] * (8 - len(gprs)))))


def _realm_params(params: dict[str, Any]) -> MeasuredRealmParams:
    algorithm = _ALGORITHMS.get(params["hash_algo"])
    if algorithm is None:
        raise ValueError(f"hash_algo {params['hash_algo']!r} is not defined")
    others = {name: int(params.get(name, 0)) for name in _OPTIONAL}
    return MeasuredRealmParams(int(params.get("flags", 0)), int(params["s2sz"]), algorithm, **others)


def _content(call: dict[str, Any], flags: int) -> bytes:
    """A Granule's content; one that is not measured may be left out."""
    content = base64.b64decode(call["content"], validate=True) if flags & 1 else bytes(PAGE_BYTES)
    if len(content) != PAGE_BYTES:
        raise ValueError(f"the content has {len(content)} bytes, not {PAGE_BYTES}")
    return content


def _extend(args: list[int]) -> Extend:
    index, size = args[0], args[1]
    if not 1 <= index <= 4 or not 0 <= size <= 64:
        raise ValueError(f"index {index} and size {size} cannot have succeeded")
    words = [*args[2:10], *[0] * 8][:8]
    return Extend(index, struct.pack("<8Q", *words)[:size])
