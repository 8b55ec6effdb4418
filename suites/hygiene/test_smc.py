"""What a call of the firmware leaves in the caller's registers: everything filled at random, then compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pytest

from harness.boot.check import StackCheck
from harness.host.calls import SMCCC_VERSION, Call, calls
from harness.host.hygiene import Observation, observe
from harness.host.probe import HostProbe, attach

GRANULE: Final = 0x7200_0000
"""A Non-secure granule of ordinary RAM, far from the probe; the calls delegate it and take it back."""

ROUNDS: Final = 4
MINIMUM_FILLED: Final = 60
"""System registers that have to hold a random value at least: with fewer the comparison would say little."""

STACKS: Final = ("tfa-host", "tfa-rmm-host")
GROUPS: Final = ("arch", "psci", "rmi", "unknown")
_SMCCC_1_1: Final = 0x1_0001


def _probe(stack: StackCheck, name: str) -> HostProbe | None:
    """The probe on a stack; None where that needs an RMM and none was given."""
    if "rmm" in name and not stack.has_rmm():
        return None
    return attach(stack.boot(name, "probe"))


def _observations(stack: StackCheck, probe: HostProbe, group: str) -> list[tuple[Call, Observation]]:
    chosen = [call for call in calls(GRANULE) if call.group == group]
    rounds = max(1, round(ROUNDS * stack.scale))
    seen = [(call, observe(probe, call, stack.rng)) for _ in range(rounds) for call in chosen]
    for call, observation in seen:
        if call.granted and observation.x0 != 0:
            pytest.fail(f"{call.name} is refused with {observation.x0:#x}: no evidence of a world that did something")
        if observation.x0 == call.arguments[0]:
            pytest.fail(f"{call.name}: x0 still holds the function identifier: no evidence that the call was made")
    return seen


def _judge(stack: StackCheck, rule: str, call: Call, changed: Mapping[str, tuple[int, int]], expected: str) -> None:
    stack.judge(
        rule,
        not changed,
        case=call.name,
        stimulus={"SMC": call.name, "x0...": " ".join(f"{word:#x}" for word in call.arguments)},
        expected={"registers": expected},
        observed={name: f"{now:#x}, was {was:#x}" for name, (was, now) in changed.items()} or {"registers": expected},
        signature=f"{call.name}: changed {', '.join(changed)}",
    )


@pytest.mark.rule("HYG-001", "HYG-002", "HYG-006")
@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("name", STACKS)
def test_general_registers(stack: StackCheck, name: str, group: str) -> None:
    """x4 to x17 where they hold no result, x18 to x30; and result registers that hold no result."""
    if (probe := _probe(stack, name)) is None:
        return
    version = probe.smc(SMCCC_VERSION)[0]
    for call, seen in _observations(stack, probe, group):
        if version < _SMCCC_1_1:
            stack.not_observable("HYG-001", f"SMCCC version {version:#x} lets x4 to x17 change")
        else:
            _judge(stack, "HYG-001", call, seen.changes.arguments, "x4 to x17 as before the call")
        _judge(stack, "HYG-002", call, seen.changes.callee, "x18 to x30 as before the call")
        _judge(stack, "HYG-006", call, seen.changes.leaked, "zero, or as before the call")


@pytest.mark.rule("HYG-003")
@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("name", STACKS)
def test_simd_registers(stack: StackCheck, name: str, group: str) -> None:
    """q0 to q31, FPSR and FPCR."""
    if (probe := _probe(stack, name)) is None:
        return
    for call, seen in _observations(stack, probe, group):
        _judge(stack, "HYG-003", call, seen.changes.simd, "q0 to q31, FPSR, FPCR as before the call")


@pytest.mark.rule("HYG-004", "HYG-005")
@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("name", STACKS)
def test_system_registers(stack: StackCheck, name: str, group: str) -> None:
    """System registers of EL0, EL1 and EL2 that the machine has, those that may be filled holding random values."""
    if (probe := _probe(stack, name)) is None:
        return
    for call, seen in _observations(stack, probe, group):
        if seen.filled < MINIMUM_FILLED:
            pytest.fail(f"only {seen.filled} of {seen.watched} system registers took a random value")
        _judge(stack, "HYG-004", call, seen.changes.system, "registers of EL0 and EL1 as before the call")
        _judge(stack, "HYG-005", call, seen.changes.el2, "registers of EL2 as before the call")
