"""The claims of the platform, realm and device tokens: label, name and shape.

Names are those of the CDDL.  Sources: DEN0137 1.0-rel0 A7.2.3.1 and A7.2.3.2; DEN0137 2.0 (draft) A7.2.3.1 to A7.2.3.3;
draft-ffm-rats-cca-token-04 sections 4.2 to 4.8 (labels 2405 to 2408).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from refmodel.attestation.shapes import (
    ArrayShape,
    BoolShape,
    BytesShape,
    ChoiceShape,
    Field,
    IntShape,
    RecordShape,
    Shape,
    TextShape,
)

HASH: Final = BytesShape((32, 48, 64))
"""``cca-hash-type``: a digest of SHA-256, SHA-384 or SHA-512."""
UEID: Final = BytesShape((33,), first=0x01)
"""EAT ueid of type RAND."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim of a token."""

    label: int
    name: str
    shape: Shape

    def __str__(self) -> str:
        return f"{self.name} ({self.label})"


CHALLENGE, PROFILE, INSTANCE_ID = 10, 265, 256
CLIENT_ID, LIFECYCLE, IMPLEMENTATION_ID, SW_COMPONENTS, VERIFICATION_SERVICE = 2394, 2395, 2396, 2399, 2400
CONFIG, PLATFORM_HASH, MANUFACTURING_CONFIG, EXTENSION, TBB_ROTPK = 2401, 2402, 2403, 2404, 2405
PEER_SIGNERS, TPM_BINDING, WORKLOAD_BINDING = 2406, 2407, 2408
PLATFORM_TOKEN, RPV, REALM_HASH, RAK, RIM, REM, RAK_HASH, REALM_TOKEN = (
    44234, 44235, 44236, 44237, 44238, 44239, 44240, 44241,
)  # fmt: skip
MEC_POLICY, LFA_POLICY, DEVICES_HASH, DEVICE_TOKEN, DEVICES = 44243, 44244, 44257, 44258, 44259

LIFECYCLE_STATES: Final = {
    0x00: "unknown",
    0x10: "assembly and test",
    0x20: "CCA platform RoT provisioning",
    0x30: "secured",
    0x40: "non CCA platform RoT debug",
    0x50: "recoverable CCA platform RoT debug",
    0x60: "decommissioned",
}
"""Bits 15 to 8 of the lifecycle claim; bits 7 to 0 are IMPLEMENTATION DEFINED."""

TYPE, MEASUREMENT, VERSION, SIGNER, ALGORITHM, LIVE_ACTIVATION, COUNTERSIGNERS = 1, 2, 4, 5, 6, 7, 8

_COMPONENT_1: Final = {
    TYPE: Field("component-type", TextShape(), required=False),
    MEASUREMENT: Field("measurement-value", HASH),
    VERSION: Field("version", TextShape(), required=False),
    SIGNER: Field("signer-id", HASH),
    ALGORITHM: Field("hash-algo-id", TextShape(), required=False),
}
_COMPONENT_2: Final = {
    **_COMPONENT_1,
    LIVE_ACTIVATION: Field("live-firmware-activation", BoolShape(), required=False),
    COUNTERSIGNERS: Field("countersigner-ids", ArrayShape(HASH), required=False),
}
_EXTENSION_DEVICE: Final = {
    1: Field("hash-algo-id", TextShape(), required=False),
    2: Field("measurements-digest", HASH),
    3: Field("certificate-chain-digest", HASH),
    4: Field("uses-ide", BoolShape()),
    5: Field("protocol", TextShape()),
    6: Field("vca-digest", HASH, required=False),
    7: Field("device-type", TextShape(), required=False),
    8: Field("encryption-type", IntShape(((0, 2),)), required=False),
}
_ROTPK: Final = {
    1: Field("name", TextShape()),
    2: Field("active-array", IntShape()),
    3: Field("index", IntShape()),
    4: Field("hash", HASH),
}
_DEVICE: Final = {
    1: Field("identity-digest", HASH),
    2: Field("measurements-digest", HASH),
    3: Field("protocol-digest", HASH, required=False),
    4: Field("coherent-ide", BoolShape()),
    5: Field("non-coherent-ide", BoolShape()),
}

_POLICY: Final = IntShape(((0, 0), (1, 1)))

