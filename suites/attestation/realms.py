"""Realms for the tests of this suite: random constructions, tokens fetched from them, and their judgement."""

from __future__ import annotations

import random
from collections.abc import Mapping

from harness.attestation.evidence import Evidence, Judgement, judge_evidence
from harness.attestation.realm import Attester, AttestingRealm, RealmOrder, fetch_token
from harness.check import Check
from harness.report.records import FailingCase, Outcome
from refmodel.attestation.findings import Finding, Findings
from refmodel.attestation.rim import Construction, Data, Rec, Ripas, Step
from refmodel.rmm.measurement import HashAlgorithm, MeasuredRealmParams
from refmodel.rules import Rule

RMM_1_0 = "RMM 1.0"
BASE = 0x8000_0000


def realm_of(check: Check) -> AttestingRealm | None:
    """The target's realm; without one no rule of this suite applies to the target."""
    target = check.session.target
    if isinstance(target, Attester):
        return target.attesting_realm()
    check.tally.not_applicable = f"the target {target.info.name} has no realm"
    return None


def construction(rng: random.Random, algorithm: HashAlgorithm, steps: int = 6) -> Construction:
    """A realm of every kind of step, in random order, with random contents."""
    params = MeasuredRealmParams(rng.getrandbits(2), rng.randint(32, 48), algorithm, num_bps=rng.randint(0, 15))
    chosen: list[Step] = [_ripas(rng), _data(rng, 1), _data(rng, 0), _rec(rng, 1), _rec(rng, 0)]
    chosen += [rng.choice((_ripas(rng), _data(rng, 1), _rec(rng, 1))) for _ in range(max(0, steps - len(chosen)))]
    rng.shuffle(chosen)
    return Construction(params, tuple(chosen))


def _ripas(rng: random.Random) -> Ripas:
    size = rng.choice((1 << 12, 1 << 21))
    base = BASE + rng.randrange(64) * size
    return Ripas(base, base + rng.randint(1, 4) * size, size)


def _data(rng: random.Random, flags: int) -> Data:
    return Data(BASE + rng.randrange(1 << 16) * 4096, flags, rng.randbytes(4096) if flags else bytes(4096))


def _rec(rng: random.Random, flags: int) -> Rec:
    return Rec(flags, rng.getrandbits(48), tuple(rng.getrandbits(64) for _ in range(8)))


def order(check: Check, combination: str = RMM_1_0, algorithm: HashAlgorithm = HashAlgorithm.SHA_256) -> RealmOrder:
    """A random realm."""
    made = construction(check.rng, algorithm)
    return RealmOrder(construction=made, rpv=check.rng.randbytes(64), combination=combination)


def attest(realm: AttestingRealm, made: RealmOrder, challenge: bytes, size: int = 4096) -> Judgement:
    """Fetch a token and judge it with all that is known of its realm."""
    largest, chunks = fetch_token(realm, challenge, size)
    return judge_evidence(
        Evidence(
            chunks=chunks,
            challenge=challenge,
            asked=size,
            largest=largest,
            construction=made.construction,
            rpv=made.rpv,
            platform_key=realm.platform_key,
        )
    )


def record(check: Check, findings: Findings, stimulus: Mapping[str, str]) -> None:
    """Count what held and what did not."""
    check.tally.stimuli += 1
    for rule in findings.held:
        if rule not in findings.broken():
            check.tally.count((rule,), 1, weak=False)
    for finding in findings.errors:
        _fail(check, finding, stimulus)


def _fail(check: Check, finding: Finding, stimulus: Mapping[str, str]) -> None:
    signature = f"{finding.rule.value} {finding.claim}"
    place = f"byte {finding.offset}" if finding.offset is not None else "nowhere"

    def case(waiver: str) -> FailingCase:
        return FailingCase(
            case=signature,
            title=finding.message[:100],
            signature=signature,
            rules=(finding.rule.value,),
            stimulus=dict(stimulus),
            expected=(Outcome(fields={finding.claim: "as the rule says"}),),
            observed=Outcome(fields={finding.claim: finding.message, "at": place}),
            reproduce=check.session.reproduce,
            waiver=waiver,
        )

    check.tally.fail(finding.rule, signature, case)


def expect(check: Check, holds: bool, rule: Rule, claim: str, message: str, stimulus: Mapping[str, str]) -> None:
    """A single check of a rule."""
    findings = Findings()
    findings.expect(holds, rule, claim, message)
    record(check, findings, stimulus)
