"""One pytest run: its result directory, targets (one per set of options, powered on once), waivers and rules.

Every planned test ends with at least one result line: those that were deselected, skipped or never reached get a
NOT_RUN line, so that no rule looks complete because the rest of its tests passed.
"""

from __future__ import annotations

import contextlib
import functools
import platform
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from harness.boot.pool import KeptStacks, StackOptions, StackPool
from harness.boot.prepare import Prepared
from harness.coverage import Depth
from harness.errors import MisuseError, RealmcheckError, TargetError, TargetProtocolError
from harness.judge.session import Session, StoreBatch
from harness.mutants import falsify
from harness.report import (
    BatchStore,
    CheckResult,
    ResultWriter,
    RunHeader,
    Summary,
    TargetRecord,
    Verdict,
    Waiver,
    build_views,
    find,
    load_waivers,
    open_run_directory,
)
from harness.rules.catalogue import Catalogue, load_catalogue
from harness.targets.factory import TargetFactory
from harness.targets.qemu_machine import version_of
from harness.targets.target import Pausable, Target, TargetInfo, TargetOptions
from images.progress import Progress
from refmodel.features import Features
from refmodel.gpt.decode import GPTL0Size
from refmodel.sysregs import GPCCR_EL3

_STARTS = 2
"""How often in a row a target may fail to start before the run stops trying: each try can cost a boot deadline."""

_NEEDED = ("GPCCR_EL3", "ID_AA64PFR0_EL1", "ID_AA64MMFR0_EL1", "ID_AA64ISAR0_EL1")


