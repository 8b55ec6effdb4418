"""CoRIM files: reference values and verification keys of the CCA endorsement profiles.

Read: unsigned CoRIMs (tags 500, 501) and signed ones (tag 18 or 502) whose signer's key is given; CoMID tags (506) in
them; their reference triples and attest key triples.  Other tags and triples are passed over.

Sources: draft-ietf-rats-corim (structures), draft-ydb-rats-cca-endorsements (environments, measurement keys and the
encoding of components, config, RIM, REMs and RPV).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from harness.attestation import keys
from harness.attestation.cbor import Limits, NotReadable, Reader
from harness.attestation.reference import Endorsements, TrustAnchor
from harness.attestation.verify import signed_bytes
from harness.errors import BadInputError
from refmodel.attestation.appraisal import Component, PlatformReference, RealmReference, References
from refmodel.attestation.findings import Findings
from refmodel.attestation.headers import ALG, ALGORITHMS
from refmodel.attestation.items import Array, Bytes, Int, Item, Map, Tag, Text, describe

_LIMITS: Final = Limits(size=16 << 20, depth=32, items=1 << 20)
_CORIM, _CORIM_MAP, _SIGNED, _COMID = 500, 501, 502, 506
_UEID, _PKIX_KEY, _PKIX_CERT, _BYTES, _MASKED = 550, 554, 555, 560, 563
_IMPLEMENTATION_ID, _COMPONENT_ID, _CONFIG_ID = 600, 601, 602
_SIGN1: Final = 18


class _Reading:
    """One file being read; every error names it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.findings = Findings()
        self.reader = Reader(self.findings, _LIMITS)

    def error(self, what: str, item: Item | None = None) -> BadInputError:
        where = f"byte {item.offset}" if item is not None else ""
        return BadInputError(what, path=self.path, where=where, remedy="give a CoRIM of a CCA endorsement profile")

    def read(self, data: bytes, where: str, offset: int = 0) -> Item:
        """One item and nothing else, strictly."""
        try:
            item = self.reader.read(data, where, offset)
        except NotReadable as error:
            raise BadInputError(f"{where}: {error.message}", path=self.path, where=f"byte {error.offset}") from None
        if self.findings.errors:
            first = self.findings.errors[0]
            raise BadInputError(f"{where}: {first.message}", path=self.path, where=f"byte {first.offset}")
        return item

    def map(self, item: Item | None, where: str) -> Map:
        if not isinstance(item, Map):
            raise self.error(f"{where} must be a map, not {describe(item) if item else 'missing'}", item)
        return item

    def array(self, item: Item | None, where: str) -> tuple[Item, ...]:
        if not isinstance(item, Array):
            raise self.error(f"{where} must be an array, not {describe(item) if item else 'missing'}", item)
        return item.items

    def bytes(self, item: Item | None, where: str) -> Bytes:
        inner = item.item if isinstance(item, Tag) else item
        if not isinstance(inner, Bytes):
            raise self.error(f"{where} must be a byte string, not {describe(inner) if inner else 'missing'}", item)
        return inner


def load_corim(path: Path, signer: keys.PublicKey | None = None) -> Endorsements:
    """Read a CoRIM; a signed one must be signed by ``signer``.  BadInputError for everything that is wrong."""
    try:
        with path.open("rb") as file:
            data = file.read(_LIMITS.size + 1)
    except OSError as error:
        raise BadInputError(f"cannot be read: {error.strerror}", path=path) from None
    if len(data) > _LIMITS.size:
        raise BadInputError(f"has more than {_LIMITS.size} bytes", path=path)
    reading = _Reading(path)
    corim = _unwrap(reading, reading.read(data, "CoRIM"), signer)
    made = Endorsements()
    for tag in reading.array(corim.get(1), "tags"):
        if isinstance(tag, Tag) and tag.number == _COMID:
            held = reading.bytes(tag.item, "CoMID")
            comid = reading.map(reading.read(held.value, "CoMID", held.content), "CoMID")
            made += _comid(reading, reading.map(comid.get(4), "triples"))
    return made


