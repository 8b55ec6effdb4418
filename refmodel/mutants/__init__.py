"""Mutants: single faults that the suites must notice, and how one is put into a machine.

``MUTANTS`` lists those that suites hunt, by subject, ``PENDING`` those whose suites are still to come, ``RMM_MUTANTS``
those that the exploration of the RMM model hunts.  ``apply`` puts one into the process it is called in: that of a
machine under test, or of an exploration, never the judge's.
"""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Any

from refmodel.mutants.attestation import ATTESTATION_MUTANTS
from refmodel.mutants.caching import CACHING_MUTANTS
from refmodel.mutants.gpt import GPT_MUTANTS
from refmodel.mutants.mec import MEC_MUTANTS
from refmodel.mutants.mutant import Mutant, Patch
from refmodel.mutants.rmi import RMI_MUTANTS
from refmodel.mutants.rmm import RMM_MUTANTS
from refmodel.mutants.translation import TRANSLATION_MUTANTS
from refmodel.mutants.worlds import OF_STAGE_2, WITHOUT_SUITE, WORLDS_MUTANTS

MUTANTS: tuple[Mutant, ...] = (
    *GPT_MUTANTS,
    *CACHING_MUTANTS,
    *(m for m in WORLDS_MUTANTS if m.name not in WITHOUT_SUITE | OF_STAGE_2),
    *(replace(m, subject="translation") for m in WORLDS_MUTANTS if m.name in OF_STAGE_2),
    *ATTESTATION_MUTANTS,
    *RMI_MUTANTS,
    *MEC_MUTANTS,
    *TRANSLATION_MUTANTS,
)
PENDING: tuple[Mutant, ...] = tuple(m for m in WORLDS_MUTANTS if m.name in WITHOUT_SUITE)

__all__ = ["MUTANTS", "PENDING", "RMM_MUTANTS", "Mutant", "Patch", "apply", "by_name"]


def by_name(name: str) -> Mutant:
    """The mutant called ``name``; KeyError lists the known names."""
    known = (*MUTANTS, *PENDING, *RMM_MUTANTS)
    for mutant in known:
        if mutant.name == name:
            return mutant
    raise KeyError(f"no mutant {name!r}; known are {', '.join(mutant.name for mutant in known)}")


def apply(name: str) -> None:
    """Put a mutant's patches into this process."""
    for patch in by_name(name).patches:
        holder: Any = importlib.import_module(patch.module)
        *path, last = patch.attribute.split(".")
        for part in path:
            holder = getattr(holder, part)
        setattr(holder, last, patch.make(getattr(holder, last)))
