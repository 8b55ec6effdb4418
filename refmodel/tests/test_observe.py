"""Observers: who wants words gets them filled in, who collects rules gets rules, what is deferred comes in order."""

from __future__ import annotations

from refmodel.observe import Deferred, RuleCollector, Step, Tracer
from refmodel.rules import Rule


class Unprintable:
    """A value that must not be formatted unless somebody wants the words."""

    def __format__(self, spec: str) -> str:
        raise AssertionError("formatted for nobody")


def test_a_collector_does_not_format() -> None:
    collector = RuleCollector()
    collector(Rule.L0_INDEX, "entry {:#x}", Unprintable())
    assert collector.rules == [Rule.L0_INDEX]


def test_a_tracer_fills_the_template_in() -> None:
    tracer = Tracer()
    tracer(Rule.L0_INDEX, "entry {:#x} of {}", 255, "table")
    assert tracer.rules == [Rule.L0_INDEX]
    assert tracer.steps == [Step(Rule.L0_INDEX, "entry 0xff of table")]
    assert str(tracer.steps[0]) == "GPC-010: entry 0xff of table"


def test_deferred_steps_come_in_order_once_and_only_when_released() -> None:
    tracer = Tracer()
    deferred = Deferred(tracer)
    deferred(Rule.L0_INDEX, "first {}", 1)
    deferred(Rule.L0_BLOCK, "second {}", 2)
    assert tracer.steps == []
    deferred.release()
    deferred.release()
    assert [step.text for step in tracer.steps] == ["first 1", "second 2"]


def test_rule_identifiers_are_distinct() -> None:
    assert len({rule.value for rule in Rule}) == len(Rule.__members__)
