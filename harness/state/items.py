"""A state as what the judge works with: a scene and its items.  What today's model cannot judge is said in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from harness.judge.scene import Invalidate, Item, Scene, TableWrite, Under
from harness.judge.session import Session
from harness.judge.stimulus import Kind, Stimulus
from harness.judge.world import WorldScene
from harness.probe.records import Op, RecordFlag, RegisterEntry, World, sysreg_encoding
from harness.state.below import Places, context_of
from harness.state.state import REGISTERS, State, StateRecord, register_name
from refmodel.gpt.tlbi import TLBIOp
from refmodel.memory import Memory
from refmodel.sysregs import GPCBW_EL3, GPCCR_EL3, GPTBR_EL3

_KINDS: Final[Mapping[Op, Kind]] = {kind.op: kind for kind in Kind}
_GPCCR, _GPTBR, _GPCBW = (REGISTERS[name] for name in ("GPCCR_EL3", "GPTBR_EL3", "GPCBW_EL3"))
_GPC: Final = frozenset({_GPCCR, _GPTBR, _GPCBW})
_FLAGS: Final = RecordFlag.TLBI_BEFORE | RecordFlag.TLBI_AFTER_REGS
_TABLE_WORD: Final = 8
_PAGE: Final = 4096
_CROSSING: Final = "an access across the end of a page is not judged"
_TLBI: Final = {sysreg_encoding(1, *op.value): op for op in TLBIOp}


@dataclass(frozen=True)
class Judgeable:
    """What the judge is given."""

    scene: Scene
    items: tuple[Item, ...]


def judgeable(state: State, session: Session) -> Judgeable | str:
    """The scene and items of a state, in the probe's map of this session; or why the model cannot judge the state."""
    if state.record.op not in _KINDS:
        return f"record {state.judged} is {state.record.op.name}, which is no access to be judged"
    values = _values(state.context)
    if not {_GPCCR, _GPTBR} <= values.keys():
        return "the model judges a context that sets GPCCR_EL3 and GPTBR_EL3"
    return _below(state, session) if state.records[0].el != 3 else _at_el3(state, session)


def _at_el3(state: State, session: Session) -> Judgeable | str:
    others = [entry for entry in state.context if entry.encoding not in _GPC]
    if others:
        return f"{register_name(others[0].encoding)} in its context is not judged at EL3"
    for index, record in enumerate(state.records):
        why = _problem(record)
        if why:
            return f"record {index}: {why}"
    return Judgeable(_scene_of(state), tuple(_item(record, session) for record in state.records))


def _below(state: State, session: Session) -> Judgeable | str:
    """All records in the state and level of the first one, which invalidates what was cached there before."""
    first = state.records[0]
    context = context_of(first, [entry for entry in state.context if entry.encoding not in _GPC])
    if isinstance(context, str):
        return context
    if not first.flags & RecordFlag.TLBI_BEFORE:
        return "record 0 does not have TLBI_BEFORE, so it is not known what is cached"
    base = _scene_of(state)
    scene = WorldScene(
        title=base.title,
        gpccr=base.gpccr,
        gptbr=base.gptbr,
        tables=base.tables,
        gpcbw=base.gpcbw,
        context=context,
    )
    memory = Memory(session.memory.map)
    for pa, data in scene.tables:
        memory.write(pa, data)
    places = Places(scene, session.features, session.pe.regime, memory)
    items: list[Item] = []
    for index, record in enumerate(state.records):
        item = _problem_below(record, first) or _item_below(record, places)
        if isinstance(item, str):
            return f"record {index}: {item}"
        items.append(item)
    return Judgeable(scene, tuple(items))


