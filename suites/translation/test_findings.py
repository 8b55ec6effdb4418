"""Deviations found on machines, one smallest case each: what docs/findings tells to run.

They are ordinary checks: a machine that behaves as the pseudocode says passes them.
"""

from __future__ import annotations

import pytest

from harness.check import Check
from harness.judge.stimulus import Kind
from harness.judge.tables import (
    AF,
    EL0,
    READ_ONLY,
    S2_ALL,
    S2_NORMAL,
    S2_NS,
    S2_READ,
    S2_WRITE,
    Controls,
    Stage2Builder,
    TableBuilder,
)
from harness.probe.records import World
from refmodel.gpt.decode import GPT_NoAccess
from suites.gpt.scenes import with_table
from suites.gpt.worlds import Place
from suites.translation.scenes import DATA, access, builder, leaf, mapped, scene
from suites.translation.second import ALIAS, builder_2, leaf_2, second


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


def _two_stages(check: Check, first: int, bits: int) -> tuple[TableBuilder, Stage2Builder]:
    """A page that stage 1 maps with ``first`` and stage 2 with ``bits``."""
    made, made_2 = builder(check), builder_2(check)
    made.put(1 << 39, 3, leaf(3, DATA, first))
    made_2.put(DATA, 3, leaf_2(3, DATA, bits))
    return made, made_2


@pytest.mark.rule("TRN-134")
@pytest.mark.parametrize("spot", [Place(1), Place(0)], ids=str)
def test_atomic_denied_twice(check: Check, spot: Place) -> None:
    """An atomic to what stage 1 does not let be written and stage 2 not be read is stage 1's to report."""
    made, made_2 = _two_stages(check, mapped(EL0 | READ_ONLY), AF)
    state = World.NON_SECURE
    where = scene("an atomic denied twice", with_table(check), made, state, spot, second=second(made_2, state))
    check.run(where, [access(check, Kind.ATOMIC_ADD, 1 << 39, 3, DATA, state)])


def _table_elsewhere(check: Check, bits: int, attributes: int) -> tuple[TableBuilder, Stage2Builder]:
    """A level 3 table of stage 1 at an alias, which stage 2 maps with ``bits`` and ``attributes``."""
    made, made_2 = _two_stages(check, mapped(), S2_ALL)
    table = made.table(1 << 39, 3)
    made.upper_bits(1 << 39, 2, ALIAS)
    made_2.put(table | ALIAS, 3, leaf_2(3, table, bits, attributes=attributes))
    return made, made_2


@pytest.mark.rule("TRN-122")
def test_realm_tables_outside(check: Check) -> None:
    """A Realm's stage-1 table in Non-secure memory is not fetched."""
    made, made_2 = _table_elsewhere(check, AF | S2_READ | S2_WRITE | S2_NS, S2_NORMAL)
    state, spot = World.REALM, Place(1)
    where = scene("a table outside the Realm", with_table(check), made, state, spot, second=second(made_2, state))
    check.run(where, [access(check, Kind.LOAD, 1 << 39, 3, DATA, state)])


@pytest.mark.rule("TRN-113")
def test_protected_walk_level(check: Check) -> None:
    """The permission fault of HCR_EL2.PTW has the level of the stage-2 leaf."""
    made, made_2 = _table_elsewhere(check, AF | S2_READ | S2_WRITE, 0b0001 << 2)
    state, spot, hcr = World.NON_SECURE, Place(1), {"PTW": 1}
    where = scene("PTW", with_table(check), made, state, spot, hcr=hcr, second=second(made_2, state))
    check.run(where, [access(check, Kind.LOAD, 1 << 39, 3, DATA, state)])


@pytest.mark.rule("GPC-131")
def test_hpfar_at_el3(check: Check) -> None:
    """A GPC exception for a stage-2 table leaves the intermediate address in HPFAR_EL2."""
    gpt, made = with_table(check), builder(check)
    made_2 = builder_2(check, bits=41, level=0, spacing=1 << 16)
    ipa, state = 1 << 40, World.NON_SECURE
    made.put(1 << 39, 3, leaf(3, ipa, mapped()))
    made_2.put(ipa, 3, leaf_2(3, DATA, S2_ALL))
    gpt.granule(made_2.table(ipa, 1), GPT_NoAccess)
    below = second(made_2, state, bits=41, level=0)
    where = scene("HPFAR_EL2 at EL3", gpt, made, state, Place(1), scr={"GPF": 1}, second=below)
    check.run(where, [access(check, Kind.LOAD, 1 << 39, 3, DATA, state)])
