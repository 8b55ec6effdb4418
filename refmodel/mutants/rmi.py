"""Mutants of the RMM model that ``suites/rmi`` hunts: an RMM, or a realm under it, with one command gone wrong.

There is at least one for every rule.  That every single failure condition is noticed when it is missing is shown by
``harness/tests/test_rmi_conditions.py``, in one process and so in seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from refmodel.mutants.mutant import Mutant, Original, Patch
from refmodel.mutants.rmm import changed, then, without
from refmodel.rmm.command import Command, Success
from refmodel.rmm.context import Context
from refmodel.rmm.results import Output, RmiResult, RsiResult, SmcResult
from refmodel.rmm.state import UNASSIGNED_EMPTY, State
from refmodel.rmm.types import RealmState, Ripas, Rmi, Rsi
from refmodel.rules import Rule

_ACCESS, _ENTER, _GRANULE = "refmodel.rmm.access", "refmodel.rmm.rmi_enter", "refmodel.rmm.rmi_granule"
_RSI, _REALM, _RTT = "refmodel.rmm.rsi", "refmodel.rmm.rmi_realm", "refmodel.rmm.rmi_rtt"


def _mutant(name: str, rule: Rule, *patches: Patch) -> Mutant:
    return Mutant(f"rmi-{name}", "rmi", (rule.value,), patches)


def _outputs(change: Callable[[tuple[Output, ...]], tuple[Output, ...]]) -> Callable[[Command], Command]:
    """A command whose successes report other outputs."""

    def command_changed(command: Command) -> Command:
        def success(c: Context) -> Iterable[Success]:
            for made in command.success(c):
                result = made.result or RmiResult(Rmi.RMI_SUCCESS, 0, made.outputs)
                if isinstance(result, RmiResult | RsiResult):
                    result = result._replace(outputs=change(result.outputs))
                yield made._replace(result=result)

        return replace(command, success=success)

    return command_changed


def _answers(x0: int) -> Callable[[Command], Command]:
    """A PSCI function that the RMM answers itself, whatever it should do."""

    def command_changed(command: Command) -> Command:
        return replace(command, success=lambda c: [Success(c.state, result=SmcResult(x0))])

    return command_changed


def _succeeds(*outputs: Output) -> Callable[[Command], Command]:
    """An RSI command that reports success and does nothing."""

    def command_changed(command: Command) -> Command:
        result = RsiResult(Rsi.RSI_SUCCESS, outputs)
        return replace(command, conditions=(), order=(), success=lambda c: [Success(c.state, result=result)])

    return command_changed


def _index_0_too(command: Command) -> Command:
    bound = next(condition for condition in command.conditions if condition.label == "index_bound")
    others = tuple(condition for condition in command.conditions if condition is not bound)
    return replace(command, conditions=(bound._replace(pre=lambda c: c.index > 4), *others))


def _entry(**fields: Any) -> Callable[[Context, State], State]:
    """A state in which the entry that the command's walk reached has other fields."""

    def change(c: Context, after: State) -> State:
        walk = c.walk
        entry = after.rtts[walk.rtt_addr][walk.entry_idx]
        return after.with_entry(walk.rtt_addr, walk.entry_idx, entry._replace(**fields))

    return change


def _still_new(c: Context, after: State) -> State:
    return after.with_realm(c.rd, after.realms[c.rd]._replace(state=RealmState.REALM_NEW))


def _table_stays(c: Context, after: State) -> State:
    rtt = c.rtte.addr
    return after.with_granule(rtt, c.state.granule(rtt))


def _aux_stay(c: Context, after: State) -> State:
    for addr in c.the_rec.aux:
        after = after.with_granule(addr, c.state.granule(addr))
    return after


def _index_stays(c: Context, after: State) -> State:
    return after.with_realm(c.rd, after.realms[c.rd]._replace(rec_index=c.realm.rec_index))


def _whole_table_empty(c: Context, after: State) -> State:
    table = after.rtts[c.rtt]
    return after._replace(rtts=after.rtts.set(c.rtt, (UNASSIGNED_EMPTY,) * len(table)))


def _target_not_started(c: Context, after: State) -> State:
    target = after.recs[c.target_rec]
    return after.with_rec(c.target_rec, target._replace(runnable=c.state.recs[c.target_rec].runnable))


def _still_pending(c: Context, after: State) -> State:
    return after.with_rec(c.calling_rec, after.recs[c.calling_rec]._replace(psci_pending=True))


def _always_compatible(original: Original) -> Any:
    return lambda supported, requested: (True, requested & 0x7FFFFFFF, 0x10000)


def _exit_tells_all(original: Original) -> Any:
    return lambda esr, emulatable, unprotected: esr


def _empty_leaves(original: Original) -> Any:
    """EMPTY is taken for DESTROYED: the Host is told instead of the realm."""

    def protected(state: Any, p: Any, access: Any, realm: Any, walk: Any, vcpu: Any) -> Any:
        if walk.rtte.ripas is Ripas.EMPTY:
            walk = walk._replace(rtte=walk.rtte._replace(ripas=Ripas.DESTROYED))
        return original(state, p, access, realm, walk, vcpu)

    return protected


