"""Registers of FEAT_MEC and cache maintenance to the points of encryption and aliasing: who may use them.

Source: DDI 0487, register descriptions of MECIDR_EL2, MECID_P0_EL2, MECID_A0_EL2, MECID_P1_EL2, MECID_A1_EL2,
VMECID_P_EL2, VMECID_A_EL2, MECID_RL_A_EL3, SCR_EL3 (MECEn), SCTLR2_EL2 and SCTLR2_EL3 (EMEC), TCR2_EL2 (AMEC0, AMEC1),
and the descriptions of DC CIPAE, CIGDPAE, CIPAPA and CIGDPAPA.  Nested virtualization and the fine-grained write traps
of FEAT_FGWTE3 are not modelled.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from refmodel.bits import Ones
from refmodel.pas import EL, SecurityState
from refmodel.registers import Bits, Register

DEFAULT_MECID: Final = 0
"""The context of every access that names no other."""


class MECIDR_EL2(Register, encoding=(3, 4, 10, 8, 7)):
    """MEC Identification Register, read-only."""

    MECIDWidthm1 = Bits(3, 0)

    @property
    def width(self) -> int:
        """Bits of a MECID that are implemented."""
        return self.MECIDWidthm1 + 1


class MECIDHolder(Register):
    """A register that holds one MECID; bits above the implemented width are RES0."""

    MECID = Bits(15, 0)


class MECID_P0_EL2(MECIDHolder, encoding=(3, 4, 10, 8, 0)):
    """Primary MECID of accesses by TTBR0_EL2."""


class MECID_A0_EL2(MECIDHolder, encoding=(3, 4, 10, 8, 1)):
    """Alternate MECID of accesses by TTBR0_EL2."""


class MECID_P1_EL2(MECIDHolder, encoding=(3, 4, 10, 8, 2)):
    """Primary MECID of accesses by TTBR1_EL2."""


class MECID_A1_EL2(MECIDHolder, encoding=(3, 4, 10, 8, 3)):
    """Alternate MECID of accesses by TTBR1_EL2."""


class VMECID_P_EL2(MECIDHolder, encoding=(3, 4, 10, 9, 0)):
    """Primary MECID of the EL1&0 regime."""


class VMECID_A_EL2(MECIDHolder, encoding=(3, 4, 10, 9, 1)):
    """Alternate MECID of the EL1&0 regime's stage 2."""


class MECID_RL_A_EL3(MECIDHolder, encoding=(3, 6, 10, 10, 1)):
    """MECID of EL3's accesses to the Realm physical address space."""


class SCTLR2_EL2_EMEC(Register, encoding=(3, 4, 1, 0, 3)):
    """SCTLR2_EL2, the field of FEAT_MEC."""

    EMEC = Bits(1)


class SCTLR2_EL3(Register, encoding=(3, 6, 1, 0, 3)):
    """SCTLR2_EL3, the field of FEAT_MEC."""

    EMEC = Bits(1)


class TCR2_EL2(Register, encoding=(3, 4, 2, 0, 3)):
    """TCR2_EL2, the fields of FEAT_MEC."""

    AMEC1 = Bits(13)
    AMEC0 = Bits(12)


class SCR_EL3_MEC(Register, encoding=(3, 6, 1, 1, 0)):
    """SCR_EL3, the fields that FEAT_MEC's registers depend on."""

    MECEn = Bits(49)
    SCTLR2En = Bits(44)
    TCR2En = Bits(43)


EL2_HOLDERS: Final[tuple[type[MECIDHolder], ...]] = (
    MECID_P0_EL2, MECID_A0_EL2, MECID_P1_EL2, MECID_A1_EL2, VMECID_P_EL2, VMECID_A_EL2,
)  # fmt: skip
HOLDERS: Final[tuple[type[MECIDHolder], ...]] = (*EL2_HOLDERS, MECID_RL_A_EL3)
MEC_REGISTERS: Final[tuple[type[Register], ...]] = (MECIDR_EL2, *HOLDERS)
CONTROLS: Final[tuple[type[Register], ...]] = (SCTLR2_EL2_EMEC, SCTLR2_EL3, TCR2_EL2)


