"""The private cache: the only place this project writes to outside its results.

::

    ROOT = $XDG_CACHE_HOME/realmcheck or ~/.cache/realmcheck
    ROOT/entries/NAME-DIGEST/   finished images, addressed by content, never changed; provenance.json says what each is,
                                files.json what every file in it is
    ROOT/refs/NAME.json         which entry stands for a catalogue entry, and the spec it was made for
    ROOT/locks/NAME.lock        one provider at a time, per image
    ROOT/work/NAME.*/           what is being built; renamed into entries/ when finished
    ROOT/downloads/             archives that are being downloaded, with .part appended while they are not whole
    ROOT/apt/                   private state and partial downloads of apt: what lets a broken run resume
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from images import contents
from images.errors import ImageError
from images.image import Provenance
from images.tools import file_error

FORMAT: Final = 2  # of provenance.json; part of every content address, so that no version reads another's entries
_PROVENANCE: Final = "provenance.json"


def default_root() -> Path:
    """``$XDG_CACHE_HOME/realmcheck``, else ``~/.cache/realmcheck``; XDG says to ignore a relative one."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if Path(base).is_absolute():
        return Path(base) / "realmcheck"
    try:
        return Path.home() / ".cache" / "realmcheck"
    except RuntimeError as error:
        raise ImageError("there is no home directory", remedy="set XDG_CACHE_HOME") from error


