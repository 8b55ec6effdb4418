"""Faults to syndromes: every encoding by hand, with the statement of the pseudocode that sets each bit."""

from __future__ import annotations

import pytest

from refmodel.access import ACCESSES
from refmodel.context import PEContext
from refmodel.faults import (
    AArch64_Abort,
    EncodeGPCSC,
    EncodeLDFSC,
    Fault,
    FaultRecord,
    ReportAsGPCException,
    WithoutFAR,
    encode_mfar,
)
from refmodel.gpt.types import GPC_NO_FAULT, GPCF, GPCFRecord
from refmodel.outcomes import ExceptionTaken
from refmodel.pas import EL, FullAddress, PASpace
from refmodel.sysregs import SCR_EL3

VA = 0x80_1234_5678
PA = FullAddress(PASpace.PAS_Realm, 0x8_7654_3210)
MFAR = 0xC000_0008_7654_3000

SET, FNV, EA, WNR = 0x1800, 0x400, 0x200, 0x40


def esr(exception: ExceptionTaken) -> int:
    s = exception.syndrome
    return s.ec << 26 | s.il << 25 | s.iss


def unknown(exception: ExceptionTaken) -> int:
    return 0x1FF_FFFF & ~exception.syndrome.iss_known


# EncodeGPCSC: 0000_0L address size, 0001_0L walk, 0011_0L granule protection, 0101_0L external abort.
@pytest.mark.parametrize(
    ("gpf", "level_0", "level_1"),
    [
        (GPCF.GPCF_AddressSize, 0x00, 0x01),
        (GPCF.GPCF_Walk, 0x04, 0x05),
        (GPCF.GPCF_Fail, 0x0C, 0x0D),
        (GPCF.GPCF_EABT, 0x14, 0x15),
    ],
)
def test_gpcsc(gpf: GPCF, level_0: int, level_1: int) -> None:
    assert EncodeGPCSC(GPCFRecord(gpf, 0)) == level_0
    assert EncodeGPCSC(GPCFRecord(gpf, 1)) == level_1


# EncodeLDFSC, levels -1 to 3; None where the level does not exist for the fault.
@pytest.mark.parametrize(
    ("fault", "codes"),
    [
        (Fault.Fault_AddressSize, (0x29, 0x00, 0x01, 0x02, 0x03)),
        (Fault.Fault_Translation, (0x2B, 0x04, 0x05, 0x06, 0x07)),
        (Fault.Fault_AccessFlag, (None, 0x08, 0x09, 0x0A, 0x0B)),
        (Fault.Fault_Permission, (None, 0x0C, 0x0D, 0x0E, 0x0F)),
        (Fault.Fault_SyncExternal, (None, 0x10, 0x10, 0x10, 0x10)),
        (Fault.Fault_SyncExternalOnWalk, (0x13, 0x14, 0x15, 0x16, 0x17)),
        (Fault.Fault_GPCFOnWalk, (0x23, 0x24, 0x25, 0x26, 0x27)),
        (Fault.Fault_GPCFOnOutput, (None, 0x28, 0x28, 0x28, 0x28)),
    ],
)
def test_ldfsc(fault: Fault, codes: tuple[int | None, ...]) -> None:
    for level, code in enumerate(codes, start=-1):
        if code is None:
            with pytest.raises(KeyError):
                EncodeLDFSC(fault, level)
        else:
            assert EncodeLDFSC(fault, level) == code


def test_which_faults_are_gpc_exceptions() -> None:
    """Walk, address size and external abort always; a granule protection fault from below EL3 if SCR_EL3.GPF is 1."""
    for gpf in (GPCF.GPCF_Walk, GPCF.GPCF_AddressSize, GPCF.GPCF_EABT):
        record = FaultRecord.none(ACCESSES["load"]).with_(Fault.Fault_GPCFOnOutput, gpcf=GPCFRecord(gpf, 0))
        assert all(ReportAsGPCException(record, el=el, scr_gpf=gpf_bit) for el in EL for gpf_bit in (False, True))
    failed = FaultRecord.none(ACCESSES["load"]).with_(Fault.Fault_GPCFOnOutput, gpcf=GPCFRecord(GPCF.GPCF_Fail, 0))
    reported = [(el, bit) for el in EL for bit in (False, True) if ReportAsGPCException(failed, el=el, scr_gpf=bit)]
    assert reported == [(EL.EL0, True), (EL.EL1, True), (EL.EL2, True)]


