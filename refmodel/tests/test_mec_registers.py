"""FEAT_MEC's registers: values written by hand from the register descriptions."""

from __future__ import annotations

import pytest

from refmodel.mec.registers import (
    EL2_HOLDERS,
    HOLDERS,
    MEC_REGISTERS,
    MECID_P0_EL2,
    MECID_RL_A_EL3,
    MECIDR_EL2,
    VMECID_A_EL2,
    Accessed,
    Maintenance,
    MaintenanceAccess,
    RegisterAccess,
    Where,
    stored,
    trap_iss,
    undefined_target,
)
from refmodel.pas import EL, SecurityState
from refmodel.registers import Register
from refmodel.sysregs import SCR_EL3

REALM, SECURE, NON_SECURE, ROOT = (
    SecurityState.SS_Realm, SecurityState.SS_Secure, SecurityState.SS_NonSecure, SecurityState.SS_Root,
)  # fmt: skip
DONE, UNDEFINED, TRAPPED = Accessed.PERFORMED, Accessed.UNDEFINED, Accessed.TRAPPED


def at(el: EL, state: SecurityState, mecen: int = 1) -> Where:
    return Where(el=el, state=state, mecen=mecen)


def test_encodings() -> None:
    """As the assembler's tests have them: MRS x0, MECIDR_EL2 is d53ca8e0, MECID_RL_A_EL3 is S3_6_C10_C10_1."""
    assert MECIDR_EL2.encoding == (3, 4, 10, 8, 7)
    assert [register.encoding for register in HOLDERS] == [
        (3, 4, 10, 8, 0), (3, 4, 10, 8, 1), (3, 4, 10, 8, 2), (3, 4, 10, 8, 3), (3, 4, 10, 9, 0), (3, 4, 10, 9, 1),
        (3, 6, 10, 10, 1),
    ]  # fmt: skip


def test_width() -> None:
    """MECIDWidthm1 = 0b1111 is 16 bits; bits above the width are RES0."""
    assert MECIDR_EL2(15).width == 16 and MECIDR_EL2(0).width == 1
    assert stored(0xFFFF_FFFF_FFFF_FFFF, 16) == 0xFFFF
    assert stored(0xABCD, 8) == 0xCD and stored(0xABCD, 1) == 1


@pytest.mark.parametrize("state", [REALM, SECURE, NON_SECURE])
@pytest.mark.parametrize("mecen", [0, 1])
def test_identification(state: SecurityState, mecen: int) -> None:
    assert RegisterAccess(MECIDR_EL2, at(EL.EL2, state, mecen), write=False) is DONE
    assert RegisterAccess(MECIDR_EL2, at(EL.EL2, state, mecen), write=True) is UNDEFINED
    assert RegisterAccess(MECIDR_EL2, at(EL.EL1, state, mecen), write=False) is UNDEFINED
    assert RegisterAccess(MECIDR_EL2, at(EL.EL3, ROOT, mecen), write=True) is UNDEFINED


@pytest.mark.parametrize("register", EL2_HOLDERS)
@pytest.mark.parametrize("write", [False, True])
def test_el2_holders(register: type[Register], write: bool) -> None:
    """MECID_P0_EL2 and its like: "if !IsCurrentSecurityState(SS_Realm) then UNDEFINED", before the trap by MECEn."""
    cases = {
        (EL.EL0, REALM, 1): UNDEFINED, (EL.EL1, REALM, 1): UNDEFINED, (EL.EL1, REALM, 0): UNDEFINED,
        (EL.EL2, REALM, 1): DONE, (EL.EL2, REALM, 0): TRAPPED,
        (EL.EL2, NON_SECURE, 1): UNDEFINED, (EL.EL2, NON_SECURE, 0): UNDEFINED,
        (EL.EL2, SECURE, 1): UNDEFINED, (EL.EL2, SECURE, 0): UNDEFINED,
        (EL.EL3, ROOT, 0): DONE, (EL.EL3, ROOT, 1): DONE,
    }  # fmt: skip
    for (el, state, mecen), wanted in cases.items():
        assert RegisterAccess(register, at(el, state, mecen), write=write) is wanted


def test_el3_holder() -> None:
    for el, state in ((EL.EL0, REALM), (EL.EL1, REALM), (EL.EL2, REALM), (EL.EL2, NON_SECURE)):
        assert RegisterAccess(MECID_RL_A_EL3, at(el, state), write=False) is UNDEFINED
    assert RegisterAccess(MECID_RL_A_EL3, at(EL.EL3, ROOT, 0), write=True) is DONE


def test_another_register() -> None:
    with pytest.raises(ValueError, match="SCR_EL3 is no register of FEAT_MEC"):
        RegisterAccess(SCR_EL3, at(EL.EL3, ROOT), write=False)


def test_maintenance() -> None:
    """DC CIPAE: UNDEFINED at EL0 and EL1, at EL2 outside Realm state; DC CIPAPA: UNDEFINED below EL3."""
    for operation in (Maintenance.CIPAE, Maintenance.CIGDPAE):
        assert MaintenanceAccess(operation, at(EL.EL2, REALM, 0)) is DONE
        assert MaintenanceAccess(operation, at(EL.EL3, ROOT)) is DONE
        for el, state in ((EL.EL2, NON_SECURE), (EL.EL2, SECURE), (EL.EL1, REALM), (EL.EL0, REALM)):
            assert MaintenanceAccess(operation, at(el, state)) is UNDEFINED
    for operation in (Maintenance.CIPAPA, Maintenance.CIGDPAPA):
        assert MaintenanceAccess(operation, at(EL.EL3, ROOT)) is DONE
        assert MaintenanceAccess(operation, at(EL.EL2, REALM)) is UNDEFINED
    assert [m.tags for m in Maintenance] == [False, True, False, True]


def test_syndromes() -> None:
    """Op0 3, Op2, Op1 4, CRn 10, CRm 8 or 9, Direction 1 for a read; each field in its place."""
    assert MECID_P0_EL2.encoding and VMECID_A_EL2.encoding
    assert trap_iss(MECID_P0_EL2.encoding, write=False) == 0x300000 | 4 << 14 | 10 << 10 | 8 << 1 | 1
    assert trap_iss(VMECID_A_EL2.encoding, write=True) == 0x300000 | 1 << 17 | 4 << 14 | 10 << 10 | 9 << 1
    assert [undefined_target(el) for el in EL] == [EL.EL1, EL.EL1, EL.EL2, EL.EL3]


def test_names() -> None:
    assert len(MEC_REGISTERS) == 8
