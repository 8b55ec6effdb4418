"""The check below EL3: who may access what from every state and level, and where a fault goes."""

from __future__ import annotations

import itertools

import pytest

from harness.check import Check
from harness.coverage import Cell, group
from harness.judge.scene import Item
from harness.judge.stimulus import Kind, Stimulus
from harness.judge.world import WorldContext
from harness.probe.records import World
from refmodel.gpt.build import GPTBuilder, block_descriptor, granules_descriptor, table_descriptor
from refmodel.gpt.decode import GPT_Any, GPT_NoAccess, GPT_NonSecure, GPT_Realm, GPT_Secure
from refmodel.gpt.types import PGSe
from suites.gpt.scenes import GB, LOW, RESERVED, VALID, apart, hole, with_table
from suites.gpt.worlds import (
    DEEP,
    NAMES,
    PAGES,
    PLACES,
    WHERE,
    Place,
    access,
    below,
    context,
    kinds,
    routings,
    space_of,
    spaces,
)

OWN = {World.SECURE: GPT_Secure, World.NON_SECURE: GPT_NonSecure, World.REALM: GPT_Realm}


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
    """All GPI encodings x spaces x kinds of access x SCR_EL3.GPF x HCR_EL2.GPF, from each state and level; with them
    granule sizes and forms of the descriptor.
    """
    first = context(check, state, spot, enabled=stage_1 == "on")
    cells = check.plan(
        group(scr_gpf=(0, 1), hcr_gpf=(0, 1), gpi=range(16), ns=spaces(first), kind=kinds(first)),
        group(pgs=PGSe),
        group(form=("granules", "contiguous")),
    )
    for (scr_gpf, hcr_gpf, pgs, form), own in apart(cells, 0, 1, 5, 6).items():
        where = context(check, state, spot, enabled=stage_1 == "on", scr={"GPF": scr_gpf}, hcr={"GPF": hcr_gpf})
        made, span = _all_gpis(check, pgs, form)
        items: list[Item] = [
            access(check, where, spot, kind, LOW + gpi * span, span, ns=ns) for _, _, gpi, ns, kind, *_ in own
        ]
        check.run(below(f"all GPIs, SCR_EL3.GPF {scr_gpf}, HCR_EL2.GPF {hcr_gpf}", made, where), items, own)


def _all_gpis(check: Check, pgs: PGSe, form: str) -> tuple[GPTBuilder, int]:
    """A GPT with every GPI encoding for a range of its own from ``LOW`` on, and the bytes of such a range."""
    made = with_table(check, pgs=pgs)
    span = 1 << 21 if form == "contiguous" else 16 << pgs.value
    for gpi in range(16):
        if form == "contiguous":
            made.contiguous(LOW + gpi * span, 21, gpi)
        else:
            made.raw_level_1(LOW + gpi * span, granules_descriptor([gpi] * 16))
    return made, span


_PAGES_AT_RANDOM = 16
_ANY_SIZE = frozenset({Kind.LOAD, Kind.STORE, Kind.ATOMIC_ADD, Kind.ATOMIC_SWAP})


@EVERYWHERE
@pytest.mark.rule("GPC-020", "GPC-050", "GPC-051")
def test_random(check: Check, state: World, spot: Place) -> None:
    """Random granules, and random accesses of every kind and size in volume that return and leave behind what others
    stored; under each routing of faults.
    """
    total = max(400, int(18_000 * check.scale))
    while total > 0:
        scr, hcr = check.rng.choice(list(routings()))
        where = context(check, state, spot, scr=scr, hcr=hcr)
        made = with_table(check, pgs=check.rng.choice(list(PGSe)))
        granule = 1 << made.geometry.pgs.value
        for number in range(_PAGES_AT_RANDOM):
            made.granule(LOW + number * granule, check.rng.choice(VALID))
        count = min(total, 9000)
        items = [_random_access(check, where, spot, granule) for _ in range(count)]
        check.run(below("random granules", made, where), items)
        total -= count


def _random_access(check: Check, where: WorldContext, spot: Place, granule: int) -> Item:
    """One access to a random place in the first 4 KB of a random granule."""
    rng = check.rng
    kind = rng.choice(kinds(where))
    base = LOW + rng.randrange(_PAGES_AT_RANDOM) * granule
    made = access(check, where, spot, kind, base, 1 << 12, ns=rng.choice(spaces(where)))
    return made._replace(size_log2=rng.randrange(4)) if kind in _ANY_SIZE else made


