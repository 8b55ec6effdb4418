"""A whole token judged: combination of profiles, both claim sets, the key, and what binds the parts together.

Takes what was decoded (``Decoded``), byte strings as they were received.  Signatures are no concern of this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from refmodel.attestation import claims as c
from refmodel.attestation.claimset import (
    ClaimSet,
    check_digest,
    check_extension,
    check_lifecycle,
    check_platform_hashes,
    check_realm_hashes,
    hash_algorithm,
    judge_claims,
)
from refmodel.attestation.findings import Findings
from refmodel.attestation.headers import HEADERS_1, Algorithm, Sign1, check_headers
from refmodel.attestation.items import Bytes, Int, Item, Map, Text
from refmodel.attestation.profiles import (
    PLATFORM_PROFILES,
    REALM_PROFILES,
    Binding,
    Combination,
    KeyForm,
    PlatformProfile,
    candidates,
    nearest,
)
from refmodel.attestation.rak import Point, cose_key, key_form, raw_point
from refmodel.rules import Rule


@dataclass(frozen=True, slots=True)
class Envelope:
    """A COSE_Sign1 and the maps inside its byte strings; a map is None when it could not be decoded."""

    sign1: Sign1
    protected: Map | None
    claims: Map | None


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a token's bytes decode to; None for what is missing or malformed.

    ``key`` is the content of the realm public key claim where that is CBOR; ``device`` the device token's byte string
    and ``device_claims`` what it holds.
    """

    tag: int | None
    platform: Envelope | None = None
    realm: Envelope | None = None
    key: Item | None = None
    device: Bytes | None = None
    device_claims: Item | None = None


@dataclass(slots=True)
class Judged:
    """What the rules made of a token: claims by label, algorithms, the RAK, and the combination that it fits."""

    combination: Combination | None = None
    platform: ClaimSet | None = None
    realm: ClaimSet | None = None
    device: ClaimSet | None = None
    platform_algorithm: Algorithm | None = None
    realm_algorithm: Algorithm | None = None
    rak: Point | None = None


def judge(decoded: Decoded, findings: Findings) -> Judged:
    """Judge everything but signatures."""
    made = Judged()
    platform_map = decoded.platform.claims if decoded.platform else None
    realm_map = decoded.realm.claims if decoded.realm else None
    combination = _combination(decoded.tag, platform_map, realm_map, findings)
    made.combination = combination
    profile = _platform_profile(platform_map, combination)
    if decoded.platform and platform_map:
        made.platform = _judge_platform(platform_map, profile, findings)
    if decoded.realm and realm_map and combination:
        made.realm = _judge_realm(realm_map, combination, findings)
        made.rak = _judge_key(decoded, made.realm, combination, findings)
    table = combination.headers if combination else HEADERS_1
    for which, envelope in (("platform token", decoded.platform), ("realm token", decoded.realm)):
        if envelope and envelope.protected:
            found = check_headers(envelope.protected, envelope.sign1.unprotected, table, which, findings)
            if which == "platform token":
                made.platform_algorithm = found
            else:
                made.realm_algorithm = found
    if made.platform and made.realm:
        _check_binding(made.platform, made.realm, profile, findings)
    _judge_device(decoded, made, findings)
    return made


_MALFORMED: Final = "?"
"""Stands for a profile claim that is no text: it fits nothing."""


def _profile_value(found: Map | None) -> str:
    """The profile claim's value; empty without one."""
    item = found.get(c.PROFILE) if found else None
    if item is None:
        return ""
    return item.value if isinstance(item, Text) else _MALFORMED


