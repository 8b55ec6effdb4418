"""The pytest plugin: options, the fixtures ``run`` and ``check``, and results for every test that uses them."""

from __future__ import annotations

import argparse
import contextlib
import math
import random
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import NoReturn

import pytest

from harness import reproduce
from harness.boot.check import StackCheck
from harness.boot.pool import KeptStacks, StackOptions
from harness.check import Check, describe, unstarted
from harness.cli.report import as_lines
from harness.coverage import Depth
from harness.errors import MisuseError, RealmcheckError, TargetError
from harness.judge.cases import failure_text
from harness.judge.tally import Tally
from harness.report import CheckResult, Summary, Verdict
from harness.rules.catalogue import Catalogue
from harness.run import Run
from harness.targets.factory import KNOWN, TargetFactory
from harness.targets.target import TargetOptions
from images import ImageError
from images.download import UnreachableError
from images.progress import progress_for
from refmodel.rules import Rule

_RUN = pytest.StashKey[Run]()
_CHECK = pytest.StashKey[Check | StackCheck]()
_SUMMARY = pytest.StashKey[Summary]()
_DESELECTED = pytest.StashKey[list[pytest.Item]]()
_FAILED = pytest.StashKey[set[str]]()
_UNKNOWN = pytest.StashKey[set[str]]()
_CELLS_OVER_WIRE = 120
"""So many cells of a matrix, drawn by the seed, are asked in a smoke run over the wire alone: some hundred a second."""
_CANNOT_RECORD = 3
"""Exit status when results could not be written: neither "all passed" nor "tests failed"."""

_KNOWN_RULES = frozenset(rule.value for rule in Rule)
_SCALES = {"smoke": (0.05, Depth.EACH), "default": (1.0, Depth.PAIRWISE), "exhaustive": (20.0, Depth.FULL)}
"""Multiplier of random stimuli, and how much of each matrix is asked for."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Pytest hook: the options of a conformance run."""
    group = parser.getgroup("realmcheck")
    group.addoption("--target", default="qemu", metavar="TARGET", help=f"what to run against: {KNOWN}")
    group.addoption("--results", type=Path, default=None, metavar="DIR", help="default: results/<time>-<pid>")
    group.addoption("--rule", action="append", default=[], metavar="ID", help="only tests that cite this rule")
    group.addoption("--stop-when-rules-failed", action="store_true", help="end when every rule of --rule has failed")
    group.addoption("--seed", type=int, default=None, metavar="N", help="seed of all random stimuli (printed)")
    everything = "all combinations of each test's factors, and many more random stimuli"
    group.addoption(
        "--exhaustive", action="store_const", dest="scale", const="exhaustive", default="default", help=everything
    )
    text = "how much is asked (default: default); 'exhaustive' is --exhaustive"
    group.addoption("--scale", dest="scale", choices=tuple(_SCALES), default="default", help=text)
    group.addoption("--wire-only", action="store_true", help="no shared memory: everything over the UART")
    group.addoption("--timeout-scale", type=_factor, default=1.0, metavar="X", help="multiplies every deadline")
    group.addoption("--qemu", default="", metavar="PATH", help="your own qemu-system-aarch64")
    group.addoption("--probe", default="", metavar="ELF", help="your own probe firmware")
    group.addoption("--rmm", type=Path, default=None, metavar="FILE", help="your own RMM, for the stack tfa-rmm")
    group.addoption("--offline", action="store_true", help="use what the cache has; never the network")


