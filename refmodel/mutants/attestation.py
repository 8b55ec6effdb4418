"""Mutants of attestation: the model's realm hands out a token that is spoiled in one way, or measures wrongly.

Most name a mutation of the corpus (``harness/attestation/mutations``) that every token then undergoes.
"""

from __future__ import annotations

from typing import Any

from refmodel.mutants.mutant import Mutant, Original, Patch
from refmodel.rules import Rule

_REALM = "harness.attestation.model_realm"


def _mutant(name: str, rule: Rule, *patches: Patch) -> Mutant:
    return Mutant(name, "attestation", (rule.value,), patches, kind="observation")


def _spoiled(name: str, rule: Rule, mutation: str) -> Mutant:
    """Every token that has what is to be spoiled undergoes a mutation of the corpus."""
    return _mutant(name, rule, Patch(_REALM, "FALSIFY", lambda original: mutation))


def _first_challenge(original: Original) -> Any:
    """Tokens keep the challenge of the first one."""
    first: list[bytes] = []

    def parts(realm: Any, challenge: bytes) -> Any:
        first.append(challenge)
        return original(realm, first[0])

    return parts


def _loses_a_byte(original: Original) -> Any:
    """Each piece after the first begins a byte too late."""

    def take(realm: Any, size: int) -> Any:
        realm._at += 1 if realm._at else 0
        return original(realm, size)

    return take


def _says_success_early(original: Original) -> Any:
    return lambda realm, size: type(made := original(realm, size))("RSI_SUCCESS", made.data)


def _without_contents(original: Original) -> Any:
    """DATA Granules are measured as if their content were not."""
    return lambda algorithm, rim, ipa, flags, content, generation: original(algorithm, rim, ipa, 0, content, generation)


def _without_rec_registers(original: Original) -> Any:
    return lambda algorithm, rim, flags, pc, gprs: original(algorithm, rim, flags, pc, (0,) * 8)


def _runnable_or_not(original: Original) -> Any:
    return lambda algorithm, rim, flags, pc, gprs: original(algorithm, rim, flags | 1, pc, gprs)


def _always_the_first_rem(original: Original) -> Any:
    return lambda realm, index, value: original(realm, 1, value)


def _not_extended(original: Original) -> Any:
    return lambda realm, index, value: "RSI_SUCCESS"


def _zero_rpv(original: Original) -> Any:
    """The realm forgets its RPV."""

    def create(realm: Any, order: Any) -> None:
        original(realm, type(order)(**{**_fields(order), "rpv": bytes(64)}))

    return create


def _fields(order: Any) -> dict[str, Any]:
    return {name: getattr(order, name) for name in type(order).__dataclass_fields__}


def _realm(name: str, rule: Rule, method: str, make: Any) -> Mutant:
    return _mutant(name, rule, Patch(_REALM, f"ModelRealm.{method}", make))


def _rim(name: str, function: str, make: Any) -> Mutant:
    return _mutant(name, Rule.ATTESTED_RIM, Patch("refmodel.attestation.rim", function, make))


