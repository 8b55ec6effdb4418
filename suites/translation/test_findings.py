"""Deviations found on machines, one smallest case each: what docs/findings tells to run.

They are ordinary checks: a machine that behaves as the pseudocode says passes them.
"""

from __future__ import annotations

import pytest

from harness.check import Check
from harness.judge.stimulus import Kind
from harness.judge.tables import EL0, READ_ONLY, Controls
from harness.probe.records import World
from suites.gpt.scenes import with_table
from suites.gpt.worlds import Place
from suites.translation.scenes import DATA, access, builder, leaf, mapped, scene


@pytest.mark.rule("TRN-033")
@pytest.mark.parametrize("spot", [Place(1), Place(2, e2h=1)], ids=str)
def test_wxn_with_pan(check: Check, spot: Place) -> None:
    """PAN is about data: with WXN = 1 memory that the level may write is not executed, with PAN and EPAN too."""
    made = builder(check)
    made.put(1 << 39, 1, leaf(1, DATA, mapped()))
    where = scene(
        "WXN with PAN", with_table(check), made, World.NON_SECURE, spot, controls=Controls(wxn=1, epan=1), pan=1
    )
    check.run(where, [access(check, Kind.FETCH, 1 << 39, 1, DATA, World.NON_SECURE)])


@pytest.mark.rule("TRN-016")
@pytest.mark.parametrize("spot", [Place(0), Place(2)], ids=str)
def test_tbid_after_data(check: Check, spot: Place) -> None:
    """With TBI and TBID a fetch from an address with a top byte faults, after a load from that page too."""
    made = builder(check)
    made.put(1 << 39, 1, leaf(1, DATA, mapped(EL0 | READ_ONLY)))
    controls = Controls(tbi=(1, 1), tbid=(1, 1))
    where = scene("TBID after data", with_table(check), made, World.NON_SECURE, spot, controls=controls)
    tagged = 1 << 39 | 5 << 56
    check.run(where, [access(check, kind, tagged, 1, DATA, World.NON_SECURE) for kind in (Kind.LOAD, Kind.FETCH)])
