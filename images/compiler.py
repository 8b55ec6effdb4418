"""A C compiler for AArch64: the user's own, the system's, or Debian's for the machine's own release from the cache."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path
from typing import Final

from images import debian, tools
from images.cache import Entry
from images.catalogue import PackageSpec
from images.errors import ImageError
from images.image import Image, Provenance, parse_version, sha256_of
from images.request import Request

SYSTEM: Final = "aarch64-linux-gnu-gcc"
_REMEDY: Final = "name an AArch64 gcc by REALMCHECK_CC, or leave REALMCHECK_CC out to use the system's or Debian's"
# The machine's own C library, of the same release, must serve the compiler: the kernel starts it with the machine's
# loader, which does not go together with another build of the library.
_FROM_MACHINE: Final = frozenset({"libc6", "libc-bin"})
# Variables by which gcc and ld would read or write more than they are told.
_MEDDLING: Final = (
    "CPATH", "C_INCLUDE_PATH", "COMPILER_PATH", "DEPENDENCIES_OUTPUT", "GCC_COMPARE_DEBUG", "GCC_EXEC_PREFIX",
    "LD_RUN_PATH", "LDEMULATION", "LIBRARY_PATH", "SOURCE_DATE_EPOCH", "SUNPRO_DEPENDENCIES",
)  # fmt: skip
_FREESTANDING: Final = (
    "#include <stddef.h>\n#include <stdint.h>\nuint64_t twice(size_t n) { return 2 * (uint64_t)n; }\n"
)


def provide(spec: PackageSpec, request: Request, override: str = "", *, system: bool = True) -> Image:
    """The compiler; ``override`` is the user's command line, ``system=False`` passes the system's compiler over."""
    if image := _without_cache(spec, override, system=system):
        return image
    return _image(spec, debian.provide(spec, request, lambda prefix: _check(spec, prefix), _FROM_MACHINE))


def find(spec: PackageSpec, request: Request, override: str = "", *, system: bool = True) -> Image | None:
    """As ``provide``, but None where something would have to be unpacked first."""
    if image := _without_cache(spec, override, system=system):
        return image
    entry = debian.find(spec, request.cache)
    return _image(spec, entry) if entry else None


def environment() -> dict[str, str]:
    """The environment to run a compiler in: this process's, less what would change the compiler's output."""
    return {name: value for name, value in os.environ.items() if name not in _MEDDLING}


def _without_cache(spec: PackageSpec, override: str, *, system: bool) -> Image | None:
    if override:
        return _outside(spec, _split(override), "user")
    if system and shutil.which(SYSTEM):
        return _outside(spec, (SYSTEM,), "system")
    return None


def _split(command: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise ImageError(f"not a command line: {error}", where=command, remedy=_REMEDY) from error
    if not words:
        raise ImageError("the compiler's command line is empty", remedy=_REMEDY)
    return words


def _outside(spec: PackageSpec, command: tuple[str, ...], origin: str) -> Image:
    found = shutil.which(command[0])
    if found is None:
        raise ImageError("does not exist or is not executable", where=command[0], remedy=_REMEDY)
    argv = (found, *command[1:])
    text = _try_out(argv)
    path = Path(found).resolve()
    version = parse_version(text)
    return Image(
        name=spec.name,
        kind=spec.kind,
        path=path,
        argv=argv,
        version=version,
        version_text=text,
        origin=origin,
        provenance=(
            Provenance(
                name=Path(found).name,
                path=str(path),
                sha256=sha256_of(path),
                version=".".join(map(str, version)),
                origin=origin,
            ),
        ),
    )


def _try_out(argv: tuple[str, ...]) -> str:
    """The first line of ``--version``, once the compiler has shown that it makes freestanding AArch64 code."""
    machine = tools.run([*argv, "-dumpmachine"], env=environment(), timeout=30.0, remedy=_REMEDY)
    if machine.returncode != 0 or not machine.stdout.startswith("aarch64"):
        said = machine.stdout.strip() or tools.first_line(machine.stderr) or f"exit status {machine.returncode}"
        raise ImageError(f"does not compile for AArch64 but says: {said}", where=_shown(argv), remedy=_REMEDY)
    _compile(argv, "-S", "-o", "-")
    lines = tools.run([*argv, "--version"], timeout=30.0, remedy=_REMEDY).stdout.splitlines()
    if not lines:
        raise ImageError("says nothing for --version", where=_shown(argv), remedy=_REMEDY)
    return lines[0]


def _shown(argv: tuple[str, ...]) -> str:
    return shlex.join(word for word in argv if not word.startswith("LD_LIBRARY_PATH="))


def _compile(argv: tuple[str, ...], *output: str) -> None:
    # -pipe: no temporary files outside the cache
    command = [*argv, "-pipe", "-ffreestanding", "-x", "c", "-", *output]
    result = tools.run(command, env=environment(), text=_FREESTANDING, timeout=60.0)
    if tools.is_no_space(result.stderr):
        raise tools.no_space(Path(output[-1]).parent)
    if result.returncode != 0:
        said = tools.first_line(result.stderr, "error:", "cannot")
        raise ImageError(f"cannot compile a freestanding file: {said}", where=_shown(argv), remedy=_REMEDY)


def _library_directories(prefix: Path) -> str:
    """The prefix's library directories: the compiler's passes and the linker need libraries the machine may lack."""
    found = {path.parent for part in ("lib", "usr/lib") for path in (prefix / part).glob("*-linux-gnu/lib*.so.*")}
    return ":".join(sorted(map(str, found)))


def _argv(spec: PackageSpec, prefix: Path) -> tuple[str, ...]:
    # gcc finds its passes, assembler and linker relative to itself; env keeps this a plain command prefix
    return ("/usr/bin/env", f"LD_LIBRARY_PATH={_library_directories(prefix)}", str(prefix / spec.program))


def _check(spec: PackageSpec, prefix: Path) -> debian.Checked:
    argv = _argv(spec, prefix)
    version = parse_version(_try_out(argv))
    _compile(argv, "-c", "-o", str(prefix.parent / "try.o"))
    (prefix.parent / "try.o").unlink()
    if version < spec.minimum:
        dotted = ".".join(map(str, version))
        raise ImageError(f"gcc {dotted} of the machine's release is too old", remedy=_REMEDY)
    programs = [str(prefix / spec.program)]
    programs += [
        tools.run([*argv, f"-print-prog-name={name}"], env=environment()).stdout.strip() for name in ("cc1", "as", "ld")
    ]
    binaries = []
    for program in programs:
        path = Path(program).resolve()
        if not path.is_relative_to(prefix.resolve()):
            raise ImageError(f"the unpacked compiler would use {path}", remedy=_REMEDY)
        binaries.append(str(path.relative_to(prefix.resolve())))
    return ".".join(map(str, version)), binaries


def _image(spec: PackageSpec, entry: Entry) -> Image:
    text = f"gcc {entry.record.version} {entry.record.digest[:20]}"
    return debian.image(spec, entry, _argv(spec, entry.path / "prefix"), text)
