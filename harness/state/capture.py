"""Taking a state from a result: ``RESULTS_DIR``, ``RESULTS_DIR:TEST`` or ``RESULTS_DIR:BATCH/INDEX``.

A failing case names its batch and index; any other record of a stored batch can be named in the same way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from harness.errors import BadInputError, MisuseError
from harness.probe.address_space import SLOT_BITS, WINDOW_BITS, WINDOW_COUNT, WINDOW_SLOT, MemoryType
from harness.probe.batch import decode_header, records_of
from harness.probe.records import (
    REGISTER,
    REGISTER_SIZE,
    SMC_REGISTERS,
    Op,
    Record,
    RecordFlag,
    RegisterEntry,
    Requester,
    World,
)
from harness.report import BatchStore, Run, read_run
from harness.report.batches import RawBatch
from harness.report.records import CheckResult, FailingCase
from harness.state.state import SMC_LIKE, Origin, State, StateRecord, merged, needs_of
from refmodel.features import Features

_AGAIN: Final = "run the check again with this release"
_SHOWN: Final = 10
_NO_ADDRESS: Final = frozenset({Op.NOP, Op.MRS, Op.MSR, Op.TLBI_PAALL, *SMC_LIKE})
_PLACE: Final = re.compile(r"([0-9a-f]{4,64})/(\d{1,9})")


@dataclass(frozen=True)
class _Case:
    """A record of a stored batch, and the failing case that names it, if one does."""

    batch: str
    index: int
    check: CheckResult | None = None
    case: FailingCase | None = None

    @property
    def place(self) -> str:
        return f"{self.batch[:16]}/{self.index}"


def named(name: str) -> tuple[Run, str]:
    """The run that a case's name begins with, and the rest of the name; BadInputError for damaged results."""
    directory, _, rest = name.partition(":")
    if Path(name).is_dir():
        directory, rest = name, ""
    return read_run(Path(directory)), rest


def capture(run: Run, rest: str) -> State:
    """The state of a case; MisuseError when the name fits none or several, BadInputError for damaged results."""
    found = _choose(run, rest)
    raw = BatchStore(run.directory).load(found.batch)
    return _state(run, raw, found, BatchStore(run.directory).path(found.batch))


def _choose(run: Run, rest: str) -> _Case:
    place = _PLACE.fullmatch(rest)
    if place:
        return _named(run, place[1], int(place[2]))
    cases = _cases(run, rest)
    unlike: dict[tuple[str, int], _Case] = {}
    for case in cases:
        unlike.setdefault((case.batch, case.index), case)
    if len(unlike) == 1:
        return next(iter(unlike.values()))
    if not unlike:
        known = any(check.test == rest for check in run.checks) or not rest
        what = "has no failing or waived case" if known else f"has no test {rest!r}"
        raise MisuseError(f"{run.directory}: {what}; name a record as {run.directory}:BATCH/INDEX")
    listed = [f"{case.place} ({case.check.test if case.check else ''})" for case in unlike.values()]
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    raise MisuseError(
        f"{run.directory}: {len(listed)} cases; choose one as {run.directory}:BATCH/INDEX: "
        f"{', '.join(listed[:_SHOWN])}{more}"
    )


def _cases(run: Run, test: str) -> list[_Case]:
    """The failing cases of a test, or of the whole run; MisuseError where they do not say which record they are."""
    found = [(check, case) for check in run.checks for case in check.cases if test in ("", check.test)]
    if found and not any(case.batch for _, case in found):
        raise MisuseError(f"{run.directory}: its cases do not name a batch; {_AGAIN}")
    return [_Case(case.batch, case.index, check, case) for check, case in found if case.batch]


def _named(run: Run, start: str, index: int) -> _Case:
    names = sorted(path.stem for path in BatchStore(run.directory).directory.glob(f"{start}*.bin"))
    if len(names) != 1:
        what = f"no batch {start}" if not names else f"{len(names)} batches begin with {start}"
        raise MisuseError(f"{run.directory}: {what}; 'realmcheck repro {run.directory} -o DIR' lists the failing cases")
    same = (c for c in _cases(run, "") if (c.batch, c.index) == (names[0], index))
    return next(same, _Case(names[0], index))


