"""The COSE_Sign1 envelope: its parts, its header parameters and its algorithms.

Source: RFC 9052 sections 3.1, 4.2 and 4.4; RFC 9053 section 2.1; RFC 9360 (X.509 parameters); the synopsis of
draft-ffm-rats-cca-token-04 section 4.11.3, which permits any way to name the key that EAT lists.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from refmodel.attestation.findings import Findings
from refmodel.attestation.items import Array, Bytes, Int, Item, Map, Tag, Text, describe, label_text
from refmodel.attestation.shapes import ArrayShape, BytesShape, IntShape, Shape, TextShape, check_shape
from refmodel.rules import Rule

SIGN1_TAG: Final = 18
ALG, CRIT, CONTENT_TYPE, KID, TYP = 1, 2, 3, 4, 16
X5BAG, X5CHAIN, X5T, X5U = 32, 33, 34, 35


@dataclass(frozen=True, slots=True)
class Algorithm:
    """A signature algorithm: its COSE value, name, curve (JWK name), hash (hashlib name), signature size in bytes."""

    value: int
    name: str
    curve: str
    hash: str
    signature_bytes: int


ALGORITHMS: Final = {
    made.value: made
    for made in (
        Algorithm(-7, "ES256", "P-256", "sha256", 64),
        Algorithm(-35, "ES384", "P-384", "sha384", 96),
        Algorithm(-36, "ES512", "P-521", "sha512", 132),
    )
}


@dataclass(frozen=True, slots=True)
class HeaderTable:
    """Which parameters may stand in the protected and in the unprotected header, with the shape of each."""

    protected: Mapping[int, Shape]
    unprotected: Mapping[int, Shape]


_CERTIFICATES: Final[Mapping[int, Shape]] = {X5BAG: BytesShape(), X5CHAIN: BytesShape(), X5U: TextShape()}
HEADERS_1: Final = HeaderTable({ALG: IntShape(), CRIT: ArrayShape(IntShape()), KID: BytesShape()}, {KID: BytesShape()})
"""Profiles of 1.0 and before: the algorithm, and at most a key identifier."""
HEADERS_2: Final = HeaderTable(
    {**HEADERS_1.protected, CONTENT_TYPE: IntShape(), X5T: ArrayShape(BytesShape(), 2, 2), **_CERTIFICATES},
    {KID: BytesShape(), X5T: ArrayShape(BytesShape(), 2, 2), **_CERTIFICATES},
)
"""Profiles of 2.0: certificates of the CPAK as well (DEN0137 2.0 draft, A7.2.3)."""


@dataclass(frozen=True, slots=True)
class Sign1:
    """The four parts of a COSE_Sign1, still as byte strings."""

    protected: Bytes
    unprotected: Map
    payload: Bytes
    signature: Bytes


def parts(item: Item, which: str, findings: Findings) -> Sign1 | None:
    """The parts of a tagged COSE_Sign1; None, with every reason in ``findings``, when it is none."""
    tagged = isinstance(item, Tag) and item.number == SIGN1_TAG
    text = f"must be a COSE_Sign1 with tag {SIGN1_TAG}, not {describe(item)}"
    findings.expect(tagged, Rule.SIGN1_FORM, which, text, item.offset)
    inner = item.item if isinstance(item, Tag) else item
    four = isinstance(inner, Array) and len(inner.items) == 4
    text = f"must be an array of 4, not {describe(inner)}"
    if not findings.expect(four, Rule.SIGN1_FORM, which, text, inner.offset) or not isinstance(inner, Array):
        return None
    protected, unprotected, payload, signature = inner.items
    for name, part, kind, words in (
        ("protected header", protected, Bytes, "a byte string"),
        ("unprotected header", unprotected, Map, "a map"),
        ("signature", signature, Bytes, "a byte string"),
    ):
        text = f"must be {words}, not {describe(part)}"
        findings.expect(isinstance(part, kind), Rule.SIGN1_FORM, f"{which} {name}", text, part.offset)
    text = f"must be an attached byte string, not {describe(payload)}"
    findings.expect(isinstance(payload, Bytes), Rule.SIGN1_PAYLOAD, f"{which} payload", text, payload.offset)
    if not (isinstance(protected, Bytes) and isinstance(unprotected, Map)):
        return None
    if not (isinstance(payload, Bytes) and isinstance(signature, Bytes)):
        return None
    return Sign1(protected, unprotected, payload, signature)


def check_headers(
    protected: Map, unprotected: Map, table: HeaderTable, which: str, findings: Findings
) -> Algorithm | None:
    """Judge both headers by a profile's table; the algorithm, or None when none that is known is named."""
    for bucket, header, permitted in (
        ("protected header", protected, table.protected),
        ("unprotected header", unprotected, table.unprotected),
    ):
        _check_bucket(header, permitted, f"{which} {bucket}", findings)
    first = {label_text(key) for key, _ in protected.pairs}
    for key, _ in unprotected.pairs:
        twice = label_text(key) in first
        text = f"parameter {label_text(key)} is in the protected header as well"
        findings.expect(not twice, Rule.SIGN1_HEADERS, f"{which} unprotected header", text, key.offset)
    _check_critical(protected, f"{which} protected header", findings)
    return _algorithm(protected, f"{which} alg", findings)


