"""A project with one rule and one small suite, for tests that run pytest on it as a user does."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.report import Summary, read_run, summarise
from harness.rules.catalogue import load_catalogue

ROOT = Path(__file__).parents[2]
RULES = """
[[rule]]
id = "GPC-080"
title = "No stimulus takes the machine down"
document = "DDI 0487"
section = "availability"
summary = "A legal access never makes the machine disappear."
level = "mandatory"
threat = "T-AVAILABILITY"
profiles = ["small"]
tests = ["suites/small/test_small.py"]
mutants = ["reserved-size-kills-machine"]
"""
PROFILES = """
[[profile]]
id = "small"
title = "One rule"
"""
PRELUDE = """
import os
import signal
import time
import pytest
from pathlib import Path
from harness.judge.scene import Scene, TableWrite
from harness.judge.stimulus import Kind
from harness.probe.records import World
from refmodel.gpt.build import Geometry, GPTBuilder
from refmodel.gpt.decode import GPT_Any
from refmodel.gpt.types import PGSe

GB = 1 << 30
DATA = 2 * GB + 0x10000

def run(check, *items, title="small"):
    tables = check.session.target.info.layout.tables
    made = GPTBuilder(Geometry(pgs=PGSe.PGS_4KB, pps=40, l0gptsz=30), tables.base, tables.size)
    for index in range(3):
        made.block(index * GB, GPT_Any)
    check.run(Scene.of(title, made), items)

def load(check, offset=0):
    return check.session.stimulus(Kind.LOAD, DATA + offset, World.ROOT)

def hang(check):
    here = (0x14000000).to_bytes(4, "little") * 2  # b .
    return TableWrite(DATA + 0x1000, int.from_bytes(here, "little")), check.session.stimulus(
        Kind.FETCH, DATA + 0x1000, World.ROOT
    )

rule = pytest.mark.rule("GPC-080")
"""
OPTIONS = (
    "-p", "harness.plugin", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "--results=out", "--seed=1",
)  # fmt: skip
"""What every run of the project is given; later options win."""

GOOD = """
@rule
@pytest.mark.parametrize("n", [1, 2])
def test_it(check, n):
    run(check, load(check, 16 * n))
"""


def make(directory: Path, suite: str = GOOD) -> Path:
    """Write the project; its suite is ``PRELUDE`` and ``suite``."""
    rules, tests = directory / "suites/rules", directory / "suites/small"
    rules.mkdir(parents=True)
    tests.mkdir()
    (directory / "pytest.ini").write_text("[pytest]\n")
    (rules / "rules.toml").write_text(RULES)
    (rules / "profiles.toml").write_text(PROFILES)
    (tests / "test_small.py").write_text(PRELUDE + suite)
    return directory


def command(*arguments: str) -> list[str]:
    """The command line of a run in a project's directory."""
    return [sys.executable, "-m", "pytest", *OPTIONS, *arguments, "suites"]


def environment() -> dict[str, str]:
    """The environment of a run: this harness, and none of the user's own images."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("REALMCHECK_", "PYTEST_"))}
    return {**kept, "PYTHONPATH": str(ROOT)}


def start(project: Path, *arguments: str, limit: int | None = None) -> subprocess.Popen[str]:
    """Start pytest on the project; ``limit``: bytes that any file it writes may have."""

    def confine() -> None:
        # A job that a shell started in the background ignores SIGINT, and so does what it starts.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.Popen(
        command(*arguments), cwd=project, env=environment(), text=True, preexec_fn=confine,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def summary(project: Path) -> Summary:
    """What the results of a run say."""
    return summarise(read_run(project / "out"), load_catalogue(project / "suites/rules"))


def verdicts(project: Path) -> Sequence[str]:
    """The verdicts of a run's result lines, in the order recorded."""
    return [check.verdict.value for check in read_run(project / "out").checks]
