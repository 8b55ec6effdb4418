"""What memory encryption contexts do: seen where a calibration in the run shows that a MECID has an effect at all."""

from __future__ import annotations

import pytest

from harness.check import Check
from harness.mec.instructions import mecid_width
from harness.mec.script import Clean, Read, Script, Write, run, send
from harness.mec.verdict import judge
from harness.probe.address_space import MemoryType
from harness.probe.records import World
from refmodel.rules import Rule
from suites.mec.locations import ENCRYPTING, contexts, locations, observable, value

_OWN, _OTHER = Rule.MEC_ASSOCIATION, Rule.MEC_ISOLATION
_NC = MemoryType.NORMAL_NC
_TIMES = 8


@pytest.mark.smoke
@ENCRYPTING
@pytest.mark.rule("MEC-020", "MEC-021")
def test_association(check: Check, variant: str) -> None:
    """Written under A and cleaned to the PoE: A reads it, B reads something else, and A still reads it after that."""
    if not observable(check):
        return
    for _, pa in zip(range(_TIMES), locations(check), strict=False):
        a, b = contexts(check)
        script: Script = [
            Write(pa=pa, mecid=a, value=value(check)),
            Clean(pa=pa, mecid=a),
            Read(pa=pa, mecid=a, rule=_OWN),
            Clean(pa=pa, mecid=a),
            Read(pa=pa, mecid=b, rule=_OTHER),
            Clean(pa=pa, mecid=b),
            Read(pa=pa, mecid=a, rule=_OWN),
        ]
        run(check, "written under one context, read under two", script)


@pytest.mark.smoke
@ENCRYPTING
@pytest.mark.parametrize("to_poe", [True, False], ids=["CIPAE", "CIPAPA"])
@pytest.mark.rule("MEC-022")
def test_line_keeps_its_mecid(check: Check, to_poe: bool, variant: str) -> None:
    """A dirty line of A, cleaned by a PE whose MECID is B by then: memory holds A's data under A's context."""
    if not observable(check):
        return
    rule = Rule.MEC_LINE_KEEPS_MECID
    for _, pa in zip(range(_TIMES), locations(check), strict=False):
        a, b = contexts(check)
        script: Script = [
            Write(pa=pa, mecid=a, value=value(check)),
            Clean(pa=pa, mecid=b, to_poe=to_poe),
            Read(pa=pa, mecid=b, rule=rule),
            Clean(pa=pa, mecid=b),
            Read(pa=pa, mecid=a, rule=rule),
        ]
        run(check, "cleaned under another MECID", script)


@ENCRYPTING
@pytest.mark.rule("MEC-023")
def test_every_bit(check: Check, variant: str) -> None:
    """The two highest MECIDs, and pairs that differ in one bit each, are contexts of their own."""
    if not observable(check):
        return
    rule, width = Rule.MEC_EVERY_BIT, mecid_width(check)
    highest = (1 << width) - 1
    pairs = [(highest, highest - 1), *((highest, highest ^ 1 << bit) for bit in range(width))]
    for (a, b), pa in zip(pairs, locations(check), strict=False):
        script: Script = [
            Write(pa=pa, mecid=a, value=value(check)),
            Clean(pa=pa, mecid=a),
            Read(pa=pa, mecid=b, rule=rule),
            Clean(pa=pa, mecid=b),
            Read(pa=pa, mecid=a, rule=rule),
        ]
        run(check, f"MECIDs that differ in {a ^ b:#x}", script)


@ENCRYPTING
@pytest.mark.rule("MEC-024")
def test_default(check: Check, variant: str) -> None:
    """With SCTLR2_EL3.EMEC = 0 EL3's accesses to Realm memory have MECID 0, whatever MECID_RL_A_EL3 holds."""
    if not observable(check):
        return
    rule = Rule.MEC_DEFAULT
    for _, pa in zip(range(_TIMES), locations(check), strict=False):
        a, b = contexts(check)
        script: Script = [
            Write(pa=pa, mecid=a, emec=0, value=value(check)),
            Clean(pa=pa, mecid=a),
            Read(pa=pa, mecid=a, rule=rule),
            Clean(pa=pa, mecid=a),
            Read(pa=pa, mecid=b, emec=0, rule=rule),
            Clean(pa=pa, mecid=b),
            Read(pa=pa, mecid=0, rule=rule),
        ]
        run(check, "EMEC = 0", script)


@pytest.mark.parametrize("variant", ["encrypts", "encrypts-hit"])
@pytest.mark.rule("MEC-025")
def test_tweak(check: Check, variant: str) -> None:
    """Equal data at two addresses under one context is not equal where another context reads it: its address counts."""
    if not observable(check):
        return
    places = locations(check)
    refused = 0
    for _ in range(_TIMES):
        (a, b), same = contexts(check), value(check)
        first, second = next(places), next(places)
        script: Script = [
            *(Write(pa=pa, mecid=a, value=same) for pa in (first, second)),
            *(Clean(pa=pa, mecid=a) for pa in (first, second)),
            *(Read(pa=pa, mecid=b, rule=Rule.MEC_TWEAK) for pa in (first, second)),
        ]
        one, two = send(check, script)[-2:]
        if one.taken or two.taken:
            refused += 1
            continue
        judge(
            check,
            Rule.MEC_TWEAK,
            case="equal data at two addresses",
            signature="equal data at two addresses looks equal to another context",
            holds=one.data0 != two.data0,
            stimulus={"locations": f"{first:#x} and {second:#x}", "value": f"{same:#x}", "MECIDs": f"{a:#x}, {b:#x}"},
            expected=[{"read": "two different values"}],
            observed={"read": f"{one.data0:#x} and {two.data0:#x}"},
        )
    if refused == _TIMES:
        check.not_observable(Rule.MEC_TWEAK, "the target refuses reads under another context, so no ciphertext is seen")


