"""Building TF-A for QEMU's ``virt`` machine from its source with our own small edits, cached by what went in.

``images/tfa/build.toml`` is the recipe: make's targets and options, and exact edits with their reasons.  Of the machine
only make and the usual shell tools are needed: the package (FIP) is put together by ``fip.py``, so the non-secure
payload and an RMM go in without building again, and neither TF-A's host tools nor a host compiler take part.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from images import tomlfile, tools
from images.cache import FORMAT, Cache, DamagedError, Entry, Record
from images.catalogue import FirmwareSpec
from images.errors import ImageError
from images.image import Image, Provenance, parse_version, sha256_of
from images.progress import Progress

RECIPE: Final = Path(__file__).with_name("tfa") / "build.toml"
BINARIES: Final = ("bl1.bin", "bl2.bin", "bl31.bin")  # what a boot needs beside an RMM and a non-secure payload
TRP: Final = "rmm.bin"  # the test realm payload, TF-A's own stand-in for an RMM
_BUILT: Final = Path("build/qemu/debug")
_REMEDY: Final = "name your own build of TF-A by REALMCHECK_TFA, a directory that holds bl1.bin, bl2.bin and bl31.bin"
_DEADLINE: Final = 1800.0


@dataclass(frozen=True)
class Edit:
    """An exact change of one source file and its reason; an ``optional`` one is made where a build asks for it."""

    name: str
    file: str
    find: str
    replace: str
    reason: str
    optional: bool


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How TF-A is built: make's arguments, what comes of them (below the build directory), and the edits."""

    targets: tuple[str, ...]
    options: tuple[str, ...]
    outputs: tuple[str, ...]
    lines: int
    edits: tuple[Edit, ...]

    def chosen(self, names: Sequence[str]) -> tuple[Edit, ...]:
        """The edits of a build that asks for the optional ones in ``names``; ImageError for an unknown name."""
        known = {edit.name for edit in self.edits if edit.optional}
        for name in names:
            if name not in known:
                raise ImageError(f"no optional edit {name}", where=str(RECIPE), remedy=f"there are: {sorted(known)}")
        return tuple(edit for edit in self.edits if not edit.optional or edit.name in names)

    def digest(self, source: Image, compiler: Image, names: Sequence[str]) -> str:
        """The content address: source, edits, options, and which compiler with which arguments."""
        arguments = compiler.argv[1:] if compiler.origin == "user" else ()
        edits = [[edit.file, edit.find, edit.replace] for edit in self.chosen(names)]
        binaries = [item.sha256 for item in (*source.provenance, *compiler.provenance)]
        chosen = [FORMAT, edits, self.targets, self.options, self.outputs, compiler.version_text, binaries, arguments]
        return hashlib.sha256(json.dumps(chosen).encode()).hexdigest()


def read_recipe(path: Path = RECIPE) -> Recipe:
    """The recipe; ImageError naming file, line and key for anything wrong in it."""
    top = tomlfile.load(path)
    top.only(("make", "edit"))
    make, edits = top.table("make"), top.table("edit")
    make.only(("targets", "options", "outputs", "lines"))
    return Recipe(
        targets=make.strings("targets"),
        options=make.strings("options"),
        outputs=make.strings("outputs"),
        lines=make.integer("lines"),
        edits=tuple(_edit(name, edits.table(name)) for name in edits.values),
    )


def _edit(name: str, table: tomlfile.Table) -> Edit:
    table.only(("file", "find", "replace", "reason", "optional"))
    file, find, replace, reason = (table.string(key) for key in ("file", "find", "replace", "reason"))
    return Edit(name, file, find, replace, reason, table.boolean("optional", False))


def provide(
    spec: FirmwareSpec, cache: Cache, progress: Progress, source: Image, compiler: Image, make: Callable[[], Image]
) -> Image:
    """The firmware, built now unless the cache has it; ``make`` gives GNU make where it is needed."""
    recipe = read_recipe()
    digest = recipe.digest(source, compiler, spec.edits)
    entry = _sound(spec, cache, digest)
    if entry is None:
        with cache.lock(spec.name):
            try:
                entry = _sound(spec, cache, digest) or _built(
                    spec, cache, progress, recipe, source, compiler, make().argv[0]
                )
            finally:
                progress.close()
        progress.done(spec.name, f"built by {compiler.version_text} in {entry.path}")
    return _image(spec, entry)


def find(spec: FirmwareSpec, cache: Cache, source: Image, compiler: Image) -> Image | None:
    """As ``provide``, but None where it would have to be built first; DamagedError when it has changed."""
    entry = cache.by_digest(spec.name, read_recipe().digest(source, compiler, spec.edits))
    return _image(spec, entry) if entry else None


def own(spec: FirmwareSpec, name: str) -> Image:
    """The user's own build, a directory; ImageError in one line when a binary is missing."""
    directory = Path(name).resolve()
    for file in BINARIES:
        if not (directory / file).is_file():
            raise ImageError(f"there is no {file}", where=str(directory), remedy=_REMEDY)
    there = [file for file in (*BINARIES, TRP) if (directory / file).is_file()]
    return Image(
        name=spec.name,
        kind=spec.kind,
        path=directory / BINARIES[0],
        version_text="the user's own build",
        origin="user",
        provenance=tuple(
            Provenance(name=file, path=str(directory / file), sha256=sha256_of(directory / file), origin="user")
            for file in there
        ),
    )


