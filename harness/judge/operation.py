"""Operations that are no single access: cache maintenance, DC ZVA, AT, accesses that cross into the next page.

Each as a probe's operation and as a function of the model.  Its permitted set belongs to one address exactly, not to a
page; ``operation_judging.py`` judges it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from harness.probe.records import Op, Requester, sysreg_encoding
from refmodel.accdesc import CacheOp, CacheOpScope
from refmodel.access import PEState, access_at
from refmodel.choices import Chooser
from refmodel.gpt.cache import PossibleGPT
from refmodel.observe import Observer
from refmodel.operations import (
    AccessSpan,
    AddressTranslate,
    DataCacheByVA,
    DataCacheToPoE,
    DataCacheToPoPA,
    DataCacheZero,
    InstructionCacheByVA,
    Translation,
)
from refmodel.outcomes import Outcome
from refmodel.pas import EL


@dataclass(frozen=True, slots=True)
class Issued:
    """An operation as the model sees it: PE, GPT, operand, log2 of the bytes of an element and of DC ZVA's block."""

    pe: PEState
    gpt: PossibleGPT
    operand: int
    size_log2: int
    zva_bits: int


Model = Callable[[Issued, Chooser, Observer], Outcome]


def _by_va(cacheop: CacheOp, scope: CacheOpScope) -> Model:
    return lambda at, choose, observe: DataCacheByVA(at.pe, at.gpt, at.operand, cacheop, scope, choose, observe)


def _to_popa(at: Issued, choose: Chooser, observe: Observer) -> Outcome:
    return DataCacheToPoPA(at.operand, observe)


def _to_poe(at: Issued, choose: Chooser, observe: Observer) -> Outcome:
    return DataCacheToPoE(at.pe, at.gpt, at.operand, choose, observe)


def _ic(at: Issued, choose: Chooser, observe: Observer) -> Outcome:
    return InstructionCacheByVA(at.pe, at.gpt, at.operand, choose, observe)


def _zva(at: Issued, choose: Chooser, observe: Observer) -> Outcome:
    return DataCacheZero(at.pe, at.gpt, at.operand, at.zva_bits, choose, observe)


def _at(el: EL, *, write: bool) -> Model:
    operand = Translation(el, write=write)
    return lambda at, choose, observe: AddressTranslate(at.pe, at.gpt, at.operand, operand, choose, observe)


def _span(access: str, elements: int) -> Model:
    def run(at: Issued, choose: Chooser, observe: Observer) -> Outcome:
        accdesc = access_at(access, at.pe.context)
        return AccessSpan(at.pe, at.gpt, at.operand, elements << at.size_log2, accdesc, choose, observe)

    return run


_CLEAN, _INVALIDATE, _BOTH = CacheOp.CacheOp_Clean, CacheOp.CacheOp_Invalidate, CacheOp.CacheOp_CleanInvalidate
_POC, _POU, _POP = CacheOpScope.CacheOpScope_PoC, CacheOpScope.CacheOpScope_PoU, CacheOpScope.CacheOpScope_PoP


FIRST_NUMBER = 16


class Operation(Enum):
    """An operation: the probe's, {op1, CRn, CRm, op2} of a SYS instruction, and the model's function.

    The operand of those by PA is the PA with NS in bit 63 and NSE in bit 62.
    """

    DC_IVAC = (Op.SYS, (0, 7, 6, 1), _by_va(_INVALIDATE, _POC))
    DC_CVAC = (Op.SYS, (3, 7, 10, 1), _by_va(_CLEAN, _POC))
    DC_CVAU = (Op.SYS, (3, 7, 11, 1), _by_va(_CLEAN, _POU))
    DC_CVAP = (Op.SYS, (3, 7, 12, 1), _by_va(_CLEAN, _POP))
    DC_CIVAC = (Op.SYS, (3, 7, 14, 1), _by_va(_BOTH, _POC))
    DC_CIPAPA = (Op.SYS, (6, 7, 14, 1), _to_popa)
    DC_CIGDPAPA = (Op.SYS, (6, 7, 14, 5), _to_popa)
    DC_CIPAE = (Op.SYS, (4, 7, 14, 0), _to_poe)
    IC_IVAU = (Op.SYS, (3, 7, 5, 1), _ic)
    DC_ZVA = (Op.DC_ZVA, None, _zva)
    AT_S1E0R = (Op.SYS, (0, 7, 8, 2), _at(EL.EL0, write=False))
    AT_S1E0W = (Op.SYS, (0, 7, 8, 3), _at(EL.EL0, write=True))
    AT_S1E1R = (Op.SYS, (0, 7, 8, 0), _at(EL.EL1, write=False))
    AT_S1E1W = (Op.SYS, (0, 7, 8, 1), _at(EL.EL1, write=True))
    AT_S1E2R = (Op.SYS, (4, 7, 8, 0), _at(EL.EL2, write=False))
    AT_S1E2W = (Op.SYS, (4, 7, 8, 1), _at(EL.EL2, write=True))
    AT_S1E3R = (Op.SYS, (6, 7, 8, 0), _at(EL.EL3, write=False))
    AT_S1E3W = (Op.SYS, (6, 7, 8, 1), _at(EL.EL3, write=True))
    LOAD_ACROSS = (Op.LOAD, None, _span("load", 1))
    STORE_ACROSS = (Op.STORE, None, _span("store", 1))
    LOAD_PAIR_ACROSS = (Op.LOAD_PAIR, None, _span("load", 2))
    STORE_PAIR_ACROSS = (Op.STORE_PAIR, None, _span("store", 2))

    def __init__(self, op: Op, encoding: tuple[int, int, int, int] | None, model: Model) -> None:
        self.op: Op = op
        """The probe's operation."""
        self.aux: int = 0 if encoding is None else sysreg_encoding(1, *encoding)
        """The record's ``aux``: the instruction's encoding."""
        self.model: Model = model
        """The model's function."""
        self.requester: Requester = Requester.PE_DATA
        """Who accesses, as the record says it."""
        self.number: int = FIRST_NUMBER + len(type(self).__members__)
        """A number of its own, beyond those of the kinds of access."""

    @property
    def title(self) -> str:
        """``dc-civac``."""
        return self.name.lower().replace("_", "-")

    @property
    def family(self) -> str:
        """What deviations are told as: all instructions for address translation, or for data caches by VA, alike."""
        if self.aux in TRANSLATING:
            return "at"
        return "dc" if self in _BY_VA else self.title

    @property
    def elements(self) -> int:
        """Registers that an access loads or stores; 0 for what is no access."""
        return _ELEMENTS.get(self, 0)


_ELEMENTS = {
    Operation.LOAD_ACROSS: 1,
    Operation.STORE_ACROSS: 1,
    Operation.LOAD_PAIR_ACROSS: 2,
    Operation.STORE_PAIR_ACROSS: 2,
}
_BY_VA = frozenset({Operation.DC_IVAC, Operation.DC_CVAC, Operation.DC_CVAU, Operation.DC_CVAP, Operation.DC_CIVAC})
CHANGING = frozenset({Operation.DC_ZVA, Operation.STORE_ACROSS, Operation.STORE_PAIR_ACROSS})
"""Operations that change memory."""

TRANSLATING = {operation.aux for operation in Operation if operation.name.startswith("AT_")}
"""Encodings of address translation instructions, after which the probe reports PAR_EL1."""
