"""Operations that translate or check an address and are no single access: cache maintenance, AT, page crossings.

Source: DDI 0487, shared pseudocode ``AArch64_DC``, ``DCInstNeedsTranslation``, ``AArch64_IC``, ``AArch64_MemZero``,
``AArch64_DataMemZero``, ``AArch64_AT``, ``AArch64_EncodePAR`` and ``Mem``; issue M, D7.5.9.7 and D7.5.9.8 on cache
maintenance by PA.
"""

from __future__ import annotations

from dataclasses import dataclass

from refmodel.accdesc import (
    AccessDescriptor,
    CacheOp,
    CacheOpScope,
    CreateAccDescAT,
    CreateAccDescDC,
    CreateAccDescDCZero,
    CreateAccDescIC,
)
from refmodel.access import Access, FullTranslate, PEState, PhysMemAccess, TranslateAddress
from refmodel.bits import AlignDown, Slice
from refmodel.choices import Chooser, Option
from refmodel.context import PEContext, Regime
from refmodel.faultrecord import Fault, FaultRecord, IsExternalAbort
from refmodel.faults import AArch64_Abort, ReportAsGPCException
from refmodel.gpt.cache import PossibleGPT
from refmodel.gpt.types import GPCF
from refmodel.observe import Observer, unobserved
from refmodel.outcomes import AccessPerformed, AddressTranslated, ExceptionTaken, Outcome
from refmodel.pas import EL, DecodePASpace, FullAddress, PASpace, SecurityState
from refmodel.rules import Rule
from refmodel.syndrome import EncodeLDFSC
from refmodel.sysregs import PAR_EL1

PAGE_BITS = 12


def _needs_translation(pe: PEContext, opscope: CacheOpScope, choose: Chooser) -> bool:
    """``DCInstNeedsTranslation`` for operations by VA; IMPLEMENTATION DEFINED where no cache level is concerned."""
    nothing_to_do = pe.clidr.LoC == 0 or (pe.clidr.LoUU == 0 and opscope is CacheOpScope.CacheOpScope_PoU)
    if not nothing_to_do:
        return True
    why = "no fault is needed where the point is before any level of cache (IMPLEMENTATION DEFINED)"
    return choose((Option(True), Option(False, why, weak=True)))


def DataCacheByVA(
    pe: PEState,
    gpt: PossibleGPT,
    va: int,
    cacheop: CacheOp,
    opscope: CacheOpScope,
    choose: Chooser,
    observe: Observer = unobserved,
) -> Outcome:
    """DC IVAC, CVAC, CVAU, CVAP, CVADP, CIVAC: translated, and checked or not (IMPLEMENTATION DEFINED)."""
    if not _needs_translation(pe.context, opscope, choose):
        return AccessPerformed()
    accdesc = CreateAccDescDC(pe.context, cacheop, opscope)
    fault, address = TranslateAddress(pe, gpt, va, accdesc, choose, observe)
    if fault.statuscode is Fault.Fault_GPCFOnWalk:
        observe(Rule.DC_BY_VA, "{}: table fetches of DC are checked in any case", fault.gpcf)
    return AArch64_Abort(va, fault, pe.context) if address is None else AccessPerformed()


def DataCacheToPoPA(xt: int, observe: Observer = unobserved) -> Outcome:
    """DC CIPAPA and CIGDPAPA at EL3: neither translated nor checked, whatever the granule's GPI.

    ``xt``: PA in [55:0], NS in [63], NSE in [62].
    """
    observe(Rule.DC_TO_POPA_UNCHECKED, "{} is cleaned to PoPA without a check", _physical(xt))
    return AccessPerformed()


def DataCacheToPoE(pe: PEState, gpt: PossibleGPT, xt: int, choose: Chooser, observe: Observer = unobserved) -> Outcome:
    """DC CIPAE and CIGDPAE (FEAT_MEC): nothing outside the Realm space; whether it is checked is the part's choice.

    FAR_ELx is UNKNOWN after a fault.  Only the part's own choice is between the two outcomes.
    """
    address = _physical(xt)
    if address.paspace is not PASpace.PAS_Realm:
        observe(Rule.DC_TO_POE, "{}: DC to PoE concerns the Realm space only", address)
        return AccessPerformed()
    accdesc = CreateAccDescDC(pe.context, CacheOp.CacheOp_CleanInvalidate, CacheOpScope.CacheOpScope_PoE)
    gpcf = gpt.check(address, choose, observe, accdesc.ss)
    if gpcf.gpf is GPCF.GPCF_None:
        return AccessPerformed()
    observe(Rule.DC_TO_POE, "{}: whether DC to PoE is checked is IMPLEMENTATION DEFINED", gpcf)
    if not choose((Option(True), Option(False, "DC to PoE need not be checked", weak=True))):
        return AccessPerformed()
    fault = FaultRecord.none(accdesc).with_(Fault.Fault_GPCFOnOutput, gpcf=gpcf, paddress=address)
    return AArch64_Abort(None, fault, pe.context)


