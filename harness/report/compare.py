"""Two runs held against each other: which rules changed between two devices, and what surrounds the change.

Pure: takes two summaries made with one catalogue, gives a ``Comparison``.  It judges nothing anew, and says how a
deviation differs, not which of two devices is right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

from harness.report.claims import ClaimResult
from harness.report.records import CheckResult, TargetRecord
from harness.report.summary import RuleSummary, Summary
from harness.report.verdicts import SEVERITY, Verdict
from images.image import Provenance
from refmodel.features import Features

_PER_TEST = ("l0gptsz",)
"""Declared features that each test chooses for its own machine: they say nothing about the device."""

_OPEN = (Verdict.INCONCLUSIVE, Verdict.NOT_RUN)
"""Verdicts that say nothing about the device."""

_JUDGED = (Verdict.FAIL, Verdict.WAIVED, Verdict.PASS)
"""Verdicts that rest on observations: only these are better or worse than one another."""


class Kind(Enum):
    """What became of a rule; in order of importance.

    ``WORSE`` and ``BETTER``: both runs judged observations, and B's verdict is the worse or the better one.
    ``DEVIATIONS``: the verdict is the same, the deviations are not.  ``UNCLEAR``: one of the runs says nothing about
    the device.  ``CHANGED``: the rule does not apply to one of the devices, or one cannot show it.  ``ONLY_A``,
    ``ONLY_B``: the other run, although complete, has no check of the rule.  ``WAIVERS``: the devices deviate alike,
    only one run waives it.  ``SAME``: no difference; counts may still differ where the stimuli did.
    """

    WORSE = "worse"
    DEVIATIONS = "deviations"
    UNCLEAR = "unclear"
    CHANGED = "changed"
    BETTER = "better"
    ONLY_A = "only in A"
    ONLY_B = "only in B"
    WAIVERS = "waivers"
    SAME = "same"


_ORDER = {kind: number for number, kind in enumerate(Kind)}


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """One signature of a rule in one run: how many observations had it, and the waiver that covers it, if any."""

    count: int
    waiver: str = ""


@dataclass(frozen=True, kw_only=True)
class DeviationChange:
    """One signature in both runs; None where a run does not have it."""

    signature: str
    a: Deviation | None
    b: Deviation | None

    def alike(self, *, counts: bool) -> bool:
        """Whether both runs have it, with ``counts`` equally often; waived or not."""
        return self.a is not None and self.b is not None and (not counts or self.a.count == self.b.count)

    @property
    def waived_alike(self) -> bool:
        """Whether both runs waive it, or neither does; the waivers may be different ones."""
        return len({bool(item and item.waiver) for item in (self.a, self.b)}) == 1


@dataclass(frozen=True, kw_only=True)
class RuleChange:
    """A rule in both runs; a verdict of None: the run has no check of it.

    ``deviations`` has every signature of either run that is not in both alike; those that B adds come first.
    """

    id: str
    title: str
    kind: Kind
    a: Verdict | None
    b: Verdict | None
    deviations: tuple[DeviationChange, ...]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Something beside the rules that differs: its name, and what it is in A and in B (empty: not there)."""

    name: str
    a: str
    b: str


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Run A against run B; ``rules`` are all rules of either, by importance.

    ``notes`` say what makes the two runs less comparable.  ``same_stimuli``: seed, scale, catalogue, realmcheck and
    tests are the same, so that counts can be compared.
    """

    a: Summary
    b: Summary
    rules: tuple[RuleChange, ...]
    features: tuple[Difference, ...]
    choices: tuple[Difference, ...]
    provenance: tuple[Difference, ...]
    notes: tuple[str, ...]
    same_stimuli: bool

    def of(self, *kinds: Kind) -> tuple[RuleChange, ...]:
        """The rules of these kinds."""
        return tuple(rule for rule in self.rules if rule.kind in kinds)

    @cached_property
    def differing(self) -> tuple[RuleChange, ...]:
        """The rules that differ, as far as both runs say something about them."""
        return self.of(*(kind for kind in Kind if kind not in (Kind.UNCLEAR, Kind.SAME)))

    @property
    def exit_code(self) -> int:
        """Exit code of ``realmcheck compare``: 1 rules differ, else 2 a run is inconclusive, else 0."""
        if self.differing:
            return 1
        unclear = any(summary.result is ClaimResult.INCONCLUSIVE for summary in (self.a, self.b))
        return 2 if unclear or self.of(Kind.UNCLEAR) else 0


def compare(a: Summary, b: Summary) -> Comparison:
    """Compare two runs that were evaluated with one catalogue."""
    same_stimuli = _same_stimuli(a, b)
    one, other = _by_id(a), _by_id(b)
    names = list(dict.fromkeys([*one, *other]))
    rules = [_rule(name, (a, one.get(name)), (b, other.get(name)), counts=same_stimuli) for name in names]
    rules.sort(key=_importance)
    return Comparison(
        a=a,
        b=b,
        rules=tuple(rules),
        features=_differences(_features(a.run.target), _features(b.run.target)),
        choices=_differences(_choices(a), _choices(b)),
        provenance=_differences(_provenance(a), _provenance(b)),
        notes=tuple(_notes(a, b)),
        same_stimuli=same_stimuli,
    )


def _by_id(summary: Summary) -> dict[str, RuleSummary]:
    return {item.id: item for item in summary.rules if item.tally}


def _importance(change: RuleChange) -> tuple[int, int, str]:
    worst = min((SEVERITY.index(verdict) for verdict in (change.a, change.b) if verdict), default=len(SEVERITY))
    return _ORDER[change.kind], worst, change.id


def _rule(
    name: str, a: tuple[Summary, RuleSummary | None], b: tuple[Summary, RuleSummary | None], *, counts: bool
) -> RuleChange:
    known = next(item for item in (a[1], b[1]) if item is not None)
    changes = _deviations(_seen(a[0], name), _seen(b[0], name))
    return RuleChange(
        id=name,
        title=known.rule.title if known.rule else "not in the catalogue",
        kind=_kind(a, b, changes, counts=counts),
        a=a[1].verdict if a[1] else None,
        b=b[1].verdict if b[1] else None,
        deviations=changes,
    )


def _kind(
    a: tuple[Summary, RuleSummary | None],
    b: tuple[Summary, RuleSummary | None],
    changes: Iterable[DeviationChange],
    *,
    counts: bool,
) -> Kind:
    if a[1] is None or b[1] is None:
        lacking, only = (a[0], Kind.ONLY_B) if a[1] is None else (b[0], Kind.ONLY_A)
        return only if lacking.run.complete else Kind.UNCLEAR
    before, after = a[1].verdict, b[1].verdict
    if before is not after and (before in _OPEN or after in _OPEN):
        return Kind.UNCLEAR
    if before is not after and not (before in _JUDGED and after in _JUDGED):
        return Kind.CHANGED
    alike = all(change.alike(counts=counts) for change in changes)
    if before is after:
        waived_alike = all(change.waived_alike for change in changes)
        return Kind.DEVIATIONS if not alike else Kind.SAME if waived_alike else Kind.WAIVERS
    if alike:
        return Kind.WAIVERS
    return Kind.WORSE if SEVERITY.index(after) < SEVERITY.index(before) else Kind.BETTER


def _seen(summary: Summary, rule: str) -> dict[str, Deviation]:
    """The signatures of a rule's deviations in a run, waived ones included."""
    texts = {waiver.id: waiver.signature for waiver in summary.run.header.waivers}
    found: dict[str, Deviation] = {}
    for check in summary.checks:
        if rule in check.deciding.rules:
            for signature, count, waiver in _signatures(check.deciding, texts):
                before = found.get(signature, Deviation(count=0))
                found[signature] = Deviation(count=before.count + count, waiver=waiver)
    return found


