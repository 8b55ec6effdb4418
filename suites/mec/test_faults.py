"""The fault of a leaf whose AMEC is set while alternate MECIDs are disabled."""

from __future__ import annotations

import itertools

import pytest

from harness.check import Check
from harness.errors import TargetProtocolError
from harness.judge.world import WorldContext
from harness.mec.instructions import enc
from harness.mec.verdict import judge
from harness.probe import lower
from harness.probe.batch import Batch
from harness.probe.records import Op, Record, RecordFlag, RegisterEntry, Result, Status, World
from refmodel.faultrecord import Fault
from refmodel.mec.registers import SCR_EL3_MEC, SCTLR2_EL2_EMEC, TCR2_EL2
from refmodel.mec.selection import Controls, S1AMECFault
from refmodel.pas import PASpace
from refmodel.rules import Rule
from refmodel.syndrome import EC_DATA_ABORT_SAME, EncodeLDFSC
from suites.gpt.worlds import PAGES, Place, context

_AMEC = 1 << 63
_PAGE = 4096
_SCR = SCR_EL3_MEC.of(MECEn=1, SCTLR2En=1, TCR2En=1).value
_ALTERNATE = 1  # number of the page whose leaf has AMEC set


def _entries(where: WorldContext, emec: int, amec: tuple[int, int]) -> tuple[RegisterEntry, ...]:
    """Registers of the scene, with the controls of FEAT_MEC, which SCR_EL3 enables for EL2."""
    kept = tuple(entry for entry in where.entries() if entry.encoding != lower.SCR_EL3)
    return (
        RegisterEntry(lower.SCR_EL3, lower.SCR_BASE | _SCR),
        RegisterEntry(enc(SCTLR2_EL2_EMEC), SCTLR2_EL2_EMEC.of(EMEC=emec).value),
        RegisterEntry(enc(TCR2_EL2), TCR2_EL2.of(AMEC0=amec[0], AMEC1=amec[1]).value),
        *kept,
    )


def _write_tables(check: Check, where: WorldContext) -> None:
    for pa, data in where.stage1.writes():
        check.session.write(pa, data)
    at = where.stage1.table(3) + 8 * _ALTERNATE
    leaf = int.from_bytes(check.session.target.read_memory(at, 8), "little")
    check.session.write(at, (leaf | _AMEC).to_bytes(8, "little"))


def _in_words(result: Result) -> str:
    if not result.taken:
        return "none"
    return f"to EL{result.target_el}, EC {result.esr >> 26:#04x}, DFSC {result.esr & 0x3F:#04x}"


_FAULT = f"to EL2, EC {EC_DATA_ABORT_SAME:#04x}, DFSC {EncodeLDFSC(Fault.Fault_Translation, 3):#04x}"


@pytest.mark.smoke
@pytest.mark.rule("MEC-008")
@pytest.mark.parametrize("e2h", [0, 1], ids=["EL2", "EL2-E2H"])
@pytest.mark.parametrize("ns", [False, True], ids=["Realm", "NonSecure"])
def test_amec(check: Check, e2h: int, ns: bool) -> None:
    """Pages with and without AMEC, in each range, with every EMEC, AMEC0 and AMEC1, leading to either space."""
    if not check.applies("FEAT_MEC", check.session.features.mec):
        return
    where = context(check, World.REALM, Place(2, e2h=e2h), ns=ns)
    regime, pas = where.regime(), PASpace.PAS_NonSecure if ns else PASpace.PAS_Realm
    _write_tables(check, where)
    uppers = (False, True) if e2h else (False,)
    for emec, amec0, amec1 in itertools.product((0, 1), repeat=3):
        cells = list(itertools.product(uppers, (0, _ALTERNATE), (Op.LOAD, Op.STORE)))
        records = [
            Record(0, op, state=World.REALM, el=2, address=where.stage1.page(PAGES + page * _PAGE, upper=upper))
            for upper, page, op in cells
        ]
        records[0] = records[0]._replace(flags=int(RecordFlag.TLBI_BEFORE))
        results = check.session.target.run(Batch(records=records, context=_entries(where, emec, (amec0, amec1))))
        check.tally.stimuli += len(records)
        for (upper, page, op), result in zip(cells, results, strict=True):
            if result.status != Status.DONE:
                raise TargetProtocolError(f"an access at Realm EL2: status {result.status}, not DONE")
            fault = S1AMECFault(Controls(emec, amec1 if upper else amec0), pas, regime, page)
            wanted, seen = _FAULT if fault else "none", _in_words(result)
            name = f"{op.name.lower()}, AMEC {page}, {'upper' if upper else 'lower'} range"
            judge(
                check,
                Rule.AMEC_FAULT,
                case=f"{name}, EMEC {emec} AMEC0 {amec0} AMEC1 {amec1}",
                signature=f"leaf with AMEC {page} where it is {'disabled' if fault else 'no fault'}: exception {seen}",
                holds=wanted == seen,
                stimulus={
                    "access": f"{name}, from EL2 in Realm state, HCR_EL2.E2H = {e2h}",
                    "leaf": f"to the {pas.short} space",
                    "registers": f"SCTLR2_EL2.EMEC = {emec}, TCR2_EL2.AMEC0 = {amec0}, AMEC1 = {amec1}",
                },
                expected=[{"exception": wanted}],
                observed={"exception": seen},
            )
    for pa, data in where.stage1.writes():
        check.session.write(pa, bytes(len(data)))
