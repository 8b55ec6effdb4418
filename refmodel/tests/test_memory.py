"""Memory behind the check, features from ID registers, and the four worlds' encodings."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refmodel.features import Features
from refmodel.memory import Memory, MemoryMap, PhysMemRetStatus, Region, RegionKind
from refmodel.pas import DecodePASpace, FullAddress, PASpace, SecurityState, accessible_spaces
from refmodel.tests.machine import NON_SECURE, REALM, ROOT, SECURE

MAP = MemoryMap(
    (
        Region(0x1000, 0x1000, RegionKind.DEVICE, frozenset({ROOT, SECURE})),
        Region(0x0, 0x8000, RegionKind.RAM),
    )
)


@given(st.lists(st.tuples(st.integers(0, 0x4000), st.binary(min_size=1, max_size=0x1800)), max_size=6), st.data())
def test_memory_is_an_array_of_bytes(writes: list[tuple[int, bytes]], data: st.DataObject) -> None:
    memory, plain = Memory(MAP), bytearray(0x8000)
    for address, content in writes:
        memory.write(address, content)
        plain[address : address + len(content)] = content
    start = data.draw(st.integers(0, 0x5FFF))
    length = data.draw(st.integers(1, 0x1800))
    assert memory.read(start, length) == bytes(plain[start : start + length])
    word = start & ~7
    assert memory.read64(word) == int.from_bytes(plain[word : word + 8], "little")
    assert memory.PhysMemRead(FullAddress(ROOT, word), 8) == (PhysMemRetStatus.OK, memory.read64(word))


@pytest.mark.parametrize(
    ("pas", "address", "kind"),
    [
        (ROOT, 0x0FFF, RegionKind.RAM),
        (ROOT, 0x1000, RegionKind.DEVICE),
        (SECURE, 0x1FFF, RegionKind.DEVICE),
        # The first region that holds the address decides, also where it does not answer.
        (REALM, 0x1000, RegionKind.NOTHING),
        (NON_SECURE, 0x1FFF, RegionKind.NOTHING),
        (NON_SECURE, 0x2000, RegionKind.RAM),
        (ROOT, 0x7FFF, RegionKind.RAM),
        (ROOT, 0x8000, RegionKind.NOTHING),
    ],
)
def test_lookup(pas: PASpace, address: int, kind: RegionKind) -> None:
    assert MAP.lookup(FullAddress(pas, address)) is kind
    status, _ = Memory(MAP).PhysMemRead(FullAddress(pas, address), 1)
    expected = PhysMemRetStatus.SyncExternal if kind is RegionKind.NOTHING else PhysMemRetStatus.OK
    assert status is expected


def test_lookup_in_any_space() -> None:
    assert [MAP.lookup_any(at) for at in (0x1000, 0x2000, 0x8000)] == [
        RegionKind.DEVICE,
        RegionKind.RAM,
        RegionKind.NOTHING,
    ]


def id_registers(pfr0: int = 0, mmfr0: int = 0, isar0: int = 0) -> dict[str, int]:
    return {"ID_AA64PFR0_EL1": pfr0, "ID_AA64MMFR0_EL1": mmfr0, "ID_AA64ISAR0_EL1": isar0}


BARE = Features(rme=0, pamax=32, sel2=False, lse=False, ras=False, granules=frozenset({12, 16}))
"""All fields 0: TGran16 = 0b0000 is "not supported", TGran4 and TGran64 = 0b0000 are "supported"."""


# DDI 0487: PFR0 RME [55:52], SEL2 [39:36], RAS [31:28]; MMFR0 PARange [3:0], TGran4 [31:28]; ISAR0 Atomic [23:20].
@pytest.mark.parametrize(
    ("registers", "expected"),
    [
        (id_registers(), BARE),
        (id_registers(pfr0=0x0030_0000_0000_0000), replace(BARE, rme=3)),
        (id_registers(pfr0=0x10_1000_0000), replace(BARE, sel2=True, ras=True)),
        (id_registers(mmfr0=0x1000_0006), replace(BARE, pamax=52, lpa2=True)),
        # TGran4 = 0b1111: no 4 KB granule at all.
        (id_registers(mmfr0=0xF000_0005), replace(BARE, pamax=48, granules=frozenset({16}))),
        (id_registers(isar0=0x20_0000), replace(BARE, lse=True)),
        (id_registers(isar0=0x10_0000), BARE),
    ],
)
def test_features_from_id_registers(registers: dict[str, int], expected: Features) -> None:
    assert Features.from_id_registers(registers) == expected


def test_every_physical_address_range() -> None:
    """ID_AA64MMFR0_EL1.PARange 0 to 7."""
    sizes = [Features.from_id_registers(id_registers(mmfr0=value)).pamax for value in range(8)]
    assert sizes == [32, 36, 40, 42, 44, 48, 52, 56]


def test_a_missing_id_register_is_named() -> None:
    with pytest.raises(KeyError, match="ID_AA64PFR0_EL1"):
        Features.from_id_registers({})


def test_address_spaces() -> None:
    """DDI 0487, ``DecodePASpace``: {NSE, NS} 00 Secure, 01 Non-secure, 10 Root, 11 Realm."""
    assert [DecodePASpace(*bits) for bits in ((0, 0), (0, 1), (1, 0), (1, 1))] == [SECURE, NON_SECURE, ROOT, REALM]
    assert [pas.short for pas in (SECURE, NON_SECURE, ROOT, REALM)] == ["Secure", "NonSecure", "Root", "Realm"]
    assert str(FullAddress(REALM, 0x1234)) == "Realm:0x1234"


def test_spaces_that_a_state_can_name() -> None:
    assert {state: accessible_spaces(state) for state in SecurityState} == {
        SecurityState.SS_Secure: {SECURE, NON_SECURE},
        SecurityState.SS_NonSecure: {NON_SECURE},
        SecurityState.SS_Root: {SECURE, NON_SECURE, ROOT, REALM},
        SecurityState.SS_Realm: {REALM, NON_SECURE},
    }
