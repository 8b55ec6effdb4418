"""What a token says about its realm: RIM, REMs and RPV against the model's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.check import Check
from refmodel.attestation.rim import Construction, Data, Extend, Rec, Ripas, measure_all
from refmodel.rmm.measurement import HashAlgorithm, MeasuredRealmParams
from refmodel.rules import Rule
from suites.attestation.realms import BASE, RMM_1_0, attest, construction, expect, order, realm_of, record

ALGORITHMS = [HashAlgorithm.SHA_256, HashAlgorithm.SHA_512]


@pytest.mark.smoke
@pytest.mark.rule("ATT-062")
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda one: one.token_name)
def test_rim(check: Check, algorithm: HashAlgorithm) -> None:
    """The RIM of random realms, in the token and by RSI_MEASUREMENT_READ, is that of one generation."""
    realm = realm_of(check)
    if realm is None:
        return
    possible: set[str] | None = None
    for _ in range(max(2, round(8 * check.scale))):
        made = order(check, RMM_1_0, algorithm)
        realm.create(made)
        stimulus = {"steps": "; ".join(map(str, made.construction.steps))}
        judged = attest(realm, made, check.rng.randbytes(64))
        record(check, judged.findings, stimulus)
        possible = set(judged.generations) if possible is None else possible & set(judged.generations)
        read = realm.measurement(0)
        permitted = {one.extensions[-1].rim for one in measure_all(made.construction)}
        text = f"RSI_MEASUREMENT_READ gives {read.hex()}, which no generation measures"
        expect(check, read in permitted, Rule.ATTESTED_RIM, "RSI_MEASUREMENT_READ", text, stimulus)
    steady = bool(possible)
    text = "no single generation makes the RIMs of all realms of this test"
    expect(check, steady, Rule.ATTESTED_RIM, "generation of measurements", text, {"realms": "all of this test"})
    if possible:
        check.tally.choice("generation of measurements", " or ".join(sorted(possible)))


@pytest.mark.rule("ATT-062")
def test_rim_of_single_steps(check: Check) -> None:
    """Each kind of step alone, and what must not be measured."""
    realm = realm_of(check)
    if realm is None:
        return
    params = MeasuredRealmParams(0, 40, HashAlgorithm.SHA_256)
    page = check.rng.randbytes(4096)
    for steps in (
        (),
        (Ripas(BASE, BASE + 0x200000, 0x200000),),
        (Ripas(BASE, BASE + 0x3000, 0x1000),),
        (Data(BASE, 1, page),),
        (Data(BASE, 0, page),),
        (Rec(1, BASE, tuple(range(8))),),
        (Rec(0, BASE, tuple(range(8))),),
        (Data(BASE, 1, page), Rec(1, BASE, (0,) * 8)),
        (Rec(1, BASE, (0,) * 8), Data(BASE, 1, page)),
    ):
        made = replace(order(check), construction=Construction(params, steps))
        realm.create(made)
        stimulus = {"steps": "; ".join(map(str, steps)) or "none"}
        record(check, attest(realm, made, check.rng.randbytes(64)).findings, stimulus)


@pytest.mark.smoke
@pytest.mark.rule("ATT-063")
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda one: one.token_name)
def test_rem(check: Check, algorithm: HashAlgorithm) -> None:
    """After every extension, of every index and size, the token's REMs are those of one reading throughout."""
    realm = realm_of(check)
    if realm is None:
        return
    made = order(check, RMM_1_0, algorithm)
    realm.create(made)
    sizes = [0, 1, 31, 32, 33, 63, 64, *(check.rng.randint(0, 64) for _ in range(3))]
    record(check, attest(realm, made, check.rng.randbytes(64)).findings, {"extensions": "none"})
    for number, size in enumerate(sizes):
        extend = Extend(number % 4 + 1, check.rng.randbytes(size))
        status = realm.extend(extend.index, extend.value)
        stimulus = {"extension": f"index {extend.index}, {size} bytes {extend.value.hex()}", "status": status}
        extends = (*made.construction.extends, extend)
        made = replace(made, construction=replace(made.construction, extends=extends))
        record(check, attest(realm, made, check.rng.randbytes(64)).findings, stimulus)
        read = tuple(realm.measurement(index)[: algorithm.digest_bytes] for index in range(1, 5))
        fits = any(read in one.rems.values() for one in measure_all(made.construction))
        text = f"RSI_MEASUREMENT_READ gives {', '.join(value.hex() for value in read)}"
        expect(check, fits, Rule.ATTESTED_REM, "RSI_MEASUREMENT_READ", text, stimulus)


@pytest.mark.smoke
@pytest.mark.rule("ATT-064")
def test_rpv(check: Check) -> None:
    """The token carries the RPV of its realm, which is not measured."""
    realm = realm_of(check)
    if realm is None:
        return
    built = construction(check.rng, HashAlgorithm.SHA_256)
    for rpv in (bytes(64), b"\xff" * 64, bytes(range(64)), check.rng.randbytes(64)):
        made = replace(order(check), construction=built, rpv=rpv)
        realm.create(made)
        record(check, attest(realm, made, check.rng.randbytes(64)).findings, {"RPV": rpv.hex()})
