"""Searching for a history that a machine answers wrongly, and making it small: property-based testing with Hypothesis.

The same machine runs every history, each as one batch that starts from a full invalidation.  Histories that pass are
counted; of those that fail only the smallest is, so that a report shows what matters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis.errors import FlakyFailure
from hypothesis.strategies import SearchStrategy

from harness.judge.tally import Tally

T = TypeVar("T")


class _Deviation(Exception):
    """A history was answered in a way that is not permitted."""


def search(histories: SearchStrategy[T], run: Callable[[T, Tally], None], tally: Tally, *, count: int, at: int) -> int:
    """Run ``count`` random histories; with one that fails, shrink it.  How many passed.

    ``run`` runs a history and judges it into a tally of its own; ``at`` is the seed.  TargetError ends the search.
    """
    failing: list[Tally] = []
    passed = 0

    @seed(at)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        verbosity=Verbosity.quiet,
        print_blob=False,
    )
    @given(histories)
    def explore(history: T) -> None:
        nonlocal passed
        if failing and failing[-1].fatal:
            return  # a lost machine is not worth shrinking: every try would cost two more
        attempt = tally.fork()
        run(history, attempt)
        if attempt.failed:
            failing.append(attempt)
            raise _Deviation
        if not failing:
            passed += 1
            tally.merge(attempt)

    try:
        explore()
    except (_Deviation, FlakyFailure):
        # The last to fail is the smallest: Hypothesis runs it once more at the end.
        tally.merge(failing[-1])
    return passed
