"""The model as a machine: executes probe batches as a PE with FEAT_RME would, by calling the reference model.

It is stateful and stands apart from the judge: each of its PEs keeps accesses and GPT entries (``model_tlb.py``) until
an invalidation, which the architecture permits, so that a suite also meets stale answers here.  A mutant is this
machine with some of its functions replaced (``refmodel/mutants``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from harness.judge.operation import Operation
from harness.judge.stimulus import Kind, Performed, Stimulus, perform
from harness.probe import address_space
from harness.probe.batch import decode_header, records_of
from harness.probe.records import (
    BATCH_HEADER_SIZE,
    REGISTER,
    REGISTER_SIZE,
    RESULT,
    BatchFlag,
    BatchHeader,
    Op,
    Record,
    RecordFlag,
    Requester,
    Status,
    World,
    sysreg_encoding,
)
from harness.targets import model_lower, model_mec, model_operations
from harness.targets.encryption import EncryptedMemory, IntegrityError
from harness.targets.model_lower import encoding
from harness.targets.model_rmm_records import RmmRecords
from harness.targets.model_tlb import PE, GPTEntries, KeepingGPT
from harness.targets.target import Layout, Window
from refmodel.access import Access, PEState, access_at
from refmodel.choices import Chooser
from refmodel.features import Features
from refmodel.gpt.tlbi import DecodeRPA, TLBIOp
from refmodel.gpt.types import GPCState
from refmodel.memory import Memory
from refmodel.outcomes import AddressTranslated, ExceptionTaken, Outcome
from refmodel.pas import EL
from refmodel.sysregs import CLIDR_EL1, DCZID_EL0, GPCBW_EL3, GPCCR_EL3, GPTBR_EL3, TCR_EL3, TTBR0_EL3
from refmodel.translation.el3 import EL3Regime

_GB: Final = 1 << 30
_STAGE_1: Final = 0x4100_0000
_WINDOWS_L1: Final = _STAGE_1 + 4096 * (1 + address_space.WINDOW_SLOT)

LAYOUT: Final = Layout(
    probe=(Window(base=0x4000_0000, size=0x1000_0000),),
    tables=Window(base=0x5000_0000, size=0x3000_0000),
    test=(Window(base=0x8000_0000, size=0x1_0000_0000),),
    hole=(Window(base=0x2_0000_0000, size=0x3E_0000_0000), Window(base=1 << 40, size=(1 << 52) - (1 << 40))),
    secure=(Window(base=0x0E00_0000, size=0x100_0000),),
    windows_l1=_WINDOWS_L1,
    lower=0x4040_0000,
)
"""The same memory plan as QEMU's ``virt`` machine with 5 GB."""

_PARANGE = {52: 6, 56: 7}
_L0GPTSZ = {30: 0b0000, 34: 0b0100, 36: 0b0110, 39: 0b1001}


_GPCCR, _GPTBR, _GPCBW = encoding(GPCCR_EL3), encoding(GPTBR_EL3), encoding(GPCBW_EL3)
_TLBI = {sysreg_encoding(1, *op.value): op for op in TLBIOp}
_KIND_OF_OP = {kind.op: kind for kind in Kind}


VARIANTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "": {},
    "rme1": {"rme": 1},
    "rme2": {"rme": 2},
    "no-16k": {"granules": frozenset({12, 16})},
    "pa56": {"pamax": 56},
    **{name: {} for name in model_mec.ENCRYPTING},
}
"""What ``TargetOptions.variant`` changes of the machine's features, by name."""


