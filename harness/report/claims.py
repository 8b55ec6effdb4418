"""Claims: what a run says about a target, profile by profile.

A claim counts the rules of one profile.  It takes the verdicts as they are: merging checks is done in ``summary.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from harness.report.verdicts import SEVERITY, Verdict
from harness.rules.catalogue import Level, Profile, Rule


class ClaimResult(Enum):
    """What is claimed; the two SELF_TEST results are for targets that are not machines (model, mutants)."""

    CONFORMING = "CONFORMING"
    NON_CONFORMING = "NON_CONFORMING"
    INCONCLUSIVE = "INCONCLUSIVE"
    SELF_TEST_PASSED = "SELF_TEST_PASSED"
    SELF_TEST_FAILED = "SELF_TEST_FAILED"
    NOT_MADE = "NOT_MADE"
    """Nothing of the profile's subject is there or can be seen: no claim, neither good nor bad."""

    @property
    def words(self) -> str:
        """The result for people."""
        return _WORDS[self]

    @property
    def exit_code(self) -> int:
        """Exit code of ``realmcheck report``: 0 good, 1 bad, 2 inconclusive."""
        return _EXIT_CODES[self]


_WORDS = {
    ClaimResult.CONFORMING: "conforming",
    ClaimResult.NON_CONFORMING: "non-conforming",
    ClaimResult.INCONCLUSIVE: "inconclusive",
    ClaimResult.SELF_TEST_PASSED: "SELF-TEST passed",
    ClaimResult.SELF_TEST_FAILED: "SELF-TEST failed",
    ClaimResult.NOT_MADE: "not made",
}
_EXIT_CODES = {
    ClaimResult.CONFORMING: 0,
    ClaimResult.SELF_TEST_PASSED: 0,
    ClaimResult.NON_CONFORMING: 1,
    ClaimResult.SELF_TEST_FAILED: 1,
    ClaimResult.INCONCLUSIVE: 2,
    ClaimResult.NOT_MADE: 2,
}


@dataclass(frozen=True)
class Circumstances:
    """What a claim depends on besides verdicts: the kind of target, its features, and whether the run ended."""

    self_test: bool
    interrupted: bool
    features: Mapping[str, str]

    def has(self, feature: str) -> bool:
        """Whether the target declares a feature."""
        return self.features.get(feature, "absent") not in ("absent", "0", "")


@dataclass(frozen=True)
class Objection:
    """A rule that speaks against a claim (or that the claim leaves out), its verdict, and why."""

    rule: str
    verdict: Verdict
    why: str


@dataclass(frozen=True)
class ObjectionGroup:
    """Rules that speak against a claim for the same reason."""

    rules: tuple[str, ...]
    verdict: Verdict
    why: str


