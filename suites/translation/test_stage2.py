"""Stage 2 of the EL1&0 regime: leaves, permissions, sizes, spaces, and stage-1 descriptors fetched through it."""

from __future__ import annotations

import itertools

import pytest

from harness.check import Check
from harness.coverage import group
from harness.judge.scene import Item
from harness.judge.stimulus import Kind, Stimulus
from harness.judge.tables import (
    AF,
    EL0,
    NS,
    PXN,
    READ_ONLY,
    S2_ALL,
    S2_NORMAL,
    S2_NS,
    S2_READ,
    S2_WRITE,
    S2_XN,
    S2_XN_EL1,
    SHARED,
    TABLE,
    XN,
    Stage2Builder,
    TableBuilder,
)
from harness.probe.records import World
from refmodel.gpt.decode import GPT_Any, GPT_NoAccess, GPT_NonSecure, GPT_Realm, GPT_Secure
from refmodel.translation.walkstate import index_lsb
from suites.gpt.scenes import with_table
from suites.gpt.worlds import Place
from suites.translation.scenes import (
    DATA,
    DATA_KINDS,
    UPPER,
    access,
    builder,
    leaf,
    mapped,
    portions,
    scene,
)
from suites.translation.second import (
    ALIAS,
    NESTED,
    TABLES_NS,
    builder_2,
    flags,
    ipa_of,
    leaf_2,
    second,
)

_AREA = 1 << 39
_LEVELS = (1, 2, 3)
_REALM_LEAVES = flags((0, S2_READ), (0, S2_WRITE), (0, S2_XN), (0, S2_XN_EL1), (0, AF), (0, S2_NS))
_LEAVES = flags((0, S2_READ), (0, S2_WRITE), (0, S2_XN), (0, S2_XN_EL1), (0, AF))


def _stage_1(spot: Place) -> tuple[int, ...]:
    """Leaves of stage 1 above each of stage 2: all, read-only, never executed, access flag clear."""
    user = _user(spot)
    return mapped(user), mapped(user | READ_ONLY), mapped(user | XN | PXN), user


def _user(spot: Place) -> int:
    """What lets the level use a leaf: EL1 executes only what EL0 may not write."""
    return EL0 if spot.el == 0 else 0


def _va(first: int, level: int, number: int) -> int:
    """Virtual address of the page whose stage 1 leaf is ``first`` and whose stage 2 leaf is ``number`` of ``level``."""
    return _AREA | first << 30 | level << 21 | number << 12


@pytest.mark.smoke
@NESTED
@pytest.mark.rule("TRN-101", "TRN-106", "TRN-110", "TRN-111", "TRN-130", "TRN-131", "TRN-132", "TRN-133", "TRN-134")
def test_matrix(check: Check, state: World, spot: Place) -> None:
    """Leaf of stage 2 at each level x leaf of stage 1 x kind of access."""
    leaves, firsts = _REALM_LEAVES if state is World.REALM else _LEAVES, _stage_1(spot)
    cells = check.plan(group(first=range(len(firsts)), level=_LEVELS, leaf=range(len(leaves)), kind=Kind))
    made, made_2 = builder(check), builder_2(check)
    for first, level, number in itertools.product(range(len(firsts)), _LEVELS, range(len(leaves))):
        page = DATA + (number << 12)
        ipa = ipa_of(number, level, page)
        made.put(_va(first, level, number), 3, leaf(3, ipa, firsts[first]))
        made_2.put(ipa, level, leaf_2(level, page, leaves[number]))
    where = scene("stage 2 permissions", with_table(check), made, state, spot, second=second(made_2, state))
    (portion,) = portions(check, cells, 1)
    items: list[Item] = []
    for cell in portion:
        first, level, number, kind = cell
        pas = World.NON_SECURE if leaves[number] & S2_NS else state
        items.append(access(check, kind, _va(first, level, number), 3, DATA + (number << 12), pas))
    check.run(where, items, portion)


