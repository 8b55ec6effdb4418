"""Scripts: sequences of calls that bring an RMM from nothing to a state that is of interest.

A script is data that any target can run; the model only helps to write it.  Addresses come from a ``Layout``, one after
the other, so a script is the same each time it is made.  ``Script.run`` brings the model to the state.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from refmodel.rmm.calls import (
    Call,
    DataSource,
    HostCall,
    HostCallData,
    Memory,
    RealmEvent,
    RealmParams,
    RealmSmc,
    RecEnter,
    RecParams,
)
from refmodel.rmm.results import RmiResult
from refmodel.rmm.rmi_rec import mpidr_of
from refmodel.rmm.state import State
from refmodel.rmm.step import BY_NAME, step
from refmodel.rmm.types import FID_PSCI_CPU_ON, RMM_GRANULE_SIZE, Ripas, Rmi
from refmodel.rmm.version import Parameters

IPA_WIDTH: Final = 40
START_LEVEL: Final = 1
START_RTTS: Final = 2
"""Two concatenated starting level tables of 512 entries of 1 GB: the protected half is the first."""
UNPROTECTED: Final = 1 << (IPA_WIDTH - 1)
"""The first Unprotected IPA."""
BLOCK: Final = 2 << 20
_RSI_IPA_STATE_SET: Final = 0xC4000197


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Physical memory that scripts may use.

    ``base`` and ``size``: delegable Non-secure RAM, aligned to 2 MB.  ``outside``: a granule that is not delegable.
    ``high``: delegable granules at or above 2**48, 0 if there are none.
    """

    base: int
    size: int
    outside: int
    high: int = 0


@dataclass
class Script:
    """Calls so far, and the next free granules.  Methods return the addresses that they used."""

    layout: Layout
    parameters: Parameters
    calls: list[Call] = field(default_factory=list)
    _used: int = 0
    _used_ns: int = 0
    _realms: int = 0

    # Memory ---------------------------------------------------------------------------------------------------------

    def ns(self) -> int:
        """A Non-secure granule: from the top of the memory downwards."""
        self._used_ns += RMM_GRANULE_SIZE
        return self.layout.base + self.layout.size - self._used_ns

    def undelegated(self, *, align: int = RMM_GRANULE_SIZE, count: int = 1) -> int:
        """Consecutive granules that nothing was done to, aligned."""
        addr = -(-(self.layout.base + self._used) // align) * align
        self._used = addr + count * RMM_GRANULE_SIZE - self.layout.base
        return addr

    def granule(self, *, align: int = RMM_GRANULE_SIZE, count: int = 1) -> int:
        """Consecutive delegated granules."""
        addr = self.undelegated(align=align, count=count)
        for number in range(count):
            self.host("RMI_GRANULE_DELEGATE", addr + number * RMM_GRANULE_SIZE)
        return addr

    # Calls ----------------------------------------------------------------------------------------------------------

    def call(self, name: str, *args: int, memory: Memory = None) -> HostCall:
        """A host command by name, not added to the script."""
        return HostCall(BY_NAME[name].fid, tuple(args), memory)

    def host(self, name: str, *args: int, memory: Memory = None) -> None:
        """Add a host command."""
        self.calls.append(self.call(name, *args, memory=memory))

    def event(self, event: RealmEvent) -> None:
        """Add an event in a realm."""
        self.calls.append(event)

    # Objects --------------------------------------------------------------------------------------------------------

    def params(self, rtt_base: int) -> RealmParams:
        """Parameters of a realm as scripts make it."""
        return RealmParams(IPA_WIDTH, rtt_base, START_LEVEL, START_RTTS, self._realms)

    def realm(self, vmid: int | None = None) -> int:
        """A new realm; returns its descriptor's address."""
        rtts = self.granule(align=START_RTTS * RMM_GRANULE_SIZE, count=START_RTTS)
        rd = self.granule()
        self._realms += 1
        params = self.params(rtts) if vmid is None else self.params(rtts)._replace(vmid=vmid)
        self.host("RMI_REALM_CREATE", rd, self.ns(), memory=params)
        return rd

    def rec_params(self, index: int = 0, *, runnable: bool = True) -> RecParams:
        """Parameters of a REC with delegated auxiliary granules."""
        aux = tuple(self.granule() for _ in range(self.parameters.rec_aux_count))
        return RecParams(len(aux), aux, mpidr_of(index), int(runnable))

    def rec(self, rd: int, index: int = 0, *, runnable: bool = True) -> int:
        """A new REC with the next index that the caller names."""
        params = self.rec_params(index, runnable=runnable)
        rec = self.granule()
        self.host("RMI_REC_CREATE", rd, rec, self.ns(), memory=params)
        return rec

    def tables(self, rd: int, ipa: int, level: int = 3) -> int:
        """Tables for ``ipa`` down to ``level``, none of which may exist; returns the last one's address."""
        rtt = 0
        for at in range(START_LEVEL + 1, level + 1):
            rtt = self.granule()
            size = RMM_GRANULE_SIZE << 9 * (4 - at)
            self.host("RMI_RTT_CREATE", rd, rtt, ipa // size * size, at)
        return rtt

    def data(self, rd: int, ipa: int, *, measured: bool = True) -> int:
        """A DATA granule with content at ``ipa``, whose tables exist."""
        data = self.granule()
        self.host("RMI_DATA_CREATE", rd, data, ipa, self.ns(), int(measured), memory=DataSource())
        return data

    def data_unknown(self, rd: int, ipa: int) -> int:
        """A DATA granule without content at ``ipa``, whose tables exist."""
        data = self.granule()
        self.host("RMI_DATA_CREATE_UNKNOWN", rd, data, ipa)
        return data

    def activate(self, rd: int) -> None:
        """Activate a realm."""
        self.host("RMI_REALM_ACTIVATE", rd)

    def enter(self, rec: int, enter: RecEnter | None = None) -> None:
        """Enter a REC."""
        self.host("RMI_REC_ENTER", rec, self.ns(), memory=enter or RecEnter())

    def running(self) -> tuple[int, int]:
        """An active realm whose one REC runs: (rd, rec)."""
        rd = self.realm()
        rec = self.rec(rd)
        self.activate(rd)
        self.enter(rec)
        return rd, rec

    def smc(self, rec: int, *args: int, data: HostCallData | None = None) -> None:
        """An SMC of a running REC."""
        self.event(RealmSmc(rec, tuple(args), data or HostCallData()))

    def ripas_request(self, rec: int, base: int, top: int, ripas: Ripas = Ripas.RAM, flags: int = 0) -> None:
        """A RIPAS change request of a running REC: it exits."""
        self.smc(rec, _RSI_IPA_STATE_SET, base, top, int(ripas), flags)

    def cpu_on(self, rec: int, mpidr: int, entry: int = 0) -> None:
        """PSCI_CPU_ON by a running REC: it exits with a request pending."""
        self.smc(rec, FID_PSCI_CPU_ON, mpidr, entry, 0)

    # The model ------------------------------------------------------------------------------------------------------

    def run(self, state: State | None = None) -> State:
        """The state after the script; ValueError for a call whose first permitted outcome is a failure.

        Where several outcomes are permitted the first one is taken, which is the one by the specification's letter.
        """
        state = state or State()
        for number, call in enumerate(self.calls):
            outcome = step(state, call, self.parameters)[0]
            if isinstance(outcome.result, RmiResult) and outcome.result.status is not Rmi.RMI_SUCCESS:
                raise ValueError(f"call {number} of the script, {call}, fails: {outcome.result} ({outcome.reason})")
            state = outcome.state
        return state
