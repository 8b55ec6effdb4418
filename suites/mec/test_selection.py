"""Which context an access of Realm EL2 has, and which its table walks, seen through what EL3 has written.

The probe's instructions are in the default context, so MECID_P0_EL2 stays 0; the alternate MECID is the one that
varies, and the tables that lead to the data.
"""

from __future__ import annotations

from typing import Final

import pytest

from harness.check import Check
from harness.errors import MisuseError, TargetProtocolError
from harness.mec.instructions import enc
from harness.mec.script import Clean, Script, Write, send
from harness.mec.verdict import judge
from harness.probe import lower
from harness.probe.records import Op, Record, RecordFlag, RegisterEntry, Result, Status, World
from refmodel.mec.registers import MECID_A0_EL2, MECID_P0_EL2, SCR_EL3_MEC, SCTLR2_EL2_EMEC, TCR2_EL2
from refmodel.rules import Rule
from suites.mec.locations import contexts, locations, observable, value

_AMEC: Final = 1 << 63
_TABLE: Final = 0b11
_LEAF: Final = 1 << 10 | 0b11 << 8  # AF, Inner Shareable, AttrIndx 0
_READ_ONLY: Final = 0b10 << 6
_GB: Final = 1 << 30
_PAGE: Final = 4096
_DATA_VA: Final = 1 << 39
_DATA: Final = "the data"
_NOT_DATA: Final = "not the data"
_TIMES: Final = 4

VARIANT = pytest.mark.parametrize("variant", ["encrypts", "encrypts-hit"])


def _tables(check: Check, base: int, data: int, amec: int) -> list[tuple[int, int]]:
    """Descriptors as (PA, value): a gigabyte for the probe's pages, VA = PA, and one page at ``_DATA_VA`` by itself."""
    probe = check.session.target.info.layout.lower
    if not probe:
        raise MisuseError("the target's probe has no pages below EL3")
    level_0, level_1, data_1, data_2, data_3 = (base + _PAGE * number for number in range(5))
    return [
        (level_0, level_1 | _TABLE),
        (level_0 + 8, data_1 | _TABLE),
        (level_1 + 8 * (probe // _GB), probe // _GB * _GB | _LEAF | _READ_ONLY | 0b01),
        (data_1, data_2 | _TABLE),
        (data_2, data_3 | _TABLE),
        (data_3, data & -_PAGE | _LEAF | 0b11 | (_AMEC if amec else 0)),
    ]


def _registers(base: int, alternate: int) -> tuple[RegisterEntry, ...]:
    """Realm EL2 with stage 1 on, EMEC and AMEC0 set, and its MECIDs."""
    tcr = 1 << 31 | 1 << 23 | 0b101 << 16 | 0b11 << 12 | 1 << 10 | 1 << 8 | 16
    return (
        RegisterEntry(lower.SCR_EL3, lower.SCR_BASE | SCR_EL3_MEC.of(MECEn=1, SCTLR2En=1, TCR2En=1).value),
        RegisterEntry(lower.HCR_EL2, lower.HCR_RW),
        RegisterEntry(enc(SCTLR2_EL2_EMEC), SCTLR2_EL2_EMEC.of(EMEC=1).value),
        RegisterEntry(enc(TCR2_EL2), TCR2_EL2.of(AMEC0=1).value),
        RegisterEntry(enc(MECID_P0_EL2), 0),
        RegisterEntry(enc(MECID_A0_EL2), alternate),
        RegisterEntry(lower.MAIR_EL2, 0xFF),
        RegisterEntry(lower.TCR_EL2, tcr),
        RegisterEntry(lower.TTBR0_EL2, base),
        RegisterEntry(lower.SCTLR_EL2, 0x30C5_0830 | 1 << 12 | 1 << 2 | 1),
    )


def _loaded(
    check: Check, base: int, data: Write, *, amec: int, alternate: int, last_table: int = 0
) -> str:  # fmt: skip
    """What a load of Realm EL2 gives; ``last_table``: MECID under which the level 3 descriptor was written."""
    parts = _tables(check, base, data.pa, amec)
    writes = [Write(pa=pa, mecid=0, value=descriptor) for pa, descriptor in parts[:-1]]
    writes += [Write(pa=parts[-1][0], mecid=last_table, value=parts[-1][1]), data]
    script: Script = [*writes, *(Clean(pa=step.pa, mecid=step.mecid) for step in writes)]
    load = Record(0, Op.LOAD, state=World.REALM, el=2, address=_DATA_VA | data.pa % _PAGE)
    load = load._replace(flags=int(RecordFlag.TLBI_BEFORE))
    return _seen(send(check, script, more=_registers(base, alternate), then=[load])[-1], data.value)


def _seen(result: Result, wanted: int) -> str:
    if result.status != Status.DONE:
        raise TargetProtocolError(f"a load by Realm EL2: status {result.status}, not DONE")
    return _DATA if not result.taken and result.data0 == wanted else _NOT_DATA


def _judge(check: Check, rule: Rule, case: str, wanted: str, seen: str) -> None:
    judge(
        check,
        rule,
        case=case,
        signature=f"{case}: {seen}",
        holds=wanted == seen,
        stimulus={"access": "load by EL2 in Realm state, EMEC 1, AMEC0 1, MECID_P0_EL2 0", "case": case},
        expected=[{"load": wanted}],
        observed={"load": seen},
    )


@VARIANT
@pytest.mark.rule("MEC-030")
def test_access(check: Check, variant: str) -> None:
    """The leaf's AMEC chooses between MECID_P0_EL2 and MECID_A0_EL2."""
    if not observable(check):
        return
    for number in range(_TIMES):
        base, pa = list(locations(check))[8 * number] & -_PAGE, list(locations(check))[8 * number + 7]
        a, b = contexts(check)
        for owner, amec, alternate, wanted in (
            (a, 1, a, _DATA),
            (a, 1, b, _NOT_DATA),
            (a, 0, a, _NOT_DATA),
            (0, 0, a, _DATA),
            (0, 1, a, _NOT_DATA),
        ):
            data = Write(pa=pa, mecid=owner, value=value(check))
            seen = _loaded(check, base, data, amec=amec, alternate=alternate)
            who = "the default" if not owner else "the alternate" if owner == alternate else "another"
            _judge(check, Rule.MEC_SELECTION, f"data of {who} MECID through a leaf with AMEC {amec}", wanted, seen)


@VARIANT
@pytest.mark.rule("MEC-031")
def test_walk(check: Check, variant: str) -> None:
    """Tables are read under MECID_P0_EL2, whatever AMEC and MECID_A0_EL2 are; those of another context lead nowhere."""
    if not observable(check):
        return
    for number in range(_TIMES):
        base, pa = list(locations(check))[8 * number] & -_PAGE, list(locations(check))[8 * number + 7]
        a, b = contexts(check)
        for table, alternate, wanted in ((0, a, _DATA), (a, a, _NOT_DATA), (b, a, _NOT_DATA)):
            data = Write(pa=pa, mecid=a, value=value(check))
            seen = _loaded(check, base, data, amec=1, alternate=alternate, last_table=table)
            who = "the primary" if not table else "the alternate" if table == alternate else "another"
            _judge(check, Rule.MEC_WALK, f"a level 3 descriptor of {who} MECID", wanted, seen)
