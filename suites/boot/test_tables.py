"""The granule protection tables that the boot leaves behind, as registers and memory hold them, walked by the model."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from harness.boot import tables
from harness.boot.check import StackCheck
from harness.boot.machine import StackMachine
from harness.boot.physical import NotReadableError, PhysicalMemory
from harness.boot.tables import Span, Tables
from harness.errors import TargetProtocolError
from images.stack import MemoryRegion, Owner
from refmodel.gpt.check import GPCRegistersConsistent
from refmodel.gpt.decode import (
    DecodePGS,
    DecodePPS,
    GPT_Any,
    GPT_NonSecure,
    GPT_Realm,
    GPT_Root,
    GPT_Secure,
    GPTL0Size,
    gpi_name,
)
from refmodel.observe import Observer

STACK = "tfa-trp"
_LEAVING = 2.0  # seconds that EL3 may take to leave after it has said so
_GPI = {Owner.ROOT: GPT_Root, Owner.SECURE: GPT_Secure, Owner.REALM: GPT_Realm, Owner.NON_SECURE: GPT_NonSecure}


def booted(stack: StackCheck) -> StackMachine:
    """The machine whose tables are looked at: with the user's RMM where there is one."""
    return stack.boot("tfa-rmm" if stack.pool.rmm_given else STACK)


def tables_of(stack: StackCheck, machine: StackMachine) -> Tables | None:
    """The tables in use; None, with the verdict NOT_OBSERVABLE, where this host hides them.

    With the check off no table is in use, whatever lies in memory: TargetProtocolError.
    """
    gpc = tables.state_of(tables.read_registers(machine))
    if gpc.gpccr.GPC == 0:
        raise TargetProtocolError("GPCCR_EL3.GPC is 0: no table is in use", machine.evidence())
    try:
        return tables.snapshot(PhysicalMemory(machine), gpc)
    except NotReadableError as error:
        for rule in stack.cited:
            stack.not_observable(rule, str(error))
        return None


def log_of(machine: StackMachine) -> str:
    """Everything that the first console has said in this boot."""
    return machine.console(next(iter(machine.stack.consoles))).logged()


@pytest.mark.smoke
@pytest.mark.rule("BOOT-010")
def test_registers(stack: StackCheck) -> None:
    """The check is enabled, and the configuration is one that the architecture defines."""
    machine = booted(stack)
    gpc = tables.state_of(tables.read_registers(machine))
    reasons: list[str] = []

    def observe(rule: object, text: str, *values: object) -> None:
        reasons.append(text.format(*values))

    noted: Observer = observe
    consistent = GPCRegistersConsistent(gpc, noted)
    stack.judge(
        "BOOT-010",
        gpc.gpccr.GPC == 1 and consistent,
        case="GPCCR_EL3 when the normal world runs",
        stimulus={"read": "GPCCR_EL3"},
        expected={"GPC": "1", "configuration": "consistent"},
        observed={"GPC": str(gpc.gpccr.GPC), "configuration": "consistent" if consistent else "; ".join(reasons)},
        walk=[str(gpc.gpccr)],
        machine=machine,
    )


@pytest.mark.rule("BOOT-011")
def test_announced(stack: StackCheck) -> None:
    """What firmware announces of the tables, item by item."""
    machine = booted(stack)
    found = tables_of(stack, machine)
    if found is None:
        return
    said = tables.announced(log_of(machine))
    gpccr = found.gpc.gpccr
    regions = [span for span in found.spans() if span.gpi != GPT_Any]
    for name, announced, real in (
        ("protected size", said.pps, DecodePPS(gpccr)),
        ("granule size", said.pgs, DecodePGS(gpccr).bits),
        ("level 0 entry size", said.l0gptsz, GPTL0Size(gpccr)),
        ("level 0 base", said.l0_base, found.base),
        ("number of regions", said.pas_count, len(regions)),
    ):
        stack.judge(
            "BOOT-011",
            announced == real,
            case=name,
            stimulus={"read": "the log, GPCCR_EL3, GPTBR_EL3, the tables"},
            expected={name: f"{announced:#x}"},
            observed={name: f"{real:#x}"},
            walk=[str(span) for span in regions] if name == "number of regions" else [],
            machine=machine,
        )


