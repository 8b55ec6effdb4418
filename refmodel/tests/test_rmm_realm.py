"""A realm at work: accesses by HIPAS and RIPAS, REC entry and exit, RSI and PSCI, with results written by hand."""

from __future__ import annotations

import pytest

from refmodel.rmm.calls import (
    AccessKind,
    HostCall,
    HostCallData,
    Interrupt,
    RealmAccess,
    RealmHvc,
    RealmInterrupt,
    RealmSmc,
    RealmWfx,
    RecEnter,
    Vcpu,
)
from refmodel.rmm.measurement import HashAlgorithm, RemExtend, RemRule
from refmodel.rmm.results import UNDEFINED, Entered, Exited, Outcome, RecExit, RsiResult, SmcResult, Within
from refmodel.rmm.rmi_enter import emulated_value
from refmodel.rmm.rmi_rec import RecIndex, mpidr_of
from refmodel.rmm.scenario import UNPROTECTED, Script
from refmodel.rmm.state import Author, Content, LastExit, State
from refmodel.rmm.step import BY_NAME, step
from refmodel.rmm.types import ExitReason, Psci, RealmState, RecState, Ripas, Rsi
from refmodel.tests.rmm_worlds import BASE, PARAMETERS, only, permitted, script

PAGE = 0x1000
DATA_ABORT, INSTRUCTION_ABORT, IL = 0x24 << 26, 0x20 << 26, 1 << 25
ISV, SF, WNR = 1 << 24, 1 << 15, 1 << 6
READ, WRITE, FETCH = AccessKind.READ, AccessKind.WRITE, AccessKind.FETCH
MINUS_ONE = (1 << 64) - 1

RSI = {name: BY_NAME[f"RSI_{name}"].fid for name in ("HOST_CALL", "IPA_STATE_SET", "IPA_STATE_GET", "REALM_CONFIG")}
PSCI = {
    "VERSION": 0x84000000,
    "CPU_SUSPEND": 0xC4000001,
    "CPU_OFF": 0x84000002,
    "CPU_ON": 0xC4000003,
    "AFFINITY_INFO": 0xC4000004,
    "SYSTEM_OFF": 0x84000008,
    "SYSTEM_RESET": 0x84000009,
    "FEATURES": 0x8400000A,
}


def world(prepare: str = "") -> tuple[Script, State, int, int]:
    """A running REC; protected: RAM assigned at 0, EMPTY assigned at 1, RAM unassigned at 2, DESTROYED unassigned at 3,
    DESTROYED assigned at 4, EMPTY unassigned at 5; unprotected: read-write at 0, read-only at 1, write-only at 2.
    """
    s = script()
    rd = s.realm()
    rec = s.rec(rd)
    s.tables(rd, 0)
    s.data(rd, 0)
    s.data_unknown(rd, PAGE)
    s.host("RMI_RTT_INIT_RIPAS", rd, 2 * PAGE, 3 * PAGE)
    for page in (3, 4):
        s.data(rd, page * PAGE)
        s.host("RMI_DATA_DESTROY", rd, page * PAGE)
    s.data_unknown(rd, 4 * PAGE)
    s.tables(rd, UNPROTECTED)
    for page, s2ap in ((0, 3), (1, 1), (2, 2)):
        s.host("RMI_RTT_MAP_UNPROTECTED", rd, UNPROTECTED + page * PAGE, 3, BASE + page * PAGE | 0b110 << 2 | s2ap << 6)
    s.activate(rd)
    s.enter(rec)
    return s, s.run(), rd, rec


def enter(s: Script, state: State, rec: int, **fields: object) -> tuple[Outcome, ...]:
    call = s.call("RMI_REC_ENTER", rec, s.ns(), memory=RecEnter(**fields))  # type: ignore[arg-type]
    return permitted(state, call)


def exit_of(outcome: Outcome) -> RecExit:
    assert isinstance(outcome.result, Exited)
    return outcome.result.exit


