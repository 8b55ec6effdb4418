"""What a PE without a feature ignores or refuses: granule sizes, bits of GPTBR_EL3.  And 56-bit addresses.

Targets that can be made without a feature are asked for one (``variant``); others show what they are.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from harness.check import Check
from harness.judge.scene import Item, Scene
from harness.judge.stimulus import Kind
from harness.probe.records import World
from refmodel.gpt.decode import GPT_Any
from refmodel.sysregs import GPTBR_EL3
from suites.gpt.scenes import GB, LOW, builder, res0, warm, with_table

_KINDS = (Kind.LOAD, Kind.STORE, Kind.ATOMIC_ADD)


@pytest.mark.smoke
@pytest.mark.rule("GPC-114")
@pytest.mark.parametrize("field", ["GPCBW", "PPS3", "BADDR_55_52"])
@pytest.mark.parametrize("variant", ["rme1", "rme2"])
def test_fields_without_gpc3(check: Check, field: str, variant: str) -> None:
    """Without FEAT_RME_GPC3 its fields are RES0: with each of them written as 1 the check is as with 0.

    GPCBW_EL3 is not there either, and is left alone; with its reset value a window would start at 0.  Bits [55:52] of
    GPTBR_EL3's address are set one by one: the table below them stays in use.
    """
    if not check.applies("PE without FEAT_RME_GPC3", not check.session.features.gpc3):
        return
    if field != "BADDR_55_52":
        check.run(*res0(check, **{field: 1}))
        return
    made = with_table(check)
    items: list[Item] = []
    for number, (bit, pas, kind) in enumerate(itertools.product(range(4), World, (Kind.LOAD, Kind.STORE))):
        at = LOW + number * 0x20_0000
        gptbr = GPTBR_EL3(made.gptbr.value).replace(BADDR_55_52=1 << bit)
        items += warm(check, check.session.stimulus(kind, at, pas), gptbr=gptbr)
    check.run(Scene.of("bits [55:52] of GPTBR_EL3's address", made), items)


@pytest.mark.parametrize("variant", ["no-16k"])
@pytest.mark.rule("GPC-115")
def test_granule_size(check: Check, variant: str) -> None:
    """GPCCR_EL3.PGS names a granule that the PE's translation does not have: a GPT walk fault at level 0."""
    fields = {12: 0b00, 14: 0b10, 16: 0b01}
    absent = [pgs for bits, pgs in fields.items() if bits not in check.session.features.granules]
    if not check.needs("granule size that is not implemented", bool(absent)):
        return
    made = with_table(check)
    items: list[Item] = []
    for number, (pgs, pas, kind) in enumerate(itertools.product(absent, World, _KINDS)):
        stimulus = check.session.stimulus(kind, LOW + number * 0x20_0000 + 0x3450, pas)
        items += warm(check, stimulus, gpccr=made.geometry.gpccr().replace(PGS=pgs))
    check.run(Scene.of("a granule size that is not implemented", made), items)


@pytest.mark.parametrize("variant", ["pa56"])
@pytest.mark.rule("GPC-113")
def test_level_0_table_of_56_bits(check: Check, variant: str) -> None:
    """56 bits are protected: the level 0 table is aligned to its size, and GPTBR_EL3's bits below are taken as zero."""
    features = check.session.features
    if not check.applies("FEAT_RME_GPC3", features.gpc3) or not check.applies("56-bit PAs", features.pamax == 56):
        return
    made = builder(check, pps=56)
    made.block(LOW, GPT_Any)
    for bit in range(12, made.geometry.level_0_size.bit_length() - 1):
        scene = Scene.of(f"56 bits are protected, GPTBR bit {bit}", made)
        scene = replace(scene, gptbr=GPTBR_EL3(made.gptbr.value | 1 << bit - 12))
        check.run(scene, [check.session.stimulus(Kind.LOAD, LOW + GB - 16, pas) for pas in World])