def _fetches_are_reads(original: Original) -> Any:
    def unprotected(state: Any, p: Any, access: Any, walk: Any, vcpu: Any) -> Any:
        return original(state, p, access._replace(kind=type(access.kind).READ), walk, vcpu)

    return unprotected


def _rsi(name: str, change: Callable[[Command], Command]) -> Patch:
    return changed(name, change, table="RSI_COMMANDS", prefix="RSI_")


def _psci(name: str, change: Callable[[Command], Command]) -> Patch:
    return changed(name, change, table="PSCI_COMMANDS", prefix="PSCI_")


RMI_MUTANTS: tuple[Mutant, ...] = (
    _mutant("version-accepts-all", Rule.RMI_VERSION, Patch(_GRANULE, "negotiate", _always_compatible)),
    _mutant("features-at-every-index", Rule.RMI_FEATURES, changed("FEATURES", _outputs(lambda outputs: (0x30,)))),
    _mutant("delegate-twice", Rule.RMI_GRANULE_DELEGATE,
            changed("GRANULE_DELEGATE", without("gran_state", "gran_gpt"))),
    _mutant("undelegate-what-is-owned", Rule.RMI_GRANULE_UNDELEGATE,
            changed("GRANULE_UNDELEGATE", without("gran_state"))),
    _mutant("undelegate-keeps-content", Rule.RMI_GRANULE_UNDELEGATE,
            changed("GRANULE_UNDELEGATE", then(lambda c, after: after.with_granule(
                c.addr, after.granule(c.addr)._replace(content=c.state.granule(c.addr).content))))),
    _mutant("data-from-realm-memory", Rule.RMI_DATA_CREATE, changed("DATA_CREATE", without("data_state"))),
    _mutant("data-in-active-realm", Rule.RMI_DATA_CREATE, changed("DATA_CREATE", without("realm_state"))),
    _mutant("data-create-leaves-ripas", Rule.RMI_DATA_CREATE, changed("DATA_CREATE", then(_entry(ripas=Ripas.EMPTY)))),
    _mutant("unknown-data-is-ram", Rule.RMI_DATA_CREATE_UNKNOWN,
            changed("DATA_CREATE_UNKNOWN", then(_entry(ripas=Ripas.RAM)))),
    _mutant("destroyed-data-is-empty", Rule.RMI_DATA_DESTROY,
            changed("DATA_DESTROY", then(_entry(ripas=Ripas.EMPTY)))),
    _mutant("data-destroy-top-is-next", Rule.RMI_DATA_DESTROY,
            changed("DATA_DESTROY", _outputs(lambda outputs: (outputs[0], 0x1000)))),
    _mutant("activate-does-nothing", Rule.RMI_REALM_ACTIVATE, changed("REALM_ACTIVATE", then(_still_new))),
    _mutant("realm-with-any-number-of-tables", Rule.RMI_REALM_CREATE,
            changed("REALM_CREATE", without("rtt_num_level"))),
    _mutant("vmid-twice", Rule.RMI_REALM_CREATE, changed("REALM_CREATE", without("vmid_valid"))),
    _mutant("live-realm-goes", Rule.RMI_REALM_DESTROY, changed("REALM_DESTROY", without("realm_live"))),
    _mutant("rec-in-any-order", Rule.RMI_REC_CREATE, changed("REC_CREATE", without("mpidr_index"))),
    _mutant("rec-index-stays", Rule.RMI_REC_CREATE, changed("REC_CREATE", then(_index_stays))),
    _mutant("aux-granules-stay", Rule.RMI_REC_DESTROY, changed("REC_DESTROY", then(_aux_stay))),
    _mutant("running-rec-goes", Rule.RMI_REC_DESTROY, changed("REC_DESTROY", without("rec_state"))),
    _mutant("aux-count-one-less", Rule.RMI_REC_AUX_COUNT, changed("REC_AUX_COUNT", _outputs(lambda outputs: (1,)))),
    _mutant("pending-rec-entered", Rule.RMI_REC_ENTER, changed("REC_ENTER", without("rec_psci"))),
    _mutant("exit-tells-all", Rule.RMI_REC_ENTER, Patch(_ACCESS, "reported", _exit_tells_all)),
    _mutant("mmio-not-emulated", Rule.RMI_REC_ENTER, changed("REC_ENTER", without("rec_mmio"))),
    _mutant("request-stays-pending", Rule.RMI_PSCI_COMPLETE, changed("PSCI_COMPLETE", then(_still_pending))),
    _mutant("target-not-started", Rule.RMI_PSCI_COMPLETE, changed("PSCI_COMPLETE", then(_target_not_started))),
    _mutant("table-at-starting-level", Rule.RMI_RTT_CREATE, changed("RTT_CREATE", without("rtte_state"))),
    _mutant("unfold-forgets", Rule.RMI_RTT_CREATE, changed("RTT_CREATE", then(_whole_table_empty))),
    _mutant("live-table-goes", Rule.RMI_RTT_DESTROY, changed("RTT_DESTROY", without("rtt_live"))),
    _mutant("destroyed-table-stays", Rule.RMI_RTT_DESTROY, changed("RTT_DESTROY", then(_table_stays))),
    _mutant("fold-what-differs", Rule.RMI_RTT_FOLD,
            Patch(_RTT, "RttFold", lambda original: lambda rtt, level, stride: rtt[0])),
    _mutant("init-ripas-of-active-realm", Rule.RMI_RTT_INIT_RIPAS,
            changed("RTT_INIT_RIPAS", without("realm_state"))),
    _mutant("map-over-a-mapping", Rule.RMI_RTT_MAP_UNPROTECTED,
            changed("RTT_MAP_UNPROTECTED", without("rtte_state"))),
    _mutant("map-reserved-attributes", Rule.RMI_RTT_MAP_UNPROTECTED,
            changed("RTT_MAP_UNPROTECTED", without("attr_valid"))),
    _mutant("read-entry-without-ripas", Rule.RMI_RTT_READ_ENTRY,
            changed("RTT_READ_ENTRY", _outputs(lambda outputs: (*outputs[:3], 0)))),
    _mutant("unmap-top-is-next", Rule.RMI_RTT_UNMAP_UNPROTECTED,
            changed("RTT_UNMAP_UNPROTECTED", _outputs(lambda outputs: (0,)))),
    _mutant("set-ripas-for-another-realm", Rule.RMI_RTT_SET_RIPAS, changed("RTT_SET_RIPAS", without("rec_owner"))),
    _mutant("set-ripas-anywhere", Rule.RMI_RTT_SET_RIPAS, changed("RTT_SET_RIPAS", without("base_bound"))),
    _mutant("rsi-version-accepts-all", Rule.RSI_VERSION, Patch(_RSI, "negotiate", _always_compatible)),
    _mutant("rsi-features-has-bits", Rule.RSI_FEATURES, _rsi("FEATURES", _outputs(lambda outputs: (1,)))),
    _mutant("measurement-of-another", Rule.RSI_MEASUREMENT_READ,
            _rsi("MEASUREMENT_READ", _outputs(lambda outputs: outputs[::-1]))),
    _mutant("rim-extended", Rule.RSI_MEASUREMENT_EXTEND, _rsi("MEASUREMENT_EXTEND", _index_0_too)),
    _mutant("token-not-begun", Rule.RSI_ATTEST_INIT, _rsi("ATTESTATION_TOKEN_INIT", _succeeds(0))),
    _mutant("token-from-nothing", Rule.RSI_ATTEST_CONTINUE, _rsi("ATTESTATION_TOKEN_CONTINUE", without("state"))),
    _mutant("config-anywhere", Rule.RSI_REALM_CONFIG, _rsi("REALM_CONFIG", without("addr_align"))),
    _mutant("ripas-destroyed-on-request", Rule.RSI_IPA_STATE_SET, _rsi("IPA_STATE_SET", without("ripas_valid"))),
    _mutant("ripas-always-ram", Rule.RSI_IPA_STATE_GET,
            _rsi("IPA_STATE_GET", _outputs(lambda outputs: (outputs[0], 1)))),
    _mutant("host-call-unaligned", Rule.RSI_HOST_CALL, _rsi("HOST_CALL", without("addr_align"))),
    _mutant("psci-version-0", Rule.PSCI_VERSION, _psci("VERSION", _answers(0))),
    _mutant("psci-features-all", Rule.PSCI_FEATURES, _psci("FEATURES", _answers(0))),
    _mutant("suspend-denied", Rule.PSCI_CPU_SUSPEND, _psci("CPU_SUSPEND", _answers((1 << 64) - 3))),
    _mutant("cpu-off-refused", Rule.PSCI_CPU_OFF, _psci("CPU_OFF", _answers((1 << 64) - 3))),
    _mutant("cpu-on-at-unprotected", Rule.PSCI_CPU_ON, _psci("CPU_ON", without("entry"))),
    _mutant("affinity-at-any-level", Rule.PSCI_AFFINITY_INFO, _psci("AFFINITY_INFO", without("target_bound"))),
    _mutant("system-off-returns", Rule.PSCI_SYSTEM_OFF, _psci("SYSTEM_OFF", _answers(0))),
    _mutant("system-reset-returns", Rule.PSCI_SYSTEM_RESET, _psci("SYSTEM_RESET", _answers(0))),
    _mutant("empty-leaves-the-realm", Rule.REALM_ACCESS, Patch(_ACCESS, "_protected", _empty_leaves)),
    _mutant("fetch-from-unprotected", Rule.REALM_ACCESS, Patch(_ACCESS, "_unprotected", _fetches_are_reads)),
)  # fmt: skip
