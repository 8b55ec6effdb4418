"""A token as a tree that a person can read, malformed parts included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from harness.attestation.verify import Verification
from refmodel.attestation import claims as c
from refmodel.attestation.claims import Claim
from refmodel.attestation.headers import ALG, ALGORITHMS, CONTENT_TYPE, CRIT, KID, X5BAG, X5CHAIN, X5T, X5U
from refmodel.attestation.items import Array, Bytes, Int, Item, Map, Text, describe, label_text
from refmodel.attestation.rak import BASE_IV, CRV, CURVES, KEY_ALG, KEY_KID, KEY_OPS, KTY, X, Y
from refmodel.attestation.shapes import ArrayShape, RecordShape, Shape
from refmodel.attestation.token import Envelope

_HEADERS: Final = {
    ALG: "alg", CRIT: "crit", CONTENT_TYPE: "content type", KID: "kid",
    X5BAG: "x5bag", X5CHAIN: "x5chain", X5T: "x5t", X5U: "x5u",
}  # fmt: skip
_KEY: Final = {
    KTY: "kty", KEY_KID: "kid", KEY_ALG: "alg", KEY_OPS: "key_ops", BASE_IV: "Base IV", CRV: "crv", X: "x", Y: "y",
}  # fmt: skip
_LONGEST: Final = 64
"""Bytes of a byte string that are shown; the rest is counted."""


def tree(made: Verification) -> list[str]:
    """The lines: wrapper, both tokens with headers and claims, the key, the device token."""
    decoded = made.decoded
    lines = [f"cca-token, tag {decoded.tag if decoded.tag is not None else 'unknown'}"]
    if made.judged.combination is not None:
        lines[0] += f", {made.judged.combination.name}"
    for title, envelope, table in (
        ("platform token", decoded.platform, c.PLATFORM_CLAIMS),
        ("realm token", decoded.realm, c.REALM_CLAIMS),
    ):
        lines += [f"  {title}", *(f"    {line}" for line in _envelope(envelope, table, decoded.key))]
    if isinstance(decoded.device_claims, Map):
        lines += ["  device token", *(f"    {line}" for line in _claims(decoded.device_claims, c.DEVICE_CLAIMS, None))]
    return lines


def _envelope(envelope: Envelope | None, table: Mapping[int, Claim], key: Item | None) -> Iterator[str]:
    if envelope is None:
        yield "cannot be decoded"
        return
    for name, header in (("protected", envelope.protected), ("unprotected", envelope.sign1.unprotected)):
        if header is None:
            yield f"{name}: cannot be decoded"
            continue
        yield f"{name}:" + ("" if header.pairs else " empty")
        for label, value in header.pairs:
            named = _HEADERS.get(label.value) if isinstance(label, Int) else None
            yield f"  {named or label_text(label)}: {_header_value(label, value)}"
    if envelope.claims is None:
        yield "claims: cannot be decoded"
    else:
        yield from _claims(envelope.claims, table, key)
    yield f"signature: {_hex(envelope.sign1.signature.value)}"


def _header_value(label: Item, value: Item) -> str:
    if isinstance(label, Int) and label.value == ALG and isinstance(value, Int) and value.value in ALGORITHMS:
        return f"{value.value} ({ALGORITHMS[value.value].name})"
    return _scalar(value)


def _claims(found: Map, table: Mapping[int, Claim], key: Item | None) -> Iterator[str]:
    for label, value in found.pairs:
        claim = table.get(label.value) if isinstance(label, Int) else None
        name = str(claim) if claim else f"unknown claim {label_text(label)}"
        yield from _value(name, value, claim.shape if claim else None)
        number = label.value if isinstance(label, Int) else None
        if number == c.LIFECYCLE and isinstance(value, Int):
            state = c.LIFECYCLE_STATES.get(value.value >> 8, "not defined")
            yield f"  state {state}, own bits {value.value & 0xFF:#04x}"
        if number == c.RAK and isinstance(key, Map):
            yield from (f"  {line}" for line in _key_lines(key))


def _key_lines(key: Map) -> Iterator[str]:
    for label, value in key.pairs:
        name = _KEY.get(label.value) if isinstance(label, Int) else None
        curve = CURVES.get(value.value) if isinstance(value, Int) and name == "crv" else None
        yield f"{name or label_text(label)}: {_scalar(value)}" + (f" ({curve[0]})" if curve else "")


def _value(name: str, value: Item, shape: Shape | None) -> Iterator[str]:
    match value:
        case Array(items=items):
            yield f"{name}: {describe(value)}"
            inner = shape.element if isinstance(shape, ArrayShape) else None
            for index, item in enumerate(items):
                yield from (f"  {line}" for line in _value(f"[{index}]", item, inner))
        case Map(pairs=pairs):
            yield f"{name}:"
            for label, item in pairs:
                fields = shape.fields if isinstance(shape, RecordShape) else {}
                known = fields.get(label.value) if isinstance(label, Int) else None
                title = known.name if known else label_text(label)
                yield from (f"  {line}" for line in _value(title, item, known.shape if known else None))
        case _:
            yield f"{name}: {_scalar(value)}"


def _scalar(value: Item) -> str:
    match value:
        case Bytes(value=data):
            return _hex(data)
        case Text(value=text):
            return f'"{_printable(text)}"'
        case Int(value=number):
            return str(number)
    return describe(value)


def _hex(data: bytes) -> str:
    if not data:
        return "empty"
    more = f"... ({len(data)} bytes)" if len(data) > _LONGEST else ""
    return data[:_LONGEST].hex() + more


def _printable(text: str) -> str:
    """A token is untrusted: nothing of it may steer the terminal."""
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)
