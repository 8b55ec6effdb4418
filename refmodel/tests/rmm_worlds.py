"""What the tests of the RMM model share: memory, implementations, and short ways to call."""

from __future__ import annotations

from dataclasses import replace

from refmodel.rmm.calls import Call, HostCall, Memory
from refmodel.rmm.results import Outcome
from refmodel.rmm.scenario import Layout, Script
from refmodel.rmm.state import State
from refmodel.rmm.step import BY_NAME, step
from refmodel.rmm.version import Parameters

BASE = 0x80000000
SIZE = 64 << 20
OUTSIDE = 0x1000
HIGH = 1 << 48
LAYOUT = Layout(base=BASE, size=SIZE, outside=OUTSIDE, high=HIGH)


def delegable(addr: int) -> bool:
    return BASE <= addr < BASE + SIZE or addr == HIGH


PARAMETERS = Parameters(delegable=delegable, rec_aux_count=2)
ONE_REC = replace(PARAMETERS, max_recs_order=1)


def script(parameters: Parameters = PARAMETERS) -> Script:
    return Script(LAYOUT, parameters)


def permitted(state: State, call: Call, parameters: Parameters = PARAMETERS) -> tuple[Outcome, ...]:
    return step(state, call, parameters)


def host(state: State, name: str, *args: int, memory: Memory = None) -> Outcome:
    """The one permitted outcome of a host command."""
    (outcome,) = step(state, HostCall(BY_NAME[name].fid, tuple(args), memory), PARAMETERS)
    return outcome


def only(state: State, call: Call) -> Outcome:
    """The one permitted outcome."""
    (outcome,) = step(state, call, PARAMETERS)
    return outcome
