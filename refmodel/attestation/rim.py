"""RIM and REM recomputed: how a realm was built, step by step, under every generation of what is measured.

The hashing itself is ``refmodel/rmm/measurement.py``.  Contents of Granules are handed in; nothing is read here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from refmodel.rmm.measurement import (
    GENERATIONS,
    ZERO_MEASUREMENT,
    Generation,
    HashAlgorithm,
    MeasuredRealmParams,
    RemExtend,
    RemRule,
    RimExtendData,
    RimExtendRec,
    RimExtendRipas,
    RimInit,
)

REMS: Final = 4
"""How many REMs a realm has; RSI numbers them from 1, and 0 is the RIM."""


@dataclass(frozen=True, slots=True)
class Data:
    """RMI_DATA_CREATE of one Granule of 4 KB at an IPA."""

    ipa: int
    flags: int
    content: bytes

    def __str__(self) -> str:
        return f"DATA ipa={self.ipa:#x} flags={self.flags:#x}"


@dataclass(frozen=True, slots=True)
class Ripas:
    """RMI_RTT_INIT_RIPAS from IPA ``base`` up to ``top``, over RTT entries of ``entry_bytes``."""

    base: int
    top: int
    entry_bytes: int

    def __str__(self) -> str:
        return f"RIPAS base={self.base:#x} top={self.top:#x} entry={self.entry_bytes:#x}"


@dataclass(frozen=True, slots=True)
class Rec:
    """RMI_REC_CREATE with its flags, pc and 8 general-purpose registers."""

    flags: int
    pc: int
    gprs: tuple[int, ...]

    def __str__(self) -> str:
        return f"REC flags={self.flags:#x} pc={self.pc:#x} gprs={','.join(f'{value:#x}' for value in self.gprs)}"


Step = Data | Ripas | Rec


@dataclass(frozen=True, slots=True)
class Extend:
    """RSI_MEASUREMENT_EXTEND of a REM, by RSI's index from 1 to 4, with at most 64 bytes."""

    index: int
    value: bytes


@dataclass(frozen=True, slots=True)
class Construction:
    """How a realm was built and what it measured itself, in order."""

    params: MeasuredRealmParams
    steps: tuple[Step, ...] = ()
    extends: tuple[Extend, ...] = ()

    def with_algorithm(self, algorithm: HashAlgorithm) -> Construction:
        """The same realm with another hash algorithm, which is one of the measured parameters."""
        return replace(self, params=replace(self.params, hash_algo=algorithm))


@dataclass(frozen=True, slots=True)
class Extension:
    """What a step did: its description, and the 64-byte RIM after it."""

    step: str
    rim: bytes


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything one generation makes of a construction.

    ``rems``: what each reading of REM extension that the generation permits makes, four digests.
    """

    generation: Generation
    algorithm: HashAlgorithm
    extensions: tuple[Extension, ...]
    rems: Mapping[RemRule, tuple[bytes, ...]] = field(default_factory=dict)

    @property
    def rim(self) -> bytes:
        """The final digest, as a token reports it: without the padding."""
        return self.extensions[-1].rim[: self.algorithm.digest_bytes]


def measure(construction: Construction, generation: Generation) -> Measured:
    """The measurements under one generation.

    ValueError when the generation does not have the hash algorithm, or a step is malformed.
    """
    algorithm = construction.params.hash_algo
    if algorithm not in generation.algorithms:
        raise ValueError(f"{generation.name} has no {algorithm.token_name}")
    rems = {rule: extended(construction.extends, algorithm, rule) for rule in generation.rem}
    return Measured(generation, algorithm, tuple(_extensions(construction, generation)), rems)


def measure_all(construction: Construction) -> tuple[Measured, ...]:
    """The measurements under every generation that has the construction's hash algorithm."""
    algorithm = construction.params.hash_algo
    return tuple(measure(construction, made) for made in GENERATIONS.values() if algorithm in made.algorithms)


def _extensions(construction: Construction, generation: Generation) -> Iterator[Extension]:
    algorithm = construction.params.hash_algo
    rim = RimInit(construction.params, generation)
    yield Extension(f"REALM {algorithm.token_name} flags={construction.params.flags:#x}", rim)
    for step in construction.steps:
        match step:
            case Data(ipa=ipa, flags=flags, content=content):
                rim = RimExtendData(algorithm, rim, ipa, flags, content, generation)
            case Ripas(base=base, top=top, entry_bytes=entry):
                rim = RimExtendRipas(algorithm, rim, base, top, entry, generation)
            case Rec(flags=flags, pc=pc, gprs=gprs):
                rim = RimExtendRec(algorithm, rim, flags, pc, gprs)
        yield Extension(str(step), rim)


def extended(extends: Sequence[Extend], algorithm: HashAlgorithm, rule: RemRule) -> tuple[bytes, ...]:
    """The four REM digests after a sequence of extensions, under one reading."""
    rems = [ZERO_MEASUREMENT] * REMS
    for extend in extends:
        rems[extend.index - 1] = RemExtend(algorithm, rems[extend.index - 1], extend.value, rule)
    return tuple(rem[: algorithm.digest_bytes] for rem in rems)
