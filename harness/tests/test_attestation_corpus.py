"""The mutation corpus: every malformed token is refused for the stated reason, every valid one is accepted."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest

from harness.attestation.build import TokenParts
from harness.attestation.mutations import Mutation, corpus
from harness.attestation.verify import Signature, Status, Verification, verify_token
from harness.tests.attestation_samples import parts_of, recorded_parts
from refmodel.attestation.profiles import COMBINATIONS
from refmodel.rules import Rule

VECTORS: dict[str, Callable[[], TokenParts]] = {"recorded": recorded_parts}
for _index, _made in enumerate(COMBINATIONS):
    VECTORS[f"{_made.name}, {_made.realm or 'no realm profile'}"] = partial(parts_of, _made, _index)

# Far fewer would mean that a generator has gone silent.
LEAST_MALFORMED, LEAST_VALID = 900, 40

EXERCISED = frozenset(rule for rule in Rule if rule.value.startswith("ATT-0") and rule.value < "ATT-060") - {
    Rule.CHALLENGE_REPEATED,
}  # fmt: skip
"""Rules that refuse something in a token that is not of the HESRAK profile."""


def judged_as_stated(case: Mutation, made: Verification) -> bool:
    """Whether a verification came out as the mutation says."""
    if case.valid:
        return made.status is Status.VALID and made.realm_signature is Signature.VERIFIED
    refused = made.status in (Status.INVALID, Status.UNREADABLE)
    return refused and bool(case.rules & made.findings.broken())


def describe(case: Mutation, made: Verification) -> str:
    """A mutation that was judged wrongly, in a line."""
    wanted = ", ".join(sorted(rule.value for rule in case.rules)) or "accepted"
    found = "; ".join(map(str, made.findings.errors[:3])) or made.status.value
    return f"{case.name}: expected {wanted}, found {found}"


@pytest.mark.parametrize("name", list(VECTORS))
def test_every_mutation_is_judged_as_stated(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    parts = VECTORS[name]()
    key = parts.platform.key.public_key()
    assert verify_token(parts.build(), platform_key=key).status is Status.VALID
    counts: Counter[str] = Counter()
    wrong = []
    for case in corpus(parts):
        made = verify_token(case.data, platform_key=key)
        kind = "valid" if case.valid else "malformed"
        counts[kind] += 1
        if judged_as_stated(case, made):
            counts[f"{kind} judged right"] += 1
        else:
            wrong.append(describe(case, made))
    with capsys.disabled():
        sys.stdout.write(
            f"\n{name}: {counts['malformed judged right']} of {counts['malformed']} malformed refused as stated, "
            f"{counts['valid judged right']} of {counts['valid']} valid accepted\n"
        )
    assert wrong == []
    assert counts["malformed"] >= LEAST_MALFORMED
    assert counts["valid"] >= LEAST_VALID


def test_names_are_unique_and_every_rule_has_a_mutation() -> None:
    names: Counter[str] = Counter()
    rules: set[Rule] = set()
    for case in corpus(parts_of(COMBINATIONS[3])):
        names[case.name] += 1
        rules |= case.rules
    assert [name for name, count in names.items() if count > 1] == []
    assert EXERCISED - rules == set()
