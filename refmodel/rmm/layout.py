"""Structures that the Host, a realm and the RMM share in memory: bytes from values, and values from bytes.

Source: DEN0137 1.0-rel0, B4.4.12 to B4.4.20, B5.4.3 and B5.4.5.
"""

from __future__ import annotations

import struct
from typing import Final

from refmodel.rmm.calls import NUM_LRS, HostCallData, RealmParams, RecEnter, RecParams
from refmodel.rmm.results import RecExit
from refmodel.rmm.types import ExitReason, Ripas

PAGE: Final = 0x1000
EXIT_OFFSET: Final = 0x800
"""``RmiRecRun.exit`` (B4.4.20)."""
_U64: Final = struct.Struct("<Q")
_I64: Final = struct.Struct("<q")
_GPRS: Final = 0x200
_GICV3_HCR: Final = 0x300
_GICV3_LRS: Final = 0x308
_AUX: Final = 0x808
_MAX_AUX: Final = 16

_EMUL_MMIO, _INJECT_SEA, _TRAP_WFI, _TRAP_WFE, _RIPAS_RESPONSE = 1, 2, 4, 8, 16


def _words(data: bytes, offset: int, count: int) -> tuple[int, ...]:
    return struct.unpack_from(f"<{count}Q", data, offset)


def _word(data: bytes, offset: int) -> int:
    return int(_U64.unpack_from(data, offset)[0])


def _page(fields: dict[int, int], arrays: dict[int, tuple[int, ...]] | None = None, size: int = PAGE) -> bytearray:
    page = bytearray(size)
    for offset, value in fields.items():
        _U64.pack_into(page, offset, value & (1 << 64) - 1)
    for offset, values in (arrays or {}).items():
        struct.pack_into(f"<{len(values)}Q", page, offset, *values)
    return page


def pack_realm_params(params: RealmParams) -> bytes:
    """``RmiRealmParams`` (B4.4.12).  Narrow fields stand at the start of their 8 bytes, the rest is 0."""
    page = _page(
        {
            0x00: params.flags,
            0x08: params.s2sz,
            0x10: params.sve_vl,
            0x18: params.num_bps,
            0x20: params.num_wps,
            0x28: params.pmu_num_ctrs,
            0x30: params.hash_algo,
            0x800: params.vmid,
            0x808: params.rtt_base,
            0x810: params.rtt_level_start,
            0x818: params.rtt_num_start,
        }
    )
    page[0x400:0x440] = params.rpv
    return bytes(page)


def unpack_realm_params(data: bytes) -> RealmParams:
    """The parameters in 4 KB of memory."""
    (level,) = _I64.unpack_from(data, 0x810)
    return RealmParams(
        s2sz=data[0x08],
        rtt_base=_word(data, 0x808),
        rtt_level_start=level,
        rtt_num_start=int.from_bytes(data[0x818:0x81C], "little"),
        vmid=int.from_bytes(data[0x800:0x802], "little"),
        flags=_word(data, 0x00),
        sve_vl=data[0x10],
        num_bps=data[0x18],
        num_wps=data[0x20],
        pmu_num_ctrs=data[0x28],
        hash_algo=data[0x30],
        rpv=data[0x400:0x440],
    )


def pack_rec_params(params: RecParams) -> bytes:
    """``RmiRecParams`` (B4.4.19)."""
    fields = {0x000: params.flags, 0x100: params.mpidr, 0x200: params.pc, 0x800: params.num_aux}
    return bytes(_page(fields, {0x300: params.gprs, _AUX: params.aux[:_MAX_AUX]}))


def unpack_rec_params(data: bytes) -> RecParams:
    """The parameters in 4 KB of memory; ``aux`` has all 16 entries."""
    return RecParams(
        num_aux=_word(data, 0x800),
        aux=_words(data, _AUX, _MAX_AUX),
        mpidr=_word(data, 0x100),
        flags=_word(data, 0x000),
        pc=_word(data, 0x200),
        gprs=_words(data, 0x300, 8),
    )


