"""The `root` probe on a real QEMU: operations, faults, register lists, and that it survives what it provokes."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from harness.errors import MisuseError
from harness.probe.address_space import MemoryType, va_of
from harness.probe.batch import Batch, pool_pointer
from harness.probe.dump import decode_dump
from harness.probe.records import (
    DUMP_SIZE,
    Op,
    Record,
    RecordFlag,
    RegisterEntry,
    Requester,
    Result,
    Status,
    World,
    sysreg_encoding,
)
from harness.targets.qemu import QemuTarget
from harness.tests.conftest import MakeTarget

DATA = 0x8000_0000
CODE = 0x8100_0000
HOLE = 0x2_0000_0000
RET = (0xD65F03C0).to_bytes(4, "little")

GPCCR = sysreg_encoding(3, 6, 2, 1, 6)
GPTBR = sysreg_encoding(3, 6, 2, 1, 4)
MIDR = sysreg_encoding(3, 0, 0, 0, 0)
TPIDR_EL2 = sysreg_encoding(3, 4, 13, 0, 2)
UNALLOCATED = sysreg_encoding(3, 6, 15, 15, 7)
AT_S1E1R = sysreg_encoding(1, 0, 7, 8, 0)
TLBI_PAALL = sysreg_encoding(1, 6, 8, 7, 4)

ALL_FAULT = 1 << 16 | 3 << 14 | 1 << 12 | 7  # GPC on, PGS, SH and PPS reserved: not even Root gets through
GPC_ON = 1 << 16 | 3 << 12 | 1 << 10 | 1 << 8 | 1  # PPS 36 bits, PGS 4 KB
ANY = 0xF << 4 | 1

EC_UNKNOWN, EC_SMC, EC_GPC, EC_INSTRUCTION, EC_DATA = 0x00, 0x17, 0x1E, 0x21, 0x25
GPF = 0x28


@pytest.fixture(scope="module")
def target(
    qemu_argv: tuple[str, ...], probe_elf: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[QemuTarget]:
    made = QemuTarget(qemu_argv=qemu_argv, probe_elf=probe_elf, log_directory=tmp_path_factory.mktemp("logs"))
    made.power_on()
    yield made
    made.power_off()


def ec(result: Result) -> int:
    return result.esr >> 26


def one(target: QemuTarget, record: Record, registers: Sequence[RegisterEntry] = (), pool: bytes = b"") -> Result:
    batch = Batch(records=[record], registers={0: tuple(registers)} if registers else None, pool=pool)
    return target.run(batch)[0]


def ok(target: QemuTarget, record: Record, pool: bytes = b"") -> Result:
    result = one(target, record, pool=pool)
    assert (result.status, result.taken) == (Status.DONE, 0)
    return result


def test_banner(target: QemuTarget) -> None:
    info = target.info
    assert info.id_registers["ID_AA64PFR0_EL1"] >> 52 & 0xF >= 1
    assert info.id_registers["GPCCR_EL3"] >> 16 & 1 == 0
    assert "MECIDR_EL2" in info.id_registers
    assert info.layout.probe[0].holds(info.layout.windows_l1, 4096)
    assert info.layout.windows_l1 % 0x10000 == 0  # a GPT may deny its whole descriptor
    assert info.version.split(".")[0].isdigit()


@pytest.mark.parametrize("size_log2", range(4))
def test_loads_and_stores(target: QemuTarget, size_log2: int) -> None:
    value, mask = 0x8877_6655_4433_2211, (1 << (8 << size_log2)) - 1
    target.write_memory(DATA, bytes(16))
    ok(target, Record(0, Op.STORE, size_log2, address=DATA, value0=value))
    assert int.from_bytes(target.read_memory(DATA, 16), "little") == value & mask
    assert ok(target, Record(0, Op.LOAD, size_log2, address=DATA)).data0 == value & mask


@pytest.mark.parametrize("size_log2", range(4))
def test_exclusives_and_atomics(target: QemuTarget, size_log2: int) -> None:
    old, mask = 0x1122_3344_5566_7788, (1 << (8 << size_log2)) - 1

    def after(op: Op, value0: int, value1: int = 0) -> tuple[Result, int]:
        target.write_memory(DATA, old.to_bytes(8, "little"))
        result = ok(target, Record(0, op, size_log2, address=DATA, value0=value0, value1=value1))
        assert result.data0 == old & mask
        return result, int.from_bytes(target.read_memory(DATA, 8), "little") & mask

    assert after(Op.LOAD_EXCLUSIVE, 9)[1] == old & mask
    result, stored = after(Op.STORE_EXCLUSIVE, 9)
    assert (result.data1, stored) == (0, 9)
    assert after(Op.ATOMIC_ADD, 1)[1] == old + 1 & mask
    assert after(Op.ATOMIC_SWAP, 7)[1] == 7
    assert after(Op.ATOMIC_CAS, old, 5)[1] == 5
    assert after(Op.ATOMIC_CAS, old + 1, 5)[1] == old & mask


def test_pairs(target: QemuTarget) -> None:
    ok(target, Record(0, Op.STORE_PAIR, address=DATA, value0=3, value1=4))
    result = ok(target, Record(0, Op.LOAD_PAIR, address=DATA))
    assert (result.data0, result.data1) == (3, 4)
    assert struct.unpack("<2Q", target.read_memory(DATA, 16)) == (3, 4)


def test_fetch(target: QemuTarget) -> None:
    target.write_memory(CODE, RET)
    ok(target, Record(0, Op.FETCH, address=CODE, requester=Requester.PE_FETCH))
    result = one(target, Record(0, Op.FETCH, address=va_of(CODE, World.ROOT, MemoryType.DEVICE)))
    assert (ec(result), result.elr, result.far) == (EC_INSTRUCTION, result.elr, result.elr)


def test_memory_operations(target: QemuTarget) -> None:
    pool = random.Random(1).randbytes(301)
    start = pool_pointer(1)
    target.write_memory(DATA, bytes(512))
    ok(target, Record(0, Op.MEM_WRITE, address=DATA + 3, value0=start, aux=len(pool)), pool)
    assert target.read_memory(DATA, 306) == bytes(3) + pool + bytes(2)
    ok(target, Record(0, Op.MEM_READ, address=DATA + 3, value0=start, aux=len(pool)), bytes(301))
    assert target.read_batch(start, 301) == pool
    ok(target, Record(0, Op.MEM_FILL, address=DATA + 3, value0=0x0807_0605_0403_0201, aux=21))
    assert target.read_memory(DATA + 3, 22) == (bytes(range(1, 9)) * 3)[:21] + pool[21:22]
    ok(target, Record(0, Op.DC_ZVA, address=DATA))
    assert target.read_memory(DATA, 64) == bytes(64)


def test_system_instructions(target: QemuTarget) -> None:
    assert ok(target, Record(0, Op.MRS, aux=MIDR)).data0 == target.info.id_registers["MIDR_EL1"]
    ok(target, Record(0, Op.MSR, aux=TPIDR_EL2, value0=0x1234))
    assert ok(target, Record(0, Op.MRS, aux=TPIDR_EL2)).data0 == 0x1234
    assert ok(target, Record(0, Op.SYS, aux=AT_S1E1R, address=DATA)).par & ((1 << 52) - (1 << 12)) == DATA
    assert ok(target, Record(0, Op.SYS, aux=TLBI_PAALL)).par == 0
    ok(target, Record(0, Op.TLBI_PAALL))
    for op in (Op.MRS, Op.MSR):
        result = one(target, Record(0, op, aux=UNALLOCATED))
        assert (result.status, result.taken, ec(result)) == (Status.DONE, 1, EC_UNKNOWN)


def test_smc_at_el3_is_an_exception_with_its_registers(target: QemuTarget) -> None:
    values = [0x100 + n for n in range(18)]
    start = pool_pointer(1)
    pool = struct.pack("<18Q", *values) + bytes(144)
    result = one(target, Record(0, Op.SMC, value0=start, value1=start + 144), pool=pool)
    assert (result.taken, ec(result), result.vector, result.target_el, result.far) == (1, EC_SMC, 0x200, 3, 0)
    assert list(struct.unpack("<18Q", target.read_batch(start + 144, 144))) == values


def test_dump(target: QemuTarget) -> None:
    start = pool_pointer(1)
    pool = struct.pack("<18Q", *range(7, 25)) + bytes(144)
    record = Record(0, Op.SMC, value0=start, value1=start + 144, flags=RecordFlag.DUMP)
    result = one(target, record, pool=pool)
    dump = decode_dump(target.read_batch(start + 288, DUMP_SIZE))
    assert dump.x[:18] == tuple(range(7, 25))
    assert (dump.pc, dump.pstate) == (result.elr, result.spsr)
    assert dump.system[GPCCR] == target.info.id_registers["GPCCR_EL3"]
    assert len(dump.q) == 32 and len(dump.system) > 50


@pytest.mark.parametrize(
    ("record", "status"),
    [
        (Record(0, Op.MEM_FILL, address=DATA, aux=8, state=World.REALM, el=2), Status.UNSUPPORTED),
        (Record(0, Op.LOAD, address=DATA, state=World.SECURE, el=3), Status.UNSUPPORTED),
        (Record(0, Op.LOAD, address=DATA, state=World.ROOT, el=1), Status.UNSUPPORTED),
        (Record(0, Op.LOAD, address=DATA, state=World.REALM, el=4), Status.UNSUPPORTED),
        (Record(0, Op.LOAD, address=DATA, pe=1), Status.UNSUPPORTED),
        (Record(0, Op.LOAD, address=DATA, state=World.REALM), Status.UNSUPPORTED),
        (Record(0, Op.LOAD, address=DATA, el=2), Status.UNSUPPORTED),
        (Record(0, Op.LOAD, address=DATA, requester=Requester.SMMU), Status.UNSUPPORTED),
        (Record(0, 99), Status.REFUSED),
        (Record(0, Op.LOAD, 4, address=DATA), Status.REFUSED),
        (Record(0, Op.LOAD, address=DATA, flags=1 << 9), Status.REFUSED),
        (Record(0, Op.LOAD, address=DATA, reserved1=1), Status.REFUSED),
        (Record(0, Op.MRS, aux=AT_S1E1R), Status.REFUSED),
        (Record(0, Op.SYS, aux=MIDR), Status.REFUSED),
        (Record(0, Op.MEM_READ, address=DATA, value0=64, aux=1 << 40), Status.REFUSED),
        (Record(0, Op.SMC, value0=1 << 30), Status.REFUSED),
    ],
)
def test_what_cannot_be_done_is_said(target: QemuTarget, record: Record, status: Status) -> None:
    result = one(target, record)
    assert (result.status, result.taken, result.esr) == (status, 0, 0)


def test_an_exception_has_its_whole_syndrome_and_the_next_result_nothing_of_it(target: QemuTarget) -> None:
    bad, good, undefined = target.run(
        Batch(
            records=[
                Record(0, Op.LOAD, address=HOLE),
                Record(0, Op.LOAD, address=DATA),
                Record(0, Op.MRS, aux=UNALLOCATED),
            ]
        )
    )
    assert (bad.taken, bad.target_el, bad.vector, ec(bad), bad.far) == (1, 3, 0x200, EC_DATA, HOLE)
    assert bad.elr and bad.spsr & 0xF == 0xD and bad.scr
    assert good._replace(id=0, status=0, data0=0) == Result._make([0] * len(Result._fields))
    assert (ec(undefined), undefined.far, undefined.mfar) == (EC_UNKNOWN, 0, 0)


def context_of(target: QemuTarget, l1_pattern: int) -> tuple[RegisterEntry, ...]:
    """Write a GPT whose third gigabyte has this Granules descriptor all over, and say how to switch it on."""
    l0 = target.info.layout.tables.base
    entries = [ANY] * 64
    entries[2] = l0 + (1 << 20) | 3
    target.write_memory(l0, struct.pack("<64Q", *entries))
    target.write_memory(l0 + (1 << 20), struct.pack("<Q", l1_pattern) * 16384)
    return RegisterEntry(GPTBR, l0 >> 12), RegisterEntry(GPCCR, GPC_ON)


def test_a_context_is_in_force_for_the_batch_and_gone_after_it(target: QemuTarget) -> None:
    context = context_of(target, 0xAAAA_AAAA_AAAA_AAA0)
    records = [Record(0, Op.LOAD, address=DATA + 4096 * n) for n in range(2)] + [Record(0, Op.MRS, aux=GPCCR)]
    denied, allowed, gpccr = target.run(Batch(records=records, context=context))
    assert (ec(denied), denied.esr & 0x3F, denied.far) == (EC_DATA, GPF, DATA)
    assert (allowed.taken, gpccr.data0) == (0, GPC_ON)
    assert ok(target, Record(0, Op.MRS, aux=GPCCR)).data0 == target.info.id_registers["GPCCR_EL3"]
    assert ok(target, Record(0, Op.MRS, aux=GPTBR)).data0 == 0
    ok(target, Record(0, Op.LOAD, address=DATA))


def test_a_context_that_cannot_be_set_is_the_callers_fault(target: QemuTarget) -> None:
    with pytest.raises(MisuseError, match="register 1 of the batch's context cannot be set"):
        target.run(Batch(records=[Record(0, Op.NOP)], context=(RegisterEntry(GPTBR, 5), RegisterEntry(UNALLOCATED, 1))))
    assert ok(target, Record(0, Op.MRS, aux=GPTBR)).data0 == 0


@pytest.mark.parametrize("flags", [RecordFlag.NONE, RecordFlag.TLBI_BEFORE])
@pytest.mark.parametrize("pas", World)
@pytest.mark.parametrize("op", [Op.LOAD, Op.STORE, Op.LOAD_PAIR, Op.FETCH, Op.MEM_FILL, Op.STORE_EXCLUSIVE, Op.DC_ZVA])
def test_a_gpccr_under_which_all_faults_is_survived(target: QemuTarget, op: Op, pas: World, flags: RecordFlag) -> None:
    address = va_of(DATA + 0x123_4000, pas)
    records = [
        Record(0, Op.TLBI_PAALL),
        Record(0, op, address=address, aux=8, flags=flags),
        Record(0, Op.MRS, aux=GPCCR),
        Record(0, Op.LOAD, address=DATA),
    ]
    _, result, gpccr, load = target.run(Batch(records=records, registers={1: (RegisterEntry(GPCCR, ALL_FAULT),)}))
    assert (result.status, result.taken, ec(result)) == (Status.DONE, 1, EC_GPC)
    assert (gpccr.data0, load.taken) == (target.info.id_registers["GPCCR_EL3"], 0)


def test_many_malformed_gpccr_in_one_batch(target: QemuTarget) -> None:
    records, registers = [], {}
    for index in range(512):
        registers[index] = (RegisterEntry(GPCCR, ALL_FAULT),)
        records.append(Record(0, Op.LOAD, address=DATA + 4096 * (index * 37 % 1000), flags=RecordFlag.TLBI_BEFORE))
    results = target.run(Batch(records=records, registers=registers))
    assert {(r.taken, ec(r)) for r in results} == {(1, EC_GPC)}


def test_register_lists_are_put_back_in_reverse(target: QemuTarget) -> None:
    twice = (RegisterEntry(TPIDR_EL2, 5), RegisterEntry(TPIDR_EL2, 7))
    ok(target, Record(0, Op.MSR, aux=TPIDR_EL2, value0=1))
    read = Record(0, Op.MRS, aux=TPIDR_EL2)
    keep = read._replace(flags=RecordFlag.KEEP_REGS)
    registers = {0: twice, 2: (RegisterEntry(TPIDR_EL2, 9),)}
    results = target.run(Batch(records=[read, read, keep, read], registers=registers))
    assert [r.data0 for r in results] == [7, 1, 9, 9]


@pytest.mark.parametrize("length", [1, 2, 31, 32])
def test_a_register_that_cannot_be_set_is_reported_and_the_others_put_back(target: QemuTarget, length: int) -> None:
    ok(target, Record(0, Op.MSR, aux=TPIDR_EL2, value0=1))
    read = Record(0, Op.MRS, aux=TPIDR_EL2)
    list_ = [RegisterEntry(TPIDR_EL2, 100 + n) for n in range(length)]
    list_[length // 2] = RegisterEntry(UNALLOCATED, 1)
    result, after = target.run(Batch(records=[read, read], registers={0: tuple(list_)}))
    assert (result.status, result.taken, ec(result), result.data0) == (Status.REG_FAULT, 1, EC_UNKNOWN, 0)
    assert after.data0 == 1


def test_a_list_that_is_too_long_is_refused(target: QemuTarget) -> None:
    result = one(target, Record(0, Op.NOP), [RegisterEntry(TPIDR_EL2, n) for n in range(33)])
    assert result.status == Status.REFUSED


def test_a_window_reaches_any_address_in_any_pas(target: QemuTarget) -> None:
    pa = 0xF_FFFF_C000_0000 & ~((1 << 30) - 1)
    descriptor = pa & ((1 << 50) - 1) | (pa >> 50) << 8 | 1 << 10 | 1 << 5 | 1
    target.write_memory(target.info.layout.windows_l1, descriptor.to_bytes(8, "little"))
    result = one(target, Record(0, Op.LOAD, address=16 << 39 | 0x1000))
    assert (result.taken, result.far, ec(result)) == (1, 16 << 39 | 0x1000, EC_DATA)
    assert result.esr & 0x3F == 0x10  # external abort: translated, and nothing answers there


def random_batch(rng: random.Random) -> Batch:
    sized = (Op.LOAD, Op.STORE, Op.LOAD_EXCLUSIVE, Op.ATOMIC_ADD, Op.ATOMIC_SWAP, Op.ATOMIC_CAS, Op.FETCH, Op.NOP)
    records, registers = [], {}
    for index in range(60):
        address = va_of(DATA + 8 * rng.randrange(1 << 16), rng.choice(list(World)))
        record = Record(0, rng.choice(sized), rng.randrange(4), address=address, value0=rng.getrandbits(64))
        if record.op == Op.FETCH:
            record = record._replace(address=va_of(DATA, rng.choice([World.REALM, World.SECURE])))
        if rng.random() < 0.2:
            registers[index] = (RegisterEntry(GPCCR, ALL_FAULT),)
            record = record._replace(flags=RecordFlag.TLBI_BEFORE)
        records.append(record)
    return Batch(records=records, registers=registers, pool=rng.randbytes(100))


def test_wire_only_and_mailbox_agree_bit_for_bit(target: QemuTarget, make_target: MakeTarget) -> None:
    wired = make_target(wire_only=True)
    rng = random.Random(20)
    data = rng.randbytes(2048) + bytes(4096) + rng.randbytes(33)
    answers = []
    for machine in (target, wired):
        machine.power_cycle()
        machine.write_memory(DATA, data)
        assert machine.read_memory(DATA, len(data)) == data
        encoded = random_batch(random.Random(21)).encode()
        answers.append((machine.run_encoded(encoded), machine.read_memory(DATA, 512)))
    assert answers[0] == answers[1]


def test_a_bad_address_over_the_wire_is_an_answer(make_target: MakeTarget) -> None:
    wired = make_target(wire_only=True)
    with pytest.raises(Exception, match="the probe refused READ: FAULT="):
        wired.read_memory(HOLE, 16)
    with pytest.raises(Exception, match="the probe refused WRITE: RANGE"):
        wired.write_memory(1 << 39, b"12345678")
    wired.write_memory(DATA, b"12345678")
    assert wired.read_memory(DATA, 8) == b"12345678"
