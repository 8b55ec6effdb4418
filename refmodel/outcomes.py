"""What a stimulus may lead to: a closed union of outcomes, and the set of permitted ones with reasons.

A bit or register that the architecture leaves UNKNOWN is not in the comparison: ``iss_known`` masks the ISS,
``None`` stands for an UNKNOWN register.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from refmodel.observe import Step
from refmodel.pas import EL
from refmodel.rules import Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Syndrome:
    """The address-free part of an exception.

    ``ec``, ``il``, ``iss`` (25 bits) are ESR_ELx fields of exception level ``el``; ``vector`` is the offset from
    VBAR_ELx.  ``rules`` are the rules that decide it.
    """

    el: EL
    ec: int
    il: int
    iss: int
    iss_known: int
    vector: int
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class ExceptionTaken:
    """An exception with its fault addresses: FAR_ELx, MFAR_EL3, HPFAR_EL2 (None where UNKNOWN or not written)."""

    syndrome: Syndrome
    far: int | None
    mfar: int | None
    hpfar: int | None = None


@dataclass(frozen=True, slots=True)
class AccessPerformed:
    """The operation completed; no exception.  An access reached memory."""


@dataclass(frozen=True, slots=True)
class AddressTranslated(AccessPerformed):
    """An address translation instruction completed; PAR_EL1 compares in the bits of ``par_known``."""

    par: int
    par_known: int


Outcome = AccessPerformed | ExceptionTaken


@dataclass(frozen=True, slots=True)
class Alternative:
    """One permitted outcome.

    ``reason`` says why it is permitted when it is not the only one; ``weak`` marks an outcome that only a cached
    translation or a choice of the implementation makes legal: it is no evidence that the rule holds.
    """

    outcome: Outcome
    rules: tuple[Rule, ...]
    reason: str = ""
    weak: bool = False


@dataclass(frozen=True, slots=True)
class Permitted:
    """The permitted set, the first alternative being what the pseudocode computes with nothing cached."""

    alternatives: tuple[Alternative, ...]
    steps: tuple[Step, ...] = field(default=(), compare=False)