# Accesses: the tables of A5.2.9 and A5.3.1 -------------------------------------------------------------------------

SEA, SIZE = "Synchronous External Abort taken to the realm", "stage 1 Address Size Fault taken to the realm"
EXIT, UNKNOWN = "RMI_SUCCESS, RMI_EXIT_SYNC", "Unknown exception taken to the realm"


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


# Host calls --------------------------------------------------------------------------------------------------------


def test_host_call_and_its_answer() -> None:
    s, state, _, rec = world()
    data = HostCallData(0x1234, tuple(range(100, 131)))
    outcome = only(state, RealmSmc(rec, (RSI["HOST_CALL"], 0x100), data))
    told = exit_of(outcome)
    assert (told.exit_reason, told.imm, told.gprs) == (
        ExitReason.RMI_EXIT_HOST_CALL,
        0x1234,
        tuple(range(100, 131)),
    )
    assert outcome.state.recs[rec].host_call_pending
    (entered,) = enter(s, outcome.state, rec, gprs=(7,) * 31)
    assert isinstance(entered.result, Entered)
    assert entered.result.gprs[:4] == (0, 0, 0, 0)
    assert not entered.state.recs[rec].host_call_pending


def test_a_host_call_whose_structure_is_gone_exits_again() -> None:
    s, state, rd, rec = world()
    state = only(state, RealmSmc(rec, (RSI["HOST_CALL"], 0x100))).state
    state = only(state, s.call("RMI_DATA_DESTROY", rd, 0)).state
    (outcome,) = enter(s, state, rec)
    told = exit_of(outcome)
    assert (told.exit_reason, told.esr, told.hpfar) == (ExitReason.RMI_EXIT_SYNC, DATA_ABORT | 0b000111, 0)
    assert outcome.state.recs[rec].host_call_pending


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (0x80, {"RSI_ERROR_INPUT"}),
        (UNPROTECTED, {"RSI_ERROR_INPUT"}),
        (2 * PAGE, {EXIT}),
        (3 * PAGE, {EXIT}),
        (5 * PAGE, {"RSI_ERROR_INPUT", EXIT}),
    ],
)
def test_host_call_conditions(address: int, expected: set[str]) -> None:
    _, state, _, rec = world()
    outcomes = permitted(state, RealmSmc(rec, (RSI["HOST_CALL"], address)))
    assert {str(outcome.result) for outcome in outcomes} == expected


# RIPAS changes -----------------------------------------------------------------------------------------------------


def test_ripas_change_accepted() -> None:
    s, state, rd, rec = world()
    outcome = only(state, RealmSmc(rec, (RSI["IPA_STATE_SET"], 5 * PAGE, 8 * PAGE, 1, 0)))
    told = exit_of(outcome)
    assert told.exit_reason is ExitReason.RMI_EXIT_RIPAS_CHANGE
    assert (told.ripas_base, told.ripas_top, told.ripas_value) == (5 * PAGE, 8 * PAGE, Ripas.RAM)
    pending = outcome.state.recs[rec]
    assert (pending.ripas_addr, pending.ripas_top, pending.ripas_value) == (5 * PAGE, 8 * PAGE, Ripas.RAM)
    done = only(outcome.state, s.call("RMI_RTT_SET_RIPAS", rd, rec, 5 * PAGE, 7 * PAGE))
    assert str(done.result) == "RMI_SUCCESS 7000"
    assert done.state.recs[rec].ripas_addr == 7 * PAGE
    (entered,) = enter(s, done.state, rec)
    assert isinstance(entered.result, Entered)
    assert entered.result.gprs[:17] == (0, 7 * PAGE, 0, *(0,) * 14)
    left = only(entered.state, RealmInterrupt(rec)).state.recs[rec]
    assert (left.ripas_addr, left.ripas_top) == (0, 0)


