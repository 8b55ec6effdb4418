"""Merging and settling verdicts, claims and their exit codes, and the layouts that refuse contradictions."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report import Cells, CheckResult, ClaimResult, Counts, FailingCase, Verdict, merge, settle
from harness.report.claims import Circumstances, Claim, combine, evaluate
from harness.report.codec import DecodeError, decode, encode
from harness.rules.catalogue import load_catalogue
from harness.tests.report_samples import case, check, write_rules

VERDICTS = st.lists(st.sampled_from(Verdict), min_size=1, max_size=6)


@given(VERDICTS)
def test_merge_does_not_depend_on_order_and_never_hides_a_failure(verdicts: list[Verdict]) -> None:
    merged = merge(verdicts)
    assert merged in verdicts
    assert all(merge(order) is merged for order in list(permutations(verdicts))[:24])
    assert (merged is Verdict.FAIL) == (Verdict.FAIL in verdicts)
    if merged is Verdict.PASS:
        assert set(verdicts) <= {Verdict.PASS, Verdict.NOT_APPLICABLE}


def test_merge_of_nothing_is_not_run() -> None:
    assert merge([]) is Verdict.NOT_RUN


@given(VERDICTS)
def test_a_retry_never_hides_a_failure(attempts: list[Verdict]) -> None:
    if Verdict.FAIL in attempts:
        assert settle(attempts) is Verdict.FAIL


def test_a_retry_replaces_an_inconclusive_attempt() -> None:
    assert settle([Verdict.INCONCLUSIVE, Verdict.PASS]) is Verdict.PASS
    assert settle([Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE]) is Verdict.INCONCLUSIVE
    assert settle([Verdict.PASS, Verdict.INCONCLUSIVE]) is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"verdict": Verdict.PASS, "counts": Counts()}, "at least one judged"),
        ({"verdict": Verdict.PASS, "counts": Counts(stimuli=1, judged=1, failed=1)}, "1 failed"),
        ({"verdict": Verdict.FAIL, "counts": Counts(stimuli=1, judged=1, passed=1)}, "at least one failed"),
        ({"verdict": Verdict.WAIVED, "counts": Counts(stimuli=1, judged=1, passed=1)}, "0 waived"),
        ({"verdict": Verdict.INCONCLUSIVE, "reason": ""}, "needs a reason"),
    ],
)
def test_a_verdict_cannot_contradict_its_counts(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CheckResult(**({"test": "t", "rules": ("GPC-001",)} | changes))


@pytest.mark.parametrize(
    "fields", [{"stimuli": 1, "judged": 2, "passed": 2}, {"stimuli": 2, "judged": 2, "passed": 1}, {"stimuli": -1}]
)
def test_counts_must_add_up(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="counts"):
        Counts(**fields)


def test_cells_covered_stay_inside_the_total() -> None:
    with pytest.raises(ValueError, match=r"0\.\.3"):
        Cells(covered=4, total=3)


def test_codec_gives_back_what_it_was_given() -> None:
    original = check(Verdict.FAIL, cases=(case(1), case(2)), choices={"order": {"a": 1}})
    assert decode(CheckResult, encode(original)) == original


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"index": "1"}, "index must be int, not '1'"),
        ({"index": True}, "index must be int, not True"),
        ({"rules": "GPC-001"}, "rules must be an array"),
        ({"rules": [1]}, r"rules\[0\] must be str"),
        ({"stimulus": []}, "stimulus must be an object"),
        ({"observed": {"fields": {"a": 1}}}, r"observed\.fields\.a must be str"),
        ({"colour": "red"}, "colour is not a known field"),
    ],
)
def test_codec_names_the_field_that_does_not_fit(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        decode(FailingCase, encode(case()) | change)


def test_codec_names_a_missing_field_and_an_unknown_verdict() -> None:
    with pytest.raises(DecodeError, match="test is missing"):
        decode(CheckResult, {"rules": [], "verdict": "PASS"})
    with pytest.raises(DecodeError, match=r"verdict must be one of PASS, .* not 'GOOD'"):
        decode(CheckResult, {"test": "t", "rules": [], "verdict": "GOOD"})


def claim(
    tmp_path: Path,
    first: Verdict,
    second: Verdict = Verdict.PASS,
    *,
    feature: str = "present",
    self_test: bool = False,
    interrupted: bool = False,
) -> Claim:
    catalogue = load_catalogue(write_rules(tmp_path / "rules"))
    profile = catalogue.profiles["rme-gpc"]
    circumstances = Circumstances(self_test, interrupted, {"FEAT_X": feature})
    verdicts = {"GPC-001": first, "GPC-002": second}
    return evaluate(profile, catalogue.members(profile), verdicts, circumstances)


@pytest.mark.parametrize(
    ("verdict", "result"),
    [
        (Verdict.PASS, ClaimResult.CONFORMING),
        (Verdict.WAIVED, ClaimResult.CONFORMING),
        (Verdict.FAIL, ClaimResult.NON_CONFORMING),
        (Verdict.NOT_RUN, ClaimResult.NON_CONFORMING),
        (Verdict.INCONCLUSIVE, ClaimResult.INCONCLUSIVE),
        (Verdict.NOT_OBSERVABLE, ClaimResult.INCONCLUSIVE),
        (Verdict.NOT_APPLICABLE, ClaimResult.INCONCLUSIVE),
    ],
)
def test_what_a_mandatory_rule_does_to_a_claim(tmp_path: Path, verdict: Verdict, result: ClaimResult) -> None:
    outcome = claim(tmp_path, verdict)
    assert outcome.result is result
    assert outcome.waived == (("GPC-001",) if verdict is Verdict.WAIVED else ())
    assert [item.rule for item in outcome.left_out] == ["GPC-090"]
    assert outcome.counted == 2


@pytest.mark.parametrize(
    ("verdict", "feature", "result", "counted"),
    [
        (Verdict.NOT_RUN, "present", ClaimResult.NON_CONFORMING, 2),
        (Verdict.NOT_RUN, "absent", ClaimResult.CONFORMING, 1),
        (Verdict.NOT_APPLICABLE, "absent", ClaimResult.CONFORMING, 1),
        (Verdict.NOT_APPLICABLE, "present", ClaimResult.INCONCLUSIVE, 2),
        (Verdict.FAIL, "absent", ClaimResult.NON_CONFORMING, 2),
    ],
)
def test_an_optional_rule_counts_where_its_feature_is(
    tmp_path: Path, verdict: Verdict, feature: str, result: ClaimResult, counted: int
) -> None:
    outcome = claim(tmp_path, Verdict.PASS, verdict, feature=feature)
    assert (outcome.result, outcome.counted) == (result, counted)


def test_an_interrupted_run_is_inconclusive_unless_it_failed(tmp_path: Path) -> None:
    assert claim(tmp_path, Verdict.NOT_RUN, interrupted=True).result is ClaimResult.INCONCLUSIVE
    assert claim(tmp_path, Verdict.FAIL, Verdict.NOT_RUN, interrupted=True).result is ClaimResult.NON_CONFORMING


@pytest.mark.parametrize("first", list(Verdict))
@pytest.mark.parametrize("interrupted", [True, False])
def test_a_self_test_never_claims_conformance(tmp_path: Path, first: Verdict, interrupted: bool) -> None:
    result = claim(tmp_path, first, self_test=True, interrupted=interrupted).result
    assert result not in (ClaimResult.CONFORMING, ClaimResult.NON_CONFORMING)
    assert (result is ClaimResult.SELF_TEST_PASSED) == (first.good or first is Verdict.NOT_APPLICABLE)


def test_nothing_claimed_is_inconclusive_and_exit_codes_are_distinct() -> None:
    assert combine([], self_test=False) is ClaimResult.INCONCLUSIVE
    assert combine([], self_test=True) is ClaimResult.INCONCLUSIVE
    assert {r.name: r.exit_code for r in ClaimResult} == {
        "CONFORMING": 0,
        "SELF_TEST_PASSED": 0,
        "NON_CONFORMING": 1,
        "SELF_TEST_FAILED": 1,
        "INCONCLUSIVE": 2,
        "NOT_MADE": 2,
    }


@pytest.mark.parametrize(
    ("verdicts", "why"),
    [
        ((Verdict.NOT_APPLICABLE, Verdict.NOT_APPLICABLE), "there is no realm"),
        ((Verdict.NOT_OBSERVABLE, Verdict.NOT_OBSERVABLE), "the target shows no realm"),
        ((Verdict.NOT_OBSERVABLE, Verdict.NOT_APPLICABLE), "the target shows no realm"),
        ((Verdict.NOT_APPLICABLE, Verdict.PASS), ""),
        ((Verdict.NOT_APPLICABLE, Verdict.FAIL), ""),
        ((Verdict.NOT_APPLICABLE, Verdict.NOT_RUN), ""),
        ((Verdict.NOT_APPLICABLE, Verdict.INCONCLUSIVE), ""),
        ((Verdict.NOT_OBSERVABLE, Verdict.PASS), ""),
        ((Verdict.NOT_OBSERVABLE, Verdict.FAIL), ""),
        ((Verdict.NOT_OBSERVABLE, Verdict.WAIVED), ""),
        ((Verdict.NOT_OBSERVABLE, Verdict.NOT_RUN), ""),
    ],
)
def test_no_claim_only_where_every_check_finds_nothing_to_claim(
    verdicts: tuple[Verdict, Verdict], why: str, tmp_path: Path
) -> None:
    catalogue = load_catalogue(write_rules(tmp_path / "rules"))
    profile = catalogue.profiles["rme-gpc"]
    circumstances = Circumstances(self_test=False, interrupted=False, features={"FEAT_X": "1"})
    asked = dict(zip(("GPC-001", "GPC-002"), verdicts, strict=True))
    members = catalogue.members(profile)
    assert evaluate(profile, members, asked, circumstances).result is not ClaimResult.NOT_MADE
    needing = evaluate(replace(profile, needs="realm"), members, asked, circumstances)
    assert (needing.result is ClaimResult.NOT_MADE) == bool(why)
    assert not why or {item.why for item in needing.left_out} == {why}


def test_a_claim_that_is_not_made_says_nothing() -> None:
    made = ClaimResult.NOT_MADE
    assert combine([made, ClaimResult.CONFORMING], self_test=False) is ClaimResult.CONFORMING
    assert combine([made, ClaimResult.NON_CONFORMING], self_test=False) is ClaimResult.NON_CONFORMING
    assert combine([made, made], self_test=False) is ClaimResult.INCONCLUSIVE
