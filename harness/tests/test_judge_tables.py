"""Built stage-1 tables: what the builder makes is what the model walks, and misuse is refused."""

from __future__ import annotations

import pytest

from harness.errors import MisuseError
from harness.judge.tables import AF, EL0, READ_ONLY_TABLE, BuiltStage1, Controls, TableBuilder
from refmodel.access import FullTranslate, PEState, access_at
from refmodel.choices import Chooser
from refmodel.context import Regime
from refmodel.faultrecord import Fault
from refmodel.observe import unobserved
from refmodel.pas import EL, FullAddress, PASpace, SecurityState
from refmodel.sysregs import TCR_EL3, TTBR0_EL3
from refmodel.tests.worlds import context, gpt_of, ram
from refmodel.translation.el3 import EL3Regime
from refmodel.translation.regimes import stage1_from

BASE, PAGES, LEAF = 0x5000_0000, 0x4040_0000, 0x8000_0000


def translate(made: TableBuilder, controls: Controls, va: int, kind: str = "load") -> tuple[Fault, FullAddress | None]:
    memory = ram()
    for pa, data in made.writes():
        memory.write(pa, data)
    pe = context(EL.EL1, SecurityState.SS_NonSecure)
    registers = BuiltStage1(tables=(), roots=made.roots, controls=controls).registers(Regime.Regime_EL10)
    values = {type(register): register.value for register in registers}
    stage1 = stage1_from(Regime.Regime_EL10, lambda register: values[register])
    state = PEState(EL3Regime(TTBR0_EL3(), TCR_EL3.of(T0SZ=16)), memory, pe, {Regime.Regime_EL10: stage1})
    accdesc = access_at(kind, pe)
    fault, address = FullTranslate(state, gpt_of(memory, {}), va, accdesc, Chooser(), unobserved)
    return fault.statuscode, address


@pytest.mark.parametrize("t1sz", [16, 20, 25, 30, 34, 39, 43, 48])
@pytest.mark.parametrize("t0sz", [16, 24, 25, 33])
def test_leaves_are_where_they_are_put(t0sz: int, t1sz: int) -> None:
    """The last page of the lower and the first of the upper range, at level 3."""
    made = TableBuilder(BASE, 1 << 20, txsz=(t0sz, t1sz))
    made.map_probe(PAGES)
    low, high = (1 << 64 - t0sz) - 4096, (1 << 64) - (1 << 64 - t1sz)
    for number, va in enumerate((low, high)):
        made.put(va, 3, LEAF + number * 4096 | AF | EL0 | 0b11)
    controls = Controls(txsz=(t0sz, t1sz))
    for number, va in enumerate((low, high)):
        where = FullAddress(PASpace.PAS_NonSecure, LEAF + number * 4096 + 8)
        assert translate(made, controls, va + 8) == (Fault.Fault_None, where)
    assert translate(made, controls, PAGES, "fetch")[0] is Fault.Fault_None


def test_bits_of_a_table_govern_what_is_below() -> None:
    made = TableBuilder(BASE, 1 << 20)
    va = 1 << 39
    made.put(va, 2, LEAF | AF | 0b01)
    made.upper_bits(va, 0, READ_ONLY_TABLE)
    assert translate(made, Controls(), va, "store")[0] is Fault.Fault_Permission
    assert translate(made, Controls(hpd=(1, 0)), va, "store")[0] is Fault.Fault_None
    assert made.entry(va, 2) == made.table(va, 2)


def test_too_many_tables() -> None:
    made = TableBuilder(BASE, 3 * 4096)
    with pytest.raises(MisuseError, match="more than 3 tables do not fit"):
        made.put(0, 3, 0)


def test_el3_has_no_built_tables() -> None:
    with pytest.raises(ValueError, match="EL3's stage 1"):
        BuiltStage1(tables=(), roots=(0, 0)).registers(Regime.Regime_EL3)
