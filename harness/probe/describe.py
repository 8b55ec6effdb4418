"""One line of text for a probe record, for messages about a target that was lost while it ran it."""

from __future__ import annotations

from harness.probe.records import Op, Record, RecordFlag, World


def describe(index: int, record: Record) -> str:
    """``record 7: LOAD of 8 bytes at VA 0x80001000, ROOT EL3``, with what else the record asks for."""
    name = Op(record.op).name if record.op in set(Op) else f"operation {record.op}"
    state = World(record.state).name if record.state in set(World) else f"state {record.state}"
    parts = [
        f"record {index}: {name} of {1 << record.size_log2} bytes at VA {record.address:#x}, {state} EL{record.el}"
    ]
    if record.pe or record.group:
        parts.append(f"PE {record.pe}, group {record.group}")
    if record.value0 or record.value1:
        parts.append(f"values {record.value0:#x} {record.value1:#x}")
    if record.aux:
        parts.append(f"aux {record.aux:#x}")
    if record.regs_count:
        parts.append(f"{record.regs_count} registers")
    if record.flags:
        parts.append(f"flags {RecordFlag(record.flags)!r}")
    return ", ".join(parts)
