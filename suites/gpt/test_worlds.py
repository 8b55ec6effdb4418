"""The check below EL3: who may access what from every state and level, and where a fault goes."""

from __future__ import annotations

import itertools

import pytest

from harness.check import Check
from harness.judge.scene import Item
from harness.judge.stimulus import Kind, Stimulus
from harness.probe.records import World
from refmodel.gpt.build import GPTBuilder, block_descriptor, granules_descriptor, table_descriptor
from refmodel.gpt.decode import GPT_Any, GPT_NoAccess, GPT_NonSecure, GPT_Realm, GPT_Secure
from suites.gpt.scenes import GB, LOW, RESERVED, VALID, hole, with_table
from suites.gpt.worlds import (
    DEEP,
    NAMES,
    PAGES,
    PLACES,
    WHERE,
    Place,
    Routing,
    access,
    below,
    context,
    kinds,
    routings,
    space_of,
    spaces,
)

OWN = {World.SECURE: GPT_Secure, World.NON_SECURE: GPT_NonSecure, World.REALM: GPT_Realm}
_SPAN = 16 << 12


def _rules_of(spot: Place) -> tuple[str, ...]:
    """The rules on routing that can decide at a place, the one with no control set first."""
    if spot.el == 2:
        return ("GPC-124", "GPC-120")
    return ("GPC-122", "GPC-120") if spot.tge else ("GPC-124", "GPC-120", "GPC-121")


EVERYWHERE = pytest.mark.parametrize(("state", "spot"), WHERE, ids=NAMES)
EVERYWHERE_ROUTED = pytest.mark.parametrize(
    ("state", "spot"),
    [
        pytest.param(*where, marks=pytest.mark.rule(*_rules_of(where[1])), id=name)
        for where, name in zip(WHERE, NAMES, strict=True)
    ],
)
WITH_STAGE_1 = pytest.mark.parametrize(
    ("state", "spot"),
    [pytest.param(*where, id=name) for where, name in zip(WHERE, NAMES, strict=True) if where[1].has_stage_1],
)


@pytest.mark.smoke
@EVERYWHERE_ROUTED
@pytest.mark.rule("GPC-030", "GPC-031", "GPC-032", "GPC-033", "GPC-034", "GPC-035", "GPC-128", "GPC-129")
@pytest.mark.parametrize("stage_1", ["on", "off"])
def test_matrix(check: Check, state: World, spot: Place, stage_1: str) -> None:
    """All GPI encodings x spaces x kinds of access x SCR_EL3.GPF x HCR_EL2.GPF, from each state and level."""
    made = with_table(check)
    for gpi in range(16):
        made.raw_level_1(LOW + gpi * _SPAN, granules_descriptor([gpi] * 16))
    for number, (scr, hcr) in enumerate(routings()):
        where = context(check, state, spot, enabled=stage_1 == "on", scr=scr, hcr=hcr)
        cells = list(itertools.product(range(16), spaces(where), kinds(where)))
        check.cells(4 * len(cells))
        items: list[Item] = []
        for gpi, ns, kind in cells:
            items.append(access(check, where, spot, kind, LOW + gpi * _SPAN, _SPAN, ns=ns))
            check.cover(gpi, ns, kind, number)
        check.run(below(f"all GPIs, SCR_EL3.GPF {scr['GPF']}, HCR_EL2.GPF {hcr['GPF']}", made, where), items)


@WITH_STAGE_1
@pytest.mark.rule("GPC-152")
def test_spaces(check: Check, state: World, spot: Place) -> None:
    """NS in a leaf leads where it should: granules of each space, met with NS clear and set."""
    made = with_table(check)
    for number, gpi in enumerate(VALID):
        made.granule(LOW + (number << 12), gpi)
    where = context(check, state, spot)
    items: list[Item] = [
        access(check, where, spot, kind, LOW + (number << 12), 1 << 12, ns=ns)
        for number, ns, kind in itertools.product(range(len(VALID)), (False, True), (Kind.LOAD, Kind.STORE))
    ]
    check.run(below("a granule of each space", made, where), items)


@EVERYWHERE
@pytest.mark.rule("GPC-153")
def test_flat_map(check: Check, state: World, spot: Place) -> None:
    """With stage 1 off an access is in the state's own space."""
    made = with_table(check)
    for number, gpi in enumerate(VALID):
        made.granule(LOW + (number << 12), gpi)
    where = context(check, state, spot, enabled=False)
    items: list[Item] = [
        access(check, where, spot, kind, LOW + (number << 12), 1 << 12)
        for number, kind in itertools.product(range(len(VALID)), (Kind.LOAD, Kind.STORE, Kind.FETCH))
    ]
    check.run(below("a granule of each space, stage 1 off", made, where), items)


