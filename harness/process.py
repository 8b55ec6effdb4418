"""A child process that cannot outlive the harness, and how it ended.  Its console is ``console.py``'s subject."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from harness.errors import MisuseError

_PR_SET_PDEATHSIG: Final = 1
_libc = ctypes.CDLL(None, use_errno=True)


class ExitKind(Enum):
    """How a machine's process ended."""

    NORMAL = "ended normally"
    EXIT_CODE = "ended with an exit code"  # of the guest by semihosting, or of the emulator refusing its options
    ABORTED = "aborted"
    SIGNALLED = "ended by a signal"
    TIMED_OUT = "killed by the harness after a deadline"
    KILLED = "killed by the harness"


@dataclass(frozen=True)
class ExitStatus:
    """An exit kind with its code: the exit code, or the number of the signal."""

    kind: ExitKind
    code: int = 0

    def __str__(self) -> str:
        match self.kind:
            case ExitKind.EXIT_CODE:
                return f"{self.kind.value} ({self.code})"
            case ExitKind.ABORTED | ExitKind.SIGNALLED:
                return f"{self.kind.value} ({signal.Signals(self.code).name})"
            case _:
                return str(self.kind.value)


def classify(returncode: int) -> ExitStatus:
    """An exit status from ``Popen.returncode``; 128 + n of a wrapping shell is read as signal n."""
    number = -returncode if returncode < 0 else returncode - 128 if returncode > 128 else 0
    if number == signal.SIGABRT:
        return ExitStatus(ExitKind.ABORTED, number)
    if number in set(signal.Signals):
        return ExitStatus(ExitKind.SIGNALLED, number)
    return ExitStatus(ExitKind.EXIT_CODE, returncode) if returncode else ExitStatus(ExitKind.NORMAL)


def _die_with(parent: int) -> Callable[[], None]:
    """What the child does before exec: ask the kernel to be killed when the harness goes, however it goes."""

    def prepare() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a guest's RAM is no use in a core file, and large
        if os.getppid() != parent:
            os._exit(1)  # the harness died before the request was made

    return prepare


class Process:
    """A running child in its own session; standard error goes to a file, the other streams to nowhere."""

    def __init__(self, argv: Sequence[str], *, stderr: Path, pass_fds: Sequence[int] = ()) -> None:
        self.argv = tuple(argv)
        self.stderr_path = stderr
        self._ended_as: ExitKind | None = None
        try:
            errors = stderr.open("ab")
        except OSError as error:
            raise MisuseError(f"{stderr}: cannot be written: {error.strerror}; use another --results DIR") from error
        try:
            with errors:
                self._stderr_start = errors.tell()
                self._child = subprocess.Popen(
                    self.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    pass_fds=tuple(pass_fds),
                    start_new_session=True,
                    preexec_fn=_die_with(os.getpid()),  # exec follows at once: no lock is needed in between
                )
        except OSError as error:
            raise MisuseError(
                f"cannot start {self.argv[0]}: {error.strerror}; check the path and its rights"
            ) from error

    @property
    def pid(self) -> int:
        """Process id, also that of its group."""
        return self._child.pid

    def poll(self) -> ExitStatus | None:
        """How it ended, or None while it runs."""
        returncode = self._child.poll()
        if returncode is None:
            return None
        return ExitStatus(self._ended_as) if self._ended_as else classify(returncode)

    def wait(self, timeout: float) -> ExitStatus | None:
        """How it ended, waiting at most ``timeout`` seconds for that; None when it still runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(timeout)
        return self.poll()

    def kill(self, reason: ExitKind = ExitKind.KILLED) -> ExitStatus:
        """End it and everything in its group, unless it has ended by itself; idempotent."""
        if self._child.poll() is None:
            self._ended_as = reason
        # Also when the child is gone: what it left behind in its group must go too.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()
        return self.poll() or ExitStatus(reason)

    def pause(self) -> None:
        """Let it use no processor time until ``resume`` or ``kill``; a process that has ended stays as it is."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._child.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._child.pid, number)

    def stderr_tail(self, lines: int = 5) -> tuple[str, ...]:
        """The last lines of its own standard error, not of what an earlier process left in the file."""
        with contextlib.suppress(OSError), self.stderr_path.open("rb") as file:
            file.seek(self._stderr_start)
            return tuple(file.read().decode(errors="replace").splitlines()[-lines:])
        return ()
