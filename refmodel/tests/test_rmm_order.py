"""The partial order of failure conditions: what may be seen when several hold."""

from __future__ import annotations

import pytest

from refmodel.rmm.calls import RecEnter
from refmodel.rmm.command import Command, Condition, Maybe, Success, failed
from refmodel.rmm.context import Context, IllFormed
from refmodel.rmm.results import RmiResult
from refmodel.rmm.scenario import UNPROTECTED
from refmodel.rmm.state import State
from refmodel.rmm.types import Rmi
from refmodel.tests.rmm_worlds import OUTSIDE, PARAMETERS, permitted, script

INPUT, REALM, REC = failed(Rmi.RMI_ERROR_INPUT), failed(Rmi.RMI_ERROR_REALM), failed(Rmi.RMI_ERROR_REC)


def results(command: Command) -> set[str]:
    context = Context(State(), PARAMETERS, (), (), command.walk)
    return {str(outcome.result) for outcome in command.permitted(context)}


def command(*conditions: Condition, order: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = ()) -> Command:
    return Command(
        name="C", fid=0, section="-", conditions=conditions, order=order, success=lambda c: [Success(c.state)]
    )


def ill_formed(_: Context) -> bool:
    raise IllFormed


A = Condition("a", lambda c: True, INPUT)
B = Condition("b", lambda c: True, REALM)
NOT_A = Condition("a", lambda c: False, INPUT)
MAYBE_A = Condition("a", lambda c: Maybe("open"), INPUT)
MAYBE_B = Condition("b", lambda c: Maybe("open"), REALM)


def test_without_an_order_either_may_be_seen() -> None:
    assert results(command(A, B)) == {"RMI_ERROR_INPUT", "RMI_ERROR_REALM"}


def test_what_precedes_is_seen_alone() -> None:
    assert results(command(A, B, order=((("a",), ("b",)),))) == {"RMI_ERROR_INPUT"}


def test_an_order_needs_its_first_condition_to_hold() -> None:
    assert results(command(NOT_A, B, order=((("a",), ("b",)),))) == {"RMI_ERROR_REALM"}


def test_no_condition_is_success() -> None:
    assert results(command(NOT_A)) == {"RMI_SUCCESS"}


def test_an_open_condition_may_be_seen_or_not() -> None:
    assert results(command(MAYBE_A)) == {"RMI_ERROR_INPUT", "RMI_SUCCESS"}
    assert results(command(A, MAYBE_B)) == {"RMI_ERROR_INPUT", "RMI_ERROR_REALM"}
    assert results(command(A, MAYBE_B, order=((("a",), ("b",)),))) == {"RMI_ERROR_INPUT"}
    assert results(command(MAYBE_A, B, order=((("a",), ("b",)),))) == {"RMI_ERROR_INPUT", "RMI_ERROR_REALM"}


def test_what_is_not_well_formed_is_not_seen() -> None:
    assert results(command(Condition("a", ill_formed, INPUT))) == {"RMI_SUCCESS"}
    assert results(command(Condition("a", ill_formed, INPUT), B)) == {"RMI_ERROR_REALM"}


def test_equal_results_are_one_outcome_with_both_labels() -> None:
    made = command(A, Condition("c", lambda c: True, INPUT))
    (outcome,) = made.permitted(Context(State(), PARAMETERS, (), (), made.walk))
    assert outcome.result == RmiResult(Rmi.RMI_ERROR_INPUT)
    assert outcome.reason == "a|c"


def test_an_order_that_names_no_condition_is_refused() -> None:
    with pytest.raises(ValueError, match="C: the order names x, which is no condition"):
        command(A, order=((("a",), ("x",)),))


def test_a_label_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="C: a label stands twice"):
        command(A, A)


def test_data_create_ipa_bound_hides_the_walk_and_not_the_realm_state() -> None:
    s = script()
    rd = s.realm()
    s.activate(rd)
    data, src = s.granule(), s.ns()
    call = s.call("RMI_DATA_CREATE", rd, data, UNPROTECTED, src, 0)
    assert {str(o.result) for o in permitted(s.run(), call)} == {"RMI_ERROR_INPUT", "RMI_ERROR_REALM"}


def test_data_create_realm_state_and_walk_are_not_ordered() -> None:
    s = script()
    rd = s.realm()
    s.activate(rd)
    data, src = s.granule(), s.ns()
    call = s.call("RMI_DATA_CREATE", rd, data, 0, src, 0)
    assert {str(o.result) for o in permitted(s.run(), call)} == {"RMI_ERROR_REALM", "RMI_ERROR_RTT 1"}


def test_data_create_a_bad_descriptor_hides_everything_about_the_realm() -> None:
    s = script()
    data, src = s.granule(), s.ns()
    call = s.call("RMI_DATA_CREATE", OUTSIDE, data, UNPROTECTED, src, 0)
    assert {str(o.result) for o in permitted(s.run(), call)} == {"RMI_ERROR_INPUT"}


def test_rec_enter_inputs_come_first_and_states_in_any_order() -> None:
    s = script()
    rd = s.realm()
    rec = s.rec(rd, runnable=False)
    run = s.ns()
    state = s.run()
    good = s.call("RMI_REC_ENTER", rec, run, memory=RecEnter(gicv3_hcr=1))
    assert {str(o.result) for o in permitted(state, good)} == {"RMI_ERROR_REALM", "RMI_ERROR_REC"}
    bad = s.call("RMI_REC_ENTER", rec, run + 8, memory=RecEnter(gicv3_hcr=1))
    assert {str(o.result) for o in permitted(state, bad)} == {"RMI_ERROR_INPUT"}


def test_emulated_mmio_beside_an_injected_abort_is_open() -> None:
    s = script()
    rd = s.realm()
    rec = s.rec(rd)
    s.activate(rd)
    call = s.call("RMI_REC_ENTER", rec, s.ns(), memory=RecEnter(emul_mmio=True, inject_sea=True))
    assert {str(o.result) for o in permitted(s.run(), call)} == {"RMI_ERROR_REC", "entered, pc 0x0"}
