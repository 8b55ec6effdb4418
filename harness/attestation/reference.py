"""Reference values and trust anchors from a TOML file.

``docs/reference/attestation.md`` has the format.  Keys are files named relative to the TOML file: PEM public keys, PEM
certificates (whose key is taken; no chain is validated) or JWK.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from harness.attestation import keys
from harness.errors import BadInputError
from refmodel.attestation import claims as c
from refmodel.attestation.appraisal import SECURED, Component, PlatformReference, RealmReference, References

_STATES: Final = {name: state for state, name in c.LIFECYCLE_STATES.items()}


@dataclass(frozen=True)
class TrustAnchor:
    """A platform's key; ``instance_id`` empty: any instance of the implementation."""

    implementation_id: bytes
    instance_id: bytes
    key: keys.PublicKey

    def fits(self, implementation_id: bytes, instance_id: bytes) -> bool:
        """Whether it is the key of this platform."""
        return self.implementation_id == implementation_id and self.instance_id in (b"", instance_id)


@dataclass(frozen=True)
class Endorsements:
    """What a verifier believes beforehand."""

    references: References = field(default_factory=References)
    anchors: tuple[TrustAnchor, ...] = ()

    def __add__(self, other: Endorsements) -> Endorsements:
        return Endorsements(self.references + other.references, self.anchors + other.anchors)


@dataclass(frozen=True)
class _Table:
    """A table with getters whose errors name file, table and key."""

    path: Path
    where: str
    values: dict[str, Any]

    def error(self, what: str) -> BadInputError:
        return BadInputError(what, path=self.path, where=self.where, remedy="see docs/reference/attestation.md")

    def only(self, *known: str) -> None:
        for key in self.values:
            if key not in known:
                raise self.error(f"key '{key}' is not known; known: {', '.join(known)}")

    def text(self, key: str) -> str:
        value = self.values.get(key)
        if not isinstance(value, str):
            raise self.error(f"key '{key}' must be a string, not {value!r}")
        return value

    def optional(self, key: str) -> str | None:
        return self.text(key) if key in self.values else None

    def digits(self, key: str, sizes: tuple[int, ...] = (), default: bytes | None = None) -> bytes:
        if default is not None and key not in self.values:
            return default
        return self._bytes(self.text(key), key, sizes)

    def several(self, key: str, sizes: tuple[int, ...] = ()) -> frozenset[bytes]:
        value = self.values.get(key, [])
        entries = [value] if isinstance(value, str) else value
        if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
            raise self.error(f"key '{key}' must be a string or an array of strings")
        return frozenset(self._bytes(entry, key, sizes) for entry in entries)

    def _bytes(self, text: str, key: str, sizes: tuple[int, ...]) -> bytes:
        try:
            value = bytes.fromhex(text)
        except ValueError:
            raise self.error(f"key '{key}' must be hexadecimal digits, not {text!r}") from None
        if sizes and len(value) not in sizes:
            raise self.error(f"key '{key}' must have {' or '.join(map(str, sizes))} bytes, not {len(value)}")
        return value

    def tables(self, key: str) -> list[_Table]:
        found = self.values.get(key, [])
        if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
            raise self.error(f"'{key}' must be an array of tables")
        return [_Table(self.path, f"{self.where}[[{key}]] {n} ", entry) for n, entry in enumerate(found, 1)]


_HASH: Final = (32, 48, 64)


def load_endorsements(path: Path) -> Endorsements:
    """Read a TOML file; BadInputError names file, table and key."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInputError(f"cannot be read: {error.strerror}", path=path) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInputError(f"is not valid TOML: {error}", path=path) from None
    top = _Table(path, "", document)
    top.only("trust_anchor", "platform", "realm")
    references = References(tuple(map(_platform, top.tables("platform"))), tuple(map(_realm, top.tables("realm"))))
    return Endorsements(references, tuple(map(_anchor, top.tables("trust_anchor"))))


def _anchor(table: _Table) -> TrustAnchor:
    table.only("implementation_id", "instance_id", "key")
    key = keys.load_public_key(table.path.parent / table.text("key"))
    return TrustAnchor(table.digits("implementation_id", (32,)), table.digits("instance_id", (33,), b""), key)


def _platform(table: _Table) -> PlatformReference:
    table.only("implementation_id", "component", "config", "config_mask", "lifecycle")
    configs: tuple[tuple[bytes, bytes], ...] = ()
    if "config" in table.values:
        config = table.digits("config")
        configs = ((config, table.digits("config_mask", (len(config),), b"\xff" * len(config))),)
    names = table.values.get("lifecycle", [c.LIFECYCLE_STATES[SECURED]])
    if not isinstance(names, list) or not all(name in _STATES for name in names):
        raise table.error(f"key 'lifecycle' must be an array of {', '.join(_STATES)}")
    return PlatformReference(
        table.digits("implementation_id", (32,)),
        tuple(map(_component, table.tables("component"))),
        configs,
        frozenset(_STATES[name] for name in names),
    )


def _component(table: _Table) -> Component:
    table.only("type", "measurement", "signer", "version")
    measurements = table.several("measurement", _HASH)
    if not measurements:
        raise table.error("key 'measurement' is missing")
    signer = table.digits("signer", _HASH) if "signer" in table.values else None
    return Component(measurements, signer, table.optional("type"), table.optional("version"))


def _realm(table: _Table) -> RealmReference:
    table.only("rim", "rem", "rpv")
    rems = table.values.get("rem", [])
    if not isinstance(rems, list) or len(rems) > 4:
        raise table.error("key 'rem' must be an array of at most 4, REM 1 first; an empty string means any value")
    single = [_Table(table.path, table.where, {"rem": rem or []}).several("rem", _HASH) for rem in rems]
    padded = (*single, *(frozenset[bytes]() for _ in range(4 - len(single))))
    return RealmReference(table.digits("rim", _HASH), padded, table.several("rpv", (64,)))
