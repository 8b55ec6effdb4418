"""Two PEs on a real QEMU: groups as barriers, records at the same time, results of each, and a PE that is lost."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.errors import MisuseError, TargetLostError, TargetProtocolError
from harness.probe.banner import parse_banner
from harness.probe.batch import Batch, decode_header, pool_pointer
from harness.probe.lower import STATES
from harness.probe.records import (
    RECORD,
    RECORD_SIZE,
    BatchFlag,
    Op,
    Record,
    RecordFlag,
    RegisterEntry,
    Status,
    World,
    sysreg_encoding,
)
from harness.targets.qemu import QemuTarget
from harness.targets.target import TargetOptions

DATA = 0x8000_0000
CODE = 0x8100_0000
SPIN = 0x8180_0000
FLAG = 0x8200_0000
HOLE = 0x2_0000_0000
PROBE = 0x4020_0000

MPIDR = sysreg_encoding(3, 0, 0, 0, 5)
MIDR = sysreg_encoding(3, 0, 0, 0, 0)
TPIDR_EL2 = sysreg_encoding(3, 4, 13, 0, 2)
GPCCR = sysreg_encoding(3, 6, 2, 1, 6)
GPTBR = sysreg_encoding(3, 6, 2, 1, 4)
ALL_FAULT = 1 << 16 | 3 << 14 | 1 << 12 | 7
PES = 2
EC_DATA = 0x25

Make = Callable[..., QemuTarget]


@pytest.fixture(scope="module")
def make(qemu_argv: tuple[str, ...], probe_elf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Make]:
    """Machines with two PEs that both start at the probe; they are off after the tests."""
    made: list[QemuTarget] = []

    def start(*, timeout_scale: float = 1.0, pes: int = PES, wire_only: bool = False) -> QemuTarget:
        extra = ["-smp", str(pes)]
        for pe in range(1, pes):
            extra += ["-device", f"loader,addr={PROBE:#x},cpu-num={pe}"]
        made.append(
            QemuTarget(
                qemu_argv=qemu_argv,
                probe_elf=probe_elf,
                log_directory=tmp_path_factory.mktemp("logs"),
                options=TargetOptions(timeout_scale=timeout_scale, wire_only=wire_only),
                extra_args=extra,
            )
        )
        made[-1].power_on()
        return made[-1]

    yield start
    for target in made:
        target.power_off()


@pytest.fixture(scope="module")
def target(make: Make) -> QemuTarget:
    return make()


def put_code(target: QemuTarget, address: int, *words: int) -> None:
    code = struct.pack(f"<{len(words)}I", *words)
    write = Record(0, Op.MEM_WRITE, address=address, value0=pool_pointer(1), aux=len(code))
    assert target.run(Batch(records=[write], pool=code))[0].taken == 0


def test_the_banner_counts_the_pes(target: QemuTarget) -> None:
    assert parse_banner(target.info.banner).pes == PES


def test_each_pe_runs_its_records(target: QemuTarget) -> None:
    results = target.run(Batch(records=[Record(0, Op.MRS, aux=MPIDR, pe=index % PES) for index in range(50)]))
    expected = [(index % PES, index % PES) for index in range(50)]
    assert [(result.pe, result.data0 & 0xFF) for result in results] == expected


def test_a_group_is_whole_before_the_next_begins(target: QemuTarget) -> None:
    """Both PEs store in a group, and each loads in the next what the other stored."""
    records = []
    for group in range(0, 400, 2):
        for pe in range(PES):
            records.append(Record(0, Op.STORE, address=DATA + 64 * pe, value0=1000 + group + pe, pe=pe, group=group))
        for pe in range(PES):
            records.append(Record(0, Op.LOAD, address=DATA + 64 * (1 - pe), pe=pe, group=group + 1))
    results = target.run(Batch(records=records))
    for index in range(0, len(results), 2 * PES):
        group = results[index].group
        assert [result.data0 for result in results[index + 2 : index + 4]] == [1001 + group, 1000 + group]
        assert [result.group for result in results[index : index + 4]] == [group, group, group + 1, group + 1]


def test_pes_run_a_group_at_the_same_time(target: QemuTarget) -> None:
    """PE 0 waits for a store that PE 1 makes in the same group, and the other way round."""
    put_code(target, CODE, 0xF9400023, 0xB4FFFFE3, 0xD65F03C0)  # ldr x3, [x1]; cbz x3, .-4; ret
    for waits in range(PES):
        target.write_memory(FLAG, bytes(8))
        wait = Record(0, Op.FETCH, address=CODE, value0=FLAG, pe=waits, group=1)
        store = Record(0, Op.STORE, address=FLAG, value0=1, pe=1 - waits, group=1)
        assert [result.taken for result in target.run(Batch(records=[wait, store]))] == [0, 0]


def test_patched_code_and_registers_are_each_pes_own(target: QemuTarget) -> None:
    """Both PEs set TPIDR_EL2 and read different registers, at EL3 and below, hundreds of times at once."""
    records, registers = [], {}
    for index in range(400):
        pe = index % PES
        cell = {"state": World.REALM, "el": 2} if index % 4 < 2 else {}
        records.append(Record(0, Op.MRS, aux=(TPIDR_EL2, MPIDR)[index // 4 % 2], pe=pe, **cell))
        registers[index] = (RegisterEntry(TPIDR_EL2, 5000 + index),)
    results = target.run(Batch(records=records, registers=registers))
    for index, result in enumerate(results):
        expected = 5000 + index if records[index].aux == TPIDR_EL2 else index % PES
        assert (result.taken, result.data0 & 0xFFFF) == (0, expected), index


def test_a_pe_that_is_slow_is_not_lost(target: QemuTarget) -> None:
    """The first PE waits at the barrier for longer than two seconds, while the other has ten records interrupted."""
    put_code(target, SPIN, 0x14000000)  # b .
    records = [Record(0, Op.FETCH, address=SPIN, pe=1, state=World.REALM, el=1)] * 10
    assert {result.status for result in target.run(Batch(records=records))} == {Status.HUNG}


def test_exceptions_of_both(target: QemuTarget) -> None:
    cells = [(state, el) for state in STATES for el in (2, 1)]
    records = [
        Record(0, Op.LOAD, address=HOLE + 8 * index, pe=index % PES, state=state, el=el)
        for index, (state, el) in enumerate(cells * 20)
    ]
    for record, result in zip(records, target.run(Batch(records=records)), strict=True):
        assert (result.status, result.taken, result.target_el, result.pe) == (Status.DONE, 1, record.el, record.pe)
        assert (result.esr >> 26, result.far) == (EC_DATA, record.address)


def test_the_context_is_every_pes(target: QemuTarget) -> None:
    target.write_memory(0x5000_0000, struct.pack("<64Q", *[0xF1] * 64))
    gpccr = 1 << 16 | 3 << 12 | 1 << 10 | 1 << 8 | 1
    context = (RegisterEntry(GPTBR, 0x50000), RegisterEntry(GPCCR, gpccr))
    read = [Record(0, Op.MRS, aux=GPCCR, pe=pe) for pe in range(PES)]
    assert [result.data0 for result in target.run(Batch(records=read, context=context))] == [gpccr] * PES
    assert [result.data0 for result in target.run(Batch(records=read))] == [target.info.id_registers["GPCCR_EL3"]] * PES
    with pytest.raises(MisuseError, match="register 1 of the batch's context"):
        unallocated = RegisterEntry(sysreg_encoding(3, 6, 15, 15, 7), 1)
        target.run(Batch(records=read, context=(context[0], unallocated)))
    assert [result.taken for result in target.run(Batch(records=read))] == [0] * PES


def test_a_pe_that_is_not_there(target: QemuTarget) -> None:
    results = target.run(Batch(records=[Record(0, Op.MRS, aux=MPIDR, pe=pe) for pe in (0, 1, 2, 255)]))
    assert [result.status for result in results] == [Status.DONE, Status.DONE, Status.UNSUPPORTED, Status.UNSUPPORTED]


def test_three_pes(make: Make) -> None:
    target = make(pes=3)
    records = [Record(0, Op.ATOMIC_ADD, address=DATA, value0=1, pe=index % 3, group=index) for index in range(90)]
    target.write_memory(DATA, bytes(8))
    assert [result.data0 for result in target.run(Batch(records=records))] == list(range(90))


def test_the_wire_carries_batches_of_two_pes(make: Make) -> None:
    wired = make(wire_only=True)
    records = [Record(0, Op.MRS, aux=MPIDR, pe=index % PES, group=index) for index in range(4)]
    assert [result.data0 & 0xFF for result in wired.run(Batch(records=records))] == [0, 1, 0, 1]


def test_groups_that_go_back_are_refused(target: QemuTarget) -> None:
    records = [Record(0, Op.NOP, group=2), Record(0, Op.NOP, group=1)]
    with pytest.raises(MisuseError, match="ordering groups must not decrease"):
        Batch(records=records).encode()
    encoded = Batch(records=[Record(0, Op.NOP, group=1)] * 2).encode()
    header = decode_header(encoded.image)
    assert header.flags == BatchFlag.PES
    image = bytearray(encoded.image)
    RECORD.pack_into(image, header.records_offset + RECORD_SIZE, *Record(1, Op.NOP))
    broken = type(encoded)(bytes(image), encoded.count, encoded.results_offset, encoded.size)
    with pytest.raises(TargetProtocolError, match="because of its layout"):
        target.run_encoded(broken)


def test_without_groups_or_pes_the_others_sleep() -> None:
    assert decode_header(Batch(records=[Record(0, Op.NOP)]).encode().image).flags == BatchFlag.NONE


def test_a_lost_pe_is_said(make: Make) -> None:
    target = make()
    put_code(target, CODE, 0x14000000)  # b .
    stuck = Record(0, Op.FETCH, address=CODE, pe=1)
    for _ in range(2):
        with pytest.raises(TargetLostError, match="a PE of the probe came to no barrier any more; only a reset"):
            target.run(Batch(records=[stuck, Record(0, Op.NOP)]))
    alone = target.run(Batch(records=[Record(0, Op.MRS, aux=MIDR)]))  # the first PE is still there
    assert alone[0].status == Status.DONE
    target.power_cycle()
    assert target.run(Batch(records=[Record(0, Op.MRS, aux=MPIDR, pe=1)]))[0].data0 & 0xFF == 1


def test_a_fault_of_the_second_pe_itself_is_reported(make: Make) -> None:
    target = make()
    keep = RecordFlag.KEEP_REGS | RecordFlag.TLBI_BEFORE | RecordFlag.DESTRUCTIVE
    record = Record(0, Op.LOAD, address=DATA, flags=keep, pe=1)
    batch = Batch(records=[Record(0, Op.NOP), record], registers={1: (RegisterEntry(GPCCR, ALL_FAULT),)})
    with pytest.raises(TargetLostError, match=r"the probe stopped after a fault of its own: .* index=1 pe=1"):
        target.run(batch)
