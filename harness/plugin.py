"""The pytest plugin: options, the fixtures ``run`` and ``check``, and results for every test that uses them."""

from __future__ import annotations

import random
import shlex
from collections.abc import Generator
from pathlib import Path

import pytest

from harness.check import Check, describe, unstarted
from harness.cli.report import as_lines
from harness.errors import MisuseError, TargetError
from harness.judge.cases import failure_text
from harness.judge.tally import Tally
from harness.report import Summary, Verdict, open_run_directory
from harness.run import Run
from harness.targets.factory import KNOWN, TargetFactory
from harness.targets.target import TargetOptions
from images import ImageError
from images.progress import progress_for
from refmodel.rules import Rule

_RUN = pytest.StashKey[Run]()
_CHECK = pytest.StashKey[Check]()
_SUMMARY = pytest.StashKey[Summary]()
_SCALES = {"smoke": 0.05, "default": 1.0, "exhaustive": 20.0}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Pytest hook: the options of a conformance run."""
    group = parser.getgroup("realmcheck")
    group.addoption("--target", default="qemu", metavar="TARGET", help=f"what to run against: {KNOWN}")
    group.addoption("--results", type=Path, default=None, metavar="DIR", help="default: results/<time>-<pid>")
    group.addoption("--rule", action="append", default=[], metavar="ID", help="only tests that cite this rule")
    group.addoption("--seed", type=int, default=None, metavar="N", help="seed of all random stimuli (printed)")
    group.addoption("--scale", choices=tuple(_SCALES), default="default", help="how many random stimuli")
    group.addoption("--wire-only", action="store_true", help="no shared memory: everything over the UART")
    group.addoption("--timeout-scale", type=float, default=1.0, metavar="X", help="multiplies every deadline")
    group.addoption("--qemu", default="", metavar="PATH", help="your own qemu-system-aarch64")
    group.addoption("--probe", default="", metavar="ELF", help="your own probe firmware")
    group.addoption("--offline", action="store_true", help="use what the cache has; never the network")


def pytest_configure(config: pytest.Config) -> None:
    """Pytest hook: markers."""
    config.addinivalue_line("markers", "rule(*ids): the rules that a test checks")
    config.addinivalue_line("markers", "smoke: part of the small set that also runs over the wire alone")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Pytest hook: ``--rule``."""
    wanted = set(config.option.rule)
    if wanted:
        kept = [i for i in items if wanted & {rule for mark in i.iter_markers("rule") for rule in mark.args}]
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept


def pytest_collection_finish(session: pytest.Session) -> None:
    """Pytest hook: when suites were selected, obtain what the target needs and open the results."""
    config = session.config
    items = [item for item in session.items if "check" in getattr(item, "fixturenames", ())]
    if not items or config.option.collectonly:
        return
    try:
        config.stash[_RUN] = _open_run(config, items)
    except (MisuseError, ImageError) as error:
        raise pytest.UsageError(str(error)) from None


def _open_run(config: pytest.Config, items: list[pytest.Item]) -> Run:
    option = config.option
    seed = random.SystemRandom().getrandbits(32) if option.seed is None else option.seed
    factory = TargetFactory(
        spec=option.target,
        qemu=option.qemu,
        probe=option.probe,
        offline=option.offline,
        wire_only=option.wire_only,
        timeout_scale=option.timeout_scale,
        progress=progress_for(),
    )
    factory.prepare()
    suites = next(parent for parent in items[0].path.parents if parent.name == "suites")
    run = Run(
        directory=open_run_directory(option.results, root=config.rootpath / "results"),
        suites=suites,
        factory=factory,
        seed=seed,
        scale=_SCALES[option.scale],
        command=("pytest", *config.invocation_params.args),
    )
    run.begin()
    return run


@pytest.fixture
def check(request: pytest.FixtureRequest) -> Check:
    """A check of the current test: session with the target, tally, random numbers."""
    item, run = request.node, request.config.stash[_RUN]
    option = request.config.option
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    cited = tuple(Rule(name) for mark in item.iter_markers("rule") for name in mark.args)
    options = TargetOptions(
        l0gptsz=parameters.get("l0gptsz", 30), wire_only=option.wire_only, timeout_scale=option.timeout_scale
    )
    shown = {name: str(value) for name, value in parameters.items()}
    try:
        session = run.session(options)
    except TargetError as error:
        run.add(unstarted(item.nodeid, cited, shown, f"the target could not be started: {error}"))
        pytest.fail(f"INCONCLUSIVE: the target could not be started: {describe(error)}", pytrace=False)
    session.reproduce = shlex.join(
        ["pytest", item.nodeid, f"--target={option.target}", f"--seed={run.seed}", f"--scale={option.scale}"]
    )
    session.windows.reset()
    info = session.target.info
    made = Check(
        test=item.nodeid,
        cited=cited,
        session=session,
        tally=Tally(waive=lambda rule, signature: run.waive(rule, signature, info), cited=cited),
        rng=run.rng(item.nodeid),
        scale=run.scale,
        parameters=shown,
    )
    item.stash[_CHECK] = made
    return made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Pytest hook: turn what a test judged into result lines, and its verdicts into pass or fail."""
    problem = ""
    outcome: object = None
    try:
        outcome = yield
    except TargetError as error:
        problem = f"the target was lost: {describe(error)}"
        _discard(item)
    except BaseException as error:
        _record(item, f"the test did not finish: {type(error).__name__}: {error}")
        raise
    check = _record(item, problem)
    if check is None:
        if problem:
            pytest.fail(f"INCONCLUSIVE: {problem}", pytrace=False)
        return outcome
    if check.tally.first_case is not None:
        more = f"\n\n{check.tally.failed} observations in all are not permitted" if check.tally.failed > 1 else ""
        pytest.fail(f"FAIL {failure_text(check.tally.first_case)}{more}", pytrace=False)
    incomplete = [r for r in check.results(problem) if r.verdict is Verdict.INCONCLUSIVE]
    if incomplete:
        lines = "\n".join(f"{r.rules[0]}: {r.reason}" for r in incomplete)
        pytest.fail(f"INCONCLUSIVE\n{lines}", pytrace=False)
    return outcome


def _record(item: pytest.Item, problem: str) -> Check | None:
    check = item.stash.get(_CHECK, None)
    if check is not None:
        item.config.stash[_RUN].add(check.results(problem))
    return check


def _discard(item: pytest.Item) -> None:
    check = item.stash.get(_CHECK, None)
    if check is not None:
        item.config.stash[_RUN].discard(check.session)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Pytest hook: close the results and build the views."""
    run = session.config.stash.get(_RUN, None)
    if run is None:
        return
    option = session.config.option
    selected = not (option.keyword or option.markexpr or option.rule)
    whole = all((session.config.rootpath / arg).resolve() == run.suites for arg in session.config.args)
    summary = run.end(int(exitstatus), complete=selected and whole and not session.shouldstop)
    if summary is not None:
        session.config.stash[_SUMMARY] = summary


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Pytest hook: where the report is and what it says."""
    run, summary = config.stash.get(_RUN, None), config.stash.get(_SUMMARY, None)
    if run is None or summary is None:
        return
    terminalreporter.section("realmcheck")
    for line in as_lines(summary):
        terminalreporter.write_line(line)
    terminalreporter.write_line(f"seed {run.seed}")
    terminalreporter.write_line(f"report: {run.directory / 'report.html'}")
