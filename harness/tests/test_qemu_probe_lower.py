"""Records below EL3 on a real QEMU: every state and EL, regimes, routing of exceptions, and what cannot be entered."""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from harness.errors import MisuseError
from harness.probe import lower
from harness.probe.banner import parse_banner
from harness.probe.batch import Batch, pool_pointer
from harness.probe.dump import decode_dump
from harness.probe.lower import STATES, LowerPages, hcr, scr
from harness.probe.records import (
    DUMP_SIZE,
    Op,
    Record,
    RecordFlag,
    RegisterEntry,
    Result,
    ResultFlag,
    Status,
    World,
    sysreg_encoding,
)
from harness.probe.regime import IdentityMap, Regime
from harness.targets.qemu import QemuTarget
from harness.tests.conftest import MakeTarget

DATA = 0x8000_0000
CODE = 0x8100_0000
HOLE = 0x2_0000_0000
TABLES = 0x5000_0000
STAGE_1 = TABLES + (16 << 20)
RET = (0xD65F03C0).to_bytes(4, "little")

GPCCR = sysreg_encoding(3, 6, 2, 1, 6)
GPTBR = sysreg_encoding(3, 6, 2, 1, 4)
CURRENT_EL = sysreg_encoding(3, 0, 4, 2, 2)
TPIDR_EL0 = sysreg_encoding(3, 3, 13, 0, 2)
MIDR = sysreg_encoding(3, 0, 0, 0, 0)
GPC_ON = 1 << 16 | 3 << 12 | 1 << 10 | 1 << 8 | 1  # PPS 36 bits, PGS 4 KB
ANY_BLOCK = 0xF << 4 | 1

GPI = {World.SECURE: 0x8, World.NON_SECURE: 0x9, World.ROOT: 0xA, World.REALM: 0xB}
GPI_NONE, GPI_ANY = 0x0, 0xF
EC_UNKNOWN, EC_ILLEGAL, EC_SVC, EC_HVC, EC_SMC, EC_GPC = 0x00, 0x0E, 0x15, 0x16, 0x17, 0x1E
EC_FETCH_LOWER, EC_FETCH, EC_DATA_LOWER, EC_DATA = 0x20, 0x21, 0x24, 0x25
GPF, TRANSLATION_1, TRANSLATION_3 = 0x28, 0x05, 0x07

CELLS = [(state, el) for state in STATES for el in (2, 1, 0)]
EVERYWHERE = pytest.mark.parametrize(("state", "el"), CELLS)


