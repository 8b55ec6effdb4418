"""The cache: where it is, that entries appear whole or not at all, and that one process at a time fills it."""

from __future__ import annotations

import errno
import multiprocessing
import os
import subprocess
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from images import contents
from images.cache import Cache, DamagedError, Entry, Record, default_root
from images.errors import ImageError
from images.image import Provenance, sha256_of


def store(cache: Cache, name: str = "thing", digest: str = "d" * 64, spec: str = "s1", text: str = "data") -> Entry:
    with cache.lock(name), cache.staging(name) as staging:
        (staging / "file").write_text(text)
        (staging / "link").symlink_to("file")
        binary = Provenance(name="file", path="file", sha256=sha256_of(staging / "file"))
        return cache.finish(
            staging,
            Record(image=name, version="1", spec=spec, digest=digest, verified="yes", source={}, binaries=(binary,)),
        )


def test_root_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_root() == tmp_path / "realmcheck"
    for ignored in ("", "relative/path"):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        assert default_root() == tmp_path / "home/.cache/realmcheck"


def test_looking_creates_nothing(own_cache: Path) -> None:
    cache = Cache()
    assert cache.by_spec("thing", "s1") is None and cache.by_digest("thing", "d" * 64) is None
    cache.clean("thing")
    assert not own_cache.exists()


def test_stored_entry_is_found_by_spec_and_digest() -> None:
    cache = Cache()
    entry = store(cache)
    assert cache.by_spec("thing", "s1") == entry == cache.by_digest("thing", "d" * 64)
    assert cache.by_spec("thing", "another") is None
    assert entry.record.provided_at.endswith("+00:00")
    assert entry.binaries()[0].path == str(entry.path / "file")
    assert not list((cache.root / "work").iterdir())


def damage_entry(path: Path, damage: str) -> None:
    record = path / "provenance.json"
    match damage:
        case "content":
            (path / "file").write_text("date")
        case "gone":
            (path / "file").unlink()
        case "added":
            (path / "stray").touch()
        case "link":
            (path / "link").unlink()
            (path / "link").symlink_to("elsewhere")
        case "list":
            (path / "files.json").write_text("{}")
        case "record":
            record.write_text(record.read_text()[:100])
        case "format":
            record.write_text(record.read_text().replace('"format": 2', '"format": 3'))
        case "no record":
            record.unlink()
        case "another":
            record.write_text(record.read_text().replace("d" * 64, "e" * 64))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("content", "file has changed"),
        ("gone", "file is missing"),
        ("added", "stray does not belong there"),
        ("link", "link has changed"),
        ("list", "files.json has changed"),
        ("record", "provenance.json makes no sense"),
        ("format", "provenance.json makes no sense"),
        ("no record", "provenance.json is missing"),
        ("another", "provenance.json is another entry's"),
    ],
)
def test_damaged_entry_is_named_and_can_be_replaced(damage: str, message: str) -> None:
    cache = Cache()
    entry = store(cache)
    damage_entry(entry.path, damage)
    with pytest.raises(DamagedError, match=rf"thing in the cache is damaged: {message}; run 'realmcheck images prov"):
        cache.by_spec("thing", "s1")
    again = store(cache)
    assert cache.by_spec("thing", "s1") == again
    assert (again.path / "file").read_text() == "data"


@pytest.mark.parametrize("text", ["", '{"digest": ', "[]", '{"digest": "d", "spec": "s1"}'])
def test_unreadable_or_older_reference_stands_for_nothing(text: str) -> None:
    cache = Cache()
    store(cache)
    (cache.root / "refs/thing.json").write_text(text)
    assert cache.by_spec("thing", "s1") is None
    assert cache.by_spec("thing", "s1") is None and store(cache) == cache.by_spec("thing", "s1")


def test_unreadable_file_is_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> str:
        raise ImageError("cannot be read: Permission denied", where=str(path))

    cache = Cache()
    store(cache)
    monkeypatch.setattr(contents, "sha256_of", refuse)
    with pytest.raises(DamagedError, match="Permission denied"):
        cache.by_spec("thing", "s1")


def test_set_user_id_bits_do_not_get_into_the_cache(tmp_path: Path) -> None:
    program = tmp_path / "passwd"
    program.touch()
    program.chmod(0o6755)
    contents.write(tmp_path)
    assert program.stat().st_mode & 0o7777 == 0o755


def test_failure_while_building_leaves_nothing() -> None:
    cache = Cache()
    with pytest.raises(ValueError, match="stop"), cache.staging("thing") as staging:
        (staging / "half").touch()
        raise ValueError("stop")
    assert not list((cache.root / "work").iterdir()) and not (cache.root / "entries").exists()


def test_left_overs_of_a_killed_provider_are_removed() -> None:
    cache = Cache()
    left_over = cache.root / "work/thing.abc"
    left_over.mkdir(parents=True)
    with cache.staging("thing"):
        assert not left_over.exists()


def test_left_over_that_is_still_written_to_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache()
    left_over = cache.root / "work/thing.abc"
    left_over.mkdir(parents=True)

    def refilled(path: Path) -> None:
        raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(os, "rmdir", lambda path, **where: refilled(path))
        with cache.staging("thing"):
            assert left_over.exists()
    with cache.staging("thing"):
        assert not left_over.exists()


def _hold(cache: Cache, entered: Event, leave: Event) -> None:
    with cache.lock("thing"):
        entered.set()
        leave.wait(10)


def test_lock_excludes_another_process_and_dies_with_it() -> None:
    context = multiprocessing.get_context("fork")
    entered, leave = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(Cache(), entered, leave))
    holder.start()
    assert entered.wait(10)
    waiter_in, waiter_leave = context.Event(), context.Event()
    waiter = context.Process(target=_hold, args=(Cache(), waiter_in, waiter_leave))
    waiter.start()
    assert not waiter_in.wait(0.2)
    holder.kill()
    assert waiter_in.wait(10)
    waiter_leave.set()
    waiter.join(10)
    holder.join(10)


def test_child_that_inherits_the_lock_keeps_it() -> None:
    cache = Cache()
    with cache.lock("thing") as lock:
        child = subprocess.Popen(["sleep", "0.4"], pass_fds=(lock,))
    with cache.lock("thing"):
        assert child.poll() is not None or child.wait(0.2) == 0


def test_clean_removes_one_image_and_no_namesake() -> None:
    cache = Cache()
    store(cache, "qemu")
    kept = store(cache, "qemu-other")
    cache.clean("qemu")
    assert cache.by_spec("qemu", "s1") is None
    assert cache.by_spec("qemu-other", "s1") == kept


def test_clean_downloads() -> None:
    cache = Cache()
    (cache.apt_directory / "host-amd64/lists").mkdir(parents=True)
    cache.clean_downloads()
    assert not list(cache.apt_directory.iterdir())


def test_unusable_directory_is_one_clear_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(
        ImageError, match=r"cannot be written: .*; make the cache directory writable, or set XDG_CACHE_HOME"
    ):
        store(Cache())


def test_full_disk_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> int:
        raise OSError(28, os.strerror(28), "file")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(ImageError, match="no space left on the device; free"), Cache().staging("x") as staging:
        (staging / "f").write_text("x")
