"""Tokens for the tests of attestation: the recorded one, and a minted one of every combination."""

from __future__ import annotations

from pathlib import Path

from harness.attestation.build import TokenParts, dismantle, new_key
from harness.attestation.mint import Statement, mint_parts
from refmodel.attestation.profiles import COMBINATIONS, REALM_PROFILES, Combination, KeyForm
from refmodel.rmm.measurement import HashAlgorithm

RECORDED = Path(__file__).parent / "data" / "realm-token-sha256.cbor"
_HASHES = tuple(HashAlgorithm)


def combination(name: str) -> Combination:
    """The first combination of a name."""
    return next(made for made in COMBINATIONS if made.name == name)


def parts_of(made: Combination, index: int = 0) -> TokenParts:
    """A token of a combination; ``index`` chooses hash algorithms, and at 1 the slow curve."""
    forms = made.keys & REALM_PROFILES[made.realm_rules].keys
    fast = "P-521" if index == 1 else "P-256"
    curve = fast if KeyForm.COSE_KEY in forms else "P-384"
    statement = Statement(
        realm_hash=_HASHES[index % 3],
        rak_hash=_HASHES[(index + 1) % 3],
        platform_hash=_HASHES[(index + 2) % 3],
        challenge=bytes(range(64)),
        rpv=bytes(range(64, 128)),
    )
    return mint_parts(made, statement, cpak=new_key(fast), rak=new_key(curve))


def recorded_parts() -> TokenParts:
    """The recorded token, signed anew by keys of ours."""
    return dismantle(RECORDED.read_bytes(), new_key("P-384"))
