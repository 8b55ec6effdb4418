"""RSI: host calls, RIPAS changes, measurements, attestation; results written by hand."""

from __future__ import annotations

import pytest

from refmodel.rmm.calls import (
    HostCallData,
    RealmInterrupt,
    RealmSmc,
)
from refmodel.rmm.measurement import HashAlgorithm, RemExtend, RemRule
from refmodel.rmm.results import UNDEFINED, Entered, RsiResult, Within
from refmodel.rmm.scenario import UNPROTECTED
from refmodel.rmm.types import ExitReason, Ripas, Rsi
from refmodel.tests.rmm_running import (
    DATA_ABORT,
    EXIT,
    MINUS_ONE,
    PAGE,
    RSI,
    enter,
    exit_of,
    world,
)
from refmodel.tests.rmm_worlds import only, permitted

# Host calls --------------------------------------------------------------------------------------------------------


def test_host_call_and_its_answer() -> None:
    s, state, _, rec = world()
    data = HostCallData(0x1234, tuple(range(100, 131)))
    outcome = only(state, RealmSmc(rec, (RSI["HOST_CALL"], 0x100), data))
    told = exit_of(outcome)
    assert (told.exit_reason, told.imm, told.gprs) == (
        ExitReason.RMI_EXIT_HOST_CALL,
        0x1234,
        tuple(range(100, 131)),
    )
    assert outcome.state.recs[rec].host_call_pending
    (entered,) = enter(s, outcome.state, rec, gprs=(7,) * 31)
    assert isinstance(entered.result, Entered)
    assert entered.result.gprs[:4] == (0, 0, 0, 0)
    assert not entered.state.recs[rec].host_call_pending


def test_a_host_call_whose_structure_is_gone_exits_again() -> None:
    s, state, rd, rec = world()
    state = only(state, RealmSmc(rec, (RSI["HOST_CALL"], 0x100))).state
    state = only(state, s.call("RMI_DATA_DESTROY", rd, 0)).state
    (outcome,) = enter(s, state, rec)
    told = exit_of(outcome)
    assert (told.exit_reason, told.esr, told.hpfar) == (ExitReason.RMI_EXIT_SYNC, DATA_ABORT | 0b000111, 0)
    assert outcome.state.recs[rec].host_call_pending


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (0x80, {"RSI_ERROR_INPUT"}),
        (UNPROTECTED, {"RSI_ERROR_INPUT"}),
        (2 * PAGE, {EXIT}),
        (3 * PAGE, {EXIT}),
        (5 * PAGE, {"RSI_ERROR_INPUT", EXIT}),
    ],
)
def test_host_call_conditions(address: int, expected: set[str]) -> None:
    _, state, _, rec = world()
    outcomes = permitted(state, RealmSmc(rec, (RSI["HOST_CALL"], address)))
    assert {str(outcome.result) for outcome in outcomes} == expected


# RIPAS changes -----------------------------------------------------------------------------------------------------


def test_ripas_change_accepted() -> None:
    s, state, rd, rec = world()
    outcome = only(state, RealmSmc(rec, (RSI["IPA_STATE_SET"], 5 * PAGE, 8 * PAGE, 1, 0)))
    told = exit_of(outcome)
    assert told.exit_reason is ExitReason.RMI_EXIT_RIPAS_CHANGE
    assert (told.ripas_base, told.ripas_top, told.ripas_value) == (5 * PAGE, 8 * PAGE, Ripas.RAM)
    pending = outcome.state.recs[rec]
    assert (pending.ripas_addr, pending.ripas_top, pending.ripas_value) == (5 * PAGE, 8 * PAGE, Ripas.RAM)
    done = only(outcome.state, s.call("RMI_RTT_SET_RIPAS", rd, rec, 5 * PAGE, 7 * PAGE))
    assert str(done.result) == "RMI_SUCCESS 7000"
    assert done.state.recs[rec].ripas_addr == 7 * PAGE
    (entered,) = enter(s, done.state, rec)
    assert isinstance(entered.result, Entered)
    assert entered.result.gprs[:17] == (0, 7 * PAGE, 0, *(0,) * 14)
    left = only(entered.state, RealmInterrupt(rec)).state.recs[rec]
    assert (left.ripas_addr, left.ripas_top) == (0, 0)