class Machine:
    """PEs with the probe's address space at EL3, GPC disabled at power-on."""

    def __init__(self, *, l0gptsz: int = 30, pes: int = 1, variant: str = "") -> None:
        self.features = replace(
            Features(rme=3, pamax=52, sel2=True, lse=True, ras=True, lpa2=True, mec=True), **VARIANTS[variant]
        )
        self.memory = Memory(LAYOUT.memory_map())
        tcr = TCR_EL3.of(DS=1, PS=6, T0SZ=16, SH0=3, ORGN0=1, IRGN0=1)
        registers: dict[int, int] = {
            encoding(TTBR0_EL3): _STAGE_1,
            encoding(TCR_EL3): tcr.value,
            **model_lower.START,
            **model_mec.START,
            _GPCCR: GPCCR_EL3.of(L0GPTSZ=_L0GPTSZ[l0gptsz]).value,
            _GPTBR: 0,
            _GPCBW: 0,
            encoding(CLIDR_EL1): CLIDR_EL1.of(LoC=1, LoUU=1).value,
            encoding(DCZID_EL0): DCZID_EL0.of(BS=model_operations.ZVA_BITS - 2).value,
        }
        self._read_only = GPCCR_EL3.L0GPTSZ.mask
        self._build_stage_1()
        choices = model_mec.ENCRYPTING.get(variant)
        self.encrypted = None if choices is None else EncryptedMemory(self.memory, choices)
        self.mec = model_mec.MecMemory(self.memory, self.encrypted)
        self.pe = PEState(EL3Regime(TTBR0_EL3(_STAGE_1), tcr, self.features), self.memory)
        self.pes = [self._new_pe(dict(registers)) for _ in range(pes)]
        self.own = self.pes[0]
        self.rmm = RmmRecords(self.memory, LAYOUT.test[0], _result)

    def _new_pe(self, registers: dict[int, int]) -> PE:
        entries = GPTEntries()
        return PE(registers, KeepingGPT(self._gpc(registers), self.memory, entries), entries)

    def _gpc(self, of: Mapping[int, int]) -> GPCState:
        return GPCState(GPCCR_EL3(of[_GPCCR]), GPTBR_EL3(of[_GPTBR]), self.features, GPCBW_EL3(of[_GPCBW]))

    def id_registers(self) -> dict[str, int]:
        """ID registers that report ``features``, and GPCCR_EL3 as it stands after reset."""
        granules = self.features.granules
        return {
            "ID_AA64PFR0_EL1": self.features.rme << 52 | 1 << 36 | 1 << 28,
            "ID_AA64MMFR0_EL1": _PARANGE[self.features.pamax] | (14 in granules) << 20 | 1 << 28,
            "ID_AA64ISAR0_EL1": 2 << 20,
            "ID_AA64MMFR3_EL1": 1 << 28,
            "GPCCR_EL3": self.pes[0].registers[_GPCCR],
        }

    def _build_stage_1(self) -> None:
        for slot in range(3 * 4):
            table = _STAGE_1 + 4096 * (1 + slot)
            pas, memory = World(slot & 3 ^ 0b10), address_space.MemoryType(slot >> 2)
            entries = (
                address_space.block_descriptor(gigabyte * _GB, pas, memory, ds=True).to_bytes(8, "little")
                for gigabyte in range(512)
            )
            self.memory.write(table, b"".join(entries))
            self.memory.write(_STAGE_1 + 8 * slot, (table | 0b11).to_bytes(8, "little"))
        self.memory.write(_STAGE_1 + 8 * address_space.WINDOW_SLOT, (_WINDOWS_L1 | 0b11).to_bytes(8, "little"))

    def write_memory(self, pa: int, data: bytes) -> None:
        """Store as Root, past the check."""
        self.memory.write(pa, data)
        for pe in self.pes:
            pe.changed()

    def invalidate(self) -> None:
        """TLBI PAALL and the translations that include GPT information, on the PE in turn."""
        self.own.invalidate()

    def tlbi(self, op: TLBIOp = TLBIOp.PAALL, xt: int = 0) -> None:
        """A TLBI by PA as an instruction of the PE in turn."""
        issuing = self._gpc(self.own.registers)
        range_ = DecodeRPA(issuing, xt, last_level=op is TLBIOp.RPALOS) if op.by_range else None
        for pe in self.pes if op.broadcast else [self.own]:
            if not op.by_range:
                pe.invalidate()
            elif range_ is not None and pe.gpt.gpc.gpccr.PGS == issuing.gpccr.PGS:
                pe.invalidate_range(range_)

    def _tlbi_by_range(self, record: Record, op: TLBIOp) -> ExceptionTaken | None:
        """A TLBI by encoding; no operand of it makes it take an exception."""
        self.tlbi(op, record.address)
        return None

    def set_register(self, number: int, value: int) -> None:
        """MSR by the PE in turn: read-only fields keep their value; nothing is invalidated."""
        own = self.own
        if number == _GPCCR:
            value = value & ~self._read_only | own.registers[_GPCCR] & self._read_only
        own.registers[number] = model_mec.set_value(number, value)
        own.bind(self._gpc(own.registers), self.memory)

    def _put_back(self, registers: dict[int, int]) -> None:
        self.own.registers = registers
        self.own.bind(self._gpc(registers), self.memory)
        self.invalidate()

    def run(self, image: bytes, at: Callable[[int], None] = lambda index: None) -> bytes:
        """Run an encoded batch; the results as bytes.  ``at`` hears the index of each record before it is run."""
        header = decode_header(image)
        taking_part = self.pes if header.flags & BatchFlag.PES else self.pes[:1]
        saved = [dict(pe.registers) for pe in taking_part]
        for self.own in taking_part:
            self.invalidate()
            self._set_list(image, header.context_offset, header.context_count)
            self.invalidate()
        self.rmm.begin(image)
        results = []
        for record in records_of(image):
            at(record.id)
            # One after the other, whatever their PEs: an order that the groups permit.
            self.own = taking_part[record.pe] if record.pe < len(taking_part) else taking_part[0]
            results.append(self._record(image, header, record))
        for index, late in self.rmm.end().items():
            results[index] = late
        for self.own, registers in zip(taking_part, saved, strict=True):
            self._put_back(registers)
        self.own = self.pes[0]
        return b"".join(results)

    def _set_list(self, image: bytes, offset: int, count: int) -> None:
        for at in range(offset, offset + count * REGISTER_SIZE, REGISTER_SIZE):
            number, _, value = REGISTER.unpack_from(image, at)
            self.set_register(number, value)

    def _record(self, image: bytes, header: BatchHeader, record: Record) -> bytes:
        if record.flags & RecordFlag.TLBI_BEFORE:
            self.invalidate()
        saved = dict(self.own.registers)
        if record.regs_count:
            self._set_list(image, record.regs_offset, record.regs_count)
        if record.flags & RecordFlag.TLBI_AFTER_REGS:
            self.invalidate()
        result = self._operate(image, record)
        if record.regs_count and not record.flags & RecordFlag.KEEP_REGS:
            self._put_back(saved)
        return result

    def _operate(self, image: bytes, record: Record) -> bytes:
        at_el3 = record.el == EL.EL3.value and record.state == World.ROOT
        there = record.pe < len(self.pes) and self.own is self.pes[record.pe]
        if not there or record.requester > Requester.PE_FETCH or not (at_el3 or model_lower.can_issue(record)):
            return _result(record, Status.UNSUPPORTED)
        if (smc := self.rmm.smc(record)) is not None:
            return smc
        refused = model_mec.refused(record, self.own.registers, tags=self.features.mte2)
        if refused is not None:
            return _result(record, exception=refused.exception)
        operation = model_operations.operation_of(record)
        if operation is not None:
            return self._do(record, operation)
        if model_mec.maintenance(record) is not None:
            self._maintain(record)
            return _result(record)
        if not at_el3 and not model_mec.is_access(record):
            kind = _KIND_OF_OP.get(Op(record.op))
            if kind is None:
                return _result(record, Status.UNSUPPORTED)
            return self.rmm.access(record, kind) or self._access(record, kind)
        match record.op:
            case Op.NOP:
                return _result(record)
            case Op.MRS:
                value = self.own.registers.get(record.aux)
                return _result(record, Status.REFUSED) if value is None else _result(record, data0=value)
            case Op.MSR:
                self.set_register(record.aux, record.value0)
                return _result(record)
            case Op.TLBI_PAALL:
                self.tlbi()
                return _result(record)
            case Op.SYS if record.aux in _TLBI:
                return _result(record, exception=self._tlbi_by_range(record, _TLBI[record.aux]))
            case Op.MEM_WRITE:
                offset = record.value0
                if not BATCH_HEADER_SIZE <= offset <= len(image) - record.aux:
                    return _result(record, Status.REFUSED)
                return self._write(record, image[offset : offset + record.aux])
            case op if op in _KIND_OF_OP:
                return self._access(record, _KIND_OF_OP[Op(op)])
            case _:
                return _result(record, Status.UNSUPPORTED)

    def _write(self, record: Record, data: bytes) -> bytes:
        """MEM_WRITE: a store by Root through its own address, checked like any other."""
        outcome = self._outcome(record, Kind.STORE)
        if isinstance(outcome, ExceptionTaken):
            return _result(record, exception=outcome)
        self.write_memory(record.address & (1 << address_space.SLOT_BITS) - 1, data)
        return _result(record)

    def _do(self, record: Record, operation: Operation) -> bytes:
        """An operation that is no single access."""
        pe = self._pe_of(record)
        outcome = model_operations.outcome(record, operation, pe, self.own.gpt)
        if isinstance(outcome, ExceptionTaken):
            return _result(record, exception=outcome)
        if isinstance(outcome, AddressTranslated):
            return _result(record, par=outcome.par)
        if record.op == Op.SYS:
            self._maintain(record)
            return _result(record)
        data0, data1 = model_operations.effect(record, operation, self.physical(record), self.memory)
        return _result(record, data0=data0, data1=data1)

    def _contexts(self, record: Record) -> model_mec.Contexts:
        """Memory encryption contexts of the record's accesses."""
        return model_mec.Contexts(record, self.own.registers, self._pe_of(record).context)

    def _maintain(self, record: Record) -> None:
        """Cache maintenance by PA, where there are caches."""
        found = model_mec.maintenance(record)
        if found is not None and self.encrypted is not None:
            operation, pas, pa = found
            requester = self._contexts(record).output(pas, 0)
            self.encrypted.clean_invalidate(pas, pa, to_poe=operation.to_poe, requester=requester)

    def _pe_of(self, record: Record) -> PEState:
        """The PE as it is for the record's operation."""
        if record.el == EL.EL3.value:
            return self.pe
        key, own = model_lower.key_of(record), self.own
        if key not in own.below:
            made = model_lower.pe_state(record, own.registers, self.features, self.pe.regime, self.memory)
            own.below[key] = made
        return own.below[key]

    def _outcome(self, record: Record, kind: Kind) -> Outcome:
        key = (record.address >> 12, kind.number, *model_lower.key_of(record))
        outcome = self.own.outcomes.get(key)
        if outcome is None:
            contexts = self._contexts(record)
            pe = self.mec.seen(self._pe_of(record), contexts)
            accdesc = access_at(kind.access_name, pe.context)
            outcome = Access(pe, self.own.gpt, record.address, accdesc, Chooser())
            if not isinstance(outcome, ExceptionTaken) and self.mec.concerns(contexts):
                reached = self.mec.reached(pe, self.own.gpt, contexts, accdesc)
                outcome = reached.exception or outcome
            self.own.outcomes[key] = outcome
        return outcome

    def _access(self, record: Record, kind: Kind) -> bytes:
        key = (record.address >> 12, kind.number, *model_lower.key_of(record))
        if key not in self.own.pages:
            outcome = self._outcome(record, kind)
            if isinstance(outcome, ExceptionTaken):
                return _result(record, exception=outcome)
            self.own.pages[key] = self.physical(record, kind)
        try:
            effect = self.effect(record, kind)
        except IntegrityError:
            context = self._pe_of(record).context
            access = access_at(kind.access_name, context)
            return _result(record, exception=model_mec.integrity_abort(record.address, access, context))
        return _result(record, data0=effect.data0, data1=effect.data1)

    def effect(self, record: Record, kind: Kind) -> Performed:
        """Do the access: what it returns, and memory changed."""
        pa = self.physical(record, kind)
        stimulus = Stimulus(kind, record.address, pa, World.ROOT, record.size_log2, record.value0, record.value1)
        if self.encrypted is not None:
            return self._effect_encrypted(record, kind, stimulus)
        effect = perform(stimulus, self.memory.read(pa, 16))
        if effect.memory is not None:
            self.memory.write(pa, effect.memory)
        return effect

    def _effect_encrypted(self, record: Record, kind: Kind, stimulus: Stimulus) -> Performed:
        """The same through caches and encryption; a store reads nothing, so no integrity check refuses it."""
        assert self.encrypted is not None
        contexts = self._contexts(record)
        pe = self.mec.seen(self._pe_of(record), contexts)
        reached = self.mec.reached(pe, self.own.gpt, contexts, access_at(kind.access_name, pe.context))
        tag, cacheable = reached.tag, reached.cacheable
        writes_only = kind in (Kind.STORE, Kind.STORE_PAIR)
        before = bytes(16) if writes_only else self.encrypted.read(tag, stimulus.pa, 16, cacheable=cacheable)
        effect = perform(stimulus, before)
        if effect.memory is not None:
            self.encrypted.write(tag, stimulus.pa, effect.memory, cacheable=cacheable)
        return effect

    def physical(self, record: Record, kind: Kind = Kind.STORE) -> int:
        """Physical address that a performed access reaches."""
        va = record.address
        if record.el != EL.EL3.value:
            pe = self.mec.seen(self._pe_of(record), self._contexts(record))
            return model_lower.physical(pe, self.own.gpt, va, kind)
        if va >> address_space.SLOT_BITS < address_space.WINDOW_SLOT:
            return va & (1 << address_space.SLOT_BITS) - 1
        # What is there may be a table of the suite's own.
        return model_lower.physical(self.pe, self.own.gpt, va, kind)


