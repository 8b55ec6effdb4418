"""Reading the tables of a machine: spans against a walk of every granule, and a real TF-A's registers and memory."""

from __future__ import annotations

import ctypes
import itertools
import os
import random
from collections.abc import Iterator

import pytest

import images
from harness.boot import StackMachine, prepare, tables
from harness.boot.physical import Block, NotReadableError, PhysicalMemory, blocks
from harness.boot.tables import Announced, Tables, snapshot, state_of
from harness.errors import TargetProtocolError
from refmodel.gpt.build import Geometry, GPTBuilder
from refmodel.gpt.decode import GPT_Any, GPT_NonSecure, GPT_Realm, GPT_Root, GPT_Secure, GPTRange_2MB
from refmodel.gpt.types import PGSe
from refmodel.memory import Memory, MemoryMap, Region, RegionKind

BASE = 0x4000_0000
GIB = 1 << 30
RAMBLOCKS = """\
              Block Name    PSize              Offset               Used              Total                HVA  RO
                    ram0    4 KiB  0x0000000000000000 0x{ram:016x} 0x{ram:016x} 0x{host:016x}  rw
             virt.flash0    4 KiB  0x0000000080000000 0x0000000004000000 0x0000000004000000 0x00007f7033e00000  rw
      /rom@etc/acpi/table    4 KiB  0x0000000088000000 0x0000000001000000 0x0000000001000000 0x00007f703ec00000  ro
"""


class Sample:
    """A machine that is this process; RAM is a Python buffer."""

    def __init__(self, ram: bytes) -> None:
        self.buffer = ctypes.create_string_buffer(ram, len(ram))
        self.text = RAMBLOCKS.format(ram=len(ram), host=ctypes.addressof(self.buffer))
        self.pid = os.getpid()

    def human(self, line: str) -> str:
        assert line == "info ramblock"
        return self.text


