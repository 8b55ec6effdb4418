"""A log replayed on the model: every call judged, the first divergence shown with what was known before it."""

from __future__ import annotations

import gzip
import zlib
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from harness.errors import BadInputError
from harness.rmmlog.lines import Banner, Event, Garbled, Origin, Parsed, Unknown, parse
from refmodel.rmm.replay.judge import Judgement, Shown, Verdict, judge
from refmodel.rmm.replay.knowledge import Knowledge
from refmodel.rmm.replay.realm_calls import ShownRealmCall, judge_rsi, judge_smc
from refmodel.rmm.step import BY_NAME
from refmodel.rmm.types import Rmi
from refmodel.rmm.version import RMI_1_0

_STOCK: Final = frozenset(
    {
        "RMI_VERSION",
        "RMI_FEATURES",
        "RMI_REALM_CREATE",
        "RMI_REALM_ACTIVATE",
        "RMI_REALM_DESTROY",
        "RMI_REC_AUX_COUNT",
        "RMI_REC_CREATE",
        "RMI_REC_DESTROY",
        "RMI_PSCI_COMPLETE",
    }
)
"""Commands whose successes every build prints."""
_MODELLED: Final = ("1.0",)
_HISTORY: Final = 12


@dataclass(frozen=True)
class Divergence:
    """A call that the model does not permit: its line, what is wrong, what was known, and the calls before it."""

    line: int
    text: str
    message: str
    known: tuple[str, ...]
    before: tuple[str, ...]


@dataclass
class Report:
    """What a replay found.  ``counts`` has one number for each verdict."""

    firmware: str = ""
    abi: str = ""
    from_boot: bool = False
    printed: tuple[str, ...] = ()
    counts: Counter[Verdict] = field(default_factory=Counter)
    garbled: int = 0
    suspect: int = 0
    divergences: list[Divergence] = field(default_factory=list)

    @property
    def calls(self) -> int:
        """Calls that were read."""
        return sum(self.counts.values())

    @property
    def inconclusive(self) -> bool:
        """Whether nothing could be held against anything."""
        return not self.divergences and not self.counts[Verdict.CHECKED] and not self.counts[Verdict.PARTLY]


def read_log(path: Path) -> list[str]:
    """Lines of a log, plain or compressed with gzip; bytes that are no UTF-8 are replaced, consoles have such."""
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except OSError as error:
        reason = error.strerror or str(error)
        raise BadInputError(f"cannot be read: {reason}", path=path, remedy="name a log of an RMM's console") from None
    except (EOFError, zlib.error):
        raise BadInputError("is a broken gzip file", path=path, remedy="compress the log again") from None
    return data.decode("utf-8", errors="replace").split("\n")


def replay(path: Path, *, revision: str = "") -> Report:
    """Replay a log.  BadInputError if it is none, or has commands, statuses or a revision that are not known."""
    parsed = list(parse(read_log(path)))
    _refuse(parsed, path, revision)
    report = Report()
    events = [item for item in parsed if isinstance(item, Event)]
    printed = _STOCK | {event.name for event in events if event.origin is Origin.RMI and event.x0 == Rmi.RMI_SUCCESS}
    if "RMI_GRANULE_DELEGATE" in printed:
        # The most frequent call of all: a build that prints it leaves none out.
        printed |= RMI_1_0
    report.printed = tuple(sorted(printed))
    report.from_boot = any(isinstance(item, Banner) for item in parsed[: parsed.index(events[0])])
    _Replay(report, frozenset(printed)).run(parsed)
    return report