@NESTED
@pytest.mark.rule("TRN-100", "TRN-103", "TRN-104")
def test_descriptors(check: Check, state: World, spot: Place) -> None:
    """Invalid descriptors at each level, addresses above the input size, tables and leaves above the output size."""
    made, made_2 = builder(check), builder_2(check)
    items: list[Item] = []
    number = itertools.count()

    def page(ipa: int, pa: int = DATA) -> None:
        va = _AREA | next(number) << 12
        made.put(va, 3, leaf(3, ipa, mapped(_user(spot))))
        for kind in DATA_KINDS:
            items.append(access(check, kind, va, 3, pa, state))

    for level, kind in itertools.product(_LEVELS, (0b00, 0b10)):
        ipa = ipa_of(kind, level, DATA) + (16 << index_lsb(level))
        made_2.put(ipa, level, check.rng.getrandbits(62) << 2 | kind)
        page(ipa)
    reserved = ipa_of(40, 3, DATA)
    made_2.put(reserved, 3, leaf_2(3, DATA, S2_ALL) & ~0b10)
    page(reserved)
    for bit in range(39, 48):
        page(ipa_of(0, 3, DATA) | 1 << bit)
    for bit, level in itertools.product(range(40, 48), _LEVELS):
        ipa = ipa_of(32 + bit - 40, level, DATA)
        made_2.put(ipa, level, leaf_2(level, DATA, S2_ALL if check.rng.random() < 0.5 else S2_READ) | 1 << bit)
        page(ipa)
    for bit in range(40, 48):
        gigabyte = 320 + bit << 30
        made_2.put(gigabyte, 1, DATA | 1 << bit | TABLE)
        page(gigabyte)
        made_2.put((319 << 30) | bit << 21, 2, DATA | 1 << bit | TABLE)
        page((319 << 30) | bit << 21)
    good = ipa_of(50, 3, DATA)
    made_2.put(good, 3, leaf_2(3, DATA, S2_ALL))
    page(good)
    where = scene("stage 2 descriptors", with_table(check), made, state, spot, second=second(made_2, state, ps=2))
    check.run(where, items)


_SIZES = (
    tuple((bits, 1) for bits in range(33, 44))
    + tuple((bits, 2) for bits in (33, 34))
    + tuple((bits, 0) for bits in range(40, 49))
)


@NESTED
@pytest.mark.rule("TRN-102")
def test_start_levels(check: Check, state: World, spot: Place) -> None:
    """Every input size that reaches the probe, from each first level, concatenated tables included."""
    for bits, level in _SIZES:
        made, made_2 = builder(check), builder_2(check, bits=bits, level=level)
        items: list[Item] = []
        for number, ipa in enumerate(((1 << bits) - 4096, (1 << bits - 1) + 0x1000, 1 << bits)):
            va = _AREA | number << 12
            made.put(va, 3, leaf(3, ipa & (1 << 48) - 1, mapped(_user(spot))))
            if ipa >> bits == 0:
                made_2.put(ipa, 3, leaf_2(3, DATA, S2_ALL))
            items += [access(check, kind, va, 3, DATA, state) for kind in DATA_KINDS]
        where = second(made_2, state, bits=bits, level=level)
        check.run(scene(f"{bits} bits from level {level}", with_table(check), made, state, spot, second=where), items)


_FETCH_LEAVES = {
    "read": AF | S2_READ,
    "read and write": AF | S2_READ | S2_WRITE,
    "write": AF | S2_WRITE,
    "nothing": AF,
    "access flag": S2_READ | S2_WRITE,
    "never executed": AF | S2_READ | S2_XN,
}


def _aliased(check: Check, spot: Place, level: int) -> tuple[TableBuilder, int, tuple[int, int], int]:
    """Stage 1 whose table of ``level`` in the upper range is at an alias: tables, address, roots, that table."""
    made = builder(check, spacing=1 << 16)
    va = UPPER | _AREA
    made.put(va, 3, leaf(3, DATA, mapped(_user(spot))))
    table = made.table(va, level)
    roots = made.roots
    if level == 0:
        roots = roots[0], roots[1] | ALIAS
    else:
        made.upper_bits(va, level - 1, ALIAS)
    return made, va, roots, table


@NESTED
@pytest.mark.rule("TRN-112", "TRN-131", "TRN-132")
def test_stage_1_fetches(check: Check, state: World, spot: Place) -> None:
    """A stage-1 table of each level through stage-2 leaves of each level and kind, and through none."""
    for level, level_2, name in itertools.product(range(4), _LEVELS, (*_FETCH_LEAVES, "invalid")):
        made, va, roots, table = _aliased(check, spot, level)
        made_2 = builder_2(check)
        descriptor = 0 if name == "invalid" else leaf_2(level_2, table, _FETCH_LEAVES[name])
        made_2.put(table | ALIAS, level_2, descriptor)
        made_2.put(DATA, 3, leaf_2(3, DATA, S2_ALL))
        where = second(made_2, state)
        items: list[Item] = [access(check, kind, va, 3, DATA, state) for kind in Kind]
        title = f"level {level} table by stage 2 level {level_2}: {name}"
        check.run(scene(title, with_table(check), made, state, spot, roots=roots, second=where), items)


