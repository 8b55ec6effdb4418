"""TOML files as checked tables: every error names the file, the table, its line and the key.

It knows TOML and types, not what the tables mean: see ``catalogue.py`` and ``harness/report/waivers.py``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TypeVar

from harness.errors import BadInputError

E = TypeVar("E", bound=Enum)


@dataclass
class Table:
    """One table of an array of tables, with typed getters; ``finish`` rejects keys that nobody asked for."""

    path: Path
    kind: str
    line: int
    values: dict[str, object]
    _asked: set[str] = field(default_factory=set)

    def error(self, what: str, *, key: str = "", remedy: str = "") -> BadInputError:
        """A BadInputError for this table."""
        name = self.values.get("id")
        where = f"line {self.line}: {self.kind}" + (f" {name}" if isinstance(name, str) else "")
        return BadInputError(what, path=self.path, where=where + (f", key '{key}'" if key else ""), remedy=remedy)

    def text(self, key: str, default: str | None = None) -> str:
        """A string, with white space at its ends removed; never empty unless ``default`` is."""
        value = self._get(key, default)
        if not isinstance(value, str):
            raise self.error(f"must be a string, not {value!r}", key=key)
        if not value.strip() and default is None:
            raise self.error("must not be empty", key=key)
        return " ".join(value.split())

    def texts(self, key: str) -> tuple[str, ...]:
        """An array of strings; an absent key is an empty array."""
        value = self._get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.error(f"must be an array of strings, not {value!r}", key=key)
        if len(set(value)) != len(value):
            raise self.error("names something twice", key=key)
        return tuple(value)

    def pairs(self, key: str) -> Mapping[str, str]:
        """A table of strings; an absent key is an empty table."""
        value = self._get(key, {})
        if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
            raise self.error(f"must be a table of strings, not {value!r}", key=key)
        return dict(value)

    def choice(self, key: str, kind: type[E]) -> E:
        """A member of an enumeration, by its value."""
        value = self._get(key, None)
        try:
            return kind(value)
        except ValueError:
            known = ", ".join(str(member.value) for member in kind)
            raise self.error(f"must be one of {known}, not {value!r}", key=key) from None

    def optional_choice(self, key: str, kind: type[E]) -> E | None:
        """A member of an enumeration, or None when the key is absent."""
        self._asked.add(key)
        return self.choice(key, kind) if key in self.values else None

    def finish(self) -> None:
        """Raise BadInputError for a key that is not known."""
        for key in self.values:
            if key not in self._asked:
                known = ", ".join(sorted(self._asked))
                raise self.error("is not a known key", key=key, remedy=f"known keys: {known}")

    def _get(self, key: str, default: object) -> object:
        self._asked.add(key)
        if key not in self.values and default is None:
            raise self.error("is missing", key=key)
        return self.values.get(key, default)


def load_tables(path: Path, kind: str) -> list[Table]:
    """The ``[[kind]]`` tables of a TOML file, in order; BadInputError when the file holds anything else."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInputError(f"cannot be read: {error.strerror}", path=path) from None
    except UnicodeDecodeError as error:
        raise BadInputError("is not UTF-8 text", path=path, where=f"byte {error.start}") from None
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadInputError(f"is not valid TOML: {error}", path=path, remedy="see https://toml.io") from None
    for key in document:
        if key != kind:
            raise BadInputError(f"unexpected key '{key}'", path=path, remedy=f"this file holds [[{kind}]] tables only")
    entries = document.get(kind, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise BadInputError(f"'{kind}' is not an array of tables", path=path, remedy=f"write [[{kind}]]")
    lines = _header_lines(text, kind)
    return [
        Table(path, kind, lines[index] if index < len(lines) else 1, dict(entry)) for index, entry in enumerate(entries)
    ]


def _header_lines(text: str, kind: str) -> list[int]:
    """Line numbers of the ``[[kind]]`` headers; tomllib does not keep positions."""
    header = re.compile(rf"\s*\[\[\s*{re.escape(kind)}\s*\]\]")
    return [number for number, line in enumerate(text.splitlines(), 1) if header.match(line)]
