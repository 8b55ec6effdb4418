"""Scripts of RMI calls on a target with an RMM: run, judged into a check's tally, and undone.

What a script has made is taken apart again call by call, and every one of these calls is judged too: so each granule's
state after a script is held against the model, also after a call that failed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from harness.judge.tally import Tally
from harness.probe.batch import Batch
from harness.probe.records import Result
from harness.report.records import FailingCase
from harness.report.records import Outcome as ReportOutcome
from harness.rmi.judging import Deviation, Judge
from harness.rmi.records import Observation, batch_of, observations, structures
from refmodel.rmm.calls import Call, HostCall, RealmInterrupt, RealmSmc
from refmodel.rmm.explore.search import describe
from refmodel.rmm.psci import PSCI_COMMANDS
from refmodel.rmm.rmi_realm import rtts_of
from refmodel.rmm.rsi import RSI_COMMANDS
from refmodel.rmm.scenario import Layout
from refmodel.rmm.state import State
from refmodel.rmm.step import BY_NAME, RMI_COMMANDS
from refmodel.rmm.types import EntryState, GranuleState, RecState
from refmodel.rmm.version import Parameters
from refmodel.rules import Rule


class RmiTarget(Protocol):
    """What runs calls: a target, or a booted stack."""

    @property
    def memory(self) -> Layout:
        """Memory that scripts may use."""

    def holds(self, addr: int, size: int) -> bool:
        """Whether the harness may write there."""

    def write_memory(self, address: int, data: bytes) -> None:
        """Write physical memory."""

    def read_memory(self, address: int, size: int) -> bytes:
        """Read physical memory."""

    def run(self, batch: Batch) -> Sequence[Result]:
        """Run records at EL2 of the Normal world, or at EL1 of the realm that runs."""

    def read_batch(self) -> bytes:
        """The image of the last batch as records have left it."""

    def power_cycle(self) -> None:
        """Start afresh, with every granule the Host's."""


class RmiRun:
    """Scripts against one target, counted in a tally; ``reproduce`` is the command that repeats the test."""

    def __init__(self, target: RmiTarget, parameters: Parameters, tally: Tally, reproduce: str = "") -> None:
        self.parameters = parameters
        self._target = target
        self._tally = tally
        self._reproduce = reproduce
        self._state = State()

    @property
    def layout(self) -> Layout:
        """Memory that scripts may use."""
        return self._target.memory

    def run(self, title: str, calls: Sequence[Call]) -> Sequence[Observation]:
        """Run calls and what undoes them, judge every one; what the calls themselves reported, nothing if one deviates.

        After a deviation the target is started afresh.
        """
        tally = self._tally
        seen = self._batch(title, calls, tally)
        if seen is None or not self._undo(title, tally):
            self._target.power_cycle()
            self._state = State()
        return seen or ()

    def expect(self, rule: Rule, title: str, holds: bool, expected: str, observed: str) -> None:
        """Something that is seen otherwise than in the results of calls."""
        tally = self._tally
        if holds:
            tally.count((rule,), 1, weak=False)
            return

        def case(waiver: str) -> FailingCase:
            return FailingCase(
                case=title,
                title=title,
                signature=title,
                rules=(rule.value,),
                stimulus={"what": title},
                expected=(ReportOutcome(fields={"memory": expected}),),
                observed=ReportOutcome(fields={"memory": observed}),
                reproduce=self._reproduce,
                waiver=waiver,
            )

        tally.fail(rule, title, case)

    def _undo(self, title: str, tally: Tally) -> bool:
        # What must wait for a result is asked again with the state that came of it.
        while calls := list(undo(self._state, self.layout)):
            if self._batch(f"{title}, undone", calls, tally) is None:
                return False
        self._state = State()
        return True

    def _batch(self, title: str, calls: Sequence[Call], tally: Tally) -> Sequence[Observation] | None:
        target = self._target
        for addr, data in structures(calls):
            # A structure whose address is the fault that is tested is nowhere.
            if target.holds(addr, len(data)) and not addr & 0xFFF:
                target.write_memory(addr, data)
        batch, offsets = batch_of(calls)
        results = target.run(batch)
        seen = observations(results, target.read_batch(), offsets)
        judge = Judge(self.parameters, target.read_memory, self._state)
        tally.stimuli += len(calls)
        found = judge.judge(calls, seen)
        judged = calls if found is None else calls[: found.index]
        if found is None:
            found = judge.finish([RealmInterrupt(rec) for rec in running(judge.beliefs[0].state)])
        for call in judged:
            if (rule := rule_of(call)) is not None:
                tally.count((rule,), 1, weak=False)
        if found is not None:
            self._fail(title, calls, found, tally)
            return None
        self._state = judge.beliefs[0].state
        return seen

    def _fail(self, title: str, calls: Sequence[Call], found: Deviation, tally: Tally) -> None:
        rule = rule_of(found.call) or tally.cited[0]
        signature = f"{describe(found.call).split()[0]}: {found.observed}"
        expected = tuple(
            ReportOutcome(fields={"result": str(outcome.result)}, reasons=(outcome.reason,))
            for outcome in found.permitted
        )
        reproduce = self._reproduce

        def case(waiver: str) -> FailingCase:
            return FailingCase(
                case=f"{title} #{found.index}",
                title=signature,
                signature=signature,
                rules=(rule.value,),
                stimulus={"call": describe(found.call)},
                expected=expected,
                observed=ReportOutcome(fields={"registers": found.observed}),
                walk=tuple(describe(call) for call in calls[: found.index]),
                reproduce=reproduce,
                index=found.index,
                waiver=waiver,
            )

        for against in tally.speaks_against((rule,)):
            tally.fail(against, signature, case)


