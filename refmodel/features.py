"""Features and IMPLEMENTATION DEFINED sizes of a PE, as parameters of the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from refmodel.bits import Slice

_PARANGE = {0: 32, 1: 36, 2: 40, 3: 42, 4: 44, 5: 48, 6: 52, 7: 56}
_GRANULES = {12: (31, 28, 43, 40), 14: (23, 20, 35, 32), 16: (27, 24, 39, 36)}
"""log2 of a granule's bytes to its stage 1 field and its stage 2 field in ID_AA64MMFR0_EL1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What the PE implements, as far as the model asks.

    ``pamax``: implemented physical address size in bits (``AArch64_PAMax``); ``sel2``: FEAT_SEL2; ``lse``: FEAT_LSE;
    ``ras``: FEAT_RAS; ``lpa2``: 52-bit output addresses with the 4 KB translation granule; ``rme``: RME field of
    ID_AA64PFR0_EL1 (1 base, 2 adds GPC2, 3 adds GPC3); ``granules``: translation granules of stage 1 or stage 2, as
    log2 of bytes; ``vhe``: FEAT_VHE; ``doublefault2``: FEAT_DoubleFault2; ``lva``: FEAT_LVA; ``pan3``: FEAT_PAN3;
    ``e0pd``: FEAT_E0PD; ``hpds``: FEAT_HPDS; ``xnx``: FEAT_XNX; ``ttst``: FEAT_TTST; ``mte2``: FEAT_MTE2;
    ``mec``: FEAT_MEC.
    """

    rme: int = 1
    pamax: int = 48
    sel2: bool = True
    lse: bool = True
    ras: bool = True
    lpa2: bool = False
    granules: frozenset[int] = frozenset({12, 14, 16})
    vhe: bool = True
    doublefault2: bool = False
    lva: bool = False
    pan3: bool = True
    e0pd: bool = True
    hpds: bool = True
    xnx: bool = True
    ttst: bool = True
    mte2: bool = False
    mec: bool = False

    @property
    def gpc2(self) -> bool:
        """FEAT_RME_GPC2."""
        return self.rme >= 2

    @property
    def gpc3(self) -> bool:
        """FEAT_RME_GPC3."""
        return self.rme >= 3

    @property
    def named(self) -> Mapping[str, bool]:
        """Features by the architecture's names, as rules cite them, and whether the PE has them."""
        return {
            "FEAT_RME": self.rme >= 1,
            "FEAT_RME_GPC2": self.gpc2,
            "FEAT_RME_GPC3": self.gpc3,
            "FEAT_SEL2": self.sel2,
            "FEAT_LSE": self.lse,
            "FEAT_RAS": self.ras,
            "FEAT_VHE": self.vhe,
            "FEAT_DoubleFault2": self.doublefault2,
            "FEAT_LVA": self.lva,
            "FEAT_PAN3": self.pan3,
            "FEAT_E0PD": self.e0pd,
            "FEAT_HPDS": self.hpds,
            "FEAT_XNX": self.xnx,
            "FEAT_TTST": self.ttst,
            "FEAT_MTE2": self.mte2,
            "FEAT_MEC": self.mec,
        }

    @classmethod
    def from_id_registers(cls, registers: Mapping[str, int]) -> Features:
        """Features as the ID registers report them; KeyError names a register that was not read.

        ID_AA64PFR1_EL1, ID_AA64MMFR1_EL1, ID_AA64MMFR2_EL1 and ID_AA64MMFR3_EL1 may be left out: what they report
        then has its default.

        Source: DDI 0487, ID_AA64PFR0_EL1 (RME [55:52], SEL2 [39:36], RAS [31:28]), ID_AA64MMFR0_EL1 (PARange [3:0],
        TGran4 [31:28], TGran4 = 1 means 52 bits, the other TGran fields), ID_AA64ISAR0_EL1 (Atomic [23:20]),
        ID_AA64PFR1_EL1 (DF2 [59:56], MTE [11:8]), ID_AA64MMFR1_EL1 (XNX [31:28], PAN [23:20], HPDS [15:12], VH [11:8]),
        ID_AA64MMFR2_EL1 (E0PD [63:60], ST [31:28], VARange [19:16]), ID_AA64MMFR3_EL1 (MEC [31:28]).
        """
        pfr0, mmfr0 = registers["ID_AA64PFR0_EL1"], registers["ID_AA64MMFR0_EL1"]
        pfr1, mmfr1 = registers.get("ID_AA64PFR1_EL1"), registers.get("ID_AA64MMFR1_EL1")
        mmfr2, mmfr3 = registers.get("ID_AA64MMFR2_EL1"), registers.get("ID_AA64MMFR3_EL1")
        return cls(
            rme=Slice(pfr0, 55, 52),
            pamax=_PARANGE[Slice(mmfr0, 3, 0) & 7],
            sel2=Slice(pfr0, 39, 36) != 0,
            lse=Slice(registers["ID_AA64ISAR0_EL1"], 23, 20) >= 2,
            ras=Slice(pfr0, 31, 28) != 0,
            lpa2=Slice(mmfr0, 31, 28) == 1,
            granules=frozenset(bits for bits in _GRANULES if _has_granule(mmfr0, bits)),
            vhe=cls().vhe if mmfr1 is None else Slice(mmfr1, 11, 8) != 0,
            doublefault2=cls().doublefault2 if pfr1 is None else Slice(pfr1, 59, 56) != 0,
            lva=cls().lva if mmfr2 is None else Slice(mmfr2, 19, 16) != 0,
            pan3=cls().pan3 if mmfr1 is None else Slice(mmfr1, 23, 20) >= 3,
            e0pd=cls().e0pd if mmfr2 is None else Slice(mmfr2, 63, 60) != 0,
            hpds=cls().hpds if mmfr1 is None else Slice(mmfr1, 15, 12) != 0,
            xnx=cls().xnx if mmfr1 is None else Slice(mmfr1, 31, 28) != 0,
            ttst=cls().ttst if mmfr2 is None else Slice(mmfr2, 31, 28) != 0,
            mte2=cls().mte2 if pfr1 is None else Slice(pfr1, 11, 8) >= 2,
            mec=cls().mec if mmfr3 is None else Slice(mmfr3, 31, 28) != 0,
        )

    def mismatches(self, registers: Mapping[str, int]) -> tuple[str, ...]:
        """How these (declared) features differ from what the ID registers report: one sentence a feature.

        KeyError names a register that was not read.
        """
        reported = Features.from_id_registers(registers)
        return tuple(
            f"{field.name} is declared as {getattr(self, field.name)!r}, "
            f"the ID registers report {getattr(reported, field.name)!r}"
            for field in fields(Features)
            if getattr(self, field.name) != getattr(reported, field.name)
        )


def _has_granule(mmfr0: int, bits: int) -> bool:
    """Whether a granule is supported at stage 1 or at stage 2 (DDI 0487, ID_AA64MMFR0_EL1.TGran* and TGran*_2).

    The stage 1 fields of 4 KB and 64 KB are signed with 0b1111 for "not supported", that of 16 KB has 0b0000 for it;
    a stage 2 field of 0b0000 repeats stage 1 and 0b0001 is "not supported".
    """
    first_msb, first_lsb, second_msb, second_lsb = _GRANULES[bits]
    stage_1 = Slice(mmfr0, first_msb, first_lsb) != (0b0000 if bits == 14 else 0b1111)
    return stage_1 or Slice(mmfr0, second_msb, second_lsb) > 1
