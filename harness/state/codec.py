"""Reading state files, strictly; ``text.py`` writes them.

Every malformed file is one BadInputError that names the file, the line, the key and the remedy; nothing is run.  The
checksum covers what the file says, not how it is spelled: comments and white space may change.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final, TypeVar

from harness.probe.address_space import MemoryType
from harness.probe.records import (
    REGS_MAX,
    SMC_REGISTERS,
    Op,
    RecordFlag,
    RegisterEntry,
    Requester,
    World,
    sysreg_encoding,
)
from harness.state.state import (
    FEATURES,
    REGISTERS,
    SMC_LIKE,
    VERSION,
    MemoryBlock,
    Needs,
    Origin,
    State,
    StateRecord,
    merged,
)
from harness.state.table import Table, load_table
from harness.state.text import digest

_L0GPTSZ: Final = (30, 34, 36, 39)
_PES: Final = 4
_RECORDS: Final = 1 << 16
_PA_END: Final = 1 << 56
_X_BYTES: Final = 8 * SMC_REGISTERS
_ENCODING: Final = re.compile(r"S([0-3])_([0-7])_C(\d{1,2})_C(\d{1,2})_([0-7])")
_Named = TypeVar("_Named", Op, World, MemoryType, Requester)


def read_state(path: Path) -> State:
    """Read a state file; BadInputError with file, line and key for anything that is wrong with it."""
    top = load_table(path)
    version = top.integer("version", 0, 1 << 31)
    if version != VERSION:
        raise top.error(
            f"state file version {version}, this realmcheck reads {VERSION}", "version", "use the release that wrote it"
        )
    top.only("version", "checksum", "title", "judged", "needs", "origin", "context", "memory", "record")
    checksum = top.string("checksum")
    records = tuple(map(_record, top.tables("record")))
    if not 1 <= len(records) <= _RECORDS:
        raise top.error(f"must be 1 to {_RECORDS} records, not {len(records)}", "record")
    context = top.tables("context")
    if len(context) > REGS_MAX:
        raise top.error(f"must be at most {REGS_MAX} registers, not {len(context)}", "context")
    state = State(
        title=top.string("title"),
        judged=top.integer("judged", 0, len(records) - 1),
        needs=_needs(top.table("needs")),
        origin=_origin(top.table("origin")),
        context=tuple(map(_register, context)),
        memory=_memory(top.tables("memory")),
        records=records,
    )
    if any(later.group < earlier.group for earlier, later in pairwise(records)):
        raise top.error("groups must not decrease from record to record", "record")
    if max(record.pe for record in records) >= state.needs.pes:
        raise top.error(f"needs.pes is {state.needs.pes}, and a record names another PE", "needs")
    expected = digest(state)
    if checksum != expected:
        remedy = f"restore the file, or if you changed it on purpose set it to {expected}"
        raise top.error("does not fit the content", "checksum", remedy)
    return state


def _needs(table: Table) -> Needs:
    table.only("l0gptsz", "pes", "features")
    l0gptsz = table.integer("l0gptsz", 0, 64)
    if l0gptsz not in _L0GPTSZ:
        raise table.error(f"must be one of {_L0GPTSZ}, not {l0gptsz}", "l0gptsz")
    features = table.strings("features")
    for name in features:
        if name not in FEATURES:
            raise table.error(f"unknown feature {name!r}", "features", f"known are {', '.join(FEATURES)}")
    return Needs(l0gptsz=l0gptsz, pes=table.integer("pes", 1, _PES), features=features)


def _origin(table: Table) -> Origin:
    table.only(*Origin.__dataclass_fields__)
    return Origin(
        target=table.string("target"), version=table.string("version"), realmcheck=table.string("realmcheck"),
        test=table.string("test"), rules=table.strings("rules"), signature=table.string("signature"),
        batch=table.string("batch"), index=table.integer("index", 0, 1 << 32), lost=table.boolean("lost"),
    )  # fmt: skip


def _register(table: Table) -> RegisterEntry:
    table.only("name", "value")
    name = table.string("name")
    found = _ENCODING.fullmatch(name)
    encoding = REGISTERS.get(name)
    if encoding is None and found and max(int(found[3]), int(found[4])) < 16:
        op0, op1, crn, crm, op2 = map(int, found.groups())
        encoding = sysreg_encoding(op0, op1, crn, crm, op2)
    if encoding is None:
        remedy = "use a name of refmodel/sysregs.py or the form S3_6_C2_C1_6"
        raise table.error(f"unknown register {name!r}", "name", remedy)
    return RegisterEntry(encoding, table.integer("value", 0, (1 << 64) - 1))


def _memory(tables: Sequence[Table]) -> tuple[MemoryBlock, ...]:
    blocks: list[MemoryBlock] = []
    for table in tables:
        block = _block(table)
        if any(block.pa < other.end and other.pa < block.end for other in blocks):
            raise table.error(f"{block.pa:#x} to {block.end - 1:#x} overlaps an earlier block", "pa")
        blocks.append(block)
    return merged((block.pa, block.data) for block in blocks)


def _block(table: Table) -> MemoryBlock:
    pa = table.integer("pa", 0, _PA_END - 1)
    match sorted(table.values.keys() - {"pa"}):
        case ["words"]:
            words = table.integers("words", (1 << 64) - 1)
            data = struct.pack(f"<{len(words)}Q", *words)
        case ["count", "fill"]:
            data = struct.pack("<Q", table.integer("fill", 0, (1 << 64) - 1)) * table.integer("count", 1, 1 << 24)
        case ["bytes"]:
            data = table.octets("bytes")
        case _:
            raise table.error("must have the keys words, or fill and count, or bytes", "pa")
    if not data:
        raise table.error("holds nothing", "pa")
    return MemoryBlock(pa=pa, data=data)


def _record(table: Table) -> StateRecord:
    table.only(*StateRecord.__dataclass_fields__.keys() - {"registers"}, "register")
    op = _named(table, "op", Op, None)
    if "pa" in table.values and "va" in table.values:
        raise table.error("a record has pa or va, not both", "va")
    for key in {"pas", "memory"} & table.values.keys():
        if "pa" not in table.values:
            raise table.error("has no meaning without pa", key)
    names = table.strings("flags", ())
    flags = RecordFlag.NONE
    for name in names:
        if name not in RecordFlag.__members__:
            raise table.error(f"unknown flag {name!r}", "flags", f"known are {', '.join(RecordFlag.__members__)}")
        flags |= RecordFlag[name]
    data = table.octets("data", b"")
    if data and op is not Op.MEM_WRITE and op not in SMC_LIKE:
        raise table.error(f"{op.name} has no data", "data")
    if len(data) > _X_BYTES and op in SMC_LIKE:
        raise table.error(f"x0 to x17 are {_X_BYTES} bytes, not {len(data)}", "data")
    registers = table.tables("register")
    if len(registers) > REGS_MAX:
        raise table.error(f"must be at most {REGS_MAX} registers, not {len(registers)}", "register")
    full = (1 << 64) - 1
    record = StateRecord(
        op=op,
        pa=table.integer("pa", 0, _PA_END - 1) if "pa" in table.values else None,
        pas=_named(table, "pas", World, World.ROOT),
        memory=_named(table, "memory", MemoryType, MemoryType.NORMAL_WB),
        va=table.integer("va", 0, full, 0),
        size_log2=table.integer("size_log2", 0, 4, 3),
        value0=table.integer("value0", 0, full, 0),
        value1=table.integer("value1", 0, full, 0),
        aux=table.integer("aux", 0, full, 0),
        data=data,
        state=_named(table, "state", World, World.ROOT),
        el=table.integer("el", 0, 3, 3),
        pe=table.integer("pe", 0, _PES - 1, 0),
        group=table.integer("group", 0, 0xFFFF, 0),
        requester=_named(table, "requester", Requester, Requester.PE_DATA),
        flags=flags,
        registers=tuple(map(_register, registers)),
    )
    if record.pa is not None and record.el != 3:
        raise table.error("below EL3 an address is a virtual one; write va", "pa")
    return record


def _named(table: Table, key: str, kind: type[_Named], default: _Named | None) -> _Named:
    if key not in table.values and default is not None:
        return default
    name = table.string(key)
    if name not in kind.__members__:
        raise table.error(f"unknown {name!r}", key, f"known are {', '.join(kind.__members__)}")
    return kind[name]
