"""One observation of FEAT_MEC into a check's tally."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.check import Check
from harness.report.records import FailingCase, Outcome
from refmodel.rules import Rule


def judge(
    check: Check,
    rule: Rule,
    *,
    case: str,
    signature: str,
    holds: bool,
    stimulus: Mapping[str, str],
    expected: Sequence[Mapping[str, str]],
    observed: Mapping[str, str],
    walk: Sequence[str] = (),
    weak: bool = False,
) -> None:
    """Count an observation that ``holds``, or keep it as a case against ``rule``.

    ``weak``: it could not have been otherwise than permitted, so it is no evidence.
    """
    if holds:
        check.tally.count((rule,), 1, weak=weak)
        return

    def made(waiver: str) -> FailingCase:
        return FailingCase(
            case=case,
            title=signature,
            signature=signature,
            rules=(rule.value,),
            stimulus=stimulus,
            expected=tuple(Outcome(fields=fields) for fields in expected),
            observed=Outcome(fields=observed),
            walk=tuple(walk),
            reproduce=check.session.reproduce,
            waiver=waiver,
        )

    check.tally.fail(rule, signature, made)
