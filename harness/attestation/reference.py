"""Reference values and trust anchors from a TOML file.

``docs/reference/attestation.md`` has the format.  Keys are files named relative to the TOML file: PEM public keys, PEM
certificates (whose key is taken; no chain is validated) or JWK.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from harness.attestation import keys
from harness.attestation.tables import Table, read_document
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


_HASH: Final = (32, 48, 64)


def load_endorsements(path: Path) -> Endorsements:
    """Read a TOML file; BadInputError names file, table and key."""
    top = read_document(path)
    top.only("trust_anchor", "platform", "realm")
    references = References(tuple(map(_platform, top.tables("platform"))), tuple(map(_realm, top.tables("realm"))))
    return Endorsements(references, tuple(map(_anchor, top.tables("trust_anchor"))))


def _anchor(table: Table) -> TrustAnchor:
    table.only("implementation_id", "instance_id", "key")
    key = keys.load_public_key(table.path.parent / table.text("key"))
    return TrustAnchor(table.digits("implementation_id", (32,)), table.digits("instance_id", (33,), b""), key)


def _platform(table: Table) -> PlatformReference:
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


def _component(table: Table) -> Component:
    table.only("type", "measurement", "signer", "version")
    measurements = table.several("measurement", _HASH)
    if not measurements:
        raise table.error("key 'measurement' is missing")
    signer = table.digits("signer", _HASH) if "signer" in table.values else None
    return Component(measurements, signer, table.optional("type"), table.optional("version"))


def _realm(table: Table) -> RealmReference:
    table.only("rim", "rem", "rpv")
    rems = table.values.get("rem", [])
    if not isinstance(rems, list) or len(rems) > 4:
        raise table.error("key 'rem' must be an array of at most 4, REM 1 first; an empty string means any value")
    single = [Table(table.path, table.where, {"rem": rem or []}).several("rem", _HASH) for rem in rems]
    padded = (*single, *(frozenset[bytes]() for _ in range(4 - len(single))))
    return RealmReference(table.digits("rim", _HASH), padded, table.several("rpv", (64,)))
