"""What a PE of the model machine keeps: pages that were accessed, and GPT entries that were fetched.

Kept until an invalidation by TLBI removes them or a register of the granule protection check is written: no more than
the architecture permits, and more than QEMU keeps, so that suites meet stale answers of both kinds.  A GPT entry is
kept by what it covers, permissive or not, and only if it is valid (R_QBKYP).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from refmodel.access import PEState
from refmodel.gpt.cache import Checked, PossibleGPT, cached_extent
from refmodel.gpt.decode import GPT_Table
from refmodel.gpt.tlbi import RangeInvalidation
from refmodel.gpt.types import GPCF, GPCState
from refmodel.memory import Memory, PhysMemRetStatus
from refmodel.observe import Observer
from refmodel.outcomes import Outcome
from refmodel.pas import FullAddress, SecurityState

_SIZES = (30, 34, 36, 39, 29, 25, 21, 16, 14, 12)
_TYPE = 0xF
Access = tuple[int, int, int, int, int]
"""Page of the virtual address, number of the kind of access, security state, exception level, PSTATE.PAN."""


class GPTEntries:
    """Descriptors that walks have fetched: (level, log2 of the bytes covered, number of that range) -> descriptor."""

    def __init__(self) -> None:
        self._entries: dict[tuple[int, int, int], int] = {}

    def find(self, level: int, pa: int) -> int | None:
        """The descriptor kept for an address at a level."""
        found = (self._entries.get((level, size, pa >> size)) for size in _SIZES)
        return next((descriptor for descriptor in found if descriptor is not None), None)

    def keep(self, gpc: GPCState, pa: int, level: int, descriptor: int) -> None:
        """A valid descriptor was fetched for ``pa``."""
        size = cached_extent(gpc, level, descriptor)
        self._entries[level, size, pa >> size] = descriptor

    def clear(self) -> None:
        """Keep nothing."""
        self._entries.clear()

    def invalidate(self, range_: RangeInvalidation) -> None:
        """Drop what a range invalidation must remove."""
        for level, size, number in list(self._entries):
            table = level == 0 and self._entries[level, size, number] & _TYPE == GPT_Table
            if range_.removes(number << size, size, table=table):
                del self._entries[level, size, number]


class _Fetched(Memory):
    """Memory as one walk sees it: a descriptor that is kept answers instead."""

    def __init__(self, memory: Memory, kept: GPTEntries) -> None:
        super().__init__(memory.map)
        # What is read past the check is the memory's own: a view that lacked it ended the machine.
        self._pages = memory._pages
        self._memory = memory
        self._kept = kept
        self.begin(0)

    def begin(self, pa: int) -> None:
        """The next walk is for ``pa``."""
        self._pa, self._level = pa, 0
        self.fetched: list[tuple[int, int]] = []

    def PhysMemRead(self, address: FullAddress, size: int) -> tuple[PhysMemRetStatus, int]:
        level, self._level = self._level, self._level + 1
        known = self._kept.find(level, self._pa)
        if known is not None:
            return PhysMemRetStatus.OK, known
        status, value = self._memory.PhysMemRead(address, size)
        if status is PhysMemRetStatus.OK:
            self.fetched.append((level, value))
        return status, value


class KeepingGPT(PossibleGPT):
    """A granule protection check whose walks use and fill ``kept``."""

    def __init__(self, gpc: GPCState, memory: Memory, kept: GPTEntries) -> None:
        self._view = _Fetched(memory, kept)
        self._kept = kept
        super().__init__(gpc, self._view)

    def _check(self, address: FullAddress, observe: Observer, ss: SecurityState) -> Checked:
        self._view.begin(address.address)
        checked = super()._check(address, observe, ss)
        for level, descriptor in self.valid(checked.options[0].value.gpf):
            self._kept.keep(self.gpc, address.address, level, descriptor)
        return checked

    def valid(self, gpf: GPCF) -> list[tuple[int, int]]:
        """The descriptors just fetched, without the one that made the walk fault."""
        faulty = gpf in (GPCF.GPCF_Walk, GPCF.GPCF_AddressSize)
        return self._view.fetched[:-1] if faulty else self._view.fetched


@dataclass
class PE:
    """What is a PE's own: registers, and what it keeps.

    ``pages``: accesses that were performed, and the PA of the page.  ``outcomes``: what has been computed since
    anything changed; not a cache of the machine, but of this program.
    """

    registers: dict[int, int]
    gpt: KeepingGPT
    entries: GPTEntries = field(default_factory=GPTEntries)
    pages: dict[Access, int] = field(default_factory=dict)
    outcomes: dict[Access, Outcome] = field(default_factory=dict)
    below: dict[tuple[int, int, int], PEState] = field(default_factory=dict)

    def changed(self) -> None:
        """Registers, memory or kept entries changed: compute anew."""
        self.outcomes.clear()
        self.below.clear()
        self.gpt.forget()

    def bind(self, gpc: GPCState, memory: Memory) -> None:
        """Registers or memory changed; new registers of the check are used at once, which the architecture permits."""
        if gpc != self.gpt.gpc:
            self.entries.clear()
            self.gpt = KeepingGPT(gpc, memory, self.entries)
        self.changed()

    def invalidate(self) -> None:
        """Keep nothing."""
        self.pages.clear()
        self.entries.clear()
        self.changed()

    def invalidate_range(self, range_: RangeInvalidation) -> None:
        """TLBI RPAOS or RPALOS by whichever PE."""
        self.entries.invalidate(range_)
        self.pages = {access: pa for access, pa in self.pages.items() if not range_.start <= pa < range_.end}
        self.changed()
