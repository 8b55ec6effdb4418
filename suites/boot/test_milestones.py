"""The boot, stage by stage, of TF-A with its test realm payload and with an RMM of the user's."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from harness.boot.check import StackCheck
from harness.boot.stages import How, StageFailedError
from images.stack import load

STACKS = ["tfa-trp", "tfa-rmm"]
_TWICE = (How.DEADLINE, How.LOST)
"""Silence and death may be the host's fault: the same failure at a second power-on is the machine's."""


def boot(stack: StackCheck, name: str) -> StageFailedError | None:
    """Power on and follow the boot; the failure that stands, if any."""
    failure: StageFailedError | None = None
    for _ in range(2):
        try:
            machine = stack.boot(name, fresh=True)
        except StageFailedError as error:
            if error.how not in _TWICE or (failure and (failure.stage, failure.how) == (error.stage, error.how)):
                return error
            stack.note(f"first attempt: {error}")
            failure = error
            continue
        stages = ", ".join(f"{item.stage} {item.at:.2f} s" for item in machine.reached)
        stack.note(f"{name}: {stages}")
        return None
    raise failure or AssertionError("two attempts without a result")


def observed(failure: StageFailedError | None, name: str) -> Mapping[str, str]:
    """What was seen of a boot, in words."""
    if failure is None:
        return {"last stage": load(name).stages[-1].name}
    return {"stage": failure.stage, "how": failure.how.value, "message": str(failure)}


def applies(stack: StackCheck, name: str) -> bool:
    """The stack with an RMM of the user's exists only where there is one."""
    return name != "tfa-rmm" or stack.has_rmm()


@pytest.mark.smoke
@pytest.mark.rule("BOOT-001")
@pytest.mark.parametrize("name", STACKS)
def test_every_stage_is_reached(stack: StackCheck, name: str) -> None:
    """From power-on to the normal world, every stage in its place."""
    if not applies(stack, name):
        return
    failure = boot(stack, name)
    stack.judge(
        "BOOT-001",
        failure is None,
        case=f"boot of {name}",
        stimulus={"stack": name, "until": load(name).stages[-1].name},
        expected={"last stage": load(name).stages[-1].name},
        observed=observed(failure, name),
        signature="" if failure is None else f"{name}: stage {failure.stage} is not reached, {failure.how.value}",
    )


@pytest.mark.rule("BOOT-002")
@pytest.mark.parametrize("name", STACKS)
def test_no_failure_is_reported(stack: StackCheck, name: str) -> None:
    """Nothing that firmware prints on the way says that a stage failed, whatever comes up afterwards."""
    if not applies(stack, name):
        return
    failure = boot(stack, name)
    if failure is not None and failure.how is not How.REPORTED:
        raise failure
    stack.judge(
        "BOOT-002",
        failure is None,
        case=f"log of {name}",
        stimulus={"stack": name, "patterns": ", ".join(p for s in load(name).stages for p in s.fail)},
        expected={"reports": "none"},
        observed=observed(failure, name),
        signature="" if failure is None else f"{name}: stage {failure.stage} reports a failure",
    )
