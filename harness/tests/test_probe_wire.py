"""Frames: round trip, noise, truncation, damage."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.probe.wire import CHUNK, LINE_LIMIT, BadFrame, Frame, FrameReader, decode, encode, readable
from harness.probe.wire_client import runs

frames = st.builds(
    Frame,
    st.integers(0, 255),
    st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=1, max_size=8),
    st.binary(max_size=64),
)
noise = st.binary(max_size=64).map(lambda data: data.replace(b"!", b"?"))


def read(data: bytes) -> list[Frame | BadFrame]:
    return list(FrameReader().feed(data))


def test_a_frame_is_this_line() -> None:
    body = b"07 READ 0002 0a0b "
    assert encode(Frame(7, "READ", b"\x0a\x0b")) == b"@" + body + b"%08x\n" % zlib.crc32(body)


@given(frames, noise, noise)
def test_a_frame_is_found_in_noise(frame: Frame, before: bytes, after: bytes) -> None:
    line = encode(frame, b"!").replace(b"\n", b"\r\r\n")
    assert read(before + line + after) == [frame]


@given(st.lists(frames, max_size=4), st.data())
def test_the_way_a_stream_is_cut_does_not_matter(many: list[Frame], data: st.DataObject) -> None:
    stream = b"text\r\n".join(encode(frame, b"!") for frame in many)
    found: list[Frame | BadFrame] = []
    reader, at = FrameReader(), 0
    while at < len(stream):
        size = data.draw(st.integers(1, len(stream)))
        found += reader.feed(stream[at : at + size])
        at += size
    assert found == many


@given(frames, frames, st.integers(1, 200))
def test_a_truncated_frame_costs_only_itself(first: Frame, second: Frame, cut: int) -> None:
    line = encode(first, b"!")
    found = read(line[: min(cut, len(line) - 1)] + encode(second, b"!"))
    assert found == [BadFrame("TRUNCATED"), second]


@given(frames, st.data())
def test_a_changed_character_is_noticed(frame: Frame, data: st.DataObject) -> None:
    body = bytearray(encode(frame)[1:-1])
    at = data.draw(st.integers(0, len(body) - 1))
    body[at] ^= 1 << data.draw(st.integers(0, 6))
    assert isinstance(decode(bytes(body)), BadFrame)


@given(st.binary(max_size=300))
def test_the_reader_takes_any_bytes(data: bytes) -> None:
    assert all(isinstance(found, Frame | BadFrame) for found in read(data))


def test_an_endless_line_is_given_up() -> None:
    reader = FrameReader()
    assert list(reader.feed(b"!" + b"a" * (LINE_LIMIT + 1))) == [BadFrame("TOO_LONG")]
    frame = Frame(1, "OK", bytes(CHUNK))
    assert list(reader.feed(b"a\n" + encode(frame, b"!"))) == [frame]


@given(st.lists(st.sampled_from([bytes(8), b"ABCDEFGH", b"ABCDEFGI", b"x", bytes(80), b"pq" * 64])))
def test_runs_say_the_same_bytes(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    rebuilt = b""
    for offset, length, pattern in runs(data):
        assert offset == len(rebuilt)
        rebuilt += data[offset : offset + length] if pattern is None else pattern.to_bytes(8, "little") * (length // 8)
    assert rebuilt == data


@pytest.mark.parametrize(("size", "count"), [(4096, 1), (4100, 2)])
def test_an_empty_table_is_one_fill(size: int, count: int) -> None:
    assert len(list(runs(bytes(size)))) == count


def line(frame: Frame) -> str:
    return encode(frame, b"!").decode("ascii").rstrip("\n")


def test_a_frame_is_shown_for_people() -> None:
    assert readable(line(Frame(0, "BANNER", b"protocol=1 el=3"))) == "!00 BANNER protocol=1 el=3"
    assert readable(line(Frame(0, "FATAL", b"a\0b"))) == "!00 FATAL a?b"
    assert readable(line(Frame(7, "READ", b"\x0a\x0b"))) == "!07 READ 0a0b"
    assert readable(line(Frame(7, "WRITE"))) == "!07 WRITE"


def test_a_long_line_is_shown_short() -> None:
    banner = b"protocol=1 " + b"x" * 500
    shown = readable(line(Frame(0, "BANNER", banner)))
    assert shown.startswith("!00 BANNER protocol=1 xxx") and shown.endswith("x... (511 bytes)") and len(shown) < 160
    assert readable(line(Frame(9, "READ", bytes(CHUNK)))).endswith("00... (1024 bytes)")
    assert readable("x" * 1000) == "x" * 120 + "... (1000 characters)"


def test_what_is_no_frame_is_shown_as_it_is() -> None:
    damaged = line(Frame(0, "BANNER", b"text"))[:-1] + "x"
    for text in ("", "!", "Booting ...", damaged, "!00 BANNER \ufffd"):
        assert readable(text) == text
