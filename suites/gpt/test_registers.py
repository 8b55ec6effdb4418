"""GPCCR_EL3 and GPTBR_EL3: enable, protected size, level 0 index, base address, reserved configurations."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import pytest

from harness.check import Check
from harness.coverage import Cell, group
from harness.judge.scene import Item, Scene, Under
from harness.judge.stimulus import Kind, Stimulus
from harness.probe.records import World
from refmodel.gpt.build import granules_descriptor
from refmodel.gpt.decode import GPT_Any, GPT_NoAccess
from refmodel.gpt.types import PGSe
from refmodel.rules import Rule
from refmodel.sysregs import GPCCR_EL3, GPTBR_EL3
from suites.gpt.scenes import GB, LOW, VALID, apart, builder, place, quiet, warm, with_table

_PPS = [32, 36, 40, 42, 44, 48, 52]


@pytest.mark.smoke
@pytest.mark.rule("GPC-001")
def test_disabled(check: Check) -> None:
    """With GPCCR_EL3.GPC = 0 nothing is checked, whatever tables and other fields say."""
    made = with_table(check)
    made.contiguous(LOW, 29, GPT_NoAccess)
    for pgs in range(4):
        gpccr = made.geometry.gpccr(enable=False).replace(PGS=pgs)
        items: list[Item] = [
            check.session.stimulus(kind, LOW + check.rng.randrange(1 << 25) * 16, pas)
            for pas, kind in itertools.product(World, (Kind.LOAD, Kind.STORE, Kind.ATOMIC_ADD))
        ]
        check.run(Scene.of(f"disabled, PGS {pgs:#04b}", made, gpccr=gpccr), items)


@pytest.mark.rule("GPC-010", "GPC-080")
@pytest.mark.parametrize("l0gptsz", [30, 34, 36, 39])
@pytest.mark.parametrize("pps", _PPS)
def test_level_0_index(check: Check, pps: int, l0gptsz: int) -> None:
    """The right level 0 entry speaks for an address: both ends and random places of the protected space."""
    made = builder(check, pgs=PGSe.PGS_64KB, pps=pps, l0gptsz=l0gptsz)
    entries = 1 << max(pps - l0gptsz, 0)
    span = 1 << l0gptsz
    candidates = {1, 2, 3, entries - 1, *(check.rng.randrange(entries) for _ in range(40))}
    chosen = [
        i
        for i in sorted(candidates)
        if 0 < i < entries and quiet(check, i * span) and quiet(check, (i + 1) * span - 16)
    ]
    for index in chosen:
        made.block(index * span, check.rng.choice(VALID))
    places = [LOW, *itertools.chain.from_iterable((i * span, (i + 1) * span - 16) for i in chosen)]
    if l0gptsz == 30:
        made.block(LOW, GPT_Any)
    items: list[Item] = [check.session.stimulus(Kind.LOAD, pa, pas) for pa, pas in itertools.product(places, World)]
    check.run(Scene.of(f"level 0 blocks, PPS {pps}, L0GPTSZ {l0gptsz}", made), items)


@pytest.mark.rule("GPC-006", "GPC-007")
@pytest.mark.parametrize("pps", _PPS[:-1])
def test_above_pps(check: Check, pps: int) -> None:
    """Above the protected size Non-secure passes and the other spaces fault; each address bit, and the first byte."""
    made = with_table(check, pps=pps)
    addresses = [1 << bit for bit in range(pps, check.session.features.pamax)]
    addresses += [address | LOW for address in addresses]
    addresses = [pa for pa in addresses if quiet(check, pa)]
    kinds = (Kind.LOAD, Kind.STORE, Kind.ATOMIC_SWAP)
    items: list[Item] = [
        check.session.stimulus(k, pa, pas) for pa, pas, k in itertools.product(addresses, World, kinds)
    ]
    check.run(Scene.of(f"above PPS {pps}", made), items)


_POSITIONS = ("first", "last", "above", "far above")


@pytest.mark.rule("GPC-006", "GPC-007", "GPC-010", "GPC-080")
@pytest.mark.parametrize("l0gptsz", [30, 34, 36, 39])
def test_protected_sizes(check: Check, l0gptsz: int) -> None:
    """Every protected size with each L0GPTSZ: the first and the last granule below it, the first one above it, and one
    far above, in every space, with each granule size.

    Sizes that one level 0 entry covers are asked in ``test_level_0_index``: some machines do not survive them.
    """
    cells = check.plan(
        group(lambda pps, at: _there(check, pps, l0gptsz, at), pps=_PPS, at=_POSITIONS),
        group(pas=World, kind=(Kind.LOAD, Kind.STORE, Kind.LOAD_PAIR, Kind.FETCH)),
        group(pgs=PGSe),
    )
    for (pps, pgs), own in apart(cells, 0, 4).items():
        made = builder(check, pgs=pgs, pps=pps, l0gptsz=l0gptsz)
        for at in _POSITIONS[:2]:
            pa = _position(check, pps, at)
            if l0gptsz == 30 or pa >> l0gptsz:
                made.block(pa, GPT_Any if at == "first" else GPT_NoAccess)
        items: list[Item] = [
            check.session.stimulus(kind, _position(check, pps, at) + 16 * (kind is Kind.FETCH), pas)
            for _, at, pas, kind, _ in own
        ]
        check.run(Scene.of(f"PPS {pps}, L0GPTSZ {l0gptsz}", made), items, own)


def _position(check: Check, pps: int, at: str) -> int:
    """The address of a position; the first granule is that of the test RAM."""
    return {"first": LOW, "last": (1 << pps) - 4096, "above": 1 << pps, "far above": (1 << pps) | LOW << 4}[at]


def _there(check: Check, pps: int, l0gptsz: int, at: str) -> bool:
    """Whether the machine has such a protected size and address, and nothing that an access would disturb."""
    pa = _position(check, pps, at)
    if pps <= l0gptsz or pps > check.session.features.pamax:
        return False
    return pa >> check.session.features.pamax == 0 and quiet(check, pa)


def _gptbr_above_pps(check: Check, pps: int) -> Iterator[tuple[Stimulus, GPTBR_EL3]]:
    """Each bit of GPTBR_EL3 above the protected size, in each space."""
    gptbr = with_table(check, pps=pps).gptbr.value
    for bit in range(pps, 52):
        for number, pas in enumerate(World):
            stimulus = check.session.stimulus(Kind.LOAD, LOW + bit * 0x10_0000 + number * 0x4_0000, pas)
            yield stimulus, GPTBR_EL3(gptbr | 1 << bit - 12)


@pytest.mark.rule("GPC-008")
@pytest.mark.parametrize("pps", _PPS[:-1])
def test_gptbr_above_pps(check: Check, pps: int) -> None:
    """Each bit of GPTBR_EL3 above the protected size: an address size fault, even for addresses that need no table."""
    items: list[Item] = []
    for stimulus, gptbr in _gptbr_above_pps(check, pps):
        items += warm(check, stimulus, gptbr=gptbr)
    check.run(Scene.of(f"GPTBR above PPS {pps}", with_table(check, pps=pps)), items)


@pytest.mark.rule("GPC-008", "GPC-080")
def test_gptbr_above_pps_on_walk(check: Check) -> None:
    """The same met by the check of a stage-1 descriptor fetch."""
    pps = 40
    items: list[Item] = [Under(stimulus, gptbr=gptbr) for stimulus, gptbr in _gptbr_above_pps(check, pps)]
    check.run(Scene.of("GPTBR above PPS, met by a stage-1 walk", with_table(check, pps=pps)), items)


@pytest.mark.rule("GPC-009")
@pytest.mark.parametrize(("pps", "l0gptsz"), [(40, 30), (44, 30), (48, 30), (52, 30), (52, 34), (52, 36), (52, 39)])
def test_gptbr_alignment(check: Check, pps: int, l0gptsz: int) -> None:
    """Bits of GPTBR_EL3 below the level 0 table's alignment are taken as zero, one by one and all together."""
    made = with_table(check, pgs=PGSe.PGS_64KB, pps=pps, l0gptsz=l0gptsz)
    low_bits = (made.geometry.level_0_size >> 12) - 1
    for value in (*(1 << bit for bit in range(low_bits.bit_length())), low_bits):
        scene = replace(Scene.of(f"GPTBR low bits {value:#x}", made), gptbr=GPTBR_EL3(made.gptbr.value | value))
        items: list[Item] = [check.session.stimulus(Kind.LOAD, LOW + GB - 16, pas) for pas in World]
        check.run(scene, items)


