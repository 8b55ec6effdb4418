"""What a call may give back: register values and constraints on them, REC exits, events in a realm, outcomes.

A value that the specification does not fix is a constraint (``UNDEFINED``, ``Within``); ``matches`` holds an
observation against it.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from refmodel.rmm.types import ExitReason, Ripas, Rmi, Rsi

if TYPE_CHECKING:
    from refmodel.rmm.state import State


class Undefined(Enum):
    """The type of ``UNDEFINED``."""

    UNDEFINED = "UNDEFINED"


UNDEFINED: Final = Undefined.UNDEFINED
"""An output that may have any value (R_TFZMS)."""


class Within(NamedTuple):
    """An output with any value from ``low`` to ``high``, both included."""

    low: int
    high: int


Output = int | Undefined | Within


def matches(permitted: Output, observed: int) -> bool:
    """Whether an observed register value satisfies what is permitted for it."""
    match permitted:
        case Undefined():
            return True
        case Within(low, high):
            return low <= observed <= high
    return permitted == observed


def all_match(permitted: Sequence[Output], observed: Sequence[int]) -> bool:
    """Whether observed X1, X2 ... match; values beyond the outputs that are permitted must be 0 (R_KBWJD)."""
    for number, value in enumerate(observed):
        if not matches(permitted[number] if number < len(permitted) else 0, value):
            return False
    return True


class RmiResult(NamedTuple):
    """A return from an RMI command: status, index, X1 onwards."""

    status: Rmi
    error_index: int = 0
    outputs: tuple[Output, ...] = ()

    @property
    def x0(self) -> int:
        """``RmiCommandReturnCode`` (B4.4.1)."""
        return int(self.status) | self.error_index << 8

    def __str__(self) -> str:
        index = f" {self.error_index}" if self.error_index or self.status is Rmi.RMI_ERROR_RTT else ""
        return f"{self.status.name}{index}{_text(self.outputs)}"


class RsiResult(NamedTuple):
    """A return from an RSI command to the realm: status, X1 onwards."""

    status: Rsi
    outputs: tuple[Output, ...] = ()

    def __str__(self) -> str:
        return f"{self.status.name}{_text(self.outputs)}"


class SmcResult(NamedTuple):
    """A return to the realm from a PSCI function or another SMC: X0, the rest is 0."""

    x0: Output

    def __str__(self) -> str:
        return f"X0 = {self.x0:#x}" if isinstance(self.x0, int) else f"X0 = {self.x0}"


class Entered(NamedTuple):
    """RMI_REC_ENTER has entered the realm and not returned: registers at the first instruction, and a pending SEA."""

    rec: int
    gprs: tuple[Output, ...]
    pc: int
    sea: bool = False

    def __str__(self) -> str:
        return f"entered, pc {self.pc:#x}{', SEA taken' if self.sea else ''}"


class RecExit(NamedTuple):
    """``RmiRecExit`` (B4.4.16): fields are zero unless a rule says otherwise (A4.3.1)."""

    exit_reason: ExitReason
    esr: int = 0
    far: int = 0
    hpfar: int = 0
    gprs: tuple[int, ...] = (0,) * 31
    ripas_base: int = 0
    ripas_top: int = 0
    ripas_value: Ripas = Ripas.EMPTY
    imm: int = 0
    gicv3_hcr: int = 0
    gicv3_lrs: tuple[int, ...] = (0,) * 16
    gicv3_misr: int = 0
    gicv3_vmcr: int = 0
    cntp_ctl: int = 0
    cntp_cval: int = 0
    cntv_ctl: int = 0
    cntv_cval: int = 0
    pmu_ovf_status: int = 0


class Exited(NamedTuple):
    """RMI_REC_ENTER returned RMI_SUCCESS after a REC exit."""

    exit: RecExit

    def __str__(self) -> str:
        return f"RMI_SUCCESS, {self.exit.exit_reason.name}"


class RealmException(Enum):
    """Exceptions taken to the realm instead of, or on, an access or instruction."""

    SEA = "Synchronous External Abort"
    ADDRESS_SIZE = "stage 1 Address Size Fault"
    UNKNOWN = "Unknown exception"
    GPF = "Granule Protection Fault"


class ToRealm(NamedTuple):
    """An exception is taken to the realm."""

    exception: RealmException

    def __str__(self) -> str:
        return f"{self.exception.value} taken to the realm"


class Accessed(NamedTuple):
    """A realm's access was performed at a physical address, or an instruction of the realm simply completed (None)."""

    pa: int | None = None
    secure: bool = True

    def __str__(self) -> str:
        return "done" if self.pa is None else f"accesses {self.pa:#x}"


Result = RmiResult | RsiResult | SmcResult | Entered | Exited | ToRealm | Accessed


class Outcome(NamedTuple):
    """A permitted outcome of a step: the state after it, what the caller sees, and why it is permitted."""

    state: State
    result: Result
    reason: str


def _text(outputs: Sequence[Output]) -> str:
    return "".join(f" {value:x}" if isinstance(value, int) else f" <{value}>" for value in outputs)
