"""One access of a PE, from virtual address to the set of permitted outcomes.

Translation, granule protection check, then what stands behind it.  Source: DDI 0487, shared pseudocode
``AArch64_TranslateAddress`` and ``AArch64_FullTranslate``, ``PhysMemRead``/``PhysMemWrite``
and ``HandleExternalAbort``.  Operations that are no single load, store or fetch: ``operations.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from refmodel.accdesc import (
    CreateAccDescAtomicOp,
    CreateAccDescDCZero,
    CreateAccDescExclusiveSequence,
    CreateAccDescExLDST,
    CreateAccDescGPR,
    CreateAccDescIFetch,
    CreateAccDescNV2,
    IsUnprivAccessPriv,
    MemOp,
)
from refmodel.choices import Chooser, Option, explore
from refmodel.context import AT_EL3, PEContext, Regime
from refmodel.faults import (
    EC_SERROR,
    AArch64_Abort,
    AccessDescriptor,
    AccessType,
    Fault,
    FaultRecord,
    PhysicalSError,
    WithoutFAR,
)
from refmodel.gpt.cache import PossibleGPT
from refmodel.gpt.types import GPCF, GPCFRecord
from refmodel.memory import Memory, RegionKind
from refmodel.observe import Deferred, Observer, RuleCollector, Tracer, unobserved
from refmodel.outcomes import AccessPerformed, Alternative, Outcome, Permitted
from refmodel.pas import EL, FullAddress
from refmodel.rules import Rule
from refmodel.translation.el3 import EL3Regime
from refmodel.translation.el3 import S1Translate as EL3Translate
from refmodel.translation.regimes import Stage1
from refmodel.translation.stage1 import S1Translate, Walk
from refmodel.translation.stage2 import S2Translate, S2Walk, Stage2

_LOAD, _STORE = MemOp.MemOp_LOAD, MemOp.MemOp_STORE
_CREATE: dict[str, Callable[[PEContext], AccessDescriptor]] = {
    "load": lambda pe: CreateAccDescGPR(pe, _LOAD),
    "store": lambda pe: CreateAccDescGPR(pe, _STORE),
    "load-unprivileged": lambda pe: CreateAccDescGPR(pe, _LOAD, privileged=IsUnprivAccessPriv(pe)),
    "store-unprivileged": lambda pe: CreateAccDescGPR(pe, _STORE, privileged=IsUnprivAccessPriv(pe)),
    "load-exclusive": lambda pe: CreateAccDescExLDST(pe, _LOAD),
    "store-exclusive": lambda pe: CreateAccDescExLDST(pe, _STORE),
    "exclusive-sequence": CreateAccDescExclusiveSequence,
    "atomic": CreateAccDescAtomicOp,
    "fetch": CreateAccDescIFetch,
    "dc-zva": CreateAccDescDCZero,
    "nv2-load": lambda pe: CreateAccDescNV2(pe, _LOAD),
    "nv2-store": lambda pe: CreateAccDescNV2(pe, _STORE),
}


def access_at(kind: str, pe: PEContext) -> AccessDescriptor:
    """The descriptor of an access of the given kind that ``pe`` makes; KeyError for an unknown kind.

    A pair of registers is a load or a store: each of its elements is accessed as such.
    """
    return _CREATE[kind](pe)


ACCESSES: dict[str, AccessDescriptor] = {
    kind: access_at(kind, AT_EL3)
    for kind in (
        "load",
        "store",
        "load-unprivileged",
        "store-unprivileged",
        "load-exclusive",
        "store-exclusive",
        "exclusive-sequence",
        "atomic",
        "fetch",
        "dc-zva",
    )
}
"""Access descriptors of EL3 by the kind of access that a stimulus makes."""


@dataclass(frozen=True, slots=True)
class PEState:
    """What an access depends on besides the GPT: translation regimes, memory, and the PE's state.

    ``regime`` is that of EL3; ``regimes`` holds those below EL3 that accesses use; ``stage2`` is read where
    HCR_EL2.VM is 1.
    """

    regime: EL3Regime
    memory: Memory
    context: PEContext = AT_EL3
    regimes: Mapping[Regime, Stage1] = field(default_factory=dict)
    stage2: Stage2 | None = None

    def stage1(self, regime: Regime) -> Stage1:
        """Stage 1 of a regime below EL3; KeyError names one that was not given."""
        if regime not in self.regimes:
            raise KeyError(f"no registers of the {regime.value} regime were given")
        return self.regimes[regime]


def FullTranslate(
    pe: PEState,
    gpt: PossibleGPT,
    va: int,
    accdesc: AccessDescriptor,
    choose: Chooser,
    observe: Observer,
    *,
    regime: Regime | None = None,
    stage_1_only: bool = False,
) -> tuple[FaultRecord, FullAddress | None]:
    """Translate ``va`` in a regime, that of ``accdesc.el`` if none is given; the address is None on a fault.

    The output address is not checked.  ``stage_1_only``: the answer is the intermediate address; descriptors are
    fetched through stage 2 all the same.  ValueError where stage 2 is on and no registers of it were given.
    """

    def check(address: FullAddress, observe: Observer) -> GPCFRecord:
        return gpt.check(address, choose, observe, accdesc.ss)

    if regime is None:
        regime = pe.context.TranslationRegime(accdesc.el)
    if regime is Regime.Regime_EL3:
        fault, translated = EL3Translate(pe.regime, check, pe.memory, va, accdesc, observe, choose)
        return fault, None if translated is None else translated.address
    second = None
    if regime is Regime.Regime_EL10 and pe.context.EL2Enabled() and pe.context.hcr.VM:
        if pe.stage2 is None:
            raise ValueError("HCR_EL2.VM is 1, and no registers of stage 2 were given")
        second = S2Walk(pe.stage2, pe.context, check, gpt.gpc.gpccr, pe.memory, choose, observe)
    walk = Walk(pe.context, check, pe.memory, choose, observe, second)
    fault, leaf = S1Translate(FaultRecord.none(accdesc), pe.stage1(regime), va, walk)
    if leaf is None:
        if second is not None and not fault.secondstage:
            atomic = accdesc.read and accdesc.write
            observe(Rule.ATOMIC_PRIORITY if atomic else Rule.FAULT_PRIORITY, "stage 1 comes first")
        return fault, None
    if second is None or stage_1_only:
        return fault, leaf.address
    return S2Translate(fault, leaf.address, accdesc, second)


def TranslateAddress(
    pe: PEState, gpt: PossibleGPT, va: int, accdesc: AccessDescriptor, choose: Chooser, observe: Observer = unobserved
) -> tuple[FaultRecord, FullAddress | None]:
    """Translate ``va`` and check the output address; the address is None on a fault.

    Whether data cache maintenance is checked is IMPLEMENTATION DEFINED.
    """
    # The walk's own checks are evidence only when they decide: otherwise the translation may have been cached.
    walk = Deferred(observe)
    fault, address = FullTranslate(pe, gpt, va, accdesc, choose, walk)
    if address is None:
        walk.release()
        return fault, None
    if accdesc.el is not EL.EL3:
        walk.release(_SHOWN)
    gpcf = gpt.check(address, choose, observe, accdesc.ss)
    if gpcf.gpf is GPCF.GPCF_None:
        return fault, address
    if accdesc.acctype is AccessType.AccessType_DC:
        observe(Rule.DC_BY_VA, "{}: whether DC is checked is IMPLEMENTATION DEFINED", gpcf)
        if not choose(_DC_CHECKED):
            return fault, address
    return fault.with_(Fault.Fault_GPCFOnOutput, gpcf=gpcf, paddress=address), None


_SHOWN = frozenset(
    {Rule.WALK_SPACE, Rule.OUTPUT_SPACE, Rule.FLAT_MAP, Rule.S1_START_LEVEL, Rule.S1_LEAF, Rule.TOP_BYTE_IGNORED,
     Rule.TXSZ_OUT_OF_RANGE, Rule.HIERARCHY_DISABLED, Rule.AP_READ_ONLY, Rule.AP_EL0, Rule.EXECUTE_NEVER,
     Rule.PRIVILEGED_EXECUTE_NEVER, Rule.S1_CONTIGUOUS, Rule.CONTIGUOUS_TOO_LARGE, Rule.UNPRIVILEGED_ACCESS,
     Rule.S2_LEAF, Rule.S2_START_LEVEL, Rule.S2_TXSZ, Rule.S2AP, Rule.S2_XN, Rule.S2_WALK_SPACE, Rule.S2_OUTPUT_SPACE}
)  # fmt: skip
"""Rules of a walk below EL3 that show in what becomes of the access, even where the walk does not end it.

