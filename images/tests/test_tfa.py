"""Building TF-A: from a source package of a small repository, with a Makefile that shows what it was given."""

from __future__ import annotations

import io
import os
import shlex
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pytest

import images
from images import catalogue, flash, program, source, tfa
from images.cache import Cache
from images.catalogue import FirmwareSpec, PackageSpec, SourceSpec
from images.errors import ImageError
from images.fip import parse
from images.image import Image, sha256_of
from images.progress import Silent
from images.request import Request
from images.tests.conftest import FakeTool, Repository

SOURCE = SourceSpec(
    name="src", kind="source", summary="", suites=("testing",), package="arm-trusted-firmware", minimum=(2, 12)
)
SPEC = FirmwareSpec(name="fw", kind="firmware", summary="", environment="REALMCHECK_FW", source="src")
MAKEFILE = """
bl2 bl31 rmm: bl1
bl1:
	@mkdir -p build/qemu/debug/bl1 build/qemu/debug/bl2 build/qemu/debug/bl31 build/qemu/debug/rmm
	@for i in bl1 bl2 bl31 rmm; do printf $$i > build/qemu/debug/$$i.bin; cp hello.c build/qemu/debug/$$i/$$i.elf; done
	@env > build/qemu/debug/bl2.bin
	@$(CC) --version > build/qemu/debug/bl31.bin
	@echo DEBUG=$(DEBUG) BL33=$(BL33) >> build/qemu/debug/bl1.bin
"""
EDITED = {edit.file: edit.find for edit in tfa.read_recipe().edits}


def tarball(version: str = "2.12.9", makefile: str = MAKEFILE, **files: str) -> bytes:
    """An upstream tarball with a Makefile and the places that our edits look for."""
    packed = io.BytesIO()
    places: dict[str, str] = {}
    for edit in tfa.read_recipe().edits:
        places[edit.file] = places.get(edit.file, "") + edit.find
    with tarfile.open(fileobj=packed, mode="w:xz") as made:
        for name, text in {"Makefile": makefile, "hello.c": "int x;\n", **places, **files}.items():
            info = tarfile.TarInfo(f"arm-trusted-firmware-{version}/{name}")
            info.size = len(text.encode())
            made.addfile(info, io.BytesIO(text.encode()))
    return packed.getvalue()


def request(*, offline: bool = False) -> Request:
    return Request(Cache(), offline, Silent())


@pytest.fixture
def fetched(repository: Repository) -> Image:
    repository.add_source("arm-trusted-firmware", "2.12.9", tarball())
    repository.publish()
    return source.provide(SOURCE, request())


def compiler(fake_tool: FakeTool) -> Image:
    path = fake_tool(
        "some-gcc", 'case "$*" in *print-prog-name*) echo "$0";; *) echo "some gcc 12.1, $TOOL_SETTING";; esac'
    )
    return Image(
        name="compiler", kind="compiler", path=path, argv=("/usr/bin/env", "TOOL_SETTING=a b", str(path)),
        version_text="gcc 12.1", origin="user",
    )  # fmt: skip


def make() -> Image:
    spec = catalogue.spec("make")
    assert isinstance(spec, PackageSpec)
    return program.provide(spec, request())


def build(fetched: Image, builder: Image, spec: FirmwareSpec = SPEC) -> Image:
    return tfa.provide(spec, Cache(), Silent(), fetched, builder, make)


def test_the_source_is_verified_and_kept(fetched: Image, repository: Repository) -> None:
    assert fetched.version == (2, 12, 9) and fetched.path.name == "arm-trusted-firmware_2.12.9.orig.tar.xz"
    assert {item.name.rpartition(".")[2] for item in fetched.provenance} == {"dsc", "xz"}
    for item in fetched.provenance:
        assert item.sha256 == sha256_of(repository.root / "pool" / item.name)
    (repository.root / "pool" / fetched.path.name).unlink()
    assert source.provide(SOURCE, request(offline=True)).path == fetched.path


