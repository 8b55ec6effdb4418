"""How a case is registered, and the cases that nearly every operand has: alignment, bound, state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from refmodel.rmm.calls import HostCall, Memory
from refmodel.rmm.scenario import Script

GB: Final = 1 << 30


@dataclass(frozen=True)
class Case:
    """``call`` after ``script`` meets the failure condition ``label`` of ``command``, and those in ``also``."""

    command: str
    label: str
    variant: str
    script: Script
    call: HostCall
    also: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """Command, label and variant."""
        return f"{self.command}:{self.label}{f' ({self.variant})' if self.variant else ''}"


Made = tuple[tuple[int, ...], Memory] | tuple[tuple[int, ...], Memory, set[str]]
_Maker = Callable[[Script], Made]
MAKERS: dict[tuple[str, str, str], tuple[_Maker, str]] = {}


def case(command: str, label: str, needs: str = "", variant: str = "") -> Callable[[_Maker], _Maker]:
    """Register what makes the case; ``needs`` names what a layout must have, or that the implementation is small."""

    def register(maker: _Maker) -> _Maker:
        MAKERS[f"RMI_{command}", label, variant] = maker, needs
        return maker

    return register


# Three conditions that nearly every operand has --------------------------------------------------------------------

Arguments = Callable[[Script], tuple[list[int], Memory]]


def operand(
    command: str, position: int, labels: tuple[str, str, str], arguments: Arguments, also: frozenset[str] = frozenset()
) -> None:
    """Cases for alignment, bound and state of the operand at ``position`` of an otherwise good call."""
    align, bound, state = labels

    def misaligned(s: Script) -> Made:
        args, memory = arguments(s)
        args[position] += 1
        return tuple(args), memory, set(also)

    def beyond(s: Script) -> Made:
        args, memory = arguments(s)
        args[position] = s.layout.outside
        return tuple(args), memory, set(also)

    def wrong_state(s: Script) -> Made:
        args, memory = arguments(s)
        # An operand that must be DELEGATED gets a granule that is not, any other one gets one that is.
        args[position] = s.undelegated() if delegated else s.granule()
        return tuple(args), memory, set(also)

    delegated = labels[2] in _NEEDS_DELEGATED.get(command, ())
    for label, maker in ((align, misaligned), (bound, beyond), (state, wrong_state)):
        case(command, label)(maker)


_NEEDS_DELEGATED: Final = {
    "DATA_CREATE": {"data_state"},
    "DATA_CREATE_UNKNOWN": {"data_state"},
    "REALM_CREATE": {"rd_state"},
    "REC_CREATE": {"rec_state"},
    "RTT_CREATE": {"rtt_state"},
}


def ns_operand(command: str, position: int, prefix: str, arguments: Arguments) -> None:
    """The same for an operand in the Host's memory."""
    operand(command, position, (f"{prefix}_align", f"{prefix}_bound", f"{prefix}_pas"), arguments)


RD: Final = ("rd_align", "rd_bound", "rd_state")