def far_of(record: Record) -> int:
    """FAR_ELx after an exception of this record's access: its virtual address."""
    return record.address


def _far_offset(record: Record, exception: ExceptionTaken) -> int:
    """How far the fault lies behind the operand, for an access that crosses a page; those are not remembered."""
    exact = model_operations.operation_of(record) is not None and exception.far is not None
    return exception.far - record.address if exact and exception.far is not None else 0


def _result(
    record: Record,
    status: Status = Status.DONE,
    *,
    exception: ExceptionTaken | None = None,
    data0: int = 0,
    data1: int = 0,
    par: int = 0,
) -> bytes:
    taken = el = vector = esr = far = hpfar = mfar = spsr = scr = 0
    if exception is not None:
        syndrome = exception.syndrome
        taken, el, vector = 1, syndrome.el.value, syndrome.vector
        esr = syndrome.ec << 26 | syndrome.il << 25 | syndrome.iss
        # Outcomes are remembered by page; FAR is the address of this very access.
        far = far_of(record) + _far_offset(record, exception)
        hpfar, mfar = exception.hpfar or 0, exception.mfar or 0
        spsr, scr = model_lower.saved_program_status(record), model_lower.saved_scr(record)
    return RESULT.pack(
        record.id, status, taken, el, vector, 0, 0, esr, far, hpfar, mfar, par, 0, spsr, data0, data1, 0, scr,
        record.pe, record.group, 0, 0,
    )  # fmt: skip
