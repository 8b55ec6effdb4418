"""QEMU with a whole stack on it: one process, a console per UART, shared RAM, a monitor; and its boot by stages.

What the consoles say is judged by ``stages``; this module owns what must not be left behind: the process, the sockets
(pairs, no names in the file system) and the memory (anonymous files).
"""

from __future__ import annotations

import os
import select
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from harness.boot import stages
from harness.boot.debugger import Debugger, stopped
from harness.boot.monitor import Monitor
from harness.boot.prepare import Prepared
from harness.boot.stages import How, Reached, StageFailedError
from harness.boot.typing import type_text
from harness.console import Console, socket_pair
from harness.errors import MisuseError, TargetError, TargetEvidence, TargetLostError
from harness.process import Process
from harness.targets.qemu_machine import SharedRam
from harness.targets.target import log_directory
from images.stack import Stack, Stage

RAM_BASE: Final = 0x4000_0000
_TICK: Final = 0.2  # seconds between two looks at process and clock
_DEATH_GRACE: Final = 0.5


class StackMachine:
    """One machine; ``logs`` gets ``CONSOLE.log`` for every console and ``qemu.stderr``, appended to by every power-on.

    ``timeout_scale`` multiplies every deadline, ``gdb`` is a TCP port on which QEMU waits for a debugger (0: none).
    """

    def __init__(self, prepared: Prepared, *, logs: Path, timeout_scale: float = 1.0, gdb: int = 0) -> None:
        self.prepared = prepared
        self.logs = logs
        self.timeout_scale = timeout_scale
        self._private = logs / "private"
        self._gdb = gdb
        self._process: Process | None = None
        self._consoles: dict[str, Console] = {}
        self._ram: SharedRam | None = None
        self._monitor: Monitor | None = None
        self._debugger: Debugger | None = None
        self._debugging = False
        self._started = 0.0
        self._progress: stages.Progress | None = None
        self.closing: list[Callable[[], None]] = []
        """Called once at the next power-off, before the RAM goes: whoever holds on to it lets go there."""

    @property
    def stack(self) -> Stack:
        """The stack's manifest."""
        return self.prepared.stack

    @property
    def pid(self) -> int:
        """Process id of QEMU; MisuseError when it is off."""
        return self._running().pid

    @property
    def ram(self) -> SharedRam:
        """Guest RAM as one mapping: offset 0 is PA 0x4000_0000; reads and writes go past the GPC."""
        if self._ram is None:
            raise MisuseError("the machine is off; call boot() first")
        return self._ram

    @property
    def monitor(self) -> Monitor:
        """QEMU's monitor."""
        if self._monitor is None:
            raise MisuseError("the machine is off; call boot() first")
        return self._monitor

    def human(self, line: str) -> str:
        """What QEMU's human monitor answers to a line such as ``info ramblock``."""
        return self.monitor.human(line)

    @contextmanager
    def stopped(self) -> Iterator[Debugger]:
        """The machine stands still inside and its system registers can be read; it runs on afterwards."""
        if self._debugger is None:
            raise MisuseError("the machine is off; call boot() first")
        if not self._debugging:
            self.human("gdbserver chardev:debugger")
            self._debugging = True
        with stopped(self._debugger) as debugger:
            yield debugger

    @property
    def reached(self) -> tuple[Reached, ...]:
        """The stages of the last boot that were reached, in order; also after it failed or the machine went off."""
        return tuple(stages.reached_by_name(self._progress.reached)) if self._progress else ()

    def console(self, name: str) -> Console:
        """A console; what the boot read beyond its last mark comes again."""
        if name not in self._consoles:
            there = ", ".join(self._consoles) or "none, the machine is off"
            raise MisuseError(f"no console {name!r}; there are: {there}")
        return self._consoles[name]

    def boot(self, until: str = "", watch: Callable[[Reached], None] | None = None) -> tuple[Reached, ...]:
        """Power on and follow the boot to stage ``until`` (default: the manifest's last); the stages reached.

        ``watch`` hears of each stage as it is reached.  StageFailedError when the boot fails; the machine stays on as
        it is then, so that a person can look at it.  Whatever else goes wrong switches it off.
        """
        if self._process is not None:
            raise MisuseError("the machine is on already; power_off() first")
        goal = until or self.stack.stages[-1].name
        self._progress = progress = stages.Progress(self.stack, goal, self.timeout_scale)
        log_directory(self.logs)
        try:
            self._start()
            self._follow(progress, watch or (lambda reached: None))
            self._give_back(progress)
        except StageFailedError:
            raise
        except BaseException:
            self.power_off()
            raise
        return self.reached

    def power_off(self) -> None:
        """End QEMU and let everything go; idempotent.  Logs stay."""
        if self._process is not None:
            self._process.kill()
        while self.closing:
            self.closing.pop()()
        if self._monitor is not None:
            self._monitor.close()
        if self._debugger is not None:
            self._debugger.close()
        for console in self._consoles.values():
            console.close()
        if self._ram is not None:
            self._ram.close()
        shutil.rmtree(self._private, ignore_errors=True)
        self._process = self._monitor = self._debugger = self._ram = None
        self._debugging = False
        self._consoles = {}

    def check_alive(self) -> None:
        """TargetLostError when QEMU has ended."""
        status = self._running().poll()
        if status is not None:
            raise TargetLostError(f"QEMU {status}", self.evidence())

    def evidence(self, stage: str = "", console: str = "") -> TargetEvidence:
        """What is known now, with the tail of a console (default: the manifest's first)."""
        process = self._running()
        status = process.poll()
        shown = self._consoles[console or next(iter(self.stack.consoles))]
        return TargetEvidence(
            stage=stage or (self.reached[-1].stage if self.reached else "power-on"),
            elapsed=self.now(),
            exit_status=str(status) if status else "",
            tail=shown.tail(20),
            log=str(shown.log_path),
            last_words=process.stderr_tail(),
        )

    def now(self) -> float:
        """Seconds since power-on."""
        return time.monotonic() - self._started

    def _running(self) -> Process:
        if self._process is None:
            raise MisuseError("the machine is off; call boot() first")
        return self._process

    def _start(self) -> None:
        theirs: list[socket.socket] = []
        flash = -1
        try:
            self._ram = SharedRam(self.stack.machine.memory_mib << 20)
            for name in self.stack.consoles:
                mine, other = socket_pair()
                theirs.append(other)
                self._consoles[name] = Console(mine, self.logs / f"{name}.log")
            mine, other = socket_pair()
            theirs.append(other)
            self._monitor = Monitor(mine)
            mine, other = socket_pair()
            theirs.append(other)
            self._debugger = Debugger(mine)
            if self.prepared.flash is not None:
                flash = _memory_file(self.prepared.flash)
            fds = [item.fileno() for item in theirs]
            argv = self._argv(fds, flash)
            passed = [*fds, self._ram.fd, *([flash] if flash >= 0 else [])]
            self._started = time.monotonic()
            self._process = Process(argv, stderr=self.logs / "qemu.stderr", pass_fds=passed)
        finally:
            for item in theirs:
                item.close()
            if flash >= 0:
                os.close(flash)

    def _argv(self, fds: list[int], flash: int) -> list[str]:
        """QEMU's command line; ``fds`` are the consoles' ends, then the monitor's and the debugger's."""
        machine = self.stack.machine
        assert self._ram is not None
        argv = [*self.prepared.qemu]
        path = f"/proc/self/fd/{self._ram.fd}"
        argv += ["-object", f"memory-backend-file,id=ram0,size={machine.memory_mib}M,mem-path={path},share=on"]
        argv += ["-M", f"{machine.machine},memory-backend=ram0", "-accel", "tcg", "-cpu", machine.cpu]
        argv += ["-m", f"{machine.memory_mib}M", "-smp", str(machine.pes)]
        argv += ["-nodefaults", "-no-user-config", "-display", "none"]
        for name, fd in zip(self.stack.consoles, fds, strict=False):
            argv += ["-chardev", f"socket,id={name},fd={fd}", "-serial", f"chardev:{name}"]
        argv += ["-chardev", f"socket,id=monitor,fd={fds[-2]}", "-qmp", "chardev:monitor"]
        argv += ["-chardev", f"socket,id=debugger,fd={fds[-1]}"]
        argv += ["-bios", f"/proc/self/fd/{flash}"] if flash >= 0 else []
        argv += ["-gdb", f"tcp:127.0.0.1:{self._gdb}", "-S"] if self._gdb else []
        return [*argv, *self.prepared.arguments(self._copies())]

    def _copies(self) -> dict[str, Path]:
        """Copies of the files that the machine writes to; they go with the machine."""
        copies = {}
        for name, source in self.stack.files.items():
            if source.private:
                original, copy = self.prepared.files[name], self._private / name
                copy.parent.mkdir(exist_ok=True)
                (shutil.copytree if original.is_dir() else shutil.copyfile)(original, copy)
                copies[name] = copy
        return copies

    def _follow(self, progress: stages.Progress, watch: Callable[[Reached], None]) -> None:
        poller = select.poll()
        by_fd = {console.fileno(): name for name, console in self._consoles.items()}
        for fd in by_fd:
            poller.register(fd, select.POLLIN)
        while not progress.complete:
            for fd, _ in poller.poll(_TICK * 1000):
                self._hear(progress, by_fd[fd], watch)
            if status := self._running().poll():
                self._drain(progress, watch)
                progress.lost(f"QEMU {status}")
            if not self._gdb:  # a person at a debugger takes any time
                progress.check_time(self.now())
            if progress.failure:
                self._fail(progress)

    def _hear(self, progress: stages.Progress, name: str, watch: Callable[[Reached], None]) -> None:
        try:
            data = self._consoles[name].read(0.0)
        except TargetLostError as error:
            status = self._running().wait(_DEATH_GRACE)
            self._drain(progress, watch, apart_from=name)
            progress.lost(f"QEMU {status}" if status else str(error))
            return
        for stage in progress.feed(name, data, self.now()):
            watch(progress.reached[stage.name])
            self._answer(stage)

    def _drain(self, progress: stages.Progress, watch: Callable[[Reached], None], apart_from: str = "") -> None:
        """What a machine that has just ended still said: its last words often tell why."""
        for name, console in self._consoles.items():
            try:
                while name != apart_from and (data := console.read(0.0)):
                    for stage in progress.feed(name, data, self.now()):
                        watch(progress.reached[stage.name])
            except TargetError:
                continue

    def _answer(self, stage: Stage) -> None:
        if stage.send:
            type_text(self._consoles[stage.console], stage.send, timeout=stage.deadline * self.timeout_scale)

    def _fail(self, progress: stages.Progress) -> None:
        failure = progress.failure
        assert failure is not None
        console = self.stack.stage(failure.stage).console
        evidence = self.evidence(failure.stage, console)
        words = "; ".join(evidence.last_words) if failure.how is How.LOST else ""
        raise StageFailedError(failure.stage, failure.how, "; ".join(filter(None, (failure.what, words))), evidence)

    def _give_back(self, progress: stages.Progress) -> None:
        for name, console in self._consoles.items():
            console.rewind(progress.consumed(name))


def _memory_file(data: bytes) -> int:
    """An anonymous file with ``data``: nothing to clean up, however anything ends."""
    fd = os.memfd_create("realmcheck-flash")
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]
    return fd
