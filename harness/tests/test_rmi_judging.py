"""Judgements of single observations: registers beyond the results of a call."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from harness.probe.records import SMC_REGISTERS, Status
from harness.rmi.judging import Judge
from harness.rmi.records import Observation
from refmodel.rmm.calls import HostCall
from refmodel.rmm.state import State
from refmodel.rmm.step import BY_NAME
from refmodel.rmm.version import Parameters

PARAMETERS = Parameters(delegable=lambda addr: addr < 1 << 40)
CREATE = HostCall(BY_NAME["RMI_RTT_CREATE"].fid, (0x10_0001, 0x20_0000, 0x30_0000, 2))
"""Refused for its first operand; X4 is the level."""


def deviates(registers: Mapping[int, int], status: Status = Status.DONE, taken: int = 0) -> bool:
    values = tuple(registers.get(number, 1 if number == 0 else 0) for number in range(SMC_REGISTERS))
    judge = Judge(PARAMETERS, lambda address, size: bytes(size), State())
    return judge.judge([CREATE], [Observation(status, taken, 2 if taken else 0, 0, values)]) is not None


def test_zeros_and_the_callers_value_are_permitted() -> None:
    assert not deviates({})
    assert not deviates({4: 2})


OTHERS = {0: 0}, {1: 0x10_0001}, {3: 0x30_0000}, {4: 3}, {5: 2}, {16: 1}


@pytest.mark.parametrize("registers", OTHERS)
def test_anything_else_is_not(registers: dict[int, int]) -> None:
    assert deviates(registers)


def test_x17_is_no_register_of_the_interface() -> None:
    assert not deviates({17: 1})


def test_a_record_that_was_not_done_or_took_an_exception() -> None:
    assert deviates({}, status=Status.UNSUPPORTED)
    assert deviates({}, taken=1)