@pytest.mark.parametrize(("ripas", "reached", "response"), [(1, 8, 0), (1, 7, 1), (0, 7, 0)])
def test_a_rejection_counts_for_ram_that_is_not_done(ripas: int, reached: int, response: int) -> None:
    s, state, rd, rec = world()
    state = only(state, RealmSmc(rec, (RSI["IPA_STATE_SET"], 6 * PAGE, 8 * PAGE, ripas, 0))).state
    state = only(state, s.call("RMI_RTT_SET_RIPAS", rd, rec, 6 * PAGE, reached * PAGE)).state
    (entered,) = enter(s, state, rec, ripas_response=1)
    assert isinstance(entered.result, Entered)
    assert entered.result.gprs[:3] == (0, reached * PAGE, response)


@pytest.mark.parametrize(
    ("flags", "base", "top", "expected"),
    [
        # DESTROYED at pages 3 and 4 is passed over only if the realm said so.
        (0, 2, 6, {"RMI_SUCCESS 3000"}),
        (1, 2, 6, {"RMI_SUCCESS 6000"}),
        (0, 3, 6, {"RMI_ERROR_RTT 3 <Undefined.UNDEFINED>"}),
        (1, 3, 6, {"RMI_SUCCESS 6000"}),
    ],
)
def test_set_ripas_and_destroyed(flags: int, base: int, top: int, expected: set[str]) -> None:
    s, state, rd, rec = world()
    state = only(state, RealmSmc(rec, (RSI["IPA_STATE_SET"], base * PAGE, top * PAGE, 1, flags))).state
    outcomes = permitted(state, s.call("RMI_RTT_SET_RIPAS", rd, rec, base * PAGE, top * PAGE))
    assert {str(outcome.result) for outcome in outcomes} == expected


def test_set_ripas_changes_assigned_entries_too() -> None:
    s, state, rd, rec = world()
    state = only(state, RealmSmc(rec, (RSI["IPA_STATE_SET"], 0, 2 * PAGE, 1, 0))).state
    state = only(state, s.call("RMI_RTT_SET_RIPAS", rd, rec, 0, 2 * PAGE)).state
    for page in (0, 1):
        read = only(state, s.call("RMI_RTT_READ_ENTRY", rd, page * PAGE, 3)).result
        assert str(read).startswith("RMI_SUCCESS 3 1 ")
        assert str(read).endswith(" 1")


@pytest.mark.parametrize(
    "args",
    [
        (1, 2 * PAGE, 1, 0),
        (0, PAGE + 1, 1, 0),
        (PAGE, PAGE, 1, 0),
        (0, UNPROTECTED + PAGE, 1, 0),
        (0, PAGE, 2, 0),
        (0, PAGE, 3, 0),
    ],
)
def test_ipa_state_set_conditions(args: tuple[int, ...]) -> None:
    _, state, _, rec = world()
    outcome = only(state, RealmSmc(rec, (RSI["IPA_STATE_SET"], *args)))
    assert outcome.result == RsiResult(Rsi.RSI_ERROR_INPUT, (UNDEFINED, UNDEFINED))


@pytest.mark.parametrize(
    ("base", "top", "highest", "ripas"), [(0, 8, 1, 1), (1, 8, 2, 0), (2, 3, 3, 1), (3, 8, 5, 2), (5, 16, 16, 0)]
)
def test_ipa_state_get(base: int, top: int, highest: int, ripas: int) -> None:
    _, state, _, rec = world()
    outcome = only(state, RealmSmc(rec, (RSI["IPA_STATE_GET"], base * PAGE, top * PAGE)))
    assert outcome.result == RsiResult(Rsi.RSI_SUCCESS, (Within(base * PAGE + 1, highest * PAGE), ripas))


# Measurements, attestation, the rest of RSI ------------------------------------------------------------------------


