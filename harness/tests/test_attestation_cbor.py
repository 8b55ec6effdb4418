"""The strict CBOR reader: against cbor2 on what both accept, offsets, deviations, limits."""

from __future__ import annotations

import time
import tracemalloc

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.attestation.build import Pairs, encode, value_of
from harness.attestation.cbor import Limits, NotReadable, Reader, plain
from refmodel.attestation.findings import Findings
from refmodel.attestation.items import Array, Bool, Bytes, Int, Item, Map, Other, Tag, Text
from refmodel.rules import Rule

SCALARS = st.one_of(
    st.integers(-(1 << 64), (1 << 64) - 1), st.binary(max_size=40), st.text(max_size=20), st.booleans(), st.none()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(st.integers(-300, 70000), st.text(max_size=5)), inner)
    ),
    max_leaves=20,
)


def read(data: bytes, limits: Limits | None = None) -> tuple[Item, Findings]:
    findings = Findings()
    return Reader(findings, limits).read(data, "part"), findings


def python_value(item: Item) -> object:
    """What cbor2 gives for the same data."""
    match item:
        case Map(pairs=pairs):
            return {python_value(key): python_value(value) for key, value in pairs}
        case Array(items=items):
            return [python_value(part) for part in items]
        case Other(value="null"):
            return None
        case Tag(number=number, item=inner):
            return cbor2.CBORTag(number, python_value(inner))
    return item.value


@given(VALUES)
def test_reads_what_cbor2_writes(value: object) -> None:
    item, findings = read(cbor2.dumps(value))
    assert python_value(item) == value
    assert findings.errors == []
    assert findings.notes == []


@given(st.binary(max_size=60))
@settings(max_examples=600)
def test_accepts_no_bytes_that_cbor2_refuses(data: bytes) -> None:
    """Also nothing but NotReadable comes out of any bytes."""
    findings = Findings()
    try:
        Reader(findings).read(data, "part")
    except NotReadable:
        return
    if findings.errors:
        return
    try:
        cbor2.loads(data)
    except cbor2.CBORDecodeError as error:
        # cbor2 also decodes what a tag means, which is not this reader's business.
        assert any(byte >> 5 == 6 for byte in data), error


@given(VALUES, st.data())
def test_every_cut_is_not_readable(value: object, data: st.DataObject) -> None:
    encoded = cbor2.dumps(value)
    size = data.draw(st.integers(0, len(encoded) - 1))
    with pytest.raises(NotReadable):
        read(encoded[:size])


@given(VALUES)
def test_builder_and_reader_agree(value: object) -> None:
    encoded = cbor2.dumps(value)
    item, _ = read(encoded)
    try:
        rebuilt = value_of(item)
    except ValueError:
        return  # null: a token has none
    assert encode(rebuilt) == encoded


def test_offsets_are_those_of_the_file() -> None:
    data = bytes.fromhex("a2 0a 43 010203 19 0109 82 61 61 f5".replace(" ", ""))
    findings = Findings()
    item = Reader(findings).read(data, "part", offset=100)
    assert item == Map(
        100,
        (
            (Int(101, 10), Bytes(102, b"\1\2\3", 103)),
            (Int(106, 265), Array(109, (Text(110, "a"), Bool(112, True)))),
        ),
    )


@pytest.mark.parametrize(
    ("data", "rule", "offset"),
    [
        ("00 00", Rule.CBOR_NOTHING_FOLLOWS, 1),
        ("9f 00 ff", Rule.CBOR_DEFINITE, 0),
        ("81 bf ff", Rule.CBOR_DEFINITE, 1),
        ("5f 41 00 ff", Rule.CBOR_DEFINITE, 0),
        ("7f 61 61 ff", Rule.CBOR_DEFINITE, 0),
        ("a2 01 00 01 00", Rule.CBOR_UNIQUE_KEYS, 3),
        ("a2 01 00 18 01 00", Rule.CBOR_UNIQUE_KEYS, 3),
        ("a2 61 61 00 61 61 00", Rule.CBOR_UNIQUE_KEYS, 4),
        ("a2 80 00 80 00", Rule.CBOR_UNIQUE_KEYS, 3),
        ("61 ff", Rule.CBOR_UTF8, 0),
        ("82 00 62 c3 28", Rule.CBOR_UTF8, 2),
    ],
)
def test_deviations_are_reported_with_their_place(data: str, rule: Rule, offset: int) -> None:
    _, findings = read(bytes.fromhex(data.replace(" ", "")))
    assert [(error.rule, error.offset) for error in findings.errors] == [(rule, offset)]
    assert not findings.held[rule]


@pytest.mark.parametrize("data", ["18 17", "58 01 00", "1b 00000000ffffffff", "d8 12 00", "b8 00"])
def test_long_heads_are_noted(data: str) -> None:
    _, findings = read(bytes.fromhex(data.replace(" ", "")))
    assert findings.errors == []
    assert [note.rule for note in findings.notes] == [Rule.CBOR_WELL_FORMED]


@pytest.mark.parametrize(
    "data", ["", "18", "58 02 00", "1c", "3d", "fc", "ff", "5f 61 61 ff", "5f 5f ff ff", "f8 1f", "9f"]
)
def test_not_readable(data: str) -> None:
    with pytest.raises(NotReadable) as caught:
        read(bytes.fromhex(data.replace(" ", "")))
    assert caught.value.rule is Rule.CBOR_WELL_FORMED


def test_true_is_not_one() -> None:
    assert plain(read(b"\xf5")[0]) != plain(read(b"\x01")[0])
    item, findings = read(b"\xa2\x01\x00\xf5\x00")
    assert isinstance(item, Map)
    assert item.get(1) == Int(2, 0)
    assert findings.errors == []


@pytest.mark.parametrize("opening", [b"\x81", b"\xa1\x00", b"\xc1", b"\x9f", b"\xbf\x00"])
def test_depth_is_limited(opening: bytes) -> None:
    with pytest.raises(NotReadable) as caught:
        read(opening * 1_000_000)
    assert caught.value.rule is Rule.CBOR_LIMITS


def test_items_are_counted_over_all_parts() -> None:
    reader = Reader(Findings(), Limits(items=10))
    reader.read(b"\x84\0\0\0\0", "one")
    with pytest.raises(NotReadable, match="more than 10 items"):
        reader.read(b"\x85\0\0\0\0\0", "two")


@pytest.mark.parametrize("head", ["5b", "7b", "9b", "bb"])
def test_a_huge_length_costs_nothing(head: str) -> None:
    tracemalloc.start()
    with pytest.raises(NotReadable) as caught:
        read(bytes.fromhex(head + "7fffffffffffffff" + "00" * 100))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.rule is Rule.CBOR_WELL_FORMED
    assert peak < 1 << 20


def test_a_map_with_many_keys_takes_linear_time() -> None:
    pairs = Pairs(tuple((number, 0) for number in range(30_000)))
    started = time.process_time()
    read(encode(pairs))
    assert time.process_time() - started < 5
