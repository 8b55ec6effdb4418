"""Waivers: known deviations of one target, for one rule, one version range and one exact observation.

Read from ``suites/waivers/*.toml``.  It does not decide verdicts: the judge asks ``find``, ``claims.py`` looks for
waivers that no longer match anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from harness.errors import BadInputError
from harness.rules.tables import Table, load_tables

DEFAULT_DIRECTORY = Path("suites/waivers")


@dataclass(frozen=True, kw_only=True)
class Waiver:
    """One waiver; it covers exactly one observed value.

    ``versions`` is a PEP 440 specifier set (``>=10.0,<12``); ``observed`` maps observation fields to exact values and
    ``signature`` is the judge's stable text: at least one is given, and both must match where both are.
    """

    id: str
    target: str
    versions: str
    rule: str
    reason: str
    link: str
    since: str = ""
    signature: str = ""
    observed: Mapping[str, str] = field(default_factory=dict)

    def applies(self, target: str, version: str) -> bool:
        """Whether it is about this target in this version; a version that is not PEP 440 is never covered."""
        if target != self.target:
            return False
        try:
            return SpecifierSet(self.versions).contains(Version(version), prereleases=True)
        except InvalidVersion:
            return False

    def covers(self, rule: str, signature: str, observed: Mapping[str, str]) -> bool:
        """Whether it covers this observation of a deviation from ``rule``."""
        if rule != self.rule or (self.signature and signature != self.signature):
            return False
        return all(observed.get(name) == value for name, value in self.observed.items())


def load_waivers(directory: Path) -> tuple[Waiver, ...]:
    """Every waiver of a directory (none when it does not exist); BadInputError for a malformed one or an id twice."""
    waivers: dict[str, Waiver] = {}
    for path in sorted(directory.glob("*.toml")):
        for table in load_tables(path, "waiver"):
            waiver = _waiver(table)
            if waiver.id in waivers:
                raise table.error("the id is already used", key="id")
            waivers[waiver.id] = waiver
    return tuple(waivers.values())


def find(waivers: Iterable[Waiver], rules: Iterable[str], signature: str, observed: Mapping[str, str]) -> Waiver | None:
    """The first waiver that covers an observation made while checking ``rules``; filter with ``applies`` beforehand."""
    cited = tuple(rules)
    for waiver in waivers:
        if any(waiver.covers(rule, signature, observed) for rule in cited):
            return waiver
    return None


def _waiver(table: Table) -> Waiver:
    waiver = Waiver(
        id=table.text("id"),
        target=table.text("target"),
        versions=table.text("versions"),
        rule=table.text("rule"),
        reason=table.text("reason"),
        link=table.text("link"),
        since=table.text("since"),
        signature=table.text("signature", ""),
        observed=table.pairs("observed"),
    )
    table.finish()
    try:
        SpecifierSet(waiver.versions)
    except InvalidSpecifier:
        raise _versions(table, waiver) from None
    if not list(SpecifierSet(waiver.versions)):
        raise _versions(table, waiver)
    if not waiver.signature and not waiver.observed:
        raise table.error("must name one exact observation", remedy="add 'signature' or a table 'observed'")
    return waiver


def _versions(table: Table, waiver: Waiver) -> BadInputError:
    what = f"{waiver.versions!r} is not a version range"
    return table.error(what, key="versions", remedy='write it like ">=10.0,<12"')
