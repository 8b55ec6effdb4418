"""Verifying a token: decode it, judge it by the rules, check both signatures, say what came of it.

``valid`` needs the platform key; without one the best is ``unverified``.  Every error is listed, none ends the work but
a token whose outermost item cannot be read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

import cbor2

from harness.attestation import keys
from harness.attestation.cbor import Limits, NotReadable, Reader
from refmodel.attestation import claims as c
from refmodel.attestation.findings import Findings
from refmodel.attestation.headers import Algorithm, Sign1, parts
from refmodel.attestation.items import Bytes, Item, Map, Tag, describe
from refmodel.attestation.profiles import KeyForm
from refmodel.attestation.rak import key_form
from refmodel.attestation.token import Decoded, Envelope, Judged, judge
from refmodel.attestation.wrapper import open_wrapper
from refmodel.rules import Rule


class Status(Enum):
    """What came of a verification.

    ``VALID``: everything holds and both signatures were checked.  ``UNVERIFIED``: everything holds, but nobody said
    which key the platform has.  ``INVALID``: something does not hold.  ``UNREADABLE``: the bytes are no token, not even
    a malformed one: their outermost item cannot be read, or is no collection.
    """

    VALID = "valid"
    UNVERIFIED = "unverified"
    INVALID = "invalid"
    UNREADABLE = "unreadable"


class Signature(Enum):
    """What came of one signature."""

    VERIFIED = "verified"
    FAILED = "failed"
    NOT_CHECKED = "not checked"


@dataclass(slots=True)
class Verification:
    """The result: status, findings, and what was decoded and judged on the way."""

    status: Status
    findings: Findings
    item: Item | None = None
    decoded: Decoded = field(default_factory=lambda: Decoded(None))
    judged: Judged = field(default_factory=Judged)
    platform_signature: Signature = Signature.NOT_CHECKED
    realm_signature: Signature = Signature.NOT_CHECKED


def verify_token(
    data: bytes,
    *,
    platform_key: keys.PublicKey | None = None,
    challenge: bytes | None = None,
    limits: Limits | None = None,
) -> Verification:
    """Verify a token against the platform's key, and against the challenge that was sent where that is given.

    A challenge shorter than 64 bytes is padded with zeros, as a realm has to pad it (DEN0137 1.0-rel0, A7.2.2).
    """
    limits = limits or Limits()
    findings = Findings()
    made = Verification(Status.UNREADABLE, findings)
    if len(data) > limits.size:
        text = f"has more than {limits.size} bytes"
        findings.error(Rule.CBOR_LIMITS, "cca-token", text, limits.size)
        return made
    reader = Reader(findings, limits)
    try:
        made.item = reader.read(data, "cca-token")
    except NotReadable as error:
        findings.error(error.rule, "cca-token", error.message, error.offset)
        return made
    made.decoded = _decode(made.item, reader, findings)
    if not isinstance(made.item, Tag | Map):
        return made  # a file of another kind: nothing in it can be judged
    made.judged = judge(made.decoded, findings)
    _check_realm_signature(made, findings)
    _check_platform_signature(made, platform_key, findings)
    if challenge is not None:
        _check_challenge(made.judged, challenge, findings)
    _check_complete(made, platform_key, findings)
    made.status = Status.INVALID if findings.errors else Status.VALID if platform_key else Status.UNVERIFIED
    return made


def _decode(item: Item, reader: Reader, findings: Findings) -> Decoded:
    wrapper = open_wrapper(item, findings)
    platform = _envelope(wrapper.entries.get(c.PLATFORM_TOKEN), "platform token", reader, findings)
    realm = _envelope(wrapper.entries.get(c.REALM_TOKEN), "realm token", reader, findings)
    device = wrapper.entries.get(c.DEVICE_TOKEN)
    held = realm.claims.get(c.RAK) if realm and realm.claims else None
    key = None
    if isinstance(held, Bytes) and key_form(held.value) is KeyForm.COSE_KEY:
        key = reader.try_read(held.value, "realm public key", held.content)
    claims = reader.try_read(device.value, "device token", device.content) if device is not None else None
    return Decoded(wrapper.tag, platform, realm, key, device, claims)


def _envelope(held: Bytes | None, which: str, reader: Reader, findings: Findings) -> Envelope | None:
    """The COSE_Sign1 in an entry's byte string and what its own byte strings hold."""
    outer = reader.try_read(held.value, which, held.content) if held is not None else None
    sign1 = parts(outer, which, findings) if outer is not None else None
    if sign1 is None:
        return None
    protected: Map | None = Map(sign1.protected.content, ())
    if sign1.protected.value:
        protected = _map(sign1.protected, f"{which} protected header", Rule.SIGN1_FORM, reader, findings)
    claims = _map(sign1.payload, f"{which} claims", Rule.SIGN1_PAYLOAD, reader, findings)
    return Envelope(sign1, protected, claims)