_RESERVED = {
    "PPS=0b111": (Rule.PPS_RESERVED, {"PPS": 0b111}),
    "PGS=0b11": (Rule.PGS_RESERVED, {"PGS": 0b11}),
    "SH=0b01": (Rule.SH_RESERVED, {"SH": 0b01}),
    "NC, Non-shareable": (Rule.NC_NEEDS_OUTER, {"SH": 0b00, "ORGN": 0, "IRGN": 0}),
    "NC, Inner": (Rule.NC_NEEDS_OUTER, {"SH": 0b11, "ORGN": 0, "IRGN": 0}),
}


@pytest.mark.parametrize("walk", [False, True], ids=["output", "walk"])
@pytest.mark.parametrize(
    "case", [pytest.param(name, marks=pytest.mark.rule(rule.value)) for name, (rule, _) in _RESERVED.items()]
)
def test_reserved_configuration(check: Check, case: str, walk: bool) -> None:
    """A reserved or contradictory GPCCR_EL3 makes every access a GPT walk fault at level 0.

    Such a register stops the probe too, unless what the probe needs is still cached: each stimulus runs under it
    alone, and the calibration ``prompt`` says whether an answer from the former register would be an excuse.
    ``walk``: nothing is cached, and the stage-1 walk is the first to meet the register.
    """
    _, fields = _RESERVED[case]
    made = with_table(check)
    gpccr = made.geometry.gpccr().replace(**fields)
    items: list[Item] = []
    for number, (pas, kind) in enumerate(
        itertools.product(World, (Kind.LOAD, Kind.STORE, Kind.ATOMIC_ADD, Kind.LOAD_PAIR))
    ):
        stimulus = check.session.stimulus(kind, LOW + number * 0x20_0000 + 0x3450, pas)
        items += [Under(stimulus, gpccr=gpccr)] if walk else warm(check, stimulus, gpccr=gpccr)
    check.run(Scene.of(f"GPCCR_EL3 with {case}", made), items)