# ESR_EL3 = EC << 26 | IL << 25 | ISS.  EC 0x1E gives 0x7A.., 0x25 gives 0x96.., 0x21 gives 0x86..
# TakeGPCException: InD is bit 20 for a fetch, GPCSC [19:14], WnR bit 6 = fault.write, xFSC [5:0].
# A granule protection fault at EL3 is an abort: AArch64_FaultSyndrome, WnR for data only.
# fault.write is "not read and write" (NoFault), so 0 for an atomic.
GPC_CASES = [
    ("load", GPCF.GPCF_Walk, 0, 0x7A01_0028),
    ("load", GPCF.GPCF_Walk, 1, 0x7A01_4028),
    ("load", GPCF.GPCF_AddressSize, 0, 0x7A00_0028),
    ("load", GPCF.GPCF_EABT, 0, 0x7A05_0028),
    ("load", GPCF.GPCF_EABT, 1, 0x7A05_4028),
    ("load", GPCF.GPCF_Fail, 0, 0x9600_0028),
    ("load", GPCF.GPCF_Fail, 1, 0x9600_0028),
    ("load-exclusive", GPCF.GPCF_Walk, 1, 0x7A01_4028),
    ("load-exclusive", GPCF.GPCF_Fail, 1, 0x9600_0028),
    ("store", GPCF.GPCF_Walk, 0, 0x7A01_0068),
    ("store", GPCF.GPCF_AddressSize, 0, 0x7A00_0068),
    ("store", GPCF.GPCF_EABT, 1, 0x7A05_4068),
    ("store", GPCF.GPCF_Fail, 1, 0x9600_0068),
    ("dc-zva", GPCF.GPCF_Walk, 1, 0x7A01_4068),
    ("dc-zva", GPCF.GPCF_Fail, 1, 0x9600_0068),
    ("atomic", GPCF.GPCF_Walk, 1, 0x7A01_4028),
    ("atomic", GPCF.GPCF_EABT, 0, 0x7A05_0028),
    ("atomic", GPCF.GPCF_Fail, 0, 0x9600_0028),
    ("fetch", GPCF.GPCF_Walk, 0, 0x7A11_0028),
    ("fetch", GPCF.GPCF_EABT, 1, 0x7A15_4028),
    ("fetch", GPCF.GPCF_Fail, 1, 0x8600_0028),
]


@pytest.mark.parametrize(("kind", "gpf", "level", "expected"), GPC_CASES)
def test_gpc_faults_on_the_output_address(kind: str, gpf: GPCF, level: int, expected: int) -> None:
    fault = FaultRecord.none(ACCESSES[kind]).with_(
        Fault.Fault_GPCFOnOutput, gpcf=GPCFRecord(gpf, level), paddress=PA, level=1
    )
    exception = AArch64_Abort(VA, fault)
    assert f"{esr(exception):#x}" == f"{expected:#x}"
    assert (exception.syndrome.el, exception.syndrome.vector, exception.far) == (EL.EL3, 0x200, VA)
    # MFAR_EL3 is written by a GPC exception only, and UNKNOWN after an abort to EL3.
    assert exception.mfar == (None if gpf is GPCF.GPCF_Fail else MFAR)
    # WnR is UNKNOWN for an atomic that met an external abort; nothing else is.
    assert unknown(exception) == (WNR if kind == "atomic" and gpf is GPCF.GPCF_EABT else 0)


# On a walk the xFSC is 1001LL with the stage-1 level, WnR is still that of the access.
@pytest.mark.parametrize(
    ("kind", "gpf", "s1_level", "expected"),
    [
        ("load", GPCF.GPCF_Walk, 0, 0x7A01_0024),
        ("store", GPCF.GPCF_Walk, 1, 0x7A01_0065),
        ("atomic", GPCF.GPCF_Walk, 2, 0x7A01_0026),
        ("fetch", GPCF.GPCF_AddressSize, 3, 0x7A10_0027),
        ("load", GPCF.GPCF_EABT, -1, 0x7A05_0023),
        ("load", GPCF.GPCF_Fail, 0, 0x9600_0024),
        ("store", GPCF.GPCF_Fail, 1, 0x9600_0065),
        ("fetch", GPCF.GPCF_Fail, 3, 0x8600_0027),
    ],
)
def test_gpc_faults_on_a_walk(kind: str, gpf: GPCF, s1_level: int, expected: int) -> None:
    fault = FaultRecord.none(ACCESSES[kind]).with_(
        Fault.Fault_GPCFOnWalk, gpcf=GPCFRecord(gpf, 0), paddress=PA, level=s1_level
    )
    assert f"{esr(AArch64_Abort(VA, fault)):#x}" == f"{expected:#x}"


