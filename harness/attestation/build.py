"""Building tokens out of parts, malformed ones included: an encoder that keeps order and repeats, and signing.

A map is ``Pairs``, so that a key may occur twice; ``Raw`` stands for bytes that are already encoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from harness.attestation import keys
from harness.attestation.cbor import Reader
from harness.attestation.verify import signed_bytes
from refmodel.attestation import claims as c
from refmodel.attestation.claimset import HASHES
from refmodel.attestation.findings import Findings
from refmodel.attestation.headers import ALG, ALGORITHMS, SIGN1_TAG, Algorithm
from refmodel.attestation.items import Array, Item, Map, Other, Tag
from refmodel.attestation.profiles import TAG_1_0, KeyForm
from refmodel.attestation.rak import COSE_CURVES, CRV, KTY, KTY_EC2, X, Y, coordinate_bytes
from refmodel.attestation.wrapper import EAT_CWT, UCCS, open_wrapper


@dataclass(frozen=True)
class Raw:
    """Bytes that stand as they are."""

    data: bytes


@dataclass(frozen=True)
class Tagged:
    """A tagged value."""

    number: int
    value: Value


@dataclass(frozen=True)
class Pairs:
    """A map in its order, with keys that may repeat."""

    pairs: tuple[tuple[Value, Value], ...] = ()

    def get(self, label: int) -> Value:
        """The first value of a label; KeyError without one."""
        for key, value in self.pairs:
            if key == label and not isinstance(key, bool):
                return value
        raise KeyError(label)

    def has(self, label: int) -> bool:
        """Whether the label is there."""
        return any(key == label for key, _ in self.pairs)

    def labels(self) -> tuple[int, ...]:
        """The integer labels in their order."""
        return tuple(key for key, _ in self.pairs if isinstance(key, int))

    def put(self, label: int, value: Value) -> Pairs:
        """With another value at a label's place, or with the pair at the end."""
        if not self.has(label):
            return Pairs((*self.pairs, (label, value)))
        return Pairs(tuple((key, value if key == label else held) for key, held in self.pairs))

    def without(self, label: int) -> Pairs:
        """Without a label."""
        return Pairs(tuple(pair for pair in self.pairs if pair[0] != label))


Value = int | bytes | str | bool | None | Sequence["Value"] | Pairs | Tagged | Raw

_ARRAY, _MAP, _TAG = 4, 5, 6


def head(major: int, argument: int) -> bytes:
    """The shortest head of an item."""
    if argument < 24:
        return bytes([major << 5 | argument])
    for info, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if argument < 1 << 8 * size:
            return bytes([major << 5 | info]) + argument.to_bytes(size, "big")
    raise ValueError(f"{argument} does not fit into the head of an item")


def encode(value: Value) -> bytes:
    """CBOR in the order given, with the shortest heads."""
    match value:
        case Raw(data=data):
            return data
        case Tagged(number=number, value=inner):
            return head(_TAG, number) + encode(inner)
        case Pairs(pairs=pairs):
            return head(_MAP, len(pairs)) + b"".join(encode(key) + encode(held) for key, held in pairs)
        case list() | tuple():
            return head(_ARRAY, len(value)) + b"".join(map(encode, value))
    return cbor2.dumps(value)


def value_of(item: Item) -> Value:
    """A decoded item as a value to build with; ValueError for what no token has."""
    match item:
        case Map(pairs=pairs):
            return Pairs(tuple((value_of(key), value_of(held)) for key, held in pairs))
        case Array(items=items):
            return tuple(map(value_of, items))
        case Tag(number=number, item=inner):
            return Tagged(number, value_of(inner))
        case Other(value=name):
            raise ValueError(f"a token has no {name}")
    return item.value


def cose_key_of(key: keys.PublicKey) -> Pairs:
    """A COSE_Key with the parameters that are needed and no others."""
    octets, size = keys.public_octets(key), coordinate_bytes(keys.curve_of(key))
    return Pairs(
        ((KTY, KTY_EC2), (CRV, COSE_CURVES[keys.curve_of(key)]), (X, octets[1 : 1 + size]), (Y, octets[1 + size :]))
    )


def key_bytes(key: keys.PublicKey, form: KeyForm) -> bytes:
    """The content of a realm public key claim."""
    return keys.public_octets(key) if form is KeyForm.RAW_POINT else encode(cose_key_of(key))


def algorithm_for(key: keys.PrivateKey) -> Algorithm:
    """The algorithm that goes with a key's curve."""
    curve = keys.curve_of(key)
    return next(made for made in ALGORITHMS.values() if made.curve == curve)


@lru_cache(maxsize=16)
def sign(key: keys.PrivateKey, protected: bytes, payload: bytes) -> bytes:
    """A raw signature over the Sig_structure; the same one when asked again soon, as the corpus does."""
    algorithm = algorithm_for(key)
    der = key.sign(signed_bytes(protected, payload), ec.ECDSA(keys.hash_of(algorithm)))
    half = algorithm.signature_bytes // 2
    return b"".join(number.to_bytes(half, "big") for number in decode_dss_signature(der))


