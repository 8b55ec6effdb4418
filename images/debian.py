"""A Debian package with all it needs, unpacked into a prefix in the cache: for QEMU and the compiler."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from images import apt_sources, tools
from images.apt import Package, PrivateApt
from images.cache import FORMAT, Cache, Entry, Record
from images.catalogue import PackageSpec
from images.errors import ImageError
from images.image import Image, Provenance, parse_version, sha256_of
from images.request import Request

Checked = tuple[str, Sequence[str]]
# Reading matter: a tenth of the size and half of the files, all of which are compared at every use.
_NOT_NEEDED: Final = ("doc", "info", "lintian", "locale", "man")


def find(spec: PackageSpec, cache: Cache) -> Entry | None:
    """The finished entry of an image in the cache, or None; DamagedError when it has changed.  No network is used."""
    return cache.by_spec(spec.name, spec.digest(*apt_sources.host_facts()))


def provide(spec: PackageSpec, request: Request, check: Callable[[Path], Checked], skip: Iterable[str] = ()) -> Entry:
    """The entry of an image, unpacked now unless the cache has it.

    ``check`` gets the prefix, runs what is in it and returns its version and the main binaries (relative to the
    prefix).  Packages named in ``skip`` are verified and recorded but not unpacked.
    """
    return request.obtain(
        spec.name,
        lambda: find(spec, request.cache),
        lambda: _unpacked(spec, request, check, frozenset(skip)),
        variable=spec.environment,
    )


def _unpacked(spec: PackageSpec, request: Request, check: Callable[[Path], Checked], skip: frozenset[str]) -> Entry:
    archive = apt_sources.archive()
    if spec.architecture:
        archive = replace(archive, architecture=spec.architecture)
    _refuse_noexec(request.cache.root)
    directory = request.cache.apt_directory / f"{'+'.join(spec.suites)}-{archive.architecture}"
    on_arm64 = archive.architecture == "arm64" and not spec.architecture
    names = spec.packages_arm64 if on_arm64 else spec.packages
    cache = request.cache
    with cache.lock(f"apt-{directory.name}") as lock, cache.staging(spec.name) as staging:
        apt = PrivateApt(
            directory, archive, spec.suites, lambda what, part: request.progress.step(spec.name, what, part), lock
        )
        packages = apt.fetch(names, spec.target, spec.only)
        prefix = staging / "prefix"
        prefix.mkdir()
        owners: dict[str, Package] = {}
        for index, item in enumerate(packages):
            request.progress.step(spec.name, "unpacking", index / len(packages))
            if item.name not in skip:
                owners.update(dict.fromkeys(unpack(apt.debs / item.file, prefix), item))
        for name in _NOT_NEEDED:
            shutil.rmtree(prefix / "usr/share" / name, ignore_errors=True)
        version, paths = check(prefix)
        binaries = [_binary(prefix, path, owners.get(path)) for path in paths]
        entry = cache.finish(staging, _record(spec, apt, packages, version, binaries))
        apt.discard(packages)
    request.progress.done(spec.name, f"{version} ({len(packages)} packages) in {entry.path}")
    return entry


def _refuse_noexec(root: Path) -> None:
    """ImageError when programs cannot be run from the cache's file system: better before the download than after."""
    there = next(path for path in (root, *root.parents) if path.exists())
    if os.statvfs(there).f_flag & os.ST_NOEXEC:
        raise ImageError(
            "the cache lies on a file system from which no program may be run (noexec)",
            where=str(root),
            remedy="set XDG_CACHE_HOME to a directory on another file system",
        )


def unpack(deb: Path, prefix: Path) -> list[str]:
    """Unpack one package and return its paths, relative; ImageError in one line for a broken one or a full disk."""
    result = tools.run(["dpkg-deb", "--vextract", str(deb), str(prefix)], remedy=apt_sources.NOT_DEBIAN_REMEDY)
    if result.returncode == 0:
        return [line.removeprefix("./") for line in result.stdout.splitlines()]
    if tools.is_no_space(result.stderr):
        raise tools.no_space(prefix)
    reason = tools.first_line(result.stderr, "error:", "tar:")
    raise ImageError(
        f"cannot be unpacked: {reason}", where=str(deb), remedy="delete it and run again: it is downloaded again"
    )


def _binary(prefix: Path, path: str, owner: Package | None) -> Provenance:
    return Provenance(
        name=Path(path).name,
        path=str((prefix / path).relative_to(prefix.parent)),
        sha256=sha256_of(prefix / path),
        version=f"{owner.name} {owner.version}" if owner else "",
        origin="debian",
    )


def provenance(entry: Entry) -> tuple[Provenance, ...]:
    """The main binaries of an entry, then all the packages that it was unpacked from as one."""
    record = entry.record
    packages = Provenance(
        name=f"{record.image} packages",
        path=str(entry.path),
        sha256=record.digest,
        version=f"{len(record.packages)} packages",
        origin=f"{record.source.get('uri', '')} {record.source.get('suites', '')}",
    )
    return (*entry.binaries(), packages)


def image(spec: PackageSpec, entry: Entry, argv: tuple[str, ...], version_text: str) -> Image:
    """The image of an unpacked entry."""
    return Image(
        name=spec.name,
        kind=spec.kind,
        path=entry.path / "prefix" / spec.program,
        argv=argv,
        version=parse_version(entry.record.version),
        version_text=version_text,
        origin="debian",
        provenance=provenance(entry),
        packages=entry.record.packages,
    )


def _record(
    spec: PackageSpec, apt: PrivateApt, packages: Sequence[Package], version: str, binaries: Sequence[Provenance]
) -> Record:
    content = "\n".join(sorted(f"{item.sha256} {item.file}" for item in packages))
    return Record(
        image=spec.name,
        version=version,
        spec=spec.digest(*apt_sources.host_facts()),
        digest=hashlib.sha256(f"{FORMAT}\n{spec.program}\n{content}".encode()).hexdigest(),
        verified=f"apt checked the signature with {apt.archive.keyring}; sha256 of all packages as in the index",
        source={
            "uri": apt.archive.public_uri,
            "suites": " ".join(apt.suites),
            "preferred": spec.target,
            "architecture": apt.archive.architecture,
        },
        binaries=tuple(binaries),
        packages=tuple(
            Provenance(name=item.name, path=item.file, sha256=item.sha256, version=item.version, origin=item.uri)
            for item in packages
        ),
    )
