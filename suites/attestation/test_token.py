"""The token: its form by every rule, its challenge, and how it is fetched."""

from __future__ import annotations

import pytest

from harness.attestation.evidence import Evidence, judge_evidence
from harness.attestation.realm import RealmOrder, fetch_token
from harness.check import Check
from refmodel.attestation.profiles import COMBINATIONS, PLATFORM_2026, Combination
from refmodel.rmm.measurement import HashAlgorithm
from refmodel.rules import Rule
from suites.attestation.realms import attest, construction, expect, order, realm_of, record

FORM = (
    "ATT-001", "ATT-002", "ATT-003", "ATT-004", "ATT-005", "ATT-006", "ATT-010", "ATT-011", "ATT-012", "ATT-013",
    "ATT-020", "ATT-021", "ATT-022", "ATT-023", "ATT-024", "ATT-025", "ATT-026", "ATT-027", "ATT-028", "ATT-030",
    "ATT-031", "ATT-032", "ATT-033", "ATT-034", "ATT-035", "ATT-036", "ATT-040", "ATT-041", "ATT-042", "ATT-043",
    "ATT-044", "ATT-050",
)  # fmt: skip
SPECIFIED = [made for made in COMBINATIONS if not made.note and made.realm]


@pytest.mark.smoke
@pytest.mark.rule(*FORM)
@pytest.mark.parametrize("algorithm", [HashAlgorithm.SHA_256, HashAlgorithm.SHA_512], ids=lambda one: one.token_name)
@pytest.mark.parametrize("combination", SPECIFIED, ids=lambda made: made.name.replace(" ", "-"))
def test_form(check: Check, combination: Combination, algorithm: HashAlgorithm) -> None:
    """Every rule about form, signatures, claims and binding, for each combination of profiles."""
    name = combination.name
    realm = realm_of(check)
    if realm is None:
        return
    made = order(check, name, algorithm)
    realm.create(made)
    challenge = check.rng.randbytes(64)
    record(check, attest(realm, made, challenge).findings, {"profiles": name, "challenge": challenge.hex()})


@pytest.mark.rule("ATT-051")
def test_devices(check: Check) -> None:
    """The realm token holds the hash of the device token, and only where devices are assigned."""
    realm = realm_of(check)
    if realm is None:
        return
    name = "RMM 2.0, profiles of 2024"
    for devices in (True, False):
        made = RealmOrder(
            construction=construction(check.rng, HashAlgorithm.SHA_256),
            rpv=check.rng.randbytes(64),
            combination=name,
            devices=devices,
        )
        realm.create(made)
        judged = attest(realm, made, check.rng.randbytes(64))
        record(check, judged.findings, {"profiles": name, "devices": str(devices)})
        there = judged.verification.decoded.device is not None
        text = f"a device token is {'there' if there else 'missing'}"
        stimulus = {"devices assigned": str(devices)}
        expect(check, there == devices, Rule.DEVICES_BINDING, "device token", text, stimulus)


@pytest.mark.rule("ATT-052")
def test_challenge_repeated(check: Check) -> None:
    """Where the RAK never leaves the HES the platform token repeats the realm's challenge."""
    realm = realm_of(check)
    if realm is None:
        return
    made = RealmOrder(
        construction=construction(check.rng, HashAlgorithm.SHA_256),
        rpv=check.rng.randbytes(64),
        combination="RMM 2.0, profiles of 2026",
        platform_profile=f"{PLATFORM_2026};HESRAK",
    )
    realm.create(made)
    record(check, attest(realm, made, check.rng.randbytes(64)).findings, {"profile": made.platform_profile})


@pytest.mark.smoke
@pytest.mark.rule("ATT-060")
def test_challenge(check: Check) -> None:
    """Every token carries the challenge of the INIT before it, also when a token before was not fetched to its end."""
    realm = realm_of(check)
    if realm is None:
        return
    made = order(check)
    realm.create(made)
    special = [bytes(64), b"\xff" * 64, bytes(range(64))]
    for challenge in special + [check.rng.randbytes(64) for _ in range(3)]:
        record(check, attest(realm, made, challenge).findings, {"challenge": challenge.hex()})
    realm.begin_token(bytes(64))
    realm.continue_token(16)
    challenge = check.rng.randbytes(64)
    stimulus = {"challenge": challenge.hex(), "before": "another token, of which 16 bytes were fetched"}
    record(check, attest(realm, made, challenge).findings, stimulus)


@pytest.mark.smoke
@pytest.mark.rule("ATT-061")
@pytest.mark.parametrize("size", [1, 7, 64, 255, 1024, 4095, 4096])
def test_chunks(check: Check, size: int) -> None:
    """The token comes whole whatever the size of the pieces, and its end is told once."""
    realm = realm_of(check)
    if realm is None:
        return
    made = order(check)
    realm.create(made)
    challenge = check.rng.randbytes(64)
    largest, chunks = fetch_token(realm, challenge, size)
    evidence = Evidence(
        chunks=chunks, challenge=challenge, asked=size, largest=largest, platform_key=realm.platform_key
    )
    found = judge_evidence(evidence).findings
    stimulus = {"asked": f"{size} bytes", "pieces": str(len(chunks))}
    if any(error.rule in (Rule.CBOR_WELL_FORMED, Rule.CBOR_NOTHING_FOLLOWS) for error in found.errors):
        text = "the pieces do not make one token"
        expect(check, False, Rule.ATTESTED_CHUNKS, "RSI_ATTESTATION_TOKEN_CONTINUE", text, stimulus)
    record(check, found, stimulus)
