"""Stage 1 with the 4 KB granule and 64-bit descriptors: parameters, table addresses, descriptors, the walk's state.

Source: DDI 0487, shared pseudocode ``S1TTWParams``, ``TTWState``, ``AArch64_S1StartLevel``,
``AArch64_S1TTBaseAddress``, ``AArch64_S1InitialTTWState``, ``AArch64_S1SLTTEntryAddress``, ``AArch64_TTEntryAddress``,
``AArch64_DecodeDescriptorType``, ``AArch64_NextTableBase``, ``AArch64_LeafBase``, ``AArch64_S1NextWalkStateTable``,
``AArch64_S1NextWalkStateLeaf``, ``AArch64_ContiguousBit`` and ``StageOA``.  Memory attributes, nT, MECIDs and D128 are
not here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from refmodel.bits import AlignDown, Slice
from refmodel.context import Regime
from refmodel.features import Features
from refmodel.pas import DecodePASpace, FullAddress, PASpace, SecurityState

FINAL_LEVEL = 3
CONTIGUOUS_ENTRIES_BITS = 4
"""log2 of the entries of a contiguous range."""
_GRANULE_BITS, _STRIDE, DESCRIPTOR_BITS = 12, 9, 3
_PS = {0: 32, 1: 36, 2: 40, 3: 42, 4: 44, 5: 48, 6: 52, 7: 56}
MAX_TXSZ = 48
"""``AArch64_MaxTxSZ`` with FEAT_TTST, 4 KB granule."""

OWN_SPACE = {
    SecurityState.SS_Secure: PASpace.PAS_Secure,
    SecurityState.SS_NonSecure: PASpace.PAS_NonSecure,
    SecurityState.SS_Root: PASpace.PAS_Root,
    SecurityState.SS_Realm: PASpace.PAS_Realm,
}
"""The physical address space of the same name: where a state's tables are, and its memory with the MMU off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TTWParams:
    """What a walk of either stage depends on: input size, output size, 52-bit descriptors."""

    txsz: int
    ps: int
    ds: bool = False

    @property
    def iasize(self) -> int:
        """Input address size in bits (``AArch64_IASize``)."""
        return 64 - self.txsz


@dataclass(frozen=True, slots=True, kw_only=True)
class S1TTWParams(TTWParams):
    """What one VA range of a regime walks with: fields of TCR_ELx, SCTLR_ELx and SCR_EL3 after feature checks."""

    hpd: bool = False
    epd: bool = False
    e0pd: bool = False
    wxn: bool = False
    epan: bool = False
    sif: bool = False

    @property
    def smallest_txsz(self) -> int:
        """``AArch64_S1MinTxSZ``."""
        return 12 if self.ds else 16


@dataclass(frozen=True, slots=True)
class Permissions:
    """Stage 1 direct permissions: AP[2:1] and execute-never bits of the leaf, and those of the tables above it.

    ``xn`` is UXN in a regime with EL0.
    """

    ap: int = 0
    xn: bool = False
    pxn: bool = False
    ap_table: int = 0
    xn_table: bool = False
    pxn_table: bool = False


@dataclass(frozen=True, slots=True)
class TTWState:
    """Where a walk is: the table (or, of a leaf, the output base), its level, and permissions so far."""

    baseaddress: FullAddress
    level: int
    permissions: Permissions = Permissions()
    contiguous: bool = False


class DescriptorType(Enum):
    """DescriptorType of the pseudocode."""

    DescriptorType_Table = "table"
    DescriptorType_Leaf = "leaf"
    DescriptorType_Invalid = "invalid"


def PhysicalAddressSize(params: TTWParams, features: Features) -> int:
    """Output address size in bits (``AArch64_PhysicalAddressSize``): 48 at most unless the PE has FEAT_LPA2."""
    return min(_PS[params.ps], 52 if features.lpa2 else 48, features.pamax)


def OAOutOfRange(address: int, params: TTWParams, features: Features) -> bool:
    """Whether an address has a bit at or above the output size (``AArch64_OAOutOfRange``)."""
    return address >> PhysicalAddressSize(params, features) != 0


def index_lsb(level: int) -> int:
    """Lowest bit of the input address that indexes the table of ``level``; log2 of what an entry there covers."""
    return _GRANULE_BITS + _STRIDE * (FINAL_LEVEL - level)


def S1StartLevel(params: S1TTWParams) -> int:
    """Level of the first table: -1 for more than 48 input bits, up to 3."""
    return FINAL_LEVEL - (params.iasize - 1 - _GRANULE_BITS) // _STRIDE


def S1TTBaseAddress(params: S1TTWParams, ttbr: int) -> int:
    """Address of the first table: TTBRn_ELx with the bits below the table's size taken as zero."""
    size_bits = params.iasize - index_lsb(S1StartLevel(params)) + DESCRIPTOR_BITS
    if params.ds:
        return AlignDown(Slice(ttbr, 5, 2) << 48 | Slice(ttbr, 47, 6) << 6, max(size_bits, 6))
    return AlignDown(Slice(ttbr, 47, 1) << 1, size_bits)


def S1InitialTTWState(params: S1TTWParams, ttbr: int, ss: SecurityState) -> TTWState:
    """The walk's first state: tables are in the security state's own physical address space."""
    return TTWState(FullAddress(OWN_SPACE[ss], S1TTBaseAddress(params, ttbr)), S1StartLevel(params))


