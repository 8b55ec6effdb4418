"""A public prebuilt archive, named by URL and sha256: downloaded, checked, unpacked into the cache."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path
from typing import Final

from images import download
from images.cache import Cache, Entry, Record
from images.catalogue import ArchiveSpec
from images.download import UnreachableError
from images.errors import ImageError
from images.image import Image, Provenance, sha256_of
from images.request import Request

_CONTENT: Final = "content"


def provide(spec: ArchiveSpec, request: Request) -> Image:
    """The archive, unpacked; downloaded now unless the cache has it."""
    return request.obtain(
        spec.name,
        lambda: _ready(spec, request),
        lambda: _image(spec, _downloaded(spec, request)),
        variable=spec.environment,
        error=UnreachableError,
    )


def find(spec: ArchiveSpec, request: Request) -> Image | None:
    """As ``provide``, but None where it would have to be downloaded; without a network a damaged one is an error."""
    return request.sound(lambda: _ready(spec, request))


def _ready(spec: ArchiveSpec, request: Request) -> Image | None:
    entry = request.cache.by_digest(spec.name, spec.sha256)
    return _image(spec, entry) if entry else None


def own(spec: ArchiveSpec, name: str) -> Image:
    """The user's own copy, unpacked in a directory; ImageError in one line when a member is missing."""
    directory = Path(name).resolve()
    _check_members(spec, directory)
    binaries = tuple(
        Provenance(name=member, path=str(directory / member), sha256=sha256_of(directory / member), origin="user")
        for member in spec.members
        if (directory / member).is_file()
    )
    return Image(name=spec.name, kind=spec.kind, path=directory, origin="user", provenance=binaries)


def _downloaded(spec: ArchiveSpec, request: Request) -> Entry:
    cache = request.cache
    with cache.staging(spec.name) as staging:
        archive = _download(spec, cache, request)
        request.progress.step(spec.name, "unpacking", 0.0)
        unpack(archive, staging / _CONTENT)
        _check_members(spec, staging / _CONTENT)
        record = Record(
            image=spec.name,
            version="",
            spec=spec.sha256,
            digest=spec.sha256,
            verified="sha256 of the archive as in the catalogue",
            source={"url": spec.url},
            binaries=tuple(
                Provenance(
                    name=member,
                    path=f"{_CONTENT}/{member}",
                    sha256=sha256_of(staging / _CONTENT / member),
                    origin=spec.url,
                )
                for member in spec.members
                if (staging / _CONTENT / member).is_file()
            ),
        )
        entry = cache.finish(staging, record)
    archive.unlink()
    request.progress.done(spec.name, f"{spec.url} in {entry.path}")
    return entry


def _download(spec: ArchiveSpec, cache: Cache, request: Request) -> Path:
    directory = cache.download_directory
    directory.mkdir(parents=True, exist_ok=True)
    target = directory / f"{spec.name}-{spec.sha256[:20]}"
    if not (target.is_file() and sha256_of(target) == spec.sha256):
        download.fetch(
            spec.url, spec.sha256, target, lambda part: request.progress.step(spec.name, "downloading", part)
        )
    return target


def unpack(archive: Path, directory: Path) -> None:
    """Unpack a tar archive; ImageError in one line for a broken one, and for one that reaches outside ``directory``."""
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(directory, filter="data")
    except (tarfile.TarError, EOFError, ValueError) as error:
        shutil.rmtree(directory, ignore_errors=True)
        raise ImageError(f"cannot be unpacked: {error}", where=str(archive)) from error


def _check_members(spec: ArchiveSpec, directory: Path) -> None:
    for member in spec.members:
        if not (directory / member).exists():
            raise ImageError(f"there is no {member}", where=str(directory), remedy="check the catalogue's members")


def _image(spec: ArchiveSpec, entry: Entry) -> Image:
    return Image(
        name=spec.name,
        kind=spec.kind,
        path=entry.path / _CONTENT,
        version_text=spec.url.rpartition("/")[2],
        origin="download",
        provenance=entry.binaries(),
    )
