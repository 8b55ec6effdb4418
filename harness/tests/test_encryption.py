"""The encrypting memory of the model machine: a known answer, keys, tweaks, caches and codes, each by itself."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from harness.targets.encryption import LINE, EncryptedMemory, IntegrityError, crypt, key_of, tweak_of
from refmodel.mec.memory import Choices, Tag
from refmodel.memory import Memory, MemoryMap, Region, RegionKind
from refmodel.pas import PASpace

REALM, NS = PASpace.PAS_Realm, PASpace.PAS_NonSecure
A, B, N = Tag(REALM, 5), Tag(REALM, 6), Tag(NS, 5)
PA = 0x1000
DATA = b"sixteen bytes ok"


def memory(**choices: bool) -> EncryptedMemory:
    declared = {"hit_mismatch": False, "integrity": False} | choices
    return EncryptedMemory(Memory(MemoryMap((Region(0, 1 << 20, RegionKind.RAM),))), Choices(**declared))


def clean(made: EncryptedMemory, *, to_poe: bool = True, pas: PASpace = REALM) -> None:
    made.clean_invalidate(pas, PA, to_poe=to_poe, requester=B)


def test_ciphertext_is_that_of_xts() -> None:
    """Memory holds what XTS-AES-256 makes of the line with the context's key and the line's address as its tweak."""
    made = memory()
    made.write(A, PA, DATA + bytes(LINE - 16), cacheable=True)
    assert made.memory.read(PA, LINE) == bytes(LINE)
    clean(made, to_poe=False)
    encryptor = Cipher(algorithms.AES(key_of(A)), modes.XTS(PA.to_bytes(16, "little"))).encryptor()
    assert made.memory.read(PA, LINE) == encryptor.update(DATA + bytes(LINE - 16)) + encryptor.finalize()


def test_keys_and_tweaks_differ() -> None:
    assert len({key_of(Tag(pas, mecid)) for pas in PASpace for mecid in (0, 1, 0x100, 0xFFFF)}) == 16
    assert tweak_of(0) != tweak_of(LINE)
    line = bytes(LINE)
    assert len({crypt(tag, at, line, encrypt=True) for tag in (A, B, N) for at in (0, LINE)}) == 6


def test_to_the_poe_is_not_to_memory() -> None:
    """After DC CIPAE the same space reads it under its own MECID only; memory has it after DC CIPAPA."""
    made = memory()
    made.write(A, PA, DATA, cacheable=True)
    clean(made)
    assert made.memory.read(PA, LINE) == bytes(LINE)
    assert made.read(A, PA, 16, cacheable=True) == DATA
    assert made.read(B, PA, 16, cacheable=True) != DATA
    clean(made, to_poe=False)
    assert made.memory.read(PA, LINE) != bytes(LINE)


def test_the_line_keeps_its_mecid() -> None:
    made = memory()
    made.write(A, PA, DATA, cacheable=True)
    clean(made)  # requested by B
    assert made.read(A, PA, 16, cacheable=False) == DATA


@pytest.mark.parametrize("hit", [False, True])
def test_another_mecid_before_a_clean(hit: bool) -> None:
    made = memory(hit_mismatch=hit)
    made.write(A, PA, DATA, cacheable=True)
    assert (made.read(B, PA, 16, cacheable=True) == DATA) is hit


def test_other_spaces_keep_their_lines() -> None:
    made = memory()
    made.write(N, PA, DATA, cacheable=True)
    clean(made, pas=NS)
    assert made.tags(PA, NS) == [N]
    clean(made, to_poe=False, pas=NS)
    assert made.tags(PA, NS) == [] and made.read(N, PA, 16, cacheable=True) == DATA


def test_integrity() -> None:
    made = memory(integrity=True)
    made.write(A, PA, DATA, cacheable=True)
    clean(made)
    with pytest.raises(IntegrityError, match="0x1000"):
        made.read(B, PA, 16, cacheable=True)
    made.write(B, PA, DATA, cacheable=True)
    clean(made)
    assert made.read(B, PA, 16, cacheable=True) == DATA


def test_accesses_across_lines_and_past_the_caches() -> None:
    made = memory()
    at = PA + LINE - 8
    made.write(A, at, DATA, cacheable=False)
    assert made.memory.read(PA, LINE) != bytes(LINE) and made.memory.read(PA + LINE, LINE) != bytes(LINE)
    assert made.read(A, at, 16, cacheable=False) == DATA
