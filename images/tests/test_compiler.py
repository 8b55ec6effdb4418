"""Choosing and checking the compiler; Debian's for real, also where the system has one."""

from __future__ import annotations

import platform
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

import images
from images import catalogue, compiler
from images.cache import Cache
from images.catalogue import PackageSpec
from images.errors import ImageError
from images.progress import Silent
from images.request import Request
from images.tests.conftest import FakeTool

GOOD = """case "$1" in
-dumpmachine) echo aarch64-none-elf;;
--version) echo 'own-gcc (made up) 13.1.0';;
esac"""


def spec() -> PackageSpec:
    found = catalogue.spec("compiler")
    assert isinstance(found, PackageSpec)
    return found


def test_own_compiler_with_arguments(fake_tool: FakeTool, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fake_tool("own-gcc", GOOD)
    wrapped = fake_tool("wrap", 'exec "$@"')
    monkeypatch.setenv("REALMCHECK_CC", "wrap own-gcc")
    image = images.provide("compiler", offline=True)
    assert image.argv == (str(wrapped), "own-gcc") and image.version == (13, 1, 0) and image.origin == "user"
    assert images.provide("compiler", override=str(path)).path == path


def test_system_compiler_comes_before_debians(fake_tool: FakeTool) -> None:
    path = fake_tool("aarch64-linux-gnu-gcc", GOOD)
    image = images.provide("compiler", offline=True)
    assert image.path == path and image.origin == "system"


def test_compiler_for_another_machine(fake_tool: FakeTool) -> None:
    path = fake_tool("own-gcc", "echo x86_64-linux-gnu")
    with pytest.raises(
        ImageError, match=rf"{path}: does not compile for AArch64 but says: x86_64-linux-gnu; .*REALMCHECK_CC"
    ):
        images.provide("compiler", override=str(path))


def test_compiler_that_cannot_compile(fake_tool: FakeTool) -> None:
    script = (
        f"{GOOD}\ncase $* in *-ffreestanding*) echo 'x.c:2: fatal error: stdint.h: No such file' >&2; exit 1;; esac"
    )
    with pytest.raises(ImageError, match=r"cannot compile a freestanding file: .*stdint.h"):
        images.provide("compiler", override=str(fake_tool("own-gcc", script)))


@pytest.mark.parametrize(
    ("command", "message"),
    [("/nowhere/gcc", "does not exist or is not executable"), ("gcc 'x", "not a command line"), ("  ", "empty")],
)
def test_unusable_command(command: str, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        images.provide("compiler", override=command)


def test_real_compiler_where_the_systems_is_looked_for(compiler_argv: tuple[str, ...], fake_tool: FakeTool) -> None:
    fake_tool(compiler.SYSTEM, f'exec {shlex.join(compiler_argv)} "$@"')
    image = images.provide("compiler", offline=True)
    assert image.origin == "system" and image.version >= (10,)


def test_compiler_for_the_host_is_refused() -> None:
    if platform.machine() == "aarch64" or not shutil.which("gcc"):
        pytest.skip("needs a gcc for another machine than AArch64")
    with pytest.raises(ImageError, match=r"/gcc: does not compile for AArch64 but says: \S+; name an AArch64 gcc"):
        images.provide("compiler", override="gcc")


def test_compiler_without_a_version(fake_tool: FakeTool) -> None:
    path = fake_tool("own-gcc", "case $1 in -dumpmachine) echo aarch64;; esac")
    with pytest.raises(ImageError, match=rf"{path}: says nothing for --version; .*REALMCHECK_CC"):
        images.provide("compiler", override=str(path))


def test_full_disk_while_trying_the_compiler_out(fake_tool: FakeTool, tmp_path: Path) -> None:
    path = fake_tool("own-gcc", "echo 'as: error writing to try.o: No space left on device' >&2; exit 1")
    with pytest.raises(ImageError, match=r"no space left on the device; free about"):
        compiler._compile((str(path),), "-c", "-o", str(tmp_path / "try.o"))


@pytest.mark.network
def test_debians_compiler_works_where_it_is_unpacked(tmp_path: Path) -> None:
    image = compiler.provide(spec(), Request(Cache(), False, Silent()), system=False)
    assert image.origin == "debian" and image.version >= (10,)
    prefix = Cache().root / "entries"
    assert {item.name for item in image.provenance} >= {"cc1"}
    assert all(Path(item.path).is_relative_to(prefix) for item in image.provenance)
    source = tmp_path / "a.c"
    source.write_text("#include <stdint.h>\n#include <stddef.h>\nuint64_t _start(size_t n) { return n; }\n")
    output = tmp_path / "a.elf"
    flags = ["-ffreestanding", "-nostdlib", "-static", "-no-pie", "-o", str(output)]
    used = subprocess.run([*image.argv, "-v", *flags, str(source)], capture_output=True, text=True, check=True).stderr
    assert str(prefix) in next(line for line in used.splitlines() if "cc1" in line)
    assert "AArch64" in subprocess.run(["file", output], capture_output=True, text=True, check=False).stdout or (
        output.read_bytes()[18:20] == b"\xb7\x00"
    )
