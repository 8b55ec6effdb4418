"""Building the probe firmware from ``images/probe`` into one ELF per personality, cached by content.

Small programs for the target from other folders are built the same way.

``images/probe/build.toml`` says how: ``[common]`` with ``sources``, ``headers``, ``cflags``, ``ldflags``, and
``[personality.NAME]`` with ``linker_script`` and, where they differ, ``defines``, ``sources``, ``cflags``, ``ldflags``
(added to the common ones).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from images import elf, tomlfile, tools
from images.cache import FORMAT, Cache, DamagedError, Entry, Record
from images.catalogue import ProbeSpec
from images.compiler import environment as compiler_environment
from images.errors import ImageError
from images.image import Image, Provenance, sha256_of
from images.progress import Progress

SOURCES: Final = Path(__file__).with_name("probe")
WARNINGS: Final = ("-Wall", "-Wextra", "-Werror")
_ELF: Final = "probe.elf"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one personality is built; names are relative to ``directory``.

    ``flags`` compile each of ``sources``, ``link_flags`` (with the linker ``script``) make the ELF of them.
    """

    directory: Path
    sources: tuple[str, ...]
    headers: tuple[str, ...]
    script: str
    flags: tuple[str, ...]
    link_flags: tuple[str, ...]

    def digest(self, compiler: Image) -> str:
        """The content address: every source byte, the flags in order, and which compiler with which arguments."""
        files = [[name, sha256_of(self.directory / name)] for name in (*self.sources, *self.headers, self.script)]
        # where Debian's compiler was unpacked does not matter, what a user's own is called with does
        arguments = compiler.argv[1:] if compiler.origin == "user" else ()
        binaries = [item.sha256 for item in compiler.provenance]
        chosen = [FORMAT, files, self.flags, self.link_flags, compiler.version_text, binaries, arguments]
        return hashlib.sha256(json.dumps(chosen).encode()).hexdigest()


def read_recipe(personality: str, directory: Path = SOURCES) -> Recipe:
    """The recipe of a personality; ImageError naming file, line and key for anything wrong in build.toml."""
    top = tomlfile.load(directory / "build.toml")
    common = top.table("common")
    common.only(("sources", "headers", "cflags", "ldflags"))
    own = top.table("personality").table(personality)
    own.only(("sources", "headers", "cflags", "ldflags", "defines", "linker_script"))
    sources = common.strings("sources") + own.strings("sources", ())
    headers = common.strings("headers", ()) + own.strings("headers", ())
    script = own.string("linker_script")
    for table, key in ((common, "sources"), (common, "headers"), (own, "sources"), (own, "headers")):
        for name in table.strings(key, ()):
            _check_file(table, key, directory, name)
    _check_file(own, "linker_script", directory, script)
    flags = common.strings("cflags", ()) + own.strings("cflags", ())
    defines = tuple(f"-D{name}" for name in own.strings("defines", ()))
    link = common.strings("ldflags", ()) + own.strings("ldflags", ())
    return Recipe(
        directory=directory,
        sources=sources,
        headers=headers,
        script=script,
        flags=(*WARNINGS, *flags, *defines, "-I."),
        link_flags=link,
    )


def _recipe(spec: ProbeSpec) -> Recipe:
    if spec.directory == SOURCES.name:
        return read_recipe(spec.personality)
    return read_recipe(spec.personality, SOURCES.with_name(spec.directory))


def _check_file(table: tomlfile.Table, key: str, directory: Path, name: str) -> None:
    if not (directory / name).is_file():
        raise table.error(f"there is no file {name}", key, remedy=f"correct the list, or restore {directory / name}")


def provide(spec: ProbeSpec, cache: Cache, progress: Progress, compiler: Image) -> Image:
    """The probe's ELF, built now unless the cache has it."""
    recipe = _recipe(spec)
    digest = recipe.digest(compiler)
    entry = _sound(spec, cache, digest)
    if entry is None:
        with cache.lock(spec.name):
            entry = _sound(spec, cache, digest) or _built(spec, cache, recipe, compiler)
        progress.done(spec.name, f"built by {compiler.version_text} in {entry.path}")
    return _image(spec, entry)


