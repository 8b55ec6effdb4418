"""One observation against one permitted outcome: which fields differ, which rule each difference speaks against.

Also the words: outcomes and observations as decoded fields for a person, and the stable signature of a deviation.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from harness.judge.stimulus import Stimulus
from harness.probe.records import Result
from harness.report.records import Outcome as ReportOutcome
from refmodel.bits import Slice
from refmodel.faults import (
    EC_DATA_ABORT_LOWER,
    EC_DATA_ABORT_SAME,
    EC_GPC,
    EC_INSTRUCTION_ABORT_LOWER,
    EC_INSTRUCTION_ABORT_SAME,
    EC_SERROR,
)
from refmodel.outcomes import AccessPerformed, AddressTranslated, Alternative, ExceptionTaken, Syndrome
from refmodel.pas import EL, DecodePASpace
from refmodel.rules import Rule
from refmodel.sysregs import PAR_EL1

_EC_NAMES = {
    EC_GPC: "Granule Protection Check",
    EC_DATA_ABORT_SAME: "Data Abort, same EL",
    EC_INSTRUCTION_ABORT_SAME: "Instruction Abort, same EL",
    EC_DATA_ABORT_LOWER: "Data Abort, lower EL",
    EC_INSTRUCTION_ABORT_LOWER: "Instruction Abort, lower EL",
    EC_SERROR: "SError",
}
_GPCSC = {0b0000: "GPT address size fault", 0b0010: "GPT walk fault", 0b0110: "granule protection fault",
          0b1010: "external abort on GPT fetch"}  # fmt: skip
_FSC = {0b101000: "GPC fault, not on a walk", 0b010000: "synchronous external abort"}
_FSC_LEVELLED = {0b1001: "GPC fault on walk, level", 0b0011: "permission fault, level",
                 0b0001: "translation fault, level", 0b0010: "access flag fault, level",
                 0b0000: "address size fault, level"}  # fmt: skip
_ISS_MASK = (1 << 25) - 1


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A field that differs: its name, the rule that fixes it (None: the outcome itself is another), and in words how.

    ``text`` holds no address, so that equal deviations have equal texts.
    """

    field: str
    rule: Rule | None
    text: str


_FAR_RULES = (Rule.DC_ZVA_FAR, Rule.PAGE_CROSSING)
REPORT_FIELDS = frozenset(
    {Rule.MFAR, Rule.FAR, Rule.ISS, Rule.CACHE_MAINTENANCE_ISS, Rule.VNCR, *_FAR_RULES, Rule.HPFAR,
     Rule.SECOND_STAGE_ISS, Rule.S1_FAULT_ISS, Rule.S1_FAULT_FAR, Rule.S2_FAULT_ISS, Rule.S2_FAULT_HPFAR}
)  # fmt: skip
"""Rules on one field of a report each: another value there says nothing against the rule that decided the outcome."""


