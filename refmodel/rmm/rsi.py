"""RSI commands: what a realm asks of the RMM.

The result goes to the registers of the PE that runs the REC; a state holds a REC's registers only as saved at an exit.

Source: DEN0137 1.0-rel0, B5.3, A4.5, A5.4 and A7.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from refmodel.rmm.access import abort_exit, output_address
from refmodel.rmm.calls import AccessKind, HostCallData, RealmAccess
from refmodel.rmm.command import Command, Condition, Maybe, Post, Success
from refmodel.rmm.context import AddrIsGranuleAligned, Context
from refmodel.rmm.exits import exit_gprs, leave, saved
from refmodel.rmm.measurement import MEASUREMENT_BYTES, RemExtendPermitted
from refmodel.rmm.results import UNDEFINED, Output, RecExit, RsiResult, Within
from refmodel.rmm.rtt import AddrRangeIsProtected, RttWalk, protected_entries
from refmodel.rmm.state import Author, Content, LastExit, State
from refmodel.rmm.types import RMM_GRANULE_SIZE, RMM_RTT_PAGE_LEVEL, EntryState, ExitReason, Ripas, Rsi
from refmodel.rmm.version import negotiate

_MAX_REM: Final = 4


def _failed(status: Rsi, *, outputs: int = 0) -> Post:
    result = RsiResult(status, (UNDEFINED,) * outputs)
    return lambda context: result


_INPUT = _failed(Rsi.RSI_ERROR_INPUT)
_INPUT_1 = _failed(Rsi.RSI_ERROR_INPUT, outputs=1)
_INPUT_2 = _failed(Rsi.RSI_ERROR_INPUT, outputs=2)


def _done(state: State, *outputs: Output, status: Rsi = Rsi.RSI_SUCCESS, reason: str = "success") -> Success:
    return Success(state, result=RsiResult(status, outputs), reason=reason)


# Memory that a command reads or writes -----------------------------------------------------------------------------


def _with_memory(c: Context, ipa: int, kind: AccessKind, done: Iterable[Success], outputs: int) -> Iterator[Success]:
    """``done`` if the granule at ``ipa`` is there for the RMM; else a Data Abort that the realm did not see coming.

    1.0 does not say what happens at RIPAS EMPTY: TF-RMM returns RSI_ERROR_INPUT.
    """
    walk = RttWalk(c.state, c.realm, ipa, RMM_RTT_PAGE_LEVEL, c.p.stride)
    rtte = walk.rtte
    if rtte.state is EntryState.ASSIGNED and rtte.ripas is Ripas.RAM:
        yield from done
        return
    if rtte.ripas is Ripas.EMPTY:
        undefined = (UNDEFINED,) * outputs
        yield _done(c.state, *undefined, status=Rsi.RSI_ERROR_INPUT, reason="RIPAS of the IPA is EMPTY")
    state = c.state.with_rec(c.rec, c.the_rec._replace(gprs=saved(c.the_rec, *c.values_with_fid)))
    access = RealmAccess(c.rec, ipa, kind, isv=False)
    made = abort_exit(state, access, walk, c.vcpu, unprotected=False, permission=False, why="IPA not mapped")
    yield Success(made.state, result=made.result, reason=made.reason)


def _written(c: Context, ipa: int) -> State:
    """The state with something of the RMM in the realm's granule at ``ipa``."""
    walk = RttWalk(c.state, c.realm, ipa, RMM_RTT_PAGE_LEVEL, c.p.stride)
    granule = output_address(walk, ipa, c.p.stride) & ~(RMM_GRANULE_SIZE - 1)
    content = Content(Author.RMM, c.realm.serial, 1)
    return c.state.with_granule(granule, c.state.granule(granule)._replace(content=content))


# Version, features, configuration ----------------------------------------------------------------------------------


def _version(c: Context) -> Iterable[Success]:
    compatible, lower, higher = negotiate(c.p.rsi_supported, c.req)
    yield _done(c.state, lower, higher, status=Rsi.RSI_SUCCESS if compatible else Rsi.RSI_ERROR_INPUT)


RSI_VERSION: Final = Command(
    name="RSI_VERSION",
    fid=0xC4000190,
    section="B5.3.10",
    inputs=("req",),
    outputs=("lower", "higher"),
    success=_version,
)


def _features(c: Context) -> Iterable[Success]:
    yield _done(c.state, 0)


RSI_FEATURES: Final = Command(
    name="RSI_FEATURES",
    fid=0xC4000191,
    section="B5.3.3",
    inputs=("index",),
    outputs=("value",),
    success=_features,
)