@pytest.mark.smoke
@pytest.mark.rule("BOOT-012", "BOOT-013")
def test_regions(stack: StackCheck) -> None:
    """Region by region of the memory map: whose is it?"""
    machine = booted(stack)
    found = tables_of(stack, machine)
    if found is None:
        return
    spans = found.spans()
    for region in machine.stack.regions:
        inside = [_cut(span, region) for span in spans if _overlap(span, region)]
        foreign = [span for span in inside if span.gpi not in (_GPI[region.owner], GPT_Any)]
        foreign += _above(spans, region)
        open_to_all = [span for span in inside if span.gpi == GPT_Any]
        _judge(stack, machine, "BOOT-012", region, foreign)
        _judge(stack, machine, "BOOT-013", region, open_to_all)


def _judge(stack: StackCheck, machine: StackMachine, rule: str, region: MemoryRegion, wrong: list[Span]) -> None:
    stack.judge(
        rule,
        not wrong,
        case=region.name,
        stimulus={"region": f"{region.base:#x}..{region.base + region.size - 1:#x}", "owner": region.owner.value},
        expected={"GPI": gpi_name(_GPI[region.owner])},
        observed={"GPI": "; ".join(map(str, wrong))},
        machine=machine,
    )


def _above(spans: Sequence[Span], region: MemoryRegion) -> list[Span]:
    """The part of a region above the protected size, where only Non-secure accesses pass: right for the host alone."""
    end, top = spans[-1].end, region.base + region.size
    if top <= end or region.owner is Owner.NON_SECURE:
        return []
    return [Span(max(region.base, end), top, None, "above the protected size")]


def _overlap(span: Span, region: MemoryRegion) -> bool:
    return span.base < region.base + region.size and region.base < span.end


def _cut(span: Span, region: MemoryRegion) -> Span:
    low, high = max(span.base, region.base), min(span.end, region.base + region.size)
    return Span(low, high, span.gpi, span.why)


@pytest.mark.rule("BOOT-014")
def test_tables_are_root(stack: StackCheck) -> None:
    """Each table that the walk reads is Root memory to its last granule."""
    machine = booted(stack)
    found = tables_of(stack, machine)
    if found is None:
        return
    places = [("level 0", found.base, found.level_0_size)]
    places += [(f"level 1 at {base:#x}", base, found.level_1_size) for base in found.level_1]
    for name, base, size in places:
        region = MemoryRegion(name=name, base=base, size=size, owner=Owner.ROOT)
        wrong = [_cut(span, region) for span in found.spans() if _overlap(span, region) and span.gpi != GPT_Root]
        _judge(stack, machine, "BOOT-014", region, wrong)


@pytest.mark.rule("BOOT-015")
def test_descriptors_are_valid(stack: StackCheck) -> None:
    """The model walks every granule of the protected space without a fault."""
    machine = booted(stack)
    found = tables_of(stack, machine)
    if found is None:
        return
    faulting = [span for span in found.spans() if span.gpi is None]
    stack.judge(
        "BOOT-015",
        not faulting,
        case="the protected space",
        stimulus={"walk": f"every granule of {1 << DecodePPS(found.gpc.gpccr):#x} bytes"},
        expected={"faults": "none"},
        observed={"faults": "; ".join(map(str, faulting)) or "none"},
        machine=machine,
    )


@pytest.mark.rule("BOOT-016")
def test_normal_world_state(stack: StackCheck) -> None:
    """Security state and exception level while the normal world runs."""
    machine = booted(stack)
    registers = tables.read_registers(machine)
    deadline = machine.now() + _LEAVING * machine.timeout_scale
    while registers["cpsr"] >> 2 & 3 == 3 and machine.now() < deadline:
        time.sleep(0.02)  # the mark of the last stage is printed before EL3 is left
        registers = tables.read_registers(machine)
    nse, ns, el = registers["SCR_EL3"] >> 62 & 1, registers["SCR_EL3"] & 1, registers["cpsr"] >> 2 & 3
    stack.judge(
        "BOOT-016",
        (nse, ns, el) == (0, 1, 2),
        case="SCR_EL3 and PSTATE when the normal world runs",
        stimulus={"read": "SCR_EL3, PSTATE"},
        expected={"NSE": "0", "NS": "1", "EL": "2"},
        observed={"NSE": str(nse), "NS": str(ns), "EL": str(el)},
        machine=machine,
    )
