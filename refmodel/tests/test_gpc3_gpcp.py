"""GPCCR_EL3.GPCP: what may be left out on a stage 2 table fetch.  DDI 0487, GPCCR_EL3.GPCP."""

from __future__ import annotations

import pytest

from refmodel.access import access_at
from refmodel.choices import Chooser, explore
from refmodel.context import AT_EL3
from refmodel.faultrecord import Fault, FaultRecord
from refmodel.gpt.types import GPC_NO_FAULT, GPCF, GPCFRecord
from refmodel.observe import Observer
from refmodel.pas import FullAddress, PASpace
from refmodel.sysregs import GPCCR_EL3
from refmodel.tests.worlds import put64, ram
from refmodel.translation.fetch import FetchStage2Descriptor

WHERE = FullAddress(PASpace.PAS_NonSecure, 0x8000)
TABLE, PAGE = 0x9003, 0x9001
DENIED = GPCFRecord(GPCF.GPCF_Fail, 1)


def outcomes(descriptor: int, gpcp: int, answer: GPCFRecord) -> list[tuple[Fault, int, bool, bool]]:
    """(status, descriptor read, marked as a stage 2 walk, weak) of every permitted outcome."""
    memory = ram()
    put64(memory, WHERE.address, descriptor)
    start = FaultRecord.none(access_at("load", AT_EL3)).with_(Fault.Fault_None, secondstage=True, level=1)

    def check(where: FullAddress, observe: Observer) -> GPCFRecord:
        assert where == WHERE
        return answer

    def run(choose: Chooser) -> tuple[FaultRecord, int]:
        return FetchStage2Descriptor(
            check, memory, WHERE, start, gpccr=GPCCR_EL3.of(GPCP=gpcp), is_table=lambda d: d & 3 == 3, choose=choose
        )

    return [(e.result[0].statuscode, e.result[1], e.result[0].gpcfs2walk, e.weak) for e in explore(run)]


REPORTED = (Fault.Fault_GPCFOnWalk, 0, True, False)


@pytest.mark.parametrize("descriptor", [TABLE, PAGE])
def test_every_fault_is_reported_with_gpcp_0(descriptor: int) -> None:
    assert outcomes(descriptor, 0, DENIED) == [REPORTED]


def test_a_table_fetch_may_pass_with_gpcp_1() -> None:
    assert outcomes(TABLE, 1, DENIED) == [REPORTED, (Fault.Fault_None, TABLE, False, True)]


def test_other_descriptors_are_reported_with_gpcp_1() -> None:
    assert outcomes(PAGE, 1, DENIED) == [REPORTED]
    assert outcomes(0, 1, DENIED) == [REPORTED]


@pytest.mark.parametrize("gpcp", [0, 1])
def test_a_permitted_fetch(gpcp: int) -> None:
    assert outcomes(PAGE, gpcp, GPC_NO_FAULT) == [(Fault.Fault_None, PAGE, False, False)]
