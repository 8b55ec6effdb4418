"""The documentation says what is there: links lead somewhere, every command and option is on its page, and no other."""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

import images
from harness import cli, plugin
from harness.rules.lint import Kind
from harness.tests.docs_checks import (
    anchors,
    command_problems,
    dead_link,
    dead_links,
    links,
    option_problems,
    section,
)

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def _read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


# Links --------------------------------------------------------------------------------------------------------------


def test_no_dead_links() -> None:
    assert dead_links(PAGES) == []


def test_waivers_link_to_findings() -> None:
    for path in sorted((ROOT / "suites/waivers").glob("*.toml")):
        found = {waiver["link"] for waiver in tomllib.loads(path.read_text(encoding="utf-8"))["waiver"]}
        assert [problem for link in sorted(found) if (problem := dead_link(ROOT / "README.md", link))] == []


_OTHER = """\
# A `name` of GPCCR_EL3[11:0]

## Twice

## Twice

```text
# not a heading
```
"""


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("[a](other.md) and [b](other.md#twice-1)", ""),
        ("[a](other.md#a-name-of-gpccr_el3110)", ""),
        ("![a picture](other.md 'title'), [here](#top)\n\n# Top", ""),
        ("[a](https://example.org/none) [b](mailto:x@example.org)", ""),
        ("`[a](none.md)`\n\n```md\n[b](none.md)\n```\n", ""),
        ("[a](none.md)", "none.md: there is no such file"),
        ("![a](sub/none.png)", "none.png: there is no such file"),
        ("[a](other.md#thrice)", "other.md has no such heading"),
        ("[a](other.md#not-a-heading)", "other.md has no such heading"),
        ("[a](#top)", "page.md has no such heading"),
        ("[a]\n\n[a]: none.md\n", "none.md: there is no such file"),
        ("```md\n```\n[a](none.md)", "none.md: there is no such file"),
    ],
)
def test_a_dead_link_is_found(tmp_path: Path, text: str, wrong: str) -> None:
    (tmp_path / "other.md").write_text(_OTHER, encoding="utf-8")
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    problems = dead_links([page])
    assert len(problems) == bool(wrong)
    assert all(problem.endswith(wrong) for problem in problems)


def test_links_and_headings_are_seen() -> None:
    assert len(links(_read("docs/tutorial/first-run.md"))) > 5
    assert "mfar_el3110-is-not-zero" in anchors(_read("docs/findings/qemu.md"))


# The command line ---------------------------------------------------------------------------------------------------


@pytest.fixture
def parser(monkeypatch: pytest.MonkeyPatch) -> argparse.ArgumentParser:
    """The parser of ``realmcheck``, as ``main`` builds it."""
    built: list[argparse.ArgumentParser] = []

    def keep(self: argparse.ArgumentParser, arguments: object) -> None:
        built.append(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", keep)
    with pytest.raises(KeyboardInterrupt):
        cli.main([])
    return built[0]


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Name to parser of the subcommands."""
    return {
        name: sub
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
        for name, sub in action.choices.items()
    }


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The options of a parser and of its subcommands, ``--help`` left out."""
    for action in parser._actions:
        if not isinstance(action, argparse._HelpAction):
            yield from action.option_strings
    for sub in _commands(parser).values():
        yield from _options(sub)


def _reference() -> str:
    return _read("docs/reference/command-line.md")


def test_every_subcommand_is_documented(parser: argparse.ArgumentParser) -> None:
    page = _reference()
    assert _commands(parser)
    for name, sub in _commands(parser).items():
        part = section(page, f"realmcheck {name}")
        assert part, f"{name} has no section"
        for action in _commands(sub):
            assert f"`realmcheck {name} {action}" in part


def test_every_option_is_documented(parser: argparse.ArgumentParser) -> None:
    page = _reference()
    problems = [
        problem
        for name, sub in _commands(parser).items()
        for problem in option_problems(page, f"realmcheck {name}", set(_options(sub)))
    ]
    assert problems == []
    assert set(_options(parser)) >= {"--json", "--offline", "--subject", "--check", "--kills", "--probes"}
    assert "`-h`, `--help`" in page


def test_every_pytest_option_is_documented() -> None:
    options: list[str] = []

    class Group:
        def addoption(self, *names: str, **settings: Any) -> None:
            options.extend(names)

    class Parser:
        def getgroup(self, name: str) -> Group:
            return Group()

    plugin.pytest_addoption(cast(pytest.Parser, Parser()))
    assert "--target" in options
    assert option_problems(_reference(), "pytest", set(options)) == []


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"--one", "--two"}, []),
        ({"--one"}, ["tool: --two does not exist"]),
        ({"--one", "--two", "--on"}, ["tool: --on is not documented"]),
        ({"--one", "--two", "--else"}, ["tool: --else is not documented"]),
        ({"--one", "--two3"}, ["tool: --two3 is not documented", "tool: --two does not exist"]),
    ],
)
def test_an_undocumented_option_is_found(options: set[str], wrong: list[str]) -> None:
    page = (
        "## tool\n\n| Option |\n| --- |\n| `--one N` | of `--on` |\n### more\n| `--two` |\n\n## other\n| `--else` |\n"
    )
    assert option_problems(page, "tool", options) == wrong


