"""Which exception reports a GPC fault or an external abort, from every level: worked out from the pseudocode by hand.

DDI 0487, AArch64_Abort, TakeGPCException, AArch64_DataAbort, AArch64_InstructionAbort, AArch64_SyncExternalAbortTarget,
AArch64_TakeException, AArch64_ReportException.
"""

from __future__ import annotations

import pytest

from refmodel.accdesc import CacheOp, CacheOpScope, CreateAccDescAT, CreateAccDescDC, CreateAccDescIC
from refmodel.access import access_at
from refmodel.context import AT_EL3, PEContext, Regime
from refmodel.faultrecord import Fault, FaultRecord
from refmodel.faults import AArch64_Abort, PhysicalSError, WithoutFAR
from refmodel.features import Features
from refmodel.gpt.types import GPC_NO_FAULT, GPCF, GPCFRecord
from refmodel.outcomes import ExceptionTaken
from refmodel.pas import EL, FullAddress, PASpace, SecurityState
from refmodel.rules import Rule
from refmodel.sysregs import HCR_EL2, HCRX_EL2, SCR_EL3, SCTLR2_EL1, SCTLR2_EL2
from refmodel.tests.worlds import context, esr

S, NS, REALM = SecurityState.SS_Secure, SecurityState.SS_NonSecure, SecurityState.SS_Realm
EL0, EL1, EL2, EL3 = EL
VA, PA = 0x1234_5678, 0x9_8765_4321
FAIL = GPCFRecord(GPCF.GPCF_Fail, 1)
GPF_ISS = 0b001101 << 14  # GPCSC: granule protection fault at level 1


def gpf(pe: PEContext, kind: str = "load", **changes: object) -> FaultRecord:
    """A granule protection fault on the output of an access."""
    fault = FaultRecord.none(access_at(kind, pe))
    where = FullAddress(PASpace.PAS_Realm, PA)
    return fault.with_(Fault.Fault_GPCFOnOutput, **{"gpcf": FAIL, "paddress": where, **changes})


def abort(pe: PEContext, fault: FaultRecord) -> ExceptionTaken:
    return AArch64_Abort(VA, fault, pe)


@pytest.mark.parametrize("ss", [S, NS, REALM])
@pytest.mark.parametrize("el", [EL0, EL1, EL2])
def test_scr_gpf_sends_granule_protection_faults_to_el3(el: EL, ss: SecurityState) -> None:
    pe = context(el, ss, scr={"GPF": 1}, hcr=HCR_EL2.of(GPF=1, TGE=0))
    taken = abort(pe, gpf(pe, "store"))
    assert esr(taken) == (EL3, 0x1E, GPF_ISS | 1 << 6 | 0x28)
    assert taken.syndrome.vector == 0x400
    assert (taken.far, taken.mfar) == (VA, 0b11 << 62 | PA & ~0xFFF)
    assert taken.hpfar is None
    assert Rule.GPF_TO_EL3 in taken.syndrome.rules


def test_scr_gpf_does_not_concern_el3() -> None:
    pe = PEContext(scr=SCR_EL3.of(NSE=1, GPF=1))
    assert esr(abort(pe, gpf(pe))) == (EL3, 0x25, 0x28)


@pytest.mark.parametrize(
    ("el", "hcr", "target", "ec"),
    [
        (EL2, {}, EL2, 0x25),
        (EL2, {"GPF": 1}, EL2, 0x25),
        (EL1, {}, EL1, 0x25),
        (EL0, {}, EL1, 0x24),
        (EL1, {"GPF": 1}, EL2, 0x24),
        (EL0, {"GPF": 1}, EL2, 0x24),
        (EL0, {"TGE": 1}, EL2, 0x24),
        (EL0, {"TGE": 1, "E2H": 1}, EL2, 0x24),
        (EL1, {"TEA": 1}, EL1, 0x25),
    ],
)
@pytest.mark.parametrize("ss", [S, NS, REALM])
def test_granule_protection_faults_as_data_aborts(
    ss: SecurityState, el: EL, hcr: dict[str, int], target: EL, ec: int
) -> None:
    pe = context(el, ss, hcr=HCR_EL2.of(**hcr))
    taken = abort(pe, gpf(pe))
    assert esr(taken) == (target, ec, 0x28)
    assert taken.syndrome.vector == (0x200 if target is el else 0x400)
    assert (taken.far, taken.mfar, taken.hpfar) == (VA, None, None)
    fetch = abort(pe, gpf(pe, "fetch"))
    assert esr(fetch) == (target, ec - 4, 0x28)


