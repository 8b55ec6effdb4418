"""Operations of the model machine that are no single access: the model's answer, and what it leaves in memory.

Where the architecture leaves a choice the machine takes the first option: it checks what may be checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from harness.judge.operation import Issued, Operation
from harness.judge.stimulus import Stimulus, perform
from harness.probe.records import Op, Record, World
from refmodel.access import PEState
from refmodel.bits import AlignDown
from refmodel.choices import Chooser
from refmodel.gpt.cache import PossibleGPT
from refmodel.memory import Memory
from refmodel.observe import unobserved
from refmodel.outcomes import Outcome

ZVA_BITS: Final = 6
"""log2 of the bytes that DC ZVA zeroes."""

_PAGE: Final = 4096
BY_ENCODING: Final[Mapping[int, Operation]] = {operation.aux: operation for operation in Operation if operation.aux}
_ACROSS: Final[Mapping[int, Operation]] = {operation.op: operation for operation in Operation if operation.elements}


def operation_of(record: Record) -> Operation | None:
    """The operation of a record that is no single access, if the machine knows it."""
    if record.op == Op.SYS:
        return BY_ENCODING.get(record.aux)
    if record.op == Op.DC_ZVA:
        return Operation.DC_ZVA
    across = _ACROSS.get(record.op)
    crosses = across is not None and record.address % _PAGE + (across.elements << record.size_log2) > _PAGE
    return across if crosses else None


def outcome(record: Record, operation: Operation, pe: PEState, gpt: PossibleGPT) -> Outcome:
    """What the operation leads to."""
    issued = Issued(pe, gpt, record.address, record.size_log2, ZVA_BITS)
    return operation.model(issued, Chooser(), unobserved)


def effect(record: Record, operation: Operation, pa: int, memory: Memory) -> tuple[int, int]:
    """Carry a performed operation out at ``pa``; data0 and data1."""
    if operation is Operation.DC_ZVA:
        memory.write(AlignDown(pa, ZVA_BITS), bytes(1 << ZVA_BITS))
        return 0, 0
    stimulus = Stimulus(operation, record.address, pa, World.ROOT, record.size_log2, record.value0, record.value1)
    done = perform(stimulus, memory.read(pa, 16))
    if done.memory is not None:
        memory.write(pa, done.memory)
    return done.data0, done.data1
