"""All mutants that suites hunt: of the model (``refmodel.mutants``) and of stacks (``harness.boot.mutants``)."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from harness.boot.mutants import BOOT_MUTANTS, StackMutant
from harness.host.mutants import HOST_MUTANTS
from refmodel.mutants import MUTANTS as MODEL_MUTANTS
from refmodel.mutants import Mutant

STACK_MUTANTS: tuple[StackMutant, ...] = (*BOOT_MUTANTS, *HOST_MUTANTS)
MUTANTS: tuple[Mutant, ...] = (*MODEL_MUTANTS, *STACK_MUTANTS)


def stack_mutant(name: str) -> StackMutant | None:
    """The mutant of stacks with this name, or None."""
    return next((mutant for mutant in STACK_MUTANTS if mutant.name == name), None)


def falsify(mutant: StackMutant) -> Callable[[], None]:
    """Put the patches of a mutant of stacks into this process; what is returned takes them out again."""
    genuine: list[tuple[Any, str, Any]] = []
    for patch in mutant.patches:
        holder: Any = importlib.import_module(patch.module)
        *path, last = patch.attribute.split(".")
        for part in path:
            holder = getattr(holder, part)
        genuine.append((holder, last, getattr(holder, last)))
        setattr(holder, last, patch.make(getattr(holder, last)))

    def restore() -> None:
        while genuine:
            setattr(*genuine.pop())

    return restore
