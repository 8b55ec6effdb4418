"""State files as text: TOML that a person can read and diff, with registers decoded in comments."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from itertools import groupby
from typing import Final

from harness.probe.records import RegisterEntry
from harness.state.state import VERSION, MemoryBlock, Origin, State, StateRecord, merged, register_name
from refmodel.registers import Register
from refmodel.sysregs import GPCBW_EL3, GPCCR_EL3, GPTBR_EL3, HCR_EL2, SCR_EL3

_RUN: Final = 8  # from so many equal words on a block is written as a fill
_DECODED: Final[dict[str, type[Register]]] = {
    register.__name__: register for register in (GPCCR_EL3, GPTBR_EL3, GPCBW_EL3, SCR_EL3, HCR_EL2)
}
_HEAD: Final = "# A state of realmcheck. docs/reference/state-file.md says what every key means.\n"


def digest(state: State) -> str:
    """The checksum: sha256 over the state's content, in hexadecimal."""

    def plain(value: object) -> object:
        return value.hex() if isinstance(value, bytes) else str(value)

    content = {"version": VERSION, **asdict(replace(state, memory=_as_read(state)))}
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=plain).encode()).hexdigest()


def state_text(state: State) -> str:
    """The state as the text of a file."""
    lines = [
        _HEAD,
        f"version = {VERSION}",
        f"checksum = {_quoted(digest(state))}",
        f"title = {_quoted(state.title)}",
        f"judged = {state.judged}",
        *("", "[needs]", f"l0gptsz = {state.needs.l0gptsz}", f"pes = {state.needs.pes}"),
        f"features = {_list(map(_quoted, state.needs.features))}",
        *("", "[origin]", *_origin_lines(state.origin)),
    ]
    for entry in state.context:
        lines += ["", "[[context]]", *_register_lines(entry)]
    for block in _as_read(state):
        for part in _memory_parts(block):
            lines += ["", "[[memory]]", *part]
    for index, record in enumerate(state.records):
        mark = "  # the one that is judged" if index == state.judged else ""
        lines += ["", f"[[record]]{mark}", *_record_lines(record)]
        for entry in record.registers:
            lines += ["", "[[record.register]]", *_register_lines(entry)]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _list(items: Iterator[str]) -> str:
    return f"[{', '.join(items)}]"


def _origin_lines(origin: Origin) -> list[str]:
    lines = []
    for name, value in asdict(origin).items():
        match value:
            case bool():
                lines.append(f"{name} = {'true' if value else 'false'}")
            case tuple():
                lines.append(f"{name} = {_list(map(_quoted, value))}")
            case str():
                lines.append(f"{name} = {_quoted(value)}")
            case _:
                lines.append(f"{name} = {value}")
    return lines


def register_words(entry: RegisterEntry) -> tuple[str, str]:
    """Name and value of a register for a person, decoded where the model can."""
    name = register_name(entry.encoding)
    return name, str(_DECODED[name](entry.value)) if name in _DECODED else f"{entry.value:#x}"


def _register_lines(entry: RegisterEntry) -> list[str]:
    name, words = register_words(entry)
    comment = f"  # {words}" if name in _DECODED else ""
    return [f"name = {_quoted(name)}", f"value = {entry.value:#x}{comment}"]


def _memory_parts(block: MemoryBlock) -> Iterator[list[str]]:
    """A block as tables: words and fills of doublewords, or bytes where it is not made of doublewords."""
    if block.pa % 8 or len(block.data) % 8:
        yield [f"pa = {block.pa:#x}", f"bytes = {_quoted(block.data.hex())}"]
        return
    pa = block.pa
    pending: list[int] = []
    for value, run in groupby(word for (word,) in struct.iter_unpack("<Q", block.data)):
        count = len(list(run))
        if count < _RUN:
            pending += [value] * count
            continue
        if pending:
            yield _words(pa, pending)
            pa += 8 * len(pending)
            pending = []
        yield [f"pa = {pa:#x}", f"fill = {value:#018x}", f"count = {count}"]
        pa += 8 * count
    if pending:
        yield _words(pa, pending)


def _words(pa: int, words: Sequence[int]) -> list[str]:
    return [f"pa = {pa:#x}", "words = [", *(f"  {w:#018x},  # {pa + 8 * i:#x}" for i, w in enumerate(words)), "]"]


def _record_lines(record: StateRecord) -> list[str]:
    default = StateRecord(op=record.op)
    lines = [f'op = "{record.op.name}"']
    if record.pa is not None:
        lines += [f"pa = {record.pa:#x}", f'pas = "{record.pas.name}"', f'memory = "{record.memory.name}"']
    elif record.va:
        lines.append(f"va = {record.va:#x}")
    lines += [f'state = "{record.state.name}"', f"el = {record.el}"]
    for name in ("size_log2", "value0", "value1", "aux", "pe", "group"):
        value = getattr(record, name)
        if value != getattr(default, name):
            lines.append(f"{name} = {value:#x}" if name.startswith(("value", "aux")) else f"{name} = {value}")
    if record.data:
        lines.append(f"data = {_quoted(record.data.hex())}")
    if record.requester is not default.requester:
        lines.append(f'requester = "{record.requester.name}"')
    if record.flags:
        lines.append(f"flags = {_list(_quoted(flag.name or '') for flag in record.flags)}")
    return lines


def _as_read(state: State) -> tuple[MemoryBlock, ...]:
    """The memory as a reader gives it back: in order, neighbours as one block."""
    return merged((block.pa, block.data) for block in state.memory)
