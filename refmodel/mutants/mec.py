"""Mutants that ``suites/mec`` hunts: registers and traps, the choice of a MECID, encryption and caches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from refmodel.mec.registers import Accessed, Maintenance, Where
from refmodel.mutants.mutant import Mutant, Original, Patch
from refmodel.pas import EL, SecurityState
from refmodel.rules import Rule

_REGISTERS, _SELECTION = "refmodel.mec.registers", "refmodel.mec.selection"
_MACHINE, _ENCRYPTION = "harness.targets.model_mec", "harness.targets.encryption"


def _mutant(name: str, rule: Rule, *patches: Patch, kind: str = "model") -> Mutant:
    return Mutant(f"mec-{name}", "mec", (rule.value,), patches, kind)


def _always(answer: Any) -> Any:
    return lambda original: lambda *args, **options: answer


def _holders_of_any_state(original: Original) -> Any:
    """MECID_*_EL2 as if every EL2 were Realm EL2."""

    def EL2HolderAccess(where: Where) -> Accessed:
        state = SecurityState.SS_Realm if where.el is EL.EL2 else where.state
        return original(replace(where, state=state))  # type: ignore[no-any-return]

    return EL2HolderAccess


def _identification_of_realm(original: Original) -> Any:
    """MECIDR_EL2 with the rule of the registers beside it."""

    def IdentificationAccess(where: Where, *, write: bool) -> Accessed:
        elsewhere = where.el is EL.EL2 and where.state is not SecurityState.SS_Realm
        return Accessed.UNDEFINED if elsewhere else original(where, write=write)

    return IdentificationAccess


def _mecen_ignored(original: Original) -> Any:
    return lambda where: original(replace(where, mecen=1))


def _direction_inverted(original: Original) -> Any:
    return lambda encoding, *, write: original(encoding, write=not write)


def _also_at_el2(original: Original) -> Any:
    return lambda where: Accessed.PERFORMED if where.el is EL.EL2 else original(where)


def _to_poe_anywhere(original: Original) -> Any:
    def MaintenanceAccess(operation: Maintenance, where: Where) -> Accessed:
        at_el2 = where.el is EL.EL2 and operation.to_poe
        return Accessed.PERFORMED if at_el2 else original(operation, where)

    return MaintenanceAccess


def _narrow(original: Original) -> Any:
    """A register that keeps one bit less than its width."""
    return lambda value, width: original(value, width - 1)


def _without_emec(original: Original) -> Any:
    """MSR that loses bit 1 of SCTLR2_ELx."""
    sctlr2 = (3 << 14 | 4 << 11 | 1 << 7 | 3, 3 << 14 | 6 << 11 | 1 << 7 | 3)
    return lambda number, value: original(number, value & ~2 if number in sctlr2 else value)


REGISTER_MUTANTS: tuple[Mutant, ...] = (
    _mutant(
        "identification-of-realm-only",
        Rule.MECIDR_ACCESS,
        Patch(_REGISTERS, "IdentificationAccess", _identification_of_realm),
    ),
    _mutant(
        "p0-readable-outside-realm", Rule.MECID_EL2_ACCESS, Patch(_REGISTERS, "EL2HolderAccess", _holders_of_any_state)
    ),
    _mutant("trap-missing", Rule.MECEN_TRAP, Patch(_REGISTERS, "EL2HolderAccess", _mecen_ignored)),
    _mutant("trap-direction", Rule.MECEN_TRAP, Patch(_REGISTERS, "trap_iss", _direction_inverted)),
    _mutant("rl-a-of-el2", Rule.MECID_EL3_ACCESS, Patch(_REGISTERS, "EL3HolderAccess", _also_at_el2)),
    _mutant("register-truncated", Rule.MECID_WIDTH, Patch(_REGISTERS, "stored", _narrow)),
    _mutant("cipae-anywhere", Rule.MEC_MAINTENANCE_ACCESS, Patch(_REGISTERS, "MaintenanceAccess", _to_poe_anywhere)),
    _mutant("emec-res0", Rule.MEC_CONTROLS, Patch(_MACHINE, "set_value", _without_emec)),
)

MEC_MUTANTS: tuple[Mutant, ...] = REGISTER_MUTANTS
