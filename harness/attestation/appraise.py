"""Appraising a token: verify it with the trust anchor of its platform, appraise both parts, report as an EAR does.

The result has the form of an EAT Attestation Result (draft-fv-rats-ear) as plain JSON; it is not signed.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, Final

from harness.attestation.reference import Endorsements, TrustAnchor
from harness.attestation.verify import Status, Verification, verify_token
from refmodel.attestation import claims as c
from refmodel.attestation.appraisal import Appraisal, Tier, appraise_platform, appraise_realm, refused

EAR_PROFILE: Final = "tag:github.com,2023:veraison/ear"
PLATFORM, REALM = "CCA_SSD_PLATFORM", "CCA_REALM"


def appraise_token(
    data: bytes, endorsements: Endorsements, challenge: bytes | None = None
) -> tuple[Verification, dict[str, Appraisal]]:
    """Verify and appraise; the appraisals by submodule."""
    first = verify_token(data, challenge=challenge)
    anchors = _anchors(first, endorsements)
    made = first
    for anchor in anchors:
        made = verify_token(data, platform_key=anchor.key, challenge=challenge)
        if made.status is Status.VALID:
            break
    if made.findings.errors or made.judged.platform is None or made.judged.realm is None:
        reason = str(made.findings.errors[0]) if made.findings.errors else "the token cannot be decoded"
        return made, {PLATFORM: refused(reason), REALM: refused(reason)}
    references = endorsements.references
    platform = appraise_platform(made.judged.platform, references.platforms, known_key=made.status is Status.VALID)
    if made.status is not Status.VALID:
        # Nobody vouches for the platform, so nobody does for the key that it binds either.
        return made, {PLATFORM: platform, REALM: refused("the platform token could not be verified")}
    return made, {PLATFORM: platform, REALM: appraise_realm(made.judged.realm, references.realms)}


def _anchors(made: Verification, endorsements: Endorsements) -> list[TrustAnchor]:
    """The trust anchors of the platform that the token claims to come from."""
    platform = made.judged.platform
    implementation = platform.bytes_of(c.IMPLEMENTATION_ID) if platform else None
    instance = platform.bytes_of(c.INSTANCE_ID) if platform else None
    if implementation is None or instance is None:
        return []
    return [anchor for anchor in endorsements.anchors if anchor.fits(implementation.value, instance.value)]


def result(appraisals: dict[str, Appraisal], now: int) -> dict[str, Any]:
    """The attestation result; ``now`` in seconds since 1970."""
    return {
        "eat_profile": EAR_PROFILE,
        "iat": now,
        "ear.verifier-id": {"build": f"realmcheck {version('realmcheck')}", "developer": "realmcheck"},
        "submods": {name: _submodule(appraisal) for name, appraisal in appraisals.items()},
    }


def _submodule(appraisal: Appraisal) -> dict[str, Any]:
    return {
        "ear.status": appraisal.status.value,
        "ear.trustworthiness-vector": {category.value: value for category, value in appraisal.vector.items()},
        "reasons": {category.value: reason for category, reason in appraisal.reasons.items()},
    }


def affirmed(appraisals: dict[str, Appraisal]) -> bool:
    """Whether both parts are affirmed."""
    return all(appraisal.status is Tier.AFFIRMING for appraisal in appraisals.values())
