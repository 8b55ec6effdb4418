"""A state as what the judge works with: a scene and its items.  What today's model cannot judge is said in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from harness.judge.scene import Invalidate, Item, Scene, TableWrite, Under
from harness.judge.session import Session
from harness.judge.stimulus import Kind
from harness.probe.records import Op, RecordFlag, RegisterEntry, World
from harness.state.state import REGISTERS, State, StateRecord, register_name
from refmodel.sysregs import GPCCR_EL3, GPTBR_EL3

_KINDS: Final[Mapping[Op, Kind]] = {kind.op: kind for kind in Kind}
_GPC: Final = frozenset({REGISTERS["GPCCR_EL3"], REGISTERS["GPTBR_EL3"]})
_FLAGS: Final = RecordFlag.TLBI_BEFORE | RecordFlag.TLBI_AFTER_REGS
_TABLE_WORD: Final = 8


def unjudgeable(state: State) -> str:
    """Why the model cannot judge the state; empty when it can."""
    if {entry.encoding for entry in state.context} != _GPC:
        return "the model judges a context of GPCCR_EL3 and GPTBR_EL3, and no other"
    for index, record in enumerate(state.records):
        why = _problem(record)
        if why:
            return f"record {index}: {why}"
    if state.record.op not in _KINDS:
        return f"record {state.judged} is {state.record.op.name}, which is no access to be judged"
    return ""


def _problem(record: StateRecord) -> str:
    if (record.state, record.el, record.pe) != (World.ROOT, 3, 0):
        return f"the model judges PE 0 at EL3, not PE {record.pe} at EL{record.el} in {record.state.name}"
    if record.op in _KINDS:
        if record.pa is None:
            return f"virtual address {record.va:#x} is not one of the probe's map"
        if record.flags & ~_FLAGS:
            return f"flags {record.flags & ~_FLAGS!r} are not judged"
        others = [entry for entry in record.registers if entry.encoding not in _GPC]
        return f"{register_name(others[0].encoding)} in its list is not judged" if others else ""
    if record.op is Op.TLBI_PAALL:
        return ""
    write = record.op is Op.MEM_WRITE and len(record.data) == _TABLE_WORD and record.pa is not None
    return "" if write and record.pas is World.ROOT else f"operation {record.op.name} is not judged"


def scene_of(state: State) -> Scene:
    """The scene of a state that can be judged."""
    values = _values(state.context)
    return Scene(
        title=state.title,
        gpccr=GPCCR_EL3(values[REGISTERS["GPCCR_EL3"]]),
        gptbr=GPTBR_EL3(values[REGISTERS["GPTBR_EL3"]]),
        tables=tuple((block.pa, block.data) for block in state.memory),
    )


def items_of(state: State, session: Session) -> list[Item]:
    """The items of a state that can be judged, in the probe's map of this session."""
    return [_item(record, session) for record in state.records]


def _item(record: StateRecord, session: Session) -> Item:
    if record.op is Op.TLBI_PAALL:
        return Invalidate()
    assert record.pa is not None  # unjudgeable() has said so
    if record.op is Op.MEM_WRITE:
        return TableWrite(record.pa, int.from_bytes(record.data, "little"))
    stimulus = session.stimulus(
        _KINDS[record.op],
        record.pa,
        record.pas,
        size_log2=record.size_log2,
        value0=record.value0,
        value1=record.value1,
        memory=record.memory,
    )
    if not record.registers and not record.flags:
        return stimulus
    values = _values(record.registers)
    gpccr, gptbr = values.get(REGISTERS["GPCCR_EL3"]), values.get(REGISTERS["GPTBR_EL3"])
    return Under(
        stimulus,
        gpccr=None if gpccr is None else GPCCR_EL3(gpccr),
        gptbr=None if gptbr is None else GPTBR_EL3(gptbr),
        flags=record.flags,
    )


def _values(entries: Sequence[RegisterEntry]) -> dict[int, int]:
    return {entry.encoding: entry.value for entry in entries}
