"""The wire protocol as the real probe speaks it: damage, repetition, refusals, the batch's checksum."""

from __future__ import annotations

import socket
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.console import Console
from harness.errors import TargetProtocolError
from harness.probe.batch import Batch
from harness.probe.records import Op, Record
from harness.probe.wire import CHUNK, Frame, FrameReader, encode
from harness.probe.wire_client import WireClient
from harness.process import Process
from harness.targets.qemu_machine import machine_argv

DATA = 0x8000_0000
BATCH = 0x4800_1000


class Line:
    """A probe at the end of a line, for frames of any kind."""

    def __init__(self, qemu: tuple[str, ...], probe: Path, logs: Path) -> None:
        mine, theirs = socket.socketpair()
        argv = machine_argv(qemu, probe=probe, l0gptsz=30, uart_fd=theirs.fileno(), ram_fd=None)
        self.process = Process(argv, stderr=logs / "stderr", pass_fds=[theirs.fileno()])
        theirs.close()
        self.console = Console(mine, logs / "uart0.log")
        self.client = WireClient(self.console, watch=lambda: None)
        self.client.await_banner(10.0)

    def exchange(self, data: bytes, count: int = 1) -> list[Frame]:
        self.console.send(data, 1.0)
        reader, found, deadline = FrameReader(), list[Frame](), time.monotonic() + 5
        while len(found) < count and time.monotonic() < deadline:
            found += [frame for frame in reader.feed(self.console.read(0.1)) if isinstance(frame, Frame)]
        return found

    def close(self) -> None:
        self.process.kill()
        self.console.close()


@pytest.fixture(scope="module")
def line(qemu_argv: tuple[str, ...], probe_elf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    made = Line(qemu_argv, probe_elf, tmp_path_factory.mktemp("line"))
    yield made
    made.close()


def read_frame(sequence: int, pa: int = DATA, length: int = 8) -> bytes:
    return encode(Frame(sequence, "READ", struct.pack("<QQ", pa, length)))


def wrong_length() -> bytes:
    body = b"0d WRITE 0010 00 "
    return b"@" + body + b"%08x\n" % zlib.crc32(body)


def nak(sequence: int, reason: str) -> Frame:
    return Frame(sequence, "NAK", reason.encode())


def test_hello_is_answered_with_the_banner(line: Line) -> None:
    assert line.client.hello().personality == "root"
    assert line.client.hello().windows_l1


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (read_frame(9).replace(b"READ", b"REAL"), nak(9, "CRC")),
        (b"@zz READ\n", nak(0, "SEQUENCE")),
        (b"@09 R\n", nak(9, "TRUNCATED")),
        (b"@09\n", nak(0, "SEQUENCE")),
        (b"@" + b"0" * 4096 + b"\n", nak(0, "TOO_LONG")),
        (encode(Frame(9, "JUMP")), nak(9, "COMMAND")),
        (encode(Frame(10, "READ", b"12345678")), nak(10, "COMMAND")),
        (encode(Frame(11, "READ", struct.pack("<QQ", DATA, CHUNK + 1))), nak(11, "RANGE")),
        (encode(Frame(12, "READ", struct.pack("<QQ", (1 << 39) - 8, 16))), nak(12, "RANGE")),
        (wrong_length(), nak(13, "LENGTH")),
        (encode(Frame(13, "WRITE", bytes(1200))), nak(0, "TOO_LONG")),
    ],
)
def test_refusals_name_the_reason(line: Line, data: bytes, answer: Frame) -> None:
    assert line.exchange(data) == [answer]


def test_a_frame_is_found_in_noise_and_begins_anew_at_the_marker(line: Line) -> None:
    line.client.write(DATA, b"abcdefgh")
    data = bytes(range(0x41, 0x100)) + b"\n@21 REA" + b"\x00@" + read_frame(0x21)[:20] + read_frame(0x21)
    assert line.exchange(data) == [Frame(0x21, "OK", b"abcdefgh")]


def test_a_repeated_request_is_answered_again_and_not_done_again(line: Line) -> None:
    frame = encode(Frame(0x31, "WRITE", struct.pack("<Q", DATA) + b"first..."))
    assert line.exchange(frame) == [Frame(0x31, "OK")]
    assert line.exchange(read_frame(0x32)) == [Frame(0x32, "OK", b"first...")]
    assert line.exchange(read_frame(0x32, DATA + 4096)) == [Frame(0x32, "OK", b"first...")]
    assert line.exchange(frame + frame, 2) == [Frame(0x31, "OK")] * 2


def test_a_damaged_frame_between_does_not_make_the_probe_forget(line: Line) -> None:
    assert line.exchange(read_frame(0x41)) == [Frame(0x41, "OK", b"first...")]
    assert line.exchange(read_frame(0x42).replace(b"READ", b"REAL")) == [nak(0x42, "CRC")]
    assert line.exchange(read_frame(0x41, DATA + 4096)) == [Frame(0x41, "OK", b"first...")]


def test_a_batch_that_was_changed_on_its_way_is_refused(line: Line) -> None:
    encoded = Batch(records=[Record(0, Op.LOAD, address=DATA)]).encode()
    assert len(line.client.run(BATCH, encoded, 5.0)) == 128
    line.client.write(BATCH, encoded.image)
    line.client.write(BATCH + 64 + 16, struct.pack("<Q", DATA + 8))
    status, completed, reason = struct.unpack(
        "<III", line.exchange(encode(Frame(0x51, "RUN", struct.pack("<Q", BATCH))))[0].payload
    )
    assert (status, completed, reason) == (3, 0, 4)


@pytest.mark.parametrize(("pa", "reason"), [(BATCH + 4, 1), (DATA, 1), (BATCH + (1 << 20), 2)])
def test_a_batch_that_is_none_is_refused(line: Line, pa: int, reason: int) -> None:
    sequence = 0x60 + (pa >> 2 & 3) + reason
    answer = line.exchange(encode(Frame(sequence, "RUN", struct.pack("<Q", pa))))[0]
    assert struct.unpack("<III", answer.payload) == (3, 0, reason)


def test_the_client_says_what_was_wrong_with_a_batch(line: Line) -> None:
    encoded = Batch(records=[Record(0, Op.NOP)]).encode()
    with pytest.raises(TargetProtocolError, match="the probe refused the batch because of its address"):
        line.client.run(BATCH + 4, encoded, 5.0)
