"""``realmcheck rules list|show|lint``: the rule catalogue on the command line."""

from __future__ import annotations

import argparse
import json
import textwrap
from pathlib import Path

from harness.errors import BadInputError, MisuseError
from harness.report.codec import encode
from harness.rules.catalogue import DEFAULT_DIRECTORY, Catalogue, Rule, load_catalogue
from harness.rules.collect import collect_mutants, collect_tests
from harness.rules.lint import lint


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``rules``."""
    parser = subparsers.add_parser("rules", help="list, show and lint the rules that every check cites")
    parser.add_argument("--rules", type=Path, default=DEFAULT_DIRECTORY, metavar="DIR", help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="print JSON")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, text in (("list", "one line per rule"), ("show", "one rule in full"), ("lint", "rules, tests, mutants")):
        action = actions.add_parser(name, help=text)
        action.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")
        if name == "show":
            action.add_argument("id", help="a rule id, such as GPC-001")
        if name == "lint":
            action.add_argument("--suites", type=Path, default=Path("suites"), metavar="DIR", help="default: suites")
            action.add_argument("--kills", type=Path, metavar="FILE", help="output of realmcheck mutants --json")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Carry the command out: 0 good, 1 the linter found something; raises MisuseError for an unknown rule."""
    catalogue = load_catalogue(args.rules)
    match args.action:
        case "list":
            return _list(catalogue, as_json=args.json)
        case "show":
            return _show(catalogue, args.id, as_json=args.json)
    return _lint(args, catalogue)


def _list(catalogue: Catalogue, *, as_json: bool) -> int:
    rules = catalogue.rules.values()
    if as_json:
        print(json.dumps([encode(rule) for rule in rules], indent=2))
        return 0
    width = max((len(rule.id) for rule in rules), default=0)
    for rule in rules:
        state = "reserved" if rule.reserved else rule.level.value
        print(f"{rule.id:{width}}  {state:11}  {rule.title}")
    return 0


def _show(catalogue: Catalogue, name: str, *, as_json: bool) -> int:
    rule = catalogue.rules.get(name)
    if rule is None:
        raise MisuseError(f"there is no rule {name!r}; see realmcheck rules list")
    if as_json:
        print(json.dumps(encode(rule), indent=2))
        return 0
    print(f"{rule.id}  {rule.title}\n")
    print(textwrap.fill(rule.summary, 100) + "\n")
    for label, value in _facts(catalogue, rule):
        if value:
            print(f"{label:10} {value}")
    return 0


def _facts(catalogue: Catalogue, rule: Rule) -> list[tuple[str, str]]:
    threat = catalogue.threats.get(rule.threat)
    reserved = f"{rule.reserved_verdict.value}: {rule.reserved}" if rule.reserved_verdict else ""
    return [
        ("source", rule.citation),
        ("level", f"{rule.level.value} {rule.feature}".strip()),
        ("threat", f"{rule.threat}: {threat.title}" if threat else rule.threat),
        ("profiles", ", ".join(rule.profiles)),
        ("tests", "\n           ".join(rule.tests)),
        ("mutants", ", ".join(rule.mutants)),
        ("reserved", reserved),
        ("written at", rule.source),
    ]


def _lint(args: argparse.Namespace, catalogue: Catalogue) -> int:
    kills = _kills(args.kills) if args.kills else None
    findings = lint(catalogue, collect_tests(args.suites), collect_mutants(), kills)
    if args.json:
        print(json.dumps([encode(finding) for finding in findings], indent=2))
        return 1 if findings else 0
    for finding in findings:
        print(f"{finding.kind.value}: {finding.subject}: {finding.message}")
    print(f"{len(catalogue.rules)} rules, {len(findings)} findings")
    return 1 if findings else 0


def _kills(path: Path) -> dict[str, bool]:
    """Killed and survived mutants from the output of ``realmcheck mutants --json``."""
    remedy = "write it with realmcheck mutants --json"
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        return {**dict.fromkeys(table["killed"], True), **dict.fromkeys(table["survived"], False)}
    except OSError as error:
        raise BadInputError(f"cannot be read: {error.strerror}", path=path, remedy=remedy) from None
    except (ValueError, KeyError, TypeError):
        raise BadInputError("is not a kill table", path=path, remedy=remedy) from None
