"""Deviations found on machines, one smallest case each: what docs/findings tells to run.

They are ordinary checks: a machine that behaves as the pseudocode says passes them.
"""

from __future__ import annotations

import pytest

from harness.check import Check
from harness.judge.operation import Operation
from harness.judge.scene import Scene, Under
from harness.judge.stimulus import Kind, Stimulus
from harness.probe.records import World
from refmodel.gpt.build import granules_descriptor, table_descriptor
from refmodel.gpt.decode import GPT_Any, GPT_NoAccess
from refmodel.sysregs import GPCBW_EL3, GPTBR_EL3
from suites.gpt.scenes import GB, LOW, RESERVED, builder, hole, warm, with_table
from suites.gpt.worlds import DEEP, PAGES, Place, Routing, access, below, context


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


@pytest.mark.rule("GPC-054", "GPC-080")
def test_deep_table_fetch(check: Check) -> None:
    """A level 2 table of a Realm's EL1 in a granule that the Realm may not use: an abort to EL1, with the level."""
    where = context(check, World.REALM, Place(1))
    made = with_table(check)
    made.granule(where.stage1.table(2), GPT_NoAccess)
    stimulus = Stimulus(Kind.LOAD, where.stage1.page(PAGES), PAGES, World.REALM)
    check.run(below(DEEP, made, where), [stimulus])


@pytest.mark.rule("GPC-054")
def test_gpcsc_level_on_walk_from_below(check: Check) -> None:
    """GPCSC has the GPT's level, not that of the stage-1 walk: a denied level 0 table, the granule found at level 1."""
    where = context(check, World.NON_SECURE, Place(1), scr={"GPF": 1})
    made = with_table(check)
    made.granule(where.stage1.table(0, upper=True), GPT_NoAccess)
    stimulus = Stimulus(Kind.LOAD, where.stage1.page(PAGES, upper=True), PAGES, World.NON_SECURE)
    check.run(below("level 0 table denied", made, where), [stimulus])


@pytest.mark.rule("GPC-126")
@pytest.mark.parametrize("control", ["SCR_EL3.EA", "HCR_EL2.TEA"])
def test_external_abort_route(check: Check, control: str) -> None:
    """A synchronous external abort of EL1 goes to EL3 with SCR_EL3.EA = 1, to EL2 with HCR_EL2.TEA = 1."""
    ea, tea = int(control == "SCR_EL3.EA"), int(control == "HCR_EL2.TEA")
    spot = Place(1)
    where = context(check, World.NON_SECURE, spot, scr={"EA": ea}, hcr={"TEA": tea})
    made = with_table(check)
    made.block(hole(check), GPT_Any)
    check.run(below(f"{control} is 1", made, where), [access(check, where, spot, Kind.LOAD, hole(check), GB)])


@pytest.mark.rule("GPC-127")
def test_gpt_external_abort_vector(check: Check) -> None:
    """With SCR_EL3.EASE = 1 a GPC exception for an external abort on a GPT fetch is taken at the SError vector."""
    spot = Place(1)
    where = context(check, World.NON_SECURE, spot, scr={"EASE": 1})
    made = with_table(check)
    made.raw_level_0(LOW + GB, table_descriptor(hole(check)))
    check.run(below("EASE is 1", made, where), [access(check, where, spot, Kind.LOAD, LOW + GB, GB)])


@pytest.mark.rule("GPC-045")
@pytest.mark.parametrize("pes", [1, 2])
def test_atomic_is_denied_as_a_read(check: Check, pes: int) -> None:
    """WnR is 0 for an atomic that is denied: its read is denied already.  However many PEs the machine has."""
    if not check.applies(f"{pes} PEs that run records", check.session.pes >= pes):
        return
    made = with_table(check)
    made.granule(LOW, GPT_NoAccess)
    items = [
        check.session.stimulus(kind, LOW, World.SECURE) for kind in (Kind.ATOMIC_ADD, Kind.ATOMIC_SWAP, Kind.ATOMIC_CAS)
    ]
    check.run(Scene.of("a denied atomic", made), items)


