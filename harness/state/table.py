"""A table of a TOML file with typed readers, whose errors name file, line and key."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import BadInputError

_RESTORE = "restore the file, or make it again with 'realmcheck repro'"


@dataclass(frozen=True)
class Table:
    """The table whose head is line ``line`` of the file (0: the top), called ``name`` in messages."""

    path: Path
    lines: tuple[str, ...]
    line: int
    name: str
    values: Mapping[str, object]

    def error(self, what: str, key: str = "", remedy: str = _RESTORE) -> BadInputError:
        """A BadInputError that points at ``key``, or at the table's head."""
        place = ".".join(part for part in (self.name, key) if part)
        return BadInputError(
            f"{place}: {what}" if place else what, path=self.path, where=f"line {self._line_of(key)}", remedy=remedy
        )

    def only(self, *known: str) -> None:
        """BadInputError for a key that is not in ``known``."""
        for key in self.values:
            if key not in known:
                raise self.error("is not a known key", key, f"known are {', '.join(sorted(known))}")

    def _get(self, key: str, default: object) -> object:
        if key not in self.values and default is None:
            raise self.error("is missing", key)
        return self.values.get(key, default)

    def string(self, key: str) -> str:
        """The string at ``key``."""
        value = self._get(key, None)
        if not isinstance(value, str):
            raise self.error(f"must be a string, not {value!r}", key)
        return value

    def boolean(self, key: str) -> bool:
        """True or false."""
        value = self._get(key, None)
        if not isinstance(value, bool):
            raise self.error(f"must be true or false, not {value!r}", key)
        return value

    def integer(self, key: str, low: int, high: int, default: int | None = None) -> int:
        """The integer at ``key``, from ``low`` to ``high``."""
        value = self._get(key, default)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.error(f"must be an integer, not {value!r}", key)
        if not low <= value <= high:
            raise self.error(f"must be from {low:#x} to {high:#x}, not {value:#x}", key)
        return value

    def integers(self, key: str, high: int) -> tuple[int, ...]:
        """A list of integers from 0 to ``high``."""
        value = self._get(key, None)
        if not isinstance(value, list):
            raise self.error(f"must be a list of integers, not {value!r}", key)
        for item in value:
            if not isinstance(item, int) or isinstance(item, bool) or not 0 <= item <= high:
                raise self.error(f"must hold integers from 0 to {high:#x}, not {item!r}", key)
        return tuple(value)

    def strings(self, key: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """A list of strings."""
        value = self._get(key, default)
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise self.error(f"must be a list of strings, not {value!r}", key)
        return tuple(value)

    def octets(self, key: str, default: bytes | None = None) -> bytes:
        """Bytes, written as a string of hexadecimal digits."""
        if key not in self.values and default is not None:
            return default
        text = self.string(key)
        if not re.fullmatch(r"([0-9a-f]{2})*", text):
            raise self.error("must be an even number of hexadecimal digits in lower case", key)
        return bytes.fromhex(text)

    def table(self, key: str) -> Table:
        """The table ``[key]``."""
        value = self._get(key, None)
        if not isinstance(value, dict):
            raise self.error("must be a table", key)
        return Table(self.path, self.lines, self._heads(f"[{key}]", 1)[0], key, value)

    def tables(self, key: str) -> tuple[Table, ...]:
        """The tables ``[[key]]`` in their order; none where there is no such key."""
        value = self.values.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.error("must be a list of tables", key)
        whole = f"{self.name.partition(' ')[0]}.{key}" if self.name else key
        heads = self._heads(f"[[{whole}]]", len(value))
        return tuple(
            Table(self.path, self.lines, head, f"{whole} {index}", item)
            for index, (item, head) in enumerate(zip(value, heads, strict=True))
        )

    def _heads(self, head: str, count: int) -> list[int]:
        """Lines of the first ``count`` heads of this spelling after this table's own; its own where it has fewer."""
        found = [
            number
            for number, text in enumerate(self.lines[self.line :], self.line + 1)
            if text.split("#")[0].strip() == head
        ]
        return (found + [self.line or 1] * count)[:count]

    def _line_of(self, key: str) -> int:
        for number, text in enumerate(self.lines[self.line :], self.line + 1):
            head = re.match(r"\s*\[\[?([^\[\]]+)\]", text)
            if head and key in head.group(1).split("."):
                return number
            if head:
                # The keys of a table end where the next one begins; at the top only tables can follow.
                if self.line:
                    break
                continue
            if key and re.match(rf"\s*\"?{re.escape(key)}\"?\s*=", text):
                return number
        return self.line or 1


def load_table(path: Path) -> Table:
    """The top table of a TOML file; BadInputError when it cannot be read or parsed."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInputError(f"cannot be read: {error.strerror}", path=path, remedy="give a state file") from None
    except UnicodeDecodeError as error:
        raise BadInputError(f"not UTF-8 at byte {error.start}", path=path, remedy=_RESTORE) from None
    lines = tuple(text.splitlines())
    try:
        return Table(path, lines, 0, "", tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+)", str(error))
        line = found.group(1) if found else str(max(1, len(lines)))
        what = str(error).partition(" (at ")[0]
        raise BadInputError(f"not TOML: {what}", path=path, where=f"line {line}", remedy=_RESTORE) from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of brackets
        raise BadInputError(f"not TOML: {error}", path=path, remedy=_RESTORE) from None
