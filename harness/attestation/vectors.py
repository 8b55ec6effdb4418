"""Sample tokens and keys out of TF-A's sources: C arrays of bytes, read where the sources are, never kept.

TF-A's platforms without a root of trust of their own answer with a sample platform token and a sample realm attestation
key (``*_plat_attest_token.c``, ``*_realm_attest_key.c``): what a real boot on QEMU returns.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from harness.attestation import keys
from harness.errors import BadInputError
from refmodel.attestation.rak import Point

_ARRAY: Final = re.compile(r"\buint8_t\s+(\w+)\s*\[\s*\w*\s*\]\s*=\s*\{(.*?)\}\s*;", re.DOTALL)
_COMMENT: Final = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_TOKEN, _KEY = "plat_attest_token.c", "realm_attest_key.c"
_KEY_BYTES: Final = 48
_SIZE_LIMIT: Final = 1 << 20


SAMPLE_CPAK: Final = Point(
    "P-384",
    bytes.fromhex(
        "04"
        "212867c52e2b9508b0a420a90560f394d2dfaa21bdd7514ff1a901afe7e1f78bb11d4e66f8a8a38afa76af6a31c4de8c"
        "84ce2dafc9964258b53fad718774f45620d111b176e8318e1187db0235a318d37ba597fee80e0e4c762a12bcb3ea6ed4"
    ),
)
"""The key that verifies TF-A's sample platform token.

Its private half is published too (iat-verifier of tf-m-tools), so it says nothing of a platform: anybody can sign.
"""


@dataclass(frozen=True)
class Sample:
    """What one platform's sources hold: its sample platform token, and the sample realm attestation key (P-384)."""

    platform: str
    token: bytes
    rak: keys.PrivateKey


def c_arrays(source: str) -> dict[str, bytes]:
    """The arrays of bytes in a C source, by name; ValueError for an element that is no byte."""
    text = _COMMENT.sub(" ", source)
    return {
        name: bytes(int(part, 0) for part in body.split(",") if part.strip()) for name, body in _ARRAY.findall(text)
    }


def samples(sources: Path) -> list[Sample]:
    """Every platform's samples in TF-A's sources, a tarball or a directory; BadInputError when there are none."""
    files = dict(_files(sources))
    found = []
    for name, text in sorted(files.items()):
        if name.endswith(_TOKEN):
            stem = name.removesuffix(_TOKEN)
            key = files.get(stem + _KEY)
            token = _the_array(text, name)
            if key is not None and token:
                platform = Path(stem).name.rstrip("_") or Path(stem).parent.name
                found.append(Sample(platform, token, _private(_the_array(key, stem + _KEY), stem + _KEY)))
    if not found:
        remedy = "give the sources of TF-A 2.8 or newer"
        raise BadInputError("holds no sample platform token", path=sources, remedy=remedy)
    return found


def _files(sources: Path) -> Iterator[tuple[str, str]]:
    """The two kinds of files by their path."""
    if sources.is_dir():
        for kind in (_TOKEN, _KEY):
            for path in sorted((sources / "plat").rglob(f"*{kind}")):
                yield path.relative_to(sources).as_posix(), path.read_text(errors="replace")
        return
    try:
        with tarfile.open(sources) as archive:
            for member in archive:
                if member.isfile() and member.name.endswith((_TOKEN, _KEY)) and member.size < _SIZE_LIMIT:
                    held = archive.extractfile(member)
                    if held is not None:
                        yield member.name, held.read().decode(errors="replace")
    except (OSError, tarfile.TarError) as error:
        raise BadInputError(f"cannot be read: {error}", path=sources) from None


def _the_array(text: str, name: str) -> bytes:
    """The longest array of a file; empty when it has none (a platform that asks a root of trust)."""
    try:
        return max(c_arrays(text).values(), key=len, default=b"")
    except ValueError as error:
        raise BadInputError(f"holds an array that is not of bytes: {error}", path=name) from None


def _private(scalar: bytes, name: str) -> keys.PrivateKey:
    if len(scalar) != _KEY_BYTES:
        raise BadInputError(f"the sample key has {len(scalar)} bytes, not {_KEY_BYTES}", path=name)
    return ec.derive_private_key(int.from_bytes(scalar, "big"), ec.SECP384R1())
