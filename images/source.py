"""A Debian source package in the cache: its .dsc and tarballs as downloaded and verified, nothing unpacked."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from images import apt_sources
from images.apt import Package, PrivateApt
from images.cache import FORMAT, Entry, Record
from images.catalogue import SourceSpec
from images.errors import ImageError
from images.image import Image, Provenance, parse_version
from images.request import Request


def provide(spec: SourceSpec, request: Request) -> Image:
    """The source package, downloaded now unless the cache has it."""
    return request.obtain(
        spec.name, lambda: _ready(spec, request), lambda: _image(spec, _downloaded(spec, request))
    )  # fmt: skip


def find(spec: SourceSpec, request: Request) -> Image | None:
    """As ``provide``, but None where it would have to be downloaded; without a network a damaged one is an error."""
    return request.sound(lambda: _ready(spec, request))


def _ready(spec: SourceSpec, request: Request) -> Image | None:
    entry = request.cache.by_spec(spec.name, spec.digest(*apt_sources.host_facts()))
    return _image(spec, entry) if entry else None


def _downloaded(spec: SourceSpec, request: Request) -> Entry:
    archive = apt_sources.archive()
    directory = request.cache.apt_directory / f"source-{'+'.join(spec.suites)}-{archive.architecture}"
    cache = request.cache
    with cache.lock(f"apt-{directory.name}") as lock, cache.staging(spec.name) as staging:
        apt = PrivateApt(
            directory, archive, spec.suites, lambda what, part: request.progress.step(spec.name, what, part), lock
        )
        files = apt.fetch_source(spec.package)
        if parse_version(files[0].version) < spec.minimum:
            wanted = ".".join(map(str, spec.minimum))
            raise ImageError(
                f"{spec.package} {files[0].version} is older than {wanted}",
                where=archive.public_uri,
                remedy=f"use a mirror that carries {' and '.join(spec.suites)} as they are today",
            )
        for item in files:
            shutil.move(apt.debs / item.file, staging / item.file)
        entry = cache.finish(staging, _record(spec, apt, files))
        apt.discard([])
    request.progress.done(spec.name, f"{files[0].version} in {entry.path}")
    return entry


def _record(spec: SourceSpec, apt: PrivateApt, files: list[Package]) -> Record:
    content = "\n".join(sorted(f"{item.sha256} {item.file}" for item in files))
    return Record(
        image=spec.name,
        version=files[0].version,
        spec=spec.digest(*apt_sources.host_facts()),
        digest=hashlib.sha256(f"{FORMAT}\n{content}".encode()).hexdigest(),
        verified=f"apt checked the signature with {apt.archive.keyring}; sha256 of all files as in the index",
        source={"uri": apt.archive.public_uri, "suites": " ".join(apt.suites), "package": spec.package},
        binaries=tuple(
            Provenance(name=item.file, path=item.file, sha256=item.sha256, version=item.version, origin="debian")
            for item in files
        ),
    )


def _image(spec: SourceSpec, entry: Entry) -> Image:
    return Image(
        name=spec.name,
        kind=spec.kind,
        path=entry.path / _tarball(entry),
        version=parse_version(entry.record.version),
        version_text=f"{spec.package} {entry.record.version}",
        origin="debian",
        provenance=entry.binaries(),
    )


def _tarball(entry: Entry) -> Path:
    """The upstream tarball, which is what builds use."""
    found = [
        item.path for item in entry.record.binaries if ".orig.tar." in item.path and not item.path.endswith(".asc")
    ]
    if len(found) != 1:
        raise ImageError(f"the source package has {len(found)} upstream tarballs, not one", where=str(entry.path))
    return Path(found[0])