@pytest.mark.parametrize("spot", [Place(1), Place(0)], ids=str)
@pytest.mark.rule("TRN-122")
def test_realm_tables(check: Check, spot: Place) -> None:
    """A Realm's stage-1 tables are in the Realm space: NS in the leaf that maps one is a permission fault."""
    for level, level_2 in itertools.product(range(4), _LEVELS):
        made, va, roots, table = _aliased(check, spot, level)
        made_2 = builder_2(check)
        made_2.put(table | ALIAS, level_2, leaf_2(level_2, table, S2_ALL & ~(SHARED | S2_NORMAL) | S2_NS))
        made_2.put(DATA, 3, leaf_2(3, DATA, S2_ALL))
        items: list[Item] = [
            access(check, kind, va, 3, DATA, World.REALM) for kind in (Kind.LOAD, Kind.STORE, Kind.FETCH)
        ]
        where = second(made_2, World.REALM)
        title = f"level {level} table in Non-secure memory"
        check.run(scene(title, with_table(check), made, World.REALM, spot, roots=roots, second=where), items)


@NESTED
@pytest.mark.rule("TRN-113")
def test_protected_walk(check: Check, state: World, spot: Place) -> None:
    """HCR_EL2.PTW: a stage-1 table in what stage 2 calls Device memory is a permission fault, without it is fetched."""
    for ptw, level in itertools.product((0, 1), range(4)):
        made, va, roots, table = _aliased(check, spot, level)
        made_2 = builder_2(check)
        made_2.put(table | ALIAS, 3, leaf_2(3, table, AF | S2_READ | S2_WRITE, attributes=0b0001 << 2))
        made_2.put(DATA, 3, leaf_2(3, DATA, S2_ALL))
        items: list[Item] = [access(check, kind, va, 3, DATA, state) for kind in Kind]
        title, hcr, where = f"PTW {ptw}, level {level} table in Device memory", {"PTW": ptw}, second(made_2, state)
        check.run(scene(title, with_table(check), made, state, spot, roots=roots, hcr=hcr, second=where), items)


_GPIS = (GPT_Any, GPT_Secure, GPT_NonSecure, GPT_Realm)


@pytest.mark.parametrize("spot", [Place(1), Place(0)], ids=str)
@pytest.mark.rule("TRN-121", "TRN-123")
def test_realm_output(check: Check, spot: Place) -> None:
    """NS in a leaf of each level leads a Realm to the Non-secure space, where it executes nothing."""
    gpt, made, made_2 = with_table(check), builder(check), builder_2(check)
    items: list[Item] = []
    for number, gpi in enumerate(_GPIS):
        gpt.granule(DATA + (number << 12), gpi)
    for number, level, ns in itertools.product(range(len(_GPIS)), _LEVELS, (0, S2_NS)):
        page = DATA + (number << 12)
        index = number + 8 * (ns != 0)
        ipa, va = ipa_of(index, level, page), _va(0, level, index)
        made_2.put(ipa, level, leaf_2(level, page, AF | S2_READ | S2_WRITE | ns))
        # Whatever NS of stage 1 says: it is ignored there.
        made.put(va, 3, leaf(3, ipa, mapped(_user(spot) | check.rng.choice((0, NS)))))
        pas = World.NON_SECURE if ns else World.REALM
        items += [access(check, kind, va, 3, page, pas) for kind in Kind]
    check.run(scene("NS of stage 2", gpt, made, World.REALM, spot, second=second(made_2, World.REALM)), items)


@pytest.mark.parametrize("spot", [Place(1), Place(0)], ids=str)
@pytest.mark.rule("TRN-120", "TRN-121")
def test_secure_spaces(check: Check, spot: Place) -> None:
    """SW, SA, NSW, NSA in all combinations: the space of tables and of output, of Secure and Non-secure addresses."""
    for sw, sa, nsw, nsa in itertools.product((0, 1), repeat=4):
        gpt, made = with_table(check), builder(check)
        made_2, made_ns = builder_2(check), Stage2Builder(TABLES_NS, 16 << 20)
        items: list[Item] = []
        for number, gpi in enumerate(_GPIS):
            gpt.granule(DATA + (number << 12), gpi)
        for number, ns in itertools.product(range(len(_GPIS)), (0, NS)):
            page = DATA + (number << 12)
            va = _va(0, 3, number + 8 * (ns != 0))
            ipa = ipa_of(number, 3, page)
            (made_ns if ns else made_2).put(ipa, 3, leaf_2(3, page, AF | S2_READ | S2_WRITE))
            made.put(va, 3, leaf(3, ipa, mapped(_user(spot) | ns)))
            foreign = sw or sa or (ns and (nsw or nsa))
            pas = World.NON_SECURE if foreign else World.SECURE
            items += [access(check, kind, va, 3, page, pas) for kind in Kind]
        gpt.granule(made_ns.roots[0], GPT_NonSecure if nsw else GPT_Secure)
        where = second(
            made_2, World.SECURE, non_secure=made_ns, vtcr={"NSW": nsw, "NSA": nsa}, vstcr={"SW": sw, "SA": sa}
        )
        title = f"SW {sw}, SA {sa}, NSW {nsw}, NSA {nsa}"
        check.run(scene(title, gpt, made, World.SECURE, spot, second=where), items)


