"""Fuzzing the token verifier, guided by coverage where atheris is installed (``tox run -e fuzz``).

Two targets.  ``bytes``: any bytes as a token.  ``claims``: any bytes as the realm's claims, signed and bound as the
platform and the realm would do it, so that nothing but the rules about claims stands between them and acceptance.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cbor2

from harness.attestation.build import Raw, Tagged, TokenParts, encode, sign
from harness.attestation.show import tree
from harness.attestation.verify import Status, verify_token
from harness.tests.attestation_samples import RECORDED, recorded_parts

SLOWEST = 2.0
"""Seconds of CPU time that any input of a few kilobytes may take; a tenth of it is what a large one needs."""

_HASHES = {"sha-256": 32, "sha-384": 48, "sha-512": 64}
_REALM_AT = RECORDED.read_bytes().index(b"\x19\xac\xd1")


def any_bytes(data: bytes) -> None:
    """Any bytes end in a status, soon, and what is accepted has the recorded realm token to the last byte."""
    started = time.process_time()
    made = verify_token(data)
    tree(made)
    assert time.process_time() - started < SLOWEST
    if made.status is Status.UNVERIFIED:
        assert RECORDED.read_bytes()[_REALM_AT:] in data or data[:1] != b"\xd9"
    else:
        assert made.findings.errors


def with_payload(parts: TokenParts, payload: bytes) -> bytes:
    """A token whose realm claims are these bytes, signed by the RAK; the binding stands as it was."""
    protected = encode(parts.realm.protected)
    signature = sign(parts.realm.key, protected, payload)
    made = Tagged(18, (protected, Raw(b"\xa0"), payload, signature))
    return replace(parts, realm_bytes=encode(made)).build()


def any_claims(parts: TokenParts) -> Callable[[bytes], None]:
    """Claims that are accepted are what RMM 1.0 asks for, as another decoder reads them."""
    key = parts.platform.key.public_key()

    def target(payload: bytes) -> None:
        if verify_token(with_payload(parts, payload), platform_key=key).status is Status.VALID:
            assert acceptable(payload), payload.hex()

    return target


def acceptable(payload: bytes) -> bool:
    """The rules of the 1.0 realm profile once more, without any of the code under test."""
    claims = cbor2.loads(payload)
    size = _HASHES.get(claims.get(44236), 0)
    digests = [claims.get(44238), *(claims.get(44239) or ())]
    return (
        claims.get(265) in ("tag:arm.com,2023:realm#1.0.0", None)
        and all(isinstance(claims.get(label), bytes) and len(claims[label]) == 64 for label in (10, 44235))
        and isinstance(claims.get(44237), bytes)
        and claims.get(44240) in _HASHES
        and len(digests) == 5
        and all(isinstance(digest, bytes) and len(digest) == size for digest in digests)
        and not {256, 44243, 44244, 44257, 2395, 2396} & set(claims)
    )


def main() -> None:
    """``fuzz_attestation.py bytes|claims CORPUS [libFuzzer options]``."""
    name, corpus, *options = sys.argv[1:]
    atheris: Any = importlib.import_module("atheris")
    parts = recorded_parts()
    seeds = Path(corpus) / name
    seeds.mkdir(parents=True, exist_ok=True)
    seed = RECORDED.read_bytes() if name == "bytes" else encode(parts.realm.claims)
    (seeds / "seed").write_bytes(seed)
    atheris.instrument_all()
    limits = ["-max_len=4096", "-timeout=10", "-rss_limit_mb=1024"]
    atheris.Setup([sys.argv[0], str(seeds), *limits, *options], any_bytes if name == "bytes" else any_claims(parts))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