@WITH_STAGE_1
@pytest.mark.rule("GPC-152")
def test_spaces(check: Check, state: World, spot: Place) -> None:
    """NS in a leaf leads where it should: granules of each space, met with NS clear and set."""
    made = with_table(check)
    for number, gpi in enumerate(VALID):
        made.granule(LOW + (number << 12), gpi)
    where = context(check, state, spot)
    cells = check.plan(group(gpi=VALID, ns=(False, True), kind=(Kind.LOAD, Kind.STORE)))
    items: list[Item] = [
        access(check, where, spot, kind, LOW + (VALID.index(gpi) << 12), 1 << 12, ns=ns) for gpi, ns, kind in cells
    ]
    check.run(below("a granule of each space", made, where), items, cells)


@EVERYWHERE
@pytest.mark.rule("GPC-153")
def test_flat_map(check: Check, state: World, spot: Place) -> None:
    """With stage 1 off an access is in the state's own space."""
    made = with_table(check)
    for number, gpi in enumerate(VALID):
        made.granule(LOW + (number << 12), gpi)
    where = context(check, state, spot, enabled=False)
    cells = check.plan(group(gpi=VALID, kind=(Kind.LOAD, Kind.STORE, Kind.FETCH)))
    items: list[Item] = [
        access(check, where, spot, kind, LOW + (VALID.index(gpi) << 12), 1 << 12) for gpi, kind in cells
    ]
    check.run(below("a granule of each space, stage 1 off", made, where), items, cells)


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
    plan = check.plan(group(sif=(0, 1), granule=(0, 1), ns=(False, True)))
    for (sif,), cells in apart(plan, 0).items():
        where = context(check, state, spot, scr={"SIF": sif})
        items: list[Item] = [
            access(check, where, spot, Kind.FETCH, LOW + (number << 12), 1 << 12, ns=ns) for _, number, ns in cells
        ]
        check.run(below(f"foreign code, SIF {sif}", made, where), items, cells)


def _page_access(
    check: Check, made: GPTBuilder, state: World, spot: Place, cell: Cell, kind: Kind, *, upper: bool, title: str,
    **fields: object,
) -> None:  # fmt: skip
    """One access through all levels of the tables, after one by a block that shows that the rest is sound."""
    where = context(check, state, spot, **fields)  # type: ignore[arg-type]
    pa = PAGES + check.rng.randrange(256) * 16 + 16 * (kind is Kind.FETCH)
    ns = bool(fields.get("ns"))
    space = World.NON_SECURE if fields.get("ns_table") else space_of(where, spot, ns=ns)
    page = Stimulus(kind, where.stage1.page(pa, upper=upper), pa, space)
    sound = access(check, where, spot, Kind.LOAD, LOW, 1 << 12)
    check.run(below(title, made, where), [sound, page], [None, cell])


def _tables(spot: Place, *, deep: bool) -> list[tuple[int, bool]]:
    """(level, upper range) of each table whose fetch is not also that of the probe's own instructions.

    ``deep``: levels 2 and 3, else 0 and 1.
    """
    two_ranges = spot.el != 2 or spot.e2h
    if deep:
        return list(itertools.product((2, 3), (False, True) if two_ranges else (False,)))
    return [(1, False), *(((0, True), (1, True)) if two_ranges else ())]


_FETCHING = group(kind=(Kind.LOAD, Kind.STORE, Kind.ATOMIC_ADD, Kind.FETCH))
_ROUTED = group(scr_gpf=(0, 1), hcr_gpf=(0, 1))


def _denied_fetches(check: Check, state: World, spot: Place, *, deep: bool) -> None:
    """Tables that may not be fetched, with each kind of access and under each routing of faults."""
    tables = group(table=_tables(spot, deep=deep))
    for cell in check.plan(tables, _FETCHING, _ROUTED, costly=deep):
        (level, upper), kind, scr_gpf, hcr_gpf = cell
        made = with_table(check)
        made.granule(context(check, state, spot).stage1.table(level, upper=upper), GPT_NoAccess)
        title = DEEP if level > 1 else f"level {level} table denied"
        routing = {"scr": {"GPF": scr_gpf}, "hcr": {"GPF": hcr_gpf}}
        _page_access(check, made, state, spot, cell, kind, upper=upper, title=title, **routing)


@pytest.mark.smoke
@WITH_STAGE_1
@pytest.mark.rule("GPC-054", "GPC-128")
def test_table_fetch_denied(check: Check, state: World, spot: Place) -> None:
    """A granule protection fault on the fetch of a stage-1 descriptor, levels 0 and 1, under each routing of faults."""
    _denied_fetches(check, state, spot, deep=False)


@WITH_STAGE_1
@pytest.mark.rule("GPC-054")
def test_deep_table_fetch_denied(check: Check, state: World, spot: Place) -> None:
    """The same at levels 2 and 3, which some machines do not survive."""
    _denied_fetches(check, state, spot, deep=True)


