"""Memory of the model machine that is really encrypted: XTS per line, a key per address space and MECID, dirty caches.

Plaintext is kept in cache lines, tagged with space and MECID, until it is cleaned, invalidated or missed by another
context; what leaves them is ciphertext.  All PEs share the caches: accesses by one are seen by the others.  What is
declared: ``hit_mismatch`` (an access hits a line of its space, whatever its MECID) and ``integrity`` (each line has a
code, and a read whose code does not fit is refused).
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from refmodel.mec.memory import Choices, Tag
from refmodel.memory import Memory
from refmodel.pas import PASpace

LINE: Final = 64
_ROOT_KEY: Final = b"a model machine has no secrets"


class IntegrityError(Exception):
    """The code of a line does not fit the context that reads it."""


@dataclass
class _Held:
    """A cache line above the Point of Encryption."""

    data: bytearray
    dirty: bool = False


def key_of(tag: Tag) -> bytes:
    """The two 256-bit keys of XTS for a space and a MECID."""
    return hashlib.sha512(_ROOT_KEY + bytes([tag.pas.value]) + tag.mecid.to_bytes(2, "little")).digest()


def tweak_of(address: int) -> bytes:
    """The tweak of a line: its physical address."""
    return address.to_bytes(16, "little")


def crypt(tag: Tag, address: int, data: bytes, *, encrypt: bool) -> bytes:
    """Encrypt or decrypt one line."""
    cipher = Cipher(algorithms.AES(key_of(tag)), modes.XTS(tweak_of(address)))
    context = cipher.encryptor() if encrypt else cipher.decryptor()
    return context.update(data) + context.finalize()


@dataclass
class EncryptedMemory:
    """Caches and encryption in front of ``memory``, which holds ciphertext as soon as something was written back."""

    memory: Memory
    choices: Choices = field(default_factory=lambda: Choices(hit_mismatch=False, integrity=False))

    def __post_init__(self) -> None:
        self._lines: dict[tuple[int, Tag], _Held] = {}
        self._behind: dict[tuple[int, PASpace], bytes] = {}
        self._codes: dict[int, bytes] = {}

    def read(self, tag: Tag, pa: int, length: int, *, cacheable: bool) -> bytes:
        """Bytes at ``pa``; IntegrityError when a line is refused."""
        parts = []
        while length:
            line, offset = pa & -LINE, pa % LINE
            size = min(length, LINE - offset)
            parts.append(bytes(self._line(tag, line, keep=cacheable).data[offset : offset + size]))
            pa, length = pa + size, length - size
        return b"".join(parts)

    def write(self, tag: Tag, pa: int, data: bytes, *, cacheable: bool) -> None:
        """Store bytes that lie within lines; a Non-cacheable write goes through to memory."""
        while data:
            line, offset = pa & -LINE, pa % LINE
            part, data = data[: LINE - offset], data[LINE - offset :]
            held = self._for_write(tag, line)
            held.data[offset : offset + len(part)] = part
            held.dirty = True
            if not cacheable:
                self._write_back(line, self._tag_of(line, held))
                self._drain(line)
            pa += len(part)

    def clean_invalidate(self, pas: PASpace, pa: int, *, to_poe: bool, requester: Tag) -> None:
        """DC CIPAE or CIPAPA: every copy of the space leaves with its own MECID; ``requester`` does not matter."""
        del requester
        if to_poe and pas is not PASpace.PAS_Realm:
            return
        line = pa & -LINE
        for tag in self.tags(line, pas):
            self._write_back(line, tag)
            del self._lines[line, tag]
        if not to_poe:
            self._drain(line)

    def tags(self, line: int, pas: PASpace) -> list[Tag]:
        """Contexts of the copies of a line in a space."""
        return [tag for at, tag in self._lines if at == line and tag.pas is pas]

    def _tag_of(self, line: int, held: _Held) -> Tag:
        return next(tag for (at, tag), known in self._lines.items() if at == line and known is held)

    def _hit(self, tag: Tag, line: int) -> _Held | None:
        own = self._lines.get((line, tag))
        if own is None and self.choices.hit_mismatch:
            others = self.tags(line, tag.pas)
            return self._lines[line, others[0]] if others else None
        return own

    def _line(self, tag: Tag, line: int, *, keep: bool) -> _Held:
        """The line as ``tag`` sees it; a context that misses makes others of its space leave first."""
        held = self._hit(tag, line)
        if held is not None:
            return held
        for other in self.tags(line, tag.pas):
            self._write_back(line, other)
            del self._lines[line, other]
        made = _Held(bytearray(self._fetch(tag, line)))
        if keep:
            self._lines[line, tag] = made
        return made

    def _for_write(self, tag: Tag, line: int) -> _Held:
        try:
            return self._line(tag, line, keep=True)
        except IntegrityError:
            # What is there is of another context; the write takes the line over.
            self._lines[line, tag] = _Held(bytearray(LINE))
            return self._lines[line, tag]

    def _fetch(self, tag: Tag, line: int) -> bytes:
        cipher = self._behind.get((line, tag.pas)) or self.memory.read(line, LINE)
        if self.choices.integrity and line in self._codes and self._codes[line] != self._code(tag, line, cipher):
            raise IntegrityError(f"{tag} reads a line of another context at {line:#x}")
        return crypt(tag, line, cipher, encrypt=False)

    def _write_back(self, line: int, tag: Tag) -> None:
        held = self._lines[line, tag]
        if not held.dirty:
            return
        # One place behind the Point of Encryption for a line: an older one of another space goes to memory first.
        self._drain(line)
        cipher = crypt(tag, line, bytes(held.data), encrypt=True)
        self._behind[line, tag.pas] = cipher
        self._codes[line] = self._code(tag, line, cipher)
        held.dirty = False

    def _drain(self, line: int) -> None:
        for at, pas in [key for key in self._behind if key[0] == line]:
            self.memory.write(at, self._behind.pop((at, pas)))

    def _code(self, tag: Tag, line: int, cipher: bytes) -> bytes:
        return hmac.digest(key_of(tag), tweak_of(line) + cipher, "sha256")[:8]
