"""RMI commands that succeed: what they leave behind is read back, used, and taken apart again."""

from __future__ import annotations

import pytest

from harness.check import Check
from refmodel.rmm.calls import AccessKind, DataSource, RealmAccess, RealmParams
from refmodel.rmm.rmi_rec import mpidr_of
from refmodel.rmm.scenario import BLOCK, UNPROTECTED
from refmodel.rules import Rule
from suites.rmi.scripts import PAGE, rmm, script

WRITE_BACK_RW = 0b110 << 2 | 0b11 << 6
SECRET = 0x5EC2E75EC2E75EC2
READ, WRITE = AccessKind.READ, AccessKind.WRITE


@pytest.mark.rule("RMI-050", "RMI-065")
def test_version_and_features(check: Check) -> None:
    """Revisions that are supported, older and newer; feature register 0, and registers that do not exist."""
    run = rmm(check)
    if run is None:
        return
    s = script(run)
    for requested in (0x10000, 0x10001, 0x20000, 0x00001, 0):
        s.host("RMI_VERSION", requested)
    for index in (0, 1, 2, (1 << 64) - 1):
        s.host("RMI_FEATURES", index)
    run.run("version and features", s.calls)


@pytest.mark.rule("RMI-051", "RMI-052")
def test_delegation(check: Check) -> None:
    """A granule that is delegated belongs to the RMM, and comes back without what it held."""
    run = rmm(check)
    if run is None:
        return
    s = script(run)
    addr = s.granule()
    for name in ("DELEGATE", "UNDELEGATE", "UNDELEGATE", "DELEGATE", "UNDELEGATE"):
        s.host(f"RMI_GRANULE_{name}", addr)
    run.run("delegation", s.calls)


@pytest.mark.rule("RMI-058", "RMI-057", "RMI-059")
@pytest.mark.parametrize("algorithm", [0, 1])
@pytest.mark.parametrize(("width", "level", "count"), [(40, 1, 2), (39, 1, 1), (33, 1, 1), (33, 2, 8), (48, 0, 1)])
def test_realm(check: Check, width: int, level: int, count: int, algorithm: int) -> None:
    """A realm with every form of starting level, both hash algorithms; states NEW and ACTIVE; destroyed in both."""
    run = rmm(check)
    if run is None:
        return
    for activate in (False, True):
        s = script(run)
        rtts = s.granule(align=count * PAGE, count=count)
        rd = s.granule()
        params = RealmParams(width, rtts, level, count, vmid=5, hash_algo=algorithm)
        s.host("RMI_REALM_CREATE", rd, s.ns(), memory=params)
        # The last entry of each half.
        for ipa in (0, (1 << width - 1) - (1 << 12 + 9 * (3 - level)), 1 << width - 1):
            s.host("RMI_RTT_READ_ENTRY", rd, ipa, level)
        if activate:
            s.host("RMI_REALM_ACTIVATE", rd)
            s.host("RMI_REALM_ACTIVATE", rd)
        s.host("RMI_GRANULE_UNDELEGATE", rtts + (count - 1) * PAGE)
        run.run(f"a realm of {width} bits, active: {activate}", s.calls)


@pytest.mark.rule("RMI-05A", "RMI-05B", "RMI-067")
def test_recs(check: Check) -> None:
    """RECs in the order of their index; their granules belong to the realm until each is destroyed."""
    run = rmm(check)
    if run is None:
        return
    s = script(run)
    rd = s.realm()
    s.host("RMI_REC_AUX_COUNT", rd)
    recs = [s.rec(rd, index, runnable=index != 1) for index in range(3)]
    s.host("RMI_REALM_DESTROY", rd)
    for rec in recs:
        s.host("RMI_GRANULE_UNDELEGATE", rec)
        s.host("RMI_REC_DESTROY", rec)
        s.host("RMI_REC_DESTROY", rec)
    s.rec(rd, 3)
    run.run("three RECs", s.calls)


@pytest.mark.rule("RMI-053", "RMI-054", "RMI-055", "RMI-061")
def test_data(check: Check) -> None:
    """DATA by content and without, over each RIPAS; entries read at every step, and where the next live one is."""
    run = rmm(check)
    if run is None:
        return
    s = script(run)
    rd = s.realm()
    s.tables(rd, 0)
    s.host("RMI_RTT_INIT_RIPAS", rd, 2 * PAGE, 4 * PAGE)
    made = [s.data(rd, 0), s.data(rd, PAGE, measured=False), s.data_unknown(rd, 2 * PAGE), s.data_unknown(rd, 5 * PAGE)]
    pages = range(0, 7 * PAGE, PAGE)
    for ipa in pages:
        s.host("RMI_RTT_READ_ENTRY", rd, ipa, 3)
    for granule in made:
        s.host("RMI_GRANULE_UNDELEGATE", granule)
    for ipa in (0, PAGE, 2 * PAGE, 3 * PAGE, 5 * PAGE):
        s.host("RMI_DATA_DESTROY", rd, ipa)
        s.host("RMI_RTT_READ_ENTRY", rd, ipa, 3)
    s.data_unknown(rd, 0)
    s.host("RMI_RTT_READ_ENTRY", rd, 0, 3)
    s.host("RMI_DATA_DESTROY", rd, 0)
    run.run("DATA granules", s.calls)


