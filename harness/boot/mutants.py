"""Mutants of stacks: firmware of our own with one fault, or one observation falsified.

They prove that the suites that boot firmware notice what they are there to notice.  The stack still runs on QEMU; only
what it is built of, or what the harness is told of it, differs.
"""

from __future__ import annotations

from dataclasses import dataclass

from refmodel.mutants.mutant import Mutant


@dataclass(frozen=True)
class StackMutant(Mutant):
    """A mutant of a stack; ``firmware`` is the image of the catalogue that takes TF-A's place, if any."""

    firmware: str = ""


def _built(name: str, *rules: str) -> StackMutant:
    """TF-A with the optional edit that images/catalogue.toml gives the image ``tfa-NAME``."""
    return StackMutant(name, "boot", rules, (), "firmware", firmware=f"tfa-{name}")


BOOT_MUTANTS: tuple[StackMutant, ...] = ()
