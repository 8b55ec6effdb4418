"""One access of a PE at EL3, from virtual address to the set of permitted outcomes.

Translation, granule protection check, then what stands behind it.  Source: DDI 0487, shared pseudocode
``AArch64_TranslateAddress`` and ``AArch64_FullTranslate`` (EL3 has one stage), ``PhysMemRead``/``PhysMemWrite`` and
``HandleExternalAbort``.
"""

from __future__ import annotations

from dataclasses import dataclass

from refmodel.choices import Chooser, Option, explore
from refmodel.faults import (
    EC_SERROR,
    VECTOR_SERROR_SPX,
    AArch64_Abort,
    AccessDescriptor,
    AccessType,
    Fault,
    FaultRecord,
    WithoutFAR,
)
from refmodel.gpt.cache import PossibleGPT
from refmodel.gpt.types import GPCF, GPCFRecord
from refmodel.memory import Memory, RegionKind
from refmodel.observe import Deferred, Observer, RuleCollector, Tracer, unobserved
from refmodel.outcomes import AccessPerformed, Alternative, ExceptionTaken, Outcome, Permitted, Syndrome
from refmodel.pas import EL, FullAddress
from refmodel.rules import Rule
from refmodel.translation.el3 import EL3Regime, S1Translate

SERROR = ExceptionTaken(
    Syndrome(el=EL.EL3, ec=EC_SERROR, il=1, iss=0, iss_known=0, vector=VECTOR_SERROR_SPX), far=None, mfar=None
)

ACCESSES: dict[str, AccessDescriptor] = {
    "load": AccessDescriptor(acctype=AccessType.AccessType_GPR, read=True),
    "store": AccessDescriptor(acctype=AccessType.AccessType_GPR, write=True),
    "load-exclusive": AccessDescriptor(acctype=AccessType.AccessType_GPR, read=True, exclusive=True),
    "atomic": AccessDescriptor(acctype=AccessType.AccessType_GPR, read=True, write=True, atomicop=True),
    "fetch": AccessDescriptor(acctype=AccessType.AccessType_IFETCH, read=True),
    "dc-zva": AccessDescriptor(acctype=AccessType.AccessType_DCZero, write=True),
}
"""Access descriptors by the kind of access that a stimulus makes (``CreateAccDescGPR`` and its siblings)."""


@dataclass(frozen=True, slots=True)
class PEState:
    """What an access at EL3 depends on besides the GPT: its translation regime and memory."""

    regime: EL3Regime
    memory: Memory


def TranslateAddress(
    pe: PEState, gpt: PossibleGPT, va: int, accdesc: AccessDescriptor, choose: Chooser, observe: Observer = unobserved
) -> tuple[FaultRecord, FullAddress | None]:
    """Translate ``va`` and check the output address; the address is None on a fault."""

    def check(address: FullAddress, observe: Observer) -> GPCFRecord:
        return gpt.check(address, choose, observe)

    # The walk's own checks are evidence only when they decide: otherwise the translation may have been cached.
    walk = Deferred(observe)
    fault, translated = S1Translate(pe.regime, check, pe.memory, va, accdesc, walk)
    if translated is None:
        walk.release()
        return fault, None
    gpcf = check(translated.address, observe)
    if gpcf.gpf is not GPCF.GPCF_None:
        return fault.with_(Fault.Fault_GPCFOnOutput, gpcf=gpcf, paddress=translated.address), None
    return fault, translated.address


def Access(
    pe: PEState, gpt: PossibleGPT, va: int, accdesc: AccessDescriptor, choose: Chooser, observe: Observer = unobserved
) -> Outcome:
    """One access, with every choice that the architecture leaves put to ``choose``."""
    fault, address = TranslateAddress(pe, gpt, va, accdesc, choose, observe)
    if address is None:
        return AArch64_Abort(va, fault)
    if pe.memory.map.lookup(address) is not RegionKind.NOTHING:
        observe(Rule.PERMITTED_ACCESS_EFFECT, "{} answers", address)
        return AccessPerformed()
    synchronous = AArch64_Abort(va, FaultRecord.none(accdesc).with_(Fault.Fault_SyncExternal))
    options = (
        Option(synchronous),
        Option(WithoutFAR(synchronous), "FAR may be left invalid on an external abort (IMPLEMENTATION DEFINED)"),
        Option(SERROR, "an external abort may be an SError (IMPLEMENTATION DEFINED)"),
    )
    return choose(options)


def PermittedOutcomes(
    pe: PEState, gpt: PossibleGPT, va: int, accdesc: AccessDescriptor, *, trace: bool = False
) -> Permitted:
    """Every outcome that the architecture permits; the first is the one with nothing cached.

    ``trace`` adds the steps of the first run in words.
    """
    collectors: list[RuleCollector] = []
    if trace:
        gpt.forget()

    def run(choose: Chooser) -> Outcome:
        collectors.append(Tracer() if trace and not collectors else RuleCollector())
        return Access(pe, gpt, va, accdesc, choose, collectors[-1])

    alternatives: dict[Outcome, Alternative] = {}
    for explored, collector in zip(explore(run), collectors, strict=True):
        # A GPC fault is evidence when the check that raised it, the last one, answered as of now; anything else is only
        # when all did: an access that memory then refuses has passed its checks too.
        weak = explored.last_weak if _reports_gpc_fault(explored.result) else explored.weak
        known = alternatives.get(explored.result)
        if known is None or (known.weak and not weak):
            rules = (*collector.rules, *_reporting_rules(explored.result))
            alternatives[explored.result] = Alternative(
                explored.result, rules, "; ".join(dict.fromkeys(explored.reasons)), weak
            )
    steps = tuple(collectors[0].steps) if isinstance(collectors[0], Tracer) else ()
    return Permitted(tuple(alternatives.values()), steps)


def _reports_gpc_fault(outcome: Outcome) -> bool:
    """Whether a granule protection check ended the access: a GPC exception, or an abort with a GPC fault's code."""
    if isinstance(outcome, AccessPerformed):
        return False
    fsc = outcome.syndrome.iss & 0b111111
    return outcome.syndrome.ec != EC_SERROR and (fsc == 0b101000 or fsc >> 2 == 0b1001 or fsc == 0b100011)


def _reporting_rules(outcome: Outcome) -> tuple[Rule, ...]:
    """The rules on how an exception is reported that apply to this outcome."""
    if isinstance(outcome, AccessPerformed):
        return ()
    rules = outcome.syndrome.rules
    if outcome.far is not None and rules:
        rules = (*rules, Rule.FAR)
    if outcome.mfar is not None:
        rules = (*rules, Rule.MFAR)
    return rules