@pytest.mark.rule("RMI-05D", "RMI-05E", "RMI-066", "RMI-061")
@pytest.mark.parametrize("ipa", [0, UNPROTECTED], ids=["protected", "unprotected"])
def test_tables(check: Check, ipa: int) -> None:
    """Tables in both halves: created, read, folded, created again, destroyed."""
    run = rmm(check)
    if run is None:
        return
    s = script(run)
    rd = s.realm()
    rtt = s.tables(rd, ipa)
    for level in (1, 2, 3):
        s.host("RMI_RTT_READ_ENTRY", rd, ipa, level)
    s.host("RMI_RTT_FOLD", rd, ipa, 3)
    s.host("RMI_RTT_READ_ENTRY", rd, ipa, 2)
    s.host("RMI_RTT_CREATE", rd, rtt, ipa, 3)
    s.host("RMI_RTT_DESTROY", rd, ipa, 3)
    s.host("RMI_RTT_READ_ENTRY", rd, ipa, 2)
    s.host("RMI_RTT_DESTROY", rd, ipa, 2)
    s.host("RMI_RTT_READ_ENTRY", rd, ipa, 1)
    run.run("tables", s.calls)


@pytest.mark.rule("RMI-066", "RMI-05D")
def test_fold_of_a_block(check: Check) -> None:
    """512 contiguous DATA granules become a block of 2 MB and pages again; one with another RIPAS prevents it."""
    run = rmm(check)
    if run is None:
        return
    s = script(run)
    rd = s.realm()
    rtt = s.tables(rd, 0)
    block = s.granule(align=BLOCK, count=512)
    s.host("RMI_RTT_INIT_RIPAS", rd, 0, BLOCK - PAGE)
    for page in range(512):
        s.host("RMI_DATA_CREATE_UNKNOWN", rd, block + page * PAGE, page * PAGE)
    s.host("RMI_RTT_FOLD", rd, 0, 3)
    s.host("RMI_DATA_DESTROY", rd, 511 * PAGE)
    s.host("RMI_RTT_INIT_RIPAS", rd, 511 * PAGE, BLOCK)
    s.host("RMI_DATA_CREATE_UNKNOWN", rd, block + 511 * PAGE, 511 * PAGE)
    s.host("RMI_RTT_FOLD", rd, 0, 3)
    s.host("RMI_RTT_READ_ENTRY", rd, 0, 3)
    s.host("RMI_DATA_DESTROY", rd, 0)
    s.host("RMI_RTT_CREATE", rd, rtt, 0, 3)
    s.host("RMI_RTT_READ_ENTRY", rd, 511 * PAGE, 3)
    run.run("a block", s.calls)


@pytest.mark.rule("RMI-05F", "RMI-062", "RMI-061")
def test_unprotected_mappings(check: Check) -> None:
    """Pages and blocks of Non-secure memory, every MemAttr and S2AP; the next live entry after an unmapping."""
    run = rmm(check)
    if run is None:
        return
    s = script(run)
    rd = s.realm()
    s.tables(rd, UNPROTECTED)
    ns = s.ns()
    for number in range(32):
        ipa = UNPROTECTED + number * PAGE
        s.host("RMI_RTT_MAP_UNPROTECTED", rd, ipa, 3, ns | (number & 7) << 2 | (number >> 3) << 6)
        s.host("RMI_RTT_READ_ENTRY", rd, ipa, 3)
    s.host("RMI_RTT_MAP_UNPROTECTED", rd, UNPROTECTED + BLOCK, 2, 0x4000_0000 | WRITE_BACK_RW)
    s.host("RMI_RTT_READ_ENTRY", rd, UNPROTECTED + BLOCK, 3)
    for number in range(0, 32, 5):
        s.host("RMI_RTT_UNMAP_UNPROTECTED", rd, UNPROTECTED + number * PAGE, 3)
    s.host("RMI_RTT_UNMAP_UNPROTECTED", rd, UNPROTECTED + BLOCK, 2)
    run.run("Non-secure mappings", s.calls)


