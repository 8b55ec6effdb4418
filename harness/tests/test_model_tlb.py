"""What a walk of the model machine sees of memory while GPT entries are kept."""

from __future__ import annotations

from harness.targets.model_tlb import GPTEntries, _Fetched
from refmodel.memory import Memory, MemoryMap, PhysMemRetStatus, Region, RegionKind
from refmodel.pas import FullAddress, PASpace


def test_past_the_check_a_walk_reads_what_the_memory_holds_now() -> None:
    memory = Memory(MemoryMap((Region(0, 1 << 32, RegionKind.RAM),)))
    view = _Fetched(memory, GPTEntries())
    memory.write(0x1000, (0x1234).to_bytes(8, "little"))
    assert view.read64(0x1000) == 0x1234
    assert view.read(0x1000, 2) == b"\x34\x12"
    memory.write(0x1000, (0x5678).to_bytes(8, "little"))
    assert view.read64(0x1000) == 0x5678
    assert view.PhysMemRead(FullAddress(PASpace.PAS_Root, 0x1000), 8) == (PhysMemRetStatus.OK, 0x5678)
    assert view.fetched == [(0, 0x5678)]
