"""Malformed descriptors: reserved bits and encodings of both levels, misaligned, out of reach, unreadable."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest

from harness.check import Check
from harness.coverage import Cell, group
from harness.judge.scene import Item, Scene, Under
from harness.judge.stimulus import Kind
from harness.probe.records import World
from refmodel.gpt.build import CONTIGUOUS, GPTBuilder, block_descriptor, contiguous_descriptor, table_descriptor
from refmodel.gpt.decode import GPT_Any, GPT_NoAccess, GPT_Realm
from refmodel.gpt.types import PGSe
from refmodel.sysregs import GPTBR_EL3
from suites.gpt.scenes import GB, LOW, RESERVED, VALID, apart, builder, fill_level_1, hole, quiet, warm, with_table

_PGS = pytest.mark.parametrize("pgs", PGSe, ids=lambda pgs: pgs.name)
_KINDS = (Kind.LOAD, Kind.STORE, Kind.ATOMIC_ADD)
_PPS = (32, 36, 40, 42, 44, 48, 52)


def _plan(check: Check, descriptors: Iterable[str]) -> dict[Cell, list[Cell]]:
    """Each descriptor with a load, a store and an atomic in each space; by descriptor."""
    return apart(check.plan(group(descriptor=descriptors, pas=World, kind=_KINDS)), 0)


def _accesses(check: Check, cells: Iterable[Cell], base: int, size: int) -> list[Item]:
    """The accesses of cells (descriptor, space, kind), each somewhere in [base, base + size)."""
    return [
        check.session.stimulus(kind, base + check.rng.randrange(size >> 4) * 16, pas, value0=check.rng.getrandbits(64))
        for _, pas, kind in cells
    ]


def _level_0(check: Check, descriptors: dict[str, int], *, pgs: PGSe = PGSe.PGS_4KB, pps: int = 40) -> None:
    """Each descriptor as the level 0 entry of the gigabyte at ``LOW``, in a scene of its own."""
    _with_level_0(check, builder(check, pgs=pgs, pps=pps), descriptors)


def _level_1(check: Check, descriptors: dict[str, int], pgs: PGSe, *, range_bits: int = 21) -> None:
    """Each descriptor as level 1 entries that fill a range of 1 << ``range_bits`` bytes, as many in a table as fit."""
    every = list(_plan(check, descriptors).items())
    size = 1 << range_bits
    for chosen in (every[start : start + (GB >> range_bits)] for start in range(0, len(every), GB >> range_bits)):
        made = with_table(check, pgs=pgs)
        items: list[Item] = []
        shown: list[Cell] = []
        for number, ((title,), cells) in enumerate(chosen):
            fill_level_1(made, LOW + number * size, range_bits, descriptors[title])
            items += _accesses(check, cells, LOW + number * size, size)
            shown += cells
        check.run(Scene.of("malformed level 1 entries", made), items, shown)


@pytest.mark.rule("GPC-011")
def test_level_0_type(check: Check) -> None:
    """Every descriptor type that is neither Block nor Table, with every GPI above it."""
    types = [type_ for type_ in range(16) if type_ not in (0b0001, 0b0011)]
    _level_0(check, {f"type {t:04b}, GPI {gpi:04b}": t | gpi << 4 for t, gpi in itertools.product(types, VALID)})


@pytest.mark.rule("GPC-012")
@_PGS
def test_block_reserved(check: Check, pgs: PGSe) -> None:
    """Each reserved bit of a Block descriptor alone, and all together."""
    good = block_descriptor(GPT_Any)
    cases = {f"bit {bit}": good | 1 << bit for bit in range(8, 64)}
    _level_0(check, {**cases, "all": good | (1 << 64) - (1 << 8)}, pgs=pgs)


@pytest.mark.rule("GPC-013")
def test_block_gpi(check: Check) -> None:
    """Each reserved GPI in a Block descriptor."""
    _level_0(check, {f"GPI {gpi:04b}": block_descriptor(gpi) for gpi in RESERVED})


@pytest.mark.rule("GPC-014")
@_PGS
def test_block_extent(check: Check, pgs: PGSe) -> None:
    """A Block governs its whole gigabyte and nothing beside it: both ends, and the granules on both sides."""
    granule = 1 << pgs.value
    start, end = LOW + GB, LOW + 2 * GB
    places = (start - granule, start, start + granule, end - granule, end)
    for (gpi,), cells in apart(check.plan(group(gpi=VALID, place=places, pas=World)), 0).items():
        made = with_table(check, pgs=pgs)
        made.block(LOW + GB, gpi)
        made.table(LOW + 2 * GB, GPT_NoAccess if gpi == GPT_Any else GPT_Any)
        items: list[Item] = [check.session.stimulus(Kind.LOAD, pa, pas) for _, pa, pas in cells]
        check.run(Scene.of(f"block with GPI {gpi:04b}", made), items, cells)


def _good_table(check: Check, pgs: PGSe, pps: int = 40) -> tuple[GPTBuilder, int]:
    made = with_table(check, pgs=pgs, pps=pps)
    address = made.address_1(LOW)
    return made, table_descriptor(address)


def _with_level_0(check: Check, made: GPTBuilder, cases: dict[str, int]) -> None:
    for (title,), cells in _plan(check, cases).items():
        made.raw_level_0(LOW, cases[title])
        check.run(Scene.of(title, made), _accesses(check, cells, LOW, GB), cells)


@pytest.mark.rule("GPC-015")
@_PGS
def test_table_reserved(check: Check, pgs: PGSe) -> None:
    """Each reserved bit of a Table descriptor outside its address field."""
    made, good = _good_table(check, pgs)
    _with_level_0(check, made, {f"bit {bit}": good | 1 << bit for bit in (*range(4, 12), *range(52, 64))})


@pytest.mark.rule("GPC-016")
@_PGS
def test_table_alignment(check: Check, pgs: PGSe) -> None:
    """Each address bit that a level 1 table of this size must have clear."""
    made, good = _good_table(check, pgs)
    low_bits = range(12, made.geometry.level_1_size.bit_length() - 1)
    _with_level_0(check, made, {f"bit {bit}": good | 1 << bit for bit in low_bits})


@pytest.mark.rule("GPC-017")
@pytest.mark.parametrize("pps", [32, 36, 40, 42, 44, 48])
def test_table_above_pps(check: Check, pps: int) -> None:
    """Each bit of the level 1 table's address above the protected size."""
    made, good = _good_table(check, PGSe.PGS_4KB, pps)
    _with_level_0(check, made, {f"bit {bit}": good | 1 << bit for bit in range(pps, 52)})


