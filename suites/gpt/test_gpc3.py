"""FEAT_RME_GPC3: bypass windows and the protected sizes that it adds."""

from __future__ import annotations

import itertools

import pytest

from harness.check import Check
from harness.coverage import group
from harness.judge.scene import Item, Scene
from harness.judge.stimulus import Kind
from harness.probe.records import World
from refmodel.gpt.decode import GPT_Any, GPT_NoAccess
from refmodel.sysregs import GPCBW_EL3
from suites.gpt.scenes import GB, LOW, builder, place, quiet, warm, with_table
from suites.gpt.worlds import WHERE, access, below, context

_KINDS = (Kind.LOAD, Kind.STORE, Kind.FETCH, Kind.ATOMIC_ADD)
_SIZES = {0b000: 1, 0b001: 2, 0b010: 4, 0b100: 16, 0b110: 64}
"""BWSIZE to gigabytes."""
_STRIDES = {0b00000: 40, 0b00010: 42, 0b00100: 44, 0b00110: 46, 0b00111: 47, 0b01000: 48, 0b01001: 49, 0b01010: 50,
            0b10000: 56}  # fmt: skip
"""BWSTRIDE to log2 of bytes."""


@pytest.mark.smoke
@pytest.mark.rule("GPC-110")
def test_bypass(check: Check) -> None:
    """In a window of 1 GB every access passes, from EL3 and from below, although the table denies all; beside it none.

    With GPCBW = 0 there is no window.
    """
    if not check.applies("FEAT_RME_GPC3", check.session.features.gpc3):
        return
    made = builder(check, pps=40)
    for gigabyte in (2, 3):
        made.block(gigabyte * GB, GPT_NoAccess)
    gpcbw = GPCBW_EL3.of(BWADDR=3)
    for enable in (1, 0):
        gpccr = made.geometry.gpccr().replace(GPCBW=enable)
        title = f"a window on the fourth gigabyte, GPCBW {enable}"
        items: list[Item] = [
            check.session.stimulus(kind, place(check, gigabyte * GB, GB, kind), pas, value0=check.rng.getrandbits(64))
            for gigabyte, pas, kind in itertools.product((2, 3), World, _KINDS)
        ]
        check.run(Scene.of(title, made, gpccr=gpccr, gpcbw=gpcbw), items)
        for state, spot in WHERE:
            where = context(check, state, spot, enabled=False)
            inside: list[Item] = [
                access(check, where, spot, kind, gigabyte * GB, GB)
                for gigabyte, kind in itertools.product((2, 3), _KINDS[:3])
            ]
            check.run(below(title, made, where, gpccr=gpccr, gpcbw=gpcbw), inside)


