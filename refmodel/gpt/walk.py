"""The granule protection table walk.

Source: DDI 0487, shared pseudocode ``GPTLevel0Index``, ``GPTLevel1Index``, ``GPIIndex`` and ``GPTWalk``.  The
pseudocode's TLB is left out here: what a cached entry permits is ``gpt/cache.py``.
"""

from __future__ import annotations

from refmodel.bits import AlignDown, Slice
from refmodel.gpt.decode import (
    DecodeGPTBlock,
    DecodeGPTContiguous,
    DecodeGPTGranules,
    DecodeGPTTable,
    DecodePGS,
    DecodePPS,
    GPT_Block,
    GPT_Contig,
    GPT_NonSecureOnly,
    GPT_Table,
    GPTL0Size,
)
from refmodel.gpt.types import (
    GPC_NO_FAULT,
    GPCF,
    GPCFault,
    GPCFRecord,
    GPCState,
    GPTEntry,
)
from refmodel.memory import Memory, PhysMemRetStatus
from refmodel.observe import Observer, unobserved
from refmodel.pas import FullAddress, PASpace
from refmodel.rules import Rule
from refmodel.sysregs import GPCCR_EL3


def GPTLevel0Index(gpccr: GPCCR_EL3, pa: int) -> int:
    """Index into the level 0 table: PA[PPS-1:L0GPTSZ], 0 when one entry covers the whole protected space."""
    pps, l0sz = DecodePPS(gpccr), GPTL0Size(gpccr)
    return 0 if pps <= l0sz else Slice(pa, pps - 1, l0sz)


def GPTLevel1Index(gpccr: GPCCR_EL3, pa: int) -> int:
    """Index into the level 1 table: one 8-byte entry for each 16 granules."""
    return Slice(pa, GPTL0Size(gpccr) - 1, DecodePGS(gpccr).bits + 4)


def GPIIndex(gpccr: GPCCR_EL3, pa: int) -> int:
    """Which of the 16 GPI fields of a Granules descriptor speaks for ``pa``."""
    pgs = DecodePGS(gpccr).bits
    return Slice(pa, pgs + 3, pgs)


def GPTBaseAddress(gpc: GPCState) -> int:
    """Address of the level 0 table: GPTBR_EL3.BADDR with the bits below its alignment taken as zero.

    Source: DDI 0487, the first statements of ``GPTWalk``; GPTBR_EL3.BADDR.
    """
    base = gpc.base
    alignment = max(DecodePPS(gpc.gpccr) - GPTL0Size(gpc.gpccr) + 3, 12)
    return AlignDown(base, alignment)


_GPI_RESERVED = (Rule.L0_BLOCK_GPI_RESERVED, Rule.L1_GRANULES_GPI_RESERVED, Rule.L1_CONTIGUOUS_GPI_RESERVED)


def _observe_nso(gpc: GPCState, rule: Rule, gpi: int, observe: Observer) -> None:
    """Tell of a descriptor that is invalid because GPCCR_EL3.NSO is 0."""
    if rule in _GPI_RESERVED and gpi == GPT_NonSecureOnly:
        observe(Rule.NSO_RESERVED, "GPI {:04b} is reserved with GPCCR_EL3.NSO={}", gpi, gpc.gpccr.NSO)


def GPTWalk(
    gpc: GPCState, memory: Memory, pa: int, observe: Observer = unobserved
) -> tuple[GPCFRecord, GPTEntry | None]:
    """Walk the GPT for ``pa``, which is below the protected size; the entry is None on a fault."""
    pgs = DecodePGS(gpc.gpccr)
    base = GPTBaseAddress(gpc)
    if base != gpc.base:
        observe(Rule.GPTBR_ALIGNMENT, "GPTBR_EL3 names {:#x}, taken as {:#x}", gpc.base, base)
    index = GPTLevel0Index(gpc.gpccr, pa)
    address = base + index * 8
    memstatus, level_0_entry = memory.PhysMemRead(FullAddress(PASpace.PAS_Root, address), 8)
    if memstatus is not PhysMemRetStatus.OK:
        observe(Rule.L0_EXTERNAL_ABORT, "level 0 entry at {:#x}: external abort", address)
        return GPCFault(GPCF.GPCF_EABT, 0), None
    if memory.map.private(address):
        observe(Rule.FETCH_IN_ROOT, "memory at {:#x} answers to some spaces only, and to the fetch", address)
    observe(Rule.L0_INDEX, "level 0 entry [{}] at {:#x} = {:#x}", index, address, level_0_entry)

    match Slice(level_0_entry, 3, 0):
        case type_ if type_ == GPT_Block:
            gpf, result, rule = DecodeGPTBlock(gpc, pgs, level_0_entry)
            if result is None:
                _observe_nso(gpc, rule, Slice(level_0_entry, 7, 4), observe)
            observe(rule, "Block descriptor: {}", gpf.value if result is None else result)
            return GPCFault(gpf, 0), result
        case type_ if type_ == GPT_Table:
            gpf, table, rule = DecodeGPTTable(gpc, pgs, level_0_entry)
            if table is None:
                observe(rule, "Table descriptor: {}", gpf.value)
                return GPCFault(gpf, 0), None
        case type_:
            observe(Rule.L0_INVALID, "descriptor type {:#06b} is not allocated at level 0", type_)
            return GPCFault(GPCF.GPCF_Walk, 0), None

    index = GPTLevel1Index(gpc.gpccr, pa)
    address = table.address + index * 8
    memstatus, level_1_entry = memory.PhysMemRead(FullAddress(PASpace.PAS_Root, address), 8)
    if memstatus is not PhysMemRetStatus.OK:
        observe(Rule.L1_EXTERNAL_ABORT, "level 1 entry at {:#x}: external abort", address)
        return GPCFault(GPCF.GPCF_EABT, 1), None
    if memory.map.private(address):
        observe(Rule.FETCH_IN_ROOT, "memory at {:#x} answers to some spaces only, and to the fetch", address)

    match Slice(level_1_entry, 3, 0):
        case type_ if type_ == GPT_Contig:
            gpf, result, rule = DecodeGPTContiguous(gpc, pgs, level_1_entry)
            if result is None:
                _observe_nso(gpc, rule, Slice(level_1_entry, 7, 4), observe)
        case _:
            granule = GPIIndex(gpc.gpccr, pa)
            gpf, result, rule = DecodeGPTGranules(gpc, pgs, granule, level_1_entry)
            if result is None:
                _observe_nso(gpc, rule, Slice(level_1_entry, granule * 4 + 3, granule * 4), observe)
    observe(
        rule,
        "level 1 entry [{}] at {:#x} = {:#x}: {}",
        index,
        address,
        level_1_entry,
        gpf.value if result is None else result,
    )
    if gpf is not GPCF.GPCF_None:
        return GPCFault(gpf, 1), None
    return GPC_NO_FAULT, result
