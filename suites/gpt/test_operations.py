"""Operations that are no single access: cache maintenance, DC ZVA, AT, accesses that cross into the next page."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from harness.check import Check
from harness.coverage import group
from harness.judge.operation import Operation
from harness.judge.operation_judging import choice_name
from harness.judge.scene import Item, Scene
from harness.judge.stimulus import Stimulus
from harness.judge.world import WorldContext
from harness.probe.records import World
from refmodel.gpt.build import GPTBuilder
from refmodel.gpt.decode import GPT_Any, GPT_NoAccess, GPT_Realm
from suites.gpt.scenes import GB, LOW, RESERVED, VALID, with_table
from suites.gpt.worlds import NAMES, PAGES, WHERE, Place, below, context, routings, space_of, spaces

_SPAN = 16 << 12
_BY_VA = (Operation.DC_IVAC, Operation.DC_CVAC, Operation.DC_CVAU, Operation.DC_CVAP, Operation.DC_CIVAC)
_ACROSS = (Operation.LOAD_ACROSS, Operation.STORE_ACROSS, Operation.LOAD_PAIR_ACROSS, Operation.STORE_PAIR_ACROSS)
_EL3 = Place(3)
_STAGE_1 = [(state, spot) for state, spot in WHERE if spot.has_stage_1]
_STAGE_1_NAMES = [name for name, (_, spot) in zip(NAMES, WHERE, strict=True) if spot.has_stage_1]
EVERYWHERE = pytest.mark.parametrize(
    ("state", "spot"), [(World.ROOT, _EL3), *_STAGE_1], ids=["ROOT-EL3", *_STAGE_1_NAMES]
)
BELOW = pytest.mark.parametrize(("state", "spot"), _STAGE_1, ids=_STAGE_1_NAMES)


def _reach(
    check: Check, where: WorldContext | None, state: World, spot: Place, operation: Operation, pa: int, *, ns: bool
) -> Stimulus:
    """An operation on an address of the RAM, by a block of the scene's stage 1 or the probe's map at EL3."""
    values = check.rng.getrandbits(64), check.rng.getrandbits(64)
    if where is None:
        pas = check.rng.choice(list(World))
        return Stimulus(operation, check.session.windows.va(pa, pas), pa, pas, 3, *values)
    return Stimulus(operation, where.stage1.block(pa, ns=ns), pa, space_of(where, spot, ns=ns), 3, *values)


def _scenes(
    check: Check, state: World, spot: Place, made: GPTBuilder, title: str, operations: tuple[Operation, ...],
    places: list[int],
) -> None:  # fmt: skip
    """Every operation at every place, from EL3 or below under each routing of faults."""
    if state is World.ROOT:
        items = [_reach(check, None, state, spot, o, pa, ns=False) for o in operations for pa in places for _ in World]
        check.run(Scene.of(title, made), items)
        return
    for scr, hcr in routings():
        where = context(check, state, spot, scr=scr, hcr=hcr)
        cells = itertools.product(operations, places, spaces(where))
        below_items: list[Item] = [_reach(check, where, state, spot, o, pa, ns=ns) for o, pa, ns in cells]
        check.run(below(title, made, where), below_items)


def _with_every_gpi(check: Check) -> GPTBuilder:
    made = with_table(check)
    for number, gpi in enumerate(VALID):
        made.granule(LOW + number * _SPAN, gpi)
    return made


def _by_va(state: World, spot: Place) -> tuple[Operation, ...]:
    """Data cache maintenance by VA that the level may execute."""
    return _BY_VA if spot.el else _BY_VA[1:]


@EVERYWHERE
@pytest.mark.rule("GPC-140", "GPC-132")
def test_dc_output(check: Check, state: World, spot: Place) -> None:
    """DC by VA of granules with every GPI: checked, or not."""
    # Operands in the middle of a cache line that is not a page's first.
    places = [LOW + number * _SPAN + 2048 + 8 * check.rng.randrange(1, 256) for number in range(len(VALID))]
    _scenes(check, state, spot, _with_every_gpi(check), "DC by VA", _by_va(state, spot), places)


@EVERYWHERE
@pytest.mark.rule("GPC-143")
def test_ic_output(check: Check, state: World, spot: Place) -> None:
    """IC IVAU of granules with every GPI: checked, where an address that is not mapped shows that it is translated."""
    unmapped = Stimulus(Operation.IC_IVAU, 2 << 39 if spot.el < 3 else 17 << 39, LOW, state)
    if state is World.ROOT:
        check.run(Scene.of("IC of an address that is not mapped", with_table(check)), [unmapped])
    else:
        where = context(check, state, spot)
        check.run(below("IC of an address that is not mapped", with_table(check), where), [unmapped])
    if not check.needs("translation by IC IVAU", "exception" in check.tally.choices[choice_name(Operation.IC_IVAU)]):
        return
    places = [LOW + number * _SPAN + 8 * check.rng.randrange(256) for number in range(len(VALID))]
    _scenes(check, state, spot, _with_every_gpi(check), "IC by VA", (Operation.IC_IVAU,), places)


@pytest.mark.smoke
@EVERYWHERE
@pytest.mark.rule("GPC-144", "GPC-050", "GPC-051")
def test_dc_zva(check: Check, state: World, spot: Place) -> None:
    """DC ZVA with operands anywhere in the block: FAR is the operand; a denied one zeroes nothing."""
    places = [LOW + number * _SPAN + check.rng.randrange(4096) for number in range(len(VALID)) for _ in range(3)]
    for pa in places:
        check.session.write(pa & ~63, check.rng.randbytes(64))
    _scenes(check, state, spot, _with_every_gpi(check), "DC ZVA", (Operation.DC_ZVA,), places)


def _denied_walk(check: Check, state: World, spot: Place, operation: Operation, level: int) -> None:
    """An operation whose stage-1 table of a level is in a granule that nobody may use, under each routing of faults."""
    for scr, hcr in routings():
        where = context(check, state, spot, scr=scr, hcr=hcr)
        upper = level == 0
        if upper and not (spot.el != 2 or spot.e2h):
            continue
        made = with_table(check)
        made.granule(where.stage1.table(level, upper=upper), GPT_NoAccess)
        stimulus = Stimulus(operation, where.stage1.page(PAGES, upper=upper), PAGES, where.state)
        check.run(below(f"level {level} table denied", made, where), [stimulus])


@BELOW
@pytest.mark.rule("GPC-140", "GPC-132")
def test_dc_walk(check: Check, state: World, spot: Place) -> None:
    """DC by VA whose table may not be fetched: a fault like any other, marked as cache maintenance."""
    for operation, level in itertools.product(_by_va(state, spot), (0, 1)):
        _denied_walk(check, state, spot, operation, level)


def _translations(spot: Place) -> tuple[Operation, ...]:
    """AT instructions of the level's own regime."""
    if spot.el == 2:
        return (Operation.AT_S1E2R, Operation.AT_S1E2W)
    return (Operation.AT_S1E1R, Operation.AT_S1E1W, Operation.AT_S1E0R, Operation.AT_S1E0W)


