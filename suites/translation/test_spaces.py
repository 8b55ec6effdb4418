"""The output address space of a leaf, who executes what, and the space of the tables themselves."""

from __future__ import annotations

import itertools

import pytest

from harness.check import Check
from harness.judge.scene import Item
from harness.judge.stimulus import Kind, Stimulus
from harness.judge.tables import EL0, NS, NS_TABLE, READ_ONLY
from harness.probe.records import World
from refmodel.gpt.decode import GPT_Any, GPT_NoAccess, GPT_NonSecure, GPT_Realm, GPT_Root, GPT_Secure
from suites.gpt.scenes import with_table
from suites.gpt.worlds import DEEP, Place
from suites.translation.scenes import (
    DATA,
    EVERYWHERE,
    FOREIGN_CODE,
    UPPER,
    access,
    builder,
    leaf,
    mapped,
    scene,
    space,
    two_ranges,
)

_AREA = 1 << 39
_GPIS = (GPT_Any, GPT_Secure, GPT_NonSecure, GPT_Realm, GPT_Root, GPT_NoAccess)
_SPACING = 1 << 16


def _every_granule(check: Check, state: World, spot: Place, kinds: tuple[Kind, ...], *, sif: int, bits: int) -> None:
    """Leaves of each level, with NS clear and set, that lead to a granule of each GPI."""
    gpt = with_table(check)
    made = builder(check)
    items: list[Item] = []
    for number, gpi in enumerate(_GPIS):
        gpt.granule(DATA + (number << 12), gpi)
    for (number, _), ns, level, kind in itertools.product(enumerate(_GPIS), (0, NS), (1, 2, 3), kinds):
        page = DATA + (number << 12)
        va = _AREA + (level << 34) + (number << 31) + ((ns != 0) << 30)
        made.put(va, level, leaf(level, page, mapped(bits | ns)))
        items.append(access(check, kind, va, level, page, space(state, spot, ns)))
    check.run(scene(f"granules of every space, SIF {sif}", gpt, made, state, spot, scr={"SIF": sif}), items)


@pytest.mark.smoke
@EVERYWHERE
@pytest.mark.rule("GPC-152")
def test_output_space(check: Check, state: World, spot: Place) -> None:
    """NS in a leaf of every level leads where it should: data, against granules of every space."""
    for sif in (0, 1):
        _every_granule(check, state, spot, tuple(k for k in Kind if k is not Kind.FETCH), sif=sif, bits=EL0)


@FOREIGN_CODE
@pytest.mark.rule("GPC-154")
def test_foreign_code(check: Check, state: World, spot: Place) -> None:
    """Nothing is fetched from the Non-secure space by Realm EL2, nor with SIF by Secure state."""
    for sif in (0, 1):
        _every_granule(check, state, spot, (Kind.FETCH,), sif=sif, bits=EL0 | READ_ONLY)


_OWN = {World.SECURE: GPT_Secure, World.NON_SECURE: GPT_NonSecure, World.REALM: GPT_Realm}


@EVERYWHERE
@pytest.mark.rule("GPC-150")
def test_tables_space(check: Check, state: World, spot: Place) -> None:
    """Tables of level 1 to 3 in granules of the state's own space; NSTable moves Secure ones, and nobody else's."""
    for bits in (0, NS_TABLE):
        gpt = with_table(check)
        made = builder(check, spacing=_SPACING)
        va = _AREA | (UPPER if two_ranges(spot) else 0)
        made.put(va, 3, leaf(3, DATA, mapped(EL0)))
        made.upper_bits(va, 0, bits)
        moved = bits != 0 and state is World.SECURE
        for level in (1, 2, 3):
            gpt.granule(made.table(va, level), GPT_NonSecure if moved else _OWN[state])
        pas = World.NON_SECURE if moved else state
        items: list[Item] = [access(check, kind, va, 3, DATA, pas) for kind in Kind for _ in range(4)]
        check.run(scene("tables in granules of their own space", gpt, made, state, spot), items)


@EVERYWHERE
@pytest.mark.rule("GPC-054")
def test_denied_tables(check: Check, state: World, spot: Place) -> None:
    """A table of level 0 or 1 that may not be fetched, for every kind of access and routing of faults."""
    levels = (0, 1) if two_ranges(spot) else (1,)
    for level, scr_gpf, hcr_gpf in itertools.product(levels, (0, 1), (0, 1)):
        gpt = with_table(check)
        made = builder(check, spacing=_SPACING)
        va = _AREA | (UPPER if two_ranges(spot) else 0)
        made.put(va, 3, leaf(3, DATA, mapped(EL0)))
        gpt.granule(made.table(va, level), GPT_NoAccess)
        items: list[Item] = [access(check, kind, va, 3, DATA, state) for kind in Kind]
        title = f"level {level} table denied, SCR_EL3.GPF {scr_gpf}, HCR_EL2.GPF {hcr_gpf}"
        where = scene(title, gpt, made, state, spot, scr={"GPF": scr_gpf}, hcr={"GPF": hcr_gpf})
        check.run(where, items)


@pytest.mark.parametrize("level", [2, 3])
@pytest.mark.rule("GPC-054", "GPC-080")
def test_denied_deep_table(check: Check, level: int) -> None:
    """A table of level 2 or 3 of a Realm's EL1 that may not be fetched."""
    gpt = with_table(check)
    made = builder(check, spacing=_SPACING)
    made.put(_AREA, 3, leaf(3, DATA, mapped()))
    gpt.granule(made.table(_AREA, level), GPT_NoAccess)
    stimulus = Stimulus(Kind.LOAD, _AREA, DATA, World.REALM)
    check.run(scene(DEEP, gpt, made, World.REALM, Place(1)), [stimulus])


@EVERYWHERE
@pytest.mark.rule("TRN-053")
def test_external_abort_on_walk(check: Check, state: World, spot: Place) -> None:
    """A table where nothing answers, at every level: a synchronous external abort on the walk, with that level."""
    hole = check.session.target.info.layout.hole[0].base
    gpt = with_table(check)
    gpt.block(hole, GPT_Any)
    made = builder(check)
    items: list[Item] = []
    for level in (0, 1, 2):
        va = _AREA + (level << 39)
        made.put(va, level, hole | 0b11)
        items += [access(check, kind, va, 3, DATA, state) for kind in Kind]
    check.run(scene("tables where nothing answers", gpt, made, state, spot, scr={"EA": 0}), items)
    if two_ranges(spot):
        roots = made.roots[0], hole
        upper: list[Item] = [access(check, kind, UPPER, 3, DATA, state) for kind in Kind]
        check.run(scene("TTBR1 where nothing answers", gpt, made, state, spot, scr={"EA": 0}, roots=roots), upper)
