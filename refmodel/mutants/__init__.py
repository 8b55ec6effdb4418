"""Mutants: single faults that the suites must notice, and how one is put into a machine.

``MUTANTS`` lists them all, by subject; ``apply`` puts one into the process it is called in, which is only ever the
process of a machine under test, never the judge's.
"""

from __future__ import annotations

import importlib
from typing import Any

from refmodel.mutants.gpt import GPT_MUTANTS
from refmodel.mutants.mutant import Mutant, Patch

MUTANTS: tuple[Mutant, ...] = GPT_MUTANTS

__all__ = ["MUTANTS", "Mutant", "Patch", "apply", "by_name"]


def by_name(name: str) -> Mutant:
    """The mutant called ``name``; KeyError lists the known names."""
    for mutant in MUTANTS:
        if mutant.name == name:
            return mutant
    raise KeyError(f"no mutant {name!r}; known are {', '.join(mutant.name for mutant in MUTANTS)}")


def apply(name: str) -> None:
    """Put a mutant's patches into this process."""
    for patch in by_name(name).patches:
        holder: Any = importlib.import_module(patch.module)
        *path, last = patch.attribute.split(".")
        for part in path:
            holder = getattr(holder, part)
        setattr(holder, last, patch.make(getattr(holder, last)))
