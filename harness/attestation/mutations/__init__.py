"""The mutation corpus: from one token, every way to spoil it and every way to vary it that must stay valid.

``corpus`` yields them; each says by which rule it must be refused (none: it must be accepted).
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.attestation.build import TokenParts
from harness.attestation.mutations.claims import of_claims
from harness.attestation.mutations.components import of_components
from harness.attestation.mutations.encoding import of_encoding
from harness.attestation.mutations.envelope import of_envelopes
from harness.attestation.mutations.keys import of_keys
from harness.attestation.mutations.mutation import Mutation
from harness.attestation.mutations.wrapper import of_wrapper

__all__ = ["Mutation", "corpus"]


def corpus(parts: TokenParts) -> Iterator[Mutation]:
    """Every mutation of a well-formed token, signed by the keys of ``parts`` unless the signature is the point."""
    for make in (of_claims, of_components, of_encoding, of_envelopes, of_keys, of_wrapper):
        yield from make(parts)
