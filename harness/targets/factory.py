"""Making targets from the option ``--target``: ``qemu``, ``model`` or ``mutant:NAME``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import images
from harness.boot.mutants import StackMutant
from harness.errors import MisuseError
from harness.mutants import MUTANTS, stack_mutant
from harness.targets.model import ModelTarget
from harness.targets.target import Target, TargetOptions
from images.image import Provenance
from images.progress import Progress

KNOWN = "qemu, model, mutant:NAME"

_QEMU, _PROBE = "qemu", "probe-root"  # names in images/catalogue.toml


@dataclass(kw_only=True)
class TargetFactory:
    """Makes targets of one kind.

    ``spec`` is the value of ``--target``; MisuseError when it names nothing that is known.  ``prepare`` obtains the
    images that the target needs; ``make`` gives a target that is still off.
    """

    spec: str
    qemu: str = ""
    probe: str = ""
    offline: bool = False
    wire_only: bool = False
    timeout_scale: float = 1.0
    progress: Progress | None = None
    _images: dict[str, images.Image] = field(default_factory=dict)

    def __post_init__(self) -> None:
        kind, _, rest = self.spec.partition(":")
        if kind == "mutant" and rest not in {mutant.name for mutant in MUTANTS}:
            raise MisuseError(f"no mutant {rest!r}; 'realmcheck mutants --list' prints their names")
        if kind not in ("qemu", "model", "mutant") or (rest and kind != "mutant"):
            raise MisuseError(f"unknown target {self.spec!r}; known are {KNOWN}")

    @property
    def boots_stacks(self) -> bool:
        """Whether there is a machine that boots firmware: QEMU, also where a mutant is one of stacks."""
        return self.kind == "qemu" or self.stack_mutant is not None

    @property
    def stack_mutant(self) -> StackMutant | None:
        """The mutant of stacks that this is, or None."""
        return stack_mutant(self.spec.partition(":")[2])

    @property
    def kind(self) -> str:
        """``qemu``, ``model`` or ``mutant``."""
        return self.spec.partition(":")[0]

    @property
    def name(self) -> str:
        """The target's name in results."""
        return self.spec

    @property
    def self_test(self) -> bool:
        """Whether its reports are self-tests."""
        return self.kind != "qemu"

    def prepare(self) -> None:
        """Obtain what is needed; images.ImageError when it cannot be had."""
        if self.kind == "qemu" and not self._images:
            for name, override in ((_QEMU, self.qemu), (_PROBE, self.probe)):
                self._images[name] = images.provide(
                    name, offline=self.offline, progress=self.progress, override=override
                )

    @property
    def provenance(self) -> tuple[Provenance, ...]:
        """The binaries that take part."""
        return tuple(item for image in self._images.values() for item in image.provenance)

    @property
    def probe_elf(self) -> Path | None:
        """The probe firmware that targets boot; None where there is none."""
        return self._images[_PROBE].path if self._images else None

    @property
    def qemu_argv(self) -> tuple[str, ...]:
        """The command that starts QEMU; empty where there is none."""
        return tuple(self._images[_QEMU].argv) if self._images else ()

    def make(self, options: TargetOptions, logs: Path) -> Target:
        """A target with these options, its logs in ``logs``; still off."""
        if self.stack_mutant:
            raise MisuseError(f"{self.spec} is a mutant of stacks; run suites/{self.stack_mutant.subject} with it")
        if self.kind != "qemu":
            return ModelTarget(log_directory=logs, options=options, mutant=self.spec.partition(":")[2])
        # Imported here: a self-test needs nothing of the machinery around QEMU.
        from harness.targets.qemu import QemuTarget

        self.prepare()
        qemu, probe = self._images[_QEMU], self._images[_PROBE]
        return QemuTarget(
            qemu_argv=qemu.argv,
            probe_elf=probe.path,
            log_directory=logs,
            options=options,
            provenance=self.provenance,
        )
