"""Stage 1 of the EL3 regime: start level, table address, ranges, levels of faults, permissions, output space."""

from __future__ import annotations

import re

import pytest

from refmodel.access import ACCESSES
from refmodel.context import AT_EL3
from refmodel.faults import Fault, FaultRecord
from refmodel.features import Features
from refmodel.gpt.types import GPC_NO_FAULT, GPCF, GPCFRecord
from refmodel.memory import Memory, MemoryMap, Region, RegionKind
from refmodel.observe import Observer
from refmodel.pas import FullAddress, PASpace
from refmodel.sysregs import TCR_EL3, TTBR0_EL3
from refmodel.tests.machine import everything_is_ram, put
from refmodel.translation.el3 import EL3Regime, S1Translate, Translated
from refmodel.translation.walkstate import S1StartLevel, S1TTBaseAddress

AF, TABLE, BLOCK, PAGE = 1 << 10, 0b11, 0b01, 0b11
NSE, NS, READ_ONLY, XN = 1 << 11, 1 << 5, 1 << 7, 1 << 54
XN_TABLE, AP_TABLE = 1 << 60, 1 << 62
ROOT_LEAF = AF | NSE
L0, L1, L2, L3 = 0x1_0000, 0x1_1000, 0x1_2000, 0x1_3000
NO_LPA2 = Features(pamax=48)
LPA2 = Features(pamax=52, lpa2=True)


def regime(*, ttbr: int = L0, features: Features = LPA2, **tcr: int) -> EL3Regime:
    return EL3Regime(TTBR0_EL3(ttbr), TCR_EL3.of(**{"T0SZ": 16, "PS": 5, **tcr}), features)


def unchecked(address: FullAddress, observe: Observer) -> GPCFRecord:
    return GPC_NO_FAULT


def translate(
    memory: Memory, va: int, kind: str = "load", at: EL3Regime | None = None
) -> tuple[FaultRecord, Translated | None]:
    return S1Translate(at or regime(), unchecked, memory, va, ACCESSES[kind])


def tables(*entries: tuple[int, int]) -> Memory:
    memory = everything_is_ram()
    for address, value in entries:
        put(memory, address, value)
    return memory


def fault_of(memory: Memory, va: int, kind: str = "load", at: EL3Regime | None = None) -> tuple[Fault, int, bool]:
    fault, translated = translate(memory, va, kind, at)
    assert translated is None
    return fault.statuscode, fault.level, fault.write


def address_of(memory: Memory, va: int, kind: str = "load", at: EL3Regime | None = None) -> str:
    fault, translated = translate(memory, va, kind, at)
    assert translated is not None, fault
    return f"{translated.address} level {translated.level}"


# AArch64_S1StartLevel: 3 - (IA size - 13) / 9; AArch64_S1TTBaseAddress: the size of the first table, 64 bytes at least
# with DS.  The table has 2 ** (IA size - bits below it) entries of 8 bytes.
@pytest.mark.parametrize(
    ("t0sz", "ds", "level", "table_bits"),
    [
        (16, 0, 0, 12),  # 48 bits: 9 of them index level 0
        (17, 0, 0, 11),
        (24, 0, 0, 4),  # 40 bits: 1 of them indexes level 0
        (25, 0, 1, 12),  # 39 bits
        (33, 0, 1, 4),
        (34, 0, 2, 12),
        (42, 0, 2, 4),
        (43, 0, 3, 12),
        (48, 0, 3, 7),  # 16 bits
        (12, 1, -1, 7),  # 52 bits: 4 of them index level -1
        (15, 1, -1, 6),  # 49 bits, 1 index bit: 16 bytes, raised to 64
        (16, 1, 0, 12),
        (24, 1, 0, 6),
    ],
)
def test_first_table(t0sz: int, ds: int, level: int, table_bits: int) -> None:
    at = regime(ttbr=0xFFFF_FFFF_FFFE, T0SZ=t0sz, DS=ds, PS=6)
    assert S1StartLevel(at.walkparams(AT_EL3, 0)) == level
    # TTBR0_EL3[5:2] are address bits [51:48] with DS, and there bits [5:4] and CnP are no address.
    top = 0xF_FFFF_FFFF_FFC0 if ds else 0xFFFF_FFFF_FFFE
    assert f"{S1TTBaseAddress(at.walkparams(AT_EL3, 0), at.ttbr(0)):#x}" == f"{top & -(1 << table_bits):#x}"


