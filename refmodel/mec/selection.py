"""Which MECID an access and a table walk have, in every translation regime, and the fault of a forbidden AMEC.

Source: DDI 0487, shared pseudocode ``AArch64_S1DisabledOutputMECID``, ``AArch64_S1OutputMECID``,
``AArch64_S2OutputMECID``, ``AArch64_TTWalkMECID``, ``AArch64_S1AMECFault``, and the walk parameters emec and amec
(``AArch64_GetS1TTWParamsEL2``, ``EL20``, ``EL10``, ``EL3``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from refmodel.bits import Slice
from refmodel.choices import Chooser, Option
from refmodel.context import Regime
from refmodel.mec.registers import (
    DEFAULT_MECID,
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
from refmodel.pas import PASpace, SecurityState
from refmodel.registers import Register

Read = Callable[[type[Register]], int]
"""Value of a register; one that was never written reads as 0."""

_AMEC: Final = 63
_AMEC_D128: Final = 103
_EL2: Final = (Regime.Regime_EL2, Regime.Regime_EL20)
_TCR_A1: Final = 22
_WALK_A1 = "TCR_EL2.A1 chooses the walk's MECID: the pseudocode and the register's name differ on which way round"


@dataclass(frozen=True, slots=True)
class Controls:
    """emec and amec of a regime's walk parameters."""

    emec: int
    amec: int


def WalkControls(regime: Regime, ss: SecurityState, read: Read, *, upper: bool = False) -> Controls:
    """The parameters emec and amec for a regime; ``upper``: the address is in the range of TTBR1.

    SCTLR2_EL2 and TCR2_EL2 count only where SCR_EL3 enables them for EL2 (``IsSCTLR2EL2Enabled``,
    ``IsTCR2EL2Enabled``).
    """
    if regime is Regime.Regime_EL3:
        return Controls(SCTLR2_EL3(read(SCTLR2_EL3)).EMEC, 0)
    scr = SCR_EL3_MEC(read(SCR_EL3_MEC))
    emec = SCTLR2_EL2_EMEC(read(SCTLR2_EL2_EMEC)).EMEC if scr.SCTLR2En else 0
    if regime not in _EL2 or ss is not SecurityState.SS_Realm or not scr.TCR2En:
        return Controls(emec, 0)
    tcr2 = TCR2_EL2(read(TCR2_EL2))
    return Controls(emec, tcr2.AMEC1 if upper and regime is Regime.Regime_EL20 else tcr2.AMEC0)


def DescriptorAMEC(descriptor: int, *, d128: bool = False) -> int:
    """The AMEC bit of a Block or Page descriptor, of 64 or (``d128``) 128 bits."""
    at = _AMEC_D128 if d128 else _AMEC
    return Slice(descriptor, at, at)


def S1AMECFault(controls: Controls, paspace: PASpace, regime: Regime, amec: int) -> bool:
    """Whether a leaf is a Translation fault because its AMEC is set while alternate MECIDs are disabled."""
    disabled = (controls.emec, controls.amec) == (1, 0)
    return disabled and regime in _EL2 and paspace is PASpace.PAS_Realm and amec == 1


def S1DisabledOutputMECID(controls: Controls, regime: Regime, paspace: PASpace, read: Read) -> int:
    """MECID of an access with stage 1 off."""
    if not controls.emec or regime is Regime.Regime_EL3 or paspace is not PASpace.PAS_Realm:
        return DEFAULT_MECID
    return _mecid(VMECID_P_EL2 if regime is Regime.Regime_EL10 else MECID_P0_EL2, read)


def S1OutputMECID(controls: Controls, regime: Regime, paspace: PASpace, amec: int, read: Read, *, upper: bool) -> int:
    """MECID of what a stage 1 leaf leads to."""
    if not controls.emec or paspace is not PASpace.PAS_Realm:
        return DEFAULT_MECID
    match regime:
        case Regime.Regime_EL3:
            return _mecid(MECID_RL_A_EL3, read)
        case Regime.Regime_EL10:
            return _mecid(VMECID_P_EL2, read)
        case Regime.Regime_EL20 if upper:
            return _mecid(MECID_A1_EL2 if amec else MECID_P1_EL2, read)
        case _:
            return _mecid(MECID_A0_EL2 if amec else MECID_P0_EL2, read)


def S2OutputMECID(controls: Controls, paspace: PASpace, amec: int, read: Read) -> int:
    """MECID of what a stage 2 leaf leads to; it replaces that of stage 1."""
    if not controls.emec or paspace is not PASpace.PAS_Realm:
        return DEFAULT_MECID
    return _mecid(VMECID_A_EL2 if amec else VMECID_P_EL2, read)


def TTWalkMECID(
    controls: Controls, regime: Regime, ss: SecurityState, read: Read, tcr_el2: int, choose: Chooser
) -> int:
    """MECID of the descriptor fetches of a walk.

    For the EL2&0 regime the pseudocode takes P1 when TCR_EL2.A1 is 0 and P0 when it is 1, which looks inverted against
    the meaning of A1 (0: TTBR0_EL2 defines the ASID): both are permitted.
    """
    if not controls.emec or ss is not SecurityState.SS_Realm:
        return DEFAULT_MECID
    if regime is Regime.Regime_EL10:
        return _mecid(VMECID_P_EL2, read)
    if regime is Regime.Regime_EL2:
        return _mecid(MECID_P0_EL2, read)
    # The walks of EL3 are made in Root state, which the test of ``ss`` has left behind.
    assert regime is Regime.Regime_EL20
    pseudocode, by_name = (MECID_P0_EL2, MECID_P1_EL2) if tcr_el2 >> _TCR_A1 & 1 else (MECID_P1_EL2, MECID_P0_EL2)
    return _mecid(choose((Option(pseudocode, _WALK_A1), Option(by_name, _WALK_A1))), read)


def _mecid(register: type[Register], read: Read) -> int:
    return Slice(read(register), 15, 0)
