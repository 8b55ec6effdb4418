"""Which access may touch which granule: GPI encodings, address spaces, descriptors, granule sizes, accesses."""

from __future__ import annotations

import pytest

from harness.check import Check
from harness.coverage import Cell, group
from harness.judge.scene import Item, Scene
from harness.judge.stimulus import Kind
from harness.probe.records import World
from refmodel.gpt.build import GPTBuilder, granules_descriptor
from refmodel.gpt.decode import GPT_Any
from refmodel.gpt.types import PGSe
from suites.gpt.scenes import GB, LOW, RESERVED, VALID, apart, place, with_table

_PPS = (32, 36, 40, 42, 44, 48, 52)
_CONTIGUOUS = {"contiguous-2MB": 21, "contiguous-32MB": 25, "contiguous-512MB": 29}


def _place(made: GPTBuilder, descriptor: str, gpi: int) -> tuple[int, int]:
    """Put ``gpi`` under test; return the range that it governs as (base, size)."""
    if descriptor == "block":
        made.block(LOW + GB, gpi)
        return LOW + GB, GB
    if descriptor == "granules":
        size = 16 << made.geometry.pgs.value
        made.raw_level_1(LOW, granules_descriptor([gpi] * 16))
        return LOW, size
    bits = _CONTIGUOUS[descriptor]
    made.contiguous(LOW, bits, gpi)
    return LOW, 1 << bits


def _access(check: Check, base: int, size: int, pas: World, kind: Kind, where: str, size_log2: int) -> Item:
    """One access to the range: in its first granule, its last one, or anywhere."""
    granule = min(size, 1 << 12)
    start = {"first": base, "inside": base, "last": base + size - granule}[where]
    pa = place(check, start, size if where == "inside" else granule, kind)
    values = check.rng.getrandbits(64), check.rng.getrandbits(64)
    return check.session.stimulus(
        kind, pa, pas, size_log2=size_log2 if kind in _ANY_SIZE else 3, value0=values[0], value1=values[1]
    )


@pytest.mark.smoke
@pytest.mark.rule("GPC-030", "GPC-031", "GPC-032", "GPC-033", "GPC-034", "GPC-035", "GPC-040", "GPC-044", "GPC-045")
@pytest.mark.rule("GPC-041", "GPC-042", "GPC-043", "GPC-050", "GPC-051", "GPC-060")
@pytest.mark.parametrize("pgs", PGSe, ids=lambda pgs: pgs.name)
@pytest.mark.parametrize(
    "descriptor",
    [
        pytest.param("block", marks=pytest.mark.rule("GPC-013", "GPC-014")),
        pytest.param("granules", marks=pytest.mark.rule("GPC-020", "GPC-021")),
        *(pytest.param(name, marks=pytest.mark.rule("GPC-024", "GPC-025")) for name in _CONTIGUOUS),
    ],
)
def test_matrix(check: Check, descriptor: str, pgs: PGSe) -> None:
    """All 16 GPI encodings x 4 spaces x every kind of access, for each descriptor and granule size; with them protected
    sizes, places in the range and sizes of the access.
    """
    cells = check.plan(
        group(gpi=range(16), pas=World, kind=Kind),
        group(pps=_PPS),
        group(where=("first", "inside", "last")),
        group(size_log2=range(4)),
    )
    for (gpi, pps), own in apart(cells, 0, 3).items():
        made = with_table(check, pgs=pgs, pps=pps)
        base, size = _place(made, descriptor, gpi)
        items = [_access(check, base, size, pas, kind, where, log2) for _, pas, kind, _, where, log2 in own]
        check.run(Scene.of(f"{descriptor} GPI {gpi:04b}, PPS {pps}", made), items, own)


