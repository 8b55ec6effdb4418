"""A state as what the judge works with: a scene and its items.  What today's model cannot judge is said in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from harness.judge.operation import CHANGING, Operation
from harness.judge.scene import Invalidate, Item, Scene, TableWrite, Under
from harness.judge.session import Session
from harness.judge.stimulus import Kind, Stimulus
from harness.judge.world import WorldScene
from harness.probe.records import Op, RecordFlag, RegisterEntry, World, sysreg_encoding
from harness.state.below import NOWHERE, Places, context_of
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
_OPERATIONS: Final[Mapping[tuple[Op, int], Operation]] = {
    (operation.op, operation.aux): operation for operation in Operation if not operation.elements
}
_ACROSS: Final[Mapping[Op, Operation]] = {operation.op: operation for operation in Operation if operation.elements}
_TLBI: Final = {sysreg_encoding(1, *op.value): op for op in TLBIOp}


@dataclass(frozen=True)
class Judgeable:
    """What the judge is given."""

    scene: Scene
    items: tuple[Item, ...]


def judgeable(state: State, session: Session) -> Judgeable | str:
    """The scene and items of a state, in the probe's map of this session; or why the model cannot judge the state."""
    if _kind(state.record) is None:
        return f"record {state.judged} is {state.record.op.name}, which is no operation to be judged"
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
    if any(isinstance(_kind(record), Operation) for record in state.records):
        # Such an operation is judged by its own address, not by that of an access before under other registers.
        for index, record in enumerate(state.records):
            if _kind(record) is not None and (record.registers or record.flags):
                return (
                    f"record {index}: registers and flags of its own are not judged beside operations on caches, AT, "
                    "DC ZVA and accesses across the end of a page"
                )
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
    if _kind(record) is None:
        return f"operation {record.op.name} is not judged"
    if (record.flags ^ first.flags) & RecordFlag.PAN:
        return "the model judges records that have one PSTATE.PAN"
    others = record.flags & ~(RecordFlag.TLBI_BEFORE | RecordFlag.PAN)
    if others:
        return f"flags {others!r} are not judged"
    return f"{register_name(record.registers[0].encoding)} in its list is not judged" if record.registers else ""


def _item_below(record: StateRecord, places: Places) -> Item | str:
    kind = _kind(record)
    assert kind is not None  # _problem_below() has said so
    place = _place_of(kind, record, places)
    if isinstance(place, str):
        return place
    stimulus = Stimulus(kind, record.va, *place, record.size_log2, record.value0, record.value1)
    flags = record.flags & ~RecordFlag.PAN
    return Under(stimulus, flags=flags) if flags else stimulus


def _place_of(kind: Kind | Operation, record: StateRecord, places: Places) -> tuple[int, World] | str:
    """Where an operand leads, that of an operation as a load or store finds it; an access has both pages in a row."""
    if isinstance(kind, Kind):
        return places.of(record.va, kind)
    access = Kind.STORE if kind in CHANGING else Kind.LOAD
    place = places.of(record.va, access)
    if isinstance(place, str) or not kind.elements:
        return place
    pa, space = place
    second = _PAGE - record.va % _PAGE
    if places.of(record.va + second, access) != (pa + second, space):
        return "an access whose second page does not lie behind the first is not judged"
    return place


def _kind(record: StateRecord) -> Kind | Operation | None:
    """What the judge calls the operation of a record, None for what is none to be judged."""
    if record.op not in _KINDS:
        return _OPERATIONS.get((record.op, record.aux))
    address = record.va if record.pa is None else record.pa
    return _ACROSS.get(record.op) if _crosses(record, address) else _KINDS[record.op]


def _crosses(record: StateRecord, address: int) -> bool:
    """Whether an access touches a second page, which makes it an operation of its own kind."""
    elements = 2 if record.op in (Op.LOAD_PAIR, Op.STORE_PAIR) else 1
    return address % _PAGE + (elements << record.size_log2) > _PAGE


def _problem(record: StateRecord) -> str:
    if (record.state, record.el, record.pe) != (World.ROOT, 3, 0):
        return (
            "the model judges PE 0 at EL3 with the records before, "
            f"not PE {record.pe} at EL{record.el} in {record.state.name}"
        )
    kind = _kind(record)
    if record.op in _KINDS and kind is None:
        return f"operation {record.op.name} across the end of a page is not judged"
    if kind is not None:
        if record.pa is None and (isinstance(kind, Kind) or kind.op is not Op.SYS):
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
    kind = _kind(record)
    if record.op is Op.SYS and kind is None:
        # An operand that looks like an address of the probe's map is kept as one; that of Root is the identity.
        return Invalidate(_TLBI[record.aux], record.va if record.pa is None else record.pa)
    if record.pa is None:
        # The operand of an instruction by PA, or of an AT: no address of the probe's map.
        assert isinstance(kind, Operation)  # _problem() has said so
        return Stimulus(kind, record.va, NOWHERE, World.ROOT, record.size_log2)
    if record.op is Op.MEM_WRITE:
        word, count = record.data[:_TABLE_WORD], len(record.data) // _TABLE_WORD
        return TableWrite(record.pa, int.from_bytes(word, "little"), count)
    assert kind is not None
    va = session.windows.va(record.pa, record.pas, record.memory)
    stimulus = Stimulus(kind, va, record.pa, record.pas, record.size_log2, record.value0, record.value1)
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
