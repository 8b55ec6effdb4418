"""What one line of ``results.jsonl`` holds: header, target, check with its failing cases, end.

Layouts only.  ``results.py`` writes and reads them, ``results.schema.json`` publishes them, and
``docs/reference/results.md`` explains them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.report.verdicts import Verdict
from harness.report.waivers import Waiver
from harness.targets.target import TargetInfo
from images.image import Provenance
from refmodel.features import Features

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One outcome of a stimulus, permitted or observed.

    ``fields``: name to value as text (``ESR_EL3`` -> ``0x7a000000``); ``decoded``: the same names to what the value
    says; ``reasons``: why the model permits it (empty for an observation).
    """

    fields: Mapping[str, str]
    decoded: Mapping[str, str] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FailingCase:
    """A stimulus whose observation the model does not permit, with all that fits on one screen.

    ``signature`` is a stable text for the observed deviation (``EC=0x1e GPCSC=0x2``): cases are counted by it and
    waivers match it.  ``batch`` and ``index`` find the raw record; ``waiver`` names the waiver that covers the case.
    """

    case: str
    title: str
    signature: str
    rules: tuple[str, ...]
    stimulus: Mapping[str, str]
    expected: tuple[Outcome, ...]
    observed: Outcome
    walk: tuple[str, ...] = ()
    stage: str = ""
    console: tuple[str, ...] = ()
    reproduce: str = ""
    batch: str = ""
    index: int = 0
    waiver: str = ""

    def standalone(self, results: str = "RESULTS_DIR") -> str:
        """The command that makes a standalone reproducer of the case; empty where no raw record was kept."""
        return f"realmcheck repro {results}:{self.batch[:16]}/{self.index} -o DIR" if self.batch else ""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How many stimuli were sent, how many observations were judged, and what came of them.

    ``judged`` is ``passed + failed + waived`` and never more than ``stimuli``; ValueError otherwise.
    """

    stimuli: int = 0
    judged: int = 0
    passed: int = 0
    failed: int = 0
    waived: int = 0

    def __post_init__(self) -> None:
        if min(self.stimuli, self.judged, self.passed, self.failed, self.waived) < 0:
            raise ValueError(f"counts must not be negative: {self}")
        if self.judged != self.passed + self.failed + self.waived:
            raise ValueError(f"counts.judged must be passed + failed + waived, not {self.judged}")
        if self.judged > self.stimuli:
            raise ValueError(f"counts.judged is {self.judged}, more than the {self.stimuli} stimuli sent")

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            stimuli=self.stimuli + other.stimuli,
            judged=self.judged + other.judged,
            passed=self.passed + other.passed,
            failed=self.failed + other.failed,
            waived=self.waived + other.waived,
        )


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Coverage: how many cells (or interactions) of a check's matrix were observed and judged, of how many."""

    covered: int = 0
    total: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.covered <= self.total:
            raise ValueError(f"cells.covered must be in 0..{self.total}, not {self.covered}")

    @classmethod
    def of(cls, covered_and_total: tuple[int, int]) -> Cells:
        """Cells from (covered, total)."""
        return cls(covered=covered_and_total[0], total=covered_and_total[1])

    def __add__(self, other: Cells) -> Cells:
        return Cells(covered=self.covered + other.covered, total=self.total + other.total)


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """One check: one test (a pytest node id) against the rules it cites.

    ``cells``: combinations of the test's factors; ``interactions``: those that a run at default depth must have, the
    combinations inside each group of factors and the pairs of values across groups.
    ``choices``: implementation choice to the values seen and how often; ``owners``: granule to the memory encryption
    contexts that wrote it, one after the other; ``signatures``: signature of a failing
    observation to how often it was seen, waived ones excepted; ``waived``: waiver to how often it matched;
    ``cases``: failing and waived cases in full (as many as the judge keeps); ``batches``: sha256 names of raw batches;
    ``duration`` in seconds; ``attempt`` counts from 1; ``probes``: how many the test sent, on the first of its checks
    only, so that a sum over a run counts each probe once however many rules judge it.

    ValueError when the verdict contradicts the counts: a PASS without a judged observation, or with a failed one.
    """

    test: str
    rules: tuple[str, ...]
    verdict: Verdict
    reason: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)
    cells: Cells = field(default_factory=Cells)
    interactions: Cells = field(default_factory=Cells)
    choices: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    owners: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    signatures: Mapping[str, int] = field(default_factory=dict)
    waived: Mapping[str, int] = field(default_factory=dict)
    cases: tuple[FailingCase, ...] = ()
    batches: tuple[str, ...] = ()
    stage: str = ""
    console: tuple[str, ...] = ()
    duration: float = 0.0
    attempt: int = 1
    probes: int = 0

    def __post_init__(self) -> None:
        problem = self._contradiction()
        if problem:
            raise ValueError(f"{self.test}: {problem}")

    def _contradiction(self) -> str:
        counts = self.counts
        match self.verdict:
            case Verdict.PASS if counts.judged == 0:
                return "a PASS needs at least one judged observation"
            case Verdict.PASS if counts.failed or counts.waived:
                return f"a PASS with {counts.failed} failed and {counts.waived} waived observations"
            case Verdict.WAIVED if counts.failed or not counts.waived:
                return f"WAIVED with {counts.failed} failed and {counts.waived} waived observations"
            case Verdict.FAIL if not counts.failed:
                return "a FAIL needs at least one failed observation"
            case Verdict.INCONCLUSIVE | Verdict.NOT_OBSERVABLE | Verdict.NOT_APPLICABLE | Verdict.NOT_RUN if (
                not self.reason
            ):
                return f"{self.verdict.value} needs a reason"
        return ""


