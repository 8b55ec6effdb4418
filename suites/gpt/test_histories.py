"""Random histories on one and two PEs, judged with everything that may be cached; a failing one is made small."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from harness.check import Check
from harness.judge.search import search
from harness.judge.tally import Tally
from suites.gpt.histories import Ground, Step

_HISTORIES = 150


@pytest.mark.smoke
@pytest.mark.rule("GPC-052", "GPC-053")
@pytest.mark.parametrize("pes", [1, 2])
def test_history(check: Check, pes: int) -> None:
    """Table writes, register writes and every TLBI by PA among accesses from every state and level, by each PE."""
    if not check.applies(f"{pes} PEs that run records", check.session.pes >= pes):
        return
    ground = Ground(check)

    def run(steps: Sequence[Step], tally: Tally) -> None:
        if steps:
            check.session.run(ground.scene(steps), [step.item for step in steps], tally)

    count = max(60, int(_HISTORIES * check.scale))
    search(ground.histories(), run, check.tally, count=count, at=check.rng.getrandbits(64))