def _combination(tag: int | None, platform: Map | None, realm: Map | None, findings: Findings) -> Combination | None:
    """The combination of a token's profiles, or the nearest one when it fits none."""
    platform_value, realm_value = _profile_value(platform), _profile_value(realm)
    known = _known_profile(platform, c.PLATFORM_CLAIMS[c.PROFILE].name, list(PLATFORM_PROFILES), findings)
    known &= _known_profile(realm, c.REALM_CLAIMS[c.PROFILE].name, list(REALM_PROFILES), findings)
    labels = frozenset(key.value for key, _ in realm.pairs if isinstance(key, Int)) if realm else frozenset[int]()
    fitting = candidates(tag, platform_value, realm_value, labels)
    if len(fitting) > 1:
        key = realm.get(c.RAK) if realm else None
        form = key_form(key.value) if isinstance(key, Bytes) else None
        fitting = tuple(made for made in fitting if form in made.keys) or fitting
    chosen = fitting[0] if fitting else nearest(platform_value, realm_value)
    if platform is None or realm is None or not known or tag is None:
        return chosen
    words = f"tag {tag}, platform profile {platform_value!r}, realm profile {realm_value or 'absent'!r}"
    text = f"these do not go together: {words}"
    if findings.expect(bool(fitting), Rule.PROFILE_COMBINATION, "cca-token", text, platform.offset) and chosen:
        _remark(chosen, platform, findings)
    return chosen


def _remark(chosen: Combination, platform: Map, findings: Findings) -> None:
    if chosen.note:
        text = f"accepted as {chosen.name}: {chosen.note}"
        findings.note(Rule.PROFILE_COMBINATION, "cca-token", text, platform.offset)


def _known_profile(found: Map | None, name: str, known: Sequence[str], findings: Findings) -> bool:
    """Whether the profile claim, if there is one, has a value that is known and judged here."""
    item = found.get(c.PROFILE) if found else None
    if not isinstance(item, Text):
        return item is None  # its absence and its type are the concern of other rules
    listed = item.value in known and item.value != ""
    shown = [value for value in known if value]
    text = f"is {item.value!r}; known: {', '.join(shown)}"
    good = findings.expect(listed, Rule.PROFILE_KNOWN, name, text, item.offset)
    profile = PLATFORM_PROFILES.get(item.value)
    if good and profile is not None and not profile.supported:
        text = f"{item.value!r} is of the direct attestation model, which is not judged"
        findings.error(Rule.PROFILE_KNOWN, name, text, item.offset)
        return False
    return good


def _platform_profile(found: Map | None, combination: Combination | None) -> PlatformProfile:
    """The profile to judge the platform token by: its own, else one that its combination has."""
    value = _profile_value(found)
    if value in PLATFORM_PROFILES:
        return PLATFORM_PROFILES[value]
    platforms = sorted(combination.platforms) if combination else list(PLATFORM_PROFILES)[1:]
    return PLATFORM_PROFILES[platforms[0]]


def _judge_platform(found: Map, profile: PlatformProfile, findings: Findings) -> ClaimSet:
    made = judge_claims("platform", found, profile.claims, profile.mandatory, profile.optional, findings)
    check_platform_hashes(made, findings)
    check_extension(made, findings)
    check_lifecycle(made, findings)
    return made


def _judge_realm(found: Map, combination: Combination, findings: Findings) -> ClaimSet:
    profile = REALM_PROFILES[combination.realm_rules]
    claims = {**profile.claims, **{claim.label: claim for claim in combination.extra}}
    optional = profile.optional | combination.extra_labels
    made = judge_claims("realm", found, claims, profile.mandatory, optional, findings)
    check_realm_hashes(made, findings)
    return made


def _judge_key(decoded: Decoded, realm: ClaimSet, combination: Combination, findings: Findings) -> Point | None:
    key = realm.bytes_of(c.RAK)
    if key is None:
        return None
    name, form = realm.name(c.RAK), key_form(key.value)
    permitted = combination.keys & REALM_PROFILES[combination.realm_rules].keys
    forms = " or ".join(sorted(form.value for form in permitted))
    text = f"is {'a ' + form.value if form else 'neither a COSE_Key nor a point'}; the profile asks for a {forms}"
    findings.expect(form in permitted, Rule.RAK_FORM, name, text, key.content)
    if form is KeyForm.RAW_POINT:
        return raw_point(key, name, findings)
    return cose_key(decoded.key, name, findings) if decoded.key is not None else None


