"""Features and IMPLEMENTATION DEFINED sizes of a PE, as parameters of the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from refmodel.bits import Slice

_PARANGE = {0: 32, 1: 36, 2: 40, 3: 42, 4: 44, 5: 48, 6: 52, 7: 56}


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What the PE implements, as far as the model asks.

    ``pamax``: implemented physical address size in bits (``AArch64_PAMax``); ``sel2``: FEAT_SEL2; ``lse``: FEAT_LSE;
    ``ras``: FEAT_RAS; ``lpa2``: 52-bit output addresses with the 4 KB translation granule; ``rme``: RME field of
    ID_AA64PFR0_EL1 (1 base, 2 adds GPC2, 3 adds GPC3).
    """

    rme: int = 1
    pamax: int = 48
    sel2: bool = True
    lse: bool = True
    ras: bool = True
    lpa2: bool = False

    @classmethod
    def from_id_registers(cls, registers: Mapping[str, int]) -> Features:
        """Features as the ID registers report them; KeyError names a register that was not read.

        Source: DDI 0487, ID_AA64PFR0_EL1 (RME [55:52], SEL2 [39:36], RAS [31:28]), ID_AA64MMFR0_EL1 (PARange [3:0],
        TGran4 [31:28], TGran4 = 1 means 52 bits), ID_AA64ISAR0_EL1 (Atomic [23:20]).
        """
        pfr0, mmfr0 = registers["ID_AA64PFR0_EL1"], registers["ID_AA64MMFR0_EL1"]
        return cls(
            rme=Slice(pfr0, 55, 52),
            pamax=_PARANGE[Slice(mmfr0, 3, 0) & 7],
            sel2=Slice(pfr0, 39, 36) != 0,
            lse=Slice(registers["ID_AA64ISAR0_EL1"], 23, 20) >= 2,
            ras=Slice(pfr0, 31, 28) != 0,
            lpa2=Slice(mmfr0, 31, 28) == 1,
        )
