"""Mutants of the granule protection check."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from refmodel.bits import Slice
from refmodel.gpt.decode import (
    GPI_NAMES,
    AbovePPS,
    GPT_Any,
    GPT_Block,
    GPT_NoAccess,
    GPT_NonSecure,
    GPT_Realm,
    GPT_Root,
    GPT_Secure,
    GPT_Table,
)
from refmodel.gpt.types import GPC_NO_FAULT, GPCF, GPCFRecord, GPCState, PGSe
from refmodel.gpt.walk import GPTBaseAddress, GPTLevel0Index
from refmodel.memory import Memory
from refmodel.mutants.mutant import Mutant, Original, Patch
from refmodel.outcomes import ExceptionTaken
from refmodel.pas import FullAddress, PASpace
from refmodel.rules import Rule
from refmodel.sysregs import GPCCR_EL3

_CHECK, _WALK, _DECODE = "refmodel.gpt.check", "refmodel.gpt.walk", "refmodel.gpt.decode"
_FAULTS, _ACCESS, _CACHE = "refmodel.faults", "refmodel.access", "refmodel.gpt.cache"
_STAGE1, _PERMISSIONS = "refmodel.translation.stage1", "refmodel.translation.permissions"
_MACHINE = "harness.targets.model_machine"

_SECURE, _NON_SECURE, _ROOT, _REALM = (
    PASpace.PAS_Secure,
    PASpace.PAS_NonSecure,
    PASpace.PAS_Root,
    PASpace.PAS_Realm,
)
_FAIL_0 = GPCFRecord(GPCF.GPCF_Fail, 0)
_WALK_0, _WALK_1 = GPCFRecord(GPCF.GPCF_Walk, 0), GPCFRecord(GPCF.GPCF_Walk, 1)
_SIZE_0 = GPCFRecord(GPCF.GPCF_AddressSize, 0)


def _mutant(name: str, rule: Rule, *patches: Patch, kind: str = "model") -> Mutant:
    return Mutant(name, "gpt", (rule.value,), patches, kind)


# GPCCR_EL3 and GPTBR_EL3 -------------------------------------------------------------------------------------------


def _consistent(change: Callable[[GPCCR_EL3], GPCCR_EL3]) -> Patch:
    """GPCRegistersConsistent asked about a changed register."""

    def make(original: Original) -> Any:
        return lambda gpc, observe: original(replace(gpc, gpccr=change(gpc.gpccr)), observe)

    return Patch(_CHECK, "GPCRegistersConsistent", make)


def _instead(field: str, reserved: int, value: int) -> Callable[[GPCCR_EL3], GPCCR_EL3]:
    """The register with a reserved encoding of a field read as another."""
    return lambda gpccr: gpccr.replace(**{field: value}) if getattr(gpccr, field) == reserved else gpccr


def _check(change: Callable[[GPCFRecord, GPCState, Memory, FullAddress], GPCFRecord]) -> Patch:
    """GranuleProtectionCheck with its answer changed."""

    def make(original: Original) -> Any:
        def GranuleProtectionCheck(gpc: GPCState, memory: Memory, address: FullAddress, *rest: Any) -> GPCFRecord:
            return change(original(gpc, memory, address, *rest), gpc, memory, address)

        return GranuleProtectionCheck

    return Patch(_CACHE, "GranuleProtectionCheck", make)


def _always_enabled(original: Original) -> Any:
    return lambda gpc, *rest: original(replace(gpc, gpccr=gpc.gpccr.replace(GPC=1)), *rest)


def _above(answer: GPCFRecord, spaces: tuple[PASpace, ...]) -> Patch:
    """Another answer for addresses above the protected size."""

    def change(record: GPCFRecord, gpc: GPCState, memory: Memory, address: FullAddress) -> GPCFRecord:
        decided_here = record.level == 0 and record.gpf in (GPCF.GPCF_Fail, GPCF.GPCF_None) and gpc.gpccr.GPC
        if decided_here and AbovePPS(gpc.gpccr, address.address) and address.paspace in spaces:
            return answer
        return record

    return _check(change)


def _swap(wrong: GPCFRecord, right: GPCFRecord) -> Patch:
    """Answers ``wrong`` instead of ``right``."""
    return _check(lambda record, *_: wrong if record == right else record)


def _unallocated_type_passes(record: GPCFRecord, gpc: GPCState, memory: Memory, address: FullAddress) -> GPCFRecord:
    """A level 0 entry of a type that is neither Block nor Table lets every access through."""
    if record != _WALK_0 or gpc.gpccr.PGS == 0b11 or gpc.gpccr.PPS == 0b111:
        return record
    entry = memory.read64(GPTBaseAddress(gpc) + 8 * GPTLevel0Index(gpc.gpccr, address.address))
    return record if Slice(entry, 3, 0) in (GPT_Block, GPT_Table) else GPC_NO_FAULT


# Descriptors -------------------------------------------------------------------------------------------------------


def _entry(decoder: str, change: Callable[[int], int]) -> Patch:
    """A decoder that sees a changed descriptor, its last argument."""

    def make(original: Original) -> Any:
        return lambda *arguments: original(*arguments[:-1], change(arguments[-1]))

    return Patch(_WALK, decoder, make)


def _reserved_gpi_is_any(entry: int) -> int:
    """Block and Contiguous descriptors: a reserved GPI in [7:4] read as Any."""
    return entry if Slice(entry, 7, 4) in GPI_NAMES else entry | GPT_Any << 4


def _reserved_gpis_are_any(entry: int) -> int:
    """Granules descriptors: every reserved GPI read as Any."""
    gpis = [Slice(entry, 4 * i + 3, 4 * i) for i in range(16)]
    return sum((gpi if gpi in GPI_NAMES else GPT_Any) << 4 * i for i, gpi in enumerate(gpis))


def _only_selected_gpi(original: Original) -> Any:
    """Granules descriptors judged by the selected GPI, as if the other fifteen were not there."""

    def DecodeGPTGranules(gpc: GPCState, pgs: PGSe, index: int, entry: int) -> Any:
        selected = Slice(entry, 4 * index + 3, 4 * index)
        return original(gpc, pgs, index, sum(selected << 4 * i for i in range(16)))

    return DecodeGPTGranules


def _above_pps_is_walk_fault(original: Original) -> Any:
    def DecodeGPTTable(*arguments: Any) -> Any:
        gpf, table, rule = original(*arguments)
        return (GPCF.GPCF_Walk if gpf is GPCF.GPCF_AddressSize else gpf), table, rule

    return DecodeGPTTable


def _off_by_one(function: str) -> Patch:
    return Patch(_WALK, function, lambda original: lambda *arguments: original(*arguments) ^ 1)


def _dies_on_reserved_size(original: Original) -> Any:
    def DecodeGPTContiguous(gpc: GPCState, pgs: PGSe, entry: int) -> Any:
        if Slice(entry, 9, 8) == 0:
            os._exit(70)
        return original(gpc, pgs, entry)

    return DecodeGPTContiguous


# GPI -------------------------------------------------------------------------------------------------------------


def _gpi(gpi: int, space: PASpace, answer: bool) -> Patch:
    """GPICheck gives ``answer`` for one encoding and one space."""

    def make(original: Original) -> Any:
        return lambda paspace, found, *ss: answer if (found, paspace) == (gpi, space) else original(paspace, found, *ss)

    return Patch(_CHECK, "GPICheck", make)


# Reporting ---------------------------------------------------------------------------------------------------------


def _abort(change: Callable[[ExceptionTaken], ExceptionTaken], *, gpc_only: bool = False) -> Patch:
    """AArch64_Abort with the exception changed; ``gpc_only``: GPC exceptions only."""

    def make(original: Original) -> Any:
        def AArch64_Abort(*arguments: Any) -> ExceptionTaken:
            exception: ExceptionTaken = original(*arguments)
            return exception if gpc_only and exception.syndrome.ec != 0x1E else change(exception)

        return AArch64_Abort

    return Patch(_ACCESS, "AArch64_Abort", make)


def _iss(change: Callable[[int], int], *, gpc_only: bool = False) -> Patch:
    def changed(exception: ExceptionTaken) -> ExceptionTaken:
        return replace(exception, syndrome=replace(exception.syndrome, iss=change(exception.syndrome.iss)))

    return _abort(changed, gpc_only=gpc_only)


def _mfar(change: Callable[[int, int], int]) -> Patch:
    """MFAR_EL3 of GPC exceptions changed, given it and FAR."""
    return _abort(lambda e: replace(e, mfar=change(e.mfar or 0, e.far or 0)), gpc_only=True)


def _always_reported_as_gpc(answer: bool) -> Patch:
    return Patch(_FAULTS, "ReportAsGPCException", lambda original: lambda *a, **k: answer)


# The machine -------------------------------------------------------------------------------------------------------


def _stores_although_denied(original: Original) -> Any:
    def _access(self: Any, record: Any, kind: Any) -> Any:
        answer = original(self, record, kind)
        self.effect(record, kind)
        return answer

    return _access


def _loses_stores(original: Original) -> Any:
    def effect(self: Any, record: Any, kind: Any) -> Any:
        pa = self.physical(record)
        before = self.memory.read(pa, 16)
        answer = original(self, record, kind)
        self.memory.write(pa, before)
        return answer

    return effect


def _executes_anything(original: Original) -> Any:
    return lambda *arguments: replace(original(*arguments), x=True)


def _unchecked_fetch(original: Original) -> Any:
    return lambda check, *rest: original(lambda address, observe: GPC_NO_FAULT, *rest)


def _half_written_until_invalidated() -> tuple[Patch, Patch]:
    """Of a doubleword written to a table, the upper half arrives with the next invalidation only."""
    missing: dict[int, bytes] = {}

    def write(original: Original) -> Any:
        def _write(self: Any, record: Any, data: bytes) -> Any:
            pa = self.physical(record)
            missing[pa + 4] = data[4:]
            return original(self, record, data[:4] + self.memory.read(pa + 4, 4))

        return _write

    def invalidate(original: Original) -> Any:
        def tlbi(self: Any, *operands: Any) -> None:
            for pa, data in missing.items():
                self.write_memory(pa, data)
            missing.clear()
            original(self, *operands)

        return tlbi

    return Patch(_MACHINE, "Machine._write", write), Patch(_MACHINE, "Machine.tlbi", invalidate)


def _non_secure_fetch(original: Original) -> Any:
    """The walk's name for the Root space stands for another."""
    return SimpleNamespace(PAS_Root=_NON_SECURE)


