"""GPCCR_EL3 fields and GPT descriptors, function by function as in Arm's pseudocode.

Source: DDI 0487, shared pseudocode: ``DecodePPS``, ``DecodePGS``, ``GPTL0Size``, ``GPIValid``, ``DecodeGPTBlock``,
``DecodeGPTContiguous``, ``DecodeGPTGranules``, ``DecodeGPTTable``; what GPC2 and GPC3 add is from the register
description of GPCCR_EL3 and D9.6 "GPT formats".  Each decoder returns the fault kind, the decoded descriptor (None on
a fault) and the rule that decided.
"""

from __future__ import annotations

from functools import lru_cache

from refmodel.bits import IsZero, Slice
from refmodel.features import Features
from refmodel.gpt.types import GPCF, GPCState, GPTEntry, GPTTable, PGSe
from refmodel.rules import Rule
from refmodel.sysregs import GPCCR_EL3

# Descriptor types, bits [3:0].
GPT_Table = 0b0011
GPT_Block = 0b0001
GPT_Contig = 0b0001

# Granule protection information.
GPT_NoAccess = 0b0000
GPT_Secure = 0b1000
GPT_NonSecure = 0b1001
GPT_Root = 0b1010
GPT_Realm = 0b1011
GPT_NonSecureOnly = 0b1101
GPT_Any = 0b1111

GPI_NAMES: dict[int, str] = {
    GPT_NoAccess: "No access",
    GPT_Secure: "Secure",
    GPT_NonSecure: "Non-secure",
    GPT_Root: "Root",
    GPT_Realm: "Realm",
    GPT_Any: "Any",
}
"""The encodings of base FEAT_RME."""

GPTRange_2MB, GPTRange_32MB, GPTRange_512MB = 21, 25, 29

_PPS = {0b0000: 32, 0b0001: 36, 0b0010: 40, 0b0011: 42, 0b0100: 44, 0b0101: 48, 0b0110: 52,
        0b0111: 56, 0b1000: 46, 0b1001: 47}  # fmt: skip
_PPS_BASE = frozenset({32, 36, 40, 42, 44, 48, 52})
PPS_OF_GPC3 = frozenset(_PPS.values()) - _PPS_BASE
"""Protected sizes that FEAT_RME_GPC3 adds."""
_PGS = {0b00: PGSe.PGS_4KB, 0b10: PGSe.PGS_16KB, 0b01: PGSe.PGS_64KB}
_L0GPTSZ = {0b0000: 30, 0b0100: 34, 0b0110: 36, 0b1001: 39}


def gpi_name(gpi: int) -> str:
    """``1011 (Realm)`` or ``0001 (reserved)``; NSO is named, although it is reserved unless GPCCR_EL3.NSO is 1."""
    name = "Non-secure only" if gpi == GPT_NonSecureOnly else GPI_NAMES.get(gpi, "reserved")
    return f"{gpi:04b} ({name})"


def DecodePPS(gpccr: GPCCR_EL3) -> int:
    """Protected physical address size in bits; KeyError for a reserved encoding, as the pseudocode's Unreachable.

    The encodings 56, 46 and 47 bits exist with FEAT_RME_GPC3 only: ``PPSValid``.
    """
    return _PPS[gpccr.PPS3 << 3 | gpccr.PPS]


def PPSValid(gpccr: GPCCR_EL3, features: Features) -> bool:
    """Whether {PPS3, PPS} is an allocated encoding of no more than the implemented physical address size."""
    pps = _PPS.get(gpccr.PPS3 << 3 | gpccr.PPS)
    return pps is not None and pps <= features.pamax and (features.gpc3 or pps in _PPS_BASE)


def DecodePGS(gpccr: GPCCR_EL3) -> PGSe:
    """Physical granule size; KeyError for the reserved encoding, as the pseudocode's Unreachable."""
    return _PGS[gpccr.PGS]


def GPTL0Size(gpccr: GPCCR_EL3) -> int:
    """log2 of the bytes that one level 0 entry covers; KeyError for a reserved L0GPTSZ (read-only in hardware)."""
    return _L0GPTSZ[gpccr.L0GPTSZ]


def AbovePPS(gpccr: GPCCR_EL3, address: int) -> bool:
    """Whether an address has a bit at or above the protected size."""
    return address >> DecodePPS(gpccr) != 0


def GPIValid(features: Features, gpi: int, nso: int = 0) -> bool:
    """Whether a GPI encoding is allocated on this PE; ``nso`` is the effective GPCCR_EL3.NSO."""
    if gpi == GPT_Secure:
        return features.sel2
    if gpi == GPT_NonSecureOnly:
        return nso == 1
    return gpi in (GPT_NoAccess, GPT_NonSecure, GPT_Root, GPT_Realm, GPT_Any)


