"""``step``: the one entrance to the model.  A state and a call in, every permitted (state', result) out.

Source: DEN0137 1.0-rel0, chapters B4 to B6, A4.3.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from refmodel.rmm.access import realm_access
from refmodel.rmm.calls import (
    NO_VCPU,
    Call,
    HostCall,
    Interrupt,
    RealmAccess,
    RealmEvent,
    RealmHvc,
    RealmInterrupt,
    RealmSmc,
    RealmWfx,
    Vcpu,
)
from refmodel.rmm.command import Command
from refmodel.rmm.context import Context
from refmodel.rmm.exits import EC_SERROR, EC_SHIFT, EC_WFX, leave_plainly, serror_reported, wfx_reported
from refmodel.rmm.psci import PSCI_COMMANDS
from refmodel.rmm.results import UNDEFINED, Accessed, Outcome, RealmException, SmcResult, ToRealm
from refmodel.rmm.rmi_data import DATA_CREATE, DATA_CREATE_UNKNOWN, DATA_DESTROY
from refmodel.rmm.rmi_enter import REC_ENTER
from refmodel.rmm.rmi_granule import FEATURES, GRANULE_DELEGATE, GRANULE_UNDELEGATE, VERSION
from refmodel.rmm.rmi_realm import REALM_ACTIVATE, REALM_CREATE, REALM_DESTROY
from refmodel.rmm.rmi_rec import PSCI_COMPLETE, REC_AUX_COUNT, REC_CREATE, REC_DESTROY
from refmodel.rmm.rmi_ripas import RTT_INIT_RIPAS, RTT_SET_RIPAS
from refmodel.rmm.rmi_rtt import (
    RTT_CREATE,
    RTT_DESTROY,
    RTT_FOLD,
    RTT_MAP_UNPROTECTED,
    RTT_READ_ENTRY,
    RTT_UNMAP_UNPROTECTED,
)
from refmodel.rmm.rsi import RSI_COMMANDS
from refmodel.rmm.state import State
from refmodel.rmm.types import FID_SMCCC_VERSION, SMCCC_NOT_SUPPORTED, ExitReason, RecState
from refmodel.rmm.version import Parameters

RMI_COMMANDS: Final = {
    command.fid: command
    for command in (
        VERSION,
        FEATURES,
        GRANULE_DELEGATE,
        GRANULE_UNDELEGATE,
        DATA_CREATE,
        DATA_CREATE_UNKNOWN,
        DATA_DESTROY,
        REALM_ACTIVATE,
        REALM_CREATE,
        REALM_DESTROY,
        REC_AUX_COUNT,
        REC_CREATE,
        REC_DESTROY,
        REC_ENTER,
        PSCI_COMPLETE,
        RTT_CREATE,
        RTT_DESTROY,
        RTT_FOLD,
        RTT_INIT_RIPAS,
        RTT_MAP_UNPROTECTED,
        RTT_READ_ENTRY,
        RTT_SET_RIPAS,
        RTT_UNMAP_UNPROTECTED,
    )
}
BY_NAME: Final = {
    command.name: command for table in (RMI_COMMANDS, RSI_COMMANDS, PSCI_COMMANDS) for command in table.values()
}
SVE_HINT: Final = 1 << 16
"""Bit of an FID by which a caller of SMCCC 1.3 says that SVE state need not be preserved."""


def step(state: State, call: Call, parameters: Parameters, vcpu: Vcpu = NO_VCPU) -> tuple[Outcome, ...]:
    """Every permitted outcome of a call.  ``vcpu`` holds the registers that a REC exit reports.

    ValueError for an event of a REC that does not exist or does not run: no such event can happen.
    """
    if isinstance(call, HostCall):
        return _host(state, call, parameters, vcpu)
    rec = state.recs.get(call.rec)
    if rec is None or rec.state is not RecState.REC_RUNNING:
        raise ValueError(f"no REC runs at {call.rec:#x}")
    return tuple(_realm(state, call, parameters, vcpu))


def _host(state: State, call: HostCall, parameters: Parameters, vcpu: Vcpu) -> tuple[Outcome, ...]:
    command = RMI_COMMANDS.get(call.fid & ~SVE_HINT)
    if command is None:
        return (Outcome(state, SmcResult(SMCCC_NOT_SUPPORTED), "no such command"),)
    return command.permitted(context_of(command, state, call, parameters, vcpu))


def successors(state: State, call: Call, parameters: Parameters) -> Iterator[State]:
    """The other states that a call may lead to: those of ``step``, without working out how a command fails."""
    outcomes: Iterable[Outcome]
    if isinstance(call, HostCall):
        command = RMI_COMMANDS.get(call.fid)
        outcomes = command.successes(context_of(command, state, call, parameters)) if command else ()
    else:
        outcomes = step(state, call, parameters)
    return (outcome.state for outcome in outcomes if outcome.state is not state)


def context_of(command: Command, state: State, call: HostCall, parameters: Parameters, vcpu: Vcpu = NO_VCPU) -> Context:
    """The context that a host command's conditions look at."""
    return Context(state, parameters, command.inputs, call.args, command.walk, memory=call.memory, vcpu=vcpu)