def test_measurement_read_and_extend() -> None:
    _, state, rd, rec = world()
    rim = state.realms[rd].measurements[0]
    read = only(state, RealmSmc(rec, (0xC4000192, 0))).result
    assert read == RsiResult(
        Rsi.RSI_SUCCESS, tuple(int.from_bytes(rim[at : at + 8], "little") for at in range(0, 64, 8))
    )
    value = int.from_bytes(b"abcdefgh", "little")
    outcomes = permitted(state, RealmSmc(rec, (0xC4000193, 2, 3, value, *(0,) * 7)))
    expected = {
        RemExtend(HashAlgorithm.SHA_256, bytes(64), b"abc", rule)
        for rule in (RemRule.PADDED_FULL, RemRule.PADDED_DIGEST)
    }
    assert {outcome.state.realms[rd].measurements[2] for outcome in outcomes} == expected
    assert {outcome.result for outcome in outcomes} == {RsiResult(Rsi.RSI_SUCCESS)}


@pytest.mark.parametrize("args", [(0xC4000192, 5), (0xC4000193, 0, 1), (0xC4000193, 5, 1), (0xC4000193, 1, 65)])
def test_measurement_conditions(args: tuple[int, ...]) -> None:
    _, state, _, rec = world()
    outcome = only(state, RealmSmc(rec, args))
    assert isinstance(outcome.result, RsiResult)
    assert outcome.result.status is Rsi.RSI_ERROR_INPUT
    assert outcome.state == state


def test_attestation_token() -> None:
    _, state, _, rec = world()
    go_on = RealmSmc(rec, (0xC4000195, 0, 0, PAGE))
    # A failure for an IMPDEF reason is always permitted.
    before = {str(outcome.result).split()[0] for outcome in permitted(state, go_on)}
    assert before == {"RSI_ERROR_STATE", "RSI_ERROR_UNKNOWN"}
    state = only(state, RealmSmc(rec, (0xC4000194, *range(1, 9)))).state
    assert state.recs[rec].attest_in_progress
    assert state.recs[rec].attest_challenge == tuple(range(1, 9))
    after = {
        str(outcome.result).split()[0]: outcome.state.recs[rec].attest_in_progress
        for outcome in permitted(state, go_on)
    }
    assert after == {"RSI_INCOMPLETE": True, "RSI_SUCCESS": False, "RSI_ERROR_UNKNOWN": True}


@pytest.mark.parametrize("args", [(8, 0, 8), (UNPROTECTED, 0, 8), (0, PAGE, 0), (0, 8, MINUS_ONE), (0, 8, PAGE - 7)])
def test_attestation_conditions(args: tuple[int, ...]) -> None:
    _, state, _, rec = world()
    state = only(state, RealmSmc(rec, (0xC4000194, *(0,) * 8))).state
    found = {str(outcome.result).split()[0] for outcome in permitted(state, RealmSmc(rec, (0xC4000195, *args)))}
    assert found == {"RSI_ERROR_INPUT", "RSI_ERROR_UNKNOWN"}


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ((0xC4000190, 0x10000), "RSI_SUCCESS 10000 10000"),
        ((0xC4000190, 0x10001), "RSI_ERROR_INPUT 10000 10000"),
        ((0xC4000191, 0), "RSI_SUCCESS 0"),
        ((RSI["REALM_CONFIG"], 0), "RSI_SUCCESS"),
        ((RSI["REALM_CONFIG"], 8), "RSI_ERROR_INPUT"),
        ((RSI["REALM_CONFIG"], UNPROTECTED), "RSI_ERROR_INPUT"),
        ((RSI["REALM_CONFIG"], 2 * PAGE), EXIT),
        ((0xC4000150, 0x10000), f"X0 = {MINUS_ONE:#x}"),
    ],
)
def test_other_rsi(args: tuple[int, ...], expected: str) -> None:
    _, state, _, rec = world()
    assert str(only(state, RealmSmc(rec, args)).result) == expected


# PSCI --------------------------------------------------------------------------------------------------------------


