"""The one Protocol that every target satisfies, and what a target says about itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from harness.errors import MisuseError
from harness.probe.batch import Batch, EncodedBatch
from harness.probe.records import Result
from images.image import Provenance
from refmodel.memory import MemoryMap, Region, RegionKind
from refmodel.pas import PASpace

SECURE_SPACES: Final = frozenset({PASpace.PAS_Root, PASpace.PAS_Secure})
"""The spaces that secure RAM answers to."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """A physical address range [base, base + size) in bytes, and what it may be used for."""

    base: int
    size: int

    @property
    def end(self) -> int:
        """First address after the window."""
        return self.base + self.size

    def holds(self, pa: int, length: int = 1) -> bool:
        """Whether [pa, pa + length) lies inside."""
        return self.base <= pa and pa + length <= self.end


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where things are in a target's physical memory.

    ``probe``: never to be touched, must stay accessible to Root; ``tables``: the harness builds tables here;
    ``test``: windows of ordinary RAM that stimuli may read and write; ``hole``: nothing answers there (external abort).
    ``secure``: RAM that answers Root and Secure accesses only; to others nothing answers.
    ``lower``: PA of the probe's pages for records below EL3 (``probe/lower.py``), 0 where it has none.
    """

    probe: tuple[Window, ...]
    tables: Window
    test: tuple[Window, ...]
    hole: tuple[Window, ...] = ()
    secure: tuple[Window, ...] = ()
    windows_l1: int = 0  # PA of the stage-1 L1 table whose 512 entries the harness may write; 0 = none
    lower: int = 0

    def memory_map(self) -> MemoryMap:
        """What answers where: RAM, in every space or in two of them, and nothing elsewhere."""
        everywhere = (*self.probe, self.tables, *self.test)
        return MemoryMap(
            (
                *(Region(w.base, w.size, RegionKind.RAM) for w in everywhere),
                *(Region(w.base, w.size, RegionKind.RAM, SECURE_SPACES) for w in self.secure),
            )
        )


@dataclass(frozen=True, kw_only=True)
class TargetInfo:
    """What a target says about itself once it is on.

    ``kind``: ``qemu``, ``model``, ``mutant``, ``replay`` or ``board``; ``self_test`` targets never yield a conformance
    claim.  ``id_registers`` maps names such as ``ID_AA64PFR0_EL1`` to values read on the target; ``features`` are the
    declared ones, verified against them.  ``choices``: IMPLEMENTATION DEFINED choices known beforehand.  ``pes``: how
    many PEs run records.
    """

    name: str
    kind: str
    version: str
    self_test: bool
    layout: Layout
    id_registers: Mapping[str, int] = field(default_factory=dict)
    features: Mapping[str, int | bool] = field(default_factory=dict)
    choices: Mapping[str, str] = field(default_factory=dict)
    provenance: tuple[Provenance, ...] = ()
    command: tuple[str, ...] = ()
    banner: str = ""
    pes: int = 1


@dataclass(frozen=True, kw_only=True)
class TargetOptions:
    """How a suite wants the target to be: the L0GPTSZ the machine must have, and how records travel.

    ``l0gptsz``: bits per L0 entry (30, 34, 36, 39); ``wire_only``: no shared memory, everything over the UART;
    ``pes``: how many PEs the machine has at least; ``variant``: a PE with other features, which targets that cannot
    choose theirs ignore (``model_machine.VARIANTS``).
    """

    l0gptsz: int = 30
    wire_only: bool = False
    timeout_scale: float = 1.0
    pes: int = 1
    variant: str = ""


def log_directory(path: Path) -> None:
    """Make the directory of a power-on's logs; MisuseError when it cannot be made."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        remedy = "free space or give another directory with --results DIR"
        raise MisuseError(f"{path}: cannot be used for logs: {error.strerror}; {remedy}") from None


@runtime_checkable
class Pausable(Protocol):
    """A target that can be made to use no processor time while it has nothing to do."""

    def pause(self) -> None:
        """Stand still until ``resume``; of a target that is off, nothing."""

    def resume(self) -> None:
        """Go on; of a target that is off or goes on anyway, nothing."""


class Target(Protocol):
    """A machine that runs probe records.

    Every method may raise TargetError; after that the state is unknown and only ``power_cycle`` or ``power_off`` is
    legal.
    """

    @property
    def info(self) -> TargetInfo:
        """What the target says about itself; legal once it is on."""

    @property
    def log_directory(self) -> Path:
        """Where the consoles' logs of this power-on are."""

    def power_on(self) -> None:
        """Start the machine and wait for the probe's banner."""

    def power_off(self) -> None:
        """Stop the machine; idempotent, leaves no process, socket or shared-memory file behind."""

    def power_cycle(self) -> None:
        """Off and on again."""

    def read_memory(self, pa: int, length: int) -> bytes:
        """Bytes of physical memory as Root sees them, past the GPC."""

    def write_memory(self, pa: int, data: bytes) -> None:
        """Write physical memory as Root, past the GPC; visible to the PE's table walks before the next batch."""

    def run_encoded(self, encoded: EncodedBatch) -> bytes:
        """Run a batch that is laid out already, its records in order; the result bytes, ``count`` x 128."""

    def run(self, batch: Batch) -> Sequence[Result]:
        """Run the records in order and return one result for each."""

    def partial_results(self) -> bytes:
        """The result bytes of the last batch as far as it came, also after the machine was lost; may be empty."""

    def console_tail(self, lines: int = 20) -> tuple[str, ...]:
        """The last lines of the probe's console."""
