"""FEAT_RME_GPC2: all accesses above the protected size, GPI Non-secure only, disabled address spaces."""

from __future__ import annotations

import itertools

import pytest

from harness.check import Check
from harness.coverage import group
from harness.judge.scene import Item, Scene
from harness.judge.stimulus import Kind
from harness.probe.records import World
from refmodel.gpt.build import GPTBuilder, block_descriptor, contiguous_descriptor, granules_descriptor
from refmodel.gpt.decode import GPT_Any, GPT_NoAccess, GPT_NonSecureOnly
from refmodel.gpt.types import PGSe
from refmodel.sysregs import GPCCR_EL3
from suites.gpt.scenes import GB, LOW, VALID, apart, builder, place, res0, with_table
from suites.gpt.worlds import WHERE, Place, access, below, context, spaces

_KINDS = (Kind.LOAD, Kind.STORE, Kind.FETCH, Kind.ATOMIC_ADD)


@pytest.mark.smoke
@pytest.mark.rule("GPC-100")
def test_above_pps(check: Check) -> None:
    """Above a protected size of 4 GB, in every space and with every kind of access, from EL3 and every state below."""
    if not check.applies("FEAT_RME_GPC2", check.session.features.gpc2):
        return
    made = with_table(check, pps=32)
    for appsaa in (0, 1):
        gpccr = made.geometry.gpccr().replace(APPSAA=appsaa)
        _everywhere(check, f"above PPS, APPSAA {appsaa}", made, gpccr, 4 * GB)


def _everywhere(check: Check, title: str, made: GPTBuilder, gpccr: GPCCR_EL3, base: int) -> None:
    """Every kind of access to the page at ``base``, from EL3 in every space and from every place below."""
    items: list[Item] = [
        check.session.stimulus(kind, place(check, base, 4096, kind), pas, value0=check.rng.getrandbits(64))
        for pas, kind in itertools.product(World, _KINDS)
    ]
    check.run(Scene.of(title, made, gpccr=gpccr), items)
    for state, spot in WHERE:
        where = context(check, state, spot)
        kinds = _KINDS if where.stage1.enabled else _KINDS[:3]
        inside: list[Item] = [
            access(check, where, spot, kind, base, 4096, ns=ns) for ns, kind in itertools.product(spaces(where), kinds)
        ]
        check.run(below(title, made, where, gpccr=gpccr), inside)


def _non_secure_only(made: GPTBuilder, descriptor: str) -> None:
    """Put GPI 0b1101 at ``LOW``: as a Block, a Contiguous or a Granules descriptor."""
    match descriptor:
        case "block":
            made.raw_level_0(LOW + GB, block_descriptor(GPT_NonSecureOnly))
        case "contiguous":
            made.raw_level_1(LOW, contiguous_descriptor(GPT_NonSecureOnly, 1))
        case _:
            made.raw_level_1(LOW, granules_descriptor([GPT_NonSecureOnly, *[GPT_Any] * 15]))


@pytest.mark.smoke
@pytest.mark.parametrize(
    "nso",
    [
        pytest.param(0, marks=pytest.mark.rule("GPC-102")),
        pytest.param(1, marks=pytest.mark.rule("GPC-101")),
    ],
)
@pytest.mark.parametrize("descriptor", ["block", "contiguous", "granules"])
def test_non_secure_only(check: Check, descriptor: str, nso: int) -> None:
    """GPI 0b1101: reserved with NSO = 0; with 1 it looks at the space and at the state that asks."""
    # Without the feature the encoding is reserved like any other, and NSO is not there to be 1.
    if nso and not check.applies("FEAT_RME_GPC2", check.session.features.gpc2):
        return
    made = with_table(check)
    _non_secure_only(made, descriptor)
    gpccr = made.geometry.gpccr().replace(NSO=nso)
    base = LOW + GB if descriptor == "block" else LOW
    _everywhere(check, f"GPI 0b1101 in a {descriptor} descriptor, NSO {nso}", made, gpccr, base)