@pytest.mark.parametrize("t0sz", range(16, 49))
def test_input_range(t0sz: int) -> None:
    """Input bits at or above 64 - T0SZ are a translation fault at level 0, whatever the start level."""
    at = regime(T0SZ=t0sz)
    for bit in range(64):
        fault = fault_of(everything_is_ram(), 1 << bit, at=at)
        assert fault[0] is Fault.Fault_Translation
        assert fault[1] == (0 if bit >= 64 - t0sz else S1StartLevel(at.walkparams(AT_EL3, 0)))


def test_every_level_of_a_48_bit_walk() -> None:
    """VA 0x8000_4020_1abc: index 1 at every level, by bits 47, 30, 21 and 12; three ways to end."""
    va = 1 << 39 | 1 << 30 | 1 << 21 | 1 << 12 | 0xABC
    to_1 = (L0 + 8, L1 | TABLE)
    to_2 = (L1 + 8, L2 | TABLE)
    to_3 = (L2 + 8, L3 | TABLE)
    page = tables(to_1, to_2, to_3, (L3 + 8, 0x7654_3000 | ROOT_LEAF | PAGE))
    assert address_of(page, va) == "Root:0x76543abc level 3"
    block_2 = tables(to_1, to_2, (L2 + 8, 0x7660_0000 | ROOT_LEAF | BLOCK))
    assert address_of(block_2, va) == "Root:0x76601abc level 2"
    block_1 = tables(to_1, (L1 + 8, 0x8000_0000 | ROOT_LEAF | BLOCK))
    assert address_of(block_1, va) == "Root:0x80201abc level 1"


def test_a_walk_of_52_bits_starts_at_level_minus_1() -> None:
    at = regime(ttbr=L0 | 0b1000 << 2, T0SZ=12, PS=6, DS=1)  # TTBR[5:2] = 8: the table is at 0x8_0000_0001_0000
    memory = tables((0x8_0000_0001_0008, L1 | TABLE), (L1, 0x3 << 48 | 0b10 << 8 | ROOT_LEAF | BLOCK))
    # Leaf: descriptor[49:48] = 3 and [9:8] = 2 give address bits [51:48] = 0b1011; a level 0 block is 512 GB.
    assert address_of(memory, 1 << 48 | 0x12_3456_7890, at=at) == "Root:0xb001234567890 level 0"
    assert fault_of(memory, 0, at=at) == (Fault.Fault_Translation, -1, False)
    # Blocks do not exist at level -1, and at level 0 only with DS.
    memory = tables((0x8_0000_0001_0000, ROOT_LEAF | BLOCK))
    assert fault_of(memory, 0, at=at) == (Fault.Fault_Translation, -1, False)
    assert fault_of(tables((L0, ROOT_LEAF | BLOCK)), 0) == (Fault.Fault_Translation, 0, False)


def test_ds_without_lpa2_is_ignored() -> None:
    at = regime(ttbr=L0, DS=1, PS=6, features=NO_LPA2)
    memory = tables((L0, L1 | TABLE), (L1, 0x3 << 48 | 0b11 << 8 | ROOT_LEAF | BLOCK))
    assert address_of(memory, 0x123, at=at) == "Root:0x123 level 1"


@pytest.mark.parametrize(
    ("descriptors", "level"),
    [
        ([0], 0),
        ([0b10], 0),
        ([TABLE, 0], 1),
        ([TABLE, TABLE, 0b10], 2),
        ([TABLE, TABLE, TABLE, 0], 3),
        ([TABLE, TABLE, TABLE, ROOT_LEAF | BLOCK], 3),
    ],
)
def test_invalid_descriptors(descriptors: list[int], level: int) -> None:
    places = (L0, L1, L2, L3)
    values = [value | places[index + 1] if value == TABLE else value for index, value in enumerate(descriptors)]
    memory = tables(*zip(places, values, strict=False))
    assert fault_of(memory, 0) == (Fault.Fault_Translation, level, False)


