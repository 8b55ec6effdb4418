"""The catalogue of images: what can be provided, and from where.  Data only; providers act on it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from images import tomlfile
from images.errors import ImageError
from images.image import parse_version

CATALOGUE: Final = Path(__file__).with_name("catalogue.toml")
HOST_SUITE: Final = "host"
KINDS: Final = (
    "qemu", "compiler", "tool", "kernel", "userland", "probe", "program", "initramfs", "source", "firmware",
    "archive",
)  # fmt: skip
# Names become parts of paths, and words of apt's command line and sources: nothing else may hide in them.
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]*")
_PACKAGE: Final = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_SUITE: Final = re.compile(r"[a-z][a-z0-9.-]*")
_VARIABLE: Final = re.compile(r"[A-Z][A-Z0-9_]*")


@dataclass(frozen=True, kw_only=True)
class PackageSpec:
    """An image that is unpacked from Debian packages.

    ``suites`` are the Debian suites apt may take packages from and ``target`` the preferred one (``host``: the
    machine's own release).  ``packages_arm64`` takes the place of ``packages`` on an arm64 machine.  ``program`` is
    the main binary inside the prefix, ``minimum`` the oldest version that is good enough, ``environment`` the variable
    by which a user names an own one.

    What the target runs, not this machine, has more: the Debian ``architecture`` it is for, ``only`` which packages of
    the closure are wanted (patterns of whole names; the others are not downloaded), and ``says``, a pattern whose group
    is the version that the file states of itself.  Its ``program`` may hold ``*``.
    """

    name: str
    kind: str
    summary: str
    environment: str
    suites: tuple[str, ...]
    target: str
    packages: tuple[str, ...]
    packages_arm64: tuple[str, ...]
    program: str
    minimum: tuple[int, ...]
    architecture: str = ""
    only: tuple[str, ...] = ()
    says: str = ""

    def digest(self, architecture: str, codename: str) -> str:
        """What a cache entry must have been made for: the parameters that choose it, the machine, and its release."""
        release = codename if HOST_SUITE in self.suites else ""
        chosen: list[object] = [
            self.suites,
            self.target,
            self.packages,
            self.packages_arm64,
            self.program,
            self.minimum,
        ]
        chosen += [self.architecture, self.only, self.says] if self.architecture else [architecture, release]
        return hashlib.sha256(json.dumps(chosen).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class ProbeSpec:
    """A program for the target, built from our source as one ``personality``; ``environment`` names a user's own ELF.

    ``directory`` is the folder of ``images`` that holds its sources and ``build.toml``.
    """

    name: str
    kind: str
    summary: str
    environment: str
    personality: str
    directory: str = "probe"


@dataclass(frozen=True, kw_only=True)
class InitramfsSpec:
    """The first file system of a Linux host, put together from the images ``busybox`` and ``tool``."""

    name: str
    kind: str
    summary: str
    environment: str
    busybox: str
    tool: str


@dataclass(frozen=True, kw_only=True)
class SourceSpec:
    """A Debian source ``package`` of ``suites``, kept as it is downloaded; ``minimum`` is the oldest good version."""

    name: str
    kind: str
    summary: str
    environment: str = ""
    suites: tuple[str, ...]
    package: str
    minimum: tuple[int, ...]

    def digest(self, architecture: str, codename: str) -> str:
        """What a cache entry must have been made for; a source package is the same on every machine."""
        return hashlib.sha256(json.dumps([self.suites, self.package, self.minimum]).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class FirmwareSpec:
    """TF-A, built from the image ``source`` by ``images/tfa/build.toml``; ``environment`` names a user's own build.

    ``edits`` names the recipe's optional edits that this build has beside the others: a known fault, say.
    """

    name: str
    kind: str
    summary: str
    environment: str
    source: str
    edits: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ArchiveSpec:
    """A prebuilt archive at ``url`` (http or https) with ``sha256`` (hex); ``members`` are paths that it must hold.

    ``environment`` names a directory of the user's with the same content.
    """

    name: str
    kind: str
    summary: str
    environment: str
    url: str
    sha256: str
    members: tuple[str, ...]


Spec = PackageSpec | ProbeSpec | InitramfsSpec | SourceSpec | FirmwareSpec | ArchiveSpec


def _words(table: tomlfile.Table, key: str, shape: re.Pattern[str], default: Sequence[str] = ()) -> tuple[str, ...]:
    """The strings at ``key``, one or more, each of this shape; where there is no key, those of ``default`` if any."""
    found = table.strings(key, tuple(default) or None)
    if not found:
        raise table.error("must not be empty", key)
    for item in found:
        if not shape.fullmatch(item):
            raise table.error(f"must hold names such as {shape.pattern}, not {item!r}", key)
    return found


def _word(table: tomlfile.Table, key: str, shape: re.Pattern[str]) -> str:
    found = table.string(key)
    if not shape.fullmatch(found):
        raise table.error(f"must be a name such as {shape.pattern}, not {found!r}", key)
    return found


def _variable(table: tomlfile.Table) -> str:
    found = table.string("environment")
    if not _VARIABLE.fullmatch(found):
        raise table.error(f"must be the name of a variable ({_VARIABLE.pattern}), not {found!r}", "environment")
    return found


def _minimum(table: tomlfile.Table) -> tuple[int, ...]:
    found = parse_version(table.string("minimum"))
    if not found:
        raise table.error(f"must be a version such as '11.1', not {table.string('minimum')!r}", "minimum")
    return found


def _package_spec(name: str, table: tomlfile.Table) -> PackageSpec:
    table.only(PackageSpec.__dataclass_fields__.keys() - {"name"})
    minimum = _minimum(table)
    suites, target = _words(table, "suites", _SUITE), table.string("target")
    if target not in suites:
        raise table.error(f"must be one of the suites {', '.join(suites)}, not {target!r}", "target")
    program = table.string("program")
    if not program or Path(program).is_absolute() or ".." in Path(program).parts:
        raise table.error(f"must be a path inside the prefix, not {program!r}", "program")
    packages = _words(table, "packages", _PACKAGE)
    return PackageSpec(
        name=name,
        kind=table.string("kind"),
        summary=table.string("summary"),
        environment=_variable(table),
        suites=suites,
        target=target,
        packages=packages,
        packages_arm64=_words(table, "packages_arm64", _PACKAGE, packages),
        program=program,
        minimum=minimum,
        architecture=_word(table, "architecture", _PACKAGE) if "architecture" in table.values else "",
        only=_expressions(table, table.strings("only", ())),
        says="".join(_expressions(table, (table.string("says", ""),))),
    )


def _expressions(table: tomlfile.Table, found: tuple[str, ...]) -> tuple[str, ...]:
    for item in found:
        try:
            re.compile(item)
        except re.error as error:
            raise table.error(f"{item!r} is no regular expression: {error}") from error
    return found


def _probe_spec(name: str, table: tomlfile.Table) -> ProbeSpec:
    table.only(ProbeSpec.__dataclass_fields__.keys() - {"name"})
    return ProbeSpec(
        name=name,
        kind=table.string("kind"),
        summary=table.string("summary"),
        environment=_variable(table),
        personality=table.string("personality"),
        directory=_word(table, "directory", _NAME) if "directory" in table.values else "probe",
    )


def _initramfs_spec(name: str, table: tomlfile.Table) -> InitramfsSpec:
    table.only(InitramfsSpec.__dataclass_fields__.keys() - {"name"})
    return InitramfsSpec(
        name=name,
        kind=table.string("kind"),
        summary=table.string("summary"),
        environment=_variable(table),
        busybox=table.string("busybox"),
        tool=table.string("tool"),
    )


def _source_spec(name: str, table: tomlfile.Table) -> SourceSpec:
    table.only(SourceSpec.__dataclass_fields__.keys() - {"name", "environment"})
    return SourceSpec(
        name=name,
        kind=table.string("kind"),
        summary=table.string("summary"),
        suites=_words(table, "suites", _SUITE),
        package=_word(table, "package", _PACKAGE),
        minimum=_minimum(table),
    )


def _firmware_spec(name: str, table: tomlfile.Table) -> FirmwareSpec:
    table.only(FirmwareSpec.__dataclass_fields__.keys() - {"name"})
    return FirmwareSpec(
        name=name,
        kind=table.string("kind"),
        summary=table.string("summary"),
        environment=_variable(table),
        source=table.string("source"),
        edits=table.strings("edits", ()),
    )


def _archive_spec(name: str, table: tomlfile.Table) -> ArchiveSpec:
    table.only(ArchiveSpec.__dataclass_fields__.keys() - {"name"})
    url, sha256 = table.string("url"), table.string("sha256")
    if not re.match(r"https?://[^/\s]+/\S+$", url):
        raise table.error(f"must be an http or https URL, not {url!r}", "url")
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise table.error("must be 64 hexadecimal digits", "sha256")
    members = table.strings("members")
    for member in members:
        if not member or Path(member).is_absolute() or ".." in Path(member).parts:
            raise table.error(f"must hold paths inside the archive, not {member!r}", "members")
    return ArchiveSpec(
        name=name,
        kind=table.string("kind"),
        summary=table.string("summary"),
        environment=_variable(table),
        url=url,
        sha256=sha256,
        members=members,
    )


def load(path: Path = CATALOGUE) -> Mapping[str, Spec]:
    """The specs by name, in the file's order; ImageError with file, line and key for anything wrong."""
    top = tomlfile.load(path)
    specs: dict[str, Spec] = {}
    for name in top.values:
        if not _NAME.fullmatch(name):
            raise top.error(f"must have a name such as {_NAME.pattern}", name)
        table = top.table(name)
        match table.string("kind"):
            case "qemu" | "compiler" | "tool" | "kernel" | "userland":
                specs[name] = _package_spec(name, table)
            case "probe" | "program":
                specs[name] = _probe_spec(name, table)
            case "initramfs":
                specs[name] = _initramfs_spec(name, table)
            case "source":
                specs[name] = _source_spec(name, table)
            case "firmware":
                specs[name] = _firmware_spec(name, table)
            case "archive":
                specs[name] = _archive_spec(name, table)
            case other:
                raise table.error(f"must be one of {', '.join(KINDS)}, not {other!r}", "kind")
    return specs


@cache
def default() -> Mapping[str, Spec]:
    """The catalogue that ships with the project."""
    return load()


def spec(name: str) -> Spec:
    """The spec of one image; ImageError that lists the names when there is none."""
    found = default().get(name)
    if found is None:
        raise ImageError(f"there is no image {name!r}", remedy=f"images: {', '.join(default())}")
    return found
