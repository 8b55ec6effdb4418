"""Descriptors of every type at every level, start levels, sizes of addresses, contiguous ranges."""

from __future__ import annotations

import itertools

import pytest

from harness.check import Check
from harness.judge.scene import Item
from harness.judge.stimulus import Kind
from harness.judge.tables import AF, CONTIGUOUS, EL0, READ_ONLY, SHARED, TABLE, Controls, TableBuilder
from harness.probe.records import World
from refmodel.translation.walkstate import FINAL_LEVEL, index_lsb
from suites.gpt.scenes import GB, with_table
from suites.gpt.worlds import Place
from suites.translation.scenes import (
    DATA,
    DATA_KINDS,
    EVERYWHERE,
    TWO_RANGES,
    UPPER,
    access,
    builder,
    leaf,
    mapped,
    scene,
    start_levels,
    two_ranges,
)

_AREA = 1 << 39
"""Virtual address of the second level 0 entry: nothing of the probe's."""


def _put_type(made: TableBuilder, va: int, level: int, kind: int, bits: int) -> None:
    """A descriptor of ``kind`` (bits [1:0]) at ``level``; a Table leads to leaves of the level below."""
    if kind == TABLE and level < FINAL_LEVEL:
        below = level + 1
        size = 1 << index_lsb(below)
        for index in range(4):
            made.put(va + index * size, below if below else 1, leaf(max(below, 1), DATA, bits))
        return
    made.put(va, level, leaf(max(level, 1), DATA, bits) & ~0b11 | kind)


@pytest.mark.smoke
@EVERYWHERE
@pytest.mark.rule("TRN-001", "TRN-002", "TRN-050", "TRN-051", "TRN-052")
def test_types(check: Check, state: World, spot: Place) -> None:
    """Bits [1:0] in all encodings at each level, under all bits that do not count in an invalid descriptor."""
    gpt = with_table(check)
    for turn, upper in itertools.product(range(4), (False, True) if two_ranges(spot) else (False,)):
        made = builder(check)
        high = UPPER if upper else 0
        items: list[Item] = []
        for level, kind in itertools.product(range(4), range(4)):
            va = high | (1 + 4 * level + kind << 39)
            bits = mapped(check.rng.choice((0, EL0)))
            if not kind & 1:
                # Invalid: nothing else in the descriptor counts.
                made.put(va, level, check.rng.getrandbits(62) << 2 | kind)
            else:
                _put_type(made, va, level, kind, bits if turn % 2 else mapped(EL0))
            for access_kind in Kind:
                depth = max(level + (kind == TABLE and level < FINAL_LEVEL), 1)
                items.append(access(check, access_kind, va, depth, DATA, state))
        check.run(scene(f"descriptor types, turn {turn}", gpt, made, state, spot), items)


@EVERYWHERE
@pytest.mark.rule("TRN-003", "TRN-004")
def test_start_levels(check: Check, state: World, spot: Place) -> None:
    """Every TxSZ from 16 on: the first and the last address of the range, and the first beyond it."""
    gpt = with_table(check)
    sizes = start_levels(spot)
    for txsz in sizes:
        upper = two_ranges(spot)
        pair = (16, txsz) if upper else (txsz, 16)
        made = builder(check, txsz=pair)
        bits = 64 - txsz
        base = (1 << 64) - (1 << bits) if upper else 0
        last = (1 << 64) - 4096 if upper else (1 << bits) - 4096
        first = base if upper else 0x1_0000
        # Level 3 leaves, so that every level below the first is walked.
        for va in (first, last):
            made.put(va, 3, leaf(3, DATA, mapped(EL0)))
        beyond = (base - 4096) % (1 << 64) if upper else 1 << bits
        items: list[Item] = [
            access(check, kind, va, 3, DATA, state)
            for va in (first, last, beyond)
            for kind in (Kind.LOAD, Kind.STORE, Kind.FETCH)
        ]
        hole = (first + last) // 2 & ~0xFFF
        items.append(access(check, Kind.LOAD, hole, 3, DATA, state))
        check.run(scene(f"TxSZ {txsz}", gpt, made, state, spot, controls=Controls(txsz=pair)), items)


_BITS_OF_PS = {0: 32, 1: 36, 2: 40, 3: 42, 4: 44}


