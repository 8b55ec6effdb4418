"""Structures in memory: offsets as in the tables of B4.4 and B5.4, and back."""

from __future__ import annotations

import pytest

from refmodel.rmm.calls import HostCallData, RealmParams, RecEnter, RecParams
from refmodel.rmm.layout import (
    pack_host_call,
    pack_realm_config,
    pack_realm_params,
    pack_rec_enter,
    pack_rec_exit,
    pack_rec_params,
    unpack_host_call,
    unpack_realm_params,
    unpack_rec_enter,
    unpack_rec_exit,
    unpack_rec_params,
)
from refmodel.rmm.results import RecExit
from refmodel.rmm.types import ExitReason, Ripas


def words(data: bytes) -> dict[int, int]:
    """Offsets of the 8-byte words that are not zero."""
    found = {at: int.from_bytes(data[at : at + 8], "little") for at in range(0, len(data), 8)}
    return {at: value for at, value in found.items() if value}


def test_realm_params() -> None:
    params = RealmParams(40, 0x8000, -1, 2, 0x1234, 7, 3, 5, 4, 6, 1, b"\x11" * 64)
    data = pack_realm_params(params)
    assert len(data) == 0x1000
    rpv = dict.fromkeys(range(1024, 1088, 8), 1229782938247303441)
    fields = {0x0: 7, 0x8: 40, 0x10: 3, 0x18: 5, 0x20: 4, 0x28: 6, 0x30: 1, 0x800: 0x1234, 0x808: 0x8000}
    assert words(data) == fields | rpv | {0x810: (1 << 64) - 1, 0x818: 2}
    assert unpack_realm_params(data) == params


def test_rec_params() -> None:
    params = RecParams(3, tuple(range(0x1000, 0x11000, 0x1000)), 0x10003, 1, 0x80000000, tuple(range(1, 9)))
    data = pack_rec_params(params)
    assert len(data) == 0x1000
    gprs = {0x300 + 8 * n: n + 1 for n in range(8)}
    aux = {0x808 + 8 * n: 0x1000 * (n + 1) for n in range(16)}
    assert words(data) == {0x0: 1, 0x100: 0x10003, 0x200: 0x80000000, 0x800: 3} | gprs | aux
    assert unpack_rec_params(data) == params


@pytest.mark.parametrize(
    ("enter", "bit"),
    [
        (RecEnter(emul_mmio=True), 0),
        (RecEnter(inject_sea=True), 1),
        (RecEnter(trap_wfi=True), 2),
        (RecEnter(trap_wfe=True), 3),
    ],
)
def test_flags_of_entry(enter: RecEnter, bit: int) -> None:
    assert words(pack_rec_enter(enter)) == {0: 1 << bit}
    assert unpack_rec_enter(pack_rec_enter(enter)) == enter


def test_rec_enter() -> None:
    enter = RecEnter(ripas_response=1, gprs=tuple(range(1, 32)), gicv3_hcr=0x40FE, gicv3_lrs=tuple(range(1, 17)))
    data = pack_rec_enter(enter)
    assert len(data) == 0x800
    gprs = {0x200 + 8 * n: n + 1 for n in range(31)}
    lrs = {0x308 + 8 * n: n + 1 for n in range(16)}
    assert words(data) == {0: 0x10, 0x300: 0x40FE} | gprs | lrs
    assert unpack_rec_enter(data) == enter


def test_rec_exit() -> None:
    told = RecExit(
        ExitReason.RMI_EXIT_HOST_CALL,
        esr=1,
        far=2,
        hpfar=3,
        gprs=tuple(range(100, 131)),
        ripas_base=4,
        ripas_top=5,
        ripas_value=Ripas.RAM,
        imm=6,
        gicv3_hcr=7,
        gicv3_lrs=tuple(range(200, 216)),
        gicv3_misr=8,
        gicv3_vmcr=9,
        cntp_ctl=10,
        cntp_cval=11,
        cntv_ctl=12,
        cntv_cval=13,
        pmu_ovf_status=1,
    )
    data = pack_rec_exit(told)
    assert len(data) == 0x800
    expected = {0x0: 5, 0x100: 1, 0x108: 2, 0x110: 3, 0x300: 7, 0x388: 8, 0x390: 9, 0x400: 10, 0x408: 11, 0x410: 12}
    expected |= {0x418: 13, 0x500: 4, 0x508: 5, 0x510: 1, 0x600: 6, 0x700: 1}
    expected |= {0x200 + 8 * n: 100 + n for n in range(31)} | {0x308 + 8 * n: 200 + n for n in range(16)}
    assert words(data) == expected
    assert unpack_rec_exit(data) == told


def test_host_call_and_realm_config() -> None:
    call = HostCallData(0x1234, tuple(range(1, 32)))
    data = pack_host_call(call)
    assert len(data) == 0x100
    assert words(data) == {0: 0x1234} | {8 + 8 * n: n + 1 for n in range(31)}
    assert unpack_host_call(data) == call
    config = pack_realm_config(40, 1, b"\x22" * 64)
    assert words(config) == {0: 40, 8: 1} | dict.fromkeys(range(512, 576, 8), 2459565876494606882)