GPT_MUTANTS: tuple[Mutant, ...] = (
    _mutant("gpt-fetched-as-non-secure", Rule.FETCH_IN_ROOT, Patch(_WALK, "PASpace", _non_secure_fetch)),
    _mutant("checks-while-disabled", Rule.DISABLED, Patch(_CACHE, "GranuleProtectionCheck", _always_enabled)),
    _mutant("pps-reserved-accepted", Rule.PPS_RESERVED, _consistent(_instead("PPS", 0b111, 0b110)),
            Patch(_DECODE, "_PPS", lambda table: {**table, 0b111: 52})),
    _mutant("pgs-reserved-accepted", Rule.PGS_RESERVED, _consistent(_instead("PGS", 0b11, 0b00)),
            Patch(_DECODE, "_PGS", lambda table: {**table, 0b11: PGSe.PGS_4KB})),
    _mutant("sh-reserved-accepted", Rule.SH_RESERVED, _consistent(_instead("SH", 0b01, 0b11))),
    _mutant("non-cacheable-inner-accepted", Rule.NC_NEEDS_OUTER, _consistent(lambda gpccr: gpccr.replace(ORGN=1))),
    _mutant("above-pps-non-secure-faults", Rule.ABOVE_PPS_NON_SECURE, _above(_FAIL_0, (_NON_SECURE,))),
    _mutant("above-pps-passes", Rule.ABOVE_PPS_FAULT, _above(GPC_NO_FAULT, (_ROOT, _REALM, _SECURE))),
    _mutant("above-pps-is-address-size", Rule.ABOVE_PPS_FAULT, _above(_SIZE_0, (_ROOT, _REALM, _SECURE))),
    _mutant("gptbr-above-pps-is-walk-fault", Rule.GPTBR_ABOVE_PPS, _swap(_WALK_0, _SIZE_0)),
    _mutant("gptbr-low-bits-used", Rule.GPTBR_ALIGNMENT,
            Patch(_WALK, "GPTBaseAddress", lambda original: lambda gpc: gpc.gptbr.BADDR << 12)),
    _mutant("level-0-index-off", Rule.L0_INDEX, _off_by_one("GPTLevel0Index")),
    _mutant("unallocated-type-passes", Rule.L0_INVALID, _check(_unallocated_type_passes)),
    _mutant("block-reserved-ignored", Rule.L0_BLOCK_RESERVED, _entry("DecodeGPTBlock", lambda e: e & 0xFF)),
    _mutant("block-reserved-gpi-is-any", Rule.L0_BLOCK_GPI_RESERVED, _entry("DecodeGPTBlock", _reserved_gpi_is_any)),
    _mutant("block-fault-at-level-1", Rule.L0_BLOCK_GPI_RESERVED, _swap(_WALK_1, _WALK_0)),
    _mutant("block-gpi-is-any", Rule.L0_BLOCK, _entry("DecodeGPTBlock", lambda e: e | GPT_Any << 4)),
    _mutant("table-reserved-ignored", Rule.L0_TABLE_RESERVED,
            _entry("DecodeGPTTable", lambda e: e & ~(0xFFF << 52 | 0xFF0))),
    _mutant("table-misalignment-ignored", Rule.L0_TABLE_ALIGNMENT,
            _entry("DecodeGPTTable", lambda e: e & ~0x1_FFFF | e & 0xFFF)),
    _mutant("table-above-pps-is-walk-fault", Rule.L0_TABLE_ABOVE_PPS,
            Patch(_WALK, "DecodeGPTTable", _above_pps_is_walk_fault)),
    _mutant("level-0-external-abort-is-walk-fault", Rule.L0_EXTERNAL_ABORT,
            _swap(_WALK_0, GPCFRecord(GPCF.GPCF_EABT, 0))),
    _mutant("level-1-external-abort-is-walk-fault", Rule.L1_EXTERNAL_ABORT,
            _swap(_WALK_1, GPCFRecord(GPCF.GPCF_EABT, 1))),
    _mutant("granule-index-off", Rule.L1_GRANULES, _off_by_one("GPIIndex")),
    _mutant("level-1-index-off", Rule.L1_GRANULES, _off_by_one("GPTLevel1Index")),
    _mutant("granules-reserved-gpi-is-any", Rule.L1_GRANULES_GPI_RESERVED,
            _entry("DecodeGPTGranules", _reserved_gpis_are_any)),
    _mutant("granules-only-selected-gpi", Rule.L1_GRANULES_OTHER_GPI_RESERVED,
            Patch(_WALK, "DecodeGPTGranules", _only_selected_gpi)),
    _mutant("contiguous-reserved-ignored", Rule.L1_CONTIGUOUS_RESERVED,
            _entry("DecodeGPTContiguous", lambda e: e & 0x3FF)),
    _mutant("contiguous-size-0-accepted", Rule.L1_CONTIGUOUS_SIZE_RESERVED,
            _entry("DecodeGPTContiguous", lambda e: e if Slice(e, 9, 8) else e | 0x100)),
    _mutant("contiguous-reserved-gpi-is-any", Rule.L1_CONTIGUOUS_GPI_RESERVED,
            _entry("DecodeGPTContiguous", _reserved_gpi_is_any)),
    _mutant("contiguous-gpi-is-any", Rule.L1_CONTIGUOUS, _entry("DecodeGPTContiguous", lambda e: e | GPT_Any << 4)),
    _mutant("no-access-open-to-root", Rule.GPI_NO_ACCESS, _gpi(GPT_NoAccess, _ROOT, True)),
    _mutant("secure-open-to-root", Rule.GPI_SECURE, _gpi(GPT_Secure, _ROOT, True)),
    _mutant("secure-open-to-realm", Rule.GPI_SECURE, _gpi(GPT_Secure, _REALM, True)),
    _mutant("secure-denied-to-secure", Rule.GPI_SECURE, _gpi(GPT_Secure, _SECURE, False)),
    _mutant("non-secure-open-to-secure", Rule.GPI_NON_SECURE, _gpi(GPT_NonSecure, _SECURE, True)),
    _mutant("non-secure-denied-to-itself", Rule.GPI_NON_SECURE, _gpi(GPT_NonSecure, _NON_SECURE, False)),
    _mutant("root-open-to-non-secure", Rule.GPI_ROOT, _gpi(GPT_Root, _NON_SECURE, True)),
    _mutant("root-open-to-realm", Rule.GPI_ROOT, _gpi(GPT_Root, _REALM, True)),
    _mutant("realm-open-to-non-secure", Rule.GPI_REALM, _gpi(GPT_Realm, _NON_SECURE, True)),
    _mutant("realm-open-to-secure", Rule.GPI_REALM, _gpi(GPT_Realm, _SECURE, True)),
    _mutant("realm-open-to-root", Rule.GPI_REALM, _gpi(GPT_Realm, _ROOT, True)),
    _mutant("any-denied-to-realm", Rule.GPI_ANY, _gpi(GPT_Any, _REALM, False)),
    _mutant("gpf-as-gpc-exception", Rule.GPF_AT_EL3, _always_reported_as_gpc(True)),
    _mutant("gpt-fault-as-data-abort", Rule.GPT_FAULT_IS_GPC_EXCEPTION, _always_reported_as_gpc(False)),
    _mutant("gpcsc-level-lost", Rule.GPCSC, _iss(lambda iss: iss & ~(1 << 14), gpc_only=True)),
    _mutant("gpcsc-always-fail", Rule.GPCSC, _iss(lambda iss: iss | 0b001000 << 14, gpc_only=True)),
    _mutant("mfar-low-bits", Rule.MFAR, _mfar(lambda mfar, far: mfar | far & 0xFFF)),
    _mutant("mfar-pas-lost", Rule.MFAR, _mfar(lambda mfar, far: mfar & (1 << 62) - 1)),
    _mutant("far-page-only", Rule.FAR, Patch(_MACHINE, "far_of", lambda o: lambda record: record.address & ~0xFFF)),
    _mutant("wnr-always-set", Rule.ISS, _iss(lambda iss: iss | 1 << 6)),
    _mutant("wnr-never-set", Rule.ISS, _iss(lambda iss: iss & ~(1 << 6))),
    _mutant("fetch-not-marked", Rule.ISS, _iss(lambda iss: iss & ~(1 << 20), gpc_only=True)),
    _mutant("gpf-as-permission-fault", Rule.ISS, _iss(lambda iss: 0x0D if iss & 0x3F == 0x28 else iss)),
    _mutant("denied-store-arrives", Rule.DENIED_STORE_NO_EFFECT,
            Patch(_MACHINE, "Machine._access", _stores_although_denied), kind="observation"),
    _mutant("store-lost", Rule.PERMITTED_ACCESS_EFFECT, Patch(_MACHINE, "Machine.effect", _loses_stores),
            kind="observation"),
    _mutant("invalidation-ignored", Rule.INVALIDATED,
            Patch(_MACHINE, "Machine.tlbi", lambda o: lambda self, *operands: None)),
    _mutant("half-written-until-invalidated", Rule.CACHED, *_half_written_until_invalidated(), kind="observation"),
    _mutant("stage-1-fetch-unchecked", Rule.S1_WALK_CHECKED, Patch(_STAGE1, "FetchDescriptor", _unchecked_fetch)),
    _mutant("root-executes-anything", Rule.ROOT_EXECUTE_NEVER,
            Patch(_PERMISSIONS, "S1ComputePermissions", _executes_anything)),
    _mutant("reserved-size-kills-machine", Rule.AVAILABILITY,
            Patch(_WALK, "DecodeGPTContiguous", _dies_on_reserved_size), kind="observation"),
)  # fmt: skip