@EVERYWHERE
@pytest.mark.rule("TRN-008", "TRN-009")
def test_output_size(check: Check, state: World, spot: Place) -> None:
    """Leaves and tables with one address bit too many, for every output size; and the last that is inside."""
    gpt = with_table(check)
    for ps, size in _BITS_OF_PS.items():
        made = builder(check)
        items: list[Item] = []
        for number, bit in enumerate(range(size, 48)):
            area = _AREA + (number << 33)
            for level in (1, 2, 3):
                # With the access flag clear too: the address comes first.
                flag = mapped(EL0) if check.rng.random() < 0.5 else EL0
                va = area + (level << 30)
                made.put(va, level, leaf(level, DATA, flag) | 1 << bit)
                items += [access(check, kind, va, level, DATA, state) for kind in DATA_KINDS]
            for level in (0, 1, 2):
                va = _AREA * 2 + (number << 39) + (level << 30) if level else _AREA * (32 + number)
                made.put(va, level, DATA | 1 << bit | TABLE)
                items += [access(check, kind, va, 3, DATA, state) for kind in DATA_KINDS]
        inside = _AREA + (63 << 30)
        made.put(inside, 1, leaf(1, DATA, mapped(EL0)))
        items += [access(check, kind, inside, 1, DATA, state) for kind in DATA_KINDS]
        beyond = inside + GB
        made.put(beyond, 1, leaf(1, 4 * GB, mapped(EL0)))
        items.append(access(check, Kind.LOAD, beyond, 1, 4 * GB + (64 << 20), state))
        check.run(scene(f"output size {size}", gpt, made, state, spot, controls=Controls(ps=ps)), items)


@TWO_RANGES
@pytest.mark.rule("TRN-010")
def test_ttbr_size(check: Check, state: World, spot: Place) -> None:
    """TTBR1 with one address bit too many."""
    gpt = with_table(check)
    for ps, size in _BITS_OF_PS.items():
        for bit in range(size, 48):
            made = builder(check)
            roots = made.roots[0], made.roots[1] | 1 << bit
            items: list[Item] = [access(check, kind, UPPER, 3, DATA, state) for kind in DATA_KINDS]
            check.run(scene(f"TTBR1 bit {bit}", gpt, made, state, spot, controls=Controls(ps=ps), roots=roots), items)


@EVERYWHERE
@pytest.mark.rule("TRN-014")
def test_contiguous(check: Check, state: World, spot: Place) -> None:
    """Sixteen entries with Contiguous set: as they should be, and with one that differs in permission or validity."""
    gpt = with_table(check)
    for wrong, level in itertools.product(("none", "read-only", "not contiguous", "invalid", "access flag"), (1, 2, 3)):
        made = builder(check)
        size = 1 << index_lsb(level)
        items: list[Item] = []
        for index in range(16):
            # At level 1 and 2 all entries would exceed the test RAM; they are read by nobody but for the first two.
            pa = DATA + index * size if level == 3 else index * size
            descriptor = leaf(level, pa, mapped(EL0 | CONTIGUOUS))
            if index == 5:
                descriptor = {
                    "none": descriptor,
                    "read-only": descriptor | READ_ONLY,
                    "not contiguous": descriptor & ~CONTIGUOUS,
                    "invalid": 0,
                    "access flag": descriptor & ~AF,
                }[wrong]
            made.put(_AREA + index * size, level, descriptor)
        for index, kind in itertools.product(range(16), DATA_KINDS):
            if level == 3:
                items.append(access(check, kind, _AREA + index * size, 3, DATA + index * size, state))
        if level == 1:
            items += [access(check, kind, _AREA + 2 * size, 1, DATA, state) for kind in DATA_KINDS]
        if items:
            check.run(scene(f"contiguous, level {level}, {wrong}", gpt, made, state, spot), items)


@TWO_RANGES
@pytest.mark.rule("TRN-013")
def test_contiguous_too_large(check: Check, state: World, spot: Place) -> None:
    """A contiguous range above the input size: a translation fault or none, at level 1 and 2."""
    gpt = with_table(check)
    for txsz, level in ((31, 1), (33, 1), (40, 2), (42, 2)):
        made = builder(check, txsz=(16, txsz))
        va = (1 << 64) - (1 << 64 - txsz)
        pa = DATA
        made.put(va, level, leaf(level, pa, mapped(EL0 | CONTIGUOUS)) | SHARED)
        items: list[Item] = [access(check, kind, va, level, pa, state) for kind in DATA_KINDS]
        controls = Controls(txsz=(16, txsz))
        check.run(scene(f"contiguous above {64 - txsz} bits", gpt, made, state, spot, controls=controls), items)
