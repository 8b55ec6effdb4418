"""Where the tests of this folder have their locations, and when they have something to see."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.check import Check
from harness.mec.instructions import mecid_width
from harness.mec.script import is_seen

ENCRYPTING = pytest.mark.parametrize("variant", ["encrypts", "encrypts-hit", "encrypts-integrity"])
"""Variants of the model machine; other targets are what they are."""

_OFFSET = 64 << 20
"""From the start of the test RAM: past what scripts of RMI calls use."""
_PAGE = 4096


def locations(check: Check) -> Iterator[int]:
    """Physical addresses, each in a page of its own; the first is the calibration's."""
    base = check.session.target.info.layout.test[0].base + _OFFSET
    return (base + number * _PAGE + 64 * (number % 64) for number in range(1 << 13))


def value(check: Check) -> int:
    """A random value that is not 0."""
    return check.rng.getrandbits(63) + 1


def observable(check: Check) -> bool:
    """Whether the target has FEAT_MEC and a calibration shows that MECIDs have an effect; if not the rules say so."""
    if not check.applies("FEAT_MEC", check.session.features.mec):
        return False
    if is_seen(check, next(locations(check))):
        return True
    for rule in check.cited:
        check.not_observable(rule, "a read under another MECID returned the plaintext: no memory encryption is seen")
    return False


def contexts(check: Check) -> tuple[int, int]:
    """Two MECIDs, different and not the default, at random."""
    a, b = check.rng.sample(range(1, 1 << mecid_width(check)), 2)
    return a, b
