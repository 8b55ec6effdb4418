"""Mutations of the encoding: too short, too long, indefinite lengths, long heads, text that is none, depth, size."""

from __future__ import annotations

from collections.abc import Iterator

from harness.attestation.build import EnvelopeParts, Pairs, Raw, Tagged, TokenParts, Value, encode, head, sign
from harness.attestation.mutations.mutation import WHICH, Mutation, envelope, mutation, with_bytes, with_claims
from refmodel.attestation import claims as c
from refmodel.attestation.headers import SIGN1_TAG
from refmodel.rules import Rule

_LABEL = {"platform": c.PLATFORM_TOKEN, "realm": c.REALM_TOKEN}


def of_encoding(parts: TokenParts) -> Iterator[Mutation]:
    """Every mutation of the encoding."""
    token = parts.build()
    for size in sorted({*range(32), *range(32, len(token), 97), len(token) - 1}):
        yield mutation(f"cut to {size} bytes", token[:size], Rule.CBOR_WELL_FORMED)
    for name, tail in (("a zero", b"\0"), ("a newline", b"\n"), ("a break", b"\xff"), ("itself", token)):
        yield mutation(f"followed by {name}", token + tail, Rule.CBOR_NOTHING_FOLLOWS)
    yield from _top(parts)
    for which in WHICH:
        yield from _strings(parts, which)
        yield from _maps(parts, which)
        yield from _values(parts, which)


def _top(parts: TokenParts) -> Iterator[Mutation]:
    own = parts.collection()
    inner = encode(own)
    tag = encode(Tagged(parts.tag, Raw(b"")))
    open_map = b"\xbf" + inner[1:] + b"\xff"
    yield mutation("collection of indefinite length", tag + open_map, Rule.CBOR_DEFINITE)
    yield mutation("collection with a longer head", tag + b"\xb8" + bytes([inner[0] & 31]) + inner[1:])
    yield mutation("collection never closed", tag + b"\xbf" + inner[1:], Rule.CBOR_WELL_FORMED)
    for count in (0xFF, 1 << 16, 1 << 32, (1 << 64) - 1):
        huge = tag + head(5, count) + inner[1:]
        yield mutation(f"collection that claims {count} entries", huge, Rule.CBOR_WELL_FORMED)
        string = tag + b"\xa1\x19\xac\xca" + head(2, count)
        yield mutation(f"string that claims {count} bytes", string, Rule.CBOR_WELL_FORMED)
    for reserved in (0x1C, 0x1D, 0x1E, 0x3F, 0x5C, 0x9E, 0xDF, 0xFC, 0xFF):
        yield mutation(f"reserved head {reserved:#x}", tag + bytes([reserved]), Rule.CBOR_WELL_FORMED)
    for opening, name in ((b"\x81", "arrays"), (b"\xa1\x00", "maps"), (b"\xc1", "tags"), (b"\x9f", "open arrays")):
        yield mutation(f"10000 nested {name}", tag + opening * 10000 + b"\0", Rule.CBOR_LIMITS)
    many = tag + head(4, 100_000) + bytes(100_000)
    yield mutation("100000 items", many, Rule.CBOR_LIMITS)


def _rebuilt(parts: TokenParts, which: str, protected: bytes, payload: bytes) -> bytes:
    """With an envelope of these byte strings, signed."""
    old: EnvelopeParts = envelope(parts, which)
    made = Tagged(SIGN1_TAG, (protected, old.unprotected, payload, sign(old.key, protected, payload)))
    return with_bytes(parts, which, encode(made)).build()