def test_an_option_with_a_digit_is_read_whole() -> None:
    assert option_problems("## tool\n\n| `--bl33 FILE` | |\n", "tool", {"--bl33"}) == []


def test_variables_and_lint_findings_are_documented() -> None:
    cache, rules = _read("docs/reference/cache.md"), _read("docs/reference/rules.md")
    variables = [spec.environment for spec in images.list_images() if spec.environment]
    assert [name for name in variables if f"`{name}`" not in cache] == []
    assert [kind.value for kind in Kind if f"`{kind.value}`" not in rules] == []


# README's commands --------------------------------------------------------------------------------------------------


def test_readme_says_what_ci_and_tox_run() -> None:
    assert command_problems(_read("README.md"), _read(".ci/run"), _read("tox.ini")) == []


_SETUP = "python3 -m venv .venv && .venv/bin/pip install ."
_README = f"""\
## Two commands

```sh
{_SETUP} && .venv/bin/pytest suites/
```

```sh
{_SETUP} && .venv/bin/tox run
```

## More
"""
_CI = f"{_SETUP} && .venv/bin/tox run\n.venv/bin/pytest suites/\n"
_TOX = """\
[tox]
env_list = py311, lint, docs

[testenv]
commands = pytest {posargs}

[testenv:qemu11]
commands = pytest suites/ --qemu qemu {posargs}

[testenv:qemu10]
commands = pytest suites/ --qemu qemu10 {posargs}
"""


def test_equal_commands_are_no_problem() -> None:
    assert command_problems(_README, _CI, _TOX) == []


@pytest.mark.parametrize(
    ("readme", "ci", "tox", "wrong"),
    [
        (_README.replace("tox run", "tox run -q"), _CI, _TOX, ".ci/run has no line"),
        (_README, _CI.replace("pytest suites/", "pytest -x suites/"), _TOX, ".ci/run has no line"),
        (_README, f"# {_CI}", _TOX, ".ci/run has no line"),
        (
            _README.replace("install . && .venv/bin/pytest", "install -e . && .venv/bin/pytest"),
            _CI,
            _TOX,
            "two set-ups",
        ),
        (_README.replace("## Two commands", "## Commands"), _CI, _TOX, "must have two blocks"),
        (_README.replace("tox run", "pytest"), _CI.replace("tox run", "pytest"), _TOX, "not run by tox"),
        (_README.replace("suites/", "refmodel/"), _CI.replace("suites/", "refmodel/"), _TOX, "the main job is not"),
        (_README, _CI, _TOX.replace(", docs", ""), "docs is not in env_list"),
        (_README, _CI, _TOX.replace("pytest {posargs}", "true"), "[testenv] does not run 'pytest'"),
        (_README, _CI, _TOX.replace("qemu qemu ", "qemu mine "), "[testenv:qemu11] does not run 'pytest suites/ --"),
        (_README, _CI, _TOX.replace("suites/ --qemu qemu10", "harness/"), "[testenv:qemu10] does not run 'pytest s"),
    ],
)
def test_differing_commands_are_found(readme: str, ci: str, tox: str, wrong: str) -> None:
    problems = command_problems(readme, ci, tox)
    assert len(problems) == 1
    assert wrong in problems[0]
