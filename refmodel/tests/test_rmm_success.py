"""Success conditions of every RMI command that changes state: the whole post-state, written by hand."""

from __future__ import annotations

import pytest

from refmodel.rmm.calls import DataSource, HostCall, RealmParams, RecParams
from refmodel.rmm.measurement import (
    HashAlgorithm,
    MeasuredRealmParams,
    RimExtendData,
    RimExtendRec,
    RimExtendRipas,
    RimInit,
)
from refmodel.rmm.scenario import BLOCK, UNPROTECTED
from refmodel.rmm.state import (
    UNASSIGNED_DESTROYED,
    UNASSIGNED_EMPTY,
    UNASSIGNED_NS,
    UNASSIGNED_RAM,
    WIPED,
    Author,
    Content,
    RttEntry,
)
from refmodel.rmm.types import EntryState, Gpt, GranuleState, RealmState, RecState, Ripas
from refmodel.tests.rmm_worlds import BASE, host, only, permitted, script

PAGE = 0x1000
GB = 1 << 30


def test_delegate_and_undelegate() -> None:
    s = script()
    addr = s.undelegated()
    outcome = host(s.run(), "RMI_GRANULE_DELEGATE", addr)
    assert str(outcome.result) == "RMI_SUCCESS"
    granule = outcome.state.granule(addr)
    assert (granule.state, granule.gpt) == (GranuleState.DELEGATED, Gpt.GPT_REALM)
    outcome = host(outcome.state, "RMI_GRANULE_UNDELEGATE", addr)
    granule = outcome.state.granule(addr)
    assert granule == (GranuleState.UNDELEGATED, Gpt.GPT_NS, WIPED)


def test_realm_create() -> None:
    s = script()
    rtts = s.granule(align=2 * PAGE, count=2)
    rd = s.granule()
    params = RealmParams(40, rtts, 1, 2, vmid=9, flags=2, sve_vl=3, num_bps=2, num_wps=1, hash_algo=1, rpv=b"p" * 64)
    before = s.run()
    outcome = host(before, "RMI_REALM_CREATE", rd, s.ns(), memory=params)
    assert str(outcome.result) == "RMI_SUCCESS"
    after = outcome.state
    realm = after.realms[rd]
    measured = MeasuredRealmParams(2, 40, HashAlgorithm.SHA_512, 3, 2, 1, 0)
    assert realm.state is RealmState.REALM_NEW
    assert (realm.ipa_width, realm.rtt_base, realm.rtt_level_start, realm.rtt_num_start) == (40, rtts, 1, 2)
    assert (realm.vmid, realm.hash_algo, realm.feat_lpa2, realm.rpv) == (9, HashAlgorithm.SHA_512, False, b"p" * 64)
    assert realm.measurements == (RimInit(measured), bytes(64), bytes(64), bytes(64), bytes(64))
    assert (realm.rec_index, realm.num_recs) == (0, 0)
    assert after.granule(rd).state is GranuleState.RD
    assert [after.granule(rtts + n * PAGE).state for n in range(2)] == [GranuleState.RTT] * 2
    assert after.rtts[rtts] == (UNASSIGNED_EMPTY,) * 512
    assert after.rtts[rtts + PAGE] == (UNASSIGNED_NS,) * 512


def test_a_short_starting_table_is_split_in_the_middle_of_the_ipa_space() -> None:
    s = script()
    rtt, rd = s.granule(), s.granule()
    outcome = host(s.run(), "RMI_REALM_CREATE", rd, s.ns(), memory=RealmParams(33, rtt, 1, 1, vmid=1))
    assert outcome.state.rtts[rtt] == (UNASSIGNED_EMPTY,) * 4 + (UNASSIGNED_NS,) * 508