def _problem_below(record: StateRecord, first: StateRecord) -> str:
    if (record.state, record.el, record.pe) != (first.state, first.el, 0):
        return (
            f"the model judges PE 0 at EL{first.el} in {first.state.name} with the records before, "
            f"not PE {record.pe} at EL{record.el} in {record.state.name}"
        )
    if record.op not in _KINDS:
        return f"operation {record.op.name} is not judged"
    if _crosses(record, record.va):
        return _CROSSING
    if (record.flags ^ first.flags) & RecordFlag.PAN:
        return "the model judges records that have one PSTATE.PAN"
    others = record.flags & ~(RecordFlag.TLBI_BEFORE | RecordFlag.PAN)
    if others:
        return f"flags {others!r} are not judged"
    return f"{register_name(record.registers[0].encoding)} in its list is not judged" if record.registers else ""


def _item_below(record: StateRecord, places: Places) -> Item | str:
    kind = _KINDS[record.op]
    place = places.of(record.va, kind)
    if isinstance(place, str):
        return place
    stimulus = Stimulus(kind, record.va, *place, record.size_log2, record.value0, record.value1)
    flags = record.flags & ~RecordFlag.PAN
    return Under(stimulus, flags=flags) if flags else stimulus


def _crosses(record: StateRecord, address: int) -> bool:
    """Whether an access touches a second page, which the judge of single accesses does not look at."""
    elements = 2 if record.op in (Op.LOAD_PAIR, Op.STORE_PAIR) else 1
    return address % _PAGE + (elements << record.size_log2) > _PAGE


def _problem(record: StateRecord) -> str:
    if (record.state, record.el, record.pe) != (World.ROOT, 3, 0):
        return (
            "the model judges PE 0 at EL3 with the records before, "
            f"not PE {record.pe} at EL{record.el} in {record.state.name}"
        )
    if record.op in _KINDS:
        if _crosses(record, record.va if record.pa is None else record.pa):
            return _CROSSING
        if record.pa is None:
            return f"virtual address {record.va:#x} is not one of the probe's map"
        if record.flags & ~_FLAGS:
            return f"flags {record.flags & ~_FLAGS!r} are not judged"
        others = [entry for entry in record.registers if entry.encoding not in _GPC]
        return f"{register_name(others[0].encoding)} in its list is not judged" if others else ""
    tlbi = record.op is Op.SYS and record.aux in _TLBI and record.pas is World.ROOT
    if record.op is Op.TLBI_PAALL or tlbi:
        return ""
    word, count = record.data[:_TABLE_WORD], len(record.data) // _TABLE_WORD
    write = record.op is Op.MEM_WRITE and count and record.data == word * count and record.pa is not None
    return "" if write and record.pas is World.ROOT else f"operation {record.op.name} is not judged"


def _scene_of(state: State) -> Scene:
    values = _values(state.context)
    return Scene(
        title=state.title,
        gpccr=GPCCR_EL3(values[_GPCCR]),
        gptbr=GPTBR_EL3(values[_GPTBR]),
        gpcbw=GPCBW_EL3(values[_GPCBW]) if _GPCBW in values else None,
        tables=tuple((block.pa, block.data) for block in state.memory),
    )


def _item(record: StateRecord, session: Session) -> Item:
    if record.op is Op.TLBI_PAALL:
        return Invalidate()
    if record.op is Op.SYS:
        # An operand that looks like an address of the probe's map is kept as one; that of Root is the identity.
        return Invalidate(_TLBI[record.aux], record.va if record.pa is None else record.pa)
    assert record.pa is not None  # _problem() has said so
    if record.op is Op.MEM_WRITE:
        word, count = record.data[:_TABLE_WORD], len(record.data) // _TABLE_WORD
        return TableWrite(record.pa, int.from_bytes(word, "little"), count)
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
    return Under(
        stimulus,
        gpccr=GPCCR_EL3(values[_GPCCR]) if _GPCCR in values else None,
        gptbr=GPTBR_EL3(values[_GPTBR]) if _GPTBR in values else None,
        gpcbw=GPCBW_EL3(values[_GPCBW]) if _GPCBW in values else None,
        flags=record.flags,
    )


def _values(entries: Sequence[RegisterEntry]) -> dict[int, int]:
    return {entry.encoding: entry.value for entry in entries}
