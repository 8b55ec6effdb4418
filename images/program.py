"""A plain program that builds need: the user's own, the system's, or Debian's for the machine's own release."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from images import debian, tools
from images.cache import Entry
from images.catalogue import PackageSpec
from images.errors import ImageError
from images.image import Image, Provenance, parse_version, sha256_of
from images.request import Request

# As for the compiler: the machine's loader starts the program, so the machine's own C library must serve it.
_FROM_MACHINE: Final = frozenset({"libc6", "libc-bin"})


def provide(spec: PackageSpec, request: Request, override: str = "") -> Image:
    """The program; ``override`` is the user's own, a path or a command name."""
    if image := _outside(spec, override):
        return image
    return _image(spec, debian.provide(spec, request, lambda prefix: _check(spec, prefix), _FROM_MACHINE))


def find(spec: PackageSpec, request: Request, override: str = "") -> Image | None:
    """As ``provide``, but None where something would have to be unpacked first."""
    if image := _outside(spec, override):
        return image
    entry = debian.find(spec, request.cache)
    return _image(spec, entry) if entry else None


def _outside(spec: PackageSpec, override: str) -> Image | None:
    found = shutil.which(override or Path(spec.program).name)
    if found is None:
        if not override:
            return None
        raise ImageError("does not exist or is not executable", where=override, remedy=_remedy(spec))
    path, origin = Path(found).resolve(), "user" if override else "system"
    text = _version_line(spec, path)
    version = parse_version(text)
    if version < spec.minimum and not override:
        return None
    shown = ".".join(map(str, version))
    binary = Provenance(name=path.name, path=str(path), sha256=sha256_of(path), version=shown, origin=origin)
    return Image(
        name=spec.name,
        kind=spec.kind,
        path=path,
        argv=(str(path),),
        version=version,
        version_text=text,
        origin=origin,
        provenance=(binary,),
    )


def _remedy(spec: PackageSpec) -> str:
    return f"name a {Path(spec.program).name} by {spec.environment}, or leave it out to use the system's or Debian's"


def _version_line(spec: PackageSpec, path: Path) -> str:
    result = tools.run([str(path), "--version"], timeout=30.0, remedy=_remedy(spec))
    lines = result.stdout.splitlines()
    if result.returncode != 0 or not lines or not parse_version(lines[0]):
        said = tools.first_line(result.stderr) or f"exit status {result.returncode}"
        raise ImageError(f"tells no version: {said}", where=str(path), remedy=_remedy(spec))
    return lines[0]


def _check(spec: PackageSpec, prefix: Path) -> debian.Checked:
    version = parse_version(_version_line(spec, prefix / spec.program))
    return ".".join(map(str, version)), (spec.program,)


def _image(spec: PackageSpec, entry: Entry) -> Image:
    path = entry.path / "prefix" / spec.program
    return Image(
        name=spec.name,
        kind=spec.kind,
        path=path,
        argv=(str(path),),
        version=parse_version(entry.record.version),
        version_text=f"{path.name} {entry.record.version}",
        origin="debian",
        provenance=debian.provenance(entry),
        packages=entry.record.packages,
    )
