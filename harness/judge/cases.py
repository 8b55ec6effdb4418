"""A failing observation as one screen: stimulus, permitted set, observation, the model's walk, how to run it again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harness.judge import compare
from harness.judge.scene import Invalidate, Scene
from harness.judge.stimulus import Stimulus
from harness.probe.records import Result
from harness.report.records import FailingCase
from harness.report.records import Outcome as ReportOutcome
from refmodel.outcomes import Permitted


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What surrounds a case: how to reproduce the check, the target's stage and its console's tail."""

    reproduce: str = ""
    stage: str = ""
    console: Callable[[], tuple[str, ...]] = tuple


def deviation(
    scene: Scene,
    stimulus: Stimulus,
    result: Result,
    permitted: Permitted,
    *,
    rules: tuple[str, ...],
    signature: str,
    index: int,
    batch: str,
    waiver: str,
    around: Circumstances,
) -> FailingCase:
    """An observation outside the permitted set."""
    return FailingCase(
        case=f"{scene.title} #{index}",
        title=signature,
        signature=signature,
        rules=rules,
        stimulus=scene.describe(stimulus),
        expected=tuple(compare.report_permitted(alternative) for alternative in permitted.alternatives),
        observed=compare.report_observed(result),
        walk=tuple(map(str, permitted.steps)),
        stage=around.stage,
        console=around.console(),
        reproduce=around.reproduce,
        batch=batch,
        index=index,
        waiver=waiver,
    )


def wrong_data(
    scene: Scene,
    stimulus: Stimulus,
    *,
    expected: dict[str, str],
    observed: dict[str, str],
    rule: str,
    signature: str,
    index: int,
    batch: str,
    waiver: str,
    around: Circumstances,
) -> FailingCase:
    """Data returned or left in memory that the access cannot have."""
    return FailingCase(
        case=f"{scene.title} #{index}",
        title=signature,
        signature=signature,
        rules=(rule,),
        stimulus=scene.describe(stimulus),
        expected=(ReportOutcome(fields=expected),),
        observed=ReportOutcome(fields=observed),
        stage=around.stage,
        console=around.console(),
        reproduce=around.reproduce,
        batch=batch,
        index=index,
        waiver=waiver,
    )


def refused(
    scene: Scene,
    item: Invalidate,
    result: Result,
    *,
    rule: str,
    signature: str,
    index: int,
    batch: str,
    waiver: str,
    around: Circumstances,
) -> FailingCase:
    """A TLB invalidation that took an exception."""
    operand = f", Xt={item.xt:#x}" if item.op.by_range else ""
    return FailingCase(
        case=f"{scene.title} #{index}",
        title=signature,
        signature=signature,
        rules=(rule,),
        stimulus={"scene": scene.title, "instruction": f"TLBI {item.op.name}{operand} by PE {item.pe} at EL3"},
        expected=(ReportOutcome(fields={"exception": "none"}),),
        observed=compare.report_observed(result),
        stage=around.stage,
        console=around.console(),
        reproduce=around.reproduce,
        batch=batch,
        index=index,
        waiver=waiver,
    )


def failure_text(case: FailingCase, results: str = "RESULTS_DIR") -> str:
    """The one screen, as text for a terminal; ``results`` is the directory of the run."""
    lines = [f"{' '.join(case.rules)}  {case.title}", "", "stimulus"]
    lines += [f"  {name}: {text}" for name, text in case.stimulus.items()]
    for number, outcome in enumerate(case.expected):
        lines += ["permitted" if number == 0 else "or", *_outcome_lines(outcome)]
        lines += [f"  because: {', '.join(outcome.reasons)}"] if outcome.reasons else []
    lines += ["observed", *_outcome_lines(case.observed)]
    lines += ["the model's walk", *(f"  {step}" for step in case.walk)] if case.walk else []
    lines += ["console", *(f"  | {line}" for line in case.console)] if case.console else []
    lines += [f"reproduce: {case.reproduce}"] if case.reproduce else []
    lines += [f"standalone: {case.standalone(results)}"] if case.batch else []
    return "\n".join(lines)


def _outcome_lines(outcome: ReportOutcome) -> list[str]:
    return [
        f"  {name} = {value}" + (f"  ({outcome.decoded[name]})" if name in outcome.decoded else "")
        for name, value in outcome.fields.items()
    ]