@dataclass(kw_only=True)
class Run:
    """Everything that lives as long as the pytest session.

    ``results`` is the directory asked for, None for a new one below ``root``; ``seed`` makes every random choice of
    the run; ``scale`` multiplies the number of random stimuli; ``depth`` says how much of each matrix is asked for.
    ``broken`` says why nothing more can be recorded, empty while all is well.
    """

    results: Path | None
    root: Path
    suites: Path
    factory: TargetFactory
    seed: int
    scale: float
    command: Sequence[str]
    depth: Depth = Depth.PAIRWISE
    directory: Path = Path()
    writer: ResultWriter | None = None
    waivers: tuple[Waiver, ...] = ()
    broken: str = ""
    stack_options: StackOptions = field(default_factory=StackOptions)
    progress: Progress | None = None
    kept_stacks: KeptStacks | None = None
    _genuine: Callable[[], None] = lambda: None
    _record: TargetRecord | None = None
    _stack_features: dict[str, str] = field(default_factory=dict)
    _stacks: StackPool | None = None
    _planned: dict[str, tuple[tuple[str, ...], str]] = field(default_factory=dict)
    _gaps: bool = False
    _refused: dict[TargetOptions, list[RealmcheckError]] = field(default_factory=dict)
    _sessions: dict[TargetOptions, Session] = field(default_factory=dict)
    _applying: dict[tuple[str, str], list[Waiver]] = field(default_factory=dict)
    _targets: list[Target] = field(default_factory=list)

    @functools.cached_property
    def catalogue(self) -> Catalogue:
        """The rules of the suites, read once: a run has one catalogue, and hundreds of tests ask for it."""
        return load_catalogue(self.suites / "rules")

    def begin(self) -> None:
        """Open the results: from here on a header is on disk.

        Everything that can be wrong with the request is found before a directory is made.
        """
        digest = self.catalogue.digest
        self.waivers = load_waivers(self.suites / "waivers")
        header = RunHeader(
            realmcheck=version("realmcheck"),
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            command=tuple(self.command),
            target=TargetRecord(name=self.factory.name, kind=self.factory.kind, self_test=self.factory.self_test),
            seeds={"seed": str(self.seed), "scale": str(self.scale), "depth": self.depth.value},
            host=host(),
            provenance=self.factory.provenance,
            catalogue=digest,
            waivers=tuple(w for w in self.waivers if w.target == self.factory.name),
        )
        self.directory = open_run_directory(self.results, root=self.root)
        self.writer = ResultWriter(self.directory, header)

    def plan(self, test: str, rules: Sequence[str], reason: str) -> None:
        """A test that exists; ``reason`` is why it was not run, should no result of it ever be added."""
        self._planned[test] = tuple(rules), reason

    def left_out(self, test: str, verdict: Verdict, reason: str) -> None:
        """A planned test that ended without a check: record why, unless it has results already."""
        rules, _ = self._planned.get(test, ((), ""))
        if rules:
            self._gaps = True
            self.add([CheckResult(test=test, rules=rules, verdict=verdict, reason=reason)])

    def session(self, options: TargetOptions) -> Session:
        """The session with the target of these options, powered on at first use.

        A target that does not start is tried again by the next test; after two failures in a row no more, and the last
        error is raised again at once.
        """
        self.pause_targets()
        if options in self._sessions:
            session = self._sessions[options]
            if isinstance(session.target, Pausable):
                session.target.resume()
            return session
        refused = self._refused.setdefault(options, [])
        if len(refused) >= _STARTS:
            raise _again(refused[-1])
        try:
            self._sessions[options] = self._start(options)
        except (TargetError, MisuseError) as error:
            refused.append(error)
            raise
        refused.clear()
        return self._sessions[options]

    def pause_targets(self) -> None:
        """Let the machines that other tests use stand still: a run has several, and one works at a time."""
        for session in self._sessions.values():
            if isinstance(session.target, Pausable):
                session.target.pause()

    def _start(self, options: TargetOptions) -> Session:
        number = len(self._targets)
        target = self.factory.make(options, self.directory / "logs" / f"{number}")
        self._targets.append(target)
        try:
            target.power_on()
            _verify(target.info)
            self._describe(TargetRecord.of(target.info))
            return Session(target, store=self._keeper(target.info))
        except BaseException:
            with contextlib.suppress(Exception):
                target.power_off()
            raise

    def _describe(self, record: TargetRecord) -> None:
        """Record what the target says of itself, with what is known of the stacks that were booted on it."""
        self._record = record
        known = dict(record.features) | self._stack_features
        binaries = tuple(dict.fromkeys((*record.provenance, *self.stacks.provenance())))
        with self._recording():
            self._the_writer().target(replace(record, features=known, provenance=binaries))

    def _stack_used(self, prepared: Prepared) -> None:
        """A stack was prepared: its binaries belong in the results."""
        self._stack_features["RMM"] = "present" if self.stacks.rmm_given else "absent"
        version = version_of(prepared.qemu)
        factory = self.factory
        empty = TargetRecord(name=factory.name, kind=factory.kind, version=version, self_test=factory.self_test)
        self._describe(self._record or empty)

    @property
    def stacks(self) -> StackPool:
        """The machines of the suites that boot firmware."""
        if self._stacks is None:
            mutant = self.factory.stack_mutant
            options = self.stack_options
            if mutant is not None:
                self._genuine = falsify(mutant)
                options = replace(options, firmware=mutant.firmware)
            self._stacks = StackPool(
                options,
                logs=lambda: self.directory / "logs",
                progress=self.progress,
                heard=self._stack_used,
                kept=self.kept_stacks,
            )
        return self._stacks

    @property
    def stack_version(self) -> str:
        """QEMU's version, as the stacks that were booted have it; empty while none was."""
        return self._record.version if self._record else ""

    def discard(self, session: Session) -> None:
        """A session whose state is unknown: power its target off; the next test starts a new one."""
        for options, known in list(self._sessions.items()):
            if known is session:
                del self._sessions[options]
                with contextlib.suppress(Exception):
                    known.target.power_off()

    def _keeper(self, info: TargetInfo) -> StoreBatch:
        """Keeps the raw batches of one target, with what ``harness/state`` needs of it to make sense of them."""
        meta = {
            "l0gptsz": GPTL0Size(GPCCR_EL3(info.id_registers["GPCCR_EL3"])),
            "pes": info.pes,
            "windows_l1": info.layout.windows_l1,
            "ds": int(Features.from_id_registers(info.id_registers).lpa2),
        }

        def store(image: bytes, results: bytes, memory: Sequence[tuple[int, bytes]], title: str) -> str:
            with self._recording():
                return BatchStore(self.directory).store(image, results, memory, {"scene": title, **meta})

        return store

    @contextlib.contextmanager
    def _recording(self) -> Iterator[None]:
        """Note that the results can no longer be written, whoever sees the error first."""
        try:
            yield
        except MisuseError as error:
            self.broken = self.broken or str(error)
            raise

    def _the_writer(self) -> ResultWriter:
        if self.writer is None:
            raise MisuseError("the run has no results yet; call begin() first")
        return self.writer

    def waive(self, rule: str, signature: str, version: str) -> str | None:
        """The waiver that covers a deviation of this run's target in this version, by name."""
        # A mutant of stacks runs on QEMU, whose known deviations must not be taken for the mutant's.
        name = "qemu" if self.factory.stack_mutant else self.factory.name
        machine = name, version
        if machine not in self._applying:
            self._applying[machine] = [w for w in self.waivers if w.applies(*machine)]
        waiver = find(self._applying[machine], (rule,), signature, {})
        return waiver.id if waiver else None

    def rng(self, name: str) -> random.Random:
        """Random numbers for a test, the same for the same seed and name whatever else runs."""
        return random.Random(f"{self.seed}:{name}")

    def add(self, results: Sequence[CheckResult]) -> None:
        """Append result lines; MisuseError, and ``broken`` is set, when they cannot be written."""
        for result in results:
            self._planned.pop(result.test, None)
            with self._recording():
                self._the_writer().add(result)

    def end(self, exit_status: int, *, complete: bool) -> Summary | None:
        """Power everything off, close the results, build the views.

        None when the run was not begun or its results could not be written: then there is nothing to claim from.
        """
        for target in self._targets:
            # A target that cannot be switched off any more is gone; the results must be closed all the same.
            with contextlib.suppress(Exception):
                target.power_off()
        if self._stacks is not None:
            self._stacks.close()
        self._genuine()
        if self.writer is None or self.broken:
            return None
        for test, (_, reason) in list(self._planned.items()):
            self.left_out(test, Verdict.NOT_RUN, reason)
        with self._recording():
            self.writer.finish(exit_status, complete=complete and not self._gaps)
        return build_views(self.directory, self.catalogue)


def _again(error: RealmcheckError) -> RealmcheckError:
    """The error of an earlier start, for a test that makes no start of its own."""
    text = f"{error} (not tried again: it failed to start {_STARTS} times in a row)"
    if isinstance(error, TargetError):
        return type(error)(text, error.evidence)
    return MisuseError(text)


def _verify(info: TargetInfo) -> None:
    """TargetProtocolError when the target lacks a register that the judge rests on, or is not what it declares to be.

    What the model knows of a declared feature is held against the ID registers: a wrong declaration is never a skip.
    """
    for name in _NEEDED:
        if name not in info.id_registers:
            raise TargetProtocolError(f"{info.name} does not report {name}; boot a probe built from the same release")
    reported = Features.from_id_registers(info.id_registers)
    for name, declared in info.features.items():
        found = getattr(reported, name, reported.named.get(name, declared))
        if found != declared:
            what = f"{info.name} declares {name} as {declared!r}, its ID registers report {found!r}"
            raise TargetProtocolError(f"{what}; correct the target's declaration")


def host() -> Mapping[str, str]:
    """What the run was made on."""
    return {"system": platform.platform(), "machine": platform.machine(), "python": sys.version.split()[0]}