@dataclass(frozen=True, kw_only=True)
class TargetRecord:
    """The target of a run as the results keep it; see ``harness.targets.target.TargetInfo`` for the fields.

    Integers of the ID registers are kept as hexadecimal text.
    """

    name: str
    kind: str
    version: str = ""
    self_test: bool = False
    id_registers: Mapping[str, str] = field(default_factory=dict)
    features: Mapping[str, str] = field(default_factory=dict)
    choices: Mapping[str, str] = field(default_factory=dict)
    provenance: tuple[Provenance, ...] = ()
    command: tuple[str, ...] = ()
    banner: str = ""

    @classmethod
    def of(cls, info: TargetInfo) -> TargetRecord:
        """What a target says about itself once it is on, as a record.

        Features by the architecture's names are those that the ID registers report, where they were read.
        """
        return cls(
            name=info.name,
            kind=info.kind,
            version=info.version,
            self_test=info.self_test,
            id_registers={name: f"{value:#x}" for name, value in info.id_registers.items()},
            features={name: _feature(value) for name, value in {**_reported(info), **info.features}.items()},
            choices=dict(info.choices),
            provenance=info.provenance,
            command=info.command,
            banner=info.banner,
        )


def _reported(info: TargetInfo) -> Mapping[str, bool]:
    try:
        return Features.from_id_registers(info.id_registers).named
    except KeyError:
        return {}


def _feature(value: int | bool) -> str:
    return ("absent", "present")[value] if isinstance(value, bool) else str(value)


@dataclass(frozen=True, kw_only=True)
class RunHeader:
    """First line: what was run, with what and where.

    ``started`` is UTC in ISO 8601; ``profiles`` are the claimed ones (empty: every profile that has a rule that ran);
    ``catalogue`` is the sha256 of the rule catalogue; ``waivers`` are those loaded for this target.
    """

    realmcheck: str
    started: str
    command: tuple[str, ...]
    target: TargetRecord
    seeds: Mapping[str, str] = field(default_factory=dict)
    host: Mapping[str, str] = field(default_factory=dict)
    provenance: tuple[Provenance, ...] = ()
    profiles: tuple[str, ...] = ()
    catalogue: str = ""
    waivers: tuple[Waiver, ...] = ()
    schema: int = SCHEMA_VERSION


@dataclass(frozen=True, kw_only=True)
class RunEnd:
    """Last line: pytest's exit status, whether the whole suite was selected and ran to its end, and the totals.

    ``checks`` counts the check lines, ``duration`` is in seconds.  ``cells`` and ``interactions``: subject to coverage.
    """

    exit_status: int
    complete: bool
    checks: int
    duration: float
    counts: Counts = field(default_factory=Counts)
    ended: str = ""
    cells: Mapping[str, Cells] = field(default_factory=dict)
    interactions: Mapping[str, Cells] = field(default_factory=dict)


def subject_of(test: str) -> str:
    """The subject of a test, by its node id: the folder below ``suites``."""
    path = test.partition("::")[0].split("/")
    return path[path.index("suites") + 1] if "suites" in path[:-1] else path[0]