@pytest.mark.rule("GPC-027", "GPC-020", "GPC-021")
@pytest.mark.parametrize("pgs", PGSe, ids=lambda pgs: pgs.name)
def test_reserved_gpi_beside(check: Check, pgs: PGSe) -> None:
    """One reserved GPI among 16 makes the whole Granules descriptor invalid, wherever it stands."""
    made = with_table(check, pgs=pgs)
    items: list[Item] = []
    shown: list[Cell | None] = []
    span = 16 << pgs.value
    # The granule that is met: that of the reserved GPI itself (0), or one so many places after it.
    cells = check.plan(group(position=range(16), reserved=RESERVED, met=range(16)), group(pas=World))
    for number, ((position, reserved), own) in enumerate(apart(cells, 0, 1).items()):
        at = LOW + number * span
        gpis = [GPT_Any] * 16
        gpis[position] = reserved
        made.raw_level_1(at, granules_descriptor(gpis))
        for _, _, met, pas in own:
            granule = (position + met) % 16
            items.append(check.session.stimulus(Kind.LOAD, at + (granule << pgs.value), pas))
        shown += own
    # The neighbours of the last descriptor are sound: the fault is the descriptor's own.
    items += [check.session.stimulus(Kind.LOAD, LOW + (160 * span) + (i << pgs.value), World.REALM) for i in range(16)]
    check.run(Scene.of("one reserved GPI", made), items, [*shown, *[None] * 16])


@pytest.mark.rule("GPC-020")
@pytest.mark.parametrize("pgs", PGSe, ids=lambda pgs: pgs.name)
def test_index(check: Check, pgs: PGSe) -> None:
    """Each granule obeys its own GPI: the first and last byte of granules with random neighbours."""
    made = with_table(check, pgs=pgs)
    granules = GB >> pgs.value
    chosen = sorted(check.rng.sample(range(granules // 16), 128))
    items: list[Item] = []
    for descriptor in chosen:
        gpis = [check.rng.choice(VALID) for _ in range(16)]
        made.raw_level_1(LOW + (descriptor * 16 << pgs.value), granules_descriptor(gpis))
        for index in range(16):
            base = LOW + (descriptor * 16 + index << pgs.value)
            for at in (base, base + (1 << pgs.value) - 1):
                items.append(check.session.stimulus(Kind.LOAD, at, check.rng.choice(list(World)), size_log2=0))
    check.run(Scene.of("every granule its own GPI", made), items)


@pytest.mark.rule("GPC-020", "GPC-080")
@pytest.mark.parametrize("l0gptsz", [30, 34, 36, 39])
@pytest.mark.parametrize("pgs", PGSe, ids=lambda pgs: pgs.name)
def test_random(check: Check, pgs: PGSe, l0gptsz: int) -> None:
    """Random valid tables, random accesses of every kind and size, in volume."""
    total = int(48_000 * check.scale)
    span = 16 << pgs.value
    descriptors = min(GB // span, 1024)
    while total > 0:
        made = with_table(check, pgs=pgs, pps=40, l0gptsz=l0gptsz)
        for number in range(descriptors):
            gpis = [check.rng.choice(VALID) for _ in range(16)]
            made.raw_level_1(LOW + number * span, granules_descriptor(gpis))
        items = [_random_access(check, descriptors * span) for _ in range(min(total, 16_000))]
        check.run(Scene.of("random GPIs", made), items)
        total -= len(items)


def _random_access(check: Check, size: int) -> Item:
    rng = check.rng
    kind = rng.choice(_KINDS)
    size_log2 = rng.randrange(4) if kind in _ANY_SIZE else 3
    pa = place(check, LOW, size, kind)
    values = (rng.getrandbits(64), rng.getrandbits(64)) if kind is not Kind.LOAD else (0, 0)
    return check.session.stimulus(
        kind, pa, rng.choice(_WORLDS), size_log2=size_log2, value0=values[0], value1=values[1]
    )


_KINDS, _WORLDS = tuple(Kind), tuple(World)
_ANY_SIZE = frozenset({Kind.LOAD, Kind.STORE, Kind.LOAD_EXCLUSIVE, Kind.STORE_EXCLUSIVE, Kind.ATOMIC_ADD})
