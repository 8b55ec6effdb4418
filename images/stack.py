r"""Stack manifests: what a machine boots and how its boot is watched, as TOML in ``images/stacks``.

A manifest describes one stack::

    summary = "one line"
    extends = "tfa-trp"         optional: another shipped manifest.  Keys here replace its keys, a stage here its stage
                                of the same name; other stages, and patterns, are added at the end

    [machine]                   QEMU's machine
    machine = "virt,..."        -M
    cpu = "max,..."             -cpu
    memory_mib = 2048           -m
    pes = 1                     -smp
    args = ["-append", "..."]   further arguments; {NAME} is the path of file NAME

    [firmware]                  TF-A's flash image, put together at every start; without it a file must be the flash
    image = "tfa"               an image of kind firmware; "none": not this one's, args name a flash image of its own
    rmm = "trp"                 "trp", or "user": the file of --rmm or REALMCHECK_RMM
    bl33 = "loop"               "loop", or the name of a file

    [files]                     NAME = where it comes from, one of
    kernel = { image = "NAME" }                 an image of the catalogue
    disk = { user = "what it is" }              a file that the user names: --file disk=PATH
    flash = { archive = "NAME", member = "M" }  a member of a public archive of the catalogue ("." for all of it)
                                and private = true where the machine writes to it: every power-on gets a copy

    [consoles]                  in the order of QEMU's -serial options
    uart0 = "what speaks there"

    [[region]]                  memory, and whose it is when the normal world starts; see suites/boot
    name = "RMM's memory"
    base = 0x4010_0000          physical address
    size = 0x0180_0000          bytes; 0: to the end of RAM
    owner = "realm"             root, secure, realm or non-secure

    [[stage]]                   see harness/boot/stages.py
    name = "rmm"
    console = "uart0"           default: the first one
    after = ["bl31"]            default: the stage before
    expect = "RMM init end"     a regular expression on whole lines; or prompt = "..." on a line without an end
    fail = ["RMM init failed"]  lines that say that this stage failed, whenever they come
    deadline = 5.0              seconds after the stages in ``after``
    send = "root\n"              typed when the stage is reached

    [boot]
    fail = ["PANIC"]            lines that end any boot
    noise = ["SMC_R[MS]I_.*"]   firmware's own text: cut out of a line, also out of the middle of a marker
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Final

from images import tomlfile
from images.errors import ImageError
from images.tomlfile import Table

STACKS: Final = Path(__file__).with_name("stacks")
RAM_BASE: Final = 0x4000_0000  # of the virt machine
PAGE: Final = 4096
_NAME: Final = re.compile(r"[a-z][a-z0-9-]*")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """QEMU's machine; ``memory_mib`` in MiB, ``args`` still with their {NAME} of files."""

    machine: str
    cpu: str
    memory_mib: int
    pes: int
    args: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Firmware:
    """A flash image made of TF-A: which ``image``, which RMM (``trp`` or ``user``), which BL33 (``loop`` or a file)."""

    image: str
    rmm: str
    bl33: str


