"""What may still be cached, and what each TLBI by PA must remove: sequences with permitted sets worked out by hand.

DDI 0487 issue M, D9.5 (R_QBKYP, R_MGSTK, R_XLDKK), D9.6 (R_YNKWN, R_SSKBB, R_SMQTZ), C5.5 TLBI PAALL, PAALLOS, RPAOS,
RPALOS.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from refmodel.choices import Chooser
from refmodel.features import Features
from refmodel.gpt.build import block_descriptor, contiguous_descriptor, granules_descriptor, table_descriptor
from refmodel.gpt.cache import PossibleGPT
from refmodel.gpt.pes import PossibleGPTs
from refmodel.gpt.tlbi import DecodeRPA, RangeInvalidation, TLBIOp, encode_rpa
from refmodel.gpt.types import GPC_NO_FAULT, GPCF, GPCFRecord, GPCState
from refmodel.memory import Memory
from refmodel.observe import RuleCollector
from refmodel.pas import FullAddress, PASpace, SecurityState
from refmodel.rules import Rule
from refmodel.sysregs import GPCCR_EL3, GPTBR_EL3
from refmodel.tests.worlds import put64, ram

L0, L1, OTHER_L1 = 1 << 30, 0x20_0000, 0x40_0000
NO_ACCESS, REALM_ONLY, NS_ONLY, ANY = 0b0000, 0b1011, 0b1001, 0b1111
REALM, NON_SECURE = PASpace.PAS_Realm, PASpace.PAS_NonSecure
PASS = GPC_NO_FAULT
FAIL_0, FAIL_1 = GPCFRecord(GPCF.GPCF_Fail, 0), GPCFRecord(GPCF.GPCF_Fail, 1)
WALK_0, WALK_1 = GPCFRecord(GPCF.GPCF_Walk, 0), GPCFRecord(GPCF.GPCF_Walk, 1)
GPCCR = GPCCR_EL3.of(GPC=1, SH=0b11, ORGN=1, IRGN=1, PPS=1)
MB = 1 << 20


def granules(gpi: int) -> int:
    return granules_descriptor([gpi] * 16)


def q(value: int) -> bytes:
    return value.to_bytes(8, "little")


def memory_with_tables(gpi: int = REALM_ONLY) -> Memory:
    """One level 1 table for the first gigabyte, filled with ``gpi``; a second one of No access beside it."""
    memory = ram()
    put64(memory, L0, table_descriptor(L1))
    memory.write(L1, q(granules(gpi)) * 0x4000)
    memory.write(OTHER_L1, q(granules(NO_ACCESS)) * 0x4000)
    return memory


def state(gpccr: GPCCR_EL3 = GPCCR, base: int = L0) -> GPCState:
    return GPCState(gpccr, GPTBR_EL3.of(BADDR=base >> 12), Features())


def one(gpi: int = REALM_ONLY, *, contiguity: bool = False) -> PossibleGPT:
    return PossibleGPT(state(), memory_with_tables(gpi), contiguity=contiguity)


def options(gpt: PossibleGPT, pa: int, space: PASpace = REALM) -> list[GPCFRecord]:
    """Today's answer first, then what cached entries may answer."""
    checked = gpt.checked(FullAddress(space, pa))
    assert [option.weak for option in checked.options] == [False] + [True] * (len(checked.options) - 1)
    return [option.value for option in checked.options]


def entry(pa: int) -> int:
    """PA of the level 1 doubleword for ``pa`` in the first table."""
    return L1 + (pa >> 16) * 8


