"""Granules that change hands by a call from the Normal world: the table, accesses, content, and what is refused."""

from __future__ import annotations

from typing import Final

import pytest

from harness.boot.check import StackCheck
from harness.boot.physical import NotReadableError
from harness.host import granules as granules_of
from harness.host.calls import RMI_GRANULE_DELEGATE, RMI_GRANULE_UNDELEGATE
from harness.host.granules import (
    ACCESSES,
    GRANULE,
    Granules,
    Snapshot,
    changed,
    differences,
    in_words,
    outcome_in_words,
    same_words,
)
from harness.host.probe import attach

TEST: Final = (0x7200_0000, 0x7300_1000, 0x7400_F000, 0x7500_8000)
"""Granules of ordinary RAM: the first, second, last and a middle one of the 16 that one table entry holds."""

STACKS: Final = ("tfa-host", "tfa-rmm-host")
NON_SECURE: Final = "1001 (Non-secure)"
REALM: Final = "1011 (Realm)"

OWN: Final = "the RMM's own"
REFUSED: Final = {
    "unaligned": 0x7200_0010,
    "flash": 0x0,
    "secure RAM": 0x0E10_0000,
    "EL3's RAM": 0x0E00_2000,
    "granule protection table": 0x0EEF_C000,
    "device": 0x0900_0000,
    OWN: 0x4010_0000,
    "above RAM": 0x2_0000_0000,
    "above the address size": 1 << 52,
}
"""Addresses that no call may give to the Realm world, by what is there."""


def _granules(stack: StackCheck, name: str) -> Granules | None:
    """The granules of a stack; None where that needs an RMM and none was given, or the host hides the tables."""
    if "rmm" in name and not stack.has_rmm():
        return None
    machine = stack.boot(name, "probe")
    granules = Granules(machine, attach(machine))
    try:
        granules.tables()
    except NotReadableError as error:
        for rule in stack.cited:
            stack.not_observable(rule, str(error))
        return None
    return granules


def _call(stack: StackCheck, granules: Granules, function: int, pa: int, rule: str) -> bool:
    """A call that has to succeed; whether it did."""
    name = "delegate" if function == RMI_GRANULE_DELEGATE else "undelegate"
    status = granules.probe.smc(function, pa)[0]
    return stack.judge(
        rule,
        status == 0,
        case=f"{name} a granule of RAM",
        stimulus={"SMC": name, "granule": f"{pa:#x}"},
        expected={"x0": "0"},
        observed={"x0": f"{status:#x}"},
        signature=f"{name}: refused",
    )


def _table(stack: StackCheck, rule: str, case: str, pa: int, before: Snapshot, after: Snapshot, wanted: str) -> None:
    """After a call the table differs from before in one granule, or (``wanted`` empty) not at all."""
    found = changed(before, after)
    expected = {f"{pa:#x}": wanted} if wanted else {}
    stack.judge(
        rule,
        found == expected,
        case=case,
        stimulus={"granule": f"{pa:#x}"},
        expected=expected or {"table": "as before"},
        observed=found or {"table": "as before"},
        signature=f"{case}: the table is wrong",
    )


def _access(stack: StackCheck, rule: str, granules: Granules, now: Snapshot, name: str, pa: int) -> None:
    result = granules.access(name, pa)
    permitted = granules.permitted(now, ACCESSES[name][1], pa)
    wrong = differences(permitted, result) or ("data came back" if result.taken and result.data0 | result.data1 else "")
    stack.judge(
        rule,
        not wrong,
        case=f"{name} of a {now.gpi(pa)} granule",
        stimulus={"access": name, "address": f"{pa:#x}", "from": "Non-secure EL2"},
        expected=[outcome_in_words(outcome) for outcome in permitted],
        observed=in_words(result),
        signature=f"{name} of a {now.gpi(pa)} granule: {wrong}",
    )


@pytest.mark.rule("GRN-001", "GRN-003")
@pytest.mark.parametrize("name", STACKS)
def test_table_follows_the_call(stack: StackCheck, name: str) -> None:
    """Delegated is Realm in the table, given back is Non-secure again, and no other granule is touched."""
    if (granules := _granules(stack, name)) is None:
        return
    for pa in TEST:
        before = granules.tables()
        if _call(stack, granules, RMI_GRANULE_DELEGATE, pa, "GRN-001"):
            _table(stack, "GRN-001", "delegated", pa, before, granules.tables(), f"{NON_SECURE} -> {REALM}")
            if _call(stack, granules, RMI_GRANULE_UNDELEGATE, pa, "GRN-003"):
                _table(stack, "GRN-003", "given back", pa, before, granules.tables(), "")