def test_a_source_that_differs_from_the_index_is_refused(repository: Repository) -> None:
    repository.add_source("arm-trusted-firmware", "2.12.9", tarball())
    repository.publish()
    changed = repository.root / "pool/arm-trusted-firmware_2.12.9.orig.tar.xz"
    changed.write_bytes(bytes(changed.stat().st_size))
    with pytest.raises(ImageError, match=r"arm-trusted-firmware_2.12.9.orig.tar.xz.*|.*[Hh]ash"):
        source.provide(SOURCE, request())
    assert source.find(SOURCE, request()) is None


def test_what_the_archive_has_not(repository: Repository) -> None:
    repository.add_source("arm-trusted-firmware", "2.10.0", tarball("2.10.0"))
    repository.publish()
    with pytest.raises(ImageError, match=r"arm-trusted-firmware 2.10.0 is older than 2.12; use a mirror"):
        source.provide(SOURCE, request())
    unknown = SourceSpec(name="x", kind="source", summary="", suites=("testing",), package="nothing", minimum=(1, 0))
    with pytest.raises(ImageError, match="Unable to find a source package for nothing"):
        source.provide(unknown, request())
    with pytest.raises(ImageError, match="image src is not in the cache and the network is not to be used"):
        source.provide(SOURCE, request(offline=True))


def test_a_build_depends_on_nothing_of_the_callers(
    fetched: Image, fake_tool: FakeTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"DEBUG": "0", "BL33": "/evil", "MAKEFLAGS": "-n", "CC": "/nowhere"}.items():
        monkeypatch.setenv(name, value)
    made = build(fetched, compiler(fake_tool))
    texts = {name: (made.path.parent / name).read_text() for name in tfa.BINARIES}
    assert texts["bl1.bin"] == "bl1DEBUG=1 BL33=\n"
    assert texts["bl31.bin"] == "some gcc 12.1, a b\n"
    names = {line.partition("=")[0] for line in texts["bl2.bin"].splitlines()}
    assert not names & {"BL33", "HOME", "XDG_CACHE_HOME"}
    assert {item.name for item in made.provenance} >= {"bl1.bin", "rmm.bin", "bl31.elf"}
    assert not list((made.path.parents[2] / "work").iterdir())


def test_a_second_build_comes_from_the_cache(fetched: Image, fake_tool: FakeTool) -> None:
    builder = compiler(fake_tool)
    made = build(fetched, builder)
    assert tfa.find(SPEC, Cache(), fetched, builder) == made

    def no_make() -> Image:
        raise AssertionError("nothing is to be built")

    assert tfa.provide(SPEC, Cache(), Silent(), fetched, builder, no_make) == made
    other = SimpleNamespace(**{**vars(builder), "version_text": "gcc 13"})
    assert tfa.find(SPEC, Cache(), fetched, other) is None  # type: ignore[arg-type]


def test_a_damaged_build_is_made_again(fetched: Image, fake_tool: FakeTool) -> None:
    builder = compiler(fake_tool)
    made = build(fetched, builder)
    made.path.write_text("changed")
    with pytest.raises(ImageError, match=r"image fw in the cache is damaged: bl1.bin has changed"):
        tfa.find(SPEC, Cache(), fetched, builder)
    assert build(fetched, builder).path.read_text().startswith("bl1")


@pytest.mark.parametrize(
    ("makefile", "message"),
    [
        (
            "bl1 bl2 bl31 rmm:\n\t@echo 'a.c:1: error: no such thing' >&2; exit 1\n",
            r"cannot be built: a.c:1: error: no such",
        ),
        ("bl1 bl2 bl31 rmm:\n\t@echo 'No space left on device'; exit 1\n", "no space left on the device"),
        ("bl1 bl2 bl31 rmm:\n\t@true\n", r"bl1.bin: cannot be written|No such file"),
    ],
)
def test_a_build_that_fails_is_one_line(
    repository: Repository, fake_tool: FakeTool, own_cache: Path, makefile: str, message: str
) -> None:
    repository.add_source("arm-trusted-firmware", "2.12.9", tarball(makefile=makefile))
    repository.publish()
    with pytest.raises(ImageError, match=message) as caught:
        build(source.provide(SOURCE, request()), compiler(fake_tool))
    assert "\n" not in str(caught.value)
    assert not list((own_cache / "entries").glob("fw-*")) and not list((own_cache / "work").iterdir())


