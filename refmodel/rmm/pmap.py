"""A persistent map from addresses to values: an update gives a new map and leaves the old one as it was.

States of the model share nearly everything with their successors; a plain dictionary would be copied whole at each
step.  Here only the chunk that covers the address is copied, and the list of chunks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Generic, TypeVar

V = TypeVar("V")

_CHUNK_BITS: Final = 20  # 256 granules: what is copied at each update
_NOTHING: Final[dict[int, object]] = {}


class PMap(Generic[V]):
    """An immutable map; two maps with the same items are equal, in whatever order they were made."""

    __slots__ = ("_chunks",)

    def __init__(self, items: Mapping[int, V] | None = None) -> None:
        chunks: dict[int, dict[int, V]] = {}
        for key, value in (items or {}).items():
            chunks.setdefault(key >> _CHUNK_BITS, {})[key] = value
        self._chunks = chunks

    def get(self, key: int) -> V | None:
        """The value at ``key``, or None."""
        chunk = self._chunks.get(key >> _CHUNK_BITS)
        return None if chunk is None else chunk.get(key)

    def __getitem__(self, key: int) -> V:
        return self._chunks[key >> _CHUNK_BITS][key]

    def __contains__(self, key: int) -> bool:
        return key in self._chunks.get(key >> _CHUNK_BITS, _NOTHING)

    def set(self, key: int, value: V) -> PMap[V]:
        """The map with ``value`` at ``key``."""
        number = key >> _CHUNK_BITS
        made: PMap[V] = PMap.__new__(PMap)
        made._chunks = dict(self._chunks)
        made._chunks[number] = {**self._chunks.get(number, {}), key: value}
        return made

    def update(self, items: Mapping[int, V]) -> PMap[V]:
        """The map with several values set."""
        made = self
        for key, value in items.items():
            made = made.set(key, value)
        return made

    def remove(self, key: int) -> PMap[V]:
        """The map without ``key``; KeyError if it has none."""
        number = key >> _CHUNK_BITS
        chunk = dict(self._chunks[number])
        del chunk[key]
        made: PMap[V] = PMap.__new__(PMap)
        made._chunks = dict(self._chunks)
        if chunk:
            made._chunks[number] = chunk
        else:
            del made._chunks[number]
        return made

    def items(self) -> Iterator[tuple[int, V]]:
        """Keys with their values, in rising order of the keys."""
        for number in sorted(self._chunks):
            yield from sorted(self._chunks[number].items(), key=lambda item: item[0])

    def __iter__(self) -> Iterator[int]:
        return (key for key, _ in self.items())

    def __len__(self) -> int:
        return sum(map(len, self._chunks.values()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PMap) and self._chunks == other._chunks

    def __hash__(self) -> int:
        return hash(frozenset(item for chunk in self._chunks.values() for item in chunk.items()))

    def __repr__(self) -> str:
        return f"PMap({{{', '.join(f'{key:#x}: {value!r}' for key, value in self.items())}}})"
