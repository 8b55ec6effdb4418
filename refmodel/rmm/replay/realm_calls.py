"""Calls of a realm that a log shows: RSI, PSCI and other SMCs.

A log does not say which REC made a call, so conditions see arguments, and that some realm must run.

Source: DEN0137 1.0-rel0, B5.3, B6.3, A4.3.4; what TF-RMM prints of a call that leaves the realm is its X0 as it was.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from refmodel.rmm.command import Command, Maybe
from refmodel.rmm.context import Context, IllFormed, NotKnown
from refmodel.rmm.psci import PSCI_COMMANDS, SUPPORTED
from refmodel.rmm.replay.judge import Judgement, Verdict
from refmodel.rmm.replay.knowledge import Knowledge
from refmodel.rmm.replay.view import PARAMETERS, live_realms
from refmodel.rmm.results import RsiResult
from refmodel.rmm.state import Realm, Rec, State
from refmodel.rmm.types import (
    FID_PSCI_AFFINITY_INFO,
    FID_PSCI_CPU_ON,
    FID_PSCI_FEATURES,
    FID_PSCI_SYSTEM_OFF,
    FID_PSCI_SYSTEM_RESET,
    FID_PSCI_VERSION,
    FID_SMCCC_VERSION,
    SMCCC_NOT_SUPPORTED,
    Psci,
    PsciReturnCodeEncode,
    RealmState,
    Rsi,
)

_PSCI_RANGES: Final = (range(0x84000000, 0x84000020), range(0xC4000000, 0xC4000020))


class ShownRealmCall(NamedTuple):
    """A call of a realm: FID, X1 onwards, and X0 onwards as printed.  ``status`` is X0 of an RSI command."""

    fid: int
    args: tuple[int, ...]
    x0: int
    outputs: tuple[int, ...] = ()


class _Caller(Context):
    """The context of a realm's command when nobody knows which realm it is."""

    __slots__ = ()

    @property
    def realm(self) -> Realm:
        """Not known."""
        raise NotKnown

    @property
    def the_rec(self) -> Rec:
        """Not known."""
        raise NotKnown

    def AddrIsProtected(self, addr: int) -> bool:
        """B3.4: no realm has an IPA width above 52 bits."""
        if addr >> 51:
            return False
        raise NotKnown


def judge_rsi(command: Command, shown: ShownRealmCall, knowledge: Knowledge) -> Judgement:
    """Judge an RSI command."""
    if not _somebody_runs(knowledge):
        return Judgement(Verdict.VIOLATED, "no realm is active, so none can have called")
    context = _Caller(State(), PARAMETERS, command.inputs, shown.args, command.walk)
    must: list[str] = []
    may = 0
    possible = {Rsi.RSI_SUCCESS, Rsi.RSI_INCOMPLETE} if "TOKEN_CONTINUE" in command.name else {Rsi.RSI_SUCCESS}
    failures: set[Rsi] = set()
    for condition in command.conditions:
        try:
            verdict = condition.pre(context)
        except NotKnown:
            verdict = Maybe("not known")
        except IllFormed:
            verdict = False
        if verdict is False:
            continue
        result = condition.post(context)
        if isinstance(result, RsiResult):
            failures.add(result.status)
        if verdict is True:
            must.append(condition.label)
        else:
            may += 1
    if command.name in ("RSI_VERSION",):
        failures.add(Rsi.RSI_ERROR_INPUT)
    if command.name in _READS_MEMORY:
        failures.add(Rsi.RSI_ERROR_INPUT)
    if shown.x0 == shown.fid:
        # X0 as it was: the call left the realm, which one that fails does not.
        if must:
            return Judgement(Verdict.VIOLATED, f"it cannot leave the realm: {', '.join(must)} holds")
        return Judgement(Verdict.PARTLY if command.conditions else Verdict.NOT_CHECKABLE)
    permitted = failures if must else failures | possible
    if shown.x0 not in permitted:
        names = ", ".join(sorted(status.name for status in permitted))
        why = f" since {', '.join(must)} holds" if must else ""
        return Judgement(Verdict.VIOLATED, f"only {names} may be returned{why}")
    message = _outputs(command.name, shown)
    if message:
        return Judgement(Verdict.VIOLATED, message)
    return Judgement(Verdict.PARTLY if may else Verdict.CHECKED)


_READS_MEMORY: Final = ("RSI_HOST_CALL", "RSI_REALM_CONFIG", "RSI_ATTESTATION_TOKEN_CONTINUE")
"""Commands that TF-RMM refuses with RSI_ERROR_INPUT where RIPAS is EMPTY."""


