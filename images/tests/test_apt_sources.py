"""Finding the machine's archive in apt's configuration, whichever way it is written; and machines that have none."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from images import apt_sources
from images.errors import ImageError
from images.tests.conftest import FakeTool, Repository

DEBIAN = 'ID=debian\nVERSION_CODENAME=bookworm\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n'

Machine = Callable[..., None]


@pytest.fixture
def machine(tmp_path: Path, fake_tool: FakeTool, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """``machine(os_release, targets)``: a machine whose apt lists these index targets."""

    def make(os_release: str, *targets: str) -> None:
        (tmp_path / "os-release").write_text(os_release)
        monkeypatch.setattr(apt_sources, "OS_RELEASE", tmp_path / "os-release")
        monkeypatch.setattr(apt_sources, "KEYRINGS", (tmp_path / "default.gpg",))
        (tmp_path / "default.gpg").touch()
        lines = "\n".join(target.replace("@/", f"{tmp_path}/") for target in targets)
        fake_tool("apt-get", f"cat <<'END'\n{lines}\nEND")
        fake_tool("apt-config", "exit 0")
        fake_tool("dpkg", "echo amd64")
        fake_tool("dpkg-deb", "exit 0")

    return make


def test_deb822_source(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "debian.sources").write_text(
        "# ours\nTypes: deb\nURIs: http://mirror.example/security\nSuites: bookworm-security\nSigned-By: /no.gpg\n\n"
        "Types: deb deb-src\nURIs: http://other.example/debian http://mirror.example/debian\n"
        "Suites: bookworm bookworm-updates\nComponents: main\nSigned-By: /keys/debian.gpg\n"
    )
    machine(
        DEBIAN,
        "@/debian.sources:1|http://mirror.example/debian-security/|bookworm|main|Debian|Packages",
        "@/debian.sources:1|http://mirror.example/security/|bookworm-security|main|Debian|Packages",
        "@/debian.sources:2|http://mirror.example/debian/|bookworm-updates|main|Debian|Packages",
        "@/debian.sources:2|http://mirror.example/debian/|bookworm|contrib|Debian|Packages",
        "@/debian.sources:2|http://mirror.example/debian/|bookworm|main|Debian|Packages",
    )
    found = apt_sources.archive()
    assert found == apt_sources.Archive("http://mirror.example/debian/", "/keys/debian.gpg", "bookworm", "amd64")
    assert found.keyring == "/keys/debian.gpg"


def test_inline_key_is_kept_as_written(machine: Machine, tmp_path: Path) -> None:
    key = " -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINBF\n -----END PGP PUBLIC KEY BLOCK-----"
    (tmp_path / "debian.sources").write_text(
        f"Types: deb\nURIs: http://m/debian/\nSuites: bookworm\nComponents: main\nSigned-By:\n{key}\n"
    )
    machine(DEBIAN, "@/debian.sources:1|http://m/debian/|bookworm|main|Debian|Packages")
    found = apt_sources.archive()
    assert found.signed_by == f"\n{key}"
    assert "inline" in found.keyring


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("deb http://m/debian bookworm main", "default"),
        ("deb [arch=amd64 signed-by=/a.gpg,/b.gpg] http://m/debian bookworm main", "/a.gpg /b.gpg"),
        ("deb [ signed-by=/a.gpg trusted=yes ] http://m/debian/ bookworm main", "/a.gpg"),
        ("deb [signed-by=0123456789ABCDEF] http://m/debian bookworm main", "default"),
        ("# deb [signed-by=/no.gpg] http://m/debian bookworm main", "default"),
    ],
)
def test_one_line_source(machine: Machine, tmp_path: Path, line: str, expected: str) -> None:
    (tmp_path / "sources.list").write_text(f"deb [signed-by=/x.gpg] http://x/other stable main\n{line}\n")
    machine(DEBIAN, "@/sources.list:2|http://m/debian/|bookworm|main|$(ORIGIN)|Packages")
    signed_by = apt_sources.archive().signed_by
    assert signed_by == (str(tmp_path / "default.gpg") if expected == "default" else expected)


def test_looking_writes_nothing_into_the_machines_apt(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.add("tool", {"usr/bin/tool": "x"})
    repository.publish()
    (tmp_path / "sources.list").write_text(f"deb [signed-by={repository.key}] file:{repository.root} testing main\n")
    (tmp_path / "apt/lists/partial").mkdir(parents=True)
    (tmp_path / "apt/status").touch()
    (tmp_path / "apt.conf").write_text(
        f'Dir::Etc::parts "/dev/null"; Dir::Etc::sourceparts "/dev/null"; Dir::Cache "{tmp_path}/apt";'
        f'Dir::Etc::sourcelist "{tmp_path}/sources.list"; Dir::State "{tmp_path}/apt";'
        f'Dir::State::status "{tmp_path}/apt/status"; APT::Sandbox::User "root";'
    )
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    subprocess.run(["apt-get", "-qq", "update"], check=True)
    for name in ("pkgcache.bin", "srcpkgcache.bin"):
        (tmp_path / "apt" / name).unlink(missing_ok=True)
    before = set((tmp_path / "apt").rglob("*"))
    targets = apt_sources._index_targets()
    assert (targets[0].uri, targets[0].origin) == (f"file:{repository.root}/", "Debian")
    assert set((tmp_path / "apt").rglob("*")) == before


def test_foreign_origin_is_no_debian_archive(machine: Machine) -> None:
    machine('ID=ubuntu\nPRETTY_NAME="Ubuntu 24.04"\n', "@/s.list:1|http://m/ubuntu/|noble|main|Ubuntu|Packages",
            "@/s.list:1|http://m/ubuntu/|noble|main|$(ORIGIN)|Packages")  # fmt: skip
    with pytest.raises(
        ImageError, match=r"\(Ubuntu 24.04\) has no apt source .* --qemu or REALMCHECK_QEMU.*REALMCHECK_CC"
    ):
        apt_sources.archive()


def test_debians_archive_is_found_among_others_before_the_first_update(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "z.sources").write_text(
        "Types: deb\nEnabled: no\nURIs: http://d/mirror\nSuites: bookworm\nSigned-By: /old.gpg\n\n"
        "Types: deb\nURIs: http://d/mirror\nSuites: bookworm\nSigned-By: /k/debian-archive-keyring.gpg\n"
    )
    machine(
        DEBIAN,
        "@/a.list:1|cdrom:[Debian 12]/|bookworm|main|Debian|Packages",
        "@/a.list:2|http://vendor/debian/12/prod/|bookworm|main|$(ORIGIN)|Packages",
        "@/a.list:3|http://vendor/repo/|nodistro|main|$(ORIGIN)|Packages",
        "@/z.sources:2|http://d/mirror/|bookworm|main|$(ORIGIN)|Packages",
    )
    found = apt_sources.archive()
    assert found.uri == "http://d/mirror/" and found.signed_by == "/k/debian-archive-keyring.gpg"


def test_mirror_list_is_kept_and_a_password_is_not_shown(machine: Machine) -> None:
    machine(DEBIAN, "@/a.list:1|mirror+file:/etc/apt/mirrors.txt/|bookworm|main|Debian|Packages")
    assert apt_sources.archive().public_uri == "mirror+file:/etc/apt/mirrors.txt/"
    machine(DEBIAN, "@/a.list:1|https://user:secret@m/debian/|bookworm|main|Debian|Packages")
    found = apt_sources.archive()
    assert found.uri == "https://user:secret@m/debian/" and found.public_uri == "https://m/debian/"


def test_machine_without_apt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ImageError, match=r"no apt-get, apt-config, dpkg, dpkg-deb; .*REALMCHECK_QEMU.*REALMCHECK_CC"):
        apt_sources.archive()


def test_machine_without_os_release(machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine(DEBIAN)
    monkeypatch.setattr(apt_sources, "OS_RELEASE", tmp_path / "absent")
    with pytest.raises(ImageError, match=r"not Debian-like: no .*absent; .*REALMCHECK_QEMU"):
        apt_sources.archive()