_EXECUTE = [(World.REALM, spot) for state, spot in WHERE if state is World.REALM and spot.el + 2 * spot.e2h >= 2] + [
    (World.SECURE, spot) for state, spot in WHERE if state is World.SECURE and spot.has_stage_1
]


@pytest.mark.parametrize(("state", "spot"), _EXECUTE, ids=[f"{state.name}-{spot}" for state, spot in _EXECUTE])
@pytest.mark.rule("GPC-154")
def test_foreign_memory_is_execute_never(check: Check, state: World, spot: Place) -> None:
    """Instructions are not fetched from the Non-secure PAS by Realm EL2, nor by Secure state with SCR_EL3.SIF = 1."""
    made = with_table(check)
    made.granule(LOW, GPT_Any)
    made.granule(LOW + 4096, GPT_NonSecure)
    for sif in (0, 1):
        where = context(check, state, spot, scr={"SIF": sif})
        items: list[Item] = [
            access(check, where, spot, Kind.FETCH, LOW + (number << 12), 1 << 12, ns=ns)
            for number, ns in itertools.product(range(2), (False, True))
        ]
        check.run(below(f"foreign code, SIF {sif}", made, where), items)


def _page_access(
    check: Check, made: GPTBuilder, state: World, spot: Place, kind: Kind, *, upper: bool, title: str, **fields: object
) -> None:
    """One access through all levels of the tables, after one by a block that shows that the rest is sound."""
    where = context(check, state, spot, **fields)  # type: ignore[arg-type]
    pa = PAGES + check.rng.randrange(256) * 16 + 16 * (kind is Kind.FETCH)
    ns = bool(fields.get("ns"))
    space = World.NON_SECURE if fields.get("ns_table") else space_of(where, spot, ns=ns)
    page = Stimulus(kind, where.stage1.page(pa, upper=upper), pa, space)
    sound = access(check, where, spot, Kind.LOAD, LOW, 1 << 12)
    check.run(below(title, made, where), [sound, page])


def _tables(spot: Place, *, deep: bool) -> list[tuple[int, bool]]:
    """(level, upper range) of each table whose fetch is not also that of the probe's own instructions.

    ``deep``: levels 2 and 3, else 0 and 1.
    """
    two_ranges = spot.el != 2 or spot.e2h
    if deep:
        return list(itertools.product((2, 3), (False, True) if two_ranges else (False,)))
    return [(1, False), *(((0, True), (1, True)) if two_ranges else ())]


def _denied_fetch(check: Check, state: World, spot: Place, level: int, routing: Routing, *, upper: bool) -> None:
    scr, hcr = routing
    made = with_table(check)
    made.granule(context(check, state, spot).stage1.table(level, upper=upper), GPT_NoAccess)
    kind = check.rng.choice((Kind.LOAD, Kind.STORE, Kind.ATOMIC_ADD, Kind.FETCH))
    title = DEEP if level > 1 else f"level {level} table denied"
    _page_access(check, made, state, spot, kind, upper=upper, title=title, scr=scr, hcr=hcr)
    check.cover(level, upper, *scr.values(), *hcr.values())


@pytest.mark.smoke
@WITH_STAGE_1
@pytest.mark.rule("GPC-054", "GPC-128")
def test_table_fetch_denied(check: Check, state: World, spot: Place) -> None:
    """A granule protection fault on the fetch of a stage-1 descriptor, levels 0 and 1, under each routing of faults."""
    cells = list(itertools.product(_tables(spot, deep=False), routings()))
    check.cells(len(cells))
    for (level, upper), routing in cells:
        _denied_fetch(check, state, spot, level, routing, upper=upper)


@WITH_STAGE_1
@pytest.mark.rule("GPC-054")
def test_deep_table_fetch_denied(check: Check, state: World, spot: Place) -> None:
    """The same at levels 2 and 3; each level under a routing at random, because some machines do not survive it."""
    every = list(routings())
    tables = _tables(spot, deep=True)
    check.cells(len(every) * len(tables))
    for level in (2, 3):
        upper = check.rng.choice([upper for at, upper in tables if at == level])
        _denied_fetch(check, state, spot, level, check.rng.choice(every), upper=upper)


