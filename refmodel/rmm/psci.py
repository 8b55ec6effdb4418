"""PSCI functions of a realm: answered by the RMM, or forwarded to the Host by a REC exit.

Source: DEN0137 1.0-rel0, B6.3, A4.3.7 and A4.3.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from refmodel.rmm.command import Command, Condition, Post, Success
from refmodel.rmm.context import Context, IllFormed
from refmodel.rmm.exits import exit_gprs, leave, saved
from refmodel.rmm.results import RecExit, SmcResult
from refmodel.rmm.rmi_rec import RecIndex
from refmodel.rmm.state import LastExit, Rec
from refmodel.rmm.types import (
    FID_PSCI_AFFINITY_INFO,
    FID_PSCI_CPU_OFF,
    FID_PSCI_CPU_ON,
    FID_PSCI_CPU_SUSPEND,
    FID_PSCI_FEATURES,
    FID_PSCI_SYSTEM_OFF,
    FID_PSCI_SYSTEM_RESET,
    FID_PSCI_VERSION,
    FID_SMCCC_VERSION,
    ExitReason,
    Psci,
    PsciReturnCodeEncode,
    RealmState,
)

_VERSION_1_1: Final = 0x10001
_U32: Final = (1 << 32) - 1


def _failed(code: Psci) -> Post:
    result = SmcResult(PsciReturnCodeEncode(code))
    return lambda context: result


def _answer(c: Context, code: int, reason: str = "success") -> Success:
    return Success(c.state, result=SmcResult(PsciReturnCodeEncode(code)), reason=reason)


def _exit(c: Context, rec: Rec, arguments: int, reason: str, realm_state: RealmState | None = None) -> Success:
    """A REC exit due to PSCI that tells the Host the FID and ``arguments`` arguments of the function."""
    state = c.state
    if realm_state is not None:
        state = state.with_realm(c.rd, c.realm._replace(state=realm_state))
    told = RecExit(ExitReason.RMI_EXIT_PSCI, gprs=exit_gprs(*c.values_with_fid[: 1 + arguments]))
    after, result = leave(state, c.rec, rec, LastExit.PSCI, told, c.vcpu)
    return Success(after, result=result, reason=reason)


def _exits(
    c: Context, rec: Rec, arguments: int, fewer: int, realm_state: RealmState | None = None
) -> Iterator[Success]:
    """The exit with every argument (R_PBKVB), or with ``fewer``: parameters are sanitised (R_SXGJK), TF-RMM's way."""
    yield _exit(c, rec, arguments, "every argument is forwarded", realm_state)
    if any(c.values[fewer:arguments]):
        yield _exit(c, rec, fewer, "arguments that the Host does not need are zero", realm_state)


def _with_registers(c: Context, *registers: int) -> Rec:
    return c.the_rec._replace(gprs=saved(c.the_rec, *registers))


def _version(c: Context) -> Iterable[Success]:
    yield _answer(c, _VERSION_1_1)


PSCI_VERSION: Final = Command(name="PSCI_VERSION", fid=FID_PSCI_VERSION, section="B6.3.8", outputs=(), success=_version)

SUPPORTED: Final = frozenset(
    {
        FID_PSCI_VERSION,
        FID_PSCI_FEATURES,
        FID_PSCI_CPU_SUSPEND,
        FID_PSCI_CPU_OFF,
        FID_PSCI_CPU_ON,
        FID_PSCI_AFFINITY_INFO,
        FID_PSCI_SYSTEM_OFF,
        FID_PSCI_SYSTEM_RESET,
    }
)
"""Functions of the table in A4.3.7."""
_OTHER_WIDTH: Final = frozenset({0x84000001, 0x84000003, 0x84000004})
"""CPU_SUSPEND, CPU_ON and AFFINITY_INFO in the SMC32 convention, which the specification does not list."""


def _features(c: Context) -> Iterable[Success]:
    function = c.psci_func_id & _U32
    open_question = function in _OTHER_WIDTH or function == FID_SMCCC_VERSION
    if function in SUPPORTED or open_question:
        yield _answer(c, Psci.PSCI_SUCCESS)
    if function not in SUPPORTED:
        yield _answer(c, Psci.PSCI_NOT_SUPPORTED)


PSCI_FEATURES: Final = Command(
    name="PSCI_FEATURES",
    fid=FID_PSCI_FEATURES,
    section="B6.3.5",
    inputs=("psci_func_id",),
    success=_features,
)


def _suspend(c: Context) -> Iterable[Success]:
    # All target states are suspend requests; the realm finds PSCI_SUCCESS when it runs again.
    rec = _with_registers(c, Psci.PSCI_SUCCESS, 0, 0, 0)
    yield from _exits(c, rec, 3, 0)


