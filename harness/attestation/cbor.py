"""A strict CBOR reader that knows where every item stands and reports what a lenient one passes over.

Reported and read on: indefinite lengths, keys that occur twice, text that is not UTF-8, heads longer than they need
be, bytes after the item.  Not readable: truncation, reserved heads, limits exceeded; those end the scan.

Source: RFC 8949 sections 3, 4.1, 5.3.1 and 5.6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from refmodel.attestation.findings import Findings
from refmodel.attestation.items import Array, Bool, Bytes, Int, Item, Map, Other, Tag, Text, label_text
from refmodel.rules import Rule

_ONE_BYTE, _EIGHT_BYTES, _INDEFINITE = 24, 27, 31
_BREAK: Final = 0xFF
_LEAST: Final = {24: 24, 25: 1 << 8, 26: 1 << 16, 27: 1 << 32}
"""Additional information of a long head to the smallest argument that needs it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a token may cost: its size in bytes, how deep items nest, how many items it has."""

    size: int = 1 << 20
    depth: int = 16
    items: int = 1 << 16


class NotReadable(Exception):
    """The bytes hold no complete item, or exceed a limit; ``rule``, ``message`` and file ``offset`` say why."""

    def __init__(self, rule: Rule, message: str, offset: int) -> None:
        self.rule, self.message, self.offset = rule, message, offset
        super().__init__(f"{rule.value} at byte {offset}: {message}")


class Reader:
    """Reads items out of parts of one file; limits count over all of them."""

    def __init__(self, findings: Findings, limits: Limits | None = None) -> None:
        self.findings = findings
        self.limits = limits or Limits()
        self._items = 0
        self._where = ""

    def read(self, data: bytes, where: str, offset: int = 0) -> Item:
        """The one item that ``data`` holds, which stands at file offset ``offset``; NotReadable when it holds none.

        ``where`` names the part in findings.
        """
        self._where = where
        scan = _Scan(self, data, offset)
        item = scan.item(0)
        self.findings.hold(Rule.CBOR_WELL_FORMED)
        text = f"{len(data) - scan.at} bytes follow the item"
        ends = scan.at == len(data)
        self.findings.expect(ends, Rule.CBOR_NOTHING_FOLLOWS, where, text, offset + scan.at)
        for rule in _OF_THE_WHOLE - self.findings.broken():
            self.findings.hold(rule)
        return item

    def try_read(self, data: bytes, where: str, offset: int) -> Item | None:
        """As ``read``; None, with the reason as an error, when there is no item."""
        try:
            return self.read(data, where, offset)
        except NotReadable as error:
            self.findings.error(error.rule, where, error.message, error.offset)
            return None

    def count(self, offset: int) -> None:
        """One more item; NotReadable when there are too many."""
        self._items += 1
        if self._items > self.limits.items:
            text = f"the token has more than {self.limits.items} items"
            raise NotReadable(Rule.CBOR_LIMITS, text, offset)

    def error(self, rule: Rule, message: str, offset: int) -> None:
        """A deviation that does not end the scan."""
        self.findings.error(rule, self._where, message, offset)

    def note(self, rule: Rule, message: str, offset: int) -> None:
        """A remark."""
        self.findings.note(rule, self._where, message, offset)


_OF_THE_WHOLE: Final = frozenset({Rule.CBOR_DEFINITE, Rule.CBOR_UNIQUE_KEYS, Rule.CBOR_UTF8, Rule.CBOR_LIMITS})


class _Scan:
    """One pass over one byte string."""

    def __init__(self, reader: Reader, data: bytes, base: int) -> None:
        self._reader = reader
        self._data = data
        self._base = base
        self.at = 0

    def item(self, depth: int) -> Item:
        offset = self._base + self.at
        self._reader.count(offset)
        if depth > self._reader.limits.depth:
            text = f"items nest more than {self._reader.limits.depth} deep"
            raise NotReadable(Rule.CBOR_LIMITS, text, offset)
        major, info, argument = self._head()
        match major:
            case 0:
                return Int(offset, argument)
            case 1:
                return Int(offset, -1 - argument)
            case 2:
                content = self._base + self.at
                return Bytes(offset, self._string(2, info, argument, offset), content)
            case 3:
                return Text(offset, self._text(self._string(3, info, argument, offset), offset))
            case 4:
                return Array(offset, self._array(info, argument, offset, depth))
            case 5:
                return Map(offset, self._map(info, argument, offset, depth))
            case 6:
                return Tag(offset, argument, self.item(depth + 1))
            case _:
                return self._simple(info, argument, offset)

    def _head(self) -> tuple[int, int, int]:
        """Major type, additional information and argument (0 for an indefinite length)."""
        at, data = self.at, self._data
        if at >= len(data):
            raise self._truncated("ends where an item should begin", at)
        major, info = data[at] >> 5, data[at] & 31
        if info < _ONE_BYTE:
            self.at = at + 1
            return major, info, info
        if info <= _EIGHT_BYTES:
            end = at + 1 + (1 << (info - _ONE_BYTE))
            if end > len(data):
                raise self._truncated("ends inside the head of an item", at)
            argument = int.from_bytes(data[at + 1 : end], "big")
            self.at = end
            if argument < _LEAST[info] and major != 7:
                text = f"the head of an item takes {end - at} bytes for {argument}; a shorter one would do"
                self._reader.note(Rule.CBOR_WELL_FORMED, text, self._base + at)
            return major, info, argument
        if info == _INDEFINITE and major in (2, 3, 4, 5):
            self.at = at + 1
            self._reader.error(Rule.CBOR_DEFINITE, "has an indefinite length", self._base + at)
            return major, info, 0
        text = "a break stands where an item should begin" if data[at] == _BREAK else f"reserved head {data[at]:#04x}"
        raise NotReadable(Rule.CBOR_WELL_FORMED, text, self._base + at)

    def _truncated(self, text: str, at: int) -> NotReadable:
        return NotReadable(Rule.CBOR_WELL_FORMED, f"the data {text}", self._base + at)

    def _take(self, length: int, offset: int) -> bytes:
        end = self.at + length
        if end > len(self._data):
            have = len(self._data) - self.at
            text = f"a string of {length} bytes has only {have}"
            raise NotReadable(Rule.CBOR_WELL_FORMED, text, offset)
        taken = self._data[self.at : end]
        self.at = end
        return taken

    def _string(self, major: int, info: int, length: int, offset: int) -> bytes:
        if info != _INDEFINITE:
            return self._take(length, offset)
        chunks = []
        while not self._at_break():
            where = self._base + self.at
            self._reader.count(where)
            kind, chunk_info, chunk = self._head()
            if kind != major or chunk_info == _INDEFINITE:
                raise NotReadable(Rule.CBOR_WELL_FORMED, "a chunk of another type in a string", where)
            chunks.append(self._take(chunk, where))
        return b"".join(chunks)

    def _text(self, data: bytes, offset: int) -> str:
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            self._reader.error(Rule.CBOR_UTF8, f"a text is not UTF-8 at its byte {error.start}", offset)
            return data.decode("utf-8", errors="replace")

    def _at_break(self) -> bool:
        """Whether a break comes next; it is taken."""
        if self.at < len(self._data) and self._data[self.at] == _BREAK:
            self.at += 1
            return True
        return False

    def _fits(self, count: int, offset: int) -> None:
        """Every item takes a byte at least: a count beyond what is left is refused before anything is built."""
        if count > len(self._data) - self.at:
            text = f"{count} items cannot be in the {len(self._data) - self.at} bytes that are left"
            raise NotReadable(Rule.CBOR_WELL_FORMED, text, offset)

    def _array(self, info: int, count: int, offset: int, depth: int) -> tuple[Item, ...]:
        if info != _INDEFINITE:
            self._fits(count, offset)
            return tuple([self.item(depth + 1) for _ in range(count)])
        items = []
        while not self._at_break():
            items.append(self.item(depth + 1))
        return tuple(items)

    def _map(self, info: int, count: int, offset: int, depth: int) -> tuple[tuple[Item, Item], ...]:
        pairs: list[tuple[Item, Item]] = []
        if info != _INDEFINITE:
            self._fits(2 * count, offset)
            for _ in range(count):
                pairs.append((self.item(depth + 1), self.item(depth + 1)))
        else:
            while not self._at_break():
                pairs.append((self.item(depth + 1), self.item(depth + 1)))
        seen = set()
        for key, _ in pairs:
            value = plain(key)
            if value in seen:
                text = f"the key {label_text(key)} occurs more than once"
                self._reader.error(Rule.CBOR_UNIQUE_KEYS, text, key.offset)
            seen.add(value)
        return tuple(pairs)

    def _simple(self, info: int, argument: int, offset: int) -> Item:
        match info:
            case 20 | 21:
                return Bool(offset, info == 21)
            case 22 | 23:
                return Other(offset, "null" if info == 22 else "undefined")
            case 24 if argument < 32:
                raise NotReadable(Rule.CBOR_WELL_FORMED, f"simple value {argument} in two bytes", offset)
            case 25 | 26 | 27:
                return Other(offset, "a floating-point number")
        return Other(offset, f"simple value {argument}")


def plain(item: Item) -> tuple[object, ...]:
    """A hashable value of an item, without offsets: equal for equal data."""
    match item:
        case Array(items=items):
            return "array", *(plain(part) for part in items)
        case Map(pairs=pairs):
            return "map", frozenset((plain(key), plain(value)) for key, value in pairs)
        case Tag(number=number, item=inner):
            return "tag", number, plain(inner)
    return type(item).__name__, item.value
