"""The seven verdicts, how several of them become one, and how attempts at one check are settled.

It does not know rules, profiles or claims: see ``claims.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum


class Verdict(Enum):
    """What a check says about a target.

    ``PASS``: the stimulus happened and every observation was permitted.  ``FAIL``: an observation was not permitted.
    ``NOT_OBSERVABLE``: a calibration probe of this run showed that the target cannot show the effect.
    ``NOT_APPLICABLE``: the target lacks what the rule is about.  ``INCONCLUSIVE``: the target was lost or the evidence
    is incomplete.  ``NOT_RUN``: the check was not made.  ``WAIVED``: every observation that was not permitted is
    covered by a waiver.
    """

    PASS = "PASS"  # noqa: S105 - a verdict, not a password
    FAIL = "FAIL"
    NOT_OBSERVABLE = "NOT_OBSERVABLE"
    NOT_APPLICABLE = "NOT_APPLICABLE"
    INCONCLUSIVE = "INCONCLUSIVE"
    NOT_RUN = "NOT_RUN"
    WAIVED = "WAIVED"

    @property
    def good(self) -> bool:
        """Whether the verdict is evidence for the rule: PASS or WAIVED."""
        return self in (Verdict.PASS, Verdict.WAIVED)

    @property
    def ran(self) -> bool:
        """Whether observations were judged: PASS, FAIL or WAIVED."""
        return self in (Verdict.PASS, Verdict.FAIL, Verdict.WAIVED)

    @property
    def words(self) -> str:
        """The verdict for people: ``not observable``."""
        return self.value.lower().replace("_", " ")


SEVERITY: tuple[Verdict, ...] = (
    Verdict.FAIL,
    Verdict.INCONCLUSIVE,
    Verdict.NOT_RUN,
    Verdict.NOT_OBSERVABLE,
    Verdict.WAIVED,
    Verdict.PASS,
    Verdict.NOT_APPLICABLE,
)
"""Worst first.  A part that was not seen outranks a part that passed, so that no rule looks complete when it is not."""

_RANK = {verdict: rank for rank, verdict in enumerate(SEVERITY)}


def merge(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict of a whole from those of its parts: the most severe one; NOT_RUN when there are no parts."""
    return min(verdicts, key=_RANK.__getitem__, default=Verdict.NOT_RUN)


def settle(attempts: Sequence[Verdict]) -> Verdict:
    """The verdict of one check from its attempts, oldest first.

    An INCONCLUSIVE attempt is replaced by a later one; no other verdict ever is, so a retry cannot hide a FAIL.
    """
    kept = [v for v in attempts[:-1] if v is not Verdict.INCONCLUSIVE]
    return merge([*kept, *attempts[-1:]])
