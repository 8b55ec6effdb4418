"""TLB invalidation by PA on one PE: what each instruction, by each operand, must take away from each kind of entry."""

from __future__ import annotations

import itertools

import pytest

from harness.check import Check
from harness.coverage import group
from harness.judge.scene import Invalidate, Item, Scene, TableWrite
from harness.judge.stimulus import Kind
from harness.probe.records import World
from refmodel.gpt.build import block_descriptor, contiguous_descriptor, granules_descriptor
from refmodel.gpt.decode import GPT_Any, GPT_NoAccess
from refmodel.gpt.tlbi import RANGE_BITS, TLBIOp, encode_rpa
from refmodel.gpt.types import PGSe
from suites.gpt.scenes import GB, LOW, RESERVED, fill_level_1, quiet
from suites.gpt.updates import BITS, ENTRIES, PAIRS, beside, loads, tables, update

_PGS = pytest.mark.parametrize("pgs", PGSe, ids=lambda pgs: pgs.name)
_ENTRY = pytest.mark.parametrize("entry", ENTRIES)
_RANGES = pytest.mark.parametrize("op", [TLBIOp.RPAOS, TLBIOp.RPALOS], ids=lambda op: op.name)


@pytest.mark.smoke
@pytest.mark.rule("GPC-052")
@pytest.mark.parametrize(
    "op",
    [
        pytest.param(TLBIOp.PAALL, marks=pytest.mark.rule("GPC-160"), id="PAALL"),
        pytest.param(TLBIOp.PAALLOS, marks=pytest.mark.rule("GPC-161"), id="PAALLOS"),
    ],
)
@_ENTRY
@_PGS
def test_all(check: Check, op: TLBIOp, entry: str, pgs: PGSe) -> None:
    """An entry is changed after accesses through it; after the invalidation only the new one answers."""
    for cell in check.plan(group(pair=PAIRS)):
        pair = cell[0]
        made = tables(check, pgs=pgs)
        changed = update(made, entry, pair)
        seen = loads(check, changed.places(1 << pgs.value))
        items: list[Item] = [*seen, changed.writes[pair[1]], *seen, Invalidate(op), *seen]
        check.run(Scene.of(f"a changed {entry}", made), items, whole=cell)


@_RANGES
@_PGS
@pytest.mark.parametrize("bits", RANGE_BITS.values())
@pytest.mark.rule("GPC-162")
def test_range_of_granules(check: Check, op: TLBIOp, pgs: PGSe, bits: int) -> None:
    """Every SIZE: the granules at both ends of the range obey their new GPI, those one beyond may obey the old."""
    granule = 1 << pgs.value
    for cell in check.plan(group(pair=PAIRS[:2])):
        old, new = cell[0]
        made = tables(check, pgs=pgs)
        base = LOW + (1 << bits) if bits < 30 else (LOW + GB) >> bits << bits
        places = {"middle": LOW + GB} | dict(beside(base, 1 << bits, granule))
        if bits > 30:
            # The range starts at 0 and holds all of the RAM: what the level 0 entries beyond say shows as well.
            places = {"middle": LOW + GB, "after": base + (1 << bits)}
        items: list[Item] = []
        writes: list[Item] = []
        for at in places.values():
            if not quiet(check, at):
                continue
            if at >> 30 > (LOW >> 30) + 2:
                made.block(at, old)
                writes.append(TableWrite(made.address_0(at), block_descriptor(new)))
            else:
                made.raw_level_1(at, granules_descriptor([old] * 16))
                writes.append(TableWrite(made.address_1(at), granules_descriptor([new] * 16)))
            items += loads(check, [at])
        operand = encode_rpa(base, bits)
        if bits < pgs.value:
            operand |= check.rng.randrange(1 << pgs.value - 12)  # bits below the granule do not count
        history = [*items, *writes, *items, Invalidate(op, operand), *items]
        check.run(Scene.of(f"a range of 1 << {bits}", made), history, whole=cell)


@_RANGES
@_PGS
@pytest.mark.parametrize("entry", [entry for entry in ENTRIES if entry not in ("granule", "table")])
@pytest.mark.rule("GPC-162", "GPC-163")
def test_range_of_entries(check: Check, op: TLBIOp, pgs: PGSe, entry: str) -> None:
    """Blocks and Contiguous ranges: gone after an invalidation of all that they cover, by one instruction."""
    size, sizes = BITS[entry], [bits for bits in RANGE_BITS.values() if bits >= pgs.value]
    for cell in check.plan(group(bits=sizes, pair=PAIRS)):
        bits, pair = cell
        made = tables(check, pgs=pgs)
        changed = update(made, entry, pair)
        seen = loads(check, changed.places(1 << pgs.value))
        base = changed.base >> bits << bits
        items: list[Item] = [*seen, changed.writes[pair[1]], *seen, Invalidate(op, encode_rpa(base, bits)), *seen]
        if bits == size - 1 or (bits < size and bits == 29):
            # The other half as well, by an instruction of its own: two halves are not the whole.
            items += [Invalidate(op, encode_rpa(base + (1 << bits), bits)), *seen]
        check.run(Scene.of(f"{entry}, range of 1 << {bits}", made), items, whole=cell)


