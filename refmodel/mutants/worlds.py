"""Mutants of GPC2, GPC3, the routing of faults, the regimes below EL3 and operations by address.

``WITHOUT_SUITE`` names those that no suite hunts yet; ``refmodel/tests/test_worlds_mutants.py`` holds that each changes
what the model permits.  Rules on TLBI by PA (GPC-16x) are about what a machine keeps cached; their mutants are the
machine's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from refmodel.accdesc import AccessType
from refmodel.bits import AlignDown
from refmodel.context import PEContext
from refmodel.faultrecord import Fault, FaultRecord
from refmodel.features import Features
from refmodel.gpt.bypass import _GPCBWL, _GPCBWU
from refmodel.gpt.types import GPCF
from refmodel.mutants.mutant import Mutant, Original, Patch
from refmodel.outcomes import ExceptionTaken, Syndrome
from refmodel.pas import EL, FullAddress, PASpace, SecurityState
from refmodel.rules import Rule
from refmodel.sysregs import GPTBR_EL3, PAR_EL1

_CHECK, _DECODE, _TYPES = "refmodel.gpt.check", "refmodel.gpt.decode", "refmodel.gpt.types"
_BYPASS, _FAULTS, _SYNDROME = "refmodel.gpt.bypass", "refmodel.faults", "refmodel.syndrome"
_OPERATIONS, _FETCH = "refmodel.operations", "refmodel.translation.fetch"
_WALKSTATE, _STAGE1, _PERMISSIONS = (
    "refmodel.translation.walkstate",
    "refmodel.translation.stage1",
    "refmodel.translation.permissions",
)
_NSO = 0b1101


def _mutant(name: str, rule: Rule, *patches: Patch) -> Mutant:
    return Mutant(name, "gpt", (rule.value,), patches)


def _value(module: str, attribute: str, value: Any) -> Patch:
    """Another constant."""
    return Patch(module, attribute, lambda original: value)


# GPC2 and GPC3 -----------------------------------------------------------------------------------------------------


def _effective(**fields: int) -> Patch:
    """GPCCR_EL3 in force with fields forced."""
    return Patch(_TYPES, "EffectiveGPCCR", lambda original: lambda *args: original(*args).replace(**fields))


def _bit_63_disables(original: Original) -> Any:
    return lambda gpccr, features: original(gpccr.replace(GPC=0) if gpccr.value >> 63 else gpccr, features)


def _bit_44_moves_the_table(original: Original) -> Any:
    def EffectiveGPTBR(gptbr: GPTBR_EL3, features: Features) -> GPTBR_EL3:
        known: GPTBR_EL3 = original(gptbr, features)
        return known.replace(BADDR=known.BADDR ^ 1 << 39) if gptbr.value >> 44 & 1 else known

    return EffectiveGPTBR


def _nso_always_valid(original: Original) -> Any:
    return lambda features, gpi, nso=0: original(features, gpi, 1 if gpi == _NSO else nso)


def _without_disable(space: PASpace) -> Patch:
    def make(original: Original) -> Any:
        return {known: disable for known, disable in original.items() if known is not space}

    return Patch(_CHECK, "_SPACE_DISABLE", make)


def _any_base(original: Original) -> Any:
    return lambda gpcbw: gpcbw.BWSIZE in _GPCBWL and gpcbw.BWSTRIDE in _GPCBWU


def _every_granule(original: Original) -> Any:
    def GPCRegistersConsistent(gpc: Any, *rest: Any) -> Any:
        features = replace(gpc.features, granules=frozenset({12, 14, 16}))
        return original(replace(gpc, features=features), *rest)

    return GPCRegistersConsistent


def _never_reports_stage_2_fetches(original: Original) -> Any:
    return lambda check, memory, where, fault, **rest: (fault, memory.read64(where.address))


# Routing -----------------------------------------------------------------------------------------------------------


def _context(function: str, change: Callable[[PEContext], PEContext]) -> Patch:
    """A function of a fault and a PE that sees another PE."""
    return Patch(_FAULTS, function, lambda original: lambda fault, pe: original(fault, change(pe)))


def _hcr(**fields: int) -> Callable[[PEContext], PEContext]:
    return lambda pe: replace(pe, hcr=pe.hcr.replace(**fields))


def _first_stage_only(original: Original) -> Any:
    return lambda fault, pe: original(replace(fault, secondstage=False), pe)


def _fail_never_to_el3(original: Original) -> Any:
    return lambda fault, **where: fault.gpcf.gpf is not GPCF.GPCF_Fail and original(fault, **where)


def _table_faults_to_el3_from_el3_only(original: Original) -> Any:
    return lambda fault, *, el, scr_gpf: (
        original(fault, el=el, scr_gpf=scr_gpf) and (el is EL.EL3 or fault.gpcf.gpf is GPCF.GPCF_Fail)
    )


def _own_level_vector(original: Original) -> Any:
    return lambda pe, target_el, *, serror: original(pe.at(target_el), target_el, serror=serror)


# Operations --------------------------------------------------------------------------------------------------------


def _translate(change: Callable[[FaultRecord], FaultRecord], acctype: AccessType) -> Patch:
    """Cache maintenance of one kind whose GPC faults are changed."""

    def make(original: Original) -> Any:
        def TranslateAddress(*arguments: Any) -> Any:
            fault, address = original(*arguments)
            concerned = fault.access.acctype is acctype and fault.statuscode is Fault.Fault_GPCFOnOutput
            return (change(fault) if concerned else fault), address

        return TranslateAddress

    return Patch(_OPERATIONS, "TranslateAddress", make)


def _denied_to_popa(original: Original) -> Any:
    syndrome = Syndrome(el=EL.EL3, ec=0x1E, il=1, iss=0, iss_known=0, vector=0x200)
    return lambda xt, *rest: ExceptionTaken(syndrome, far=None, mfar=None)


def _everything_is_realm(original: Original) -> Any:
    return lambda xt: FullAddress(PASpace.PAS_Realm, original(xt).address)


def _block_start_in_far(original: Original) -> Any:
    def AArch64_Abort(va: int, fault: FaultRecord, pe: PEContext) -> Any:
        zero = fault.access.acctype is AccessType.AccessType_DCZero
        return original(AlignDown(va, 6) if zero else va, fault, pe)

    return AArch64_Abort


def _without_space(original: Original) -> Any:
    def _par_of(*arguments: Any) -> Any:
        translated = original(*arguments)
        return replace(translated, par=translated.par & ~(PAR_EL1.NSE.mask | PAR_EL1.S_or_NS.mask))

    return _par_of


def _first_byte_in_far(original: Original) -> Any:
    def AccessSpan(pe: Any, gpt: Any, va: int, *rest: Any) -> Any:
        outcome = original(pe, gpt, va, *rest)
        return replace(outcome, far=va) if isinstance(outcome, ExceptionTaken) else outcome

    return AccessSpan


# Regimes -----------------------------------------------------------------------------------------------------------


def _at_level_3(original: Original) -> Any:
    return lambda fault, *rest: original(replace(fault, level=3), *rest)


def _realm_in_non_secure(original: Original) -> Any:
    return {**original, SecurityState.SS_Realm: PASpace.PAS_NonSecure}


def _realm_el1_may_leave(original: Original) -> Any:
    def LeafPASpace(walk: PASpace, regime: Any, descriptor: int, features: Any) -> PASpace:
        if walk is PASpace.PAS_Realm and descriptor & 1 << 5:
            return PASpace.PAS_NonSecure
        space: PASpace = original(walk, regime, descriptor, features)
        return space

    return LeafPASpace


def _everything_executes(original: Original) -> Any:
    return lambda *arguments: replace(original(*arguments), x=True)


WORLDS_MUTANTS: tuple[Mutant, ...] = (
    _mutant("appsaa-ignored", Rule.ABOVE_PPS_ALL_ACCESS, _effective(APPSAA=0)),
    _mutant("appsaa-always", Rule.ABOVE_PPS_ALL_ACCESS, _effective(APPSAA=1)),
    _mutant("non-secure-only-open-to-realm", Rule.GPI_NON_SECURE_ONLY,
            _value(_CHECK, "_NSO_STATES", (SecurityState.SS_NonSecure, SecurityState.SS_Root, SecurityState.SS_Realm))),
    _mutant("non-secure-only-closed-to-root", Rule.GPI_NON_SECURE_ONLY,
            _value(_CHECK, "_NSO_STATES", (SecurityState.SS_NonSecure,))),
    _mutant("non-secure-only-always-valid", Rule.NSO_RESERVED, Patch(_DECODE, "GPIValid", _nso_always_valid)),
    _mutant("spad-ignored", Rule.SECURE_SPACE_DISABLED, _without_disable(PASpace.PAS_Secure)),
    _mutant("nspad-ignored", Rule.NON_SECURE_SPACE_DISABLED, _without_disable(PASpace.PAS_NonSecure)),
    _mutant("rlpad-ignored", Rule.REALM_SPACE_DISABLED, _without_disable(PASpace.PAS_Realm)),
    _mutant("gpccr-bit-63-counts", Rule.REGISTERS_RES0, Patch(_TYPES, "EffectiveGPCCR", _bit_63_disables)),
    _mutant("gptbr-bit-44-counts", Rule.REGISTERS_RES0, Patch(_TYPES, "EffectiveGPTBR", _bit_44_moves_the_table)),
    _mutant("gpc2-fields-without-gpc2", Rule.GPC2_RES0, _value(_TYPES, "_GPC2_MASK", 0)),
    _mutant("bypass-ignored", Rule.BYPASS_WINDOW,
            Patch(_CHECK, "PAWithinGPCBypassWindow", lambda original: lambda *arguments: False)),
    _mutant("bypass-invalid-accepted", Rule.BYPASS_INVALID, Patch(_CHECK, "GPCBWValid", _any_base)),
    _mutant("bypass-stride-doubled", Rule.BYPASS_GEOMETRY,
            Patch(_BYPASS, "_GPCBWU", lambda table: {field: high + 1 for field, high in table.items()})),
    _mutant("bypass-size-doubled", Rule.BYPASS_GEOMETRY,
            Patch(_BYPASS, "_GPCBWL", lambda table: {field: low + 1 for field, low in table.items()})),
    _mutant("pps-56-is-52", Rule.PPS_56_BITS, Patch(_DECODE, "_PPS", lambda table: {**table, 0b0111: 52})),
    _mutant("pps3-ignored", Rule.PPS_56_BITS, _effective(PPS3=0)),
    _mutant("gpc3-fields-without-gpc3", Rule.GPC3_RES0, _value(_TYPES, "_GPC3_MASK", 0)),
    _mutant("pgs-not-implemented-accepted", Rule.PGS_NOT_IMPLEMENTED,
            Patch(_CHECK, "GPCRegistersConsistent", _every_granule)),
    _mutant("stage-2-fetch-unreported", Rule.GPCP,
            Patch(_FETCH, "FetchStage2Descriptor", _never_reports_stage_2_fetches),
            Patch("refmodel.translation.stage2", "FetchStage2Descriptor", _never_reports_stage_2_fetches)),
    _mutant("scr-gpf-ignored", Rule.GPF_TO_EL3, Patch(_FAULTS, "ReportAsGPCException", _fail_never_to_el3)),
    _mutant("hcr-gpf-ignored", Rule.GPF_TO_EL2, _context("_abort_target", _hcr(GPF=0))),
    _mutant("tge-ignored", Rule.GPF_TGE, _context("_abort_target", _hcr(TGE=0))),
    _mutant("second-stage-to-el1", Rule.GPF_SECOND_STAGE, Patch(_FAULTS, "_abort_target", _first_stage_only)),
    _mutant("gpf-always-to-el2", Rule.GPF_STAYS, _context("_abort_target", _hcr(GPF=1))),
    _mutant("gpt-fault-stays-below", Rule.GPT_FAULT_FROM_BELOW,
            Patch(_FAULTS, "ReportAsGPCException", _table_faults_to_el3_from_el3_only)),
    _mutant("scr-ea-ignored", Rule.EXTERNAL_ABORT_ROUTE,
            _context("AArch64_SyncExternalAbortTarget", lambda pe: replace(pe, scr=pe.scr.replace(EA=0)))),
    _mutant("ease-ignored", Rule.EXTERNAL_ABORT_VECTOR,
            Patch(_FAULTS, "AArch64_RouteToSErrorOffset", lambda original: lambda *arguments: False)),
    _mutant("vector-of-own-level", Rule.VECTOR, Patch(_FAULTS, "_vector", _own_level_vector)),
    _mutant("ec-of-own-level", Rule.EC_LOWER, _value(_FAULTS, "EC_DATA_ABORT_LOWER", 0x25)),
    _mutant("s1ptw-lost", Rule.SECOND_STAGE_ISS, _value(_SYNDROME, "_S1PTW", 0)),
    _mutant("s2ptw-lost", Rule.SECOND_STAGE_ISS, _value(_SYNDROME, "_S2PTW", 0)),
    _mutant("hpfar-zero", Rule.HPFAR, Patch(_FAULTS, "encode_hpfar", lambda original: lambda *arguments: 0)),
    _mutant("cm-lost", Rule.CACHE_MAINTENANCE_ISS, _value(_SYNDROME, "_CM", 0)),
    _mutant("vncr-lost", Rule.VNCR, _value(_SYNDROME, "_VNCR", 0)),
    _mutant("dc-fault-as-walk-fault", Rule.DC_BY_VA,
            _translate(lambda f: f.with_(Fault.Fault_GPCFOnWalk, level=3), AccessType.AccessType_DC)),
    _mutant("dc-to-popa-denied", Rule.DC_TO_POPA_UNCHECKED, Patch(_OPERATIONS, "DataCacheToPoPA", _denied_to_popa)),
    _mutant("dc-to-poe-in-every-space", Rule.DC_TO_POE, Patch(_OPERATIONS, "_physical", _everything_is_realm)),
    _mutant("ic-fault-as-permission-fault", Rule.IC_BY_VA,
            _translate(lambda f: f.with_(Fault.Fault_Permission, level=3), AccessType.AccessType_IC)),
    _mutant("dc-zva-far-aligned", Rule.DC_ZVA_FAR, Patch(_OPERATIONS, "AArch64_Abort", _block_start_in_far)),
    _mutant("at-level-lost", Rule.AT_PAR,
            Patch(_OPERATIONS, "EncodeLDFSC", lambda original: lambda status, level: original(status, 0))),
    _mutant("at-space-lost", Rule.AT_SPACE, Patch(_OPERATIONS, "_par_of", _without_space)),
    _mutant("at-never-takes-an-exception", Rule.AT_EXCEPTION,
            Patch(_OPERATIONS, "_at_exception", lambda original: lambda *arguments, **options: None)),
    _mutant("crossing-far-is-first-byte", Rule.PAGE_CROSSING, Patch(_OPERATIONS, "AccessSpan", _first_byte_in_far)),
    _mutant("realm-tables-in-non-secure", Rule.WALK_SPACE, Patch(_WALKSTATE, "OWN_SPACE", _realm_in_non_secure)),
    _mutant("walk-level-lost", Rule.S1_WALK_CHECKED, Patch(_FETCH, "_gpc_fault", _at_level_3)),
    _mutant("realm-el1-leaves-realm", Rule.OUTPUT_SPACE, Patch(_WALKSTATE, "LeafPASpace", _realm_el1_may_leave)),
    _mutant("realm-flat-map-in-non-secure", Rule.FLAT_MAP, Patch(_STAGE1, "OWN_SPACE", _realm_in_non_secure)),
    _mutant("foreign-memory-executes", Rule.FOREIGN_EXECUTE_NEVER,
            Patch(_PERMISSIONS, "S1ComputePermissions", _everything_executes)),
)  # fmt: skip

WITHOUT_SUITE = frozenset({"vncr-lost"})
"""Mutants of accesses that FEAT_NV2 makes: no suite has such stimuli yet."""

OF_STAGE_2 = frozenset({"stage-2-fetch-unreported", "second-stage-to-el1", "s1ptw-lost", "s2ptw-lost", "hpfar-zero"})
"""Mutants that the suite of translation hunts."""
