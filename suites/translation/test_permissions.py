"""Stage 1 permissions: every leaf, table and control that permits or denies, against every kind of access."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest

from harness.check import Check
from harness.coverage import group
from harness.judge.scene import Item
from harness.judge.stimulus import Kind
from harness.judge.tables import (
    AF,
    EL0,
    NO_EL0_TABLE,
    NS,
    PXN,
    PXN_TABLE,
    READ_ONLY,
    READ_ONLY_TABLE,
    XN,
    XN_TABLE,
    Controls,
    TableBuilder,
)
from harness.probe.records import World
from suites.gpt.scenes import with_table
from suites.gpt.worlds import Place
from suites.translation.scenes import (
    DATA,
    EL1_PLACES,
    EVERYWHERE,
    PLACES,
    UPPER,
    access,
    builder,
    leaf,
    portions,
    scene,
    space,
    two_ranges,
)

_BOTH_RANGES = tuple(
    sum(bits) for bits in itertools.product((0, EL0), (0, READ_ONLY), (0, XN), (0, PXN), (0, AF), (0, NS))
)
_ONE_RANGE = tuple(EL0 + sum(bits) for bits in itertools.product((0, READ_ONLY), (0, XN), (0, AF), (0, NS)))
_TABLES_OF_TWO = tuple(
    sum(bits) for bits in itertools.product((0, NO_EL0_TABLE), (0, READ_ONLY_TABLE), (0, XN_TABLE), (0, PXN_TABLE))
)
_TABLES_OF_ONE = tuple(sum(bits) for bits in itertools.product((0, READ_ONLY_TABLE), (0, XN_TABLE)))
_LEVELS = (1, 2, 3)


@dataclass(frozen=True)
class _Cell:
    """One access: bits of the leaf, of the table above it (by number), the leaf's level, the kind."""

    leaf: int
    table: int
    level: int
    kind: Kind


def _address(cell: _Cell, *, upper: bool) -> int:
    """The virtual address whose leaf a cell is about: a level 0 entry for each table, three areas below it."""
    va = (1 + cell.table << 39) | (UPPER if upper else 0)
    match cell.level:
        case 1:
            return va | 64 + cell.leaf << 30
        case 2:
            return va | 1 << 30 | cell.leaf << 21
        case _:
            return va | 2 << 30 | cell.leaf << 12


def _page(cell: _Cell) -> int:
    return DATA + (cell.leaf << 12)


def _controls(spot: Place) -> list[tuple[Controls, int]]:
    """Every combination of the controls of permissions, and PSTATE.PAN."""
    if not two_ranges(spot):
        return [(Controls(wxn=wxn, hpd=(hpd, hpd)), 0) for wxn, hpd in itertools.product((0, 1), repeat=2)]
    return [
        (Controls(wxn=wxn, hpd=(hpd, hpd), epan=epan), pan)
        for wxn, hpd, epan, pan in itertools.product((0, 1), repeat=4)
    ]


def _rules(spot: Place) -> tuple[str, ...]:
    """The rules that can decide at a place."""
    common = ("TRN-020", "TRN-012", "TRN-025", "TRN-028")
    if not two_ranges(spot):
        return (*common, "TRN-022", "TRN-029")
    if spot.el == 0:
        return (*common, "TRN-021", "TRN-022", "TRN-029")
    privileged = (*common, "TRN-023", "TRN-024", "TRN-026", "TRN-027", "TRN-030", "TRN-033")
    return (*privileged, "TRN-021") if spot.el == 1 else privileged


MATRIX = pytest.mark.parametrize(
    ("state", "spot"),
    [pytest.param(state, spot, marks=pytest.mark.rule(*_rules(spot)), id=name) for state, spot, name in PLACES],
)