@dataclass(frozen=True, kw_only=True)
class Record:
    """What ``provenance.json`` says of an entry.

    ``binaries`` have paths relative to the entry, ``packages`` name the .deb files they were; ``verified`` tells in
    words how the content was checked and ``source`` where it came from.  ``files`` is the sha256 of the list of all
    files and ``provided_at`` the time in UTC: both are filled in when the entry is finished.
    """

    image: str
    version: str
    spec: str
    digest: str
    verified: str
    source: Mapping[str, str]
    binaries: tuple[Provenance, ...]
    packages: tuple[Provenance, ...] = ()
    files: str = ""
    provided_at: str = ""

    def to_json(self) -> str:
        """The file's text."""
        listed = {key: [vars(item) for item in getattr(self, key)] for key in ("binaries", "packages")}
        return json.dumps({"format": FORMAT, **vars(self), "source": dict(self.source), **listed}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Record:
        """The record in ``text``; ValueError, KeyError or TypeError when it is none."""
        data = json.loads(text)
        if data.pop("format") != FORMAT:
            raise ValueError("another format")
        for key in ("binaries", "packages"):
            data[key] = tuple(Provenance(**item) for item in data[key])
        return cls(**data)


@dataclass(frozen=True)
class Entry:
    """A finished image in the cache: its directory and its record."""

    path: Path
    record: Record

    def binaries(self) -> tuple[Provenance, ...]:
        """The main binaries with absolute paths."""
        return tuple(Provenance(**{**vars(item), "path": str(self.path / item.path)}) for item in self.record.binaries)

    def damage(self) -> str:
        """What is no longer as it was when the entry was made, in words; empty when every file still is."""
        return contents.difference(self.path, self.record.files, _PROVENANCE)


class DamagedError(ImageError):
    """An entry of the cache is not what was stored there; providing the image again replaces it."""

    def __init__(self, name: str, path: Path, what: str) -> None:
        super().__init__(
            f"image {name} in the cache is damaged: {what}",
            where=str(path),
            remedy=f"run 'realmcheck images provide {name}' to replace it",
        )


class Cache:
    """The cache below one root directory; nothing is created before something is stored."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or default_root()

    @property
    def download_directory(self) -> Path:
        """Where downloads that are under way live."""
        return self.root / "downloads"

    @property
    def apt_directory(self) -> Path:
        """Where private apt states live."""
        return self.root / "apt"

    def _entry_path(self, name: str, digest: str) -> Path:
        return self.root / "entries" / f"{name}-{digest[:20]}"

    def by_digest(self, name: str, digest: str) -> Entry | None:
        """The entry with this content address, every file compared, or None; DamagedError when it has changed."""
        path = self._entry_path(name, digest)
        try:
            record = Record.from_json((path / _PROVENANCE).read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            if path.is_dir():
                raise DamagedError(name, path, f"{_PROVENANCE} is missing") from None
            return None
        except OSError as error:
            raise DamagedError(name, path, f"{_PROVENANCE} cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedError(name, path, f"{_PROVENANCE} makes no sense") from error
        entry = Entry(path, record)
        if record.digest != digest:
            raise DamagedError(name, path, f"{_PROVENANCE} is another entry's")
        if damage := entry.damage():
            raise DamagedError(name, path, damage)
        return entry

    def by_spec(self, name: str, spec: str) -> Entry | None:
        """The entry that stands for a catalogue entry, or None when none was made for this ``spec``.

        DamagedError when it has changed.
        """
        try:
            reference = json.loads((self.root / "refs" / f"{name}.json").read_text(encoding="utf-8"))
            wanted, digest = (reference["format"], reference["spec"]), reference["digest"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return self.by_digest(name, str(digest)) if wanted == (FORMAT, spec) else None

    @contextmanager
    def lock(self, name: str) -> Iterator[int]:
        """Hold the image's lock, waiting for another process that has it; released even when this process is killed.

        Yields the lock's file descriptor: a child that inherits it keeps the lock for as long as it lives.
        """
        path = self.root / "locks" / f"{name}.lock"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise file_error(error, path) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def staging(self, name: str) -> Iterator[Path]:
        """An empty directory on the cache's file system, removed on exit unless ``finish`` took it.

        Call with the image's lock held: left-overs of providers that were killed are removed first.  What cannot be
        removed, because a tool that outlived its provider still writes there, waits for the next time.
        """
        work = self.root / "work"
        try:
            work.mkdir(parents=True, exist_ok=True)
            for left_over in work.glob(f"{name}.*"):
                shutil.rmtree(left_over, ignore_errors=True)
            directory = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=work))
        except OSError as error:
            raise file_error(error, work) from error
        try:
            yield directory
        except OSError as error:
            raise file_error(error, directory) from error
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def finish(self, staging: Path, record: Record) -> Entry:
        """Turn a staging directory into the entry of its content address, atomically, and point the image at it.

        A damaged entry of the same address is replaced.
        """
        path = self._entry_path(record.image, record.digest)
        try:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            stamped = replace(record, files=contents.write(staging), provided_at=now)
            (staging / _PROVENANCE).write_text(stamped.to_json(), encoding="utf-8")
            path.parent.mkdir(parents=True, exist_ok=True)
            existing = self._sound(record.image, record.digest)
            if existing is None:
                if path.exists():
                    shutil.rmtree(path)
                staging.rename(path)
            self._refer(record)
        except OSError as error:
            raise file_error(error, path) from error
        return existing or Entry(path, stamped)

    def _sound(self, name: str, digest: str) -> Entry | None:
        try:
            return self.by_digest(name, digest)
        except DamagedError:
            return None

    def _refer(self, record: Record) -> None:
        refs = self.root / "refs"
        refs.mkdir(parents=True, exist_ok=True)
        fresh = refs / f".{record.image}.json"  # the lock is held: nobody else writes it, and no left-overs pile up
        reference = {"format": FORMAT, "digest": record.digest, "spec": record.spec}
        fresh.write_text(json.dumps(reference), encoding="utf-8")
        fresh.replace(refs / f"{record.image}.json")

    def clean(self, name: str) -> None:
        """Remove every entry of one image, after waiting for whoever is providing it."""
        if not self.root.exists():
            return
        with self.lock(name):
            with suppress(FileNotFoundError):
                (self.root / "refs" / f"{name}.json").unlink()
            stale = [path for path in (self.root / "entries").glob(f"{name}-*") if _belongs(path, name)]
            for path in [*stale, *(self.root / "work").glob(f"{name}.*")]:
                try:
                    shutil.rmtree(path)
                except OSError as error:
                    raise file_error(error, path) from error

    def clean_downloads(self) -> None:
        """Remove apt's private state, after waiting for whoever is using it, and downloads that broke off."""
        shutil.rmtree(self.download_directory, ignore_errors=True)
        for path in sorted(self.apt_directory.glob("*")):
            with self.lock(f"apt-{path.name}"):
                shutil.rmtree(path, ignore_errors=True)


def _belongs(path: Path, name: str) -> bool:
    return path.name.removeprefix(f"{name}-").isalnum()
