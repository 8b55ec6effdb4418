"""A realm that can be asked: how it is created, what it measures, and how it gets its token, call by call.

A target that has such a realm is an ``Attester``; the model target is one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from harness.attestation.keys import PublicKey
from refmodel.attestation.rim import Construction

SUCCESS, INCOMPLETE = "RSI_SUCCESS", "RSI_INCOMPLETE"


@dataclass(frozen=True, slots=True)
class Chunk:
    """What RSI_ATTESTATION_TOKEN_CONTINUE answered: its status, and the bytes that it wrote."""

    status: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RealmOrder:
    """A realm to be created.

    ``combination`` names the profiles that the machine is asked to use where it has a choice (only the model has);
    ``devices``: whether devices are assigned.
    """

    construction: Construction
    rpv: bytes
    combination: str
    platform_profile: str = ""
    devices: bool = False


class AttestingRealm(Protocol):
    """A realm, seen from inside and from its host."""

    @property
    def platform_key(self) -> PublicKey | None:
        """The platform's public key, None where nobody knows it."""

    def create(self, order: RealmOrder) -> None:
        """Create and activate a new realm in place of the one before."""

    def measurement(self, index: int) -> bytes:
        """RSI_MEASUREMENT_READ: the 64 bytes of a measurement, 0 the RIM, 1 to 4 the REMs."""

    def extend(self, index: int, value: bytes) -> str:
        """RSI_MEASUREMENT_EXTEND: the status."""

    def begin_token(self, challenge: bytes) -> int:
        """RSI_ATTESTATION_TOKEN_INIT with 64 bytes: the largest size that the token may have."""

    def continue_token(self, size: int) -> Chunk:
        """RSI_ATTESTATION_TOKEN_CONTINUE for at most ``size`` bytes."""


@runtime_checkable
class Attester(Protocol):
    """A target that has a realm."""

    def attesting_realm(self) -> AttestingRealm:
        """The realm; TargetError when the target is off."""


def fetch_token(
    realm: AttestingRealm, challenge: bytes, size: int, most_calls: int = 100_000
) -> tuple[int, list[Chunk]]:
    """INIT, then CONTINUE until the status is no longer RSI_INCOMPLETE, or ``most_calls`` calls were made.

    The size that INIT announced, and the pieces.
    """
    largest = realm.begin_token(challenge)
    chunks: list[Chunk] = []
    while not chunks or (chunks[-1].status == INCOMPLETE and len(chunks) < most_calls):
        chunks.append(realm.continue_token(size))
    return largest, chunks