def _factor(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= 1000:
        raise argparse.ArgumentTypeError(f"must be a number above 0 and up to 1000, not {text!r}")
    return value


def pytest_configure(config: pytest.Config) -> None:
    """Pytest hook: markers."""
    config.addinivalue_line("markers", "rule(*ids): the rules that a test checks")
    config.addinivalue_line("markers", "smoke: part of the small set that also runs over the wire alone")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Pytest hook: ``--rule``."""
    wanted = set(config.option.rule)
    if wanted:
        config.stash[_UNKNOWN] = wanted - _KNOWN_RULES - {rule for item in items for rule in _cited(item)}
        kept = [item for item in items if wanted.intersection(_cited(item))]
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Pytest hook: remember what will not run, whoever decided that."""
    for item in items:
        item.config.stash.setdefault(_DESELECTED, []).append(item)


def _cited(item: pytest.Item) -> tuple[str, ...]:
    return tuple(dict.fromkeys(rule for mark in item.iter_markers("rule") for rule in mark.args))


def _is_check(item: pytest.Item) -> bool:
    return bool({"check", "stack"}.intersection(getattr(item, "fixturenames", ())))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Pytest hook: when suites were selected, obtain what the target needs and open the results."""
    config = session.config
    unknown = config.stash.get(_UNKNOWN, set())
    if unknown:
        names = ", ".join(sorted(unknown))
        raise pytest.UsageError(f"--rule: no such rule: {names}; 'realmcheck rules list' prints the rules")
    items = [item for item in session.items if _is_check(item)]
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
    if any("check" in item.fixturenames for item in items if isinstance(item, pytest.Function)):
        factory.prepare()
    suites = next((parent for parent in items[0].path.parents if parent.name == "suites"), None)
    if suites is None:
        raise MisuseError(f"{items[0].path}: a test that uses 'check' must lie in a folder suites/, beside its rules/")
    run = Run(
        results=option.results,
        root=config.rootpath / "results",
        suites=suites,
        factory=factory,
        seed=seed,
        scale=_SCALES[option.scale][0],
        depth=_SCALES[option.scale][1],
        command=("pytest", *config.invocation_params.args),
        stack_options=StackOptions(
            qemu=option.qemu, rmm=option.rmm, offline=option.offline, timeout_scale=option.timeout_scale
        ),
        progress=progress_for(),
        kept_stacks=next((p for p in config.pluginmanager.get_plugins() if isinstance(p, KeptStacks)), None),
    )
    for item in items:
        _check_marks(item, run.catalogue)
    run.begin()
    for item in items:
        run.plan(item.nodeid, _cited(item), "the run ended before it, or it left no result")
    for item in config.stash.get(_DESELECTED, []):
        if _is_check(item):
            run.plan(item.nodeid, _cited(item), "deselected")
    return run


def _check_marks(item: pytest.Item, catalogue: Catalogue) -> None:
    """MisuseError for marks that would let a check end green without a verdict."""
    cited = _cited(item)
    known = _KNOWN_RULES if "check" in getattr(item, "fixturenames", ()) else catalogue.rules.keys()
    unknown = [name for name in cited if name not in known]
    if not cited or unknown:
        what = f"unknown rule {unknown[0]}" if unknown else "no rule"
        raise MisuseError(f"{item.nodeid} cites {what}; mark it with @pytest.mark.rule and an id of suites/rules")
    if item.get_closest_marker("xfail"):
        raise MisuseError(f"{item.nodeid}: xfail would hide a deviation; write a waiver in suites/waivers instead")


@pytest.fixture
def check(request: pytest.FixtureRequest) -> Check:
    """A check of the current test: session with the target, tally, random numbers."""
    item, run = request.node, request.config.stash[_RUN]
    option = request.config.option
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    cited = tuple(map(Rule, _cited(item)))
    options = TargetOptions(
        l0gptsz=parameters.get("l0gptsz", 30),
        wire_only=option.wire_only,
        timeout_scale=option.timeout_scale,
        pes=parameters.get("pes", 1),
        variant=parameters.get("variant", "") if run.factory.self_test else "",
    )
    shown = {name: str(value) for name, value in parameters.items()}
    try:
        session = run.session(options)
    except (TargetError, MisuseError) as error:
        _add(run, unstarted(item.nodeid, cited, shown, f"the target could not be started: {error}"))
        shown_error = describe(error) if isinstance(error, TargetError) else str(error)
        pytest.fail(f"INCONCLUSIVE: the target could not be started: {shown_error}", pytrace=False)
    session.reproduce = reproduce.command(item.nodeid, option, run.seed)
    session.windows.reset()
    info = session.target.info
    made = Check(
        test=item.nodeid,
        cited=cited,
        session=session,
        tally=Tally(waive=lambda rule, signature: run.waive(rule, signature, info.version), cited=cited),
        rng=run.rng(item.nodeid),
        scale=run.scale,
        depth=run.depth,
        most_cells=_CELLS_OVER_WIRE if option.wire_only and option.scale == "smoke" else 0,
        parameters=shown,
    )
    item.stash[_CHECK] = made
    return made


@pytest.fixture
def stack(request: pytest.FixtureRequest) -> StackCheck:
    """A check of the current test that boots stacks: machines, verdicts, random numbers."""
    item, run = request.node, request.config.stash[_RUN]
    if "check" not in request.fixturenames:
        run.pause_targets()
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    made = StackCheck(
        test=item.nodeid,
        cited=_cited(item),
        pool=run.stacks,
        rng=run.rng(item.nodeid),
        waive=lambda rule, signature: run.waive(rule, signature, run.stack_version),
        scale=run.scale,
        reproduce=reproduce.command(item.nodeid, request.config.option, run.seed),
        parameters={name: str(value) for name, value in parameters.items()},
    )
    if not run.factory.boots_stacks:
        made.not_applicable = f"the target {run.factory.name} boots no firmware"
        _add(run, made.results())
        pytest.skip(made.not_applicable)
    item.stash[_CHECK] = made
    return made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Pytest hook: turn what a test judged into result lines, and its verdicts into pass or fail."""
    check = item.stash.get(_CHECK, None)
    if check is None:
        return (yield)
    run = item.config.stash[_RUN]
    problem = ""
    outcome: object = None
    try:
        outcome = yield
    except TargetError as error:
        problem = f"the target was lost: {describe(error)}"
        _release(run, check)
    except UnreachableError as error:
        _not_run(run, item, error)
    except BaseException as error:
        # Whatever stopped the test, what the model knows of the machine may be out of step with it now.
        _release(run, check)
        problem = f"the test did not finish: {type(error).__name__}: {error}"
        _add(run, check.results(problem))
        if isinstance(error, MisuseError | pytest.skip.Exception | pytest.xfail.Exception):
            pytest.fail(f"INCONCLUSIVE: {problem}", pytrace=False)
        raise
    results = check.results(problem)
    _add(run, results)
    _stop_when_failed(item, {rule for r in results if r.verdict is Verdict.FAIL for rule in r.rules})
    judged = check.tally if isinstance(check, Check) else check
    if judged.first_case is not None:
        more = f"\n\n{judged.failed} observations in all are not permitted" if judged.failed > 1 else ""
        pytest.fail(f"FAIL {failure_text(judged.first_case, str(run.directory))}{more}", pytrace=False)
    incomplete = [r for r in results if r.verdict is Verdict.INCONCLUSIVE]
    if incomplete:
        lines = "\n".join(f"{r.rules[0]}: {r.reason}" for r in incomplete)
        pytest.fail(f"INCONCLUSIVE\n{lines}", pytrace=False)
    return outcome


def _not_run(run: Run, item: pytest.Item, error: UnreachableError) -> NoReturn:
    """What a test boots cannot be downloaded here: that is no verdict about it."""
    with contextlib.suppress(MisuseError):  # ``broken`` stops the run at the next result
        run.left_out(item.nodeid, Verdict.NOT_RUN, str(error))
    pytest.skip(f"NOT_RUN: {error}")


def _release(run: Run, check: Check | StackCheck) -> None:
    """The state of the machine that a test used is unknown."""
    if isinstance(check, Check):
        run.discard(check.session)
    else:
        check.release()


def _add(run: Run, results: Sequence[CheckResult]) -> None:
    """Record results; when nothing can be recorded any more, the run stops."""
    with contextlib.suppress(MisuseError):  # ``broken`` says what happened, whether here or while the test ran
        run.add(results)
    if run.broken:
        _stop(run)


def _stop_when_failed(item: pytest.Item, failed: set[str]) -> None:
    """``--stop-when-rules-failed``: a mutant that every rule has noticed has nothing more to show."""
    wanted = set(item.config.option.rule)
    seen = item.config.stash.setdefault(_FAILED, set())
    seen |= failed
    if item.config.option.stop_when_rules_failed and wanted and wanted <= seen:
        item.session.shouldstop = "every rule of --rule has failed"


def _stop(run: Run) -> NoReturn:
    pytest.exit(run.broken, returncode=_CANNOT_RECORD)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Pytest hook: a check whose set-up was skipped or failed has no result of its own; record why."""
    report = yield
    run = item.config.stash.get(_RUN, None)
    if run is not None and report.when == "setup" and call.excinfo is not None:
        verdict = Verdict.NOT_RUN if report.skipped else Verdict.INCONCLUSIVE
        said = str(call.excinfo.value).partition("\n")[0]
        with contextlib.suppress(MisuseError):  # ``broken`` stops the run at the next result
            run.left_out(item.nodeid, verdict, f"{'skipped' if report.skipped else 'set-up failed'}: {said}")
    return report


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Pytest hook: close the results and build the views."""
    run = session.config.stash.get(_RUN, None)
    if run is None:
        return
    option = session.config.option
    selected = not (session.config.stash.get(_DESELECTED, []) or option.ignore or option.ignore_glob)
    stopped = session.shouldstop or session.shouldfail
    whole = all((session.config.rootpath / arg).resolve() == run.suites for arg in session.config.args)
    try:
        summary = run.end(int(exitstatus), complete=selected and whole and not stopped)
    except RealmcheckError as error:
        run.broken = run.broken or str(error)
        summary = None
    if run.broken:
        session.exitstatus = _CANNOT_RECORD
    if summary is not None:
        session.config.stash[_SUMMARY] = summary


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Pytest hook: where the report is and what it says."""
    run, summary = config.stash.get(_RUN, None), config.stash.get(_SUMMARY, None)
    if run is None:
        return
    terminalreporter.section("realmcheck")
    if summary is None:
        terminalreporter.write_line(run.broken or "the run did not end", red=True)
        terminalreporter.write_line(f"inconclusive: 'realmcheck report {run.directory}' shows what is recorded")
        return
    for line in as_lines(summary):
        terminalreporter.write_line(line)
    terminalreporter.write_line(f"seed {run.seed}")
    terminalreporter.write_line(f"report: {run.directory / 'report.html'}")
