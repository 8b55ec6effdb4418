"""Where this machine gets Debian packages from and with which keys it checks them, read from apt's configuration."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from images import tools
from images.errors import ImageError

OS_RELEASE: Final = Path("/etc/os-release")
KEYRINGS: Final = (
    Path("/usr/share/keyrings/debian-archive-keyring.pgp"),
    Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
)
NOT_DEBIAN_REMEDY: Final = (
    "on such a machine bring your own: QEMU 11.1 or newer by --qemu or REALMCHECK_QEMU, "
    "a C compiler for AArch64 by REALMCHECK_CC"
)
_TOOLS: Final = ("apt-get", "apt-config", "dpkg", "dpkg-deb")
_TARGET_FORMAT: Final = "$(SOURCESENTRY)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(ORIGIN)|$(CREATED_BY)"


@dataclass(frozen=True)
class Archive:
    """The Debian archive that the machine uses.

    ``uri`` is its base (with a slash at the end), ``signed_by`` a value for ``Signed-By`` (keyring paths or an inline
    key; empty: apt's trusted keyrings), ``codename`` the machine's own release (may be empty) and ``architecture``
    dpkg's name for the machine.
    """

    uri: str
    signed_by: str
    codename: str
    architecture: str

    @property
    def public_uri(self) -> str:
        """The base without a user's name and password: what may be shown and written down."""
        return without_password(self.uri)

    @property
    def keyring(self) -> str:
        """The keyring in words, for messages and provenance."""
        if "BEGIN PGP" in self.signed_by:
            return "the key given inline in apt's sources"
        return self.signed_by or "apt's trusted keyrings"


def without_password(text: str) -> str:
    """``text`` with the user's name and password taken out of every URI in it."""
    return re.sub(r"(?<=://)[^/@\s]+@", "", text)


@dataclass(frozen=True)
class _IndexTarget:
    source: Path
    uri: str
    release: str
    origin: str


def archive() -> Archive:
    """Find the machine's Debian archive; ImageError that names what is missing on a machine that is not Debian-like."""
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        raise ImageError(f"this machine is not Debian-like: no {', '.join(missing)}", remedy=NOT_DEBIAN_REMEDY)
    release = _os_release()
    target = _choose(_index_targets(), release)
    return Archive(
        uri=target.uri.rstrip("/") + "/",
        signed_by=_usable_key(_signed_by(target)),
        codename=release.get("VERSION_CODENAME", ""),
        architecture=tools.run(["dpkg", "--print-architecture"], remedy=NOT_DEBIAN_REMEDY).stdout.strip(),
    )


def host_facts() -> tuple[str, str]:
    """Architecture and release codename of a Debian machine, for cache keys; empty strings where not Debian-like."""
    if shutil.which("dpkg") is None or not OS_RELEASE.is_file():
        return "", ""
    return tools.run(["dpkg", "--print-architecture"]).stdout.strip(), _os_release().get("VERSION_CODENAME", "")


def _os_release() -> dict[str, str]:
    try:
        text = OS_RELEASE.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ImageError(f"this machine is not Debian-like: no {OS_RELEASE}", remedy=NOT_DEBIAN_REMEDY) from error
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {key.strip(): value.strip().strip("\"'") for key, value in pairs}


def _index_targets() -> list[_IndexTarget]:
    # --no-release-info also lists what "apt-get update" has not fetched yet, as on a fresh container; the origin is
    # known only for what was fetched, so the other form goes first.
    # No cache files: root's apt-get would write them into the machine's own apt.
    uncached = ["-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache="]
    found = []
    for option in ("--release-info", "--no-release-info"):
        result = tools.run(["apt-get", *uncached, "indextargets", option, "--format", _TARGET_FORMAT])
        for line in result.stdout.splitlines():
            fields = line.split("|")
            if len(fields) == 6 and fields[3] == "main" and fields[5] == "Packages":
                origin = "" if fields[4].startswith("$") else fields[4]
                found.append(_IndexTarget(Path(fields[0].rpartition(":")[0]), fields[1], fields[2], origin))
    return found


def _choose(targets: list[_IndexTarget], release: dict[str, str]) -> _IndexTarget:
    """The archive of origin Debian; where nothing was fetched yet, the one that looks most like it on a Debian."""
    is_debian = release.get("ID") == "debian"
    candidates = [
        target
        for target in targets
        if not re.search(r"[-/]", target.release)
        and "-security" not in target.uri
        and not target.uri.startswith("cdrom:")
        and (target.origin == "Debian" or (not target.origin and is_debian))
    ]
    if candidates:
        return min(candidates, key=lambda target: _unlikeness(target, release.get("VERSION_CODENAME", "")))
    distribution = release.get("PRETTY_NAME") or release.get("ID") or "an unknown system"
    raise ImageError(
        f"this machine ({distribution}) has no apt source of Debian's main archive",
        remedy=f"add one to apt's sources; {NOT_DEBIAN_REMEDY}",
    )


def _unlikeness(target: _IndexTarget, codename: str) -> tuple[bool, ...]:
    # Others' archives also have a component "main", and nothing but the fetched index tells the origin.
    return (
        target.origin != "Debian",
        "debian-archive-" not in _signed_by(target),
        not re.search(r"/debian/*$", target.uri),
        target.release != codename,
    )


def _signed_by(target: _IndexTarget) -> str:
    """The Signed-By of the source that the target came from, as written; empty when it has none."""
    try:
        text = target.source.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    if target.source.suffix == ".sources":
        return _signed_by_stanza(text, target)
    return _signed_by_line(text, target)


def _signed_by_stanza(text: str, target: _IndexTarget) -> str:
    for stanza in re.split(r"\n[ \t]*\n", text):
        fields: dict[str, str] = {}
        name = ""
        for line in stanza.splitlines():
            if line.startswith("#"):
                continue
            if line[:1] in (" ", "\t"):
                fields[name] = f"{fields.get(name, '')}\n{line}"
            else:
                name, _, value = line.partition(":")
                name = name.strip().lower()
                fields[name] = value.strip()
        if fields.get("enabled", "yes").lower() in ("no", "false", "without", "off", "disable", "0"):
            continue
        uris = {uri.rstrip("/") for uri in fields.get("uris", "").split()}
        if target.uri.rstrip("/") in uris and target.release in fields.get("suites", "").split():
            return fields.get("signed-by", "")
    return ""


def _signed_by_line(text: str, target: _IndexTarget) -> str:
    for line in text.splitlines():
        found = re.match(r"\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)", line)
        if found and found[2].rstrip("/") == target.uri.rstrip("/") and found[3] == target.release:
            option = re.search(r"(?:^|\s)signed-by=(\S+)", found[1] or "", re.IGNORECASE)
            return option[1].replace(",", " ") if option else ""
    return ""


def _usable_key(signed_by: str) -> str:
    """``signed_by`` when it is paths or an inline key; a bare fingerprint pins one release's key: no use here."""
    if signed_by.startswith("/") or "BEGIN PGP" in signed_by:
        return signed_by
    return next((str(path) for path in KEYRINGS if path.is_file()), "")
