"""The probe's banner: which probe it is, where its mailbox is, and the machine's ID registers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from harness.errors import TargetProtocolError
from harness.probe import records, wire

_REMEDY: Final = "boot a probe built from the same release"


@dataclass(frozen=True, kw_only=True)
class Banner:
    """What the probe announces; addresses are PA, sizes bytes.  ``registers`` are ID registers by name.

    ``lower`` is where the code for ELs below EL3 is (``lower.py``; 0 in a personality that has none), ``pes`` how many
    PEs run records.
    """

    personality: str
    el: int
    mailbox: int
    batch: int
    batch_size: int
    windows_l1: int
    lower: int
    pes: int
    registers: Mapping[str, int]
    text: str


def parse_banner(text: str) -> Banner:
    """A banner from its ``KEY=VALUE`` words; TargetProtocolError when it is none or of another version."""
    words = dict(word.split("=", 1) for word in text.split() if "=" in word)
    personality = words.pop("personality", "")
    try:
        values = {key: int(value, 16) for key, value in words.items()}
        versions = {"protocol": (values["protocol"], wire.VERSION), "record": (values["record"], records.VERSION)}
        for name, (theirs, ours) in versions.items():
            if theirs != ours:
                raise TargetProtocolError(f"the probe speaks {name} version {theirs}, not {ours}; {_REMEDY}")
        return Banner(
            personality=personality,
            el=values["el"],
            mailbox=values["mailbox"],
            batch=values["batch"],
            batch_size=values["batch_size"],
            windows_l1=values["windows_l1"],
            lower=values.get("lower", 0),
            pes=values.get("pes", 1),
            registers={key: value for key, value in values.items() if key.isupper() or "_EL" in key},
            text=text,
        )
    except KeyError as error:
        raise TargetProtocolError(f"the probe's banner has no {error.args[0]!r}; {_REMEDY}") from error
    except ValueError as error:
        raise TargetProtocolError(f"the probe's banner has a value that is no number: {error}; {_REMEDY}") from error
