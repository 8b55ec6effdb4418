"""REC exits: what the Host is told, and what the RMM records in the REC for the next entry.

Source: DEN0137 1.0-rel0, A4.3, A6.1, A6.2 and B4.4.16.
"""

from __future__ import annotations

from typing import Final

from refmodel.rmm.calls import Vcpu
from refmodel.rmm.results import Exited, RecExit
from refmodel.rmm.state import REC_GPRS, LastExit, Rec, State
from refmodel.rmm.types import ExitReason, RecState

# ESR_EL2 fields, Data and Instruction Aborts (DDI 0487, D24.2.40).
EC_SHIFT: Final = 26
EC_WFX: Final = 0x01
EC_INSTRUCTION_ABORT: Final = 0x20
EC_DATA_ABORT: Final = 0x24
EC_SERROR: Final = 0x2F
_EC: Final = 0x3F << EC_SHIFT
IL: Final = 1 << 25
ISV: Final = 1 << 24
_SAS_SHIFT: Final = 22
SSE: Final = 1 << 21
_SRT_SHIFT: Final = 16
SF: Final = 1 << 15
_SET: Final = 3 << 11
_FNV: Final = 1 << 10
_EA: Final = 1 << 9
WNR: Final = 1 << 6
_FSC: Final = 0x3F
_TI: Final = 3
_SERROR_FIELDS: Final = 1 << 24 | 7 << 10 | 1 << 9 | 0x3F
"""IDS, AET, EA and DFSC of an SError's syndrome."""

_ABORT_FIELDS: Final = _EC | _SET | _FNV | _EA | _FSC
_EMULATABLE_FIELDS: Final = _ABORT_FIELDS | ISV | 3 << _SAS_SHIFT | SF | WNR

ICH_HCR_HOST: Final = sum(1 << bit for bit in (1, 2, 3, 4, 5, 6, 7, 14))
"""UIE, LRENPIE, NPIE, VGrp0EIE, VGrp0DIE, VGrp1EIE, VGrp1DIE and TDIR of ICH_HCR_EL2."""
_ICH_HCR_EOICOUNT: Final = 0x1F << 27


def sas_of(esr: int) -> int:
    """log2 of the bytes of an access that ESR_EL2 describes."""
    return esr >> _SAS_SHIFT & 3


def srt_of(esr: int) -> int:
    """Register that an access transfers, 31 for XZR."""
    return esr >> _SRT_SHIFT & 31


def abort_syndrome(fetch: bool, level: int, permission: bool, instruction: int) -> int:
    """ESR_EL2 of a stage 2 translation or permission fault at ``level``; ``instruction`` has ISV to WnR."""
    ec = EC_INSTRUCTION_ABORT if fetch else EC_DATA_ABORT
    # Fault status codes: 0b0001LL and 0b0011LL, and 0b101011 for a translation fault at level -1 (FEAT_LPA2).
    fsc = 0b101011 if level < 0 else (0b001100 if permission else 0b000100) | level
    return ec << EC_SHIFT | IL | instruction | fsc


def instruction_syndrome(isv: bool, sas: int, sse: bool, srt: int, sf: bool, write: bool) -> int:
    """ISV, SAS, SSE, SRT, SF and WnR of a Data Abort; only WnR if the syndrome is not valid."""
    described = ISV | sas << _SAS_SHIFT | SSE * sse | srt << _SRT_SHIFT | SF * sf
    return (described if isv else 0) | WNR * write


def reported(esr: int, emulatable: bool, unprotected: bool) -> int:
    """The part of an abort's ESR_EL2 that exit.esr has (A4.3.4.2, A4.3.4.3)."""
    if emulatable:
        return esr & _EMULATABLE_FIELDS
    return esr & (_ABORT_FIELDS | (IL if unprotected else 0))


def wfx_reported(esr: int) -> int:
    """The part of a WFI's or WFE's ESR_EL2 that exit.esr has (A4.3.4.1)."""
    return esr & (_EC | _TI)


def serror_reported(esr: int) -> int:
    """The part of an SError's ESR_EL2 that exit.esr has (A4.3.10)."""
    return esr & (_EC | _SERROR_FIELDS)


def hpfar(ipa: int) -> int:
    """HPFAR_EL2 for a faulting IPA: IPA[55:12] at bit 4."""
    return ipa >> 12 << 4


def exit_gprs(*values: int) -> tuple[int, ...]:
    """exit.gprs with its first registers given."""
    return (*values, *(0,) * (31 - len(values)))


def saved(rec: Rec, *registers: int) -> tuple[int, ...]:
    """Gprs of the REC with X0 onwards as the realm had them."""
    return (*registers, *rec.gprs[len(registers) : REC_GPRS])


def leave(state: State, addr: int, rec: Rec, reason: LastExit, exit_: RecExit, vcpu: Vcpu) -> tuple[State, Exited]:
    """The REC exits: ``rec`` holds what is particular to this exit, everything that every exit does is done here."""
    ripas = reason is LastExit.RIPAS_CHANGE
    after = rec._replace(
        state=RecState.REC_READY,
        last_exit=reason,
        emulatable_abort=reason is LastExit.EMULATABLE_ABORT,
        esr=rec.esr if reason is LastExit.EMULATABLE_ABORT else 0,
        ripas_addr=rec.ripas_addr if ripas else 0,
        ripas_top=rec.ripas_top if ripas else 0,
        trap_wfi=False,
        trap_wfe=False,
    )
    told = exit_._replace(
        gicv3_hcr=vcpu.ich_hcr & (ICH_HCR_HOST | _ICH_HCR_EOICOUNT),
        gicv3_lrs=vcpu.ich_lrs,
        gicv3_misr=vcpu.ich_misr,
        gicv3_vmcr=vcpu.ich_vmcr,
        cntp_ctl=vcpu.cntp_ctl,
        cntp_cval=vcpu.cntp_cval,
        cntv_ctl=vcpu.cntv_ctl,
        cntv_cval=vcpu.cntv_cval,
        pmu_ovf_status=int(vcpu.pmu_overflow),
    )
    return state.with_rec(addr, after), Exited(told)


def leave_plainly(
    state: State, addr: int, rec: Rec, reason: ExitReason, vcpu: Vcpu, esr: int = 0, gprs: tuple[int, ...] = ()
) -> tuple[State, Exited]:
    """An exit that leaves nothing to complete: an interrupt, WFI or WFE."""
    return leave(state, addr, rec, LastExit.OTHER, RecExit(reason, esr, gprs=exit_gprs(*gprs)), vcpu)
