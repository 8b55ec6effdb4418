"""What scripts of RMI calls run on: a target of a check, and the probe of a booted stack with a real RMM.

On a stack nothing runs in a realm: the probe is the Host alone, so scripts whose realm does something cannot run there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol, runtime_checkable

from harness.boot.check import StackCheck
from harness.boot.machine import RAM_BASE
from harness.errors import MisuseError
from harness.host.probe import attach
from harness.probe.batch import Batch
from harness.probe.records import Result
from harness.targets.target import Target
from refmodel.rmm.scenario import Layout

_HOST_MEMORY: Final = 16 << 20
"""Bytes at the start of the test RAM that scripts use: delegable, and not where granule protection tests put theirs."""


@runtime_checkable
class KeepsBatches(Protocol):
    """A target that gives the image of the last batch as records have left it."""

    def read_batch(self) -> bytes:
        """The image after the run."""


class OnTarget:
    """The RMM of a target of a check."""

    def __init__(self, target: Target) -> None:
        if not isinstance(target, KeepsBatches):
            raise MisuseError(f"target {target.info.name} does not give batches back, so results of SMC cannot be read")
        layout = target.info.layout
        self._windows = layout.test
        self.memory = Layout(base=layout.test[0].base, size=_HOST_MEMORY, outside=layout.tables.base)
        self.read_batch = target.read_batch
        self.write_memory, self.read_memory = target.write_memory, target.read_memory
        self.run, self.power_cycle = target.run, target.power_cycle

    def holds(self, addr: int, size: int) -> bool:
        """Whether the harness may write there."""
        return any(window.holds(addr, size) for window in self._windows)


class OnStack:
    """The RMM of the stack ``name``, whose probe is the Normal world."""

    memory = Layout(base=0x7200_0000, size=_HOST_MEMORY, outside=0x0E00_2000)
    """RAM that neither the firmware nor the probe is in; EL3's RAM."""

    def __init__(self, stack: StackCheck, name: str) -> None:
        self._stack, self._name = stack, name
        self._machine = stack.boot(name, "probe")
        self._size = 0

    def power_cycle(self) -> None:
        """Start afresh."""
        self._stack.pool.discard(self._machine)
        self._machine = self._stack.boot(self._name, "probe")

    def holds(self, addr: int, size: int) -> bool:
        """Whether the harness may write there."""
        return self.memory.base <= addr and addr + size <= self.memory.base + self.memory.size

    def write_memory(self, address: int, data: bytes) -> None:
        """Write RAM behind the machine's back; no check of the architecture is in the way."""
        self._machine.ram.write(address - RAM_BASE, data)

    def read_memory(self, address: int, size: int) -> bytes:
        """Read RAM the same way."""
        return self._machine.ram.read(address - RAM_BASE, size)

    def run(self, batch: Batch) -> Sequence[Result]:
        """Run records at EL2 of the Normal world."""
        self._size = len(batch.encode().image)
        return attach(self._machine).run(batch.records, batch.pool)

    def read_batch(self) -> bytes:
        """The batch that the last run left."""
        return self._machine.ram.read(attach(self._machine).banner.batch - RAM_BASE, self._size)
