"""Mutations of keys: the wrong signer, a RAK of another form, malformed, off its curve, or bound to something else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from harness.attestation import keys
from harness.attestation.build import (
    Pairs,
    TokenParts,
    Value,
    algorithm_for,
    cose_key_of,
    encode,
    key_bytes,
    new_key,
)
from harness.attestation.mutations.mutation import Mutation, envelope, mutation, with_claims, with_envelope
from refmodel.attestation import claims as c
from refmodel.attestation.headers import ALG
from refmodel.attestation.profiles import KeyForm
from refmodel.attestation.rak import CRV, KEY_ALG, KEY_KID, KEY_OPS, KTY, D, X, Y
from refmodel.rules import Rule


def of_keys(parts: TokenParts) -> Iterator[Mutation]:
    """Every mutation of the keys."""
    for which, rule in (("platform", Rule.PLATFORM_SIGNATURE), ("realm", Rule.REALM_SIGNATURE)):
        old = envelope(parts, which)
        stranger = replace(old, key=new_key(keys.curve_of(old.key)))
        yield mutation(f"{which} signed by a stranger", with_envelope(parts, which, stranger).build(), rule)
    yield from _binding(parts)
    key = parts.realm.claims.get(c.RAK)
    if isinstance(key, bytes) and key[:1] == b"\x04":
        yield from _raw(parts, key)
    else:
        yield from _cose(parts)
        yield from _curves(parts)


def _with_key(parts: TokenParts, key: bytes) -> bytes:
    """With another realm public key, bound, and signed by the old one."""
    return with_claims(parts, "realm", lambda held: held.put(c.RAK, key)).bound().build()


def _binding(parts: TokenParts) -> Iterator[Mutation]:
    form = KeyForm.COSE_KEY
    old = parts.realm.claims.get(c.RAK)
    if isinstance(old, bytes) and old[:1] == b"\x04":
        form = KeyForm.RAW_POINT
    other = new_key(keys.curve_of(parts.realm.key))
    stolen = replace(parts.realm, key=other, claims=parts.realm.claims.put(c.RAK, key_bytes(other.public_key(), form)))
    yield mutation("realm token of another RAK", replace(parts, realm=stolen).build(), Rule.RAK_BINDING)
    yield mutation("RAK swapped and bound", _with_key(parts, key_bytes(other.public_key(), form)), Rule.REALM_SIGNATURE)
    if form is KeyForm.COSE_KEY:
        # The same key, encoded otherwise: the binding is over the bytes.
        again = encode(Pairs(cose_key_of(parts.realm.key.public_key()).pairs[::-1]))
        changed = with_claims(parts, "realm", lambda held: held.put(c.RAK, again))
        yield mutation("RAK encoded anew, binding kept", changed.build(), Rule.RAK_BINDING)
        yield mutation("RAK encoded anew and bound", _with_key(parts, again))


def _raw(parts: TokenParts, key: bytes) -> Iterator[Mutation]:
    for size in (0, 1, 65, 96, 98, 133):
        made = _with_key(parts, (key * 2)[:size])
        yield mutation(f"RAK of {size} bytes", made, Rule.RAK_PARAMETERS, Rule.RAK_FORM)
    off = key[:-1] + bytes([key[-1] ^ 1])
    yield mutation("RAK off its curve", _with_key(parts, off), Rule.RAK_POINT)
    compressed = bytes([2 + (key[-1] & 1)]) + key[1:49]
    yield mutation("RAK compressed", _with_key(parts, compressed), Rule.RAK_FORM)
    cose = key_bytes(parts.realm.key.public_key(), KeyForm.COSE_KEY)
    if parts.platform.claims.get(c.PROFILE) == "http://arm.com/CCA-SSD/1.0.0":
        yield mutation("RAK as COSE_Key", _with_key(parts, cose), Rule.RAK_FORM)


def _cose(parts: TokenParts) -> Iterator[Mutation]:
    own = cose_key_of(parts.realm.key.public_key())
    x, y = own.get(X), own.get(Y)
    assert isinstance(x, bytes)
    assert isinstance(y, bytes)

    def put(name: str, changed: Pairs, *rules: Rule) -> Mutation:
        return mutation(f"RAK {name}", _with_key(parts, encode(changed)), *rules)

    bad = Rule.RAK_PARAMETERS
    for label in (KTY, CRV, X, Y):
        yield put(f"without parameter {label}", own.without(label), bad)
        yield put(f"with parameter {label} twice", Pairs((*own.pairs, (label, own.get(label)))), Rule.CBOR_UNIQUE_KEYS)
    for label, values in (
        (KTY, (1, 3, 4, 0, "EC", True, b"")),
        (CRV, (0, 6, 8, "P-384", True)),
        (X, (b"", x[:-1], x + b"\0", "x", 1)),
        (Y, (b"", y[:-1], y + b"\0", "y", 1)),
        (KEY_KID, ("text", 1)),
        (KEY_ALG, (-7 if len(x) != 32 else -35, -8, "ES384")),
        (KEY_OPS, ((), (1,), 2, ("sign",))),
        (D, (bytes(len(x)), 0)),
    ):
        for value in values:
            yield put(f"with parameter {label} = {_short(value)}", own.put(label, value), bad)
    yield put("off its curve", own.put(Y, y[:-1] + bytes([y[-1] ^ 1])), Rule.RAK_POINT)
    yield put("at infinity", own.put(X, bytes(len(x))).put(Y, bytes(len(y))), Rule.RAK_POINT)
    yield put("compressed", own.put(Y, bool(y[-1] & 1)))
    yield put("compressed to the wrong half", own.put(Y, not y[-1] & 1), Rule.REALM_SIGNATURE)
    algorithm = algorithm_for(parts.realm.key).value
    yield put("with alg, key_ops and kid", own.put(KEY_ALG, algorithm).put(KEY_OPS, (2,)).put(KEY_KID, b"rak"))
    yield put("with an unknown parameter", Pairs((*own.pairs, (-70000, b"?"))))
    whole = encode(own)
    yield mutation("RAK with a byte more", _with_key(parts, whole + b"\0"), Rule.CBOR_NOTHING_FOLLOWS)
    yield mutation("RAK with a byte less", _with_key(parts, whole[:-1]), Rule.CBOR_WELL_FORMED)
    yield mutation("RAK of indefinite length", _with_key(parts, b"\xbf" + whole[1:] + b"\xff"), Rule.CBOR_DEFINITE)
    for name, data in (("empty", b""), ("an array", b"\x80"), ("tagged", b"\xd8\x65" + whole)):
        yield mutation(f"RAK {name}", _with_key(parts, data), Rule.RAK_FORM)
    if parts.realm.claims.has(c.PROFILE):
        point = keys.public_octets(parts.realm.key.public_key())
        yield mutation("RAK as raw point", _with_key(parts, point), Rule.RAK_FORM)


def _short(value: Value) -> str:
    return f"{len(value)} bytes" if isinstance(value, bytes) else repr(value)


def _curves(parts: TokenParts) -> Iterator[Mutation]:
    """Every curve for both keys; a RAK on a curve that its algorithm is not for."""
    for curve in keys.CURVES:
        key = new_key(curve)
        held = parts.realm.claims.put(c.RAK, key_bytes(key.public_key(), KeyForm.COSE_KEY))
        alg = algorithm_for(key).value
        made = replace(parts.realm, key=key, claims=held, protected=parts.realm.protected.put(ALG, alg))
        yield mutation(f"RAK on {curve}", replace(parts, realm=made).bound().build())
        for name in ("sha-256", "sha-384", "sha-512"):
            named = replace(made, claims=held.put(c.RAK_HASH, name))
            yield mutation(f"RAK on {curve} bound with {name}", replace(parts, realm=named).bound().build())
        if curve != keys.curve_of(parts.realm.key):
            wrong = replace(made, protected=parts.realm.protected)
            rules = Rule.SIGN1_CURVE, Rule.SIGN1_LENGTH
            yield mutation(f"RAK on {curve} with another alg", replace(parts, realm=wrong).bound().build(), *rules)
