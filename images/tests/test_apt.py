"""The private apt against small local repositories: what it accepts, what it refuses, and how it resumes."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from images import apt as apt_module
from images.apt import PrivateApt, Report
from images.errors import ImageError
from images.image import sha256_of
from images.tests.conftest import FakeTool, Repository


def private_apt(
    repository: Repository, root: Path, *, suite: str = "testing", report: Report = lambda *step: None, **changes: str
) -> PrivateApt:
    return PrivateApt(root, replace(repository.archive, **changes), (suite,), report, 0)


@pytest.fixture
def filled(repository: Repository) -> Repository:
    repository.add("tool", {"usr/bin/tool": "#!/bin/sh\n"}, depends="lib")
    repository.add("lib", {"usr/lib/lib": "x" * 20000})
    repository.publish()
    return repository


def test_signed_repository_gives_the_closure(filled: Repository, tmp_path: Path) -> None:
    apt = private_apt(filled, tmp_path / "apt")
    packages = {item.name: item for item in apt.fetch(["tool"], "testing")}
    assert packages.keys() == {"tool", "lib"}
    for item in packages.values():
        assert sha256_of(apt.debs / item.file) == item.sha256 == sha256_of(filled.root / "pool" / item.file)
        assert item.uri.startswith("file:") and item.version == "1.0"


def test_unsigned_repository_is_refused(filled: Repository, tmp_path: Path) -> None:
    filled.publish(sign=False)
    with pytest.raises(ImageError, match=r"signature was refused: .*is not signed.*debian-archive-keyring"):
        private_apt(filled, tmp_path / "apt").fetch(["tool"], "testing")


def test_wrongly_signed_repository_is_refused(filled: Repository, tmp_path: Path) -> None:
    filled.publish(key="bad")
    with pytest.raises(ImageError, match=r"signature was refused: .*NO_PUBKEY"):
        private_apt(filled, tmp_path / "apt").fetch(["tool"], "testing")


def test_repository_changed_after_signing_is_refused(filled: Repository, tmp_path: Path) -> None:
    signed = filled.root / "dists/testing/InRelease"
    signed.write_text(signed.read_text().replace("Origin: Debian", "Origin: Debiam"))
    with pytest.raises(ImageError, match="signature was refused"):
        private_apt(filled, tmp_path / "apt").fetch(["tool"], "testing")


def test_a_machine_that_trusts_unsigned_archives_changes_nothing(
    filled: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lax = tmp_path / "lax.conf"
    lax.write_text('Acquire::AllowInsecureRepositories "true"; APT::Get::AllowUnauthenticated "true";')
    monkeypatch.setenv("APT_CONFIG", str(lax))
    filled.publish(sign=False)
    with pytest.raises(ImageError, match="is not signed"):
        private_apt(filled, tmp_path / "apt").fetch(["tool"], "testing")


def test_package_that_differs_from_the_index_is_refused(filled: Repository, tmp_path: Path) -> None:
    deb = filled.root / "pool/lib_1.0_all.deb"
    deb.write_bytes(deb.read_bytes()[:-40])
    with pytest.raises(ImageError, match=r"\(3 attempts\); check the network") as caught:
        private_apt(filled, tmp_path / "apt").fetch(["tool"], "testing")
    assert "lib_1.0_all.deb" in str(caught.value)


def test_damaged_download_of_the_right_size_is_fetched_again(filled: Repository, tmp_path: Path) -> None:
    apt = private_apt(filled, tmp_path / "apt")
    item = apt.fetch(["lib"], "testing")[0]
    deb = apt.debs / item.file
    deb.write_bytes(bytes(deb.stat().st_size))
    apt.fetch(["lib"], "testing")
    assert sha256_of(deb) == item.sha256


def test_unknown_package_and_suite_are_named(filled: Repository, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="Unable to locate package nothing"):
        private_apt(filled, tmp_path / "apt").fetch(["nothing"], "testing")
    lost = private_apt(filled, tmp_path / "apt2", suite="elsewhere")
    with pytest.raises(ImageError, match="elsewhere"):
        lost.fetch(["tool"], "elsewhere")


def test_release_of_the_machine_must_be_known(filled: Repository, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="VERSION_CODENAME"):
        private_apt(filled, tmp_path, suite="host", codename="")


def test_full_disk_is_one_clear_line(filled: Repository, tmp_path: Path, fake_tool: FakeTool) -> None:
    fake_tool("apt-get", "echo 'E: Write error - write (28: No space left on device)' >&2; exit 100")
    with pytest.raises(ImageError, match=r"no space left on the device; free about .* MB there, or set XDG_CACHE_HOME"):
        private_apt(filled, tmp_path / "apt").fetch(["tool"], "testing")


def test_network_error_is_retried_then_named(filled: Repository, tmp_path: Path, fake_tool: FakeTool) -> None:
    fake_tool("apt-get", f"echo x >>{tmp_path}/calls; echo 'E: Failed to fetch: Could not resolve host' >&2; exit 100")
    with pytest.raises(ImageError, match=r"Could not resolve host \(3 attempts\); check the network and apt's proxy"):
        private_apt(filled, tmp_path / "apt").fetch(["tool"], "testing")
    assert (tmp_path / "calls").read_text().count("x") == 3


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("E: Failed to fetch http://m/InRelease 503 Busy\nE: The repository 'http://m t InRelease' is not signed.",
         r"Failed to fetch http://m/InRelease 503 Busy \(3 attempts\); check the network"),
        ("W: GPG error: http://m t InRelease: Sub-process /usr/bin/sqv returned an error code (1), error message is: "
         "Missing key 0123", r"signature was refused: .*Missing key 0123; bring .* up to date"),
        ("E: Release file for http://m/InRelease is expired (invalid since 9d 1h). Updates will not be applied",
         r"is expired \(invalid since 9d.*; check this machine's clock, or use a mirror that is up to date"),
        ("E: The repository 'http://m t Release' does not have a Release file.",
         r"does not have a Release file; use a mirror that carries testing"),
        ("E: Failed to fetch http://user:secret@m/x 404", r"Failed to fetch http://m/x 404"),
    ],
)  # fmt: skip
def test_what_apt_says_becomes_one_line_with_the_right_remedy(
    filled: Repository, tmp_path: Path, fake_tool: FakeTool, output: str, message: str
) -> None:
    fake_tool("apt-get", f"cat <<'END' >&2\n{output}\nEND\nexit 100")
    with pytest.raises(ImageError, match=message) as caught:
        private_apt(filled, tmp_path / "apt").fetch(["tool"], "testing")
    assert "\n" not in str(caught.value) and "secret" not in str(caught.value)


def test_apt_that_makes_no_progress_is_stopped(
    filled: Repository, tmp_path: Path, fake_tool: FakeTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apt_module, "STALLED", 0.2)
    fake_tool("apt-get", f"echo $$ >>{tmp_path}/pids; while echo dlstatus:1:15.8:x; do sleep 0.05; done")
    with pytest.raises(ImageError, match=r"reading the package lists: no progress for 0.2 s \(3 attempts\)"):
        private_apt(filled, tmp_path / "apt").fetch(["tool"], "testing")
    pids = (tmp_path / "pids").read_text().split()
    assert len(pids) == 3 and not any(Path("/proc", pid).exists() for pid in pids)


def test_password_of_the_mirror_is_private(filled: Repository, tmp_path: Path) -> None:
    apt = private_apt(filled, tmp_path / "apt", uri="http://user:secret@m/debian/")
    apt._write_configuration()
    assert "secret" in (apt.root / "realmcheck.sources").read_text()
    assert apt.root.stat().st_mode & 0o077 == 0
    line = f"'http://user:secret@m/debian/pool/a_1_all.deb' a_1_all.deb 5 SHA256:{'0' * 64}"
    assert apt._deb(*apt._parse_uri(line)).uri == "http://m/debian/pool/a_1_all.deb"


def test_trouble_while_resolving_is_one_clear_line(filled: Repository, tmp_path: Path, fake_tool: FakeTool) -> None:
    fake_tool("apt-get", "case $* in *--print-uris*) echo 'E: Could not open lock file' >&2; exit 100;; esac")
    with pytest.raises(ImageError, match="Could not open lock file"):
        private_apt(filled, tmp_path / "apt").fetch(["tool"], "testing")


def test_progress_comes_from_apts_status_lines(filled: Repository, tmp_path: Path) -> None:
    seen: list[tuple[str, float]] = []
    private_apt(filled, tmp_path / "apt", report=lambda *step: seen.append(step)).fetch(["tool"], "testing")
    assert "checking packages" in {what for what, _ in seen}
    assert all(0.0 <= fraction <= 1.0 for _, fraction in seen)


@contextmanager
def breaking_server(root: Path, broken: str) -> Iterator[tuple[int, list[str]]]:
    """Serve ``root``; the first answer for a path ending in ``broken`` stops half-way.  Yields port and ranges."""
    ranges: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        stopped = False

        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, directory=str(root), **kwargs)  # type: ignore[arg-type]

        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            path = Path(self.translate_path(self.path))
            if not path.is_file():
                return self.send_error(404)
            data = path.read_bytes()
            start = 0
            if path.name.endswith(broken) and (wanted := self.headers.get("Range")):
                ranges.append(wanted)
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(data) - start))
            self.send_header("Last-Modified", self.date_time_string(int(path.stat().st_mtime)))
            self.send_header("Accept-Ranges", "bytes")
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.end_headers()
            if path.name.endswith(broken) and not start and not Handler.stopped:
                Handler.stopped = True
                self.wfile.write(data[: len(data) // 2])
                self.close_connection = True
                return None
            self.wfile.write(data[start:])
            return None

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1], ranges
        server.shutdown()


def test_interrupted_download_is_continued(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    repository.add("big", {"usr/lib/big": "".join(str(hash(str(n))) for n in range(60000))})
    repository.publish()
    with breaking_server(repository.root, "big_1.0_all.deb") as (port, ranges):
        apt = private_apt(repository, tmp_path / "apt", uri=f"http://127.0.0.1:{port}/")
        item = apt.fetch(["big"], "testing")[0]
    assert sha256_of(apt.debs / item.file) == item.sha256
    assert ranges and int(ranges[0].removeprefix("bytes=").rstrip("-")) > 1000