@pytest.mark.rule("GPC-113")
def test_protected_size_of_46_bits(check: Check) -> None:
    """PPS3 = 1 and PPS = 0 protect 46 bits, not 32: a load from above 4 GB that the tables allow."""
    if not check.applies("FEAT_RME_GPC3", check.session.features.gpc3):
        return
    made = with_table(check, pps=46)
    made.block(4 * GB, GPT_Any)
    check.run(Scene.of("46 bits are protected", made), [check.session.stimulus(Kind.LOAD, 4 * GB, World.SECURE)])


@pytest.mark.rule("GPC-110")
def test_bypass_window_of_16_gb(check: Check) -> None:
    """BWSIZE 0b100 is a window of 16 GB: a load from its middle, in a gigabyte that the tables say nothing of."""
    if not check.applies("FEAT_RME_GPC3", check.session.features.gpc3):
        return
    made = with_table(check)
    gpccr = made.geometry.gpccr().replace(GPCBW=1)
    gpcbw = GPCBW_EL3.of(BWSIZE=0b100, BWSTRIDE=0b10000, BWADDR=16)
    stimulus = check.session.stimulus(Kind.LOAD, 24 * GB, World.SECURE)
    check.run(Scene.of("a window of 16 GB", made, gpccr=gpccr, gpcbw=gpcbw), [stimulus])


@pytest.mark.rule("GPC-111")
def test_reserved_bypass_size(check: Check) -> None:
    """BWSIZE 0b101 is reserved: with windows enabled every checked access is a GPT walk fault."""
    if not check.applies("FEAT_RME_GPC3", check.session.features.gpc3):
        return
    made = with_table(check)
    gpccr = made.geometry.gpccr().replace(GPCBW=1)
    stimulus = check.session.stimulus(Kind.LOAD, LOW, World.SECURE)
    items = warm(check, stimulus, gpccr=gpccr, gpcbw=GPCBW_EL3.of(BWSIZE=0b101))
    check.run(Scene.of("a reserved BWSIZE", made), items)


@pytest.mark.rule("GPC-132", "GPC-044")
def test_dc_report(check: Check) -> None:
    """A fault of DC CVAP is marked as cache maintenance, and FAR is the operand, not the start of its line."""
    made = with_table(check)
    made.granule(LOW, GPT_NoAccess)
    stimulus = Stimulus(Operation.DC_CVAP, check.session.windows.va(LOW + 0x828, World.ROOT), LOW + 0x828, World.ROOT)
    check.run(Scene.of("DC CVAP of a denied granule", made), [stimulus])


def _at(check: Check, spot: Place, operation: Operation, routing: Routing) -> None:
    """An AT whose level 1 table may not be fetched, from Non-secure state."""
    scr, hcr = routing
    where = context(check, World.NON_SECURE, spot, scr=scr, hcr=hcr)
    made = with_table(check)
    made.granule(where.stage1.table(1), GPT_NoAccess)
    stimulus = Stimulus(operation, where.stage1.page(PAGES), PAGES, World.NON_SECURE)
    check.run(below("level 1 table denied", made, where), [stimulus])


@pytest.mark.rule("GPC-146")
def test_at_at_el2(check: Check) -> None:
    """AT S1E2R at EL2 with SCR_EL3.GPF = 1 and a table that may not be fetched: a GPC exception, not PAR_EL1."""
    _at(check, Place(2), Operation.AT_S1E2R, ({"GPF": 1}, {}))


@pytest.mark.parametrize(
    "control",
    [
        pytest.param("none", marks=pytest.mark.rule("GPC-145")),
        pytest.param("SCR_EL3.GPF", marks=pytest.mark.rule("GPC-146")),
    ],
)
def test_at_at_el1(check: Check, control: str) -> None:
    """AT S1E1R at EL1 whose table may not be fetched: PAR_EL1, or with SCR_EL3.GPF = 1 a GPC exception to EL3."""
    _at(check, Place(1), Operation.AT_S1E1R, ({"GPF": int(control != "none")}, {}))


@pytest.mark.rule("GPC-148")
def test_at_space(check: Check) -> None:
    """AT S1E3R of an address in the Secure space: PAR_EL1.{NSE, NS} = {0, 0}."""
    stimulus = Stimulus(Operation.AT_S1E3R, check.session.windows.va(LOW, World.SECURE), LOW, World.SECURE)
    check.run(Scene.of("AT to the Secure space", with_table(check)), [stimulus])
