"""Imports point one way: suites -> harness -> refmodel, with images beside harness.

``refmodel`` itself needs nothing but the standard library; its tests may use the test tools.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("refmodel", "harness", "images", "suites")
TEST_TOOLS = frozenset({"pytest", "hypothesis"})

FORBIDDEN = {
    "refmodel": frozenset({"harness", "images", "suites"}),
    "images": frozenset({"harness", "suites"}),
    "harness": frozenset({"suites"}),
    "suites": frozenset[str](),
}


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, top-level package) of every import, by statement or by ``import_module`` with a literal name."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name.partition(".")[0]) for alias in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield node.lineno, module.partition(".")[0]
            case ast.Call(
                func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__"),
                args=[ast.Constant(value=str(module)), *_],
            ):
                yield node.lineno, module.partition(".")[0]
            case _:
                pass


def wrong_imports(where: str, source: str) -> list[str]:
    """``file:line imports package`` for every import of ``source`` that is not allowed at ``where`` (from the root)."""
    package = where.partition("/")[0]
    allowed = sys.stdlib_module_names | {"refmodel"} | (TEST_TOOLS if "/tests/" in where else frozenset())
    found = []
    for line, name in imported(ast.parse(source)):
        if name in FORBIDDEN[package] or (package == "refmodel" and name not in allowed):
            found.append(f"{where}:{line} imports {name}")
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_the_tree_imports_in_the_right_direction(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files, f"no sources under {package}"
    wrong = [
        text
        for file in files
        for text in wrong_imports(file.relative_to(ROOT).as_posix(), file.read_text(encoding="utf-8"))
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("where", "source", "name"),
    [
        ("refmodel/gpt/walk.py", "import harness.console", "harness"),
        ("refmodel/gpt/walk.py", "import cbor2", "cbor2"),
        ("refmodel/gpt/walk.py", "import hypothesis", "hypothesis"),
        ("refmodel/tests/test_walk.py", "from images import cache", "images"),
        ("refmodel/access.py", "def f():\n    from suites.gpt import scenes", "suites"),
        ("refmodel/access.py", "import os, harness as h", "harness"),
        ("refmodel/access.py", "import importlib\nimportlib.import_module('harness.plugin')", "harness"),
        ("images/apt.py", "from harness.errors import MisuseError", "harness"),
        ("images/apt.py", "if True:\n    import suites", "suites"),
        ("harness/plugin.py", "from suites.gpt.scenes import GB", "suites"),
        ("harness/plugin.py", "__import__('suites')", "suites"),
    ],
)
def test_a_violation_is_found(where: str, source: str, name: str) -> None:
    line = source.count("\n") + 1
    assert wrong_imports(where, source) == [f"{where}:{line} imports {name}"]


@pytest.mark.parametrize(
    ("where", "source"),
    [
        ("refmodel/gpt/walk.py", "import enum\nfrom collections.abc import Mapping\nfrom refmodel.bits import Slice"),
        ("refmodel/gpt/walk.py", "from .types import GPCF"),
        ("refmodel/tests/test_walk.py", "import pytest\nfrom hypothesis import given"),
        ("images/apt.py", "import tqdm\nfrom refmodel.bits import Slice"),
        ("harness/plugin.py", "from images import catalogue\nimport refmodel.access"),
        ("suites/gpt/scenes.py", "from harness.check import Check\nimport suites.gpt"),
    ],
)
def test_an_allowed_import_is_left_alone(where: str, source: str) -> None:
    assert wrong_imports(where, source) == []
