"""Changes of a GPT that the tests of this folder make: an entry before and after, and where the change shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.check import Check
from harness.judge.scene import Item, On, TableWrite
from harness.judge.stimulus import Kind, Stimulus
from harness.probe.records import World
from refmodel.gpt.build import CONTIGUOUS, GPTBuilder, block_descriptor, contiguous_descriptor, table_descriptor
from refmodel.gpt.decode import GPT_Any, GPT_NoAccess, GPT_Realm, GPT_Secure
from suites.gpt.scenes import GB, LOW, with_table

PAIRS = ((GPT_Any, GPT_NoAccess), (GPT_NoAccess, GPT_Any), (GPT_Realm, GPT_Secure))
"""GPIs before and after: a denial, a permission, and one for another."""

ENTRIES = ("granule", "2MB", "32MB", "512MB", "block", "table")
"""What is changed: a granule, a Contiguous range, a level 0 Block, the table that a level 0 entry leads to."""

BITS = {"2MB": 21, "32MB": 25, "512MB": 29, "block": 30, "table": 30}
_PLACE = LOW + GB
_OTHER = LOW + 3 * GB


@dataclass(frozen=True)
class Update:
    """An entry for [base, base + size), and the writes that make it speak for one GPI."""

    base: int
    size: int
    writes: dict[int, TableWrite]
    """By GPI."""

    def places(self, granule: int) -> tuple[int, ...]:
        """The first and the last granule that the entry speaks for."""
        return tuple(dict.fromkeys((self.base, self.base + self.size - granule)))


def tables(check: Check, **geometry: object) -> GPTBuilder:
    """A GPT with level 1 tables, filled with Any, for four gigabytes from ``LOW`` on."""
    made = with_table(check, **geometry)  # type: ignore[arg-type]
    for number in (1, 2):
        made.table(LOW + number * GB)
    return made


def update(made: GPTBuilder, entry: str, gpis: Sequence[int]) -> Update:
    """An entry of one of ``ENTRIES`` in the gigabyte after ``LOW``, which starts with the first of ``gpis``."""
    granule = 1 << made.geometry.pgs.value
    every = dict.fromkeys(gpis)
    if entry == "granule":
        before = made.level_1(_PLACE)
        writes = {gpi: TableWrite(made.address_1(_PLACE), before & ~0xF | gpi) for gpi in every}
        made.granule(_PLACE, gpis[0])
        return Update(_PLACE, granule, writes)
    size = 1 << BITS[entry]
    if entry == "block":
        writes = {gpi: TableWrite(made.address_0(_PLACE), block_descriptor(gpi)) for gpi in every}
        made.block(_PLACE, gpis[0])
    elif entry == "table":
        leads_to = {gpi: made.table(_OTHER, gpi) for gpi in every}
        writes = {gpi: TableWrite(made.address_0(_PLACE), table_descriptor(at)) for gpi, at in leads_to.items()}
        made.raw_level_0(_PLACE, table_descriptor(leads_to[gpis[0]]))
    else:
        contig, count = CONTIGUOUS[BITS[entry]], size // (16 * granule)
        writes = {gpi: TableWrite(made.address_1(_PLACE), contiguous_descriptor(gpi, contig), count) for gpi in every}
        made.contiguous(_PLACE, BITS[entry], gpis[0])
    return Update(_PLACE, size, writes)


def loads(check: Check, places: Sequence[int], *, pes: Sequence[int] = (0,)) -> list[Item]:
    """A load of each place in each space, by each PE; not in the place's first 64 bytes, which stores may use."""
    made = (check.session.stimulus(Kind.LOAD, at + 64 + 16 * pas, pas) for at in places for pas in World)
    return [by(pe, stimulus) for stimulus in made for pe in pes]


def by(pe: int, stimulus: Stimulus) -> Item:
    """A stimulus of a PE."""
    return On(pe, stimulus) if pe else stimulus


def beside(base: int, size: int, granule: int) -> Iterator[tuple[str, int]]:
    """Granules at the ends of a range, by name: the last before it, its first and last, and the first after it."""
    yield "before", base - granule
    yield "first", base
    yield "last", base + max(size, granule) - granule
    yield "after", base + max(size, granule)