@WITH_STAGE_1
@pytest.mark.rule("GPC-150")
def test_tables_in_own_space(check: Check, state: World, spot: Place) -> None:
    """Tables are fetched in the state's own space: in granules for that space at all levels, for others at 0 and 1."""
    others = [gpi for gpi in VALID if gpi not in (GPT_Any, OWN[state])]
    shallow, deep = (_tables(spot, deep=deep) for deep in (False, True))
    tables = [*((at, OWN[state]) for at in (*shallow, *deep)), *itertools.product(shallow, others)]
    for cell in check.plan(group(table=tables)):
        (level, upper), gpi = cell[0]
        made = with_table(check)
        made.granule(context(check, state, spot).stage1.table(level, upper=upper), gpi)
        title = f"level {level} table with GPI {gpi:04b}"
        _page_access(check, made, state, spot, cell, Kind.LOAD, upper=upper, title=title)


@pytest.mark.parametrize("gpi", [GPT_Secure, GPT_NonSecure], ids=["secure", "non-secure"])
@pytest.mark.rule("GPC-150")
def test_ns_table(check: Check, gpi: int) -> None:
    """NSTable leads a Secure walk to the Non-secure space: levels 2 and 3 in granules of either space."""
    spots = [spot for spot in PLACES if spot.has_stage_1]
    for cell in check.plan(group(level=(2, 3), spot=spots)):
        level, spot = cell
        made = with_table(check)
        made.granule(context(check, World.SECURE, spot).stage1.table(level), gpi)
        title = "NSTable" if gpi == GPT_NonSecure else DEEP
        _page_access(check, made, World.SECURE, spot, cell, Kind.LOAD, upper=False, ns_table=True, title=title)


_THREE = (Kind.LOAD, Kind.STORE, Kind.FETCH)
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
    accesses = group(entry=_MALFORMED, ns=spaces(context(check, state, spot)), kind=_THREE)
    for (name, scr_gpf, hcr_gpf), cells in apart(check.plan(accesses, _ROUTED), 0, 3, 4).items():
        made = with_table(check)
        made.raw_level_0(LOW + GB, _MALFORMED[name])
        where = context(check, state, spot, scr={"GPF": scr_gpf}, hcr={"GPF": hcr_gpf})
        items: list[Item] = [access(check, where, spot, kind, LOW + GB, GB, ns=ns) for _, ns, kind, *_ in cells]
        check.run(below(f"level 0 entry of a bad {name}", made, where), items, cells)


@EVERYWHERE
@pytest.mark.rule("GPC-125", "GPC-127")
def test_gpt_external_abort_from_below(check: Check, state: World, spot: Place) -> None:
    """An external abort on a GPT fetch is a GPC exception to EL3, at the SError vector with SCR_EL3.EASE = 1."""
    plan = check.plan(group(ease=(0, 1), ea=(0, 1), scr_gpf=(0, 1), hcr_gpf=(0, 1), kind=_THREE))
    for (ease, ea, scr_gpf, hcr_gpf), cells in apart(plan, 0, 1, 2, 3).items():
        made = with_table(check)
        made.raw_level_0(LOW + GB, table_descriptor(hole(check)))
        where = context(check, state, spot, scr={"GPF": scr_gpf, "EASE": ease, "EA": ea}, hcr={"GPF": hcr_gpf})
        items: list[Item] = [access(check, where, spot, cell[4], LOW + GB, GB) for cell in cells]
        check.run(below(f"level 1 table where nothing answers, EASE {ease}", made, where), items, cells)


@EVERYWHERE
@pytest.mark.parametrize("ea", [0, 1])
@pytest.mark.rule("GPC-126")
def test_external_abort_from_below(check: Check, state: World, spot: Place, ea: int) -> None:
    """An access that passes the check and that nothing answers: HCR_EL2.GPF does not route it, EA and TEA do."""
    plan = check.plan(group(tea=(0, 1), scr_gpf=(0, 1), hcr_gpf=(0, 1), ease=(0, 1), kind=_THREE))
    for (tea, scr_gpf, hcr_gpf, ease), cells in apart(plan, 0, 1, 2, 3).items():
        made = with_table(check)
        made.block(hole(check), GPT_Any)
        scr, hcr = {"EA": ea, "EASE": ease, "GPF": scr_gpf}, {"TEA": tea, "GPF": hcr_gpf}
        where = context(check, state, spot, scr=scr, hcr=hcr)
        items: list[Item] = [access(check, where, spot, cell[4], hole(check), GB) for cell in cells]
        check.run(below(f"nothing answers, EA {ea}, TEA {tea}", made, where), items, cells)