# TCR_EL3.PS, DS, implemented size, and the lowest address bit that is out of range.
@pytest.mark.parametrize(
    ("ps", "ds", "features", "bits"),
    [
        (0, 0, LPA2, 32),
        (1, 0, LPA2, 36),
        (2, 0, LPA2, 40),
        (3, 0, LPA2, 42),
        (4, 0, LPA2, 44),
        (5, 0, Features(pamax=44), 44),
        (5, 1, LPA2, 48),
        (6, 1, Features(pamax=48, lpa2=True), 48),
    ],
)
def test_output_range(ps: int, ds: int, features: Features, bits: int) -> None:
    """AArch64_PhysicalAddressSize; an address out of range faults at the level of the descriptor that holds it."""
    at = regime(PS=ps, DS=ds, features=features)
    high = 1 << bits
    assert fault_of(tables((L0, L1 | high | TABLE)), 0, at=at) == (Fault.Fault_AddressSize, 0, False)
    second = tables((L0, L1 | TABLE), (L1, L2 | high | TABLE))
    assert fault_of(second, 0, at=at) == (Fault.Fault_AddressSize, 1, False)
    leaf = tables((L0, L1 | TABLE), (L1, high | ROOT_LEAF | BLOCK))
    assert fault_of(leaf, 0, "store", at=at) == (Fault.Fault_AddressSize, 1, True)
    below = tables((L0, L1 | TABLE), (L1, high >> 1 | ROOT_LEAF | BLOCK))
    assert address_of(below, 0x42, at=at) == f"Root:{high >> 1 | 0x42:#x} level 1"


@pytest.mark.parametrize(("ps", "bits"), [(0, 32), (1, 36), (2, 40), (3, 42), (4, 44)])
def test_ttbr_out_of_range(ps: int, bits: int) -> None:
    """A first table above the output size is an address size fault at level 0, whatever the start level."""
    for t0sz in (16, 25, 34):
        at = regime(ttbr=L0 | 1 << bits, PS=ps, T0SZ=t0sz)
        assert fault_of(everything_is_ram(), 0, at=at) == (Fault.Fault_AddressSize, 0, False)


def leaf(descriptor: int, *, table: int = 0) -> Memory:
    return tables((L0, L1 | table | TABLE), (L1, descriptor | BLOCK))


def test_address_size_comes_before_access_flag_and_that_before_permission() -> None:
    at = regime(PS=0)
    assert fault_of(leaf(1 << 32 | READ_ONLY), 0, "store", at)[0] is Fault.Fault_AddressSize
    assert fault_of(leaf(READ_ONLY), 0, "store", at) == (Fault.Fault_AccessFlag, 1, True)
    assert fault_of(leaf(AF | READ_ONLY), 0, "store", at) == (Fault.Fault_Permission, 1, True)


# AArch64_S1DirectBasePermissions without an unprivileged level: AP[2] is bit 7, XN bit 54, APTable[1] bit 62,
# XNTable bit 60; Root executes from the Root PAS only.  AArch64_S1CheckPermissions sets WnR for a write.
@pytest.mark.parametrize(
    ("descriptor", "table", "denied"),
    [
        (ROOT_LEAF, 0, set[str]()),
        (
            ROOT_LEAF | READ_ONLY,
            0,
            {"store", "store-unprivileged", "store-exclusive", "exclusive-sequence", "atomic", "dc-zva"},
        ),
        (
            ROOT_LEAF,
            AP_TABLE,
            {"store", "store-unprivileged", "store-exclusive", "exclusive-sequence", "atomic", "dc-zva"},
        ),
        (ROOT_LEAF | XN, 0, {"fetch"}),
        (ROOT_LEAF, XN_TABLE, {"fetch"}),
        (AF, 0, {"fetch"}),
        (AF | NS, 0, {"fetch"}),
        (AF | NSE | NS, 0, {"fetch"}),
        (
            ROOT_LEAF | XN | READ_ONLY,
            0,
            {"store", "store-unprivileged", "store-exclusive", "exclusive-sequence", "atomic", "dc-zva", "fetch"},
        ),
    ],
)
def test_permissions(descriptor: int, table: int, denied: set[str]) -> None:
    memory = leaf(descriptor, table=table)
    for kind in ACCESSES:
        if kind in denied:
            assert fault_of(memory, 0, kind) == (Fault.Fault_Permission, 1, kind != "fetch")
        else:
            assert translate(memory, 0, kind)[0].statuscode is Fault.Fault_None


