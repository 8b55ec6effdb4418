"""The memory system behind FEAT_MEC: sequences whose permitted results are written by hand."""

from __future__ import annotations

from refmodel.mec.memory import Abort, Choices, Cipher, Location, Seen, Tag, clean_invalidate, load, store
from refmodel.pas import PASpace

REALM, NS = PASpace.PAS_Realm, PASpace.PAS_NonSecure
A, B, N = Tag(REALM, 5), Tag(REALM, 6), Tag(NS, 0)
OPEN = Choices(integrity=False)
States = frozenset[Location]


def fresh() -> States:
    return frozenset({Location(Cipher(N, "before"))})


def write(states: States, tag: Tag, value: str, choices: Choices = OPEN, *, cacheable: bool = True) -> States:
    return frozenset(new for state in states for new in store(state, tag, value, choices, cacheable=cacheable))


def clean(states: States, *, to_poe: bool = True, pas: PASpace = REALM) -> States:
    return frozenset(new for state in states for new in clean_invalidate(state, pas, to_poe=to_poe))


def reads(states: States, tag: Tag, choices: Choices = OPEN, *, cacheable: bool = True) -> set[str]:
    """Names of what may be read; ``-`` for what is no plaintext, ``!`` for an abort."""
    seen = {what for state in states for _, what in load(state, tag, choices, cacheable=cacheable)}
    return {"!" if isinstance(what, Abort) else "-" if what.scrambled else what.data for what in seen}


def test_a_clean_to_the_poe_decides() -> None:
    """Written under A, cleaned and invalidated: A reads it, B does not, and neither may it be read otherwise."""
    states = clean(write(fresh(), A, "x"))
    assert reads(states, A) == {"x"}
    assert reads(states, B) == {"-"}
    assert reads(states, A, cacheable=False) == {"x"} and reads(states, B, cacheable=False) == {"-"}


def test_before_the_clean_a_wrong_context_may_hit() -> None:
    states = write(fresh(), A, "x")
    assert reads(states, A) == {"x"}
    assert reads(states, B) == {"x", "-"}
    assert reads(states, B, Choices(hit_mismatch=False, integrity=False)) == {"-"}


def test_a_line_keeps_its_own_mecid() -> None:
    """Read by B first and then cleaned: what reaches memory is still A's, whoever asked for the clean."""
    states = frozenset(new for state in write(fresh(), A, "x") for new, _ in load(state, B, OPEN))
    assert reads(clean(states), A) == {"x"}


def test_two_writers_without_a_clean() -> None:
    """A and then B write: after a clean one of them is in memory, under its own context or, hit, under the other's."""
    states = clean(write(write(fresh(), A, "x"), B, "y"))
    assert reads(states, A) == {"x", "y", "-"}
    missing = Choices(hit_mismatch=False, integrity=False)
    states = clean(write(write(fresh(), A, "x", missing), B, "y", missing))
    assert reads(states, A, missing) == {"x", "-"} and reads(states, B, missing) == {"y", "-"}


def test_reuse_after_a_clean() -> None:
    states = clean(write(clean(write(fresh(), A, "x")), B, "y"))
    assert reads(states, B) == {"y"} and reads(states, A) == {"-"}


def test_spaces_have_keys_of_their_own() -> None:
    """Cleaned to the PoPA, Realm data is not what another space reads; to the PoE only, it may still see the former."""
    states = write(fresh(), A, "x")
    assert reads(clean(states, to_poe=False), N) == {"-"}
    assert reads(clean(states), N) == {"-", "before"}


def test_a_clean_to_the_poe_of_another_space_is_nothing() -> None:
    states = write(fresh(), N, "n")
    after = clean(states, pas=NS)
    assert any(line.dirty for state in after for line in state.lines)
    assert not any(state.lines for state in clean(states, to_poe=False, pas=NS))


def test_integrity() -> None:
    declared = Choices(integrity=True)
    assert reads(clean(write(fresh(), A, "x", declared)), B, declared) == {"!"}
    assert reads(clean(write(fresh(), A, "x", declared)), A, declared) == {"x"}
    assert reads(clean(write(fresh(), A, "x")), B, Choices()) == {"-", "!"}


def test_non_cacheable_writes_reach_memory() -> None:
    states = write(fresh(), A, "x", cacheable=False)
    assert reads(states, A, cacheable=False) == {"x"} and reads(states, B, cacheable=False) == {"-"}
    stale = write(write(fresh(), A, "x"), A, "y", cacheable=False)
    assert "x" in reads(stale, A)


def test_what_was_scrambled_and_written_back_stays_scrambled() -> None:
    """B reads A's data as noise into a cache; a clean line is not written back, so A still has its own."""
    states = frozenset(new for state in clean(write(fresh(), A, "x")) for new, _ in load(state, B, OPEN))
    assert reads(clean(states), A) == {"x"}
    assert Seen("x").scrambled is False
