"""Granules as the Normal world sees them: what the table says, and what an access at EL2 with the MMU off may meet.

The permitted outcomes are the model's, from the machine's own tables and registers; nothing is assumed about how the
firmware has set up EL3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from harness.boot.machine import RAM_BASE, StackMachine
from harness.boot.physical import PhysicalMemory
from harness.boot.tables import Tables, read_registers, snapshot, state_of
from harness.errors import TargetProtocolError
from harness.host.probe import HostProbe
from harness.host.registers import EL2
from harness.judge.compare import compare
from harness.probe.records import Op, Record, Result
from refmodel.access import access_at
from refmodel.bits import Slice
from refmodel.context import PEContext
from refmodel.faultrecord import Fault, FaultRecord
from refmodel.faults import AArch64_Abort, WithoutFAR
from refmodel.gpt.check import GranuleProtectionCheck
from refmodel.gpt.decode import DecodeGPTTable, DecodePGS, GPT_Table, GPTL0Size, gpi_name
from refmodel.gpt.types import GPCF
from refmodel.outcomes import AccessPerformed, ExceptionTaken
from refmodel.pas import EL, FullAddress, PASpace, SecurityState
from refmodel.sysregs import HCR_EL2, SCR_EL3

GRANULE: Final = 4096
_ENTRY: Final = 8  # bytes of a descriptor
_GRANULES: Final = 16  # that one level 1 descriptor is about
WIPING = "tfa-rmm-host"
"""The stack whose RMM has to wipe what changes hands; TF-A's test realm payload wipes nothing."""
_HCR: Final = next(register.encoding for register in EL2 if register.name == "HCR_EL2")
ACCESSES: Final[Mapping[str, tuple[Op, str, int]]] = {
    "load 1": (Op.LOAD, "load", 0),
    "load 8": (Op.LOAD, "load", 3),
    "load pair": (Op.LOAD_PAIR, "load", 3),
    "load exclusive": (Op.LOAD_EXCLUSIVE, "load-exclusive", 3),
    "load SIMD": (Op.LOAD_SIMD, "load", 3),
    "fetch": (Op.FETCH, "fetch", 2),
    "store 1": (Op.STORE, "store", 0),
    "store 8": (Op.STORE, "store", 3),
    "store pair": (Op.STORE_PAIR, "store", 3),
    "store SIMD": (Op.STORE_SIMD, "store", 3),
    "atomic add": (Op.ATOMIC_ADD, "atomic", 3),
}
"""What a test may do at an address: the probe's operation, the model's kind of access, log2 of the size in bytes."""


