"""Reading a register dump that a record asked for (``RecordFlag.DUMP``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.errors import TargetProtocolError
from harness.probe.records import DUMP, DUMP_SIZE

_GENERAL = 31
_SIMD = 34
_CONTROL = _SIMD + 64
_PAIRS = _CONTROL + 2


@dataclass(frozen=True, kw_only=True)
class Dump:
    """Registers as the operation left them.

    ``x``: x0-x30; ``pc`` and ``pstate``: ELR and SPSR when an exception was taken, else where the probe went on.
    ``q``: q0-q31 as 128-bit integers; ``system``: system registers by 16-bit encoding, read after the record's own
    registers were put back.
    """

    x: tuple[int, ...]
    sp: int
    pc: int
    pstate: int
    q: tuple[int, ...]
    fpsr: int
    fpcr: int
    system: Mapping[int, int]


def decode_dump(data: bytes) -> Dump:
    """A dump from its 2048 bytes; TargetProtocolError when there are fewer or more."""
    if len(data) != DUMP_SIZE:
        raise TargetProtocolError(f"a register dump has {DUMP_SIZE} bytes, not {len(data)}")
    words = DUMP.unpack(data)
    halves = words[_SIMD:_CONTROL]
    pairs = words[_PAIRS:]
    return Dump(
        x=words[:_GENERAL],
        sp=words[_GENERAL],
        pc=words[_GENERAL + 1],
        pstate=words[_GENERAL + 2],
        q=tuple(low | high << 64 for low, high in zip(halves[::2], halves[1::2], strict=True)),
        fpsr=words[_CONTROL],
        fpcr=words[_CONTROL + 1],
        system={encoding: value for encoding, value in zip(pairs[::2], pairs[1::2], strict=True) if encoding},
    )
