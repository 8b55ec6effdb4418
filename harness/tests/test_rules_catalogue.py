"""Reading the rule catalogue: what is kept, and that every malformed table is named with file, line and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import BadInputError
from harness.rules.catalogue import Level, ReservedVerdict, load_catalogue, matches
from harness.tests.report_samples import PROFILES, RULES, THREATS, write_rules


def test_a_catalogue_is_read(tmp_path: Path) -> None:
    catalogue = load_catalogue(write_rules(tmp_path / "rules"))
    assert list(catalogue.rules) == ["GPC-001", "GPC-002", "GPC-090"]
    rule = catalogue.rules["GPC-001"]
    assert (rule.level, rule.threat, rule.tests) == (
        Level.MANDATORY,
        "T-READ",
        ("suites/gpt/test_gpi.py::test_matrix",),
    )
    assert rule.citation == "DDI 0487 issue L.b, GPIValid()"
    assert rule.source.endswith("gpc.toml:2")
    assert catalogue.rules["GPC-090"].reserved_verdict is ReservedVerdict.NOT_APPLICABLE
    assert [item.id for item in catalogue.members(catalogue.profiles["rme-gpc"])] == list(catalogue.rules)


def test_a_profile_selects_levels(tmp_path: Path) -> None:
    profiles = PROFILES + 'levels = ["mandatory"]\n'
    catalogue = load_catalogue(write_rules(tmp_path / "rules", profiles=profiles))
    assert [item.id for item in catalogue.members(catalogue.profiles["rme-gpc"])] == ["GPC-001", "GPC-090"]


def test_the_digest_follows_every_byte_and_every_name(tmp_path: Path) -> None:
    directory = write_rules(tmp_path / "rules")
    first = load_catalogue(directory).digest
    assert load_catalogue(directory).digest == first
    write_rules(directory, RULES + "\n# a comment\n")
    second = load_catalogue(directory).digest
    (directory / "gpc.toml").rename(directory / "gpt.toml")
    assert len({first, second, load_catalogue(directory).digest}) == 3


@pytest.mark.parametrize(
    ("prefix", "node", "expected"),
    [
        ("suites/a.py::test", "suites/a.py::test", True),
        ("suites/a.py::test", "suites/a.py::test[x]", True),
        ("suites/a.py::test", "suites/a.py::test_more", False),
        ("suites/a.py", "suites/a.py::test", True),
        ("suites", "suites/a.py::test", True),
        ("suites/a.py::test[x]", "suites/a.py::test", False),
    ],
)
def test_matches(prefix: str, node: str, expected: bool) -> None:
    assert matches(prefix, node) == expected


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('title = "Access from a foreign PAS faults"', "", r"gpc.toml: line 2: rule GPC-001, key 'title': is missing"),
        ('level = "mandatory"', 'level = "must"', "key 'level': must be one of mandatory, .* not 'must'"),
        ('level = "mandatory"', 'level = "optional"', "key 'feature': an optional rule, and only that"),
        ('feature = "FEAT_X"', "", "line 14: rule GPC-002, key 'feature': an optional rule"),
        ('id = "GPC-001"', 'id = "gpc 1"', "key 'id': 'gpc 1' is not a rule id; write it like GPC-001"),
        ('id = "GPC-001"', "id = 1", "key 'id': must be a string, not 1"),
        ('id = "GPC-002"', 'id = "GPC-001"', "line 14: rule GPC-001, key 'id': the id is already used at .*gpc.toml:2"),
        ('profiles = ["rme-gpc"]', 'profiles = ["rme"]', "key 'profiles': names unknown profile 'rme'; known: rme-gpc"),
        ('profiles = ["rme-gpc"]', 'profiles = "rme-gpc"', "must be an array of strings"),
        ('profiles = ["rme-gpc"]', 'profiles = ["rme-gpc", "rme-gpc"]', "names something twice"),
        ('reserved_verdict = "NOT_APPLICABLE"', "", "line 26: rule GPC-090: a reserved rule, and only that"),
        ('reserved_verdict = "NOT_APPLICABLE"', 'reserved_verdict = "PASS"', "must be one of NOT_APPLICABLE"),
        ('"NOT_APPLICABLE"', '"NOT_APPLICABLE"\nmutants = ["m"]', "has no tests and no mutants"),
        (
            'section = "H9"',
            'section = "H9"\nnote = "x"',
            "key 'note': is not a known key; known keys: architecture_ids",
        ),
        ('section = "H9"', "section = ", "is not valid TOML: .*line 30"),
    ],
)
def test_a_malformed_rule_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in RULES
    with pytest.raises(BadInputError, match=message) as caught:
        load_catalogue(write_rules(tmp_path / "rules", RULES.replace(old, new, 1)))
    assert "\n" not in str(caught.value)


def test_malformed_threats_and_profiles_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"profiles.toml: line 2: profile rme-gpc, key 'levels': 'must' is not"):
        load_catalogue(write_rules(tmp_path / "rules", profiles=PROFILES + 'levels = ["must"]\n'))
    with pytest.raises(BadInputError, match=r"threats.toml: unexpected key 'rule'; this file holds \[\[threat\]\]"):
        load_catalogue(write_rules(tmp_path / "rules", threats=RULES))
    with pytest.raises(BadInputError, match=r"threats.toml: line 7: threat T-READ, key 'id': the id is already used"):
        load_catalogue(write_rules(tmp_path / "rules", threats=THREATS + THREATS))


def test_an_empty_directory_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="holds no rule catalogue; run in the project or give --rules DIR"):
        load_catalogue(tmp_path)
