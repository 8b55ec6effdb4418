"""World-switch hygiene: fill every register, call the firmware, and say which registers came back changed.

What has to be preserved is stated by SMCCC (DEN0028): x4 to x17 since version 1.1 unless they hold results, x18 to x30,
SIMD and floating-point registers, and the caller's system registers.  Here it is only compared; suites judge.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from harness.host.calls import Call
from harness.host.probe import CallResult, Fill, HostProbe
from harness.host.registers import BY_ENCODING, EL2, REGISTERS

_ARGUMENTS: Final = 18
_FPSR: Final = 0xF800_009F  # cumulative flags and N, Z, C, V, QC
_FPCR: Final = 0x07C0_0000  # AHP, DN, FZ, RMode
_EL2: Final = frozenset(register.encoding for register in EL2)
_FIRST_KEPT: Final = 4  # x0-x3 are SMCCC's result registers


@dataclass(frozen=True, kw_only=True)
class Changes:
    """Registers that are not as the caller left them, by name: what each was and what it is now.

    ``arguments``: x4-x17 beyond the call's results; ``callee``: x18-x30; ``simd``: q0-q31, FPSR, FPCR;
    ``system``: registers of EL1 and EL0; ``el2``: of EL2; ``leaked``: result registers x1-x3 that the call defines
    no result for and that hold neither zero nor what the caller put there.
    """

    arguments: Mapping[str, tuple[int, int]]
    callee: Mapping[str, tuple[int, int]]
    simd: Mapping[str, tuple[int, int]]
    system: Mapping[str, tuple[int, int]]
    el2: Mapping[str, tuple[int, int]]
    leaked: Mapping[str, tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One filled call: x0 as it came back, what changed, and how many system registers really held a random value."""

    x0: int
    changes: Changes
    filled: int
    watched: int


def observe(probe: HostProbe, call: Call, rng: random.Random) -> Observation:
    """Make one call with everything filled at random, and compare."""
    words = [*call.arguments]
    words += [rng.getrandbits(64) for _ in range(_ARGUMENTS - len(words))]
    fill = Fill(
        x=tuple(rng.getrandbits(64) for _ in range(13)),
        q=tuple(rng.getrandbits(128) for _ in range(32)),
        fpsr=rng.getrandbits(32) & _FPSR,
        fpcr=rng.getrandbits(32) & _FPCR,
    )
    present = probe.registers([register.encoding for register in REGISTERS])
    written = {
        encoding: (value & ~BY_ENCODING[encoding].filled) | (rng.getrandbits(64) & BY_ENCODING[encoding].filled)
        for encoding, value in present.items()
        if BY_ENCODING[encoding].filled
    }
    result = probe.call(words, fill=fill, written=written, watched=list(present))
    return Observation(
        x0=result.x[0],
        changes=_changes(call, words, fill, result),
        filled=sum(result.before.get(encoding) != value for encoding, value in present.items()),
        watched=len(result.before),
    )


def _changes(call: Call, words: list[int], fill: Fill, result: CallResult) -> Changes:
    x, dump = result.x, result.dump
    first = max(_FIRST_KEPT, call.results)
    callee = {f"x{n}": (fill.x[n - 18], dump.x[n]) for n in range(18, 31)}
    simd = {f"q{n}": (fill.q[n], dump.q[n]) for n in range(32)}
    simd |= {"FPSR": (fill.fpsr, dump.fpsr), "FPCR": (fill.fpcr, dump.fpcr)}
    pairs = {encoding: (value, result.after.get(encoding, -1)) for encoding, value in result.before.items()}
    spare = range(max(1, call.results), _FIRST_KEPT)
    return Changes(
        arguments=_differing({f"x{n}": (words[n], x[n]) for n in range(first, _ARGUMENTS)}),
        callee=_differing(callee),
        simd=_differing(simd),
        system=_differing({BY_ENCODING[e].name: pair for e, pair in pairs.items() if e not in _EL2}),
        el2=_differing({BY_ENCODING[e].name: pair for e, pair in pairs.items() if e in _EL2}),
        leaked={f"x{n}": (words[n], x[n]) for n in spare if x[n] not in (0, words[n])},
    )


def _differing(pairs: Mapping[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
