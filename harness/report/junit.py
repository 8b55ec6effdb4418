"""``junit.xml`` from a summary: one test case per check.

FAIL is a failure, INCONCLUSIVE an error, NOT_* are skipped with their reason; WAIVED passes and names its waivers.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

from harness.report.files import replace_file
from harness.report.records import CheckResult
from harness.report.summary import Check, Summary, seconds
from harness.report.verdicts import Verdict

_UNFIT = re.compile(r"[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_CASES = 5  # failing cases spelled out per check; the HTML report and results.jsonl hold more


def write_junit(summary: Summary, path: Path) -> None:
    """Write the JUnit XML view of a run."""
    tally, run = summary.tally, summary.run
    skipped = sum(tally.get(v, 0) for v in (Verdict.NOT_RUN, Verdict.NOT_OBSERVABLE, Verdict.NOT_APPLICABLE))
    suite = ET.Element(
        "testsuite",
        name="realmcheck",
        tests=str(len(summary.checks)),
        failures=str(tally.get(Verdict.FAIL, 0)),
        errors=str(tally.get(Verdict.INCONCLUSIVE, 0)),
        skipped=str(skipped),
        time=f"{seconds(summary.checks):.3f}",
        timestamp=run.header.started,
        hostname=_clean(run.header.host.get("name", "")),
    )
    properties = ET.SubElement(suite, "properties")
    _property(properties, "target", f"{run.target.name} {run.target.version}".strip())
    _property(properties, "result", summary.result.words)
    for claim in summary.claims:
        _property(properties, f"claim.{claim.profile.id}", claim.result.words)
    shared = Counter(check.deciding.test for check in summary.checks)
    for check in summary.checks:
        _case(suite, check, shared=shared[check.deciding.test] > 1)
    root = ET.Element("testsuites", name="realmcheck")
    root.append(suite)
    ET.indent(root)
    replace_file(path, ET.tostring(root, encoding="utf-8", xml_declaration=True))


def _case(suite: ET.Element, check: Check, *, shared: bool) -> None:
    """One test case; where several checks share a test, their rules tell them apart."""
    result = check.deciding
    file, _, name = result.test.partition("::")
    name = f"{name or file} ({' '.join(result.rules)})" if shared else name or file
    node = ET.SubElement(
        suite,
        "testcase",
        classname=_clean(file.removesuffix(".py").replace("/", ".")),
        name=_clean(name),
        time=f"{result.duration:.3f}",
    )
    properties = ET.SubElement(node, "properties")
    _property(properties, "verdict", check.verdict.value)
    _property(properties, "rules", " ".join(result.rules))
    _property(properties, "judged", str(result.counts.judged))
    match check.verdict:
        case Verdict.FAIL:
            message = result.reason or f"{result.counts.failed} of {result.counts.judged} observations not permitted"
            ET.SubElement(node, "failure", message=_clean(message)).text = _clean(_failures(result))
        case Verdict.INCONCLUSIVE:
            ET.SubElement(node, "error", message=_clean(result.reason)).text = _clean("\n".join(result.console))
        case Verdict.NOT_RUN | Verdict.NOT_OBSERVABLE | Verdict.NOT_APPLICABLE:
            ET.SubElement(node, "skipped", message=_clean(f"{check.verdict.value}: {result.reason}"))
        case Verdict.WAIVED:
            waived = "\n".join(f"waiver {name} covers {count} observations" for name, count in result.waived.items())
            ET.SubElement(node, "system-out").text = _clean(waived)


def _failures(result: CheckResult) -> str:
    lines = [f"{count} x {signature}" for signature, count in result.signatures.items()]
    for case in [case for case in result.cases if not case.waiver][:_CASES]:
        lines += [
            "",
            f"{' '.join(case.rules)}: {case.title}",
            "stimulus: " + _pairs(case.stimulus),
            "observed: " + _pairs(case.observed.fields),
            *(f"permitted: {_pairs(outcome.fields)}" for outcome in case.expected),
            f"reproduce: {case.reproduce}",
            *([f"standalone: {case.standalone()}"] if case.batch else []),
        ]
    return "\n".join(lines)


def _pairs(fields: object) -> str:
    return " ".join(f"{k}={v}" for k, v in fields.items()) if isinstance(fields, dict) else str(fields)


def _property(parent: ET.Element, name: str, value: str) -> None:
    ET.SubElement(parent, "property", name=name, value=_clean(value))


def _clean(text: str) -> str:
    """Text without the characters that XML 1.0 forbids (a console may send any byte)."""
    return _UNFIT.sub("\ufffd", text)
