"""Random histories: what PEs do to a GPT, to the registers that lead to it, and with the memory that it protects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

from harness.check import Check
from harness.judge.history import History
from harness.judge.scene import From, Invalidate, Item, On, Scene, SetRegister, TableWrite
from harness.judge.stimulus import Kind, Stimulus
from harness.probe import lower
from harness.probe.records import World
from refmodel.gpt.build import Geometry, GPTBuilder, block_descriptor, contiguous_descriptor, granules_descriptor
from refmodel.gpt.decode import GPI_NAMES, GPT_Any, GPT_NoAccess
from refmodel.gpt.tlbi import TLBIOp, encode_rpa
from refmodel.gpt.types import PGSe
from suites.gpt.scenes import GB, LOW, VALID
from suites.gpt.worlds import DEVICE_KINDS, PLACES, context

_PPS = 48
"""Protected size at first: the level 0 tables are aligned for every size up to it."""
_HIGH = 5 * GB
"""RAM that a protected size of 32 bits leaves out."""
_BLOCKS = (LOW + GB, _HIGH)
_ENTRIES = range(2)
"""Level 1 entries that are written: of 64 KB each with granules of 4 KB, of 256 KB and 1 MB with larger ones."""
_PLACES = (*(LOW + (entry << 16) + (page << 12) for entry in _ENTRIES for page in (0, 1)), *_BLOCKS)
_RANGES = ((LOW, 12), (LOW, 16), (LOW + (1 << 16), 16), (LOW, 21), (LOW + (1 << 21), 21), (LOW, 30), (LOW + GB, 30))
"""Address and log2 of the size for TLBI by range: some cover an entry, some a part of it, some none."""
_EL3, _BELOW = 0, 0x800
"""Halves of a page: with stage 1 off data is Device memory, which is kept apart from what EL3 has in its caches."""


@dataclass(frozen=True)
class Step:
    """One step of a history, and the same in words."""

    item: Item
    text: str

    def __repr__(self) -> str:
        return self.text


class Ground:
    """The tables that histories start from, and the steps that are possible on them.

    Two level 0 tables A and B, each with a level 1 table for the gigabyte at ``LOW`` in which A allows everything and
    B nothing.
    """

    def __init__(self, check: Check) -> None:
        self._check = check
        tables = check.session.target.info.layout.tables
        half = tables.size // 2
        self.tables = {name: self._made(tables.base + number * half, half) for number, name in enumerate("AB")}
        self.tables["A"].table(LOW, GPT_Any)
        self.tables["B"].table(LOW, GPT_NoAccess)

    def _made(self, base: int, size: int) -> GPTBuilder:
        made = GPTBuilder(Geometry(pgs=PGSe.PGS_4KB, pps=_PPS), base, size)
        for pa in (0, GB, *_BLOCKS):
            made.block(pa, GPT_Any)
        return made

    def scene(self, steps: Sequence[Step]) -> History:
        """The scene of a history."""
        first, second = (Scene.of("a history", made) for made in self.tables.values())
        return History(
            title=first.title,
            gpccr=first.gpccr,
            gptbr=first.gptbr,
            tables=(*first.tables, *second.tables),
            contiguity=True,
            steps=tuple(step.text for step in steps),
        )

    def histories(self) -> st.SearchStrategy[list[Step]]:
        """Histories of some twenty steps, half of them accesses; they shrink to few."""
        step = st.one_of(
            self._access(), self._access(), self._below(), self._granules(), self._level_0(), self._contiguous(),
            self._register(), self._tlbi(), self._tlbi(), self._access(),
        )  # fmt: skip
        parts = st.tuples(*[st.lists(step, max_size=12)] * 4)
        return parts.map(lambda lists: [step for part in lists for step in part])

    def _pe(self) -> st.SearchStrategy[int]:
        return st.integers(0, self._check.session.pes - 1)

    def _access(self) -> st.SearchStrategy[Step]:
        def made(pe: int, kind: Kind, pa: int, pas: World, lane: int, value: int) -> Step:
            stimulus = self._check.session.stimulus(kind, _lane(pa + _EL3, kind, lane), pas, value0=value)
            return Step(On(pe, stimulus), f"PE {pe} at EL3: {_words(stimulus)}")

        return st.builds(
            made, self._pe(), st.sampled_from(Kind), st.sampled_from(_PLACES), st.sampled_from(World),
            st.integers(0, 7), st.integers(0, 255),
        )  # fmt: skip

    def _below(self) -> st.SearchStrategy[Step]:
        places = [
            context(self._check, state, spot, enabled=False, scr={"GPF": gpf})
            for state in lower.STATES
            for spot in PLACES
            for gpf in (0, 1)
        ]

        def made(pe: int, number: int, kind: Kind, pa: int, lane: int, value: int) -> Step:
            where = places[number]
            at = _lane(pa + _BELOW, kind, lane)
            stimulus = Stimulus(kind, at, at, where.state, 3, value)
            return Step(From(where, stimulus, pe), f"PE {pe} at {where.source}: {_words(stimulus)}")

        return st.builds(
            made, self._pe(), st.integers(0, len(places) - 1), st.sampled_from(DEVICE_KINDS),
            st.sampled_from(_PLACES), st.integers(0, 7), st.integers(0, 255),
        )  # fmt: skip

    def _granules(self) -> st.SearchStrategy[Step]:
        def made(pe: int, name: str, entry: int, first: int, second: int) -> Step:
            descriptor = granules_descriptor([first, second] * 8)
            at = self.tables[name].address_1(LOW) + 8 * entry
            what = f"level 1 entry {entry} of {name}: granules {GPI_NAMES[first]} and {GPI_NAMES[second]} by turns"
            return Step(TableWrite(at, descriptor, pe=pe), f"PE {pe} writes {what}")

        gpi = st.sampled_from(VALID)
        return st.builds(made, self._pe(), st.sampled_from("AB"), st.sampled_from(_ENTRIES), gpi, gpi)

    def _contiguous(self) -> st.SearchStrategy[Step]:
        def made(pe: int, name: str, gpi: int) -> Step:
            at = self.tables[name].address_1(LOW)
            write = TableWrite(at, contiguous_descriptor(gpi, 1), 32, pe)
            return Step(write, f"PE {pe} writes level 1 entries 0 to 31 of {name}: contiguous {GPI_NAMES[gpi]}")

        return st.builds(made, self._pe(), st.sampled_from("AB"), st.sampled_from(VALID))

    def _level_0(self) -> st.SearchStrategy[Step]:
        def made(pe: int, name: str, pa: int, gpi: int) -> Step:
            write = TableWrite(self.tables[name].address_0(pa), block_descriptor(gpi), pe=pe)
            return Step(write, f"PE {pe} writes the level 0 entry of {pa:#x} in {name}: block {GPI_NAMES[gpi]}")

        return st.builds(made, self._pe(), st.sampled_from("AB"), st.sampled_from(_BLOCKS), st.sampled_from(VALID))

    def _register(self) -> st.SearchStrategy[Step]:
        normal = self.tables["A"].geometry.gpccr()
        changes = (
            {}, {"PGS": 0b10}, {"PGS": 0b01}, {"PPS": 0b000}, {"PPS": 0b001}, {"GPC": 0},
            {"SH": 0b10, "ORGN": 0, "IRGN": 0},
        )  # fmt: skip
        control = [normal.replace(**fields) for fields in changes]
        registers = [*control, *(made.gptbr for made in self.tables.values())]

        def made(pe: int, number: int) -> Step:
            register = registers[number]
            return Step(SetRegister(register, pe), f"PE {pe} sets {type(register).__name__} to {register}")

        return st.builds(made, self._pe(), st.integers(0, len(registers) - 1))

    def _tlbi(self) -> st.SearchStrategy[Step]:
        def made(pe: int, op: TLBIOp, where: tuple[int, int]) -> Step:
            operand = encode_rpa(*where) if op.by_range else 0
            words = f", 1 << {where[1]} bytes from {where[0]:#x}" if op.by_range else ""
            return Step(Invalidate(op, operand, pe), f"PE {pe} executes TLBI {op.name}{words}")

        return st.builds(made, self._pe(), st.sampled_from(TLBIOp), st.sampled_from(_RANGES))


def _lane(base: int, kind: Kind, lane: int) -> int:
    """Instructions lie in odd lanes of 16 bytes, data in even ones."""
    return base + 32 * lane + 16 * (kind is Kind.FETCH)


def _words(stimulus: Stimulus) -> str:
    return f"{stimulus.kind.title} at {stimulus.pa:#x}, {World(stimulus.pas).name.replace('_', '-').title()} PAS"
