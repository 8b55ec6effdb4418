"""FEAT_MEC on the model as a machine: its registers, who may use them, and the context of every access.

With a variant that encrypts, accesses go through ``encryption.py``; else memory is as it is without FEAT_MEC.  Even
then MEM_WRITE, DC ZVA, instruction bytes, and the tables of EL3 and of the GPC stay in plaintext, past the caches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from harness.probe import address_space
from harness.probe.records import Op, Record, sysreg_encoding
from harness.targets.encryption import EncryptedMemory
from harness.targets.model_lower import encoding
from refmodel.accdesc import AccessDescriptor
from refmodel.access import FullTranslate, PEState
from refmodel.choices import Chooser
from refmodel.context import PEContext, Regime
from refmodel.faultrecord import Fault, FaultRecord
from refmodel.faults import AArch64_Abort
from refmodel.gpt.cache import PossibleGPT
from refmodel.gpt.types import GPCFRecord
from refmodel.mec.memory import Choices, Tag
from refmodel.mec.registers import (
    CONTROLS,
    EC_SYSTEM_REGISTER,
    EC_UNKNOWN,
    HOLDERS,
    MECIDR_EL2,
    SCR_EL3_MEC,
    Accessed,
    Maintenance,
    MaintenanceAccess,
    RegisterAccess,
    Where,
    stored,
    trap_iss,
    undefined_target,
)
from refmodel.mec.selection import (
    Controls,
    DescriptorAMEC,
    S1AMECFault,
    S1DisabledOutputMECID,
    S1OutputMECID,
    S2OutputMECID,
    TTWalkMECID,
    WalkControls,
)
from refmodel.memory import Memory, PhysMemRetStatus
from refmodel.observe import Observer, unobserved
from refmodel.outcomes import ExceptionTaken, Syndrome
from refmodel.pas import EL, FullAddress, PASpace, SecurityState
from refmodel.registers import Register
from refmodel.sysregs import SCR_EL3, TCR_EL2
from refmodel.translation.regimes import upper_range
from refmodel.translation.stage1 import S1Translate, Walk

WIDTH: Final = 16
"""Bits of a MECID that the machine implements."""

ENCRYPTING: Final[Mapping[str, Choices]] = {
    "encrypts": Choices(hit_mismatch=False, integrity=False),
    "encrypts-hit": Choices(hit_mismatch=True, integrity=False),
    "encrypts-integrity": Choices(hit_mismatch=False, integrity=True),
}
"""Variants of the machine that encrypt, and the choices that they declare."""

START: Final[Mapping[int, int]] = {
    encoding(MECIDR_EL2): MECIDR_EL2.of(MECIDWidthm1=WIDTH - 1).value,
    **{encoding(register): 0 for register in (*HOLDERS, *CONTROLS)},
}
"""The registers of FEAT_MEC as the machine starts with them."""

_HOLDERS: Final = {encoding(register): register for register in HOLDERS}
_REGISTERS: Final[Mapping[int, type[Register]]] = {**_HOLDERS, encoding(MECIDR_EL2): MECIDR_EL2}
_MAINTENANCE: Final = {sysreg_encoding(*operation.value): operation for operation in Maintenance}
_VECTOR_SAME, _VECTOR_LOWER = 0x200, 0x400


@dataclass(frozen=True)
class Refused:
    """A system instruction that is not performed, and the exception it takes."""

    exception: ExceptionTaken


def set_value(number: int, value: int) -> int:
    """What a register holds after an MSR of ``value``."""
    if number == encoding(MECIDR_EL2):
        return START[number]
    return stored(value, WIDTH) if number in _HOLDERS else value


def where_of(record: Record, registers: Mapping[int, int]) -> Where:
    """The PE that executes a record."""
    mecen = SCR_EL3_MEC(registers[encoding(SCR_EL3)]).MECEn
    return Where(el=EL(record.el), state=SecurityState(record.state), mecen=mecen)


def refused(record: Record, registers: Mapping[int, int], *, tags: bool) -> Refused | None:
    """The exception of a system instruction of FEAT_MEC that may not be executed there; None for anything else."""
    where = where_of(record, registers)
    if record.op == Op.SYS:
        operation = _MAINTENANCE.get(record.aux)
        if operation is None:
            return None
        missing = operation.tags and not tags
        accessed = Accessed.UNDEFINED if missing else MaintenanceAccess(operation, where)
        return _refusal(accessed, where, 0)
    register = _REGISTERS.get(record.aux)
    if record.op not in (Op.MRS, Op.MSR) or register is None or register.encoding is None:
        return None
    write = record.op == Op.MSR
    return _refusal(RegisterAccess(register, where, write=write), where, trap_iss(register.encoding, write=write))


def is_access(record: Record) -> bool:
    """Whether the record is an MRS or MSR of a register of FEAT_MEC."""
    return record.op in (Op.MRS, Op.MSR) and record.aux in _REGISTERS


def maintenance(record: Record) -> tuple[Maintenance, PASpace, int] | None:
    """The operation, space and physical address of a DC by PA."""
    operation = _MAINTENANCE.get(record.aux) if record.op == Op.SYS else None
    if operation is None:
        return None
    pas = PASpace((record.address >> 62 & 1) << 1 | record.address >> 63)
    return operation, pas, record.address & (1 << 52) - 1


def _refusal(accessed: Accessed, where: Where, iss: int) -> Refused | None:
    if accessed is Accessed.PERFORMED:
        return None
    trapped = accessed is Accessed.TRAPPED
    to = EL.EL3 if trapped else undefined_target(where.el)
    syndrome = Syndrome(
        el=to,
        ec=EC_SYSTEM_REGISTER if trapped else EC_UNKNOWN,
        il=1,
        iss=iss if trapped else 0,
        iss_known=(1 << 25) - 1,
        vector=_VECTOR_SAME if to is where.el else _VECTOR_LOWER,
    )
    return Refused(ExceptionTaken(syndrome, None, None))


@dataclass(frozen=True)
class Contexts:
    """Contexts of the accesses of one record by one PE."""

    record: Record
    registers: Mapping[int, int]
    context: PEContext

    def _read(self, register: type[Register]) -> int:
        return self.registers.get(encoding(register), 0)

    @property
    def regime(self) -> Regime:
        """The regime of the record's level."""
        return self.context.TranslationRegime(self.context.el)

    def controls(self) -> Controls:
        """Parameters emec and amec of the regime."""
        upper = self.regime is not Regime.Regime_EL3 and upper_range(self.record.address)
        return WalkControls(self.regime, SecurityState(self.record.state), self._read, upper=upper)

    def walk(self) -> Tag:
        """Context of the descriptor fetches."""
        state = SecurityState(self.record.state)
        tcr = self.registers.get(encoding(TCR_EL2), 0)
        mecid = TTWalkMECID(self.controls(), self.regime, state, self._read, tcr, Chooser())
        return Tag(PASpace(state.value), mecid)

    def output(self, pas: PASpace, descriptor: int | None) -> Tag:
        """Context of an access that a leaf (None: stage 1 is off) leads to ``pas``."""
        if descriptor is None:
            return Tag(pas, S1DisabledOutputMECID(self.controls(), self.regime, pas, self._read))
        amec, upper = DescriptorAMEC(descriptor), upper_range(self.record.address)
        return Tag(pas, S1OutputMECID(self.controls(), self.regime, pas, amec, self._read, upper=upper))

    @property
    def second_stage(self) -> bool:
        """Whether stage 2 translates the access."""
        return self.regime is Regime.Regime_EL10 and self.context.hcr.VM == 1

    def second_output(self, pas: PASpace, descriptor: int) -> Tag:
        """Context of an access that a leaf of stage 2 leads to ``pas``."""
        return Tag(pas, S2OutputMECID(self.controls(), pas, DescriptorAMEC(descriptor), self._read))

    def amec_fault(self, pas: PASpace, descriptor: int | None) -> bool:
        """Whether the leaf's AMEC makes it a Translation fault."""
        amec = 0 if descriptor is None else DescriptorAMEC(descriptor)
        return S1AMECFault(self.controls(), pas, self.regime, amec)


