"""The same failure conditions on an RMM of the user, behind TF-A: those that the Host can meet without a realm's help.

Each case is undone afterwards, call by call, and so held against the model too.
"""

from __future__ import annotations

from typing import Final

import pytest

from harness.boot.check import StackCheck
from harness.judge.tally import Tally
from harness.rmi.records import batch_of, observations, structures
from harness.rmi.run import RmiRun, undo
from harness.rmi.targets import OnStack
from refmodel.rmm.calls import HostCall
from refmodel.rmm.cases import Case, failure_cases
from refmodel.rmm.scenario import Script
from refmodel.rmm.step import BY_NAME
from refmodel.rmm.version import Parameters, with_feature_register_0
from refmodel.rules import Rule
from suites.rmi.test_conditions import COMMANDS

STACK: Final = "tfa-rmm-host"


def _parameters(target: OnStack) -> Parameters:
    """What the RMM says of itself; one of its answers needs a realm, which is gone afterwards."""
    memory = target.memory
    assumed = Parameters(delegable=lambda addr: memory.base <= addr < memory.base + memory.size)
    script = Script(memory, assumed)
    rd = script.realm()
    asked = [HostCall(BY_NAME["RMI_FEATURES"].fid, (0,)), HostCall(BY_NAME["RMI_REC_AUX_COUNT"].fid, (rd,))]
    calls = [*script.calls, *asked, *undo(script.run(), memory)]
    for addr, data in structures(calls):
        target.write_memory(addr, data)
    batch, offsets = batch_of(calls)
    results = target.run(batch)
    seen = observations(results, target.read_batch(), offsets)
    features, aux = seen[len(script.calls) : len(script.calls) + 2]
    found = Parameters(delegable=assumed.delegable, rec_aux_count=aux.registers[1])
    return with_feature_register_0(found, features.registers[1])


def _of_the_host(case: Case) -> bool:
    """Whether no realm has to run for it."""
    enters = BY_NAME["RMI_REC_ENTER"].fid
    return all(isinstance(call, HostCall) and call.fid != enters for call in case.script.calls)


@pytest.mark.parametrize("command", COMMANDS)
def test_failure_conditions_of_the_host(stack: StackCheck, command: str) -> None:
    """The result of a call that meets one condition, and that nothing but the result comes of it."""
    if not stack.has_rmm():
        return
    rule = Rule(stack.cited[0])
    target = OnStack(stack, STACK)
    parameters = _parameters(target)
    cases = [case for case in failure_cases(target.memory, parameters) if case.command == command]
    for case in filter(_of_the_host, cases):
        tally = Tally(cited=(rule,))
        RmiRun(target, parameters, tally).run(case.name, [*case.script.calls, case.call])
        found = tally.first_case
        stack.judge(
            rule.value,
            found is None,
            case=case.name,
            stimulus=found.stimulus if found else {},
            expected=[outcome.fields for outcome in found.expected] if found else {},
            observed=found.observed.fields if found else {},
            signature=f"{case.name}: {found.signature}" if found else "",
            walk=found.walk if found else (),
        )
    if not any(map(_of_the_host, cases)):
        stack.not_observable(rule.value, "a realm would have to run, and nothing of ours runs in one")