def _unwrap(reading: _Reading, item: Item, signer: keys.PublicKey | None) -> Map:
    while isinstance(item, Tag) and item.number in (_CORIM, _SIGNED):
        item = item.item
    if isinstance(item, Tag) and item.number == _SIGN1:
        item = _verified(reading, item, signer)
    elif signer is not None:
        raise reading.error("is not signed, but a signer's key was given", item)
    while isinstance(item, Tag) and item.number in (_CORIM, _CORIM_MAP):
        item = item.item
    return reading.map(item, "CoRIM")


def _verified(reading: _Reading, item: Tag, signer: keys.PublicKey | None) -> Item:
    """The payload of a signed CoRIM whose signature verifies."""
    if signer is None:
        raise BadInputError("is signed", path=reading.path, remedy="give the signer's key with --corim-key FILE")
    elements = reading.array(item.item, "signed CoRIM")
    if len(elements) != 4:
        raise reading.error("a signed CoRIM has 4 elements", item)
    protected, payload, signature = (reading.bytes(elements[n], "signed CoRIM") for n in (0, 2, 3))
    header = reading.map(reading.read(protected.value, "protected header", protected.content), "protected header")
    alg = header.get(ALG)
    algorithm = ALGORITHMS.get(alg.value) if isinstance(alg, Int) else None
    if header.get(2) is not None:
        raise reading.error("has critical headers, none of which is understood", header)
    message = signed_bytes(protected.value, payload.value)
    good = (
        algorithm is not None
        and keys.curve_of(signer) == algorithm.curve
        and len(signature.value) == algorithm.signature_bytes
        and keys.verify(signer, algorithm, message, signature.value)
    )
    if not good:
        raise reading.error("the signature does not verify with the signer's key", signature)
    return reading.read(payload.value, "payload", payload.content)


def _comid(reading: _Reading, triples: Map) -> Endorsements:
    made = Endorsements()
    for environment, measurements in _records(reading, triples.get(0), "reference triples"):
        made += Endorsements(_references(reading, environment, measurements))
    for environment, held in _records(reading, triples.get(3), "attest key triples"):
        made += Endorsements(anchors=(_anchor(reading, environment, held),))
    return made


def _records(reading: _Reading, item: Item | None, where: str) -> Iterator[tuple[Map, Sequence[Item]]]:
    for record in reading.array(item, where) if item is not None else ():
        parts = reading.array(record, where)
        if len(parts) < 2:
            raise reading.error(f"{where}: a record has 2 elements", record)
        yield reading.map(parts[0], f"{where}: environment"), reading.array(parts[1], where)


def _implementation_id(reading: _Reading, environment: Map) -> bytes | None:
    """The class ID of an environment where it is an implementation ID."""
    kind = environment.get(0)
    held = reading.map(kind, "class").get(0) if kind is not None else None
    if isinstance(held, Tag) and held.number in (_BYTES, _IMPLEMENTATION_ID):
        return reading.bytes(held, "implementation ID").value
    return None


def _instance(reading: _Reading, environment: Map) -> bytes:
    held = environment.get(1)
    return reading.bytes(held, "instance").value if held is not None else b""


def _anchor(reading: _Reading, environment: Map, held: Sequence[Item]) -> TrustAnchor:
    implementation_id = _implementation_id(reading, environment)
    if implementation_id is None or len(held) != 1:
        raise reading.error("an attest key triple needs an implementation ID and exactly one key", environment)
    return TrustAnchor(implementation_id, _instance(reading, environment), _key(reading, held[0]))


def _key(reading: _Reading, item: Item) -> keys.PublicKey:
    """A PEM or bare base64 SubjectPublicKeyInfo (554), or a PEM certificate (555)."""
    if not isinstance(item, Tag) or item.number not in (_PKIX_KEY, _PKIX_CERT) or not isinstance(item.item, Text):
        raise reading.error(f"the key must be a text with tag {_PKIX_KEY} or {_PKIX_CERT}, not {describe(item)}", item)
    text = item.item.value
    if "-----BEGIN" in text:
        return keys.parse_public_key(text.encode(), reading.path)
    try:
        found = serialization.load_der_public_key(base64.b64decode(text, validate=True))
    except (ValueError, binascii.Error) as error:
        raise reading.error(f"the key cannot be decoded: {error}", item) from None
    if not isinstance(found, ec.EllipticCurvePublicKey) or not keys.curve_of(found):
        raise reading.error("the key is of another kind", item)
    return found