def _signatures(check: CheckResult, texts: Mapping[str, str]) -> Iterable[tuple[str, int, str]]:
    for signature, count in check.signatures.items():
        yield signature, count, ""
    for waiver, count in check.waived.items():
        yield texts.get(waiver) or f"what waiver {waiver} covers", count, waiver


def _deviations(a: Mapping[str, Deviation], b: Mapping[str, Deviation]) -> tuple[DeviationChange, ...]:
    changes = [DeviationChange(signature=text, a=a.get(text), b=b.get(text)) for text in dict.fromkeys([*b, *a])]
    changes = [change for change in changes if change.a != change.b]
    return tuple(sorted(changes, key=_deviation_order))


def _deviation_order(change: DeviationChange) -> tuple[bool, bool, bool]:
    """What B adds comes first, and of that what no waiver covers."""
    return change.a is not None, change.b is not None, bool((change.b or change.a or Deviation(count=0)).waiver)


def _tests(summary: Summary) -> set[str]:
    return {check.deciding.test for check in summary.checks}


def _same_stimuli(a: Summary, b: Summary) -> bool:
    one, other = a.run.header, b.run.header
    made = [(header.seeds, header.catalogue, header.realmcheck) for header in (one, other)]
    return made[0] == made[1] and _tests(a) == _tests(b) and a.run.complete and b.run.complete


