"""The recorded token of a real boot judged as a fresh one is, with what its RMM's log says of the calls."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.attestation.evidence import Evidence, judge_evidence
from harness.attestation.realm import INCOMPLETE, SUCCESS, Chunk
from harness.attestation.verify import Status
from harness.tests.attestation_samples import RECORDED
from refmodel.attestation.rim import Construction, Extend
from refmodel.rmm.measurement import HashAlgorithm, MeasuredRealmParams
from refmodel.rules import Rule

TOKEN = RECORDED.read_bytes()
EVIDENCE = Evidence(
    # SMC_RSI_ATTEST_TOKEN_CONTINUE was answered three times with RSI_INCOMPLETE 0, then with RSI_SUCCESS 84c.
    chunks=[*[Chunk(INCOMPLETE, b"")] * 3, Chunk(SUCCESS, TOKEN)],
    challenge=bytes(range(64)),
    asked=0x1000,
    largest=0x1000,
    rpv=bytes(64),
)


def test_the_recorded_token_is_what_was_asked_for() -> None:
    assert len(TOKEN) == 0x84C
    made = judge_evidence(EVIDENCE)
    assert made.findings.errors == []
    assert made.verification.status is Status.UNVERIFIED
    for rule in (Rule.ATTESTED_CHALLENGE, Rule.ATTESTED_CHUNKS, Rule.ATTESTED_RPV, Rule.RAK_BINDING):
        assert made.findings.held[rule]


@pytest.mark.parametrize(
    ("falsified", "rule"),
    [
        (replace(EVIDENCE, challenge=bytes(64)), Rule.ATTESTED_CHALLENGE),
        (replace(EVIDENCE, rpv=b"\1" * 64), Rule.ATTESTED_RPV),
        (replace(EVIDENCE, asked=0x800), Rule.ATTESTED_CHUNKS),
        (replace(EVIDENCE, largest=0x84B), Rule.ATTESTED_CHUNKS),
        (replace(EVIDENCE, chunks=[Chunk(SUCCESS, TOKEN[:100]), Chunk(SUCCESS, TOKEN[100:])]), Rule.ATTESTED_CHUNKS),
        (replace(EVIDENCE, chunks=[Chunk(INCOMPLETE, TOKEN)]), Rule.ATTESTED_CHUNKS),
        (replace(EVIDENCE, chunks=[Chunk("RSI_ERROR_STATE", TOKEN)]), Rule.ATTESTED_CHUNKS),
        (
            replace(EVIDENCE, construction=Construction(MeasuredRealmParams(0, 40, HashAlgorithm.SHA_256))),
            Rule.ATTESTED_RIM,
        ),
        (
            replace(
                EVIDENCE,
                construction=Construction(
                    MeasuredRealmParams(0, 40, HashAlgorithm.SHA_256), extends=(Extend(1, b"\1"),)
                ),
            ),
            Rule.ATTESTED_REM,
        ),
        (replace(EVIDENCE, chunks=[Chunk(SUCCESS, b"")]), Rule.CBOR_WELL_FORMED),
    ],
)
def test_falsified_evidence_is_found(falsified: Evidence, rule: Rule) -> None:
    assert rule in judge_evidence(falsified).findings.broken()
