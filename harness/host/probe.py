"""The `host` probe of a booted stack: records at EL2 of the Normal world, over the console and the mailbox.

The console is the firmware's too: its text comes between frames and is skipped.  Batches travel through RAM that the
harness has mapped; addresses of records are Non-secure physical addresses, because the probe's MMU is off.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from weakref import WeakKeyDictionary

from harness.boot.machine import RAM_BASE, StackMachine
from harness.errors import TargetProtocolError
from harness.probe.banner import Banner
from harness.probe.batch import Batch, decode_results, pool_pointer
from harness.probe.dump import Dump, decode_dump
from harness.probe.mailbox import MailboxClient
from harness.probe.records import DUMP, DUMP_SIZE, Op, Record, RecordFlag, Result, Status, World
from harness.probe.wire_client import WireClient

_BANNER_TIMEOUT: Final = 10.0
_BATCH_TIMEOUT: Final = 10.0
_ARGUMENTS: Final = struct.Struct("<18Q")
_EL: Final = 2
_GENERAL: Final = 34  # words of a dump before q0
_FIRST_FILLED: Final = 18
_attached: WeakKeyDictionary[StackMachine, HostProbe] = WeakKeyDictionary()


@dataclass(frozen=True, kw_only=True)
class Fill:
    """Registers as they are when an SMC is executed: ``x`` x18-x30, ``q`` q0-q31 as 128-bit integers, FPSR, FPCR."""

    x: tuple[int, ...]
    q: tuple[int, ...]
    fpsr: int
    fpcr: int

    def pack(self) -> bytes:
        """As the probe wants it: the layout of a register dump."""
        words = [0] * (DUMP_SIZE // 8)
        words[_FIRST_FILLED : _FIRST_FILLED + len(self.x)] = self.x
        for index, value in enumerate(self.q):
            words[_GENERAL + 2 * index : _GENERAL + 2 * index + 2] = value & (1 << 64) - 1, value >> 64
        words[_GENERAL + 64 : _GENERAL + 66] = self.fpsr, self.fpcr
        return DUMP.pack(*words)


@dataclass(frozen=True, kw_only=True)
class CallResult:
    """What an SMC left: x0-x17, the register dump, and system registers by encoding as they were just before and after.

    A register whose read took an exception is in neither mapping.
    """

    x: tuple[int, ...]
    dump: Dump
    before: Mapping[int, int]
    after: Mapping[int, int]


class HostProbe:
    """The probe on one machine; ``attach`` makes it."""

    def __init__(self, machine: StackMachine, console: str = "uart0") -> None:
        self.machine = machine
        scale = machine.timeout_scale
        self._wire = WireClient(machine.console(console), watch=machine.check_alive, scale=scale)
        self.banner = self._wire.await_banner(_BANNER_TIMEOUT)
        _check(self.banner, machine)
        self._timeout = _BATCH_TIMEOUT * scale
        self._mailbox = MailboxClient(machine.ram.map, RAM_BASE, self.banner, watch=self._watch)
        machine.closing.append(self._mailbox.close)

    def run(self, records: Sequence[Record], pool: bytes = b"") -> list[Result]:
        """Run records in order.  They are given this probe's world and EL; TargetLostError when it is lost."""
        return self.run_as_they_are([record._replace(state=World.NON_SECURE, el=_EL) for record in records], pool)

    def run_as_they_are(self, records: Sequence[Record], pool: bytes = b"") -> list[Result]:
        """Run records in order, in the world and at the EL that they name."""
        encoded = Batch(records=records, pool=pool).encode()
        return decode_results(self._mailbox.run(encoded, self._timeout), encoded.count)

    def load(self, pa: int, size_log2: int = 3) -> Result:
        """Load from a Non-secure physical address."""
        return self.run([Record(0, Op.LOAD, address=pa, size_log2=size_log2)])[0]

    def store(self, pa: int, value: int, size_log2: int = 3) -> Result:
        """Store to a Non-secure physical address."""
        return self.run([Record(0, Op.STORE, address=pa, value0=value, size_log2=size_log2)])[0]

    def registers(self, encodings: Sequence[int]) -> dict[int, int]:
        """System registers by encoding; those that are not there (their read takes an exception) are left out."""
        if not encodings:
            return {}
        return _values(encodings, self.run([Record(0, Op.MRS, aux=encoding) for encoding in encodings]))

    def smc(self, *arguments: int) -> tuple[int, ...]:
        """Call the firmware with x0, x1 ... as given, the others up to x17 zero; x0-x17 as it left them."""
        return self.call(arguments).x

    def call(
        self, arguments: Sequence[int], *, fill: Fill | None = None, written: Mapping[int, int] | None = None,
        watched: Sequence[int] = (),
    ) -> CallResult:  # fmt: skip
        """One SMC with x0-x17 from ``arguments`` (zero beyond), between two looks at registers.

        ``written``: system registers to set before, by encoding; they are put back afterwards.  ``watched``: those to
        read before and after the call; one that is not there spoils the syndrome registers, by its exception.
        """
        asked = dict(written or {})
        old = self.registers(list(asked))
        present = [encoding for encoding in asked if encoding in old]
        setting = [Record(0, Op.MSR, aux=encoding, value0=asked[encoding]) for encoding in present]
        reading = [Record(0, Op.MRS, aux=encoding) for encoding in watched]
        restoring = [Record(0, Op.MSR, aux=encoding, value0=old[encoding]) for encoding in reversed(present)]
        count = len(setting) + 2 * len(reading) + 1 + len(restoring)
        base = pool_pointer(count)
        given = _ARGUMENTS.pack(*arguments, *[0] * (18 - len(arguments)))
        pool = given.ljust(160, b"\0") + bytes(160) + (fill.pack() if fill else b"")
        smc = Record(
            0, Op.SMC, value0=base, value1=base + 160, aux=base + 320 if fill else 0, flags=RecordFlag.DUMP
        )  # fmt: skip
        results = self.run([*setting, *reading, smc, *reading, *restoring], pool)
        at = len(setting) + len(reading)
        if results[at].status != Status.DONE or results[at].taken:
            what = f"status {results[at].status}, ESR {results[at].esr:#x}"
            raise TargetProtocolError(f"the probe could not execute an SMC: {what}", self.machine.evidence())
        length = 320 + (DUMP_SIZE if fill else 0)
        return CallResult(
            x=_ARGUMENTS.unpack(self._pool(base + 160, _ARGUMENTS.size)),
            dump=decode_dump(self._pool(base + length, DUMP_SIZE)),
            before=_values(watched, results[len(setting) : at]),
            after=_values(watched, results[at + 1 : at + 1 + len(watched)]),
        )

    def _pool(self, offset: int, length: int) -> bytes:
        return self.machine.ram.read(self.banner.batch - RAM_BASE + offset, length)

    def _watch(self) -> None:
        self.machine.check_alive()
        self._wire.drain()


def attach(machine: StackMachine) -> HostProbe:
    """The probe of a machine that has reached its stage ``probe``; the same one whenever it is asked for."""
    if machine not in _attached:
        _attached[machine] = HostProbe(machine)
    return _attached[machine]


def _values(encodings: Sequence[int], results: Sequence[Result]) -> dict[int, int]:
    return {
        encoding: result.data0
        for encoding, result in zip(encodings, results, strict=True)
        if result.status == Status.DONE and not result.taken
    }


def _check(banner: Banner, machine: StackMachine) -> None:
    if (banner.personality, banner.el) != ("host", _EL):
        what = f"personality {banner.personality!r} at EL{banner.el}, not 'host' at EL{_EL}"
        raise TargetProtocolError(f"the probe is of {what}; boot the probe of personality host", machine.evidence())
    end = RAM_BASE + (machine.stack.machine.memory_mib << 20)
    if banner.mailbox < RAM_BASE or banner.batch < RAM_BASE or banner.batch + banner.batch_size > end:
        raise TargetProtocolError(
            f"the probe's mailbox {banner.mailbox:#x} or batches {banner.batch:#x} lie outside RAM; boot a probe built "
            "from the same release",
            machine.evidence(),
        )
