"""Stage 2 of scenes: tables that map the probe, stage-1 tables and data, and leaves under test."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from harness.check import Check
from harness.judge.tables import BLOCK, PAGE, S2_NORMAL, SHARED, Stage2Builder
from harness.probe import lower
from harness.probe.records import World
from refmodel.bits import AlignDown
from refmodel.sysregs import VSTCR_EL2, VSTTBR_EL2, VTCR_EL2, VTTBR_EL2
from refmodel.translation.stage2 import Stage2
from refmodel.translation.walkstate import FINAL_LEVEL, index_lsb
from suites.gpt.scenes import LOW
from suites.gpt.worlds import Place
from suites.translation.scenes import PLACES, TABLES, Second

TABLES_2 = LOW + (896 << 20)
"""Where tables of stage 2 are, in 64 MB; those of Non-secure intermediate addresses in the next 32 MB."""
TABLES_NS = TABLES_2 + (64 << 20)

ALIAS = 1 << 36
"""What is added to an intermediate address of a stage-1 table to have it mapped by a leaf under test."""

_SL0 = {2: 0b00, 1: 0b01, 0: 0b10, 3: 0b11}
_RES1 = 1 << 31
_WALK = 0b11 << 12 | 1 << 10 | 1 << 8  # SH0, ORGN0, IRGN0

NESTED = pytest.mark.parametrize(
    ("state", "spot"),
    [pytest.param(state, spot, id=name) for state, spot, name in PLACES if spot in (Place(1), Place(0))],
)
"""Places of the EL1&0 regime."""


def builder_2(check: Check, *, bits: int = 39, level: int = 1, spacing: int = 4096) -> Stage2Builder:
    """Stage 2 that maps the probe's pages and the region of stage-1 tables to themselves, and nothing else."""
    made = Stage2Builder(TABLES_2, 64 << 20, bits=bits, level=level, spacing=spacing)
    whole = lower.LowerPages(check.session.target.info.layout.lower).whole
    made.map_identity(whole.base, whole.size, FINAL_LEVEL)
    made.map_identity(TABLES, 128 << 20, 2)
    return made


def second(
    made: Stage2Builder,
    state: World,
    *,
    non_secure: Stage2Builder | None = None,
    bits: int = 39,
    level: int = 1,
    ps: int = 5,
    vtcr: dict[str, int] | None = None,
    vstcr: dict[str, int] | None = None,
) -> Second:
    """Stage 2 with these tables: of Secure state ``made`` is for Secure addresses and ``non_secure`` for the others."""
    size = {"T0SZ": 64 - bits, "SL0": _SL0[level]}
    root = made.roots[0]
    other = root if non_secure is None else non_secure.roots[0]
    secure = state is World.SECURE
    registers = Stage2(
        vtcr=VTCR_EL2(_RES1 | _WALK).replace(**{"PS": ps, **size, **(vtcr or {})}),
        vttbr=VTTBR_EL2(other if secure else root),
        vstcr=VSTCR_EL2(_RES1).replace(**{**size, **(vstcr or {})}),
        vsttbr=VSTTBR_EL2(root),
    )
    tables = (*made.writes(), *(() if non_secure is None else non_secure.writes()))
    return Second(registers=registers, tables=tables)


def leaf_2(level: int, pa: int, bits: int, *, attributes: int = S2_NORMAL) -> int:
    """A Block or Page of stage 2 that covers ``pa``; ``bits`` has AF, S2AP, XN, NS as they are to be."""
    kind = PAGE if level == FINAL_LEVEL else BLOCK
    return AlignDown(pa, index_lsb(level)) | SHARED | attributes | bits | kind


def ipa_of(number: int, level: int, page: int) -> int:
    """Intermediate address of ``page`` by leaf ``number`` of ``level``: an area for each level."""
    low = page - AlignDown(page, index_lsb(level))
    match level:
        case 1:
            return (128 + number << 30) | low
        case 2:
            return (300 << 30) + (number << 21) | low
        case _:
            return (310 << 30) + (number << 12)


def flags(*choices: Sequence[int]) -> tuple[int, ...]:
    """Every sum of one of each of ``choices``."""
    sums = [0]
    for choice in choices:
        sums = [one + bit for one in sums for bit in choice]
    return tuple(sums)
