"""The reference of attestation names every claim, combination, rule across claims, status and generation there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.attestation.cbor import Limits
from harness.attestation.verify import Status
from refmodel.attestation.claims import PLATFORM_CLAIMS, REALM_CLAIMS
from refmodel.attestation.profiles import COMBINATIONS, PLATFORM_PROFILES, REALM_PROFILES
from refmodel.rmm.measurement import GENERATIONS

PAGE = (Path(__file__).resolve().parents[2] / "docs/reference/attestation.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("|")]


@pytest.mark.parametrize("claims", [REALM_CLAIMS, PLATFORM_CLAIMS], ids=["realm", "platform"])
def test_every_claim_has_a_row(claims: dict[int, object]) -> None:
    rows = {(row[0], row[1]) for row in ROWS if len(row) > 2}
    missing = [str(c) for c in claims.values() if (str(c.label), f"`{c.name}`") not in rows]  # type: ignore[attr-defined]
    assert missing == []


def test_presence_is_what_the_tables_say() -> None:
    """The columns of profiles against the profiles."""
    realm = {1: REALM_PROFILES["tag:arm.com,2023:realm#1.0.0"], 2: REALM_PROFILES["tag:arm.com,2024:realm#2.0.0"]}
    platform = {
        1: PLATFORM_PROFILES["tag:arm.com,2023:cca_platform#1.0.0"],
        2: PLATFORM_PROFILES["tag:arm.com,2024:cca_platform#2.0.0"],
        3: PLATFORM_PROFILES["tag:arm.com,2026:cca_platform#2.0.0"],
    }
    compared = 0
    for row in ROWS:
        if len(row) not in (5, 6) or not row[0].isdigit():
            continue
        profiles = realm if "realm" in row[1] else platform
        for column, profile in profiles.items():
            word = re.match(r"[MO-](?![a-z])", row[2 + column])
            if word:
                label = int(row[0])
                found = "M" if label in profile.mandatory else "O" if label in profile.optional else "-"
                assert word[0] == found, (row[1], column)
                compared += 1
    assert compared > 60


def test_names_are_there() -> None:
    names = [made.name for made in COMBINATIONS] + list(GENERATIONS) + [status.value for status in Status]
    assert [name for name in names if name not in PAGE] == []
    limits = Limits()
    assert (limits.size, limits.depth, limits.items) == (1 << 20, 16, 65536)
    assert "more than 1 MiB, more than 16 levels, more than 65,536 items" in PAGE
