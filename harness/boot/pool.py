"""The machines of a run that boots stacks: prepared once, booted when a test asks, shared while they are well."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.boot.machine import StackMachine
from harness.boot.prepare import RMM_VARIABLE, Prepared, prepare
from harness.targets.qemu_machine import version_of
from images.image import Provenance
from images.progress import Progress
from images.stack import load


@dataclass(frozen=True, kw_only=True)
class StackOptions:
    """What the user wants of stacks; see ``harness/plugin.py`` for the options.  ``firmware`` replaces TF-A's image."""

    qemu: str = ""
    rmm: Path | None = None
    files: Mapping[str, Path] = field(default_factory=dict)
    offline: bool = False
    timeout_scale: float = 1.0
    firmware: str = ""


@dataclass(eq=False)
class KeptStacks:
    """Prepared stacks and shared machines that outlive a pool, for runs with the same options, one after the other.

    As a plugin of pytest (``pytest.main(..., plugins=[kept])``) it serves every run that it is given to.
    """

    prepared: dict[str, Prepared] = field(default_factory=dict)
    shared: dict[tuple[str, str], StackMachine] = field(default_factory=dict)

    def close(self) -> None:
        """Switch everything off."""
        for machine in self.shared.values():
            machine.power_off()
        self.shared.clear()


class StackPool:
    """Boots stacks into directories below ``logs()``; ``heard`` is told of the binaries of a stack at its first use.

    ``kept``: what it shares with earlier and later pools, which stays on when this one is closed.
    """

    def __init__(
        self,
        options: StackOptions,
        *,
        logs: Callable[[], Path],
        progress: Progress | None = None,
        heard: Callable[[Prepared], None] = lambda prepared: None,
        kept: KeptStacks | None = None,
    ) -> None:
        self.options = options
        self._logs = logs
        self._progress = progress
        self._heard = heard
        self._prepared: dict[str, Prepared] = {}
        self._own = kept is None
        self._kept = kept or KeptStacks()
        self._machines: list[StackMachine] = []

    @property
    def rmm_given(self) -> bool:
        """Whether the user named an RMM."""
        return self.options.rmm is not None or bool(os.environ.get(RMM_VARIABLE))

    def prepared(self, stack: str) -> Prepared:
        """The stack with all it boots, obtained at the first call."""
        if stack not in self._prepared:
            if stack not in self._kept.prepared:
                self._kept.prepared[stack] = self._prepare(stack)
            self._prepared[stack] = self._kept.prepared[stack]
            self._heard(self._prepared[stack])
        return self._prepared[stack]

    def _prepare(self, stack: str) -> Prepared:
        options = self.options
        return prepare(
            stack,
            rmm=options.rmm if _takes_rmm(stack) else None,
            files=options.files,
            qemu=options.qemu,
            offline=options.offline,
            firmware=options.firmware,
            progress=self._progress,
        )

    def machine(self, stack: str) -> StackMachine:
        """A machine that is still off, with a log directory of its own."""
        prepared = self.prepared(stack)
        logs = self._logs() / f"{prepared.stack.name}-{len(self._machines)}"
        made = StackMachine(prepared, logs=logs, timeout_scale=self.options.timeout_scale)
        self._machines.append(made)
        return made

    def boot(self, stack: str, until: str = "", *, fresh: bool = False) -> StackMachine:
        """A machine on which ``stack`` has come to ``until``; shared unless ``fresh``.  TargetError if it fails."""
        self.prepared(stack)
        key = stack, until
        if not fresh and key in self._kept.shared:
            return self._kept.shared[key]
        machine = self.machine(stack)
        try:
            machine.boot(until)
        except BaseException:
            machine.power_off()
            raise
        if not fresh:
            self._kept.shared[key] = machine
        return machine

    def discard(self, machine: StackMachine) -> None:
        """A machine whose state is unknown goes off; who asks next gets a new one."""
        for key, known in list(self._kept.shared.items()):
            if known is machine:
                del self._kept.shared[key]
        machine.power_off()

    def close(self) -> None:
        """Switch everything off that is not kept for others."""
        if self._own:
            self._kept.close()
        for machine in self._machines:
            if machine not in self._kept.shared.values():
                machine.power_off()

    def version(self, stack: str) -> str:
        """QEMU's version, for waivers and results."""
        return version_of(self.prepared(stack).qemu)

    def provenance(self) -> tuple[Provenance, ...]:
        """Every binary that has taken part so far."""
        found = (item for prepared in self._prepared.values() for item in prepared.provenance)
        return tuple(dict.fromkeys(found))


def _takes_rmm(stack: str) -> bool:
    """Whether the stack's firmware starts the user's RMM."""
    firmware = load(stack).firmware
    return firmware is not None and firmware.rmm == "user"
