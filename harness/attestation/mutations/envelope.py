"""Mutations of the COSE_Sign1 envelopes: form, headers, payload, and every byte of both signatures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from harness.attestation.build import EnvelopeParts, Pairs, Raw, Tagged, TokenParts, Value, encode, sign
from harness.attestation.mutations.claims import combination_of
from harness.attestation.mutations.mutation import (
    WHICH,
    Mutation,
    envelope,
    mutation,
    with_bytes,
    with_envelope,
)
from refmodel.attestation import claims as c
from refmodel.attestation.headers import ALG, ALGORITHMS, CONTENT_TYPE, CRIT, HEADERS_2, KID, SIGN1_TAG, X5CHAIN, X5T
from refmodel.rules import Rule

_SIGNATURE = {"platform": Rule.PLATFORM_SIGNATURE, "realm": Rule.REALM_SIGNATURE}


def of_envelopes(parts: TokenParts) -> Iterator[Mutation]:
    """Every mutation of both envelopes."""
    for which in WHICH:
        yield from _form(parts, which)
        yield from _headers(parts, which)
        yield from _algorithms(parts, which)
        yield from _signatures(parts, which)
        yield from _payloads(parts, which)


def _form(parts: TokenParts, which: str) -> Iterator[Mutation]:
    elements = envelope(parts, which).elements()
    protected, unprotected, payload, signature = elements

    def put(value: Value) -> bytes:
        return with_bytes(parts, which, encode(value)).build()

    yield mutation(f"{which} untagged", put(elements), Rule.SIGN1_FORM)
    for number in (16, 17, 61, 96, 98):
        yield mutation(f"{which} with tag {number}", put(Tagged(number, elements)), Rule.SIGN1_FORM)
    yield mutation(f"{which} tagged twice", put(Tagged(61, Tagged(SIGN1_TAG, elements))), Rule.SIGN1_FORM)
    for count in (0, 1, 3, 5):
        made = ((*elements, b"x"))[:count]
        yield mutation(f"{which} with {count} elements", put(Tagged(SIGN1_TAG, made)), Rule.SIGN1_FORM)
    for other in (b"", "x", 1, Pairs()):
        yield mutation(f"{which} is {other!r}", put(Tagged(SIGN1_TAG, other)), Rule.SIGN1_FORM)
    for name, made, rule in (
        ("protected header as map", (Raw(_bytes(protected)), *elements[1:]), Rule.SIGN1_FORM),
        ("unprotected header as bytes", (protected, b"\xa0", payload, signature), Rule.SIGN1_FORM),
        ("payload detached", (protected, unprotected, None, signature), Rule.SIGN1_PAYLOAD),
        ("payload as map", (protected, unprotected, Raw(_bytes(payload)), signature), Rule.SIGN1_PAYLOAD),
        ("signature as text", (protected, unprotected, payload, "x" * 96), Rule.SIGN1_FORM),
        ("signature missing", (protected, unprotected, payload, None), Rule.SIGN1_FORM),
    ):
        yield mutation(f"{which} {name}", put(Tagged(SIGN1_TAG, made)), rule)


def _bytes(value: Value) -> bytes:
    assert isinstance(value, bytes)
    return value


def _with_headers(
    parts: TokenParts, which: str, protected: Pairs | None = None, unprotected: Pairs | None = None
) -> bytes:
    old = envelope(parts, which)
    made = replace(
        old,
        protected=old.protected if protected is None else protected,
        unprotected=old.unprotected if unprotected is None else unprotected,
    )
    return with_envelope(parts, which, made).build()


def _headers(parts: TokenParts, which: str) -> Iterator[Mutation]:
    own = envelope(parts, which).protected
    alg = own.get(ALG)

    def add(label: Value, value: Value) -> bytes:
        return _with_headers(parts, which, Pairs((*own.pairs, (label, value))))

    def beside(*pairs: tuple[Value, Value]) -> bytes:
        return _with_headers(parts, which, unprotected=Pairs(pairs))

    yield mutation(f"{which} alg twice", add(ALG, alg), Rule.CBOR_UNIQUE_KEYS)
    yield mutation(f"{which} alg in both headers", beside((ALG, alg)), Rule.SIGN1_HEADERS)
    only_outside = _with_headers(parts, which, Pairs(), Pairs(((ALG, alg),)))
    yield mutation(f"{which} alg unprotected", only_outside, Rule.SIGN1_ALG)
    yield mutation(f"{which} no headers", _with_headers(parts, which, Pairs(), Pairs()), Rule.SIGN1_ALG)
    for label, value in ((5, b"iv"), (6, b"iv"), (11, b""), (99, 1), ("x", 1), (-70001, b"")):
        name = f"{which} with header {label!r}"
        yield mutation(f"{name} protected", add(label, value), Rule.SIGN1_HEADERS)
        yield mutation(f"{name} unprotected", beside((label, value)), Rule.SIGN1_HEADERS)
    yield mutation(f"{which} with kid protected", add(KID, b"key"))
    yield mutation(f"{which} with kid unprotected", beside((KID, b"key")))
    yield mutation(f"{which} with kid as text", add(KID, "key"), Rule.SIGN1_HEADERS)
    both = _with_headers(parts, which, Pairs((*own.pairs, (KID, b"a"))), Pairs(((KID, b"a"),)))
    yield mutation(f"{which} with kid in both headers", both, Rule.SIGN1_HEADERS)
    newer = () if combination_of(parts)[0].headers is HEADERS_2 else (Rule.SIGN1_HEADERS,)
    yield mutation(f"{which} with content type", add(CONTENT_TYPE, 263), *newer)
    yield mutation(f"{which} with x5t", add(X5T, (-16, bytes(32))), *newer)
    yield mutation(f"{which} with x5chain", beside((X5CHAIN, b"certificate")), *newer)
    yield mutation(f"{which} with x5chain of two", beside((X5CHAIN, (b"one", b"two"))), *newer)
    yield mutation(f"{which} with x5t malformed", add(X5T, (b"", -16)), Rule.SIGN1_HEADERS)
    yield mutation(f"{which} with x5chain as text", beside((X5CHAIN, "x")), Rule.SIGN1_HEADERS)
    yield from _critical(parts, which, own)


def _critical(parts: TokenParts, which: str, own: Pairs) -> Iterator[Mutation]:
    def crit(*pairs: tuple[Value, Value]) -> bytes:
        return _with_headers(parts, which, Pairs((*own.pairs, *pairs)))

    yield mutation(f"{which} crit understood", crit((CRIT, (ALG,))))
    yield mutation(f"{which} crit names an absent header", crit((CRIT, (KID,))), Rule.SIGN1_CRIT)
    yield mutation(f"{which} crit empty", crit((CRIT, ())), Rule.SIGN1_CRIT)
    yield mutation(f"{which} crit is a label", crit((CRIT, 1)), Rule.SIGN1_CRIT)
    yield mutation(f"{which} crit unknown", crit((CRIT, (99,)), (99, 1)), Rule.SIGN1_CRIT)
    yield mutation(f"{which} crit unknown by name", crit((CRIT, ("x",)), ("x", 1)), Rule.SIGN1_CRIT)
    yield mutation(f"{which} crit known and unknown", crit((CRIT, (ALG, -70000)), (-70000, 1)), Rule.SIGN1_CRIT)
    outside = _with_headers(parts, which, unprotected=Pairs(((CRIT, (ALG,)),)))
    yield mutation(f"{which} crit unprotected", outside, Rule.SIGN1_HEADERS)


def _algorithms(parts: TokenParts, which: str) -> Iterator[Mutation]:
    own = envelope(parts, which).protected
    for other in (-8, -37, -65535, 0, "ES384", b"", None, -9):
        made = _with_headers(parts, which, own.put(ALG, other))
        yield mutation(f"{which} alg = {other!r}", made, Rule.SIGN1_ALG)
    for algorithm in ALGORITHMS.values():
        if algorithm.value != own.get(ALG):
            made = _with_headers(parts, which, own.put(ALG, algorithm.value))
            rules = Rule.SIGN1_CURVE, Rule.SIGN1_LENGTH
            yield mutation(f"{which} alg = {algorithm.name}", made, *rules)


def _signatures(parts: TokenParts, which: str) -> Iterator[Mutation]:
    old = envelope(parts, which)
    protected, unprotected, payload, signature = old.elements()
    raw = _bytes(signature)

    def put(changed: bytes) -> bytes:
        made = Tagged(SIGN1_TAG, (protected, unprotected, payload, changed))
        return with_bytes(parts, which, encode(made)).build()

    rule, half = _SIGNATURE[which], len(raw) // 2
    for index in range(len(raw)):
        flipped = raw[:index] + bytes([raw[index] ^ (1 << index % 8)]) + raw[index + 1 :]
        yield mutation(f"{which} signature byte {index} flipped", put(flipped), rule)
    r, s = int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big")
    yield mutation(f"{which} signature halves swapped", put(raw[half:] + raw[:half]), rule)
    yield mutation(f"{which} signature of zeros", put(bytes(len(raw))), rule)
    yield mutation(f"{which} signature of ones", put(b"\xff" * len(raw)), rule)
    yield mutation(f"{which} signature in DER", put(encode_dss_signature(r, s)), Rule.SIGN1_LENGTH)
    for size in (0, 1, len(raw) - 1, len(raw) + 1, 2 * len(raw)):
        yield mutation(f"{which} signature of {size} bytes", put((raw * 2)[:size]), Rule.SIGN1_LENGTH)
    other = sign(old.key, _bytes(protected), _bytes(payload) + b"\0")
    yield mutation(f"{which} signature of other data", put(other), rule)


def _payloads(parts: TokenParts, which: str) -> Iterator[Mutation]:
    """Payloads that are no map, signed all the same."""
    old = envelope(parts, which)
    for name, data in (("empty", b""), ("an array", b"\x80"), ("a text", b"\x60"), ("a number", b"\x00")):
        yield mutation(f"{which} payload {name}", _signed(parts, which, old, data), *_NO_MAP[name])
    for label in (c.CONFIG, c.IMPLEMENTATION_ID) if which == "platform" else (c.CHALLENGE, c.RPV, c.RIM):
        held = _bytes(old.claims.get(label))
        changed = old.claims.put(label, bytes([held[0] ^ 1]) + held[1:])
        elements = old.elements()
        made = Tagged(SIGN1_TAG, (elements[0], elements[1], encode(changed), elements[3]))
        spoiled = with_bytes(parts, which, encode(made)).build()
        yield mutation(f"{which} claim {label} changed after signing", spoiled, _SIGNATURE[which])


_NO_MAP = {
    "empty": (Rule.CBOR_WELL_FORMED,),
    "an array": (Rule.SIGN1_PAYLOAD,),
    "a text": (Rule.SIGN1_PAYLOAD,),
    "a number": (Rule.SIGN1_PAYLOAD,),
}


def _signed(parts: TokenParts, which: str, old: EnvelopeParts, payload: bytes) -> bytes:
    protected = encode(old.protected)
    made = Tagged(SIGN1_TAG, (protected, old.unprotected, payload, sign(old.key, protected, payload)))
    return with_bytes(parts, which, encode(made)).build()
