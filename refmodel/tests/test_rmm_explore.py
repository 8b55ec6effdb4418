"""The exploration: nothing is violated at small scope, and each mutant of the model violates its invariant."""

from __future__ import annotations

import importlib
from dataclasses import replace

import pytest

from refmodel.mutants import RMM_MUTANTS, Mutant
from refmodel.rmm.calls import HostCall
from refmodel.rmm.explore.canonical import canonical
from refmodel.rmm.explore.invariants import STATE_INVARIANTS, TRANSITION_INVARIANTS
from refmodel.rmm.explore.scope import SCOPES, Scope, calls
from refmodel.rmm.explore.search import describe, explore
from refmodel.rmm.state import State
from refmodel.rmm.step import step, successors

SMALL = Scope(name="small", granules=3, realms=1, recs=0, unprotected=False)
PAGES = Scope(name="pages", granules=5, realms=2, unprotected=False, ripas=False)
TABLES = Scope(name="tables", granules=6, realms=1, recs=0, start_level=2, unprotected=False)
RUNNING = Scope(name="running", granules=5, realms=1, unprotected=False)
DESTROYED = Scope(name="destroyed", granules=5, realms=1, start_level=2, unprotected=False)


def test_a_small_scope_is_complete_and_holds() -> None:
    found = explore(SMALL)
    assert found.violations == []
    assert found.complete
    assert found.states > 20
    assert found.transitions > found.states


def test_the_number_of_states_is_that_of_a_count_by_hand() -> None:
    # One granule: the Host's as at first, delegated holding that, the Host's again wiped, delegated holding nothing.
    found = explore(Scope(name="one", granules=1, realms=1, recs=0))
    assert (found.states, found.transitions) == (4, 4)


def test_a_limit_ends_the_search_and_says_so() -> None:
    found = explore(SMALL, limit=5)
    assert (found.states, found.complete) == (5, False)


def test_names_of_granules_do_not_matter() -> None:
    addresses = SMALL.addresses
    one, other = (
        step(State(), HostCall(0xC4000151, (addr,)), SMALL.parameters)[0].state for addr in (addresses[0], addresses[2])
    )
    assert one != other
    assert canonical(one, addresses) == canonical(other, addresses)
    assert canonical(one, addresses) != canonical(State(), addresses)


def test_successors_are_those_of_step() -> None:
    state = State()
    for scope in SCOPES:
        for call in calls(state, scope):
            by_step = [outcome.state for outcome in step(state, call, scope.parameters) if outcome.state is not state]
            assert list(successors(state, call, scope.parameters)) == by_step


SCOPE_OF = {
    "rmm-table-on-owned-granule": TABLES,
    "rmm-live-table-destroyed": TABLES,
    "rmm-fold-whatever-the-ripas": replace(TABLES, granules=5),
    "rmm-init-ripas-when-active": replace(RUNNING, granules=2),
    "rmm-set-ripas-passes-destroyed": DESTROYED,
    "rmm-set-ripas-beyond-request": RUNNING,
    "rmm-rec-destroy-needs-runnable": Scope(name="rec", granules=3, realms=1, recs=1, unprotected=False, ripas=False),
}
"""Where a mutant needs more than pages and two realms to show; the invariant tells which."""


@pytest.mark.parametrize("mutant", RMM_MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_violates_its_invariant(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    for patch in mutant.patches:
        module = importlib.import_module(patch.module)
        monkeypatch.setattr(module, patch.attribute, patch.make(getattr(module, patch.attribute)))
        if patch.attribute == "RMI_COMMANDS":
            # The search describes calls by the same table.
            monkeypatch.setattr("refmodel.rmm.explore.search.RMI_COMMANDS", module.RMI_COMMANDS)
    found = explore(SCOPE_OF.get(mutant.name, PAGES), limit=20_000)
    assert found.violations, "the invariant does not notice"
    assert mutant.rules[0] in {violation.invariant for violation in found.violations}


def test_a_counter_example_is_a_sequence_of_calls_that_leads_there(monkeypatch: pytest.MonkeyPatch) -> None:
    mutant = next(mutant for mutant in RMM_MUTANTS if mutant.name == "rmm-delegate-leaves-gpt")
    module = importlib.import_module(mutant.patches[0].module)
    monkeypatch.setattr(module, "RMI_COMMANDS", mutant.patches[0].make(module.RMI_COMMANDS))
    (violation,) = explore(SMALL).violations[:1]
    assert [describe(call) for call in violation.calls] == [f"RMI_GRANULE_DELEGATE {SMALL.addresses[0]:#x}"]
    assert str(violation) == (
        f"gpt_follows_state: granule {SMALL.addresses[0]:#x} is DELEGATED with GPT entry NS\n"
        f"  1. RMI_GRANULE_DELEGATE {SMALL.addresses[0]:#x}"
    )


def test_every_invariant_has_a_mutant() -> None:
    names = {invariant.__name__ for invariant in (*STATE_INVARIANTS, *TRANSITION_INVARIANTS)} | {"no_state_is_a_trap"}
    assert names == {mutant.rules[0] for mutant in RMM_MUTANTS}
