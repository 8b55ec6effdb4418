"""The linter that keeps rules, tests and mutants together.

Pure: takes the catalogue, what each collected test cites, what each mutant claims to break, and (when mutants were
run) which were killed.  Collecting is done in ``collect.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from harness.rules.catalogue import Catalogue, Level, Rule, matches


class Kind(Enum):
    """What is wrong."""

    RULE_WITHOUT_TEST = "rule-without-test"
    RULE_WITHOUT_MUTANT = "rule-without-mutant"
    MUTANT_SURVIVED = "mutant-survived"
    TEST_WITHOUT_RULE = "test-without-rule"
    UNKNOWN_RULE = "unknown-rule"
    UNKNOWN_TEST = "unknown-test"
    UNKNOWN_MUTANT = "unknown-mutant"
    UNKNOWN_THREAT = "unknown-threat"
    UNUSED_THREAT = "unused-threat"
    RULE_WITHOUT_PROFILE = "rule-without-profile"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: its kind, the rule, test, mutant or threat, and a sentence with the remedy."""

    kind: Kind
    subject: str
    message: str


def lint(
    catalogue: Catalogue,
    tests: Mapping[str, tuple[str, ...]],
    mutants: Mapping[str, tuple[str, ...]],
    kills: Mapping[str, bool] | None = None,
) -> tuple[Finding, ...]:
    """Everything that is wrong.

    ``tests``: node id of every collected test to the rule ids that it cites.  ``mutants``: name to the rules that it
    breaks.  ``kills``: mutant to whether a check noticed it; without it every mutant counts as killed.
    """
    findings: list[Finding] = []
    for rule in catalogue.rules.values():
        findings += _of_rule(rule, catalogue, tests, mutants, kills)
    findings += _of_tests(catalogue, tests)
    for name, rules in mutants.items():
        findings += _unknown(f"mutant {name}", name, rules, catalogue)
        if kills is not None and not kills.get(name, False):
            findings.append(Finding(Kind.MUTANT_SURVIVED, name, "no check notices it; sharpen a check of its rules"))
    countered = {rule.threat for rule in catalogue.rules.values()}
    for threat in catalogue.threats:
        if threat not in countered:
            findings.append(Finding(Kind.UNUSED_THREAT, threat, "no rule counters it; add a rule or remove it"))
    return tuple(findings)


def _of_rule(
    rule: Rule,
    catalogue: Catalogue,
    tests: Mapping[str, tuple[str, ...]],
    mutants: Mapping[str, tuple[str, ...]],
    kills: Mapping[str, bool] | None,
) -> Iterable[Finding]:
    if rule.threat not in catalogue.threats:
        text = f"{rule.source}: threat {rule.threat!r} is not in threats.toml"
        yield Finding(Kind.UNKNOWN_THREAT, rule.id, text)
    if not rule.profiles and rule.level is not Level.RECOMMENDED:
        yield Finding(Kind.RULE_WITHOUT_PROFILE, rule.id, f"{rule.source}: no claim counts it; add 'profiles'")
    for name in rule.mutants:
        if name not in mutants:
            yield Finding(Kind.UNKNOWN_MUTANT, rule.id, f"{rule.source}: mutant {name!r} does not exist")
    for prefix in rule.tests:
        own = [node for node in tests if matches(prefix, node)]
        if not own:
            yield Finding(Kind.UNKNOWN_TEST, rule.id, f"{rule.source}: {prefix!r} matches no collected test")
        elif not any(rule.id in tests[node] for node in own):
            text = f"{rule.source}: no test of {prefix!r} cites {rule.id}; add it to @pytest.mark.rule"
            yield Finding(Kind.UNKNOWN_TEST, rule.id, text)
    if rule.reserved:
        return
    if not any(rule.id in cited for cited in tests.values()):
        yield Finding(Kind.RULE_WITHOUT_TEST, rule.id, f"{rule.source}: no test cites it; write one or reserve it")
    breaking = [name for name, rules in mutants.items() if rule.id in rules]
    if not any(kills is None or kills.get(name, False) for name in breaking):
        why = f"none of {', '.join(breaking)} is killed" if breaking else "no mutant breaks it"
        text = f"{rule.source}: {why}, so nothing proves that its checks bite"
        yield Finding(Kind.RULE_WITHOUT_MUTANT, rule.id, text)


def _of_tests(catalogue: Catalogue, tests: Mapping[str, tuple[str, ...]]) -> Iterable[Finding]:
    """One finding per test function, however many parameter sets it has."""
    functions: dict[str, dict[str, None]] = {}
    for node, cited in tests.items():
        functions.setdefault(node.partition("[")[0], {}).update(dict.fromkeys(cited))
    for name, rules in functions.items():
        if not rules:
            yield Finding(Kind.TEST_WITHOUT_RULE, name, 'cites no rule; add @pytest.mark.rule("ID")')
        yield from _unknown(name, name, rules, catalogue)
        for rule in rules:
            listed = catalogue.rules[rule].tests if rule in catalogue.rules else (name,)
            if not any(matches(prefix, name) or matches(name, prefix) for prefix in listed):
                source = catalogue.rules[rule].source
                text = f"cites {rule}, whose 'tests' do not name it; add it at {source}"
                yield Finding(Kind.UNKNOWN_TEST, name, text)


def _unknown(what: str, subject: str, rules: Iterable[str], catalogue: Catalogue) -> Iterable[Finding]:
    for rule in rules:
        if rule not in catalogue.rules:
            text = f"{what} cites {rule}, which is not in the catalogue; add it or correct the id"
            yield Finding(Kind.UNKNOWN_RULE, subject, text)