def _physical(xt: int) -> FullAddress:
    return FullAddress(DecodePASpace(Slice(xt, 62, 62), Slice(xt, 63, 63)), Slice(xt, 55, 0))


def InstructionCacheByVA(
    pe: PEState, gpt: PossibleGPT, va: int, choose: Chooser, observe: Observer = unobserved
) -> Outcome:
    """IC IVAU: whether it is translated is IMPLEMENTATION DEFINED; if it is, it is checked."""
    if not choose((Option(True), Option(False, "IC need not translate (IMPLEMENTATION DEFINED)", weak=True))):
        observe(Rule.IC_BY_VA, "IC IVAU to {:#x} is not translated", va)
        return AccessPerformed()
    fault, address = TranslateAddress(pe, gpt, va, CreateAccDescIC(pe.context), choose, observe)
    if fault.gpcf.gpf is not GPCF.GPCF_None:
        observe(Rule.IC_BY_VA, "IC IVAU to {:#x}: {}", va, fault.gpcf)
    return AArch64_Abort(va, fault, pe.context) if address is None else AccessPerformed()


def DataCacheZero(
    pe: PEState, gpt: PossibleGPT, va: int, size_bits: int, choose: Chooser, observe: Observer = unobserved
) -> Outcome:
    """DC ZVA of the aligned block of 1 << ``size_bits`` bytes around ``va``; FAR_ELx is ``va`` itself."""
    accdesc = CreateAccDescDCZero(pe.context)
    fault, address = TranslateAddress(pe, gpt, AlignDown(va, size_bits), accdesc, choose, observe)
    if address is not None:
        return PhysMemAccess(pe, va, accdesc, address, choose, observe)
    if fault.gpcf.gpf is not GPCF.GPCF_None:
        observe(Rule.DC_ZVA_FAR, "DC ZVA: FAR is {:#x}, not the start of the block", va)
    return AArch64_Abort(va, fault, pe.context)


def AccessSpan(
    pe: PEState,
    gpt: PossibleGPT,
    va: int,
    size: int,
    accdesc: AccessDescriptor,
    choose: Chooser,
    observe: Observer = unobserved,
) -> Outcome:
    """An access of ``size`` bytes to Normal memory: one translation for each page that it touches.

    Each page is translated and checked by itself, and a fault of the second is reported with its first byte.  The
    pseudocode goes upwards; where both pages fault the architecture gives no order among the accesses of one
    instruction, so either is permitted.  An access that faults may have stored what lies on the other page.
    """
    second = AlignDown(va + size - 1, PAGE_BITS)
    if second <= va:
        return Access(pe, gpt, va, accdesc, choose, observe)
    low = Access(pe, gpt, va, accdesc, choose, observe)
    high = Access(pe, gpt, second, accdesc, choose, observe)
    if isinstance(low, AccessPerformed) and isinstance(high, AccessPerformed):
        return low
    observe(Rule.PAGE_CROSSING, "the access crosses into the page at {:#x}", second)
    if isinstance(low, AccessPerformed) or isinstance(high, AccessPerformed):
        return high if isinstance(low, AccessPerformed) else low
    return choose((Option(low), Option(high, "the faults of two pages have no order", weak=True)))


@dataclass(frozen=True, slots=True)
class Translation:
    """Operand of an address translation instruction.

    ``el``: whose regime and permissions; ``write``; ``stage_12``: S12E1R and its siblings; ``pan``: S1E1RP, S1E1WP;
    AT S1E1R and S1E1W with HCR_EL2.{E2H, TGE} = {1, 1} translate for EL2.
    """

    el: EL
    write: bool = False
    stage_12: bool = False
    pan: bool = False


_PAR_RES1 = 1 << 11
_PAR_FAULT = _PAR_RES1 | PAR_EL1.FST.mask | PAR_EL1.F.mask | PAR_EL1.S_or_NS.mask | PAR_EL1.PTW_or_SH1.mask
_PAR_SUCCESS = PAR_EL1.PA.mask | PAR_EL1.F.mask