@ENCRYPTING
@pytest.mark.parametrize("other", [World.NON_SECURE, World.SECURE, World.ROOT], ids=lambda pas: pas.name)
@pytest.mark.rule("MEC-026")
def test_spaces(check: Check, other: World, variant: str) -> None:
    """Realm data cleaned to the PoPA is not what another space reads there, and the other way round."""
    if not observable(check):
        return
    rule = Rule.MEC_POPA
    for _, pa in zip(range(_TIMES), locations(check), strict=False):
        # MECID 0 too: the spaces differ although the number is the same.
        a = check.rng.choice((0, contexts(check)[0]))
        script: Script = [
            Write(pa=pa, mecid=a, value=value(check)),
            Clean(pa=pa, mecid=a),
            Clean(pa=pa, mecid=a, to_poe=False),
            Read(pa=pa, pas=other, rule=rule),
            Clean(pa=pa, pas=other, to_poe=False),
            Read(pa=pa, mecid=a, rule=rule),
            Clean(pa=pa, mecid=a, to_poe=False),
            Write(pa=pa, pas=other, value=value(check)),
            Clean(pa=pa, pas=other, to_poe=False),
            Read(pa=pa, mecid=a, rule=rule),
            Clean(pa=pa, mecid=a, to_poe=False),
            Read(pa=pa, pas=other, rule=rule),
        ]
        run(check, f"Realm and {other.name.replace('_', '-').title()} space", script)


@ENCRYPTING
@pytest.mark.rule("MEC-027")
def test_aliases(check: Check, variant: str) -> None:
    """Cacheable and Non-cacheable accesses of one context see each other's data after a clean, those of another not."""
    if not observable(check):
        return
    rule = Rule.MEC_ALIASES
    for _, pa in zip(range(_TIMES), locations(check), strict=False):
        a, b = contexts(check)
        script: Script = [
            Write(pa=pa, mecid=a, value=value(check)),
            Clean(pa=pa, mecid=a),
            Read(pa=pa, mecid=a, memory=_NC, rule=rule),
            Read(pa=pa, mecid=b, memory=_NC, rule=rule),
            Write(pa=pa, mecid=a, memory=_NC, value=value(check)),
            Clean(pa=pa, mecid=a),
            Read(pa=pa, mecid=a, rule=rule),
            Clean(pa=pa, mecid=a),
            Read(pa=pa, mecid=b, memory=_NC, rule=rule),
        ]
        run(check, "cacheable and Non-cacheable aliases", script)


@ENCRYPTING
@pytest.mark.parametrize("pes", [2])
@pytest.mark.rule("MEC-028")
def test_two_pes(check: Check, pes: int, variant: str) -> None:
    """Another PE with the same MECID reads a dirty line, and cleans it whatever its own MECID is."""
    if not observable(check):
        return
    rule = Rule.MEC_TWO_PES
    for _, pa in zip(range(_TIMES), locations(check), strict=False):
        a, b = contexts(check)
        script: Script = [
            Write(pa=pa, mecid=a, value=value(check)),
            Read(pa=pa, mecid=a, pe=1, rule=rule),
            Write(pa=pa, mecid=a, pe=1, value=value(check)),
            Read(pa=pa, mecid=a, rule=rule),
            Clean(pa=pa, mecid=b, pe=1),
            Read(pa=pa, mecid=b, rule=rule),
            Clean(pa=pa, mecid=b),
            Read(pa=pa, mecid=a, pe=1, rule=rule),
        ]
        run(check, "two PEs", script)


@ENCRYPTING
@pytest.mark.rule("MEC-029")
def test_reuse(check: Check, variant: str) -> None:
    """A location goes from owner to owner, cleaned to the PoE between: each reads its own data and no former one's."""
    if not observable(check):
        return
    rule = Rule.MEC_REUSE
    for _, pa in zip(range(_TIMES), locations(check), strict=False):
        owners = [*contexts(check), 0]
        script: list[Write | Read | Clean] = []
        for number, owner in enumerate([*owners, owners[0]]):
            before = owners[number - 1] if number else owners[1]
            script += [
                Write(pa=pa, mecid=owner, value=value(check)),
                Clean(pa=pa, mecid=owner),
                Read(pa=pa, mecid=before, rule=rule),
                Clean(pa=pa, mecid=before),
                Read(pa=pa, mecid=owner, rule=rule),
                Clean(pa=pa, mecid=owner),
            ]
        run(check, "from owner to owner", script)
