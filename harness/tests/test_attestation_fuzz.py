"""The fuzzing targets without coverage guidance: random inputs, and that the oracle itself refuses something."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.attestation.build import Pairs, encode, value_of
from harness.attestation.cbor import Reader
from harness.attestation.verify import Status, verify_token
from harness.tests.attestation_samples import RECORDED, recorded_parts
from harness.tests.fuzz_attestation import acceptable, any_bytes, any_claims, with_payload
from refmodel.attestation.findings import Findings

PARTS = recorded_parts()
CLAIMS = encode(PARTS.realm.claims)
VALUES = st.one_of(
    st.binary(max_size=70), st.sampled_from([bytes(n) for n in (32, 48, 64)]), st.text(max_size=8), st.integers(),
    st.booleans(), st.lists(st.sampled_from([bytes(n) for n in (20, 32, 48, 64)]), max_size=5),
    st.sampled_from(["sha-256", "sha-384", "sha-512", "sha-1"]),
)  # fmt: skip
LABELS = st.sampled_from([10, 265, 256, 44235, 44236, 44237, 44238, 44239, 44240, 44243, 44244, 44257, 2395, 99])


def test_the_seeds_are_accepted() -> None:
    any_bytes(RECORDED.read_bytes())
    made = verify_token(with_payload(PARTS, CLAIMS), platform_key=PARTS.platform.key.public_key())
    assert made.status is Status.VALID
    assert acceptable(CLAIMS)


@pytest.mark.parametrize("change", [{10: b"short"}, {44238: bytes(48)}, {44240: "sha-1"}, {44243: 0}, {44239: []}])
def test_the_oracle_refuses(change: dict[int, object]) -> None:
    assert not acceptable(cbor2.dumps({**cbor2.loads(CLAIMS), **change}))


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(LABELS, VALUES, max_size=3), st.sets(LABELS, max_size=2))
def test_changed_claims(changed: dict[int, object], dropped: set[int]) -> None:
    claims = {**cbor2.loads(CLAIMS), **changed}
    kept = {label: value for label, value in claims.items() if label not in dropped}
    any_claims(PARTS)(cbor2.dumps(kept))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(CLAIMS) - 1), st.integers(0, 255)), min_size=1, max_size=3))
def test_changed_bytes_of_claims(changes: list[tuple[int, int]]) -> None:
    spoiled = bytearray(CLAIMS)
    for position, value in changes:
        spoiled[position] = value
    any_claims(PARTS)(bytes(spoiled))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    any_bytes(data)
    any_bytes(b"\xd9\x01\x8f\xa2\x19\xac\xca\x59" + len(data).to_bytes(2, "big") + data)


def test_value_of_keeps_the_claims() -> None:
    rebuilt = value_of(Reader(Findings()).read(CLAIMS, "claims"))
    assert isinstance(rebuilt, Pairs)
    assert encode(rebuilt) == CLAIMS
