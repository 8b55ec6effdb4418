"""Which RMM answers, and which one the boot log names.

Firmware that logs one RMM and answers with another has loaded something else than it says.  The log is read in
``harness.boot.rmm``; here RMI_VERSION is asked and compared.

Source: DEN0137 1.0-rel0, B4.3.23 (RMI_VERSION), B4.4.9 (RmiInterfaceVersion).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from harness.boot.rmm import RmmVersion
from harness.host.calls import RMI_VERSION
from harness.host.probe import HostProbe
from refmodel.rmm.version import negotiate, revision_code

STACK = "tfa-rmm-host"
"""The stack whose RMM is asked; TF-A's test realm payload logs no interface version."""

_REFUSED: Final = 1  # RMI_ERROR_INPUT


@dataclass(frozen=True, kw_only=True)
class Answer:
    """RMI_VERSION asked for ``requested``: (x0, x1, x2), as they came back and as an RMM of the log's version says."""

    requested: int
    expected: tuple[int, int, int]
    observed: tuple[int, int, int]


def announced(version: RmmVersion) -> tuple[int, int]:
    """The interface version (major, minor) that the log names; ValueError where it names none."""
    major, minor = version.rmi.split(".")
    return int(major), int(minor)


def answers(probe: HostProbe, version: RmmVersion) -> Iterator[Answer]:
    """Ask for the announced version, for the next minor one, and for the next major one."""
    major, minor = announced(version)
    for asked in ((major, minor), (major, minor + 1), (major + 1, 0)):
        requested = revision_code(*asked)
        compatible, lower, higher = negotiate(((major, minor),), requested)
        x = probe.smc(RMI_VERSION, requested)
        expected = (0 if compatible else _REFUSED, lower, higher)
        yield Answer(requested=requested, expected=expected, observed=(x[0], x[1], x[2]))