@pytest.mark.parametrize("spot", [Place(1), Place(0)], ids=str)
@pytest.mark.rule("TRN-105", "TRN-102")
def test_inconsistent(check: Check, spot: Place) -> None:
    """T0SZ and SL0 of Non-secure addresses in Secure state that do not fit each other, or are out of range."""
    for t0sz, sl0 in itertools.product(range(64), range(4)):
        made, made_2 = builder(check), builder_2(check)
        # The first table at the end of nothing: a size that is taken for good finds an invalid entry.
        made_ns = Stage2Builder(TABLES_NS, 16 << 20, bits=43, level=1)
        made.put(_AREA, 3, leaf(3, 0x1000, mapped(_user(spot) | NS)))
        where = second(made_2, World.SECURE, non_secure=made_ns, vtcr={"T0SZ": t0sz, "SL0": sl0})
        stimulus = Stimulus(Kind.LOAD, _AREA, DATA, World.NON_SECURE)
        check.run(
            scene(f"T0SZ {t0sz}, SL0 {sl0}", with_table(check), made, World.SECURE, spot, second=where), [stimulus]
        )


def _denied_table(check: Check, *, bits: int, start: int, level: int) -> tuple[Stage2Builder, int, int]:
    """Stage 2 in which the table of ``level`` for an address is apart from others: builder, address, table."""
    made_2 = builder_2(check, bits=bits, level=start, spacing=1 << 16)
    ipa = (1 << bits - 1) + (5 << 30)
    made_2.put(ipa, 3, leaf_2(3, DATA, S2_ALL))
    return made_2, ipa, made_2.table(ipa, level)


@NESTED
@pytest.mark.rule("GPC-123", "GPC-130", "GPC-131")
def test_denied_table(check: Check, state: World, spot: Place) -> None:
    """A level 1 table of stage 2 that may not be fetched, on behalf of data and of a stage-1 fetch, by every route."""
    for scr_gpf, hcr_gpf, fetch in itertools.product((0, 1), (0, 1), (False, True)):
        gpt = with_table(check)
        made_2, ipa, table = _denied_table(check, bits=41, start=0, level=1)
        gpt.granule(table, GPT_NoAccess)
        made = builder(check)
        if fetch:
            made.put(_AREA, 0, ipa | TABLE)
        else:
            made.put(_AREA, 3, leaf(3, ipa, mapped(_user(spot))))
        items: list[Item] = [access(check, kind, _AREA, 3, DATA, state) for kind in Kind]
        title = f"stage 2 table denied to {'a stage-1 fetch' if fetch else 'data'}, GPF {scr_gpf} and {hcr_gpf}"
        where = second(made_2, state, bits=41, level=0)
        scr, hcr = {"GPF": scr_gpf}, {"GPF": hcr_gpf}
        check.run(scene(title, gpt, made, state, spot, scr=scr, hcr=hcr, second=where), items)


@pytest.mark.parametrize("level", [2, 3])
@pytest.mark.rule("GPC-130", "GPC-080")
def test_denied_deep_table(check: Check, level: int) -> None:
    """A table of level 2 or 3 of a Realm's stage 2 that may not be fetched."""
    gpt, made = with_table(check), builder(check)
    made_2, ipa, table = _denied_table(check, bits=39, start=1, level=level)
    gpt.granule(table, GPT_NoAccess)
    made.put(_AREA, 3, leaf(3, ipa, mapped()))
    stimulus = Stimulus(Kind.LOAD, _AREA, DATA, World.REALM)
    where = second(made_2, World.REALM)
    check.run(scene(DEEP_2, gpt, made, World.REALM, Place(1), second=where), [stimulus])


DEEP_2 = "a stage-2 table of level 2 or 3 that may not be fetched"


@NESTED
@pytest.mark.rule("GPC-116")
def test_gpcp(check: Check, state: World, spot: Place) -> None:
    """GPCCR_EL3.GPCP: a fault on the fetch of a Table descriptor may be left out, and no other one."""
    for gpcp, leaf_table in itertools.product((0, 1), (False, True)):
        gpt, made = with_table(check), builder(check)
        made_2, ipa, table = _denied_table(check, bits=41, start=0, level=1)
        if leaf_table:
            made_2.put(ipa, 1, leaf_2(1, DATA, S2_ALL))
        gpt.granule(table, GPT_NoAccess)
        made.put(_AREA, 3, leaf(3, ipa, mapped(_user(spot))))
        items: list[Item] = [access(check, kind, _AREA, 3, DATA, state) for kind in DATA_KINDS]
        where = scene(
            f"GPCP {gpcp}, {'a Block' if leaf_table else 'a Table'}", gpt, made, state, spot,
            second=second(made_2, state, bits=41, level=0), gpcp=gpcp,
        )  # fmt: skip
        check.run(where, items)
