"""A realm at work: RSI and PSCI, accesses to memory of every state, exits and what the Host is told."""

from __future__ import annotations

import pytest

from harness.check import Check
from harness.coverage import group
from refmodel.rmm.calls import AccessKind, RealmAccess, RecEnter
from refmodel.rmm.scenario import UNPROTECTED, Script
from suites.rmi.scripts import PAGE, rmm, script

READ, WRITE, FETCH = AccessKind.READ, AccessKind.WRITE, AccessKind.FETCH
WRITE_BACK = 0b110 << 2


def furnished(s: Script) -> tuple[int, int]:
    """A running REC over pages 0 to 5: RAM assigned, EMPTY assigned, RAM, DESTROYED, DESTROYED assigned, EMPTY."""
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
    for page in range(4):
        desc = s.ns() | WRITE_BACK | page << 6
        s.host("RMI_RTT_MAP_UNPROTECTED", rd, UNPROTECTED + page * PAGE, 3, desc)
    s.activate(rd)
    s.enter(rec)
    return rd, rec


@pytest.mark.rule("RMM-001", "RMI-05C")
@pytest.mark.parametrize("kind", [READ, WRITE, FETCH], ids=lambda kind: kind.name)
def test_accesses(check: Check, kind: AccessKind) -> None:
    """Loads, stores and fetches by HIPAS and RIPAS, Protected, Unprotected and beyond; each exit in full."""
    run = rmm(check)
    if run is None:
        return
    s = script(run)
    _, rec = furnished(s)
    places = [*range(0, 6 * PAGE, PAGE), *range(UNPROTECTED, UNPROTECTED + 5 * PAGE, PAGE), 1 << 40]
    check.plan(group(place=places))
    for ipa in places:
        s.event(RealmAccess(rec, ipa, kind, value=0xA5, far=ipa))
        # If the access has left the realm, it is entered again; if not, this call fails.
        s.enter(rec)
    run.run(f"accesses: {kind.value}", s.calls)
    check.tally.observed.add((ipa,) for ipa in places)


@pytest.mark.rule("RSI-090", "RSI-091", "RSI-092", "RSI-096", "RSI-098")
def test_rsi_that_reads(check: Check) -> None:
    """Version, features, measurements, configuration and RIPAS, with arguments good and bad."""
    run = rmm(check)
    if run is None:
        return
    s = script(run)
    _, rec = furnished(s)
    for requested in (0x10000, 0x10001, 0x20000, 0x00001):
        s.smc(rec, 0xC4000190, requested)
    for index in (0, 1):
        s.smc(rec, 0xC4000191, index)
    for index in (0, 1, 4, 5, (1 << 64) - 1):
        s.smc(rec, 0xC4000192, index)
    for addr in (0, 8, UNPROTECTED):
        s.smc(rec, 0xC4000196, addr)
    for base, top in ((0, 8), (0, 1), (1, 3), (2, 6), (3, 5), (5, 16), (1, 1), (3, 2)):
        s.smc(rec, 0xC4000198, base * PAGE, top * PAGE)
    for base, top in ((1, PAGE), (0, PAGE + 1), (0, UNPROTECTED + PAGE), (UNPROTECTED, UNPROTECTED + PAGE)):
        s.smc(rec, 0xC4000198, base, top)
    run.run("RSI that reads", s.calls)


@pytest.mark.rule("RSI-093", "RSI-092")
def test_extend_measurements(check: Check) -> None:
    """REMs extended with values of several sizes and read back; the RIM and what does not exist cannot be."""
    run = rmm(check)
    if run is None:
        return
    s = script(run)
    _, rec = furnished(s)
    for index, size in ((1, 32), (1, 64), (2, 1), (3, 48), (4, 0), (0, 32), (5, 32), (1, 65)):
        s.smc(rec, 0xC4000193, index, size, *range(0x1111, 0x1119))
    for index in range(5):
        s.smc(rec, 0xC4000192, index)
    run.run("measurements extended", s.calls)


@pytest.mark.rule("RSI-094", "RSI-095")
def test_attestation_token(check: Check) -> None:
    """A token is had after it was begun, once; buffers that are none are refused."""
    run = rmm(check)
    if run is None:
        return
    s = script(run)
    _, rec = furnished(s)
    s.smc(rec, 0xC4000195, 0, 0, PAGE)
    s.smc(rec, 0xC4000194, *range(8))
    for args in (
        (8, 0, 8),
        (UNPROTECTED, 0, 8),
        (0, PAGE, 0),
        (0, 8, (1 << 64) - 1),
        (0, 8, PAGE),
        (0, 0, PAGE),
        (0, 0, 64),
    ):
        s.smc(rec, 0xC4000195, *args)
    run.run("attestation", s.calls)


