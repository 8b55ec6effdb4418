"""Every failure condition of every RMI command, met alone as far as the specification makes that possible.

Each case is undone afterwards, call by call: a command that failed and yet changed something is found out then.
"""

from __future__ import annotations

import pytest

from harness.check import Check
from harness.coverage import group
from refmodel.rmm.cases import failure_cases
from refmodel.rmm.step import RMI_COMMANDS
from suites.rmi.scripts import rmm

COMMANDS = [
    pytest.param(command.name, marks=pytest.mark.rule(f"RMI-{fid & 0xFF:03X}"), id=command.name)
    for fid, command in RMI_COMMANDS.items()
    if command.conditions
]


@pytest.mark.parametrize("command", COMMANDS)
def test_failure_conditions(check: Check, command: str) -> None:
    """The result of a call that meets one condition, and that nothing but the result comes of it."""
    run = rmm(check)
    if run is None:
        return
    made = RMI_COMMANDS_BY_NAME[command]
    check.plan(group(condition=[condition.label for condition in made.conditions]))
    for case in failure_cases(run.layout, run.parameters):
        if case.command == command:
            run.run(case.name, [*case.script.calls, case.call])
            check.tally.observed.add([(case.label,)])


RMI_COMMANDS_BY_NAME = {command.name: command for command in RMI_COMMANDS.values()}
