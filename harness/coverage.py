"""Coverage by construction: groups of factors, the combinations to ask for, and which of them were observed.

A *cell* is one combination of the values of all factors.  Factors that depend on each other form a *group*: every
combination inside it is asked for.  Between groups every pair of values is, or with ``Depth.FULL`` everything with
everything.  What must be asked for (the combinations of each group, the pairs across groups) are the *interactions*.
The choice of cells is the same in every run; it knows neither tests nor targets.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any

from harness.errors import MisuseError

Cell = tuple[Any, ...]
"""One value for each factor, in the order of the matrix's factors."""

_Pair = tuple[int, Any, int, Any]


class Depth(Enum):
    """How much of a matrix is asked for: each combination inside a group, also pairs across groups, or everything."""

    EACH = "each"
    PAIRWISE = "pairwise"
    FULL = "full"


@dataclass(frozen=True)
class Group:
    """Factors that depend on each other, and the combinations of their values that exist."""

    factors: tuple[str, ...]
    combinations: tuple[Cell, ...]


def group(where: Callable[..., bool] | None = None, /, **factors: Iterable[Any]) -> Group:
    """A group of named factors; ``where`` is asked for each combination whether it exists.

    MisuseError for a group without combinations, or a value that stands twice.
    """
    values = {name: tuple(given) for name, given in factors.items()}
    for name, own in values.items():
        if len(set(own)) != len(own):
            raise MisuseError(f"factor {name} has a value twice: {own}; give each value once")
    found = tuple(c for c in itertools.product(*values.values()) if where is None or where(*c))
    if not found:
        raise MisuseError(f"no combination of {', '.join(values) or 'no factors'} exists; correct the values")
    return Group(tuple(values), found)


