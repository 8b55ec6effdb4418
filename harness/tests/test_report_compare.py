"""Comparing two runs: which rules differ and how much that matters, what does not count, and what surrounds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.report import CheckResult, Counts, RunHeader, TargetRecord, Verdict, read_run, summarise
from harness.report.compare import Comparison, Kind, RuleChange, compare
from harness.rules.catalogue import load_catalogue
from harness.tests.report_samples import MATRIX, WAIVER, check, header, write_rules, write_run
from images.image import Provenance

OLD = replace(WAIVER, id="qemu-old", signature="EC=0x21")


def compared(tmp_path: Path, a: list[CheckResult], b: list[CheckResult], **options: Any) -> Comparison:
    """The comparison of two runs; options ``head_a``, ``head_b`` and those of ``write_run`` for both."""
    heads = options.pop("head_a", header(waivers=(WAIVER, OLD))), options.pop("head_b", header(waivers=(WAIVER, OLD)))
    tmp_path.mkdir(exist_ok=True)
    catalogue = load_catalogue(write_rules(tmp_path / "rules"))
    summaries = []
    for name, checks, head in zip("ab", (a, b), heads, strict=True):
        run = write_run(tmp_path / name, *checks, head=head, **options)
        summaries.append(summarise(read_run(run), catalogue))
    return compare(*summaries)


def failed(signatures: Mapping[str, int]) -> CheckResult:
    total = sum(signatures.values())
    counts = Counts(stimuli=total + 1, judged=total + 1, passed=1, failed=total)
    return check(Verdict.FAIL, signatures=dict(signatures), counts=counts)


def waived(waivers: Mapping[str, int]) -> CheckResult:
    total = sum(waivers.values())
    counts = Counts(stimuli=total + 1, judged=total + 1, passed=1, waived=total)
    return check(Verdict.WAIVED, waived=dict(waivers), counts=counts)


def only_rule(comparison: Comparison) -> RuleChange:
    assert [rule.id for rule in comparison.rules] == ["GPC-001"]
    return comparison.rules[0]


@pytest.mark.parametrize(
    ("a", "b", "kind", "status"),
    [
        (check(), check(), Kind.SAME, 0),
        (failed({"x": 2}), failed({"x": 2}), Kind.SAME, 0),
        (check(), failed({"x": 1}), Kind.WORSE, 1),
        (check(), waived({"qemu-1": 1}), Kind.WORSE, 1),
        (failed({"x": 1}), check(), Kind.BETTER, 1),
        (failed({"x": 1}), failed({"y": 1}), Kind.DEVIATIONS, 1),
        (failed({"x": 1}), failed({"x": 1, "y": 1}), Kind.DEVIATIONS, 1),
        (failed({"x": 1}), failed({"x": 2}), Kind.DEVIATIONS, 1),
        (waived({"qemu-1": 1}), waived({"qemu-old": 1}), Kind.DEVIATIONS, 1),
        (failed({"EC=0x25": 1}), waived({"qemu-1": 1}), Kind.WAIVERS, 1),
        (failed({"EC=0x25": 1}), waived({"qemu-1": 2}), Kind.BETTER, 1),
        (check(), check(Verdict.NOT_APPLICABLE), Kind.CHANGED, 1),
        (check(Verdict.NOT_OBSERVABLE), failed({"x": 1}), Kind.CHANGED, 1),
        (check(), check(Verdict.INCONCLUSIVE), Kind.UNCLEAR, 2),
        (check(Verdict.NOT_RUN), failed({"x": 1}), Kind.UNCLEAR, 2),
        (check(Verdict.INCONCLUSIVE), check(Verdict.INCONCLUSIVE), Kind.SAME, 2),
    ],
)
def test_what_becomes_of_a_rule(tmp_path: Path, a: CheckResult, b: CheckResult, kind: Kind, status: int) -> None:
    comparison = compared(tmp_path, [a], [b])
    assert only_rule(comparison).kind is kind
    assert (only_rule(comparison).a, only_rule(comparison).b) == (a.verdict, b.verdict)
    assert comparison.exit_code == status


def test_signatures_are_new_gone_or_counted_otherwise(tmp_path: Path) -> None:
    comparison = compared(tmp_path, [failed({"x": 1, "same": 3, "gone": 2})], [failed({"x": 4, "same": 3, "new": 5})])
    seen = [
        (d.signature, d.a.count if d.a else None, d.b.count if d.b else None) for d in only_rule(comparison).deviations
    ]
    assert seen == [("new", None, 5), ("gone", 2, None), ("x", 1, 4)]


def test_a_waived_deviation_is_known_by_what_the_waiver_covers(tmp_path: Path) -> None:
    change = only_rule(compared(tmp_path, [failed({"EC=0x25": 3})], [waived({"qemu-1": 3})])).deviations[0]
    assert change.signature == WAIVER.signature and change.a and change.b
    assert (change.a.waiver, change.b.waiver) == ("", "qemu-1")


def test_another_waiver_for_the_same_deviation_is_no_difference(tmp_path: Path) -> None:
    renamed = header(waivers=(replace(WAIVER, id="qemu-2"),))
    comparison = compared(tmp_path, [waived({"qemu-1": 3})], [waived({"qemu-2": 3})], head_b=renamed)
    assert only_rule(comparison).kind is Kind.SAME
    assert comparison.exit_code == 0


def test_a_waiver_that_the_header_lacks_still_names_its_deviation(tmp_path: Path) -> None:
    comparison = compared(tmp_path, [waived({"qemu-9": 1})], [check()])
    assert only_rule(comparison).deviations[0].signature == "what waiver qemu-9 covers"


@pytest.mark.parametrize(
    "head",
    [
        header(seeds={"suite": "0xbeef"}),
        header(realmcheck="0.2.0"),
        header(catalogue="ab" * 32),
    ],
    ids=["seed", "version", "catalogue"],
)
def test_counts_of_other_stimuli_are_no_difference(tmp_path: Path, head: RunHeader) -> None:
    comparison = compared(tmp_path, [failed({"x": 1})], [failed({"x": 2})], head_b=head)
    assert not comparison.same_stimuli
    assert only_rule(comparison).kind is Kind.SAME and only_rule(comparison).deviations
    assert comparison.exit_code == 0


def test_counts_of_other_tests_are_no_difference(tmp_path: Path) -> None:
    more = check(test=f"{MATRIX}[b]")
    comparison = compared(tmp_path, [failed({"x": 1})], [failed({"x": 2}), more], head_a=header(), head_b=header())
    assert only_rule(comparison).kind is Kind.SAME
    assert comparison.notes == (f"tests only in B: 1, such as {MATRIX}[b]",)


def test_a_rule_in_one_run_only(tmp_path: Path) -> None:
    other = check(rules=("GPC-777",))
    comparison = compared(tmp_path, [check(), other], [check()])
    assert [(rule.id, rule.kind, rule.b) for rule in comparison.rules] == [
        ("GPC-777", Kind.ONLY_A, None),
        ("GPC-001", Kind.SAME, Verdict.PASS),
    ]
    assert comparison.rules[0].title == "not in the catalogue"
    assert comparison.exit_code == 1
    comparison = compared(tmp_path / "again", [check()], [check(), other])
    assert comparison.rules[0].kind is Kind.ONLY_B


def test_a_rule_that_a_partial_run_does_not_reach_is_unclear(tmp_path: Path) -> None:
    comparison = compared(tmp_path, [check(), check(rules=("GPC-777",))], [check()], complete=False)
    assert comparison.rules[0].kind is Kind.UNCLEAR
    assert comparison.exit_code == 2
    assert comparison.notes.count("B: only a part of the suites was selected or reached") == 1


def test_an_interrupted_run_is_inconclusive_unless_rules_differ(tmp_path: Path) -> None:
    comparison = compared(tmp_path, [check()], [check()], status=None)
    assert comparison.exit_code == 2
    assert any(note.startswith("A: interrupted: the run has no end line") for note in comparison.notes)
    assert compared(tmp_path / "differs", [check()], [failed({"x": 1})], status=None).exit_code == 1


def test_the_most_important_comes_first(tmp_path: Path) -> None:
    def rule(name: str, verdict: Verdict = Verdict.PASS) -> CheckResult:
        return check(verdict, rules=(name,))

    fail, inconclusive = Verdict.FAIL, Verdict.INCONCLUSIVE
    a = [rule("R-1"), rule("R-2", fail), rule("R-3"), rule("R-4"), rule("R-5")]
    b = [rule("R-1"), rule("R-2"), rule("R-3", inconclusive), rule("R-4", fail), rule("R-5", Verdict.WAIVED)]
    comparison = compared(tmp_path, a, b)
    assert [rule.id for rule in comparison.rules] == ["R-4", "R-5", "R-3", "R-2", "R-1"]
    assert [rule.id for rule in comparison.differing] == ["R-4", "R-5", "R-2"]


def test_new_deviations_without_a_waiver_come_first(tmp_path: Path) -> None:
    both = check(
        Verdict.FAIL, waived={"qemu-1": 1}, signatures={"bad": 1},
        counts=Counts(stimuli=2, judged=2, failed=1, waived=1),
    )  # fmt: skip
    changes = only_rule(compared(tmp_path, [failed({"gone": 1})], [both])).deviations
    assert [change.signature for change in changes] == ["bad", "EC=0x25", "gone"]


def test_catalogues_and_versions_that_differ_are_said(tmp_path: Path) -> None:
    heads = {"head_a": header(catalogue="aa"), "head_b": header(catalogue="bb", realmcheck="0.2.0")}
    assert compared(tmp_path, [check()], [check()], **heads).notes == (
        "the runs are of different realmcheck: 0.1.0 and 0.2.0",
        "the runs were made with different rule catalogues; both are evaluated with today's",
    )
    same = {"head_a": header(catalogue="aa"), "head_b": header(catalogue="aa")}
    notes = compared(tmp_path / "same", [check()], [check()], **same).notes
    assert notes == ("the rule catalogue has changed since the runs; both are evaluated with today's",)


REGISTERS = {
    "ID_AA64PFR0_EL1": "0x1311001121112222",
    "ID_AA64MMFR0_EL1": "0x2100032310201126",
    "ID_AA64ISAR0_EL1": "0x1221111110212120",
}


def device(**changes: Any) -> RunHeader:
    fields = {"name": "qemu", "kind": "qemu", "version": "11.1.3", "id_registers": REGISTERS}
    return header(target=TargetRecord(**(fields | changes)))


def test_features_come_from_the_id_registers(tmp_path: Path) -> None:
    newer = device(id_registers=REGISTERS | {"ID_AA64PFR0_EL1": "0x1331001121112222"})
    comparison = compared(tmp_path, [check()], [check()], head_a=device(), head_b=newer)
    assert [(item.name, item.a, item.b) for item in comparison.features] == [("rme", "1", "3")]
    assert comparison.exit_code == 0


def test_declared_features_count_except_those_that_tests_choose(tmp_path: Path) -> None:
    heads = {
        "head_a": device(id_registers={}, features={"mec": "absent", "l0gptsz": "30"}),
        "head_b": device(id_registers={}, features={"mec": "present", "l0gptsz": "39"}),
    }
    found = compared(tmp_path, [check()], [check()], **heads).features
    assert [(item.name, item.a, item.b) for item in found] == [("mec", "absent", "present")]


def test_choices_and_binaries(tmp_path: Path) -> None:
    old, new = Provenance(name="QEMU", path="/a", sha256="ab" * 32, version="1"), "cd" * 32
    comparison = compared(
        tmp_path,
        [check(choices={"order": {"first": 2}, "alike": {"x": 1}})],
        [check(choices={"order": {"second": 1, "first": 1}, "alike": {"x": 9}})],
        head_a=header(provenance=(old,)),
        head_b=header(provenance=(replace(old, sha256=new, path="/b"), replace(old, name="probe"))),
    )
    assert [(item.name, item.a, item.b) for item in comparison.choices] == [("order", "first", "first and second")]
    assert [(item.name, item.a, item.b) for item in comparison.provenance] == [
        ("QEMU", "1 sha256 abababababababab", "1 sha256 cdcdcdcdcdcdcdcd"),
        ("probe", "", "1 sha256 abababababababab"),
    ]


def test_a_self_test_is_said(tmp_path: Path) -> None:
    model = header(target=TargetRecord(name="model", kind="model", version="0.1.0", self_test=True))
    assert "A is a SELF-TEST, not a machine" in compared(tmp_path, [check()], [check()], head_a=model).notes