def _sound(spec: FirmwareSpec, cache: Cache, digest: str) -> Entry | None:
    try:
        return cache.by_digest(spec.name, digest)
    except DamagedError:
        return None


def _built(
    spec: FirmwareSpec, cache: Cache, progress: Progress, recipe: Recipe, source: Image, compiler: Image, make: str
) -> Entry:
    digest = recipe.digest(source, compiler, spec.edits)
    edits = recipe.chosen(spec.edits)
    with cache.staging(spec.name) as staging:
        work = staging / "work"
        tree = unpack(source.path, work)
        for edit in edits:
            apply(edit, tree)
        wrappers = _wrappers(compiler, work / "tools")
        command = [make, f"-j{os.cpu_count() or 1}", "-C", str(tree), *wrappers, *recipe.options, *recipe.targets]
        _make(command, work, lambda done: progress.step(spec.name, "building", done / recipe.lines))
        for name in recipe.outputs:
            shutil.copyfile(tree / _BUILT / name, staging / Path(name).name)
        shutil.rmtree(work)
        files = [Path(name).name for name in recipe.outputs]
        record = Record(
            image=spec.name,
            version=".".join(map(str, source.version)),
            spec=digest,
            digest=digest,
            verified="built from the source package, edits and options that the content address covers",
            source={
                "source": source.version_text,
                "compiler": compiler.version_text,
                "options": " ".join(recipe.options),
                "edits": "; ".join(f"{edit.name}: {edit.reason}" for edit in edits),
            },
            binaries=tuple(
                Provenance(
                    name=file,
                    path=file,
                    sha256=sha256_of(staging / file),
                    version=f"{source.version_text}, {compiler.version_text}",
                    origin="built",
                )
                for file in files
            ),
        )
        return cache.finish(staging, record)


def unpack(tarball: Path, directory: Path) -> Path:
    """Unpack an upstream tarball below ``directory`` and return its one top folder; ImageError for a broken one."""
    try:
        with tarfile.open(tarball) as archive:
            archive.extractall(directory, filter="data")
    except (tarfile.TarError, EOFError) as error:
        raise ImageError(f"cannot be unpacked: {error}", where=str(tarball)) from error
    tops = [path for path in directory.iterdir() if path.is_dir()]
    if len(tops) != 1:
        raise ImageError(f"holds {len(tops)} folders at the top, not one", where=str(tarball))
    return tops[0]


def apply(edit: Edit, tree: Path) -> None:
    """Make one edit; ImageError when the source is not as the edit expects."""
    path = tree / edit.file
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ImageError(f"edit {edit.name}: {error.strerror}", where=edit.file, remedy=_REMEDY) from error
    count = text.count(edit.find)
    if count != 1:
        raise ImageError(f"edit {edit.name} finds its place {count} times, not once", where=edit.file, remedy=_REMEDY)
    path.write_text(text.replace(edit.find, edit.replace), encoding="utf-8")


def _wrappers(compiler: Image, directory: Path) -> list[str]:
    """Make's variables for compiler and binutils: scripts, because each may need arguments or an own library path."""
    directory.mkdir()
    variables = []
    for variable, program in (("CC", ""), ("OC", "objcopy"), ("OD", "objdump"), ("AR", "ar")):
        argv = list(compiler.argv)
        if program:
            answer = tools.run([*compiler.argv, f"-print-prog-name={program}"], timeout=30.0).stdout.strip()
            # what comes before the compiler's own path (env and a library path) is needed by its tools too
            argv = [*_prefix(compiler.argv), answer]
        script = directory / (program or "cc")
        script.write_text(f'#!/bin/sh\nexec {shlex.join(argv)} "$@"\n', encoding="utf-8")
        script.chmod(0o755)
        variables.append(f"{variable}={script}")
    return variables


def _prefix(argv: Sequence[str]) -> list[str]:
    return list(argv[: next((i + 1 for i, word in enumerate(argv) if word.startswith("LD_LIBRARY_PATH=")), 0)])


def _make(command: list[str], scratch: Path, report: Callable[[int], None]) -> None:
    """Run make in a bare environment: every variable of the caller's would be one of make's."""
    environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "TMPDIR": str(scratch), "LC_ALL": "C"}
    said = []
    try:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        raise ImageError(f"cannot be started: {error.strerror}", where=command[0], remedy=_REMEDY) from error
    assert process.stdout is not None
    with process:
        try:
            for line in process.stdout:
                said.append(line)
                report(len(said))
        except BaseException:
            process.terminate()
            raise
    if process.returncode == 0:
        return
    output = "".join(said)
    if tools.is_no_space(output):
        raise tools.no_space(scratch)
    reason = tools.first_line(output, "undefined reference", "error:", "Error", "***")
    raise ImageError(f"TF-A cannot be built: {reason}", where=command[0], remedy=_REMEDY)


def _image(spec: FirmwareSpec, entry: Entry) -> Image:
    return Image(
        name=spec.name,
        kind=spec.kind,
        path=entry.path / BINARIES[0],
        version=parse_version(entry.record.version),
        version_text=f"TF-A {entry.record.version} ({entry.record.source.get('compiler', '')})",
        origin="built",
        provenance=entry.binaries(),
    )
