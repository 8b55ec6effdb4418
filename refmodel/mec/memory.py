"""One location of memory behind FEAT_MEC, abstractly: what a read may return after what was done to it.

Each step takes a state to every state that the architecture permits after it, with what was seen; an observation keeps
those that agree (``beliefs``).  Data are names of values, not bytes.  Below the Point of Encryption memory holds what
was encrypted for one physical address space and one MECID; a read for another space or MECID gives something that is
not the plaintext.  Caches above it hold plaintext, tagged with the space and the MECID of the access that brought it,
and may write back or drop what they hold at any time.  Between the Point of Encryption and the Point of Physical
Aliasing (the first is never behind the second) a cache may hold ciphertext of one space.

Which data a mismatched MECID finds in a cache is left open: it may hit, or miss, until software has cleaned and
invalidated to the Point of Encryption.  Source: DDI 0487, chapter Memory Encryption Contexts; DC CIPAPA and DC CIPAE
("memory accesses resulting from the clean operation use the MECID associated with the cache entry").
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum

from refmodel.pas import PASpace


@dataclass(frozen=True, slots=True)
class Tag:
    """A memory encryption context as it reaches the memory system: address space and MECID."""

    pas: PASpace
    mecid: int


@dataclass(frozen=True, slots=True)
class Cipher:
    """What encryption under ``tag`` made of the value called ``data``."""

    tag: Tag
    data: str


@dataclass(frozen=True, slots=True)
class Line:
    """A cache entry above the Point of Encryption: plaintext."""

    tag: Tag
    data: Seen
    dirty: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """What a read returns: a value by name; or, ``cipher`` set, what decryption under ``tag`` makes of that cipher."""

    data: str = ""
    cipher: Cipher | None = None
    tag: Tag | None = None

    @property
    def scrambled(self) -> bool:
        """Whether this is not the plaintext that anybody stored."""
        return self.cipher is not None


class Abort(Enum):
    """A read that the memory system refuses because its integrity check failed."""

    INTEGRITY = "external abort: integrity"


@dataclass(frozen=True, slots=True)
class Location:
    """State of one location.

    ``lines``: above the Point of Encryption, one for each tag at most; ``behind``: ciphertext that a cache between the
    two points holds and memory does not; ``memory``: what is stored for all spaces to see.
    """

    memory: Cipher
    lines: frozenset[Line] = frozenset()
    behind: Cipher | None = None


@dataclass(frozen=True, slots=True)
class Choices:
    """What an implementation declares.

    ``hit_mismatch``: an access hits an entry of another MECID; ``integrity``: a read under a wrong context is an
    external abort.  None: not known, both are permitted.
    """

    hit_mismatch: bool | None = None
    integrity: bool | None = None


def stored_by(seen: Seen) -> str:
    """A name for data that is written back, also when it is what a wrong decryption left in a cache."""
    return seen.data if seen.cipher is None else f"{seen.cipher.data} of {seen.cipher.tag} as {seen.tag}"


def decrypt(cipher: Cipher, tag: Tag, choices: Choices) -> tuple[Seen | Abort, ...]:
    """What a read for ``tag`` may make of ``cipher``."""
    if cipher.tag == tag:
        return (Seen(cipher.data),)
    noise = Seen(cipher=cipher, tag=tag)
    if choices.integrity is None:
        return (noise, Abort.INTEGRITY)
    return (Abort.INTEGRITY,) if choices.integrity else (noise,)


def _write_back(state: Location, line: Line) -> Location:
    """A line's data leaves for the Point of Encryption, under the line's own tag."""
    clean = state.lines - {line} | {replace(line, dirty=False)}
    return replace(_drain(state), behind=Cipher(line.tag, stored_by(line.data)), lines=clean)


def _drain(state: Location) -> Location:
    """Ciphertext leaves for memory."""
    return state if state.behind is None else replace(state, memory=state.behind, behind=None)


def settle(state: Location) -> frozenset[Location]:
    """The state, and all that hardware may make of it by itself: write lines back, drop clean ones, drain."""
    found, pending = {state}, [state]
    while pending:
        new = set(_by_itself(pending.pop())) - found
        found |= new
        pending += new
    return frozenset(found)


def _by_itself(state: Location) -> Iterator[Location]:
    yield _drain(state)
    for line in state.lines:
        yield _write_back(state, line) if line.dirty else replace(state, lines=state.lines - {line})


def _below(state: Location, tag: Tag) -> Cipher:
    """What a fetch for ``tag`` that misses above the Point of Encryption finds; caches there are tagged by space."""
    return state.behind if state.behind is not None and state.behind.tag.pas is tag.pas else state.memory


def _hits(state: Location, tag: Tag, choices: Choices) -> tuple[Line | None, ...]:
    """Lines that an access for ``tag`` may hit, None for a miss."""
    own = [line for line in state.lines if line.tag == tag]
    others = [line for line in state.lines if line.tag.pas is tag.pas and line.tag != tag]
    if own:
        return tuple(own)
    if not others or choices.hit_mismatch is False:
        return (None,)
    return tuple(others) if choices.hit_mismatch else (*others, None)


def load(
    state: Location, tag: Tag, choices: Choices, *, cacheable: bool = True
) -> Iterator[tuple[Location, Seen | Abort]]:
    """A read: from a line that hits, or decrypted from below.

    A Non-cacheable read may find what a cache still holds, or pass it by.
    """
    for before in settle(state):
        for line in dict.fromkeys((*_hits(before, tag, choices), *(() if cacheable else (None,)))):
            if line is not None:
                yield before, line.data
                continue
            for seen in decrypt(_below(before, tag), tag, choices):
                yield before, seen
                if cacheable and isinstance(seen, Seen):
                    yield replace(before, lines=before.lines | {Line(tag, seen, dirty=False)}), seen


def store(state: Location, tag: Tag, value: str, choices: Choices, *, cacheable: bool = True) -> Iterator[Location]:
    """A write of the whole location; an entry of another MECID that is hit keeps its own or takes that of the write."""
    for before in settle(state):
        if not cacheable:
            written = replace(_drain(before), behind=Cipher(tag, value))
            yield written
            # A cache that is looked up by the write does not keep older data of its space.
            yield replace(written, lines=frozenset(line for line in before.lines if line.tag.pas is not tag.pas))
            continue
        for line in _hits(before, tag, choices):
            others = before.lines - {line} if line is not None else before.lines
            for owner in dict.fromkeys((line.tag if line is not None else tag, tag)):
                yield replace(before, lines=others | {Line(owner, Seen(value), dirty=True)})


def clean_invalidate(state: Location, pas: PASpace, *, to_poe: bool) -> Iterator[Location]:
    """DC CIPAE (``to_poe``) or DC CIPAPA of the location in space ``pas``.

    Every copy of that space, whatever its MECID, is written back with its own and dropped.  To the Point of Encryption
    nothing is required of other spaces than Realm.
    """
    for before in settle(state):
        if to_poe and pas is not PASpace.PAS_Realm:
            yield before
        elif not any(line.tag.pas is pas for line in before.lines):
            # The closure of ``settle`` has every order of writing back among its members.
            drained = before.behind is None or before.behind.tag.pas is not pas
            if to_poe or drained:
                yield before