def built(pgs: PGSe, seed: int) -> tuple[GPTBuilder, int]:
    """Tables with everything in them: blocks, contiguous ranges, mixed and reserved granules; (builder, bytes)."""
    made = GPTBuilder(Geometry(pgs=pgs, pps=32, l0gptsz=30), BASE, 1 << 20)
    rng = random.Random(seed)
    made.block(0, GPT_Any)
    made.block(2 * GIB, GPT_NonSecure)
    made.table(GIB)
    made.table(3 * GIB)
    for place in range(200):
        pa = GIB + rng.randrange(GIB // (1 << pgs.bits)) * (1 << pgs.bits)
        made.granule(pa, 0b0101 if place % 20 == 0 else rng.choice([GPT_Secure, GPT_Root, GPT_Realm, GPT_Any]))
    made.contiguous(3 * GIB, GPTRange_2MB, GPT_Realm)
    return made, 1 << 20


@pytest.mark.parametrize(("pgs", "seed", "stride"), [(PGSe.PGS_64KB, 1, 1), (PGSe.PGS_16KB, 2, 7)])
def test_spans_are_what_a_walk_of_granules_finds(pgs: PGSe, seed: int, stride: int) -> None:
    made, size = built(pgs, seed)
    ram = bytearray(size)
    for pa, data in made.writes():
        ram[pa - BASE : pa - BASE + len(data)] = data
    registers = {"GPCCR_EL3": made.geometry.gpccr().value, "GPTBR_EL3": BASE >> 12}
    found = snapshot(PhysicalMemory(Sample(bytes(ram))), state_of(registers))
    spans = found.spans()
    assert spans[0].base == 0 and spans[-1].end == 4 * GIB
    assert all(a.end == b.base and (a.gpi, a.why) != (b.gpi, b.why) for a, b in itertools.pairwise(spans))
    index = 0
    for pa in range(0, 4 * GIB, stride << pgs.bits):
        while spans[index].end <= pa:
            index += 1
        assert found.gpi(pa) == spans[index].gpi, hex(pa)
    assert any(span.gpi is None and "walk fault, level 1" in span.why for span in spans)


def test_level_0_alone() -> None:
    geometry = Geometry(pgs=PGSe.PGS_4KB, pps=32, l0gptsz=34)
    made = GPTBuilder(geometry, BASE, 1 << 16)
    made.block(0, GPT_Root)
    memory = Memory(MemoryMap((Region(BASE, 1 << 20, RegionKind.RAM),)))
    for pa, data in made.writes():
        memory.write(pa, data)
    gpc = state_of({"GPCCR_EL3": geometry.gpccr().value, "GPTBR_EL3": BASE >> 12})
    (span,) = Tables(gpc, memory, ()).spans()
    assert (span.base, span.end, span.gpi) == (0, 16 * GIB, GPT_Root)


def test_blocks_have_their_places() -> None:
    found = blocks(Sample(bytes(8192)))
    assert [(block.name, block.base, block.size) for block in found] == [
        ("virt.flash0", 0, 0x0400_0000),
        ("ram0", BASE, 8192),
    ]
    empty = Sample(b"x")
    empty.text = "nothing\n"
    with pytest.raises(TargetProtocolError, match="names no RAM block"):
        blocks(empty)


def test_what_cannot_be_read_is_never_zeros() -> None:
    memory = PhysicalMemory(Sample(bytes(range(256))))
    assert memory.read(BASE + 16, 4) == bytes([16, 17, 18, 19])
    with pytest.raises(NotReadableError, match="no memory at 0x40000100, 1 bytes"):
        memory.read(BASE + 256, 1)
    memory.blocks = (Block("ram0", BASE, 4096, 16),)  # nothing is mapped there
    with pytest.raises(NotReadableError, match="QEMU's memory cannot be read on this host: Input/output error"):
        memory.read(BASE, 8)
    other = Sample(bytes(16))
    other.pid = 1 << 22
    with pytest.raises(NotReadableError, match="cannot be read on this host: No such file"):
        PhysicalMemory(other).read(BASE, 8)


LOG = """INFO:    GPT: Boot Configuration\r
INFO:      PPS/T:     0x2/40\r
INFO:      PGS/P:     0x0/12\r
INFO:      L0GPTSZ/S: 0x0/30\r
INFO:      PAS count: 6\r
INFO:      L0 base:   0xeefc000\r
"""


def test_what_tf_a_announces() -> None:
    assert tables.announced(LOG) == Announced(pps=40, pgs=12, l0gptsz=30, pas_count=6, l0_base=0xEEFC000)
    with pytest.raises(TargetProtocolError, match=r"the firmware's log has no line like 'PAS count"):
        tables.announced(LOG.replace("PAS count", "PAS cnt"))


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackMachine]:
    """A real TF-A in the normal world."""
    offline = os.environ.get("REALMCHECK_OFFLINE", "") not in ("", "0")
    try:
        prepared = prepare("tfa-trp", offline=offline)
    except images.ImageError as error:
        if not offline:
            raise
        pytest.skip(str(error))
    made = StackMachine(prepared, logs=tmp_path_factory.mktemp("tfa"))
    made.boot()
    yield made
    made.power_off()


def test_the_machine_runs_on_between_looks(machine: StackMachine) -> None:
    first = tables.read_registers(machine)
    assert first == tables.read_registers(machine)
    assert first["GPTBR_EL3"] << 12 == 0xEEFC000 and first["GPCCR_EL3"] >> 16 & 1
    assert "running" in machine.human("info status")
    with machine.stopped() as debugger:
        assert "paused" in machine.human("info status")
        with pytest.raises(TargetProtocolError, match="QEMU's debugger knows no register X_EL9"):
            debugger.read("X_EL9")


def test_secure_memory_is_read_past_the_check(machine: StackMachine) -> None:
    memory = PhysicalMemory(machine)
    found = snapshot(memory, state_of(tables.read_registers(machine)))
    assert [found.gpi(pa) for pa in (0x0E00_1000, 0x0E10_0000, 0x4010_0000, 0x6000_0000)] == [
        GPT_Root, GPT_Secure, GPT_Realm, GPT_NonSecure,
    ]  # fmt: skip
    assert memory.read(0x6000_0000, 8) == bytes.fromhex("5f2003d5ffffff17") == machine.ram.read(0x2000_0000, 8)


def test_tf_a_reaches_the_normal_world_in_time(machine: StackMachine) -> None:
    assert machine.reached[-1].stage == "normal-world" and machine.reached[-1].at < 5
