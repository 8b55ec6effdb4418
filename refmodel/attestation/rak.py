"""The realm public key: its form, the parameters of a COSE_Key, and the point.

Source: DEN0137 1.0-rel0 A7.2.3.1.7; RFC 9052 section 7; RFC 9053 section 7.1.1; SEC 1 section 2.3.3 for the raw point.
That the point lies on its curve is checked where the key is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from refmodel.attestation.findings import Findings
from refmodel.attestation.headers import ALGORITHMS
from refmodel.attestation.items import Array, Bool, Bytes, Int, Item, Map, Text, describe, label_text
from refmodel.attestation.profiles import KeyForm
from refmodel.rules import Rule

KTY, KEY_KID, KEY_ALG, KEY_OPS, BASE_IV, CRV, X, Y, D = 1, 2, 3, 4, 5, -1, -2, -3, -4
KTY_EC2: Final = 2
OP_VERIFY: Final = 2
CURVES: Final = {1: ("P-256", 32), 2: ("P-384", 48), 3: ("P-521", 66)}
"""COSE curve to its JWK name and the size of a coordinate in bytes."""
_COORDINATE: Final = dict(CURVES.values())
_RAW_BYTES: Final = 97
_MAP_TYPE: Final = 5


@dataclass(frozen=True, slots=True)
class Point:
    """A public point: curve by its JWK name, and the point as SEC 1 octets (compressed or not)."""

    curve: str
    octets: bytes


def key_form(data: bytes) -> KeyForm | None:
    """The form that the bytes of a realm public key have: a CBOR map, or an uncompressed point."""
    if data[:1] == b"\x04":
        return KeyForm.RAW_POINT
    return KeyForm.COSE_KEY if data and data[0] >> 5 == _MAP_TYPE else None


def raw_point(key: Bytes, claim: str, findings: Findings) -> Point | None:
    """The legacy form: an uncompressed point of P-384."""
    length = len(key.value)
    text = f"is a raw point of {length} bytes, not {_RAW_BYTES}"
    if not findings.expect(length == _RAW_BYTES, Rule.RAK_PARAMETERS, claim, text, key.offset):
        return None
    return Point("P-384", key.value)


def cose_key(key: Item, claim: str, findings: Findings) -> Point | None:
    """The point of an EC2 COSE_Key; None when its parameters do not make one."""
    if not isinstance(key, Map):
        findings.error(Rule.RAK_PARAMETERS, claim, f"must be a map, not {describe(key)}", key.offset)
        return None
    _check_common(key, claim, findings)
    crv = key.get(CRV)
    curve = CURVES.get(crv.value) if isinstance(crv, Int) else None
    text = f"crv must be one of {', '.join(map(str, CURVES))}, not {describe(crv) if crv else 'missing'}"
    where = (crv or key).offset
    if not findings.expect(curve is not None, Rule.RAK_PARAMETERS, claim, text, where) or curve is None:
        return None
    _check_algorithm(key, curve[0], claim, findings)
    return _point(key, curve, claim, findings)


def _check_common(key: Map, claim: str, findings: Findings) -> None:
    kty, ops = key.get(KTY), key.get(KEY_OPS)
    text = f"kty must be {KTY_EC2} (EC2), not {describe(kty) if kty else 'missing'}"
    right = isinstance(kty, Int) and kty.value == KTY_EC2
    findings.expect(right, Rule.RAK_PARAMETERS, claim, text, (kty or key).offset)
    if ops is not None:
        usable = isinstance(ops, Array) and any(
            (isinstance(op, Int) and op.value == OP_VERIFY) or (isinstance(op, Text) and op.value == "verify")
            for op in ops.items
        )
        findings.expect(usable, Rule.RAK_PARAMETERS, claim, "key_ops does not permit to verify", ops.offset)
    secret = key.get(D)
    where = key.offset if secret is None else secret.offset
    findings.expect(secret is None, Rule.RAK_PARAMETERS, claim, "holds a private key (d)", where)
    for label, name in ((KEY_KID, "kid"), (BASE_IV, "Base IV")):
        value = key.get(label)
        if value is not None:
            text = f"{name} must be a byte string, not {describe(value)}"
            findings.expect(isinstance(value, Bytes), Rule.RAK_PARAMETERS, claim, text, value.offset)
    known = {KTY, KEY_KID, KEY_ALG, KEY_OPS, BASE_IV, CRV, X, Y, D}
    for label_item, _ in key.pairs:
        if not (isinstance(label_item, Int) and label_item.value in known):
            text = f"parameter {label_text(label_item)} of the key is not known and is ignored"
            findings.note(Rule.CLAIM_OF_PROFILE, claim, text, label_item.offset)


def _check_algorithm(key: Map, curve: str, claim: str, findings: Findings) -> None:
    alg = key.get(KEY_ALG)
    if alg is None:
        return
    known = ALGORITHMS.get(alg.value) if isinstance(alg, Int) else None
    text = f"alg is {describe(alg)}, which does not go with {curve}"
    fits = known is not None and known.curve == curve
    findings.expect(fits, Rule.RAK_PARAMETERS, claim, text, alg.offset)


def _point(key: Map, curve: tuple[str, int], claim: str, findings: Findings) -> Point | None:
    name, size = curve
    x, y = key.get(X), key.get(Y)
    good = _coordinate(x, size, "x", key, claim, findings)
    if isinstance(y, Bool):
        # RFC 9053 lets y be the sign bit of a compressed point.
        findings.hold(Rule.RAK_PARAMETERS)
        return Point(name, bytes([2 + y.value]) + x.value) if good and isinstance(x, Bytes) else None
    good &= _coordinate(y, size, "y", key, claim, findings)
    if good and isinstance(x, Bytes) and isinstance(y, Bytes):
        return Point(name, b"\x04" + x.value + y.value)
    return None


def _coordinate(item: Item | None, size: int, name: str, key: Map, claim: str, findings: Findings) -> bool:
    fits = isinstance(item, Bytes) and len(item.value) == size
    text = f"{name} must be a byte string of {size} bytes, not {describe(item) if item else 'missing'}"
    return findings.expect(fits, Rule.RAK_PARAMETERS, claim, text, (item or key).offset)


def coordinate_bytes(curve: str) -> int:
    """Size of a coordinate of a curve, by its JWK name."""
    return _COORDINATE[curve]


COSE_CURVES: Final[Mapping[str, int]] = {name: value for value, (name, _) in CURVES.items()}
"""JWK name of a curve to its COSE value."""
