"""Summary, HTML, JUnit and the command ``realmcheck report``: exit codes, honesty, self-containment, size."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from harness.cli import report as command
from harness.errors import BadInputError
from harness.report import (
    BatchStore,
    CheckResult,
    ClaimResult,
    Counts,
    Outcome,
    Summary,
    TargetRecord,
    Verdict,
    build_views,
    read_run,
    summarise,
)
from harness.report.html import compare, render
from harness.rules.catalogue import load_catalogue
from harness.tests.report_samples import MATRIX, RULES, WAIVER, case, check, header, parser_with, write_rules, write_run


def summary_of(tmp_path: Path, *checks: CheckResult, rules: str = RULES, **options: Any) -> Summary:
    catalogue = load_catalogue(write_rules(tmp_path / "rules", rules))
    return summarise(read_run(write_run(tmp_path / "run", *checks, **options)), catalogue)


def verdict_of(summary: Summary, rule: str) -> Verdict:
    return next(item.verdict for item in summary.rules if item.id == rule)


class Page(HTMLParser):
    """Text, ids and anchors of a page; fails on tags that are not closed in order."""

    VOID = frozenset({"meta", "link", "br", "img", "hr", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.anchors: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name == "href":
                self.anchors.append(value or "")
            assert not name.startswith("on") and name != "src"

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_passing_run_conforms(tmp_path: Path) -> None:
    summary = summary_of(tmp_path, check())
    assert summary.result is ClaimResult.CONFORMING
    assert not summary.problems
    assert verdict_of(summary, "GPC-090") is Verdict.NOT_APPLICABLE
    assert summary.counts.judged == 10


def test_probes_are_counted_once_however_many_rules_judge_them(tmp_path: Path) -> None:
    lost = check(Verdict.INCONCLUSIVE, probes=3)
    again = check(attempt=2, probes=10)
    summary = summary_of(tmp_path, lost, again, check(rules=("GPC-002",)))
    assert (summary.probes, summary.counts.judged) == (13, 20)


def test_a_rule_of_which_one_test_did_not_run_is_not_run(tmp_path: Path) -> None:
    rules = RULES.replace('"suites/gpt/test_gpi.py::test_matrix"', f'"{MATRIX}", "suites/gpt/test_gpi.py::test_wire"')
    summary = summary_of(tmp_path, check(), rules=rules)
    assert verdict_of(summary, "GPC-001") is Verdict.NOT_RUN
    assert summary.result is ClaimResult.NON_CONFORMING
    assert "test_wire" in summary.rules[0].why[0]


def test_a_retry_shows_both_attempts_and_counts_the_deciding_one(tmp_path: Path) -> None:
    lost = check(Verdict.INCONCLUSIVE, reason="QEMU aborted (SIGABRT)")
    summary = summary_of(tmp_path, lost, check(attempt=2))
    assert verdict_of(summary, "GPC-001") is Verdict.PASS
    assert (len(summary.checks), summary.counts.judged) == (1, 10)
    (tmp_path / "again").mkdir()
    failed = summary_of(tmp_path / "again", check(Verdict.FAIL), check(attempt=2), status=1)
    assert (verdict_of(failed, "GPC-001"), failed.counts.failed) == (Verdict.FAIL, 2)


@pytest.mark.parametrize(
    ("options", "result", "problem"),
    [
        ({"status": None}, ClaimResult.INCONCLUSIVE, "interrupted: the run has no end line; the last thing recorded"),
        ({"status": 2}, ClaimResult.INCONCLUSIVE, "interrupted: pytest ended with status 2"),
        ({"status": 1}, ClaimResult.INCONCLUSIVE, "a failure that no check explains"),
        ({"head": header(profiles=("rme-gpc", "mec"))}, ClaimResult.INCONCLUSIVE, "claimed profile mec is not"),
    ],
)
def test_problems_of_the_run_as_a_whole(
    tmp_path: Path, options: dict[str, Any], result: ClaimResult, problem: str
) -> None:
    summary = summary_of(tmp_path, check(), **options)
    assert summary.result is result
    assert problem in summary.problems[0].text


def test_a_failure_outside_every_claim_is_never_silent(tmp_path: Path) -> None:
    stray = check(Verdict.FAIL, rules=("GPC-777",), test="suites/x.py::test")
    summary = summary_of(tmp_path, check(), stray, status=1)
    assert summary.claims[0].result is ClaimResult.CONFORMING
    assert summary.result is ClaimResult.NON_CONFORMING
    assert "outside the claimed profiles" in summary.problems[0].text
    advice = RULES.replace('level = "mandatory"\nthreat = "T-READ"\nprofiles = ["rme-gpc"]\ntests', "LEVEL\ntests", 1)
    advice = advice.replace("LEVEL", 'level = "recommended"\nthreat = "T-READ"\nprofiles = ["rme-gpc"]')
    (tmp_path / "advice").mkdir()
    summary = summary_of(tmp_path / "advice", check(Verdict.FAIL), rules=advice, status=1)
    assert not [problem for problem in summary.problems if "outside" in problem.text]


def test_a_choice_that_flips_or_contradicts_the_declaration_is_named(tmp_path: Path) -> None:
    target = TargetRecord(name="qemu", kind="qemu", version="11.1.3", choices={"b": "1", "c": "1"})
    seen = check(choices={"a": {"x": 1, "y": 2}, "b": {"2": 1}, "c": {"1": 4}, "d": {"z": 1}})
    assert summary_of(tmp_path, seen, head=header(target=target)).flips == ("a", "b")


def test_html_is_one_self_contained_page_with_everything_on_it(tmp_path: Path) -> None:
    hostile = case(3, title="<script>alert(1)</script>", console=("\x1b[31m</pre><img src=x>",))
    failing = check(Verdict.FAIL, cases=(case(1), hostile), choices={"order": {"alignment first": 3}})
    waived = check(Verdict.WAIVED, test=f"{MATRIX}[w]")
    lost = check(Verdict.INCONCLUSIVE, test=f"{MATRIX}[l]", reason="QEMU aborted", console=("last words",))
    summary = summary_of(tmp_path, failing, waived, lost, head=header(waivers=(WAIVER,)), status=1)
    text = render(summary)
    page = Page(text)
    assert not {"script", "img", "link", "iframe"} & set(page.tags)
    assert not re.search(r"url\(|@import|https?://", text)
    assert all(anchor.startswith("#") and anchor[1:] in page.ids for anchor in page.anchors)
    assert len(page.ids) == len(set(page.ids))
    for wanted in (
        "non-conforming", "GPC-001", "Access from a foreign PAS faults", "A hypervisor reads Realm memory",
        "load number 1 from a Root granule", "0x96", "Data Abort", "0x7a", "GPC exception", "GPI is Root",
        "L0 entry 0: table", "stage probe", "line 29", "pytest suites/gpt --case case-1", "EC=0x25",
        "GPIValid() is called once too often.", "no target offers external debug", "alignment first",
        "qemu-system-aarch64", "ab" * 32, "0x5eed", "<script>alert(1)</script>", "last words", "QEMU aborted",
    ):  # fmt: skip
        assert wanted in page.text, wanted
    assert "line 9\n" not in page.text and "/p/qemu" not in page.text
    assert "@media print" in text and "prefers-color-scheme: dark" in text and "width=device-width" in text


def test_a_self_test_report_never_says_conforming(tmp_path: Path) -> None:
    target = TargetRecord(name="model", kind="model", self_test=True)
    for number, verdict in enumerate((Verdict.PASS, Verdict.FAIL)):
        (tmp_path / str(number)).mkdir()
        summary = summary_of(tmp_path / str(number), check(verdict), head=header(target=target))
        text = Page(render(summary)).text
        assert "SELF-TEST" in text and "conforming" not in text


def test_comparison_marks_what_no_permitted_outcome_allows() -> None:
    first = Outcome(fields={"ESR": "1", "FAR": "8"})
    second = Outcome(fields={"ESR": "2", "FAR": "8"})
    table = compare(case(expected=(first, second), observed=Outcome(fields={"ESR": "2", "FAR": "9", "ELR": "4"})))
    marks = {name: [cell.differs for cell in cells] for name, cells in table.rows}
    assert marks == {"ESR": [False, True, False], "FAR": [True, True, True], "ELR": [False, False, False]}
    assert compare(case(expected=(first,) * 9)).left_out == 5


def test_checks_that_share_a_test_share_its_time_and_are_told_apart(tmp_path: Path) -> None:
    catalogue = load_catalogue(write_rules(tmp_path / "rules"))
    checks = [check(duration=2.0, rules=(rule,)) for rule in ("GPC-001", "GPC-002")]
    build_views(write_run(tmp_path / "run", *checks), catalogue)
    suite = ET.parse(tmp_path / "run/junit.xml").getroot()[0]
    assert suite.get("time") == "2.000"
    assert [node.get("name") for node in suite.iter("testcase")] == [
        "test_matrix[a] (GPC-001)",
        "test_matrix[a] (GPC-002)",
    ]


def test_junit_counts_what_the_results_say(tmp_path: Path) -> None:
    checks = [check(verdict, test=f"{MATRIX}[{verdict.value}]") for verdict in Verdict]
    checks[1] = check(Verdict.FAIL, test=f"{MATRIX}[FAIL]", cases=(case(title="bad \x00\x1b byte"),))
    catalogue = load_catalogue(write_rules(tmp_path / "rules"))
    build_views(write_run(tmp_path / "run", *checks, head=header(waivers=(WAIVER,)), status=1), catalogue)
    suite = ET.parse(tmp_path / "run/junit.xml").getroot()[0]
    assert {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "7", "failures": "1", "errors": "1", "skipped": "3",
    }  # fmt: skip
    failure = suite.find(".//failure")
    assert failure is not None and failure.text is not None
    assert "reproduce: pytest suites/gpt --case case-0" in failure.text
    assert "standalone: realmcheck repro RESULTS_DIR:" in failure.text
    assert "waiver qemu-1 covers 1" in (suite.findtext(".//system-out") or "")


@pytest.mark.parametrize(
    ("verdict", "status", "code"),
    [
        (Verdict.PASS, 0, 0),
        (Verdict.FAIL, 1, 1),
        (Verdict.WAIVED, 0, 0),
        (Verdict.INCONCLUSIVE, 1, 2),
        (Verdict.PASS, None, 2),
    ],
)
def test_the_command_says_and_exits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verdict: Verdict, status: int | None, code: int
) -> None:
    waivers = (WAIVER,) if verdict is Verdict.WAIVED else ()
    run = write_run(tmp_path / "run", check(verdict), head=header(waivers=waivers), status=status)
    arguments = ["report", str(run), "--rules", str(write_rules(tmp_path / "rules")), "--check"]
    args = parser_with(command).parse_args(arguments)
    assert args.run(args) == code
    printed = capsys.readouterr().out
    assert printed.startswith("qemu 11.1.3: ") and "claim rme-gpc: " in printed and "report.html" in printed
    assert ("WAIVED GPC-001: 1 observations by qemu-1" in printed) == (verdict is Verdict.WAIVED)
    assert (run / "junit.xml").exists() and (run / "report.html").exists()
    args = parser_with(command).parse_args([*arguments, "--json"])
    assert args.run(args) == code
    assert json.loads(capsys.readouterr().out)["rules"]["GPC-001"] == verdict.value


def test_the_command_refuses_bad_input(tmp_path: Path) -> None:
    rules = str(write_rules(tmp_path / "rules"))
    args = parser_with(command).parse_args(["report", str(tmp_path / "none"), "--rules", rules])
    with pytest.raises(BadInputError, match="results/latest"):
        args.run(args)
    store = BatchStore(tmp_path)
    name = store.store(b"image", b"results")
    write_run(tmp_path, check(batches=(name,)))
    store.path(name).write_bytes(store.path(name).read_bytes()[:-1] + b"x")
    args = parser_with(command).parse_args(["report", str(tmp_path), "--rules", rules, "--check"])
    with pytest.raises(BadInputError, match=f"{name}.bin: checksum mismatch"):
        args.run(args)
    args = parser_with(command).parse_args(["report", str(tmp_path), "--rules", str(tmp_path / "no")])
    with pytest.raises(BadInputError, match="--rules DIR"):
        args.run(args)


def test_the_report_of_a_huge_failing_run_stays_small_and_honest(tmp_path: Path) -> None:
    console = tuple("x" * 300 for _ in range(40))
    cases = tuple(case(number, console=console) for number in range(40))
    signatures = {f"EC={number:#x}": 5 for number in range(200)}
    checks = [
        check(
            Verdict.FAIL,
            test=f"{MATRIX}[{number}]",
            counts=Counts(stimuli=2000, judged=2000, passed=1000, failed=1000),
            cases=cases,
            signatures=signatures,
        )
        for number in range(230)
    ]
    catalogue = load_catalogue(write_rules(tmp_path / "rules"))
    summary = build_views(write_run(tmp_path / "run", *checks, status=1), catalogue)
    assert summary.counts.failed == 230_000
    assert (tmp_path / "run/report.html").stat().st_size < 5_000_000
    text = Page((tmp_path / "run/report.html").read_text()).text
    assert "30 more checks that failed" in text and "230\u202f000 failed observations" in text
    assert "999 more failed observations of this check are not shown" in text


def test_owners_of_granules_are_told_in_their_order(tmp_path: Path) -> None:
    owned = check(owners={"0x84000000": ("Realm MECID 0x5", "Realm MECID 0x6")})
    text = render(summary_of(tmp_path, owned))
    assert "<code>0x84000000</code></td><td>Realm MECID 0x5, then Realm MECID 0x6</td>" in text
    (tmp_path / "none").mkdir()
    assert "memory encryption contexts" not in render(summary_of(tmp_path / "none", check()))
