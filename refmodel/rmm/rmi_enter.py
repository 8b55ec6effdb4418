"""RMI_REC_ENTER: its failure conditions, and what entry does with what the previous exit left to complete.

Source: DEN0137 1.0-rel0, B4.3.14, A4.2, A5.4 and A6.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from refmodel.rmm.access import abort_exit, output_address
from refmodel.rmm.calls import AccessKind, RealmAccess, RecEnter
from refmodel.rmm.command import Command, Condition, Maybe, Success, Verdict, failed
from refmodel.rmm.context import AddrIsGranuleAligned, Context
from refmodel.rmm.exits import ICH_HCR_HOST, SF, SSE, WNR, sas_of, srt_of
from refmodel.rmm.results import Entered
from refmodel.rmm.rtt import RttWalk, Walk
from refmodel.rmm.state import Author, Content, LastExit, Rec, State
from refmodel.rmm.types import (
    RMM_GRANULE_SIZE,
    RMM_RTT_PAGE_LEVEL,
    EntryState,
    GranuleState,
    RealmState,
    RecResponse,
    RecState,
    Ripas,
    Rmi,
    Rsi,
)

_INPUT = failed(Rmi.RMI_ERROR_INPUT)
_REC = failed(Rmi.RMI_ERROR_REC)

_LR_HW: Final = 1 << 61
_LR_STATE_SHIFT: Final = 62
_LR_PRIORITY_SHIFT: Final = 48
_LR_RES0: Final = 0xE << 56 | 0x7 << 45
_LR_PINTID: Final = 0x1FFF << 32
_LR_EOI: Final = 1 << 41


def _lr_verdict(lr: int, priority_res0: int) -> Verdict:
    """Whether a List Register value is invalid (D_XZVGB); what an inactive one holds may be looked at or not."""
    if lr & _LR_HW:
        return True if lr >> _LR_STATE_SHIFT else Maybe("HW is set in a List Register that is not in use")
    bad = lr & (_LR_RES0 | _LR_PINTID & ~_LR_EOI) or lr >> _LR_PRIORITY_SHIFT & priority_res0
    vintid = lr & 0xFFFFFFFF
    if bad or 1020 <= vintid < 8192 or vintid >= 1 << 24:
        return Maybe("reserved bits or a reserved vINTID in a List Register")
    return False


def _gicv3_invalid(c: Context) -> Verdict:
    """``!Gicv3ConfigIsValid`` (B3.18)."""
    enter = c.enter
    if enter.gicv3_hcr & ~ICH_HCR_HOST:
        return True
    lrs = [lr for lr in enter.gicv3_lrs[: c.p.gicv3_num_lrs + 1] if lr]
    verdicts = [_lr_verdict(lr, c.p.priority_res0) for lr in lrs]
    if True in verdicts:
        return True
    in_use = [lr & 0xFFFFFFFF for lr in lrs if lr >> _LR_STATE_SHIFT]
    if len(set(in_use)) != len(in_use):
        return Maybe("two List Registers with one vINTID")
    return next((verdict for verdict in verdicts if verdict is not False), False)


def _owner_state(c: Context) -> RealmState:
    return c.Realm(c.the_rec.owner).state


def _mmio(c: Context) -> Verdict:
    if not c.enter.emul_mmio or c.the_rec.emulatable_abort:
        return False
    # A4.2.3: emul_mmio is ignored if an SEA is injected; the condition itself does not say so.
    return Maybe("emul_mmio beside inject_sea") if c.enter.inject_sea else True


_UNPROTECTED_ABORTS: Final = (LastExit.EMULATABLE_ABORT, LastExit.UNPROTECTED_ABORT)


def _sea(c: Context) -> Verdict:
    """No condition of the specification: TF-RMM refuses an SEA where no abort at an Unprotected IPA asks for one."""
    if c.enter.inject_sea and c.the_rec.last_exit not in _UNPROTECTED_ABORTS:
        return Maybe("inject_sea without a Data Abort at an Unprotected IPA")
    return False


# Entry -------------------------------------------------------------------------------------------------------------


def RecRipasChangeResponse(rec: Rec) -> RecResponse:
    """What RSI_IPA_STATE_SET returns as response.  Source: B3.40."""
    rejected = (
        rec.ripas_value is Ripas.RAM and rec.ripas_addr != rec.ripas_top and rec.ripas_response is RecResponse.REJECT
    )
    return RecResponse.REJECT if rejected else RecResponse.ACCEPT


def rsi_gprs(rec: Rec, *outputs: int) -> tuple[int, ...]:
    """Registers after an RSI command: X0 onwards, X1 to X16 that are no outputs are 0 (R_KBWJD)."""
    return (*outputs, *(0,) * (17 - len(outputs)), *rec.gprs[17:])


def emulated_value(esr: int, value: int) -> int:
    """What an emulated load leaves in its register: truncated to the access, extended as the instruction does."""
    bits = 8 << sas_of(esr)
    value &= (1 << bits) - 1
    if esr & SSE and value >> bits - 1:
        value |= -1 << bits
    return value & ((1 << 64) - 1 if esr & SF else (1 << 32) - 1)


def _complete_abort(rec: Rec, enter: RecEnter) -> Rec:
    """The instruction that aborted was emulated: it is skipped, and a load has its value."""
    gprs = list(rec.gprs)
    srt = srt_of(rec.esr)
    if not rec.esr & WNR and srt != 31:
        gprs[srt] = emulated_value(rec.esr, enter.gprs[0])
    return rec._replace(gprs=tuple(gprs), pc=rec.pc + 4)


def _running(c: Context, rec: Rec, *, sea: bool = False) -> Success:
    enter = c.enter
    rec = rec._replace(
        state=RecState.REC_RUNNING,
        host_call_pending=False,
        trap_wfi=enter.trap_wfi,
        trap_wfe=enter.trap_wfe,
        esr=0,
    )
    return Success(c.state.with_rec(c.rec, rec), result=Entered(c.rec, rec.gprs, rec.pc, sea))


def _host_call(c: Context, rec: Rec) -> Iterator[Success]:
    """Copy enter.gprs to the Host call structure; if that is not mapped, leave again (A4.2.2)."""
    state = c.state
    realm = state.realms[rec.owner]
    ipa = rec.gprs[1]
    walk = RttWalk(state, realm, ipa, RMM_RTT_PAGE_LEVEL, c.p.stride)
    mapped = walk.rtte.state is EntryState.ASSIGNED and walk.rtte.ripas is Ripas.RAM
    done = rec._replace(gprs=rsi_gprs(rec, Rsi.RSI_SUCCESS))
    if mapped:
        written = _host_call_written(c, walk, realm.serial, ipa)
        running = _running(c, done)
        yield running._replace(state=written.with_rec(c.rec, running.state.recs[c.rec]))
        return
    access = RealmAccess(c.rec, ipa, AccessKind.WRITE, isv=False)
    aborted = abort_exit(state, access, walk, c.vcpu, unprotected=False, permission=False, why="Host call not mapped")
    yield Success(aborted.state, result=aborted.result, reason=aborted.reason)
    if walk.rtte.ripas is Ripas.EMPTY:
        yield _running(c, done)._replace(reason="Host call structure with RIPAS EMPTY: TF-RMM returns to the realm")


def _host_call_written(c: Context, walk: Walk, serial: int, ipa: int) -> State:
    granule = output_address(walk, ipa, c.p.stride) & ~(RMM_GRANULE_SIZE - 1)
    content = Content(Author.RMM, serial, 1)
    return c.state.with_granule(granule, c.state.granule(granule)._replace(content=content))


def _enter(c: Context) -> Iterable[Success]:
    rec, enter = c.the_rec, c.enter
    if rec.host_call_pending:
        yield from _host_call(c, rec)
        return
    match rec.last_exit:
        case LastExit.RIPAS_CHANGE:
            rec = rec._replace(ripas_response=RecResponse(enter.ripas_response))
            gprs = rsi_gprs(rec, Rsi.RSI_SUCCESS, rec.ripas_addr, RecRipasChangeResponse(rec))
            yield _running(c, rec._replace(gprs=gprs))
        case LastExit.EMULATABLE_ABORT | LastExit.UNPROTECTED_ABORT if enter.inject_sea:
            yield _running(c, rec, sea=True)
        case LastExit.EMULATABLE_ABORT if enter.emul_mmio:
            yield _running(c, _complete_abort(rec, enter))
        case _:
            yield _running(c, rec)


REC_ENTER: Final = Command(
    name="RMI_REC_ENTER",
    fid=0xC400015C,
    section="B4.3.14",
    inputs=("rec", "run_ptr"),
    conditions=(
        Condition("run_align", lambda c: not AddrIsGranuleAligned(c.run_ptr), _INPUT),
        Condition("run_bound", lambda c: not c.PaIsDelegable(c.run_ptr), _INPUT),
        Condition("run_pas", lambda c: not c.AccessPermittedNS(c.run_ptr), _INPUT),
        Condition("rec_align", lambda c: not AddrIsGranuleAligned(c.rec), _INPUT),
        Condition("rec_bound", lambda c: not c.PaIsDelegable(c.rec), _INPUT),
        Condition("rec_gran_state", lambda c: c.Granule(c.rec).state is not GranuleState.REC, _INPUT),
        Condition("realm_new", lambda c: _owner_state(c) is RealmState.REALM_NEW, failed(Rmi.RMI_ERROR_REALM, 0)),
        Condition(
            "system_off", lambda c: _owner_state(c) is RealmState.REALM_SYSTEM_OFF, failed(Rmi.RMI_ERROR_REALM, 1)
        ),
        Condition("rec_state", lambda c: c.the_rec.state is RecState.REC_RUNNING, _REC),
        Condition("rec_runnable", lambda c: not c.the_rec.runnable, _REC),
        Condition("rec_mmio", _mmio, _REC),
        Condition("rec_gicv3", _gicv3_invalid, _REC),
        Condition("rec_psci", lambda c: c.the_rec.psci_pending, _REC),
        Condition("(inject_sea)", _sea, _REC),
    ),
    order=(
        (
            ("rec_align", "rec_bound", "rec_gran_state", "run_pas", "run_bound", "run_align"),
            (
                "rec_state",
                "rec_runnable",
                "rec_mmio",
                "realm_new",
                "system_off",
                "rec_gicv3",
                "rec_psci",
                "(inject_sea)",
            ),
        ),
    ),
    success=_enter,
)