def AddressTranslate(
    pe: PEState, gpt: PossibleGPT, va: int, operand: Translation, choose: Chooser, observe: Observer = unobserved
) -> Outcome:
    """AT: what PAR_EL1 holds, or the exception that is taken instead.

    The output address itself is not checked: only the fetches of descriptors are.  A GPC fault of a fetch is an
    exception where it is reported as a GPC exception, or where HCR_EL2.GPF is 1, the instruction is executed at EL1 and
    translates stage 1 of EL1 or EL0; otherwise it is in PAR_EL1.  UNDEFINED cases are the caller's to avoid; ValueError
    where stage 2 would be needed.
    """
    context = pe.context
    el, stage_12 = operand.el, operand.stage_12 and context.EL2Enabled()
    if context.hcr.E2H and context.hcr.TGE and el is EL.EL1 and not operand.stage_12:
        el = EL.EL2
    if el is not EL.EL3 and context.SecurityStateAtEL(el) is SecurityState.SS_Root:
        raise ValueError("SCR_EL3.{NSE, NS} = {1, 0}: AT for an EL below EL3 is UNDEFINED")
    accdesc = CreateAccDescAT(context.SecurityStateAtEL(el), el, write=operand.write, pan=operand.pan)
    regime = Regime.Regime_EL10 if stage_12 else context.TranslationRegime(el)
    fault, address = FullTranslate(pe, gpt, va, accdesc, choose, observe, regime=regime, stage_1_only=not stage_12)
    if address is not None:
        observe(Rule.AT_PAR, "AT of {:#x}: {}, which is not checked", va, address)
        par = _par_of(address, regime, accdesc.ss)
        if par.par_known & PAR_EL1.S_or_NS.mask:
            observe(Rule.AT_SPACE, "PAR_EL1 tells the space of {}", address)
        return par
    taken = _at_exception(va, fault, el, pe.context, is_ats1ex=not stage_12)
    if fault.gpcf.gpf is not GPCF.GPCF_None:
        observe(Rule.AT_PAR if taken is None else Rule.AT_EXCEPTION, "AT of {:#x}: {}", va, fault.gpcf)
    return _par_fault(fault) if taken is None else taken


def _at_exception(va: int, fault: FaultRecord, el: EL, pe: PEContext, *, is_ats1ex: bool) -> ExceptionTaken | None:
    """The exception that an AT takes, None if the fault is for PAR_EL1."""
    gpc = fault.gpcf.gpf is not GPCF.GPCF_None
    routed = pe.hcr.GPF == 1 and pe.el is EL.EL1 and el in (EL.EL0, EL.EL1) and is_ats1ex
    taken = (
        IsExternalAbort(fault)
        or (pe.el is EL.EL1 and fault.s2fs1walk)
        or (gpc and (ReportAsGPCException(fault, el=pe.el, scr_gpf=pe.scr.GPF == 1) or routed))
    )
    return AArch64_Abort(va, fault, pe) if taken else None


def _par_of(address: FullAddress, regime: Regime, ss: SecurityState) -> AddressTranslated:
    """PAR_EL1 of a translation: PA, and NS and NSE as far as the state makes them known.

    Source: DDI 0487, pseudocode ``AArch64_EncodePAR``; attributes and shareability are not modelled, so not compared.
    In the Realm EL1&0 regime NS and NSE are UNKNOWN for a stage 1 translation, the only one there is here.
    """
    space = address.paspace
    known = _PAR_SUCCESS
    ns = nse = 0
    if regime is Regime.Regime_EL3:
        ns, nse = space.value & 1, space.value >> 1
        known |= PAR_EL1.S_or_NS.mask | PAR_EL1.NSE.mask
    elif ss is SecurityState.SS_Secure or (ss is SecurityState.SS_Realm and regime is not Regime.Regime_EL10):
        ns = int(space is PASpace.PAS_NonSecure)
        known |= PAR_EL1.S_or_NS.mask
    par = PAR_EL1.of(PA=address.address >> PAGE_BITS, S_or_NS=ns, NSE=nse)
    return AddressTranslated(par.value, known)


def _par_fault(fault: FaultRecord) -> AddressTranslated:
    """PAR_EL1 of a fault: FST, PTW, S.  Source: DDI 0487, ``AArch64_EncodePAR``, ``AArch64_PARFaultStatus``."""
    par = PAR_EL1.of(
        F=1,
        FST=EncodeLDFSC(fault.statuscode, fault.level),
        PTW_or_SH1=int(fault.s2fs1walk),
        S_or_NS=int(fault.secondstage),
    )
    return AddressTranslated(par.value | _PAR_RES1, _PAR_FAULT)