_DISABLES = tuple(itertools.product((0, 1), repeat=3))
"""Every value of (SPAD, NSPAD, RLPAD)."""


@pytest.mark.smoke
@pytest.mark.rule("GPC-103", "GPC-104", "GPC-105")
@pytest.mark.parametrize("pgs", PGSe, ids=lambda pgs: pgs.name)
def test_disabled_spaces(check: Check, pgs: PGSe) -> None:
    """SPAD, NSPAD and RLPAD, all eight values, with every GPI, in every space, inside and above the protected size."""
    if not check.applies("FEAT_RME_GPC2", check.session.features.gpc2):
        return
    # None: above the protected size.
    plan = check.plan(group(disables=_DISABLES, gpi=(*VALID, None), pas=World, kind=_KINDS))
    for ((spad, nspad, rlpad),), cells in apart(plan, 0).items():
        made = with_table(check, pgs=pgs, pps=32)
        for number, gpi in enumerate(VALID):
            made.granule(LOW + (number << pgs.value), gpi)
        gpccr = made.geometry.gpccr().replace(SPAD=spad, NSPAD=nspad, RLPAD=rlpad)
        items: list[Item] = []
        for _, gpi, pas, kind in cells:
            base = 4 * GB if gpi is None else LOW + (VALID.index(gpi) << pgs.value)
            items.append(check.session.stimulus(kind, place(check, base, 4096, kind), pas))
        check.run(Scene.of(f"SPAD {spad}, NSPAD {nspad}, RLPAD {rlpad}", made, gpccr=gpccr), items, cells)


_OTHERS = [(state, spot) for state, spot in WHERE if spot.reaches_non_secure(state) and spot.has_stage_1]


@pytest.mark.rule("GPC-104")
@pytest.mark.parametrize(("state", "spot"), _OTHERS, ids=[f"{state.name}-{spot}" for state, spot in _OTHERS])
def test_non_secure_disabled_from_below(check: Check, state: World, spot: Place) -> None:
    """NSPAD = 1 and an access through NS from Secure state and Realm EL2; their own space is still there."""
    if not check.applies("FEAT_RME_GPC2", check.session.features.gpc2):
        return
    made = builder(check)
    made.table(LOW, GPT_Any)
    gpccr = made.geometry.gpccr().replace(NSPAD=1)
    where = context(check, state, spot)
    items: list[Item] = [
        access(check, where, spot, kind, LOW, GB // 4, ns=ns) for ns, kind in itertools.product((False, True), _KINDS)
    ]
    check.run(below("NSPAD 1", made, where, gpccr=gpccr), items)


@pytest.mark.rule("GPC-103", "GPC-105")
def test_disabled_while_off(check: Check) -> None:
    """With GPCCR_EL3.GPC = 0 a disabled space is not; with 1 it is, whatever the granule's GPI."""
    if not check.applies("FEAT_RME_GPC2", check.session.features.gpc2):
        return
    made = with_table(check)
    made.contiguous(LOW, 29, GPT_NoAccess)
    for enable in (False, True):
        gpccr = made.geometry.gpccr(enable=enable).replace(SPAD=1, RLPAD=1)
        items: list[Item] = [
            check.session.stimulus(kind, place(check, LOW, 4096, kind), pas)
            for pas, kind in itertools.product(World, (Kind.LOAD, Kind.STORE))
        ]
        check.run(Scene.of(f"disabled spaces, GPC {int(enable)}", made, gpccr=gpccr), items)


@pytest.mark.smoke
@pytest.mark.rule("GPC-106")
@pytest.mark.parametrize("field", ["APPSAA", "NSO", "SPAD", "NSPAD", "RLPAD"])
@pytest.mark.parametrize("variant", ["rme1"])
def test_fields_without_gpc2(check: Check, field: str, variant: str) -> None:
    """Without FEAT_RME_GPC2 its fields are RES0: with each of them written as 1 the check is as with 0."""
    if not check.applies("PE without FEAT_RME_GPC2", not check.session.features.gpc2):
        return
    check.run(*res0(check, **{field: 1}))