@pytest.mark.rule("RSI-097")
@pytest.mark.parametrize("response", [0, 1])
def test_ripas_requests(check: Check, response: int) -> None:
    """Requests with good and bad arguments; what the realm is told of progress, acceptance and rejection."""
    run = rmm(check)
    if run is None:
        return
    s = script(run)
    rd, rec = furnished(s)
    bad = ((1, PAGE, 1, 0), (0, PAGE + 1, 1, 0), (PAGE, PAGE, 1, 0), (0, UNPROTECTED + PAGE, 1, 0), (0, PAGE, 2, 0))
    for args in (*bad, (0, PAGE, 3, 0)):
        s.smc(rec, 0xC4000197, *args)
    for ripas, done in ((1, 6), (1, 8), (0, 7), (1, 5)):
        s.smc(rec, 0xC4000197, 5 * PAGE, 8 * PAGE, ripas, 0)
        if done > 5:
            s.host("RMI_RTT_SET_RIPAS", rd, rec, 5 * PAGE, done * PAGE)
        s.enter(rec, RecEnter(ripas_response=response))
    run.run(f"RIPAS requests, response {response}", s.calls)


@pytest.mark.rule("RSI-099", "RMI-05C")
def test_host_calls(check: Check) -> None:
    """Host calls from memory that is there and that is not; a structure that is gone at the entry."""
    run = rmm(check)
    if run is None:
        return
    s = script(run)
    rd, rec = furnished(s)
    for addr in (0x80, UNPROTECTED):
        s.smc(rec, 0xC4000199, addr)
    s.smc(rec, 0xC4000199, 0x100)
    s.enter(rec, RecEnter(gprs=tuple(range(31))))
    s.smc(rec, 0xC4000199, 2 * PAGE)
    s.enter(rec)
    s.smc(rec, 0xC4000199, 0)
    s.host("RMI_DATA_DESTROY", rd, 0)
    s.enter(rec)
    run.run("Host calls", s.calls)


@pytest.mark.rule("PSCI-000", "PSCI-00A", "PSCI-003", "PSCI-004")
def test_psci_that_is_answered(check: Check) -> None:
    """Version, features, and requests with arguments that the RMM refuses or knows the answer to."""
    run = rmm(check)
    if run is None:
        return
    s = script(run)
    _, rec = furnished(s)
    s.smc(rec, 0x84000000)
    for function in (0x84000000, 0xC4000001, 0x84000002, 0xC4000003, 0x84000008, 0x84000006, 0xC4000012):
        s.smc(rec, 0x8400000A, function)
    for args in ((0, UNPROTECTED, 0), (1, 0, 0), (0, 0, 0)):
        s.smc(rec, 0xC4000003, *args)
    for args in ((0, 1), (1, 0), (0, 0)):
        s.smc(rec, 0xC4000004, *args)
    s.smc(rec, 0x84000006)
    run.run("PSCI answered", s.calls)


@pytest.mark.parametrize(
    "function",
    [
        pytest.param(fid, marks=pytest.mark.rule(f"PSCI-{fid & 0xFF:03X}"), id=hex(fid))
        for fid in (0xC4000001, 0x84000002, 0x84000008, 0x84000009)
    ],
)
def test_psci_that_leaves(check: Check, function: int) -> None:
    """Suspend, off, system off and reset: what the Host is told, and whether the REC may be entered again."""
    run = rmm(check)
    if run is None:
        return
    s = script(run)
    _, rec = furnished(s)
    s.smc(rec, function, 0)
    s.enter(rec)
    run.run(f"PSCI {function:#x}", s.calls)


@pytest.mark.rule("RMI-05C")
def test_emulation(check: Check) -> None:
    """A read and a write of a device that the Host emulates, or refuses with an abort; then without either."""
    run = rmm(check)
    if run is None:
        return
    s = script(run)
    _, rec = furnished(s)
    device = UNPROTECTED + 16 * PAGE
    for kind in (READ, WRITE):
        for enter in (RecEnter(emul_mmio=True, gprs=(0x55,) * 31), RecEnter(inject_sea=True), RecEnter()):
            s.event(RealmAccess(rec, device + 8, kind, value=0x77, far=device + 8))
            s.enter(rec, enter)
    s.event(RealmAccess(rec, 2 * PAGE))
    s.enter(rec, RecEnter(emul_mmio=True))
    run.run("emulation", s.calls)
