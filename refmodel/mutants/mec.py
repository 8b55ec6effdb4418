"""Mutants that ``suites/mec`` hunts: registers and traps, the choice of a MECID, encryption and caches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from refmodel.mec.memory import Tag
from refmodel.mec.registers import MECID_A0_EL2, MECID_P0_EL2, Accessed, Maintenance, Where
from refmodel.mutants.mutant import Mutant, Original, Patch
from refmodel.pas import EL, PASpace, SecurityState
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


def _lower_range(original: Original) -> Any:
    """TCR2_EL2.AMEC0 for both ranges."""

    def WalkControls(*args: Any, upper: bool = False) -> Any:
        del upper
        return original(*args, upper=False)

    return WalkControls


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
    _mutant("amec-ignored", Rule.AMEC_FAULT, Patch(_SELECTION, "S1AMECFault", _always(False))),
    _mutant("amec1-ignored", Rule.AMEC_FAULT, Patch(_SELECTION, "WalkControls", _lower_range)),
    _mutant("emec-res0", Rule.MEC_CONTROLS, Patch(_MACHINE, "set_value", _without_emec)),
)


def _method(change: Any) -> Any:
    """A method of EncryptedMemory, replaced by one that also gets the original."""
    return lambda original: lambda self, *args, **options: change(original, self, *args, **options)


def _written_under_default(original: Original) -> Any:
    """Ciphertext made under MECID 0, read under the context's own."""

    def crypt(tag: Tag, address: int, data: bytes, *, encrypt: bool) -> Any:
        return original(replace(tag, mecid=0) if encrypt else tag, address, data, encrypt=encrypt)

    return crypt


def _requester(original: Original, self: Any, pas: PASpace, pa: int, *, to_poe: bool, requester: Tag) -> None:
    """A clean that writes a line under the MECID of whoever asks."""
    line = pa & -64
    for tag in self.tags(line, pas):
        held = self._lines.pop((line, tag))
        self._lines[line, requester] = held
    original(self, pas, pa, to_poe=to_poe, requester=requester)


def _stays(original: Original, self: Any, pas: PASpace, pa: int, *, to_poe: bool, requester: Tag) -> None:
    """DC CIPAE that cleans and does not invalidate: a line of the former context is still there to be hit."""
    if not to_poe:
        original(self, pas, pa, to_poe=to_poe, requester=requester)
        return
    for tag in self.tags(pa & -64, pas):
        self._write_back(pa & -64, tag)


def _any_hit(original: Original, self: Any, tag: Tag, line: int) -> Any:
    """A cache that does not compare MECIDs, even where that is not declared."""
    others = self.tags(line, tag.pas)
    return self._lines[line, others[0]] if others else None


def _tag_changed(change: Any) -> Any:
    """key_of for another context."""
    return lambda original: lambda tag: original(change(tag))


def _written_default(original: Original, self: Any, tag: Tag, pa: int, data: bytes, *, cacheable: bool) -> None:
    """A Non-cacheable store without its MECID."""
    original(self, tag if cacheable else replace(tag, mecid=0), pa, data, cacheable=cacheable)


def _per_pe(original: Original) -> Any:
    """Contexts of Realm memory that differ from PE to PE."""

    def output(self: Any, pas: PASpace, descriptor: int | None) -> Any:
        tag = original(self, pas, descriptor)
        realm = pas is PASpace.PAS_Realm
        return replace(tag, mecid=tag.mecid ^ self.record.pe) if realm else tag

    return output


def _first_owner(original: Original, self: Any, line: int, tag: Tag) -> None:
    """A line that is written back under the context that wrote it first, for ever."""
    owners = self.__dict__.setdefault("owners", {})
    held = self._lines[line, tag]
    first = owners.setdefault((line, tag.pas), tag)
    if first != tag and held.dirty:
        self._lines[line, first] = held
        original(self, line, first)
        if first != tag:
            del self._lines[line, first]
        return
    original(self, line, tag)


def _emec_set(original: Original) -> Any:
    def WalkControls(*args: Any, **options: Any) -> Any:
        return replace(original(*args, **options), emec=1)

    return WalkControls


def _primary(original: Original) -> Any:
    """AMEC of a leaf that chooses nothing."""

    def S1OutputMECID(controls: Any, regime: Any, paspace: Any, amec: int, *rest: Any, **options: Any) -> Any:
        del amec
        return original(controls, regime, paspace, 0, *rest, **options)

    return S1OutputMECID


def _alternate(original: Original) -> Any:
    """Walks of EL2 under MECID_A0_EL2."""

    def TTWalkMECID(controls: Any, regime: Any, ss: Any, read: Any, *rest: Any) -> Any:
        return original(controls, regime, ss, lambda r: read(MECID_A0_EL2 if r is MECID_P0_EL2 else r), *rest)

    return TTWalkMECID


_CLEAN, _WRITE = "EncryptedMemory.clean_invalidate", "EncryptedMemory.write"

EFFECT_MUTANTS: tuple[Mutant, ...] = (
    _mutant("write-back-under-default", Rule.MEC_ASSOCIATION, Patch(_ENCRYPTION, "crypt", _written_under_default)),
    _mutant(
        "stale-line",
        Rule.MEC_ISOLATION,
        Patch(_ENCRYPTION, _CLEAN, _method(_stays)),
        Patch(_ENCRYPTION, "EncryptedMemory._hit", _method(_any_hit)),
        kind="observation",
    ),
    _mutant("clean-uses-requesters-mecid", Rule.MEC_LINE_KEEPS_MECID, Patch(_ENCRYPTION, _CLEAN, _method(_requester))),
    _mutant(
        "mecid-truncated",
        Rule.MEC_EVERY_BIT,
        Patch(_ENCRYPTION, "key_of", _tag_changed(lambda tag: replace(tag, mecid=tag.mecid & 0x7FFF))),
    ),
    _mutant("emec-ignored", Rule.MEC_DEFAULT, Patch(_SELECTION, "WalkControls", _emec_set)),
    _mutant("tweak-ignored", Rule.MEC_TWEAK, Patch(_ENCRYPTION, "tweak_of", _always(bytes(16)))),
    _mutant(
        "key-per-space-ignored",
        Rule.MEC_POPA,
        Patch(_ENCRYPTION, "key_of", _tag_changed(lambda tag: replace(tag, pas=PASpace.PAS_Root))),
    ),
    _mutant("non-cacheable-default", Rule.MEC_ALIASES, Patch(_ENCRYPTION, _WRITE, _method(_written_default))),
    _mutant("alternate-ignored", Rule.MEC_SELECTION, Patch(_SELECTION, "S1OutputMECID", _primary)),
    _mutant("walk-under-alternate", Rule.MEC_WALK, Patch(_SELECTION, "TTWalkMECID", _alternate)),
    _mutant("key-per-pe", Rule.MEC_TWO_PES, Patch(_MACHINE, "Contexts.output", _per_pe)),
    _mutant(
        "context-of-first-owner",
        Rule.MEC_REUSE,
        Patch(_ENCRYPTION, "EncryptedMemory._write_back", _method(_first_owner)),
    ),
)

MEC_MUTANTS: tuple[Mutant, ...] = (*REGISTER_MUTANTS, *EFFECT_MUTANTS)
