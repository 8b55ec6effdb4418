"""Decoded data as plain values that remember where in the file they stood.

The kinds are those of RFC 8949 as far as a token needs them.  ``offset`` is the file offset of an item's first byte.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Int:
    """An integer of major type 0 or 1."""

    offset: int
    value: int


@dataclass(frozen=True, slots=True)
class Bytes:
    """A byte string; ``content`` is the file offset of its first content byte."""

    offset: int
    value: bytes
    content: int


@dataclass(frozen=True, slots=True)
class Text:
    """A text string."""

    offset: int
    value: str


@dataclass(frozen=True, slots=True)
class Bool:
    """True or false, which is no integer."""

    offset: int
    value: bool


@dataclass(frozen=True, slots=True)
class Other:
    """A value that no claim uses: null, undefined, another simple value, a float; ``value`` names it."""

    offset: int
    value: str


@dataclass(frozen=True, slots=True)
class Array:
    """An array."""

    offset: int
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Map:
    """A map as it was sent: pairs in their order, a key that occurs twice included."""

    offset: int
    pairs: tuple[tuple[Item, Item], ...]

    def get(self, label: int | str) -> Item | None:
        """The first value of an integer or text label."""
        for key, value in self.pairs:
            if isinstance(key, Int | Text) and key.value == label:
                return value
        return None


@dataclass(frozen=True, slots=True)
class Tag:
    """A tagged item."""

    offset: int
    number: int
    item: Item


Item = Int | Bytes | Text | Bool | Other | Array | Map | Tag


def describe(item: Item) -> str:
    """What an item is, in words for a message: ``a byte string of 32 bytes``."""
    match item:
        case Int(value=value):
            return f"the integer {value}"
        case Bytes(value=value):
            return f"a byte string of {len(value)} bytes"
        case Text(value=value):
            shown = value if len(value) <= 60 else value[:57] + "..."
            return f"the text {shown!r}"
        case Bool(value=value):
            return f"the boolean {str(value).lower()}"
        case Other(value=name):
            return name
        case Array(items=items):
            return f"an array of {len(items)}"
        case Map(pairs=pairs):
            return f"a map of {len(pairs)}"
        case Tag(number=number):
            return f"an item with tag {number}"


def label_text(key: Item) -> str:
    """A map key for messages and paths."""
    return str(key.value) if isinstance(key, Int | Text) else describe(key)