def _map(held: Bytes, where: str, rule: Rule, reader: Reader, findings: Findings) -> Map | None:
    item = reader.try_read(held.value, where, held.content)
    if item is None:
        return None
    text = f"must hold a map, not {describe(item)}"
    findings.expect(isinstance(item, Map), rule, where, text, item.offset)
    return item if isinstance(item, Map) else None


def signed_bytes(protected: bytes, payload: bytes) -> bytes:
    """The Sig_structure of a COSE_Sign1 without external data, over the byte strings as received.

    Source: RFC 9052 section 4.4.
    """
    return cbor2.dumps(["Signature1", protected, b"", payload])


def _check_realm_signature(made: Verification, findings: Findings) -> None:
    realm, point, algorithm = made.decoded.realm, made.judged.rak, made.judged.realm_algorithm
    if point is None or made.judged.realm is None:
        return
    key = keys.point_key(point)
    held = made.judged.realm.bytes_of(c.RAK)
    where = held.content if held is not None else None
    name = made.judged.realm.name(c.RAK)
    findings.expect(key is not None, Rule.RAK_POINT, name, f"is no point of {point.curve}", where)
    if realm is not None and key is not None and algorithm is not None:
        made.realm_signature = _check(realm.sign1, key, algorithm, "realm token", Rule.REALM_SIGNATURE, findings)


def _check_platform_signature(made: Verification, key: keys.PublicKey | None, findings: Findings) -> None:
    platform, algorithm = made.decoded.platform, made.judged.platform_algorithm
    if platform is None or algorithm is None:
        return
    if key is not None:
        rule = Rule.PLATFORM_SIGNATURE
        made.platform_signature = _check(platform.sign1, key, algorithm, "platform token", rule, findings)
    else:
        _check_length(platform.sign1, algorithm, "platform token", findings)


def _check_complete(made: Verification, key: keys.PublicKey | None, findings: Findings) -> None:
    """No token is accepted whose signatures were not looked at, whatever else may have been overlooked."""
    if findings.errors:
        return
    wanted = [("realm token", Rule.REALM_SIGNATURE, made.realm_signature)]
    wanted += [("platform token", Rule.PLATFORM_SIGNATURE, made.platform_signature)] if key is not None else []
    for which, rule, signature in wanted:
        if signature is Signature.NOT_CHECKED:
            findings.error(rule, f"{which} signature", "could not be checked")


def _check_length(sign1: Sign1, algorithm: Algorithm, which: str, findings: Findings) -> bool:
    length = len(sign1.signature.value)
    text = f"has {length} bytes, but {algorithm.name} makes {algorithm.signature_bytes}"
    fits = length == algorithm.signature_bytes
    return findings.expect(fits, Rule.SIGN1_LENGTH, f"{which} signature", text, sign1.signature.offset)


def _check(
    sign1: Sign1, key: keys.PublicKey, algorithm: Algorithm, which: str, rule: Rule, findings: Findings
) -> Signature:
    good = _check_length(sign1, algorithm, which, findings)
    curve = keys.curve_of(key)
    text = f"is {algorithm.name}, which is for {algorithm.curve}; the key is on {curve}"
    good &= findings.expect(curve == algorithm.curve, Rule.SIGN1_CURVE, f"{which} alg", text, sign1.protected.offset)
    message = signed_bytes(sign1.protected.value, sign1.payload.value)
    good = good and keys.verify(key, algorithm, message, sign1.signature.value)
    text = "the signature does not verify"
    findings.expect(good, rule, f"{which} signature", text, sign1.signature.offset)
    return Signature.VERIFIED if good else Signature.FAILED


def _check_challenge(judged: Judged, challenge: bytes, findings: Findings) -> None:
    """The realm's challenge is the one that was sent."""
    name = str(c.REALM_CLAIMS[c.CHALLENGE])
    held = judged.realm.bytes_of(c.CHALLENGE) if judged.realm else None
    if held is None:
        findings.error(Rule.ATTESTED_CHALLENGE, name, "cannot be compared: it is missing or malformed")
        return
    wanted = challenge.ljust(64, b"\0")
    text = f"is not the challenge that was sent ({wanted.hex()})"
    findings.expect(held.value == wanted, Rule.ATTESTED_CHALLENGE, name, text, held.offset)
