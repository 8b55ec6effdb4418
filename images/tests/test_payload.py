"""Files for the target out of Debian's packages: only the packages that are wanted, and the version a file states."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from images import payload
from images.cache import Cache
from images.catalogue import PackageSpec
from images.errors import ImageError
from images.progress import Silent
from images.request import Request
from images.tests.conftest import Repository

SPEC = PackageSpec(
    name="linux-kernel",
    kind="kernel",
    summary="",
    environment="REALMCHECK_LINUX",
    suites=("testing",),
    target="testing",
    packages=("linux-image",),
    packages_arm64=("linux-image",),
    program="usr/lib/modules/*/vmlinuz",
    minimum=(6, 12),
    architecture=subprocess.check_output(["dpkg", "--print-architecture"], text=True).strip(),
    only=("linux-binary-.*",),
    says=r"Linux version ([0-9][0-9.]*)",
)
KERNEL = "\0" * (1 << 20) + "Linux version 7.3.4-arm64"


def request(*, offline: bool = False) -> Request:
    return Request(Cache(), offline, Silent())


@pytest.fixture
def filled(repository: Repository) -> Repository:
    repository.add("linux-image", {"usr/share/meta": "x"}, depends="linux-binary-7.3.4, linux-modules")
    repository.add("linux-binary-7.3.4", {"usr/lib/modules/7.3.4/vmlinuz": KERNEL})
    repository.add("linux-modules", {"usr/lib/modules/7.3.4/large.ko": "x"})
    repository.publish()
    return repository


def test_only_the_wanted_package_of_the_closure_is_downloaded(filled: Repository) -> None:
    image = payload.provide(SPEC, request())
    assert image.path.read_text() == KERNEL and image.version == (7, 3, 4) and image.argv == ()
    assert [item.name for item in image.packages] == ["linux-binary-7.3.4"]
    assert payload.provide(SPEC, request(offline=True)) == image == payload.find(SPEC, request())


def test_name_that_the_closure_has_not_is_said(filled: Repository) -> None:
    with pytest.raises(ImageError, match="no package of the closure is named linux-kernel-x"):
        payload.provide(replace(SPEC, only=("linux-kernel-x",)), request())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"minimum": (8, 0)}, r"linux-kernel states version 7.3.4, older than 8.0"),
        ({"says": "Windows ([0-9]+)"}, r"linux-kernel states version none, older than 6.12"),
        ({"program": "boot/*"}, r"the packages hold 0 files boot/\*, not one"),
    ],
)
def test_wrong_content_is_refused(filled: Repository, change: dict[str, object], message: str) -> None:
    with pytest.raises(ImageError, match=message):
        payload.provide(replace(SPEC, **change), request())  # type: ignore[arg-type]


def test_own_file_needs_no_version(tmp_path: Path) -> None:
    own = tmp_path / "Image"
    own.write_bytes(b"anything")
    image = payload.provide(SPEC, request(offline=True), str(own))
    assert (image.origin, image.path, image.version_text) == ("user", own, "states no version")
    with pytest.raises(ImageError, match=r"nowhere: cannot be read: No such file"):
        payload.provide(SPEC, request(offline=True), str(tmp_path / "nowhere"))
