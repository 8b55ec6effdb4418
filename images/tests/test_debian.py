"""Unpacking a package closure into the cache, with a small local repository and fake tools."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from images import apt_sources, debian
from images.cache import Cache
from images.catalogue import PackageSpec
from images.errors import ImageError
from images.progress import Silent
from images.request import Request
from images.tests.conftest import FakeTool, Repository

SPEC = PackageSpec(
    name="tool",
    kind="qemu",
    summary="",
    environment="REALMCHECK_TOOL",
    suites=("testing",),
    target="testing",
    packages=("tool",),
    packages_arm64=("tool",),
    program="usr/bin/tool",
    minimum=(1, 0),
)


def check(prefix: Path) -> tuple[str, list[str]]:
    return subprocess.check_output([prefix / "usr/bin/tool"], text=True).strip(), ["usr/bin/tool"]


def request(*, offline: bool = False) -> Request:
    return Request(Cache(), offline, Silent())


@pytest.fixture
def filled(repository: Repository) -> Repository:
    repository.add("tool", {"usr/bin/tool": "#!/bin/sh\necho 1.5\n"}, depends="lib")
    repository.add("lib", {"usr/lib/lib": "x"}, version="2.0")
    repository.publish()
    return repository


def test_closure_is_unpacked_and_recorded(filled: Repository) -> None:
    entry = debian.provide(SPEC, request(), check)
    assert (entry.path / "prefix/usr/lib/lib").read_text() == "x"
    record = json.loads((entry.path / "provenance.json").read_text())
    assert record["version"] == "1.5"
    assert [item["version"] for item in record["binaries"]] == ["tool 1.0"]
    assert sorted((item["name"], item["version"], len(item["sha256"])) for item in record["packages"]) == [
        ("lib", "2.0", 64),
        ("tool", "1.0", 64),
    ]
    assert str(filled.key) in record["verified"]
    assert not list((Cache().apt_directory).glob("*/archives/*.deb"))


def test_complete_entry_is_used_without_the_network(filled: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = debian.provide(SPEC, request(), check)
    monkeypatch.setattr(apt_sources, "archive", lambda: pytest.fail("looked for the archive"))
    assert debian.provide(SPEC, request(), check) == entry
    assert debian.provide(SPEC, request(offline=True), check) == entry
    assert debian.find(SPEC, Cache()) == entry


def test_damaged_library_is_noticed_and_the_image_unpacked_again(filled: Repository) -> None:
    entry = debian.provide(SPEC, request(), check)
    (entry.path / "prefix/usr/lib/lib").write_text("y")
    with pytest.raises(ImageError, match=r"tool in the cache is damaged: prefix/usr/lib/lib has changed; run 'realmc"):
        debian.provide(SPEC, request(offline=True), check)
    again = debian.provide(SPEC, request(), check)
    assert again.path == entry.path and (entry.path / "prefix/usr/lib/lib").read_text() == "x"


def test_provenance_covers_every_package(filled: Repository) -> None:
    entry = debian.provide(SPEC, request(), check)
    found = debian.provenance(entry)
    assert [item.name for item in found] == ["tool", "tool packages"]
    assert found[1].version == "2 packages" and found[1].sha256 == entry.record.digest
    assert found[1].origin.endswith("/repo/ testing")


def test_reading_matter_is_left_out(repository: Repository) -> None:
    files = {"usr/bin/tool": "#!/bin/sh\necho 1.5\n", "usr/share/doc/tool/copyright": "x", "usr/share/tool/data": "x"}
    repository.add("tool", files)
    repository.publish()
    entry = debian.provide(SPEC, request(), check)
    assert [path.name for path in (entry.path / "prefix/usr/share").iterdir()] == ["tool"]


def test_cache_from_which_no_program_runs(filled: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_flag=os.ST_NOEXEC))
    with pytest.raises(ImageError, match=r"realmcheck: the cache lies on .* \(noexec\); set XDG_CACHE_HOME"):
        debian.provide(SPEC, request(), check)


def test_offline_without_the_entry(own_cache: Path) -> None:
    with pytest.raises(
        ImageError, match=r"tool is not in the cache .*; run 'realmcheck images provide tool' .*REALMCHECK_TOOL"
    ):
        debian.provide(SPEC, request(offline=True), check)
    assert not own_cache.exists()


def test_skipped_package_is_verified_but_not_unpacked(filled: Repository) -> None:
    entry = debian.provide(SPEC, request(), check, skip={"lib"})
    assert not (entry.path / "prefix/usr/lib").exists()
    assert len(entry.record.packages) == 2


def test_parallel_runs_provide_once(filled: Repository) -> None:
    calls: list[Path] = []

    def counted(prefix: Path) -> tuple[str, list[str]]:
        calls.append(prefix)
        return check(prefix)

    threads = [threading.Thread(target=lambda: debian.provide(SPEC, request(), counted)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert debian.find(SPEC, Cache()) is not None


def test_failed_check_leaves_no_entry(filled: Repository) -> None:
    def refuse(prefix: Path) -> tuple[str, list[str]]:
        raise ImageError("too old")

    with pytest.raises(ImageError, match="too old"):
        debian.provide(SPEC, request(), refuse)
    assert debian.find(SPEC, Cache()) is None
    assert not list((Cache().root / "work").iterdir())


def test_truncated_package_is_one_clear_line(filled: Repository, tmp_path: Path) -> None:
    deb = tmp_path / "cut.deb"
    deb.write_bytes((filled.root / "pool/tool_1.0_all.deb").read_bytes()[:300])
    with pytest.raises(ImageError, match=r"cut.deb: cannot be unpacked: .*; delete it and run again") as caught:
        debian.unpack(deb, tmp_path / "prefix")
    assert "\n" not in str(caught.value)


def test_full_disk_while_unpacking(fake_tool: FakeTool, tmp_path: Path) -> None:
    fake_tool("dpkg-deb", "echo 'tar: ./usr/x: Cannot write: No space left on device' >&2; exit 2")
    with pytest.raises(ImageError, match=r"no space left on the device; free about .* XDG_CACHE_HOME"):
        debian.unpack(tmp_path / "a.deb", tmp_path)


def test_nothing_is_written_outside_the_cache(filled: Repository, own_cache: Path, tmp_path: Path) -> None:
    own_cache.parent.mkdir()
    before = set(tmp_path.rglob("*"))
    debian.provide(SPEC, request(), check)
    assert {path for path in tmp_path.rglob("*") if not path.is_relative_to(own_cache)} == before