@pytest.fixture(scope="module")
def target(
    qemu_argv: tuple[str, ...], probe_elf: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[QemuTarget]:
    made = QemuTarget(qemu_argv=qemu_argv, probe_elf=probe_elf, log_directory=tmp_path_factory.mktemp("logs"))
    made.power_on()
    yield made
    made.power_off()


@pytest.fixture(scope="module")
def pages(target: QemuTarget) -> LowerPages:
    return pages_of(target)


def pages_of(target: QemuTarget) -> LowerPages:
    return LowerPages(parse_banner(target.info.banner).lower)


def ec(result: Result) -> int:
    return result.esr >> 26


def run(
    target: QemuTarget,
    records: Sequence[Record],
    context: Sequence[RegisterEntry] = (),
    registers: dict[int, tuple[RegisterEntry, ...]] | None = None,
    pool: bytes = b"",
) -> Sequence[Result]:
    return target.run(Batch(records=records, context=context, registers=registers, pool=pool))


def one(target: QemuTarget, record: Record, context: Sequence[RegisterEntry] = (), pool: bytes = b"") -> Result:
    return run(target, [record], context, pool=pool)[0]


def ok(target: QemuTarget, record: Record, context: Sequence[RegisterEntry] = (), pool: bytes = b"") -> Result:
    result = one(target, record, context, pool)
    assert (result.status, result.taken, result.flags) == (Status.DONE, 0, 0), result
    return result


def put_code(target: QemuTarget, code: bytes) -> None:
    """Write code by the probe: QEMU does not see that what it has translated is overwritten from outside."""
    ok(target, Record(0, Op.MEM_WRITE, address=CODE, value0=pool_pointer(1), aux=len(code)), pool=code)


def gpt(
    target: QemuTarget, window: int = 0, denied: Sequence[int] = (), exact: World | None = None
) -> tuple[RegisterEntry, ...]:
    """A GPT that is open but for ``denied`` 64 KB blocks of gigabyte 1; ``window`` is the descriptor of gigabyte 2.

    ``exact``: the probe's pages of each state have that state's GPI only.
    """
    l1, window_l1 = TABLES + (1 << 20), TABLES + (2 << 20)
    entries = [ANY_BLOCK] * 64
    entries[1], entries[2] = l1 | 3, window_l1 | 3
    blocks = [0xFFFF_FFFF_FFFF_FFFF] * 16384
    for pa in denied:
        blocks[pa % (1 << 30) >> 16] = 0
    if exact is not None:
        for page in pages_of(target).of(exact):
            blocks[page.base % (1 << 30) >> 16] = 0x1111_1111_1111_1111 * GPI[exact]
    target.write_memory(TABLES, struct.pack("<64Q", *entries))
    target.write_memory(l1, struct.pack("<16384Q", *blocks))
    target.write_memory(window_l1, struct.pack("<Q", window) * 16384)
    return RegisterEntry(GPTBR, TABLES >> 12), RegisterEntry(GPCCR, GPC_ON)


def mapped(
    target: QemuTarget, regime: Regime, *, ns: bool = False, absent: Sequence[int] = ()
) -> tuple[RegisterEntry, ...]:
    """An identity map in force in ``regime``."""
    tables = IdentityMap(STAGE_1, pages_of(target).base, ns=ns, absent=absent)
    target.write_memory(STAGE_1, tables.tables())
    return tables.registers(regime)


def regime_of(el: int) -> Regime:
    return Regime.EL2 if el == 2 else Regime.EL1_0


@EVERYWHERE
def test_load_and_store_with_stage_1_off(target: QemuTarget, state: World, el: int) -> None:
    target.write_memory(DATA, struct.pack("<2Q", 0x1122_3344_5566_7788, 0))
    assert ok(target, Record(0, Op.LOAD, address=DATA, state=state, el=el)).data0 == 0x1122_3344_5566_7788
    ok(target, Record(0, Op.STORE, 2, address=DATA + 8, value0=0xABCD_EF01, state=state, el=el))
    assert target.read_memory(DATA + 8, 8) == struct.pack("<Q", 0xABCD_EF01)


@EVERYWHERE
def test_it_is_that_state(target: QemuTarget, state: World, el: int) -> None:
    """Granules of one PAS each: only the state's own can be read, from code pages that are the state's own too."""
    pattern = sum(gpi << 4 * index for index, gpi in enumerate(GPI.values()))
    context = gpt(target, pattern, exact=state)
    records = [Record(0, Op.LOAD, address=DATA + 4096 * index, state=state, el=el) for index in range(len(GPI))]
    results = run(target, records, context)
    assert [result.taken == 0 for result in results] == [world == state for world in GPI]


@pytest.mark.parametrize("state", STATES)
def test_it_is_that_el(target: QemuTarget, state: World) -> None:
    for el in (1, 2):
        assert ok(target, Record(0, Op.MRS, aux=CURRENT_EL, state=state, el=el)).data0 == el << 2
    el0 = one(target, Record(0, Op.MRS, aux=CURRENT_EL, state=state, el=0))
    assert (el0.target_el, el0.vector, ec(el0), el0.spsr & 0xF) == (1, 0x400, EC_UNKNOWN, 0)


@EVERYWHERE
def test_stage_1_tables(target: QemuTarget, state: World, el: int) -> None:
    context = mapped(target, regime_of(el))
    target.write_memory(DATA, struct.pack("<Q", 77))
    crossing = Record(0, Op.LOAD, address=DATA + 4096 - 3, state=state, el=el)  # Normal memory: unaligned is fine
    load, across, unmapped = run(
        target,
        [Record(0, Op.LOAD, address=DATA, state=state, el=el), crossing, crossing._replace(address=1 << 39)],
        context,
    )
    assert (load.taken, load.data0, across.taken) == (0, 77, 0)
    where = (el or 1, 0x200 if el else 0x400, EC_DATA if el else EC_DATA_LOWER)
    assert (unmapped.target_el, unmapped.vector, ec(unmapped)) == where
    assert (unmapped.esr & 0x3F, unmapped.far) == (0x04, 1 << 39)  # translation fault, level 0: above T0SZ
    assert (unmapped.taken, unmapped.flags, unmapped.spsr & 0xF) == (1, 0, el << 2 | (el > 0))


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("el", [2, 0])
def test_el2_and_el0_in_one_regime(target: QemuTarget, state: World, el: int) -> None:
    context = (*hcr(e2h=True, tge=el == 0), *mapped(target, Regime.EL2_0))
    target.write_memory(DATA, struct.pack("<Q", 78))
    record = Record(0, Op.LOAD, address=DATA, state=state, el=el)
    load, beyond = run(target, [record, record._replace(address=1 << 39)], context)
    assert (load.taken, load.data0) == (0, 78)
    assert (beyond.target_el, beyond.vector) == (2, 0x200 if el else 0x400)
    assert ec(beyond) == (EC_DATA if el else EC_DATA_LOWER)


@pytest.mark.parametrize("el", [2, 1, 0])
def test_a_stage_1_of_the_secure_state_reaches_non_secure(target: QemuTarget, el: int) -> None:
    context = (*gpt(target, 0x1111_1111_1111_1111 * GPI[World.NON_SECURE]), *mapped(target, regime_of(el), ns=True))
    ok(target, Record(0, Op.LOAD, address=DATA, state=World.SECURE, el=el), context)


@pytest.mark.parametrize("hcr_gpf", [False, True])
@pytest.mark.parametrize("scr_gpf", [False, True])
@EVERYWHERE
def test_a_granule_protection_fault_is_seen_where_it_goes(
    target: QemuTarget, state: World, el: int, scr_gpf: bool, hcr_gpf: bool
) -> None:
    context = (*gpt(target, 0), scr(gpf=scr_gpf), *hcr(gpf=hcr_gpf))
    fault, after = run(
        target, [Record(0, op, address=DATA + 8, state=state, el=el) for op in (Op.LOAD, Op.NOP)], context
    )
    target_el = 3 if scr_gpf else 2 if el == 2 or hcr_gpf else 1
    assert (fault.status, fault.taken, fault.flags, fault.target_el) == (Status.DONE, 1, 0, target_el)
    assert fault.vector == (0x200 if el == target_el else 0x400)
    assert fault.spsr & 0xF == el << 2 | (el > 0)
    assert pages_of(target).stubs(state).holds(fault.elr)
    assert (fault.scr >> 62 & 1) << 1 | fault.scr & 1 == state
    if target_el == 3:
        assert (ec(fault), fault.esr & 0x3F, fault.mfar & ~0xFFF & (1 << 52) - 1) == (EC_GPC, GPF, DATA)
    else:
        assert (ec(fault), fault.esr & 0x3F, fault.mfar) == (EC_DATA if el == target_el else EC_DATA_LOWER, GPF, 0)
    assert fault.far == DATA + 8
    assert (after.taken, after.status) == (0, Status.DONE)


@pytest.mark.parametrize("state", STATES)
def test_a_fetch_that_faults(target: QemuTarget, state: World) -> None:
    for el in (2, 1, 0):
        result = one(target, Record(0, Op.FETCH, address=CODE, state=state, el=el), gpt(target, 0))
        assert (ec(result), result.elr, result.far) == (EC_FETCH if el else EC_FETCH_LOWER, CODE, CODE)
        assert result.status == Status.DONE


@pytest.mark.parametrize("state", STATES)
def test_a_stage_2_fault_has_hpfar_and_the_next_result_has_not(target: QemuTarget, state: World) -> None:
    # A stage 2 of Blocks: start at level 1, 39 bits; gigabyte 2 is not mapped.
    entries = [gigabyte << 30 | 1 << 10 | 0b11 << 8 | 0b11 << 6 | 0b1111 << 2 | 1 for gigabyte in range(512)]
    entries[2] = 0
    target.write_memory(STAGE_1, struct.pack("<512Q", *entries))
    vtcr = 1 << 31 | 0b101 << 16 | 0b11 << 12 | 1 << 10 | 1 << 8 | 1 << 6 | 25
    vstcr, vsttbr = sysreg_encoding(3, 4, 2, 6, 2), sysreg_encoding(3, 4, 2, 6, 0)
    stage_2 = {lower.HCR_EL2: lower.HCR_RW | 1, lower.VTCR_EL2: vtcr, lower.VTTBR_EL2: STAGE_1}
    if state == World.SECURE:
        stage_2 |= {vstcr: vtcr, vsttbr: STAGE_1}
    load = Record(0, Op.LOAD, address=DATA + 0x5008, state=state, el=1)
    records = [load, load._replace(address=HOLE), load._replace(address=0xC000_0000)]
    fault, hole, fine = run(target, records, [RegisterEntry(*entry) for entry in stage_2.items()])
    assert (fault.target_el, ec(fault), fault.esr & 0x3F) == (2, EC_DATA_LOWER, TRANSLATION_1)
    assert (fault.hpfar & (1 << 44) - 1, fault.far) == ((DATA + 0x5000) >> 8, DATA + 0x5008)
    assert (hole.taken, hole.target_el, hole.hpfar) == (1, 1, 0)
    assert fine.taken == 0


@EVERYWHERE
def test_calls(target: QemuTarget, state: World, el: int) -> None:
    values = [0x200 + n for n in range(18)]
    start = pool_pointer(1)
    pool = struct.pack("<18Q", *values) + bytes(144)
    goes = {
        Op.SMC: (3, EC_SMC) if el else (1, EC_UNKNOWN),
        Op.HVC: (2, EC_HVC) if el else (1, EC_UNKNOWN),
        Op.SVC: (max(el, 1), EC_SVC),
    }
    for op, expected in goes.items():
        result = one(target, Record(0, op, value0=start, value1=start + 144, state=state, el=el), pool=pool)
        assert (result.taken, result.target_el, ec(result)) == (1, *expected), op
        assert list(struct.unpack("<18Q", target.read_batch(start + 144, 144))) == values


def test_hvc_and_svc_at_el3(target: QemuTarget) -> None:
    start = pool_pointer(1)
    for op, expected in ((Op.HVC, EC_HVC), (Op.SVC, EC_SVC)):
        result = one(target, Record(0, op, value0=start, value1=start), pool=bytes(144))
        assert (result.taken, result.target_el, result.vector, ec(result)) == (1, 3, 0x200, expected)


@pytest.mark.parametrize("state", STATES)
def test_a_trap_of_smc_hides_neither_return_nor_exception(target: QemuTarget, state: World) -> None:
    """HCR_EL2.TSC: the SMC that a stub or EL1's vector ends with goes to EL2, and its vector passes it on."""
    context = (RegisterEntry(lower.HCR_EL2, lower.HCR_RW | 1 << 19),)
    start = pool_pointer(4)
    load = Record(0, Op.LOAD, address=DATA, state=state, el=1)
    smc = Record(0, Op.SMC, value0=start, value1=start, state=state, el=1)
    fine, el0, fault, call = run(
        target, [load, load._replace(el=0), load._replace(address=HOLE), smc], context, pool=bytes(144)
    )
    assert (fine.taken, fine.flags, el0.taken, el0.flags) == (0, 0, 0, 0)
    assert (fault.taken, fault.flags, fault.target_el, ec(fault), fault.far) == (1, 0, 1, EC_DATA, HOLE)
    assert (call.taken, call.target_el, ec(call), call.esr & 0xFFFF) == (1, 2, EC_SMC, 0)


@pytest.mark.parametrize("el", [1, 0])
@pytest.mark.parametrize("state", STATES)
def test_a_vector_that_may_not_be_fetched(target: QemuTarget, pages: LowerPages, state: World, el: int) -> None:
    denied = [pages.vectors(1, state).base]
    load = Record(0, Op.LOAD, address=DATA, state=state, el=el)
    after = load._replace(state=World.NON_SECURE if state != World.NON_SECURE else World.REALM)
    for routing, target_el in (((scr(gpf=True), *hcr()), 3), ((scr(), *hcr(gpf=True)), 2)):
        # The load's fault is an external abort, which goes to EL1: its vector is what the GPT denies.
        context = (*gpt(target, 0xFFFF_FFFF_FFFF_FFFF, denied), *routing)
        nested, fine = run(target, [load._replace(address=HOLE), after], context)
        assert (nested.status, nested.taken, nested.flags) == (Status.DONE, 2, ResultFlag.NESTED)
        assert (nested.target_el, nested.elr) == (target_el, denied[0] + (0x200 if el else 0x400))
        assert ec(nested) == (EC_GPC if target_el == 3 else EC_FETCH_LOWER)
        assert (nested.first_esr >> 26, nested.first_far) == (EC_DATA if el else EC_DATA_LOWER, HOLE)
        assert fine.taken == 0
    # Routed to EL1 itself: the vector's fetch faults for ever.
    context = (*gpt(target, 0xFFFF_FFFF_FFFF_FFFF, denied), scr(), *hcr())
    endless, fine = run(target, [load._replace(address=HOLE), after], context)
    assert (endless.status, endless.taken) == (Status.DONE, 255)
    assert endless.flags == ResultFlag.NESTED | ResultFlag.ENDLESS
    assert (endless.target_el, endless.vector, ec(endless), endless.esr & 0x3F) == (1, 0x200, EC_FETCH, GPF)
    assert endless.elr - denied[0] in (0x200, 0x400)
    assert fine.taken == 0


@pytest.mark.parametrize("state", STATES)
def test_el2s_vector_missing_from_its_own_stage_1(target: QemuTarget, pages: LowerPages, state: World) -> None:
    context = mapped(target, Regime.EL2, absent=[pages.vectors(2, state).base])
    load = Record(0, Op.LOAD, address=DATA, state=state, el=2)
    endless, fine = run(target, [load._replace(address=1 << 39), load], context)
    assert (endless.taken, endless.flags) == (255, ResultFlag.NESTED | ResultFlag.ENDLESS)
    assert (endless.target_el, endless.esr & 0x3F) == (2, TRANSLATION_3)
    assert fine.taken == 0


@pytest.mark.parametrize("state", STATES)
def test_el0_comes_back_where_el1_has_no_vectors(target: QemuTarget, pages: LowerPages, state: World) -> None:
    """The way back meets a granule protection fault, but the operation had ended and its data is there."""
    target.write_memory(DATA, struct.pack("<Q", 99))
    context = (*gpt(target, 0xFFFF_FFFF_FFFF_FFFF, [pages.vectors(1, state).base]), scr(gpf=True))
    assert ok(target, Record(0, Op.LOAD, address=DATA, state=state, el=0), context).data0 == 99


@EVERYWHERE
def test_stubs_that_may_not_be_fetched(target: QemuTarget, pages: LowerPages, state: World, el: int) -> None:
    stubs = pages.stubs(state)
    for gpf in (False, True):
        context = (*gpt(target, 0xFFFF_FFFF_FFFF_FFFF, [stubs.base]), scr(gpf=gpf))
        result = one(target, Record(0, Op.LOAD, address=DATA, state=state, el=el), context)
        assert (result.status, result.taken, result.target_el) == (Status.NOT_ENTERED, 1, 3 if gpf else max(el, 1))
        assert stubs.holds(result.elr) and result.far == result.elr
    denied = one(target, Record(0, Op.MRS, aux=TPIDR_EL0, state=state, el=el), context)
    assert denied.status == Status.NOT_ENTERED


def test_returns_that_are_illegal(target: QemuTarget) -> None:
    tge = one(target, Record(0, Op.NOP, state=World.NON_SECURE, el=1), hcr(tge=True))
    no_el2 = RegisterEntry(lower.SCR_EL3, lower.SCR_BASE & ~(1 << 18))
    secure = one(target, Record(0, Op.NOP, state=World.SECURE, el=2), (no_el2,))
    for result in (tge, secure):
        assert (result.status, result.taken, result.target_el) == (Status.NOT_ENTERED, 1, 3)
        assert (ec(result), result.vector, result.spsr & 0xF) == (EC_ILLEGAL, 0x200, 0xD)
    ok(target, Record(0, Op.NOP, state=World.SECURE, el=1), (no_el2,))


@EVERYWHERE
def test_what_does_not_come_back_is_interrupted(target: QemuTarget, state: World, el: int) -> None:
    here, sleep = (0x14000000).to_bytes(4, "little"), struct.pack("<2I", 0xD503207F, 0x17FFFFFF)  # b . ; wfi, b .-4
    for code in (here, sleep):
        put_code(target, code)
        hung, after = run(target, [Record(0, op, address=CODE, state=state, el=el) for op in (Op.FETCH, Op.NOP)])
        assert (hung.status, hung.taken, hung.target_el, hung.vector) == (Status.HUNG, 1, 3, 0x500)
        assert hung.elr - CODE in range(0, len(code) + 1, 4) and hung.esr == 0
        assert (after.status, after.taken) == (Status.DONE, 0)


def test_a_long_operation_is_not_interrupted(target: QemuTarget) -> None:
    """About fifty milliseconds at EL1, which the watchdog looks at several times."""
    frequency = ok(target, Record(0, Op.MRS, aux=sysreg_encoding(3, 3, 14, 0, 0))).data0
    loop = struct.pack("<6I", 0xD53BE043, 0xD53BE044, 0xCB030084, 0xEB01009F, 0x54FFFFA3, 0xD65F03C0)
    # mrs x3, cntvct_el0; 1: mrs x4, cntvct_el0; sub x4, x4, x3; cmp x4, x1; b.lo 1b; ret
    put_code(target, loop)
    ok(target, Record(0, Op.FETCH, address=CODE, value0=frequency // 20, state=World.REALM, el=1))


def test_code_below_el3_cannot_break_the_probes_own_registers(target: QemuTarget) -> None:
    put_code(target, struct.pack("<3I", 0xD280005C, 0xD2800012, 0xD65F03C0))  # mov x28, #2; mov x18, #0; ret
    records = [Record(0, Op.FETCH, address=CODE, state=World.REALM, el=el) for el in (2, 1, 0)]
    for result in run(target, [*records, Record(0, Op.LOAD, address=DATA)]):
        assert (result.status, result.taken) == (Status.DONE, 0)


@pytest.mark.parametrize("state", STATES)
def test_a_granule_protection_fault_of_el0_with_tge_goes_to_el2(target: QemuTarget, state: World) -> None:
    regime = (*hcr(e2h=True, tge=True), *mapped(target, Regime.EL2_0))
    fault = one(target, Record(0, Op.LOAD, address=DATA, state=state, el=0), (*gpt(target, 0), scr(), *regime))
    assert (fault.taken, fault.target_el, fault.vector) == (1, 2, 0x400)
    assert (ec(fault), fault.esr & 0x3F, fault.far) == (EC_DATA_LOWER, GPF, DATA)


def test_scr_el3_is_the_probes_again_at_el3(target: QemuTarget) -> None:
    read = Record(0, Op.MRS, aux=lower.SCR_EL3)
    drop = Record(0, Op.NOP, state=World.REALM, el=1)
    own = (scr(gpf=True),)
    records = [read, drop, read, drop, drop, read, drop._replace(flags=RecordFlag.KEEP_REGS), read]
    results = run(target, records, registers={4: own, 6: own})
    plain, gpf = lower.SCR_BASE, lower.SCR_BASE | lower.SCR_GPF
    assert [results[index].data0 for index in (0, 2, 5, 7)] == [plain, plain, plain, gpf]
    ok(target, Record(0, Op.MSR, aux=lower.SCR_EL3, value0=plain))
    assert ok(target, read, own).data0 == gpf
    assert ok(target, read).data0 == plain


@pytest.mark.parametrize("el", [1, 0])
def test_pan_is_the_records(target: QemuTarget, pages: LowerPages, el: int) -> None:
    """With PAN EL1 does not read what EL0 may; EL0 does, a record without the flag does, and EL3 has no such flag."""
    load = Record(0, Op.LOAD, address=DATA, state=World.NON_SECURE, el=el)
    at_el3 = Record(0, Op.LOAD, address=DATA, flags=RecordFlag.PAN)
    made = IdentityMap(STAGE_1, pages.base)
    target.write_memory(STAGE_1, made.tables())
    context = (*hcr(), *made.registers(Regime.EL1_0))
    records = [load, load._replace(flags=RecordFlag.PAN), load, at_el3]
    results = target.run(Batch(records=records, context=context))
    assert [result.taken for result in results] == [0, int(el == 1), 0, 0]
    assert results[-1].status == Status.REFUSED


def test_registers_of_a_record_are_in_force_below_el3(target: QemuTarget) -> None:
    read = Record(0, Op.MRS, aux=TPIDR_EL0, state=World.SECURE, el=0)
    first, second, third = run(target, [read] * 3, registers={1: (RegisterEntry(TPIDR_EL0, 55),)})
    assert (second.data0, first.data0) == (55, third.data0)
    wrong = RegisterEntry(sysreg_encoding(3, 6, 15, 15, 7), 1)
    (fault,) = run(target, [read], registers={0: (wrong,)})
    assert (fault.status, fault.target_el, fault.taken) == (Status.REG_FAULT, 3, 1)


def test_a_dump_below_el3(target: QemuTarget) -> None:
    start = pool_pointer(2)
    smc = Record(0, Op.SMC, value0=start, value1=start + 144, flags=RecordFlag.DUMP, state=World.REALM, el=1)
    load = Record(0, Op.LOAD, address=HOLE, flags=RecordFlag.DUMP, state=World.NON_SECURE, el=1)
    call, fault = run(target, [smc, load], pool=struct.pack("<18Q", *range(9, 27)) + bytes(144))
    dump = decode_dump(target.read_batch(start + 288, DUMP_SIZE))
    assert dump.x[:18] == tuple(range(9, 27))
    assert (dump.pc, dump.pstate) == (call.elr, call.spsr)
    dump = decode_dump(target.read_batch(start + 288 + DUMP_SIZE, DUMP_SIZE))
    assert (dump.pc, dump.pstate) == (fault.elr, fault.spsr)
    assert dump.system[sysreg_encoding(3, 0, 6, 0, 0)] == HOLE  # FAR_EL1


def test_the_probe_survives_any_register_values(target: QemuTarget) -> None:
    """Random values in the registers that rule what happens below EL3, a malformed GPCCR_EL3 among them."""
    ruling = (
        (3, 6, 1, 1, 0), (3, 4, 1, 1, 0), (3, 4, 1, 1, 4), (3, 4, 1, 1, 1), (3, 4, 1, 1, 2), (3, 4, 1, 0, 0),
        (3, 0, 1, 0, 0), (3, 4, 2, 0, 2), (3, 0, 2, 0, 2), (3, 4, 2, 0, 0), (3, 0, 2, 0, 0), (3, 4, 2, 1, 0),
        (3, 4, 2, 1, 2), (3, 6, 1, 1, 2),
    )  # fmt: skip
    encodings = [sysreg_encoding(*fields) for fields in ruling]
    good = {lower.SCR_EL3: lower.SCR_BASE, lower.HCR_EL2: lower.HCR_RW}
    rng = random.Random(7)
    records, registers = [], {}
    for index in range(600):
        state, el = rng.choice(CELLS)
        op = rng.choice([Op.LOAD, Op.FETCH, Op.STORE_PAIR, Op.MRS, Op.DC_ZVA])
        aux = 3 << 14 | rng.getrandbits(14) if op == Op.MRS else 0
        records.append(Record(0, op, address=HOLE if op == Op.FETCH else DATA, aux=aux, state=state, el=el))
        chosen = rng.sample(encodings, rng.randrange(1, 5))
        entries = [RegisterEntry(reg, good.get(reg, 0) ^ 1 << rng.randrange(64)) for reg in chosen]
        if rng.random() < 0.1:
            entries.append(RegisterEntry(GPCCR, rng.getrandbits(64)))  # the last: see the protocol's description
        registers[index] = tuple(entries)
    results = run(target, records, registers=registers)
    assert {result.status for result in results} >= {Status.DONE, Status.NOT_ENTERED}
    assert {result.target_el for result in results if result.taken} == {1, 2, 3}
    for state, el in CELLS:
        ok(target, Record(0, Op.LOAD, address=DATA, state=state, el=el))
    assert ok(target, Record(0, Op.MRS, aux=lower.SCR_EL3)).data0 == lower.SCR_BASE


def lower_batch(rng: random.Random) -> Batch:
    ops = (Op.LOAD, Op.STORE, Op.STORE_EXCLUSIVE, Op.ATOMIC_ADD, Op.LOAD_PAIR, Op.LOAD_SIMD, Op.NOP, Op.FETCH, Op.MRS)
    records = []
    for _ in range(80):
        state, el = rng.choice([*CELLS, (World.ROOT, 3)])
        address = rng.choice([DATA + 16 * rng.randrange(4096), HOLE])
        record = Record(0, rng.choice(ops), address=address, value0=rng.getrandbits(64), state=state, el=el)
        if record.op == Op.MRS:
            record = record._replace(aux=rng.choice([CURRENT_EL, MIDR, lower.SCTLR_EL1, lower.SCR_EL3]), address=0)
        if record.op == Op.FETCH:
            record = record._replace(address=CODE)
        records.append(record)
    return Batch(records=records)


def test_wire_only_and_mailbox_agree_below_el3(target: QemuTarget, make_target: MakeTarget) -> None:
    answers = []
    for machine in (target, make_target(wire_only=True)):
        machine.power_cycle()  # which slot holds an instruction, and so ELR, depends on what was asked before
        machine.write_memory(DATA, bytes(1 << 16))
        put_code(machine, RET)
        answers.append(machine.run_encoded(lower_batch(random.Random(4)).encode()))
    assert answers[0] == answers[1]


def test_qemus_own_log_says_the_same(qemu_argv: tuple[str, ...], probe_elf: Path, tmp_path: Path) -> None:
    """QEMU's `-d int` log of exceptions, one by one, against the results of the probe."""
    log = tmp_path / "int.log"
    machine = QemuTarget(
        qemu_argv=qemu_argv, probe_elf=probe_elf, log_directory=tmp_path, extra_args=["-d", "int", "-D", str(log)]
    )
    machine.power_on()
    try:
        for (state, el), gpf in [(cell, gpf) for cell in CELLS for gpf in (False, True)]:
            context = (*gpt(machine, 0), scr(gpf=gpf))
            before = log.stat().st_size
            result = one(machine, Record(0, Op.LOAD, address=DATA, state=state, el=el), context)
            with log.open() as lines:
                lines.seek(before)
                text = lines.read()
            found = re.search(
                rf"from EL{el} to EL(\d)\n.*with ESR 0x[0-9a-f]+/0x([0-9a-f]+)\n.*with (?:FAR|MFAR) 0x([0-9a-f]+)", text
            )
            assert found is not None, text
            assert (result.target_el, result.esr) == (int(found[1]), int(found[2], 16)), text
    finally:
        machine.power_off()


def test_pages_are_asked_for_sensibly() -> None:
    pages = LowerPages(0x4000_0000)
    with pytest.raises(MisuseError, match="no record below EL3 runs in ROOT"):
        pages.stubs(World.ROOT)
    with pytest.raises(MisuseError, match="EL3 has no vector page"):
        pages.vectors(3, World.REALM)
    assert [page.base for page in pages.of(World.REALM, 1)] == [0x4003_1000, 0x4007_1000, 0x400B_1000]
    with pytest.raises(MisuseError, match="not on a 4 KB boundary"):
        IdentityMap(0x5000_0800, 0x4000_0000).registers(Regime.EL2)