@WITH_STAGE_1
@pytest.mark.rule("GPC-150")
def test_tables_in_own_space(check: Check, state: World, spot: Place) -> None:
    """Tables are fetched in the state's own space: in granules for that space at all levels, for others at 0 and 1."""
    others = [gpi for gpi in VALID if gpi not in (GPT_Any, OWN[state])]
    shallow, deep = (_tables(spot, deep=deep) for deep in (False, True))
    cells = [*((at, OWN[state]) for at in (*shallow, *deep)), *itertools.product(shallow, others)]
    for (level, upper), gpi in cells:
        made = with_table(check)
        made.granule(context(check, state, spot).stage1.table(level, upper=upper), gpi)
        title = f"level {level} table with GPI {gpi:04b}"
        _page_access(check, made, state, spot, Kind.LOAD, upper=upper, title=title)


@pytest.mark.parametrize("gpi", [GPT_Secure, GPT_NonSecure], ids=["secure", "non-secure"])
@pytest.mark.rule("GPC-150")
def test_ns_table(check: Check, gpi: int) -> None:
    """NSTable leads a Secure walk to the Non-secure space: levels 2 and 3 in granules of either space."""
    for level, spot in itertools.product((2, 3), [spot for _, spot in WHERE[: len(PLACES)] if spot.has_stage_1]):
        made = with_table(check)
        made.granule(context(check, World.SECURE, spot).stage1.table(level), gpi)
        title = "NSTable" if gpi == GPT_NonSecure else DEEP
        _page_access(check, made, World.SECURE, spot, Kind.LOAD, upper=False, ns_table=True, title=title)


_MALFORMED = {
    "GPI": block_descriptor(RESERVED[0]),
    "type": 0b0101,
    "block": block_descriptor(GPT_Any) | 1 << 8,
    "table": table_descriptor(1 << 20) | 1 << 4,
}
"""Level 0 entries that are GPT walk faults."""


@pytest.mark.smoke
@EVERYWHERE
@pytest.mark.rule("GPC-125", "GPC-128", "GPC-041")
def test_gpt_fault_from_below(check: Check, state: World, spot: Place) -> None:
    """A fault of the GPT itself is a GPC exception to EL3, whatever GPF and TGE say."""
    for (name, entry), (scr, hcr) in itertools.product(_MALFORMED.items(), routings()):
        made = with_table(check)
        made.raw_level_0(LOW + GB, entry)
        where = context(check, state, spot, scr=scr, hcr=hcr)
        items: list[Item] = [
            access(check, where, spot, kind, LOW + GB, GB, ns=ns)
            for ns, kind in itertools.product(spaces(where), (Kind.LOAD, Kind.STORE, Kind.FETCH))
        ]
        check.run(below(f"level 0 entry of a bad {name}", made, where), items)


@EVERYWHERE
@pytest.mark.rule("GPC-125", "GPC-127")
def test_gpt_external_abort_from_below(check: Check, state: World, spot: Place) -> None:
    """An external abort on a GPT fetch is a GPC exception to EL3, at the SError vector with SCR_EL3.EASE = 1."""
    for ease, (scr, hcr) in itertools.product((0, 1), routings()):
        made = with_table(check)
        made.raw_level_0(LOW + GB, table_descriptor(hole(check)))
        where = context(check, state, spot, scr={**scr, "EASE": ease, "EA": check.rng.randrange(2)}, hcr=hcr)
        items: list[Item] = [
            access(check, where, spot, kind, LOW + GB, GB) for kind in (Kind.LOAD, Kind.STORE, Kind.FETCH)
        ]
        check.run(below(f"level 1 table where nothing answers, EASE {ease}", made, where), items)


@EVERYWHERE
@pytest.mark.parametrize("ea", [0, 1])
@pytest.mark.rule("GPC-126")
def test_external_abort_from_below(check: Check, state: World, spot: Place, ea: int) -> None:
    """An access that passes the check and that nothing answers: HCR_EL2.GPF does not route it, EA and TEA do."""
    for tea, gpf, ease in itertools.product((0, 1), (0, 1), (0, 1)):
        made = with_table(check)
        made.block(hole(check), GPT_Any)
        where = context(check, state, spot, scr={"EA": ea, "EASE": ease, "GPF": gpf}, hcr={"TEA": tea, "GPF": gpf})
        items: list[Item] = [
            access(check, where, spot, kind, hole(check), GB) for kind in (Kind.LOAD, Kind.STORE, Kind.FETCH)
        ]
        check.run(below(f"nothing answers, EA {ea}, TEA {tea}", made, where), items)
