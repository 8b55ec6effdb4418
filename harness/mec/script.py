"""Scripts of accesses, cleans and changes of the MECID, made at EL3, and what memory may show after each.

EL3 reaches every address space, and the Realm space with the MECID of MECID_RL_A_EL3 (SCTLR2_EL3.EMEC is 1): one
exception level is enough to have any two contexts at one location.  Each location is a line of its own, so that a step
writes or reads the whole of it as far as anything can be told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from harness.check import Check
from harness.errors import MisuseError, TargetProtocolError
from harness.mec.instructions import enc
from harness.mec.verdict import judge
from harness.probe.address_space import MemoryType, va_of
from harness.probe.batch import Batch
from harness.probe.records import Op, Record, RecordFlag, RegisterEntry, Result, Status, World, sysreg_encoding
from refmodel.mec.memory import Abort, Choices, Cipher, Location, Seen, Tag, clean_invalidate, load, store
from refmodel.mec.registers import DEFAULT_MECID, MECID_RL_A_EL3, SCTLR2_EL3, Maintenance
from refmodel.pas import PASpace
from refmodel.rules import Rule

_UNKNOWN: Final = "what was there before"
_EXTERNAL: Final = (0x10, 0x1B)  # DFSC of a synchronous external abort, and of one on an ECC error
_GRANULE: Final = 4096
_EC_DATA_ABORT: Final = 0x25
OTHER_DATA: Final = "other data"
REFUSED: Final = "an external abort"
CHOICE: Final = "FEAT_MEC: a read under another context gives"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step: by PE ``pe``, at physical address ``pa`` of space ``pas``.

    MECID_RL_A_EL3 holds ``mecid`` and SCTLR2_EL3.EMEC is ``emec`` at that time.
    """

    pa: int
    mecid: int = DEFAULT_MECID
    pas: World = World.REALM
    pe: int = 0
    emec: int = 1

    @property
    def tag(self) -> Tag:
        """The context of an access: the default MECID but in the Realm space."""
        named = self.pas is World.REALM and self.emec
        return Tag(PASpace(self.pas.value), self.mecid if named else DEFAULT_MECID)

    def registers(self) -> tuple[RegisterEntry, ...]:
        """What the step needs of its PE: nothing outside the Realm space, where no register matters."""
        if self.pas is not World.REALM:
            return ()
        emec = SCTLR2_EL3.of(EMEC=self.emec).value
        return RegisterEntry(enc(SCTLR2_EL3), emec), RegisterEntry(enc(MECID_RL_A_EL3), self.mecid)


@dataclass(frozen=True, kw_only=True)
class Write(Step):
    """A store of 64 bits."""

    value: int
    memory: MemoryType = MemoryType.NORMAL_WB

    def __str__(self) -> str:
        return f"PE {self.pe} writes {self.value:#x} to {self.pa:#x}, {_context(self)}, {self.memory.name}"


@dataclass(frozen=True, kw_only=True)
class Read(Step):
    """A load of 64 bits that speaks for ``rule``."""

    rule: Rule
    memory: MemoryType = MemoryType.NORMAL_WB

    def __str__(self) -> str:
        return f"PE {self.pe} reads {self.pa:#x}, {_context(self)}, {self.memory.name}"


@dataclass(frozen=True, kw_only=True)
class Clean(Step):
    """DC CIPAE, or DC CIPAPA with ``to_poe`` false."""

    to_poe: bool = True

    def __str__(self) -> str:
        name = "DC CIPAE" if self.to_poe else "DC CIPAPA"
        return f"PE {self.pe}: {name} of {self.pa:#x}, {_context(self)}"


def _context(step: Step) -> str:
    space = step.pas.name.replace("_", "-").title()
    realm = step.pas is World.REALM
    return f"{space} space" + f", MECID_RL_A_EL3 {step.mecid:#x}" * realm + ", EMEC 0" * (realm and not step.emec)


Script = Sequence[Write | Read | Clean]


@dataclass
class Lowered:
    """The records of a script, and which of them is each step's own."""

    records: list[Record] = field(default_factory=list)
    own: list[int] = field(default_factory=list)