@dataclass(frozen=True)
class Matrix:
    """Groups of factors."""

    groups: tuple[Group, ...]

    @classmethod
    def of(cls, *groups: Group) -> Matrix:
        """A matrix; MisuseError when there is no group, or a factor is in two of them."""
        names = [name for own in groups for name in own.factors]
        if not names or len(set(names)) != len(names):
            raise MisuseError(f"each factor belongs to one group, but the groups have {names or 'none'}")
        return cls(groups)

    @property
    def total(self) -> int:
        """How many cells there are."""
        total = 1
        for own in self.groups:
            total *= len(own.combinations)
        return total

    def plan(self, depth: Depth) -> tuple[Cell, ...]:
        """The cells to ask for, in an order in which the first group changes last."""
        return _plan(self, depth)

    def interactions(self) -> tuple[int, int]:
        """How many combinations inside groups, and pairs of values across groups, there are."""
        inside = sum(len(own.combinations) for own in self.groups)
        sizes = [[len(set(column)) for column in zip(*own.combinations, strict=True)] for own in self.groups]
        across = sum(sum(a) * sum(b) for a, b in itertools.combinations(sizes, 2))
        return inside, across

    def seen(self, cells: Iterable[Cell]) -> int:
        """How many of the interactions ``cells`` hold."""
        parts: list[set[Cell]] = [set() for _ in self.groups]
        pairs: set[_Pair] = set()
        for cell in cells:
            split = self.split(cell)
            for known, part in zip(parts, split, strict=True):
                known.add(part)
            for a, b in itertools.combinations(range(len(split)), 2):
                pairs.update(self.pairs(a, split[a], b, split[b]))
        return sum(map(len, parts)) + len(pairs)

    def split(self, cell: Cell) -> list[Cell]:
        """A cell as the combination that it has of each group."""
        ends = list(itertools.accumulate(len(own.factors) for own in self.groups))
        return [cell[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    def pairs(self, a: int, first: Cell, b: int, second: Cell) -> Iterator[_Pair]:
        """The pairs of values across two groups that a combination of each makes; ``a`` < ``b``."""
        for (i, one), (j, other) in itertools.product(enumerate(first), enumerate(second)):
            yield a << 8 | i, one, b << 8 | j, other


@lru_cache(maxsize=64)
def _plan(matrix: Matrix, depth: Depth) -> tuple[Cell, ...]:
    if depth is Depth.FULL:
        product = itertools.product(*(own.combinations for own in matrix.groups))
        return tuple(tuple(itertools.chain.from_iterable(parts)) for parts in product)
    rows = _Covering(matrix, pairs=depth is Depth.PAIRWISE).rows()
    # Sorted by the first group's order: what a test sets up for it is set up once.
    order = {combination: number for number, combination in enumerate(matrix.groups[0].combinations)}
    rows.sort(key=lambda row: order[row[0]])
    return tuple(tuple(itertools.chain.from_iterable(row)) for row in rows)


class _Covering:
    """Greedy construction of a covering array: each row starts from what is still open and is filled for most gain."""

    def __init__(self, matrix: Matrix, *, pairs: bool) -> None:
        self._matrix = matrix
        self._combinations = [own.combinations for own in matrix.groups]
        # Dictionaries as ordered sets: the result must not depend on the hash of a value.
        self._unused = [dict.fromkeys(combinations) for combinations in self._combinations]
        self._open: dict[_Pair, None] = {}
        numbers = range(len(self._combinations))
        for a, b in itertools.combinations(numbers, 2) if pairs else ():
            for first in self._columns(a):
                for second in self._columns(b):
                    self._open[(*first, *second)] = None

    def _columns(self, number: int) -> list[tuple[int, Any]]:
        """Every (factor, value) of a group, once."""
        columns = zip(*self._combinations[number], strict=True)
        return [(number << 8 | i, value) for i, column in enumerate(columns) for value in dict.fromkeys(column)]

    def rows(self) -> list[list[Cell]]:
        """Rows, each with one combination of each group, until nothing is open."""
        rows: list[list[Cell]] = []
        while any(self._unused) or self._open:
            row = self._row(len(rows))
            for number, part in enumerate(row):
                self._unused[number].pop(part, None)
            for a, b in itertools.combinations(range(len(row)), 2):
                for pair in self._matrix.pairs(a, row[a], b, row[b]):
                    self._open.pop(pair, None)
            rows.append(row)
        return rows

    def _row(self, turn: int) -> list[Cell]:
        chosen = self._start()
        for number in sorted(range(len(self._combinations)), key=lambda n: -len(self._combinations[n])):
            if number not in chosen:
                chosen[number] = self._best(number, chosen, turn)
        return [chosen[number] for number in range(len(self._combinations))]

    def _start(self) -> dict[int, Cell]:
        """What the row is for: an unused combination of the group with most of them, or an open pair."""
        number = max(range(len(self._unused)), key=lambda n: len(self._unused[n]))
        if self._unused[number]:
            return {number: next(iter(self._unused[number]))}
        a, one, b, other = next(iter(self._open))
        return {at >> 8: self._holding(at, value) for at, value in ((a, one), (b, other))}

    def _holding(self, at: int, value: object) -> Cell:
        return next(c for c in self._combinations[at >> 8] if c[at & 0xFF] == value)

    def _best(self, number: int, chosen: dict[int, Cell], turn: int) -> Cell:
        """The combination that closes most; with nothing to close, each in turn."""
        combinations = self._combinations[number]
        candidates: Sequence[Cell] = tuple(self._unused[number]) or combinations
        if self._open:
            best, gain = candidates[0], -1
            for candidate in combinations:
                closes = 2 * self._closes(number, candidate, chosen) + (candidate in self._unused[number])
                if closes > gain:
                    best, gain = candidate, closes
            if gain > 1:
                return best
        return candidates[turn % len(candidates)]

    def _closes(self, number: int, candidate: Cell, chosen: dict[int, Cell]) -> int:
        gain = 0
        for other, part in chosen.items():
            a, b = (number, other) if number < other else (other, number)
            first, second = (candidate, part) if number < other else (part, candidate)
            gain += sum(pair in self._open for pair in self._matrix.pairs(a, first, b, second))
        return gain


class Observed:
    """What was observed and judged of one matrix; empty until ``declare``."""

    def __init__(self) -> None:
        self._matrix: Matrix | None = None
        self._cells: set[Cell] = set()

    def declare(self, matrix: Matrix) -> None:
        """The matrix; MisuseError for a second one."""
        if self._matrix not in (None, matrix):
            raise MisuseError("a check has one matrix; put all factors into it, or make two tests")
        self._matrix = matrix

    def add(self, cells: Iterable[Cell]) -> None:
        """Cells were observed and judged; MisuseError before there is a matrix."""
        found = set(cells)
        if found and self._matrix is None:
            raise MisuseError("cells were observed of no matrix; ask check.plan(matrix) for them")
        self._cells |= found

    @property
    def cells(self) -> tuple[int, int]:
        """(observed, all) cells."""
        return (0, 0) if self._matrix is None else (len(self._cells), self._matrix.total)

    @property
    def interactions(self) -> tuple[int, int]:
        """(observed, all) interactions."""
        return (0, 0) if self._matrix is None else (self._matrix.seen(self._cells), sum(self._matrix.interactions()))
