"""The Linux host's first file system: busybox, the attack tool and a first process, as a cpio archive of fixed size.

The size is fixed because the kernel is told it on its command line, which a stack manifest writes.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Final

from images import cpio
from images.cache import FORMAT, Cache, DamagedError, Entry, Record
from images.catalogue import InitramfsSpec
from images.errors import ImageError
from images.image import Image, Provenance, sha256_of
from images.progress import Progress

SIZE: Final = 4 << 20
"""Bytes of every archive; the kernel skips the zeros at its end."""

INIT: Final = Path(__file__).with_name("linux") / "init.sh"
_FILE: Final = "initramfs.cpio"
_CONSOLE: Final = (5, 1)  # /dev/console, which the kernel opens before the first process could make it


def members(busybox: bytes, tool: bytes, init: bytes) -> list[cpio.Member]:
    """What the archive holds."""
    directories = [cpio.directory(name) for name in ("bin", "dev", "proc", "sys", "tmp")]
    programs = {"init": init, "bin/busybox": busybox, "bin/attack": tool}
    return [
        *directories,
        cpio.character_device("dev/console", *_CONSOLE),
        *(cpio.program(name, data) for name, data in programs.items()),
    ]


def provide(spec: InitramfsSpec, cache: Cache, progress: Progress, busybox: Image, tool: Image) -> Image:
    """The archive, made now unless the cache has it."""
    digest = _digest(busybox, tool)
    entry = _sound(spec, cache, digest)
    if entry is None:
        with cache.lock(spec.name):
            entry = _sound(spec, cache, digest) or _made(spec, cache, busybox, tool, digest)
        progress.done(spec.name, f"made in {entry.path}")
    return _image(spec, entry)


def find(spec: InitramfsSpec, cache: Cache, busybox: Image, tool: Image) -> Image | None:
    """As ``provide``, but None where it would have to be made first; DamagedError when it has changed."""
    entry = cache.by_digest(spec.name, _digest(busybox, tool))
    return _image(spec, entry) if entry else None


def own(spec: InitramfsSpec, name: str) -> Image:
    """The user's archive; ImageError when it cannot be read or is larger than ``SIZE``."""
    path = Path(name).resolve()
    binary = Provenance(name=spec.name, path=str(path), sha256=sha256_of(path), origin="user")
    if path.stat().st_size > SIZE:
        raise ImageError(
            f"has {path.stat().st_size} bytes, more than {SIZE}",
            where=str(path),
            remedy="make it smaller, or write a stack manifest whose command line gives its size",
        )
    return Image(name=spec.name, kind=spec.kind, path=path, origin="user", provenance=(binary,))


def _digest(busybox: Image, tool: Image) -> str:
    chosen = [FORMAT, SIZE, *(sha256_of(path) for path in (busybox.path, tool.path, INIT, Path(cpio.__file__)))]
    return hashlib.sha256(json.dumps(chosen).encode()).hexdigest()


def _sound(spec: InitramfsSpec, cache: Cache, digest: str) -> Entry | None:
    try:
        return cache.by_digest(spec.name, digest)
    except DamagedError:
        return None


def _made(spec: InitramfsSpec, cache: Cache, busybox: Image, tool: Image, digest: str) -> Entry:
    data = cpio.archive(members(busybox.path.read_bytes(), tool.path.read_bytes(), INIT.read_bytes()))
    if len(data) > SIZE:
        raise ImageError(
            f"the archive needs {len(data)} bytes, more than {SIZE}",
            where=str(busybox.path),
            remedy=f"use a smaller busybox ({busybox.version_text})",
        )
    with cache.staging(spec.name) as staging:
        output = staging / _FILE
        output.write_bytes(data.ljust(SIZE, b"\0"))
        record = Record(
            image=spec.name,
            version="",
            spec=digest,
            digest=digest,
            verified="made of the files that the content address covers",
            source={"busybox": busybox.version_text, "tool": tool.version_text},
            binaries=(
                Provenance(
                    name=spec.name,
                    path=_FILE,
                    sha256=sha256_of(output),
                    version=f"{busybox.version_text}, sources {digest[:20]}",
                    origin="built",
                ),
            ),
        )
        return cache.finish(staging, record)


def _image(spec: InitramfsSpec, entry: Entry) -> Image:
    return Image(
        name=spec.name,
        kind=spec.kind,
        path=entry.path / _FILE,
        version_text=entry.record.source.get("busybox", ""),
        origin="built",
        provenance=entry.binaries(),
    )