@pytest.mark.parametrize(
    ("width", "level", "count", "result"),
    [
        (40, 1, 2, "RMI_SUCCESS"),
        (40, 0, 1, "RMI_SUCCESS"),
        (40, 1, 1, "RMI_ERROR_INPUT"),
        (43, 1, 16, "RMI_SUCCESS"),
        (44, 1, 32, "RMI_ERROR_INPUT"),
        (39, 1, 1, "RMI_SUCCESS"),
        (33, 2, 8, "RMI_SUCCESS"),
        (39, 2, 512, "RMI_ERROR_INPUT"),
        (48, 0, 1, "RMI_SUCCESS"),
        (48, -1, 1, "RMI_ERROR_INPUT"),
        (39, 0, 1, "RMI_ERROR_INPUT"),
    ],
)
def test_starting_level_and_number_of_tables(width: int, level: int, count: int, result: str) -> None:
    s = script()
    rtts = s.granule(align=count * PAGE, count=count)
    rd = s.granule()
    outcome = host(s.run(), "RMI_REALM_CREATE", rd, s.ns(), memory=RealmParams(width, rtts, level, count))
    assert str(outcome.result) == result


def test_realm_activate_and_destroy() -> None:
    s = script()
    rd = s.realm(vmid=3)
    state = s.run()
    tables = state.realms[rd].rtt_base
    state = host(state, "RMI_REALM_ACTIVATE", rd).state
    assert state.realms[rd].state is RealmState.REALM_ACTIVE
    outcome = host(state, "RMI_REALM_DESTROY", rd)
    assert str(outcome.result) == "RMI_SUCCESS"
    assert rd not in outcome.state.realms
    assert {outcome.state.granule(addr).state for addr in (rd, tables, tables + PAGE)} == {GranuleState.DELEGATED}
    assert len(outcome.state.rtts) == 0
    # The VMID is free again.
    again = host(outcome.state, "RMI_REALM_CREATE", rd, s.ns(), memory=RealmParams(40, tables, 1, 2, vmid=3))
    assert str(again.result) == "RMI_SUCCESS"
    assert again.state.realms[rd].serial == 2


def test_rec_create_and_destroy() -> None:
    s = script()
    rd = s.realm()
    rim = s.run().realms[rd].measurements[0]
    aux = (s.granule(), s.granule())
    rec = s.granule()
    params = RecParams(2, aux, 0, 1, 0x80000000, (1, 2, 3, 4, 5, 6, 7, 8))
    outcome = host(s.run(), "RMI_REC_CREATE", rd, rec, s.ns(), memory=params)
    assert str(outcome.result) == "RMI_SUCCESS"
    made, realm = outcome.state.recs[rec], outcome.state.realms[rd]
    assert made.gprs == (1, 2, 3, 4, 5, 6, 7, 8, *(0,) * 24)
    assert (made.pc, made.owner, made.mpidr, made.runnable, made.aux) == (0x80000000, rd, 0, True, aux)
    assert (made.state, made.psci_pending, made.host_call_pending) == (RecState.REC_READY, False, False)
    assert (made.ripas_addr, made.ripas_top, made.attest_in_progress) == (0, 0, False)
    assert (realm.rec_index, realm.num_recs) == (1, 1)
    assert realm.measurements[0] == RimExtendRec(HashAlgorithm.SHA_256, rim, 1, 0x80000000, (1, 2, 3, 4, 5, 6, 7, 8))
    assert outcome.state.granule(rec).state is GranuleState.REC
    assert {outcome.state.granule(addr).state for addr in aux} == {GranuleState.REC_AUX}
    outcome = host(outcome.state, "RMI_REC_DESTROY", rec)
    assert {outcome.state.granule(addr).state for addr in (rec, *aux)} == {GranuleState.DELEGATED}
    assert rec not in outcome.state.recs
    # The index of the next REC stays.
    assert (outcome.state.realms[rd].rec_index, outcome.state.realms[rd].num_recs) == (1, 0)


def test_a_rec_that_is_not_runnable_leaves_the_rim() -> None:
    s = script()
    rd = s.realm()
    rim = s.run().realms[rd].measurements[0]
    s.rec(rd, runnable=False)
    assert s.run().realms[rd].measurements[0] == rim


def test_rec_aux_count_version_and_features() -> None:
    s = script()
    rd = s.realm()
    state = s.run()
    assert str(host(state, "RMI_REC_AUX_COUNT", rd).result) == "RMI_SUCCESS 2"
    # Width 48, SVE with vector length 15, 5 + 1 breakpoints, 3 + 1 watchpoints, 6 counters, both hashes, 16 List
    # Registers, 2^9 - 1 RECs.
    assert str(host(state, "RMI_FEATURES", 0).result) == f"RMI_SUCCESS {0x27F34317E30:x}"
    assert str(host(state, "RMI_FEATURES", 1).result) == "RMI_SUCCESS 0"


