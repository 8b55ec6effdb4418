"""The check with FEAT_RME_GPC2 and FEAT_RME_GPC3, against values worked out by hand from the register descriptions.

GPCCR_EL3, GPCBW_EL3: DDI 0487 issue M, D24.2.  Bypass windows: D9.2.  GPI encodings: D9.6.5.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from refmodel.features import Features
from refmodel.gpt.build import Geometry, GPTBuilder, block_descriptor, granules_descriptor, table_descriptor
from refmodel.gpt.bypass import GPCBWValid, PAWithinGPCBypassWindow
from refmodel.gpt.check import GranuleProtectionCheck
from refmodel.gpt.decode import DecodePPS, gpi_name
from refmodel.gpt.types import GPC_NO_FAULT, GPCF, GPCFRecord, GPCState
from refmodel.memory import Memory
from refmodel.observe import RuleCollector
from refmodel.pas import FullAddress, PASpace, SecurityState
from refmodel.rules import Rule
from refmodel.sysregs import GPCBW_EL3, GPCCR_EL3, GPTBR_EL3
from refmodel.tests.worlds import GPC2, GPC3, put64, ram

S, NS, ROOT, REALM = PASpace.PAS_Secure, PASpace.PAS_NonSecure, PASpace.PAS_Root, PASpace.PAS_Realm
FAIL_0, WALK_0 = GPCFRecord(GPCF.GPCF_Fail, 0), GPCFRecord(GPCF.GPCF_Walk, 0)
WALK_1, SIZE_0 = GPCFRecord(GPCF.GPCF_Walk, 1), GPCFRecord(GPCF.GPCF_AddressSize, 0)
L0, L1 = 1 << 30, 0x10_0000  # level 0 is aligned for every protected size
ANY, NO_ACCESS, NSO = 0b1111, 0b0000, 0b1101
BASE = GPCCR_EL3.of(GPC=1, SH=0b11, ORGN=1, IRGN=1, PPS=1)  # 64 GB, 4 KB granules, 1 GB per level 0 entry


def state(gpccr: GPCCR_EL3 = BASE, features: Features = GPC3, gpcbw: int = 0, base: int = L0) -> GPCState:
    return GPCState(gpccr, GPTBR_EL3.of(BADDR=base >> 12), features, GPCBW_EL3(gpcbw))


def check(
    gpc: GPCState, memory: Memory, space: PASpace, pa: int, ss: SecurityState = SecurityState.SS_Root
) -> GPCFRecord:
    return GranuleProtectionCheck(gpc, memory, FullAddress(space, pa), ss=ss)


def blocks(gpi: int) -> Memory:
    """Level 0 of 64 Block descriptors."""
    memory = ram()
    for index in range(64):
        put64(memory, L0 + 8 * index, block_descriptor(gpi))
    return memory


@pytest.mark.parametrize("space", [S, ROOT, REALM])
def test_appsaa_admits_every_space_above_the_protected_size(space: PASpace) -> None:
    memory = blocks(NO_ACCESS)
    set_, clear = BASE.replace(APPSAA=1), BASE
    assert check(state(set_), memory, space, 64 << 30) == GPC_NO_FAULT
    assert check(state(clear), memory, space, 64 << 30) == FAIL_0
    assert check(state(set_), memory, space, (64 << 30) - 1) == FAIL_0, "below the size the table still decides"
    assert check(state(set_, Features(rme=1)), memory, space, 64 << 30) == FAIL_0, "RES0 without GPC2"


@pytest.mark.parametrize(
    ("space", "ss", "permitted"),
    [
        (NS, SecurityState.SS_NonSecure, True),
        (NS, SecurityState.SS_Root, True),
        (NS, SecurityState.SS_Realm, False),
        (NS, SecurityState.SS_Secure, False),
        (REALM, SecurityState.SS_Realm, False),
        (S, SecurityState.SS_Secure, False),
        (ROOT, SecurityState.SS_Root, False),
        (REALM, SecurityState.SS_Root, False),
        (S, SecurityState.SS_Root, False),
    ],
)
def test_non_secure_only(space: PASpace, ss: SecurityState, permitted: bool) -> None:
    """Non-secure PA space only, by Non-secure or Root state only."""
    gpc = state(BASE.replace(NSO=1), GPC2)
    assert check(gpc, blocks(NSO), space, 0x1000, ss) == (GPC_NO_FAULT if permitted else FAIL_0)


@pytest.mark.parametrize(("features", "nso"), [(GPC2, 0), (GPC3, 0), (Features(rme=1), 1)])
def test_non_secure_only_is_reserved_unless_enabled(features: Features, nso: int) -> None:
    gpc = state(BASE.replace(NSO=nso), features)
    assert check(gpc, blocks(NSO), NS, 0x1000) == WALK_0
    memory = ram()
    put64(memory, L0, table_descriptor(L1 << 1))
    put64(memory, L1 << 1, granules_descriptor([ANY] * 15 + [NSO]))
    assert check(gpc, memory, NS, 0x1000) == WALK_1, "spoils the descriptor for its neighbours"


def test_non_secure_only_beside_other_granules() -> None:
    memory = ram()
    put64(memory, L0, table_descriptor(L1 << 1))
    put64(memory, L1 << 1, granules_descriptor([ANY] * 15 + [NSO]))
    gpc = state(BASE.replace(NSO=1), GPC2)
    assert check(gpc, memory, REALM, 0xE000, SecurityState.SS_Realm) == GPC_NO_FAULT
    assert check(gpc, memory, NS, 0xF000, SecurityState.SS_Realm) == GPCFRecord(GPCF.GPCF_Fail, 1)
    assert gpi_name(NSO) == "1101 (Non-secure only)"


@pytest.mark.parametrize(
    ("field", "space", "rule"),
    [
        ("SPAD", S, Rule.SECURE_SPACE_DISABLED),
        ("NSPAD", NS, Rule.NON_SECURE_SPACE_DISABLED),
        ("RLPAD", REALM, Rule.REALM_SPACE_DISABLED),
    ],
)
def test_space_disables(field: str, space: PASpace, rule: Rule) -> None:
    memory = blocks(ANY)
    gpc = state(BASE.replace(**{field: 1}))
    fired = RuleCollector()
    assert GranuleProtectionCheck(gpc, memory, FullAddress(space, 0x1000), fired) == FAIL_0
    assert fired.rules == [rule]
    for other in {S, NS, ROOT, REALM} - {space}:
        assert check(gpc, memory, other, 0x1000) == GPC_NO_FAULT
    assert check(state(BASE.replace(**{field: 1}), Features(rme=1)), memory, space, 0x1000) == GPC_NO_FAULT
    assert check(state(BASE.replace(**{field: 1, "GPC": 0})), memory, space, 0x1000) == GPC_NO_FAULT


def test_space_disables_precede_the_protected_size() -> None:
    """NSPAD stops what an address above the protected size would let pass, APPSAA does not undo a disable."""
    memory = blocks(ANY)
    assert check(state(BASE.replace(NSPAD=1)), memory, NS, 64 << 30) == FAIL_0
    assert check(state(BASE.replace(RLPAD=1, APPSAA=1)), memory, REALM, 64 << 30) == FAIL_0
    assert check(state(BASE.replace(NSPAD=1, SH=0b01)), memory, NS, 0) == WALK_0, "an invalid configuration comes first"


GB, TB = 1 << 30, 1 << 40


@pytest.mark.parametrize(
    ("bwsize", "bwstride", "first", "pa", "within"),
    [
        (0b000, 0b00000, 0, 0, True),
        (0b000, 0b00000, 0, GB - 1, True),
        (0b000, 0b00000, 0, GB, False),
        (0b000, 0b00000, 3 * GB, 3 * GB, True),
        (0b000, 0b00000, 3 * GB, 2 * GB, False),
        (0b000, 0b00000, 3 * GB, 5 * TB + 3 * GB + 0x123, True),
        (0b000, 0b00010, 3 * GB, 4 * TB + 3 * GB, True),
        (0b000, 0b00010, 3 * GB, 5 * TB + 3 * GB, False),
        (0b001, 0b00000, 2 * GB, 4 * GB - 1, True),
        (0b001, 0b00000, 2 * GB, 4 * GB, False),
        (0b010, 0b00100, 4 * GB, 16 * TB + 8 * GB - 1, True),
        (0b010, 0b00100, 4 * GB, 8 * TB + 4 * GB, False),
        (0b100, 0b00110, 16 * GB, 64 * TB + 31 * GB, True),
        (0b100, 0b00110, 16 * GB, 64 * TB + 32 * GB, False),
        (0b110, 0b00111, 64 * GB, 128 * TB + 127 * GB, True),
        (0b110, 0b00111, 64 * GB, 64 * TB + 64 * GB, False),
        (0b110, 0b01000, 0, 256 * TB + 63 * GB, True),
        (0b110, 0b01000, 0, 128 * TB, False),
        (0b000, 0b01001, 0, 512 * TB, True),
        (0b000, 0b01001, 0, 256 * TB, False),
        (0b000, 0b01010, 0, 1024 * TB, True),
        (0b000, 0b01010, 0, 512 * TB, False),
        (0b000, 0b10000, 7 * TB, 7 * TB, True),
        (0b000, 0b10000, 7 * TB, 1024 * TB + 7 * TB, False),
    ],
)
def test_bypass_window_geometry(bwsize: int, bwstride: int, first: int, pa: int, within: bool) -> None:
    gpcbw = GPCBW_EL3.of(BWSIZE=bwsize, BWSTRIDE=bwstride, BWADDR=first >> 30)
    assert GPCBWValid(gpcbw)
    assert PAWithinGPCBypassWindow(state(BASE.replace(GPCBW=1), gpcbw=gpcbw.value), pa) == within


@pytest.mark.parametrize(
    ("bwsize", "bwstride", "first"),
    [
        *((size, 0, 0) for size in (0b011, 0b101, 0b111)),
        *((0, stride, 0) for stride in range(32) if stride not in (0, 2, 4, 6, 7, 8, 9, 10, 16)),
        (0b001, 0, 1 * GB),
        (0b010, 0, 2 * GB),
        (0b100, 0, 8 * GB),
        (0b110, 0, 32 * GB),
        (0b000, 0b00000, 1 * TB),
        (0b000, 0b00010, 4 * TB),
        (0b000, 0b01010, 1024 * TB),
    ],
)
def test_invalid_bypass_configuration_is_a_walk_fault(bwsize: int, bwstride: int, first: int) -> None:
    """Reserved encodings, a base that is not aligned to the size, a base at or above the stride."""
    gpcbw = GPCBW_EL3.of(BWSIZE=bwsize, BWSTRIDE=bwstride, BWADDR=first >> 30).value
    memory = blocks(ANY)
    assert check(state(BASE.replace(GPCBW=1), gpcbw=gpcbw), memory, NS, 0x1000) == WALK_0
    assert check(state(BASE, gpcbw=gpcbw), memory, NS, 0x1000) == GPC_NO_FAULT, "windows are disabled"
    assert check(state(BASE.replace(GPCBW=1), GPC2, gpcbw), memory, NS, 0x1000) == GPC_NO_FAULT, "RES0 without GPC3"


@pytest.mark.parametrize("space", list(PASpace))
def test_bypass_window_admits_every_space(space: PASpace) -> None:
    memory = blocks(NO_ACCESS)
    gpc = state(BASE.replace(GPCBW=1), gpcbw=GPCBW_EL3.of(BWADDR=2).value)
    assert check(gpc, memory, space, 2 * GB) == GPC_NO_FAULT
    assert check(gpc, memory, space, 3 * GB - 1) == GPC_NO_FAULT
    assert check(gpc, memory, space, 3 * GB) == FAIL_0
    assert check(gpc, memory, space, 2 * GB - 1) == FAIL_0


def test_bypass_comes_after_level_0_faults_and_before_gptbr() -> None:
    """I_XNHTX: right after the granule protection fault at level 0, so before the address size fault of GPTBR_EL3."""
    memory = blocks(NO_ACCESS)
    window = GPCBW_EL3.of(BWADDR=0).value
    gpc = state(BASE.replace(GPCBW=1), gpcbw=window)
    assert check(gpc, memory, REALM, 1 * TB) == FAIL_0, "a window copy above the protected size is no window"
    assert check(state(BASE.replace(GPCBW=1, RLPAD=1), gpcbw=window), memory, REALM, 0) == FAIL_0
    far = replace(gpc, gptbr=GPTBR_EL3.of(BADDR=64 << 18))
    assert check(far, memory, REALM, 0x1000) == GPC_NO_FAULT
    assert check(far, memory, REALM, GB) == SIZE_0


@pytest.mark.parametrize(
    ("pps3", "pps", "bits"), [(1, 0b000, 46), (1, 0b001, 47), (0, 0b111, 56), (0, 0b101, 48), (0, 0b110, 52)]
)
def test_protected_sizes(pps3: int, pps: int, bits: int) -> None:
    gpccr = BASE.replace(PPS3=pps3, PPS=pps)
    wide = replace(GPC3, pamax=56)
    assert DecodePPS(gpccr) == bits
    memory = blocks(ANY)
    assert check(state(gpccr, wide), memory, REALM, 0x1000) == GPC_NO_FAULT
    if bits < 56:
        assert check(state(gpccr, wide), memory, REALM, 1 << bits) == FAIL_0
        assert check(state(gpccr, replace(wide, pamax=bits if bits != 47 else 48)), memory, S, 0) == GPC_NO_FAULT
    assert check(state(gpccr, replace(wide, pamax=44)), memory, REALM, 0x1000) == WALK_0, "above the implemented size"


@pytest.mark.parametrize("encoding", [0b1010, 0b1011, 0b1100, 0b1101, 0b1110, 0b1111])
def test_reserved_protected_sizes(encoding: int) -> None:
    gpccr = BASE.replace(PPS3=1, PPS=encoding & 7)
    assert check(state(gpccr, replace(GPC3, pamax=56)), blocks(ANY), NS, 0) == WALK_0


def test_protected_size_without_gpc3() -> None:
    """PPS3 is RES0, and 0b111 is reserved even where 56 bits are implemented."""
    gpc2 = replace(GPC2, pamax=56)
    memory = blocks(ANY)
    assert check(state(BASE.replace(PPS3=1), gpc2), memory, REALM, 64 << 30) == FAIL_0, "still 64 GB"
    assert check(state(BASE.replace(PPS=0b111), gpc2), memory, NS, 0) == WALK_0


def test_56_bit_table_addresses() -> None:
    """Bits [55:52] of GPTBR_EL3's base and of a Table descriptor count where 56 bits are protected (R_LHVFM)."""
    high = 0xA << 52
    wide = replace(GPC3, pamax=56)
    gpccr = BASE.replace(PPS=0b111)
    memory = ram()
    base = high | 1 << 34
    put64(memory, base, table_descriptor(high | L1 << 1))
    put64(memory, high | L1 << 1, granules_descriptor([0b1011] * 16))
    gptbr = GPTBR_EL3.of(BADDR_55_52=0xA, BADDR=1 << 34 >> 12)
    gpc = GPCState(gpccr, gptbr, wide)
    assert check(gpc, memory, REALM, 0x1000) == GPC_NO_FAULT
    assert check(gpc, memory, NS, 0x1000) == GPCFRecord(GPCF.GPCF_Fail, 1)
    below = state(BASE.replace(PPS=0b110), wide)
    put64(memory, L0, table_descriptor(1 << 52 | L1 << 1))
    assert check(below, memory, REALM, 0x1000) == WALK_0, "RES0 with 52 bits"
    without = GPCState(BASE, GPTBR_EL3.of(BADDR_55_52=0xA, BADDR=L0 >> 12), GPC2)
    assert check(without, blocks(ANY), REALM, 0x1000) == GPC_NO_FAULT, "the extension is RES0 without GPC3"


