"""Downloading a package and all it needs, or a source package, with a private apt: the machine's archive and keys.

It runs as an ordinary user and touches nothing of the machine's apt.  apt itself checks the archive's signature and
the hashes; the sha256 of every file is computed here once more and compared with the signed index.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
import urllib.parse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from images import tools
from images.apt_sources import Archive, without_password
from images.catalogue import HOST_SUITE
from images.errors import ImageError
from images.image import sha256_of

PAUSES: Final = (1.0, 4.0)  # seconds before each further attempt
STALLED: Final = 120.0  # seconds without progress after which apt is stopped: its mirror method can wait for ever
_REFUSED: Final = (  # gpgv's words, then those of apt 3's sqv
    "NO_PUBKEY", "BADSIG", "EXPKEYSIG", "REVKEYSIG", "invalid signature", "GPG error", "Clearsigned file isn't valid",
    "Missing key", "sqv returned an error code",
)  # fmt: skip
_UNSIGNED: Final = (  # also said when the signed file could not be fetched
    "no longer signed", "is not signed", "unauthenticated", "be authenticated", "be verified",
)  # fmt: skip
_DATED: Final = ("is not valid yet", "is expired", "invalid since", "invalid for another")
_ABSENT: Final = (
    "Unable to locate package", "Unable to find a source package", "no installation candidate",
    "unmet dependencies", "does not have a Release file", "held broken packages",
)  # fmt: skip
_COPIED_SETTINGS: Final = re.compile(
    r"Acquire::(?:https?|ftp|mirror|tor|Check-|Max-|Force|Retries|Queue|Send)", re.IGNORECASE
)
_STATUS: Final = re.compile(r"dlstatus:[^:]*:([\d.]+)")
_FULL: Final = 1 << 20  # bytes left when apt stops on a full disk without saying so
T = TypeVar("T")
Report = Callable[[str, float], None]


@dataclass(frozen=True)
class Package:
    """One .deb or file of a source package as the signed index has it; ``size`` in bytes, ``sha256`` in hex."""

    name: str
    version: str
    architecture: str
    file: str
    uri: str
    size: int
    sha256: str


class PrivateApt:
    """apt below ``root``, taking packages from ``suites`` of ``archive``.

    Call with the lock of ``root`` held; apt inherits its descriptor ``lock``, so that an apt that outlives this
    process is waited for.  ``report`` receives (what, fraction) while apt works.
    """

    def __init__(self, root: Path, archive: Archive, suites: Sequence[str], report: Report, lock: int) -> None:
        self.root = root
        self.archive = archive
        self.suites = tuple(self._suite(name) for name in suites)
        self.debs = root / "archives"
        self._report = report
        self._lock = lock
        self._config = root / "apt.conf"

    def _suite(self, name: str) -> str:
        if name != HOST_SUITE:
            return name
        if not self.archive.codename:
            raise ImageError("os-release has no VERSION_CODENAME, so the machine's release is unknown")
        return self.archive.codename

    def fetch(self, names: Sequence[str], target: str, only: Sequence[str] = ()) -> list[Package]:
        """Download the packages ``names`` with all they depend on into ``debs``, preferring the suite ``target``.

        With ``only``, patterns of whole names, just those of them.  An interrupted download is continued, network
        errors are retried.  ImageError for the rest.
        """
        try:
            self._write_configuration()
            self._retried(self._update)
            wanted = self._retried(lambda: self._resolve(names, self._suite(target)))
            if only:
                wanted = self._selected(wanted, only)
                self._retried(lambda: self._download_alone(wanted))
            else:
                self._retried(lambda: self._download(names, self._suite(target), wanted))
        except OSError as error:
            raise tools.file_error(error, self.root) from error
        return wanted

    def fetch_source(self, name: str) -> list[Package]:
        """Download the files of the source package ``name`` into ``debs``: its .dsc and what that names.

        As ``fetch``; nothing is unpacked, so that apt needs no further tools.
        """
        try:
            self._write_configuration("deb-src")
            self._retried(self._update)
            wanted = self._retried(lambda: self._resolve_source(name))
            self._retried(lambda: self._download_source(name, wanted))
        except OSError as error:
            raise tools.file_error(error, self.root) from error
        return wanted

    def _write_configuration(self, kind: str = "deb") -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o700)  # its sources may hold a mirror's password
        for directory in ("lists/partial", "archives/partial", "empty/partial", "log", "tmp"):
            (self.root / directory).mkdir(parents=True, exist_ok=True)
        (self.root / "status").touch()
        (self.root / "realmcheck.sources").write_text(self._sources(kind), encoding="utf-8")
        settings = {
            "Dir::State": self.root,
            "Dir::State::lists": self.root / "lists",
            "Dir::State::status": self.root / "status",
            "Dir::State::extended_states": self.root / "extended_states",
            "Dir::Cache": self.root,
            "Dir::Cache::archives": self.debs,
            "Dir::Log": self.root / "log",
            "Dir::Etc::main": "/dev/null",
            "Dir::Etc::parts": "/dev/null",
            "Dir::Etc::sourcelist": self.root / "realmcheck.sources",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "APT::Architecture": self.archive.architecture,
            "APT::Architectures": self.archive.architecture,
            "APT::Install-Recommends": "false",
            "APT::Install-Suggests": "false",
            "APT::Get::AllowUnauthenticated": "false",
            "APT::Update::Error-Mode": "any",
            "Acquire::AllowInsecureRepositories": "false",
            "Acquire::AllowWeakRepositories": "false",
            "Acquire::AllowDowngradeToInsecureRepositories": "false",
            "Acquire::Languages": "none",
            "Acquire::GzipIndexes": "true",
            "Acquire::Retries": "2",
        }
        if os.geteuid() == 0:
            # root's cache directory is closed to the user that apt would otherwise become for downloads
            settings["APT::Sandbox::User"] = "root"
        lines = [f'{key} "{value}";' for key, value in settings.items()]
        self._config.write_text("\n".join(lines + self._machine_settings()) + "\n", encoding="utf-8")

    def _sources(self, kind: str) -> str:
        # copy: instead of file: makes apt put the packages of a local mirror where all others are put
        uri = re.sub(r"^file:", "copy:", self.archive.uri)
        fields = [f"Types: {kind}", f"URIs: {uri}", f"Suites: {' '.join(self.suites)}", "Components: main"]
        if self.archive.signed_by:
            fields.append(f"Signed-By: {self.archive.signed_by}")
        return "\n".join(fields) + "\n"

    @staticmethod
    def _machine_settings() -> list[str]:
        """How the machine reaches its mirror (proxies, time-outs, checks), without its hooks and preferences."""
        dump = tools.run(["apt-config", "dump"]).stdout
        return [line for line in dump.splitlines() if _COPIED_SETTINGS.match(line) and not line.endswith(' "";')]

    def _update(self) -> None:
        self._apt("reading the package lists", "update")

    def _install_arguments(self, names: Sequence[str], target: str) -> list[str]:
        return ["install", "--yes", "--no-install-recommends", "--target-release", target, *names]

    def _resolve(self, names: Sequence[str], target: str) -> list[Package]:
        """The closure of ``names`` as apt resolves it for a machine with nothing installed."""
        # an empty archive directory, because packages that are there already would not be listed; the hash is named,
        # because the default of --print-uris is MD5 (what apt checks when it downloads is not affected)
        options = ["-o", f"Dir::Cache::archives={self.root / 'empty'}", "-o", "Acquire::ForceHash=SHA256"]
        arguments = ["apt-get", "-qq", "--print-uris", *options, *self._install_arguments(names, target)]
        return [self._deb(*self._parse_uri(line)) for line in self._printed_uris(arguments)]

    def _resolve_source(self, name: str) -> list[Package]:
        """The files of a source package; the version is the one in its .dsc's name."""
        options = ["--print-uris", "--only-source", "-o", "Acquire::ForceHash=SHA256"]
        files = [self._parse_uri(line) for line in self._printed_uris(["apt-get", "-qq", *options, "source", name])]
        versions = [file.removesuffix(".dsc").partition("_")[2] for _, file, _, _ in files if file.endswith(".dsc")]
        if len(versions) != 1:
            raise ImageError(f"apt names {len(versions)} .dsc files for {name}", where=self.archive.public_uri)
        return [Package(name, versions[0], "source", file, uri, size, digest) for uri, file, size, digest in files]

    def _printed_uris(self, arguments: Sequence[str]) -> list[str]:
        result = tools.run(arguments, env=self._environment())
        if result.returncode != 0:
            raise self._failure(result.stderr)
        return [line for line in result.stdout.splitlines() if line.startswith("'")]

    def _parse_uri(self, line: str) -> tuple[str, str, int, str]:
        """(URI, file, size, sha256) of a line of ``--print-uris``."""
        found = re.match(r"'([^']+)' (\S+) (\d+) SHA256:([0-9a-f]{64})$", line.strip())
        if not found:
            raise ImageError(f"apt gives no sha256 in: {line}", where=self.archive.public_uri)
        uri, file, size, digest = found.groups()
        return re.sub("^copy:", "file:", without_password(uri)), file, int(size), digest

    @staticmethod
    def _deb(uri: str, file: str, size: int, digest: str) -> Package:
        name, version, architecture = urllib.parse.unquote(file.removesuffix(".deb")).split("_")
        return Package(name, version, architecture, file, uri, size, digest)

    def _download(self, names: Sequence[str], target: str, wanted: Sequence[Package]) -> None:
        self._apt("downloading", "--download-only", *self._install_arguments(names, target))
        self._compare(wanted)

    def _selected(self, packages: Sequence[Package], only: Sequence[str]) -> list[Package]:
        for pattern in only:
            if not any(re.fullmatch(pattern, item.name) for item in packages):
                raise ImageError(f"no package of the closure is named {pattern}", where=self.archive.public_uri)
        return [item for item in packages if any(re.fullmatch(pattern, item.name) for pattern in only)]

    def _download_alone(self, wanted: Sequence[Package]) -> None:
        # without their dependencies, into the directory that apt is started in
        missing = [item for item in wanted if not (self.debs / item.file).is_file()]
        if missing:
            self._apt("downloading", "download", *(f"{item.name}={item.version}" for item in missing))
        self._compare(wanted)

    def _download_source(self, name: str, wanted: Sequence[Package]) -> None:
        # apt puts sources into the directory that it is started in
        self._apt("downloading", "--download-only", "--only-source", "source", f"{name}={wanted[0].version}")
        self._compare(wanted)

    def _compare(self, wanted: Sequence[Package]) -> None:
        """Every file against the signed index; one that differs is removed, and the download worth another attempt."""
        for index, item in enumerate(wanted):
            path = self.debs / item.file
            self._report("checking packages", index / len(wanted))
            if not path.is_file():
                raise _TryAgain(f"apt did not download {item.file}")
            if sha256_of(path) != item.sha256:
                path.unlink()
                raise _TryAgain(f"{item.file} is not what the signed index says (sha256 differs)")

    def _retried(self, action: Callable[[], T]) -> T:
        for pause in PAUSES:
            try:
                return action()
            except _TryAgain:
                time.sleep(pause)
        try:
            return action()
        except _TryAgain as error:
            raise ImageError(
                f"{error} ({len(PAUSES) + 1} attempts)",
                where=self.archive.public_uri,
                remedy="check the network and apt's proxy, then run again: what was downloaded is kept",
            ) from error

    def _environment(self) -> dict[str, str]:
        own = {"APT_CONFIG": str(self._config), "TMPDIR": str(self.root / "tmp"), "LC_ALL": "C"}
        return {**os.environ, **own, "DEBIAN_FRONTEND": "noninteractive"}

    def _apt(self, what: str, *arguments: str) -> None:
        """Run apt-get, reporting its status lines as they come."""
        # One pipe for status and messages, and no log file: on a full disk a log would lose the very reason.
        process = subprocess.Popen(
            ["apt-get", "-qq", "-o", "APT::Status-Fd=1", *arguments],
            env=self._environment(),
            cwd=self.debs,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(self._lock,),
            encoding="utf-8",
            errors="replace",
        )
        messages = []
        last, since = "", time.monotonic()
        assert process.stdout is not None
        with process:
            try:
                for line in process.stdout:  # apt tells how far it is twice a second, also when nothing moves
                    found = _STATUS.match(line)
                    if not found:
                        messages.append(line)
                    elif found[1] != last:
                        last, since = found[1], time.monotonic()
                        self._report(what, float(last) / 100)
                    elif time.monotonic() - since > STALLED:
                        raise _TryAgain(f"{what}: no progress for {STALLED:g} s")
            except BaseException:
                process.terminate()
                raise
        if process.returncode != 0:
            raise self._failure("".join(messages))

    def _failure(self, output: str) -> Exception:
        """The error that apt's output stands for; network trouble is the one kind that is worth another attempt."""
        if tools.is_no_space(output) or shutil.disk_usage(self.root).free < _FULL:
            return tools.no_space(self.root)
        output = without_password(output)
        signature = _REFUSED if "Failed to fetch" in output else (*_REFUSED, *_UNSIGNED)
        if found := _line_with(output, signature):
            return self._error(
                f"the archive's signature was refused: {found}",
                f"bring {self.archive.keyring} up to date (package debian-archive-keyring), "
                "and check the mirror in apt's sources",
            )
        if found := _line_with(output, _DATED):
            return self._error(found, "check this machine's clock, or use a mirror that is up to date")
        if found := _line_with(output, _ABSENT):
            return self._error(found, f"use a mirror that carries {' and '.join(self.suites)}")
        return _TryAgain(_plain(tools.first_line(output, "E: Failed", "Err:", "E:", "W:")))

    def _error(self, what: str, remedy: str) -> ImageError:
        return ImageError(what, where=self.archive.public_uri, remedy=remedy)

    def discard(self, packages: Sequence[Package]) -> None:
        """Remove downloaded packages that are no longer needed, and apt's large derived files."""
        for name in ("pkgcache.bin", "srcpkgcache.bin"):
            (self.root / name).unlink(missing_ok=True)
        for item in packages:
            (self.debs / item.file).unlink(missing_ok=True)


def _line_with(output: str, markers: Sequence[str]) -> str:
    """The most telling line of apt's output that holds one of ``markers``; empty for none."""
    return _plain(tools.first_line(output, *markers)) if any(marker in output for marker in markers) else ""


def _plain(line: str) -> str:
    return re.sub(r"^[EW]: ", "", line).rstrip(".")


class _TryAgain(Exception):
    """Something that may go well when done again; the message is one line."""
