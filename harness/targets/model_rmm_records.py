"""Probe records that the simulated RMM takes: SMCs of Non-secure EL2, and a realm's records at Realm EL1."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final, Protocol

from harness.judge.stimulus import Kind, Stimulus, perform
from harness.probe.records import BATCH_HEADER_SIZE, RESULT, SMC_REGISTERS, Op, Record, Status, World
from harness.targets.model_rmm import Registers, SimulatedRmm
from harness.targets.target import Window
from refmodel.memory import Memory

_REGISTERS: Final = struct.Struct(f"<{SMC_REGISTERS}Q")
_EL1, _EL2 = 1, 2
_CALLERS: Final = {(World.NON_SECURE, _EL2), (World.REALM, _EL1)}
_SYNCHRONOUS_SPX: Final = 0x200
"""Vector of an exception that is taken to the EL it comes from."""


class MakeResult(Protocol):
    """Packs the result of a record without an exception."""

    def __call__(self, record: Record, status: Status = ..., *, data0: int = ..., data1: int = ...) -> bytes:
        """The result's bytes."""


class RmmRecords:
    """The simulated RMM at the level of records.

    A call that returns later has no result yet when its record is done: ``end`` gives those that came afterwards.
    ``image`` is the batch as its records leave it: registers after an SMC are written into it.
    """

    def __init__(self, memory: Memory, window: Window, result: MakeResult) -> None:
        self.rmm = SimulatedRmm(memory, window)
        self.image = bytearray()
        self._memory = memory
        self._result = result
        self._late: dict[int, bytes] = {}

    def begin(self, image: bytes) -> None:
        """A batch begins."""
        self.image = bytearray(image)
        self._late = {}

    def end(self) -> Mapping[int, bytes]:
        """The batch is over: results by the record's id, of every SMC that has returned."""
        self.rmm.end_batch()
        return self._late

    def smc(self, record: Record) -> bytes | None:
        """What stands for the result of an SMC until it has returned; None if the record is no SMC for the RMM."""
        if record.op != Op.SMC or (record.state, record.el) not in _CALLERS:
            return None
        last = len(self.image) - _REGISTERS.size
        if not (BATCH_HEADER_SIZE <= record.value0 <= last and BATCH_HEADER_SIZE <= record.value1 <= last):
            return self._result(record, Status.REFUSED)
        registers = _REGISTERS.unpack_from(self.image, record.value0)

        def deliver(values: Registers) -> None:
            returned = (*values, *(0,) * (SMC_REGISTERS - 1 - len(values)), registers[-1])[:SMC_REGISTERS]
            _REGISTERS.pack_into(self.image, record.value1, *returned)
            self._late[record.id] = self._result(record, data0=returned[0], data1=returned[1])

        if record.state == World.NON_SECURE:
            self.rmm.host(registers, deliver)
        elif not self.rmm.smc(registers, deliver):
            return self._result(record, Status.NOT_ENTERED)
        return self._result(record, Status.HUNG)

    def access(self, record: Record, kind: Kind) -> bytes | None:
        """The result of an access of the realm that runs; None if none does: then it is a plain PE's."""
        if record.state != World.REALM or record.el != _EL1:
            return None
        found = self.rmm.access(kind, record.address, record.value0)
        if found is None:
            return None
        pa, esr = found
        if pa is not None:
            stimulus = Stimulus(kind, record.address, pa, World.ROOT, record.size_log2, record.value0, record.value1)
            effect = perform(stimulus, self._memory.read(pa, 16))
            if effect.memory is not None:
                self._memory.write(pa, effect.memory)
            return self._result(record, data0=effect.data0, data1=effect.data1)
        if not esr:
            # The realm was left; the access is tried again, if at all, when it is entered again.
            return self._result(record, Status.HUNG)
        return RESULT.pack(
            record.id, Status.DONE, 1, _EL1, _SYNCHRONOUS_SPX, 0, 0, esr, record.address, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            record.pe, record.group, 0, 0,
        )  # fmt: skip
