"""Two PEs over one GPT: whose TLB an invalidation reaches, and what PEs that are configured apart may do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.check import Check
from harness.coverage import group
from harness.judge.scene import Invalidate, Item, Scene, SetRegister, stimulus_of
from refmodel.gpt.build import Geometry, GPTBuilder, granules_descriptor
from refmodel.gpt.decode import GPT_Any, GPT_NoAccess, GPT_Realm, GPT_Secure
from refmodel.gpt.tlbi import TLBIOp, encode_rpa
from refmodel.gpt.types import PGSe
from suites.gpt.scenes import GB, LOW, fill_level_1
from suites.gpt.updates import BITS, ENTRIES, PAIRS, loads, tables, update

_TWO = pytest.mark.parametrize("pes", [2])
_PGS = pytest.mark.parametrize("pgs", PGSe, ids=lambda pgs: pgs.name)
_BOTH = (0, 1)


def _two(check: Check) -> bool:
    return check.needs("second PE that runs records", check.session.pes >= 2)


def _changed(check: Check, pgs: PGSe, op: TLBIOp, entry: str) -> None:
    """Each PE writes, each invalidates, both look: before the change, after it, and after the invalidation."""
    if not _two(check):
        return
    for cell in check.plan(group(writer=_BOTH, invalidator=_BOTH, pair=PAIRS)):
        writer, invalidator, pair = cell
        made = tables(check, pgs=pgs)
        changed = update(made, entry, pair)
        seen = loads(check, changed.places(1 << pgs.value), pes=_BOTH)
        written = changed.writes[pair[1]]
        write = replace(written, pe=writer)
        bits = BITS.get(entry, pgs.value)
        operand = encode_rpa(changed.base, bits) if op.by_range else 0
        items: list[Item] = [*seen, write, *seen, Invalidate(op, operand, invalidator), *seen]
        check.run(Scene.of(f"a {entry} changed by PE {writer}", made), items, whole=cell)


@_TWO
@_PGS
@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.rule("GPC-160")
def test_local(check: Check, pes: int, entry: str, pgs: PGSe) -> None:
    """TLBI PAALL: the PE that executes it obeys the new entry, whoever wrote it; the other may obey the old."""
    _changed(check, pgs, TLBIOp.PAALL, entry)


@pytest.mark.smoke
@_TWO
@_PGS
@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.rule("GPC-161")
def test_broadcast(check: Check, pes: int, entry: str, pgs: PGSe) -> None:
    """TLBI PAALLOS by either PE: both obey the new entry."""
    _changed(check, pgs, TLBIOp.PAALLOS, entry)


@_TWO
@pytest.mark.parametrize("op", [TLBIOp.RPAOS, TLBIOp.RPALOS], ids=lambda op: op.name)
@pytest.mark.parametrize("entry", [entry for entry in ENTRIES if entry != "table"])
@pytest.mark.rule("GPC-162")
def test_broadcast_of_ranges(check: Check, pes: int, entry: str, op: TLBIOp) -> None:
    """TLBI RPAOS and RPALOS by either PE: both obey the new entry."""
    _changed(check, PGSe.PGS_4KB, op, entry)


@_TWO
@pytest.mark.rule("GPC-164")
def test_broadcast_of_tables(check: Check, pes: int) -> None:
    """TLBI RPAOS by either PE: both leave the former level 1 table."""
    _changed(check, PGSe.PGS_4KB, TLBIOp.RPAOS, "table")


@_TWO
@pytest.mark.parametrize(
    "op",
    [
        pytest.param(TLBIOp.PAALL, marks=pytest.mark.rule("GPC-160"), id="PAALL"),
        pytest.param(TLBIOp.PAALLOS, marks=pytest.mark.rule("GPC-161"), id="PAALLOS"),
        pytest.param(TLBIOp.RPAOS, marks=pytest.mark.rule("GPC-162", "GPC-163"), id="RPAOS"),
        pytest.param(TLBIOp.RPALOS, marks=pytest.mark.rule("GPC-162", "GPC-163"), id="RPALOS"),
    ],
)
def test_another_granule_size(check: Check, pes: int, op: TLBIOp) -> None:
    """The PEs differ in PGS: a range need not reach the other one; PAALLOS must.  Blocks mean the same to both."""
    if not _two(check):
        return
    for cell in check.plan(group(invalidator=_BOTH, pair=PAIRS)):
        invalidator, pair = cell
        made = tables(check)
        changed = update(made, "block", pair)
        other = SetRegister(made.geometry.gpccr().replace(PGS=0b01), 1)
        seen = loads(check, changed.places(4096), pes=_BOTH)
        operand = encode_rpa(changed.base, 30) if op.by_range else 0
        # The first PE's own instruction shows the rule of each kind; the second PE's need not oblige the first.
        last = Invalidate(op, operand, 0)
        items: list[Item] = [
            other, Invalidate(TLBIOp.PAALLOS), *seen, changed.writes[pair[1]], *seen,
            Invalidate(op, operand, invalidator), *seen, last, *seen,
        ]  # fmt: skip
        check.run(Scene.of(f"granule sizes differ, TLBI {op.name} by PE {invalidator}", made), items, whole=cell)


def _another_gpt(check: Check, made: GPTBuilder, pgs: PGSe) -> GPTBuilder:
    """A second GPT in the upper half of the memory for tables, of another granule size if asked for."""
    window = check.session.target.info.layout.tables
    other = GPTBuilder(Geometry(pgs=pgs, pps=made.geometry.pps), window.base + window.size // 2, window.size // 2)
    other.block(0, GPT_Any)
    other.block(GB, GPT_Any)
    other.table(LOW)
    return other


@_TWO
@pytest.mark.parametrize("pgs", [PGSe.PGS_4KB, PGSe.PGS_64KB], ids=lambda pgs: pgs.name)
@pytest.mark.rule("GPC-168")
def test_configured_apart(check: Check, pes: int, pgs: PGSe) -> None:
    """Each PE with a GPT of its own: an access is judged by one of the two, and never by a mixture.

    Granules of every pair of GPIs, one by the first table and one by the second, each pair in a range of its own.
    """
    if not _two(check):
        return
    gpis = (GPT_NoAccess, GPT_Secure, GPT_Realm, GPT_Any)
    cells = check.plan(group(first=gpis, second=gpis))
    made = tables(check)
    other = _another_gpt(check, made, pgs)
    places = []
    for number, (first, second) in enumerate(cells):
        at = LOW + (8 + number << 21)
        fill_level_1(made, at, 21, granules_descriptor([first] * 16))
        fill_level_1(other, at, 21, granules_descriptor([second] * 16))
        places += [at, at + (1 << 21) - 4096]
    scene = Scene.of("two tables", made)
    scene = replace(scene, tables=(*scene.tables, *other.writes()))
    seen = loads(check, places, pes=_BOTH)
    apart: list[Item] = [SetRegister(other.gptbr, 1), SetRegister(other.geometry.gpccr(), 1)]
    together: list[Item] = [SetRegister(made.geometry.gpccr(), 1), SetRegister(made.gptbr, 1)]
    clean = Invalidate(TLBIOp.PAALLOS)
    items: list[Item] = [*apart, clean, *seen, *together, clean, *seen]
    stimuli = map(stimulus_of, items)
    shown = [None if stimulus is None else cells[(stimulus.pa - LOW >> 21) - 8] for stimulus in stimuli]
    check.run(scene, items, shown)
