"""The catalogue that ships, and what is said of a broken one."""

from __future__ import annotations

from pathlib import Path

import pytest

from images import catalogue
from images.errors import ImageError


def test_shipped_catalogue() -> None:
    specs = catalogue.load()
    assert list(specs)[:5] == ["qemu", "qemu10", "compiler", "probe-root", "probe-host"]
    assert {"make", "tfa-source", "tfa", "qemu-rme-stack"} <= specs.keys()
    assert {"linux-kernel", "busybox", "linux-shim", "attack", "initramfs"} <= specs.keys()
    assert {spec.environment for spec in specs.values()} >= {"REALMCHECK_QEMU", "REALMCHECK_CC", "REALMCHECK_PROBE"}


def test_unknown_name_lists_the_names() -> None:
    with pytest.raises(ImageError, match="no image 'qemu9'; images: qemu, qemu10, compiler, probe-root"):
        catalogue.spec("qemu9")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'minimum = "11.1"',
            'minimum = "new"',
            r"catalogue.toml:\d+: qemu.minimum: must be a version such as '11.1', not 'new'",
        ),
        ('package = "arm-trusted', 'package = "../arm', r"tfa-source.package: must be a name such as .*, not '../arm-"),
        ('sha256 = "0e3d', 'sha256 = "0E3D', r"qemu-rme-stack.sha256: must be 64 hexadecimal digits"),
        ('url = "https://', 'url = "file:///', r"qemu-rme-stack.url: must be an http or https URL, not 'file:///"),
        ('"out/Image"', '"../Image"', r"qemu-rme-stack.members: must hold paths inside the archive, not '../Image'"),
        (
            'target = "trixie-backports"',
            'target = "sid"',
            r"qemu.target: must be one of the suites trixie, trixie-backports",
        ),
        ('personality = "root"', "personality = 1", r"probe-root.personality: must be a string, not 1"),
        ('kind = "probe"', 'kind = "disk"', r"probe-root.kind: must be one of qemu, compiler, .*, not 'disk'"),
        ('program = "usr/bin/qemu', 'program = "/usr/bin/qemu', r"qemu.program: must be a path inside the prefix"),
        ("[qemu10]", "colour = 1\n[qemu10]", r"qemu.colour: is not a known key; known keys: .*environment"),
        ('environment = "REALMCHECK_CC"', "", r"compiler.environment: is missing"),
        ('environment = "REALMCHECK_CC"', 'environment = "a b"', r"compiler.environment: must be the name of a var"),
        ('packages = ["gcc-aarch64-linux-gnu"]', "packages = []", r"compiler.packages: must not be empty"),
        ('packages_arm64 = ["gcc"]', 'packages_arm64 = ["--yes"]', r"compiler.packages_arm64: .*, not '--yes'"),
        ('suites = ["host"]', 'suites = ["host\\nx"]', r"compiler.suites: must hold names"),
        ("[qemu10]", '["../x"]', r"catalogue.toml:\d+: ../x: must have a name such as"),
        ("[qemu]", "x = 1\n[qemu]", r"catalogue.toml:3: x: must be a table"),
    ],
)
def test_errors_name_file_line_and_key(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "catalogue.toml"
    path.write_text(catalogue.CATALOGUE.read_text().replace(old, new, 1))
    with pytest.raises(ImageError, match=message):
        catalogue.load(path)


def test_every_truncation_is_read_or_refused_in_one_line(tmp_path: Path) -> None:
    whole = catalogue.CATALOGUE.read_text()
    path = tmp_path / "catalogue.toml"
    refused = 0
    for length in range(0, len(whole), 3):
        path.write_text(whole[:length])
        try:
            catalogue.load(path)
        except ImageError as error:
            refused += 1
            assert str(error).startswith(f"{path}:") and "\n" not in str(error)
    assert refused > 100


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot be read"):
        catalogue.load(tmp_path / "absent.toml")
    (tmp_path / "binary.toml").write_bytes(b"[a]\nb = '\xff'")
    with pytest.raises(ImageError, match="not UTF-8 at byte 9"):
        catalogue.load(tmp_path / "binary.toml")


@pytest.mark.parametrize("value", ["[" * 5000, "1" * 5000])
def test_monstrous_values_are_refused(tmp_path: Path, value: str) -> None:
    path = tmp_path / "odd.toml"
    path.write_text(f"x = {value}\n")
    with pytest.raises(ImageError, match=r"odd.toml.*not valid TOML"):
        catalogue.load(path)


def test_digest_follows_the_machine_only_where_it_matters() -> None:
    specs = catalogue.load()
    qemu, cc = specs["qemu"], specs["compiler"]
    assert isinstance(qemu, catalogue.PackageSpec) and isinstance(cc, catalogue.PackageSpec)
    assert qemu.digest("amd64", "bookworm") == qemu.digest("amd64", "trixie") != qemu.digest("arm64", "trixie")
    assert cc.digest("amd64", "bookworm") != cc.digest("amd64", "trixie")
