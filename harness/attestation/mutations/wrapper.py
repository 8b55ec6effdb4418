"""Mutations of the wrapper: tag, entries, the form of entries, and the device token."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from harness.attestation.build import Pairs, Tagged, TokenParts, Value, encode
from harness.attestation.mutations.mutation import Mutation, mutation, put_claim
from refmodel.attestation import claims as c
from refmodel.attestation.claimset import HASHES
from refmodel.attestation.profiles import TAG_1_0, TAG_2_0
from refmodel.attestation.wrapper import COLLECTION_TYPE, EAT_CWT, UCCS
from refmodel.rules import Rule

_LABELS = {c.PLATFORM_TOKEN: "platform", c.REALM_TOKEN: "realm"}


def of_wrapper(parts: TokenParts) -> Iterator[Mutation]:
    """Every mutation of the wrapper."""
    own = parts.collection()
    yield mutation("wrapper untagged", encode(own), Rule.WRAPPER_TAG)
    for number in (0, 18, 61, 398, 400, 55799, 906, 908):
        yield mutation(f"wrapper with tag {number}", encode(Tagged(number, own)), Rule.WRAPPER_TAG)
    yield mutation("wrapper tagged twice", encode(Tagged(55799, Tagged(parts.tag, own))), Rule.WRAPPER_TAG)
    other = TAG_1_0 if parts.tag == TAG_2_0 else TAG_2_0
    yield mutation("wrapper with the other tag", encode(Tagged(other, own)), Rule.WRAPPER_ENTRY_FORM)
    for value in (b"", (), "x", 1):
        yield mutation(f"wrapper holds {value!r}", encode(Tagged(parts.tag, value)), Rule.WRAPPER_ENTRIES)
    yield from _entries(parts, own)
    for label in _LABELS:
        yield from _forms(parts, own, label)
    if parts.tag == TAG_2_0:
        yield from _of_cmw(parts, own)


def _put(parts: TokenParts, pairs: Pairs) -> bytes:
    return encode(Tagged(parts.tag, pairs))


def _entries(parts: TokenParts, own: Pairs) -> Iterator[Mutation]:
    yield mutation("wrapper empty", _put(parts, Pairs()), Rule.WRAPPER_ENTRIES)
    yield mutation("entries reversed", _put(parts, Pairs(own.pairs[::-1])))
    platform, realm = own.get(c.PLATFORM_TOKEN), own.get(c.REALM_TOKEN)
    swapped = own.put(c.PLATFORM_TOKEN, realm).put(c.REALM_TOKEN, platform)
    yield mutation("entries swapped", _put(parts, swapped), Rule.CLAIM_OF_PROFILE)
    for label, name in _LABELS.items():
        yield mutation(f"{name} entry removed", _put(parts, own.without(label)), Rule.WRAPPER_ENTRIES)
        twice = Pairs((*own.pairs, (label, own.get(label))))
        yield mutation(f"{name} entry twice", _put(parts, twice), Rule.CBOR_UNIQUE_KEYS)
    for unknown in (0, 44235, 44242, 44251, 44300, "x", -1):
        made = Pairs((*own.pairs, (unknown, platform)))
        yield mutation(f"entry {unknown!r} added", _put(parts, made), Rule.WRAPPER_KNOWN_ENTRIES)
    if parts.tag == TAG_1_0:
        for newer in (c.DEVICE_TOKEN, 44252, COLLECTION_TYPE):
            made = Pairs((*own.pairs, (newer, b"")))
            yield mutation(f"entry {newer!r} of 2.0 added", _put(parts, made), Rule.WRAPPER_KNOWN_ENTRIES)


def _forms(parts: TokenParts, own: Pairs, label: int) -> Iterator[Mutation]:
    name, content = _LABELS[label], parts.entries()[label]
    for value in ("text", 1, None, True, Pairs(), ()):
        made = _put(parts, own.put(label, value))
        yield mutation(f"{name} entry as {value!r}", made, Rule.WRAPPER_ENTRY_FORM)
    bare = _put(parts, own.put(label, content))
    record = _put(parts, own.put(label, (EAT_CWT, content)))
    if parts.tag == TAG_1_0:
        yield mutation(f"{name} entry as record", record, Rule.WRAPPER_ENTRY_FORM)
        return
    yield mutation(f"{name} entry bare", bare, Rule.WRAPPER_ENTRY_FORM)
    malformed: tuple[tuple[Value, ...], ...] = (
        (content,),
        (EAT_CWT, content, 4),
        (EAT_CWT, content, None),
        (EAT_CWT, content.hex()),
        (content, EAT_CWT),
        (EAT_CWT, None),
        *((kind, content) for kind in (0, 262, UCCS, -263, "application/eat+cwt", True)),
    )
    for index, record_of in enumerate(malformed):
        made = _put(parts, own.put(label, record_of))
        yield mutation(f"{name} record malformed ({index})", made, Rule.WRAPPER_ENTRY_FORM)


def _of_cmw(parts: TokenParts, own: Pairs) -> Iterator[Mutation]:
    """What only the 2.0 wrapper has: a collection type, implementation entries, and a device token."""
    kind = Pairs((*own.pairs, (COLLECTION_TYPE, "tag:arm.com,2024:cca")))
    yield mutation("collection type", _put(parts, kind))
    wrong = Pairs((*own.pairs, (COLLECTION_TYPE, 1)))
    yield mutation("collection type as number", _put(parts, wrong), Rule.WRAPPER_ENTRY_FORM)
    log = Pairs((*own.pairs, (44256, (0, b"log"))))
    yield mutation("firmware activity log", _put(parts, log))
    yield mutation("activity log bare", _put(parts, Pairs((*own.pairs, (44256, b"")))), Rule.WRAPPER_ENTRY_FORM)
    name = parts.realm.claims.get(c.REALM_HASH)
    if not parts.realm.claims.has(c.INSTANCE_ID) or parts.device is not None:
        return  # the 1.0 profiles know no devices
    device = Pairs(((1, bytes(32)), (2, bytes(32)), (4, False), (5, True)))
    token = encode(Pairs(((c.PROFILE, c.DEVICE_PROFILE), (c.DEVICES, (device,)))))
    hashed = HASHES[str(name)].digest(token)
    made = replace(put_claim(parts, "realm", c.DEVICES_HASH, hashed), device=token)
    yield mutation("device token", made.build())
    yield mutation("device token without hash", replace(parts, device=token).build(), Rule.DEVICES_BINDING)
    yield mutation("device hash without token", replace(made, device=None).build(), Rule.DEVICES_BINDING)
    yield mutation("device token changed", replace(made, device=token[:-1] + b"\xf4").build(), Rule.DEVICES_BINDING)
    for title, changed, rule in (
        ("without profile", Pairs(((c.DEVICES, (device,)),)), Rule.CLAIM_PRESENT),
        ("without devices", Pairs(((c.PROFILE, c.DEVICE_PROFILE),)), Rule.CLAIM_PRESENT),
        ("empty", Pairs(((c.PROFILE, c.DEVICE_PROFILE), (c.DEVICES, ()))), Rule.CLAIM_LENGTH),
        ("of another profile", Pairs(((c.PROFILE, "x"), (c.DEVICES, (device,)))), Rule.CLAIM_VALUE),
        ("no map", (), Rule.CLAIM_TYPE),
    ):
        data = encode(changed)
        digest = HASHES[str(name)].digest(data)
        bad = replace(put_claim(parts, "realm", c.DEVICES_HASH, digest), device=data)
        yield mutation(f"device token {title}", bad.build(), rule)