def _notes(a: Summary, b: Summary) -> Iterable[str]:
    """What makes the two runs less comparable; their seeds are no such thing."""
    one, other = a.run.header, b.run.header
    if one.realmcheck != other.realmcheck:
        yield f"the runs are of different realmcheck: {one.realmcheck} and {other.realmcheck}"
    if one.catalogue != other.catalogue:
        yield "the runs were made with different rule catalogues; both are evaluated with today's"
    elif a.catalogue_changed:
        yield "the rule catalogue has changed since the runs; both are evaluated with today's"
    for name, only in (("A", _tests(a) - _tests(b)), ("B", _tests(b) - _tests(a))):
        if only:
            yield f"tests only in {name}: {len(only)}, such as {min(only)}"
    for name, summary in (("A", a), ("B", b)):
        if summary.run.target.self_test:
            yield f"{name} is a SELF-TEST, not a machine"
        yield from (f"{name}: {problem.text}" for problem in summary.problems)


def _features(target: TargetRecord) -> dict[str, str]:
    """What the ID registers report in the model's words, and what else the target declares."""
    declared = {name: value for name, value in target.features.items() if name not in _PER_TEST}
    try:
        registers = {name: int(value, 16) for name, value in target.id_registers.items()}
        reported = Features.from_id_registers(registers)
    except (KeyError, ValueError):
        return declared
    values = {name: getattr(reported, name) for name in Features.__dataclass_fields__}
    return {**{name: _text(value) for name, value in values.items()}, **declared}


def _text(value: object) -> str:
    if isinstance(value, frozenset):
        return " ".join(map(str, sorted(value)))
    return ("absent", "present")[value] if isinstance(value, bool) else str(value)


def _choices(summary: Summary) -> dict[str, str]:
    return {name: " and ".join(sorted(seen)) for name, seen in summary.choices.items()}


def _provenance(summary: Summary) -> dict[str, str]:
    items: tuple[Provenance, ...] = (*summary.run.header.provenance, *summary.run.target.provenance)
    return {item.name: f"{item.version} sha256 {item.sha256[:16]}".strip() for item in items}


def _differences(a: Mapping[str, str], b: Mapping[str, str]) -> tuple[Difference, ...]:
    names = [name for name in dict.fromkeys([*a, *b]) if a.get(name) != b.get(name)]
    return tuple(Difference(name=name, a=a.get(name, ""), b=b.get(name, "")) for name in names)
