"""The RMM's MECs: conditions written by hand from the commands' tables, and that no private MEC has two realms."""

from __future__ import annotations

import itertools

import pytest

from refmodel.rmm.mec import Mecs, MecState, Refused, create, destroy, set_private, set_shared

SHARED, FREE, TAKEN = (
    MecState.MEC_STATE_SHARED, MecState.MEC_STATE_PRIVATE_UNASSIGNED, MecState.MEC_STATE_PRIVATE_ASSIGNED,
)  # fmt: skip
START = Mecs(max_mecid=2)


def made(result: Mecs | Refused) -> Mecs:
    assert isinstance(result, Mecs)
    return result


def test_start() -> None:
    assert [START.state(mecid) for mecid in range(3)] == [SHARED, FREE, FREE]


def test_bound() -> None:
    for command in (set_shared, set_private):
        assert command(START, 3) is Refused.mecid_bound
    assert create(START, 0x1000, 3) is Refused.mecid_bound


def test_set_shared_needs_a_private_mec_that_is_free() -> None:
    assert made(set_shared(START, 1)).state(1) is SHARED
    assert set_shared(START, 0) is Refused.state
    assert set_shared(made(create(START, 0x1000, 1)), 1) is Refused.state


def test_set_private_needs_a_shared_mec_without_members() -> None:
    assert made(set_private(START, 0)).state(0) is FREE
    assert set_private(START, 1) is Refused.state
    member = made(create(START, 0x1000, 0))
    assert set_private(member, 0) is Refused.members
    assert made(set_private(destroy(member, 0x1000), 0)).state(0) is FREE


def test_one_realm_per_private_mec() -> None:
    one = made(create(START, 0x1000, 1))
    assert one.state(1) is TAKEN and one.members(1) == {0x1000}
    assert create(one, 0x2000, 1) is Refused.state
    assert destroy(one, 0x1000).state(1) is FREE
    assert made(create(destroy(one, 0x1000), 0x2000, 1)).members(1) == {0x2000}


def test_many_realms_share() -> None:
    two = made(create(made(create(START, 0x1000, 0)), 0x2000, 0))
    assert two.members(0) == {0x1000, 0x2000} and two.state(0) is SHARED


def test_destroy_of_what_is_no_realm() -> None:
    with pytest.raises(KeyError):
        destroy(START, 0x1000)


def test_every_reachable_state_keeps_private_mecs_apart() -> None:
    """All states of three MECIDs and two realms: a MEC with two members is shared, one that is free has none."""
    seen: set[tuple[frozenset[int], tuple[tuple[int, int], ...]]] = set()
    pending = [START]
    while pending:
        mecs = pending.pop()
        key = (mecs.shared, tuple(sorted(mecs.realms.items())))
        if key in seen:
            continue
        seen.add(key)
        for mecid in range(3):
            assert len(mecs.members(mecid)) < 2 or mecs.state(mecid) is SHARED
        after: list[Mecs | Refused] = [step(mecs, mecid) for step in (set_shared, set_private) for mecid in range(4)]
        after += [
            create(mecs, rd, mecid)
            for rd, mecid in itertools.product((0x1000, 0x2000), range(4))
            if rd not in mecs.realms
        ]
        after += [destroy(mecs, rd) for rd in mecs.realms]
        pending += [state for state in after if isinstance(state, Mecs)]
    # 8 choices of what is shared; of 16 ways for two realms to have a MEC or none those with one private MEC twice go.
    assert len(seen) == sum(16 - private for private in (0, 1, 1, 1, 2, 2, 2, 3))