def test_hcr_gpf_without_el2() -> None:
    """Secure EL1 without Secure EL2: HCR_EL2 has no effect."""
    pe = PEContext(el=EL1, scr=SCR_EL3(), hcr=HCR_EL2.of(GPF=1, TGE=1))
    assert esr(abort(pe, gpf(pe))) == (EL1, 0x25, 0x28)


def test_sp_el0_uses_the_first_vectors() -> None:
    pe = context(EL1, NS, sp=0)
    assert abort(pe, gpf(pe)).syndrome.vector == 0x000
    at_el3 = PEContext(sp=0)
    walk = gpf(at_el3, gpcf=GPCFRecord(GPCF.GPCF_Walk, 0))
    assert abort(at_el3, walk).syndrome.vector == 0x000


@pytest.mark.parametrize(
    ("gpcf", "gpcsc"),
    [
        (GPCFRecord(GPCF.GPCF_AddressSize, 0), 0b000000),
        (GPCFRecord(GPCF.GPCF_Walk, 0), 0b000100),
        (GPCFRecord(GPCF.GPCF_Walk, 1), 0b000101),
        (GPCFRecord(GPCF.GPCF_EABT, 0), 0b010100),
        (GPCFRecord(GPCF.GPCF_EABT, 1), 0b010101),
    ],
)
@pytest.mark.parametrize("el", list(EL))
def test_faults_of_the_table_are_gpc_exceptions_from_every_level(el: EL, gpcf: GPCFRecord, gpcsc: int) -> None:
    """Whatever SCR_EL3.GPF, HCR_EL2.GPF and TGE say."""
    pe = AT_EL3 if el is EL3 else context(el, NS, hcr=HCR_EL2.of(GPF=1, TGE=int(el is EL0)))
    taken = abort(pe, gpf(pe, gpcf=gpcf))
    assert esr(taken) == (EL3, 0x1E, gpcsc << 14 | 0x28)
    assert taken.syndrome.vector == (0x200 if el is EL3 else 0x400)
    assert taken.mfar == 0b11 << 62 | PA & ~0xFFF


@pytest.mark.parametrize("ease", [0, 1])
@pytest.mark.parametrize("el", list(EL))
def test_external_aborts_on_gpt_fetches_use_the_serror_vector_with_ease(el: EL, ease: int) -> None:
    pe = PEContext(scr=SCR_EL3.of(NSE=1, EASE=ease)) if el is EL3 else context(el, NS, scr={"EASE": ease})
    base = 0x200 if el is EL3 else 0x400
    taken = abort(pe, gpf(pe, gpcf=GPCFRecord(GPCF.GPCF_EABT, 0)))
    assert taken.syndrome.vector == base + (0x180 if ease else 0)
    assert abort(pe, gpf(pe, gpcf=GPCFRecord(GPCF.GPCF_Walk, 0))).syndrome.vector == base


@pytest.mark.parametrize(
    ("space", "top"),
    [
        (PASpace.PAS_Secure, 0b00),
        (PASpace.PAS_NonSecure, 0b10),
        (PASpace.PAS_Root, 0b01),
        (PASpace.PAS_Realm, 0b11),
    ],
)
def test_mfar_names_the_space(space: PASpace, top: int) -> None:
    """NS is bit 63 and NSE bit 62."""
    pe = context(EL2, REALM, scr={"GPF": 1})
    taken = abort(pe, gpf(pe, paddress=FullAddress(space, PA)))
    assert taken.mfar == top << 62 | 0x9_8765_4000


LEVEL_2_WALK = {"statuscode": Fault.Fault_GPCFOnWalk, "level": 2}


def on_walk(pe: PEContext, **changes: object) -> FaultRecord:
    """A granule protection fault on a descriptor fetch at level 2."""
    where = FullAddress(PASpace.PAS_NonSecure, PA)
    fault = FaultRecord.none(access_at("store", pe))
    return fault.with_(Fault.Fault_GPCFOnWalk, **{"level": 2, "gpcf": FAIL, "paddress": where, **changes})


def test_stage_1_walk() -> None:
    pe = context(EL1, NS)
    assert esr(abort(pe, on_walk(pe))) == (EL1, 0x25, 1 << 6 | 0x26)
    to_el3 = context(EL1, NS, scr={"GPF": 1})
    assert esr(abort(to_el3, on_walk(to_el3))) == (EL3, 0x1E, GPF_ISS | 1 << 6 | 0x26)


