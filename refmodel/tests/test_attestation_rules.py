"""Rules of attestation over values written by hand; the tables of claims and profiles agree with each other."""

from __future__ import annotations

import itertools

import pytest

from refmodel.attestation import claims as c
from refmodel.attestation.appraisal import (
    Appraisal,
    Category,
    Component,
    PlatformReference,
    Tier,
    appraise_platform,
    tier,
)
from refmodel.attestation.claimset import ClaimSet, judge_claims
from refmodel.attestation.findings import Findings
from refmodel.attestation.headers import HEADERS_1, HEADERS_2, check_headers, parts
from refmodel.attestation.items import Array, Bool, Bytes, Int, Item, Map, Other, Tag, Text, describe
from refmodel.attestation.profiles import (
    COMBINATIONS,
    PLATFORM_PROFILES,
    REALM_PROFILES,
    KeyForm,
    candidates,
    nearest,
)
from refmodel.attestation.rak import cose_key, key_form
from refmodel.attestation.rim import Construction, Data, Extend, Rec, Ripas, Step, extended, measure
from refmodel.attestation.shapes import ArrayShape, BytesShape, IntShape, TextShape, check_shape
from refmodel.attestation.wrapper import open_wrapper
from refmodel.rmm.measurement import GENERATIONS, RMM_1_0, HashAlgorithm, MeasuredRealmParams, RemRule
from refmodel.rules import Rule


def b(data: bytes, offset: int = 0) -> Bytes:
    return Bytes(offset, data, offset + 1)


def m(*pairs: tuple[int, Item], offset: int = 0) -> Map:
    return Map(offset, tuple((Int(offset, label), value) for label, value in pairs))


def broken(findings: Findings) -> set[tuple[Rule, int | None]]:
    return {(error.rule, error.offset) for error in findings.errors}


# Tables ---------------------------------------------------------------------------------------------------------------


def test_profiles_name_only_claims_that_are_defined() -> None:
    for realm in REALM_PROFILES.values():
        assert realm.mandatory | realm.optional <= set(realm.claims)
        assert not realm.mandatory & realm.optional
    for platform in PLATFORM_PROFILES.values():
        assert platform.mandatory | platform.optional <= set(platform.claims)
        assert not platform.mandatory & platform.optional
        assert set(platform.binding.labels) <= platform.mandatory | platform.optional


def test_combinations_are_told_apart() -> None:
    """A token fits one combination at most, by tag, profiles and the form of its key."""
    for tag, platform, realm in itertools.product((399, 907), PLATFORM_PROFILES, REALM_PROFILES):
        for form, labels in itertools.product(KeyForm, (frozenset[int](), frozenset({c.MEC_POLICY}))):
            fitting = [
                made
                for made in candidates(tag, platform, realm, labels)
                if form in made.keys & REALM_PROFILES[made.realm_rules].keys
            ]
            assert len(fitting) <= 1, (tag, platform, realm, form)
    assert all(made.realm_rules in REALM_PROFILES for made in COMBINATIONS)
    assert candidates(399, "tag:arm.com,2024:cca_platform#2.0.0", "tag:arm.com,2024:realm#2.0.0") == ()


def test_the_nearest_combination_follows_the_realm_first() -> None:
    made = nearest("tag:arm.com,2024:cca_platform#2.0.0", "tag:arm.com,2023:realm#1.0.0")
    assert made is not None
    assert made.name == "RMM 1.0"
    by_platform = nearest("http://arm.com/CCA-SSD/1.0.0", "nonsense")
    assert by_platform is not None
    assert by_platform.name == "legacy"
    assert nearest("nonsense", "") is None


# Shapes ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "item", "wrong"),
    [
        (BytesShape((64,)), b(bytes(64)), None),
        (BytesShape((64,)), b(bytes(63), 5), (Rule.CLAIM_LENGTH, 5)),
        (BytesShape(()), b(b""), None),
        (BytesShape((33,), first=1), b(b"\2" + bytes(32), 5), (Rule.CLAIM_VALUE, 6)),
        (BytesShape((64,)), Text(5, "x"), (Rule.CLAIM_TYPE, 5)),
        (IntShape(((0, 1),)), Bool(5, True), (Rule.CLAIM_TYPE, 5)),
        (IntShape(((0, 1),)), Int(5, 2), (Rule.CLAIM_VALUE, 5)),
        (IntShape(((0, 1), (4, 4))), Int(5, 4), None),
        (TextShape(("a",)), Text(5, "b"), (Rule.CLAIM_VALUE, 5)),
        (TextShape(), Other(5, "null"), (Rule.CLAIM_TYPE, 5)),
        (ArrayShape(TextShape()), Array(5, ()), (Rule.CLAIM_LENGTH, 5)),
        (ArrayShape(TextShape(), 1, 1), Array(5, (Text(6, ""), Text(7, ""))), (Rule.CLAIM_LENGTH, 5)),
        (ArrayShape(TextShape()), Array(5, (Text(6, "a"), Int(7, 1))), (Rule.CLAIM_TYPE, 7)),
    ],
)
def test_shapes(shape: BytesShape, item: Item, wrong: tuple[Rule, int] | None) -> None:
    findings = Findings()
    assert check_shape(shape, item, "claim", findings) is (wrong is None)
    assert broken(findings) == ({wrong} if wrong else set())


