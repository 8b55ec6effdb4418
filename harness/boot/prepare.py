"""Everything a stack boots, obtained: QEMU, firmware, files; with it a machine can be started as often as wanted."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import images
from harness.errors import MisuseError
from images import ImageError, flash
from images.image import Provenance, sha256_of
from images.progress import Progress
from images.stack import FileSource, Stack, load

RMM_VARIABLE: Final = "REALMCHECK_RMM"


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A stack with all it needs.

    ``flash`` is TF-A's flash image (None: the stack brings its own), ``files`` the paths by the manifest's names,
    ``rmm`` the user's RMM (None: the test realm payload), ``provenance`` every binary that takes part.
    """

    stack: Stack
    qemu: tuple[str, ...]
    flash: bytes | None
    files: Mapping[str, Path]
    rmm: Path | None
    provenance: tuple[Provenance, ...]

    def arguments(self, private: Mapping[str, Path]) -> tuple[str, ...]:
        """The manifest's further QEMU arguments with the files' paths (``private`` copies first) for their names."""
        paths = {name: str(path).replace(",", ",,") for name, path in {**self.files, **private}.items()}
        # A word that is nothing but a path is no list of QEMU's, in which a comma would have to be doubled.
        whole = {f"{{{name}}}": str(path) for name, path in {**self.files, **private}.items()}
        return tuple(
            whole.get(word) or re.sub(r"\{([^{}]*)\}", lambda m: paths[m[1]], word) for word in self.stack.machine.args
        )


def prepare(
    stack: Stack | str,
    *,
    rmm: Path | None = None,
    bl33: Path | None = None,
    files: Mapping[str, Path] | None = None,
    qemu: str = "",
    firmware: str = "",
    offline: bool = False,
    progress: Progress | None = None,
) -> Prepared:
    """Obtain what a stack (or the stack of that name) boots.

    ``rmm`` is the user's RMM image (default: REALMCHECK_RMM) where the stack takes one, ``bl33`` a non-secure payload
    in place of the manifest's, ``files`` the user's files by name, ``firmware`` an image that takes TF-A's place.
    ImageError when something cannot be had, MisuseError when something is given that the stack has no place for.
    """
    if isinstance(stack, str):
        stack = load(stack)
    given = dict(files or {})
    for name in given:
        if name not in stack.files:
            there = ", ".join(stack.files) or "none"
            raise MisuseError(f"stack {stack.name} has no file {name!r}; its files: {there}")
    binaries: list[Provenance] = []
    emulator = images.provide("qemu", offline=offline, progress=progress, override=qemu)
    binaries += emulator.provenance
    paths: dict[str, Path] = {}
    for name, source in stack.files.items():
        paths[name] = _file(stack, name, source, given.get(name), offline, progress)
        binaries.append(_of_file(name, paths[name]))
    chosen = _rmm(stack, rmm)
    if chosen is not None:
        binaries.append(_of_file("rmm", chosen))
    image = None
    if stack.firmware is not None:
        built = images.provide(firmware or stack.firmware.image, offline=offline, progress=progress)
        binaries += built.provenance
        payload = bl33 or (None if stack.firmware.bl33 == "loop" else paths[stack.firmware.bl33])
        if bl33 is not None:
            binaries.append(_of_file("bl33", bl33))
        image = flash.compose(
            built,
            bl33=flash.ENDLESS_LOOP if payload is None else flash.payload(payload),
            rmm=None if chosen is None else _read(chosen),
        )
    elif bl33 is not None:
        raise MisuseError(f"stack {stack.name} brings its own flash image: BL33 cannot be put into it")
    return Prepared(stack=stack, qemu=emulator.argv, flash=image, files=paths, rmm=chosen, provenance=tuple(binaries))


def _rmm(stack: Stack, given: Path | None) -> Path | None:
    """The user's RMM; ImageError where the stack needs one and none was named."""
    takes = stack.firmware is not None and stack.firmware.rmm == "user"
    if given is not None and not takes:
        raise MisuseError(
            f"stack {stack.name} takes no RMM; leave --rmm out, or use tfa-rmm, tfa-rmm-host or tfa-rmm-linux"
        )
    if not takes:
        return None
    variable = os.environ.get(RMM_VARIABLE, "")
    found = given or (Path(variable) if variable else None)
    if found is None:
        raise ImageError(
            f"stack {stack.name} needs an RMM and none was named", remedy=f"give --rmm FILE or set {RMM_VARIABLE}"
        )
    return found.resolve()


def _file(
    stack: Stack, name: str, source: FileSource, given: Path | None, offline: bool, progress: Progress | None
) -> Path:
    if given is not None:
        if not given.exists():
            raise ImageError("does not exist", where=str(given), remedy=f"correct --file {name}=PATH")
        return given.resolve()
    if source.archive:
        place = images.provide(source.archive, offline=offline, progress=progress).path / source.member
        if not place.exists():
            raise ImageError("is not in the archive", where=str(place), remedy=f"correct files.{name} of {stack.path}")
        return place
    if source.image:
        return images.provide(source.image, offline=offline, progress=progress).path
    raise ImageError(
        f"stack {stack.name} needs your file {name!r} ({source.user})", remedy=f"name it by --file {name}=PATH"
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror}", where=str(path)) from error


def _of_file(name: str, path: Path) -> Provenance:
    return Provenance(name=name, path=str(path), sha256=sha256_of(path) if path.is_file() else "", origin="stack")
