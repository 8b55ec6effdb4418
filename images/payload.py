"""A file for the target from Debian's packages of its architecture: a Linux kernel, busybox."""

from __future__ import annotations

import re
from pathlib import Path

from images import debian
from images.cache import Entry
from images.catalogue import PackageSpec
from images.errors import ImageError
from images.image import Image, Provenance, parse_version, sha256_of
from images.request import Request


def provide(spec: PackageSpec, request: Request, override: str = "") -> Image:
    """Debian's from the cache (unpacked now if need be), or the user's own file when ``override`` names one."""
    if override:
        return own(spec, override)
    return _image(spec, debian.provide(spec, request, lambda prefix: _check(spec, prefix)))


def find(spec: PackageSpec, request: Request, override: str = "") -> Image | None:
    """As ``provide``, but None where something would have to be unpacked first."""
    if override:
        return own(spec, override)
    entry = debian.find(spec, request.cache)
    return _image(spec, entry) if entry else None


def own(spec: PackageSpec, name: str) -> Image:
    """The user's file; ImageError when it cannot be read.  Its version is what it states of itself, if anything."""
    path = Path(name).resolve()
    digest = sha256_of(path)
    text = stated(path, spec.says)
    binary = Provenance(name=path.name, path=str(path), sha256=digest, version=text, origin="user")
    return Image(
        name=spec.name,
        kind=spec.kind,
        path=path,
        version=parse_version(text),
        version_text=text or "states no version",
        origin="user",
        provenance=(binary,),
    )


def stated(path: Path, says: str) -> str:
    """The version that a file states of itself: group 1 of the first match of ``says``, empty when there is none."""
    found = re.search(says.encode(), path.read_bytes())
    return found[1].rstrip(b".").decode("ascii", "replace") if found else ""


def _check(spec: PackageSpec, prefix: Path) -> debian.Checked:
    there = sorted(prefix.glob(spec.program))
    if len(there) != 1:
        raise ImageError(f"the packages hold {len(there)} files {spec.program}, not one", where=str(prefix))
    version = stated(there[0], spec.says)
    if parse_version(version) < spec.minimum:
        wanted = ".".join(map(str, spec.minimum))
        raise ImageError(f"{spec.name} states version {version or 'none'}, older than {wanted}", where=str(there[0]))
    return version, (str(there[0].relative_to(prefix)),)


def _image(spec: PackageSpec, entry: Entry) -> Image:
    binaries = entry.binaries()
    return Image(
        name=spec.name,
        kind=spec.kind,
        path=Path(binaries[0].path),
        version=parse_version(entry.record.version),
        version_text=f"{spec.name} {entry.record.version}",
        origin="debian",
        provenance=debian.provenance(entry),
        packages=entry.record.packages,
    )
