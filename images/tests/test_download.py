"""Downloads and archives against a loopback server: broken off, continued, changed, missing, redirected, hostile."""

from __future__ import annotations

import hashlib
import http.server
import io
import socket
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import images
from images import archive, catalogue, download
from images.cache import Cache
from images.catalogue import ArchiveSpec
from images.download import UnreachableError
from images.errors import ImageError
from images.image import sha256_of
from images.progress import Silent
from images.request import Request

FILE = bytes(range(256)) * 2000


def tar(**members: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:xz") as made:
        for name, data in members.items():
            info = tarfile.TarInfo(name.replace("__", "/"))
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    return packed.getvalue()


@dataclass
class Server:
    """Files by path, and how the server misbehaves; ``asked`` has (path, Range) of every request."""

    port: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    breaks: int = 0  # so many answers end half-way
    ranges: bool = True
    status: int = 0

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    state = Server()
    monkeypatch.setattr(download, "PAUSES", (0.0, 0.0))
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            state.asked.append((self.path, wanted))
            if state.status:
                return self.send_error(state.status)
            if self.path == "/moved":
                self.send_response(302)
                self.send_header("Location", "/file")
                return self.end_headers()
            if self.path not in state.files:
                return self.send_error(404)
            return self.answer(state.files[self.path], wanted)

        def answer(self, data: bytes, wanted: str) -> None:
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and state.ranges else 0
            if start >= len(data) > 0:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(data)}")
                return self.end_headers()
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            rest = data[start:]
            if state.breaks:
                state.breaks -= 1
                rest = rest[: len(rest) // 2]
            self.wfile.write(rest)
            return None

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        state.port = running.server_address[1]
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield state
        running.shutdown()
        thread.join()


def fetch(server: Server, target: Path, path: str = "/file", data: bytes = FILE) -> list[float]:
    seen: list[float] = []
    server.files.setdefault("/file", data)
    download.fetch(server.url(path), hashlib.sha256(data).hexdigest(), target, seen.append)
    return seen


def test_a_whole_download(server: Server, tmp_path: Path) -> None:
    seen = fetch(server, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == FILE and seen[-1] == 1.0
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_broken_download_is_continued(server: Server, tmp_path: Path) -> None:
    server.breaks = 2
    fetch(server, tmp_path / "x")
    half = len(FILE) // 2
    assert [wanted for _, wanted in server.asked] == ["", f"bytes={half}-", f"bytes={half + half // 2}-"]
    assert (tmp_path / "x").read_bytes() == FILE


def test_what_an_earlier_run_kept_is_continued(server: Server, tmp_path: Path) -> None:
    server.breaks = 3
    with pytest.raises(
        UnreachableError, match=r"broke off after \d+ of 512000 bytes \(3 attempts\); check the network"
    ):
        fetch(server, tmp_path / "x")
    kept = (tmp_path / "x.part").stat().st_size
    assert 0 < kept < len(FILE)
    fetch(server, tmp_path / "x")
    assert server.asked[-1] == ("/file", f"bytes={kept}-") and (tmp_path / "x").read_bytes() == FILE


def test_a_server_without_ranges_starts_again(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    server.breaks = 1
    fetch(server, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == FILE


def test_a_part_that_is_whole_already(server: Server, tmp_path: Path) -> None:
    (tmp_path / "x.part").write_bytes(FILE)
    fetch(server, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == FILE


def test_a_part_of_another_file_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / "x.part").write_bytes(FILE + b"more")
    fetch(server, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == FILE


def test_a_changed_file_is_refused(server: Server, tmp_path: Path) -> None:
    server.files["/file"] = FILE[:-1] + b"!"
    with pytest.raises(
        ImageError, match=r"/file: the file has sha256 [0-9a-f]+, not [0-9a-f]+; it was changed"
    ) as caught:
        fetch(server, tmp_path / "x")
    assert not isinstance(caught.value, UnreachableError) and not list(tmp_path.iterdir())


def test_a_missing_file_is_no_network_trouble(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"/absent: the server answers 404") as caught:
        fetch(server, tmp_path / "x", "/absent")
    assert not isinstance(caught.value, UnreachableError) and len(server.asked) == 1


def test_a_server_in_trouble_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.status = 503
    with pytest.raises(UnreachableError, match=r"the server answers 503 .*\(3 attempts\)"):
        fetch(server, tmp_path / "x")
    assert len(server.asked) == 3


def test_a_redirection_is_followed(server: Server, tmp_path: Path) -> None:
    fetch(server, tmp_path / "x", "/moved")
    assert [path for path, _ in server.asked] == ["/moved", "/file"] and (tmp_path / "x").read_bytes() == FILE


def test_nobody_there(server: Server, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        server.port = unused.getsockname()[1]
    with pytest.raises(UnreachableError, match=r"cannot be downloaded: .*refused.* \(3 attempts\)"):
        fetch(server, tmp_path / "x")


GOOD = tar(out__flash=b"f", out__Image=b"k")


def spec(server: Server, data: bytes = GOOD, members: tuple[str, ...] = ("out/flash", "out/Image")) -> ArchiveSpec:
    server.files["/a.tar.xz"] = data
    return ArchiveSpec(
        name="sample",
        kind="archive",
        summary="",
        environment="REALMCHECK_SAMPLE",
        url=server.url("/a.tar.xz"),
        sha256=hashlib.sha256(data).hexdigest(),
        members=members,
    )


def request(*, offline: bool = False) -> Request:
    return Request(Cache(), offline, Silent())


def test_an_archive_is_unpacked_once(server: Server, own_cache: Path) -> None:
    made = archive.provide(spec(server), request())
    assert (made.path / "out/flash").read_bytes() == b"f"
    assert {item.name: item.sha256 for item in made.provenance}["out/Image"] == hashlib.sha256(b"k").hexdigest()
    again = archive.provide(spec(server), request(offline=True))
    assert again.path == made.path and len(server.asked) == 1
    assert not list((own_cache / "downloads").iterdir())


def test_a_damaged_archive_is_noticed_and_replaced(server: Server, own_cache: Path) -> None:
    made = archive.provide(spec(server), request())
    (made.path / "out/flash").write_bytes(b"g")
    with pytest.raises(ImageError, match=r"image sample in the cache is damaged: content/out/flash has changed"):
        archive.provide(spec(server), request(offline=True))
    assert (archive.provide(spec(server), request()).path / "out/flash").read_bytes() == b"f"


@pytest.mark.parametrize(
    ("data", "members", "message"),
    [
        (tar(**{"..__evil": b"x"}), (), r"cannot be unpacked: .*outside the destination"),
        (tar(__etc__evil=b"x"), ("etc/evil",), ""),
        (b"no archive at all", (), r"cannot be unpacked: .*"),
        (GOOD[: len(GOOD) // 2], (), r"cannot be unpacked: .*"),
        (GOOD, ("out/flash", "out/host.ext4"), r"content: there is no out/host.ext4; check the catalogue's members"),
    ],
    ids=["upwards", "absolute", "no-archive", "cut-off", "member"],
)
def test_what_an_archive_may_not_do(
    server: Server, own_cache: Path, tmp_path: Path, data: bytes, members: tuple[str, ...], message: str
) -> None:
    before = {path for path in tmp_path.rglob("*") if own_cache not in path.parents}
    if message:
        with pytest.raises(ImageError, match=message) as caught:
            archive.provide(spec(server, data, members), request())
        assert "\n" not in str(caught.value)
        assert not list((own_cache / "entries").glob("*")) and not list((own_cache / "work").glob("*"))
    else:
        made = archive.provide(spec(server, data, members), request())  # an absolute path is taken as a relative one
        assert (made.path / members[0]).is_file()
    after = {path for path in tmp_path.rglob("*") if own_cache not in path.parents}
    assert {path for path in after - before if path.is_file()} == set() and not Path("/etc/evil").exists()


def test_without_a_network_it_says_so(server: Server, own_cache: Path) -> None:
    with pytest.raises(UnreachableError, match="image sample is not in the cache and the network is not to be used"):
        archive.provide(spec(server), request(offline=True))
    assert not server.asked


def test_the_users_own_copy(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "mine"
    (mine / "out").mkdir(parents=True)
    (mine / "out/flash").write_bytes(b"own")
    with pytest.raises(ImageError, match=r"mine: there is no out/Image"):
        archive.own(spec(server), str(mine))
    (mine / "out/Image").write_bytes(b"k")
    made = archive.own(spec(server), str(mine))
    assert (made.path, made.origin) == (mine, "user")
    assert made.provenance[0].sha256 == sha256_of(mine / "out/flash")
    shipped = catalogue.spec("qemu-rme-stack")
    assert isinstance(shipped, ArchiveSpec)
    monkeypatch.setenv(shipped.environment, str(mine))
    with pytest.raises(ImageError, match=r"there is no out/flash.bin"):
        images.provide("qemu-rme-stack")