def compare(outcome: AccessPerformed | ExceptionTaken, result: Result, rules: Collection[Rule] = ()) -> list[Mismatch]:
    """Differences between a permitted outcome and what the probe saw; empty when the observation is in the set.

    ``rules`` are those that fired for the outcome: some bits of the ISS have a rule of their own.
    """
    if isinstance(outcome, AccessPerformed):
        if result.taken:
            return [Mismatch("taken", None, "exception where none is permitted")]
        same = not isinstance(outcome, AddressTranslated) or (result.par ^ outcome.par) & outcome.par_known == 0
        return [] if same else [Mismatch("PAR", None, "PAR_EL1 says something else")]
    if not result.taken:
        return [Mismatch("taken", None, "no exception")]
    syndrome = outcome.syndrome
    found: list[Mismatch] = []

    def differs(field: str, rule: Rule | None, permitted: int, observed: int) -> None:
        if permitted != observed:
            found.append(Mismatch(field, rule, f"{field}: permitted {permitted:#x}, observed {observed:#x}"))

    gpc = syndrome.ec == EC_GPC
    iss_rule, far_rule, hpfar_rule = _report_rules(syndrome)
    differs("exceptions", Rule.AVAILABILITY, 1, result.taken)
    differs("EL", None, syndrome.el.value, result.target_el)
    differs("EC", None, syndrome.ec, Slice(result.esr, 31, 26))
    differs("vector", None, syndrome.vector, result.vector)
    differs("IL", iss_rule, syndrome.il, Slice(result.esr, 25, 25))
    observed_iss = result.esr & _ISS_MASK
    if gpc and Slice(observed_iss, 19, 14) != Slice(syndrome.iss, 19, 14):
        found.append(Mismatch("GPCSC", Rule.GPCSC, _gpcsc_differs(syndrome.iss, observed_iss)))
        # The rest of the ISS is compared all the same.
        observed_iss = observed_iss & ~_GPCSC_MASK | syndrome.iss & _GPCSC_MASK
    permitted_fsc, observed_fsc = Slice(syndrome.iss, 5, 0), Slice(observed_iss, 5, 0)
    if (permitted_fsc == _FSC_SYNC_EXTERNAL) != (observed_fsc == _FSC_SYNC_EXTERNAL):
        # An external abort means that the check let the access through: no matter of how a fault is reported.
        differs("FSC", None, permitted_fsc, observed_fsc)
    else:
        for rule, bits in _BITS_OF.items():
            if rule in rules and (observed_iss ^ syndrome.iss) & bits & syndrome.iss_known:
                differs(f"ISS bits {bits:#x}", rule, syndrome.iss & bits, observed_iss & bits)
                observed_iss = observed_iss & ~bits | syndrome.iss & bits
        if (observed_iss ^ syndrome.iss) & syndrome.iss_known:
            differs("ISS", iss_rule, syndrome.iss & syndrome.iss_known, observed_iss & syndrome.iss_known)
    differs("ISS2", iss_rule, 0, result.esr >> 32)
    if outcome.far is not None and result.far != outcome.far:
        far_rule = next((rule for rule in _FAR_RULES if rule in rules), far_rule)
        found.append(Mismatch("FAR", far_rule, _far_differs(syndrome.el, outcome.far, result.far)))
    if outcome.hpfar is not None and result.hpfar != outcome.hpfar:
        how = "names another page" if result.hpfar else "is not written"
        found.append(Mismatch("HPFAR", hpfar_rule, f"HPFAR_EL2 {how}"))
    if outcome.mfar is not None and result.mfar != outcome.mfar:
        found.append(Mismatch("MFAR", Rule.MFAR, _mfar_differs(outcome, outcome.mfar, result.mfar)))
    return found


def _report_rules(syndrome: Syndrome) -> tuple[Rule, Rule, Rule]:
    """The rules on ISS, FAR and HPFAR of an exception."""
    if Rule.S2_FAULT_ISS in syndrome.rules:
        return Rule.S2_FAULT_ISS, Rule.S1_FAULT_FAR, Rule.S2_FAULT_HPFAR
    if Rule.S1_FAULT_ISS in syndrome.rules:
        return Rule.S1_FAULT_ISS, Rule.S1_FAULT_FAR, Rule.S2_FAULT_HPFAR
    return Rule.ISS, Rule.FAR, Rule.HPFAR


def closest(alternatives: Sequence[Alternative], result: Result) -> tuple[Alternative, list[Mismatch]]:
    """The permitted outcome that an observation outside the set comes closest to, and how it differs from it."""
    compared = [(a, compare(a.outcome, result, a.rules)) for a in alternatives]
    return min(compared, key=lambda pair: (any(m.rule is None for m in pair[1]), len(pair[1])))


def _gpcsc_differs(permitted: int, observed: int) -> str:
    def words(iss: int) -> str:
        return f"{_GPCSC.get(Slice(iss, 19, 15), f'GPCSC {Slice(iss, 19, 14):#08b}')}, level {Slice(iss, 14, 14)}"

    where = _fsc_words(Slice(observed, 5, 0))
    return f"GPCSC ({where}): permitted {words(permitted)}, observed {words(observed)}"


def _far_differs(el: EL, permitted: int, observed: int) -> str:
    if observed == permitted & ~_OFFSET:
        return f"FAR_{el.name} is the address's page only"
    same_line = observed < permitted and observed >> _LINE_BITS == permitted >> _LINE_BITS
    return f"FAR_{el.name} is " + ("an address before it, in the same 2 KB" if same_line else "another address")