@pytest.mark.parametrize(
    ("xt", "start", "size"),
    [
        (0x12345, 0x1234_5000, 12),
        (1 << 44 | 0x12344, 0x1234_4000, 14),
        (2 << 44 | 0x12340, 0x1234_0000, 16),
        (3 << 44 | 0x12200, 0x1220_0000, 21),
        (4 << 44 | 0x12000, 0x1200_0000, 25),
        (5 << 44 | 0x20000, 0x2000_0000, 29),
        (6 << 44 | 0x40000, 0x4000_0000, 30),
        (7 << 44 | 0x400000, 0x4_0000_0000, 34),
        (8 << 44 | 0x1000000, 0x10_0000_0000, 36),
        (9 << 44 | 0x8000000, 0x80_0000_0000, 39),
        (1 << 48 | 0x12345, 0x1234_5000, 12),
    ],
)
def test_range_operands(xt: int, start: int, size: int) -> None:
    """SIZE is [47:44], the address [39:0]; bits above are RES0."""
    assert DecodeRPA(state(), xt, last_level=True) == RangeInvalidation(start, start + (1 << size), True)
    if xt < 1 << 48:
        assert encode_rpa(start, size) == xt


@pytest.mark.parametrize("size", range(10, 16))
def test_reserved_sizes_require_nothing(size: int) -> None:
    assert DecodeRPA(state(), size << 44, last_level=False) is None


def test_range_operands_that_require_nothing() -> None:
    assert DecodeRPA(state(), 3 << 44 | 0x12201, last_level=False) is None, "not aligned to 2 MB"
    assert DecodeRPA(state(GPCCR.replace(PGS=0b11)), 0, last_level=False) is None, "reserved granule size"
    assert DecodeRPA(state(), 1 << 36, last_level=False) is None, "above 48 bits"
    wide = replace(state(), features=Features(pamax=56))
    assert DecodeRPA(wide, 0xA << 40 | 1, last_level=False) == RangeInvalidation(
        0xA << 52 | 4096, 0xA << 52 | 8192, False
    )
    narrow = replace(state(), features=Features(pamax=52))
    assert DecodeRPA(narrow, 0xA << 40 | 1, last_level=False) == RangeInvalidation(4096, 8192, False), "RES0"


@pytest.mark.parametrize(("pgs", "bits"), [(0b10, 14), (0b01, 16)])
def test_ranges_smaller_than_a_granule_are_a_granule(pgs: int, bits: int) -> None:
    """Address bits below the granule are treated as zero."""
    gpc = state(GPCCR.replace(PGS=pgs))
    assert DecodeRPA(gpc, 0x12345, last_level=False) == RangeInvalidation(
        0x1234_5000 >> bits << bits, (0x1234_5000 >> bits << bits) + (1 << bits), False
    )


PA = 0x345_6000


def test_a_former_descriptor_may_answer_until_the_invalidation() -> None:
    gpt = one()
    assert options(gpt, PA) == [PASS]
    gpt.write(entry(PA), q(granules(NO_ACCESS)))
    assert options(gpt, PA) == [FAIL_1, PASS]
    assert options(gpt, PA + 0x1_0000) == [PASS], "another doubleword"
    gpt.write(entry(PA), q(granules(NS_ONLY)))
    assert options(gpt, PA) == [FAIL_1, PASS], "the oldest may still be there"
    assert options(gpt, PA, NON_SECURE) == [PASS, FAIL_1]
    gpt.invalidate_all()
    assert options(gpt, PA) == [FAIL_1]
    assert Rule.INVALIDATED in gpt.checked(FullAddress(REALM, PA)).rules


def test_denials_may_be_cached_too() -> None:
    """I_JMYRB: an entry that denies is valid, so it may stay."""
    gpt = one(NO_ACCESS)
    gpt.write(entry(PA), q(granules(ANY)))
    assert options(gpt, PA) == [PASS, FAIL_1]


def test_invalid_entries_are_never_cached() -> None:
    """R_QBKYP: a walk fault goes with the descriptor that caused it."""
    gpt = one()
    gpt.write(entry(PA), q(0x2))
    assert options(gpt, PA) == [WALK_1, PASS]
    gpt.write(entry(PA), q(granules(REALM_ONLY)))
    assert options(gpt, PA) == [PASS], "the walk fault of between is not possible any more"
    gpt.write(L0, q(0))
    assert options(gpt, PA) == [WALK_0, PASS]
    gpt.write(L0, q(table_descriptor(L1)))
    assert options(gpt, PA) == [PASS]


