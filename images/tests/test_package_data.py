"""A wheel holds every file that images are built of or described by."""

from __future__ import annotations

import tomllib
from pathlib import Path

import images

HERE = Path(images.__file__).parent


def test_every_file_beside_the_modules_is_package_data() -> None:
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["images"]
    packed = {path for pattern in patterns for path in HERE.glob(pattern)}
    there = {path for path in HERE.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert sorted(str(path.relative_to(HERE)) for path in there - packed) == []