@pytest.mark.parametrize(
    ("bits", "with_secure", "without_secure"),
    [
        (0, PASpace.PAS_Secure, PASpace.PAS_NonSecure),
        (NS, PASpace.PAS_NonSecure, PASpace.PAS_NonSecure),
        (NSE, PASpace.PAS_Root, PASpace.PAS_Root),
        (NSE | NS, PASpace.PAS_Realm, PASpace.PAS_Realm),
    ],
)
def test_output_address_space(bits: int, with_secure: PASpace, without_secure: PASpace) -> None:
    """AArch64_S1NextWalkStateLeaf: {NSE, NS} are bits 11 and 5; Secure reads as Non-secure without Secure state."""
    for sel2, expected in ((True, with_secure), (False, without_secure)):
        at = regime(features=Features(pamax=52, lpa2=True, sel2=sel2))
        _, translated = translate(leaf(AF | bits), 0x1234, at=at)
        assert translated is not None
        assert translated.address == FullAddress(expected, 0x1234)


def test_every_fetch_is_checked_in_the_root_space() -> None:
    """A check that refuses one address: the walk stops there, at its level, and names it."""
    memory = tables((L0, L1 | TABLE), (L1, L2 | TABLE), (L2, L3 | TABLE), (L3, ROOT_LEAF | PAGE))
    for level, table in enumerate((L0, L1, L2, L3)):
        asked: list[FullAddress] = []

        def check(address: FullAddress, observe: Observer, table: int = table) -> GPCFRecord:
            asked.append(address)  # noqa: B023
            return GPCFRecord(GPCF.GPCF_Fail, 1) if address.address == table else GPC_NO_FAULT

        fault, translated = S1Translate(regime(), check, memory, 0, ACCESSES["store"])
        assert translated is None
        assert (fault.statuscode, fault.level, fault.write) == (Fault.Fault_GPCFOnWalk, level, True)
        assert fault.gpcf == GPCFRecord(GPCF.GPCF_Fail, 1)
        assert fault.paddress == FullAddress(PASpace.PAS_Root, table)
        assert asked == [FullAddress(PASpace.PAS_Root, at) for at in (L0, L1, L2, L3)[: level + 1]]


def test_external_abort_on_a_fetch() -> None:
    memory = Memory(MemoryMap((Region(L0, 0x1000, RegionKind.RAM),)))
    put(memory, L0, L1 | TABLE)
    assert fault_of(memory, 0, "store") == (Fault.Fault_SyncExternalOnWalk, 1, True)


@pytest.mark.parametrize(
    ("tcr", "message"),
    [
        ({"TG0": 1}, "only the 4KB granule is modelled, not TG0=0b01 (64KB)"),
        ({"T0SZ": 15}, "TCR_EL3.T0SZ must be 16 to 48 here, not 15"),
        ({"T0SZ": 49}, "TCR_EL3.T0SZ must be 16 to 48 here, not 49"),
        ({"T0SZ": 11, "DS": 1}, "TCR_EL3.T0SZ must be 12 to 48 here, not 11"),
    ],
)
def test_unmodelled_regimes_are_refused(tcr: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        EL3Regime(TTBR0_EL3(L0), TCR_EL3.of(**{"T0SZ": 16, **tcr}))


def test_unmodelled_tcr_bits_are_refused_and_res1_bits_are_not() -> None:
    plain = TCR_EL3.of(T0SZ=16, PS=5).value
    assert EL3Regime(TTBR0_EL3(L0), TCR_EL3(plain | 1 << 31 | 1 << 23)).output_bits == 48
    with pytest.raises(ValueError, match="TCR_EL3 bits 0x100000 change the walk in a way that is not modelled"):
        EL3Regime(TTBR0_EL3(L0), TCR_EL3(plain | 1 << 20))