REALM_CLAIMS: Final = {
    claim.label: claim
    for claim in (
        Claim(CHALLENGE, "cca-realm-challenge", BytesShape((64,))),
        Claim(PROFILE, "cca-realm-profile", TextShape()),
        Claim(INSTANCE_ID, "cca-realm-instance-id", UEID),
        Claim(RPV, "cca-realm-personalization-value", BytesShape((64,))),
        Claim(REALM_HASH, "cca-realm-hash-algo-id", TextShape()),
        Claim(RAK, "cca-realm-public-key", BytesShape()),
        Claim(RIM, "cca-realm-initial-measurement", HASH),
        Claim(REM, "cca-realm-extensible-measurements", ArrayShape(HASH, least=4, most=4)),
        Claim(RAK_HASH, "cca-realm-public-key-hash-algo-id", TextShape()),
        Claim(MEC_POLICY, "cca-realm-mec-policy", _POLICY),
        Claim(LFA_POLICY, "cca-realm-lfa-policy", _POLICY),
        Claim(DEVICES_HASH, "cca-realm-devices-token-hash", HASH),
    )
}

PLATFORM_CLAIMS: Final = {
    claim.label: claim
    for claim in (
        Claim(CHALLENGE, "cca-platform-challenge", HASH),
        Claim(PROFILE, "cca-platform-profile", TextShape()),
        Claim(INSTANCE_ID, "cca-platform-instance-id", UEID),
        Claim(CLIENT_ID, "cca-platform-client-id", IntShape(((1, 1),))),
        Claim(LIFECYCLE, "cca-platform-lifecycle", IntShape(tuple((s << 8, s << 8 | 0xFF) for s in LIFECYCLE_STATES))),
        Claim(IMPLEMENTATION_ID, "cca-platform-implementation-id", BytesShape((32,))),
        Claim(SW_COMPONENTS, "cca-platform-sw-components", ArrayShape(RecordShape(_COMPONENT_2))),
        Claim(VERIFICATION_SERVICE, "cca-platform-verification-service", TextShape()),
        Claim(CONFIG, "cca-platform-config", BytesShape()),
        Claim(PLATFORM_HASH, "cca-platform-hash-algo-id", TextShape()),
        Claim(MANUFACTURING_CONFIG, "cca-platform-manufacturing-config", BytesShape()),
        Claim(EXTENSION, "cca-platform-extension", ArrayShape(RecordShape(_EXTENSION_DEVICE))),
        Claim(TBB_ROTPK, "arm-platform-tbb-rotpk", ArrayShape(RecordShape(_ROTPK))),
        Claim(PEER_SIGNERS, "arm-platform-peer-signers", ArrayShape(BytesShape())),
        Claim(TPM_BINDING, "arm-platform-discrete-tpm-binding-data", BytesShape()),
        Claim(WORKLOAD_BINDING, "arm-platform-workload-binding", HASH),
    )
}

_POLICY_TEXT: Final = TextShape(("shared", "private"))
MEC_POLICY_TEXT: Final = Claim(MEC_POLICY, "cca-realm-mec-policy", _POLICY_TEXT)
"""The MEC policy as drafts before 2.0 had it, and TF-RMM 0.8 and 0.9 emit it."""
MEC_POLICY_EITHER: Final = Claim(MEC_POLICY, "cca-realm-mec-policy", ChoiceShape((_POLICY, _POLICY_TEXT)))
SW_COMPONENTS_1: Final = Claim(SW_COMPONENTS, "cca-platform-sw-components", ArrayShape(RecordShape(_COMPONENT_1)))
"""The software components of the 1.0 profiles, without live activation and countersigners."""

DEVICE_PROFILE: Final = "tag:arm.com,2025:cca_device#2.0.0"
DEVICE_CLAIMS: Final = {
    PROFILE: Claim(PROFILE, "cca-device-profile", TextShape((DEVICE_PROFILE,))),
    DEVICES: Claim(DEVICES, "cca-devices", ArrayShape(RecordShape(_DEVICE))),
}
VCA_PROTOCOLS: Final = frozenset(
    {"spdm-1.2.0", "spdm-1.2.1", "spdm-1.2.2", "spdm-1.2.3", "spdm-1.3.0", "spdm-1.3.1", "spdm-1.3.2", "spdm-1.4.0"}
)
"""Protocols of an extension device that need the VCA digest (DEN0137 2.0 draft, A7.2.3.3.12)."""
ENCRYPTED_TYPES: Final = frozenset({"cxl-type-3"})
"""Types of an extension device that need an encryption type (draft-ffm-rats-cca-token-04, 4.6.5)."""
