"""Layouts of probe record format v1: stimulus record, result, register entry, batch header, mailbox control page.

This module is the definition; ``images/probe/record.h`` states the same offsets in C and a test compares the two.
All integers are little-endian and naturally aligned.  The same bytes travel through the shared-memory mailbox and,
chunk by chunk, over the wire.  It does not talk to anything: see ``batch.py``, ``wire.py`` and ``mailbox.py``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final, NamedTuple

VERSION: Final = 1
BATCH_MAGIC: Final = 0x31424352  # "RCB1"
MAILBOX_MAGIC: Final = 0x424D4352  # "RCMB"


class Op(IntEnum):
    """What one record asks the probe to do, once the record's registers are set."""

    NOP = 0
    LOAD = 1  # LDR of 1 << size_log2 bytes -> data0
    STORE = 2  # STR of value0
    LOAD_PAIR = 3  # LDP Xt1, Xt2 -> data0, data1
    STORE_PAIR = 4  # STP value0, value1
    LOAD_EXCLUSIVE = 5  # LDXR -> data0, then CLREX
    STORE_EXCLUSIVE = 6  # LDXR; STXR value0 -> data0 loaded, data1 status
    ATOMIC_ADD = 7  # LDADD value0 -> data0 old (FEAT_LSE)
    ATOMIC_SWAP = 8  # SWP value0 -> data0 old
    ATOMIC_CAS = 9  # CAS compare value0, new value1 -> data0 old
    FETCH = 10  # BLR to address; the instruction there must be RET
    DC_ZVA = 11  # DC ZVA, address
    SYS = 12  # SYS by encoding in aux, Xt = address (AT, DC, IC, TLBI); PAR_EL1 is returned
    MRS = 13  # system register read by encoding in aux -> data0
    MSR = 14  # system register write by encoding in aux, value0 (not restored)
    SMC = 15  # SMC #0 with x0..x17 = u64[18] at batch offset value0; x0..x17 after it go to batch offset value1
    HVC = 16  # HVC #0, as SMC
    MEM_WRITE = 17  # copy aux bytes from batch offset value0 to address, clean and invalidate to PoC
    MEM_READ = 18  # copy aux bytes from address to batch offset value0
    MEM_FILL = 19  # fill aux bytes at address with the 64-bit pattern value0
    TLBI_PAALL = 20  # DSB; TLBI PAALL; DSB; ISB
    SVC = 21  # SVC #0, as SMC
    LOAD_SIMD = 22  # LDR Qt, 16 bytes -> data0 (low half), data1 (high half)
    STORE_SIMD = 23  # STR Qt of value0 (low half), value1 (high half)
    LOAD_SIMD_PAIR = 24  # LDP Qt1, Qt2, 32 bytes -> data0, data1: the low halves
    STORE_SIMD_PAIR = 25  # STP Qt1, Qt2 of value0, value1; the high halves are zero
    LOAD_UNPRIVILEGED = 26  # LDTR -> data0
    STORE_UNPRIVILEGED = 27  # STTR of value0
    PREFETCH = 28  # PRFM PLDL1KEEP


class RecordFlag(IntFlag):
    """Per-record switches."""

    NONE = 0
    DUMP = 1 << 0  # store a full register dump (DUMP_SIZE bytes in the pool, at dump_offset)
    TLBI_BEFORE = 1 << 1  # invalidate GPT and translation caching before the record's registers are set
    TLBI_AFTER_REGS = 1 << 2  # ... and after they are set
    KEEP_REGS = 1 << 3  # do not restore the record's registers afterwards
    DESTRUCTIVE = 1 << 4  # may cost the target a power cycle; never part of a wire-only smoke set
    PAN = 1 << 5  # below EL3: PSTATE.PAN is 1 when the operation is issued


class ResultFlag(IntFlag):
    """What a result says beside its fields."""

    NONE = 0
    NESTED = 1 << 0  # a vector at a lower EL was hit by an exception; first_esr, first_far are of the one before
    ENDLESS = 1 << 1  # ... and by its own fetch, again and again: the first syndrome is lost, `taken` is 255


class BatchFlag(IntFlag):
    """``BatchHeader.flags``."""

    NONE = 0
    PES = 1 << 0  # records name several PEs, or groups: all PEs take part


class Requester(IntEnum):
    """Who makes the access; only PE data and PE fetch can be asked of a probe today, the rest is for events."""

    PE_DATA = 0
    PE_FETCH = 1
    PE_WALK = 2
    SMMU = 3
    DEVICE = 4
    TRACE_BUFFER = 5
    DEBUG = 6


class World(IntEnum):
    """Security state or PAS as {NSE, NS}, the architecture's two-bit encoding."""

    SECURE = 0b00
    NON_SECURE = 0b01
    ROOT = 0b10
    REALM = 0b11


class Status(IntEnum):
    """What the probe did with a record."""

    NOT_RUN = 0
    DONE = 1  # the operation was issued; `taken` says whether it took an exception
    UNSUPPORTED = 2  # this personality cannot do it
    REFUSED = 3  # malformed record
    REG_FAULT = 4  # a register of the list could not be set; syndrome is of that MSR
    NOT_ENTERED = 5  # the EL's code could not be fetched, or the return to it was illegal; the operation was not issued
    HUNG = 6  # the lower EL did not come back in a quarter of a second; elr is where it was