@pytest.mark.parametrize(
    ("requested", "result"),
    [
        (0x10000, "RMI_SUCCESS 10000 10000"),
        (0x10001, "RMI_ERROR_INPUT 10000 10000"),
        (0x20000, "RMI_ERROR_INPUT 10000 10000"),
        (0x00005, "RMI_ERROR_INPUT 10000 10000"),
    ],
)
def test_version(requested: int, result: str) -> None:
    assert str(host(script().run(), "RMI_VERSION", requested).result) == result


def test_data_create_and_destroy() -> None:
    s = script()
    rd = s.realm()
    rtt = s.tables(rd, 0)
    data, src = s.granule(), s.ns()
    rim = s.run().realms[rd].measurements[0]
    source = DataSource(b"\x5a" * PAGE, Content(Author.HOST, 0, 77))
    outcome = host(s.run(), "RMI_DATA_CREATE", rd, data, 3 * PAGE, src, 1, memory=source)
    state = outcome.state
    assert state.rtts[rtt][3] == RttEntry(EntryState.ASSIGNED, Ripas.RAM, data)
    assert state.granule(data) == (GranuleState.DATA, Gpt.GPT_REALM, Content(Author.HOST, 0, 77))
    assert state.realms[rd].measurements[0] == RimExtendData(HashAlgorithm.SHA_256, rim, 3 * PAGE, 1, b"\x5a" * PAGE)
    outcome = host(state, "RMI_DATA_DESTROY", rd, 3 * PAGE)
    assert str(outcome.result) == f"RMI_SUCCESS {data:x} 200000"
    assert outcome.state.rtts[rtt][3] == UNASSIGNED_DESTROYED
    assert outcome.state.granule(data).state is GranuleState.DELEGATED
    # Destroying does not change the RIM (I_YXLCP).
    assert outcome.state.realms[rd].measurements == state.realms[rd].measurements


@pytest.mark.parametrize(("ripas", "left"), [(Ripas.EMPTY, UNASSIGNED_EMPTY), (Ripas.RAM, UNASSIGNED_DESTROYED)])
def test_data_create_unknown_keeps_the_ripas(ripas: Ripas, left: RttEntry) -> None:
    s = script()
    rd = s.realm()
    rtt = s.tables(rd, 0)
    if ripas is Ripas.RAM:
        s.host("RMI_RTT_INIT_RIPAS", rd, 0, PAGE)
    data = s.data_unknown(rd, 0)
    state = s.run()
    assert state.rtts[rtt][0] == RttEntry(EntryState.ASSIGNED, ripas, data)
    assert state.granule(data).content == WIPED
    assert host(state, "RMI_DATA_DESTROY", rd, 0).state.rtts[rtt][0] == left


def test_data_over_destroyed_stays_destroyed() -> None:
    s = script()
    rd = s.realm()
    rtt = s.tables(rd, 0)
    s.data(rd, 0)
    s.host("RMI_DATA_DESTROY", rd, 0)
    s.data_unknown(rd, 0)
    state = s.run()
    assert state.rtts[rtt][0].ripas is Ripas.DESTROYED
    assert host(state, "RMI_DATA_DESTROY", rd, 0).state.rtts[rtt][0] == UNASSIGNED_DESTROYED


def test_data_destroy_reports_the_next_live_entry() -> None:
    s = script()
    rd = s.realm()
    s.tables(rd, 0)
    first = s.data_unknown(rd, 0)
    s.data_unknown(rd, 5 * PAGE)
    assert str(host(s.run(), "RMI_DATA_DESTROY", rd, 0).result) == f"RMI_SUCCESS {first:x} 5000"


