"""A realm at work: accesses by HIPAS and RIPAS, REC entry and exit, with results written by hand."""

from __future__ import annotations

import pytest

from refmodel.rmm.calls import (
    AccessKind,
    Interrupt,
    RealmAccess,
    RealmHvc,
    RealmInterrupt,
    RealmWfx,
    Vcpu,
)
from refmodel.rmm.results import Entered, RecExit
from refmodel.rmm.rmi_enter import emulated_value
from refmodel.rmm.scenario import UNPROTECTED
from refmodel.rmm.state import Author, Content, LastExit
from refmodel.rmm.step import step
from refmodel.rmm.types import ExitReason, RecState
from refmodel.tests.rmm_running import (
    DATA_ABORT,
    EXIT,
    FETCH,
    IL,
    INSTRUCTION_ABORT,
    ISV,
    MINUS_ONE,
    PAGE,
    READ,
    WNR,
    WRITE,
    enter,
    exit_of,
    world,
)
from refmodel.tests.rmm_worlds import BASE, PARAMETERS, only, permitted

# Accesses: the tables of A5.2.9 and A5.3.1 -------------------------------------------------------------------------

SEA, SIZE = "Synchronous External Abort taken to the realm", "stage 1 Address Size Fault taken to the realm"
UNKNOWN = "Unknown exception taken to the realm"


@pytest.mark.parametrize("kind", [READ, WRITE, FETCH])
@pytest.mark.parametrize(
    ("ipa", "expected"),
    [
        (0, "accesses"),
        (PAGE, SEA),
        (2 * PAGE, EXIT),
        (3 * PAGE, EXIT),
        (4 * PAGE, EXIT),
        (5 * PAGE, SEA),
        (1 << 40, SIZE),
    ],
)
def test_protected_accesses(ipa: int, expected: str, kind: AccessKind) -> None:
    _, state, _, rec = world()
    assert str(only(state, RealmAccess(rec, ipa, kind)).result).startswith(expected)


@pytest.mark.parametrize(
    ("page", "kind", "expected"),
    [
        (0, READ, f"accesses {BASE:#x}"),
        (0, WRITE, f"accesses {BASE:#x}"),
        (1, READ, f"accesses {BASE + PAGE:#x}"),
        (1, WRITE, EXIT),
        (2, READ, EXIT),
        (2, WRITE, f"accesses {BASE + 2 * PAGE:#x}"),
        (3, READ, EXIT),
        (3, WRITE, EXIT),
        (0, FETCH, SEA),
        (3, FETCH, SEA),
    ],
)
def test_unprotected_accesses(page: int, kind: AccessKind, expected: str) -> None:
    _s, state, _, rec = world()
    for offset in range(3):
        # What is mapped must be Non-secure to be reached; the tests' own granules start at the same place.
        addr = BASE + offset * PAGE
        state = state._replace(granules=state.granules.remove(addr))
    assert str(only(state, RealmAccess(rec, UNPROTECTED + page * PAGE, kind)).result) == expected


def test_a_mapped_granule_that_is_not_non_secure_faults() -> None:
    _, state, _, rec = world()
    outcomes = permitted(state, RealmAccess(rec, UNPROTECTED))
    assert {str(outcome.result) for outcome in outcomes} == {
        "Granule Protection Fault taken to the realm",
        "Synchronous External Abort taken to the realm",
    }


def test_a_store_marks_the_granule_as_the_realms() -> None:
    _, state, rd, rec = world()
    outcome = only(state, RealmAccess(rec, 8, WRITE, value=5))
    data = int(str(outcome.result).split()[1], 16) & ~0xFFF
    assert outcome.state.granule(data).content == Content(Author.REALM, state.realms[rd].serial, 5)


def test_data_abort_exit_at_a_protected_ipa() -> None:
    _, state, _, rec = world()
    outcome = only(state, RealmAccess(rec, 2 * PAGE + 8, WRITE, value=5, far=0xFFFF000000000008))
    told = exit_of(outcome)
    # Translation fault at level 3; ISV, WnR, far and the value are not the Host's to know.
    assert (told.exit_reason, told.esr) == (ExitReason.RMI_EXIT_SYNC, DATA_ABORT | 0b000111)
    assert (told.hpfar, told.far, told.gprs) == (2 << 4, 0, (0,) * 31)
    after = outcome.state.recs[rec]
    assert (after.state, after.emulatable_abort, after.last_exit) == (RecState.REC_READY, False, LastExit.OTHER)


