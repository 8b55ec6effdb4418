"""Making a state small: the one record, the records before it that it depends on, the memory that matters.

Every step is tried on the target and kept only when the target shows the same as before.  The model proposes what to
leave out (memory that it does not read); that the permitted set stays the same is checked as well.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from harness.errors import TargetError
from harness.probe.records import RecordFlag
from harness.state.replay import Player, Replay
from harness.state.state import State, StateRecord, merged
from refmodel.outcomes import ExceptionTaken, Outcome

TRIALS: Final = 60
"""How many smaller states are tried at most; each is one batch, and where the target is lost two power cycles."""


def shrink(player: Player, state: State, seen: Replay) -> tuple[State, Replay]:
    """A smaller state that shows the same as ``seen``, and its replay; the same state where there is none.

    A state that the model cannot judge is left as it is: nothing says what it depends on.
    """
    if seen.testimony is None:
        return state, seen
    shrinker = _Shrinker(player, state, seen)
    shrinker.records()
    shrinker.memory()
    return shrinker.state, shrinker.seen


class _Shrinker:
    """The smallest state so far, and what is left of the trials."""

    def __init__(self, player: Player, state: State, seen: Replay) -> None:
        self.state = state
        self.seen = seen
        self._player = player
        self._left = TRIALS

    def _try(self, smaller: State) -> bool:
        """Take the smaller state when target and model say the same of it."""
        if self._left <= 0:
            return False
        self._left -= 1
        try:
            seen = self._player.play(smaller)
        except TargetError:
            return False  # too little is left for the record to be issued
        if not seen.same_as(self.seen) or _permitted(seen) != _permitted(self.seen):
            return False
        self.state, self.seen = smaller, seen
        return True

    def records(self) -> None:
        """Leave out what comes after the judged record, then what came before it: all, or part by part."""
        if len(self.state.records) > self.state.judged + 1:
            self._try(replace(self.state, records=self.state.records[: self.state.judged + 1]))
        size = self.state.judged
        while size:
            self._without(size)
            size = min(size // 2, self.state.judged)

    def _without(self, size: int) -> None:
        """Try to leave out each run of ``size`` records before the judged one, the last first."""
        end = self.state.judged
        while end > 0 and self._left > 0:
            start = max(0, end - size)
            records = _led(self.state.records[:start] + self.state.records[end:])
            self._try(replace(self.state, records=records, judged=self.state.judged - (end - start)))
            end = start

    def memory(self) -> None:
        """Leave out the doublewords that neither the model nor the probe's own accesses read."""
        asked = self._player.play(self.state, probe=True)
        if asked.testimony is None:
            return
        read = asked.testimony.words
        kept: list[tuple[int, bytes]] = []
        for block in self.state.memory:
            for at in range(block.pa & ~7, block.end, 8):
                if at in read:
                    start, end = max(at, block.pa), min(at + 8, block.end)
                    kept.append((start, block.data[start - block.pa : end - block.pa]))
        code = [(b.pa, b.data) for b in self.state.memory if b.pa % 8 or len(b.data) % 8]
        self._try(replace(self.state, memory=merged([*code, *kept])))


def _led(records: tuple[StateRecord, ...]) -> tuple[StateRecord, ...]:
    """The records with the invalidation that the first one below EL3 begins with."""
    first = records[0]
    return records if first.el == 3 else (replace(first, flags=first.flags | RecordFlag.TLBI_BEFORE), *records[1:])


def _permitted(replay: Replay) -> frozenset[Outcome]:
    """The permitted outcomes without FAR, which names an address of the probe's windows."""
    if replay.testimony is None:
        return frozenset()
    outcomes = (alternative.outcome for alternative in replay.testimony.alternatives)
    return frozenset(replace(one, far=None) if isinstance(one, ExceptionTaken) else one for one in outcomes)
