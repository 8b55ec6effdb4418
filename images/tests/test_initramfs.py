"""The Linux host's first file system, as the kernel would unpack it."""

from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from images import cpio, initramfs
from images.cache import Cache
from images.catalogue import InitramfsSpec
from images.errors import ImageError
from images.image import Image
from images.progress import Silent

SPEC = InitramfsSpec(
    name="initramfs", kind="initramfs", summary="", environment="REALMCHECK_INITRAMFS", busybox="busybox", tool="attack"
)


def _unpack(data: bytes) -> dict[str, tuple[int, bytes, tuple[int, int]]]:
    """Name to mode, content and device, read as the form says: 6 + 13 x 8 characters, name and content padded to 4."""
    found: dict[str, tuple[int, bytes, tuple[int, int]]] = {}
    at = 0
    while True:
        assert data[at : at + 6] == b"070701"
        field = [int(data[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        mode, size, device, name_size = field[1], field[6], (field[9], field[10]), field[11]
        name = data[at + 110 : at + 110 + name_size - 1].decode()
        start = at + 110 + name_size + -(110 + name_size) % 4
        if name == "TRAILER!!!":
            return found
        found[name] = (mode, data[start : start + size], device)
        at = start + size + -size % 4


def _image(path: Path, data: bytes) -> Image:
    path.write_bytes(data)
    return Image(name=path.name, kind="userland", path=path, version_text="1.0", origin="user")


def test_members_have_their_modes_contents_and_devices(tmp_path: Path) -> None:
    parts = _image(tmp_path / "busybox", b"BUSY" * 9), _image(tmp_path / "attack", b"TOOL!")
    image = initramfs.provide(SPEC, Cache(), Silent(), *parts)
    data = image.path.read_bytes()
    assert len(data) == initramfs.SIZE
    found = _unpack(data)
    assert found["bin/busybox"] == (stat.S_IFREG | 0o755, b"BUSY" * 9, (0, 0))
    assert found["bin/attack"][1] == b"TOOL!" and found["init"][1] == initramfs.INIT.read_bytes()
    assert found["dev/console"] == (stat.S_IFCHR | 0o600, b"", (5, 1))
    assert all(stat.S_ISDIR(found[name][0]) for name in ("bin", "dev", "proc", "sys"))
    assert initramfs.find(SPEC, Cache(), *parts) == image == initramfs.provide(SPEC, Cache(), Silent(), *parts)


def test_changed_tool_makes_another_archive(tmp_path: Path) -> None:
    busybox = _image(tmp_path / "busybox", b"B")
    first = initramfs.provide(SPEC, Cache(), Silent(), busybox, _image(tmp_path / "attack", b"1"))
    assert initramfs.find(SPEC, Cache(), busybox, _image(tmp_path / "attack", b"2")) is None
    assert initramfs.provide(SPEC, Cache(), Silent(), busybox, _image(tmp_path / "attack", b"2")).path != first.path


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    large = _image(tmp_path / "busybox", bytes(initramfs.SIZE))
    with pytest.raises(ImageError, match=r"busybox: the archive needs \d+ bytes, more than 4194304; use a smaller"):
        initramfs.provide(SPEC, Cache(), Silent(), large, large)
    own = tmp_path / "own"
    own.write_bytes(bytes(initramfs.SIZE + 1))
    with pytest.raises(ImageError, match=r"own: has 4194305 bytes, more than 4194304"):
        initramfs.own(SPEC, str(own))


@pytest.mark.skipif(shutil.which("cpio") is None, reason="cpio is needed to compare with")
def test_cpio_itself_reads_it(tmp_path: Path) -> None:
    data = cpio.archive([cpio.directory("a"), cpio.program("a/b", b"12345")])
    listed = subprocess.run(["cpio", "-itv"], input=data, capture_output=True, check=True).stdout.decode()
    assert [line.split()[-1] for line in listed.splitlines()] == ["a", "a/b"] and "rwxr-xr-x" in listed
