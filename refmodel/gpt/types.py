"""Values that the granule protection check passes around, named as in Arm's pseudocode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from refmodel.bits import Ones
from refmodel.features import Features
from refmodel.observe import Observer
from refmodel.pas import FullAddress
from refmodel.rules import Rule
from refmodel.sysregs import GPCBW_EL3, GPCCR_EL3, GPTBR_EL3


class PGSe(Enum):
    """Physical granule size; the value is log2 of the bytes."""

    PGS_4KB = 12
    PGS_16KB = 14
    PGS_64KB = 16

    def __init__(self, bits: int) -> None:
        # A plain attribute with the value: a walk reads it again and again.
        self.bits = bits


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


_GPC2_FIELDS = (GPCCR_EL3.APPSAA, GPCCR_EL3.NSO, GPCCR_EL3.SPAD, GPCCR_EL3.NSPAD, GPCCR_EL3.RLPAD)
_GPC3_FIELDS = (GPCCR_EL3.GPCBW, GPCCR_EL3.PPS3)
_GDI_AND_TRACE = Ones(4) << 25 | 1 << 18
"""Fields of GPCCR_EL3 that are not modelled: SA, NSP, NA6 and NA7 (FEAT_RME_GDI), TBGPCD (the trace buffer)."""
_GPC2_MASK = sum(field.mask for field in _GPC2_FIELDS)
_GPC3_MASK = sum(field.mask for field in _GPC3_FIELDS)


def EffectiveGPCCR(gpccr: GPCCR_EL3, features: Features) -> GPCCR_EL3:
    """GPCCR_EL3 with bits that are no field, and the fields of absent features, taken as 0: they are RES0, and ignored
    whatever was written.
    """
    absent = (0 if features.gpc2 else _GPC2_MASK) | (0 if features.gpc3 else _GPC3_MASK) | gpccr.reserved
    return GPCCR_EL3(gpccr.value & ~absent) if gpccr.value & absent else gpccr


def _ignored(gpccr: GPCCR_EL3, gptbr: GPTBR_EL3, features: Features) -> tuple[Rule, ...]:
    """The rules of bits that are not 0 and have no meaning: fields of absent features, and bits that are no field."""
    gpc2 = not features.gpc2 and any(part.mask & gpccr.value for part in _GPC2_FIELDS)
    gpc3 = not features.gpc3 and (bool(gptbr.BADDR_55_52) or any(part.mask & gpccr.value for part in _GPC3_FIELDS))
    res0 = bool(gpccr.reserved & ~_GDI_AND_TRACE or gptbr.reserved)
    return (Rule.GPC2_RES0,) * gpc2 + (Rule.GPC3_RES0,) * gpc3 + (Rule.REGISTERS_RES0,) * res0


def EffectiveGPTBR(gptbr: GPTBR_EL3, features: Features) -> GPTBR_EL3:
    """GPTBR_EL3 with bits that are no field, and without FEAT_RME_GPC3 the address extension, taken as 0."""
    absent = (0 if features.gpc3 else GPTBR_EL3.BADDR_55_52.mask) | gptbr.reserved
    return GPTBR_EL3(gptbr.value & ~absent) if gptbr.value & absent else gptbr


@dataclass(frozen=True, slots=True)
class GPCState:
    """What the check reads of the PE besides memory: the registers, and the PE's features.

    Registers are held as their effective values: bits that are RES0 on this PE are 0.  ``ignored``: the rules of
    those bits that were written with another value.
    """

    gpccr: GPCCR_EL3
    gptbr: GPTBR_EL3
    features: Features
    gpcbw: GPCBW_EL3 = GPCBW_EL3()  # noqa: RUF009 - immutable
    ignored: tuple[Rule, ...] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ignored", _ignored(self.gpccr, self.gptbr, self.features))
        object.__setattr__(self, "gpccr", EffectiveGPCCR(self.gpccr, self.features))
        object.__setattr__(self, "gptbr", EffectiveGPTBR(self.gptbr, self.features))

    @property
    def base(self) -> int:
        """Address that GPTBR_EL3 names for the level 0 table, before its alignment is applied."""
        return self.gptbr.BADDR_55_52 << 52 | self.gptbr.BADDR << 12


Checker = Callable[[FullAddress, Observer], GPCFRecord]
"""A granule protection check with registers, memory and possible cached entries already bound."""
