"""PSCI calls of a realm, answered by the RMM or by way of the Host; results written by hand."""

from __future__ import annotations

import pytest

from refmodel.rmm.calls import (
    HostCall,
    RealmHvc,
    RealmSmc,
)
from refmodel.rmm.results import Entered, SmcResult
from refmodel.rmm.rmi_rec import RecIndex, mpidr_of
from refmodel.rmm.scenario import UNPROTECTED, Script
from refmodel.rmm.state import State
from refmodel.rmm.step import BY_NAME, step
from refmodel.rmm.types import ExitReason, Psci, RealmState
from refmodel.tests.rmm_running import (
    MINUS_ONE,
    PSCI,
    enter,
    exit_of,
)
from refmodel.tests.rmm_worlds import PARAMETERS, only, permitted, script

# PSCI --------------------------------------------------------------------------------------------------------------


def two_recs() -> tuple[Script, State, int, int, int]:
    s = script()
    rd = s.realm()
    rec, other = s.rec(rd), s.rec(rd, 1, runnable=False)
    s.activate(rd)
    s.enter(rec)
    return s, s.run(), rd, rec, other


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ((PSCI["VERSION"],), {0x10001}),
        ((PSCI["FEATURES"], PSCI["CPU_ON"]), {0}),
        ((PSCI["FEATURES"], PSCI["SYSTEM_RESET"]), {0}),
        ((PSCI["FEATURES"], 0x84000006), {MINUS_ONE}),
        ((PSCI["FEATURES"], 0x80000000), {0, MINUS_ONE}),
        ((0x84000006,), {MINUS_ONE}),
        ((PSCI["CPU_ON"], 1, UNPROTECTED, 0), {MINUS_ONE - 8}),
        ((PSCI["CPU_ON"], 2, 0, 0), {MINUS_ONE - 1}),
        ((PSCI["CPU_ON"], 0, 0, 0), {MINUS_ONE - 3}),
        ((PSCI["AFFINITY_INFO"], 1, 1), {MINUS_ONE - 1}),
        ((PSCI["AFFINITY_INFO"], 2, 0), {MINUS_ONE - 1}),
        ((PSCI["AFFINITY_INFO"], 0, 0), {0}),
    ],
)
def test_psci_answered_by_the_rmm(args: tuple[int, ...], expected: set[int]) -> None:
    _, state, _, rec, _ = two_recs()
    outcomes = permitted(state, RealmSmc(rec, args))
    assert {outcome.result for outcome in outcomes} == {SmcResult(value) for value in expected}
    assert all(outcome.state == state for outcome in outcomes)


def test_cpu_on() -> None:
    s, state, _, rec, other = two_recs()
    outcomes = permitted(state, RealmSmc(rec, (PSCI["CPU_ON"], 1, 0x4000, 0x77)))
    told = {exit_of(outcome).gprs[:5] for outcome in outcomes}
    assert told == {(PSCI["CPU_ON"], 1, 0x4000, 0x77, 0), (PSCI["CPU_ON"], 1, 0, 0, 0)}
    assert all(exit_of(outcome).exit_reason is ExitReason.RMI_EXIT_PSCI for outcome in outcomes)
    state = outcomes[0].state
    assert state.recs[rec].psci_pending
    done = only(state, s.call("RMI_PSCI_COMPLETE", rec, other, 0)).state
    started = done.recs[other]
    assert (started.runnable, started.pc, started.gprs) == (True, 0x4000, (0x77, *(0,) * 31))
    assert done.recs[rec].gprs[:4] == (0, 0, 0, 0)
    (entered,) = enter(s, done, rec)
    assert isinstance(entered.result, Entered)
    assert entered.result.gprs[0] == 0


def test_cpu_on_denied_by_the_host() -> None:
    s, state, _, rec, other = two_recs()
    state = permitted(state, RealmSmc(rec, (PSCI["CPU_ON"], 1, 0, 0)))[0].state
    done = only(state, s.call("RMI_PSCI_COMPLETE", rec, other, MINUS_ONE - 2)).state
    assert done.recs[rec].gprs[0] == MINUS_ONE - 2
    assert not done.recs[other].runnable


