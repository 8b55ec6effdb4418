"""Stage 1 of the EL3 regime with the 4 KB granule: walk, permissions, output address space.

Every descriptor fetch passes the granule protection check.  Source: DDI 0487, shared pseudocode ``FetchDescriptor``,
``AArch64_S1Walk``, ``AArch64_S1DirectBasePermissions`` and ``AArch64_S1CheckPermissions``, reduced to EL3 with
SCTLR_EL3.WXN = 0, no hierarchical permissions in use, no hardware access flag.  Other regimes are not here.
"""

from __future__ import annotations

from dataclasses import dataclass

from refmodel.bits import AlignDown, Slice
from refmodel.faults import AccessDescriptor, AccessType, Fault, FaultRecord
from refmodel.gpt.types import GPCF, Checker
from refmodel.memory import Memory, PhysMemRetStatus
from refmodel.observe import Observer, unobserved
from refmodel.pas import DecodePASpace, FullAddress, PASpace
from refmodel.rules import Rule
from refmodel.sysregs import TCR_EL3, TTBR0_EL3

FINAL_LEVEL = 3
_PS = {0: 32, 1: 36, 2: 40, 3: 42, 4: 44, 5: 48, 6: 52}


@dataclass(frozen=True, slots=True)
class EL3Regime:
    """The registers of the EL3 translation regime: TTBR0_EL3, TCR_EL3; ``enabled`` is SCTLR_EL3.M."""

    ttbr0: TTBR0_EL3
    tcr: TCR_EL3
    enabled: bool = True

    @property
    def output_bits(self) -> int:
        """Output address size in bits: TCR_EL3.PS, 48 at most unless DS is 1."""
        return min(_PS.get(self.tcr.PS, 52), 52 if self.tcr.DS else 48)


@dataclass(frozen=True, slots=True)
class Translated:
    """Result of a translation: where the access goes, and what the leaf permits."""

    address: FullAddress
    level: int
    writable: bool
    executable: bool


def DescriptorAddress(regime: EL3Regime, descriptor: int) -> int:
    """Address field of a descriptor, 4 KB granule: [47:12], or with DS [49:12] and OA[51:50] in [9:8]."""
    if regime.tcr.DS:
        return Slice(descriptor, 49, 12) << 12 | Slice(descriptor, 9, 8) << 50
    return Slice(descriptor, 47, 12) << 12


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
    if Slice(va, 63, 64 - regime.tcr.T0SZ):
        return fault.with_(Fault.Fault_Translation, level=0), None
    # Without concatenation the start level follows from the input size: 48 bits start at level 0.
    level = FINAL_LEVEL - (64 - regime.tcr.T0SZ - 12 - 1) // 9
    base = AlignDown(regime.ttbr0.BADDR << 1, 6)
    if regime.tcr.DS:
        base = Slice(regime.ttbr0.value, 47, 6) << 6 | Slice(regime.ttbr0.value, 5, 2) << 48
    while True:
        low = 12 + 9 * (FINAL_LEVEL - level)
        address = base + 8 * Slice(va, min(low + 8, 63 - regime.tcr.T0SZ), low)
        if address >> regime.output_bits:
            return fault.with_(Fault.Fault_AddressSize, level=0), None
        fault, descriptor = FetchDescriptor(check, memory, address, fault.with_(fault.statuscode, level=level), observe)
        if fault.statuscode is not Fault.Fault_None:
            return fault, None
        table = Slice(descriptor, 1, 0) == 0b11 and level < FINAL_LEVEL
        leaf = Slice(descriptor, 1, 0) == (0b11 if level == FINAL_LEVEL else 0b01)
        if not table and not (leaf and (level > 0 or regime.tcr.DS)):
            return fault.with_(Fault.Fault_Translation), None
        base = DescriptorAddress(regime, descriptor)
        if table:
            level += 1
            continue
        return _leaf(regime, va, descriptor, low, fault)


def _leaf(
    regime: EL3Regime, va: int, descriptor: int, low: int, fault: FaultRecord
) -> tuple[FaultRecord, Translated | None]:
    """Output address, output PAS from {NSE, NS} = bits 11 and 5, and permissions of a block or page descriptor."""
    output = AlignDown(DescriptorAddress(regime, descriptor), low) | Slice(va, low - 1, 0)
    if output >> regime.output_bits:
        return fault.with_(Fault.Fault_AddressSize), None
    if Slice(descriptor, 10, 10) == 0:
        return fault.with_(Fault.Fault_AccessFlag), None
    paspace = DecodePASpace(Slice(descriptor, 11, 11), Slice(descriptor, 5, 5))
    # Root state executes from the Root PAS only, whatever XN says.
    executable = Slice(descriptor, 54, 54) == 0 and paspace is PASpace.PAS_Root
    writable = Slice(descriptor, 7, 7) == 0
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