@_RANGES
@_PGS
@pytest.mark.rule("GPC-164")
def test_range_of_tables(check: Check, op: TLBIOp, pgs: PGSe) -> None:
    """A level 0 Table entry: RPAOS of its whole range takes it away, RPALOS need not, nor RPAOS of less.

    The last instruction is RPAOS of the whole range in each case.
    """
    for cell in check.plan(group(bits=(29, 30, 34), pair=PAIRS)):
        bits, pair = cell
        made = tables(check, pgs=pgs)
        changed = update(made, "table", pair)
        seen = loads(check, changed.places(1 << pgs.value))
        by_range = Invalidate(op, encode_rpa(changed.base >> bits << bits, bits))
        whole = Invalidate(TLBIOp.RPAOS, encode_rpa(changed.base, 30))
        items: list[Item] = [*seen, changed.writes[pair[1]], *seen, by_range, *seen, whole, *seen]
        check.run(Scene.of(f"another table, range of 1 << {bits}", made), items, whole=cell)


@_RANGES
@_PGS
@pytest.mark.rule("GPC-165")
def test_operands_that_require_nothing(check: Check, op: TLBIOp, pgs: PGSe) -> None:
    """Reserved SIZE, and a base that is not aligned to SIZE: no exception, and the old or the new entry answers."""
    reserved = [size << 44 | LOW + GB >> 12 for size in range(10, 16)]
    misaligned = [encode_rpa(LOW + GB, bits) | 1 << pgs.value - 12 for bits in RANGE_BITS.values() if bits > pgs.value]
    for cell in check.plan(group(operand=(*reserved, *misaligned))):
        operand = cell[0]
        made = tables(check, pgs=pgs)
        changed = update(made, "granule", PAIRS[0])
        seen = loads(check, [changed.base])
        items: list[Item] = [*seen, changed.writes[GPT_NoAccess], Invalidate(op, operand), *seen, Invalidate(), *seen]
        check.run(Scene.of("an operand that requires nothing", made), items, whole=cell)


_INVALID_0 = {
    "type": 0b0101,
    "GPI": block_descriptor(RESERVED[0]),
    "block": block_descriptor(GPT_Any) | 1 << 20,
    "table": 0b11 | 1 << 8,
}
_INVALID_1 = {
    "granules": granules_descriptor([RESERVED[0]] * 16),
    "contiguous GPI": contiguous_descriptor(RESERVED[-1], 1),
    "contiguous size": contiguous_descriptor(GPT_Any, 0),
}


@_PGS
@pytest.mark.rule("GPC-166")
def test_invalid_entries(check: Check, pgs: PGSe) -> None:
    """An invalid entry that was met and is then replaced answers no more, before any invalidation."""
    entries = [*itertools.product((0,), _INVALID_0), *itertools.product((1,), _INVALID_1)]
    for cell in check.plan(group(entry=entries, gpi=(GPT_Any, GPT_NoAccess))):
        (level, name), gpi = cell
        made = tables(check, pgs=pgs)
        at = LOW + GB
        if level == 0:
            made.raw_level_0(at, _INVALID_0[name])
            repaired = TableWrite(made.address_0(at), block_descriptor(gpi))
        else:
            fill_level_1(made, at, 21, _INVALID_1[name])
            count = (1 << 21) // (16 << pgs.value)
            repaired = TableWrite(made.address_1(at), granules_descriptor([gpi] * 16), count)
        seen = loads(check, [at, at + (1 << 21) - 4096])
        items: list[Item] = [*seen, repaired, *seen, Invalidate(), *seen]
        check.run(Scene.of(f"an invalid {name} at level {level}", made), items, whole=cell)


@pytest.mark.smoke
@_PGS
@pytest.mark.rule("GPC-162", "GPC-053")
def test_random_ranges(check: Check, pgs: PGSe) -> None:
    """Histories of granules that change, and invalidations of every kind and size around them."""
    span = 16 << pgs.value
    for _ in range(max(1, int(6 * check.scale))):
        made = tables(check, pgs=pgs)
        items: list[Item] = []
        for _ in range(600):
            draw, at = check.rng.random(), LOW + GB + check.rng.randrange(4) * span
            if draw < 0.1:
                gpis = [check.rng.choice((GPT_Any, GPT_NoAccess)) for _ in range(16)]
                items.append(TableWrite(made.address_1(at), granules_descriptor(gpis)))
            elif draw < 0.2:
                items.append(_random_invalidation(check, at))
            else:
                pa = at + (check.rng.randrange(16) << pgs.value)
                items.append(check.session.stimulus(Kind.LOAD, pa, check.rng.choice(list(World))))
        check.run(Scene.of("random invalidations", made), items)


def _random_invalidation(check: Check, at: int) -> Invalidate:
    op = check.rng.choice(list(TLBIOp))
    bits = check.rng.choice(list(RANGE_BITS.values())[:7])
    return Invalidate(op, encode_rpa(at >> bits << bits, bits) if op.by_range else 0)
