"""QEMU: unpacked from Debian's packages and run through the prefix's own loader, or a user's own."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from images import debian, elf, tools
from images.cache import Entry
from images.catalogue import PackageSpec
from images.errors import ImageError
from images.image import Image, Provenance, parse_version, sha256_of
from images.request import Request

OLDEST: Final = (8, 1)  # the first QEMU with FEAT_RME
_REMEDY: Final = (
    "name a qemu-system-aarch64 of 8.1 or newer (11.1 or newer for all suites), or leave --qemu and REALMCHECK_QEMU "
    "out to use Debian's"
)


def provide(spec: PackageSpec, request: Request, override: str = "") -> Image:
    """Debian's QEMU from the cache (unpacked now if need be), or the user's own when ``override`` names one."""
    if override:
        return own(spec, override)
    entry = debian.provide(spec, request, lambda prefix: _check(spec, prefix))
    return _image(spec, entry)


def find(spec: PackageSpec, request: Request, override: str = "") -> Image | None:
    """As ``provide``, but None where something would have to be unpacked first."""
    if override:
        return own(spec, override)
    entry = debian.find(spec, request.cache)
    return _image(spec, entry) if entry else None


def own(spec: PackageSpec, command: str) -> Image:
    """The user's QEMU, a path or a command name; ImageError when it is missing, no QEMU or too old for RME."""
    found = shutil.which(command)
    if found is None:
        missing = "is not executable" if Path(command).exists() else "does not exist"
        raise ImageError(missing, where=command, remedy=_REMEDY)
    path = Path(found).resolve()
    text, version = _ask_version((str(path),))
    if version < OLDEST:
        raise ImageError(f"QEMU {_dotted(version)} has no RME", where=str(path), remedy=_REMEDY)
    return Image(
        name=spec.name,
        kind=spec.kind,
        path=path,
        argv=(str(path),),
        version=version,
        version_text=text,
        origin="user",
        provenance=(
            Provenance(name=path.name, path=str(path), sha256=sha256_of(path), version=_dotted(version), origin="user"),
        ),
    )


def _argv(spec: PackageSpec, prefix: Path) -> tuple[str, ...]:
    """The command prefix; the libraries of the prefix need the prefix's own loader, whatever the machine has."""
    program = prefix / spec.program
    loader = elf.in_prefix(prefix, elf.interpreter(program))
    triplet = loader.parent.name
    libraries = ":".join(
        str(prefix / part / triplet) for part in ("lib", "usr/lib") if (prefix / part / triplet).is_dir()
    )
    data = str(prefix / "usr/share/qemu")
    return (str(loader), "--inhibit-cache", "--library-path", libraries, str(program), "-L", data)


def _ask_version(argv: tuple[str, ...]) -> tuple[str, tuple[int, ...]]:
    result = tools.run([*argv, "--version"], timeout=30.0, remedy=_REMEDY)
    text = tools.first_line(result.stdout, "QEMU emulator version")
    version = parse_version(text)
    if result.returncode != 0 or "QEMU" not in text or not version:
        said = tools.first_line(result.stderr) or text or f"exit status {result.returncode}"
        raise ImageError(f"does not answer --version as QEMU does: {said}", where=argv[0], remedy=_REMEDY)
    return text, version


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _check(spec: PackageSpec, prefix: Path) -> debian.Checked:
    argv = _argv(spec, prefix)
    _, version = _ask_version(argv)
    if version < spec.minimum:
        raise ImageError(
            f"Debian's suite {spec.target} has QEMU {_dotted(version)}, {spec.name} needs {_dotted(spec.minimum)}",
            remedy=f"use a mirror that is up to date, or set {spec.environment}",
        )
    return _dotted(version), (spec.program, str(Path(argv[0]).relative_to(prefix)))


def _image(spec: PackageSpec, entry: Entry) -> Image:
    return debian.image(spec, entry, _argv(spec, entry.path / "prefix"), f"QEMU {entry.record.version}")