def two_recs() -> tuple[Script, State, int, int, int]:
    s = script()
    rd = s.realm()
    rec, other = s.rec(rd), s.rec(rd, 1, runnable=False)
    s.activate(rd)
    s.enter(rec)
    return s, s.run(), rd, rec, other


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ((PSCI["VERSION"],), {0x10001}),
        ((PSCI["FEATURES"], PSCI["CPU_ON"]), {0}),
        ((PSCI["FEATURES"], PSCI["SYSTEM_RESET"]), {0}),
        ((PSCI["FEATURES"], 0x84000006), {MINUS_ONE}),
        ((PSCI["FEATURES"], 0x80000000), {0, MINUS_ONE}),
        ((0x84000006,), {MINUS_ONE}),
        ((PSCI["CPU_ON"], 1, UNPROTECTED, 0), {MINUS_ONE - 8}),
        ((PSCI["CPU_ON"], 2, 0, 0), {MINUS_ONE - 1}),
        ((PSCI["CPU_ON"], 0, 0, 0), {MINUS_ONE - 3}),
        ((PSCI["AFFINITY_INFO"], 1, 1), {MINUS_ONE - 1}),
        ((PSCI["AFFINITY_INFO"], 2, 0), {MINUS_ONE - 1}),
        ((PSCI["AFFINITY_INFO"], 0, 0), {0}),
    ],
)
def test_psci_answered_by_the_rmm(args: tuple[int, ...], expected: set[int]) -> None:
    _, state, _, rec, _ = two_recs()
    outcomes = permitted(state, RealmSmc(rec, args))
    assert {outcome.result for outcome in outcomes} == {SmcResult(value) for value in expected}
    assert all(outcome.state == state for outcome in outcomes)


def test_cpu_on() -> None:
    s, state, _, rec, other = two_recs()
    outcomes = permitted(state, RealmSmc(rec, (PSCI["CPU_ON"], 1, 0x4000, 0x77)))
    told = {exit_of(outcome).gprs[:5] for outcome in outcomes}
    assert told == {(PSCI["CPU_ON"], 1, 0x4000, 0x77, 0), (PSCI["CPU_ON"], 1, 0, 0, 0)}
    assert all(exit_of(outcome).exit_reason is ExitReason.RMI_EXIT_PSCI for outcome in outcomes)
    state = outcomes[0].state
    assert state.recs[rec].psci_pending
    done = only(state, s.call("RMI_PSCI_COMPLETE", rec, other, 0)).state
    started = done.recs[other]
    assert (started.runnable, started.pc, started.gprs) == (True, 0x4000, (0x77, *(0,) * 31))
    assert done.recs[rec].gprs[:4] == (0, 0, 0, 0)
    (entered,) = enter(s, done, rec)
    assert isinstance(entered.result, Entered)
    assert entered.result.gprs[0] == 0


def test_cpu_on_denied_by_the_host() -> None:
    s, state, _, rec, other = two_recs()
    state = permitted(state, RealmSmc(rec, (PSCI["CPU_ON"], 1, 0, 0)))[0].state
    done = only(state, s.call("RMI_PSCI_COMPLETE", rec, other, MINUS_ONE - 2)).state
    assert done.recs[rec].gprs[0] == MINUS_ONE - 2
    assert not done.recs[other].runnable


def test_cpu_on_of_a_runnable_rec() -> None:
    s = script()
    rd = s.realm()
    rec, other = s.rec(rd), s.rec(rd, 1)
    s.activate(rd)
    s.enter(rec)
    outcomes = permitted(s.run(), RealmSmc(rec, (PSCI["CPU_ON"], 1, 0, 0)))
    # The result is fixed; when the RMM finds out is not.
    assert {str(outcome.result) for outcome in outcomes} == {
        f"X0 = {MINUS_ONE - 3:#x}",
        "RMI_SUCCESS, RMI_EXIT_PSCI",
    }
    state = outcomes[-1].state
    assert str(only(state, s.call("RMI_PSCI_COMPLETE", rec, other, MINUS_ONE - 2)).result) == "RMI_ERROR_INPUT"
    done = only(state, s.call("RMI_PSCI_COMPLETE", rec, other, 0)).state
    assert done.recs[rec].gprs[0] == MINUS_ONE - 3


