"""Appraisal: claims of a verified token against reference values, as a trustworthiness vector with reasons.

Values and tiers are those of draft-ietf-rats-ar4si: 2 to 31 affirms, 32 to 95 warns, 96 to 127 contraindicates.  What a
claim bears on which category follows draft-ffm-rats-cca-token-04, table 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from refmodel.attestation import claims as c
from refmodel.attestation.claimset import ClaimSet
from refmodel.attestation.items import Bytes, Item, Map, Text

NO_CLAIM, AFFIRMED, UNRECOGNIZED_SOFTWARE, CONTRAINDICATED, UNRECOGNIZED, CRYPTO_FAILED = 0, 2, 33, 96, 97, 99
SECURED: Final = 0x30


class Category(Enum):
    """The categories of a trustworthiness vector that a CCA token bears on."""

    INSTANCE_IDENTITY = "instance-identity"
    CONFIGURATION = "configuration"
    EXECUTABLES = "executables"
    HARDWARE = "hardware"
    RUNTIME_OPAQUE = "runtime-opaque"


class Tier(Enum):
    """The tier of a value, or of a vector by its worst."""

    NONE = "none"
    AFFIRMING = "affirming"
    WARNING = "warning"
    CONTRAINDICATED = "contraindicated"


_WORST: Final = (Tier.CONTRAINDICATED, Tier.WARNING, Tier.AFFIRMING, Tier.NONE)


def tier(value: int) -> Tier:
    """The tier of one value."""
    if value < AFFIRMED:
        return Tier.NONE
    return Tier.AFFIRMING if value < 32 else Tier.WARNING if value < 96 else Tier.CONTRAINDICATED


@dataclass(frozen=True, slots=True)
class Component:
    """A software component that is approved; None means that any value is."""

    measurements: frozenset[bytes]
    signer: bytes | None = None
    kind: str | None = None
    version: str | None = None

    def matches(self, found: Map) -> bool:
        """Whether a component of a token is this one."""
        measurement, signer = found.get(c.MEASUREMENT), found.get(c.SIGNER)
        return (
            isinstance(measurement, Bytes)
            and measurement.value in self.measurements
            and (self.signer is None or (isinstance(signer, Bytes) and signer.value == self.signer))
            and _agrees(self.kind, found.get(c.TYPE))
            and _agrees(self.version, found.get(c.VERSION))
        )


def _agrees(wanted: str | None, found: Item | None) -> bool:
    return wanted is None or (isinstance(found, Text) and found.value == wanted)


@dataclass(frozen=True, slots=True)
class PlatformReference:
    """What is approved for one implementation: all its components, its config under a mask, lifecycle states."""

    implementation_id: bytes
    components: tuple[Component, ...] = ()
    configs: tuple[tuple[bytes, bytes], ...] = ()
    lifecycles: frozenset[int] = frozenset({SECURED})


@dataclass(frozen=True, slots=True)
class RealmReference:
    """What is approved for one realm: its RIM, REMs by index (empty: any) and RPV (empty: any)."""

    rim: bytes
    rems: tuple[frozenset[bytes], ...] = (frozenset(),) * 4
    rpvs: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class References:
    """All reference values that a verifier has."""

    platforms: tuple[PlatformReference, ...] = ()
    realms: tuple[RealmReference, ...] = ()

    def __add__(self, other: References) -> References:
        return References(self.platforms + other.platforms, self.realms + other.realms)


@dataclass(slots=True)
class Appraisal:
    """A vector and, for each category that has a value, why it has it."""

    vector: dict[Category, int] = field(default_factory=dict)
    reasons: dict[Category, str] = field(default_factory=dict)

    def put(self, category: Category, value: int, reason: str) -> None:
        """A value; a worse one that stands already is kept."""
        if category not in self.vector or value > self.vector[category]:
            self.vector[category], self.reasons[category] = value, reason

    @property
    def status(self) -> Tier:
        """The worst tier of the vector."""
        tiers = {tier(value) for value in self.vector.values()}
        return next((worst for worst in _WORST if worst in tiers), Tier.NONE)


def refused(reason: str) -> Appraisal:
    """The appraisal of a token whose integrity or authenticity does not hold."""
    made = Appraisal()
    for category in Category:
        made.put(category, CRYPTO_FAILED, reason)
    return made


def appraise_platform(platform: ClaimSet, references: Sequence[PlatformReference], *, known_key: bool) -> Appraisal:
    """Appraise a verified platform token; ``known_key``: a trust anchor verified its signature."""
    made = Appraisal()
    if known_key:
        made.put(Category.INSTANCE_IDENTITY, AFFIRMED, "a trust anchor of this instance verified the token")
    else:
        made.put(Category.INSTANCE_IDENTITY, UNRECOGNIZED, "no trust anchor for this instance")
    held = platform.bytes_of(c.IMPLEMENTATION_ID)
    own = [one for one in references if held is not None and one.implementation_id == held.value]
    if not own:
        made.put(Category.HARDWARE, UNRECOGNIZED, "no reference values for this implementation ID")
        made.put(Category.EXECUTABLES, UNRECOGNIZED_SOFTWARE, "no reference values for this implementation ID")
        return made
    made.put(Category.HARDWARE, AFFIRMED, "the implementation ID is known")
    _executables(platform, own, made)
    _config(platform, own, made)
    _lifecycle(platform, own, made)
    return made


def _executables(platform: ClaimSet, own: Sequence[PlatformReference], made: Appraisal) -> None:
    """Every component is approved, and every approved one is there, by one reference as a whole."""
    found = [item for item in platform.items_of(c.SW_COMPONENTS) if isinstance(item, Map)]
    complaints = []
    for reference in own:
        if not reference.components:
            continue
        unknown = [n for n, item in enumerate(found) if not any(one.matches(item) for one in reference.components)]
        missing = [one for one in reference.components if not any(one.matches(item) for item in found)]
        if not unknown and not missing:
            made.put(Category.EXECUTABLES, AFFIRMED, f"all {len(found)} components are approved")
            return
        names = ", ".join(f"[{n}] {_name(found[n])}" for n in unknown)
        gone = ", ".join(one.kind or one_digest(one) for one in missing)
        parts = [f"not approved: {names}" if unknown else "", f"missing: {gone}" if missing else ""]
        complaints.append("; ".join(filter(None, parts)))
    if complaints:
        made.put(Category.EXECUTABLES, UNRECOGNIZED_SOFTWARE, min(complaints, key=len))
    else:
        # Software that nobody has approved is not affirmed by approving the rest.
        made.put(Category.EXECUTABLES, UNRECOGNIZED_SOFTWARE, "no reference values for components")


def one_digest(component: Component) -> str:
    """A component without a name, by its measurement."""
    return min(component.measurements).hex()[:16]


def _name(found: Map) -> str:
    kind = found.get(c.TYPE)
    return kind.value if isinstance(kind, Text) else "without type"


def _config(platform: ClaimSet, own: Sequence[PlatformReference], made: Appraisal) -> None:
    configs = [pair for reference in own for pair in reference.configs]
    held = platform.bytes_of(c.CONFIG)
    if not configs:
        made.put(Category.CONFIGURATION, NO_CLAIM, "no reference value for the config")
    elif held is not None and any(_masked(held.value, value, mask) for value, mask in configs):
        made.put(Category.CONFIGURATION, AFFIRMED, "the config is approved")
    else:
        shown = held.value.hex() if held is not None else "missing"
        made.put(Category.CONFIGURATION, CONTRAINDICATED, f"the config {shown} is not approved")


def _masked(found: bytes, value: bytes, mask: bytes) -> bool:
    """Whether two values are the same where the mask is set; the mask covers the whole value."""
    if len(found) != len(value) or len(mask) != len(value):
        return False
    return all(a & m == b & m for a, b, m in zip(found, value, mask, strict=True))


def _lifecycle(platform: ClaimSet, own: Sequence[PlatformReference], made: Appraisal) -> None:
    held = platform.int_of(c.LIFECYCLE)
    state = held.value >> 8 if held is not None else -1
    words = f"the lifecycle state is {c.LIFECYCLE_STATES.get(state, 'not defined')}"
    if any(state in reference.lifecycles for reference in own):
        made.put(Category.RUNTIME_OPAQUE, AFFIRMED, words)
    else:
        # Debug opens memory, and a state before or after use is none in which an identity can be relied on.
        made.put(Category.RUNTIME_OPAQUE, CONTRAINDICATED, words)
        made.put(Category.INSTANCE_IDENTITY, CONTRAINDICATED, words)


def appraise_realm(realm: ClaimSet, references: Sequence[RealmReference]) -> Appraisal:
    """Appraise a verified and bound realm token."""
    made = Appraisal()
    made.put(Category.INSTANCE_IDENTITY, AFFIRMED, "the platform token binds the key that signed the realm token")
    rim = realm.bytes_of(c.RIM)
    own = [one for one in references if rim is not None and one.rim == rim.value]
    if not own:
        shown = rim.value.hex() if rim is not None else "missing"
        made.put(Category.EXECUTABLES, UNRECOGNIZED_SOFTWARE, f"no reference values for the RIM {shown}")
        return made
    rems = [item.value for item in realm.items_of(c.REM) if isinstance(item, Bytes)]
    fitting = [
        one for one in own if all(not wanted or rem in wanted for wanted, rem in zip(one.rems, rems, strict=True))
    ]
    if not fitting:
        made.put(Category.EXECUTABLES, UNRECOGNIZED_SOFTWARE, "the RIM is approved, the REMs are not")
        return made
    made.put(Category.EXECUTABLES, AFFIRMED, "RIM and REMs are approved")
    rpv = realm.bytes_of(c.RPV)
    wanted_rpvs = [one.rpvs for one in fitting if one.rpvs]
    if wanted_rpvs:
        approved = len(wanted_rpvs) < len(fitting) or (rpv is not None and any(rpv.value in one for one in wanted_rpvs))
        text = "the RPV is approved" if approved else "the RPV is not approved"
        made.put(Category.CONFIGURATION, AFFIRMED if approved else CONTRAINDICATED, text)
    return made