class WalkView(Memory):
    """Memory as the walks of one record see it; remembers the last descriptor, that of the leaf."""

    def __init__(self, memory: Memory, decrypt: Callable[[FullAddress, int], bytes] | None) -> None:
        self.map = memory.map
        self._memory = memory
        self._decrypt = decrypt
        self.leaf: int | None = None

    def PhysMemRead(self, address: FullAddress, size: int) -> tuple[PhysMemRetStatus, int]:
        status, value = self._memory.PhysMemRead(address, size)
        self._space = address.paspace
        if status is PhysMemRetStatus.OK and self._decrypt is not None:
            value = int.from_bytes(self._decrypt(address, size), "little")
        self.leaf = value
        return status, value

    def read(self, address: int, length: int) -> bytes:
        """Descriptors beside one that was fetched, in the same space."""
        if self._decrypt is None:
            return self._memory.read(address, length)
        return self._decrypt(FullAddress(self._space, address), length)


@dataclass(frozen=True)
class Reached:
    """Where an access leads: its context, whether caches keep it; or the exception of a leaf with a forbidden AMEC."""

    tag: Tag
    cacheable: bool
    exception: ExceptionTaken | None = None


@dataclass(frozen=True)
class MecMemory:
    """Memory of the machine as FEAT_MEC has accesses reach it; ``encrypted`` is None where nothing is encrypted."""

    memory: Memory
    encrypted: EncryptedMemory | None

    def concerns(self, contexts: Contexts) -> bool:
        """Whether FEAT_MEC changes anything for a record."""
        return self.encrypted is not None or (contexts.record.el != EL.EL3.value and contexts.controls().emec == 1)

    def seen(self, pe: PEState, contexts: Contexts) -> PEState:
        """The PE with memory as its walks see it; EL3's own tables are as the machine made them."""
        if contexts.record.el == EL.EL3.value or not self.concerns(contexts):
            return pe
        return replace(pe, memory=WalkView(self.memory, None if self.encrypted is None else self._fetch(contexts)))

    def _fetch(self, contexts: Contexts) -> Callable[[FullAddress, int], bytes]:
        encrypted, tag = self.encrypted, contexts.walk()
        assert encrypted is not None
        return lambda where, size: encrypted.read(replace(tag, pas=where.paspace), where.address, size, cacheable=True)

    def reached(self, pe: PEState, gpt: PossibleGPT, contexts: Contexts, access: AccessDescriptor) -> Reached:
        """Where a record's access leads that is permitted so far."""
        va = contexts.record.address
        if contexts.record.el == EL.EL3.value:
            pas, cacheable = slot(va)
            return Reached(contexts.output(pas, 0), cacheable)
        view = WalkView(pe.memory, None)
        if contexts.second_stage:
            _, address = FullTranslate(replace(pe, memory=view), gpt, va, access, Chooser(), unobserved)
            assert address is not None and view.leaf is not None  # the access is permitted
            return Reached(contexts.second_output(address.paspace, view.leaf), cacheable=True)

        def check(address: FullAddress, observe: Observer) -> GPCFRecord:
            return gpt.check(address, Chooser(), observe, access.ss)

        walk = Walk(pe.context, check, view, Chooser())
        fault, translated = S1Translate(FaultRecord.none(access), pe.stage1(contexts.regime), va, walk)
        assert translated is not None  # the access is permitted
        pas = translated.address.paspace
        tag = contexts.output(pas, view.leaf)
        if contexts.amec_fault(pas, view.leaf):
            fault = fault.with_(Fault.Fault_Translation, level=translated.level)
            return Reached(tag, cacheable=False, exception=AArch64_Abort(va, fault, pe.context))
        # Tables of the harness map Normal memory that is cached; with stage 1 off data is Device memory.
        return Reached(tag, cacheable=view.leaf is not None)


def slot(va: int) -> tuple[PASpace, bool]:
    """Space and cacheability of an address of the probe's map at EL3."""
    number = va >> address_space.SLOT_BITS
    cacheable = address_space.MemoryType(number >> 2 & 3) is address_space.MemoryType.NORMAL_WB
    return PASpace(number & 3 ^ 0b10), cacheable


def integrity_abort(va: int, access: AccessDescriptor, context: PEContext) -> ExceptionTaken:
    """The exception of a read that memory refuses."""
    return AArch64_Abort(va, FaultRecord.none(access).with_(Fault.Fault_SyncExternal), context)
