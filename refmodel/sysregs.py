"""The system registers that the model reads, laid out as in the register descriptions of DDI 0487."""

from __future__ import annotations

from refmodel.registers import Bits, Register

_CACHE = {0: "Non-cacheable", 1: "WB RAWA", 2: "WT RA", 3: "WB RA"}


class GPCCR_EL3(Register, encoding=(3, 6, 2, 1, 6)):
    """Granule Protection Check Control Register (EL3).

    APPSAA, NSO and the space disables are fields with FEAT_RME_GPC2, GPCBW and PPS3 with FEAT_RME_GPC3; without the
    feature they are RES0.  Fields of FEAT_RME_GDI and of the trace buffer are not modelled.
    """

    GPCBW = Bits(29, names={0: "no bypass windows", 1: "bypass windows enabled"})
    APPSAA = Bits(24, names={0: "above PPS Non-secure only", 1: "above PPS all accesses"})
    L0GPTSZ = Bits(23, 20, {0: "1GB", 4: "16GB", 6: "64GB", 9: "512GB"})
    NSO = Bits(19, names={0: "GPI 0b1101 reserved", 1: "GPI 0b1101 is Non-secure only"})
    GPCP = Bits(17, names={0: "all GPC faults reported", 1: "stage-2 table fetch faults may be left out"})
    GPC = Bits(16, names={0: "disabled", 1: "enabled"})
    PGS = Bits(15, 14, {0: "4KB", 1: "64KB", 2: "16KB", 3: "reserved"})
    SH = Bits(13, 12, {0: "Non-shareable", 1: "reserved", 2: "Outer", 3: "Inner"})
    ORGN = Bits(11, 10, _CACHE)
    IRGN = Bits(9, 8, _CACHE)
    SPAD = Bits(7, names={1: "Secure PAS disabled"})
    NSPAD = Bits(6, names={1: "Non-secure PAS disabled"})
    RLPAD = Bits(5, names={1: "Realm PAS disabled"})
    PPS3 = Bits(3)
    PPS = Bits(2, 0, {0: "4GB", 1: "64GB", 2: "1TB", 3: "4TB", 4: "16TB", 5: "256TB", 6: "4PB", 7: "reserved"})


class GPTBR_EL3(Register, encoding=(3, 6, 2, 1, 4)):
    """Granule Protection Table Base Register: BADDR is bits [51:12] of the level 0 table's address.

    BADDR_55_52, bits [55:52] of the address, is a field with FEAT_RME_GPC3 and RES0 without it.
    """

    BADDR_55_52 = Bits(43, 40)
    BADDR = Bits(39, 0)


class GPCBW_EL3(Register, encoding=(3, 6, 2, 1, 5)):
    """Granule Protection Check Bypass Window Register (FEAT_RME_GPC3); BWADDR is bits [55:30] of the first window.

    The meanings of BWSIZE 0b011 and 0b100 differ between issues of the register description, see
    ``gpt/bypass.py``.
    """

    BWSIZE = Bits(39, 37, {0b000: "1GB", 0b001: "2GB", 0b010: "4GB", 0b100: "16GB", 0b110: "64GB"})
    BWSTRIDE = Bits(
        36,
        32,
        {
            0b00000: "1TB",
            0b00010: "4TB",
            0b00100: "16TB",
            0b00110: "64TB",
            0b00111: "128TB",
            0b01000: "256TB",
            0b01001: "512TB",
            0b01010: "1PB",
            0b10000: "no stride",
        },
    )
    BWADDR = Bits(25, 0)


class MFAR_EL3(Register, encoding=(3, 6, 6, 0, 5)):
    """PA Fault Address Register (EL3): PAS and page of an access that took a GPC exception."""

    NS = Bits(63)
    NSE = Bits(62)
    FPA = Bits(55, 12)


class ESR_EL3(Register, encoding=(3, 6, 5, 2, 0)):
    """Exception Syndrome Register; ISS is decoded by ``faults.describe_iss``."""

    ISS2 = Bits(55, 32)
    EC = Bits(31, 26)
    IL = Bits(25)
    ISS = Bits(24, 0)


class SCR_EL3(Register, encoding=(3, 6, 1, 1, 0)):
    """Secure Configuration Register, the fields that concern worlds, aborts and translation."""

    NSE = Bits(62)
    TMEA = Bits(51)
    GPF = Bits(48)
    SCTLR2En = Bits(44)
    HXEn = Bits(38)
    EASE = Bits(19)
    EEL2 = Bits(18)
    SIF = Bits(9)
    EA = Bits(3)
    NS = Bits(0)