DUMP: Final = struct.Struct("<34Q64Q2Q156Q")  # x0-x30 sp pc pstate, q0-q31, fpsr fpcr, 78 (encoding, value) pairs
RECORD: Final = struct.Struct("<IHBBHBBBBHQQQQIHHQ")
RESULT: Final = struct.Struct("<IHBBHHIQQQQQQQQQQQIIQQ")
REGISTER: Final = struct.Struct("<IIQ")
BATCH_HEADER: Final = struct.Struct("<IHHIIIIIIIIIIIIQ")
MAILBOX: Final = struct.Struct("<IIIIIIQQQ")

RECORD_SIZE: Final = 64
RESULT_SIZE: Final = 128
REGISTER_SIZE: Final = 16
BATCH_HEADER_SIZE: Final = 64
MAILBOX_SIZE: Final = 4096
DUMP_SIZE: Final = 2048
REGS_MAX: Final = 32  # entries of a register list, a context included
SMC_REGISTERS: Final = 18


class Record(NamedTuple):
    """One stimulus; field order is the wire order.

    ``address`` is the virtual address: in the probe's stage 1 at EL3, in the regime of ``state`` and ``el`` below it.
    ``aux`` is a system-instruction encoding or a length in bytes, ``regs_offset`` the byte offset from the batch's
    start to ``regs_count`` register entries.
    """

    id: int
    op: int
    size_log2: int = 3
    pe: int = 0
    group: int = 0
    requester: int = Requester.PE_DATA
    state: int = World.ROOT
    el: int = 3
    reserved0: int = 0
    flags: int = 0
    address: int = 0
    value0: int = 0
    value1: int = 0
    aux: int = 0
    regs_offset: int = 0
    regs_count: int = 0
    reserved1: int = 0
    dump_offset: int = 0


class Result(NamedTuple):
    """One observation; syndrome fields are zero when no exception was taken.

    ``taken`` counts exceptions, ``target_el`` is where the last one went, ``vector`` the offset of its vector.
    ``par`` is PAR_EL1 after an AT.  ``flags`` are of ResultFlag.  ``elapsed`` is reserved for a cycle count.
    """

    id: int
    status: int
    taken: int
    target_el: int
    vector: int
    flags: int
    reserved0: int
    esr: int
    far: int
    hpfar: int
    mfar: int
    par: int
    elr: int
    spsr: int
    data0: int
    data1: int
    elapsed: int
    scr: int
    pe: int
    group: int
    first_esr: int
    first_far: int


class BatchHeader(NamedTuple):
    """Head of a batch; offsets are bytes from the batch's start.

    ``context_offset``/``context_count``: register entries set once before the first record and put back after the
    last.  ``crc32`` covers the header (with crc32, completed and status zero), records and pool as sent; 0 = unchecked.
    ``reserved`` says why, once status is BAD (``bad_reason`` in ``images/probe/record.h``).
    """

    magic: int
    version: int
    header_size: int
    record_count: int
    records_offset: int
    results_offset: int
    pool_offset: int
    pool_size: int
    context_offset: int
    context_count: int
    batch_id: int
    flags: int
    crc32: int
    completed: int
    status: int
    reserved: int


class BatchStatus(IntEnum):
    """``BatchHeader.status``, written by the probe."""

    IDLE = 0
    RUNNING = 1
    DONE = 2
    BAD = 3


class Mailbox(NamedTuple):
    """Control page of the shared-memory mailbox.

    The harness writes ``batch`` (physical address of a batch) and then increments ``doorbell``; the probe runs it and
    sets ``ack = doorbell``.  ``current`` is the record being run: it survives the target's death in the shared file.
    """

    magic: int
    version: int
    doorbell: int
    ack: int
    heartbeat: int
    current: int
    batch: int
    reserved0: int
    reserved1: int


assert DUMP.size == DUMP_SIZE and RECORD.size == RECORD_SIZE and RESULT.size == RESULT_SIZE
assert REGISTER.size == REGISTER_SIZE and BATCH_HEADER.size == BATCH_HEADER_SIZE


def sysreg_encoding(op0: int, op1: int, crn: int, crm: int, op2: int) -> int:
    """The 16 bits op0:op1:CRn:CRm:op2 that stand in bits [20:5] of an MSR, MRS, SYS or SYSL instruction.

    Layout: op0[15:14] op1[13:11] CRn[10:7] CRm[6:3] op2[2:0].  Raises ValueError for a field out of range.
    Source: DDI 0487, C5.1 "System instruction class encoding".
    """
    for name, value, limit in (("op0", op0, 4), ("op1", op1, 8), ("CRn", crn, 16), ("CRm", crm, 16), ("op2", op2, 8)):
        if not 0 <= value < limit:
            raise ValueError(f"{name} must be in 0..{limit - 1}, not {value!r}")
    return op0 << 14 | op1 << 11 | crn << 7 | crm << 3 | op2


@dataclass(frozen=True)
class RegisterEntry:
    """A system register to set: its 16-bit encoding and a 64-bit value."""

    encoding: int
    value: int

    def pack(self) -> bytes:
        """16 bytes: encoding u32, reserved u32, value u64."""
        return REGISTER.pack(self.encoding, 0, self.value)
