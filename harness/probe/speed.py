"""How fast a target answers granule protection probes: the raw figure that judged ones are compared with.

Half of the probes fault.  The tables are written beforehand and the context is fixed: one load for each of many
granules, under a GPT whose granules are by turns Root and No access.
"""

from __future__ import annotations

import itertools
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from harness.errors import TargetProtocolError
from harness.probe.batch import Batch, EncodedBatch
from harness.probe.records import RESULT, RESULT_SIZE, Op, Record, RegisterEntry, World, sysreg_encoding
from harness.targets.target import Target

GRANULES: Final = 1 << 16
_GRANULE: Final = 4096
_WINDOW: Final = 0x8000_0000
_GPCCR: Final = sysreg_encoding(3, 6, 2, 1, 6)
_GPTBR: Final = sysreg_encoding(3, 6, 2, 1, 4)
_GPC: Final = 1 << 16
_ENABLED: Final = _GPC | 3 << 12 | 1 << 10 | 1 << 8 | 1  # GPC, SH Inner, write-back, PPS 36 bits, PGS 4 KB
_ANY: Final = 0xF << 4 | 1  # level 0 Block descriptor, all accesses permitted
_ROOT_AND_NONE: Final = 0x0A0A_0A0A_0A0A_0A0A  # level 1 Granules descriptor: even granules Root, odd ones No access
_ANY_AND_NONE: Final = 0x0F0F_0F0F_0F0F_0F0F  # even granules open to every PAS, odd ones No access
_L0_ENTRIES: Final = 64
_ROOT_EL3: Final = ((World.ROOT, 3),)
_BELOW_EL3: Final = tuple((state, el) for el in (2, 1, 0) for state in (World.SECURE, World.NON_SECURE, World.REALM))


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What was measured: probes, seconds, and how many of the probes took an exception."""

    probes: int
    seconds: float
    faults: int

    @property
    def per_second(self) -> float:
        """Probes a second."""
        return self.probes / self.seconds


def checked(target: Target) -> EncodedBatch:
    """Write the tables into ``target`` (L0GPTSZ must be 30 bits) and lay out a batch of loads, half of which fault."""
    return _batch(target, _ENABLED)


def unchecked(target: Target) -> EncodedBatch:
    """The same with the check disabled: no exception at all."""
    return _batch(target, _ENABLED & ~_GPC)


def below_el3(target: Target) -> EncodedBatch:
    """As ``checked``, but every record enters another security state and exception level below EL3, stage 1 off."""
    return _batch(target, _ENABLED, _ANY_AND_NONE, _BELOW_EL3)


def _batch(
    target: Target, gpccr: int, pattern: int = _ROOT_AND_NONE, cells: Sequence[tuple[World, int]] = _ROOT_EL3
) -> EncodedBatch:
    l0 = target.info.layout.tables.base
    l1 = l0 + (1 << 20)
    entries = [_ANY] * _L0_ENTRIES
    entries[_WINDOW >> 30] = l1 | 3
    target.write_memory(l0, struct.pack(f"<{_L0_ENTRIES}Q", *entries))
    target.write_memory(l1, struct.pack("<Q", pattern) * (1 << 30 >> 16))
    context = (RegisterEntry(_GPTBR, l0 >> 12), RegisterEntry(_GPCCR, gpccr))
    # Every granule once in an order that is no sequence, so that no prefetching idea helps.
    order = (index * 40503 % GRANULES for index in range(GRANULES))
    records = [
        Record(0, Op.LOAD, address=_WINDOW + _GRANULE * granule, state=state, el=el)
        for granule, (state, el) in zip(order, itertools.cycle(cells), strict=False)
    ]
    return Batch(records=records, context=context).encode()


def measure_raw(
    target: Target, probes: int = 8 * GRANULES, lay_out: Callable[[Target], EncodedBatch] = checked
) -> Speed:
    """Run the batch until at least ``probes`` probes are done; the first round, not counted, warms the machine up.

    TargetProtocolError when not exactly half of the probes faulted (none of the unchecked ones): then something else
    was measured.
    """
    encoded = lay_out(target)
    target.run_encoded(encoded)
    done, spent, raw = 0, 0.0, b""
    while done < probes:
        begin = time.perf_counter()
        raw = target.run_encoded(encoded)
        spent += time.perf_counter() - begin
        done += encoded.count
    taken = sum(1 for at in range(0, len(raw), RESULT_SIZE) if RESULT.unpack_from(raw, at)[2])
    wanted = 0 if lay_out is unchecked else encoded.count // 2
    if taken != wanted:
        raise TargetProtocolError(f"{taken} of {encoded.count} speed probes faulted, not {wanted}; something is wrong")
    return Speed(probes=done, seconds=spent, faults=done * wanted // encoded.count)


def measure_boot(target: Target) -> float:
    """Seconds from power-on of ``target``, which is off, to the first probe's result."""
    begin = time.perf_counter()
    target.power_on()
    target.run(Batch(records=[Record(0, Op.LOAD, address=target.info.layout.test[0].base)]))
    return time.perf_counter() - begin