@pytest.mark.parametrize(
    "sh",
    [
        pytest.param(0b00, marks=pytest.mark.rule("GPC-005", "GPC-035")),
        pytest.param(0b01, marks=pytest.mark.rule("GPC-004")),
        pytest.param(0b10, marks=pytest.mark.rule("GPC-005", "GPC-035")),
        pytest.param(0b11, marks=pytest.mark.rule("GPC-005", "GPC-035")),
    ],
)
def test_cacheability(check: Check, sh: int) -> None:
    """Every combination of SH, ORGN and IRGN, with kinds of access, granule sizes and protected sizes.

    Non-cacheable needs Outer Shareable, SH 0b01 is reserved, all others work.
    """
    cells = check.plan(
        group(orgn=range(4), irgn=range(4), pas=World),
        group(kind=(Kind.LOAD, Kind.STORE, Kind.ATOMIC_ADD, Kind.LOAD_PAIR)),
        group(pgs=PGSe),
        group(pps=_PPS),
    )
    for (orgn, irgn, pgs, pps), own in apart(cells, 0, 1, 4, 5).items():
        made = with_table(check, pgs=pgs, pps=pps)
        gpccr = made.geometry.gpccr().replace(SH=sh, ORGN=orgn, IRGN=irgn)
        pa = LOW + (orgn << 24) + (irgn << 20)
        items: list[Item] = [
            Under(check.session.stimulus(kind, pa + pas * 0x1_0000, pas), gpccr=gpccr) for _, _, pas, kind, *_ in own
        ]
        check.run(Scene.of(f"SH {sh:#04b} ORGN {orgn:#04b} IRGN {irgn:#04b}", made), items, own)


_NO_FIELD = (GPCCR_EL3.GPCP.lsb, 4, *range(30, 64))
"""GPCP, and the bits of GPCCR_EL3 that are no field."""


@pytest.mark.smoke
@pytest.mark.rule("GPC-036")
def test_gpccr_bits_without_meaning(check: Check) -> None:
    """Each bit of GPCCR_EL3 that is no field, set alone: with every GPI, in every space, the check is as with 0.

    GPCP too: it is about fetches of stage 2, and EL3 has none.  Left out are SA, NSP, NA6 and NA7 (bits [28:25],
    FEAT_RME_GDI) and TBGPCD (bit 18, the trace buffer): the model does not know whether the machine has them.
    """
    cells = check.plan(group(bit=_NO_FIELD, gpi=range(16), pas=World, kind=(Kind.LOAD, Kind.STORE)))
    made = with_table(check)
    for gpi in range(16):
        made.raw_level_1(LOW + gpi * 0x1_0000, granules_descriptor([gpi] * 16))
    for (bit,), own in apart(cells, 0).items():
        gpccr = GPCCR_EL3(made.geometry.gpccr().value | 1 << bit)
        items: list[Item] = [
            check.session.stimulus(kind, place(check, LOW + gpi * 0x1_0000, 0x1_0000, kind), pas)
            for _, gpi, pas, kind in own
        ]
        check.run(Scene.of(f"GPCCR_EL3 bit {bit}", made, gpccr=gpccr), items, own)


@pytest.mark.smoke
@pytest.mark.rule("GPC-036")
def test_gptbr_bits_without_meaning(check: Check) -> None:
    """The same for each bit of GPTBR_EL3 above the address: bits [63:44].

    Every stimulus has the register for itself: a machine that takes such a bit for one of the address would lose its
    tables.
    """
    cells = check.plan(group(bit=range(44, 64), gpi=range(16), pas=World, kind=(Kind.LOAD, Kind.STORE)))
    for (bit,), own in apart(cells, 0).items():
        made = with_table(check)
        gptbr = GPTBR_EL3(made.gptbr.value | 1 << bit)
        items: list[Item] = []
        judged: list[Cell | None] = []
        for number, (_, gpi, pas, kind) in enumerate(own):
            at = LOW + number * 0x20_0000
            made.raw_level_1(at, granules_descriptor([gpi] * 16))
            items += warm(check, check.session.stimulus(kind, at, pas), gptbr=gptbr)
            judged += [None, own[number]]
        check.run(Scene.of(f"GPTBR_EL3 bit {bit}", made), items, judged)
