"""Tables of the TOML files that people write for ``realmcheck rim`` and ``realmcheck token appraise``.

Getters name file, table and key in their errors.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness.errors import BadInputError

_REMEDY: Final = "see docs/reference/attestation.md for the format"


@dataclass(frozen=True)
class Table:
    """A table of a file; ``where`` says which, empty for the whole document."""

    path: Path
    where: str
    values: dict[str, Any]

    def error(self, what: str, remedy: str = _REMEDY) -> BadInputError:
        """A BadInputError for this table."""
        return BadInputError(what, path=self.path, where=self.where, remedy=remedy)

    def only(self, *known: str) -> None:
        """BadInputError for a key that is not among ``known``."""
        for key in self.values:
            if key not in known:
                raise self.error(f"key '{key}' is not known", remedy=f"known keys: {', '.join(known)}")

    def number(self, key: str, default: int | None = None, bits: int = 64) -> int:
        """An unsigned integer."""
        value = self.values.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << bits:
            raise self.error(f"key '{key}' must be an integer of {bits} bits, not {value!r}")
        return value

    def text(self, key: str) -> str:
        """A string."""
        value = self.values.get(key)
        if not isinstance(value, str):
            raise self.error(f"key '{key}' must be a string, not {value!r}")
        return value

    def optional(self, key: str) -> str | None:
        """A string, None when the key is absent."""
        return self.text(key) if key in self.values else None

    def digits(self, key: str, sizes: tuple[int, ...] = (), default: bytes | None = None) -> bytes:
        """Bytes in hexadecimal, of one of ``sizes`` where those are given."""
        if default is not None and key not in self.values:
            return default
        return self.bytes_of(self.text(key), key, sizes)

    def bytes_of(self, text: str, key: str, sizes: tuple[int, ...] = ()) -> bytes:
        """The bytes of a string that stands under ``key``."""
        try:
            value = bytes.fromhex(text)
        except ValueError:
            raise self.error(f"key '{key}' must be hexadecimal digits, not {text!r}") from None
        if sizes and len(value) not in sizes:
            raise self.error(f"key '{key}' must have {' or '.join(map(str, sizes))} bytes, not {len(value)}")
        return value

    def several(self, key: str, sizes: tuple[int, ...] = ()) -> frozenset[bytes]:
        """One or more byte strings in hexadecimal; none when the key is absent."""
        value = self.values.get(key, [])
        entries = [value] if isinstance(value, str) else value
        if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
            raise self.error(f"key '{key}' must be a string or an array of strings")
        return frozenset(self.bytes_of(entry, key, sizes) for entry in entries)

    def tables(self, key: str) -> list[Table]:
        """The tables of an array."""
        found = self.values.get(key, [])
        if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
            raise self.error(f"'{key}' must be an array of tables", remedy=f"write [[{key}]]")
        prefix = f"{self.where} " if self.where else ""
        return [Table(self.path, f"{prefix}[[{key}]] {number}", entry) for number, entry in enumerate(found, 1)]


def read_document(path: Path) -> Table:
    """A whole TOML file; BadInputError when it cannot be read or is none."""
    try:
        return Table(path, "", tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise BadInputError(f"cannot be read: {error.strerror}", path=path) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInputError(f"is not valid TOML: {error}", path=path, remedy=_REMEDY) from None
