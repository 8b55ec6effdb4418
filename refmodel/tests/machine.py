"""A small machine for the model's tests: memory, one GPT level 0 entry of interest, EL3 stage 1 with 1 GB blocks.

Layout, every number used by hand-written expectations:

- stage 1: level 0 table at PA 0x1_0000, level 1 tables at 0x1_1000 + 0x1000 * slot; VA[47:39] = slot names the PAS
  (0 Root, 1 Realm, 2 Secure, 3 Non-secure), VA[38:0] is the PA;
- GPT: level 0 table at PA 0x10_0000 whose entry 0 (the first GB, where all tables live) is a Block of Any, room for a
  level 1 table at PA 0x20_0000;
- RAM answers below 4 GB, nothing above.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from refmodel.access import ACCESSES, PermittedOutcomes, PEState
from refmodel.features import Features
from refmodel.gpt.cache import PossibleGPT
from refmodel.gpt.types import GPCState
from refmodel.memory import Memory, MemoryMap, Region, RegionKind
from refmodel.outcomes import Permitted
from refmodel.pas import PASpace
from refmodel.sysregs import GPCCR_EL3, GPTBR_EL3, TCR_EL3, TTBR0_EL3
from refmodel.translation.el3 import EL3Regime

STAGE_1 = 0x1_0000
GPT_L0 = 0x10_0000
GPT_L1 = 0x20_0000
GB = 1 << 30
RAM_TOP = 4 * GB
WORD = 8

SECURE, NON_SECURE = PASpace.PAS_Secure, PASpace.PAS_NonSecure
ROOT, REALM = PASpace.PAS_Root, PASpace.PAS_Realm
SLOTS = (ROOT, REALM, SECURE, NON_SECURE)
# {NSE, NS} of an EL3 stage-1 descriptor: bit 11 and bit 5.
NSE_NS = {SECURE: 0, NON_SECURE: 1 << 5, ROOT: 1 << 11, REALM: 1 << 11 | 1 << 5}

GPCCR_ON = 0x1_3502
"""GPC=1, PGS=4KB, SH=Inner, ORGN=IRGN=WB RAWA, L0GPTSZ=1GB, PPS=40 bits."""

FEATURES = Features(pamax=52, lpa2=True)


def everything_is_ram() -> Memory:
    """Sparse memory that answers at every 52-bit address."""
    return Memory(MemoryMap((Region(0, 1 << 52, RegionKind.RAM),)))


def put(memory: Memory, address: int, value: int) -> None:
    """Store a doubleword."""
    memory.write(address, value.to_bytes(WORD, "little"))


def va_of(pa: int, pas: PASpace) -> int:
    """The virtual address of ``pa`` in ``pas``."""
    return SLOTS.index(pas) << 39 | pa


@dataclass
class Machine:
    """The layout above, with registers given as raw values."""

    gpccr: int = GPCCR_ON
    gptbr: int = GPT_L0 >> 12
    features: Features = FEATURES
    memory: Memory = field(default_factory=lambda: Memory(MemoryMap((Region(0, RAM_TOP, RegionKind.RAM),))))

    def __post_init__(self) -> None:
        for slot, pas in enumerate(SLOTS):
            table = STAGE_1 + 0x1000 * (1 + slot)
            put(self.memory, STAGE_1 + WORD * slot, table | 0b11)
            for gigabyte in range(8):
                # Access flag, output PAS, block.
                put(self.memory, table + WORD * gigabyte, gigabyte * GB | 1 << 10 | NSE_NS[pas] | 0b01)
        put(self.memory, GPT_L0, 0xF1)
        tcr = TCR_EL3.of(PS=6, T0SZ=16)
        self.pe = PEState(EL3Regime(TTBR0_EL3(STAGE_1), tcr, self.features), self.memory)
        self.gpt = PossibleGPT(self.state(), self.memory)

    def state(self) -> GPCState:
        """The registers as the check reads them."""
        return GPCState(GPCCR_EL3(self.gpccr), GPTBR_EL3(self.gptbr), self.features)

    def permitted(self, kind: str, pa: int, pas: PASpace) -> Permitted:
        """The permitted set of one access."""
        return PermittedOutcomes(self.pe, self.gpt, va_of(pa, pas), ACCESSES[kind])
