"""Mutations of claims: each one removed, retyped, resized, out of range, repeated, moved, or of another profile."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping

from harness.attestation.build import Pairs, TokenParts, Value
from harness.attestation.mutations.mutation import (
    WHICH,
    Mutation,
    add_claim,
    envelope,
    mutation,
    put_claim,
    with_claims,
)
from refmodel.attestation import claims as c
from refmodel.attestation.claims import Claim
from refmodel.attestation.profiles import (
    COMBINATIONS,
    LEGACY_REALM,
    PLATFORM_PROFILES,
    REALM_PROFILES,
    Binding,
    Combination,
    PlatformProfile,
    candidates,
)
from refmodel.attestation.shapes import ArrayShape, BytesShape, ChoiceShape, IntShape, TextShape
from refmodel.rules import Rule

_TABLES: Mapping[str, Mapping[int, Claim]] = {"platform": c.PLATFORM_CLAIMS, "realm": c.REALM_CLAIMS}
_RETYPED: Mapping[type, tuple[Value, ...]] = {
    BytesShape: ("text", 0, True, None, (b"",), Pairs()),
    TextShape: (b"sha-256", -16, False, ("sha-256",), Pairs()),
    IntShape: (True, False, "1", b"\x01", (1,)),
    ArrayShape: (Pairs(), b"", "x", 4),
    ChoiceShape: (b"shared", True, None, ("shared",), Pairs()),
}
_HASH_SIZES = (32, 48, 64)
Put = Callable[[Value], bytes]
"""A token with another value for one claim."""


def of_claims(parts: TokenParts) -> Iterator[Mutation]:
    """Every mutation of the claims of both tokens."""
    for which in WHICH:
        claims = envelope(parts, which).claims
        for label in claims.labels():
            yield from _of_claim(parts, which, label)
        yield from _orders(parts, which)
        yield from _foreign(parts, which)
    yield from _profiles(parts)


def combination_of(parts: TokenParts) -> tuple[Combination, PlatformProfile]:
    """The combination and the platform profile that a well-formed token fits."""
    platform, realm, labels = parts.platform.claims.get(c.PROFILE), LEGACY_REALM, _labels(parts)
    if parts.realm.claims.has(c.PROFILE):
        realm = str(parts.realm.claims.get(c.PROFILE))
    key = parts.realm.claims.get(c.RAK)
    fitting = candidates(parts.tag, str(platform), realm, labels)
    if len(fitting) > 1:
        raw = isinstance(key, bytes) and key[:1] == b"\x04"
        fitting = tuple(made for made in fitting if bool(made.note) == raw)
    return fitting[0], PLATFORM_PROFILES[str(platform)]


def _labels(parts: TokenParts) -> frozenset[int]:
    return frozenset(parts.realm.claims.labels())


def _optional(parts: TokenParts, which: str, label: int) -> bool:
    """Whether a token without the claim is still valid."""
    combination, platform = combination_of(parts)
    if which == "platform":
        binds = label in platform.binding.labels and platform.binding is Binding.EITHER
        return label in platform.optional and not binds
    if label == c.PROFILE:
        # Without it the token is one without realm profile, if there is such a combination for its tag.
        platforms = frozenset({platform.value})
        return not combination.extra and any(
            made.tag == parts.tag and made.realm == LEGACY_REALM and platforms <= made.platforms
            for made in COMBINATIONS
        )
    if label in combination.extra_labels:
        # Without what the firmware adds it may still be what a specification defines.
        return bool(candidates(parts.tag, platform.value, combination.realm, _labels(parts) - {label}))
    profile = REALM_PROFILES[combination.realm_rules]
    return label in profile.optional and label != c.DEVICES_HASH


def _claim(parts: TokenParts, which: str, label: int) -> Claim:
    """The claim as the token's firmware or profile has it."""
    extra = {claim.label: claim for claim in combination_of(parts)[0].extra}
    return extra.get(label, _TABLES[which][label]) if which == "realm" else _TABLES[which][label]


