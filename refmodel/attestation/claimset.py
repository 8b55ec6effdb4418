"""One claims map judged by its profile: which claims it has, their shapes, and the hash algorithms that they name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from refmodel.attestation import claims as c
from refmodel.attestation.claims import Claim
from refmodel.attestation.findings import Findings
from refmodel.attestation.items import Array, Bytes, Int, Item, Map, Text, describe, label_text
from refmodel.attestation.shapes import check_shape
from refmodel.rmm.measurement import HashAlgorithm
from refmodel.rules import Rule

HASHES: Final = {algorithm.token_name: algorithm for algorithm in HashAlgorithm}
"""Names of the hash algorithms that a token may use (IANA, Named Information Hash Algorithm Registry)."""

_EVERY_LABEL: Final = frozenset(c.REALM_CLAIMS) | frozenset(c.PLATFORM_CLAIMS) | frozenset(c.DEVICE_CLAIMS)


@dataclass(slots=True)
class ClaimSet:
    """The claims of one token; ``good`` holds those whose shape is right."""

    which: str
    map: Map
    claims: Mapping[int, Claim]
    good: dict[int, Item] = field(default_factory=dict)

    def name(self, label: int) -> str:
        """A claim's name for messages."""
        return str(self.claims[label])

    def bytes_of(self, label: int) -> Bytes | None:
        """A byte string claim, None when it is missing or malformed."""
        item = self.good.get(label)
        return item if isinstance(item, Bytes) else None

    def text_of(self, label: int) -> Text | None:
        """A text claim, None when it is missing or malformed."""
        item = self.good.get(label)
        return item if isinstance(item, Text) else None

    def int_of(self, label: int) -> Int | None:
        """An integer claim, None when it is missing or malformed."""
        item = self.good.get(label)
        return item if isinstance(item, Int) else None

    def items_of(self, label: int) -> tuple[Item, ...]:
        """The elements of an array claim, none when it is missing or malformed."""
        item = self.good.get(label)
        return item.items if isinstance(item, Array) else ()


def judge_claims(
    which: str,
    found: Map,
    claims: Mapping[int, Claim],
    mandatory: frozenset[int],
    optional: frozenset[int],
    findings: Findings,
) -> ClaimSet:
    """Presence and shape of every claim.

    A label that the specifications give to another profile or token does not belong here; a label that they do not
    know is ignored with a note, as EAT asks (RFC 9711; draft-ffm-rats-cca-token-04, table 2).
    """
    made = ClaimSet(which, found, claims)
    for key, value in found.pairs:
        label = key.value if isinstance(key, Int) else None
        if label in mandatory or label in optional:
            if check_shape(claims[label].shape, value, str(claims[label]), findings):
                made.good.setdefault(label, value)
            findings.hold(Rule.CLAIM_OF_PROFILE)
        elif label in _EVERY_LABEL:
            name = str(claims[label]) if label in claims else f"{which} claim {label}"
            text = "is defined for another profile or token and does not belong into this one"
            findings.error(Rule.CLAIM_OF_PROFILE, name, text, key.offset)
        else:
            text = f"claim {label_text(key)} is not known and is ignored"
            findings.note(Rule.CLAIM_OF_PROFILE, f"{which} claims", text, key.offset)
    for label in sorted(mandatory):
        there = found.get(label) is not None
        findings.expect(there, Rule.CLAIM_PRESENT, str(claims[label]), "is missing", found.offset)
    return made


def hash_algorithm(claims: ClaimSet, label: int, findings: Findings) -> HashAlgorithm | None:
    """The algorithm that a text claim names."""
    item = claims.text_of(label)
    return None if item is None else _named(item, claims.name(label), findings)


def _named(item: Text, claim: str, findings: Findings) -> HashAlgorithm | None:
    text = f"names no known hash algorithm: {describe(item)}; known: {', '.join(HASHES)}"
    findings.expect(item.value in HASHES, Rule.HASH_NAME, claim, text, item.offset)
    return HASHES.get(item.value)


def check_digest(item: Item | None, algorithm: HashAlgorithm | None, claim: str, findings: Findings) -> None:
    """A digest has the size of the algorithm that made it; nothing is said where either is missing."""
    if not isinstance(item, Bytes) or algorithm is None:
        return
    fits = len(item.value) == algorithm.digest_bytes
    text = f"has {len(item.value)} bytes, but {algorithm.token_name} makes {algorithm.digest_bytes}"
    findings.expect(fits, Rule.HASH_SIZE, claim, text, item.offset)


def check_realm_hashes(realm: ClaimSet, findings: Findings) -> None:
    """RIM and REMs have the size of the realm's hash algorithm."""
    algorithm = hash_algorithm(realm, c.REALM_HASH, findings)
    check_digest(realm.good.get(c.RIM), algorithm, realm.name(c.RIM), findings)
    for index, item in enumerate(realm.items_of(c.REM)):
        check_digest(item, algorithm, f"{realm.name(c.REM)}[{index}]", findings)


def check_platform_hashes(platform: ClaimSet, findings: Findings) -> None:
    """Measurements have the size of the algorithm that the component names, or else of the platform's default."""
    default = hash_algorithm(platform, c.PLATFORM_HASH, findings)
    for label, own, digests in (
        (c.SW_COMPONENTS, c.ALGORITHM, (c.MEASUREMENT,)),
        (c.EXTENSION, 1, (2, 3, 6)),
    ):
        for index, part in enumerate(platform.items_of(label)):
            if isinstance(part, Map):
                name = f"{platform.name(label)}[{index}]"
                named = part.get(own)
                algorithm = _named(named, f"{name}.hash-algo-id", findings) if isinstance(named, Text) else default
                for digest in digests:
                    check_digest(part.get(digest), algorithm, f"{name}.{digest}", findings)


def check_extension(platform: ClaimSet, findings: Findings) -> None:
    """Fields of an extension device that its protocol or its type asks for."""
    for index, device in enumerate(platform.items_of(c.EXTENSION)):
        if not isinstance(device, Map):
            continue
        for chooser, values, wanted in ((5, c.VCA_PROTOCOLS, 6), (7, c.ENCRYPTED_TYPES, 8)):
            chosen = device.get(chooser)
            if isinstance(chosen, Text):
                needed, there = chosen.value in values, device.get(wanted) is not None
                text = f"field {wanted} {'is missing' if needed else 'must not be there'} with {chosen.value!r}"
                name = f"{platform.name(c.EXTENSION)}[{index}]"
                findings.expect(needed == there, Rule.CLAIM_PRESENT, name, text, device.offset)


def check_lifecycle(platform: ClaimSet, findings: Findings) -> None:
    """A lifecycle that is in range and yet must not occur in a system (draft-ffm-rats-cca-token-04, 4.5.2)."""
    item = platform.int_of(c.LIFECYCLE)
    if item is not None and item.value >> 8 == 0:
        text = "the state is 'unknown', which must not occur in a system"
        findings.note(Rule.CLAIM_VALUE, platform.name(c.LIFECYCLE), text, item.offset)
