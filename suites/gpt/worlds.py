"""Scenes below EL3 that the tests of this folder start from: every state and level, and what its stage 1 leads to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.check import Check
from harness.errors import MisuseError
from harness.judge.scene import Scene
from harness.judge.stage1 import Stage1Tables
from harness.judge.stimulus import Kind, Stimulus
from harness.judge.world import WorldContext, WorldScene
from harness.probe import lower
from harness.probe.records import World
from refmodel.gpt.build import GPTBuilder
from refmodel.sysregs import HCR_EL2, SCR_EL3
from suites.gpt.scenes import LOW, place

TABLES = LOW + (768 << 20)
"""Where stage-1 tables are: in the gigabyte whose granules have a level 1 table."""

PAGES = LOW + (512 << 20)
"""The 512 pages at the end of the walk that goes through all levels."""

DEEP = "a stage-1 table of level 2 or 3 that may not be fetched"
"""Title of scenes that some machines do not survive: it becomes part of a waiver's text."""

DEVICE_KINDS = (Kind.LOAD, Kind.STORE, Kind.LOAD_PAIR, Kind.STORE_PAIR, Kind.FETCH)
"""With stage 1 off data is Device memory, where exclusives and atomics need not work."""


@dataclass(frozen=True)
class Place:
    """An exception level and the regime that its accesses use."""

    el: int
    e2h: int = 0
    tge: int = 0

    @property
    def has_stage_1(self) -> bool:
        """Whether stage 1 can be on: TGE without E2H turns that of EL1&0 off."""
        return not (self.tge and not self.e2h)

    def reaches_non_secure(self, state: World) -> bool:
        """Whether NS in a leaf leads from ``state`` here to the Non-secure space: from Secure, and from Realm EL2."""
        return state is World.SECURE or (state is World.REALM and (self.el == 2 or bool(self.e2h and self.tge)))

    def __str__(self) -> str:
        return f"EL{self.el}" + "-E2H" * self.e2h + "-TGE" * self.tge


PLACES = (Place(2), Place(2, e2h=1), Place(1), Place(0), Place(0, tge=1), Place(0, e2h=1, tge=1))
"""Every combination in which the regime or the routing of a level differs."""

WHERE = tuple((state, spot) for state in lower.STATES for spot in PLACES)
NAMES = [f"{state.name}-{spot}" for state, spot in WHERE]


def context(
    check: Check,
    state: World,
    spot: Place,
    *,
    enabled: bool = True,
    ns: bool = False,
    ns_table: bool = False,
    scr: dict[str, int] | None = None,
    hcr: dict[str, int] | None = None,
) -> WorldContext:
    """A PE in ``state`` at ``spot``; ``scr`` and ``hcr`` change fields of what the probe starts with."""
    pages = check.session.target.info.layout.lower
    if not pages:
        raise MisuseError("the target's probe has no pages below EL3")
    return WorldContext(
        state=state,
        el=spot.el,
        scr=SCR_EL3(lower.SCR_BASE).replace(**(scr or {})),
        hcr=HCR_EL2(lower.HCR_RW).replace(E2H=spot.e2h, TGE=spot.tge, **(hcr or {})),
        stage1=Stage1Tables(
            base=TABLES,
            lower_pages=pages,
            pages=PAGES,
            unprivileged=spot.el == 0,
            enabled=enabled and spot.has_stage_1,
            ns=ns,
            ns_table=ns_table,
        ),
    )


def below(title: str, made: GPTBuilder, where: WorldContext, **registers: object) -> WorldScene:
    """A GPT seen from below EL3; ``registers`` as for ``Scene.of``."""
    return WorldScene.below_el3(Scene.of(title, made, **registers), where)  # type: ignore[arg-type]


def spaces(where: WorldContext) -> tuple[bool, ...]:
    """Values of NS in a leaf that make a difference there: Secure state, and Realm EL2, reach the Non-secure PAS."""
    if not where.stage1.enabled:
        return (False,)
    return (False, True) if where.state is not World.NON_SECURE else (False,)


def space_of(where: WorldContext, spot: Place, *, ns: bool) -> World:
    """The space that a leaf leads to: with NS from Secure state and Realm EL2 the Non-secure one, else the own."""
    return World.NON_SECURE if ns and spot.reaches_non_secure(where.state) else where.state


def access(
    check: Check, where: WorldContext, spot: Place, kind: Kind, base: int, size: int, *, ns: bool = False
) -> Stimulus:
    """One access by a block to a random place in [base, base + size)."""
    pa = place(check, base, size, kind)
    va = where.stage1.block(pa, ns=ns, read_only=kind is Kind.FETCH)
    values = check.rng.getrandbits(64), check.rng.getrandbits(64)
    return Stimulus(kind, va, pa, space_of(where, spot, ns=ns), 3, *values)


def kinds(where: WorldContext) -> Sequence[Kind]:
    """The kinds of access whose effect the memory attributes there guarantee."""
    return tuple(Kind) if where.stage1.enabled else DEVICE_KINDS


Routing = tuple[dict[str, int], dict[str, int]]
"""Fields of SCR_EL3 and of HCR_EL2."""


def routings() -> Iterator[Routing]:
    """Every SCR_EL3.GPF with every HCR_EL2.GPF."""
    for scr_gpf in (0, 1):
        for hcr_gpf in (0, 1):
            yield {"GPF": scr_gpf}, {"GPF": hcr_gpf}