def test_levels_are_cached_apart() -> None:
    """A cached level 0 entry leads to the former level 1 table as it is today (R_MGSTK)."""
    gpt = one()
    gpt.write(L0, q(table_descriptor(OTHER_L1)))
    assert options(gpt, PA) == [FAIL_1, PASS]
    gpt.write(entry(PA), q(0x2))
    assert set(options(gpt, PA)) == {FAIL_1, PASS, WALK_1}
    gpt.write(OTHER_L1 + (PA >> 16) * 8, q(granules(ANY)))
    assert set(options(gpt, PA)) == {PASS, FAIL_1, WALK_1}
    gpt.invalidate_all()
    assert options(gpt, PA) == [PASS]


def test_former_registers_may_stay_in_use() -> None:
    gpt = one(NO_ACCESS)
    gpt.set_registers(state(GPCCR.replace(GPC=0)))
    assert options(gpt, PA) == [PASS, FAIL_1]
    gpt.invalidate_all()
    gpt.set_registers(state(GPCCR.replace(SH=0b01)))
    assert options(gpt, PA) == [WALK_0, PASS]
    gpt.set_registers(state())
    assert set(options(gpt, PA)) == {FAIL_1, PASS, WALK_0}, "fields may be cached, valid or not"
    gpt.invalidate_all()
    assert options(gpt, PA) == [FAIL_1]


def test_entries_under_a_former_gptbr() -> None:
    """They may stay if they were valid; its own faults may not."""
    gpt = one()
    elsewhere = 3 << 30
    gpt.set_registers(state(base=elsewhere))
    assert options(gpt, PA) == [WALK_0, PASS], "nothing is at the new base"
    gpt.set_registers(state())
    assert options(gpt, PA) == [PASS], "and none of that is cached"
    gpt.set_registers(state(base=64 << 30))
    gpt.set_registers(state())
    assert options(gpt, PA) == [PASS], "nor an address size fault"


def test_range_invalidation() -> None:
    gpt = one()
    gpt.write(entry(PA), q(granules(NO_ACCESS)))
    gpt.invalidate_range(RangeInvalidation(PA, PA + 0x1000, True))
    assert options(gpt, PA) == [FAIL_1]
    assert Rule.RANGE_INVALIDATED in gpt.checked(FullAddress(REALM, PA)).rules
    assert options(gpt, PA + 0x1000) == [FAIL_1, PASS], "the next granule of the same doubleword"
    gpt.write(entry(PA), q(granules(REALM_ONLY)))
    assert options(gpt, PA) == [PASS, FAIL_1], "written again after the invalidation"


def test_range_invalidation_leaves_registers() -> None:
    """Only PAALL is said to concern cached register fields (I_BKJTM)."""
    gpt = one(NO_ACCESS)
    gpt.set_registers(state(GPCCR.replace(GPC=0)))
    gpt.invalidate_range(RangeInvalidation(0, 1 << 36, False))
    assert options(gpt, PA) == [PASS, FAIL_1]


def contiguous(gpi: int, size: int) -> int:
    return contiguous_descriptor(gpi, size)


def with_contiguous(*, contiguity: bool = False) -> PossibleGPT:
    """2 MB marked contiguous around PA, all Realm."""
    memory = memory_with_tables()
    memory.write(entry(PA & ~(2 * MB - 1)), q(contiguous(REALM_ONLY, 0b01)) * 32)
    return PossibleGPT(state(), memory, contiguity=contiguity)


def test_a_contiguous_entry_needs_its_whole_range() -> None:
    """R_SSKBB."""
    start = PA & ~(2 * MB - 1)
    gpt = with_contiguous()
    gpt.write(entry(start), q(granules(NO_ACCESS)) * 32)
    gpt.invalidate_range(RangeInvalidation(PA, PA + 0x1000, True))
    assert options(gpt, PA) == [FAIL_1, PASS]
    gpt.invalidate_range(RangeInvalidation(start + MB, start + 2 * MB, True))
    gpt.invalidate_range(RangeInvalidation(start, start + MB, True))
    assert options(gpt, PA) == [FAIL_1, PASS], "two halves are not the whole range"
    gpt.invalidate_range(RangeInvalidation(start, start + 2 * MB, True))
    assert options(gpt, PA) == [FAIL_1]