def _edges(base: int, size: int, stride: int, limit: int) -> list[int]:
    """Addresses at both ends of a window and just outside, in the first stride and in later ones, below ``limit``."""
    strides = [0, stride, 2 * stride, 1 << limit.bit_length() - 2]
    starts = [base + offset for offset in strides if not offset or offset % stride == 0]
    places = {at + step for at in starts for step in (0, size - 16, size, -16, size // 2)}
    return sorted(at for at in places if 0 < at < limit)


@pytest.mark.rule("GPC-112")
@pytest.mark.parametrize("size", _SIZES, ids=lambda size: f"{_SIZES[size]}GB")
def test_geometry(check: Check, size: int) -> None:
    """Every size with every stride: both ends of the windows, and what lies beside them."""
    if not check.applies("FEAT_RME_GPC3", check.session.features.gpc3):
        return
    limit = min(check.session.features.pamax, 52)
    for cell in check.plan(group(stride=_STRIDES)):
        bits = _STRIDES[stride := cell[0]]
        step = _SIZES[size] * GB
        base = step * check.rng.randrange(1, (256 * GB // step) - 1)
        made = builder(check, pps=limit)
        gpcbw = GPCBW_EL3.of(BWSIZE=size, BWSTRIDE=stride, BWADDR=base // GB)
        places = [at for at in _edges(base, step, 1 << bits, 1 << limit) if quiet(check, at)]
        # Windows are few: those of the size and stride before are not needed any more.
        check.session.windows.reset()
        items: list[Item] = [
            check.session.stimulus(Kind.LOAD, at, pas) for at in places for pas in check.rng.sample(list(World), 2)
        ]
        gpccr = made.geometry.gpccr().replace(GPCBW=1)
        scene = Scene.of(f"windows of {_SIZES[size]} GB", made, gpccr=gpccr, gpcbw=gpcbw)
        check.run(scene, items, [cell] * len(items))


def _invalid() -> list[tuple[str, GPCBW_EL3]]:
    """GPCBW_EL3 values that are not valid, with what is wrong about them."""
    sizes = [("BWSIZE", GPCBW_EL3.of(BWSIZE=field)) for field in range(8) if field not in _SIZES]
    strides = [("BWSTRIDE", GPCBW_EL3.of(BWSTRIDE=field)) for field in range(32) if field not in _STRIDES]
    unaligned = [
        ("alignment", GPCBW_EL3.of(BWSIZE=field, BWADDR=1 << bit))
        for field, gigabytes in _SIZES.items()
        for bit in range(gigabytes.bit_length() - 1)
    ]
    beyond = [
        ("stride", GPCBW_EL3.of(BWSTRIDE=field, BWADDR=1 << bits - 30)) for field, bits in _STRIDES.items() if bits < 56
    ]
    return [*sizes, *strides, *unaligned, *beyond]


@pytest.mark.rule("GPC-111")
@pytest.mark.parametrize("wrong", ["BWSIZE", "BWSTRIDE", "alignment", "stride"])
def test_invalid(check: Check, wrong: str) -> None:
    """With GPCBW = 1 every checked access is a GPT walk fault at level 0; with 0 the register does not matter."""
    if not check.applies("FEAT_RME_GPC3", check.session.features.gpc3):
        return
    made = with_table(check)
    chosen = [gpcbw for name, gpcbw in _invalid() if name == wrong]
    for cell in check.plan(group(gpcbw=dict.fromkeys(chosen), enable=(1, 0))):
        gpcbw, enable = cell
        gpccr = made.geometry.gpccr().replace(GPCBW=enable)
        items: list[Item] = []
        for pas in (World.SECURE, World.REALM):
            stimulus = check.session.stimulus(Kind.LOAD, place(check, LOW, 1 << 16, Kind.LOAD), pas)
            items += warm(check, stimulus, gpccr=gpccr, gpcbw=gpcbw)
        check.run(Scene.of(f"an invalid GPCBW_EL3, {wrong}, GPCBW {enable}", made), items, [cell] * len(items))


@pytest.mark.rule("GPC-113")
@pytest.mark.parametrize("pps", [46, 47, 56])
def test_protected_size(check: Check, pps: int) -> None:
    """Protected sizes of 46, 47 and 56 bits: level 0 entries at both ends, and the first address above."""
    features = check.session.features
    if not check.applies("FEAT_RME_GPC3", features.gpc3):
        return
    if not check.applies(f"physical addresses of {pps} bits", features.pamax >= pps):
        return
    made = builder(check, pps=pps)
    made.block(LOW, GPT_Any)
    entries = 1 << pps - 30
    made.block((entries // 2) * GB, GPT_Any)
    made.block((entries - 1) * GB, GPT_NoAccess)
    places = [LOW, *(index * GB + offset for index in (entries // 2, entries - 1) for offset in (0, GB - 16))]
    places += [1 << pps] if features.pamax > pps else []
    items: list[Item] = [
        check.session.stimulus(Kind.LOAD, at, pas) for at in places if quiet(check, at) for pas in World
    ]
    check.run(Scene.of(f"{pps} bits are protected", made), items)
