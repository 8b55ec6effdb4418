"""Running a state on a target and judging it with today's model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import IntEnum
from pathlib import Path
from typing import Final

from harness.errors import MisuseError
from harness.judge import compare
from harness.judge.session import Session
from harness.judge.tally import Tally
from harness.probe.batch import Batch, decode_results, pool_pointer
from harness.probe.records import RESULT, Op, RegisterEntry, Result, Status
from harness.report.records import FailingCase
from harness.report.records import Outcome as ReportOutcome
from harness.state.items import judgeable
from harness.state.state import Needs, State, StateRecord, lay_out
from harness.state.text import register_words
from harness.state.witness import Testimony, testify
from harness.targets.factory import TargetFactory
from harness.targets.target import Target, TargetOptions
from refmodel.rules import Rule

_SHOWN: Final = 10
"""Preceding records that are shown."""


class Outcome(IntEnum):
    """What came of a state; the values are exit codes."""

    PERMITTED = 0
    DEVIATES = 1
    CANNOT_TELL = 2


@dataclass(frozen=True, kw_only=True)
class Replay:
    """A state that was run: outcome, the judged record as one screen, and its raw result where there is one.

    ``testimony``: what the model permits, None where it cannot judge; ``results``: of all records; ``reason``: why
    it cannot be told, or how often the target was lost.
    """

    outcome: Outcome
    case: FailingCase
    results: bytes = b""
    result: Result | None = None
    testimony: Testimony | None = None
    reason: str = ""

    @property
    def lost(self) -> bool:
        """Whether the target did not survive."""
        return self.outcome is Outcome.DEVIATES and self.result is None

    def same_as(self, other: Replay) -> bool:
        """Whether both saw the same: outcome, exception and syndrome; FAR may differ with the probe's windows."""
        return self._seen() == other._seen()

    def _seen(self) -> tuple[object, ...]:
        result = self.result
        fields = () if result is None else (result.taken, result.target_el, result.vector, result.esr, result.mfar)
        return (self.outcome, self.case.rules, self.case.signature, *fields)


@dataclass
class _Watch(Tally):
    """A tally that keeps every failing case of one record."""

    wanted: int = 0
    seen: list[FailingCase] = field(default_factory=list)

    def fail(self, rule: Rule, case_signature: str, make_case: Callable[[str], FailingCase]) -> None:
        """Keep the case when it is of the wanted record, or the target's loss."""
        case = make_case("")
        if case.index == self.wanted or rule is Rule.AVAILABILITY:
            self.seen.append(case)

    def fork(self) -> _Watch:
        """An empty one of the same record."""
        return _Watch(cited=self.cited, wanted=self.wanted)

    def merge(self, attempt: Tally) -> None:
        """Add what an attempt has seen."""
        super().merge(attempt)
        if isinstance(attempt, _Watch):
            self.seen += attempt.seen