@pytest.mark.parametrize(("ripas", "reached", "response"), [(1, 8, 0), (1, 7, 1), (0, 7, 0)])
def test_a_rejection_counts_for_ram_that_is_not_done(ripas: int, reached: int, response: int) -> None:
    s, state, rd, rec = world()
    state = only(state, RealmSmc(rec, (RSI["IPA_STATE_SET"], 6 * PAGE, 8 * PAGE, ripas, 0))).state
    state = only(state, s.call("RMI_RTT_SET_RIPAS", rd, rec, 6 * PAGE, reached * PAGE)).state
    (entered,) = enter(s, state, rec, ripas_response=1)
    assert isinstance(entered.result, Entered)
    assert entered.result.gprs[:3] == (0, reached * PAGE, response)


@pytest.mark.parametrize(
    ("flags", "base", "top", "expected"),
    [
        # DESTROYED at pages 3 and 4 is passed over only if the realm said so.
        (0, 2, 6, {"RMI_SUCCESS 3000"}),
        (1, 2, 6, {"RMI_SUCCESS 6000"}),
        (0, 3, 6, {"RMI_ERROR_RTT 3 <Undefined.UNDEFINED>"}),
        (1, 3, 6, {"RMI_SUCCESS 6000"}),
    ],
)
def test_set_ripas_and_destroyed(flags: int, base: int, top: int, expected: set[str]) -> None:
    s, state, rd, rec = world()
    state = only(state, RealmSmc(rec, (RSI["IPA_STATE_SET"], base * PAGE, top * PAGE, 1, flags))).state
    outcomes = permitted(state, s.call("RMI_RTT_SET_RIPAS", rd, rec, base * PAGE, top * PAGE))
    assert {str(outcome.result) for outcome in outcomes} == expected


def test_set_ripas_changes_assigned_entries_too() -> None:
    s, state, rd, rec = world()
    state = only(state, RealmSmc(rec, (RSI["IPA_STATE_SET"], 0, 2 * PAGE, 1, 0))).state
    state = only(state, s.call("RMI_RTT_SET_RIPAS", rd, rec, 0, 2 * PAGE)).state
    for page in (0, 1):
        read = only(state, s.call("RMI_RTT_READ_ENTRY", rd, page * PAGE, 3)).result
        assert str(read).startswith("RMI_SUCCESS 3 1 ")
        assert str(read).endswith(" 1")


@pytest.mark.parametrize(
    "args",
    [
        (1, 2 * PAGE, 1, 0),
        (0, PAGE + 1, 1, 0),
        (PAGE, PAGE, 1, 0),
        (0, UNPROTECTED + PAGE, 1, 0),
        (0, PAGE, 2, 0),
        (0, PAGE, 3, 0),
    ],
)
def test_ipa_state_set_conditions(args: tuple[int, ...]) -> None:
    _, state, _, rec = world()
    outcome = only(state, RealmSmc(rec, (RSI["IPA_STATE_SET"], *args)))
    assert outcome.result == RsiResult(Rsi.RSI_ERROR_INPUT, (UNDEFINED, UNDEFINED))


@pytest.mark.parametrize(
    ("base", "top", "highest", "ripas"), [(0, 8, 1, 1), (1, 8, 2, 0), (2, 3, 3, 1), (3, 8, 5, 2), (5, 16, 16, 0)]
)
def test_ipa_state_get(base: int, top: int, highest: int, ripas: int) -> None:
    _, state, _, rec = world()
    outcome = only(state, RealmSmc(rec, (RSI["IPA_STATE_GET"], base * PAGE, top * PAGE)))
    assert outcome.result == RsiResult(Rsi.RSI_SUCCESS, (Within(base * PAGE + 1, highest * PAGE), ripas))