def TTEntryAddress(params: TTWParams, va: int, state: TTWState) -> FullAddress:
    """Where the descriptor for ``va`` is in the table that the walk has reached."""
    low = index_lsb(state.level)
    index = Slice(va, min(low + _STRIDE, params.iasize) - 1, low)
    return FullAddress(state.baseaddress.paspace, state.baseaddress.address | index << DESCRIPTOR_BITS)


def DecodeDescriptorType(params: TTWParams, descriptor: int, level: int) -> DescriptorType:
    """Kind of a descriptor found at ``level``; blocks exist at levels 1 and 2, and at level 0 with DS."""
    match Slice(descriptor, 1, 0):
        case 0b11:
            return DescriptorType.DescriptorType_Leaf if level == FINAL_LEVEL else DescriptorType.DescriptorType_Table
        case 0b01 if level in (1, 2) or (level == 0 and params.ds):
            return DescriptorType.DescriptorType_Leaf
        case _:
            return DescriptorType.DescriptorType_Invalid


def DescriptorAddress(params: TTWParams, descriptor: int) -> int:
    """Address field, 4 KB granule: [47:12], or with DS [49:12] and address bits [51:50] in [9:8]."""
    if params.ds:
        return Slice(descriptor, 49, 12) << 12 | Slice(descriptor, 9, 8) << 50
    return Slice(descriptor, 47, 12) << 12


def S1NextWalkStateTable(params: S1TTWParams, state: TTWState, regime: Regime, descriptor: int) -> TTWState:
    """The state after a Table descriptor.  NSTable leads from the Secure to the Non-secure space, and never back."""
    paspace = state.baseaddress.paspace
    if paspace is PASpace.PAS_Secure and Slice(descriptor, 63, 63):
        paspace = PASpace.PAS_NonSecure
    permissions = state.permissions
    if not params.hpd:
        permissions = S1ApplyTablePerms(permissions, regime, descriptor)
    table = FullAddress(paspace, DescriptorAddress(params, descriptor))
    return TTWState(table, state.level + 1, permissions)


def S1NextWalkStateLeaf(
    params: S1TTWParams, state: TTWState, regime: Regime, descriptor: int, features: Features
) -> TTWState:
    """The state after a Block or Page descriptor: output base and permissions."""
    address = AlignDown(DescriptorAddress(params, descriptor), index_lsb(state.level))
    paspace = LeafPASpace(state.baseaddress.paspace, regime, descriptor, features)
    permissions = S1ApplyOutputPerms(state.permissions, regime, descriptor)
    return TTWState(FullAddress(paspace, address), state.level, permissions, ContiguousBit(state.level, descriptor))


def ContiguousBit(level: int, descriptor: int) -> bool:
    """Contiguous, bit 52 of a leaf: one of 16 that a single TLB entry may hold; level 0 has none."""
    return level > 0 and Slice(descriptor, 52, 52) == 1


def contiguous_bits(level: int) -> int:
    """log2 of what a contiguous range at ``level`` covers: 16 entries."""
    return index_lsb(level) + CONTIGUOUS_ENTRIES_BITS


def LeafPASpace(walk: PASpace, regime: Regime, descriptor: int, features: Features) -> PASpace:
    """Physical address space of a leaf, by the space of the table it is in, NS (bit 5) and NSE (bit 11).

    In the Realm EL1&0 regime NS is ignored: only stage 2 leads a realm to the Non-secure space.
    """
    ns = Slice(descriptor, 5, 5)
    match walk:
        case PASpace.PAS_Secure:
            return PASpace.PAS_NonSecure if ns else PASpace.PAS_Secure
        case PASpace.PAS_Root:
            space = DecodePASpace(Slice(descriptor, 11, 11), ns)
            # Without a Secure state the encoding names the Non-secure space.
            return PASpace.PAS_NonSecure if space is PASpace.PAS_Secure and not features.sel2 else space
        case PASpace.PAS_Realm:
            foreign = ns and regime in (Regime.Regime_EL2, Regime.Regime_EL20)
            return PASpace.PAS_NonSecure if foreign else PASpace.PAS_Realm
        case PASpace.PAS_NonSecure:
            return PASpace.PAS_NonSecure


def S1ApplyTablePerms(permissions: Permissions, regime: Regime, descriptor: int) -> Permissions:
    """Hierarchical permissions: APTable [62:61], UXNTable or XNTable [60], PXNTable [59]."""
    unprivileged = regime.has_unprivileged
    if not Slice(descriptor, 62, 59):
        return permissions
    return replace(
        permissions,
        ap_table=permissions.ap_table | (Slice(descriptor, 62, 61) if unprivileged else Slice(descriptor, 62, 62) << 1),
        xn_table=permissions.xn_table or Slice(descriptor, 60, 60) == 1,
        pxn_table=permissions.pxn_table or (unprivileged and Slice(descriptor, 59, 59) == 1),
    )


def S1ApplyOutputPerms(permissions: Permissions, regime: Regime, descriptor: int) -> Permissions:
    """Permissions of a leaf: AP[2:1] [7:6] (AP[1] counts as 1 without EL0), UXN or XN [54], PXN [53]."""
    unprivileged = regime.has_unprivileged
    return replace(
        permissions,
        ap=Slice(descriptor, 7, 6) if unprivileged else Slice(descriptor, 7, 7) << 1 | 1,
        xn=Slice(descriptor, 54, 54) == 1,
        pxn=unprivileged and Slice(descriptor, 53, 53) == 1,
    )


def StageOA(va: int, state: TTWState) -> FullAddress:
    """Output address of a leaf for ``va``."""
    return FullAddress(state.baseaddress.paspace, state.baseaddress.address | Slice(va, index_lsb(state.level) - 1, 0))