# Aborts without a GPC fault; UNKNOWN or reported by the implementation: EA, and for 0b010000 alone SET.
@pytest.mark.parametrize(
    ("kind", "fault", "level", "expected", "not_compared", "far"),
    [
        ("load", Fault.Fault_Translation, 0, 0x9600_0004, 0, VA),
        ("store", Fault.Fault_Translation, 1, 0x9600_0045, 0, VA),
        ("fetch", Fault.Fault_Permission, 1, 0x8600_000D, 0, VA),
        ("load", Fault.Fault_AccessFlag, 2, 0x9600_000A, 0, VA),
        ("load", Fault.Fault_AddressSize, 0, 0x9600_0000, 0, VA),
        ("load", Fault.Fault_SyncExternal, 0, 0x9600_0010, SET | EA, VA),
        ("store", Fault.Fault_SyncExternal, 0, 0x9600_0050, SET | EA, VA),
        ("atomic", Fault.Fault_SyncExternal, 0, 0x9600_0010, SET | EA | WNR, VA),
        ("fetch", Fault.Fault_SyncExternal, 0, 0x8600_0010, SET | EA, VA),
        ("load", Fault.Fault_SyncExternalOnWalk, 1, 0x9600_0015, EA, VA),
        ("atomic", Fault.Fault_SyncExternalOnWalk, 1, 0x9600_0015, EA | WNR, VA),
        ("fetch", Fault.Fault_SyncExternalOnWalk, 3, 0x8600_0017, EA, VA),
    ],
)
def test_other_aborts(kind: str, fault: Fault, level: int, expected: int, not_compared: int, far: int | None) -> None:
    exception = AArch64_Abort(VA, FaultRecord.none(ACCESSES[kind]).with_(fault, level=level))
    assert f"{esr(exception):#x}" == f"{expected:#x}"
    assert f"{unknown(exception):#x}" == f"{not_compared:#x}"
    assert (exception.far, exception.mfar) == (far, None)


def test_an_external_abort_without_a_valid_far() -> None:
    # FnV is bit 10: FAR is UNKNOWN with it, and nothing else changes.
    abort = AArch64_Abort(VA, FaultRecord.none(ACCESSES["store"]).with_(Fault.Fault_SyncExternal))
    without = WithoutFAR(abort)
    assert (f"{esr(without):#x}", without.far, without.mfar) == ("0x96000450", None, None)
    assert unknown(without) == unknown(abort) == SET | EA


@pytest.mark.parametrize("ease", [0, 1])
def test_external_aborts_take_the_serror_vector_with_ease(ease: int) -> None:
    """AArch64_RouteToSErrorOffset: SCR_EL3.EASE moves synchronous external aborts, and nothing else, by 0x180."""
    pe = PEContext(scr=SCR_EL3.of(NSE=1, EASE=ease))
    load, eabt = FaultRecord.none(ACCESSES["load"]), GPCFRecord(GPCF.GPCF_EABT, 0)
    external = [
        load.with_(Fault.Fault_SyncExternal),
        load.with_(Fault.Fault_SyncExternalOnWalk),
        load.with_(Fault.Fault_GPCFOnOutput, gpcf=eabt, paddress=PA),
        load.with_(Fault.Fault_GPCFOnWalk, gpcf=eabt, paddress=PA),
    ]
    others = [
        load.with_(Fault.Fault_Translation),
        load.with_(Fault.Fault_GPCFOnOutput, gpcf=GPCFRecord(GPCF.GPCF_Walk, 0), paddress=PA),
        load.with_(Fault.Fault_GPCFOnOutput, gpcf=GPCFRecord(GPCF.GPCF_Fail, 0), paddress=PA),
    ]
    assert {AArch64_Abort(VA, fault, pe).syndrome.vector for fault in external} == {0x380 if ease else 0x200}
    assert {AArch64_Abort(VA, fault, pe).syndrome.vector for fault in others} == {0x200}


# AArch64_ReportException: faultaddr[63:62] is 00 Secure, 10 Non-secure, 01 Root, 11 Realm; [11:0] is zero.
@pytest.mark.parametrize(
    ("pas", "expected"),
    [
        (PASpace.PAS_Secure, 0x0000_0008_7654_3000),
        (PASpace.PAS_NonSecure, 0x8000_0008_7654_3000),
        (PASpace.PAS_Root, 0x4000_0008_7654_3000),
        (PASpace.PAS_Realm, 0xC000_0008_7654_3000),
    ],
)
def test_mfar(pas: PASpace, expected: int) -> None:
    assert f"{encode_mfar(FullAddress(pas, 0x8_7654_3FFF)):#x}" == f"{expected:#x}"


def test_mfar_holds_56_address_bits() -> None:
    assert encode_mfar(FullAddress(PASpace.PAS_Secure, 2**56 - 1)) == 0x00FF_FFFF_FFFF_F000


def test_misuse_is_named() -> None:
    load = FaultRecord.none(ACCESSES["load"])
    with pytest.raises(ValueError, match="no fault to encode"):
        EncodeLDFSC(Fault.Fault_None, 0)
    with pytest.raises(ValueError, match="no GPC fault to encode"):
        EncodeGPCSC(GPC_NO_FAULT)
    with pytest.raises(ValueError, match="no GPC fault to report"):
        ReportAsGPCException(load, el=EL.EL3, scr_gpf=False)
    with pytest.raises(ValueError, match="carries the physical address that met it"):
        AArch64_Abort(VA, load.with_(Fault.Fault_GPCFOnOutput, gpcf=GPCFRecord(GPCF.GPCF_Walk, 0)))
