"""Fixtures for the tests of the providers: an own cache, fake tools on PATH, a small signed Debian repository."""

from __future__ import annotations

import gzip
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

import pytest

import images
from images import apt, apt_sources
from images.apt_sources import Archive

HAS_APT = all(shutil.which(tool) for tool in ("apt-get", "apt-config", "dpkg", "dpkg-deb"))
FakeTool = Callable[[str, str], Path]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "network" not in config.option.markexpr:
        skip = pytest.mark.skip(reason="needs the network: run with -m network")
        for item in items:
            if item.get_closest_marker("network"):
                item.add_marker(skip)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test has its own cache, no user's variables, and no patience with retries."""
    stacks = ("TFA", "MAKE", "RMM", "QEMU_RME_STACK", "LINUX", "BUSYBOX", "LINUX_SHIM", "ATTACK", "INITRAMFS")
    for name in ("QEMU", "QEMU10", "CC", "PROBE", "PROBE_HOST", "OFFLINE", *stacks):
        monkeypatch.delenv(f"REALMCHECK_{name}", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(apt, "PAUSES", (0.0, 0.0))
    return tmp_path / "xdg" / "realmcheck"


@pytest.fixture
def fake_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeTool:
    """``fake_tool(name, shell_script)`` puts a tool in front of PATH."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")

    def make(name: str, script: str) -> Path:
        path = directory / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return make


@pytest.fixture(scope="session")
def compiler_argv() -> tuple[str, ...]:
    """A real compiler: the user's, the system's, or the one in the user's cache (tests have another cache)."""
    image = images.find("compiler")
    if image is None:
        pytest.skip("there is no compiler; 'realmcheck images provide compiler' obtains one")
    return image.argv


@pytest.fixture
def real_compiler(compiler_argv: tuple[str, ...], own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Makes the image ``compiler`` a real one; its command line."""
    monkeypatch.setenv("REALMCHECK_CC", shlex.join(compiler_argv))
    return shlex.join(compiler_argv)


@dataclass
class Repository:
    """A Debian repository of suite ``testing`` under ``root``, signed by ``key`` unless told otherwise."""

    root: Path
    gnupg: Path
    key: Path

    @property
    def archive(self) -> Archive:
        architecture = subprocess.check_output(["dpkg", "--print-architecture"], text=True).strip()
        return Archive(f"file:{self.root}/", str(self.key), "testing", architecture)

    def add(self, name: str, files: dict[str, str], depends: str = "", version: str = "1.0") -> Path:
        tree = self.root.parent / f"tree-{name}"
        (tree / "DEBIAN").mkdir(parents=True)
        fields = [f"Package: {name}", f"Version: {version}", "Architecture: all", "Maintainer: A <a@example.org>"]
        fields += [f"Depends: {depends}"] if depends else []
        (tree / "DEBIAN/control").write_text("\n".join([*fields, "Description: test", ""]))
        for path, text in files.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_text(text)
            (tree / path).chmod(0o755)
        deb = self.root / "pool" / f"{name}_{version}_all.deb"
        deb.parent.mkdir(parents=True, exist_ok=True)
        build = ["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", str(tree), str(deb)]
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
        return deb

    def add_source(self, name: str, version: str, tarball: bytes) -> None:
        """A source package: a .dsc and the upstream tarball."""
        pool = self.root / "pool"
        pool.mkdir(parents=True, exist_ok=True)
        for old in pool.glob(f"{name}_*"):
            old.unlink()
        upstream = pool / f"{name}_{version}.orig.tar.xz"
        upstream.write_bytes(tarball)
        (pool / f"{name}_{version}.dsc").write_text(f"Format: 3.0 (quilt)\nSource: {name}\nVersion: {version}\n")

    def _sources(self) -> str:
        """The index of source packages."""
        stanzas = []
        for dsc in sorted((self.root / "pool").glob("*.dsc")):
            name, _, version = dsc.stem.partition("_")
            lines = [f"Package: {name}", "Format: 3.0 (quilt)", f"Version: {version}", "Directory: pool", "Files:"]
            files = [dsc, *dsc.parent.glob(f"{name}_{version}.orig.tar.*")]
            lines += [f" {hashlib.md5(f.read_bytes()).hexdigest()} {f.stat().st_size} {f.name}" for f in files]
            lines += ["Checksums-Sha256:"]
            lines += [f" {hashlib.sha256(f.read_bytes()).hexdigest()} {f.stat().st_size} {f.name}" for f in files]
            stanzas.append("\n".join([*lines, ""]))
        return "\n".join(stanzas)

    def publish(self, *, sign: bool = True, key: str = "good") -> None:
        dist = self.root / "dists/testing"
        index = dist / f"main/binary-{self.archive.architecture}/Packages"
        index.parent.mkdir(parents=True, exist_ok=True)
        stanzas = []
        for deb in sorted((self.root / "pool").glob("*.deb")):
            control = subprocess.check_output(["dpkg-deb", "-f", str(deb)], text=True)
            digest = hashlib.sha256(deb.read_bytes()).hexdigest()
            stanzas.append(f"{control}Filename: pool/{deb.name}\nSize: {deb.stat().st_size}\nSHA256: {digest}\n")
        index.write_text("\n".join(stanzas))
        packed = index.with_suffix(".gz")
        packed.write_bytes(gzip.compress(index.read_bytes()))
        sources = dist / "main/source/Sources"
        sources.parent.mkdir(exist_ok=True)
        sources.write_text(self._sources())
        release = ["Origin: Debian", "Suite: testing", "Codename: testing", "Components: main"]
        release += [f"Architectures: {self.archive.architecture} all", f"Date: {formatdate(usegmt=True)}", "SHA256:"]
        for path in (index, packed, sources):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            release.append(f" {digest} {path.stat().st_size} {path.relative_to(dist)}")
        (dist / "Release").write_text("\n".join([*release, ""]))
        signed = dist / "InRelease"
        signed.unlink(missing_ok=True)
        if sign:
            user = ["--local-user", f"{key}@example.org"]
            gpg(self.gnupg, *user, "--output", str(signed), "--clearsign", str(dist / "Release"))


def gpg(home: Path, *arguments: str) -> None:
    options = ["--homedir", str(home), "--batch", "--yes", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]
    subprocess.run(["gpg", *options, *arguments], check=True, stderr=subprocess.DEVNULL)


@pytest.fixture(scope="session")
def gnupg() -> Iterator[Path]:
    """A GnuPG home with two keys; in a short path, because its agent's socket must fit in one."""
    if not shutil.which("gpg"):
        pytest.skip("gpg is needed to sign a test repository")
    home = Path(tempfile.mkdtemp(prefix="rc-gpg-"))
    for name in ("good", "bad"):
        gpg(home, "--quick-generate-key", f"{name}@example.org", "ed25519", "sign", "never")
    gpg(home, "--output", str(home / "good.gpg"), "--export", "good@example.org")
    yield home
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def repository(tmp_path: Path, gnupg: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """An empty repository that takes the place of the machine's archive."""
    if not HAS_APT:
        pytest.skip("apt and dpkg are needed")
    made = Repository(tmp_path / "repo", gnupg, gnupg / "good.gpg")
    made.root.mkdir()
    monkeypatch.setattr(apt_sources, "archive", lambda: made.archive)
    return made
