"""Waivers: they cover one exact observation, on one target, in one version range; malformed files are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import BadInputError
from harness.report import CheckResult, ClaimResult, Verdict, find, load_waivers, read_run, summarise
from harness.rules.catalogue import load_catalogue
from harness.tests.report_samples import MATRIX, WAIVER, check, header, write_rules, write_run

TEXT = """
[[waiver]]
id = "qemu-1"
target = "qemu"
versions = ">=11,<12"
rule = "GPC-001"
signature = "EC=0x25"
observed = { ESR_EL3 = "0x96" }
reason = "The pseudocode of GPIValid() says otherwise."
link = "docs/findings.md"
since = "2026-01"
"""


def test_a_waiver_is_read(tmp_path: Path) -> None:
    (tmp_path / "qemu.toml").write_text(TEXT)
    (waiver,) = load_waivers(tmp_path)
    assert (waiver.id, waiver.signature, waiver.observed) == ("qemu-1", "EC=0x25", {"ESR_EL3": "0x96"})
    assert load_waivers(tmp_path / "nowhere") == ()


@pytest.mark.parametrize(
    ("rules", "signature", "observed", "covered"),
    [
        (("GPC-001",), "EC=0x25", {"ESR_EL3": "0x96", "FAR_EL3": "0x0"}, True),
        (("GPC-009", "GPC-001"), "EC=0x25", {"ESR_EL3": "0x96"}, True),
        (("GPC-002",), "EC=0x25", {"ESR_EL3": "0x96"}, False),
        (("GPC-001",), "EC=0x26", {"ESR_EL3": "0x96"}, False),
        (("GPC-001",), "EC=0x25", {"ESR_EL3": "0x97"}, False),
        (("GPC-001",), "EC=0x25", {}, False),
    ],
)
def test_a_waiver_covers_only_the_exact_observation(
    tmp_path: Path, rules: tuple[str, ...], signature: str, observed: dict[str, str], covered: bool
) -> None:
    (tmp_path / "qemu.toml").write_text(TEXT)
    assert (find(load_waivers(tmp_path), rules, signature, observed) is not None) == covered


@pytest.mark.parametrize(
    ("target", "version", "applies"),
    [
        ("qemu", "11.1.3", True),
        ("qemu", "11.0", True),
        ("qemu", "11.1.0rc2", True),
        ("qemu", "12.0", False),
        ("qemu", "10.2.2", False),
        ("qemu", "unknown", False),
        ("board", "11.1.3", False),
    ],
)
def test_a_waiver_applies_to_its_target_and_versions(target: str, version: str, applies: bool) -> None:
    assert WAIVER.applies(target, version) == applies


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'reason = "The pseudocode of GPIValid() says otherwise."',
            "",
            r"line 2: waiver qemu-1, key 'reason': is missing",
        ),
        ('">=11,<12"', '"eleven"', "key 'versions': 'eleven' is not a version range"),
        ('">=11,<12"', '""', "key 'versions': must not be empty"),
        ('">=11,<12"', "11", "key 'versions': must be a string, not 11"),
        ('signature = "EC=0x25"\nobserved = { ESR_EL3 = "0x96" }', "", "one exact observation"),
        ('"0x96"', "0x96", "key 'observed': must be a table of strings"),
        ("since", "sinse", "key 'since': is missing"),
        ('since = "2026-01"', 'since = "2026-01"\nuntil = "x"', "key 'until': is not a known key; known keys"),
        ("[[waiver]]", "[[waver]]", "unexpected key 'waver'; this file holds"),
        ("[[waiver]]", "[waiver]", "not an array of tables"),
        ('id = "qemu-1"', 'id = "qemu-1', r"not valid TOML: .*line 3"),
    ],
)
def test_a_malformed_waiver_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in TEXT
    (tmp_path / "qemu.toml").write_text(TEXT.replace(old, new))
    with pytest.raises(BadInputError, match=message) as caught:
        load_waivers(tmp_path)
    assert str(caught.value).startswith(str(tmp_path / "qemu.toml")) and "\n" not in str(caught.value)


def test_an_id_used_twice_and_a_file_that_is_not_text_are_named(tmp_path: Path) -> None:
    (tmp_path / "qemu.toml").write_text(TEXT + TEXT)
    with pytest.raises(BadInputError, match="line 13: waiver qemu-1, key 'id': the id is already used"):
        load_waivers(tmp_path)
    (tmp_path / "qemu.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(BadInputError, match="byte 0: is not UTF-8 text"):
        load_waivers(tmp_path)


@pytest.mark.parametrize(
    ("checks", "complete", "unused"),
    [
        ((check(),), True, True),
        ((check(Verdict.WAIVED),), True, False),
        ((check(),), False, False),
        ((check(Verdict.NOT_RUN),), True, False),
        ((check(), check(Verdict.INCONCLUSIVE, test=f"{MATRIX}[b]")), True, False),
        ((check(test="suites/other.py::test"),), True, False),
    ],
)
def test_a_waiver_that_matches_nothing_fails_a_complete_run(
    tmp_path: Path, checks: tuple[CheckResult, ...], complete: bool, unused: bool
) -> None:
    catalogue = load_catalogue(write_rules(tmp_path / "rules"))
    run = read_run(write_run(tmp_path / "run", *checks, head=header(waivers=(WAIVER,)), complete=complete))
    summary = summarise(run, catalogue)
    assert [use.unused for use in summary.waivers] == [unused]
    named = any("qemu-1 matched nothing" in problem.text for problem in summary.problems)
    assert named == unused
    assert not unused or summary.result is ClaimResult.NON_CONFORMING


def test_a_waiver_for_another_version_cannot_be_used(tmp_path: Path) -> None:
    catalogue = load_catalogue(write_rules(tmp_path / "rules"))
    other = type(WAIVER)(**(vars(WAIVER) | {"versions": "<11"}))
    run = read_run(write_run(tmp_path / "run", check(Verdict.WAIVED), head=header(waivers=(other,))))
    summary = summarise(run, catalogue)
    assert summary.result is ClaimResult.NON_CONFORMING
    assert "waiver qemu-1 is for qemu <11" in summary.problems[0].text
    bare = read_run(write_run(tmp_path / "bare", check(Verdict.WAIVED)))
    assert "the header does not list it" in summarise(bare, catalogue).problems[0].text
