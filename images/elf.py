"""Reading just enough of ELF files: a program's interpreter inside a prefix, and whether a probe ELF can be booted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from images.errors import ImageError

_REBUILD: Final = "build it again, or unset the option that names it"
_EXECUTABLE: Final = 1  # PF_X


@dataclass(frozen=True)
class Bootable:
    """A bare-metal AArch64 executable: entry point and the lowest and one past the highest address it loads to."""

    entry: int
    start: int
    end: int


def interpreter(program: Path) -> str:
    """The PT_INTERP path of a dynamically linked program; ImageError when it has none or is no ELF file."""
    try:
        with program.open("rb") as file:
            for segment in ELFFile(file).iter_segments("PT_INTERP"):
                return segment.data().rstrip(b"\0").decode()
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror}", where=str(program)) from error
    except (ELFError, ValueError, AttributeError) as error:
        raise ImageError(f"not a readable ELF file: {error}", where=str(program)) from error
    raise ImageError("names no program interpreter (PT_INTERP)", where=str(program))


def in_prefix(prefix: Path, path: str) -> Path:
    """Where an absolute ``path`` leads when ``prefix`` is taken for the root directory, symbolic links included.

    ``/lib...`` is also looked for below ``usr/``, because a merged /usr is made at installation, not by the packages.
    ImageError when there is nothing.
    """
    todo = [part for part in path.split("/") if part]
    if not todo:
        raise ImageError("a program interpreter without a name", where=str(prefix))
    if not (prefix / todo[0]).exists() and not (prefix / todo[0]).is_symlink():
        todo.insert(0, "usr")
    done: list[str] = []
    for _ in range(1000):  # more steps than any sane chain of links: ends a loop
        if not todo:
            return prefix.joinpath(*done)
        part = todo.pop(0)
        if part == "..":
            done = done[:-1]
            continue
        here = prefix.joinpath(*done, part)
        if here.is_symlink():
            link = str(here.readlink())
            done = [] if link.startswith("/") else done
            todo = [piece for piece in link.split("/") if piece not in ("", ".")] + todo
        elif here.exists():
            done.append(part)
        else:
            break
    raise ImageError(f"leads nowhere inside {prefix}", where=path)


def check_bootable(path: Path) -> Bootable:
    """Read a probe ELF; ImageError in one line when it is missing, truncated, for another machine or not executable."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            return _read_bootable(file, path, size)
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror}", where=str(path), remedy=_REBUILD) from error
    except (ELFError, ValueError, AttributeError, UnicodeDecodeError) as error:
        what = str(error) or "its headers end too early"
        raise ImageError(f"not a readable ELF file: {what}", where=str(path), remedy=_REBUILD) from error


def flat_image(path: Path) -> bytes:
    """What a bootable ELF loads, as the bytes from its lowest address on, gaps as zeros; .bss is left out.

    ImageError as ``check_bootable``, and when the entry point is not the first byte: firmware jumps there.
    """
    found = check_bootable(path)
    if found.entry != found.start:
        raise ImageError(
            f"entry point {found.entry:#x} is not its first byte {found.start:#x}", where=str(path), remedy=_REBUILD
        )
    image = bytearray()
    with path.open("rb") as file:
        for segment in ELFFile(file).iter_segments("PT_LOAD"):
            at = segment["p_paddr"] - found.start
            data = segment.data()
            image.extend(bytes(max(0, at + len(data) - len(image))))
            image[at : at + len(data)] = data
    return bytes(image)


def _read_bootable(file: IO[bytes], path: Path, size: int) -> Bootable:
    elf = ELFFile(file)
    machine, kind = elf["e_machine"], elf["e_type"]
    if machine != "EM_AARCH64" or elf.elfclass != 64 or not elf.little_endian:
        order = "little" if elf.little_endian else "big"
        raise ImageError(
            f"built for {machine} ({elf.elfclass}-bit, {order}-endian), not for little-endian AArch64",
            where=str(path),
            remedy=_REBUILD,
        )
    if kind != "ET_EXEC":
        raise ImageError(f"must be a linked executable (ET_EXEC), not {kind}", where=str(path), remedy=_REBUILD)
    header_end = elf["e_phoff"] + elf["e_phnum"] * elf["e_phentsize"]
    if header_end > size:
        raise ImageError(f"truncated: {size} bytes, its headers need {header_end}", where=str(path), remedy=_REBUILD)
    loads = [segment.header for segment in elf.iter_segments("PT_LOAD")]
    for index, load in enumerate(loads):
        needed = load.p_offset + load.p_filesz
        if needed > size:
            raise ImageError(
                f"truncated: {size} bytes, segment {index} needs {needed}", where=str(path), remedy=_REBUILD
            )
    entry = elf["e_entry"]
    if not any(load.p_flags & _EXECUTABLE and load.p_vaddr <= entry < load.p_vaddr + load.p_memsz for load in loads):
        raise ImageError(f"entry point {entry:#x} is in no executable segment", where=str(path), remedy=_REBUILD)
    return Bootable(entry, min(load.p_paddr for load in loads), max(load.p_paddr + load.p_memsz for load in loads))
