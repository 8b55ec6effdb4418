"""One observation against one permitted outcome: which fields differ, which rule each difference speaks against.

Also the words: outcomes and observations as decoded fields for a person, and the stable signature of a deviation.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.judge.stimulus import Stimulus
from harness.probe.records import Result
from harness.report.records import Outcome as ReportOutcome
from refmodel.bits import Slice
from refmodel.faults import EC_DATA_ABORT_SAME, EC_GPC, EC_INSTRUCTION_ABORT_SAME, EC_SERROR
from refmodel.outcomes import AccessPerformed, Alternative, ExceptionTaken
from refmodel.pas import PASpace
from refmodel.rules import Rule

_EC_NAMES = {
    EC_GPC: "Granule Protection Check",
    EC_DATA_ABORT_SAME: "Data Abort, same EL",
    EC_INSTRUCTION_ABORT_SAME: "Instruction Abort, same EL",
    EC_SERROR: "SError",
}
_GPCSC = {0b0000: "GPT address size fault", 0b0010: "GPT walk fault", 0b0110: "granule protection fault",
          0b1010: "external abort on GPT fetch"}  # fmt: skip
_FSC = {0b101000: "GPC fault, not on a walk", 0b010000: "synchronous external abort"}
_FSC_LEVELLED = {0b1001: "GPC fault on walk, level", 0b0011: "permission fault, level",
                 0b0001: "translation fault, level", 0b0010: "access flag fault, level"}  # fmt: skip
_ISS_MASK = (1 << 25) - 1


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A field that differs: its name, the rule that fixes it, the permitted and the observed value."""

    field: str
    rule: Rule | None
    permitted: str
    observed: str


def compare(outcome: AccessPerformed | ExceptionTaken, result: Result) -> list[Mismatch]:
    """Differences between a permitted outcome and what the probe saw; empty when the observation is in the set."""
    if isinstance(outcome, AccessPerformed):
        return [] if not result.taken else [Mismatch("taken", None, "no exception", "exception")]
    if not result.taken:
        return [Mismatch("taken", None, "exception", "no exception")]
    syndrome = outcome.syndrome
    found: list[Mismatch] = []

    def differs(field: str, rule: Rule | None, permitted: int, observed: int) -> None:
        if permitted != observed:
            found.append(Mismatch(field, rule, f"{permitted:#x}", f"{observed:#x}"))

    gpc = syndrome.ec == EC_GPC
    differs("exceptions", Rule.AVAILABILITY, 1, result.taken)
    differs("EL", None, syndrome.el.value, result.target_el)
    differs("EC", None, syndrome.ec, Slice(result.esr, 31, 26))
    differs("vector", None, syndrome.vector, result.vector)
    differs("IL", Rule.ISS, syndrome.il, Slice(result.esr, 25, 25))
    observed_iss = result.esr & _ISS_MASK
    if gpc and Slice(observed_iss, 19, 14) != Slice(syndrome.iss, 19, 14):
        differs("GPCSC", Rule.GPCSC, Slice(syndrome.iss, 19, 14), Slice(observed_iss, 19, 14))
    elif (observed_iss ^ syndrome.iss) & syndrome.iss_known:
        differs("ISS", Rule.ISS, syndrome.iss, observed_iss & syndrome.iss_known)
    differs("ISS2", Rule.ISS, 0, result.esr >> 32)
    if outcome.far is not None:
        differs("FAR", Rule.FAR, outcome.far, result.far)
    if outcome.mfar is not None:
        differs("MFAR", Rule.MFAR, outcome.mfar, result.mfar)
    return found


_GPF_GPCSC = 0b0110


def broken_rules(alternative: Alternative, result: Result, deciding: Rule) -> tuple[Rule, ...]:
    """The rules that an observation other than ``alternative`` may break, the most likely first.

    ``deciding`` is the rule that decides between performed and faulting.  Where the fault itself is right and only a
    field of its report is wrong, it is that field's rule.
    """
    outcome = alternative.outcome
    differences = compare(outcome, result)
    if differences and all(difference.rule is not None for difference in differences):
        return tuple(dict.fromkeys(d.rule for d in differences if d.rule is not None))
    if isinstance(outcome, ExceptionTaken) and result.taken:
        ec = Slice(result.esr, 31, 26)
        if outcome.syndrome.ec == EC_GPC and ec in (EC_DATA_ABORT_SAME, EC_INSTRUCTION_ABORT_SAME):
            return (deciding, Rule.GPT_FAULT_IS_GPC_EXCEPTION)
        reported_fail = ec == EC_GPC and Slice(result.esr, 19, 15) == _GPF_GPCSC
        if Rule.GPF_AT_EL3 in alternative.rules and reported_fail:
            return (Rule.GPF_AT_EL3,)
    return (deciding,)