@dataclass(frozen=True)
class Snapshot:
    """The tables at one moment."""

    tables: Tables

    def gpi(self, pa: int) -> str:
        """The GPI at ``pa`` in words."""
        found = self.tables.gpi(pa)
        return "a walk that faults" if found is None else gpi_name(found)

    def level_0(self) -> bytes:
        """The level 0 table."""
        return self.tables.memory.read(self.tables.base, self.tables.level_0_size)

    def level_1(self) -> Iterator[tuple[int, bytes]]:
        """Every level 1 table with the first address that it is about."""
        gpc, block = self.tables.gpc, GPTL0Size(self.tables.gpc.gpccr)
        content = self.level_0()
        for index in range(len(content) // _ENTRY):
            descriptor = int.from_bytes(content[index * _ENTRY : (index + 1) * _ENTRY], "little")
            if Slice(descriptor, 3, 0) == GPT_Table:
                _, table, _ = DecodeGPTTable(gpc, DecodePGS(gpc.gpccr), descriptor)
                if table is not None:
                    yield index << block, self.tables.memory.read(table.address, self.tables.level_1_size)


@dataclass
class Granules:
    """The granules of one machine: its tables, read anew whenever they are asked for, and its memory past the GPC."""

    machine: StackMachine
    probe: HostProbe
    memory: PhysicalMemory = field(init=False)
    context: PEContext = field(init=False)
    """The PE as it is when the probe runs a record: EL2, Non-secure, SError taken."""

    def __post_init__(self) -> None:
        self.memory = PhysicalMemory(self.machine)
        registers = read_registers(self.machine)
        self._state, scr = state_of(registers), registers["SCR_EL3"]
        hcr = self.probe.registers([_HCR])[_HCR]
        self.context = PEContext(el=EL.EL2, sp=1, masked=0, scr=SCR_EL3(scr), hcr=HCR_EL2(hcr))

    def tables(self) -> Snapshot:
        """The tables as they are now; NotReadableError where this host cannot see them."""
        return Snapshot(snapshot(self.memory, self._state))

    def permitted(self, now: Snapshot, kind: str, pa: int) -> tuple[AccessPerformed | ExceptionTaken, ...]:
        """What an access of the model's ``kind`` to Non-secure ``pa`` may meet, memory being there or not."""
        access, tables = access_at(kind, self.context), now.tables
        address = FullAddress(PASpace.PAS_NonSecure, pa)
        none = FaultRecord.none(access)
        gpcf = GranuleProtectionCheck(tables.gpc, tables.memory, address, ss=SecurityState.SS_NonSecure)
        if gpcf.gpf is not GPCF.GPCF_None:
            fault = none.with_(Fault.Fault_GPCFOnOutput, gpcf=gpcf, paddress=address)
            return (AArch64_Abort(pa, fault, self.context),)
        abort = AArch64_Abort(pa, none.with_(Fault.Fault_SyncExternal), self.context)
        return AccessPerformed(), abort, WithoutFAR(abort)

    def fill(self, pa: int, content: bytes) -> None:
        """Put ``content`` at ``pa`` of RAM, past the GPC.

        It is read back by the way that later reads take, or TargetProtocolError: a reader of some other memory would
        see no change, whatever happens.
        """
        self.machine.ram.write(pa - RAM_BASE, content)
        if self.memory.read(pa, len(content)) != content:
            raise TargetProtocolError(
                f"memory at {pa:#x} does not show what was just written there", self.machine.evidence()
            )

    def access(self, name: str, pa: int) -> Result:
        """Do one of ``ACCESSES``; stores and the atomic write ones."""
        operation, _, size = ACCESSES[name]
        ones = (1 << 64) - 1
        return self.probe.run([Record(0, operation, address=pa, value0=ones, value1=ones, size_log2=size)])[0]


def differences(permitted: tuple[AccessPerformed | ExceptionTaken, ...], result: Result) -> str:
    """How an observation differs from every permitted outcome, in words; empty when it is one of them."""
    found = [compare(outcome, result) for outcome in permitted]
    if not all(found):
        return ""
    return " / ".join("; ".join(mismatch.text for mismatch in mismatches) for mismatches in found)


def same_words(before: bytes, after: bytes) -> list[int]:
    """Offsets of the 8-byte words that are the same in both."""
    return [at for at in range(0, len(before), 8) if before[at : at + 8] == after[at : at + 8]]


def in_words(result: Result) -> dict[str, str]:
    """An observation for a person."""
    if not result.taken:
        return {"exception": "none", "data": f"{result.data0:#x} {result.data1:#x}"}
    return {
        "exception": f"to EL{result.target_el}, ESR {result.esr:#x}, FAR {result.far:#x}",
        "data": f"{result.data0:#x} {result.data1:#x}",
    }


def outcome_in_words(outcome: AccessPerformed | ExceptionTaken) -> dict[str, str]:
    """A permitted outcome for a person."""
    if isinstance(outcome, AccessPerformed):
        return {"exception": "none"}
    syndrome = outcome.syndrome
    far = "UNKNOWN" if outcome.far is None else f"{outcome.far:#x}"
    return {"exception": f"to EL{syndrome.el.value}, EC {syndrome.ec:#x}, ISS {syndrome.iss:#x}, FAR {far}"}


def changed(before: Snapshot, after: Snapshot) -> dict[str, str]:
    """The granules whose GPI differs, address -> ``OLD -> NEW``.  Other bytes that mean the same are no difference.

    Only where bytes differ is the table walked.
    """
    if before.level_0() != after.level_0():
        return {"level 0": "changed"}
    granule = 1 << DecodePGS(before.tables.gpc.gpccr).bits
    found: dict[str, str] = {}
    for (base, old), (_, new) in zip(before.level_1(), after.level_1(), strict=True):
        for at in range(0, len(old), _ENTRY) if old != new else ():
            if old[at : at + _ENTRY] != new[at : at + _ENTRY]:
                first = base + at // _ENTRY * _GRANULES * granule
                for pa in range(first, first + _GRANULES * granule, granule):
                    if before.gpi(pa) != after.gpi(pa):
                        found[f"{pa:#x}"] = f"{before.gpi(pa)} -> {after.gpi(pa)}"
    return found
