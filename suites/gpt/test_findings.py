"""Deviations found on machines, one smallest case each: what docs/findings tells to run.

They are ordinary checks: a machine that behaves as the pseudocode says passes them.
"""

from __future__ import annotations

import pytest

from harness.check import Check
from harness.judge.scene import Scene, Under
from harness.judge.stimulus import Kind
from harness.probe.records import World
from refmodel.gpt.build import granules_descriptor, table_descriptor
from refmodel.gpt.decode import GPT_Any, GPT_NoAccess
from refmodel.sysregs import GPTBR_EL3
from suites.gpt.scenes import LOW, RESERVED, builder, hole, with_table


@pytest.mark.rule("GPC-043")
def test_mfar_low_bits(check: Check) -> None:
    """MFAR_EL3[11:0] is zero after a GPC exception whatever the address's low bits: reserved GPI in a Block."""
    made = builder(check)
    made.block(LOW, RESERVED[0])
    check.run(Scene.of("MFAR_EL3 low bits", made), [check.session.stimulus(Kind.LOAD, LOW + 0x128, World.SECURE)])


@pytest.mark.rule("GPC-018")
def test_gpcsc_level_on_walk(check: Check) -> None:
    """GPCSC has the GPT's level, not the level of the stage-1 walk whose fetch met the fault: no level 0 table."""
    made = with_table(check)
    nowhere = GPTBR_EL3.of(BADDR=hole(check) >> 12)
    # Not Root: the probe itself lives there, and what its translations need stays cached.
    stimulus = check.session.stimulus(Kind.LOAD, LOW, World.SECURE)
    check.run(Scene.of("GPCSC level", made), [Under(stimulus, gptbr=nowhere)])


@pytest.mark.rule("GPC-017")
def test_table_above_pps(check: Check) -> None:
    """A level 1 table above the protected size is a GPT address size fault, not a GPT walk fault."""
    made = with_table(check, pps=36)
    made.raw_level_0(LOW, table_descriptor(made.address_1(LOW) | 1 << 36))
    check.run(Scene.of("table above PPS", made), [check.session.stimulus(Kind.LOAD, LOW, World.ROOT)])


@pytest.mark.rule("GPC-027")
def test_reserved_gpi_of_a_neighbour(check: Check) -> None:
    """A reserved GPI spoils the whole Granules descriptor: granule 0 allows all, granule 15 is reserved."""
    made = with_table(check)
    made.raw_level_1(LOW, granules_descriptor([GPT_Any] * 15 + [RESERVED[-1]]))
    check.run(Scene.of("reserved GPI of a neighbour", made), [check.session.stimulus(Kind.LOAD, LOW, World.ROOT)])


@pytest.mark.rule("GPC-007")
def test_access_above_pps(check: Check) -> None:
    """An access above the protected size is a granule protection fault, not a GPT address size fault."""
    made = with_table(check, pps=36)
    check.run(Scene.of("access above PPS", made), [check.session.stimulus(Kind.LOAD, 1 << 36, World.SECURE)])


@pytest.mark.rule("GPC-010", "GPC-080")
@pytest.mark.parametrize("l0gptsz", [36])
def test_single_level_0_entry(check: Check, l0gptsz: int) -> None:
    """A protected size that one level 0 entry covers is legal: PPS 36 with L0GPTSZ 36."""
    made = builder(check, pps=36, l0gptsz=l0gptsz)
    made.granule(LOW, GPT_NoAccess)
    check.run(Scene.of("one level 0 entry", made), [check.session.stimulus(Kind.LOAD, LOW, World.NON_SECURE)])


@pytest.mark.rule("GPC-008", "GPC-080")
def test_gptbr_above_pps_on_walk(check: Check) -> None:
    """GPTBR_EL3 above the protected size, met by the check of a stage-1 descriptor fetch."""
    made = with_table(check, pps=40)
    gptbr = GPTBR_EL3(made.gptbr.value | 1 << 40 - 12)
    # Not Root: the probe itself lives there, and what its translations need stays cached.
    stimulus = check.session.stimulus(Kind.LOAD, LOW, World.SECURE)
    check.run(Scene.of("GPTBR above PPS on a walk", made), [Under(stimulus, gptbr=gptbr)])