@pytest.mark.parametrize("value", [0x0000, 0x00FF, 0x1000, 0x30FF, 0x60FF])
def test_lifecycles_in_range(value: int) -> None:
    assert check_shape(c.PLATFORM_CLAIMS[c.LIFECYCLE].shape, Int(0, value), "lifecycle", Findings())


@pytest.mark.parametrize("value", [-1, 0x0100, 0x0FFF, 0x3100, 0x6100, 0x7000, 0x13000])
def test_lifecycles_out_of_range(value: int) -> None:
    assert not check_shape(c.PLATFORM_CLAIMS[c.LIFECYCLE].shape, Int(0, value), "lifecycle", Findings())


def test_a_claim_is_mandatory_foreign_or_unknown() -> None:
    found = m((c.RPV, b(bytes(64))), (c.LIFECYCLE, Int(0, 0x3000)), (4711, Int(0, 1)), offset=9)
    findings = Findings()
    made = judge_claims("realm", found, c.REALM_CLAIMS, frozenset({c.RPV, c.RIM}), frozenset(), findings)
    assert set(made.good) == {c.RPV}
    assert broken(findings) == {(Rule.CLAIM_OF_PROFILE, 9), (Rule.CLAIM_PRESENT, 9)}
    assert [note.message for note in findings.notes] == ["claim 4711 is not known and is ignored"]


# Envelope, wrapper, key -----------------------------------------------------------------------------------------------


def header_findings(protected: Map, unprotected: Map | None = None, newer: bool = False) -> set[Rule]:
    findings = Findings()
    check_headers(protected, unprotected or m(), HEADERS_2 if newer else HEADERS_1, "token", findings)
    return set(findings.broken())


def test_headers() -> None:
    alg = (1, Int(0, -35))
    assert header_findings(m(alg)) == set()
    assert header_findings(m(alg), m((4, b(b"kid")))) == set()
    assert header_findings(m(), m(alg)) == {Rule.SIGN1_ALG, Rule.SIGN1_HEADERS}
    assert header_findings(m((1, Int(0, -8)))) == {Rule.SIGN1_ALG}
    assert header_findings(m(alg, (2, Array(0, (Int(0, 99),))), (99, Int(0, 1)))) == {
        Rule.SIGN1_CRIT, Rule.SIGN1_HEADERS,
    }  # fmt: skip
    chain = m((33, b(b"certificate")))
    assert header_findings(m(alg), chain) == {Rule.SIGN1_HEADERS}
    assert header_findings(m(alg), chain, newer=True) == set()


def test_the_four_parts() -> None:
    four = (b(b""), m(), b(b""), b(b""))
    assert parts(Tag(0, 18, Array(1, four)), "token", Findings()) is not None
    for item, rule in (
        (Tag(0, 17, Array(1, four)), Rule.SIGN1_FORM),
        (Array(1, four), Rule.SIGN1_FORM),
        (Tag(0, 18, Array(1, four[:3])), Rule.SIGN1_FORM),
        (Tag(0, 18, Array(1, (*four[:2], Other(3, "null"), four[3]))), Rule.SIGN1_PAYLOAD),
    ):
        findings = Findings()
        parts(item, "token", findings)
        assert findings.broken() == {rule}


def test_wrappers() -> None:
    one, two = b(b"platform"), b(b"realm")
    bare = m((c.PLATFORM_TOKEN, one), (c.REALM_TOKEN, two))
    records = m(
        (c.PLATFORM_TOKEN, Array(0, (Int(0, 263), one))), (c.REALM_TOKEN, Array(0, (Int(0, 263), two)))
    )  # fmt: skip
    for tag, good, bad in ((399, bare, records), (907, records, bare)):
        findings = Findings()
        assert open_wrapper(Tag(0, tag, good), findings).entries == {c.PLATFORM_TOKEN: one, c.REALM_TOKEN: two}
        assert findings.errors == []
        open_wrapper(Tag(0, tag, bad), findings)
        assert findings.broken() == {Rule.WRAPPER_ENTRY_FORM}