@pytest.mark.rule("GRN-002", "GRN-003")
@pytest.mark.parametrize("name", STACKS)
def test_accesses_follow_the_call(stack: StackCheck, name: str) -> None:
    """The Normal world's accesses fault while the granule is delegated, change nothing, and work again afterwards."""
    if (granules := _granules(stack, name)) is None:
        return
    for pa in TEST:
        if not _call(stack, granules, RMI_GRANULE_DELEGATE, pa, "GRN-002"):
            continue
        # A granule of zeros could neither show that data came back nor that a store of zeros arrived.
        content = stack.rng.randbytes(GRANULE)
        granules.fill(pa, content)
        now = granules.tables()
        for index, access in enumerate(ACCESSES):
            # the last 16 bytes of the granule and others, all aligned for a pair
            _access(stack, "GRN-002", granules, now, access, pa + (GRANULE - 16) // (index + 1) // 16 * 16)
        stack.judge(
            "GRN-002",
            granules.memory.read(pa, GRANULE) == content,
            case="content of a delegated granule after stores of the Normal world",
            stimulus={"granule": f"{pa:#x}"},
            expected={"content": "as before"},
            observed={"content": "changed"},
        )
        if _call(stack, granules, RMI_GRANULE_UNDELEGATE, pa, "GRN-003"):
            _usable(stack, granules, pa)


def _usable(stack: StackCheck, granules: Granules, pa: int) -> None:
    """A granule of the Normal world keeps what it stores."""
    value = stack.rng.getrandbits(64)
    stored, loaded = granules.probe.store(pa + 8, value), granules.probe.load(pa + 8)
    stack.judge(
        "GRN-003",
        not stored.taken and not loaded.taken and loaded.data0 == value,
        case="store and load in a granule that was given back",
        stimulus={"address": f"{pa + 8:#x}", "value": f"{value:#x}"},
        expected={"exception": "none", "value": f"{value:#x}"},
        observed={"store": in_words(stored)["exception"], **in_words(loaded)},
        signature="a granule that was given back cannot be used",
    )


@pytest.mark.rule("GRN-004")
@pytest.mark.parametrize("name", STACKS)
def test_what_cannot_be_delegated(stack: StackCheck, name: str) -> None:
    """Memory of other worlds, devices, nothing at all: refused, and the table stays as it is."""
    if (granules := _granules(stack, name)) is None:
        return
    before = granules.tables()
    for what, pa in REFUSED.items():
        _refused(stack, granules, f"delegate: {what}", RMI_GRANULE_DELEGATE, pa, before)
        if what == OWN and "rmm" not in name:
            continue  # the payload asks for what it is told, and EL3 cannot know that it needs its memory
        _refused(stack, granules, f"undelegate: {what}", RMI_GRANULE_UNDELEGATE, pa, before)
    pa = TEST[0]
    _refused(stack, granules, "undelegate: not delegated", RMI_GRANULE_UNDELEGATE, pa, before)
    if _call(stack, granules, RMI_GRANULE_DELEGATE, pa, "GRN-004"):
        # The one change that has to be seen: a reader of some other memory would see none, and so no wrong one.
        _table(stack, "GRN-004", "delegated", pa, before, granules.tables(), f"{NON_SECURE} -> {REALM}")
        _refused(stack, granules, "delegate: delegated already", RMI_GRANULE_DELEGATE, pa, granules.tables())
        _call(stack, granules, RMI_GRANULE_UNDELEGATE, pa, "GRN-004")


def _refused(stack: StackCheck, granules: Granules, case: str, function: int, pa: int, before: Snapshot) -> None:
    status = granules.probe.smc(function, pa)[0]
    found = changed(before, granules.tables())
    stack.judge(
        "GRN-004",
        status != 0 and not found,
        case=case,
        stimulus={"address": f"{pa:#x}"},
        expected={"x0": "an error", "table": "as before"},
        observed={"x0": f"{status:#x}", "table": "; ".join(f"{where} {how}" for where, how in found.items()) or "same"},
        signature=f"{case}: {'granted' if status == 0 else 'the table changed'}",
    )


@pytest.mark.rule("GRN-005")
def test_content_does_not_come_back(stack: StackCheck) -> None:
    """What the Normal world stored before it gave a granule away is not there when it comes back.

    The test realm payload is no RMM and leaves memory as it is: only a real RMM is asked.
    """
    if (granules := _granules(stack, granules_of.WIPING)) is None:
        return
    for pa in TEST:
        secret = stack.rng.randbytes(GRANULE)
        granules.fill(pa, secret)
        if (seen := granules.probe.load(pa)).taken or seen.data0 != int.from_bytes(secret[:8], "little"):
            pytest.fail(f"the Normal world does not see what is in its own granule {pa:#x}: {in_words(seen)}")
        if not _call(stack, granules, RMI_GRANULE_DELEGATE, pa, "GRN-005"):
            continue
        if not _call(stack, granules, RMI_GRANULE_UNDELEGATE, pa, "GRN-005"):
            continue
        back = granules.probe.load(pa)
        left = [hex(offset) for offset in same_words(secret, granules.memory.read(pa, GRANULE))]
        stack.judge(
            "GRN-005",
            not left and not back.taken and back.data0 != int.from_bytes(secret[:8], "little"),
            case="content after delegate and undelegate",
            stimulus={"granule": f"{pa:#x}", "stored before": f"{GRANULE} random bytes"},
            expected={"offsets with a word of them": "none", "load": "none"},
            observed={
                "offsets with a word of them": ", ".join(left[:8]) or "none",
                "load": in_words(back)["exception"],
            },
            signature="content survives delegate and undelegate" if left else "a granule that came back cannot be read",
        )