def test_instruction_abort_exit() -> None:
    _, state, _, rec = world()
    told = exit_of(only(state, RealmAccess(rec, 3 * PAGE, FETCH)))
    assert (told.esr, told.hpfar, told.far) == (INSTRUCTION_ABORT | 0b000111, 3 << 4, 0)


def test_emulatable_write() -> None:
    _, state, _, rec = world()
    access = RealmAccess(rec, UNPROTECTED + 3 * PAGE + 0x10, WRITE, sas=2, sf=False, srt=7, value=0xAB, far=0x12345010)
    outcome = only(state, access)
    told = exit_of(outcome)
    assert told.esr == DATA_ABORT | ISV | 2 << 22 | WNR | 0b000111
    assert (told.far, told.gprs[0], sum(told.gprs[1:])) == (0x010, 0xAB, 0)
    assert told.hpfar == (UNPROTECTED + 3 * PAGE) >> 12 << 4
    assert outcome.state.recs[rec].emulatable_abort


def test_non_emulatable_at_an_unprotected_ipa_reports_il() -> None:
    _, state, _, rec = world()
    outcome = only(state, RealmAccess(rec, UNPROTECTED + PAGE, WRITE, isv=False, value=9))
    told = exit_of(outcome)
    # Permission fault at level 3.
    assert (told.esr, told.far, told.gprs[0]) == (DATA_ABORT | IL | 0b001111, 0, 0)
    assert not outcome.state.recs[rec].emulatable_abort


# Entry after an abort ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sas", "sse", "sf", "given", "loaded"),
    [
        (0, False, True, 0x1FF, 0xFF),
        (0, True, True, 0x80, 0xFFFFFFFFFFFFFF80),
        (0, True, False, 0x80, 0xFFFFFF80),
        (1, True, True, 0x7FFF, 0x7FFF),
        (2, False, False, 0x1_FFFFFFFF, 0xFFFFFFFF),
        (3, False, True, MINUS_ONE, MINUS_ONE),
    ],
)
def test_an_emulated_read_is_completed_at_entry(sas: int, sse: bool, sf: bool, given: int, loaded: int) -> None:
    s, state, _, rec = world()
    state = only(state, RealmAccess(rec, UNPROTECTED + 3 * PAGE, READ, sas=sas, sse=sse, sf=sf, srt=5)).state
    (outcome,) = enter(s, state, rec, emul_mmio=True, gprs=(given, *(0,) * 30))
    assert isinstance(outcome.result, Entered)
    assert outcome.result.gprs[5] == loaded
    assert outcome.result.pc == 4


def test_an_emulated_load_to_xzr_and_a_store_change_no_register() -> None:
    s, state, _, rec = world()
    for access in (
        RealmAccess(rec, UNPROTECTED + 3 * PAGE, READ, srt=31),
        RealmAccess(rec, UNPROTECTED + 3 * PAGE, WRITE, srt=5),
    ):
        left = only(state, access).state
        (outcome,) = enter(s, left, rec, emul_mmio=True, gprs=(0x55,) * 31)
        assert outcome.result == Entered(rec, (0,) * 32, 4)


def test_without_emulation_the_access_is_tried_again() -> None:
    s, state, _, rec = world()
    state = only(state, RealmAccess(rec, UNPROTECTED + 3 * PAGE, srt=5)).state
    (outcome,) = enter(s, state, rec, gprs=(7,) * 31)
    assert outcome.result == Entered(rec, (0,) * 32, 0)


def test_injected_sea_after_an_abort_at_an_unprotected_ipa() -> None:
    s, state, _, rec = world()
    for isv in (True, False):
        left = only(state, RealmAccess(rec, UNPROTECTED + 3 * PAGE, isv=isv)).state
        (outcome,) = enter(s, left, rec, inject_sea=True)
        assert outcome.result == Entered(rec, (0,) * 32, 0, sea=True)


def test_emulation_without_an_emulatable_abort_is_refused() -> None:
    s, state, _, rec = world()
    state = only(state, RealmAccess(rec, 2 * PAGE)).state
    (outcome,) = enter(s, state, rec, emul_mmio=True)
    assert str(outcome.result) == "RMI_ERROR_REC"