class HCR_EL2(Register, encoding=(3, 4, 1, 1, 0)):
    """Hypervisor Configuration Register, the fields that concern regimes and the routing of aborts."""

    GPF = Bits(48)
    NV2 = Bits(45)
    NV1 = Bits(43)
    NV = Bits(42)
    TEA = Bits(37)
    E2H = Bits(34)
    TGE = Bits(27)
    DC = Bits(12)
    PTW = Bits(2)
    VM = Bits(0)


class HCRX_EL2(Register, encoding=(3, 4, 1, 2, 2)):
    """Extended Hypervisor Configuration Register, the fields that concern the routing of aborts."""

    TMEA = Bits(19)
    SCTLR2En = Bits(15)


class SCTLR2_EL1(Register, encoding=(3, 0, 1, 0, 3)):
    """System Control Register 2 (EL1), the vector of external aborts."""

    EASE = Bits(5)


class SCTLR2_EL2(Register, encoding=(3, 4, 1, 0, 3)):
    """System Control Register 2 (EL2), the vector of external aborts."""

    EASE = Bits(5)


class HPFAR_EL2(Register, encoding=(3, 4, 6, 0, 4)):
    """Hypervisor IPA Fault Address Register: FIPA is bits [55:12] of the IPA."""

    NS = Bits(63)
    FIPA = Bits(47, 4)


class PAR_EL1(Register, encoding=(3, 0, 7, 4, 0)):
    """Physical Address Register, 64-bit format, the fields that both a success and a fault use.

    Bits [9:7] mean {NS, SH} on success and {S, PTW, RES0} on a fault, bits [6:1] hold FST on a fault only.
    """

    PA = Bits(55, 12)
    NSE = Bits(11)
    S_or_NS = Bits(9)
    PTW_or_SH1 = Bits(8)
    FST = Bits(6, 1)
    F = Bits(0)


class VTCR_EL2(Register, encoding=(3, 4, 2, 1, 2)):
    """Virtualization Translation Control Register, the fields that decide faults."""

    S2PIE = Bits(36)
    SL2 = Bits(33)
    DS = Bits(32)
    NSA = Bits(30)
    NSW = Bits(29)
    HD = Bits(22)
    HA = Bits(21)
    VS = Bits(19)
    PS = Bits(18, 16)
    TG0 = Bits(15, 14, {0: "4KB", 1: "64KB", 2: "16KB"})
    SH0 = Bits(13, 12)
    ORGN0 = Bits(11, 10)
    IRGN0 = Bits(9, 8)
    SL0 = Bits(7, 6)
    T0SZ = Bits(5, 0)


class VSTCR_EL2(Register, encoding=(3, 4, 2, 6, 2)):
    """Virtualization Secure Translation Control Register."""

    SL2 = Bits(33)
    SA = Bits(30)
    SW = Bits(29)
    TG0 = Bits(15, 14, {0: "4KB", 1: "64KB", 2: "16KB"})
    SL0 = Bits(7, 6)
    T0SZ = Bits(5, 0)


class VTTBR_EL2(Register, encoding=(3, 4, 2, 1, 0)):
    """Virtualization Translation Table Base Register."""

    VMID = Bits(63, 48)
    BADDR = Bits(47, 1)
    CnP = Bits(0)


class VSTTBR_EL2(Register, encoding=(3, 4, 2, 6, 0)):
    """Virtualization Secure Translation Table Base Register: stage 2 of Secure intermediate addresses."""

    BADDR = Bits(47, 1)
    CnP = Bits(0)


class CLIDR_EL1(Register, encoding=(3, 1, 0, 0, 1)):
    """Cache Level ID Register, the levels that decide whether cache maintenance needs a translation."""

    LoUU = Bits(29, 27)
    LoC = Bits(26, 24)


class DCZID_EL0(Register, encoding=(3, 3, 0, 0, 7)):
    """Data Cache Zero ID.  Source: DDI 0487, DCZID_EL0."""

    BS = Bits(3, 0)
    """log2 of the words that DC ZVA zeroes."""
    DZP = Bits(4)

    @property
    def block_bits(self) -> int:
        """log2 of the bytes that DC ZVA zeroes."""
        return self.BS + 2


class SCTLR_EL1(Register, encoding=(3, 0, 1, 0, 0)):
    """System Control Register (EL1), the fields of stage 1 that decide faults."""

    EPAN = Bits(57)
    EE = Bits(25)
    WXN = Bits(19)
    M = Bits(0)


