"""A realm at work, for the tests of what it does: one running REC over entries of every kind."""

from __future__ import annotations

from refmodel.rmm.calls import (
    AccessKind,
    RecEnter,
)
from refmodel.rmm.results import Exited, Outcome, RecExit
from refmodel.rmm.scenario import UNPROTECTED, Script
from refmodel.rmm.state import State
from refmodel.rmm.step import BY_NAME
from refmodel.tests.rmm_worlds import BASE, permitted, script

PAGE = 0x1000
DATA_ABORT, INSTRUCTION_ABORT, IL = 0x24 << 26, 0x20 << 26, 1 << 25
ISV, SF, WNR = 1 << 24, 1 << 15, 1 << 6
READ, WRITE, FETCH = AccessKind.READ, AccessKind.WRITE, AccessKind.FETCH
EXIT = "RMI_SUCCESS, RMI_EXIT_SYNC"
MINUS_ONE = (1 << 64) - 1

RSI = {name: BY_NAME[f"RSI_{name}"].fid for name in ("HOST_CALL", "IPA_STATE_SET", "IPA_STATE_GET", "REALM_CONFIG")}
PSCI = {
    "VERSION": 0x84000000,
    "CPU_SUSPEND": 0xC4000001,
    "CPU_OFF": 0x84000002,
    "CPU_ON": 0xC4000003,
    "AFFINITY_INFO": 0xC4000004,
    "SYSTEM_OFF": 0x84000008,
    "SYSTEM_RESET": 0x84000009,
    "FEATURES": 0x8400000A,
}


def world(prepare: str = "") -> tuple[Script, State, int, int]:
    """A running REC; protected: RAM assigned at 0, EMPTY assigned at 1, RAM unassigned at 2, DESTROYED unassigned at 3,
    DESTROYED assigned at 4, EMPTY unassigned at 5; unprotected: read-write at 0, read-only at 1, write-only at 2.
    """
    s = script()
    rd = s.realm()
    rec = s.rec(rd)
    s.tables(rd, 0)
    s.data(rd, 0)
    s.data_unknown(rd, PAGE)
    s.host("RMI_RTT_INIT_RIPAS", rd, 2 * PAGE, 3 * PAGE)
    for page in (3, 4):
        s.data(rd, page * PAGE)
        s.host("RMI_DATA_DESTROY", rd, page * PAGE)
    s.data_unknown(rd, 4 * PAGE)
    s.tables(rd, UNPROTECTED)
    for page, s2ap in ((0, 3), (1, 1), (2, 2)):
        s.host("RMI_RTT_MAP_UNPROTECTED", rd, UNPROTECTED + page * PAGE, 3, BASE + page * PAGE | 0b110 << 2 | s2ap << 6)
    s.activate(rd)
    s.enter(rec)
    return s, s.run(), rd, rec


def enter(s: Script, state: State, rec: int, **fields: object) -> tuple[Outcome, ...]:
    call = s.call("RMI_REC_ENTER", rec, s.ns(), memory=RecEnter(**fields))  # type: ignore[arg-type]
    return permitted(state, call)


def exit_of(outcome: Outcome) -> RecExit:
    assert isinstance(outcome.result, Exited)
    return outcome.result.exit
