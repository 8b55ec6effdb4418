"""Operations of the probe at every EL on a real QEMU, under a stage 1 that makes memory Normal below EL3."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from harness.probe.banner import parse_banner
from harness.probe.batch import Batch, pool_pointer
from harness.probe.lower import hcr
from harness.probe.records import Op, Record, RegisterEntry, Requester, Result, Status, World, sysreg_encoding
from harness.probe.regime import IdentityMap, Regime
from harness.targets.qemu import QemuTarget

DATA = 0x8000_0000
CODE = 0x8200_0000
STAGE_1 = 0x5100_0000
UNMAPPED = 1 << 39
RET = (0xD65F03C0).to_bytes(4, "little")

GPCCR = sysreg_encoding(3, 6, 2, 1, 6)
GPTBR = sysreg_encoding(3, 6, 2, 1, 4)
GPC_ON = 1 << 16 | 3 << 12 | 1 << 10 | 1 << 8 | 1  # PPS 36 bits, PGS 4 KB
EC_UNKNOWN, EC_SYSTEM, EC_DATA_LOWER, EC_DATA = 0x00, 0x18, 0x24, 0x25
GPF = 0x28

EL3 = (World.ROOT, 3)
CELLS = [EL3, (World.REALM, 2), (World.REALM, 1), (World.REALM, 0), (World.SECURE, 1), (World.NON_SECURE, 0)]
EVERYWHERE = pytest.mark.parametrize(("state", "el"), CELLS)


def system(op1: int, crm: int, op2: int, crn: int = 7) -> int:
    return sysreg_encoding(1, op1, crn, crm, op2)


@pytest.fixture(scope="module")
def target(
    qemu_argv: tuple[str, ...], probe_elf: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[QemuTarget]:
    made = QemuTarget(qemu_argv=qemu_argv, probe_elf=probe_elf, log_directory=tmp_path_factory.mktemp("logs"))
    made.power_on()
    tables = IdentityMap(STAGE_1, parse_banner(made.info.banner).lower)
    made.write_memory(STAGE_1, tables.tables())
    write = Record(0, Op.MEM_WRITE, address=CODE, value0=pool_pointer(1), aux=len(RET))
    made.run(Batch(records=[write], pool=RET))
    yield made
    made.power_off()


def run(target: QemuTarget, state: World, el: int, *records: Record) -> Sequence[Result]:
    """Run records at a state and EL with memory mapped as Normal, in EL1&0 or EL2."""
    tables = IdentityMap(STAGE_1, parse_banner(target.info.banner).lower)
    context = () if el == 3 else tables.registers(Regime.EL2 if el == 2 else Regime.EL1_0)
    results = target.run(Batch(records=[r._replace(state=state, el=el) for r in records], context=context))
    assert all(result.status == Status.DONE for result in results)
    return results


def fine(target: QemuTarget, state: World, el: int, record: Record) -> Result:
    (result,) = run(target, state, el, record)
    assert result.taken == 0, result
    return result


@pytest.mark.parametrize("size_log2", range(4))
@EVERYWHERE
def test_sized_operations(target: QemuTarget, state: World, el: int, size_log2: int) -> None:
    old, mask = 0x1122_3344_5566_7788, (1 << (8 << size_log2)) - 1

    def after(op: Op, value0: int = 0, value1: int = 0) -> tuple[Result, int]:
        target.write_memory(DATA, old.to_bytes(8, "little"))
        result = fine(target, state, el, Record(0, op, size_log2, address=DATA, value0=value0, value1=value1))
        return result, int.from_bytes(target.read_memory(DATA, 8), "little") & mask

    for op in (Op.LOAD, Op.LOAD_UNPRIVILEGED, Op.LOAD_EXCLUSIVE):
        assert after(op)[0].data0 == old & mask
    for op in (Op.STORE, Op.STORE_UNPRIVILEGED, Op.ATOMIC_SWAP):
        assert after(op, 7)[1] == 7
    result, stored = after(Op.STORE_EXCLUSIVE, 9)
    assert (result.data0, result.data1, stored) == (old & mask, 0, 9)
    assert after(Op.ATOMIC_ADD, 1)[1] == old + 1 & mask
    assert after(Op.ATOMIC_CAS, old, 5)[1] == 5
    assert after(Op.ATOMIC_CAS, old + 1, 5)[1] == old & mask


@EVERYWHERE
def test_wide_operations(target: QemuTarget, state: World, el: int) -> None:
    values = struct.unpack("<4Q", random.Random(el).randbytes(32))
    crossing = DATA + 0x1000 - 7
    for address in (DATA, crossing):
        target.write_memory(address, struct.pack("<4Q", *values))
        results = run(
            target,
            state,
            el,
            Record(0, Op.LOAD, address=address),
            Record(0, Op.LOAD_PAIR, address=address),
            Record(0, Op.LOAD_SIMD, address=address),
            Record(0, Op.LOAD_SIMD_PAIR, address=address),
        )
        data = [(result.data0, result.data1) for result in results]
        assert data == [(values[0], 0), values[:2], values[:2], (values[0], values[2])]
        for op in (Op.STORE_PAIR, Op.STORE_SIMD):
            fine(target, state, el, Record(0, op, address=address, value0=3, value1=4))
            assert struct.unpack("<4Q", target.read_memory(address, 32)) == (3, 4, *values[2:])
        fine(target, state, el, Record(0, Op.STORE_SIMD_PAIR, address=address, value0=5, value1=6))
        assert struct.unpack("<4Q", target.read_memory(address, 32)) == (5, 0, 6, 0)


@EVERYWHERE
def test_the_second_page_of_a_crossing_access_faults(target: QemuTarget, state: World, el: int) -> None:
    tables = IdentityMap(STAGE_1, parse_banner(target.info.banner).lower)
    l0, window = 0x5000_0000, 0x5010_0000
    target.write_memory(l0, struct.pack("<4Q", 0xF1, 0xF1, window | 3, 0xF1))
    target.write_memory(window, struct.pack("<2Q", 0xFFFF_FFFF_FFFF_FF0F, 0))  # granule 1 of gigabyte 2: no access
    context = [RegisterEntry(GPTBR, l0 >> 12), RegisterEntry(GPCCR, GPC_ON)]
    if el != 3:
        context += tables.registers(Regime.EL2 if el == 2 else Regime.EL1_0)
    ops = [Op.LOAD, Op.STORE, Op.LOAD_PAIR, Op.STORE_PAIR, Op.LOAD_SIMD, Op.STORE_SIMD, Op.LOAD_SIMD_PAIR]
    records = [Record(0, op, address=DATA + 0x1000 - 4, state=state, el=el) for op in ops]
    for result in target.run(Batch(records=records, context=context)):
        assert (result.status, result.taken, result.far, result.esr & 0x3F) == (Status.DONE, 1, DATA + 0x1000, GPF)
        assert result.esr >> 26 in (EC_DATA_LOWER, EC_DATA)


@EVERYWHERE
def test_fetch_prefetch_and_zeroing(target: QemuTarget, state: World, el: int) -> None:
    if el != 1:  # what EL0 may write, EL1 may not execute
        fine(target, state, el, Record(0, Op.FETCH, address=CODE, requester=Requester.PE_FETCH))
    fine(target, state, el, Record(0, Op.PREFETCH, address=UNMAPPED))
    target.write_memory(DATA, b"\xff" * 128)
    fine(target, state, el, Record(0, Op.DC_ZVA, address=DATA))
    assert target.read_memory(DATA, 128) == bytes(64) + b"\xff" * 64


# op1, CRm, op2 with CRn 7, and the lowest EL that may
CACHE = {
    "IVAC": (0, 6, 1, 1),
    "CVAC": (3, 10, 1, 0),
    "CVAU": (3, 11, 1, 0),
    "CVAP": (3, 12, 1, 0),
    "CVADP": (3, 13, 1, 0),
    "CIVAC": (3, 14, 1, 0),
    "CIPAPA": (6, 14, 1, 3),
    "IC IVAU": (3, 5, 1, 0),
    "IC IALLU": (0, 5, 0, 1),
}


@pytest.mark.parametrize("name", CACHE)
@EVERYWHERE
def test_cache_maintenance(target: QemuTarget, state: World, el: int, name: str) -> None:
    op1, crm, op2, lowest = CACHE[name]
    (result,) = run(target, state, el, Record(0, Op.SYS, aux=system(op1, crm, op2), address=DATA))
    if el >= lowest:
        assert result.taken == 0, result
    else:
        assert (result.taken, result.esr >> 26) in ((1, EC_UNKNOWN), (1, EC_SYSTEM))


TLBI = {
    "PAALL": (6, 7, 4),
    "PAALLOS": (6, 1, 4),
    "RPAOS": (6, 4, 3),
    "RPALOS": (6, 4, 7),
    "ALLE3": (6, 7, 0),
    "ALLE1": (4, 7, 4),
    "VMALLE1": (0, 7, 0),
    "VAE1": (0, 7, 1),
}
LOWEST_FOR_TLBI = {6: 3, 4: 2, 0: 1}


@pytest.mark.parametrize("name", TLBI)
@EVERYWHERE
def test_tlb_maintenance_by_encoding(target: QemuTarget, state: World, el: int, name: str) -> None:
    op1, crm, op2 = TLBI[name]
    record = Record(0, Op.SYS, aux=system(op1, crm, op2, crn=8), address=DATA >> 12)
    (result,) = run(target, state, el, record)
    assert result.taken == (el < LOWEST_FOR_TLBI[op1]), result


AT = {
    "S1E1R": (0, 8, 0, 1),
    "S1E1W": (0, 8, 1, 1),
    "S1E0R": (0, 8, 2, 1),
    "S1E0W": (0, 8, 3, 1),
    "S1E1RP": (0, 9, 0, 1),
    "S1E1WP": (0, 9, 1, 1),
    "S1E2R": (4, 8, 0, 2),
    "S1E2W": (4, 8, 1, 2),
    "S12E1R": (4, 8, 4, 2),
    "S12E1W": (4, 8, 5, 2),
    "S12E0R": (4, 8, 6, 2),
    "S12E0W": (4, 8, 7, 2),
    "S1E3R": (6, 8, 0, 3),
    "S1E3W": (6, 8, 1, 3),
}


@pytest.mark.parametrize("name", AT)
@EVERYWHERE
def test_address_translation(target: QemuTarget, state: World, el: int, name: str) -> None:
    """A translation in the regime that is mapped ends in DATA, and beyond the map in a fault."""
    op1, crm, op2, lowest = AT[name]
    records = [Record(0, Op.SYS, aux=system(op1, crm, op2), address=address) for address in (DATA, 63 << 48)]
    good, bad = run(target, state, el, *records)
    if el < lowest:
        assert (good.taken, good.par) == (1, 0)
        return
    assert (good.taken, good.par & 1, good.par & (1 << 52) - (1 << 12)) == (0, 0, DATA)
    own_regime = {1: 1, 4: 2, 6: 3}.get(op1 or 1) == el and not name.startswith("S12")
    assert not own_regime or (bad.taken, bad.par & 1) == (0, 1)


@pytest.mark.parametrize("state", [World.SECURE, World.NON_SECURE, World.REALM])
def test_moves_to_and_from_system_registers(target: QemuTarget, state: World) -> None:
    tpidr = {0: (3, 3, 13, 0, 2), 1: (3, 0, 13, 0, 4), 2: (3, 4, 13, 0, 2)}
    for el, fields in tpidr.items():
        write = Record(0, Op.MSR, aux=sysreg_encoding(*fields), value0=0x1000 + el)
        _, read = run(target, state, el, write, write._replace(op=Op.MRS, value0=0))
        assert read.data0 == 0x1000 + el


def test_more_encodings_than_slots(target: QemuTarget) -> None:
    """Three rounds over ID registers, whose instructions push one another out of the stub page."""
    encodings = [sysreg_encoding(3, 0, 0, crm, op2) for crm in range(4, 8) for op2 in range(8)]
    reads = [Record(0, Op.MRS, aux=encoding) for encoding in encodings]
    at_el3 = [result.data0 for result in run(target, *EL3, *reads)]
    assert len(set(at_el3)) > 10
    below = [result.data0 for result in run(target, World.REALM, 1, *reads * 3)]
    assert below == at_el3 * 3


@pytest.mark.parametrize(("regime", "el"), [(Regime.EL1_0, 1), (Regime.EL2_0, 2)])
def test_unprivileged_accesses_are_checked_as_el0s(target: QemuTarget, regime: Regime, el: int) -> None:
    """A gigabyte that EL0 may not access: LDTR and STTR of the EL above fault where LDR and STR do not."""
    tables = IdentityMap(STAGE_1, parse_banner(target.info.banner).lower)
    private = STAGE_1 + 0x10_0000
    level1 = bytearray(tables.tables())
    struct.pack_into("<Q", level1, 8 * 4, 4 << 30 | 1 << 10 | 0b11 << 8 | 1)  # AP[2:1] 00
    target.write_memory(private, bytes(level1))
    context = [*hcr(e2h=el == 2, tge=el == 2), *tables.registers(regime)]
    context += [RegisterEntry(entry.encoding, private) for entry in context if entry.value == STAGE_1]
    ops = (Op.LOAD, Op.STORE, Op.LOAD_UNPRIVILEGED, Op.STORE_UNPRIVILEGED)
    records = [Record(0, op, address=4 << 30, state=World.NON_SECURE, el=el) for op in ops]
    results = target.run(Batch(records=records, context=context))
    assert [(result.taken, result.esr & 0x3F) for result in results] == [(0, 0), (0, 0), (1, 0x0D), (1, 0x0D)]