@pytest.mark.parametrize(("pgs", "bits"), [(0b00, 12), (0b10, 14), (0b01, 16)])
def test_granule_sizes_that_are_not_implemented(pgs: int, bits: int) -> None:
    others = frozenset({12, 14, 16}) - {bits}
    gpccr = BASE.replace(PGS=pgs)
    assert check(state(gpccr, Features(granules=others)), blocks(ANY), NS, 0) == WALK_0
    assert check(state(gpccr, Features(granules=frozenset({bits}))), blocks(ANY), NS, 0) == GPC_NO_FAULT


ID = {"ID_AA64PFR0_EL1": 3 << 52 | 1 << 36 | 1 << 28, "ID_AA64MMFR0_EL1": 6 | 1 << 20, "ID_AA64ISAR0_EL1": 2 << 20}


def test_features_follow_the_id_registers() -> None:
    features = Features.from_id_registers(ID)
    assert (features.rme, features.gpc2, features.gpc3, features.pamax) == (3, True, True, 52)
    assert not Features.from_id_registers({**ID, "ID_AA64PFR0_EL1": 1 << 52}).gpc2
    assert Features.from_id_registers({**ID, "ID_AA64PFR0_EL1": 2 << 52}).gpc2
    assert Features.from_id_registers({**ID, "ID_AA64PFR1_EL1": 1 << 56}).doublefault2
    assert not Features.from_id_registers({**ID, "ID_AA64MMFR1_EL1": 0}).vhe


