"""Granule protection tables that the tests of this folder start from."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from harness.check import Check
from harness.coverage import Cell
from harness.judge.scene import Item, Scene, Under
from harness.judge.stimulus import Kind, Stimulus
from harness.probe.records import RecordFlag, World
from refmodel.gpt.build import Geometry, GPTBuilder, block_descriptor
from refmodel.gpt.decode import (
    GPT_Any,
    GPT_NoAccess,
    GPT_NonSecure,
    GPT_NonSecureOnly,
    GPT_Realm,
    GPT_Root,
    GPT_Secure,
)
from refmodel.gpt.types import PGSe
from refmodel.sysregs import GPCBW_EL3, GPCCR_EL3, GPTBR_EL3

VALID = (GPT_NoAccess, GPT_Secure, GPT_NonSecure, GPT_Root, GPT_Realm, GPT_Any)
"""The allocated GPI encodings."""

RESERVED = tuple(gpi for gpi in range(16) if gpi not in VALID)
"""The reserved ones."""

GB = 1 << 30
LOW = 2 * GB
"""Start of the test RAM; RAM goes on beyond 4 GB, which a protected size of 32 bits cannot reach."""


def builder(check: Check, *, pgs: PGSe = PGSe.PGS_4KB, pps: int = 40, l0gptsz: int = 30) -> GPTBuilder:
    """A GPT that lets everybody use the first 2 GB (the probe lives there) and says nothing of the rest.

    Where one level 0 entry covers more than that, it gets a level 1 table filled with Any.
    """
    tables = check.session.target.info.layout.tables
    made = GPTBuilder(Geometry(pgs=pgs, pps=pps, l0gptsz=l0gptsz), tables.base, tables.size)
    if l0gptsz > 30:
        # Only what the probe and the test RAM take up: a level 1 table for 512 GB would be 64 MB.
        made.table(0, covered=max(window.end for window in check.session.target.info.layout.test))
    else:
        made.block(0, GPT_Any)
        made.block(GB, GPT_Any)
    return made


def with_table(check: Check, *, pgs: PGSe = PGSe.PGS_4KB, pps: int = 40, l0gptsz: int = 30) -> GPTBuilder:
    """``builder`` with a level 1 table, filled with Any, for the gigabyte at ``LOW``."""
    made = builder(check, pgs=pgs, pps=pps, l0gptsz=l0gptsz)
    if l0gptsz == 30:
        made.table(LOW)
    return made


def fill_level_1(made: GPTBuilder, base: int, range_bits: int, descriptor: int) -> None:
    """One descriptor for all of a range of 1 << ``range_bits`` bytes: what it says contradicts no neighbour in it."""
    made.fill_level_1(base, range_bits, descriptor)


def hole(check: Check) -> int:
    """An address below 64 GB where nothing answers."""
    return check.session.target.info.layout.hole[0].base


def quiet(check: Check, pa: int) -> bool:
    """Whether an access to ``pa`` meets test RAM or nothing at all, never a device."""
    layout = check.session.target.info.layout
    return any(window.holds(pa, 16) for window in (*layout.test, *layout.hole))


def warm(
    check: Check,
    stimulus: Stimulus,
    *,
    gpccr: GPCCR_EL3 | None = None,
    gptbr: GPTBR_EL3 | None = None,
    gpcbw: GPCBW_EL3 | None = None,
) -> list[Item]:
    """A stimulus under registers of its own after a load from another page of its gigabyte: what the walk needs may be
    cached, so that the check of the output address meets the registers, not a check of the walk.
    """
    page = 1 << 16
    beside = check.session.stimulus(Kind.LOAD, stimulus.pa ^ page, stimulus.pas)
    return [beside, Under(stimulus, gpccr=gpccr, gptbr=gptbr, gpcbw=gpcbw, flags=RecordFlag(0))]


def apart(cells: Iterable[Cell], *at: int) -> dict[Cell, list[Cell]]:
    """Cells by the values that they have at the positions ``at``: one scene for each."""
    found: dict[Cell, list[Cell]] = {}
    for cell in cells:
        found.setdefault(tuple(cell[i] for i in at), []).append(cell)
    return found


def place(check: Check, base: int, size: int, kind: Kind) -> int:
    """A random place in [base, base + size) for an access of up to 16 bytes.

    Instructions lie in odd lanes, data in even ones, so that no store overwrites what is yet to be fetched.
    """
    return base + check.rng.randrange(size >> 5) * 32 + 16 * (kind is Kind.FETCH)


def res0(check: Check, **fields: int) -> tuple[Scene, list[Item]]:
    """GPCCR_EL3 with fields that are RES0, and accesses that they would decide if they were not.

    Each GPI, the reserved GPI 0b1101, and what lies above a protected size of 4 GB, in every space.
    """
    made = with_table(check, pps=32)
    for number, gpi in enumerate(VALID):
        made.granule(LOW + (number << 12), gpi)
    made.raw_level_0(LOW + GB, block_descriptor(GPT_NonSecureOnly))
    places = [*(LOW + (number << 12) for number in range(len(VALID))), LOW + GB, 4 * GB]
    items: list[Item] = [
        check.session.stimulus(kind, place(check, base, 4096, kind), pas)
        for base, pas, kind in itertools.product(places, World, (Kind.LOAD, Kind.STORE))
    ]
    title = ", ".join(f"{name} {value}" for name, value in fields.items())
    return Scene.of(f"{title} without its feature", made, gpccr=made.geometry.gpccr().replace(**fields)), items