At EL3 the probe's own map is in the way of every probe: there such a walk speaks for nothing.
"""
_DC_CHECKED = (Option(True), Option(False, "DC operations need not be checked (IMPLEMENTATION DEFINED)", weak=True))


def Access(
    pe: PEState, gpt: PossibleGPT, va: int, accdesc: AccessDescriptor, choose: Chooser, observe: Observer = unobserved
) -> Outcome:
    """One access, with every choice that the architecture leaves put to ``choose``.

    Of a load-exclusive and a store-exclusive the first comes first.
    """
    if accdesc.exclusive and accdesc.read and accdesc.write:
        loaded = Access(pe, gpt, va, replace(accdesc, write=False), choose, observe)
        if not isinstance(loaded, AccessPerformed):
            return loaded
        accdesc = replace(accdesc, read=False)
    fault, address = TranslateAddress(pe, gpt, va, accdesc, choose, observe)
    if address is None:
        return AArch64_Abort(va, fault, pe.context)
    return PhysMemAccess(pe, va, accdesc, address, choose, observe)


def PhysMemAccess(
    pe: PEState, va: int, accdesc: AccessDescriptor, address: FullAddress, choose: Chooser, observe: Observer
) -> Outcome:
    """What an access that passed every check meets in memory."""
    if pe.memory.map.lookup(address) is not RegionKind.NOTHING:
        observe(Rule.PERMITTED_ACCESS_EFFECT, "{} answers", address)
        return AccessPerformed()
    synchronous = AArch64_Abort(va, FaultRecord.none(accdesc).with_(Fault.Fault_SyncExternal), pe.context)
    options: list[Option[Outcome]] = [
        Option(synchronous),
        Option(WithoutFAR(synchronous), "FAR may be left invalid on an external abort (IMPLEMENTATION DEFINED)"),
    ]
    serror = PhysicalSError(pe.context)
    if serror is not None:
        options.append(Option(serror, "an external abort may be an SError (IMPLEMENTATION DEFINED)"))
    return choose(options)


def PermittedOutcomes(
    pe: PEState, gpt: PossibleGPT, va: int, accdesc: AccessDescriptor, *, trace: bool = False
) -> Permitted:
    """Every outcome that the architecture permits for an access; the first is the one with nothing cached.

    ``trace`` adds the steps of the first run in words.
    """
    return Explore(lambda choose, observe: Access(pe, gpt, va, accdesc, choose, observe), gpt, trace=trace)


def Explore(run: Callable[[Chooser, Observer], Outcome], gpt: PossibleGPT, *, trace: bool = False) -> Permitted:
    """Every outcome of an operation that uses ``gpt``, with the rules and reasons that led to each."""
    collectors: list[RuleCollector] = []
    if trace:
        gpt.forget()

    def once(choose: Chooser) -> Outcome:
        collectors.append(Tracer() if trace and not collectors else RuleCollector())
        return run(choose, collectors[-1])

    alternatives: dict[Outcome, Alternative] = {}
    for explored, collector in zip(explore(once), collectors, strict=True):
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
    if Rule.S1_FAULT_ISS in rules or Rule.S2_FAULT_ISS in rules:
        return rules if outcome.far is None else (*rules, Rule.S1_FAULT_FAR)
    if outcome.far is not None and rules:
        rules = (*rules, Rule.FAR)
    if outcome.mfar is not None:
        rules = (*rules, Rule.MFAR)
    return rules