def test_cpu_on_of_a_runnable_rec() -> None:
    s = script()
    rd = s.realm()
    rec, other = s.rec(rd), s.rec(rd, 1)
    s.activate(rd)
    s.enter(rec)
    outcomes = permitted(s.run(), RealmSmc(rec, (PSCI["CPU_ON"], 1, 0, 0)))
    # The result is fixed; when the RMM finds out is not.
    assert {str(outcome.result) for outcome in outcomes} == {
        f"X0 = {MINUS_ONE - 3:#x}",
        "RMI_SUCCESS, RMI_EXIT_PSCI",
    }
    state = outcomes[-1].state
    assert str(only(state, s.call("RMI_PSCI_COMPLETE", rec, other, MINUS_ONE - 2)).result) == "RMI_ERROR_INPUT"
    done = only(state, s.call("RMI_PSCI_COMPLETE", rec, other, 0)).state
    assert done.recs[rec].gprs[0] == MINUS_ONE - 3


@pytest.mark.parametrize(("runnable", "code"), [(True, 0), (False, 1)])
def test_affinity_info(runnable: bool, code: int) -> None:
    s = script()
    rd = s.realm()
    rec, other = s.rec(rd), s.rec(rd, 1, runnable=runnable)
    s.activate(rd)
    s.enter(rec)
    (outcome,) = permitted(s.run(), RealmSmc(rec, (PSCI["AFFINITY_INFO"], 1, 0)))
    done = only(outcome.state, s.call("RMI_PSCI_COMPLETE", rec, other, 0)).state
    assert done.recs[rec].gprs[0] == code


def test_a_denial_is_for_cpu_on_only() -> None:
    s, state, _, rec, other = two_recs()
    (outcome,) = permitted(state, RealmSmc(rec, (PSCI["AFFINITY_INFO"], 1, 0)))
    assert str(only(outcome.state, s.call("RMI_PSCI_COMPLETE", rec, other, MINUS_ONE - 2)).result) == "RMI_ERROR_INPUT"


def test_cpu_off() -> None:
    s, state, _, rec, _ = two_recs()
    outcome = only(state, RealmSmc(rec, (PSCI["CPU_OFF"],)))
    assert exit_of(outcome).gprs[:2] == (PSCI["CPU_OFF"], 0)
    assert not outcome.state.recs[rec].runnable
    assert not outcome.state.recs[rec].psci_pending
    (entered,) = enter(s, outcome.state, rec)
    assert str(entered.result) == "RMI_ERROR_REC"


def test_cpu_suspend() -> None:
    s, state, _, rec, _ = two_recs()
    outcomes = permitted(state, RealmSmc(rec, (PSCI["CPU_SUSPEND"], 3, 0x4000, 5)))
    assert {exit_of(outcome).gprs[:4] for outcome in outcomes} == {
        (PSCI["CPU_SUSPEND"], 3, 0x4000, 5),
        (PSCI["CPU_SUSPEND"], 0, 0, 0),
    }
    (entered,) = enter(s, outcomes[0].state, rec)
    assert isinstance(entered.result, Entered)
    assert entered.result.gprs[0] == Psci.PSCI_SUCCESS


@pytest.mark.parametrize("function", ["SYSTEM_OFF", "SYSTEM_RESET"])
def test_system_off_and_reset(function: str) -> None:
    s, state, rd, rec, _ = two_recs()
    outcome = only(state, RealmSmc(rec, (PSCI[function],)))
    assert exit_of(outcome).gprs[0] == PSCI[function]
    assert outcome.state.realms[rd].state is RealmState.REALM_SYSTEM_OFF
    (entered,) = enter(s, outcome.state, rec)
    assert str(entered.result) == "RMI_ERROR_REALM 1"


@pytest.mark.parametrize(("index", "mpidr"), [(0, 0), (15, 15), (16, 0x100), (4096, 0x10000), (1 << 20, 1 << 24)])
def test_rec_index_and_mpidr(index: int, mpidr: int) -> None:
    assert mpidr_of(index) == mpidr
    assert RecIndex(mpidr) == index
    # Aff0[7:4] is no part of the index.
    assert RecIndex(mpidr | 0xF0) == index


def test_an_event_of_a_rec_that_does_not_run_is_refused() -> None:
    _s, state, _, _rec, other = two_recs()
    with pytest.raises(ValueError, match=f"no REC runs at {other:#x}"):
        step(state, RealmHvc(other), PARAMETERS)


def test_the_sve_hint_changes_nothing() -> None:
    _s, state, rd, _, _ = two_recs()
    fid = BY_NAME["RMI_REC_AUX_COUNT"].fid | 1 << 16
    assert str(only(state, HostCall(fid, (rd,))).result) == "RMI_SUCCESS 2"