def _realm(state: State, event: RealmEvent, parameters: Parameters, vcpu: Vcpu) -> Iterator[Outcome]:
    match event:
        case RealmAccess():
            yield from realm_access(state, parameters, event, vcpu)
        case RealmSmc():
            yield from _smc(state, event, parameters, vcpu)
        case RealmHvc():
            yield Outcome(state, ToRealm(RealmException.UNKNOWN), "HVC in a realm (R_DNBQF)")
        case RealmWfx():
            yield _wfx(state, event, vcpu)
        case RealmInterrupt():
            yield _interrupt(state, event, vcpu)


def _smc(state: State, event: RealmSmc, parameters: Parameters, vcpu: Vcpu) -> Iterator[Outcome]:
    fid = event.args[0] & ((1 << 32) - 1) & ~SVE_HINT
    command = RSI_COMMANDS.get(fid) or PSCI_COMMANDS.get(fid)
    if command is None:
        yield Outcome(state, SmcResult(SMCCC_NOT_SUPPORTED), "neither PSCI nor RSI (R_YLFMD)")
        if fid == FID_SMCCC_VERSION:
            # Software finds out about SMCCC by calling this (S_DFNMZ); the text lists PSCI and RSI only.
            yield Outcome(state, SmcResult(UNDEFINED), "SMCCC_VERSION")
        return
    context = Context(state, parameters, command.inputs, event.args[1:], command.walk, memory=event.data, vcpu=vcpu)
    context.fid, context.rec, context.rd = event.args[0], event.rec, state.recs[event.rec].owner
    yield from command.permitted(context)


def _wfx(state: State, event: RealmWfx, vcpu: Vcpu) -> Outcome:
    rec = state.recs[event.rec]
    # TI: 0 WFI, 1 WFE, 2 WFIT, 3 WFET.
    if not (rec.trap_wfe if event.ti & 1 else rec.trap_wfi):
        return Outcome(state, Accessed(), "not trapped")
    esr = event.esr or EC_WFX << EC_SHIFT | event.ti
    timeout = (event.timeout,) if event.ti & 2 else ()
    after, result = leave_plainly(state, event.rec, rec, ExitReason.RMI_EXIT_SYNC, vcpu, wfx_reported(esr), timeout)
    return Outcome(after, result, "WFI or WFE is trapped")


def _interrupt(state: State, event: RealmInterrupt, vcpu: Vcpu) -> Outcome:
    rec = state.recs[event.rec]
    reason, esr = {
        Interrupt.IRQ: (ExitReason.RMI_EXIT_IRQ, 0),
        Interrupt.FIQ: (ExitReason.RMI_EXIT_FIQ, 0),
        Interrupt.SERROR: (ExitReason.RMI_EXIT_SERROR, serror_reported(event.esr or EC_SERROR << EC_SHIFT)),
    }[event.kind]
    after, result = leave_plainly(state, event.rec, rec, reason, vcpu, esr)
    return Outcome(after, result, event.kind.value)