def grouped(objections: Iterable[Objection]) -> tuple[ObjectionGroup, ...]:
    """Objections with the same verdict and reason together, in the order of their first one."""
    groups: dict[tuple[Verdict, str], list[str]] = {}
    for objection in objections:
        groups.setdefault((objection.verdict, objection.why), []).append(objection.rule)
    return tuple(ObjectionGroup(tuple(rules), verdict, why) for (verdict, why), rules in groups.items())


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim against one profile.

    ``counted`` is the number of rules that it rests on; ``against`` what made it fail or inconclusive, ``waived`` the
    rules that hold only through a waiver, ``left_out`` the rules of the profile that this run says nothing about.
    """

    profile: Profile
    result: ClaimResult
    counted: int
    against: tuple[Objection, ...]
    waived: tuple[str, ...]
    left_out: tuple[Objection, ...]


def combine(results: Iterable[ClaimResult], *, self_test: bool) -> ClaimResult:
    """The result of a whole: bad beats inconclusive beats good; nothing at all is inconclusive.

    A claim that is not made says nothing.
    """
    codes = {result.exit_code for result in results if result is not ClaimResult.NOT_MADE}
    if 1 in codes:
        return ClaimResult.SELF_TEST_FAILED if self_test else ClaimResult.NON_CONFORMING
    if codes != {0}:
        return ClaimResult.INCONCLUSIVE
    return ClaimResult.SELF_TEST_PASSED if self_test else ClaimResult.CONFORMING


def evaluate(
    profile: Profile, members: Iterable[Rule], verdicts: Mapping[str, Verdict], circumstances: Circumstances
) -> Claim:
    """The claim that a run supports against ``profile``.

    ``verdicts`` maps rule ids to merged verdicts; an absent one is NOT_RUN.  A rule that failed, or did not run, makes
    the claim non-conforming; one that was inconclusive or not observable makes it inconclusive.  Where the profile
    needs something that no check of it found on the target, or could see there, no claim is made.
    """
    members = tuple(members)
    missing = _subject_missing(profile, members, verdicts)
    if missing is not None:
        absent = tuple(Objection(rule.id, missing, _ABSENT[missing].format(profile.needs)) for rule in members)
        return Claim(
            profile=profile, result=ClaimResult.NOT_MADE, counted=0, against=(), waived=(), left_out=absent
        )  # fmt: skip
    against: list[Objection] = []
    left_out: list[Objection] = []
    waived: list[str] = []
    results: list[ClaimResult] = []
    for rule in members:
        verdict = verdicts.get(rule.id, Verdict.NOT_RUN)
        result, why = _weigh(rule, verdict, circumstances)
        if result is None:
            left_out.append(Objection(rule.id, verdict, why))
            continue
        results.append(result)
        if verdict is Verdict.WAIVED:
            waived.append(rule.id)
        if result is not ClaimResult.CONFORMING:
            against.append(Objection(rule.id, verdict, why))
    against.sort(key=lambda objection: SEVERITY.index(objection.verdict))
    return Claim(
        profile=profile,
        result=combine(results, self_test=circumstances.self_test),
        counted=len(results),
        against=tuple(against),
        waived=tuple(waived),
        left_out=tuple(left_out),
    )


_ABSENT = {Verdict.NOT_APPLICABLE: "there is no {}", Verdict.NOT_OBSERVABLE: "the target shows no {}"}


def _subject_missing(profile: Profile, members: Iterable[Rule], verdicts: Mapping[str, Verdict]) -> Verdict | None:
    """Why there is nothing to claim: no check found what the profile needs there, or none could see it.

    Every rule that a check asked, and one at least, must say so, all not applicable or else not observable where they
    apply; a rule left unasked spoils that, and so does one that saw something.
    """
    asked = {verdicts.get(rule.id, Verdict.NOT_RUN) for rule in members if not rule.reserved}
    if not profile.needs or not asked or not asked <= _ABSENT.keys():
        return None
    return Verdict.NOT_OBSERVABLE if Verdict.NOT_OBSERVABLE in asked else Verdict.NOT_APPLICABLE


def _weigh(rule: Rule, verdict: Verdict, circumstances: Circumstances) -> tuple[ClaimResult | None, str]:
    """What one rule does to a claim (None: nothing, it is left out) and why."""
    optional = rule.level is Level.OPTIONAL
    present = optional and circumstances.has(rule.feature)
    if rule.reserved:
        return None, rule.reserved
    match verdict:
        case Verdict.PASS | Verdict.WAIVED:
            return ClaimResult.CONFORMING, ""
        case Verdict.FAIL:
            return ClaimResult.NON_CONFORMING, "an observation is not permitted"
        case Verdict.INCONCLUSIVE:
            return ClaimResult.INCONCLUSIVE, "the evidence is incomplete"
        case Verdict.NOT_OBSERVABLE:
            return ClaimResult.INCONCLUSIVE, "the target cannot show the effect"
        case Verdict.NOT_RUN if optional and not present:
            return None, f"feature {rule.feature} is not declared"
        case Verdict.NOT_RUN if circumstances.interrupted:
            return ClaimResult.INCONCLUSIVE, "the run was interrupted before it"
        case Verdict.NOT_RUN:
            return ClaimResult.NON_CONFORMING, f"{'a' if not optional else 'an'} {rule.level.value} rule did not run"
        case Verdict.NOT_APPLICABLE if present:
            return ClaimResult.INCONCLUSIVE, f"feature {rule.feature} is declared, yet the check says not applicable"
        case Verdict.NOT_APPLICABLE if optional:
            return None, f"feature {rule.feature} is absent"
        case Verdict.NOT_APPLICABLE if circumstances.self_test:
            return None, "not applicable to a self-test target"
    return ClaimResult.INCONCLUSIVE, f"a {rule.level.value} rule cannot be not applicable on a machine"