# Measurements, attestation, the rest of RSI ------------------------------------------------------------------------


def test_measurement_read_and_extend() -> None:
    _, state, rd, rec = world()
    rim = state.realms[rd].measurements[0]
    read = only(state, RealmSmc(rec, (0xC4000192, 0))).result
    assert read == RsiResult(
        Rsi.RSI_SUCCESS, tuple(int.from_bytes(rim[at : at + 8], "little") for at in range(0, 64, 8))
    )
    value = int.from_bytes(b"abcdefgh", "little")
    outcomes = permitted(state, RealmSmc(rec, (0xC4000193, 2, 3, value, *(0,) * 7)))
    expected = {
        RemExtend(HashAlgorithm.SHA_256, bytes(64), b"abc", rule)
        for rule in (RemRule.PADDED_FULL, RemRule.PADDED_DIGEST)
    }
    assert {outcome.state.realms[rd].measurements[2] for outcome in outcomes} == expected
    assert {outcome.result for outcome in outcomes} == {RsiResult(Rsi.RSI_SUCCESS)}


@pytest.mark.parametrize("args", [(0xC4000192, 5), (0xC4000193, 0, 1), (0xC4000193, 5, 1), (0xC4000193, 1, 65)])
def test_measurement_conditions(args: tuple[int, ...]) -> None:
    _, state, _, rec = world()
    outcome = only(state, RealmSmc(rec, args))
    assert isinstance(outcome.result, RsiResult)
    assert outcome.result.status is Rsi.RSI_ERROR_INPUT
    assert outcome.state == state


def test_attestation_token() -> None:
    _, state, _, rec = world()
    go_on = RealmSmc(rec, (0xC4000195, 0, 0, PAGE))
    # A failure for an IMPDEF reason is always permitted.
    before = {str(outcome.result).split()[0] for outcome in permitted(state, go_on)}
    assert before == {"RSI_ERROR_STATE", "RSI_ERROR_UNKNOWN"}
    state = only(state, RealmSmc(rec, (0xC4000194, *range(1, 9)))).state
    assert state.recs[rec].attest_in_progress
    assert state.recs[rec].attest_challenge == tuple(range(1, 9))
    after = {
        str(outcome.result).split()[0]: outcome.state.recs[rec].attest_in_progress
        for outcome in permitted(state, go_on)
    }
    assert after == {"RSI_INCOMPLETE": True, "RSI_SUCCESS": False, "RSI_ERROR_UNKNOWN": True}


@pytest.mark.parametrize("args", [(8, 0, 8), (UNPROTECTED, 0, 8), (0, PAGE, 0), (0, 8, MINUS_ONE), (0, 8, PAGE - 7)])
def test_attestation_conditions(args: tuple[int, ...]) -> None:
    _, state, _, rec = world()
    state = only(state, RealmSmc(rec, (0xC4000194, *(0,) * 8))).state
    found = {str(outcome.result).split()[0] for outcome in permitted(state, RealmSmc(rec, (0xC4000195, *args)))}
    assert found == {"RSI_ERROR_INPUT", "RSI_ERROR_UNKNOWN"}


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ((0xC4000190, 0x10000), "RSI_SUCCESS 10000 10000"),
        ((0xC4000190, 0x10001), "RSI_ERROR_INPUT 10000 10000"),
        ((0xC4000191, 0), "RSI_SUCCESS 0"),
        ((RSI["REALM_CONFIG"], 0), "RSI_SUCCESS"),
        ((RSI["REALM_CONFIG"], 8), "RSI_ERROR_INPUT"),
        ((RSI["REALM_CONFIG"], UNPROTECTED), "RSI_ERROR_INPUT"),
        ((RSI["REALM_CONFIG"], 2 * PAGE), EXIT),
        ((0xC4000150, 0x10000), f"X0 = {MINUS_ONE:#x}"),
    ],
)
def test_other_rsi(args: tuple[int, ...], expected: str) -> None:
    _, state, _, rec = world()
    assert str(only(state, RealmSmc(rec, args)).result) == expected