def _mfar_differs(outcome: ExceptionTaken, permitted: int, observed: int) -> str:
    if permitted >> 62 != observed >> 62:
        return f"MFAR_EL3 names the {_mfar_space(observed)} PAS instead of {_mfar_space(permitted)}"
    if (permitted ^ observed) & ~_OFFSET:
        return "MFAR_EL3 names another page"
    if outcome.far is not None and observed & _OFFSET == outcome.far & _OFFSET:
        return "MFAR_EL3[11:0] holds the low bits of the address instead of zero"
    walk = outcome.syndrome.iss & 0b111100 == _FSC_WALK
    return "MFAR_EL3[11:0] is not zero" + (" for a fault on a walk" if walk else "")


_BITS_OF = {Rule.CACHE_MAINTENANCE_ISS: 1 << 8 | 1 << 6, Rule.VNCR: 1 << 13, Rule.SECOND_STAGE_ISS: 1 << 21 | 1 << 7}
"""Bits of the ISS that a rule of their own is about: CM and WnR of cache maintenance, VNCR, S2PTW and S1PTW."""
_LINE_BITS = 11  # the longest cache line that CTR_EL0 can tell of
_GPF_GPCSC = 0b0110
_FSC_SYNC_EXTERNAL = 0b010000
_GPCSC_MASK = 0b111111 << 14
_OFFSET = 0xFFF
_FSC_WALK = 0b100100


def broken_rules(
    alternative: Alternative, mismatches: Sequence[Mismatch], result: Result, deciding: Rule
) -> tuple[Rule, ...]:
    """The rules that an observation other than ``alternative`` may break, the most likely first.

    ``deciding`` is the rule that decides between performed and faulting.  Where the fault itself is right and only a
    field of its report is wrong, it is that field's rule.
    """
    outcome = alternative.outcome
    if all(difference.rule is not None for difference in mismatches):
        return tuple(dict.fromkeys(d.rule for d in mismatches if d.rule is not None))
    if isinstance(outcome, ExceptionTaken) and result.taken:
        ec = Slice(result.esr, 31, 26)
        if outcome.syndrome.ec == EC_GPC and ec in (EC_DATA_ABORT_SAME, EC_INSTRUCTION_ABORT_SAME):
            return (deciding, Rule.GPT_FAULT_IS_GPC_EXCEPTION)
        reported_fail = ec == EC_GPC and Slice(result.esr, 19, 15) == _GPF_GPCSC
        if Rule.GPF_AT_EL3 in alternative.rules and reported_fail:
            return (Rule.GPF_AT_EL3,)
    return (deciding,)


def signature(stimulus: Stimulus, alternative: Alternative, mismatches: Sequence[Mismatch], result: Result) -> str:
    """A stable, address-free text for a deviation.

    Where only fields of the report differ, it says how; else the access, what is permitted, and what was seen.
    """
    if mismatches and all(mismatch.rule is not None for mismatch in mismatches):
        return "; ".join(mismatch.text for mismatch in mismatches)
    return f"{stimulus.kind.family}: permitted {_shape(alternative.outcome)}; observed {_shape_of(result)}"


def _shape(outcome: AccessPerformed | ExceptionTaken) -> str:
    if isinstance(outcome, AddressTranslated):
        return f"no exception, {_par_words(outcome.par, outcome.par_known)}"
    if isinstance(outcome, AccessPerformed):
        return "no exception"
    syndrome = outcome.syndrome
    return f"EC={syndrome.ec:#04x} ISS={syndrome.iss & syndrome.iss_known:#x}"


def _shape_of(result: Result) -> str:
    if not result.taken:
        return f"no exception, {_par_words(result.par)}" if result.par else "no exception"
    return f"EC={Slice(result.esr, 31, 26):#04x} ISS={result.esr & _ISS_MASK:#x}"


def _par_words(par: int, known: int = ~0) -> str:
    """PAR_EL1 without the address that it may hold; ``known``: its bits that are not UNKNOWN."""
    value = PAR_EL1(par)
    if value.F:
        return f"PAR_EL1 with {_fsc_words(value.FST)}"
    bits = {"NSE": (PAR_EL1.NSE, value.NSE), "NS": (PAR_EL1.S_or_NS, value.S_or_NS)}
    space = "".join(f", {name} {bit}" for name, (field, bit) in bits.items() if field.mask & known)
    return f"PAR_EL1 with an address{space}"


