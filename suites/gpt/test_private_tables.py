"""Granule protection tables in memory that only Root and Secure accesses reach.

The host's view of memory ends at ordinary RAM, so the probe itself writes the tables.  Memory that answers to Root
alone is on none of today's machines: a walk made in the Secure space would look the same here.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from harness.check import Check
from harness.coverage import group
from harness.judge.scene import Invalidate, Item, Scene, SetRegister, TableWrite
from harness.judge.stimulus import Kind
from harness.probe.records import World
from refmodel.gpt.build import granules_descriptor, table_descriptor
from refmodel.gpt.types import PGSe
from refmodel.sysregs import GPTBR_EL3
from suites.gpt.scenes import LOW, apart, place, with_table

_LEVELS = ("level 1", "level 0", "both")
"""Level 1 first: the probe's own accesses do not need that table."""


def _writes(at: int, content: bytes) -> Iterator[TableWrite]:
    """One write for each run of equal doublewords."""
    for value, run in itertools.groupby(
        int.from_bytes(content[i : i + 8], "little") for i in range(0, len(content), 8)
    ):
        count = len(list(run))
        yield TableWrite(at, value, count)
        at += 8 * count


@pytest.mark.smoke
@pytest.mark.rule("GPC-019")
def test_tables_in_secure_ram(check: Check) -> None:
    """Level 0, level 1 and both in secure RAM: every GPI in every space, with each granule size.

    What ordinary RAM held is cleared, or no longer named, so that only the copy can answer.
    """
    secure = check.session.target.info.layout.secure
    if not check.needs("RAM that answers Root and Secure only", bool(secure)):
        return
    cells = check.plan(group(levels=_LEVELS, pgs=PGSe, gpi=range(16), pas=World, kind=(Kind.LOAD, Kind.STORE)))
    for (levels, pgs), own in apart(cells, 0, 1).items():
        made = with_table(check, pgs=pgs)
        span = 16 << pgs.value
        for gpi in range(16):
            made.raw_level_1(LOW + gpi * span, granules_descriptor([gpi] * 16))
        at_0, at_1, ordinary_1 = secure[0].base, secure[0].base + made.geometry.level_1_size, made.address_1(LOW)
        if levels != "level 0":
            made.raw_level_0(LOW, table_descriptor(at_1))
        content = dict(made.writes())
        items: list[Item] = []
        if levels != "level 0":
            items += _writes(at_1, content[ordinary_1])
        if levels != "level 1":
            items += [*_writes(at_0, content[made.level_0]), TableWrite(made.address_0(LOW), 0)]
            items.append(SetRegister(GPTBR_EL3.of(BADDR=at_0 >> 12)))
        items.append(Invalidate())
        before = len(items)
        for _, _, gpi, pas, kind in own:
            items.append(check.session.stimulus(kind, place(check, LOW + gpi * span, span, kind), pas))
        check.run(Scene.of(f"{levels} in secure RAM, {pgs.name}", made), items, [*[None] * before, *own])