def _state(run: Run, raw: RawBatch, found: _Case, path: Path) -> State:
    records = list(records_of(raw.image))
    if found.index >= len(records):
        raise MisuseError(f"{path}: holds {len(records)} records, there is none of index {found.index}")
    windows_l1 = _number(raw.meta, "windows_l1", path)
    table = range(windows_l1, windows_l1 + 8 * WINDOW_COUNT)
    windows = {(pa - windows_l1) // 8: int.from_bytes(data[:8], "little") for pa, data in raw.memory if pa in table}
    header = decode_header(raw.image)
    context = _entries(raw.image, header.context_offset, header.context_count)
    ds = bool(_number(raw.meta, "ds", path))
    kept = tuple(_record(raw.image, record, windows, ds) for record in records[: found.index + 1])
    features = Features.from_id_registers({name: int(text, 16) for name, text in run.target.id_registers.items()})
    case = found.case
    needs = needs_of(kept, context, l0gptsz=_number(raw.meta, "l0gptsz", path), features=features)
    # Batches of earlier releases do not say how many PEs the machine had.
    pes = _number({"pes": needs.pes, **raw.meta}, "pes", path)
    return State(
        title=str(raw.meta.get("scene", "")).removesuffix(", cut short"),
        records=kept,
        judged=found.index,
        needs=replace(needs, pes=pes),
        context=context,
        memory=merged((pa, data) for pa, data in raw.memory if pa not in table),
        origin=Origin(
            target=run.target.name,
            version=run.target.version,
            realmcheck=run.header.realmcheck,
            test=found.check.test if found.check else "",
            rules=_rules(run, found),
            signature=case.signature if case else "",
            batch=found.batch,
            index=found.index,
            lost=case is not None and "target" in case.observed.fields,
        ),
    )


def _rules(run: Run, found: _Case) -> tuple[str, ...]:
    """The rules that the case speaks against, in the order in which the test cites them, which decides between them."""
    if found.case is None or found.check is None:
        return ()
    order = [rule for check in run.checks if check.test == found.check.test for rule in check.rules]
    return tuple(sorted(found.case.rules, key=lambda rule: order.index(rule) if rule in order else len(order)))


def _number(meta: Mapping[str, object], key: str, path: Path) -> int:
    value = meta.get(key)
    if not isinstance(value, int):
        raise BadInputError(f"its meta data has no {key}", path=path, remedy=_AGAIN)
    return value


def _entries(image: bytes, offset: int, count: int) -> tuple[RegisterEntry, ...]:
    places = range(offset, offset + count * REGISTER_SIZE, REGISTER_SIZE)
    unpacked: Sequence[tuple[int, int, int]] = [REGISTER.unpack_from(image, at) for at in places]
    return tuple(RegisterEntry(encoding, value) for encoding, _, value in unpacked)


def _record(image: bytes, record: Record, windows: Mapping[int, int], ds: bool) -> StateRecord:
    op = Op(record.op)
    pa, pas, memory = _place(record.address, windows, ds) if record.el == 3 else (None, World.ROOT, 0)
    if op in _NO_ADDRESS:
        pa = None
    data, value0, value1, aux = b"", record.value0, record.value1, record.aux
    if op is Op.MEM_WRITE:
        data, value0, aux = image[value0 : value0 + aux], 0, 0
    elif op is Op.MEM_READ:
        value0 = 0
    elif op in SMC_LIKE:
        data, value0, value1 = image[value0 : value0 + 8 * SMC_REGISTERS], 0, 0
    return StateRecord(
        op=op,
        pa=pa,
        pas=pas if pa is not None else World.ROOT,
        memory=MemoryType(memory) if pa is not None else MemoryType.NORMAL_WB,
        va=record.address if pa is None else 0,
        size_log2=record.size_log2,
        value0=value0,
        value1=value1,
        aux=aux,
        data=data,
        state=World(record.state),
        el=record.el,
        pe=record.pe,
        group=record.group,
        requester=Requester(record.requester),
        flags=RecordFlag(record.flags),
        registers=_entries(image, record.regs_offset, record.regs_count),
    )


def _place(va: int, windows: Mapping[int, int], ds: bool) -> tuple[int | None, World, int]:
    """What the probe's map at EL3 makes of an address: PA, PAS and memory type; no PA where it is not of the map."""
    slot, offset = va >> SLOT_BITS, va & (1 << SLOT_BITS) - 1
    if slot < WINDOW_SLOT and slot >> 2 in list(MemoryType):
        return offset, World(slot & 3 ^ 0b10), slot >> 2
    descriptor = windows.get(offset >> WINDOW_BITS, 0) if slot == WINDOW_SLOT else 0
    if not descriptor & 1:
        return None, World.ROOT, 0
    top = (descriptor >> 8 & 0b11) << 50 if ds else 0
    base = top | descriptor & (1 << 50) - (1 << WINDOW_BITS)
    pas = World((descriptor >> 11 & 1) << 1 | descriptor >> 5 & 1)
    return base | va & (1 << WINDOW_BITS) - 1, pas, descriptor >> 2 & 0b11