_SIZES = pytest.mark.parametrize("bits", CONTIGUOUS, ids=lambda bits: f"{1 << bits - 20}MB")


_POSITIONS = ("in RAM", "nothing there", "at PPS", "far above PPS")


@pytest.mark.rule("GPC-017", "GPC-026")
@pytest.mark.parametrize("l0gptsz", [30, 34, 36, 39])
def test_table_positions(check: Check, l0gptsz: int) -> None:
    """A level 1 table in RAM, where nothing answers, right above the protected size and far above it: every protected
    size with each L0GPTSZ, in every space, with every granule size.
    """
    # An entry that does not speak for the probe, nor for a device.
    pa = LOW if l0gptsz == 30 else next(at for at in (1 << l0gptsz, 1 << 40) if quiet(check, at))

    def there(pps: int, at: str) -> bool:
        table = _table_at(check, pps, at)
        possible = not table >> check.session.features.pamax and not pa >> pps
        return possible and (bool(table >> pps) == at.endswith("PPS"))

    cells = check.plan(
        group(there, pps=_PPS, at=_POSITIONS),
        group(pas=World, kind=_KINDS),
        group(pgs=PGSe),
    )
    for (pps, at, pgs), own in apart(cells, 0, 1, 4).items():
        made = builder(check, pgs=pgs, pps=pps, l0gptsz=l0gptsz)
        made.raw_level_0(pa, table_descriptor(_table_at(check, pps, at)))
        items: list[Item] = [check.session.stimulus(kind, pa + 16, pas) for _, _, pas, kind, _ in own]
        check.run(Scene.of(f"level 1 table {at}, PPS {pps}", made), items, own)