class Maintenance(Enum):
    """Cache maintenance by PA that FEAT_MEC defines or depends on; the value is op0, op1, CRn, CRm, op2."""

    CIPAE = (1, 4, 7, 14, 0)
    CIGDPAE = (1, 4, 7, 14, 7)
    CIPAPA = (1, 6, 7, 14, 1)
    CIGDPAPA = (1, 6, 7, 14, 5)

    @property
    def to_poe(self) -> bool:
        """Whether it works to the Point of Encryption, not to that of Physical Aliasing."""
        return self in (Maintenance.CIPAE, Maintenance.CIGDPAE)

    @property
    def tags(self) -> bool:
        """Whether it also works on allocation tags, for which FEAT_MTE2 is needed."""
        return self in (Maintenance.CIGDPAE, Maintenance.CIGDPAPA)


class Accessed(Enum):
    """What becomes of a system instruction."""

    PERFORMED = "performed"
    UNDEFINED = "UNDEFINED"
    TRAPPED = "trapped to EL3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """The PE that executes an instruction: its level, its state, and what SCR_EL3.MECEn says."""

    el: EL
    state: SecurityState
    mecen: int = 0


def stored(value: int, width: int) -> int:
    """What a register that holds a MECID of ``width`` bits reads after ``value`` was written: bits above are RES0."""
    return value & Ones(width)


def IdentificationAccess(where: Where, *, write: bool) -> Accessed:
    """An access to MECIDR_EL2: read at EL2 of every state and at EL3, never written; SCR_EL3.MECEn does not matter."""
    if write or where.el in (EL.EL0, EL.EL1):
        return Accessed.UNDEFINED
    return Accessed.PERFORMED


def EL2HolderAccess(where: Where) -> Accessed:
    """An access to MECID_*_EL2 or VMECID_*_EL2: at EL2 only in Realm state, and there only with SCR_EL3.MECEn."""
    match where.el:
        case EL.EL0 | EL.EL1:
            return Accessed.UNDEFINED
        case EL.EL2:
            if where.state is not SecurityState.SS_Realm:
                return Accessed.UNDEFINED
            return Accessed.PERFORMED if where.mecen else Accessed.TRAPPED
        case EL.EL3:
            return Accessed.PERFORMED


def EL3HolderAccess(where: Where) -> Accessed:
    """An access to MECID_RL_A_EL3: at EL3 only."""
    return Accessed.PERFORMED if where.el is EL.EL3 else Accessed.UNDEFINED


def RegisterAccess(register: type[Register], where: Where, *, write: bool) -> Accessed:
    """What becomes of an MRS, or MSR with ``write``, of a register of FEAT_MEC; ValueError for any other."""
    if register is MECIDR_EL2:
        return IdentificationAccess(where, write=write)
    if register is MECID_RL_A_EL3:
        return EL3HolderAccess(where)
    if register in EL2_HOLDERS:
        return EL2HolderAccess(where)
    raise ValueError(f"{register.__name__} is no register of FEAT_MEC")


def MaintenanceAccess(operation: Maintenance, where: Where) -> Accessed:
    """What becomes of a DC by PA: to the PoE at Realm EL2 and EL3, to the PoPA at EL3, whatever SCR_EL3.MECEn says."""
    realm_el2 = where.el is EL.EL2 and where.state is SecurityState.SS_Realm
    permitted = where.el is EL.EL3 or (operation.to_poe and realm_el2)
    return Accessed.PERFORMED if permitted else Accessed.UNDEFINED


EC_UNKNOWN: Final = 0x00
EC_SYSTEM_REGISTER: Final = 0x18
RT: Final = Ones(5) << 5
"""Rt in the ISS of a trapped access: which register the code uses, not the architecture's to say."""


def trap_iss(encoding: tuple[int, int, int, int, int], *, write: bool) -> int:
    """ISS of a trapped MRS or MSR, with Rt zero.

    Source: DDI 0487, ESR_ELx, "ISS encoding for an exception from MSR, MRS, or System instruction execution in AArch64
    state": Op0 [21:20], Op2 [19:17], Op1 [16:14], CRn [13:10], Rt [9:5], CRm [4:1], Direction [0] (1 is a read).
    """
    op0, op1, crn, crm, op2 = encoding
    return op0 << 20 | op2 << 17 | op1 << 14 | crn << 10 | crm << 1 | (not write)


def undefined_target(el: EL) -> EL:
    """Where an UNDEFINED instruction is taken: to its own level, from EL0 to EL1 (HCR_EL2.TGE is 0)."""
    return EL.EL1 if el is EL.EL0 else el
