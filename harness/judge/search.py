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


_TRIES = 150
"""So many runs Hypothesis may spend on making a history small; what it leaves is cheap to take out one by one."""


class _Deviation(Exception):
    """A history was answered in a way that is not permitted."""


def search(
    histories: SearchStrategy[list[T]], run: Callable[[list[T], Tally], None], tally: Tally, *, count: int, at: int
) -> int:
    """Run ``count`` random histories; with one that fails, shrink it.  How many passed.

    ``run`` runs a history and judges it into a tally of its own; ``at`` is the seed.  TargetError ends the search.
    """
    failing: list[tuple[list[T], Tally]] = []
    passed = tries = 0

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
    def explore(history: list[T]) -> None:
        nonlocal passed, tries
        tries += bool(failing)
        if failing and failing[-1][1].fatal:
            return  # a lost machine is not worth shrinking: every try would cost two more
        if tries > _TRIES and history != failing[-1][0]:
            return
        attempt = tally.fork()
        run(history, attempt)
        if attempt.failed:
            failing.append((history, attempt))
            raise _Deviation
        if not failing:
            passed += 1
            tally.merge(attempt)

    try:
        explore()
    except (_Deviation, FlakyFailure):
        # The last to fail is the smallest: Hypothesis runs it once more at the end.
        tally.merge(_without_idle_steps(*failing[-1], run, tally))
    return passed


def _without_idle_steps(history: list[T], failed: Tally, run: Callable[[list[T], Tally], None], tally: Tally) -> Tally:
    """The tally of a failing history after every step without which it still fails is gone."""
    at = 0
    while at < len(history) and not failed.fatal:
        shorter = history[:at] + history[at + 1 :]
        attempt = tally.fork()
        run(shorter, attempt)
        if attempt.failed:
            history, failed, at = shorter, attempt, 0
        else:
            at += 1
    return failed