IPA = FullAddress(PASpace.PAS_NonSecure, 0x7_6543_2FF8)


def test_stage_2_walk_for_the_access_itself() -> None:
    """S2PTW [21] in a GPC exception, IPA in HPFAR_EL2 in both reports."""
    pe = context(EL1, NS)
    second = {"secondstage": True, "gpcfs2walk": True, "ipaddress": IPA}
    taken = abort(pe, on_walk(pe, **second))
    assert esr(taken) == (EL2, 0x24, 1 << 6 | 0x26)
    assert taken.hpfar == 0x7_6543_2FF8 >> 12 << 4
    assert taken.syndrome.iss_known == 0x3FFF, "ISV to AR depend on the instruction"
    to_el3 = context(EL0, NS, scr={"GPF": 1})
    gpc = abort(to_el3, on_walk(to_el3, **second))
    assert esr(gpc) == (EL3, 0x1E, 1 << 21 | GPF_ISS | 1 << 6 | 0x26)
    assert gpc.hpfar == 0x7_6543_2FF8 >> 12 << 4


def test_stage_2_of_a_stage_1_descriptor_fetch() -> None:
    """S1PTW [7]; the output of stage 2 denied: not a stage 2 walk; ISV is RES0 and known."""
    pe = context(EL1, NS)
    taken = abort(pe, on_walk(pe, secondstage=True, s2fs1walk=True, ipaddress=IPA))
    assert esr(taken) == (EL2, 0x24, 1 << 7 | 1 << 6 | 0x26)
    assert taken.syndrome.iss_known == 0x1FF_FFFF
    gpf_el3 = context(EL1, NS, scr={"GPF": 1})
    walk = on_walk(gpf_el3, secondstage=True, s2fs1walk=True, gpcfs2walk=True, ipaddress=IPA)
    assert esr(abort(gpf_el3, walk)) == (EL3, 0x1E, 1 << 21 | GPF_ISS | 1 << 7 | 1 << 6 | 0x26)


@pytest.mark.parametrize(
    ("ss", "space", "ns"),
    [
        (S, PASpace.PAS_NonSecure, 1),
        (S, PASpace.PAS_Secure, 0),
        (NS, PASpace.PAS_NonSecure, 0),
        (REALM, PASpace.PAS_NonSecure, 0),
    ],
)
def test_hpfar_ns(ss: SecurityState, space: PASpace, ns: int) -> None:
    pe = context(EL1, ss)
    fault = on_walk(pe, secondstage=True, ipaddress=FullAddress(space, 0x5000))
    assert abort(pe, fault).hpfar == ns << 63 | 5 << 4


def test_hpfar_of_other_stage_2_faults() -> None:
    """A stage 2 permission fault of the access itself leaves HPFAR_EL2 UNKNOWN, one of a stage 1 fetch does not."""
    pe = context(EL1, NS)
    fault = FaultRecord.none(access_at("load", pe))
    second = {"secondstage": True, "ipaddress": IPA, "level": 3}
    assert abort(pe, fault.with_(Fault.Fault_Permission, **second)).hpfar is None
    assert abort(pe, fault.with_(Fault.Fault_Permission, s2fs1walk=True, **second)).hpfar == 0x7654320
    assert abort(pe, fault.with_(Fault.Fault_Translation, **second)).hpfar == 0x7654320
    assert abort(pe, fault.with_(Fault.Fault_Translation, level=3)).hpfar is None


def test_maintenance_sets_cm_and_wnr() -> None:
    pe = context(EL1, REALM, scr={"GPF": 1})
    dc = CreateAccDescDC(pe, CacheOp.CacheOp_Clean, CacheOpScope.CacheOpScope_PoC)
    at = CreateAccDescAT(REALM, EL1, write=False, pan=False)
    for accdesc in (dc, CreateAccDescIC(pe), at):
        fault = gpf(pe, access=accdesc)
        assert esr(abort(pe, fault)) == (EL3, 0x1E, GPF_ISS | 1 << 8 | 1 << 6 | 0x28)
    stays = context(EL1, REALM)
    assert esr(abort(stays, gpf(stays, access=dc))) == (EL1, 0x25, 1 << 8 | 1 << 6 | 0x28)
    assert esr(abort(stays, gpf(stays, "dc-zva"))) == (EL1, 0x25, 1 << 6 | 0x28), "DC ZVA is a store"


