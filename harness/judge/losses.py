"""Losses of the target: what is known of one, and how it is reported."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from harness.errors import TargetError
from harness.judge.scene import Item, Scene, stimulus_of
from harness.judge.tally import Tally
from harness.report.records import FailingCase
from harness.report.records import Outcome as ReportOutcome
from refmodel.rules import Rule

SOMEWHERE: Final = -1
_SOURCE_LINE: Final = re.compile(r"(\.(?:c|h|inc|rs)):\d+:")


@dataclass(frozen=True)
class Loss:
    """A loss of the target: at which item, ``SOMEWHERE`` if that is not known, and the batch that was cut short."""

    error: TargetError
    at: int
    batch: str

    @property
    def killed(self) -> bool:
        """Whether somebody else ended the machine: none sends SIGKILL to itself."""
        return "SIGKILL" in self.error.evidence.exit_status


def report_lost(scene: Scene, item: Item, loss: Loss, tally: Tally, reproduce: str) -> None:
    """A stimulus that takes the target down: a failure of AVAILABILITY, and whatever it was to show is not judged."""
    stimulus = stimulus_of(item)
    text = scene.describe(stimulus) if stimulus else {"scene": scene.title, "item": repr(item)}
    evidence = loss.error.evidence
    last_words = f" ({without_lines(evidence.last_words[-1])})" if evidence.last_words else ""
    signature = f"{scene.title}: the target is lost, {evidence.exit_status or 'no answer'}{last_words}"

    def case(waiver: str) -> FailingCase:
        return FailingCase(
            case=scene.title,
            title=signature,
            signature=signature,
            rules=(Rule.AVAILABILITY.value,),
            stimulus=text,
            expected=(ReportOutcome(fields={"target": "goes on"}),),
            observed=ReportOutcome(fields={"target": str(loss.error), "exit": evidence.exit_status}),
            stage=evidence.stage,
            console=evidence.tail,
            reproduce=reproduce,
            batch=loss.batch,
            index=loss.at,
            waiver=waiver,
        )

    tally.stimuli += 1
    tally.fatal.append(signature)
    tally.unjudged.append(f"a stimulus of {scene.title!r} takes the target down")
    tally.fail(Rule.AVAILABILITY, signature, case)


def without_lines(words: str) -> str:
    """The last words of a machine without line numbers of its source: one assertion is one signature in every release.

    ``cpu.c:99: step: Assertion ...`` becomes ``cpu.c: step: Assertion ...``.
    """
    return _SOURCE_LINE.sub(r"\1:", words)