def test_rtt_create_destroy_in_both_halves() -> None:
    for ipa, inherited, left in (
        (0, UNASSIGNED_EMPTY, UNASSIGNED_DESTROYED),
        (UNPROTECTED, UNASSIGNED_NS, UNASSIGNED_NS),
    ):
        s = script()
        rd = s.realm()
        rtt = s.granule()
        state = host(s.run(), "RMI_RTT_CREATE", rd, rtt, ipa, 2).state
        root = state.realms[rd].rtt_base + (PAGE if ipa else 0)
        assert state.rtts[root][0] == RttEntry(EntryState.TABLE, addr=rtt)
        assert state.rtts[rtt] == (inherited,) * 512
        assert state.granule(rtt).state is GranuleState.RTT
        outcome = host(state, "RMI_RTT_DESTROY", rd, ipa, 2)
        # Nothing is live up to the end of the starting level table.
        assert str(outcome.result) == f"RMI_SUCCESS {rtt:x} {ipa + 512 * GB:x}"
        assert outcome.state.rtts[root][0] == left
        assert outcome.state.granule(rtt).state is GranuleState.DELEGATED


def test_a_table_of_non_secure_mappings_is_not_live() -> None:
    s = script()
    rd = s.realm()
    rtt = s.tables(rd, UNPROTECTED)
    s.host("RMI_RTT_MAP_UNPROTECTED", rd, UNPROTECTED, 3, BASE | 0b110 << 2)
    outcome = host(s.run(), "RMI_RTT_DESTROY", rd, UNPROTECTED, 3)
    assert str(outcome.result) == f"RMI_SUCCESS {rtt:x} {UNPROTECTED + GB:x}"


@pytest.mark.parametrize("unknown", [True, False])
def test_fold_and_unfold_a_block(unknown: bool) -> None:
    s = script()
    rd = s.realm()
    rtt = s.tables(rd, 0)
    block = s.granule(align=BLOCK, count=512)
    if not unknown:
        s.host("RMI_RTT_INIT_RIPAS", rd, 0, BLOCK)
    for number in range(512):
        s.host("RMI_DATA_CREATE_UNKNOWN", rd, block + number * PAGE, number * PAGE)
    state = s.run()
    ripas = Ripas.EMPTY if unknown else Ripas.RAM
    outcome = host(state, "RMI_RTT_FOLD", rd, 0, 3)
    assert str(outcome.result) == f"RMI_SUCCESS {rtt:x}"
    parent = next(addr for addr in outcome.state.rtts if outcome.state.rtts[addr][0].addr == block)
    assert outcome.state.rtts[parent][0] == RttEntry(EntryState.ASSIGNED, ripas, block)
    assert outcome.state.granule(rtt).state is GranuleState.DELEGATED
    unfolded = host(outcome.state, "RMI_RTT_CREATE", rd, rtt, 0, 3).state
    assert unfolded.rtts[rtt] == state.rtts[rtt]


def test_what_does_not_fold() -> None:
    s = script()
    rd = s.realm()
    s.tables(rd, 0)
    block = s.granule(align=BLOCK, count=512)
    # Two granules are swapped, so that the addresses are not contiguous.
    for number, target in enumerate([1, 0, *range(2, 512)]):
        s.host("RMI_DATA_CREATE_UNKNOWN", rd, block + target * PAGE, number * PAGE)
    assert str(host(s.run(), "RMI_RTT_FOLD", rd, 0, 3).result).startswith("RMI_ERROR_RTT 3")


def test_fold_of_unassigned_entries_keeps_the_ripas() -> None:
    s = script()
    rd = s.realm()
    s.tables(rd, 0)
    s.host("RMI_RTT_INIT_RIPAS", rd, 0, BLOCK)
    s.host("RMI_RTT_FOLD", rd, 0, 3)
    assert str(host(s.run(), "RMI_RTT_READ_ENTRY", rd, 0, 3).result) == "RMI_SUCCESS 2 0 0 1"


def test_map_read_unmap_unprotected() -> None:
    s = script()
    rd = s.realm()
    rtt = s.tables(rd, UNPROTECTED)
    desc = 0x12345000 | 0b110 << 2 | 0b11 << 6
    s.host("RMI_RTT_MAP_UNPROTECTED", rd, UNPROTECTED + PAGE, 3, desc)
    state = s.run()
    assert state.rtts[rtt][1] == RttEntry(EntryState.ASSIGNED_NS, Ripas.EMPTY, 0x12345000, 0b110, 0b11)
    read = host(state, "RMI_RTT_READ_ENTRY", rd, UNPROTECTED + PAGE, 3)
    assert str(read.result) == f"RMI_SUCCESS 3 1 {desc:x} 0"
    outcome = host(state, "RMI_RTT_UNMAP_UNPROTECTED", rd, UNPROTECTED + PAGE, 3)
    assert str(outcome.result) == f"RMI_SUCCESS {UNPROTECTED + BLOCK:x}"
    assert outcome.state.rtts[rtt][1] == UNASSIGNED_NS