@pytest.mark.parametrize(("runnable", "code"), [(True, 0), (False, 1)])
def test_affinity_info(runnable: bool, code: int) -> None:
    s = script()
    rd = s.realm()
    rec, other = s.rec(rd), s.rec(rd, 1, runnable=runnable)
    s.activate(rd)
    s.enter(rec)
    (outcome,) = permitted(s.run(), RealmSmc(rec, (PSCI["AFFINITY_INFO"], 1, 0)))
    done = only(outcome.state, s.call("RMI_PSCI_COMPLETE", rec, other, 0)).state
    assert done.recs[rec].gprs[0] == code


def test_a_denial_is_for_cpu_on_only() -> None:
    s, state, _, rec, other = two_recs()
    (outcome,) = permitted(state, RealmSmc(rec, (PSCI["AFFINITY_INFO"], 1, 0)))
    assert str(only(outcome.state, s.call("RMI_PSCI_COMPLETE", rec, other, MINUS_ONE - 2)).result) == "RMI_ERROR_INPUT"


def test_cpu_off() -> None:
    s, state, _, rec, _ = two_recs()
    outcome = only(state, RealmSmc(rec, (PSCI["CPU_OFF"],)))
    assert exit_of(outcome).gprs[:2] == (PSCI["CPU_OFF"], 0)
    assert not outcome.state.recs[rec].runnable
    assert not outcome.state.recs[rec].psci_pending
    (entered,) = enter(s, outcome.state, rec)
    assert str(entered.result) == "RMI_ERROR_REC"


def test_cpu_suspend() -> None:
    s, state, _, rec, _ = two_recs()
    outcomes = permitted(state, RealmSmc(rec, (PSCI["CPU_SUSPEND"], 3, 0x4000, 5)))
    assert {exit_of(outcome).gprs[:4] for outcome in outcomes} == {
        (PSCI["CPU_SUSPEND"], 3, 0x4000, 5),
        (PSCI["CPU_SUSPEND"], 0, 0, 0),
    }
    (entered,) = enter(s, outcomes[0].state, rec)
    assert isinstance(entered.result, Entered)
    assert entered.result.gprs[0] == Psci.PSCI_SUCCESS


@pytest.mark.parametrize("function", ["SYSTEM_OFF", "SYSTEM_RESET"])
def test_system_off_and_reset(function: str) -> None:
    s, state, rd, rec, _ = two_recs()
    outcome = only(state, RealmSmc(rec, (PSCI[function],)))
    assert exit_of(outcome).gprs[0] == PSCI[function]
    assert outcome.state.realms[rd].state is RealmState.REALM_SYSTEM_OFF
    (entered,) = enter(s, outcome.state, rec)
    assert str(entered.result) == "RMI_ERROR_REALM 1"


@pytest.mark.parametrize(("index", "mpidr"), [(0, 0), (15, 15), (16, 0x100), (4096, 0x10000), (1 << 20, 1 << 24)])
def test_rec_index_and_mpidr(index: int, mpidr: int) -> None:
    assert mpidr_of(index) == mpidr
    assert RecIndex(mpidr) == index
    # Aff0[7:4] is no part of the index.
    assert RecIndex(mpidr | 0xF0) == index


def test_an_event_of_a_rec_that_does_not_run_is_refused() -> None:
    _s, state, _, _rec, other = two_recs()
    with pytest.raises(ValueError, match=f"no REC runs at {other:#x}"):
        step(state, RealmHvc(other), PARAMETERS)


def test_the_sve_hint_changes_nothing() -> None:
    _s, state, rd, _, _ = two_recs()
    fid = BY_NAME["RMI_REC_AUX_COUNT"].fid | 1 << 16
    assert str(only(state, HostCall(fid, (rd,))).result) == "RMI_SUCCESS 2"