@dataclass(frozen=True, kw_only=True)
class FileSource:
    """Where a file comes from: an ``image`` of the catalogue, the ``user`` (what it is), or an ``archive``'s member.

    ``private``: the machine writes to it, so every power-on gets a copy of its own.
    """

    image: str = ""
    user: str = ""
    archive: str = ""
    member: str = ""
    private: bool = False


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of the boot.

    It is reached when a whole line of ``console`` matches ``expect``, or an unfinished one matches ``prompt``, within
    ``deadline`` seconds of the stages in ``after``; it has failed once a line matches one of ``fail``.
    """

    name: str
    console: str
    after: tuple[str, ...]
    expect: str
    prompt: str
    fail: tuple[str, ...]
    deadline: float
    send: str


class Owner(Enum):
    """The world that memory belongs to."""

    ROOT = "root"
    SECURE = "secure"
    REALM = "realm"
    NON_SECURE = "non-secure"


@dataclass(frozen=True, kw_only=True)
class MemoryRegion:
    """Physical addresses [base, base + size) in bytes, and the ``owner`` when the normal world starts."""

    name: str
    base: int
    size: int
    owner: Owner


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A stack as its manifest describes it; ``path`` is the manifest, ``consoles`` name -> what speaks there."""

    name: str
    path: Path
    summary: str
    machine: Machine
    firmware: Firmware | None
    files: Mapping[str, FileSource]
    consoles: Mapping[str, str]
    regions: tuple[MemoryRegion, ...]
    stages: tuple[Stage, ...]
    fail: tuple[str, ...]
    noise: tuple[str, ...]

    def stage(self, name: str) -> Stage:
        """The stage of this name; ImageError that lists the stages."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        there = ", ".join(stage.name for stage in self.stages)
        raise ImageError(f"stack {self.name} has no stage {name!r}", remedy=f"its stages: {there}")


def names() -> tuple[str, ...]:
    """The stacks that ship with the project."""
    return tuple(sorted(path.stem for path in STACKS.glob("*.toml")))


def load(name: str) -> Stack:
    """A stack by its name, or from a manifest file of your own (a path that ends in .toml).

    ImageError with file, line and key for anything wrong.
    """
    path = Path(name) if name.endswith(".toml") else STACKS / f"{name}.toml"
    if not name.endswith(".toml") and name not in names():
        raise ImageError(f"there is no stack {name!r}", remedy=f"stacks: {', '.join(names())}, or a manifest's path")
    top = tomlfile.load(path)
    top.only(("extends", "summary", "machine", "firmware", "files", "consoles", "region", "stage", "boot"))
    base = load(top.string("extends")) if "extends" in top.values else None
    files = {**(base.files if base else {}), **_files(top)}
    consoles = {**(base.consoles if base else {}), **_consoles(top, base)}
    boot = top.table("boot") if "boot" in top.values else Table(path, top.text, "boot", {})
    boot.only(("fail", "noise"))
    machine = _machine(_table(top, "machine", base), files, base.machine if base else None)
    return Stack(
        name=path.stem,
        path=path,
        summary=top.string("summary"),
        machine=machine,
        firmware=_firmware(top, files, base.firmware if base else None),
        files=files,
        consoles=consoles,
        regions=_regions(top, machine.memory_mib << 20) or (_to_ram_end(base, machine) if base else ()),
        stages=_stages(top, tuple(consoles), base.stages if base else ()),
        fail=(base.fail if base else ()) + _patterns(boot, "fail"),
        noise=(base.noise if base else ()) + _patterns(boot, "noise"),
    )


def _table(top: Table, key: str, base: Stack | None) -> Table:
    """The table ``key``, which a manifest that extends another may leave out."""
    return Table(top.path, top.text, key, {}) if base and key not in top.values else top.table(key)


def _machine(table: Table, files: Mapping[str, FileSource], base: Machine | None) -> Machine:
    table.only(Machine.__dataclass_fields__)
    args = table.strings("args", base.args if base else ())
    for word in args:
        for name in re.findall(r"\{([^{}]*)\}", word):
            if name not in files:
                raise table.error(f"names a file {name!r} that [files] has not", "args")
    memory = table.integer("memory_mib", base.memory_mib if base else None)
    pes = table.integer("pes", base.pes if base else 1)
    if not 64 <= memory <= 1 << 20:
        raise table.error(f"must be 64 to {1 << 20} MiB, not {memory}", "memory_mib")
    if not 1 <= pes <= 512:
        raise table.error(f"must be 1 to 512, not {pes}", "pes")
    return Machine(
        machine=table.string("machine", base.machine if base else None),
        cpu=table.string("cpu", base.cpu if base else None),
        memory_mib=memory,
        pes=pes,
        args=args,
    )


def _firmware(top: Table, files: Mapping[str, FileSource], base: Firmware | None) -> Firmware | None:
    if "firmware" not in top.values:
        return base
    table = top.table("firmware")
    table.only(Firmware.__dataclass_fields__)
    if table.values.get("image") == "none":
        return None
    rmm = table.string("rmm", base.rmm if base else None)
    bl33 = table.string("bl33", base.bl33 if base else None)
    if rmm not in ("trp", "user"):
        raise table.error(f"must be trp or user, not {rmm!r}", "rmm")
    if bl33 != "loop" and bl33 not in files:
        raise table.error(f"must be loop or the name of a file in [files], not {bl33!r}", "bl33")
    return Firmware(image=table.string("image", base.image if base else None), rmm=rmm, bl33=bl33)


def _files(top: Table) -> dict[str, FileSource]:
    if "files" not in top.values:
        return {}
    table = top.table("files")
    found = {}
    for name in table.values:
        entry = table.table(name)
        entry.only(FileSource.__dataclass_fields__)
        keys = entry.values.keys() - {"private"}
        if not _NAME.fullmatch(name) or keys not in ({"image"}, {"user"}, {"archive", "member"}):
            raise table.error("must be { image = ... }, { user = ... } or { archive = ..., member = ... }", name)
        texts = {key: entry.string(key) for key in keys}
        found[name] = FileSource(**texts, private=entry.boolean("private", False))
    return found


def _consoles(top: Table, base: Stack | None) -> dict[str, str]:
    table = _table(top, "consoles", base)
    if not table.values and base is None:
        raise table.error("must name at least one console")
    return {name: table.string(name) for name in table.values}


def _regions(top: Table, ram: int) -> tuple[MemoryRegion, ...]:
    found: list[MemoryRegion] = []
    end = 0
    for table in top.tables("region"):
        table.only(MemoryRegion.__dataclass_fields__)
        base, size, owner = table.integer("base"), table.integer("size"), table.string("owner")
        if owner not in {item.value for item in Owner}:
            raise table.error(f"must be {', '.join(item.value for item in Owner)}, not {owner!r}", "owner")
        if base < end or size < 0 or (base | size) % PAGE:
            raise table.error(f"must be whole pages after the region above, not {base:#x}, {size:#x} bytes", "base")
        found.append(MemoryRegion(name=table.string("name"), base=base, size=size, owner=Owner(owner)))
        end = base + size
    return _sized(found, ram)


def _sized(regions: Sequence[MemoryRegion], ram: int) -> tuple[MemoryRegion, ...]:
    return tuple(replace(item, size=item.size or RAM_BASE + ram - item.base) for item in regions)


def _to_ram_end(base: Stack, machine: Machine) -> tuple[MemoryRegion, ...]:
    """The regions of an extended manifest, the one that ends with its RAM made to end with this machine's."""
    end = RAM_BASE + (base.machine.memory_mib << 20)
    again = [replace(item, size=0) if item.base + item.size == end else item for item in base.regions]
    return _sized(again, machine.memory_mib << 20)


