"""Minting tokens: a token of any combination of profiles, with keys of your own or new ones.

What is minted is well formed and bound; it says of a platform what it is told to say, and proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.attestation import keys
from harness.attestation.build import EnvelopeParts, Pairs, TokenParts, Value, algorithm_for, encode, key_bytes
from refmodel.attestation import claims as c
from refmodel.attestation.headers import ALG
from refmodel.attestation.profiles import (
    PLATFORM_PROFILES,
    REALM_PROFILES,
    Binding,
    Combination,
    KeyForm,
    PlatformProfile,
)
from refmodel.rmm.measurement import HashAlgorithm


@dataclass(frozen=True, kw_only=True)
class Component:
    """A software component of a platform token."""

    kind: str
    measurement: bytes
    signer: bytes
    version: str = ""
    algorithm: str = ""

    def pairs(self) -> Pairs:
        """Its record."""
        made: list[tuple[Value, Value]] = [(c.TYPE, self.kind)] if self.kind else []
        made += [(c.MEASUREMENT, self.measurement)]
        made += [(c.VERSION, self.version)] if self.version else []
        made += [(c.SIGNER, self.signer)]
        made += [(c.ALGORITHM, self.algorithm)] if self.algorithm else []
        return Pairs(tuple(made))


@dataclass(frozen=True, kw_only=True)
class Statement:
    """What a token says.  Sizes must suit the algorithms; nothing is checked, so that wrong tokens can be made too.

    ``realm_hash``, ``rak_hash`` and ``platform_hash`` name the algorithms of measurements, key binding and components.
    """

    challenge: bytes = bytes(64)
    rpv: bytes = bytes(64)
    realm_hash: HashAlgorithm = HashAlgorithm.SHA_256
    rim: bytes = b""
    rems: Sequence[bytes] = ()
    rak_hash: HashAlgorithm = HashAlgorithm.SHA_256
    realm_instance: bytes = b"\x01" + bytes(32)
    mec_policy: int = 0
    lfa_policy: int | None = None
    implementation_id: bytes = bytes(32)
    platform_instance: bytes = b"\x01" + bytes(32)
    config: bytes = b"\xcf\xcf\xcf\xcf"
    lifecycle: int = 0x3000
    platform_hash: HashAlgorithm = HashAlgorithm.SHA_256
    components: Sequence[Component] = ()
    verification_service: str = "https://verifier.example"
    devices: Sequence[Mapping[int, bytes | bool]] = field(default_factory=tuple)


def default_components(algorithm: HashAlgorithm) -> tuple[Component, ...]:
    """A bootloader, a monitor and an RMM with made-up measurements."""
    signer = algorithm.digest(b"signer")
    return tuple(
        Component(kind=kind, measurement=algorithm.digest(kind.encode()), signer=signer, version="1.0.0")
        for kind in ("BL1", "BL31", "RMM")
    )


def mint_parts(
    combination: Combination,
    statement: Statement,
    *,
    cpak: keys.PrivateKey,
    rak: keys.PrivateKey,
    platform_profile: str = "",
) -> TokenParts:
    """The parts of a token of ``combination``; of several platform profiles the shortest unless one is named."""
    value = platform_profile or min(combination.platforms, key=lambda name: (len(name), name))
    profile = PLATFORM_PROFILES[value]
    device = _device(statement) if statement.devices else None
    realm = _realm_claims(combination, statement, rak.public_key(), device)
    platform = _platform_claims(profile, statement)
    parts = TokenParts(
        combination.tag,
        EnvelopeParts(cpak, platform, Pairs(((ALG, algorithm_for(cpak).value),))),
        EnvelopeParts(rak, realm, Pairs(((ALG, algorithm_for(rak).value),))),
        device,
    )
    return parts.bound()


def mint(combination: Combination, statement: Statement, *, cpak: keys.PrivateKey, rak: keys.PrivateKey) -> bytes:
    """A token of ``combination``."""
    return mint_parts(combination, statement, cpak=cpak, rak=rak).build()


def _realm_claims(combination: Combination, statement: Statement, rak: keys.PublicKey, device: bytes | None) -> Pairs:
    profile = REALM_PROFILES[combination.realm_rules]
    forms = combination.keys & profile.keys
    form = KeyForm.COSE_KEY if KeyForm.COSE_KEY in forms else KeyForm.RAW_POINT
    algorithm = statement.realm_hash
    zero = bytes(algorithm.digest_bytes)
    rems = tuple(statement.rems) or (zero,) * 4
    values: dict[int, Value] = {
        c.CHALLENGE: statement.challenge,
        c.INSTANCE_ID: statement.realm_instance,
        c.RPV: statement.rpv,
        c.RAK: key_bytes(rak, form),
        c.REALM_HASH: algorithm.token_name,
        c.RAK_HASH: statement.rak_hash.token_name,
        c.RIM: statement.rim or zero,
        c.REM: rems,
        # Firmware that adds the policy to a profile without it writes it as a text.
        c.MEC_POLICY: ("shared", "private")[statement.mec_policy] if combination.extra else statement.mec_policy,
    }
    present = profile.mandatory | combination.extra_labels
    chosen = {label: value for label, value in values.items() if label in present}
    if combination.realm:
        chosen = {c.PROFILE: combination.realm, **chosen}
    if statement.lfa_policy is not None:
        chosen[c.LFA_POLICY] = statement.lfa_policy
    if device is not None:
        chosen[c.DEVICES_HASH] = algorithm.digest(device)
    return Pairs(tuple(chosen.items()))


def _platform_claims(profile: PlatformProfile, statement: Statement) -> Pairs:
    components = tuple(statement.components) or default_components(statement.platform_hash)
    values: dict[int, Value] = {
        c.PROFILE: profile.value,
        c.IMPLEMENTATION_ID: statement.implementation_id,
        c.INSTANCE_ID: statement.platform_instance,
        c.CONFIG: statement.config,
        c.LIFECYCLE: statement.lifecycle,
        c.PLATFORM_HASH: statement.platform_hash.token_name,
        c.CLIENT_ID: 1,
        c.SW_COMPONENTS: tuple(component.pairs() for component in components),
        c.CHALLENGE: statement.challenge,
    }
    chosen = {label: value for label, value in values.items() if label in profile.mandatory}
    if profile.binding is not Binding.CHALLENGE:
        chosen[c.WORKLOAD_BINDING] = b""
    if statement.verification_service:
        chosen[c.VERIFICATION_SERVICE] = statement.verification_service
    return Pairs(tuple(chosen.items()))


def _device(statement: Statement) -> bytes:
    devices = tuple(Pairs(tuple(device.items())) for device in statement.devices)
    return encode(Pairs(((c.PROFILE, c.DEVICE_PROFILE), (c.DEVICES, devices))))
