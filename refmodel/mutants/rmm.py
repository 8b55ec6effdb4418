"""Mutants of the RMM model that break its security: each violates an invariant of the exploration.

They are no faults of a machine under test, so no suite hunts them: ``rules`` holds the invariants that must find them.
Those that the suite of RMI commands hunts are in ``rmi``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from refmodel.mutants.mutant import Mutant, Original, Patch
from refmodel.rmm.command import Command, Condition, Success, failed
from refmodel.rmm.context import Context
from refmodel.rmm.state import UNASSIGNED_EMPTY, State
from refmodel.rmm.types import Gpt, Rmi

_STEP, _RTT = "refmodel.rmm.step", "refmodel.rmm.rmi_rtt"
_RIPAS = "refmodel.rmm.rmi_ripas"


def changed(
    name: str, change: Callable[[Command], Command], *, table: str = "RMI_COMMANDS", prefix: str = "RMI_"
) -> Patch:
    """A command, by its name without the prefix, put in its table in another form."""

    def make(original: Original) -> Any:
        (fid,) = (fid for fid, command in original.items() if command.name == prefix + name)
        return {**original, fid: change(original[fid])}

    return Patch(_STEP, table, make)


def without(*labels: str) -> Callable[[Command], Command]:
    """A command without some of its failure conditions."""

    def change(command: Command) -> Command:
        kept = tuple(condition for condition in command.conditions if condition.label not in labels)
        order = tuple(
            (tuple(label for label in before if label not in labels), tuple(x for x in after if x not in labels))
            for before, after in command.order
        )
        return replace(command, conditions=kept, order=order)

    return change


def then(change_state: Callable[[Context, State], State]) -> Callable[[Command], Command]:
    """A command whose successes leave another state."""

    def change(command: Command) -> Command:
        def success(c: Context) -> Iterable[Success]:
            return [made._replace(state=change_state(c, made.state)) for made in command.success(c)]

        return replace(command, success=success)

    return change


def _mutant(name: str, invariant: str, *patches: Patch) -> Mutant:
    return Mutant(f"rmm-{name}", "rmm", (invariant,), patches)


def _content_stays(address: str) -> Callable[[Context, State], State]:
    def change(c: Context, after: State) -> State:
        addr = getattr(c, address)
        return after.with_granule(addr, after.granule(addr)._replace(content=c.state.granule(addr).content))

    return change


def _still_non_secure(c: Context, after: State) -> State:
    return after.with_granule(c.addr, after.granule(c.addr)._replace(gpt=Gpt.GPT_NS))


def _count_stays(c: Context, after: State) -> State:
    rec = c.the_rec
    realm = after.realms[rec.owner]
    return after.with_realm(rec.owner, realm._replace(num_recs=realm.num_recs + 1))


def _left_empty(c: Context, after: State) -> State:
    return after.with_entry(c.walk.rtt_addr, c.walk.entry_idx, UNASSIGNED_EMPTY)


def _data_stays(c: Context, after: State) -> State:
    return after.with_granule(c.rtte.addr, c.state.granule(c.rtte.addr))


def _folds_whatever_the_ripas(original: Original) -> Any:
    def fold(rtt: Any, level: int, stride: int) -> Any:
        return original(tuple(entry._replace(ripas=rtt[0].ripas) for entry in rtt), level, stride)

    return fold


def _passes_destroyed(original: Original) -> Any:
    return lambda rtt, walk, base, top, stop_at_destroyed, stride: original(rtt, walk, base, top, False, stride)


def _needs_runnable(command: Command) -> Command:
    condition = Condition("runnable", lambda c: not c.the_rec.runnable, failed(Rmi.RMI_ERROR_REC))
    return replace(command, conditions=(*command.conditions, condition))


RMM_MUTANTS: tuple[Mutant, ...] = (
    _mutant("undelegate-not-wiped", "host_reads_nothing", changed("GRANULE_UNDELEGATE", then(_content_stays("addr")))),
    _mutant("undelegate-in-any-state", "one_owner", changed("GRANULE_UNDELEGATE", without("gran_state"))),
    _mutant("delegate-leaves-gpt", "gpt_follows_state", changed("GRANULE_DELEGATE", then(_still_non_secure))),
    _mutant("data-state-unchecked", "one_owner", changed("DATA_CREATE_UNKNOWN", without("data_state"))),
    _mutant("rtte-state-unchecked", "one_owner", changed("DATA_CREATE_UNKNOWN", without("rtte_state"))),
    _mutant("unknown-data-not-wiped", "unknown_content_is_wiped",
            changed("DATA_CREATE_UNKNOWN", then(_content_stays("data")))),
    _mutant("data-not-overwritten", "nothing_reaches_the_next", changed("DATA_CREATE", then(_content_stays("data")))),
    _mutant("rec-on-owned-granule", "one_owner", changed("REC_CREATE", without("rec_state"))),
    _mutant("table-on-owned-granule", "one_owner", changed("RTT_CREATE", without("rtt_state"))),
    _mutant("realm-on-owned-table", "one_owner", changed("REALM_CREATE", without("rtt_state"))),
    _mutant("alias-accepted", "one_owner", changed("REALM_CREATE", without("alias"))),
    _mutant("rec-count-stays", "liveness_counts_recs", changed("REC_DESTROY", then(_count_stays))),
    _mutant("live-realm-destroyed", "one_owner", changed("REALM_DESTROY", without("realm_live"))),
    _mutant("live-table-destroyed", "one_owner", changed("RTT_DESTROY", without("rtt_live"))),
    _mutant("vmid-shared", "vmids_are_unique", changed("REALM_CREATE", without("vmid_valid"))),
    _mutant("new-realm-entered", "recs_run_in_active_realms", changed("REC_ENTER", without("realm_new"))),
    _mutant("data-create-when-active", "measurements_change_by_measured_commands",
            changed("DATA_CREATE", without("realm_state"))),
    _mutant("init-ripas-when-active", "measurements_change_by_measured_commands",
            changed("RTT_INIT_RIPAS", without("realm_state"))),
    _mutant("rec-create-when-active", "measurements_change_by_measured_commands",
            changed("REC_CREATE", without("realm_state"))),
    _mutant("destroyed-data-is-empty", "the_host_cannot_change_memory", changed("DATA_DESTROY", then(_left_empty))),
    _mutant("data-destroy-keeps-granule", "one_owner", changed("DATA_DESTROY", then(_data_stays))),
    _mutant("fold-whatever-the-ripas", "the_host_cannot_change_memory",
            Patch(_RTT, "RttFold", _folds_whatever_the_ripas)),
    _mutant("set-ripas-passes-destroyed", "the_host_cannot_change_memory",
            Patch(_RIPAS, "RttSkipEntriesWithRipas", _passes_destroyed)),
    _mutant("set-ripas-beyond-request", "the_host_cannot_change_memory",
            changed("RTT_SET_RIPAS", without("base_bound", "top_bound"))),
    _mutant("rec-destroy-needs-runnable", "no_state_is_a_trap", changed("REC_DESTROY", _needs_runnable)),
)  # fmt: skip
"""Each names the invariant that finds it."""
