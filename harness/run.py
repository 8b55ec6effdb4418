"""One pytest run: its result directory, targets (one per set of options, powered on once), waivers and rules."""

from __future__ import annotations

import contextlib
import platform
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from harness.judge.session import Session
from harness.report import (
    BatchStore,
    CheckResult,
    ResultWriter,
    RunHeader,
    Summary,
    TargetRecord,
    Waiver,
    build_views,
    find,
    load_waivers,
)
from harness.rules.catalogue import Catalogue, load_catalogue
from harness.targets.factory import TargetFactory
from harness.targets.target import Target, TargetInfo, TargetOptions


@dataclass(kw_only=True)
class Run:
    """Everything that lives as long as the pytest session.

    ``seed`` makes every random choice of the run; ``scale`` multiplies the number of random stimuli.
    """

    directory: Path
    suites: Path
    factory: TargetFactory
    seed: int
    scale: float
    command: Sequence[str]
    writer: ResultWriter | None = None
    waivers: tuple[Waiver, ...] = ()
    _sessions: dict[TargetOptions, Session] = field(default_factory=dict)
    _targets: list[Target] = field(default_factory=list)

    @property
    def catalogue(self) -> Catalogue:
        """The rules of the suites."""
        return load_catalogue(self.suites / "rules")

    def begin(self) -> None:
        """Open the results: from here on a header is on disk."""
        self.waivers = load_waivers(self.suites / "waivers")
        header = RunHeader(
            realmcheck=version("realmcheck"),
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            command=tuple(self.command),
            target=TargetRecord(name=self.factory.name, kind=self.factory.kind, self_test=self.factory.self_test),
            seeds={"seed": str(self.seed), "scale": str(self.scale)},
            host=host(),
            provenance=self.factory.provenance,
            catalogue=self.catalogue.digest,
            waivers=tuple(w for w in self.waivers if w.target == self.factory.name),
        )
        self.writer = ResultWriter(self.directory, header)

    def session(self, options: TargetOptions) -> Session:
        """The session with the target of these options, powered on at first use."""
        if options not in self._sessions:
            number = len(self._targets)
            target = self.factory.make(options, self.directory / "logs" / f"{number}")
            self._targets.append(target)
            target.power_on()
            if self.writer is not None:
                self.writer.target(TargetRecord.of(target.info))
            self._sessions[options] = Session(target, store=self._store)
        return self._sessions[options]

    def discard(self, session: Session) -> None:
        """A session whose state is unknown: power its target off; the next test starts a new one."""
        for options, known in list(self._sessions.items()):
            if known is session:
                del self._sessions[options]
                with contextlib.suppress(Exception):
                    known.target.power_off()

    def _store(self, image: bytes, results: bytes, memory: Sequence[tuple[int, bytes]], title: str) -> str:
        return BatchStore(self.directory).store(image, results, memory, {"scene": title})

    def waive(self, rule: str, signature: str, target: TargetInfo) -> str | None:
        """The waiver that covers a deviation of this target, by name."""
        applying = [w for w in self.waivers if w.applies(target.name, target.version)]
        waiver = find(applying, (rule,), signature, {})
        return waiver.id if waiver else None

    def rng(self, name: str) -> random.Random:
        """Random numbers for a test, the same for the same seed and name whatever else runs."""
        return random.Random(f"{self.seed}:{name}")

    def add(self, results: Sequence[CheckResult]) -> None:
        """Append result lines."""
        if self.writer is not None:
            for result in results:
                self.writer.add(result)

    def end(self, exit_status: int, *, complete: bool) -> Summary | None:
        """Power everything off, close the results, build the views."""
        for target in self._targets:
            # A target that cannot be switched off any more is gone; the results must be closed all the same.
            with contextlib.suppress(Exception):
                target.power_off()
        if self.writer is None:
            return None
        self.writer.finish(exit_status, complete=complete)
        return build_views(self.directory, self.catalogue)


def host() -> Mapping[str, str]:
    """What the run was made on."""
    return {"system": platform.platform(), "machine": platform.machine(), "python": sys.version.split()[0]}
