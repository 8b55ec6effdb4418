"""A simulated RMM for the model machine: SMCs of Non-secure EL2 are RMI calls, records at Realm EL1 are a realm's.

A realm is whatever records the batch has for Realm EL1 after RMI_REC_ENTER: they belong to the REC that was entered
last.  RMI_REC_ENTER gets its result at the exit, an SMC that leaves the realm gets its result at the next entry;
Non-secure records in between are another PE's.  RECs that still run when a batch ends are left by an interrupt.  Where
the specification permits several outcomes, the first one is taken.  The machine's GPT is not involved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from harness.judge.stimulus import Kind
from harness.targets.target import Window
from refmodel.memory import Memory
from refmodel.rmm import step as model
from refmodel.rmm.calls import (
    AccessKind,
    Call,
    DataSource,
    HostCall,
    HostCallData,
    RealmAccess,
    RealmInterrupt,
    RealmSmc,
)
from refmodel.rmm.calls import Memory as Structure
from refmodel.rmm.layout import (
    EXIT_OFFSET,
    PAGE,
    pack_host_call,
    pack_rec_exit,
    unpack_host_call,
    unpack_realm_params,
    unpack_rec_enter,
    unpack_rec_params,
)
from refmodel.rmm.results import (
    Accessed,
    Entered,
    Exited,
    Output,
    RealmException,
    Result,
    RmiResult,
    RsiResult,
    SmcResult,
    ToRealm,
    Within,
)
from refmodel.rmm.state import Author, State
from refmodel.rmm.types import GranuleState, RecState
from refmodel.rmm.version import Parameters

REC_AUX_COUNT: Final = 2
FEATURES: Final = {"max_ipa_width": 48, "rec_aux_count": REC_AUX_COUNT}
_RSI_HOST_CALL: Final = 0xC4000199
_DATA_CREATE: Final = 0xC4000153
_ACCESS: Final[Mapping[Kind, AccessKind]] = {
    Kind.LOAD: AccessKind.READ,
    Kind.STORE: AccessKind.WRITE,
    Kind.FETCH: AccessKind.FETCH,
}
_SYNDROME: Final = {
    # EC at EL1 from EL1 with the status codes of a synchronous external abort, an address size fault, a GPF.
    RealmException.SEA: 0b010000,
    RealmException.ADDRESS_SIZE: 0b000000,
    RealmException.GPF: 0b101000,
}
_STRUCTURES: Final[Mapping[str, tuple[int, Callable[[bytes], Structure]]]] = {
    "RMI_REALM_CREATE": (1, unpack_realm_params),
    "RMI_REC_CREATE": (2, unpack_rec_params),
    "RMI_REC_ENTER": (1, unpack_rec_enter),
    "RMI_DATA_CREATE": (3, DataSource),
}
"""Which argument of a command names a structure in the Host's memory, and how that is read."""
_EC_DATA_ABORT_SAME, _EC_INSTRUCTION_ABORT_SAME, _EC_UNKNOWN = 0x25, 0x21, 0x00

Registers = tuple[int, ...]
Deliver = Callable[[Registers], None]


def parameters(window: Window) -> Parameters:
    """The implementation that the machine has: all of a window can be delegated."""
    return Parameters(
        delegable=lambda addr: window.base <= addr < window.end, rec_aux_count=REC_AUX_COUNT, max_ipa_width=48
    )