@pytest.mark.parametrize(
    ("kind", "wnr"),
    [("load", 0), ("store", 1), ("load-exclusive", 0), ("store-exclusive", 1), ("atomic", 0), ("fetch", 0)],
)
def test_wnr_and_ind(kind: str, wnr: int) -> None:
    pe = context(EL2, NS, scr={"GPF": 1})
    ind = 1 << 20 if kind == "fetch" else 0
    taken = abort(pe, gpf(pe, kind))
    assert esr(taken) == (EL3, 0x1E, ind | GPF_ISS | wnr << 6 | 0x28)
    assert taken.syndrome.iss_known == 0x1FF_FFFF


def test_wnr_of_an_atomic_is_unknown_after_an_external_abort() -> None:
    pe = context(EL1, NS)
    taken = abort(pe, gpf(pe, "atomic", gpcf=GPCFRecord(GPCF.GPCF_EABT, 1)))
    assert taken.syndrome.iss_known == 0x1FF_FFFF & ~(1 << 6)


def test_nv2_accesses() -> None:
    """Reported to EL2 as if of EL2 itself, with VNCR [13]; to EL3 as a GPC exception with it."""
    pe = context(EL1, NS)
    taken = abort(pe, gpf(pe, "nv2-store"))
    assert esr(taken) == (EL2, 0x25, 1 << 13 | 1 << 6 | 0x28)
    assert taken.syndrome.vector == 0x400
    gpc = context(EL1, NS, scr={"GPF": 1})
    assert esr(abort(gpc, gpf(gpc, "nv2-load"))) == (EL3, 0x1E, GPF_ISS | 1 << 13 | 0x28)


def external(pe: PEContext, kind: str = "load", **changes: object) -> FaultRecord:
    """An external abort on the access itself."""
    return FaultRecord.none(access_at(kind, pe)).with_(Fault.Fault_SyncExternal, **changes)


DF2 = Features(doublefault2=True)


@pytest.mark.parametrize(
    ("el", "scr", "hcr", "target"),
    [
        (EL0, {"EA": 1}, {}, EL3),
        (EL1, {"EA": 1}, {"TEA": 1}, EL3),
        (EL2, {"EA": 1}, {}, EL3),
        (EL0, {}, {}, EL1),
        (EL1, {}, {}, EL1),
        (EL2, {}, {}, EL2),
        (EL0, {}, {"TGE": 1}, EL2),
        (EL0, {}, {"TGE": 1, "E2H": 1}, EL2),
        (EL0, {}, {"TEA": 1}, EL2),
        (EL1, {}, {"TEA": 1}, EL2),
        (EL1, {}, {"GPF": 1}, EL1),
    ],
)
def test_external_aborts(el: EL, scr: dict[str, int], hcr: dict[str, int], target: EL) -> None:
    pe = context(el, NS, scr=scr, hcr=HCR_EL2.of(**hcr))
    taken = abort(pe, external(pe))
    assert esr(taken) == (target, 0x25 if target is el else 0x24, 0x10)
    assert taken.syndrome.iss_known == 0x1FF_FFFF & ~(0b1101 << 9), "SET and EA are the part's"
    assert taken.far == VA
    without = WithoutFAR(taken)
    assert (esr(without)[2], without.far) == (1 << 10 | 0x10, None)


def test_external_abort_in_stage_2_goes_to_el2() -> None:
    pe = context(EL1, NS)
    fault = external(pe, secondstage=True, s2fs1walk=True, ipaddress=IPA)
    assert esr(abort(pe, fault))[0] is EL2


@pytest.mark.parametrize(
    ("el", "masked", "tmea", "hcrx_tmea", "target"),
    [
        (EL1, 1, 0, 1, EL2),
        (EL1, 0, 0, 1, EL1),
        (EL1, 1, 1, 1, EL2),
        (EL1, 1, 1, 0, EL3),
        (EL2, 1, 1, 0, EL3),
        (EL2, 0, 1, 0, EL2),
        (EL0, 1, 1, 1, EL1),
    ],
)
def test_masked_external_aborts(el: EL, masked: int, tmea: int, hcrx_tmea: int, target: EL) -> None:
    """FEAT_DoubleFault2: TMEA takes aborts that PSTATE.A would mask at their own level."""
    pe = context(el, NS, scr={"TMEA": tmea, "HXEn": 1}, hcrx=HCRX_EL2.of(TMEA=hcrx_tmea), masked=masked, features=DF2)
    assert esr(abort(pe, external(pe)))[0] is target
    without = context(el, NS, scr={"TMEA": tmea, "HXEn": 1}, hcrx=HCRX_EL2.of(TMEA=hcrx_tmea), masked=masked)
    assert esr(abort(without, external(without)))[0] is (EL1 if el is EL0 else el)


