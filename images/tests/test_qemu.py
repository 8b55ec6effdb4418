"""A user's own QEMU: what is accepted, what is refused and how; and Debian's for real."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import images
from images.errors import ImageError
from images.tests.conftest import FakeTool


def fake_qemu(fake_tool: FakeTool, version: str) -> Path:
    return fake_tool("own-qemu", f"echo 'QEMU emulator version {version}'; echo 'Copyright (c) 2003-2026'")


def test_own_qemu_by_path_name_and_variable(fake_tool: FakeTool, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fake_qemu(fake_tool, "9.2.0 (v9.2.0)")
    by_path = images.provide("qemu", override=str(path))
    assert by_path.argv == (str(path),) and by_path.version == (9, 2, 0) and by_path.origin == "user"
    assert len(by_path.provenance[0].sha256) == 64
    assert images.provide("qemu", override="own-qemu") == by_path
    monkeypatch.setenv("REALMCHECK_QEMU", str(path))
    assert images.provide("qemu", offline=True) == by_path == images.find("qemu")
    assert images.path("qemu") == path


def test_another_image_may_stand_in_by_its_name(fake_tool: FakeTool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALMCHECK_QEMU10", str(fake_qemu(fake_tool, "10.0.13")))
    assert images.provide("qemu", override="qemu10").version == (10, 0, 13)
    assert images.provide("qemu", override="qemu10").name == "qemu10"
    monkeypatch.setenv("REALMCHECK_QEMU", "qemu10")
    assert images.find("qemu") == images.provide("qemu") == images.provide("qemu10")


def test_its_own_name_means_the_image_itself(fake_tool: FakeTool, monkeypatch: pytest.MonkeyPatch) -> None:
    own = fake_qemu(fake_tool, "9.2.0")
    monkeypatch.setenv("REALMCHECK_QEMU", str(own))
    with pytest.raises(ImageError, match="image qemu is not in the cache"):
        images.provide("qemu", override="qemu", offline=True)
    monkeypatch.setenv("REALMCHECK_QEMU", "qemu")
    assert images.find("qemu") is None


def test_an_image_of_another_kind_does_not_stand_in() -> None:
    with pytest.raises(ImageError, match="compiler: does not exist"):
        images.provide("qemu", override="compiler")


@pytest.mark.parametrize("version", ["7.2.11 (Debian 1:7.2+dfsg-7)", "8.0.5"])
def test_qemu_without_rme_is_refused(fake_tool: FakeTool, version: str) -> None:
    path = fake_qemu(fake_tool, version)
    with pytest.raises(
        ImageError, match=rf"{path}: QEMU {version.split()[0]} has no RME; name a qemu-system-aarch64 of 8.1"
    ):
        images.provide("qemu", override=str(path))


def test_first_qemu_with_rme_is_accepted(fake_tool: FakeTool) -> None:
    assert images.provide("qemu", override=str(fake_qemu(fake_tool, "8.1.0"))).version == (8, 1, 0)


def test_missing_qemu() -> None:
    with pytest.raises(ImageError, match=r"/nowhere/qemu: does not exist; .*REALMCHECK_QEMU"):
        images.provide("qemu", override="/nowhere/qemu")


def test_file_that_is_no_program(tmp_path: Path) -> None:
    (tmp_path / "qemu").write_text("text")
    with pytest.raises(ImageError, match="is not executable"):
        images.provide("qemu", override=str(tmp_path / "qemu"))
    (tmp_path / "qemu").chmod(0o755)
    with pytest.raises(ImageError, match="cannot be started: Exec format error"):
        images.provide("qemu", override=str(tmp_path / "qemu"))


@pytest.mark.parametrize("script", ["echo hello 1.2", "echo 'QEMU emulator version 11.1.0'; exit 1", "exit 0"])
def test_program_that_is_no_qemu(fake_tool: FakeTool, script: str) -> None:
    with pytest.raises(ImageError, match="does not answer --version as QEMU does"):
        images.provide("qemu", override=str(fake_tool("own-qemu", script)))


def test_missing_library_is_told(fake_tool: FakeTool) -> None:
    path = fake_tool("own-qemu", "echo 'error while loading shared libraries: libfdt.so.1' >&2; exit 127")
    with pytest.raises(ImageError, match="libfdt"):
        images.provide("qemu", override=str(path))


def test_offline_and_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALMCHECK_OFFLINE", "1")
    with pytest.raises(ImageError, match="qemu is not in the cache and the network is not to be used"):
        images.provide("qemu")
    assert images.find("qemu") is None
    with pytest.raises(ImageError, match="not there yet; run 'realmcheck images provide qemu'"):
        images.path("qemu")


@pytest.mark.network
@pytest.mark.parametrize(("name", "minimum"), [("qemu", (11, 1)), ("qemu10", (10, 0))])
def test_debians_qemu_starts_an_rme_machine(name: str, minimum: tuple[int, ...]) -> None:
    image = images.provide(name)
    assert image.version >= minimum and image.origin == "debian"
    assert {item.name for item in image.packages} >= {"qemu-system-arm", "libc6"}
    machine = ["-M", "virt,secure=on,virtualization=on,gic-version=3", "-cpu", "max,x-rme=on", "-display", "none"]
    command = [*image.argv, *machine, "-S", "-monitor", "stdio", "-serial", "null"]
    result = subprocess.run(
        command, input="info version\nquit\n", capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    assert ".".join(map(str, image.version)) in result.stdout


def test_images_that_name_each_other_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALMCHECK_QEMU", "qemu10")
    monkeypatch.setenv("REALMCHECK_QEMU10", "qemu")
    with pytest.raises(images.ImageError, match="qemu10 is to be qemu; let REALMCHECK_QEMU10"):
        images.find("qemu")
