"""Contiguous ranges whose descriptors differ: an access is judged by one of them, and by nothing else."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from harness.check import Check
from harness.coverage import Cell, group
from harness.judge.scene import Item, Scene
from harness.judge.stimulus import Kind
from harness.probe.records import World
from refmodel.gpt.build import contiguous_descriptor, granules_descriptor
from refmodel.gpt.decode import GPT_Any, GPT_NoAccess, GPT_Realm, GPT_Secure
from refmodel.gpt.types import PGSe
from suites.gpt.scenes import LOW, fill_level_1, with_table

_GPIS = (GPT_NoAccess, GPT_Secure, GPT_Realm, GPT_Any)


@pytest.mark.smoke
@pytest.mark.parametrize("pgs", PGSe, ids=lambda pgs: pgs.name)
@pytest.mark.rule("GPC-167")
def test_misprogrammed(check: Check, pgs: PGSe) -> None:
    """A range of 2 MB with one GPI, a granule or a Contiguous descriptor of another in it, met from every space."""
    cells = check.plan(group(lambda _, most, one: most != one, kind=("granules", "contiguous"), most=_GPIS, one=_GPIS))
    made = with_table(check, pgs=pgs)
    items: list[Item] = []
    shown: list[Cell] = []
    span = 16 << pgs.value
    for number, cell in enumerate(cells):
        kind, most, one = cell
        start = LOW + (number << 21)
        fill_level_1(made, start, 21, contiguous_descriptor(most, 1))
        at = start + check.rng.randrange((1 << 21) // span) * span
        made.raw_level_1(at, granules_descriptor([one] * 16) if kind == "granules" else contiguous_descriptor(one, 1))
        places = (at, start, start + (1 << 21) - (1 << pgs.value))
        items += [check.session.stimulus(Kind.LOAD, pa, pas) for pa, pas in itertools.product(places, World)]
        shown += [cell] * (len(items) - len(shown))
    check.run(replace(Scene.of("a misprogrammed range", made), contiguity=True), items, shown)
