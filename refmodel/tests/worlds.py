"""A small machine for tests of worlds below EL3: RAM in every space, a GPT with a GPI for each granule, contexts."""

from __future__ import annotations

from collections.abc import Mapping

from refmodel.choices import Chooser
from refmodel.context import PEContext
from refmodel.features import Features
from refmodel.gpt.build import Geometry, GPTBuilder
from refmodel.gpt.cache import PossibleGPT
from refmodel.gpt.decode import GPT_Any
from refmodel.gpt.types import GPCState
from refmodel.memory import Memory, MemoryMap, Region, RegionKind
from refmodel.outcomes import ExceptionTaken, Outcome
from refmodel.pas import EL, SecurityState
from refmodel.sysregs import SCR_EL3

GPC2 = Features(rme=2)
GPC3 = Features(rme=3)
GPT_BASE = 0x1000_0000
TABLES = 0x4000_0000
"""PA of the page tables that tests build by hand; granules above it have their own GPI."""

SCR = {
    SecurityState.SS_Secure: SCR_EL3.of(NSE=0, NS=0, EEL2=1),
    SecurityState.SS_NonSecure: SCR_EL3.of(NSE=0, NS=1),
    SecurityState.SS_Realm: SCR_EL3.of(NSE=1, NS=1),
}


def ram(size: int = 1 << 56) -> Memory:
    """RAM from 0, answering to every space."""
    return Memory(MemoryMap((Region(0, size, RegionKind.RAM),)))


def put64(memory: Memory, address: int, value: int) -> None:
    """Store a doubleword past every check."""
    memory.write(address, value.to_bytes(8, "little"))


def context(el: EL, ss: SecurityState, *, scr: Mapping[str, int] | None = None, **fields: object) -> PEContext:
    """A PE at ``el`` in ``ss``; ``scr`` sets further fields of SCR_EL3."""
    return PEContext(el=el, scr=SCR[ss].replace(**(scr or {})), **fields)  # type: ignore[arg-type]


def gpt_of(memory: Memory, gpis: Mapping[int, int], features: Features | None = None) -> PossibleGPT:
    """A GPT with 4 KB granules: GPI Any, and the given GPI for single granules (PA -> GPI)."""
    builder = GPTBuilder(Geometry(pps=36), GPT_BASE, 0x100_0000)
    for pa in range(0, 1 << 36, 1 << 30):
        builder.block(pa, GPT_Any)
    for gigabyte in {pa >> 30 for pa in gpis}:
        builder.table(gigabyte << 30)
    for pa, gpi in gpis.items():
        builder.granule(pa, gpi)
    for at, data in builder.writes():
        memory.write(at, data)
    state = GPCState(builder.geometry.gpccr(), builder.gptbr, features or Features())
    return PossibleGPT(state, memory)


def esr(outcome: Outcome) -> tuple[EL, int, int]:
    """Exception level, EC and ISS of an exception."""
    assert isinstance(outcome, ExceptionTaken), outcome
    return outcome.syndrome.el, outcome.syndrome.ec, outcome.syndrome.iss


def first() -> Chooser:
    """The choices of a PE with nothing cached."""
    return Chooser()