@pytest.mark.parametrize(
    ("el", "enabled", "features", "vector"),
    [
        (EL1, 1, DF2, 0x380),
        (EL1, 0, DF2, 0x200),
        (EL1, 1, Features(), 0x200),
        (EL2, 1, DF2, 0x380),
        (EL2, 0, DF2, 0x200),
    ],
)
def test_ease_of_el1_and_el2(el: EL, enabled: int, features: Features, vector: int) -> None:
    pe = context(
        el,
        NS,
        scr={"SCTLR2En": enabled, "HXEn": 1},
        hcrx=HCRX_EL2.of(SCTLR2En=1),
        sctlr2_el1=SCTLR2_EL1.of(EASE=1),
        sctlr2_el2=SCTLR2_EL2.of(EASE=1),
        features=features,
    )
    assert abort(pe, external(pe)).syndrome.vector == vector
    assert abort(pe, gpf(pe)).syndrome.vector == 0x200, "no external abort"


def test_aborts_on_stage_1_walks_have_a_valid_far() -> None:
    pe = context(EL1, NS)
    fault = FaultRecord.none(access_at("store", pe)).with_(Fault.Fault_SyncExternalOnWalk, level=1)
    taken = abort(pe, fault)
    assert esr(taken) == (EL1, 0x25, 1 << 6 | 0x15)
    assert taken.far == VA
    assert taken.syndrome.iss_known == 0x1FF_FFFF & ~(1 << 9)


@pytest.mark.parametrize(("statuscode", "fsc"), [(Fault.Fault_GPCFOnWalk, 0x23), (Fault.Fault_Translation, 0x2B)])
def test_level_minus_1(statuscode: Fault, fsc: int) -> None:
    pe = context(EL1, NS)
    gpcf = FAIL if statuscode is Fault.Fault_GPCFOnWalk else GPC_NO_FAULT
    fault = FaultRecord.none(access_at("load", pe)).with_(statuscode, level=-1, gpcf=gpcf)
    assert esr(abort(pe, fault)) == (EL1, 0x25, fsc)


def test_serror_from_below_goes_to_el3_with_ea() -> None:
    taken = PhysicalSError(context(EL1, NS, scr={"EA": 1}))
    assert taken is not None
    assert (taken.syndrome.el, taken.syndrome.ec, taken.syndrome.vector) == (EL3, 0x2F, 0x580)
    assert PhysicalSError(context(EL1, NS)) is None
    at_el3 = PhysicalSError(AT_EL3)
    assert at_el3 is not None
    assert at_el3.syndrome.vector == 0x380


@pytest.mark.parametrize(
    ("el", "ss", "hcr", "regime"),
    [
        (EL2, NS, {}, Regime.Regime_EL2),
        (EL2, REALM, {"E2H": 1}, Regime.Regime_EL20),
        (EL1, REALM, {"E2H": 1, "TGE": 1}, Regime.Regime_EL10),
        (EL0, NS, {"E2H": 1, "TGE": 1}, Regime.Regime_EL20),
        (EL0, NS, {"E2H": 1}, Regime.Regime_EL10),
        (EL0, NS, {"TGE": 1}, Regime.Regime_EL10),
    ],
)
def test_translation_regimes(el: EL, ss: SecurityState, hcr: dict[str, int], regime: Regime) -> None:
    assert context(el, ss, hcr=HCR_EL2.of(**hcr)).TranslationRegime(el) is regime


def test_security_states_below_el3() -> None:
    assert context(EL2, REALM).ss is REALM
    assert context(EL1, S).ss is S
    assert PEContext(el=EL1, scr=SCR_EL3.of(NS=0), features=Features(sel2=False)).ss is NS, "no Secure state"
    with pytest.raises(ValueError, match="no such security state"):
        PEContext(el=EL1, scr=SCR_EL3.of(NSE=1, NS=0))
    with pytest.raises(ValueError, match="EL2 is not enabled"):
        PEContext(el=EL2, scr=SCR_EL3.of(NS=0))