def _tables(
    check: Check, spot: Place, leaves: tuple[int, ...], tables: tuple[int, ...], *, upper: bool
) -> TableBuilder:
    made = builder(check)
    for number, bits in itertools.product(range(len(leaves)), range(len(tables))):
        for level in _LEVELS:
            cell = _Cell(number, bits, level, Kind.LOAD)
            made.put(_address(cell, upper=upper), level, leaf(level, _page(cell), leaves[number]))
    for number, bits in enumerate(tables):
        made.upper_bits(_address(_Cell(0, number, 1, Kind.LOAD), upper=upper), 0, bits)
    return made


@pytest.mark.smoke
@MATRIX
@pytest.mark.rule("TRN-002", "TRN-050", "TRN-051", "TRN-052")
def test_matrix(check: Check, state: World, spot: Place) -> None:
    """Leaf x hierarchical bits x level x kind of access, under every combination of WXN, HPD, PAN and EPAN."""
    both = two_ranges(spot)
    leaves = _BOTH_RANGES if both else _ONE_RANGE
    tables = _TABLES_OF_TWO if both else _TABLES_OF_ONE
    cells = check.plan(group(leaf=range(len(leaves)), table=range(len(tables)), level=_LEVELS, kind=Kind))
    gpt = with_table(check)
    settings = _controls(spot)
    for (controls, pan), portion in zip(settings, portions(check, cells, len(settings)), strict=True):
        upper = both and check.rng.random() < 0.5
        made = _tables(check, spot, leaves, tables, upper=upper)
        items: list[Item] = []
        for cell in itertools.starmap(_Cell, portion):
            va = _address(cell, upper=upper)
            pas = space(state, spot, leaves[cell.leaf])
            items.append(access(check, cell.kind, va, cell.level, _page(cell), pas))
        title = f"permissions: WXN {controls.wxn}, HPD {controls.hpd[0]}, EPAN {controls.epan}, PAN {pan}"
        check.run(scene(title, gpt, made, state, spot, controls=controls, pan=pan), items, portion)


@EVERYWHERE
@pytest.mark.rule("TRN-031")
def test_hierarchy_disabled(check: Check, state: World, spot: Place) -> None:
    """With HPD no bit of a Table descriptor takes a permission, in either range, and in no other than that with HPD."""
    gpt = with_table(check)
    tables = _TABLES_OF_TWO if two_ranges(spot) else _TABLES_OF_ONE
    for upper in (False, True) if two_ranges(spot) else (False,):
        made = _tables(check, spot, (EL0 | AF, EL0 | AF | READ_ONLY), tables, upper=upper)
        items: list[Item] = []
        for number, bits, level, kind in itertools.product(range(2), range(len(tables)), _LEVELS, Kind):
            cell = _Cell(number, bits, level, kind)
            items.append(access(check, kind, _address(cell, upper=upper), level, _page(cell), state))
        controls = Controls(hpd=(not upper, upper))
        check.run(
            scene(f"HPD of the {'upper' if upper else 'lower'} range", gpt, made, state, spot, controls=controls), items
        )


@EL1_PLACES
@pytest.mark.rule("TRN-032")
def test_unprivileged(check: Check, state: World, spot: Place) -> None:
    """LDTR and STTR at EL1 with every leaf and table, with and without PAN: as EL0 would."""
    gpt = with_table(check)
    for pan in (0, 1):
        made = _tables(check, spot, _BOTH_RANGES, _TABLES_OF_TWO, upper=bool(pan))
        items: list[Item] = []
        for number, bits, kind in itertools.product(
            range(len(_BOTH_RANGES)), range(len(_TABLES_OF_TWO)), _UNPRIVILEGED
        ):
            cell = _Cell(number, bits, check.rng.choice(_LEVELS), kind)
            pas = space(state, spot, _BOTH_RANGES[number])
            items.append(access(check, kind, _address(cell, upper=bool(pan)), cell.level, _page(cell), pas))
        check.run(scene(f"unprivileged accesses, PAN {pan}", gpt, made, state, spot, pan=pan), items)


_UNPRIVILEGED = (Kind.LOAD_UNPRIVILEGED, Kind.STORE_UNPRIVILEGED)