def signature(stimulus: Stimulus, alternative: Alternative, result: Result) -> str:
    """A stable, address-free text for a deviation: the access, what is permitted, what was seen."""
    permitted = _shape(alternative.outcome)
    seen = _shape_of(result)
    if permitted == seen and isinstance(alternative.outcome, ExceptionTaken):
        wrong = [m.field for m in compare(alternative.outcome, result)]
        seen += f", other {' and '.join(wrong)}" if wrong else ", other data"
    return f"{stimulus.kind.title}: permitted {permitted}; observed {seen}"


def _shape(outcome: AccessPerformed | ExceptionTaken) -> str:
    if isinstance(outcome, AccessPerformed):
        return "no exception"
    syndrome = outcome.syndrome
    return f"EC={syndrome.ec:#04x} ISS={syndrome.iss & syndrome.iss_known:#x}"


def _shape_of(result: Result) -> str:
    if not result.taken:
        return "no exception"
    return f"EC={Slice(result.esr, 31, 26):#04x} ISS={result.esr & _ISS_MASK:#x}"


def decode_esr(esr: int) -> str:
    """An ESR_EL3 value in words, for the exception classes that the granule protection check can lead to."""
    ec, iss = Slice(esr, 31, 26), esr & _ISS_MASK
    parts = [_EC_NAMES.get(ec, f"EC {ec:#04x}")]
    if ec == EC_GPC:
        kind = _GPCSC.get(Slice(iss, 19, 15), f"GPCSC {Slice(iss, 19, 14):#08b}")
        parts.append(f"{kind}, level {Slice(iss, 14, 14)}")
        parts += ["on a fetch"] * Slice(iss, 20, 20) + ["on a stage 2 walk"] * Slice(iss, 21, 21)
    if ec in (EC_GPC, EC_DATA_ABORT_SAME, EC_INSTRUCTION_ABORT_SAME):
        fsc = Slice(iss, 5, 0)
        levelled = _FSC_LEVELLED.get(fsc >> 2)
        parts.append(_FSC.get(fsc) or (f"{levelled} {fsc & 3}" if levelled else f"FSC {fsc:#08b}"))
        parts.append("write" if Slice(iss, 6, 6) else "not a write")
    return "; ".join(parts)


def decode_mfar(mfar: int) -> str:
    """An MFAR_EL3 value in words."""
    low = f", low bits {mfar & 0xFFF:#x} should be zero" if mfar & 0xFFF else ""
    return f"{PASpace(mfar >> 62).short} PAS page {Slice(mfar, 55, 12) << 12:#x}{low}"


def report_permitted(alternative: Alternative) -> ReportOutcome:
    """A permitted outcome for the report."""
    outcome = alternative.outcome
    reasons = ((alternative.reason,) if alternative.reason else ()) + tuple(r.value for r in alternative.rules)
    if isinstance(outcome, AccessPerformed):
        return ReportOutcome(fields={"exception": "none"}, reasons=reasons)
    syndrome = outcome.syndrome
    esr = syndrome.ec << 26 | syndrome.il << 25 | syndrome.iss
    fields = {"taken to": syndrome.el.name, "vector": f"{syndrome.vector:#x}", "ESR_EL3": f"{esr:#x}"}
    decoded = {"ESR_EL3": decode_esr(esr)}
    unknown = ~syndrome.iss_known & _ISS_MASK
    if unknown:
        decoded["ESR_EL3"] += f"; ISS bits {unknown:#x} not compared"
    fields["FAR_EL3"] = "not compared" if outcome.far is None else f"{outcome.far:#x}"
    fields["MFAR_EL3"] = "not compared" if outcome.mfar is None else f"{outcome.mfar:#x}"
    if outcome.mfar is not None:
        decoded["MFAR_EL3"] = decode_mfar(outcome.mfar)
    return ReportOutcome(fields=fields, decoded=decoded, reasons=reasons)


def report_observed(result: Result) -> ReportOutcome:
    """An observation for the report."""
    if not result.taken:
        data = {"exception": "none", "data0": f"{result.data0:#x}", "data1": f"{result.data1:#x}"}
        return ReportOutcome(fields=data)
    fields = {
        "taken to": f"EL{result.target_el}",
        "vector": f"{result.vector:#x}",
        "ESR_EL3": f"{result.esr:#x}",
        "FAR_EL3": f"{result.far:#x}",
        "MFAR_EL3": f"{result.mfar:#x}",
    }
    if result.taken > 1:
        fields["exceptions"] = str(result.taken)
    return ReportOutcome(
        fields=fields, decoded={"ESR_EL3": decode_esr(result.esr), "MFAR_EL3": decode_mfar(result.mfar)}
    )
