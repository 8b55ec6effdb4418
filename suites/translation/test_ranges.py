"""Which virtual addresses are translated at all: ranges, ignored bytes, disabled walks, stage 1 off."""

from __future__ import annotations

import itertools

import pytest

from harness.check import Check
from harness.judge.scene import Item
from harness.judge.stimulus import Kind
from harness.judge.tables import EL0, Controls
from harness.probe.records import World
from suites.gpt.scenes import with_table
from suites.gpt.worlds import Place
from suites.translation.scenes import (
    DATA,
    DATA_KINDS,
    EL0_PLACES,
    EVERYWHERE,
    TWO_RANGES,
    UPPER,
    access,
    builder,
    leaf,
    mapped,
    scene,
    two_ranges,
)

_AREA = 1 << 39


@EVERYWHERE
@pytest.mark.rule("TRN-004", "TRN-005", "TRN-016")
def test_top_bits(check: Check, state: World, spot: Place) -> None:
    """Every bit above the input size flipped, and random top bytes, with and without TBI and TBID, in each range."""
    gpt = with_table(check)
    both = two_ranges(spot)
    for tbi, tbid in itertools.product((0, 1), repeat=2):
        made = builder(check)
        items: list[Item] = []
        for upper in (False, True) if both else (False,):
            va = _AREA | (UPPER if upper else 0)
            made.put(va, 1, leaf(1, DATA, mapped(EL0)))
            flips = [0, *(1 << bit for bit in range(48, 64) if bit != 55 or not both)]
            flips += [check.rng.getrandbits(8) << 56 for _ in range(8)]
            for flip, kind in itertools.product(flips, Kind):
                if kind is Kind.FETCH and tbi and not tbid and flip >> 56:
                    # The branch takes the top byte away before the fetch.
                    continue
                items.append(access(check, kind, va ^ flip, 1, DATA, state))
        controls = Controls(tbi=(tbi, tbi), tbid=(tbid, tbid))
        check.run(scene(f"top bits, TBI {tbi}, TBID {tbid}", gpt, made, state, spot, controls=controls), items)


def _both_ranges(check: Check, title: str, state: World, spot: Place, controls: Controls) -> None:
    made = builder(check)
    items: list[Item] = []
    for high in (0, UPPER):
        va = _AREA | high
        made.put(va, 1, leaf(1, DATA, mapped(EL0)))
        items += [access(check, kind, va, 1, DATA, state) for kind in Kind for _ in range(4)]
    check.run(scene(title, with_table(check), made, state, spot, controls=controls), items)


@TWO_RANGES
@pytest.mark.rule("TRN-006")
def test_walks_disabled(check: Check, state: World, spot: Place) -> None:
    """EPD1: no walk for the upper range, and the lower one as before."""
    for epd in (0, 1):
        _both_ranges(check, f"EPD1 {epd}", state, spot, Controls(epd1=epd))


@EL0_PLACES
@pytest.mark.rule("TRN-007")
def test_e0pd(check: Check, state: World, spot: Place) -> None:
    """E0PD1: no access by EL0, or as EL0, to the upper range."""
    for e0pd in (0, 1):
        _both_ranges(check, f"E0PD1 {e0pd}", state, spot, Controls(e0pd1=e0pd))


@TWO_RANGES
@pytest.mark.rule("TRN-011")
def test_txsz_out_of_range(check: Check, state: World, spot: Place) -> None:
    """T1SZ below 16 and above 48: a translation fault, or where that is permitted the limit."""
    gpt = with_table(check)
    sizes = (*range(16), *range(49, 64))
    for txsz in sizes:
        made = builder(check, txsz=(16, txsz))
        va = (1 << 64) - 4096
        made.put(va, 3, leaf(3, DATA, mapped(EL0)))
        items: list[Item] = [access(check, kind, va, 3, DATA, state) for kind in DATA_KINDS]
        check.run(scene(f"T1SZ {txsz}", gpt, made, state, spot, controls=Controls(txsz=(16, txsz))), items)


@EVERYWHERE
@pytest.mark.rule("TRN-015")
def test_stage_1_off(check: Check, state: World, spot: Place) -> None:
    """With stage 1 off an address above the implemented size is an address size fault of level 0."""
    gpt = with_table(check)
    implemented = check.session.features.pamax
    made = builder(check)
    items: list[Item] = []
    for bit, kind in itertools.product(range(implemented, 64), (Kind.LOAD, Kind.STORE, Kind.FETCH)):
        stimulus = access(check, kind, 0, 3, DATA, state)
        items.append(stimulus._replace(va=stimulus.pa | 1 << bit))
    items += [access(check, kind, DATA, 3, DATA, state) for kind in (Kind.LOAD, Kind.STORE, Kind.FETCH)]
    check.run(scene("stage 1 off", gpt, made, state, spot, enabled=False), items)