class SCTLR_EL2(Register, encoding=(3, 4, 1, 0, 0)):
    """System Control Register (EL2), the fields of stage 1 that decide faults."""

    EPAN = Bits(57)
    EE = Bits(25)
    WXN = Bits(19)
    M = Bits(0)


class TwoRangeTCR(Register):
    """Translation Control Register of a regime with two VA ranges: TCR_EL1, and TCR_EL2 with HCR_EL2.E2H = 1."""

    DS = Bits(59)
    E0PD1 = Bits(56)
    E0PD0 = Bits(55)
    TBID1 = Bits(52)
    TBID0 = Bits(51)
    HPD1 = Bits(42)
    HPD0 = Bits(41)
    HD = Bits(40)
    HA = Bits(39)
    TBI1 = Bits(38)
    TBI0 = Bits(37)
    IPS = Bits(34, 32)
    TG1 = Bits(31, 30, {1: "16KB", 2: "4KB", 3: "64KB"})
    EPD1 = Bits(23)
    T1SZ = Bits(21, 16)
    TG0 = Bits(15, 14, {0: "4KB", 1: "64KB", 2: "16KB"})
    EPD0 = Bits(7)
    T0SZ = Bits(5, 0)


class TCR_EL1(TwoRangeTCR, encoding=(3, 0, 2, 0, 2)):
    """Translation Control Register (EL1)."""


class TCR_EL2_E2H(TwoRangeTCR, encoding=(3, 4, 2, 0, 2)):
    """Translation Control Register (EL2) with HCR_EL2.E2H = 1."""


class TCR_EL2(Register, encoding=(3, 4, 2, 0, 2)):
    """Translation Control Register (EL2) with HCR_EL2.E2H = 0."""

    DS = Bits(32)
    TBID = Bits(29)
    HPD = Bits(24)
    HD = Bits(22)
    HA = Bits(21)
    TBI = Bits(20)
    PS = Bits(18, 16)
    TG0 = Bits(15, 14, {0: "4KB", 1: "64KB", 2: "16KB"})
    T0SZ = Bits(5, 0)


class TTBR(Register):
    """A translation table base register; bits [5:2] of the value hold address bits [51:48] when DS is 1."""

    ASID = Bits(63, 48)
    BADDR = Bits(47, 1)
    CnP = Bits(0)


class TTBR0_EL1(TTBR, encoding=(3, 0, 2, 0, 0)):
    """Translation Table Base Register 0 (EL1)."""


class TTBR1_EL1(TTBR, encoding=(3, 0, 2, 0, 1)):
    """Translation Table Base Register 1 (EL1)."""


class TTBR0_EL2(TTBR, encoding=(3, 4, 2, 0, 0)):
    """Translation Table Base Register 0 (EL2)."""


class TTBR1_EL2(TTBR, encoding=(3, 4, 2, 0, 1)):
    """Translation Table Base Register 1 (EL2), with HCR_EL2.E2H = 1."""


class TTBR0_EL3(Register, encoding=(3, 6, 2, 0, 0)):
    """Translation Table Base Register 0 (EL3), 48-bit addresses (bits [5:2] hold [51:48] when DS is 1)."""

    BADDR = Bits(47, 1)
    CnP = Bits(0)


class TCR_EL3(Register, encoding=(3, 6, 2, 0, 2)):
    """Translation Control Register (EL3), the fields that a 4 KB, table-per-level walk needs."""

    DS = Bits(32)
    PS = Bits(18, 16, {0: "32 bits", 1: "36", 2: "40", 3: "42", 4: "44", 5: "48", 6: "52"})
    TG0 = Bits(15, 14, {0: "4KB", 1: "64KB", 2: "16KB"})
    SH0 = Bits(13, 12)
    ORGN0 = Bits(11, 10)
    IRGN0 = Bits(9, 8)
    T0SZ = Bits(5, 0)


REGISTERS: tuple[type[Register], ...] = (
    GPCCR_EL3, GPTBR_EL3, GPCBW_EL3, MFAR_EL3, ESR_EL3, SCR_EL3, HCR_EL2, HCRX_EL2, SCTLR2_EL1, SCTLR2_EL2, HPFAR_EL2,
    PAR_EL1, CLIDR_EL1, SCTLR_EL1, SCTLR_EL2, TCR_EL1, TCR_EL2, TCR_EL2_E2H, TCR_EL3, TTBR0_EL1, TTBR1_EL1, TTBR0_EL2,
    TTBR1_EL2, TTBR0_EL3, VTCR_EL2, VSTCR_EL2, VTTBR_EL2, VSTTBR_EL2,
)  # fmt: skip