def test_sign_extension_of_a_byte() -> None:
    assert emulated_value(1 << 21 | 1 << 15, 0xFF) == MINUS_ONE


# Interrupts, WFI, fields of every exit -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "reason", "esr"),
    [
        (Interrupt.IRQ, ExitReason.RMI_EXIT_IRQ, 0),
        (Interrupt.FIQ, ExitReason.RMI_EXIT_FIQ, 0),
        (Interrupt.SERROR, ExitReason.RMI_EXIT_SERROR, 0x2F << 26),
    ],
)
def test_interrupts(kind: Interrupt, reason: ExitReason, esr: int) -> None:
    _, state, _, rec = world()
    assert exit_of(only(state, RealmInterrupt(rec, kind))) == RecExit(reason, esr)


def test_gic_and_timer_fields() -> None:
    _, state, _, rec = world()
    vcpu = Vcpu(
        ich_hcr=MINUS_ONE,
        ich_lrs=tuple(range(16)),
        ich_misr=3,
        ich_vmcr=4,
        cntp_ctl=5,
        cntp_cval=6,
        cntv_ctl=7,
        cntv_cval=8,
        pmu_overflow=True,
    )
    (outcome,) = step(state, RealmInterrupt(rec), PARAMETERS, vcpu)
    told = exit_of(outcome)
    # EOIcount, TDIR and the seven maintenance interrupt enables.
    assert told.gicv3_hcr == 0xF80040FE
    assert told.gicv3_lrs == tuple(range(16))
    assert (told.gicv3_misr, told.gicv3_vmcr) == (3, 4)
    assert (told.cntp_ctl, told.cntp_cval, told.cntv_ctl, told.cntv_cval, told.pmu_ovf_status) == (5, 6, 7, 8, 1)


@pytest.mark.parametrize(
    ("ti", "trap", "expected"),
    [
        (0, "trap_wfi", True),
        (0, "trap_wfe", False),
        (1, "trap_wfe", True),
        (1, "trap_wfi", False),
        (2, "trap_wfi", True),
        (3, "trap_wfe", True),
    ],
)
def test_wfi_and_wfe(ti: int, trap: str, expected: bool) -> None:
    s, state, _, rec = world()
    state = only(state, RealmInterrupt(rec)).state
    (entered,) = enter(s, state, rec, **{trap: True})
    outcome = only(entered.state, RealmWfx(rec, ti, timeout=99))
    if not expected:
        assert str(outcome.result) == "done"
        return
    told = exit_of(outcome)
    assert (told.exit_reason, told.esr) == (ExitReason.RMI_EXIT_SYNC, 1 << 26 | ti)
    assert told.gprs[0] == (99 if ti & 2 else 0)


def test_hvc_is_unknown_to_the_realm() -> None:
    _, state, _, rec = world()
    assert str(only(state, RealmHvc(rec)).result) == UNKNOWN


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"gicv3_hcr": 0x40FE}, {"entered, pc 0x0"}),
        ({"gicv3_hcr": 1}, {"RMI_ERROR_REC"}),
        ({"gicv3_hcr": 1 << 27}, {"RMI_ERROR_REC"}),
        ({"gicv3_lrs": (1 << 62 | 1 << 61 | 27,)}, {"RMI_ERROR_REC"}),
        ({"gicv3_lrs": (1 << 61 | 27,)}, {"RMI_ERROR_REC", "entered, pc 0x0"}),
        ({"gicv3_lrs": (1 << 62 | 0xA0 << 48 | 27,)}, {"entered, pc 0x0"}),
        ({"gicv3_lrs": (1 << 62 | 1 << 45 | 27,)}, {"RMI_ERROR_REC", "entered, pc 0x0"}),
        ({"gicv3_lrs": (1 << 62 | 27, 1 << 62 | 27)}, {"RMI_ERROR_REC", "entered, pc 0x0"}),
        ({"gicv3_lrs": (1 << 62 | 1021,)}, {"RMI_ERROR_REC", "entered, pc 0x0"}),
    ],
)
def test_gicv3_at_entry(fields: dict[str, object], expected: set[str]) -> None:
    s, state, _, rec = world()
    state = only(state, RealmInterrupt(rec)).state
    assert {str(outcome.result) for outcome in enter(s, state, rec, **fields)} == expected