@pytest.mark.parametrize(
    ("mmfr0", "granules"),
    [
        (0, {12, 16}),
        (1 << 20, {12, 14, 16}),
        (0xF << 28 | 0xF << 24 | 1 << 20, {14}),
        (0xF << 28 | 2 << 40, {12, 16}),
        (2 << 32, {12, 14, 16}),
        (0xF << 24 | 1 << 36, {12}),
    ],
)
def test_granules_follow_both_stages(mmfr0: int, granules: set[int]) -> None:
    assert Features.from_id_registers({**ID, "ID_AA64MMFR0_EL1": mmfr0}).granules == granules


def test_declared_features_that_the_id_registers_contradict() -> None:
    declared = Features.from_id_registers(ID)
    assert declared.mismatches(ID) == ()
    wrong = replace(declared, rme=1, pamax=48)
    assert wrong.mismatches(ID) == (
        "rme is declared as 1, the ID registers report 3",
        "pamax is declared as 48, the ID registers report 52",
    )


@pytest.mark.parametrize("rme", range(4))
def test_features_by_name(rme: int) -> None:
    """Each value of ID_AA64PFR0_EL1.RME adds a feature."""
    named = Features(rme=rme, sel2=False, doublefault2=True).named
    rme_features = [named["FEAT_RME"], named["FEAT_RME_GPC2"], named["FEAT_RME_GPC3"]]
    assert rme_features == [True] * rme + [False] * (3 - rme)
    assert (named["FEAT_SEL2"], named["FEAT_DoubleFault2"], named["FEAT_VHE"]) == (False, True, True)


@pytest.mark.parametrize(("pps", "pps3", "field"), [(46, 1, 0b000), (47, 1, 0b001), (56, 0, 0b111), (48, 0, 0b101)])
def test_tables_for_the_sizes_of_gpc3(pps: int, pps3: int, field: int) -> None:
    """The builder's registers, and a level 0 table at 1 << 52 behind them."""
    high = 1 << 52 if pps == 56 else 0
    builder = GPTBuilder(Geometry(pps=pps, l0gptsz=39), high | 1 << 30, 1 << 30)
    gpccr = builder.geometry.gpccr()
    assert (pps3, field) == (gpccr.PPS3, gpccr.PPS)
    builder.block(0, 0b1011)
    memory = ram()
    for at, data in builder.writes():
        memory.write(at, data)
    gpc = GPCState(gpccr, builder.gptbr, replace(GPC3, pamax=56))
    assert check(gpc, memory, REALM, 0x1000) == GPC_NO_FAULT
    assert check(gpc, memory, NS, 0x1000) == FAIL_0