class Player:
    """A target that states are run on, one after another."""

    def __init__(self, target: Target) -> None:
        self.session = Session(target, store=self._keep)
        self._results = b""

    def _keep(self, image: bytes, results: bytes, memory: Sequence[tuple[int, bytes]], title: str) -> str:
        self._results = results
        return ""

    def play(self, state: State, *, probe: bool = False) -> Replay:
        """Run a state and judge it; ``probe`` also asks which words the probe's own accesses rest on.

        MisuseError when the target lacks what the state needs; TargetError when the target is lost in a way that says
        nothing about the state.
        """
        self._check(state)
        given = judgeable(state, self.session)
        if isinstance(given, str):
            return self._unjudged(state, given)
        scene, items = given.scene, given.items
        known = {rule.value: rule for rule in Rule}
        watch = _Watch(cited=tuple(known[r] for r in state.origin.rules if r in known), wanted=state.judged)
        self._results = b""
        self.session.run(scene, items, watch)
        testimony = testify(self.session, scene, items, state.judged, self._results, probe=probe)
        result = None if watch.fatal else decode_results(self._results, len(items))[state.judged]
        case = _whole(watch.seen) if watch.seen else _permitted(state, scene.describe(testimony.stimulus))
        permitted = tuple(map(compare.report_permitted, testimony.alternatives))
        if watch.fatal or not watch.seen:
            case = replace(case, expected=permitted, walk=testimony.walk)
        if result is not None and not watch.seen:
            case = replace(case, observed=compare.report_observed(result))
        outcome, reason = (Outcome.DEVIATES if watch.seen else Outcome.PERMITTED), "; ".join(watch.lost)
        if watch.fatal and testimony.probe_denied:
            outcome, reason = Outcome.CANNOT_TELL, "the state's tables deny the probe its own memory"
        return Replay(
            outcome=outcome,
            case=replace(
                case,
                case=state.title,
                stimulus={**case.stimulus, **_around(state)},
                stage="",
                console=(),
                reproduce="",
                batch="",
            ),
            results=self._results,
            result=result,
            testimony=testimony,
            reason=reason,
        )

    def _check(self, state: State) -> None:
        info, needs = self.session.target.info, state.needs
        lacking = needs.lacking(self.session.features)
        if lacking:
            what = f"the state needs {', '.join(lacking)}, which {info.name} {info.version} does not have"
            raise MisuseError(f"{what}; choose another target with --target or --qemu")
        layout = info.layout
        for block in state.memory:
            if not any(window.holds(block.pa, len(block.data)) for window in (layout.tables, *layout.test)):
                raise MisuseError(
                    f"the state's memory at {block.pa:#x} is not memory that {info.name} lets the harness write; "
                    f"move it into {layout.tables.base:#x} to {layout.tables.end - 1:#x}"
                )

    def _unjudged(self, state: State, why: str) -> Replay:
        session = self.session
        for block in state.memory:
            session.write(block.pa, block.data)
        batch = batch_of(state, [self.va(state, index) for index in range(len(state.records))])
        for pa, data in session.windows.pending:
            session.write(pa, data)
        session.windows.pending.clear()
        results = session.target.run(batch)
        result = results[state.judged]
        observed = compare.report_observed(result)
        status = Status(result.status).name
        case = replace(
            _permitted(state, {"scene": state.title, "record": str(state.record.op.name)}),
            title="not judged",
            observed=replace(observed, fields={"status": status, **observed.fields}),
        )
        raw = b"".join(RESULT.pack(*one) for one in results)
        return Replay(outcome=Outcome.CANNOT_TELL, case=case, results=raw, result=result, reason=why)

    def va(self, state: State, index: int) -> int:
        """The virtual address of a record in the probe's map of this session."""
        record = state.records[index]
        return record.va if record.pa is None else self.session.windows.va(record.pa, record.pas, record.memory)


def batch_of(state: State, addresses: Sequence[int]) -> Batch:
    """The batch of a state whose records have these virtual addresses."""
    pool = bytearray()
    start = pool_pointer(len(state.records))
    records = [lay_out(record, va, pool, start) for record, va in zip(state.records, addresses, strict=True)]
    registers: dict[int, tuple[RegisterEntry, ...]] = {
        index: record.registers for index, record in enumerate(state.records) if record.registers
    }
    return Batch(records=records, context=state.context, registers=registers, pool=bytes(pool))


def _around(state: State) -> dict[str, str]:
    """What the judged record is set apart by: registers of its own, flags, and the records before it."""
    record, before = state.record, state.records[: state.judged]
    words = {f"its own {name}": str(value) for name, value in map(register_words, record.registers)}
    if record.flags:
        words["flags"] = ", ".join(flag.name or "" for flag in record.flags)
    if before:
        shown = [_short(one) for one in before[-_SHOWN:]]
        more = f"{len(before) - _SHOWN} more, " if len(before) > _SHOWN else ""
        words["after"] = more + ", ".join(shown)
    return words


def _short(record: StateRecord) -> str:
    """``MEM_WRITE ROOT 0x50000010 = 0x1``."""
    where = (
        f" {record.pas.name} {record.pa:#x}" if record.pa is not None else f" VA {record.va:#x}" if record.va else ""
    )
    data = f" = {int.from_bytes(record.data, 'little'):#x}" if record.op is Op.MEM_WRITE else ""
    return f"{record.op.name}{where}{data}"


def _permitted(state: State, stimulus: dict[str, str]) -> FailingCase:
    return FailingCase(
        case=state.title,
        title="as the model permits",
        signature="",
        rules=(),
        stimulus=stimulus,
        expected=(),
        observed=ReportOutcome(fields={}),
        index=state.judged,
    )


def _whole(seen: Sequence[FailingCase]) -> FailingCase:
    """One case for all that the judged record speaks against."""
    rules = tuple(dict.fromkeys(rule for case in seen for rule in case.rules))
    signature = "; ".join(dict.fromkeys(case.signature for case in seen))
    return replace(seen[0], rules=rules, signature=signature, title=signature)


@contextmanager
def player(factory: TargetFactory, needs: Needs, logs: Path) -> Iterator[Player]:
    """A player on a new target of the factory that has what is needed, off again afterwards."""
    options = TargetOptions(
        l0gptsz=needs.l0gptsz, wire_only=factory.wire_only, timeout_scale=factory.timeout_scale, pes=needs.pes
    )
    target = factory.make(options, logs)
    try:
        target.power_on()
        yield Player(target)
    finally:
        target.power_off()