def _outputs(name: str, shown: ShownRealmCall) -> str:
    if shown.x0 not in (Rsi.RSI_SUCCESS, Rsi.RSI_INCOMPLETE):
        return ""
    match name, shown.args, shown.outputs:
        case "RSI_IPA_STATE_GET", (base, top), (out_top, ripas):
            if not base < out_top <= top:
                return f"out_top {out_top:#x} is not in the range that was asked for"
            return "" if ripas <= 2 else f"RIPAS {ripas} is no encoding of 1.0"
        case "RSI_ATTESTATION_TOKEN_CONTINUE", (_, _, size), (length,) if length > size:
            return f"{length:#x} bytes were written to a buffer of {size:#x}"
        case "RSI_VERSION", (requested,), (lower, higher) if not lower == requested <= higher:
            return "lower must be what was asked for, and not above higher"
        case "RSI_FEATURES", _, (value,) if value:
            return "RSI_FEATURES returns 0 in 1.0"
    return ""


def judge_smc(shown: ShownRealmCall, knowledge: Knowledge) -> Judgement:
    """Judge a PSCI function or another SMC, and remember what it asks the Host for."""
    if not _somebody_runs(knowledge):
        return Judgement(Verdict.VIOLATED, "no realm is active, so none can have called")
    fid = shown.fid & ((1 << 32) - 1)
    if fid not in PSCI_COMMANDS and fid & ~0x40000000 not in {f & ~0x40000000 for f in PSCI_COMMANDS}:
        if fid == FID_SMCCC_VERSION or shown.x0 in (SMCCC_NOT_SUPPORTED, (1 << 32) - 1):
            return Judgement(Verdict.CHECKED)
        return Judgement(
            Verdict.VIOLATED, f"{fid:#x} is neither PSCI nor RSI: only SMCCC_NOT_SUPPORTED may be returned"
        )
    return _psci(fid | (0x40000000 if fid | 0x40000000 in PSCI_COMMANDS else 0), shown, knowledge)


def _psci(fid: int, shown: ShownRealmCall, knowledge: Knowledge) -> Judgement:
    code = PsciReturnCodeEncode
    match fid:
        case _ if fid == FID_PSCI_VERSION:
            return _expect(shown.x0, {0x10001})
        case _ if fid == FID_PSCI_FEATURES:
            function = shown.args[0] & ((1 << 32) - 1)
            if function in SUPPORTED:
                return _expect(shown.x0, {0})
            open_question = function == FID_SMCCC_VERSION or function | 0x40000000 in SUPPORTED
            return _expect(shown.x0, {code(Psci.PSCI_NOT_SUPPORTED)} | ({0} if open_question else set()))
        case _ if fid in (FID_PSCI_CPU_ON, FID_PSCI_AFFINITY_INFO):
            if shown.x0 == shown.fid:
                knowledge.requests[shown.args[0]] += 1
                return Judgement(Verdict.PARTLY)
            answers = {Psci.PSCI_INVALID_PARAMETERS, Psci.PSCI_INVALID_ADDRESS, Psci.PSCI_ALREADY_ON}
            if fid == FID_PSCI_AFFINITY_INFO:
                answers = {Psci.PSCI_INVALID_PARAMETERS, Psci.PSCI_SUCCESS, Psci.PSCI_OFF}
            return _expect(shown.x0, {code(answer) for answer in answers})
        case _ if fid in (FID_PSCI_SYSTEM_OFF, FID_PSCI_SYSTEM_RESET):
            _system_off(knowledge)
            return Judgement(Verdict.PARTLY)
    return Judgement(Verdict.PARTLY)


def _system_off(knowledge: Knowledge) -> None:
    live = live_realms(knowledge)
    for rd in live:
        realm = knowledge.realms[rd]
        if len(live) == 1:
            realm.state = RealmState.REALM_SYSTEM_OFF
        else:
            realm.maybe_off = True


def _expect(x0: int, permitted: set[int]) -> Judgement:
    if x0 in permitted:
        return Judgement(Verdict.CHECKED)
    names = ", ".join(f"{value:#x}" for value in sorted(permitted))
    return Judgement(Verdict.VIOLATED, f"only {names} may be returned")


def _somebody_runs(knowledge: Knowledge) -> bool:
    return not knowledge.from_boot or any(
        realm.state is not RealmState.REALM_NEW for realm in knowledge.realms.values()
    )
