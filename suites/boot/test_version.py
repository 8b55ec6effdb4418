"""The RMM that the boot log names, and the one that answers."""

from __future__ import annotations

import pytest

from harness.boot import rmm
from harness.boot.check import StackCheck
from harness.host import version
from harness.host.probe import attach


@pytest.mark.rule("BOOT-017")
def test_log_and_call_agree(stack: StackCheck) -> None:
    """The interface version in the RMM's own log line is the one that RMI_VERSION negotiates with."""
    if "rmm" in version.STACK and not stack.has_rmm():
        return
    machine = stack.boot(version.STACK, "probe")
    named = rmm.version_in(machine.console("uart0").logged())
    if named is None or not named.rmi:
        stack.not_observable("BOOT-017", "no line of the log names the RMM's interface version")
        return
    stack.note(f"{named.name}, RMI {named.rmi}")
    for answer in version.answers(attach(machine), named):
        stack.judge(
            "BOOT-017",
            answer.observed == answer.expected,
            case=f"RMI_VERSION, asked for {answer.requested:#x}",
            stimulus={"log": f"{named.name}, RMI {named.rmi}", "SMC": f"RMI_VERSION {answer.requested:#x}"},
            expected=_in_words(answer.expected),
            observed=_in_words(answer.observed),
            signature=f"the log says RMI {named.rmi}, RMI_VERSION does not",
            machine=machine,
        )


def _in_words(x: tuple[int, int, int]) -> dict[str, str]:
    return {name: f"{value:#x}" for name, value in zip(("x0", "x1", "x2"), x, strict=True)}
