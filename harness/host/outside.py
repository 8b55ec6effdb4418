"""What accesses from user space of a Linux host, and from its guests, may meet at a physical address, by the model.

The host runs at EL2 with VHE: its user space is EL0 of the EL2&0 regime, and its aborts come to EL2.  A guest is EL1
under stage 2; a fault of the output address is its own, unless the hypervisor asks for it (HCR_EL2.GPF), which then has
to end the guest.  Non-secure addresses are what both can name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from harness.boot.machine import StackMachine
from harness.boot.physical import PhysicalMemory
from harness.boot.tables import Tables, read_registers, snapshot, state_of
from harness.errors import TargetProtocolError
from refmodel.access import access_at
from refmodel.context import PEContext
from refmodel.faultrecord import Fault, FaultRecord
from refmodel.faults import AArch64_Abort
from refmodel.gpt.check import GranuleProtectionCheck
from refmodel.gpt.types import GPCF
from refmodel.outcomes import ExceptionTaken
from refmodel.pas import EL, FullAddress, PASpace, SecurityState
from refmodel.sysregs import HCR_EL2, SCR_EL3

_HOST: Final = HCR_EL2.of(E2H=1, TGE=1)
_GUEST: Final = HCR_EL2.of(VM=1)
_LOOKS: Final = 20
_ISS: Final = (1 << 25) - 1


@dataclass(frozen=True)
class Expected:
    """An access that has to fault: with which exception, as the one who made it or its kernel is told."""

    exception: ExceptionTaken
    what: str

    def __str__(self) -> str:
        syndrome = self.exception.syndrome
        return f"{self.what}, EC {syndrome.ec:#x}, ISS {syndrome.iss:#x}"

    def differs(self, outcome: str, esr: int) -> str:
        """How an observation differs, in words without addresses; empty when it is permitted."""
        if outcome == "done":
            return "no exception"
        syndrome = self.exception.syndrome
        wanted = syndrome.ec << 26 | syndrome.il << 25 | syndrome.iss
        mask = 0x7F << 25 | syndrome.iss_known & _ISS
        return "" if (esr ^ wanted) & mask == 0 else f"ESR {esr:#x}, permitted {wanted:#x}"


@dataclass(frozen=True, kw_only=True)
class Outside:
    """The tables of a machine and the PE as Linux runs on it."""

    tables: Tables
    scr: SCR_EL3

    def permitted(self, kind: str, pa: int) -> Expected:
        """For an access of the host's user space, ``load`` or ``store``."""
        return self._expected(PEContext(el=EL.EL0, sp=0, masked=0, scr=self.scr, hcr=_HOST), kind, pa)

    def permitted_to_guest(self, pa: int) -> Expected:
        """For a load of a guest at EL1."""
        return self._expected(PEContext(el=EL.EL1, sp=1, masked=0, scr=self.scr, hcr=_GUEST), "load", pa)

    def _expected(self, context: PEContext, kind: str, pa: int) -> Expected:
        """A GPC fault where the tables deny the access; elsewhere memory of another world has to refuse it itself."""
        address = FullAddress(PASpace.PAS_NonSecure, pa)
        none = FaultRecord.none(access_at(kind, context))
        gpcf = GranuleProtectionCheck(self.tables.gpc, self.tables.memory, address, ss=SecurityState.SS_NonSecure)
        denied = gpcf.gpf is not GPCF.GPCF_None
        if denied:
            fault = none.with_(Fault.Fault_GPCFOnOutput, gpcf=gpcf, paddress=address)
        else:
            fault = none.with_(Fault.Fault_SyncExternal)
        exception = AArch64_Abort(None, fault, context)
        return Expected(exception, "granule protection fault" if denied else "external abort")


def outside(machine: StackMachine) -> Outside:
    """A machine as Linux runs on it; NotReadableError where this host cannot see its tables."""
    registers = read_registers(machine)
    for _ in range(_LOOKS):
        if SCR_EL3(registers["SCR_EL3"]).NS and not SCR_EL3(registers["SCR_EL3"]).NSE:
            break
        registers = read_registers(machine)  # it was stopped in the firmware
    else:
        raise TargetProtocolError("the machine is never seen in Non-secure state", machine.evidence("shell"))
    tables = snapshot(PhysicalMemory(machine), state_of(registers))
    return Outside(tables=tables, scr=SCR_EL3(registers["SCR_EL3"]))
