"""Building a tiny probe, caching it by content, and refusing ELF files that cannot be booted."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import images
from images import elf, probe_build
from images.cache import Cache
from images.errors import ImageError

needs_compiler = pytest.mark.usefixtures("real_compiler")

BUILD = """[common]
cflags = ["-O1", "-ffreestanding"]
ldflags = ["-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none"]
sources = ["start.S", "main.c"]
headers = ["probe.h"]

[personality.root]
defines = ["NUMBER=3"]
linker_script = "root.ld"
"""


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "probe"
    directory.mkdir()
    (directory / "build.toml").write_text(BUILD)
    (directory / "start.S").write_text(".globl _start\n_start: b main\n")
    (directory / "main.c").write_text('#include "probe.h"\nint main(void);\nint main(void) { return NUMBER; }\n')
    (directory / "probe.h").write_text("#include <stdint.h>\n")
    (directory / "root.ld").write_text("ENTRY(_start)\nSECTIONS { . = 0x40200000; .text : { *(.text*) } }\n")
    monkeypatch.setattr(probe_build.read_recipe, "__defaults__", (directory,))
    return directory


@needs_compiler
def test_probe_is_built_once_and_again_when_a_source_changes(sources: Path) -> None:
    first = images.provide("probe-root", offline=True)
    bootable = elf.check_bootable(first.path)
    assert bootable.entry == bootable.start == 0x40200000
    assert first.provenance[0].sha256 and first.origin == "built" and first.argv == ()
    stamp = first.path.stat().st_mtime_ns
    assert images.provide("probe-root") == first == images.find("probe-root")
    assert first.path.stat().st_mtime_ns == stamp
    for name, text in (("probe.h", "#include <stddef.h>\n"), ("build.toml", BUILD.replace("=3", "=4"))):
        (sources / name).write_text(text)
        assert images.find("probe-root") is None
        assert images.provide("probe-root").path != first.path


@needs_compiler
def test_same_sources_elsewhere_give_the_same_bytes(sources: Path, tmp_path: Path) -> None:
    first = images.provide("probe-root")
    moved = shutil.copytree(sources, tmp_path / "a longer place")
    builder = images.provide("compiler")
    probe_build.compile_probe(probe_build.read_recipe("root", moved), builder, tmp_path / "x.elf")
    assert (tmp_path / "x.elf").read_bytes() == first.path.read_bytes()


@needs_compiler
def test_built_twice_in_other_caches_and_surroundings_it_is_the_same(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = images.provide("probe-root")
    (tmp_path / "stray").mkdir()
    (tmp_path / "stray/stdint.h").write_text("#error found by CPATH\n")
    for name, value in (("CPATH", "stray"), ("DEPENDENCIES_OUTPUT", "deps"), ("SOURCE_DATE_EPOCH", "1")):
        monkeypatch.setenv(name, str(tmp_path / value) if name != "SOURCE_DATE_EPOCH" else value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another cache"))
    second = images.provide("probe-root")
    assert second.path != first.path and second.path.name == first.path.name
    assert second.provenance[0].sha256 == first.provenance[0].sha256
    assert second.path.parent.name == first.path.parent.name
    assert not (tmp_path / "deps").exists()


def test_real_probe_built_twice_is_the_same(
    real_compiler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = images.provide("probe-root").provenance[0]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another cache"))
    second = images.provide("probe-root").provenance[0]
    assert first.sha256 == second.sha256 and first.path != second.path
    assert first.version == second.version and first.version.startswith("sources ")


def test_compiler_and_its_arguments_are_part_of_the_address(sources: Path, real_compiler: str) -> None:
    recipe = probe_build.read_recipe("root", sources)
    builders = [images.provide("compiler", override=f"{real_compiler}{more}") for more in ("", " -O3")]
    assert builders[0].version_text == builders[1].version_text
    assert recipe.digest(builders[0]) != recipe.digest(builders[1])
    other = replace(builders[0], provenance=(replace(builders[0].provenance[0], sha256="0" * 64),))
    assert recipe.digest(builders[0]) != recipe.digest(other)


@needs_compiler
def test_damaged_probe_is_built_again(sources: Path) -> None:
    first = images.provide("probe-root")
    whole = first.path.read_bytes()
    first.path.write_bytes(whole[:-1])
    with pytest.raises(ImageError, match=r"probe-root in the cache is damaged: probe.elf has changed; run 'realmcheck"):
        images.find("probe-root")
    assert images.provide("probe-root", offline=True) == first
    assert first.path.read_bytes() == whole


@needs_compiler
@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("int main(void);\nint main(void) { int x; return 0; }", r"main.c:2:.*unused variable"),
        ("int f(void);\nint main(void);\nint main(void) { return f(); }", "undefined reference to"),
        ("int main(void", "error: expected"),
    ],
)
def test_source_that_does_not_build(sources: Path, source: str, message: str) -> None:
    (sources / "main.c").write_text(source)
    with pytest.raises(ImageError, match=message) as caught:
        images.provide("probe-root")
    assert "\n" not in str(caught.value)
    assert not list((Cache().root / "work").iterdir())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"main.c"', '"gone.c"', r"build.toml:4: common.sources: there is no file gone.c"),
        (
            'sources = ["start.S", "main.c"]',
            "sources = 3",
            r"build.toml:4: common.sources: must be a list of strings, not 3",
        ),
        ('linker_script = "root.ld"', "", r"build.toml:7: personality.root.linker_script: is missing"),
        ("cflags =", "cflag =", r"build.toml:2: common.cflag: is not a known key; known keys: cflags"),
        ("[personality.root]", "[personality.host]", r"personality.root: is missing"),
        ('"root.ld"', '"root.ld', r"build.toml:9: not valid TOML"),
    ],
)
def test_build_toml_errors_name_the_line(sources: Path, old: str, new: str, message: str) -> None:
    (sources / "build.toml").write_text(BUILD.replace(old, new))
    with pytest.raises(ImageError, match=message):
        probe_build.read_recipe("root", sources)


@needs_compiler
def test_own_probe_is_checked(sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = images.provide("probe-root").path.read_bytes()
    own = tmp_path / "own.elf"
    own.write_bytes(whole)
    monkeypatch.setenv("REALMCHECK_PROBE", str(own))
    assert images.provide("probe-root").path == own
    data = elf.check_bootable(own)
    assert data.end > data.start
    for length in range(0, len(whole), 509):
        own.write_bytes(whole[:length])
        try:
            elf.check_bootable(own)
        except ImageError as error:
            assert str(error).startswith(f"{own}: ") and "\n" not in str(error)
    for length in (0, 10, 63, 64, 100, 0x10000 + 1):
        own.write_bytes(whole[:length])
        with pytest.raises(ImageError, match=r"own.elf: (truncated|not a readable ELF file)"):
            images.provide("probe-root")


def test_elf_for_the_host_is_refused() -> None:
    if elf_machine(Path(sys.executable).resolve()) == 0xB7:
        pytest.skip("the host is AArch64 itself")
    with pytest.raises(ImageError, match=r"built for .*, not for little-endian AArch64"):
        elf.check_bootable(Path(sys.executable).resolve())


def elf_machine(path: Path) -> int:
    return int.from_bytes(path.read_bytes()[18:20], "little")


def test_missing_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALMCHECK_PROBE", "/nowhere.elf")
    with pytest.raises(ImageError, match=r"/nowhere.elf: cannot be read: No such file"):
        images.provide("probe-root")


def test_paths_lead_inside_the_prefix(tmp_path: Path) -> None:
    (tmp_path / "usr/lib64").mkdir(parents=True)
    (tmp_path / "usr/lib/x").mkdir(parents=True)
    (tmp_path / "usr/lib/x/ld.so").touch()
    (tmp_path / "usr/lib64/relative").symlink_to("../lib/x/ld.so")
    (tmp_path / "usr/lib64/absolute").symlink_to("/usr/lib/x/ld.so")
    (tmp_path / "usr/lib64/loop").symlink_to("loop")
    (tmp_path / "usr/lib64/outside").symlink_to("../../../../../../../../bin/sh")
    for name in ("relative", "absolute"):
        assert elf.in_prefix(tmp_path, f"/lib64/{name}") == tmp_path / "usr/lib/x/ld.so"
    for name in ("loop", "outside", "absent"):
        with pytest.raises(ImageError, match="leads nowhere inside"):
            elf.in_prefix(tmp_path, f"/lib64/{name}")
    with pytest.raises(ImageError, match="without a name"):
        elf.in_prefix(tmp_path, "/")