def test_an_edit_that_does_not_fit_stops_the_build(repository: Repository, fake_tool: FakeTool) -> None:
    file, place = next(iter(EDITED.items()))
    for text, count in (("something else", 0), (place * 2, 2)):
        repository.add_source("arm-trusted-firmware", "2.12.9", tarball(**{file: text}))
        repository.publish()
        Cache().clean("src")
        with pytest.raises(
            ImageError, match=rf"{file}: edit \S+ finds its place {count} times, not once; name your own"
        ):
            build(source.provide(SOURCE, request()), compiler(fake_tool))


def test_optional_edits_are_made_only_where_asked(fetched: Image, fake_tool: FakeTool) -> None:
    recipe = tfa.read_recipe()
    usual = {edit.name for edit in recipe.chosen(())}
    assert {"rmm-manifest-checksum", "fpmr"} == usual
    assert {edit.name for edit in recipe.chosen(("no-realm-region",))} == usual | {"no-realm-region"}
    with pytest.raises(ImageError, match="no optional edit fpmr; there are: "):
        recipe.chosen(("fpmr",))
    faulty = FirmwareSpec(**{**vars(SPEC), "edits": ("no-realm-region",)})
    builder = compiler(fake_tool)
    assert build(fetched, builder).path != build(fetched, builder, faulty).path


def test_shipped_variants_name_edits_that_exist() -> None:
    recipe = tfa.read_recipe()
    for spec in catalogue.default().values():
        if isinstance(spec, FirmwareSpec):
            recipe.chosen(spec.edits)


def test_the_users_own_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALMCHECK_TFA", str(tmp_path))
    with pytest.raises(ImageError, match=r"there is no bl1.bin; name your own build of TF-A by REALMCHECK_TFA"):
        images.provide("tfa")
    for name in tfa.BINARIES:
        (tmp_path / name).write_bytes(name.encode())
    made = images.provide("tfa")
    assert (made.origin, len(made.provenance)) == ("user", 3)
    with pytest.raises(ImageError, match=r"rmm.bin: cannot be read"):
        flash.compose(made)
    composed = flash.compose(made, bl33=b"payload", rmm=b"monitor")
    package, _ = parse(composed[flash.FIP_OFFSET :], "flash")
    assert composed.startswith(b"bl1.bin\0")
    assert [(i.name, i.data) for i in package.images] == [
        ("bl2", b"bl2.bin"), ("bl31", b"bl31.bin"), ("rmm", b"monitor"), ("bl33", b"payload"),
    ]  # fmt: skip


def test_what_does_not_fit_into_the_flash(tmp_path: Path) -> None:
    for name in tfa.BINARIES:
        (tmp_path / name).write_bytes(b"x")
    made = tfa.own(SPEC, str(tmp_path))
    with pytest.raises(ImageError, match="the flash image needs 67371226 bytes, the flash has 67108864"):
        flash.compose(made, bl33=bytes(0x400_0000), rmm=b"")
    (tmp_path / "bl1.bin").write_bytes(bytes(0x40001))
    with pytest.raises(ImageError, match="BL1 has 262145 bytes, more than 262144"):
        flash.compose(made, rmm=b"")


def test_make_of_the_users(fake_tool: FakeTool, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fake_tool("my-make", 'echo "GNU Make 4.9"')
    monkeypatch.setenv("REALMCHECK_MAKE", "my-make")
    found = images.provide("make")
    assert (found.path, found.version, found.origin) == (path, (4, 9), "user")
    monkeypatch.setenv("REALMCHECK_MAKE", "no-such-make")
    with pytest.raises(
        ImageError, match="no-such-make: does not exist or is not executable; name a make by REALMCHECK_MAKE"
    ):
        images.provide("make")
    fake_tool("my-make", "exit 1")
    monkeypatch.setenv("REALMCHECK_MAKE", shlex.quote(str(path)))
    with pytest.raises(ImageError, match="tells no version: exit status 1"):
        images.provide("make")
    assert os.access(path, os.X_OK)
