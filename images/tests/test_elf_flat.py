"""The flat image that firmware loads, made of a probe's ELF."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from images import elf
from images.errors import ImageError

BASE = 0x6000_0000


def _elf(path: Path, segments: list[tuple[int, bytes, int]], entry: int = BASE) -> Path:
    """An AArch64 executable with these (address, content, size in memory) segments."""
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 2, 183, 1, entry, 64, 0, 0, 64, 56, len(segments), 0, 0, 0)
    at = 64 + 56 * len(segments)
    table, body = b"", b""
    for address, data, size in segments:
        table += struct.pack("<IIQQQQQQ", 1, 7, at + len(body), address, address, len(data), size, 4)
        body += data
    path.write_bytes(head + table + body)
    return path


def test_gaps_are_zeros_and_bss_is_left_out(tmp_path: Path) -> None:
    path = _elf(tmp_path / "x.elf", [(BASE + 16, b"data", 4096), (BASE, b"codecode", 8)])
    assert elf.flat_image(path) == b"codecode" + bytes(8) + b"data"


def test_entry_has_to_be_the_first_byte(tmp_path: Path) -> None:
    path = _elf(tmp_path / "x.elf", [(BASE, b"codecode", 8)], entry=BASE + 4)
    with pytest.raises(ImageError, match=r"x\.elf: entry point 0x60000004 is not its first byte 0x60000000"):
        elf.flat_image(path)