def lower_script(script: Script) -> Lowered:
    """Records: MSRs where a step has another MECID than its PE, and the steps, one after the other across PEs."""
    made, holds = Lowered(), dict[tuple[int, int], int]()
    several = any(step.pe for step in script)

    def add(record: Record, step: Step) -> None:
        # Where several PEs take part each record is a group of its own: one after the other.
        group = len(made.records) if several else 0
        made.records.append(record._replace(pe=step.pe, group=group))

    for step in script:
        changes = [entry for entry in step.registers() if holds.get((step.pe, entry.encoding)) != entry.value]
        for entry in changes:
            holds[step.pe, entry.encoding] = entry.value
            add(Record(0, Op.MSR, aux=entry.encoding, value0=entry.value), step)
        # A MECID may be held with a translation: without an invalidation the former one is permitted too.  Maintenance
        # by PA is ordered after earlier stores by the barriers of the same flag.
        before = bool(changes) or isinstance(step, Clean)
        made.own.append(len(made.records))
        add(_record(step)._replace(flags=int(RecordFlag.TLBI_BEFORE if before else RecordFlag.NONE)), step)
    return made


def _record(step: Write | Read | Clean) -> Record:
    match step:
        case Write():
            return Record(0, Op.STORE, address=va_of(step.pa, step.pas, step.memory), value0=step.value)
        case Read():
            return Record(0, Op.LOAD, address=va_of(step.pa, step.pas, step.memory))
        case Clean():
            operation = Maintenance.CIPAE if step.to_poe else Maintenance.CIPAPA
            operand = step.pa | (step.pas & 1) << 63 | (step.pas >> 1) << 62
            return Record(0, Op.SYS, aux=sysreg_encoding(*operation.value), address=operand)


def send(
    check: Check, script: Script, *, more: Sequence[RegisterEntry] = (), then: Sequence[Record] = ()
) -> list[Result]:
    """Run a script; the result of each step.  Locations that it wrote are then zero for target and model alike.

    ``then``: records after it, whose results come last, unjudged; ``more``: registers for them.

    Before it nothing of its locations is left in a cache, of whatever space and MECID.

    TargetProtocolError when a step was not issued.
    """
    places = dict.fromkeys(step.pa for step in script)
    before = [Clean(pa=pa, pas=pas, to_poe=False) for pa in places for pas in World]
    lowered = lower_script([*before, *script])
    context = (
        RegisterEntry(enc(SCTLR2_EL3), SCTLR2_EL3.of(EMEC=1).value),
        RegisterEntry(enc(MECID_RL_A_EL3), DEFAULT_MECID),
        *more,
    )
    session = check.session
    results = session.target.run(Batch(records=[*lowered.records, *then], context=context))
    own = [results[index] for index in lowered.own[len(before) :]]
    for step, result in zip(script, own, strict=True):
        if result.status != Status.DONE:
            raise TargetProtocolError(f"{step}: status {result.status}, not DONE")
    check.tally.stimuli += len(script) + len(then)
    for pa in dict.fromkeys(step.pa for step in script if isinstance(step, Write)):
        session.write(pa, bytes(8))
    return [*own, *results[len(lowered.records) :]]


class Beliefs:
    """What each location of a script may be, step by step."""

    def __init__(self, choices: Choices) -> None:
        self._choices = choices
        self._states: dict[int, frozenset[Location]] = {}
        self.values: dict[str, int] = {}

    def _of(self, pa: int) -> frozenset[Location]:
        unknown = Location(Cipher(Tag(PASpace.PAS_Root, DEFAULT_MECID), _UNKNOWN))
        return self._states.get(pa, frozenset({unknown}))

    def write(self, step: Write) -> None:
        """After a store."""
        name, cached = f"{step.value:#x}", step.memory is MemoryType.NORMAL_WB
        self.values[name] = step.value
        after = (store(state, step.tag, name, self._choices, cacheable=cached) for state in self._of(step.pa))
        self._states[step.pa] = frozenset(new for states in after for new in states)

    def clean(self, step: Clean) -> None:
        """After maintenance by PA."""
        after = (clean_invalidate(state, step.tag.pas, to_poe=step.to_poe) for state in self._of(step.pa))
        self._states[step.pa] = frozenset(new for states in after for new in states)

    def read(self, step: Read, result: Result) -> tuple[bool, list[str]]:
        """Hold a load against what may be seen; whether it is permitted, and what is, in words."""
        cached = step.memory is MemoryType.NORMAL_WB
        found = {pair for state in self._of(step.pa) for pair in load(state, step.tag, self._choices, cacheable=cached)}
        agreeing = frozenset(state for state, seen in found if self._agrees(seen, result))
        words = sorted({_words(seen) for _, seen in found})
        if agreeing:
            self._states[step.pa] = agreeing
        return bool(agreeing), words

    def _agrees(self, seen: Seen | Abort, result: Result) -> bool:
        if isinstance(seen, Abort):
            return bool(result.taken) and result.esr >> 26 == _EC_DATA_ABORT and result.esr & 0x3F in _EXTERNAL
        if result.taken:
            return False
        if seen.scrambled or seen.data not in self.values:
            return result.data0 not in self.values.values()
        return result.data0 == self.values[seen.data]