def pack_rec_enter(enter: RecEnter) -> bytes:
    """``RmiRecEnter`` (B4.4.14), the first half of ``RmiRecRun``."""
    flags = (
        _EMUL_MMIO * enter.emul_mmio
        | _INJECT_SEA * enter.inject_sea
        | _TRAP_WFI * enter.trap_wfi
        | _TRAP_WFE * enter.trap_wfe
        | _RIPAS_RESPONSE * enter.ripas_response
    )
    lrs = (*enter.gicv3_lrs, *(0,) * NUM_LRS)[:NUM_LRS]
    return bytes(
        _page({0x00: flags, _GICV3_HCR: enter.gicv3_hcr}, {_GPRS: enter.gprs, _GICV3_LRS: lrs}, size=EXIT_OFFSET)
    )


def unpack_rec_enter(data: bytes) -> RecEnter:
    """The entry part of an ``RmiRecRun``."""
    flags = _word(data, 0x00)
    return RecEnter(
        emul_mmio=bool(flags & _EMUL_MMIO),
        inject_sea=bool(flags & _INJECT_SEA),
        trap_wfi=bool(flags & _TRAP_WFI),
        trap_wfe=bool(flags & _TRAP_WFE),
        ripas_response=int(bool(flags & _RIPAS_RESPONSE)),
        gprs=_words(data, _GPRS, 31),
        gicv3_hcr=_word(data, _GICV3_HCR),
        gicv3_lrs=_words(data, _GICV3_LRS, NUM_LRS),
    )


_EXIT_FIELDS: Final = {
    "esr": 0x100,
    "far": 0x108,
    "hpfar": 0x110,
    "gicv3_hcr": _GICV3_HCR,
    "gicv3_misr": 0x388,
    "gicv3_vmcr": 0x390,
    "cntp_ctl": 0x400,
    "cntp_cval": 0x408,
    "cntv_ctl": 0x410,
    "cntv_cval": 0x418,
    "ripas_base": 0x500,
    "ripas_top": 0x508,
    "imm": 0x600,
    "pmu_ovf_status": 0x700,
}


def pack_rec_exit(told: RecExit) -> bytes:
    """``RmiRecExit`` (B4.4.16), 2 KB."""
    fields = {offset: getattr(told, name) for name, offset in _EXIT_FIELDS.items()}
    fields[0x00] = told.exit_reason
    fields[0x510] = told.ripas_value
    return bytes(_page(fields, {_GPRS: told.gprs, _GICV3_LRS: told.gicv3_lrs}, size=PAGE - EXIT_OFFSET))


def unpack_rec_exit(data: bytes) -> RecExit:
    """The exit part of an ``RmiRecRun``.  ValueError for a reason or a RIPAS that is no encoding."""
    return RecExit(
        exit_reason=ExitReason(data[0x00]),
        gprs=_words(data, _GPRS, 31),
        gicv3_lrs=_words(data, _GICV3_LRS, NUM_LRS),
        ripas_value=Ripas(data[0x510]),
        **{name: _word(data, offset) for name, offset in _EXIT_FIELDS.items()},
    )


def unpack_host_call(data: bytes) -> HostCallData:
    """``RsiHostCall`` (B5.4.3), 256 bytes."""
    return HostCallData(int.from_bytes(data[0:2], "little"), _words(data, 0x8, 31))


def pack_host_call(call: HostCallData) -> bytes:
    """``RsiHostCall`` (B5.4.3)."""
    return bytes(_page({0x0: call.imm}, {0x8: call.gprs}, size=0x100))


def pack_realm_config(ipa_width: int, hash_algo: int, rpv: bytes) -> bytes:
    """``RsiRealmConfig`` (B5.4.5)."""
    page = _page({0x0: ipa_width, 0x8: hash_algo})
    page[0x200:0x240] = rpv
    return bytes(page)
