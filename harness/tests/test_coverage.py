"""Coverage by construction: every combination inside groups, every pair across them, nothing but what exists."""

from __future__ import annotations

import itertools
from enum import Enum

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.coverage import Depth, Group, Matrix, Observed, group
from harness.errors import MisuseError


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@st.composite
def matrices(draw: st.DrawFn) -> Matrix:
    groups = []
    for number in range(draw(st.integers(1, 4))):
        sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
        factors = {f"f{number}_{i}": range(size) for i, size in enumerate(sizes)}
        forbidden = draw(st.sets(st.tuples(*(st.integers(0, size - 1) for size in sizes)), max_size=2))
        everything = set(itertools.product(*factors.values()))
        where = (lambda *values, forbidden=forbidden: values not in forbidden) if everything - forbidden else None
        groups.append(group(where, **factors))
    return Matrix.of(*groups)


def missing_pairs(matrix: Matrix, cells: set[tuple[object, ...]]) -> set[object]:
    """The pairs across groups that no cell has, found in another way than by the code under test."""
    owner = [number for number, own in enumerate(matrix.groups) for _ in own.factors]
    everything = list(itertools.product(*(own.combinations for own in matrix.groups)))
    found: set[object] = set()
    for i, j in itertools.combinations(range(len(owner)), 2):
        if owner[i] != owner[j]:
            wanted = {(i, c[i], j, c[j]) for parts in everything for c in [sum(parts, ())]}
            found |= wanted - {(i, cell[i], j, cell[j]) for cell in cells}
    return found


@settings(max_examples=150, deadline=None)
@given(matrices())
def test_every_combination_inside_and_every_pair_across(matrix: Matrix) -> None:
    cells = set(matrix.plan(Depth.PAIRWISE))
    for number, own in enumerate(matrix.groups):
        assert {matrix.split(cell)[number] for cell in cells} == set(own.combinations)
    assert not missing_pairs(matrix, cells)
    assert matrix.seen(cells) == sum(matrix.interactions())


@settings(max_examples=100, deadline=None)
@given(matrices())
def test_the_full_product_is_everything_and_nothing_else(matrix: Matrix) -> None:
    cells = matrix.plan(Depth.FULL)
    assert len(cells) == len(set(cells)) == matrix.total
    assert set(matrix.plan(Depth.PAIRWISE)) <= set(cells)
    assert matrix.seen(cells) == sum(matrix.interactions())


@settings(max_examples=100, deadline=None)
@given(matrices())
def test_each_asks_for_the_largest_group_and_no_more(matrix: Matrix) -> None:
    cells = matrix.plan(Depth.EACH)
    assert len(cells) == max(len(own.combinations) for own in matrix.groups)
    for number, own in enumerate(matrix.groups):
        assert {matrix.split(cell)[number] for cell in cells} == set(own.combinations)


def test_pairs_cost_little_more_than_the_largest_group() -> None:
    matrix = Matrix.of(group(gpi=range(16), space=range(4), kind=range(10)), group(a=range(4)), group(b=range(5)))
    cells = matrix.plan(Depth.PAIRWISE)
    assert len(cells) == 640
    assert matrix.total == 12_800


def test_a_seen_count_misses_what_a_missing_cell_alone_has() -> None:
    matrix = Matrix.of(group(a="xyz"), group(b="uv"))
    everything = sum(matrix.interactions())
    assert everything == 3 + 2 + 6
    assert matrix.seen([]) == 0
    assert matrix.seen([("x", "u")]) == 3
    assert matrix.seen(matrix.plan(Depth.PAIRWISE)[1:]) < everything


def test_values_may_be_anything_that_is_hashable_and_the_plan_is_the_same_each_time() -> None:
    groups = group(colour=Colour, on=(False, True)), group(where=[(1, 2), (3, 4)])
    one, two = Matrix.of(*groups).plan(Depth.PAIRWISE), Matrix.of(*groups).plan(Depth.PAIRWISE)
    assert one == two
    assert one[0] == (Colour.RED, False, (1, 2))
    first_group = [cell[:2] for cell in one]
    assert first_group == sorted(first_group, key=lambda part: (part[0] is Colour.BLUE, part[1]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: group(a=[1, 1]), "factor a has a value twice"),
        (lambda: group(lambda a: False, a=[1]), "no combination of a exists"),
        (lambda: Matrix.of(), "each factor belongs to one group"),
        (lambda: Matrix.of(group(a=[1]), group(a=[2])), "each factor belongs to one group"),
    ],
)
def test_misuse_is_one_clear_line(make: object, message: str) -> None:
    with pytest.raises(MisuseError, match=message):
        make()  # type: ignore[operator]


def test_observed_counts_cells_once_and_refuses_a_second_matrix() -> None:
    observed = Observed()
    assert observed.cells == observed.interactions == (0, 0)
    with pytest.raises(MisuseError, match="of no matrix"):
        observed.add([(1,)])
    matrix = Matrix((Group(("a",), ((1,), (2,))), Group(("b",), ((3,), (4,)))))
    observed.declare(matrix)
    observed.declare(Matrix(matrix.groups))
    observed.add([(1, 3), (1, 3)])
    assert observed.cells == (1, 4)
    assert observed.interactions == (3, 8)
    with pytest.raises(MisuseError, match="one matrix"):
        observed.declare(Matrix.of(group(a=[1])))
