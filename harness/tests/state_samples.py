"""States for the tests of ``harness/state``."""

from __future__ import annotations

from harness.probe.records import Op, RegisterEntry, World
from harness.state.state import REGISTERS, MemoryBlock, State, StateRecord
from harness.tests.judge_samples import LOW

TABLES = 0x5000_0000
OPEN, RESERVED = 0xF1, 0x11
"""Level 0 Block descriptors with GPI 0b1111 and with a reserved one."""

CONTEXT = (RegisterEntry(REGISTERS["GPTBR_EL3"], TABLES >> 12), RegisterEntry(REGISTERS["GPCCR_EL3"], 0x13502))


def state(*records: StateRecord, entry: int = RESERVED, **changes: object) -> State:
    """Loads from the third gigabyte, whose level 0 entry is ``entry``, the first two open."""
    words = b"".join(word.to_bytes(8, "little") for word in (OPEN, OPEN, entry))
    made: dict[str, object] = {
        "title": "a reserved GPI",
        "records": records or (StateRecord(op=Op.LOAD, pa=LOW + 0x128, pas=World.SECURE),),
        "context": CONTEXT,
        "memory": (MemoryBlock(pa=TABLES, data=words),),
    }
    return State(**{**made, **changes})  # type: ignore[arg-type]