def _stages(top: Table, consoles: tuple[str, ...], base: tuple[Stage, ...]) -> tuple[Stage, ...]:
    found = list(base)
    new: set[str] = set()
    for table in top.tables("stage"):
        names = [stage.name for stage in found]
        name = table.string("name")
        place = names.index(name) if name in names and name not in new else len(found)
        found[place : place + 1] = [_stage(table, consoles, names[:place])]
        new.add(name)
    if not found:
        raise top.error("must have at least one stage", "stage")
    return tuple(found)


def _stage(table: Table, consoles: tuple[str, ...], before: list[str]) -> Stage:
    table.only(Stage.__dataclass_fields__)
    name, console = table.string("name"), table.string("console", consoles[0])
    after = table.strings("after", tuple(before[-1:]))
    if not _NAME.fullmatch(name) or name in before:
        raise table.error(f"must be a new name such as {_NAME.pattern}, not {name!r}", "name")
    if console not in consoles:
        raise table.error(f"must be one of {', '.join(consoles)}, not {console!r}", "console")
    for other in after:
        if other not in before:
            raise table.error(f"must name stages above this one, not {other!r}", "after")
    if ("expect" in table.values) == ("prompt" in table.values):
        raise table.error("must have either expect or prompt", "name")
    deadline = table.number("deadline")
    if not 0 < deadline <= 3600:
        raise table.error(f"must be above 0 and up to 3600 s, not {deadline:g}", "deadline")
    return Stage(
        name=name,
        console=console,
        after=after,
        expect=_pattern(table, "expect", table.string("expect", "")),
        prompt=_pattern(table, "prompt", table.string("prompt", "")),
        fail=_patterns(table, "fail"),
        deadline=deadline,
        send=table.string("send", ""),
    )


def _patterns(table: Table, key: str) -> tuple[str, ...]:
    return tuple(_pattern(table, key, text) for text in table.strings(key, ()))


def _pattern(table: Table, key: str, text: str) -> str:
    try:
        compiled = re.compile(text)
    except re.error as error:
        raise table.error(f"is no regular expression: {error}", key) from error
    if text and compiled.match(""):
        raise table.error(f"would match an empty line: {text!r}", key)
    return text
