"""Changing tables: what may be seen before an invalidation and must be seen after it; the stage-1 walk's own checks."""

from __future__ import annotations

import pytest

from harness.check import Check
from harness.judge.scene import Invalidate, Item, Scene, TableWrite
from harness.judge.stimulus import Kind
from harness.probe.records import World
from refmodel.gpt.build import GPTBuilder, block_descriptor, contiguous_descriptor, granules_descriptor
from refmodel.gpt.decode import GPT_Any
from refmodel.gpt.types import PGSe
from suites.gpt.scenes import GB, LOW, VALID, builder, fill_level_1, with_table

_GRANULES = 16
_DESCRIPTORS = 4


def _random_descriptor(check: Check) -> int:
    """A level 1 descriptor that fills 2 MB, so it contradicts no neighbour: mostly Granules, sometimes Contiguous."""
    if check.rng.random() < 0.2:
        return contiguous_descriptor(check.rng.choice(VALID), 1)
    return granules_descriptor([check.rng.choice(VALID) for _ in range(_GRANULES)])


def _history(check: Check, made: GPTBuilder, length: int) -> list[Item]:
    """Accesses, table writes and invalidations at random, over a few granules so that they meet."""
    items: list[Item] = []
    span = 1 << 21
    for _ in range(length):
        draw = check.rng.random()
        at = LOW + check.rng.randrange(_DESCRIPTORS) * span
        if draw < 0.08:
            items.append(TableWrite(made.address_1(at), _random_descriptor(check), span >> made.geometry.pgs.value + 4))
        elif draw < 0.14:
            items.append(Invalidate())
        else:
            pa = at + (check.rng.randrange(_GRANULES) << made.geometry.pgs.value) + check.rng.randrange(64) * 16
            kind = check.rng.choice((Kind.LOAD, Kind.STORE, Kind.ATOMIC_ADD))
            items.append(
                check.session.stimulus(kind, pa, check.rng.choice(list(World)), value0=check.rng.getrandbits(64))
            )
    return items


@pytest.mark.smoke
@pytest.mark.rule("GPC-052", "GPC-053")
@pytest.mark.parametrize("pgs", PGSe, ids=lambda pgs: pgs.name)
def test_random_history(check: Check, pgs: PGSe) -> None:
    """Random histories: before an invalidation the old or the new table answers, after it only the new one."""
    for _ in range(max(2, int(20 * check.scale))):
        made = with_table(check, pgs=pgs)
        for number in range(_DESCRIPTORS):
            fill_level_1(made, LOW + (number << 21), 21, _random_descriptor(check))
        check.run(Scene.of("random history", made), _history(check, made, 600))


@pytest.mark.rule("GPC-052", "GPC-053")
def test_level_0_change(check: Check) -> None:
    """A level 0 Block changed from every GPI to every other: seen at the latest after TLBI PAALL.

    Once with accesses before the change, after which former information may be in use, and once without.
    """
    made = builder(check)
    made.block(LOW + GB, GPT_Any)
    items: list[Item] = []
    for old in VALID:
        for new in VALID:
            entry = made.address_0(LOW + GB)
            items += [TableWrite(entry, block_descriptor(old)), Invalidate()]
            loads = [check.session.stimulus(Kind.LOAD, LOW + GB + 0x1000 * pas, pas) for pas in World]
            items += [*loads, TableWrite(entry, block_descriptor(new)), *loads, Invalidate(), *loads]
            items += [TableWrite(entry, block_descriptor(old)), Invalidate()]
            items += [TableWrite(entry, block_descriptor(new)), *loads]
    check.run(Scene.of("a level 0 Block changes", made), items)


@pytest.mark.rule("GPC-054")
@pytest.mark.parametrize("gpi", [gpi for gpi in range(16) if gpi not in (0b1010, 0b1111)], ids="{:04b}".format)
def test_stage_1_table(check: Check, gpi: int) -> None:
    """The stage-1 table of the window slot lies in a granule that Root may not read: the walk itself faults."""
    made = builder(check)
    made.table(GB)
    table = check.session.target.info.layout.windows_l1
    made.granule(table, gpi)
    # A reserved GPI spoils the whole descriptor, so the probe's other tables must lie in other descriptors.
    far = 1 << 40
    items: list[Item] = [
        check.session.stimulus(kind, far + pas * GB + 0x40 * kind.number, pas)
        for pas in World
        for kind in (Kind.LOAD, Kind.STORE, Kind.FETCH, Kind.ATOMIC_ADD)
    ]
    check.run(Scene.of(f"stage-1 table with GPI {gpi:04b}", made), items)
