"""The rule catalogue: rules, the threats they counter and the profiles that claims are made against.

Read from ``suites/rules/*.toml``: ``threats.toml`` and ``profiles.toml``, every other file holds ``[[rule]]`` tables.
It does not know tests or mutants beyond their names: see ``lint.py``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from harness.errors import BadInputError
from harness.rules.tables import Table, load_tables

DEFAULT_DIRECTORY = Path("suites/rules")
_ID = re.compile(r"[A-Z][A-Z0-9]*(?:[-_][A-Z0-9]+)+")


class Level(Enum):
    """How binding a rule is: always, advice, or only where an optional feature is present."""

    MANDATORY = "mandatory"
    RECOMMENDED = "recommended"
    OPTIONAL = "optional"


class ReservedVerdict(Enum):
    """The verdict that a reserved rule gets in every report."""

    NOT_APPLICABLE = "NOT_APPLICABLE"
    NOT_OBSERVABLE = "NOT_OBSERVABLE"


@dataclass(frozen=True, kw_only=True)
class Threat:
    """What an attacker could do if the rules that name it did not hold."""

    id: str
    title: str
    summary: str


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What a claim is made against: the rules that name it and have one of its ``levels``.

    ``needs`` names what a target may be without, so that there is nothing to claim: "realm that can be asked".
    """

    id: str
    title: str
    summary: str
    levels: tuple[Level, ...]
    needs: str = ""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule.

    ``architecture_ids``: the document's own ids where known; ``section``: a section or a pseudocode function;
    ``tests``: prefixes of pytest node ids; ``reserved``: why it cannot be tested today, with ``reserved_verdict``.
    """

    id: str
    title: str
    document: str
    issue: str
    section: str
    summary: str
    level: Level
    feature: str
    threat: str
    profiles: tuple[str, ...]
    tests: tuple[str, ...]
    mutants: tuple[str, ...]
    architecture_ids: tuple[str, ...]
    reserved: str
    reserved_verdict: ReservedVerdict | None
    source: str

    @property
    def citation(self) -> str:
        """Document, issue, section and the architecture's ids, as one line."""
        parts = [f"{self.document} issue {self.issue}" if self.issue else self.document, self.section]
        return ", ".join([part for part in parts if part] + list(self.architecture_ids))


@dataclass(frozen=True)
class Catalogue:
    """All rules, threats and profiles by id, in file order, and the sha256 of the files they were read from."""

    rules: Mapping[str, Rule]
    threats: Mapping[str, Threat]
    profiles: Mapping[str, Profile]
    digest: str

    def members(self, profile: Profile) -> tuple[Rule, ...]:
        """The rules of a profile."""
        return tuple(r for r in self.rules.values() if profile.id in r.profiles and r.level in profile.levels)


def matches(prefix: str, node: str) -> bool:
    """Whether a pytest node id is the test, class, file or folder that ``prefix`` names, or a case of it."""
    return node == prefix or (node.startswith(prefix) and node[len(prefix)] in "[:/")


def load_catalogue(directory: Path) -> Catalogue:
    """Read every ``*.toml`` of a directory.

    Raises BadInputError (file, line, table, key) for anything malformed, an id used twice, or a rule that names an
    unknown profile.  A threat that does not exist is left to the linter.
    """
    paths = sorted(directory.glob("*.toml"))
    if not paths:
        raise BadInputError("holds no rule catalogue", path=directory, remedy="run in the project or give --rules DIR")
    rules, threats, profiles = [], [], []
    for path in paths:
        match path.name:
            case "threats.toml":
                threats = [(table, _threat(table)) for table in load_tables(path, "threat")]
            case "profiles.toml":
                profiles = [(table, _profile(table)) for table in load_tables(path, "profile")]
            case _:
                rules += [(table, _rule(table)) for table in load_tables(path, "rule")]
    catalogue = Catalogue(
        {rule.id: rule for _, rule in rules},
        {threat.id: threat for _, threat in threats},
        {profile.id: profile for _, profile in profiles},
        _digest(paths),
    )
    for group in (rules, threats, profiles):
        _reject_duplicates(group)
    for table, rule in rules:
        for name in rule.profiles:
            if name not in catalogue.profiles:
                known = ", ".join(catalogue.profiles) or "none"
                raise table.error(f"names unknown profile {name!r}", key="profiles", remedy=f"known: {known}")
    return catalogue


def _threat(table: Table) -> Threat:
    threat = Threat(id=table.text("id"), title=table.text("title"), summary=table.text("summary"))
    table.finish()
    return threat


def _profile(table: Table) -> Profile:
    levels = table.texts("levels") or (Level.MANDATORY.value, Level.OPTIONAL.value)
    try:
        chosen = tuple(Level(level) for level in levels)
    except ValueError as error:
        raise table.error(str(error), key="levels", remedy="use mandatory, recommended, optional") from None
    profile = Profile(
        id=table.text("id"),
        title=table.text("title"),
        summary=table.text("summary", ""),
        levels=chosen,
        needs=table.text("needs", ""),
    )
    table.finish()
    return profile


def _rule(table: Table) -> Rule:
    rule = Rule(
        id=table.text("id"),
        title=table.text("title"),
        document=table.text("document"),
        issue=table.text("issue", ""),
        section=table.text("section"),
        summary=table.text("summary"),
        level=table.choice("level", Level),
        feature=table.text("feature", ""),
        threat=table.text("threat"),
        profiles=table.texts("profiles"),
        tests=table.texts("tests"),
        mutants=table.texts("mutants"),
        architecture_ids=table.texts("architecture_ids"),
        reserved=table.text("reserved", ""),
        reserved_verdict=table.optional_choice("reserved_verdict", ReservedVerdict),
        source=f"{table.path}:{table.line}",
    )
    table.finish()
    _check_rule(table, rule)
    return rule


def _check_rule(table: Table, rule: Rule) -> None:
    if not _ID.fullmatch(rule.id):
        raise table.error(f"{rule.id!r} is not a rule id", key="id", remedy="write it like GPC-001 or R_ABCDE")
    if (rule.level is Level.OPTIONAL) != bool(rule.feature):
        raise table.error("an optional rule, and only that, names its feature", key="feature")
    if bool(rule.reserved) != (rule.reserved_verdict is not None):
        raise table.error("a reserved rule, and only that, has both 'reserved' (why) and 'reserved_verdict'")
    if rule.reserved and (rule.tests or rule.mutants):
        raise table.error("a reserved rule has no tests and no mutants", key="reserved")


def _reject_duplicates(group: Iterable[tuple[Table, Rule] | tuple[Table, Threat] | tuple[Table, Profile]]) -> None:
    seen: dict[str, Table] = {}
    for table, item in group:
        if item.id in seen:
            first = seen[item.id]
            raise table.error(f"the id is already used at {first.path}:{first.line}", key="id")
        seen[item.id] = table


def _digest(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        data = path.read_bytes()
        digest.update(f"{path.name}\0{len(data)}\0".encode())
        digest.update(data)
    return digest.hexdigest()
