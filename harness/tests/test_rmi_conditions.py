"""That the RMI suite bites: an RMM without one failure condition, for every condition of every command, is found out.

The machine and the judge run in this process; only the machine's RMM has the fault.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest

from harness.judge.tally import Tally
from harness.probe.batch import Batch, decode_results
from harness.probe.records import Result
from harness.rmi.run import RmiRun
from harness.rmi.targets import OnTarget
from harness.targets.model_machine import LAYOUT, Machine
from harness.targets.model_rmm import Registers, SimulatedRmm, parameters
from harness.targets.target import Target
from refmodel.mutants.rmm import without
from refmodel.rmm import step as model
from refmodel.rmm.calls import Call
from refmodel.rmm.cases import Case, failure_cases
from refmodel.rmm.command import Command
from refmodel.rmm.context import IllFormed
from refmodel.rmm.results import Result as CallResult
from refmodel.rmm.results import RmiResult
from refmodel.rmm.scenario import Layout
from refmodel.rmm.state import State
from refmodel.rmm.types import Rmi
from refmodel.rmm.version import Parameters
from refmodel.rules import Rule

IMPLEMENTATION = parameters(LAYOUT.test[0])
MEANINGLESS = IllFormed, KeyError, IndexError, ValueError
MEMORY = Layout(base=LAYOUT.test[0].base, size=16 << 20, outside=LAYOUT.tables.base)


class FaultyRmm(SimulatedRmm):
    """A simulated RMM whose commands are another table's; the judge's stay as they are.

    It says success and does nothing where the model has no meaning for what the command no longer refuses.
    """

    commands: dict[int, Command] = model.RMI_COMMANDS

    def _step(self, call: Call) -> CallResult:
        sound = model.RMI_COMMANDS
        model.RMI_COMMANDS = self.commands  # type: ignore[misc]
        try:
            return super()._step(call)
        except MEANINGLESS:
            return RmiResult(Rmi.RMI_SUCCESS)
        finally:
            model.RMI_COMMANDS = sound  # type: ignore[misc]

    def _memory_follows(self, fid: int, args: Registers, before: State) -> None:
        with suppress(*MEANINGLESS):
            super()._memory_follows(fid, args, before)


class InProcess:
    """As much of a target as a run of RMI scripts needs."""

    def __init__(self, implementation: Parameters, commands: dict[int, Command]) -> None:
        self.info = SimpleNamespace(layout=LAYOUT, name="in process")
        self._implementation, self._commands = implementation, commands
        self.cycles = 0
        self.power_cycle()

    def power_cycle(self) -> None:
        self.cycles += 1
        self._machine = Machine()
        rmm = FaultyRmm(self._machine.memory, LAYOUT.test[0])
        rmm.commands = self._commands
        rmm._parameters = self._implementation
        self._machine.rmm.rmm = rmm

    def run(self, batch: Batch) -> Sequence[Result]:
        encoded = batch.encode()
        return decode_results(self._machine.run(encoded.image), encoded.count)

    def write_memory(self, address: int, data: bytes) -> None:
        self._machine.write_memory(address, data)

    def read_memory(self, address: int, size: int) -> bytes:
        return self._machine.memory.read(address, size)

    def read_batch(self) -> bytes:
        return bytes(self._machine.rmm.image)


def tally_of(case: Case, implementation: Parameters, commands: dict[int, Command]) -> Tally:
    """What the suite's check of a case counts on an RMM with these commands."""
    rule = Rule(f"RMI-{case.call.fid & 0xFF:03X}")
    tally = Tally(cited=(rule,))
    target = OnTarget(cast(Target, InProcess(implementation, commands)))
    RmiRun(target, implementation, tally).run(case.name, [*case.script.calls, case.call])
    return tally


def faulty(case: Case) -> dict[int, Command]:
    """Commands without the condition that the case meets, and without those that hold with it."""
    command = model.RMI_COMMANDS[case.call.fid]
    return {**model.RMI_COMMANDS, case.call.fid: without(case.label, *case.also)(command)}


SINGLE = replace(IMPLEMENTATION, max_recs_order=1)
CASES = [
    *((case, IMPLEMENTATION) for case in failure_cases(MEMORY, IMPLEMENTATION)),
    *((case, SINGLE) for case in failure_cases(MEMORY, SINGLE) if case.label == "num_recs"),
]
IDS = [case.name for case, _ in CASES]


@pytest.mark.parametrize(("case", "implementation"), CASES, ids=IDS)
def test_a_sound_rmm_passes(case: Case, implementation: Parameters) -> None:
    tally = tally_of(case, implementation, dict(model.RMI_COMMANDS))
    assert tally.failed == 0
    assert tally.rule(Rule(f"RMI-{case.call.fid & 0xFF:03X}")).judged >= 1


@pytest.mark.parametrize(("case", "implementation"), CASES, ids=IDS)
def test_a_missing_condition_is_found_out(case: Case, implementation: Parameters) -> None:
    tally = tally_of(case, implementation, faulty(case))
    assert tally.failed >= 1
    assert tally.first_case is not None
    assert tally.first_case.rules == (f"RMI-{case.call.fid & 0xFF:03X}",)
