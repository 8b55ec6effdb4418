"""The speed measurements measure what they say: on a real QEMU, with few records.  No figure is demanded here."""

from __future__ import annotations

from itertools import pairwise

from harness.probe.batch import decode_results, records_of
from harness.probe.records import RESULT_SIZE, Status, World
from harness.probe.speed import GRANULES, below_el3, measure_raw
from harness.tests.conftest import MakeTarget


def test_every_record_of_the_measurement_below_el3_is_in_another_state_and_el(make_target: MakeTarget) -> None:
    target = make_target()
    encoded = below_el3(target)
    cells = [(record.state, record.el) for record in records_of(encoded.image)]
    assert all(here != there for here, there in pairwise(cells))
    assert set(cells) == {(state, el) for state in (World.SECURE, World.NON_SECURE, World.REALM) for el in range(3)}
    results = decode_results(target.run_encoded(encoded)[: GRANULES * RESULT_SIZE], GRANULES)
    for (state, el), result in zip(cells, results, strict=True):
        assert result.status == Status.DONE
        if result.taken:
            assert (result.target_el, result.spsr >> 2 & 3) == (el or 1, el)
            assert (result.scr >> 62 & 1) << 1 | result.scr & 1 == state
    speed = measure_raw(target, GRANULES, below_el3)
    assert (speed.probes, speed.faults) == (GRANULES, GRANULES // 2)
    assert speed.per_second > 0
