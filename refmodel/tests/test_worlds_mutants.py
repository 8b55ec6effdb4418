"""Each mutant of ``refmodel.mutants.worlds`` changes what the model permits, at a place that is its rule's own."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from refmodel import faults, operations
from refmodel.accdesc import CacheOp, CacheOpScope
from refmodel.access import access_at
from refmodel.choices import Chooser
from refmodel.context import AT_EL3, Regime
from refmodel.faultrecord import Fault, FaultRecord
from refmodel.features import Features
from refmodel.gpt import decode
from refmodel.gpt.types import GPCF, GPCFRecord
from refmodel.mutants import MUTANTS, PENDING, by_name
from refmodel.mutants.mutant import Mutant
from refmodel.mutants.worlds import WITHOUT_SUITE, WORLDS_MUTANTS
from refmodel.observe import unobserved
from refmodel.operations import Translation
from refmodel.pas import EL, FullAddress, PASpace, SecurityState
from refmodel.sysregs import GPCBW_EL3, GPCCR_EL3, GPTBR_EL3, HCR_EL2
from refmodel.tests import test_gpc3_check as gpc
from refmodel.tests import test_regimes_operations as ops
from refmodel.tests import test_regimes_stage1 as regimes
from refmodel.tests import test_routing_faults as routing
from refmodel.tests.worlds import GPC2, GPC3, context, put64, ram
from refmodel.translation import fetch

NS, REALM = SecurityState.SS_NonSecure, SecurityState.SS_Realm
REALM_PAS, NS_PAS, S_PAS = PASpace.PAS_Realm, PASpace.PAS_NonSecure, PASpace.PAS_Secure
EL0, EL1, EL2 = EL.EL0, EL.EL1, EL.EL2
SECOND = {"secondstage": True, "gpcfs2walk": True, "s2fs1walk": True, "ipaddress": routing.IPA}


def checked(
    space: PASpace,
    pa: int,
    features: Features = GPC3,
    *,
    gpi: int = 0,
    gpcbw: GPCBW_EL3 | None = None,
    ss: SecurityState = SecurityState.SS_Root,
    fields: Mapping[str, int],
) -> object:
    state = gpc.state(gpc.BASE.replace(**fields), features, (gpcbw or GPCBW_EL3()).value)
    return gpc.check(state, gpc.blocks(gpi), space, pa, ss)


def gpccr_bit_63() -> object:
    state = gpc.state(GPCCR_EL3(gpc.BASE.value | 1 << 63), GPC3)
    return gpc.check(state, gpc.blocks(0), S_PAS, 0)


def gptbr_bit_44() -> object:
    sound = gpc.state(gpc.BASE, GPC3)
    return gpc.check(replace(sound, gptbr=GPTBR_EL3(sound.gptbr.value | 1 << 44)), gpc.blocks(0b1111), S_PAS, 0)


def routed(
    el: EL,
    fault: Mapping[str, object] = MappingProxyType({}),
    *,
    kind: str = "load",
    scr: Mapping[str, int] = MappingProxyType({}),
    hcr: Mapping[str, int] = MappingProxyType({}),
) -> object:
    pe = context(el, NS, scr=scr, hcr=HCR_EL2.of(**hcr))
    return faults.AArch64_Abort(routing.VA, routing.gpf(pe, kind, **fault), pe)


def external() -> object:
    pe = context(EL1, NS, scr={"EA": 1})
    return faults.AArch64_Abort(routing.VA, routing.external(pe), pe)


def maintained(name: str) -> object:
    pe, gpt = ops.machine(context(EL2, NS), gpis={regimes.PAGE: 0})
    choose = Chooser()
    if name == "dc":
        scope = CacheOpScope.CacheOpScope_PoC
        return operations.DataCacheByVA(pe, gpt, regimes.VA, CacheOp.CacheOp_Clean, scope, choose)
    if name == "ic":
        return operations.InstructionCacheByVA(pe, gpt, regimes.VA, choose)
    return operations.DataCacheZero(pe, gpt, regimes.VA + 7, 6, choose)


def to_poe() -> object:
    pe, gpt = ops.machine(context(EL2, REALM), gpis={regimes.PAGE: 0})
    return operations.DataCacheToPoE(pe, gpt, 1 << 63 | regimes.PAGE, Chooser())


def translated(el: EL, hcr: dict[str, int]) -> object:
    return ops.at(context(el, NS, hcr=HCR_EL2.of(**hcr)), Translation(EL1), gpis={regimes.L3: 0})


def crossed() -> object:
    memory = regimes.tables()
    put64(memory, regimes.L3 + 8 * 5, ops.NEXT | regimes.AF | regimes.TABLE)
    pe, gpt = ops.machine(context(EL2, NS), memory, {ops.NEXT: 0})
    return operations.AccessSpan(pe, gpt, ops.EDGE, 8, access_at("load", pe.context), Chooser())


def stage_2_fetch() -> object:
    memory = ram()
    put64(memory, 0x8000, 0x9003)
    where = FullAddress(NS_PAS, 0x8000)
    start = FaultRecord.none(access_at("load", AT_EL3)).with_(Fault.Fault_None, secondstage=True)
    denied = GPCFRecord(GPCF.GPCF_Fail, 1)
    return fetch.FetchStage2Descriptor(
        lambda address, observe: denied, memory, where, start, gpccr=GPCCR_EL3(), is_table=bool, choose=Chooser()
    )


def walked(ss: SecurityState, el: EL, **denied: int) -> object:
    pe = context(el, ss, scr={"GPF": 1})
    gpis = {getattr(regimes, name): gpi for name, gpi in denied.items()}
    return regimes.run(regimes.tables(regimes.PAGE | regimes.AF | regimes.TABLE | regimes.NS_BIT), pe, gpis)


def flat() -> object:
    off = regimes.regime_of(Regime.Regime_EL2, enabled=0)
    return regimes.run(ram(), context(EL2, REALM), {regimes.PAGE: 0b1011}, va=regimes.PAGE, stage1=off)


def executed() -> object:
    leaf = regimes.PAGE | regimes.AF | regimes.TABLE | regimes.NS_BIT
    return regimes.run(regimes.tables(leaf), context(EL2, REALM), {}, kind="fetch")


TB = 1 << 40
WITNESS: dict[str, Callable[[], object]] = {
    "appsaa-ignored": lambda: checked(REALM_PAS, 64 << 30, fields={"APPSAA": 1}),
    "appsaa-always": lambda: checked(REALM_PAS, 64 << 30, fields={}),
    "non-secure-only-open-to-realm": lambda: checked(NS_PAS, 0, gpi=0b1101, ss=REALM, fields={"NSO": 1}),
    "non-secure-only-closed-to-root": lambda: checked(NS_PAS, 0, gpi=0b1101, fields={"NSO": 1}),
    "non-secure-only-always-valid": lambda: checked(NS_PAS, 0, gpi=0b1101, fields={}),
    "spad-ignored": lambda: checked(S_PAS, 0, gpi=0b1111, fields={"SPAD": 1}),
    "nspad-ignored": lambda: checked(NS_PAS, 0, gpi=0b1111, fields={"NSPAD": 1}),
    "rlpad-ignored": lambda: checked(REALM_PAS, 0, gpi=0b1111, fields={"RLPAD": 1}),
    "gpc2-fields-without-gpc2": lambda: checked(S_PAS, 0, Features(), gpi=0b1111, fields={"SPAD": 1}),
    "gpccr-bit-63-counts": gpccr_bit_63,
    "gptbr-bit-44-counts": gptbr_bit_44,
    "bypass-ignored": lambda: checked(REALM_PAS, 0, fields={"GPCBW": 1}),
    "bypass-invalid-accepted": lambda: checked(NS_PAS, 0, gpcbw=GPCBW_EL3.of(BWSIZE=1, BWADDR=1), fields={"GPCBW": 1}),
    "bypass-stride-doubled": lambda: checked(
        S_PAS, TB, replace(GPC3, pamax=52), gpcbw=GPCBW_EL3(), fields={"GPCBW": 1, "PPS": 0b110}
    ),
    "bypass-size-doubled": lambda: checked(S_PAS, 1 << 30, fields={"GPCBW": 1}),
    "pps-56-is-52": lambda: checked(S_PAS, 1 << 52, replace(GPC3, pamax=56), gpi=0b1111, fields={"PPS": 0b111}),
    "pps3-ignored": lambda: checked(
        S_PAS, 1 << 45, replace(GPC3, pamax=52), gpi=0b1111, fields={"PPS": 0b000, "PPS3": 1}
    ),
    "gpc3-fields-without-gpc3": lambda: checked(S_PAS, 0, GPC2, fields={"GPCBW": 1}),
    "pgs-not-implemented-accepted": lambda: checked(
        S_PAS, 0, Features(granules=frozenset({12})), gpi=0b1111, fields={"PGS": 1}
    ),
    "stage-2-fetch-unreported": stage_2_fetch,
    "scr-gpf-ignored": lambda: routed(EL1, scr={"GPF": 1}),
    "hcr-gpf-ignored": lambda: routed(EL1, hcr={"GPF": 1}),
    "tge-ignored": lambda: routed(EL0, hcr={"TGE": 1}),
    "second-stage-to-el1": lambda: routed(EL1, SECOND),
    "gpf-always-to-el2": lambda: routed(EL1),
    "gpt-fault-stays-below": lambda: routed(EL1, {"gpcf": GPCFRecord(GPCF.GPCF_Walk, 0)}),
    "scr-ea-ignored": external,
    "ease-ignored": lambda: routed(EL1, {"gpcf": GPCFRecord(GPCF.GPCF_EABT, 0)}, scr={"EASE": 1}),
    "vector-of-own-level": lambda: routed(EL0),
    "ec-of-own-level": lambda: routed(EL0),
    "s1ptw-lost": lambda: routed(EL1, SECOND),
    "s2ptw-lost": lambda: routed(EL1, SECOND, scr={"GPF": 1}),
    "hpfar-zero": lambda: routed(EL1, SECOND),
    "cm-lost": lambda: maintained("dc"),
    "vncr-lost": lambda: routed(EL1, kind="nv2-load"),
    "dc-fault-as-walk-fault": lambda: maintained("dc"),
    "dc-to-popa-denied": lambda: operations.DataCacheToPoPA(0, unobserved),
    "dc-to-poe-in-every-space": to_poe,
    "ic-fault-as-permission-fault": lambda: maintained("ic"),
    "dc-zva-far-aligned": lambda: maintained("dc-zva"),
    "at-level-lost": lambda: translated(EL2, {}),
    "at-space-lost": lambda: ops.at(
        context(EL2, SecurityState.SS_Secure),
        Translation(EL2),
        regimes.tables(regimes.PAGE | regimes.AF | regimes.TABLE | regimes.NS_BIT),
    ),
    "at-never-takes-an-exception": lambda: translated(EL1, {"GPF": 1}),
    "crossing-far-is-first-byte": crossed,
    "realm-tables-in-non-secure": lambda: walked(REALM, EL2, L0=0b1011),
    "walk-level-lost": lambda: walked(NS, EL2, L1=0),
    "realm-el1-leaves-realm": lambda: walked(REALM, EL1, PAGE=0b1011),
    "realm-flat-map-in-non-secure": flat,
    "foreign-memory-executes": executed,
}


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    decode.AllGPIValid.cache_clear()
    yield
    decode.AllGPIValid.cache_clear()


def test_every_mutant_has_a_witness_and_a_name_of_its_own() -> None:
    names = [mutant.name for mutant in (*MUTANTS, *PENDING)]
    assert len(names) == len(set(names))
    assert {mutant.name for mutant in WORLDS_MUTANTS} == set(WITNESS)
    assert {mutant.name for mutant in PENDING} == WITHOUT_SUITE
    assert by_name("appsaa-ignored").rules == ("GPC-100",)
    with pytest.raises(KeyError, match="no mutant 'nothing'"):
        by_name("nothing")


@pytest.mark.parametrize("mutant", WORLDS_MUTANTS, ids=lambda mutant: mutant.name)
def test_mutant_is_seen(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    before = WITNESS[mutant.name]()
    for patch in mutant.patches:
        module: Any = importlib.import_module(patch.module)
        monkeypatch.setattr(module, patch.attribute, patch.make(getattr(module, patch.attribute)))
    assert WITNESS[mutant.name]() != before
