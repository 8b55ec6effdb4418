"""Measuring how fast tokens are verified, next to what the same machine needs for the two signatures alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Final

from harness.attestation import keys
from harness.attestation.build import TokenParts, new_key, sign
from harness.attestation.mint import Component, Statement, mint_parts
from harness.attestation.verify import Status, signed_bytes, verify_token
from harness.errors import MisuseError
from refmodel.attestation.headers import ALGORITHMS
from refmodel.attestation.profiles import COMBINATIONS
from refmodel.rmm.measurement import HashAlgorithm

_ES384: Final = ALGORITHMS[-35]
_COMPONENTS: Final = 13
"""As many software components as TF-A's sample platform token has."""
_ROUNDS: Final = 50


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What ``realmcheck bench token`` measures; one process and one thread, so one core.

    ``verifications_per_second``: whole verifications of a token of about 2 KB with ES384 twice, per second of wall
    time, the best of several rounds.  ``verifications_per_cpu_second``: the same per second of CPU time, which other
    work on the machine does not spoil.  ``signature_pairs_per_second``: two ES384 signatures and nothing
    else, which is the limit.
    """

    verifications_per_second: float
    verifications_per_cpu_second: float
    signature_pairs_per_second: float
    token_bytes: int
    tokens: int


def bench_tokens(*, count: int) -> dict[str, float]:
    """Measure over ``count`` verifications in all."""
    if count < _ROUNDS:
        raise MisuseError(f"--tokens must be at least {_ROUNDS}, not {count}")
    parts = _parts()
    data, key = parts.build(), parts.platform.key.public_key()

    def verify() -> None:
        if verify_token(data, platform_key=key).status is not Status.VALID:
            raise AssertionError("the token that is measured does not verify")

    message = signed_bytes(b"", data)
    signature = sign(parts.platform.key, b"", data)

    def limit() -> None:
        keys.verify(key, _ES384, message, signature)
        keys.verify(key, _ES384, message, signature)

    wall, cpu = _rates(verify, count)
    figures = Figures(
        verifications_per_second=wall,
        verifications_per_cpu_second=cpu,
        signature_pairs_per_second=_rates(limit, count)[0],
        token_bytes=len(data),
        tokens=count,
    )
    return asdict(figures)


def _parts() -> TokenParts:
    """A token of RMM 1.0 of the size that real ones have."""
    digest = HashAlgorithm.SHA_256.digest
    components = tuple(
        Component(kind=f"COMPONENT_{n}", measurement=digest(bytes([n])), signer=digest(b"s"), algorithm="sha-256")
        for n in range(_COMPONENTS)
    )
    statement = Statement(components=components)
    return mint_parts(COMBINATIONS[0], statement, cpak=new_key("P-384"), rak=new_key("P-384"))


def _rates(work: Callable[[], None], count: int) -> tuple[float, float]:
    """The best rate of several rounds by wall clock and by CPU time."""
    each = count // _ROUNDS
    wall, cpu = [], []
    work()
    for _ in range(_ROUNDS):
        started, used = time.perf_counter(), time.process_time()
        for _ in range(each):
            work()
        wall.append(each / (time.perf_counter() - started))
        cpu.append(each / (time.process_time() - used))
    return max(wall), max(cpu)