class SimulatedRmm:
    """The RMM and the realms of a model machine."""

    def __init__(self, memory: Memory, window: Window) -> None:
        self._memory = memory
        self._parameters = parameters(window)
        self.state = State()
        self._running: list[int] = []
        self._entries: dict[int, tuple[int, Deliver]] = {}
        self._left: dict[int, Deliver] = {}

    def host(self, registers: Registers, deliver: Deliver) -> None:
        """An SMC of the Host; ``deliver`` is called with X0 onwards when it returns, which may be later."""
        fid, args = registers[0], registers[1:]
        command = model.RMI_COMMANDS.get(fid & ~model.SVE_HINT)
        args = args[: len(command.inputs)] if command else ()
        before = self.state
        result = self._step(HostCall(fid, args, self._structure(command.name if command else "", args)))
        match result:
            case RmiResult():
                if result.status == 0:
                    self._memory_follows(fid, args, before)
                deliver((result.x0, *map(_value, result.outputs)))
            case Entered(rec, gprs, _, _):
                self._entries[rec] = args[1], deliver
                self._running.append(rec)
                if rec in self._left:
                    self._left.pop(rec)(tuple(_value(value) for value in gprs[:18]))
            case Exited():
                self._write_exit(args[1], result)
                deliver((0,))
            case SmcResult(x0):
                deliver((_value(x0),))
            case _:
                raise AssertionError(f"a host command cannot give {result}")

    def smc(self, registers: Registers, deliver: Deliver) -> bool:
        """An SMC of the running realm; False if none runs."""
        if not self._running:
            return False
        rec = self._running[-1]
        data = HostCallData()
        if registers[0] == _RSI_HOST_CALL:
            data = self._host_call(rec, registers[1])
        result = self._step(RealmSmc(rec, registers, data))
        match result:
            case RsiResult(status, outputs):
                deliver((int(status), *map(_value, outputs)))
            case SmcResult(x0):
                deliver((_value(x0),))
            case Exited():
                self._left[rec] = deliver
                self._exit(rec, result)
            case _:
                raise AssertionError(f"an SMC of a realm cannot give {result}")
        return True

    def access(self, kind: Kind, address: int, value: int) -> tuple[int | None, int] | None:
        """(physical address or None, syndrome at EL1) of an access of the running realm; None if none runs."""
        if not self._running or kind not in _ACCESS:
            return None
        rec = self._running[-1]
        result = self._step(RealmAccess(rec, address, _ACCESS[kind], value=value, far=address))
        match result:
            case Accessed(pa, _):
                return pa, 0
            case ToRealm(exception):
                ec = _EC_INSTRUCTION_ABORT_SAME if kind is Kind.FETCH else _EC_DATA_ABORT_SAME
                return None, ec << 26 | 1 << 25 | _SYNDROME[exception]
            case Exited():
                self._exit(rec, result)
                return None, 0
        raise AssertionError(f"an access of a realm cannot give {result}")

    def end_batch(self) -> None:
        """Every REC that runs exits by an interrupt; calls of realms that have not returned report to nobody."""
        self._left.clear()
        for rec in sorted(rec for rec in self._running if rec in self.state.recs):
            result = self._step(RealmInterrupt(rec))
            if isinstance(result, Exited):
                self._exit(rec, result)

    def _step(self, call: Call) -> Result:
        outcome = model.step(self.state, call, self._parameters)[0]
        self.state = outcome.state
        return outcome.result

    def _exit(self, rec: int, result: Exited) -> None:
        self._running.remove(rec)
        run, deliver = self._entries.pop(rec)
        self._write_exit(run, result)
        deliver((0,))

    def _write_exit(self, run: int, result: Exited) -> None:
        self._memory.write(run + EXIT_OFFSET, pack_rec_exit(result.exit))

    def _structure(self, name: str, args: Registers) -> Structure:
        """What the command reads from the Host's memory, if there is memory."""
        found = _STRUCTURES.get(name)
        if found is None:
            return None
        position, unpack = found
        if not self._parameters.delegable(args[position]) or args[position] & PAGE - 1:
            return None
        return unpack(self._memory.read(args[position], PAGE))

    def _host_call(self, rec: int, ipa: int) -> HostCallData:
        """The Host call structure, if the realm has it where it says."""
        outcome = model.step(self.state, RealmAccess(rec, ipa), self._parameters)[0]
        if isinstance(outcome.result, Accessed) and outcome.result.pa is not None:
            return unpack_host_call(self._memory.read(outcome.result.pa, len(pack_host_call(HostCallData()))))
        return HostCallData()

    def _memory_follows(self, fid: int, args: Registers, before: State) -> None:
        """Bytes as the tags say: content that was wiped is zero, DATA that was created has the source's."""
        if fid == _DATA_CREATE:
            self._memory.write(args[1], self._memory.read(args[3], PAGE))
        for addr in args:
            granule = self.state.granules.get(addr)
            if granule is None or granule is before.granules.get(addr) or granule.content.author is not Author.WIPED:
                continue
            if granule.state in (GranuleState.UNDELEGATED, GranuleState.DATA):
                self._memory.write(addr, bytes(PAGE))

    @property
    def runs(self) -> bool:
        """Whether a REC runs."""
        return any(rec.state is RecState.REC_RUNNING for _, rec in self.state.recs.items())


def _value(output: Output) -> int:
    """A value for an output that the specification leaves open: 0, or the highest of a range."""
    match output:
        case int():
            return output
        case Within(_, high):
            return high
    return 0
