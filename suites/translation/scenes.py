"""Scenes of translation: places that have a stage 1, leaves that lead to test RAM, accesses to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import pytest

from harness.check import Check
from harness.coverage import Depth
from harness.errors import MisuseError
from harness.judge.scene import Scene
from harness.judge.stimulus import Kind, Stimulus
from harness.judge.tables import (
    AF,
    BLOCK,
    NS,
    PAGE,
    SHARED,
    BuiltContext,
    BuiltStage1,
    Controls,
    TableBuilder,
)
from harness.judge.world import WorldScene
from harness.probe import lower
from harness.probe.records import World
from refmodel.bits import AlignDown
from refmodel.gpt.build import GPTBuilder
from refmodel.sysregs import HCR_EL2, SCR_EL3
from refmodel.translation.stage2 import Stage2
from refmodel.translation.walkstate import FINAL_LEVEL, index_lsb
from suites.gpt.scenes import LOW, place
from suites.gpt.worlds import NAMES, WHERE, Place

T = TypeVar("T")

TABLES = LOW + (768 << 20)
"""Where tables are, in 128 MB: in the gigabyte whose granules have a level 1 table of the GPT."""

DATA = LOW + (512 << 20)
"""256 pages that leaves lead to."""

PLACES = tuple((state, spot, name) for (state, spot), name in zip(WHERE, NAMES, strict=True) if spot.has_stage_1)
"""Every state and level that translates by a stage 1 of its own."""

_FEWEST = 200
"""Cells of a scene at the smallest scale: so many that each rule about permissions decides one."""

UPPER = 0xFFFF << 48
"""What an address of the upper range has above its 48 bits."""


DATA_KINDS = (Kind.LOAD, Kind.STORE, Kind.ATOMIC_ADD, Kind.FETCH)
"""A read, a write, both, and a fetch."""


def _at(chosen: Iterable[tuple[World, Place, str]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("state", "spot"), [pytest.param(state, spot, id=name) for state, spot, name in chosen]
    )


EVERYWHERE = _at(PLACES)
TWO_RANGES = _at(place for place in PLACES if place[1].el != 2 or place[1].e2h)
EL0_PLACES = _at(place for place in PLACES if place[1].el < 2)
EL1_PLACES = _at(place for place in PLACES if place[1].el == 1)
FOREIGN_CODE = _at(
    place
    for place in PLACES
    if place[0] is World.SECURE or (place[0] is World.REALM and (place[1].el == 2 or place[1].tge))
)
"""Places of states that can name Non-secure memory in stage 1 and must not execute it."""


def start_levels(spot: Place) -> Sequence[int]:
    """Values of TxSZ to try: of the upper range, or where there is none those that still reach the probe's pages."""
    return range(16, 49) if two_ranges(spot) else range(16, 34)


def two_ranges(spot: Place) -> bool:
    """Whether the regime of a place has an upper range, and EL0."""
    return spot.el != 2 or bool(spot.e2h)


def builder(check: Check, *, txsz: tuple[int, int] = (16, 16), spacing: int = 4096) -> TableBuilder:
    """Tables that map the probe's pages and nothing else."""
    pages = check.session.target.info.layout.lower
    if not pages:
        raise MisuseError("the target's probe has no pages below EL3")
    made = TableBuilder(TABLES, 128 << 20, txsz=txsz, spacing=spacing)
    made.map_probe(pages)
    return made


@dataclass(frozen=True, kw_only=True)
class Second:
    """Stage 2 of a scene: tables, and the registers that put them in force."""

    registers: Stage2
    tables: tuple[tuple[int, bytes], ...]

    def writes(self) -> tuple[tuple[int, bytes], ...]:
        """The tables as (PA, bytes)."""
        return self.tables


def scene(
    title: str,
    gpt: GPTBuilder,
    tables: TableBuilder,
    state: World,
    spot: Place,
    *,
    controls: Controls | None = None,
    pan: int = 0,
    scr: dict[str, int] | None = None,
    hcr: dict[str, int] | None = None,
    roots: tuple[int, int] | None = None,
    enabled: bool = True,
    second: Second | None = None,
    gpcp: int = 0,
) -> WorldScene:
    """Tables seen from a place; ``scr`` and ``hcr`` change fields, ``roots`` replaces the TTBRs."""
    written = (*tables.writes(), *(() if second is None else second.writes()))
    context = BuiltContext(
        state=state,
        el=spot.el,
        scr=SCR_EL3(lower.SCR_BASE).replace(**(scr or {})),
        hcr=HCR_EL2(lower.HCR_RW).replace(E2H=spot.e2h, TGE=spot.tge, VM=int(second is not None), **(hcr or {})),
        pan=pan,
        second=None if second is None else second.registers,
        stage1=BuiltStage1(
            tables=written, roots=roots or tables.roots, controls=controls or Controls(), enabled=enabled
        ),
    )
    return WorldScene.below_el3(Scene.of(title, gpt, gpccr=gpt.geometry.gpccr().replace(GPCP=gpcp)), context)


def leaf(level: int, pa: int, bits: int) -> int:
    """A valid Block or Page descriptor of ``level`` that covers ``pa``; ``bits`` has AF too if it is to be set."""
    return AlignDown(pa, index_lsb(level)) | SHARED | bits | (PAGE if level == FINAL_LEVEL else BLOCK)


def mapped(bits: int = 0) -> int:
    """The attributes of a leaf that every access of its level may use, and ``bits``."""
    return AF | bits


def access(check: Check, kind: Kind, va: int, level: int, page: int, pas: World) -> Stimulus:
    """An access to a random place of the page at PA ``page``, by the leaf of ``level`` at ``va``."""
    pa = place(check, page, 4096, kind)
    offset = pa - AlignDown(page, index_lsb(level))
    return Stimulus(kind, va + offset, pa, pas, 3, check.rng.getrandbits(64), check.rng.getrandbits(64))


def space(state: World, spot: Place, bits: int) -> World:
    """The space that a leaf with ``bits`` leads to, in a table of the state's own space."""
    return World.NON_SECURE if bits & NS and spot.reaches_non_secure(state) else state


def portions(check: Check, cells: Sequence[T], number: int) -> list[list[T]]:
    """``cells`` dealt out at random over ``number`` scenes; in an exhaustive run every scene has them all.

    At a smaller scale a part of them, the same number for each scene.
    """
    if check.depth is Depth.FULL:
        return [list(cells)] * number
    dealt = list(cells)
    check.rng.shuffle(dealt)
    each = max(_FEWEST, round(len(dealt) * min(check.scale, 1.0) / number))
    return [dealt[index::number][:each] if check.scale < 1 else dealt[index::number] for index in range(number)]
