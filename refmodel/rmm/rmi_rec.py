"""RMI commands that create and destroy RECs, and complete PSCI requests.  Entry to a REC is in ``rmi_enter``.

Source: DEN0137 1.0-rel0, B4.3.7, B4.3.11 to B4.3.13.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from refmodel.rmm.command import Command, Condition, Success, failed
from refmodel.rmm.context import AddrIsGranuleAligned, Context, IllFormed
from refmodel.rmm.measurement import RimExtendRec
from refmodel.rmm.state import REC_GPRS, ZERO_GPRS, Author, Content, Rec, delegated, owned
from refmodel.rmm.types import (
    FID_PSCI_AFFINITY_INFO,
    FID_PSCI_CPU_ON,
    GranuleState,
    Psci,
    PsciReturnCodeEncode,
    RealmState,
    RecState,
    Rmi,
)

_INPUT = failed(Rmi.RMI_ERROR_INPUT)
_INPUT_1 = failed(Rmi.RMI_ERROR_INPUT, outputs=1)
_REALM = failed(Rmi.RMI_ERROR_REALM)
_REC = failed(Rmi.RMI_ERROR_REC)
_MAX_AUX: Final = 16
_MPIDR_MASK: Final = 0xFFFFFF0F
_RUNNABLE: Final = 1


def RecIndex(mpidr: int) -> int:
    """Index of the REC that an MPIDR value names.  Source: B3.38."""
    aff0, aff1, aff2, aff3 = mpidr & 0xF, mpidr >> 8 & 0xFF, mpidr >> 16 & 0xFF, mpidr >> 24 & 0xFF
    return aff0 + 16 * aff1 + 16 * 256 * aff2 + 16 * 256 * 256 * aff3


def mpidr_of(index: int) -> int:
    """The MPIDR value of a REC index: the inverse of ``RecIndex``."""
    return index & 0xF | (index >> 4 & 0xFF) << 8 | (index >> 12 & 0xFF) << 16 | (index >> 20 & 0xFF) << 24


def _aux_count(c: Context) -> Iterable[Success]:
    yield Success(c.state, (c.p.rec_aux_count,))


REC_AUX_COUNT: Final = Command(
    name="RMI_REC_AUX_COUNT",
    fid=0xC4000167,
    section="B4.3.11",
    inputs=("rd",),
    outputs=("aux_count",),
    conditions=(
        Condition("rd_align", lambda c: not AddrIsGranuleAligned(c.rd), _INPUT_1),
        Condition("rd_bound", lambda c: not c.PaIsDelegable(c.rd), _INPUT_1),
        Condition("rd_state", lambda c: c.Granule(c.rd).state is not GranuleState.RD, _INPUT_1),
    ),
    success=_aux_count,
)


def _aux(c: Context) -> tuple[int, ...]:
    """The first ``num_aux`` entries of ``params.aux``; the functions over them need at most 16."""
    params = c.rec_params
    if params.num_aux > _MAX_AUX:
        raise IllFormed
    return (*params.aux, *(0,) * _MAX_AUX)[: params.num_aux]


def _aux_alias(c: Context) -> bool:
    aux = _aux(c)
    return c.rec in aux or len(set(aux)) != len(aux)


def _aux_not_delegated(c: Context) -> bool:
    """``!AuxStateEqual(aux, num_aux, DELEGATED)`` (B3.13)."""
    return any(not c.PaIsDelegable(addr) or c.Granule(addr).state is not GranuleState.DELEGATED for addr in _aux(c))


def _create(c: Context) -> Iterable[Success]:
    params, realm, state = c.rec_params, c.realm, c.state
    aux = _aux(c)
    rec = Rec(
        owner=c.rd,
        mpidr=params.mpidr & _MPIDR_MASK,
        runnable=bool(params.flags & _RUNNABLE),
        gprs=(*params.gprs, *(0,) * (REC_GPRS - len(params.gprs))),
        pc=params.pc,
        aux=aux,
    )
    rim = realm.measurements[0]
    if rec.runnable:
        rim = RimExtendRec(realm.hash_algo, rim, params.flags, params.pc, params.gprs)
    content = Content(Author.RMM, realm.serial)
    granules = {c.rec: owned(GranuleState.REC, content)}
    granules.update((addr, owned(GranuleState.REC_AUX, content)) for addr in aux)
    yield Success(
        state._replace(
            granules=state.granules.update(granules),
            recs=state.recs.set(c.rec, rec),
            realms=state.realms.set(
                c.rd,
                realm._replace(
                    rec_index=realm.rec_index + 1,
                    num_recs=realm.num_recs + 1,
                    measurements=(rim, *realm.measurements[1:]),
                ),
            ),
        )
    )


REC_CREATE: Final = Command(
    name="RMI_REC_CREATE",
    fid=0xC400015A,
    section="B4.3.12",
    inputs=("rd", "rec", "params_ptr"),
    conditions=(
        Condition("params_align", lambda c: not AddrIsGranuleAligned(c.params_ptr), _INPUT),
        Condition("params_bound", lambda c: not c.PaIsDelegable(c.params_ptr), _INPUT),
        Condition("params_pas", lambda c: not c.AccessPermittedNS(c.params_ptr), _INPUT),
        Condition("rec_align", lambda c: not AddrIsGranuleAligned(c.rec), _INPUT),
        Condition("rec_bound", lambda c: not c.PaIsDelegable(c.rec), _INPUT),
        Condition("rec_state", lambda c: c.Granule(c.rec).state is not GranuleState.DELEGATED, _INPUT),
        Condition("rd_align", lambda c: not AddrIsGranuleAligned(c.rd), _INPUT),
        Condition("rd_bound", lambda c: not c.PaIsDelegable(c.rd), _INPUT),
        Condition("rd_state", lambda c: c.Granule(c.rd).state is not GranuleState.RD, _INPUT),
        Condition("realm_state", lambda c: c.realm.state is not RealmState.REALM_NEW, _REALM),
        Condition("num_recs", lambda c: c.realm.num_recs == (1 << c.p.max_recs_order) - 1, _REALM),
        Condition("mpidr_index", lambda c: RecIndex(c.rec_params.mpidr) != c.realm.rec_index, _INPUT),
        Condition("num_aux", lambda c: c.rec_params.num_aux != c.p.rec_aux_count, _INPUT),
        Condition("aux_align", lambda c: not all(map(AddrIsGranuleAligned, _aux(c))), _INPUT),
        Condition("aux_alias", _aux_alias, _INPUT),
        Condition("aux_state", _aux_not_delegated, _INPUT),
    ),
    order=((("rd_bound", "rd_state"), ("realm_state", "num_recs")),),
    success=_create,
)


def _destroy(c: Context) -> Iterable[Success]:
    rec, state = c.the_rec, c.state
    realm = state.realms[rec.owner]
    granules = {addr: delegated(state.granules[addr].content) for addr in (c.rec, *rec.aux)}
    yield Success(
        state._replace(
            granules=state.granules.update(granules),
            recs=state.recs.remove(c.rec),
            realms=state.realms.set(rec.owner, realm._replace(num_recs=realm.num_recs - 1)),
        )
    )


REC_DESTROY: Final = Command(
    name="RMI_REC_DESTROY",
    fid=0xC400015B,
    section="B4.3.13",
    inputs=("rec",),
    conditions=(
        Condition("rec_align", lambda c: not AddrIsGranuleAligned(c.rec), _INPUT),
        Condition("rec_bound", lambda c: not c.PaIsDelegable(c.rec), _INPUT),
        Condition("rec_gran_state", lambda c: c.Granule(c.rec).state is not GranuleState.REC, _INPUT),
        Condition("rec_state", lambda c: c.the_rec.state is RecState.REC_RUNNING, _REC),
    ),
    order=((("rec_bound", "rec_gran_state"), ("rec_state",)),),
    success=_destroy,
)


def PsciReturnCodePermitted(calling: Rec, target: Rec, status: int) -> bool:
    """Whether the Host may complete a request with ``status``: it can deny to start a VPE that is off (B3.27)."""
    if status == Psci.PSCI_SUCCESS:
        return True
    denied = status == PsciReturnCodeEncode(Psci.PSCI_DENIED)
    return calling.gprs[0] == FID_PSCI_CPU_ON and not target.runnable and denied


def _with_result(calling: Rec, code: int) -> Rec:
    """The calling REC once its request is complete: the code in X0, arguments cleared."""
    return calling._replace(psci_pending=False, gprs=(PsciReturnCodeEncode(code), 0, 0, 0, *calling.gprs[4:]))


def _psci_complete(c: Context) -> Iterable[Success]:
    state = c.state
    calling, target = c.Rec(c.calling_rec), c.Rec(c.target_rec)
    code = c.status
    if c.status == Psci.PSCI_SUCCESS:
        if calling.gprs[0] == FID_PSCI_CPU_ON:
            code = Psci.PSCI_ALREADY_ON if target.runnable else Psci.PSCI_SUCCESS
            if not target.runnable:
                started = target._replace(gprs=(calling.gprs[3], *ZERO_GPRS[1:]), pc=calling.gprs[2], runnable=True)
                state = state.with_rec(c.target_rec, started)
        elif calling.gprs[0] == FID_PSCI_AFFINITY_INFO:
            code = Psci.PSCI_SUCCESS if target.runnable else Psci.PSCI_OFF
    yield Success(state.with_rec(c.calling_rec, _with_result(calling, code)))


PSCI_COMPLETE: Final = Command(
    name="RMI_PSCI_COMPLETE",
    fid=0xC4000164,
    section="B4.3.7",
    inputs=("calling_rec", "target_rec", "status"),
    conditions=(
        Condition("alias", lambda c: c.calling_rec == c.target_rec, _INPUT),
        Condition("calling_align", lambda c: not AddrIsGranuleAligned(c.calling_rec), _INPUT),
        Condition("calling_bound", lambda c: not c.PaIsDelegable(c.calling_rec), _INPUT),
        Condition("calling_state", lambda c: c.Granule(c.calling_rec).state is not GranuleState.REC, _INPUT),
        Condition("target_align", lambda c: not AddrIsGranuleAligned(c.target_rec), _INPUT),
        Condition("target_bound", lambda c: not c.PaIsDelegable(c.target_rec), _INPUT),
        Condition("target_state", lambda c: c.Granule(c.target_rec).state is not GranuleState.REC, _INPUT),
        Condition("pending", lambda c: not c.Rec(c.calling_rec).psci_pending, _INPUT),
        Condition("owner", lambda c: c.Rec(c.target_rec).owner != c.Rec(c.calling_rec).owner, _INPUT),
        Condition("target", lambda c: c.Rec(c.target_rec).mpidr != c.Rec(c.calling_rec).gprs[1], _INPUT),
        Condition(
            "status",
            lambda c: not PsciReturnCodePermitted(c.Rec(c.calling_rec), c.Rec(c.target_rec), c.status),
            _INPUT,
        ),
    ),
    success=_psci_complete,
)