def _of_claim(parts: TokenParts, which: str, label: int) -> Iterator[Mutation]:
    claim = _claim(parts, which, label)
    claims = envelope(parts, which).claims
    value = claims.get(label)
    title = f"{which} {claim.name}"

    def put(changed: Value) -> bytes:
        return put_claim(parts, which, label, changed).build()

    gone = with_claims(parts, which, lambda held: held.without(label)).build()
    missing = Rule.CLAIM_PRESENT, Rule.PROFILE_COMBINATION, Rule.DEVICES_BINDING, Rule.CLAIM_OF_PROFILE
    yield mutation(f"{title} removed", gone, *(() if _optional(parts, which, label) else missing))
    twice = add_claim(parts, which, label, value).build()
    yield mutation(f"{title} twice", twice, Rule.CBOR_UNIQUE_KEYS)
    for other in _RETYPED[type(claim.shape)]:
        yield mutation(f"{title} as {other!r}", put(other), Rule.CLAIM_TYPE)
    if isinstance(claim.shape, BytesShape) and isinstance(value, bytes) and claim.shape.sizes:
        yield from _sizes(title, claim.shape, value, label, put)
    if isinstance(claim.shape, IntShape):
        for number in (-1, 2, 0x0100, 0x2FFF + 0xD01, 0x7000, 0x13000, 1 << 40):
            if not any(low <= number <= high for low, high in claim.shape.ranges):
                yield mutation(f"{title} = {number}", put(number), Rule.CLAIM_VALUE)
    if label == c.MEC_POLICY and not isinstance(claim.shape, IntShape):
        for wrong in ("", "Shared", "public", *((2, -1) if isinstance(claim.shape, ChoiceShape) else ())):
            yield mutation(f"{title} = {wrong!r}", put(wrong), Rule.CLAIM_VALUE)
        for right in ("shared", "private", *((0, 1) if isinstance(claim.shape, ChoiceShape) else ())):
            yield mutation(f"{title} = {right!r}", put(right))
    if label in (c.REALM_HASH, c.RAK_HASH, c.PLATFORM_HASH):
        used = label != c.PLATFORM_HASH or not _components_name_theirs(claims)
        yield from _hash_names(title, str(value), used, put)
    if label == c.REM and isinstance(value, tuple):
        yield from _rems(title, value, put)
    if label == c.LIFECYCLE:
        for state in c.LIFECYCLE_STATES:
            yield mutation(f"{title} in state {state:#x}", put(state << 8 | 0x7F))


def _sizes(title: str, shape: BytesShape, value: bytes, label: int, put: Put) -> Iterator[Mutation]:
    for size in sorted({0, 1, *(size + step for size in shape.sizes for step in (-1, 0, 1)), 2 * shape.sizes[-1]}):
        if size == len(value):
            continue
        changed = (value * 4)[:size]
        listed = size in shape.sizes
        if listed and label == c.CHALLENGE:
            # Either the size or the value then gives the wrong binding away.
            yield mutation(f"{title} of {size} bytes", put(changed), Rule.HASH_SIZE, Rule.RAK_BINDING)
        else:
            rule = Rule.HASH_SIZE if listed else Rule.CLAIM_LENGTH
            yield mutation(f"{title} of {size} bytes", put(changed), rule)
    if shape.first is not None:
        yield mutation(f"{title} of another type", put(b"\x02" + value[1:]), Rule.CLAIM_VALUE)
    if label == c.WORKLOAD_BINDING or (label == c.CHALLENGE and "platform" in title):
        spoiled = value[:-1] + bytes([value[-1] ^ 1])
        yield mutation(f"{title} changed", put(spoiled), Rule.RAK_BINDING)


def _components_name_theirs(claims: Pairs) -> bool:
    components = claims.get(c.SW_COMPONENTS)
    return isinstance(components, tuple) and all(
        isinstance(component, Pairs) and component.has(c.ALGORITHM) for component in components
    )


def _hash_names(title: str, value: str, used: bool, put: Put) -> Iterator[Mutation]:
    for name in ("", "sha-1", "sha256", "SHA-256", "sha-224", "sha-512 ", "md5"):
        yield mutation(f"{title} = {name!r}", put(name), Rule.HASH_NAME)
    # Where every component names its own algorithm the platform's default goes unused.
    rules = (Rule.HASH_SIZE,) if used else ()
    for name in ("sha-256", "sha-384", "sha-512"):
        if name != value:
            yield mutation(f"{title} = {name!r}", put(name), *rules)