_ABOVE_EL0 = [
    (pytest.param(state, spot, id=name))
    for name, (state, spot) in zip(_STAGE_1_NAMES, _STAGE_1, strict=True)
    if spot.el
]


def _tells_space(state: World, spot: Place) -> bool:
    """Whether PAR_EL1 tells the space after an AT there: not for Non-secure state, nor for EL1&0 of Realm state."""
    return state in (World.ROOT, World.SECURE) or (state is World.REALM and spot.el == 2)


@pytest.mark.parametrize(
    ("state", "spot"),
    [
        pytest.param(*where, id=name, marks=pytest.mark.rule("GPC-148") if _tells_space(*where) else ())
        for name, where in zip(("ROOT-EL3", *_STAGE_1_NAMES), ((World.ROOT, _EL3), *_STAGE_1), strict=True)
        if where[1].el
    ],
)
@pytest.mark.rule("GPC-145")
def test_at_output(check: Check, state: World, spot: Place) -> None:
    """AT of granules with every GPI: PAR_EL1 has the address, which is not checked, and its space."""
    operations = (Operation.AT_S1E3R, Operation.AT_S1E3W) if state is World.ROOT else _translations(spot)
    places = [LOW + number * _SPAN + check.rng.randrange(4096) for number in range(len(VALID))]
    _scenes(check, state, spot, _with_every_gpi(check), "AT", operations, places)


@pytest.mark.parametrize(("state", "spot"), _ABOVE_EL0)
@pytest.mark.rule("GPC-146", "GPC-145")
def test_at_walk(check: Check, state: World, spot: Place) -> None:
    """AT whose table may not be fetched: in PAR_EL1 with its level, or an exception."""
    for operation, level in itertools.product(_translations(spot), (0, 1)):
        _denied_walk(check, state, spot, operation, level)