def decode_esr(esr: int) -> str:
    """An ESR_ELx value in words, for the exception classes that the granule protection check can lead to."""
    ec, iss = Slice(esr, 31, 26), esr & _ISS_MASK
    parts = [_EC_NAMES.get(ec, f"EC {ec:#04x}")]
    if ec == EC_GPC:
        kind = _GPCSC.get(Slice(iss, 19, 15), f"GPCSC {Slice(iss, 19, 14):#08b}")
        parts.append(f"{kind}, level {Slice(iss, 14, 14)}")
        parts += ["on a fetch"] * Slice(iss, 20, 20) + ["on a stage 2 walk"] * Slice(iss, 21, 21)
    if ec in _EC_NAMES and ec != EC_SERROR:
        parts.append(_fsc_words(Slice(iss, 5, 0)))
        parts.append("write" if Slice(iss, 6, 6) else "not a write")
    return "; ".join(parts)


def _fsc_words(fsc: int) -> str:
    levelled = _FSC_LEVELLED.get(fsc >> 2)
    return _FSC.get(fsc) or (f"{levelled} {fsc & 3}" if levelled else f"FSC {fsc:#08b}")


def _mfar_space(mfar: int) -> str:
    """The address space in MFAR_EL3: NS is bit 63, NSE bit 62."""
    return DecodePASpace(Slice(mfar, 62, 62), Slice(mfar, 63, 63)).short


def decode_mfar(mfar: int) -> str:
    """An MFAR_EL3 value in words."""
    low = f", low bits {mfar & 0xFFF:#x} should be zero" if mfar & 0xFFF else ""
    return f"{_mfar_space(mfar)} PAS page {Slice(mfar, 55, 12) << 12:#x}{low}"


def report_permitted(alternative: Alternative) -> ReportOutcome:
    """A permitted outcome for the report."""
    outcome = alternative.outcome
    reasons = ((alternative.reason,) if alternative.reason else ()) + tuple(r.value for r in alternative.rules)
    if isinstance(outcome, AccessPerformed):
        if isinstance(outcome, AddressTranslated):
            compared = f"{_par_words(outcome.par, outcome.par_known)}; bits {outcome.par_known:#x} compared"
            fields = {"exception": "none", "PAR_EL1": f"{outcome.par:#x}"}
            return ReportOutcome(fields=fields, decoded={"PAR_EL1": compared}, reasons=reasons)
        return ReportOutcome(fields={"exception": "none"}, reasons=reasons)
    syndrome = outcome.syndrome
    esr = syndrome.ec << 26 | syndrome.il << 25 | syndrome.iss
    esr_elx, far_elx = f"ESR_{syndrome.el.name}", f"FAR_{syndrome.el.name}"
    fields = {"taken to": syndrome.el.name, "vector": f"{syndrome.vector:#x}", esr_elx: f"{esr:#x}"}
    decoded = {esr_elx: decode_esr(esr)}
    unknown = ~syndrome.iss_known & _ISS_MASK
    if unknown:
        decoded[esr_elx] += f"; ISS bits {unknown:#x} not compared"
    fields[far_elx] = "not compared" if outcome.far is None else f"{outcome.far:#x}"
    if outcome.hpfar is not None:
        fields["HPFAR_EL2"] = f"{outcome.hpfar:#x}"
    fields["MFAR_EL3"] = "not compared" if outcome.mfar is None else f"{outcome.mfar:#x}"
    if outcome.mfar is not None:
        decoded["MFAR_EL3"] = decode_mfar(outcome.mfar)
    return ReportOutcome(fields=fields, decoded=decoded, reasons=reasons)


def report_observed(result: Result) -> ReportOutcome:
    """An observation for the report."""
    if not result.taken:
        data = {"exception": "none", "data0": f"{result.data0:#x}", "data1": f"{result.data1:#x}"}
        par = {"PAR_EL1": f"{result.par:#x}"} if result.par else {}
        return ReportOutcome(fields={**data, **par}, decoded={name: _par_words(result.par) for name in par})
    fields = {
        "taken to": f"EL{result.target_el}",
        "vector": f"{result.vector:#x}",
        f"ESR_EL{result.target_el}": f"{result.esr:#x}",
        f"FAR_EL{result.target_el}": f"{result.far:#x}",
        "MFAR_EL3": f"{result.mfar:#x}",
    }
    if result.hpfar:
        fields["HPFAR_EL2"] = f"{result.hpfar:#x}"
    if result.taken > 1:
        fields["exceptions"] = str(result.taken)
    return ReportOutcome(
        fields=fields,
        decoded={f"ESR_EL{result.target_el}": decode_esr(result.esr), "MFAR_EL3": decode_mfar(result.mfar)},
    )