def test_a_block_needs_its_whole_range() -> None:
    """R_YNKWN; last-level invalidation reaches a Block."""
    memory = ram()
    put64(memory, L0, block_descriptor(REALM_ONLY))
    gpt = PossibleGPT(state(), memory)
    gpt.write(L0, q(block_descriptor(NO_ACCESS)))
    gpt.invalidate_range(RangeInvalidation(0, 512 * MB, False))
    assert options(gpt, PA) == [FAIL_0, PASS]
    gpt.invalidate_range(RangeInvalidation(0, 1 << 30, True))
    assert options(gpt, PA) == [FAIL_0]


def test_last_level_invalidation_leaves_table_entries() -> None:
    """A cached level 0 Table entry survives TLBI RPALOS, and TLBI RPAOS of less than it covers."""
    gpt = one()
    gpt.write(L0, q(table_descriptor(OTHER_L1)))
    gpt.invalidate_range(RangeInvalidation(0, 1 << 30, True))
    assert options(gpt, PA) == [FAIL_1, PASS]
    gpt.invalidate_range(RangeInvalidation(0, 512 * MB, False))
    assert options(gpt, PA) == [FAIL_1, PASS]
    gpt.invalidate_range(RangeInvalidation(0, 1 << 30, False))
    assert options(gpt, PA) == [FAIL_1]


def test_two_pes_and_a_local_invalidation() -> None:
    gpts = PossibleGPTs([state(), state()], memory_with_tables())
    gpts.write(entry(PA), q(granules(NO_ACCESS)))
    gpts.tlbi(0, TLBIOp.PAALL)
    assert options(gpts.pes[0], PA) == [FAIL_1]
    assert options(gpts.pes[1], PA) == [FAIL_1, PASS]
    gpts.tlbi(0, TLBIOp.PAALLOS)
    assert options(gpts.pes[1], PA) == [FAIL_1]


@pytest.mark.parametrize("op", [TLBIOp.RPAOS, TLBIOp.RPALOS])
def test_range_invalidations_are_broadcast(op: TLBIOp) -> None:
    gpts = PossibleGPTs([state(), state()], memory_with_tables())
    gpts.write(entry(PA), q(granules(NO_ACCESS)))
    gpts.tlbi(1, op, encode_rpa(PA, 12))
    for pe in gpts.pes:
        assert options(pe, PA) == [FAIL_1]
        assert options(pe, PA + 0x1000) == [FAIL_1, PASS]
    gpts.tlbi(1, op, 0xF << 44)
    assert options(gpts.pes[0], PA + 0x1000) == [FAIL_1, PASS], "a reserved SIZE"


@pytest.mark.parametrize(("op", "cleared"), [(TLBIOp.RPAOS, True), (TLBIOp.RPALOS, False)])
def test_levels_of_the_two_range_instructions(op: TLBIOp, cleared: bool) -> None:
    gpts = PossibleGPTs([state(), state()], memory_with_tables())
    gpts.write(L0, q(table_descriptor(OTHER_L1)))
    gpts.tlbi(0, op, encode_rpa(0, 30))
    assert [options(pe, PA) for pe in gpts.pes] == [[FAIL_1] if cleared else [FAIL_1, PASS]] * 2


def test_a_receiver_with_another_granule_size() -> None:
    """Need not invalidate for a range, but must for all."""
    other = state(GPCCR.replace(PGS=0b01))
    gpts = PossibleGPTs([state(), other], memory_with_tables())
    gpts.write(L0, q(block_descriptor(NO_ACCESS)))
    gpts.tlbi(0, TLBIOp.RPAOS, encode_rpa(0, 30))
    assert gpts.pes[0].stale[0].invalidated != ()
    assert gpts.pes[1].stale[0].invalidated == ()
    gpts.tlbi(0, TLBIOp.PAALLOS)
    assert gpts.pes[1].stale == ()