@pytest.mark.parametrize("gpi", [GPT_NoAccess, GPT_Realm], ids="{:04b}".format)
@pytest.mark.rule("GPC-145")
def test_at_walk_at_el3(check: Check, gpi: int) -> None:
    """AT S1E3R and S1E3W whose table Root may not read: in PAR_EL1, because nothing is above EL3 to be told."""
    made = with_table(check)
    made.table(GB)
    made.granule(check.session.target.info.layout.windows_l1, gpi)
    far = 1 << 40
    items = [
        Stimulus(operation, check.session.windows.va(far + pas * GB, pas), far + pas * GB, pas)
        for operation in (Operation.AT_S1E3R, Operation.AT_S1E3W)
        for pas in World
    ]
    check.run(Scene.of(f"AT, stage-1 table with GPI {gpi:04b}", made), items)


@pytest.mark.parametrize(("state", "spot"), _ABOVE_EL0)
@pytest.mark.rule("GPC-146")
def test_at_gpt_fault(check: Check, state: World, spot: Place) -> None:
    """AT whose table lies where the GPT is malformed: a GPC exception, whatever GPF says."""
    for operation, (scr, hcr) in itertools.product(_translations(spot), routings()):
        where = context(check, state, spot, scr=scr, hcr=hcr)
        made = with_table(check)
        made.raw_level_1(where.stage1.table(1), RESERVED[0])
        stimulus = Stimulus(operation, where.stage1.page(PAGES), PAGES, where.state)
        check.run(below("level 1 table behind a malformed descriptor", made, where), [stimulus])


def _by_pa(pa: int, pas: World) -> int:
    return pa | (pas & 1) << 63 | (pas >> 1) << 62


def _every_space(check: Check, operation: Operation) -> None:
    made = _with_every_gpi(check)
    made.block(LOW + GB, RESERVED[0])
    places = [LOW + GB, *(LOW + number * _SPAN for number in range(len(VALID)))]
    cells = check.plan(group(pa=places, pas=World))
    items: list[Item] = [Stimulus(operation, _by_pa(pa, pas), pa, pas) for pa, pas in cells]
    check.run(Scene.of(f"{operation.title} of every GPI", made), items, cells)


@pytest.mark.smoke
@pytest.mark.rule("GPC-141")
def test_dc_to_popa(check: Check) -> None:
    """DC CIPAPA of granules with every GPI, in every space: never checked."""
    _every_space(check, Operation.DC_CIPAPA)


@pytest.mark.rule("GPC-141")
def test_dc_tags_to_popa(check: Check) -> None:
    """DC CIGDPAPA: the same with allocation tags."""
    if check.applies("FEAT_MTE2", check.session.features.mte2):
        _every_space(check, Operation.DC_CIGDPAPA)


@pytest.mark.rule("GPC-142")
def test_dc_to_poe(check: Check) -> None:
    """DC CIPAE of granules with every GPI: checked or not in the Realm space, nothing in the others."""
    if check.applies("FEAT_MEC", check.session.features.mec):
        _every_space(check, Operation.DC_CIPAE)


def _edges(made: GPTBuilder) -> Iterator[int]:
    """Ends of pages at which either page is denied, both, or none; each pair of pages four times, 64 KB apart."""
    for number, (first, second) in enumerate(itertools.product((GPT_Any, GPT_NoAccess, GPT_Realm), repeat=2)):
        for again in range(4):
            at = LOW + (4 * number + again) * _SPAN
            made.granule(at, first)
            made.granule(at + 4096, second)
            yield at + 4096


@pytest.mark.smoke
@EVERYWHERE
@pytest.mark.rule("GPC-147", "GPC-050", "GPC-051")
def test_page_crossing(check: Check, state: World, spot: Place) -> None:
    """Loads, stores and pairs across the end of a page: both pages are checked, each denial names its own page."""
    made = with_table(check)
    edges = list(_edges(made))
    for edge in edges:
        check.session.write(edge - 16, check.rng.randbytes(32))

    def places() -> list[tuple[Operation, int]]:
        reach = {operation: 8 * operation.elements for operation in _ACROSS}
        chosen = zip(itertools.cycle(_ACROSS), edges, strict=False)
        return [(operation, edge - check.rng.randrange(1, reach[operation])) for operation, edge in chosen]

    if state is World.ROOT:
        items: list[Item] = [_reach(check, None, state, spot, o, pa, ns=False) for o, pa in places()]
        check.run(Scene.of("across a page", made), items)
        return
    for scr, hcr in routings():
        where = context(check, state, spot, scr=scr, hcr=hcr)
        crossing: list[Item] = [_reach(check, where, state, spot, o, pa, ns=False) for o, pa in places()]
        check.run(below("across a page", made, where), crossing)