def _check_bucket(header: Map, permitted: Mapping[int, Shape], where: str, findings: Findings) -> None:
    for key, value in header.pairs:
        shape = permitted.get(key.value) if isinstance(key, Int) else None
        text = "" if shape else f"parameter {label_text(key)} is not one that the profile permits here"
        if findings.expect(shape is not None, Rule.SIGN1_HEADERS, where, text, key.offset) and shape is not None:
            _check_parameter(key, value, shape, where, findings)


def _check_parameter(key: Item, value: Item, shape: Shape, where: str, findings: Findings) -> None:
    """Type of a parameter; three of them may have a second form."""
    label = key.value if isinstance(key, Int) else None
    if label in (ALG, CRIT):
        return  # judged with their own rules
    if label == CONTENT_TYPE and isinstance(value, Text):
        shape = TextShape()
    if label in (X5BAG, X5CHAIN) and isinstance(value, Array):
        shape = ArrayShape(BytesShape(), least=2)
    inner = Findings()
    if label == X5T and isinstance(value, Array) and len(value.items) == 2:
        # The first element names the hash: an integer or a text.
        good = isinstance(value.items[0], Int | Text) and isinstance(value.items[1], Bytes)
    else:
        good = check_shape(shape, value, where, inner)
    text = "; ".join(finding.message for finding in inner.errors) or f"is {describe(value)}"
    findings.expect(good, Rule.SIGN1_HEADERS, f"{where} parameter {label}", text, value.offset)


def _check_critical(protected: Map, where: str, findings: Findings) -> None:
    """Every label in crit is understood and in the protected header; only what RFC 9052 defines is understood."""
    crit = protected.get(CRIT)
    if crit is None:
        findings.hold(Rule.SIGN1_CRIT)
        return
    if not isinstance(crit, Array) or not crit.items:
        findings.error(Rule.SIGN1_CRIT, where, f"crit must be a non-empty array, not {describe(crit)}", crit.offset)
        return
    for label in crit.items:
        understood = isinstance(label, Int) and label.value in (ALG, CONTENT_TYPE, KID)
        text = f"the critical parameter {label_text(label)} is not understood"
        if findings.expect(understood, Rule.SIGN1_CRIT, where, text, label.offset) and isinstance(label, Int):
            text = f"crit names parameter {label.value}, which is not in the protected header"
            findings.expect(protected.get(label.value) is not None, Rule.SIGN1_CRIT, where, text, label.offset)


def _algorithm(protected: Map, where: str, findings: Findings) -> Algorithm | None:
    value = protected.get(ALG)
    known = ALGORITHMS.get(value.value) if isinstance(value, Int) else None
    names = ", ".join(f"{made.name} ({made.value})" for made in ALGORITHMS.values())
    found = "is missing from the protected header" if value is None else f"is {describe(value)}"
    offset = protected.offset if value is None else value.offset
    findings.expect(known is not None, Rule.SIGN1_ALG, where, f"{found}; known: {names}", offset)
    return known
