"""The exception tree of the harness; every message is one line that says what, where and the remedy.

::

    RealmcheckError
    +-- MisuseError             the caller, a file or the machine's set-up is wrong     (exit code 3)
    |   +-- BadInputError       a file cannot be read as what it should be
    +-- TargetError             the machine under test misbehaved                       (INCONCLUSIVE)
        +-- TargetLostError     the target died, hung or fell silent
        +-- TargetProtocolError the target speaks, but not the probe protocol

``images.errors.ImageError`` (obtaining or building what is booted) stands beside ``MisuseError``: exit code 3 too.
``MisuseError`` never becomes a verdict about a target; ``TargetError`` carries what a person needs to see.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


class RealmcheckError(Exception):
    """Root of every error this project raises on purpose."""


class MisuseError(RealmcheckError):
    """The request cannot be carried out as given: wrong option, missing tool, unusable machine (exit code 3)."""


class BadInputError(MisuseError):
    """A file is not what it should be; names the file, the place in it and the remedy."""

    def __init__(self, what: str, *, path: Path | str, where: str = "", remedy: str = "") -> None:
        self.path = str(path)
        self.where = where
        self.remedy = remedy
        place = f"{path}: {where}" if where else str(path)
        super().__init__(f"{place}: {what}" + (f"; {remedy}" if remedy else ""))


@dataclass(frozen=True, kw_only=True)
class TargetEvidence:
    """What is known at the moment a target misbehaved.

    ``elapsed`` is in seconds since power-on, ``tail`` the last lines of the console named by ``log``,
    ``record_index`` the record of the batch that was being run (None: not known, or no batch), ``last_words`` the
    last lines that the machine's process wrote to its standard error.
    """

    stage: str = ""
    elapsed: float = 0.0
    exit_status: str = ""
    tail: tuple[str, ...] = ()
    log: str = ""
    stimulus: str = ""
    record_index: int | None = None
    last_words: tuple[str, ...] = ()


class TargetError(RealmcheckError):
    """The machine under test misbehaved; ``evidence`` says how far it came."""

    def __init__(self, message: str, evidence: TargetEvidence | None = None) -> None:
        super().__init__(message)
        self.evidence = evidence or TargetEvidence()


class TargetLostError(TargetError):
    """The target died, was killed, hung past its deadline or fell silent."""


class TargetProtocolError(TargetError):
    """The target answers, but not in the probe protocol (noise, wrong checksum, wrong version)."""
