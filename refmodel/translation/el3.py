"""Stage 1 of the EL3 regime with the 4 KB granule: walk, permissions, output address space.

Every descriptor fetch passes the granule protection check.  Source: DDI 0487, shared pseudocode ``FetchDescriptor``,
``AArch64_S1Walk``, ``AArch64_S1DirectBasePermissions`` and ``AArch64_S1CheckPermissions``, reduced to EL3 with
SCTLR_EL3.{M, WXN, EE} = {1, 0, 0}.  Other regimes, memory attributes, alignment, the Contiguous bit and nT are not
here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from refmodel.bits import AlignDown, Slice
from refmodel.faults import AccessDescriptor, AccessType, Fault, FaultRecord
from refmodel.features import Features
from refmodel.gpt.types import GPCF, Checker
from refmodel.memory import Memory, PhysMemRetStatus
from refmodel.observe import Observer, unobserved
from refmodel.pas import DecodePASpace, FullAddress, PASpace
from refmodel.rules import Rule
from refmodel.sysregs import TCR_EL3, TTBR0_EL3

FINAL_LEVEL = 3
_GRANULE_BITS = 12
_STRIDE = 9
_DESCRIPTOR_BITS = 3
_PS = {0: 32, 1: 36, 2: 40, 3: 42, 4: 44, 5: 48, 6: 52, 7: 56}
_TCR_RES1 = 1 << 31 | 1 << 23
_WIDEST = Features(pamax=52, lpa2=True)


@dataclass(frozen=True, slots=True)
class EL3Regime:
    """The EL3 translation regime, enabled: TTBR0_EL3, TCR_EL3, and the PE's features.

    ValueError for a TCR_EL3 whose walk is not modelled: another granule, an input size that CONSTRAINED UNPREDICTABLE
    behaviour decides, or a field beyond PS, TG0, T0SZ, DS and the cacheability of walks.
    """

    ttbr0: TTBR0_EL3
    tcr: TCR_EL3
    features: Features = _WIDEST

    def __post_init__(self) -> None:
        if self.tcr.TG0 != 0:
            raise ValueError(f"only the 4KB granule is modelled, not {TCR_EL3.TG0.describe(self.tcr.value)}")
        smallest = 12 if self.ds else 16
        if not smallest <= self.tcr.T0SZ <= 48:
            raise ValueError(f"TCR_EL3.T0SZ must be {smallest} to 48 here, not {self.tcr.T0SZ}")
        unknown = self.tcr.reserved & ~_TCR_RES1
        if unknown:
            raise ValueError(f"TCR_EL3 bits {unknown:#x} change the walk in a way that is not modelled")

    @property
    def ds(self) -> bool:
        """Whether descriptors hold 52-bit addresses: TCR_EL3.DS on a PE with FEAT_LPA2."""
        return self.features.lpa2 and self.tcr.DS == 1

    @property
    def input_bits(self) -> int:
        """Input address size in bits (``AArch64_IASize``)."""
        return 64 - self.tcr.T0SZ

    @property
    def output_bits(self) -> int:
        """Output address size in bits: TCR_EL3.PS, 48 at most unless DS is 1, and never more than is implemented.

        Source: DDI 0487, pseudocode ``AArch64_PhysicalAddressSize``.
        """
        return min(_PS[self.tcr.PS], 52 if self.ds else 48, self.features.pamax)


@dataclass(frozen=True, slots=True)
class Translated:
    """Result of a translation: where the access goes, and what the leaf permits."""

    address: FullAddress
    level: int
    writable: bool
    executable: bool


class DescriptorType(Enum):
    """DescriptorType of the pseudocode."""

    DescriptorType_Table = "table"
    DescriptorType_Leaf = "leaf"
    DescriptorType_Invalid = "invalid"


def DecodeDescriptorType(regime: EL3Regime, descriptor: int, level: int) -> DescriptorType:
    """Kind of a descriptor found at ``level``; blocks exist at levels 1 and 2, and at level 0 with DS.

    Source: DDI 0487, pseudocode ``AArch64_DecodeDescriptorType`` and ``AArch64_BlockDescSupported``.
    """
    match Slice(descriptor, 1, 0):
        case 0b11:
            return DescriptorType.DescriptorType_Leaf if level == FINAL_LEVEL else DescriptorType.DescriptorType_Table
        case 0b01 if level in (1, 2) or (level == 0 and regime.ds):
            return DescriptorType.DescriptorType_Leaf
        case _:
            return DescriptorType.DescriptorType_Invalid


def DescriptorAddress(regime: EL3Regime, descriptor: int) -> int:
    """Address field of a descriptor, 4 KB granule: [47:12], or with DS [49:12] and OA[51:50] in [9:8]."""
    if regime.ds:
        return Slice(descriptor, 49, 12) << 12 | Slice(descriptor, 9, 8) << 50
    return Slice(descriptor, 47, 12) << 12


def OAOutOfRange(regime: EL3Regime, address: int) -> bool:
    """Whether an address has a bit at or above the output size (``AArch64_OAOutOfRange``)."""
    return address >> regime.output_bits != 0


def _index_lsb(level: int) -> int:
    """Lowest bit of the input address that indexes the table of ``level``."""
    return _GRANULE_BITS + _STRIDE * (FINAL_LEVEL - level)


def S1StartLevel(regime: EL3Regime) -> int:
    """Level of the first table: -1 for more than 48 input bits, up to 3.

    Source: DDI 0487, pseudocode ``AArch64_S1StartLevel``.
    """
    return FINAL_LEVEL - (regime.input_bits - 1 - _GRANULE_BITS) // _STRIDE


def S1TTBaseAddress(regime: EL3Regime) -> int:
    """Address of the first table: TTBR0_EL3 with the bits below the table's size taken as zero.

    Source: DDI 0487, pseudocode ``AArch64_S1TTBaseAddress``.
    """
    size_bits = regime.input_bits - _index_lsb(S1StartLevel(regime)) + _DESCRIPTOR_BITS
    ttbr = regime.ttbr0.value
    if regime.ds:
        return AlignDown(Slice(ttbr, 5, 2) << 48 | Slice(ttbr, 47, 6) << 6, max(size_bits, 6))
    return AlignDown(Slice(ttbr, 47, 1) << 1, size_bits)


def TTEntryAddress(regime: EL3Regime, level: int, va: int, base: int) -> int:
    """Address of the descriptor for ``va`` in the table of ``level`` at ``base``.

    Source: DDI 0487, pseudocode ``AArch64_S1SLTTEntryAddress`` and ``AArch64_TTEntryAddress``.
    """
    low = _index_lsb(level)
    return base | Slice(va, min(low + _STRIDE, regime.input_bits) - 1, low) << _DESCRIPTOR_BITS


def FetchDescriptor(
    check: Checker, memory: Memory, address: int, fault: FaultRecord, observe: Observer
) -> tuple[FaultRecord, int]:
    """Read a descriptor of the EL3 regime (always in the Root PAS) through the granule protection check."""
    where = FullAddress(PASpace.PAS_Root, address)
    gpcf = check(where, observe)
    if gpcf.gpf is not GPCF.GPCF_None:
        observe(Rule.S1_WALK_CHECKED, "stage 1 level {} descriptor at {}: {}", fault.level, where, gpcf)
        return fault.with_(Fault.Fault_GPCFOnWalk, gpcf=gpcf, paddress=where), 0
    status, descriptor = memory.PhysMemRead(where, 8)
    if status is not PhysMemRetStatus.OK:
        return fault.with_(Fault.Fault_SyncExternalOnWalk), 0
    return fault, descriptor


def S1Walk(
    regime: EL3Regime,
    check: Checker,
    memory: Memory,
    va: int,
    accdesc: AccessDescriptor,
    observe: Observer = unobserved,
) -> tuple[FaultRecord, Translated | None]:
    """Walk the EL3 stage-1 tables for ``va``; the translation is None on a fault."""
    fault = FaultRecord.none(accdesc)
    if va >> regime.input_bits:
        return fault.with_(Fault.Fault_Translation, level=0), None
    level = S1StartLevel(regime)
    address = TTEntryAddress(regime, level, va, S1TTBaseAddress(regime))
    if OAOutOfRange(regime, address):
        return fault.with_(Fault.Fault_AddressSize, level=0), None
    tables = 0
    while True:
        fault, descriptor = FetchDescriptor(check, memory, address, fault.with_(fault.statuscode, level=level), observe)
        if fault.statuscode is not Fault.Fault_None:
            return fault, None
        match DecodeDescriptorType(regime, descriptor, level):
            case DescriptorType.DescriptorType_Invalid:
                return fault.with_(Fault.Fault_Translation), None
            case DescriptorType.DescriptorType_Leaf:
                return _leaf(regime, va, descriptor, tables, fault)
            case DescriptorType.DescriptorType_Table:
                tables |= descriptor
        level += 1
        address = TTEntryAddress(regime, level, va, DescriptorAddress(regime, descriptor))
        if OAOutOfRange(regime, address):
            # Reported at the level of the descriptor that names the table, not of the table.
            return fault.with_(Fault.Fault_AddressSize), None


def _leaf(
    regime: EL3Regime, va: int, descriptor: int, tables: int, fault: FaultRecord
) -> tuple[FaultRecord, Translated | None]:
    """Output address, output PAS and permissions of a block or page descriptor.

    ``tables``: the table descriptors on the way, ORed: APTable[1] (bit 62) and XNTable (bit 60) of any of them count.
    """
    low = _index_lsb(fault.level)
    output = AlignDown(DescriptorAddress(regime, descriptor), low) | Slice(va, low - 1, 0)
    if OAOutOfRange(regime, output):
        return fault.with_(Fault.Fault_AddressSize), None
    if Slice(descriptor, 10, 10) == 0:
        return fault.with_(Fault.Fault_AccessFlag), None
    paspace = DecodePASpace(Slice(descriptor, 11, 11), Slice(descriptor, 5, 5))
    if paspace is PASpace.PAS_Secure and not regime.features.sel2:
        # No Secure state (``HaveSecureState``): the encoding names the Non-secure PAS.
        paspace = PASpace.PAS_NonSecure
    # Root state executes from the Root PAS only, whatever XN says.
    executable = not Slice(descriptor, 54, 54) and not Slice(tables, 60, 60) and paspace is PASpace.PAS_Root
    writable = not Slice(descriptor, 7, 7) and not Slice(tables, 62, 62)
    return fault, Translated(FullAddress(paspace, output), fault.level, writable, executable)


def S1Translate(
    regime: EL3Regime,
    check: Checker,
    memory: Memory,
    va: int,
    accdesc: AccessDescriptor,
    observe: Observer = unobserved,
) -> tuple[FaultRecord, Translated | None]:
    """Walk and check permissions; the translation is None on a fault."""
    fault, translated = S1Walk(regime, check, memory, va, accdesc, observe)
    if translated is None:
        return fault, None
    if accdesc.acctype is AccessType.AccessType_IFETCH:
        if not translated.executable:
            observe(Rule.ROOT_EXECUTE_NEVER, "{} is execute-never for Root state", translated.address)
            return fault.with_(Fault.Fault_Permission), None
    elif accdesc.write and not translated.writable:
        return fault.with_(Fault.Fault_Permission, write=True), None
    return fault, translated
