"""For every host command and every failure condition: a script and a call that meets this condition.

``also`` names conditions that hold as well because the specification makes it impossible to meet one alone.  A case
says nothing about the result: that is the model's to say.

Source: the tables of failure conditions of DEN0137 1.0-rel0, B4.3.
"""

from __future__ import annotations

from collections.abc import Iterator

from refmodel.rmm.cases import mappings, memory, objects
from refmodel.rmm.cases.registry import MAKERS, Case
from refmodel.rmm.scenario import Layout, Script
from refmodel.rmm.version import Parameters

__all__ = ["Case", "failure_cases"]

_REGISTERED = (objects, memory, mappings)
"""Importing these registers their cases."""


def failure_cases(layout: Layout, parameters: Parameters) -> Iterator[Case]:
    """Every case that the layout and the implementation allow."""
    for (command, label, variant), (maker, needs) in MAKERS.items():
        if needs == "high" and not layout.high:
            continue
        if needs == "few RECs" and parameters.max_recs_order > 1:
            continue
        script = Script(layout, parameters)
        made = maker(script)
        also = frozenset(made[2]) if len(made) == 3 else frozenset[str]()
        yield Case(command, label, variant, script, script.call(command, *made[0], memory=made[1]), also)