@pytest.mark.rule("RMI-068")
def test_init_ripas(check: Check) -> None:
    """Ranges within a table, up to its end, and of larger entries."""
    run = rmm(check)
    if run is None:
        return
    s = script(run)
    rd = s.realm()
    s.tables(rd, 0)
    for base, top in (
        (PAGE, 3 * PAGE),
        (0, 8 * PAGE),
        (511 * PAGE, 2 * BLOCK),
        (BLOCK, 4 * BLOCK),
        (BLOCK, BLOCK + PAGE),
    ):
        s.host("RMI_RTT_INIT_RIPAS", rd, base, top)
    for ipa in (0, 7 * PAGE, 8 * PAGE, 511 * PAGE, BLOCK, 3 * BLOCK, 4 * BLOCK):
        s.host("RMI_RTT_READ_ENTRY", rd, ipa, 3)
    run.run("RIPAS of a new realm", s.calls)


@pytest.mark.rule("RMI-069")
@pytest.mark.parametrize("ripas", [0, 1])
@pytest.mark.parametrize("destroyed", [0, 1])
def test_set_ripas(check: Check, ripas: int, destroyed: int) -> None:
    """A realm's request over every kind of entry, in pieces; DESTROYED only where the realm said so."""
    run = rmm(check)
    if run is None:
        return
    s = script(run)
    rd = s.realm()
    rec = s.rec(rd)
    s.tables(rd, 0)
    s.data(rd, 0)
    s.data_unknown(rd, PAGE)
    s.data(rd, 3 * PAGE)
    s.host("RMI_DATA_DESTROY", rd, 3 * PAGE)
    s.activate(rd)
    s.enter(rec)
    s.smc(rec, 0xC4000197, 0, 6 * PAGE, ripas, destroyed)
    s.host("RMI_RTT_SET_RIPAS", rd, rec, 0, 2 * PAGE)
    s.host("RMI_RTT_SET_RIPAS", rd, rec, 2 * PAGE, 6 * PAGE)
    s.host("RMI_RTT_SET_RIPAS", rd, rec, 3 * PAGE, 6 * PAGE)
    for ipa in range(0, 7 * PAGE, PAGE):
        s.host("RMI_RTT_READ_ENTRY", rd, ipa, 3)
    s.enter(rec)
    s.smc(rec, 0xC4000198, 0, 6 * PAGE)
    run.run("RIPAS of a running realm", s.calls)


@pytest.mark.rule("RMI-05C", "RMI-064")
def test_entry_and_psci_requests(check: Check) -> None:
    """A REC starts another one; the Host denies, completes and asks about it, and enters both."""
    run = rmm(check)
    if run is None:
        return
    s = script(run)
    rd = s.realm()
    rec, other, third = s.rec(rd), s.rec(rd, 1, runnable=False), s.rec(rd, 2)
    s.activate(rd)
    s.enter(rec)
    for target, address, status in ((1, other, (1 << 64) - 3), (1, other, 0), (2, third, 0)):
        s.smc(rec, 0xC4000003, mpidr_of(target), 0x4000, 7)
        s.enter(rec)
        s.host("RMI_PSCI_COMPLETE", rec, address, status)
        s.enter(rec)
    s.smc(rec, 0xC4000004, mpidr_of(1), 0)
    s.host("RMI_PSCI_COMPLETE", rec, other, 0)
    s.enter(other)
    s.host("RMI_REC_DESTROY", other)
    run.run("PSCI requests", s.calls)


@pytest.mark.rule("RMI-052")
def test_nothing_of_a_realm_is_left(check: Check) -> None:
    """What a realm wrote is gone when its granule is the Host's again, or another realm's."""
    run = rmm(check)
    if run is None:
        return
    s = script(run)
    rd = s.realm()
    rec = s.rec(rd)
    s.tables(rd, 0)
    data = s.data(rd, 0)
    s.activate(rd)
    s.enter(rec)
    s.event(RealmAccess(rec, 8, WRITE, value=SECRET))
    s.event(RealmAccess(rec, 8, READ))
    run.run("a secret", s.calls)
    held = check.session.target.read_memory(data, PAGE)
    absent = SECRET.to_bytes(8, "little") not in held
    run.expect(Rule.RMI_GRANULE_UNDELEGATE, "a granule given back", absent, "no secret", held[:16].hex())


@pytest.mark.rule("RMI-053")
def test_data_create_copies_the_source(check: Check) -> None:
    """A realm reads what the Host put into the source, and no later change of it."""
    run = rmm(check)
    if run is None:
        return
    s = script(run)
    rd = s.realm()
    rec = s.rec(rd)
    s.tables(rd, 0)
    data, src = s.granule(), s.ns()
    content = SECRET.to_bytes(8, "little") * 512
    s.host("RMI_DATA_CREATE", rd, data, 0, src, 1, memory=DataSource(content))
    s.activate(rd)
    s.enter(rec)
    s.event(RealmAccess(rec, 0x10, READ))
    seen = run.run("content", s.calls)
    read = seen[-1].data0 if seen else 0
    run.expect(Rule.RMI_DATA_CREATE, "a realm reads its content", read == SECRET, hex(SECRET), hex(read))
