"""Which MECID an access and a walk have: values written by hand from the pseudocode."""

from __future__ import annotations

import pytest

from refmodel.choices import Chooser, explore
from refmodel.context import Regime
from refmodel.mec.registers import (
    MECID_A0_EL2,
    MECID_A1_EL2,
    MECID_P0_EL2,
    MECID_P1_EL2,
    MECID_RL_A_EL3,
    SCR_EL3_MEC,
    SCTLR2_EL2_EMEC,
    SCTLR2_EL3,
    TCR2_EL2,
    VMECID_A_EL2,
    VMECID_P_EL2,
)
from refmodel.mec.selection import (
    Controls,
    DescriptorAMEC,
    S1AMECFault,
    S1DisabledOutputMECID,
    S1OutputMECID,
    S2OutputMECID,
    TTWalkMECID,
    WalkControls,
)
from refmodel.pas import PASpace, SecurityState
from refmodel.registers import Register

EL2, EL20, EL10, EL3 = Regime.Regime_EL2, Regime.Regime_EL20, Regime.Regime_EL10, Regime.Regime_EL3
REALM, ROOT = SecurityState.SS_Realm, SecurityState.SS_Root
ON, OFF = Controls(1, 1), Controls(0, 1)
RL, NS = PASpace.PAS_Realm, PASpace.PAS_NonSecure
VALUES: dict[type[Register], int] = {
    MECID_P0_EL2: 0x10, MECID_A0_EL2: 0x20, MECID_P1_EL2: 0x30, MECID_A1_EL2: 0x40, VMECID_P_EL2: 0x50,
    VMECID_A_EL2: 0x60, MECID_RL_A_EL3: 0x70,
}  # fmt: skip


def read(register: type[Register]) -> int:
    return VALUES.get(register, 0)


@pytest.mark.parametrize(
    ("regime", "amec", "upper", "mecid"),
    [
        (EL2, 0, False, 0x10), (EL2, 1, False, 0x20), (EL20, 0, False, 0x10), (EL20, 1, False, 0x20),
        (EL20, 0, True, 0x30), (EL20, 1, True, 0x40), (EL10, 0, False, 0x50), (EL10, 1, True, 0x50),
        (EL3, 0, False, 0x70), (EL3, 1, False, 0x70),
    ],
)  # fmt: skip
def test_output(regime: Regime, amec: int, upper: bool, mecid: int) -> None:
    assert S1OutputMECID(ON, regime, RL, amec, read, upper=upper) == mecid
    assert S1OutputMECID(ON, regime, NS, amec, read, upper=upper) == 0
    assert S1OutputMECID(OFF, regime, RL, amec, read, upper=upper) == 0


@pytest.mark.parametrize(("regime", "mecid"), [(EL2, 0x10), (EL20, 0x10), (EL10, 0x50), (EL3, 0)])
def test_stage_1_off(regime: Regime, mecid: int) -> None:
    assert S1DisabledOutputMECID(ON, regime, RL, read) == mecid
    assert S1DisabledOutputMECID(ON, regime, NS, read) == 0
    assert S1DisabledOutputMECID(OFF, regime, RL, read) == 0


def test_stage_2() -> None:
    assert [S2OutputMECID(ON, RL, amec, read) for amec in (0, 1)] == [0x50, 0x60]
    assert S2OutputMECID(ON, NS, 1, read) == 0 and S2OutputMECID(OFF, RL, 1, read) == 0


def walks(regime: Regime, ss: SecurityState, tcr: int, controls: Controls = ON) -> list[int]:
    def once(choose: Chooser) -> int:
        return TTWalkMECID(controls, regime, ss, read, tcr, choose)

    return [explored.result for explored in explore(once)]


def test_walk() -> None:
    """EL2&0: the pseudocode's answer first, and the one that A1's meaning suggests."""
    assert walks(EL2, REALM, 0) == [0x10] and walks(EL10, REALM, 0) == [0x50]
    assert walks(EL20, REALM, 0) == [0x30, 0x10] and walks(EL20, REALM, 1 << 22) == [0x10, 0x30]
    assert walks(EL3, ROOT, 0) == [0] and walks(EL2, SecurityState.SS_NonSecure, 0) == [0]
    assert walks(EL20, REALM, 0, OFF) == [0]


def test_amec_fault() -> None:
    """{emec, amec} = 0b10, EL2 or EL2&0, Realm output space, AMEC set: all of it."""
    disabled = Controls(1, 0)
    assert S1AMECFault(disabled, RL, EL2, 1) and S1AMECFault(disabled, RL, EL20, 1)
    assert not S1AMECFault(disabled, RL, EL2, 0) and not S1AMECFault(disabled, NS, EL2, 1)
    assert not S1AMECFault(disabled, RL, EL10, 1) and not S1AMECFault(disabled, RL, EL3, 1)
    assert not S1AMECFault(Controls(0, 0), RL, EL2, 1) and not S1AMECFault(ON, RL, EL2, 1)
    assert DescriptorAMEC(1 << 63) == 1 and DescriptorAMEC(1 << 62) == 0
    assert DescriptorAMEC(1 << 103, d128=True) == 1 and DescriptorAMEC(1 << 63, d128=True) == 0


def test_controls() -> None:
    """SCTLR2_EL2 and TCR2_EL2 count where SCR_EL3 enables them; AMEC only in Realm state, AMEC1 for the upper range."""
    both = SCR_EL3_MEC.of(SCTLR2En=1, TCR2En=1).value
    values: dict[type[Register], int] = {SCR_EL3_MEC: both, SCTLR2_EL2_EMEC: 2, TCR2_EL2: 1 << 13, SCTLR2_EL3: 2}

    def controls(regime: Regime, *, upper: bool = False, ss: SecurityState = REALM, **change: int) -> Controls:
        known = values | {SCR_EL3_MEC: change["scr"]} if change else values
        return WalkControls(regime, ss, lambda register: known[register], upper=upper)

    assert controls(EL20) == Controls(1, 0) and controls(EL20, upper=True) == Controls(1, 1)
    assert controls(EL2, upper=True) == Controls(1, 0) and controls(EL10, upper=True) == Controls(1, 0)
    assert controls(EL20, upper=True, ss=SecurityState.SS_Secure) == Controls(1, 0)
    assert controls(EL20, upper=True, scr=SCR_EL3_MEC.of(SCTLR2En=1).value) == Controls(1, 0)
    assert controls(EL20, upper=True, scr=SCR_EL3_MEC.of(TCR2En=1).value) == Controls(0, 1)
    assert controls(EL3, ss=ROOT, scr=0) == Controls(1, 0)
