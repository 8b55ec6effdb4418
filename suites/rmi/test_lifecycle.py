"""RMI commands that succeed: what they leave behind is read back, used, and taken apart again."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from harness.check import Check
from refmodel.rmm.calls import AccessKind, DataSource, RealmAccess, RealmParams
from refmodel.rmm.rmi_rec import mpidr_of
from refmodel.rmm.scenario import BLOCK, UNPROTECTED, Script
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


PAGES = range(0, 7 * PAGE, PAGE)


def pages_of_every_ripas(s: Script) -> tuple[int, list[int]]:
    """A realm with content at pages 0 and 1, without at 2 (RAM) and 5 (EMPTY), RAM without memory at 3."""
    rd = s.realm()
    s.tables(rd, 0)
    s.host("RMI_RTT_INIT_RIPAS", rd, 2 * PAGE, 4 * PAGE)
    made = [s.data(rd, 0), s.data(rd, PAGE, measured=False), s.data_unknown(rd, 2 * PAGE), s.data_unknown(rd, 5 * PAGE)]
    return rd, made


def read_entries(s: Script, rd: int, ipas: Iterable[int] = PAGES) -> None:
    """Read what became of pages."""
    for ipa in ipas:
        s.host("RMI_RTT_READ_ENTRY", rd, ipa, 3)


@pytest.mark.rule("RMI-053")
def test_data_create(check: Check) -> None:
    """Content, measured and not, where nothing was: entries read, granules that cannot be had back."""
    run = rmm(check)
    if run is None:
        return
    s = script(run)
    rd, made = pages_of_every_ripas(s)
    read_entries(s, rd, (0, PAGE))
    s.data(rd, 3 * PAGE)
    read_entries(s, rd, (3 * PAGE,))
    for granule in made[:2]:
        s.host("RMI_GRANULE_UNDELEGATE", granule)
    run.run("content", s.calls)


@pytest.mark.rule("RMI-054")
def test_data_create_unknown(check: Check) -> None:
    """Memory without content over RAM, EMPTY and DESTROYED, none of which changes; in a realm that is ACTIVE too."""
    run = rmm(check)
    if run is None:
        return
    s = script(run)
    rd, made = pages_of_every_ripas(s)
    s.host("RMI_DATA_DESTROY", rd, 0)
    s.activate(rd)
    s.data_unknown(rd, 0)
    read_entries(s, rd)
    for granule in made[2:]:
        s.host("RMI_GRANULE_UNDELEGATE", granule)
    run.run("memory without content", s.calls)


@pytest.mark.rule("RMI-055")
def test_data_destroy(check: Check) -> None:
    """Granules taken away over each RIPAS: what is left, which granule it was, where the next live entry is."""
    run = rmm(check)
    if run is None:
        return
    s = script(run)
    rd, made = pages_of_every_ripas(s)
    for ipa in (PAGE, 2 * PAGE, 3 * PAGE, 5 * PAGE, 0):
        s.host("RMI_DATA_DESTROY", rd, ipa)
        read_entries(s, rd, (ipa,))
    for granule in made:
        s.host("RMI_GRANULE_UNDELEGATE", granule)
    run.run("DATA destroyed", s.calls)


@pytest.mark.rule("RMI-061")
def test_read_entry(check: Check) -> None:
    """Entries of every state at every level, read at each level that the walk may be asked to reach."""
    run = rmm(check)
    if run is None:
        return
    s = script(run)
    rd, _ = pages_of_every_ripas(s)
    s.tables(rd, UNPROTECTED)
    s.host("RMI_RTT_MAP_UNPROTECTED", rd, UNPROTECTED, 3, s.ns() | WRITE_BACK_RW)
    read_entries(s, rd)
    for ipa in (0, UNPROTECTED):
        for level in (1, 2, 3):
            s.host("RMI_RTT_READ_ENTRY", rd, ipa, level)
        for beyond in (PAGE, BLOCK, 1 << 30):
            s.host("RMI_RTT_READ_ENTRY", rd, ipa + beyond, 3)
    run.run("entries", s.calls)


HALVES = pytest.mark.parametrize("ipa", [0, UNPROTECTED], ids=["protected", "unprotected"])


@pytest.mark.rule("RMI-05D")
@HALVES
def test_table_create(check: Check, ipa: int) -> None:
    """A table takes the place of an entry and is as that was: at each level, over RAM too."""
    run = rmm(check)
    if run is None:
        return
    s = script(run)
    rd = s.realm()
    rtt = s.tables(rd, ipa)
    if ipa == 0:
        s.host("RMI_RTT_INIT_RIPAS", rd, BLOCK, 2 * BLOCK)
    s.host("RMI_RTT_CREATE", rd, s.granule(), ipa + BLOCK, 3)
    for at in (ipa, ipa + BLOCK, ipa + BLOCK + 511 * PAGE):
        for level in (2, 3):
            s.host(
                "RMI_RTT_READ_ENTRY", rd, at // (BLOCK if level == 2 else PAGE) * (BLOCK if level == 2 else PAGE), level
            )
    s.host("RMI_GRANULE_UNDELEGATE", rtt)
    run.run("tables created", s.calls)


@pytest.mark.rule("RMI-05E")
@HALVES
def test_table_destroy(check: Check, ipa: int) -> None:
    """Tables go from the last level up; what their parents' entries are then."""
    run = rmm(check)
    if run is None:
        return
    s = script(run)
    rd = s.realm()
    rtt = s.tables(rd, ipa)
    for level in (2, 3, 2):
        s.host("RMI_RTT_DESTROY", rd, ipa, level)
        s.host("RMI_RTT_READ_ENTRY", rd, ipa, 1)
        s.host("RMI_RTT_READ_ENTRY", rd, ipa, 3)
    s.host("RMI_GRANULE_UNDELEGATE", rtt)
    run.run("tables destroyed", s.calls)


@pytest.mark.rule("RMI-066")
@HALVES
def test_table_fold(check: Check, ipa: int) -> None:
    """A table whose entries agree becomes an entry; one that holds something else does not."""
    run = rmm(check)
    if run is None:
        return
    s = script(run)
    rd = s.realm()
    rtt = s.tables(rd, ipa)
    s.host("RMI_RTT_FOLD", rd, ipa, 2)
    s.host("RMI_RTT_FOLD", rd, ipa, 3)
    s.host("RMI_RTT_READ_ENTRY", rd, ipa, 2)
    s.host("RMI_RTT_CREATE", rd, rtt, ipa, 3)
    if ipa == 0:
        s.host("RMI_RTT_INIT_RIPAS", rd, 0, PAGE)
    else:
        s.host("RMI_RTT_MAP_UNPROTECTED", rd, ipa, 3, s.ns() | WRITE_BACK_RW)
    s.host("RMI_RTT_FOLD", rd, ipa, 3)
    run.run("tables folded", s.calls)


@pytest.mark.rule("RMI-066")
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


@pytest.mark.rule("RMI-05F", "RMI-062")
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


@pytest.mark.rule("RMI-064")
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