def _config(c: Context) -> Iterable[Success]:
    return _with_memory(c, c.addr, AccessKind.WRITE, (_done(_written(c, c.addr)) for _ in range(1)), 0)


RSI_REALM_CONFIG: Final = Command(
    name="RSI_REALM_CONFIG",
    fid=0xC4000196,
    section="B5.3.9",
    inputs=("addr",),
    conditions=(
        Condition("addr_align", lambda c: not AddrIsGranuleAligned(c.addr), _INPUT),
        Condition("addr_bound", lambda c: not c.AddrIsProtected(c.addr), _INPUT),
    ),
    success=_config,
)


# Measurements ------------------------------------------------------------------------------------------------------


def _read(c: Context) -> Iterable[Success]:
    value = c.realm.measurements[c.index]
    yield _done(c.state, *(int.from_bytes(value[at : at + 8], "little") for at in range(0, MEASUREMENT_BYTES, 8)))


RSI_MEASUREMENT_READ: Final = Command(
    name="RSI_MEASUREMENT_READ",
    fid=0xC4000192,
    section="B5.3.8",
    inputs=("index",),
    outputs=tuple(f"value_{number}" for number in range(8)),
    conditions=(Condition("index_bound", lambda c: c.index > _MAX_REM, _failed(Rsi.RSI_ERROR_INPUT, outputs=8)),),
    success=_read,
)


def _extend(c: Context) -> Iterable[Success]:
    realm = c.realm
    registers = (*c.values[2:10], *(0,) * 8)[:8]
    value = b"".join(register.to_bytes(8, "little") for register in registers)[: c.size]
    old = realm.measurements[c.index]
    for new in sorted(RemExtendPermitted(realm.hash_algo, old, value, c.p.measurement)):
        measurements = (*realm.measurements[: c.index], new, *realm.measurements[c.index + 1 :])
        yield _done(c.state.with_realm(c.rd, realm._replace(measurements=measurements)))


RSI_MEASUREMENT_EXTEND: Final = Command(
    name="RSI_MEASUREMENT_EXTEND",
    fid=0xC4000193,
    section="B5.3.7",
    inputs=("index", "size"),
    conditions=(
        Condition("index_bound", lambda c: not 1 <= c.index <= _MAX_REM, _INPUT),
        Condition("size_bound", lambda c: c.size > MEASUREMENT_BYTES, _INPUT),
    ),
    success=_extend,
)


# Attestation -------------------------------------------------------------------------------------------------------


def _token_init(c: Context) -> Iterable[Success]:
    challenge = (*c.values, *(0,) * 8)[:8]
    rec = c.the_rec._replace(attest_in_progress=True, attest_challenge=challenge)
    yield _done(c.state.with_rec(c.rec, rec), Within(1, (1 << 64) - 1))


RSI_ATTESTATION_TOKEN_INIT: Final = Command(
    name="RSI_ATTESTATION_TOKEN_INIT",
    fid=0xC4000194,
    section="B5.3.2",
    outputs=("size",),
    success=_token_init,
)


def _token_part(c: Context) -> Iterator[Success]:
    written = _written(c, c.addr)
    complete = written.with_rec(c.rec, c.the_rec._replace(attest_in_progress=False))
    yield _done(written, Within(0, c.size), status=Rsi.RSI_INCOMPLETE, reason="token generation is not complete")
    yield _done(complete, Within(0, c.size), reason="token generation is complete")


def _token_continue(c: Context) -> Iterable[Success]:
    return _with_memory(c, c.addr, AccessKind.WRITE, _token_part(c), 1)


RSI_ATTESTATION_TOKEN_CONTINUE: Final = Command(
    name="RSI_ATTESTATION_TOKEN_CONTINUE",
    fid=0xC4000195,
    section="B5.3.1",
    inputs=("addr", "offset", "size"),
    outputs=("len",),
    conditions=(
        Condition("addr_align", lambda c: not AddrIsGranuleAligned(c.addr), _INPUT_1),
        Condition("addr_bound", lambda c: not c.AddrIsProtected(c.addr), _INPUT_1),
        Condition("offset_bound", lambda c: c.offset >= RMM_GRANULE_SIZE, _INPUT_1),
        Condition("size_overflow", lambda c: (c.offset + c.size) >> 64 != 0, _INPUT_1),
        Condition("size_bound", lambda c: c.offset + c.size & (1 << 64) - 1 > RMM_GRANULE_SIZE, _INPUT_1),
        Condition("state", lambda c: not c.the_rec.attest_in_progress, _failed(Rsi.RSI_ERROR_STATE, outputs=1)),
        Condition("unknown", lambda c: Maybe("an IMPDEF reason"), _failed(Rsi.RSI_ERROR_UNKNOWN, outputs=1)),
    ),
    success=_token_continue,
)