def _sound(spec: ProbeSpec, cache: Cache, digest: str) -> Entry | None:
    try:
        return cache.by_digest(spec.name, digest)
    except DamagedError:
        return None


def find(spec: ProbeSpec, cache: Cache, compiler: Image) -> Image | None:
    """As ``provide``, but None where it would have to be built first; DamagedError when it has changed."""
    entry = cache.by_digest(spec.name, _recipe(spec).digest(compiler))
    return _image(spec, entry) if entry else None


def own(spec: ProbeSpec, name: str) -> Image:
    """The user's ELF; ImageError in one line when it cannot be booted."""
    path = Path(name).resolve()
    elf.check_bootable(path)
    binary = Provenance(name=spec.name, path=str(path), sha256=sha256_of(path), origin="user")
    return Image(name=spec.name, kind=spec.kind, path=path, origin="user", provenance=(binary,))


def compile_probe(recipe: Recipe, compiler: Image, output: Path) -> None:
    """Compile and link into ``output``; ImageError with the first diagnostic."""
    # Relative, unchanging names of sources and objects: the same sources give the same ELF wherever they lie.
    mapped = f"-ffile-prefix-map={recipe.directory}=."
    objects = []
    for source in recipe.sources:
        objects.append(f"{source.replace('/', '_')}.o")
        made = ["-c", source, "-o", str(output.parent / objects[-1])]
        _run_compiler(recipe, compiler, [mapped, *recipe.flags, *made], recipe.directory, output.parent)
    script = ["-T", str(recipe.directory / recipe.script)]
    _run_compiler(
        recipe, compiler, [*script, *recipe.link_flags, *objects, "-o", output.name], output.parent, output.parent
    )
    for name in objects:
        (output.parent / name).unlink()
    elf.check_bootable(output)


def _run_compiler(recipe: Recipe, compiler: Image, arguments: list[str], directory: Path, scratch: Path) -> None:
    environment = {**compiler_environment(), "TMPDIR": str(scratch)}
    result = tools.run([*compiler.argv, *arguments], cwd=directory, env=environment, timeout=120.0)
    if result.returncode == 0:
        return
    if tools.is_no_space(result.stderr):
        raise tools.no_space(scratch)
    said = tools.first_line(result.stderr, "undefined reference", "multiple definition", "error:")
    raise ImageError(
        f"the probe cannot be built: {said}",
        where=str(recipe.directory),
        remedy=f"correct the source, or try another compiler by REALMCHECK_CC (now {compiler.version_text})",
    )


def _built(spec: ProbeSpec, cache: Cache, recipe: Recipe, compiler: Image) -> Entry:
    digest = recipe.digest(compiler)
    with cache.staging(spec.name) as staging:
        output = staging / _ELF
        compile_probe(recipe, compiler, output)
        record = Record(
            image=spec.name,
            version="",
            spec=digest,
            digest=digest,
            verified="built from the sources that the content address covers",
            source={
                "compiler": compiler.version_text,
                "flags": " ".join(recipe.flags),
                "link_flags": " ".join(recipe.link_flags),
            },
            binaries=(
                Provenance(
                    name=spec.name,
                    path=_ELF,
                    sha256=sha256_of(output),
                    version=f"sources {digest[:20]}, {compiler.version_text}",
                    origin="built",
                ),
            ),
        )
        return cache.finish(staging, record)


def _image(spec: ProbeSpec, entry: Entry) -> Image:
    return Image(
        name=spec.name,
        kind=spec.kind,
        path=entry.path / _ELF,
        version_text=entry.record.source.get("compiler", ""),
        origin="built",
        provenance=entry.binaries(),
    )