def _check_binding(platform: ClaimSet, realm: ClaimSet, profile: PlatformProfile, findings: Findings) -> None:
    """The platform token holds the hash of the realm public key, over the bytes of that claim as they came."""
    algorithm = hash_algorithm(realm, c.RAK_HASH, findings)
    label = _binding_label(platform, profile, findings)
    bound, key = platform.bytes_of(label), realm.bytes_of(c.RAK)
    if bound is not None:
        check_digest(bound, algorithm, platform.name(label), findings)
    if bound is not None and key is not None and algorithm is not None:
        hashed = algorithm.digest(key.value)
        text = f"is not the {algorithm.token_name} of the realm public key ({hashed.hex()})"
        findings.expect(bound.value == hashed, Rule.RAK_BINDING, platform.name(label), text, bound.offset)
    if profile.repeats_challenge:
        own, realms = platform.bytes_of(c.CHALLENGE), realm.bytes_of(c.CHALLENGE)
        if own is not None and realms is not None:
            same = own.value == realms.value
            text = "does not repeat the realm's challenge"
            findings.expect(same, Rule.CHALLENGE_REPEATED, platform.name(c.CHALLENGE), text, own.offset)


def _binding_label(platform: ClaimSet, profile: PlatformProfile, findings: Findings) -> int:
    """The claim that binds; where two are possible exactly one must be there."""
    there = [label for label in profile.binding.labels if platform.map.get(label) is not None]
    if profile.binding is Binding.EITHER:
        names = " or ".join(platform.name(label) for label in profile.binding.labels)
        text = f"exactly one of {names} must be there, not {len(there)}"
        one = findings.expect(len(there) == 1, Rule.CLAIM_PRESENT, "platform claims", text, platform.map.offset)
        if one and there[0] == c.CHALLENGE:
            text = "binds the realm token; draft-ffm-rats-cca-token-04 names both claims for that"
            findings.note(Rule.RAK_BINDING, platform.name(c.CHALLENGE), text, platform.map.offset)
    return there[0] if there else profile.binding.labels[0]


def _judge_device(decoded: Decoded, made: Judged, findings: Findings) -> None:
    """A device token is well formed, and the realm token holds its hash if and only if it is there."""
    if isinstance(decoded.device_claims, Map):
        labels = frozenset(c.DEVICE_CLAIMS)
        found = judge_claims("device", decoded.device_claims, c.DEVICE_CLAIMS, labels, frozenset(), findings)
        made.device = found
    elif decoded.device_claims is not None:
        findings.error(Rule.CLAIM_TYPE, "device claims", "must be a map", decoded.device_claims.offset)
    realm = made.realm
    if realm is None:
        return
    hashed = realm.map.get(c.DEVICES_HASH)
    if hashed is None and decoded.device is None:
        return
    name = str(c.REALM_CLAIMS[c.DEVICES_HASH])
    text = f"the {'realm token has no hash of the device token' if hashed is None else 'device token is missing'}"
    both = hashed is not None and decoded.device is not None
    where = realm.map.offset if hashed is None else hashed.offset
    findings.expect(both, Rule.DEVICES_BINDING, name, text, where)
    algorithm = hash_algorithm(realm, c.REALM_HASH, Findings())
    if isinstance(hashed, Bytes) and decoded.device is not None and algorithm is not None:
        check_digest(hashed, algorithm, name, findings)
        same = hashed.value == algorithm.digest(decoded.device.value)
        text = f"is not the {algorithm.token_name} of the device token"
        findings.expect(same, Rule.DEVICES_BINDING, name, text, hashed.offset)
