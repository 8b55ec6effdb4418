"""What a realm's token says about that realm, held against how the realm was made and what was asked.

Pure over bytes, so that a recorded token is judged as a fresh one is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.attestation.keys import PublicKey
from harness.attestation.realm import INCOMPLETE, SUCCESS, Chunk
from harness.attestation.verify import Verification, verify_token
from refmodel.attestation import claims as c
from refmodel.attestation.findings import Findings
from refmodel.attestation.items import Bytes
from refmodel.attestation.rim import Construction, Measured, measure_all
from refmodel.rules import Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A token as it was fetched, and what is known of its realm; None where a fact is not known.

    ``asked``: the size that each CONTINUE call asked for; ``largest``: the size that INIT announced.
    """

    chunks: Sequence[Chunk]
    challenge: bytes
    asked: int | None = None
    largest: int | None = None
    construction: Construction | None = None
    rpv: bytes | None = None
    platform_key: PublicKey | None = None


@dataclass(slots=True)
class Judgement:
    """The verification of a token, findings about its realm among it, and which generations make its measurements."""

    verification: Verification
    findings: Findings
    generations: list[str] = field(default_factory=list)


def judge_evidence(evidence: Evidence) -> Judgement:
    """Judge a token and what it says about its realm."""
    data = b"".join(chunk.data for chunk in evidence.chunks)
    verification = verify_token(data, platform_key=evidence.platform_key, challenge=evidence.challenge)
    made = Judgement(verification, verification.findings)
    _check_chunks(evidence, len(data), made.findings)
    if evidence.rpv is not None:
        _check_bytes(made, c.RPV, {evidence.rpv}, Rule.ATTESTED_RPV, "the RPV that the realm was created with")
    if evidence.construction is not None:
        _check_measurements(made, measure_all(evidence.construction))
    return made


def _check_chunks(evidence: Evidence, total: int, findings: Findings) -> None:
    """DEN0137 1.0-rel0 A7.2.2 and B5.3.1: INCOMPLETE until all is there, never more than was asked or announced."""
    rule, claim = Rule.ATTESTED_CHUNKS, "RSI_ATTESTATION_TOKEN_CONTINUE"
    statuses = [chunk.status for chunk in evidence.chunks]
    right = statuses == [INCOMPLETE] * (len(statuses) - 1) + [SUCCESS]
    text = f"the statuses are {', '.join(statuses[:8])}, not {INCOMPLETE} until a last {SUCCESS}"
    findings.expect(right, rule, claim, text)
    if evidence.asked is not None:
        longest = max((len(chunk.data) for chunk in evidence.chunks), default=0)
        text = f"wrote {longest} bytes where {evidence.asked} were asked for"
        findings.expect(longest <= evidence.asked, rule, claim, text)
    if evidence.largest is not None:
        text = f"{total} bytes came, more than the {evidence.largest} that INIT announced"
        findings.expect(total <= evidence.largest, rule, claim, text)


def _check_bytes(made: Judgement, label: int, permitted: set[bytes], rule: Rule, words: str) -> None:
    realm, name = made.verification.judged.realm, str(c.REALM_CLAIMS[label])
    item = realm.bytes_of(label) if realm else None
    if item is None:
        made.findings.error(rule, name, "cannot be compared: it is missing or malformed")
        return
    text = f"is {item.value.hex()}, not {words}: {' or '.join(sorted(value.hex() for value in permitted))}"
    made.findings.expect(item.value in permitted, rule, name, text, item.offset)


def _check_measurements(made: Judgement, measured: Sequence[Measured]) -> None:
    """RIM and REMs are those of one generation, both of the same."""
    _check_bytes(made, c.RIM, {one.rim for one in measured}, Rule.ATTESTED_RIM, "what any generation measures")
    realm, name = made.verification.judged.realm, str(c.REALM_CLAIMS[c.REM])
    items = realm.items_of(c.REM) if realm else ()
    found = tuple(item.value for item in items if isinstance(item, Bytes))
    rim = realm.bytes_of(c.RIM) if realm else None
    # A generation that makes the RIM decides which readings of REM extension are permitted.
    possible = [one for one in measured if rim is not None and one.rim == rim.value] or list(measured)
    fits = [one for one in possible if found in one.rems.values()]
    text = f"are {', '.join(value.hex() for value in found)}; no permitted reading of the extensions makes them"
    made.findings.expect(bool(fits), Rule.ATTESTED_REM, name, text, items[0].offset if items else None)
    made.generations = [one.generation.name for one in fits if rim is not None and one.rim == rim.value]
