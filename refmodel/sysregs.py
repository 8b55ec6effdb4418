"""The system registers that the model reads, laid out as in the register descriptions of DDI 0487."""

from __future__ import annotations

from refmodel.registers import Bits, Register

_CACHE = {0: "Non-cacheable", 1: "WB RAWA", 2: "WT RA", 3: "WB RA"}


class GPCCR_EL3(Register, encoding=(3, 6, 2, 1, 6)):
    """Granule Protection Check Control Register (EL3), base FEAT_RME fields."""

    L0GPTSZ = Bits(23, 20, {0: "1GB", 4: "16GB", 6: "64GB", 9: "512GB"})
    GPCP = Bits(17, names={0: "all GPC faults reported", 1: "stage-2 table fetch faults may be left out"})
    GPC = Bits(16, names={0: "disabled", 1: "enabled"})
    PGS = Bits(15, 14, {0: "4KB", 1: "64KB", 2: "16KB", 3: "reserved"})
    SH = Bits(13, 12, {0: "Non-shareable", 1: "reserved", 2: "Outer", 3: "Inner"})
    ORGN = Bits(11, 10, _CACHE)
    IRGN = Bits(9, 8, _CACHE)
    PPS = Bits(2, 0, {0: "4GB", 1: "64GB", 2: "1TB", 3: "4TB", 4: "16TB", 5: "256TB", 6: "4PB", 7: "reserved"})


class GPTBR_EL3(Register, encoding=(3, 6, 2, 1, 4)):
    """Granule Protection Table Base Register: BADDR is bits [51:12] of the level 0 table's address."""

    BADDR = Bits(39, 0)


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
    """Secure Configuration Register, the fields that concern worlds and granule protection faults."""

    NSE = Bits(62)
    GPF = Bits(48)
    EASE = Bits(19)
    EEL2 = Bits(18)
    EA = Bits(3)
    NS = Bits(0)


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


REGISTERS: tuple[type[Register], ...] = (GPCCR_EL3, GPTBR_EL3, MFAR_EL3, ESR_EL3, SCR_EL3, TTBR0_EL3, TCR_EL3)