def test_read_entry_by_state() -> None:
    s = script()
    rd = s.realm()
    rtt = s.tables(rd, 0)
    data = s.data(rd, 0)
    state = s.run()
    assert str(host(state, "RMI_RTT_READ_ENTRY", rd, 0, 3).result) == f"RMI_SUCCESS 3 1 {data:x} 1"
    assert str(host(state, "RMI_RTT_READ_ENTRY", rd, PAGE, 3).result) == "RMI_SUCCESS 3 0 0 0"
    table = host(state, "RMI_RTT_READ_ENTRY", rd, 0, 2).result
    assert str(table) == f"RMI_SUCCESS 2 2 {rtt:x} <Undefined.UNDEFINED>"
    assert str(host(state, "RMI_RTT_READ_ENTRY", rd, UNPROTECTED, 3).result) == "RMI_SUCCESS 1 0 0 0"


def test_init_ripas() -> None:
    s = script()
    rd = s.realm()
    rtt = s.tables(rd, 0)
    rim = s.run().realms[rd].measurements[0]
    outcome = host(s.run(), "RMI_RTT_INIT_RIPAS", rd, PAGE, 4 * PAGE)
    assert str(outcome.result) == "RMI_SUCCESS 4000"
    assert outcome.state.rtts[rtt][:5] == (UNASSIGNED_EMPTY, *(UNASSIGNED_RAM,) * 3, UNASSIGNED_EMPTY)
    assert outcome.state.realms[rd].measurements[0] == RimExtendRipas(HashAlgorithm.SHA_256, rim, PAGE, 4 * PAGE, PAGE)


def test_init_ripas_ends_with_the_table_of_the_walk() -> None:
    s = script()
    rd = s.realm()
    s.tables(rd, 0)
    assert str(host(s.run(), "RMI_RTT_INIT_RIPAS", rd, PAGE, 4 * BLOCK).result) == "RMI_SUCCESS 200000"
    # Beyond it entries describe 2 MB, up to the next table: there is none in this 1 GB.
    assert str(host(s.run(), "RMI_RTT_INIT_RIPAS", rd, BLOCK, 4 * BLOCK).result) == "RMI_SUCCESS 800000"


def test_init_ripas_at_an_assigned_entry_has_two_readings() -> None:
    s = script()
    rd = s.realm()
    s.tables(rd, 0)
    s.data(rd, 2 * PAGE)
    outcomes = permitted(s.run(), s.call("RMI_RTT_INIT_RIPAS", rd, 0, 4 * PAGE))
    assert {str(outcome.result) for outcome in outcomes} == {"RMI_SUCCESS 4000", "RMI_SUCCESS 2000"}


def test_init_ripas_at_a_destroyed_entry_has_two_readings() -> None:
    s = script()
    rd = s.realm()
    s.tables(rd, 0)
    s.data(rd, 0)
    s.host("RMI_DATA_DESTROY", rd, 0)
    outcomes = permitted(s.run(), s.call("RMI_RTT_INIT_RIPAS", rd, 0, PAGE))
    assert {str(outcome.result) for outcome in outcomes} == {
        "RMI_SUCCESS 1000",
        "RMI_ERROR_RTT 3 <Undefined.UNDEFINED>",
    }


def test_unaligned_addresses_locate_no_granule() -> None:
    s = script()
    rd = s.realm()
    s.activate(rd)
    assert str(only(s.run(), s.call("RMI_REALM_ACTIVATE", rd + 8)).result) == "RMI_ERROR_INPUT"


def test_commands_that_are_none() -> None:
    outcome = only(script().run(), HostCall(0xC4000156, (0,)))
    assert str(outcome.result) == "X0 = 0xffffffffffffffff"