def test_keys() -> None:
    assert key_form(b"\x04" + bytes(96)) is KeyForm.RAW_POINT
    assert key_form(b"\xa4\x01") is KeyForm.COSE_KEY
    assert key_form(b"") is key_form(b"\x02" + bytes(48)) is None
    x, y = bytes([1]) * 48, bytes([2]) * 48
    good = m((1, Int(0, 2)), (-1, Int(0, 2)), (-2, b(x)), (-3, b(y)))
    made = cose_key(good, "RAK", Findings())
    assert made is not None
    assert (made.curve, made.octets) == ("P-384", b"\4" + x + y)
    compressed = cose_key(m((1, Int(0, 2)), (-1, Int(0, 2)), (-2, b(x)), (-3, Bool(0, True))), "RAK", Findings())
    assert compressed is not None
    assert compressed.octets == b"\3" + x
    findings = Findings()
    cose_key(m(*((k.value, v) for k, v in good.pairs if isinstance(k, Int)), (-4, b(x, 77))), "RAK", findings)
    assert broken(findings) == {(Rule.RAK_PARAMETERS, 77)}


def test_descriptions() -> None:
    assert describe(Text(0, "x" * 100)).endswith("...'")
    assert describe(Bool(0, True)) == "the boolean true"
    assert describe(Tag(0, 5, Int(0, 1))) == "an item with tag 5"


# Measurements and appraisal ------------------------------------------------------------------------------------------


def test_what_is_not_measured_changes_nothing() -> None:
    params = MeasuredRealmParams(0, 40, HashAlgorithm.SHA_256)
    empty = measure(Construction(params), RMM_1_0).rim
    unmeasured: tuple[Step, ...] = (Rec(0, 1, (0,) * 8), Ripas(0x1000, 0x1000, 0x1000))
    measured: tuple[Step, ...] = (Rec(1, 1, (0,) * 8), Ripas(0, 0x1000, 0x1000), Data(0, 0, b""))
    for step in (*unmeasured, *measured):
        rim = measure(Construction(params, (step,)), RMM_1_0).rim
        assert (rim == empty) is (step in unmeasured)
    with pytest.raises(ValueError, match=r"rmm-1.0 has no sha-384"):
        measure(Construction(params).with_algorithm(HashAlgorithm.SHA_384), GENERATIONS["rmm-1.0"])


def test_only_the_rem_that_is_extended_changes() -> None:
    rems = extended((Extend(3, b"x"),), HashAlgorithm.SHA_512, RemRule.TF_RMM)
    assert [any(rem) for rem in rems] == [False, False, True, False]
    assert {len(rem) for rem in rems} == {64}


def test_tiers_and_the_worst_of_a_vector() -> None:
    assert [tier(value) for value in (0, 1, 2, 31, 32, 95, 96, 99)] == [
        Tier.NONE, Tier.NONE, Tier.AFFIRMING, Tier.AFFIRMING, Tier.WARNING, Tier.WARNING,
        Tier.CONTRAINDICATED, Tier.CONTRAINDICATED,
    ]  # fmt: skip
    made = Appraisal()
    assert made.status is Tier.NONE
    made.put(Category.HARDWARE, 2, "good")
    made.put(Category.EXECUTABLES, 33, "bad")
    made.put(Category.EXECUTABLES, 2, "good after all")
    assert (made.status, made.reasons[Category.EXECUTABLES]) == (Tier.WARNING, "bad")


def test_components_are_approved_as_a_whole() -> None:
    """Half of one release and half of another are no release."""
    ids = bytes(32)
    old, new = (tuple(Component(frozenset({bytes([n]) * 32}), None) for n in pair) for pair in ((1, 2), (3, 4)))
    references = [PlatformReference(ids, old), PlatformReference(ids, new)]

    def executables(*measurements: int) -> int:
        found = Array(0, tuple(m((2, b(bytes([n]) * 32)), (5, b(bytes(32)))) for n in measurements))
        platform = ClaimSet("platform", m(), c.PLATFORM_CLAIMS)
        platform.good = {c.IMPLEMENTATION_ID: b(ids), c.SW_COMPONENTS: found, c.LIFECYCLE: Int(0, 0x3000)}
        return appraise_platform(platform, references, known_key=True).vector[Category.EXECUTABLES]

    assert executables(1, 2) == executables(3, 4) == 2
    assert executables(1, 4) == executables(1) == executables(1, 2, 3) == 33
