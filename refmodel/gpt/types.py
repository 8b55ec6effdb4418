"""Values that the granule protection check passes around, named as in Arm's pseudocode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from refmodel.features import Features
from refmodel.observe import Observer
from refmodel.pas import FullAddress
from refmodel.sysregs import GPCCR_EL3, GPTBR_EL3


class PGSe(Enum):
    """Physical granule size; the value is log2 of the bytes."""

    PGS_4KB = 12
    PGS_16KB = 14
    PGS_64KB = 16


class GPCF(Enum):
    """Kind of granule protection check fault."""

    __hash__ = object.__hash__  # singletons

    GPCF_None = "none"
    GPCF_AddressSize = "GPT address size fault"
    GPCF_Walk = "GPT walk fault"
    GPCF_EABT = "synchronous external abort on GPT fetch"
    GPCF_Fail = "granule protection fault"


@dataclass(frozen=True, slots=True)
class GPCFRecord:
    """Outcome of a granule protection check: fault kind and GPT level (0 or 1)."""

    gpf: GPCF
    level: int = 0

    def __str__(self) -> str:
        return "no fault" if self.gpf is GPCF.GPCF_None else f"{self.gpf.value}, level {self.level}"


GPC_NO_FAULT = GPCFRecord(GPCF.GPCF_None)
"""``GPCNoFault()`` of the pseudocode."""


def GPCFault(gpf: GPCF, level: int) -> GPCFRecord:
    """A fault record.  Source: DDI 0487, pseudocode ``GPCFault``."""
    return GPCFRecord(gpf, level)


@dataclass(frozen=True, slots=True)
class GPTTable:
    """A decoded level 0 Table descriptor: the level 1 table's physical address."""

    address: int


@dataclass(frozen=True, slots=True)
class GPTEntry:
    """Granule protection information found by a walk.

    ``size`` and ``contig_size`` are log2 of bytes: the granule, and the range that one cached entry may cover.
    """

    gpi: int
    size: int
    contig_size: int
    level: int

    def __str__(self) -> str:
        return f"GPI {self.gpi:04b}, level {self.level}, range 1 << {self.contig_size}"


@dataclass(frozen=True, slots=True)
class GPCState:
    """What the check reads of the PE besides memory: the two registers and the PE's features."""

    gpccr: GPCCR_EL3
    gptbr: GPTBR_EL3
    features: Features


Checker = Callable[[FullAddress, Observer], GPCFRecord]
"""A granule protection check with registers, memory and possible cached entries already bound."""
