"""``explore`` visits every combination of choices exactly once, whatever their shape."""

from __future__ import annotations

from math import prod

from hypothesis import given
from hypothesis import strategies as st

from refmodel.choices import Chooser, Option, explore


@given(st.lists(st.integers(1, 4), max_size=5))
def test_independent_choices_are_visited_as_their_product(sizes: list[int]) -> None:
    seen = [run.result for run in explore(lambda choose: tuple(choose([Option(i) for i in range(n)]) for n in sizes))]
    assert len(seen) == prod(sizes)
    assert len(set(seen)) == len(seen)
    assert seen[0] == (0,) * len(sizes)


trees = st.recursive(st.integers(), lambda children: st.lists(children, min_size=1, max_size=3), max_leaves=25)
Tree = int | list["Tree"]


def paths(tree: Tree, prefix: tuple[int, ...] = ()) -> list[tuple[int, ...]]:
    """Every way from the root to a leaf, by recursion instead of by scripts."""
    if isinstance(tree, int):
        return [prefix]
    return [path for index, child in enumerate(tree) for path in paths(child, (*prefix, index))]


@given(trees)
def test_choices_that_depend_on_earlier_ones(tree: Tree) -> None:
    def run(choose: Chooser) -> tuple[int, ...]:
        at = tree
        path: tuple[int, ...] = ()
        while not isinstance(at, int):
            index = choose([Option(number) for number in range(len(at))])
            at, path = at[index], (*path, index)
        return path

    seen = [explored.result for explored in explore(run)]
    assert sorted(seen) == sorted(paths(tree))
    assert seen[0] == paths(tree)[0]


def test_reasons_and_weakness_are_those_of_the_options_taken() -> None:
    def run(choose: Chooser) -> str:
        first = choose([Option("now"), Option("stale", "cached", weak=True)])
        return first + choose([Option("-sync"), Option("-async", "late")])

    found = {e.result: (e.reasons, e.weak, e.last_weak) for e in explore(run)}
    assert found == {
        "now-sync": ((), False, False),
        "now-async": (("late",), False, False),
        "stale-sync": (("cached",), True, False),
        "stale-async": (("cached", "late"), True, False),
    }