def _strings(parts: TokenParts, which: str) -> Iterator[Mutation]:
    """Bytes after the items inside byte strings, and byte strings in chunks."""
    old = envelope(parts, which)
    protected, payload, built = encode(old.protected), encode(old.claims), old.build()
    for name, tail in (("a zero", b"\0"), ("a break", b"\xff")):
        follows = Rule.CBOR_NOTHING_FOLLOWS
        yield mutation(f"{which} claims followed by {name}", _rebuilt(parts, which, protected, payload + tail), follows)
        headers = _rebuilt(parts, which, protected + tail, payload)
        yield mutation(f"{which} protected header followed by {name}", headers, follows)
        yield mutation(f"{which} token followed by {name}", with_bytes(parts, which, built + tail).build(), follows)
    shorter = _rebuilt(parts, which, protected, payload[:-1])
    yield mutation(f"{which} claims a byte short", shorter, Rule.CBOR_WELL_FORMED)
    cut = with_bytes(parts, which, built[:-1]).build()
    yield mutation(f"{which} token a byte short", cut, Rule.CBOR_WELL_FORMED)
    held = old.elements()
    for index, name in ((0, "protected header"), (2, "claims"), (3, "signature")):
        made = Tagged(SIGN1_TAG, tuple(_chunked(part) if n == index else part for n, part in enumerate(held)))
        data = with_bytes(parts, which, encode(made)).build()
        yield mutation(f"{which} {name} in chunks", data, Rule.CBOR_DEFINITE)
    label = _LABEL[which]
    chunked = _chunked(built)
    value: Value = chunked if parts.tag == 399 else (263, chunked)
    collection = parts.collection().put(label, value)
    yield mutation(f"{which} entry in chunks", encode(Tagged(parts.tag, collection)), Rule.CBOR_DEFINITE)


def _chunked(part: Value) -> Raw:
    assert isinstance(part, bytes)
    middle = len(part) // 2
    return Raw(b"\x5f" + encode(part[:middle]) + encode(part[middle:]) + b"\xff")


def _maps(parts: TokenParts, which: str) -> Iterator[Mutation]:
    old = envelope(parts, which)
    protected, payload = encode(old.protected), encode(old.claims)
    for name, made in (
        ("protected header", _rebuilt(parts, which, b"\xbf" + protected[1:] + b"\xff", payload)),
        ("claims", _rebuilt(parts, which, protected, b"\xbf" + payload[1:] + b"\xff")),
    ):
        yield mutation(f"{which} {name} of indefinite length", made, Rule.CBOR_DEFINITE)
    longer = b"\xb9" + (payload[0] & 31).to_bytes(2, "big") + payload[1:]
    yield mutation(f"{which} claims with a longer head", _rebuilt(parts, which, protected, longer))
    tagged = _rebuilt(parts, which, protected, b"\xd8\x3d" + payload)
    yield mutation(f"{which} claims tagged", tagged, Rule.SIGN1_PAYLOAD)


def _values(parts: TokenParts, which: str) -> Iterator[Mutation]:
    """Single values encoded otherwise."""

    def put(label: int, data: bytes) -> bytes:
        return with_claims(parts, which, lambda held: held.put(label, Raw(data))).build()

    label = c.PLATFORM_HASH if which == "platform" else c.REALM_HASH
    yield mutation(f"{which} text that is not UTF-8", put(label, b"\x67sha-25\xff"), Rule.CBOR_UTF8)
    name = str(envelope(parts, which).claims.get(label)).encode()
    chunks = b"\x7f" + head(3, 3) + name[:3] + head(3, len(name) - 3) + name[3:] + b"\xff"
    yield mutation(f"{which} text in chunks", put(label, chunks), Rule.CBOR_DEFINITE)
    yield mutation(f"{which} text with a longer head", put(label, b"\x78" + bytes([len(name)]) + name))
    yield mutation(f"{which} text tagged", put(label, b"\xd8\x20" + head(3, len(name)) + name), Rule.CLAIM_TYPE)
    claims = envelope(parts, which).claims
    key = claims.labels()[0]
    value = claims.get(key)
    longer = Pairs((*claims.pairs, (Raw(b"\x1a" + key.to_bytes(4, "big")), value)))
    twice = with_claims(parts, which, lambda _: longer).build()
    yield mutation(f"{which} key twice, once with a longer head", twice, Rule.CBOR_UNIQUE_KEYS)
    for simple, shown in ((b"\xf9\x3c\x00", "a float"), (b"\xf6", "null"), (b"\xf7", "undefined"), (b"\xe0", "0")):
        yield mutation(f"{which} hash name is simple value {shown}", put(label, simple), Rule.CLAIM_TYPE)
    if which == "platform":
        big = b"\x1b" + (0x3000).to_bytes(8, "big")
        yield mutation("lifecycle with a longer head", put(c.LIFECYCLE, big))
        yield mutation("lifecycle as a big number", put(c.LIFECYCLE, b"\xc2\x42\x30\x00"), Rule.CLAIM_TYPE)
        yield mutation("simple value in two bytes", put(c.LIFECYCLE, b"\xf8\x14"), Rule.CBOR_WELL_FORMED)