def _rems(title: str, value: tuple[Value, ...], put: Put) -> Iterator[Mutation]:
    for count in (0, 1, 3, 5, 8):
        yield mutation(f"{title} with {count} values", put((value * 2)[:count]), Rule.CLAIM_LENGTH)
    for index, first in enumerate(value):
        own = len(first) if isinstance(first, bytes) else 0
        for size in _HASH_SIZES:
            if size != own:
                mixed = (*value[:index], bytes(size), *value[index + 1 :])
                yield mutation(f"{title}[{index}] of {size} bytes", put(mixed), Rule.HASH_SIZE)
        for size in (0, 20, 33, 63, 65):
            mixed = (*value[:index], bytes(size), *value[index + 1 :])
            yield mutation(f"{title}[{index}] of {size} bytes", put(mixed), Rule.CLAIM_LENGTH)
        for other in ("text", 0, None, (b"",)):
            mixed = (*value[:index], other, *value[index + 1 :])
            yield mutation(f"{title}[{index}] as {other!r}", put(mixed), Rule.CLAIM_TYPE)


def _orders(parts: TokenParts, which: str) -> Iterator[Mutation]:
    """The order of claims carries nothing."""
    claims = envelope(parts, which).claims.pairs
    for name, order in (
        ("reversed", claims[::-1]),
        ("sorted", tuple(sorted(claims, key=lambda pair: str(pair[0])))),
        ("rotated", (*claims[1:], claims[0])),
    ):
        yield mutation(f"{which} claims {name}", _ordered(parts, which, order).build())
    for extra in (99999, -70000, "name"):
        made = add_claim(parts, which, extra, b"?")
        yield mutation(f"{which} with unknown claim {extra!r}", made.build())


def _ordered(parts: TokenParts, which: str, order: tuple[tuple[Value, Value], ...]) -> TokenParts:
    return with_claims(parts, which, lambda _: Pairs(order))


def _foreign(parts: TokenParts, which: str) -> Iterator[Mutation]:
    """Claims that belong to another token or to another profile."""
    combination, platform = combination_of(parts)
    realm = REALM_PROFILES[combination.realm_rules]
    own = {
        "platform": platform.mandatory | platform.optional,
        "realm": realm.mandatory | realm.optional | combination.extra_labels,
    }[which]
    # With the claim that a firmware adds the token may be taken for that firmware's, where it has the wrong type.
    other = (Rule.CLAIM_TYPE,) if which == "realm" and not combination.extra else ()
    for label in sorted({*c.PLATFORM_CLAIMS, *c.REALM_CLAIMS, *c.DEVICE_CLAIMS} - own - {c.PROFILE}):
        made = add_claim(parts, which, label, b"?")
        yield mutation(f"{which} with foreign claim {label}", made.build(), Rule.CLAIM_OF_PROFILE, *other)


def _profiles(parts: TokenParts) -> Iterator[Mutation]:
    """Every other value of both profile claims that makes no combination, and values that nobody defined."""
    platform_values, realm_values = list(PLATFORM_PROFILES), [value for value in REALM_PROFILES if value]
    own = (
        parts.platform.claims.get(c.PROFILE),
        (parts.realm.claims.get(c.PROFILE) if parts.realm.claims.has(c.PROFILE) else LEGACY_REALM),
    )
    for platform, realm in itertools.product(platform_values, [*realm_values, LEGACY_REALM]):
        if (platform, realm) == own or candidates(parts.tag, platform, realm, _labels(parts)):
            continue
        made = put_claim(parts, "platform", c.PROFILE, platform)
        if realm:
            made = put_claim(made, "realm", c.PROFILE, realm)
        else:
            made = with_claims(made, "realm", lambda held: held.without(c.PROFILE))
        rules = Rule.PROFILE_COMBINATION, Rule.PROFILE_KNOWN
        yield mutation(f"profiles {platform!r} with {realm!r}", made.build(), *rules)
    for which in WHICH:
        for value in ("", "tag:arm.com,2023:realm#1.0.1", "tag:arm.com,2023:cca_platform#1.0.0 ", "PSA_IOT_PROFILE_1"):
            made = put_claim(parts, which, c.PROFILE, value)
            yield mutation(f"{which} profile {value!r}", made.build(), Rule.PROFILE_KNOWN)
    for value, profile in PLATFORM_PROFILES.items():
        if not profile.supported:
            made = put_claim(parts, "platform", c.PROFILE, value)
            yield mutation(f"platform profile {value!r}", made.build(), Rule.PROFILE_KNOWN)