# RIPAS -------------------------------------------------------------------------------------------------------------


def _state_get(c: Context) -> Iterable[Success]:
    entries = protected_entries(c.state, c.realm, c.base, c.top, c.p.stride)
    highest, first = next(entries)
    for end, entry in entries:
        if entry.ripas is not first.ripas:
            break
        highest = end
    yield _done(c.state, Within(c.base + 1, min(highest, c.top)), int(first.ripas))


def _range_invalid(c: Context) -> bool:
    return not AddrRangeIsProtected(c.base, c.top, c.realm)


RSI_IPA_STATE_GET: Final = Command(
    name="RSI_IPA_STATE_GET",
    fid=0xC4000198,
    section="B5.3.5",
    inputs=("base", "top"),
    outputs=("out_top", "ripas"),
    conditions=(
        Condition("base_align", lambda c: not AddrIsGranuleAligned(c.base), _INPUT_2),
        Condition("end_align", lambda c: not AddrIsGranuleAligned(c.top), _INPUT_2),
        Condition("size_valid", lambda c: c.top <= c.base, _INPUT_2),
        Condition("rgn_bound", _range_invalid, _INPUT_2),
    ),
    success=_state_get,
)


def _state_set(c: Context) -> Iterable[Success]:
    ripas = Ripas(c.ripas & 0xFF)
    rec = c.the_rec
    rec = rec._replace(
        gprs=saved(rec, *c.values_with_fid),
        ripas_addr=c.base,
        ripas_top=c.top,
        ripas_value=ripas,
        ripas_destroyed=bool(c.flags & 1),
    )
    told = RecExit(ExitReason.RMI_EXIT_RIPAS_CHANGE, ripas_base=c.base, ripas_top=c.top, ripas_value=ripas)
    after, result = leave(c.state, c.rec, rec, LastExit.RIPAS_CHANGE, told, c.vcpu)
    yield Success(after, result=result)


RSI_IPA_STATE_SET: Final = Command(
    name="RSI_IPA_STATE_SET",
    fid=0xC4000197,
    section="B5.3.6",
    inputs=("base", "top", "ripas", "flags"),
    outputs=("new_base", "response"),
    conditions=(
        Condition("base_align", lambda c: not AddrIsGranuleAligned(c.base), _INPUT_2),
        Condition("top_align", lambda c: not AddrIsGranuleAligned(c.top), _INPUT_2),
        Condition("size_valid", lambda c: c.top <= c.base, _INPUT_2),
        Condition("rgn_bound", _range_invalid, _INPUT_2),
        Condition("ripas_valid", lambda c: c.ripas & 0xFF not in (Ripas.EMPTY, Ripas.RAM), _INPUT_2),
    ),
    success=_state_set,
)


# Host call ---------------------------------------------------------------------------------------------------------


def _leave_for_host(c: Context) -> Iterator[Success]:
    data = c.memory if isinstance(c.memory, HostCallData) else HostCallData()
    rec = c.the_rec._replace(gprs=saved(c.the_rec, *c.values_with_fid), host_call_pending=True)
    told = RecExit(ExitReason.RMI_EXIT_HOST_CALL, imm=data.imm, gprs=exit_gprs(*data.gprs))
    after, result = leave(c.state, c.rec, rec, LastExit.HOST_CALL, told, c.vcpu)
    yield Success(after, result=result)


def _host_call(c: Context) -> Iterable[Success]:
    return _with_memory(c, c.addr, AccessKind.READ, _leave_for_host(c), 0)


RSI_HOST_CALL: Final = Command(
    name="RSI_HOST_CALL",
    fid=0xC4000199,
    section="B5.3.4",
    inputs=("addr",),
    conditions=(
        Condition("addr_align", lambda c: bool(c.addr & 0xFF), _INPUT),
        Condition("addr_bound", lambda c: not c.AddrIsProtected(c.addr), _INPUT),
    ),
    success=_host_call,
)

RSI_COMMANDS: Final = {
    command.fid: command
    for command in (
        RSI_VERSION,
        RSI_FEATURES,
        RSI_MEASUREMENT_READ,
        RSI_MEASUREMENT_EXTEND,
        RSI_ATTESTATION_TOKEN_INIT,
        RSI_ATTESTATION_TOKEN_CONTINUE,
        RSI_REALM_CONFIG,
        RSI_IPA_STATE_SET,
        RSI_IPA_STATE_GET,
        RSI_HOST_CALL,
    )
}
