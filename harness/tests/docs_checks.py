"""Checkers of the documentation: dead links, and commands that README and the machinery spell differently.

Each takes texts or paths and returns what is wrong in words, so that ``test_docs.py`` can show that it bites.
"""

from __future__ import annotations

import configparser
import re
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})[^\n]*\n.*?(?:^ {0,3}\1[`~]*[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL)
_INLINE = re.compile(r"\]\(\s*<?([^)\s>]*)>?(?:\s+[\"'][^)]*)?\)")
_DEFINITION = re.compile(r"^ {0,3}\[[^\]]+\]:\s*<?(\S+?)>?\s*$", re.MULTILINE)
_HEADING = re.compile(r"^ {0,3}(#{1,6})[ \t]+(.*?)[ \t]*#*$", re.MULTILINE)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_TABLE_OPTION = re.compile(r"^\| *`(--?[a-z][a-z0-9-]*)", re.MULTILINE)


def links(text: str) -> list[str]:
    """Targets of the links and images of a Markdown text, those in code left out."""
    prose = _SPAN.sub("", _FENCE.sub("", text))
    return [*_INLINE.findall(prose), *_DEFINITION.findall(prose)]


def anchors(text: str) -> set[str]:
    """What ``#`` can name in a Markdown text: its headings, spelled as code hosts and myst spell them."""
    seen: Counter[str] = Counter()
    found = set()
    for _, title in _HEADING.findall(_FENCE.sub("", text)):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        slug = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def dead_link(page: Path, target: str) -> str:
    """Why a link of ``page`` leads nowhere, in words; empty for one that does, or that leaves the project."""
    if _SCHEME.match(target):
        return ""
    name, _, anchor = unquote(target).partition("#")
    path = page.parent / name if name else page
    if not path.exists():
        return f"{page}: link to {target}: there is no such file"
    if anchor and path.suffix == ".md" and anchor not in anchors(path.read_text(encoding="utf-8")):
        return f"{page}: link to {target}: {path.name} has no such heading"
    return ""


def dead_links(pages: list[Path]) -> list[str]:
    """What is wrong with the relative links of these pages."""
    found = [dead_link(page, target) for page in pages for target in links(page.read_text(encoding="utf-8"))]
    return [problem for problem in found if problem]


def section(text: str, title: str) -> str:
    """The part of a Markdown text below a heading, up to the next one of its level or above; empty without it."""
    fenced = [(match.start(), match.end()) for match in _FENCE.finditer(text)]
    level, start = 0, -1
    for heading in _HEADING.finditer(text):
        if any(begin <= heading.start() < end for begin, end in fenced):
            continue
        if start >= 0 and len(heading[1]) <= level:
            return text[start : heading.start()]
        if start < 0 and heading[2] == title:
            level, start = len(heading[1]), heading.end()
    return text[start:] if start >= 0 else ""


def option_problems(page: str, title: str, options: set[str]) -> list[str]:
    """How the options in the tables below a heading differ from those that there are."""
    documented = set(_TABLE_OPTION.findall(section(page, title)))
    missing = [f"{title}: {name} is not documented" for name in sorted(options - documented)]
    return missing + [f"{title}: {name} does not exist" for name in sorted(documented - options)]


def fenced_commands(text: str) -> list[str]:
    """The contents of the fenced blocks of a Markdown text, comments and markers left out."""
    return ["\n".join(match[0].strip().splitlines()[1:-1]).strip() for match in _FENCE.finditer(text)]


def command_problems(readme: str, ci: str, tox: str) -> list[str]:
    """How README's two commands differ from what ``.ci/run`` and ``tox.ini`` run.

    The first is the main job, the second the tests; both begin with the same set-up, ``.ci/run`` has the second as it
    stands and the first without its set-up, and ``tox.ini`` runs the same two jobs.
    """
    commands = fenced_commands(section(readme, "Two commands"))
    if len(commands) != 2 or any("\n" in command for command in commands):
        return [f"README: 'Two commands' must have two blocks of one line, not {commands!r}"]
    (setup, _, job), (test_setup, _, tests) = (command.rpartition(" && ") for command in commands)
    lines = ci.splitlines()
    problems = [] if setup == test_setup else [f"README: two set-ups: {setup!r} and {test_setup!r}"]
    problems += [f".ci/run has no line {line!r}" for line in (commands[1], job) if line not in lines]
    ini = configparser.ConfigParser(interpolation=None)
    ini.read_string(tox)
    if not tests.startswith(".venv/bin/tox run"):
        problems.append(f"README: the tests are not run by tox: {tests!r}")
    absent = {"py311", "lint", "docs"} - {
        name.strip() for name in re.split(r"[,\n]", ini.get("tox", "env_list", fallback=""))
    }
    problems += [f"tox.ini: {name} is not in env_list" for name in sorted(absent)]
    for name, command in (
        ("testenv", "pytest"),
        ("testenv:qemu11", "pytest suites/ --qemu qemu"),
        ("testenv:qemu10", "pytest suites/ --qemu qemu10"),
    ):
        if not f"{ini.get(name, 'commands', fallback='').strip()} ".startswith(f"{command} "):
            problems.append(f"tox.ini: [{name}] does not run {command!r}")
    if job.split()[0] != ".venv/bin/pytest" or "suites/" not in job.split():
        problems.append(f"README: the main job is not 'pytest suites/': {job!r}")
    return problems