@dataclass(frozen=True)
class EnvelopeParts:
    """A COSE_Sign1 to be: headers, claims, and the key that signs."""

    key: keys.PrivateKey
    claims: Pairs
    protected: Pairs
    unprotected: Pairs = field(default_factory=Pairs)

    def build(self) -> bytes:
        """Signed and tagged."""
        return encode(Tagged(SIGN1_TAG, self.elements()))

    def elements(self) -> tuple[Value, ...]:
        """The four elements."""
        protected, payload = encode(self.protected), encode(self.claims)
        return protected, self.unprotected, payload, sign(self.key, protected, payload)


@dataclass(frozen=True)
class TokenParts:
    """A token to be.  ``platform_bytes`` and ``realm_bytes`` replace the envelopes when they are not None."""

    tag: int
    platform: EnvelopeParts
    realm: EnvelopeParts
    device: bytes | None = None
    platform_bytes: bytes | None = None
    realm_bytes: bytes | None = None

    def bound(self) -> TokenParts:
        """With the platform's binding claim made for the realm public key as it is now."""
        return replace(self, platform=replace(self.platform, claims=bind(self.platform.claims, self.realm.claims)))

    def entries(self) -> dict[int, bytes]:
        """The encoded parts by label."""
        made = {
            c.PLATFORM_TOKEN: self.platform.build() if self.platform_bytes is None else self.platform_bytes,
            c.REALM_TOKEN: self.realm.build() if self.realm_bytes is None else self.realm_bytes,
        }
        return made if self.device is None else {**made, c.DEVICE_TOKEN: self.device}

    def build(self) -> bytes:
        """The token."""
        return encode(Tagged(self.tag, self.collection()))

    def collection(self) -> Pairs:
        """The collection under the tag, records under 907."""
        return Pairs(tuple((label, self.entry(label, held)) for label, held in self.entries().items()))

    def entry(self, label: int, held: bytes) -> Value:
        """An entry's value."""
        if self.tag == TAG_1_0:
            return held
        return UCCS if label == c.DEVICE_TOKEN else EAT_CWT, held


def bind(platform: Pairs, realm: Pairs) -> Pairs:
    """Platform claims that bind the realm public key; unchanged where the realm claims do not allow to."""
    name, key = (realm.get(label) if realm.has(label) else None for label in (c.RAK_HASH, c.RAK))
    if not isinstance(name, str) or name not in HASHES or not isinstance(key, bytes):
        return platform
    label = c.WORKLOAD_BINDING if platform.has(c.WORKLOAD_BINDING) else c.CHALLENGE
    return platform.put(label, HASHES[name].digest(key))


def dismantle(data: bytes, cpak: keys.PrivateKey, rak: keys.PrivateKey | None = None) -> TokenParts:
    """The parts of a well-formed token, to be signed anew by ``cpak`` and by ``rak``, the token's own, or a new key.

    With a new RAK the claim that holds it and the binding are replaced.
    """
    reader = Reader(Findings())
    wrapper = open_wrapper(reader.read(data, "token"), Findings())
    made = {}
    for label in (c.PLATFORM_TOKEN, c.REALM_TOKEN):
        sign1 = value_of(reader.read(wrapper.entries[label].value, "envelope"))
        if not isinstance(sign1, Tagged) or not isinstance(sign1.value, tuple):
            raise ValueError("the token holds no COSE_Sign1")
        protected, unprotected, payload, _ = sign1.value
        made[label] = (_pairs(reader, protected), unprotected, _pairs(reader, payload))
    realm_claims = made[c.REALM_TOKEN][2]
    if rak is None:
        old = realm_claims.get(c.RAK)
        form = KeyForm.RAW_POINT if isinstance(old, bytes) and old[:1] == b"\x04" else KeyForm.COSE_KEY
        rak = new_key("P-384")
        realm_claims = realm_claims.put(c.RAK, key_bytes(rak.public_key(), form))
    device = wrapper.entries.get(c.DEVICE_TOKEN)
    parts = TokenParts(
        wrapper.tag or 0,
        _envelope(cpak, made[c.PLATFORM_TOKEN]),
        replace(_envelope(rak, made[c.REALM_TOKEN]), claims=realm_claims),
        device.value if device else None,
    )
    return parts.bound()


def _pairs(reader: Reader, held: Value) -> Pairs:
    made = value_of(reader.read(held, "map")) if isinstance(held, bytes) else None
    if not isinstance(made, Pairs):
        raise ValueError("the token holds no map where one belongs")
    return made


def _envelope(key: keys.PrivateKey, held: tuple[Pairs, Value, Pairs]) -> EnvelopeParts:
    protected, unprotected, claims = held
    if not isinstance(unprotected, Pairs):
        raise ValueError("the token holds no unprotected header")
    return EnvelopeParts(key, claims, protected.put(ALG, algorithm_for(key).value), unprotected)


def new_key(curve: str) -> keys.PrivateKey:
    """A new key on a curve by its JWK name."""
    return ec.generate_private_key(keys.CURVES[curve]())