def test_a_tlb_shared_with_a_differently_configured_pe() -> None:
    """R_XLDKK: either configuration may answer, for as long as they differ; GPC = 0 does not share."""
    gpts = PossibleGPTs([state(), state(base=3 << 30)], memory_with_tables())
    put64(gpts.memory, 3 << 30, block_descriptor(NO_ACCESS))
    gpts.tlbi(0, TLBIOp.PAALLOS)
    assert options(gpts.pes[0], PA) == [PASS, FAIL_0]
    assert options(gpts.pes[1], PA) == [FAIL_0, PASS]
    gpts.set_registers(1, state(GPCCR.replace(GPC=0), 3 << 30))
    gpts.tlbi(0, TLBIOp.PAALLOS)
    assert options(gpts.pes[0], PA) == [PASS]
    gpts.set_registers(1, state())
    gpts.tlbi(0, TLBIOp.PAALLOS)
    assert [options(pe, PA) for pe in gpts.pes] == [[PASS], [PASS]]


@pytest.mark.parametrize(
    ("op", "encoding", "broadcast"),
    [
        (TLBIOp.PAALL, (6, 8, 7, 4), False),
        (TLBIOp.PAALLOS, (6, 8, 1, 4), True),
        (TLBIOp.RPAOS, (6, 8, 4, 3), True),
        (TLBIOp.RPALOS, (6, 8, 4, 7), True),
    ],
)
def test_instructions(op: TLBIOp, encoding: tuple[int, int, int, int], broadcast: bool) -> None:
    assert (op.value, op.broadcast) == (encoding, broadcast)


def test_misprogrammed_contiguous_ranges() -> None:
    """R_SMQTZ: one differing granule in 2 MB, and any GPI of the range may answer anywhere in it."""
    start = PA & ~(2 * MB - 1)
    gpt = with_contiguous(contiguity=True)
    assert options(gpt, PA) == [PASS], "well formed"
    put64(gpt.memory, entry(start + MB), granules(NS_ONLY))
    gpt.forget()
    assert options(gpt, PA) == [PASS, FAIL_1]
    assert options(gpt, start + MB) == [FAIL_1, PASS]
    assert options(gpt, start + MB, NON_SECURE) == [PASS, FAIL_1]
    assert options(gpt, start + 2 * MB) == [PASS], "outside the range"
    assert options(gpt, start - 0x1000) == [PASS]
    strict = with_contiguous()
    put64(strict.memory, entry(start + MB), granules(NS_ONLY))
    assert options(strict, PA) == [PASS], "left out unless asked for"


def test_granules_with_the_gpi_of_their_contiguous_range() -> None:
    """R_NNHCF: mixing descriptor kinds is no misprogramming."""
    gpt = with_contiguous(contiguity=True)
    put64(gpt.memory, entry(PA), granules(REALM_ONLY))
    gpt.forget()
    assert options(gpt, PA) == [PASS]
    assert options(gpt, PA + 0x10_0000) == [PASS]


def test_security_states_are_remembered_apart() -> None:
    """A Non-secure-only granule answers by who asks."""
    memory = ram()
    put64(memory, L0, block_descriptor(0b1101))
    gpt = PossibleGPT(GPCState(GPCCR.replace(NSO=1), GPTBR_EL3.of(BADDR=L0 >> 12), Features(rme=2)), memory)
    where = FullAddress(NON_SECURE, PA)
    choose, fired = Chooser(), RuleCollector()
    assert gpt.check(where, choose, fired, SecurityState.SS_Realm) == FAIL_0
    assert gpt.check(where, choose, fired, SecurityState.SS_NonSecure) == PASS
    assert gpt.check(where, choose, fired, SecurityState.SS_Realm) == FAIL_0
    assert fired.rules == [Rule.L0_INDEX, Rule.L0_BLOCK, Rule.GPI_NON_SECURE_ONLY] * 3
