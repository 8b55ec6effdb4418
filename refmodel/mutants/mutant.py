"""What a mutant is: named patches, and the rules whose checks must notice them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Original = Any
"""What stands at the patched place, a function or a table of the model; the replacement is made from it."""


@dataclass(frozen=True)
class Patch:
    """Replace ``attribute`` (``name`` or ``Class.name``) of ``module`` by ``make(original)``.

    A function that another module has imported by name is patched in that module.
    """

    module: str
    attribute: str
    make: Callable[[Original], Any]


@dataclass(frozen=True)
class Mutant:
    """One fault.

    ``subject`` is the suite that hunts it, ``rules`` those whose checks must fail, ``kind`` where the fault sits:
    ``model`` (what the architecture decides) or ``observation`` (what the machine then does or says).
    """

    name: str
    subject: str
    rules: tuple[str, ...]
    patches: tuple[Patch, ...]
    kind: str = "model"
