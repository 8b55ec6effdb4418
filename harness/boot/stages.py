"""Following a boot through its graph of stages: which are reached, which failed, and how long each took.

A stage is under way once all stages in its ``after`` are reached.  The rules, in the order of their strength:

- A line of ``[boot] fail``, or of ``fail`` of a stage that has been under way, ends the boot, whenever it comes and
  whatever came before: a stage that its own firmware reports as failed has failed, even if the next one comes up.
- The mark of a stage whose predecessors have not been reached ends the boot: something was skipped.
- The first stage's mark, once that stage has been reached, ends the boot: the machine has started again.
- A stage that has been under way for longer than its deadline ends the boot.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from harness.boot.transcript import Transcript
from harness.errors import TargetError, TargetEvidence
from images.stack import Stack, Stage

_SHOWN: Final = 160


@dataclass(frozen=True, kw_only=True)
class Reached:
    """A stage that was reached: seconds since power-on (``at``), and since its predecessors (``seconds``).

    ``line`` is the line that showed it.
    """

    stage: str
    at: float
    seconds: float
    line: str


class How(Enum):
    """How a boot went wrong."""

    REPORTED = "the firmware reports a failure"
    SKIPPED = "a later stage came up without it"
    DEADLINE = "its deadline passed"
    LOST = "the machine is gone"
    RESTARTED = "the boot began anew"


class StageFailedError(TargetError):
    """A boot that did not come as far as it should; ``stage`` and ``how`` name what went wrong, for verdicts.

    Causes: firmware that reports an error, a stage left out, silence (a hang), a machine that ended.
    """

    def __init__(self, stage: str, how: How, what: str, evidence: TargetEvidence) -> None:
        super().__init__(f"stage {stage}: {how.value}: {what}", evidence)
        self.stage = stage
        self.how = how


@dataclass(frozen=True)
class Failure:
    """A boot that cannot succeed any more, as ``Progress`` saw it."""

    stage: str
    how: How
    what: str


class Progress:
    """What is known of one boot.  Fed with console bytes and the time; knows no consoles and no processes."""

    def __init__(self, stack: Stack, until: str, scale: float = 1.0) -> None:
        self.stack = stack
        self.reached: dict[str, Reached] = {}
        self.failure: Failure | None = None
        self._scale = scale
        self._wanted = needed(stack, until)
        self._transcripts = {name: Transcript(stack.noise) for name in stack.consoles}
        self._rest: dict[str, int] = dict.fromkeys(stack.consoles, 0)

    @property
    def complete(self) -> bool:
        """Whether every stage that was asked for is reached."""
        return all(stage.name in self.reached for stage in self._wanted)

    @property
    def under_way(self) -> tuple[Stage, ...]:
        """The wanted stages that may be reached next."""
        return tuple(stage for stage in self._wanted if stage.name not in self.reached and self._open(stage))

    def consumed(self, console: str) -> int:
        """How many bytes of a console the boot has used up: up to the end of the last line that mattered."""
        return self._rest[console]

    def deadline(self) -> float:
        """When, in seconds since power-on, the first of the stages under way is late."""
        return min((self._due(stage) for stage in self.under_way), default=float("inf"))

    def feed(self, console: str, data: bytes, now: float) -> list[Stage]:
        """Take what a console said at ``now`` (seconds since power-on); the stages that are reached by it."""
        transcript = self._transcripts[console]
        news: list[Stage] = []
        for line in transcript.feed(data):
            if self.failure or self.complete:
                break
            self._rest[console] = line.end
            self._judge(console, line.text)
            news += self._pass(console, line.text, "expect", now)
        if not (self.failure or self.complete):
            found = self._pass(console, transcript.partial, "prompt", now)
            if found:
                self._rest[console] = transcript.end
            news += found
        return news

    def check_time(self, now: float) -> None:
        """Note the stage that is late at ``now``, if one is."""
        if self.failure or self.complete:
            return
        for stage in self.under_way:
            if now >= self._due(stage):
                allowed = stage.deadline * self._scale
                self.failure = Failure(stage.name, How.DEADLINE, f"nothing like {_mark(stage)!r} in {allowed:g} s")

    def lost(self, what: str) -> None:
        """The machine is gone."""
        if not (self.failure or self.complete):
            self.failure = Failure(self._current(), How.LOST, what)

    def _open(self, stage: Stage) -> bool:
        return all(name in self.reached for name in stage.after)

    def _due(self, stage: Stage) -> float:
        return self._since(stage) + stage.deadline * self._scale

    def _since(self, stage: Stage) -> float:
        return max((self.reached[name].at for name in stage.after), default=0.0)

    def _current(self) -> str:
        return self.under_way[0].name if self.under_way else self._wanted[-1].name

    def _judge(self, console: str, text: str) -> None:
        """Look for a report of failure, of a stage or of the boot."""
        for stage in self.stack.stages:
            if (stage.name in self.reached or self._open(stage)) and _matches(stage.fail, text):
                self.failure = Failure(stage.name, How.REPORTED, _short(text))
                return
        if _matches(self.stack.fail, text):
            self.failure = Failure(self._current(), How.REPORTED, _short(text))

    def _pass(self, console: str, text: str, kind: str, now: float) -> list[Stage]:
        found: list[Stage] = []
        for stage in self.stack.stages:
            pattern = stage.expect if kind == "expect" else stage.prompt
            if self.failure or stage.console != console or not pattern or not re.search(pattern, text):
                continue
            if stage.name in self.reached:
                if stage is self.stack.stages[0] and kind == "expect" and self._unmistakable(stage):
                    self.failure = Failure(self._current(), How.RESTARTED, f"{stage.name} again: {_short(text)}")
                continue
            if not self._open(stage):
                if self._unmistakable(stage):
                    missing = next(name for name in stage.after if name not in self.reached)
                    self.failure = Failure(missing, How.SKIPPED, f"{stage.name} says {_short(text)}")
                continue
            at = round(now, 3)
            seconds = round(at - self._since(stage), 3)
            self.reached[stage.name] = Reached(stage=stage.name, at=at, seconds=seconds, line=_short(text))
            found.append(stage)
            break  # one line shows one stage: of two with the same mark the second waits for its own line
        return found

    def _unmistakable(self, stage: Stage) -> bool:
        """Whether no other stage has the same mark: where two have (two kernels, say), order tells them apart."""
        return [_mark(other) for other in self.stack.stages].count(_mark(stage)) == 1


def needed(stack: Stack, until: str) -> tuple[Stage, ...]:
    """The stages on the way to ``until``, that one included, in the manifest's order; ImageError for an unknown one."""
    wanted: set[str] = set()
    todo = [stack.stage(until)]
    while todo:
        stage = todo.pop()
        wanted.add(stage.name)
        todo += [stack.stage(name) for name in stage.after]
    return tuple(stage for stage in stack.stages if stage.name in wanted)


def _matches(patterns: tuple[str, ...], text: str) -> bool:
    return any(re.search(pattern, text) for pattern in patterns)


def _mark(stage: Stage) -> str:
    return stage.expect or stage.prompt


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def reached_by_name(found: Mapping[str, Reached]) -> list[Reached]:
    """The stages in the order in which they were reached."""
    return sorted(found.values(), key=lambda item: item.at)
