"""Measuring the RMM model: steps a second on a realm's life, and states explored a second.

Nothing here is a test: a figure says what this machine did today, with whatever else it did meanwhile.
"""

from __future__ import annotations

import time
from typing import Final

from harness.errors import MisuseError
from refmodel.rmm.calls import Call
from refmodel.rmm.explore.scope import Scope
from refmodel.rmm.explore.search import explore
from refmodel.rmm.scenario import Layout, Script
from refmodel.rmm.state import State
from refmodel.rmm.step import step
from refmodel.rmm.types import RMM_GRANULE_SIZE
from refmodel.rmm.version import Parameters

_BASE: Final = 0x8000_0000
_SIZE: Final = 64 << 20
_PAGES: Final = 256
_SCOPE: Final = Scope(name="bench", granules=4, realms=2, unprotected=False)


def bench_rmm(*, steps: int) -> dict[str, float]:
    """Steps and explored states per second of wall time, and of this process's CPU time."""
    if steps < 1:
        raise MisuseError(f"--steps must be at least 1, not {steps}")
    parameters = Parameters(delegable=lambda addr: _BASE <= addr < _BASE + _SIZE, rec_aux_count=1)
    calls = _life(parameters)
    rounds = -(-steps // len(calls))
    begin, cpu = time.perf_counter(), time.process_time()
    for _ in range(rounds):
        state = State()
        for call in calls:
            state = step(state, call, parameters)[0].state
    spent, spent_cpu = time.perf_counter() - begin, time.process_time() - cpu
    begin, cpu = time.perf_counter(), time.process_time()
    found = explore(_SCOPE)
    explored, explored_cpu = time.perf_counter() - begin, time.process_time() - cpu
    return {
        "model_steps_per_second": rounds * len(calls) / spent,
        "explored_states_per_second": found.states / explored,
        "model_steps_per_cpu_second": rounds * len(calls) / spent_cpu,
        "explored_states_per_cpu_second": found.states / explored_cpu,
        "steps": float(rounds * len(calls)),
        "states": float(found.states),
    }


def _life(parameters: Parameters) -> list[Call]:
    """A realm from delegation to the last undelegation, with memory that comes and goes: what a log mostly holds."""
    s = Script(Layout(base=_BASE, size=_SIZE, outside=0), parameters)
    rd = s.realm()
    rec = s.rec(rd)
    tables = [s.tables(rd, 0)]
    s.host("RMI_RTT_INIT_RIPAS", rd, 0, _PAGES * RMM_GRANULE_SIZE)
    data = [s.data_unknown(rd, page * RMM_GRANULE_SIZE) for page in range(_PAGES)]
    s.activate(rd)
    for page in range(_PAGES):
        s.host("RMI_RTT_READ_ENTRY", rd, page * RMM_GRANULE_SIZE, 3)
    for page in range(_PAGES):
        s.host("RMI_DATA_DESTROY", rd, page * RMM_GRANULE_SIZE)
    for granule in data:
        s.host("RMI_GRANULE_UNDELEGATE", granule)
    s.host("RMI_RTT_DESTROY", rd, 0, 3)
    s.host("RMI_RTT_DESTROY", rd, 0, 2)
    s.host("RMI_REC_DESTROY", rec)
    s.host("RMI_REALM_DESTROY", rd)
    s.host("RMI_GRANULE_UNDELEGATE", tables[0])
    s.run()
    return s.calls