@lru_cache(maxsize=1 << 16)
def AllGPIValid(features: Features, entry: int, nso: int = 0) -> bool:
    """Whether all 16 GPI fields of a Granules descriptor are allocated (the loop in ``DecodeGPTGranules``)."""
    return all(GPIValid(features, Slice(entry, i * 4 + 3, i * 4), nso) for i in range(16))


def DecodeGPTBlock(gpc: GPCState, pgs: PGSe, entry: int) -> tuple[GPCF, GPTEntry | None, Rule]:
    """Level 0 Block descriptor."""
    if not IsZero(Slice(entry, 63, 8)):
        return GPCF.GPCF_Walk, None, Rule.L0_BLOCK_RESERVED
    gpi = Slice(entry, 7, 4)
    if not GPIValid(gpc.features, gpi, gpc.gpccr.NSO):
        return GPCF.GPCF_Walk, None, Rule.L0_BLOCK_GPI_RESERVED
    result = GPTEntry(gpi, size=pgs.bits, contig_size=GPTL0Size(gpc.gpccr), level=0)
    return GPCF.GPCF_None, result, Rule.L0_BLOCK


def DecodeGPTContiguous(gpc: GPCState, pgs: PGSe, entry: int) -> tuple[GPCF, GPTEntry | None, Rule]:
    """Level 1 Contiguous descriptor."""
    if not IsZero(Slice(entry, 63, 10)):
        return GPCF.GPCF_Walk, None, Rule.L1_CONTIGUOUS_RESERVED
    gpi = Slice(entry, 7, 4)
    if not GPIValid(gpc.features, gpi, gpc.gpccr.NSO):
        return GPCF.GPCF_Walk, None, Rule.L1_CONTIGUOUS_GPI_RESERVED
    match Slice(entry, 9, 8):
        case 0b01:
            contig_size = GPTRange_2MB
        case 0b10:
            contig_size = GPTRange_32MB
        case 0b11:
            contig_size = GPTRange_512MB
        case _:
            return GPCF.GPCF_Walk, None, Rule.L1_CONTIGUOUS_SIZE_RESERVED
    return GPCF.GPCF_None, GPTEntry(gpi, pgs.bits, contig_size, level=1), Rule.L1_CONTIGUOUS


def DecodeGPTGranules(gpc: GPCState, pgs: PGSe, index: int, entry: int) -> tuple[GPCF, GPTEntry | None, Rule]:
    """Level 1 Granules descriptor; a reserved GPI in *any* of the 16 fields faults, not only in the one selected."""
    gpi = Slice(entry, index * 4 + 3, index * 4)
    if not AllGPIValid(gpc.features, entry, gpc.gpccr.NSO):
        selected = GPIValid(gpc.features, gpi, gpc.gpccr.NSO)
        return GPCF.GPCF_Walk, None, Rule.L1_GRANULES_OTHER_GPI_RESERVED if selected else Rule.L1_GRANULES_GPI_RESERVED
    return GPCF.GPCF_None, GPTEntry(gpi, pgs.bits, pgs.bits, level=1), Rule.L1_GRANULES


def DecodeGPTTable(gpc: GPCState, pgs: PGSe, entry: int) -> tuple[GPCF, GPTTable | None, Rule]:
    """Level 0 Table descriptor; the level 1 table is aligned to its size, and bits of a misaligned address are RES0.

    Bits [55:52] are address bits where GPCCR_EL3 protects 56 bits (FEAT_RME_GPC3), and RES0 otherwise.
    """
    address_msb = 55 if DecodePPS(gpc.gpccr) == 56 else 51
    if not IsZero(Slice(entry, 63, address_msb + 1)) or not IsZero(Slice(entry, 11, 4)):
        return GPCF.GPCF_Walk, None, Rule.L0_TABLE_RESERVED
    l0sz = GPTL0Size(gpc.gpccr)
    if not IsZero(Slice(entry, l0sz - pgs.bits - 2, 12)):
        return GPCF.GPCF_Walk, None, Rule.L0_TABLE_ALIGNMENT
    address = Slice(entry, 55, 12) << 12
    if AbovePPS(gpc.gpccr, address):
        return GPCF.GPCF_AddressSize, None, Rule.L0_TABLE_ABOVE_PPS
    return GPCF.GPCF_None, GPTTable(address), Rule.L0_INDEX