def _words(seen: Seen | Abort) -> str:
    if isinstance(seen, Abort):
        return REFUSED
    return OTHER_DATA if seen.scrambled or seen.data == _UNKNOWN else seen.data


def run(check: Check, title: str, script: Script, *, choices: Choices | None = None) -> list[Result]:
    """Run a script and judge its reads; MisuseError for a value that is used twice and so would prove nothing."""
    values = [step.value for step in script if isinstance(step, Write)]
    if len(set(values)) != len(values) or 0 in values:
        raise MisuseError(f"{title}: every value written must be another one, and not 0")
    results = send(check, script)
    beliefs = Beliefs(choices or Choices())
    for number, (step, result) in enumerate(zip(script, results, strict=True)):
        match step:
            case Write():
                beliefs.write(step)
                check.tally.owned(f"{step.pa & -_GRANULE:#x}", _owner(step.tag))
            case Clean():
                beliefs.clean(step)
            case Read():
                holds, words = beliefs.read(step, result)
                seen = _observed(beliefs, result)
                _judge_read(check, title, number, script, holds, words, seen)
                _note(check, words, seen)
    return results


def _owner(tag: Tag) -> str:
    realm = tag.pas is PASpace.PAS_Realm
    return f"Realm MECID {tag.mecid:#x}" if realm else tag.pas.short


def _observed(beliefs: Beliefs, result: Result) -> str:
    if result.taken:
        return REFUSED if result.esr & 0x3F in _EXTERNAL else f"an exception, ESR {result.esr:#x}"
    return f"{result.data0:#x}" if result.data0 in beliefs.values.values() else OTHER_DATA


def _judge_read(
    check: Check, title: str, number: int, script: Script, holds: bool, words: list[str], seen: str
) -> None:
    step = script[number]
    assert isinstance(step, Read)
    kinds = {OTHER_DATA if word == REFUSED else word for word in words}
    judge(
        check,
        step.rule,
        case=f"{title} #{number}",
        signature=f"{title}: {'plaintext' if seen.startswith('0x') else seen}",
        holds=holds,
        stimulus={"script": title, "step": str(step)},
        expected=[{"read": word} for word in words],
        observed={"read": seen},
        walk=[str(earlier) for earlier in script[:number]],
        # Where plaintext and noise are both permitted the observation says nothing.
        weak=len(kinds) > 1,
    )


def _note(check: Check, words: list[str], seen: str) -> None:
    if set(words) == {OTHER_DATA, REFUSED} and seen in (OTHER_DATA, REFUSED):
        variant = check.parameters.get("variant", "") if check.session.target.info.self_test else ""
        check.tally.choice(f"{CHOICE} ({variant})" if variant else CHOICE, seen)


def is_seen(check: Check, pa: int) -> bool:
    """Calibration: whether a read under a second context, after cleans under the first, is not plaintext.

    Where it is plaintext the target does not encrypt by MECID, or cannot show it.  It is cleaned to either point: a
    fault of one kind of maintenance is for the checks to find, and must not pass for a machine without encryption.
    """
    value = check.rng.getrandbits(63) + 1
    script: Script = [
        Write(pa=pa, mecid=1, value=value),
        Clean(pa=pa, mecid=1),
        Clean(pa=pa, mecid=1, to_poe=False),
        Read(pa=pa, mecid=2, rule=check.cited[0]),
        Read(pa=pa, mecid=1, rule=check.cited[0]),
    ]
    other, own = send(check, script)[3:]
    if own.taken or own.data0 != value:
        return True  # not even its own context reads it: for the checks to report
    return bool(other.taken) or other.data0 != value
