"""The search: breadth first from an untouched machine, so that what leads to a violation is as short as it can be."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from refmodel.rmm.calls import Call, HostCall, RealmInterrupt
from refmodel.rmm.explore.canonical import Key, at_rest, canonical
from refmodel.rmm.explore.invariants import STATE_INVARIANTS, TRANSITION_INVARIANTS
from refmodel.rmm.explore.scope import Scope, calls
from refmodel.rmm.state import State
from refmodel.rmm.step import RMI_COMMANDS, successors


@dataclass(frozen=True)
class Violation:
    """An invariant that does not hold, what is wrong, and the calls that lead there from an untouched machine."""

    invariant: str
    message: str
    calls: tuple[Call, ...]

    def __str__(self) -> str:
        steps = "".join(f"\n  {number}. {describe(call)}" for number, call in enumerate(self.calls, 1))
        return f"{self.invariant}: {self.message}{steps}"


@dataclass
class Exploration:
    """What an exploration found.  ``complete`` is False if it ended at ``limit`` states or at the first violation."""

    scope: str
    states: int = 0
    transitions: int = 0
    violations: list[Violation] = field(default_factory=list)
    complete: bool = True


def describe(call: Call) -> str:
    """A call in one line."""
    if isinstance(call, HostCall):
        command = RMI_COMMANDS.get(call.fid)
        name = command.name if command else f"SMC {call.fid:#x}"
        return " ".join([name, *(f"{value:#x}" for value in call.args)])
    return repr(call)


class _Search:
    def __init__(self, scope: Scope, limit: int, stop_at: int) -> None:
        self.scope, self.limit, self.stop_at = scope, limit, stop_at
        self.parameters = scope.parameters
        self.addresses = scope.addresses
        self.parents: dict[Key, tuple[Key, Call] | None] = {}
        self.back: dict[Key, set[Key]] = {}
        self.rest: set[Key] = set()
        self.found = Exploration(scope.name)

    def run(self) -> Exploration:
        start = State()
        queue = deque([(canonical(start, self.addresses), start)])
        self.parents[queue[0][0]] = None
        self.rest.add(queue[0][0])
        while queue:
            key, state = queue.popleft()
            self.found.states += 1
            for call, after in self._successors(state):
                self.found.transitions += 1
                made = canonical(after, self.addresses)
                self._check_transition(key, state, call, after)
                if isinstance(call, HostCall | RealmInterrupt):
                    self.back.setdefault(made, set()).add(key)
                if made not in self.parents:
                    self.parents[made] = (key, call)
                    self._check_state(made, after)
                    queue.append((made, after))
            if len(self.found.violations) >= self.stop_at or self.found.states >= self.limit:
                self.found.complete = not queue
                return self.found
        self._check_traps()
        return self.found

    def _successors(self, state: State) -> Iterator[tuple[Call, State]]:
        """Calls with each state that they may lead to, other than the same one."""
        for call in calls(state, self.scope):
            for after in successors(state, call, self.parameters):
                yield call, after

    def _check_state(self, key: Key, state: State) -> None:
        if at_rest(state, self.addresses):
            self.rest.add(key)
        for invariant in STATE_INVARIANTS:
            for message in invariant(state, self.parameters):
                self.found.violations.append(Violation(invariant.__name__, message, self._path(key)))

    def _check_transition(self, key: Key, before: State, call: Call, after: State) -> None:
        for invariant in TRANSITION_INVARIANTS:
            for message in invariant(before, call, after, self.parameters):
                self.found.violations.append(Violation(invariant.__name__, message, (*self._path(key), call)))

    def _path(self, key: Key) -> tuple[Call, ...]:
        path: list[Call] = []
        at = self.parents[key]
        while at is not None:
            key, call = at
            path.append(call)
            at = self.parents[key]
        return tuple(reversed(path))

    def _check_traps(self) -> None:
        """From every state the Host gets all its granules back, by commands and by interrupting what runs."""
        reached, pending = set(self.rest), list(self.rest)
        while pending:
            for key in self.back.get(pending.pop(), ()):
                if key not in reached:
                    reached.add(key)
                    pending.append(key)
        for key in self.parents:
            if key not in reached:
                self.found.violations.append(Violation("no_state_is_a_trap", "no way back", self._path(key)))
                return


def explore(scope: Scope, *, limit: int = 1_000_000, stop_at: int = 1) -> Exploration:
    """Explore a scope; ends at ``limit`` states, or at the state with the ``stop_at``-th violation."""
    return _Search(scope, limit, stop_at).run()