PSCI_CPU_SUSPEND: Final = Command(
    name="PSCI_CPU_SUSPEND",
    fid=FID_PSCI_CPU_SUSPEND,
    section="B6.3.4",
    inputs=("power_state", "entry_point_address", "context_id"),
    success=_suspend,
)


def _off(c: Context) -> Iterable[Success]:
    rec = _with_registers(c, Psci.PSCI_SUCCESS)._replace(runnable=False)
    yield _exit(c, rec, 0, "success")


PSCI_CPU_OFF: Final = Command(name="PSCI_CPU_OFF", fid=FID_PSCI_CPU_OFF, section="B6.3.2", success=_off)


def _target(c: Context, mpidr: int) -> Rec:
    """``RecFromMpidr``: the REC of the current realm with an MPIDR value."""
    for _, rec in c.state.recs.items():
        if rec.owner == c.rd and rec.mpidr == mpidr:
            return rec
    raise IllFormed


def _mpidr_unused(c: Context, mpidr: int) -> bool:
    """``!MpidrIsUsed`` (B3.24), as an RMM that counts RECs has it: indices of destroyed RECs stay in use."""
    return RecIndex(mpidr) >= c.realm.rec_index


def _request(c: Context, arguments: int) -> Iterator[Success]:
    """A request that the Host has to complete with RMI_PSCI_COMPLETE."""
    rec = _with_registers(c, *c.values_with_fid[:4])._replace(psci_pending=True)
    yield from _exits(c, rec, arguments, 1)


def _on(c: Context) -> Iterable[Success]:
    if c.target_cpu == c.the_rec.mpidr:
        # The caller runs; the Host could not complete a request whose target is its caller (alias).
        yield _answer(c, Psci.PSCI_ALREADY_ON, "the caller itself")
        return
    try:
        if _target(c, c.target_cpu).runnable:
            yield _answer(c, Psci.PSCI_ALREADY_ON, "runnable")
    except IllFormed:
        yield _answer(c, Psci.PSCI_INVALID_PARAMETERS, "the REC with this MPIDR was destroyed")
    yield from _request(c, 3)


PSCI_CPU_ON: Final = Command(
    name="PSCI_CPU_ON",
    fid=FID_PSCI_CPU_ON,
    section="B6.3.3",
    inputs=("target_cpu", "entry_point_address", "context_id"),
    conditions=(
        Condition("entry", lambda c: not c.AddrIsProtected(c.entry_point_address), _failed(Psci.PSCI_INVALID_ADDRESS)),
        Condition("mpidr", lambda c: _mpidr_unused(c, c.target_cpu), _failed(Psci.PSCI_INVALID_PARAMETERS)),
    ),
    success=_on,
)


def _affinity(c: Context) -> Iterable[Success]:
    if c.target_affinity == c.the_rec.mpidr:
        yield _answer(c, Psci.PSCI_SUCCESS, "the caller itself")
        return
    try:
        _target(c, c.target_affinity)
    except IllFormed:
        yield _answer(c, Psci.PSCI_INVALID_PARAMETERS, "the REC with this MPIDR was destroyed")
    yield from _request(c, 2)


PSCI_AFFINITY_INFO: Final = Command(
    name="PSCI_AFFINITY_INFO",
    fid=FID_PSCI_AFFINITY_INFO,
    section="B6.3.1",
    inputs=("target_affinity", "lowest_affinity_level"),
    conditions=(
        Condition(
            "target_bound",
            lambda c: c.lowest_affinity_level & _U32 != 0,
            _failed(Psci.PSCI_INVALID_PARAMETERS),
        ),
        Condition(
            "target_match",
            lambda c: _mpidr_unused(c, c.target_affinity),
            _failed(Psci.PSCI_INVALID_PARAMETERS),
        ),
    ),
    success=_affinity,
)


def _system_off(c: Context) -> Iterable[Success]:
    yield _exit(c, _with_registers(c, *c.values_with_fid[:1]), 0, "success", RealmState.REALM_SYSTEM_OFF)


PSCI_SYSTEM_OFF: Final = Command(name="PSCI_SYSTEM_OFF", fid=FID_PSCI_SYSTEM_OFF, section="B6.3.6", success=_system_off)
PSCI_SYSTEM_RESET: Final = Command(
    name="PSCI_SYSTEM_RESET", fid=FID_PSCI_SYSTEM_RESET, section="B6.3.7", success=_system_off
)

PSCI_COMMANDS: Final = {
    command.fid: command
    for command in (
        PSCI_VERSION,
        PSCI_FEATURES,
        PSCI_CPU_SUSPEND,
        PSCI_CPU_OFF,
        PSCI_CPU_ON,
        PSCI_AFFINITY_INFO,
        PSCI_SYSTEM_OFF,
        PSCI_SYSTEM_RESET,
    )
}