ATTESTATION_MUTANTS: tuple[Mutant, ...] = (
    _spoiled("token-cut", Rule.CBOR_WELL_FORMED, "realm claims a byte short"),
    _spoiled("bytes-after-token", Rule.CBOR_NOTHING_FOLLOWS, "followed by a zero"),
    _spoiled("bytes-after-rak", Rule.CBOR_NOTHING_FOLLOWS, "RAK with a byte more"),
    _spoiled("indefinite-claims", Rule.CBOR_DEFINITE, "realm claims of indefinite length"),
    _spoiled("claim-twice", Rule.CBOR_UNIQUE_KEYS, "realm cca-realm-initial-measurement twice"),
    _spoiled("text-not-utf-8", Rule.CBOR_UTF8, "realm text that is not UTF-8"),
    _spoiled("token-too-deep", Rule.CBOR_LIMITS, "10000 nested arrays"),
    _spoiled("wrapper-untagged", Rule.WRAPPER_TAG, "wrapper untagged"),
    _spoiled("realm-token-missing", Rule.WRAPPER_ENTRIES, "realm entry removed"),
    _spoiled("record-of-three", Rule.WRAPPER_ENTRY_FORM, "realm record malformed (1)"),
    _spoiled("unknown-entry", Rule.WRAPPER_KNOWN_ENTRIES, "entry 44300 added"),
    _spoiled("envelope-untagged", Rule.SIGN1_FORM, "platform untagged"),
    _spoiled("algorithm-unprotected", Rule.SIGN1_ALG, "realm alg unprotected"),
    _spoiled("unknown-header", Rule.SIGN1_HEADERS, "platform with header 99 unprotected"),
    _spoiled("unknown-critical-header", Rule.SIGN1_CRIT, "realm crit unknown"),
    _spoiled("payload-no-map", Rule.SIGN1_PAYLOAD, "realm payload an array"),
    _spoiled("signature-in-der", Rule.SIGN1_LENGTH, "realm signature in DER"),
    _spoiled("algorithm-of-another-curve", Rule.SIGN1_CURVE, "realm alg = ES512"),
    _spoiled("platform-signature-flipped", Rule.PLATFORM_SIGNATURE, "platform signature byte 40 flipped"),
    _spoiled("platform-signed-by-a-stranger", Rule.PLATFORM_SIGNATURE, "platform signed by a stranger"),
    _spoiled("realm-signature-flipped", Rule.REALM_SIGNATURE, "realm signature byte 40 flipped"),
    _spoiled("instance-id-missing", Rule.CLAIM_PRESENT, "platform cca-platform-instance-id removed"),
    _spoiled("lifecycle-boolean", Rule.CLAIM_TYPE, "platform cca-platform-lifecycle as True"),
    _spoiled("rems-three", Rule.CLAIM_LENGTH, "realm cca-realm-extensible-measurements with 3 values"),
    _spoiled("components-none", Rule.CLAIM_LENGTH, "no software components"),
    _spoiled("lifecycle-undefined", Rule.CLAIM_VALUE, "platform cca-platform-lifecycle = 28672"),
    _spoiled("claim-of-the-other-token", Rule.CLAIM_OF_PROFILE, "realm with foreign claim 2395"),
    _spoiled("profile-unknown", Rule.PROFILE_KNOWN, "realm profile 'PSA_IOT_PROFILE_1'"),
    _spoiled(
        "profiles-mixed",
        Rule.PROFILE_COMBINATION,
        "profiles 'tag:arm.com,2023:cca_platform#1.0.0' with 'tag:arm.com,2024:realm#2.0.0'",
    ),
    _spoiled("hash-name-unknown", Rule.HASH_NAME, "realm cca-realm-hash-algo-id = 'sha-1'"),
    _spoiled("rem-of-another-size", Rule.HASH_SIZE, "realm cca-realm-extensible-measurements[2] of 48 bytes"),
    _spoiled("rak-as-point", Rule.RAK_FORM, "RAK as raw point"),
    _spoiled("rak-with-private-key", Rule.RAK_PARAMETERS, "RAK with parameter -4 = 32 bytes"),
    _spoiled("rak-off-curve", Rule.RAK_POINT, "RAK off its curve"),
    _spoiled("rak-of-another-realm", Rule.RAK_BINDING, "realm token of another RAK"),
    _spoiled("rak-encoded-anew", Rule.RAK_BINDING, "RAK encoded anew, binding kept"),
    _spoiled("device-token-unbound", Rule.DEVICES_BINDING, "realm cca-realm-devices-token-hash removed"),
    _spoiled("challenge-not-repeated", Rule.CHALLENGE_REPEATED, "platform cca-platform-challenge of 32 bytes"),
    _realm("challenge-of-the-first-token", Rule.ATTESTED_CHALLENGE, "parts", _first_challenge),
    _realm("a-byte-lost-between-pieces", Rule.ATTESTED_CHUNKS, "take", _loses_a_byte),
    _realm("success-before-the-end", Rule.ATTESTED_CHUNKS, "take", _says_success_early),
    _rim("rim-without-contents", "RimExtendData", _without_contents),
    _rim("rim-without-rec-registers", "RimExtendRec", _without_rec_registers),
    _rim("rim-with-recs-not-runnable", "RimExtendRec", _runnable_or_not),
    _realm("rem-not-extended", Rule.ATTESTED_REM, "extend", _not_extended),
    _realm("rem-always-the-first", Rule.ATTESTED_REM, "extend", _always_the_first_rem),
    _realm("rpv-zero", Rule.ATTESTED_RPV, "create", _zero_rpv),
)
