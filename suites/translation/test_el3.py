"""Stage 1 of EL3: leaves of every space, permission and level below the probe's own level 0 table.

The descriptors lie in the part of the window table that no window uses, and in tables below it; what the probe lives on
stays as it is.
"""

from __future__ import annotations

import itertools
import struct

import pytest

from harness.check import Check
from harness.coverage import group
from harness.judge.scene import Item, Scene
from harness.judge.stimulus import Kind, Stimulus
from harness.judge.tables import AF, BLOCK, NS, NSE, PAGE, READ_ONLY, READ_ONLY_TABLE, TABLE, XN, XN_TABLE
from harness.probe.address_space import SLOT_BITS, WINDOW_SLOT
from harness.probe.records import World
from refmodel.bits import AlignDown
from refmodel.translation.walkstate import FINAL_LEVEL, index_lsb
from suites.gpt.scenes import place, with_table
from suites.translation.scenes import DATA, TABLES

_LEAVES = tuple(sum(bits) for bits in itertools.product((0, READ_ONLY), (0, XN), (0, AF), (0, NS), (0, NSE)))
_TABLES = tuple(sum(bits) for bits in itertools.product((0, READ_ONLY_TABLE), (0, XN_TABLE)))
_FIRST, _BELOW = 256, 300
"""Entries of the window table: the leaves of level 1, and the tables of level 2."""
_AREA = WINDOW_SLOT << SLOT_BITS


def _leaf(level: int, page: int, bits: int) -> int:
    """A Block or Page; bits [9:8] stay 0, as they may be part of the address."""
    return AlignDown(page, index_lsb(level)) | bits | (PAGE if level == FINAL_LEVEL else BLOCK)


def _writes(check: Check) -> list[tuple[int, bytes]]:
    """The descriptors as (PA, bytes): window entries, and tables of level 2 and 3 for each of _TABLES."""
    windows = check.session.target.info.layout.windows_l1
    entries = [(_FIRST + number, _leaf(1, _page(number), bits)) for number, bits in enumerate(_LEAVES)]
    writes: list[tuple[int, bytes]] = []
    for number, bits in enumerate(_TABLES):
        level_2, level_3 = TABLES + number * 0x2000, TABLES + number * 0x2000 + 0x1000
        entries.append((_BELOW + number, level_2 | TABLE | bits))
        for level, at in ((2, level_2), (3, level_3)):
            leaves = [_leaf(level, _page(index), leaf) for index, leaf in enumerate(_LEAVES)]
            rest = [0] * (512 - len(leaves))
            rest[-1] = level_3 | TABLE if level == 2 else 0
            writes.append((at, struct.pack("<512Q", *leaves, *rest)))
    return [*writes, *((windows + 8 * index, descriptor.to_bytes(8, "little")) for index, descriptor in entries)]


def _page(number: int) -> int:
    return DATA + (number << 12)


def _address(table: int, level: int, number: int) -> int:
    """Virtual address of a leaf: of level 1 in the window table, else below table number ``table``."""
    below = _AREA | _BELOW + table << 30
    match level:
        case 1:
            return _AREA | _FIRST + number << 30
        case 2:
            return below | number << 21
        case _:
            return below | 511 << 21 | number << 12


@pytest.mark.smoke
@pytest.mark.rule("TRN-020", "TRN-022", "TRN-028", "TRN-029", "TRN-012", "TRN-050", "TRN-051", "TRN-052", "GPC-060")
def test_matrix(check: Check) -> None:
    """Leaf x hierarchical bits x level x kind of access."""
    cells = check.plan(
        group(
            lambda table, level, number, kind: level > 1 or not table,
            table=range(len(_TABLES)), level=(1, 2, 3), leaf=range(len(_LEAVES)), kind=Kind,
        )
    )  # fmt: skip
    gpt = with_table(check)
    base = Scene.of("leaves of EL3", gpt)
    made = Scene(title=base.title, gpccr=base.gpccr, gptbr=base.gptbr, tables=(*base.tables, *_writes(check)))
    items: list[Item] = []
    for cell in cells:
        table, level, number, kind = cell
        pa = place(check, _page(number), 4096, kind)
        va = _address(table, level, number) + pa - AlignDown(_page(number), index_lsb(level))
        bits = _LEAVES[number]
        pas = World(2 * (bits & NSE != 0) + (bits & NS != 0))
        items.append(Stimulus(kind, va, pa, pas, 3, check.rng.getrandbits(64), check.rng.getrandbits(64)))
    check.run(made, items, cells)


@pytest.mark.rule("TRN-001")
def test_invalid(check: Check) -> None:
    """Invalid and reserved descriptors at level 1, 2 and 3, whatever else they hold."""
    windows = check.session.target.info.layout.windows_l1
    level_2, level_3 = TABLES, TABLES + 0x1000
    random = [check.rng.getrandbits(62) << 2 | kind for kind in (0b00, 0b10, 0b00, 0b10, 0b00, 0b10)]
    writes = [
        (windows + 8 * _FIRST, struct.pack("<3Q", random[0], random[1], level_2 | TABLE)),
        (level_2, struct.pack("<3Q", random[2], random[3], level_3 | TABLE)),
        (level_3, struct.pack("<3Q", random[4], random[5], _leaf(3, DATA, AF | NSE) & ~0b10)),
    ]
    below = _AREA | _FIRST + 2 << 30
    addresses = [_AREA | _FIRST + n << 30 for n in (0, 1)] + [below | n << 21 for n in (0, 1)]
    addresses += [below | 2 << 21 | n << 12 for n in (0, 1, 2)]
    base = Scene.of("invalid descriptors of EL3", with_table(check))
    made = Scene(title=base.title, gpccr=base.gpccr, gptbr=base.gptbr, tables=(*base.tables, *writes))
    items: list[Item] = []
    for va, kind in itertools.product(addresses, Kind):
        pa = place(check, DATA, 4096, kind)
        items.append(Stimulus(kind, va + pa - DATA, pa, World.ROOT, 3, check.rng.getrandbits(64)))
    check.run(made, items)