def _table_at(check: Check, pps: int, at: str) -> int:
    """Where the level 1 table is; in RAM its entries are whatever that RAM holds."""
    return {"in RAM": LOW + GB, "nothing there": hole(check), "at PPS": 1 << pps, "far above PPS": 1 << pps | LOW}[at]


@pytest.mark.rule("GPC-022")
@_PGS
@_SIZES
def test_contiguous_reserved(check: Check, pgs: PGSe, bits: int) -> None:
    """Each reserved bit of a Contiguous descriptor, for each size."""
    good = contiguous_descriptor(GPT_Any, CONTIGUOUS[bits])
    _level_1(check, {f"bit {bit}": good | 1 << bit for bit in range(10, 64)}, pgs, range_bits=bits)


@pytest.mark.smoke
@pytest.mark.rule("GPC-023", "GPC-080")
@_PGS
def test_contiguous_size(check: Check, pgs: PGSe) -> None:
    """The reserved size of a Contiguous descriptor, with every GPI."""
    _level_1(check, {f"GPI {gpi:04b}": contiguous_descriptor(gpi, 0) for gpi in VALID}, pgs)


@pytest.mark.rule("GPC-024")
@_PGS
@_SIZES
def test_contiguous_gpi(check: Check, pgs: PGSe, bits: int) -> None:
    """Each reserved GPI in a Contiguous descriptor of each size."""
    contig = CONTIGUOUS[bits]
    cases = {f"GPI {gpi:04b}": contiguous_descriptor(gpi, contig) for gpi in RESERVED}
    _level_1(check, cases, pgs, range_bits=bits)


@pytest.mark.rule("GPC-025")
@_PGS
@pytest.mark.parametrize("bits", [21, 25, 29])
def test_contiguous_extent(check: Check, bits: int, pgs: PGSe) -> None:
    """A Contiguous range ends where it ends: its first and last granule, and the granules on both sides."""
    made = with_table(check, pgs=pgs)
    start = LOW + (1 << bits)
    made.contiguous(start, bits, GPT_Realm)
    granule = 1 << pgs.value
    places = (start - granule, start, start + (1 << bits) - granule, start + (1 << bits)) if bits < 29 else (start,)
    cells = check.plan(group(place=places, pas=World))
    items: list[Item] = [check.session.stimulus(Kind.LOAD, pa, pas) for pa, pas in cells]
    check.run(Scene.of(f"contiguous range of 1 << {bits}", made), items, cells)


@pytest.mark.rule("GPC-018")
@pytest.mark.parametrize("walk", [False, True], ids=["output", "walk"])
@_PGS
def test_level_0_unreadable(check: Check, pgs: PGSe, walk: bool) -> None:
    """GPTBR_EL3 names memory where nothing answers: each access under it alone.

    ``walk``: nothing is cached, and the check of a stage-1 descriptor fetch is the first to meet it.
    """
    made = with_table(check, pgs=pgs)
    nowhere = GPTBR_EL3.of(BADDR=hole(check) >> 12)
    items: list[Item] = []
    shown: list[Cell | None] = []
    for number, cell in enumerate(check.plan(group(pas=World, kind=_KINDS))):
        pas, kind = cell
        stimulus = check.session.stimulus(kind, LOW + number * 0x20_0000 + 0x120, pas)
        items += [Under(stimulus, gptbr=nowhere)] if walk else warm(check, stimulus, gptbr=nowhere)
        shown += [cell] if walk else [None, cell]
    check.run(Scene.of("level 0 table in a hole", made), items, shown)


@pytest.mark.rule("GPC-026")
@_PGS
def test_level_1_unreadable(check: Check, pgs: PGSe) -> None:
    """The level 1 table lies where nothing answers."""
    _level_0(check, {"level 1 table in a hole": table_descriptor(hole(check))}, pgs=pgs)