def rule_of(call: Call) -> Rule | None:
    """The rule that a call's outcome is about; interrupts have none."""
    match call:
        case HostCall(fid):
            command = RMI_COMMANDS.get(fid)
            return None if command is None else Rule(f"RMI-{fid & 0xFF:03X}")
        case RealmSmc(_, (fid, *_)):
            if fid in RSI_COMMANDS:
                return Rule(f"RSI-{fid & 0xFF:03X}")
            return Rule(f"PSCI-{fid & 0xFF:03X}") if fid in PSCI_COMMANDS else None
        case RealmInterrupt():
            return None
    return Rule.REALM_ACCESS


def running(state: State) -> list[int]:
    """RECs that run."""
    return [addr for addr, rec in state.recs.items() if rec.state is RecState.REC_RUNNING]


def _host(name: str, *args: int) -> HostCall:
    return HostCall(BY_NAME[f"RMI_{name}"].fid, args)


def undo(state: State, layout: Layout) -> Iterator[Call]:
    """Calls that give the Host its granules back, as far as it can be told before the first of them has returned."""
    for rec in state.recs:
        yield _host("REC_DESTROY", rec)
    for rd, realm in state.realms.items():
        for number, table in enumerate(rtts_of(realm.rtt_base, realm.rtt_num_start)):
            base = number << 12 + 9 * (4 - realm.rtt_level_start)
            yield from _empty(state, rd, table, base, realm.rtt_level_start)
        yield _host("REALM_DESTROY", rd)
    for addr, granule in state.granules.items():
        if granule.state is not GranuleState.UNDELEGATED:
            yield _host("GRANULE_UNDELEGATE", addr)


def _empty(state: State, rd: int, table: int, base: int, level: int) -> Iterator[Call]:
    """Destroy what lies below a table; a block is unfolded first, with one of the granules that are free by then."""
    size = 0x1000 << 9 * (3 - level)
    for index, entry in enumerate(state.rtts[table]):
        ipa = base + index * size
        if entry.state is EntryState.TABLE:
            yield from _empty(state, rd, entry.addr, ipa, level + 1)
            yield _host("RTT_DESTROY", rd, ipa, level + 1)
        elif entry.state is EntryState.ASSIGNED and level == 3:
            yield _host("DATA_DESTROY", rd, ipa)
        elif entry.state is EntryState.ASSIGNED:
            spare = next(addr for addr, granule in state.granules.items() if granule.state is GranuleState.DELEGATED)
            yield _host("RTT_CREATE", rd, spare, ipa, level + 1)
            for page in range(512):
                yield _host("DATA_DESTROY", rd, ipa + page * size // 512)
            yield _host("RTT_DESTROY", rd, ipa, level + 1)
