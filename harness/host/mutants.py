"""Mutants of what the Normal world observes: one observation of the probe or of Linux falsified at a time.

Each stands for firmware with one fault: a register that a world switch leaves behind, a granule that a call forgets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from harness.boot.mutants import StackMutant
from harness.host.probe import CallResult
from harness.host.registers import REGISTERS
from refmodel.mutants.mutant import Original, Patch

_PROBE: Final = "harness.host.probe"
_ENCODINGS: Final = {register.name: register.encoding for register in REGISTERS}
Change = Callable[[CallResult], CallResult]


def _call(name: str, rule: str, change: Change) -> StackMutant:
    """Every call comes back with this change."""

    def make(original: Original) -> Callable[..., CallResult]:
        return lambda *args, **kwargs: change(original(*args, **kwargs))

    return StackMutant(name, "hygiene", (rule,), (Patch(_PROBE, "HostProbe.call", make),), "observation")


def _x(index: int) -> Change:
    """A general register changed: of x0-x17 as the call's results have it, of the others as the dump has it."""

    def change(result: CallResult) -> CallResult:
        if index < len(result.x):
            return replace(result, x=(*result.x[:index], result.x[index] ^ 0x10, *result.x[index + 1 :]))
        x = result.dump.x
        return replace(result, dump=replace(result.dump, x=(*x[:index], x[index] ^ 0x10, *x[index + 1 :])))

    return change


def _q(index: int) -> Change:
    def change(result: CallResult) -> CallResult:
        q = result.dump.q
        return replace(result, dump=replace(result.dump, q=(*q[:index], q[index] ^ 1 << 127, *q[index + 1 :])))

    return change


def _fpcr(result: CallResult) -> CallResult:
    return replace(result, dump=replace(result.dump, fpcr=result.dump.fpcr ^ 1 << 22))


def _system(name: str) -> Change:
    """A system register changed."""
    encoding = _ENCODINGS[name]
    return lambda result: replace(result, after={**result.after, encoding: result.after.get(encoding, 0) ^ 1})


def _lost(name: str) -> Change:
    """A system register that cannot be read any more."""
    return lambda result: replace(result, after={e: v for e, v in result.after.items() if e != _ENCODINGS[name]})


HYGIENE_MUTANTS: Final = (
    _call("smc-changes-x4", "HYG-001", _x(4)),
    _call("smc-changes-x17", "HYG-001", _x(17)),
    _call("smc-changes-x18", "HYG-002", _x(18)),
    _call("smc-changes-x30", "HYG-002", _x(30)),
    _call("smc-changes-q31", "HYG-003", _q(31)),
    _call("smc-changes-fpcr", "HYG-003", _fpcr),
    _call("smc-changes-key", "HYG-004", _system("APIAKeyLo_EL1")),
    _call("smc-loses-register", "HYG-004", _lost("TPIDR_EL1")),
    _call("smc-changes-vttbr", "HYG-005", _system("VTTBR_EL2")),
    _call("smc-leaks-x3", "HYG-006", _x(3)),
)
HOST_MUTANTS: tuple[StackMutant, ...] = HYGIENE_MUTANTS
