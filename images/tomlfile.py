"""Reading our TOML files with errors that name file, line and key."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from images.errors import ImageError


@dataclass(frozen=True)
class Table:
    """One table of a TOML file: its dotted ``name`` (empty at the top) and its ``values``, with typed readers."""

    path: Path
    text: str
    name: str
    values: Mapping[str, object]

    def error(self, what: str, key: str = "", remedy: str = "") -> ImageError:
        """An ImageError that points at ``key`` of this table, or at the table's head."""
        line = self._line_of(key)
        place = ".".join(part for part in (self.name, key) if part)
        return ImageError(f"{place}: {what}" if place else what, where=f"{self.path}:{line}", remedy=remedy)

    def string(self, key: str, default: str | None = None) -> str:
        """The string at ``key``; ImageError when it is something else, or absent without a default."""
        value = self.values.get(key, default)
        if not isinstance(value, str):
            raise self.error(f"must be a string, not {value!r}" if key in self.values else "is missing", key)
        return value

    def integer(self, key: str, default: int | None = None) -> int:
        """The integer at ``key``; ImageError when it is something else, or absent without a default."""
        value = self.values.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.error(f"must be an integer, not {value!r}" if key in self.values else "is missing", key)
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """The number at ``key``; ImageError when it is something else, or absent without a default."""
        value = self.values.get(key, default)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self.error(f"must be a number, not {value!r}" if key in self.values else "is missing", key)
        return float(value)

    def boolean(self, key: str, default: bool | None = None) -> bool:
        """The boolean at ``key``; ImageError when it is something else, or absent without a default."""
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            raise self.error(f"must be true or false, not {value!r}" if key in self.values else "is missing", key)
        return value

    def strings(self, key: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """The list of strings at ``key``; ImageError when it is something else, or absent without a default."""
        if key not in self.values and default is not None:
            return default
        value = self.values.get(key)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.error(f"must be a list of strings, not {value!r}" if key in self.values else "is missing", key)
        return tuple(value)

    def table(self, key: str) -> Table:
        """The table at ``key``; ImageError when there is none."""
        value = self.values.get(key)
        if not isinstance(value, dict):
            raise self.error("must be a table" if key in self.values else "is missing", key)
        return Table(self.path, self.text, f"{self.name}.{key}" if self.name else key, value)

    def tables(self, key: str) -> tuple[Table, ...]:
        """The array of tables at ``key``, empty without one; a table of it is named ``KEY#NUMBER``, from 1 on."""
        value = self.values.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.error(f"must be an array of tables, [[{key}]]", key)
        name = f"{self.name}.{key}" if self.name else key
        return tuple(Table(self.path, self.text, f"{name}#{number}", item) for number, item in enumerate(value, 1))

    def only(self, known: Iterable[str]) -> None:
        """ImageError when the table has a key outside ``known``."""
        allowed = sorted(known)
        for key in self.values:
            if key not in allowed:
                raise self.error("is not a known key", key, remedy=f"known keys: {', '.join(allowed)}")

    def _line_of(self, key: str) -> int:
        inside = not self.name
        head = 1
        arrays: Counter[str] = Counter()
        for number, line in enumerate(self.text.splitlines(), 1):
            if found := re.match(r"\s*(\[{1,2})([^\[\]]+)\]", line):
                name = found[2].strip()
                if found[1] == "[[":
                    arrays[name] += 1
                    name = f"{name}#{arrays[name]}"
                inside = name == self.name
                if inside:
                    head = number
            elif inside and key and re.match(rf"\s*\"?{re.escape(key)}\"?\s*=", line):
                return number
        return head


def load(path: Path) -> Table:
    """The top table of a TOML file; ImageError with file and line when it cannot be read or parsed."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise ImageError(f"not UTF-8 at byte {error.start}", where=str(path), remedy="restore the file") from error
    try:
        return Table(path, text, "", tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+)", str(error))
        line = found.group(1) if found else str(max(1, len(text.splitlines())))
        what = str(error).partition(" (at ")[0]
        raise ImageError(
            f"not valid TOML: {what}",
            where=f"{path}:{line}",
            remedy="correct it, or restore the file if it was cut off",
        ) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of brackets
        raise ImageError(f"not valid TOML: {error}", where=str(path), remedy="correct or restore the file") from error
