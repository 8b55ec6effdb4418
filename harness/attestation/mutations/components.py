"""Mutations of the software components: none at all, and every field of each removed, retyped, resized, repeated."""

from __future__ import annotations

from collections.abc import Iterator

from harness.attestation.build import Pairs, TokenParts, Value
from harness.attestation.mutations.mutation import Mutation, mutation, with_claims
from refmodel.attestation import claims as c
from refmodel.rules import Rule

_DIGESTS = (c.MEASUREMENT, c.SIGNER)
_TEXTS = (c.TYPE, c.VERSION, c.ALGORITHM)


def of_components(parts: TokenParts) -> Iterator[Mutation]:
    """Every mutation of the first and the last component."""
    components = parts.platform.claims.get(c.SW_COMPONENTS)
    if not isinstance(components, tuple):
        return

    def put(changed: Value) -> bytes:
        return with_claims(parts, "platform", lambda held: held.put(c.SW_COMPONENTS, changed)).build()

    yield mutation("no software components", put(()), Rule.CLAIM_LENGTH)
    yield mutation("software components reversed", put(components[::-1]))
    yield mutation("a software component twice", put((*components, components[0])))
    for index in sorted({0, len(components) - 1}):
        for name, changed, rules in _of_component(components[index], parts):
            made = (*components[:index], changed, *components[index + 1 :])
            yield mutation(f"software component [{index}] {name}", put(made), *rules)


def _of_component(component: Value, parts: TokenParts) -> Iterator[tuple[str, Value, tuple[Rule, ...]]]:
    if not isinstance(component, Pairs):
        return
    for other in ((), b"", "x", 1, None):
        yield f"as {other!r}", other, (Rule.CLAIM_TYPE,)
    yield "empty", Pairs(), (Rule.CLAIM_PRESENT,)
    for label, value in component.pairs:
        if not isinstance(label, int):
            continue
        again = Pairs((*component.pairs, (label, value)))
        yield f"with field {label} twice", again, (Rule.CBOR_UNIQUE_KEYS,)
        gone = component.without(label)
        if label in _DIGESTS:
            yield f"without field {label}", gone, (Rule.CLAIM_PRESENT,)
        elif label in (c.TYPE, c.VERSION):
            yield f"without field {label}", gone, ()
    yield from _fields(component)
    yield "reversed", Pairs(component.pairs[::-1]), ()
    for unknown in (0, 3, 9, "name"):
        yield f"with field {unknown!r}", Pairs((*component.pairs, (unknown, b"?"))), (Rule.CLAIM_OF_PROFILE,)
    if parts.tag == 399:
        # Fields that 2.0 added.
        yield "with live activation", component.put(c.LIVE_ACTIVATION, True), (Rule.CLAIM_OF_PROFILE,)
        yield "with countersigners", component.put(c.COUNTERSIGNERS, (bytes(32),)), (Rule.CLAIM_OF_PROFILE,)


def _fields(component: Pairs) -> Iterator[tuple[str, Value, tuple[Rule, ...]]]:
    for label in _DIGESTS:
        for size in (0, 20, 31, 33, 47, 63, 65):
            yield f"with field {label} of {size} bytes", component.put(label, bytes(size)), (Rule.CLAIM_LENGTH,)
        for other in ("text", 7, None, True):
            yield f"with field {label} as {other!r}", component.put(label, other), (Rule.CLAIM_TYPE,)
    for label in _TEXTS:
        for none in (b"text", 7, None, True):
            yield f"with field {label} as {none!r}", component.put(label, none), (Rule.CLAIM_TYPE,)
    for name in ("", "sha-1", "SHA-256", "TPM_ALG_SHA256"):
        yield f"measured with {name!r}", component.put(c.ALGORITHM, name), (Rule.HASH_NAME,)
    for name, size in (("sha-256", 32), ("sha-384", 48), ("sha-512", 64)):
        fitting = component.put(c.ALGORITHM, name).put(c.MEASUREMENT, bytes(size))
        yield f"measured with {name!r}", fitting, ()
        for other_size in {32, 48, 64} - {size}:
            wrong = component.put(c.ALGORITHM, name).put(c.MEASUREMENT, bytes(other_size))
            yield f"measured with {name!r} and {other_size} bytes", wrong, (Rule.HASH_SIZE,)