def _refuse(parsed: Iterable[Parsed], path: Path, revision: str) -> None:
    items = list(parsed)
    garbled = any(isinstance(item, Garbled) for item in items)
    for item in items:
        if isinstance(item, Unknown) and not garbled:
            remedy = f"the model has RMM {', '.join(_MODELLED)}; check that the log is complete and of that revision"
            raise BadInputError(f"line {item.line}: {item.what} is not known", path=path, remedy=remedy)
        if isinstance(item, Banner) and item.abi and item.abi not in _MODELLED and not revision:
            remedy = "replay it as another one with --revision if its calls are the same"
            raise BadInputError(f"line {item.line}: RMI {item.abi} is not modelled", path=path, remedy=remedy)
    if not any(isinstance(item, Event) for item in items):
        remedy = "name a log with lines such as 'SMC_RMI_VERSION 10000 > RMI_SUCCESS 10000 10000'"
        raise BadInputError("has no call of an RMM", path=path, remedy=remedy)


class _Replay:
    def __init__(self, report: Report, printed: frozenset[str]) -> None:
        self.report = report
        self.printed = printed
        self.knowledge = Knowledge(printed, report.from_boot)
        self.before: deque[str] = deque(maxlen=_HISTORY)

    def run(self, parsed: Iterable[Parsed]) -> None:
        started = False
        for item in parsed:
            match item:
                case Banner():
                    self._banner(item, started)
                case Event():
                    started = True
                    self._event(item)
                case Garbled() | Unknown():
                    self.report.garbled += 1
                    # A realm's call changes nothing that a log would show; a piece of an RMI call may hide a change.
                    if "RMI" in item.text:
                        self.knowledge.lose()

    def _banner(self, banner: Banner, started: bool) -> None:
        self.report.firmware = banner.firmware or self.report.firmware
        self.report.abi = banner.abi or self.report.abi
        if banner.firmware and started:
            # The machine was started again: nothing of before is left.
            self.knowledge = Knowledge(self.printed, from_boot=True)

    def _event(self, event: Event) -> None:
        known = self._known(event)
        judgement = self._judge(event)
        if judgement.verdict is Verdict.VIOLATED and event.suspect:
            self.report.suspect += 1
            judgement = Judgement(Verdict.NOT_CHECKABLE)
        self.report.counts[judgement.verdict] += 1
        if judgement.verdict is Verdict.VIOLATED:
            found = Divergence(event.line, event.text, judgement.message, known, tuple(self.before))
            self.report.divergences.append(found)
        self.before.append(f"{event.line}: {event.text.strip()}")

    def _judge(self, event: Event) -> Judgement:
        match event.origin:
            case Origin.RMI:
                shown = Shown(event.args, event.x0 & 0xFF, event.x0 >> 8, event.outputs)
                return judge(BY_NAME[event.name], shown, self.knowledge)
            case Origin.RSI:
                return judge_rsi(BY_NAME[event.name], _realm_call(event), self.knowledge)
            case Origin.SMC:
                return judge_smc(_realm_call(event), self.knowledge)

    def _known(self, event: Event) -> tuple[str, ...]:
        """What is known of the objects that an RMI call names."""
        if event.origin is not Origin.RMI:
            active = [rd for rd, realm in self.knowledge.realms.items() if realm.state.value == "ACTIVE"]
            return (f"active realms: {', '.join(f'{rd:#x}' for rd in active) or 'none'}",)
        told = []
        for name, value in zip(BY_NAME[event.name].inputs, event.args, strict=False):
            if realm := self.knowledge.realms.get(value):
                told.append(f"{name} {value:#x}: realm, {realm.state.value}, {realm.num_recs} RECs")
            elif rec := self.knowledge.recs.get(value):
                told.append(f"{name} {value:#x}: REC with MPIDR {rec.mpidr:#x} of the realm at {rec.owner:#x}")
            elif name in ("addr", "rd", "rec", "rtt", "data", "calling_rec", "target_rec"):
                told.append(f"{name} {value:#x}: {self.knowledge.describe(value & ~0xFFF)}")
        return tuple(told)


def _realm_call(event: Event) -> ShownRealmCall:
    return ShownRealmCall(event.fid, event.args, event.x0, event.outputs)