def _references(reading: _Reading, environment: Map, measurements: Sequence[Item]) -> References:
    implementation_id = _implementation_id(reading, environment)
    if implementation_id is not None:
        return References((_platform(reading, implementation_id, measurements),))
    return References(realms=(_realm(reading, _instance(reading, environment), measurements),))


def _values(reading: _Reading, measurement: Item) -> tuple[Item | None, Map]:
    held = reading.map(measurement, "measurement")
    return held.get(0), reading.map(held.get(1), "measurement values")


def _digests(reading: _Reading, item: Item | None) -> frozenset[bytes]:
    found = set()
    for digest in reading.array(item, "digests"):
        parts = reading.array(digest, "digest")
        if len(parts) != 2:
            raise reading.error("a digest has 2 elements", digest)
        found.add(reading.bytes(parts[1], "digest").value)
    return frozenset(found)


def _platform(reading: _Reading, implementation_id: bytes, measurements: Sequence[Item]) -> PlatformReference:
    components, configs = [], []
    for measurement in measurements:
        mkey, values = _values(reading, measurement)
        if _is(mkey, "cca.software-component", _COMPONENT_ID):
            components.append(_component(reading, mkey, values))
        elif _is(mkey, "cca.platform-config", _CONFIG_ID):
            configs.append(_config(reading, values))
        else:
            raise reading.error(f"measurement key {describe(mkey) if mkey else 'missing'} is not known", measurement)
    return PlatformReference(implementation_id, tuple(components), tuple(configs))


def _is(mkey: Item | None, name: str, tag: int) -> bool:
    """Whether a measurement key is this, by its name or by the tag that earlier drafts had."""
    return (isinstance(mkey, Text) and mkey.value == name) or (isinstance(mkey, Tag) and mkey.number == tag)


def _component(reading: _Reading, mkey: Item | None, values: Map) -> Component:
    kind, version, signer = values.get(11), None, None
    if values.get(0) is not None:
        version = reading.map(values.get(0), "version").get(0)
    if values.get(13) is not None:
        signer = reading.array(values.get(13), "cryptokeys")[0]
    if isinstance(mkey, Tag):
        identifier = reading.map(mkey.item, "software component identifier")
        kind, version, signer = identifier.get(1), identifier.get(4), identifier.get(5)
    return Component(
        _digests(reading, values.get(2)),
        reading.bytes(signer, "signer ID").value if signer is not None else None,
        kind.value if isinstance(kind, Text) else None,
        version.value if isinstance(version, Text) else None,
    )


def _config(reading: _Reading, values: Map) -> tuple[bytes, bytes]:
    raw = values.get(4)
    if isinstance(raw, Tag) and raw.number == _MASKED:
        parts = reading.array(raw.item, "masked value")
        value, mask = (reading.bytes(part, "masked value").value for part in parts[:2])
        return value, mask
    value = reading.bytes(raw, "raw value").value
    mask_item = values.get(5)
    return value, reading.bytes(mask_item, "mask").value if mask_item is not None else b"\xff" * len(value)


def _realm(reading: _Reading, instance: bytes, measurements: Sequence[Item]) -> RealmReference:
    """RIM and REMs as integrity registers (key 14) or under their own measurement keys."""
    registers: dict[str, frozenset[bytes]] = {}
    rpvs: set[bytes] = set()
    for measurement in measurements:
        mkey, values = _values(reading, measurement)
        if values.get(14) is not None:
            for label, digests in reading.map(values.get(14), "integrity registers").pairs:
                registers[label.value if isinstance(label, Text) else ""] = _digests(reading, digests)
        if isinstance(mkey, Text) and values.get(2) is not None:
            registers[mkey.value.removeprefix("cca.")] = _digests(reading, values.get(2))
        if values.get(4) is not None:
            rpvs.add(reading.bytes(values.get(4), "RPV").value)
    rims = registers.get("rim") or (frozenset({instance}) if instance else frozenset())
    if len(rims) != 1:
        raise reading.error(f"a realm needs one RIM, not {len(rims)}", measurements[0] if measurements else None)
    rems = tuple(registers.get(f"rem{index}", frozenset()) for index in range(4))
    return RealmReference(next(iter(rims)), rems, frozenset(rpvs))
