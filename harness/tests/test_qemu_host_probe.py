"""The `host` probe on a real QEMU that has no EL3: QEMU itself answers PSCI there, so no firmware is needed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from harness.boot import Prepared, StackMachine
from harness.host.calls import PSCI_VERSION, Call
from harness.host.hygiene import observe
from harness.host.probe import CallResult, Fill, HostProbe, attach
from harness.host.registers import REGISTERS
from harness.probe.records import Op, Record, Status, World
from harness.tests.boot_samples import sample
from harness.tests.conftest import _provide

MANIFEST = r"""
summary = "the host probe alone"

[machine]
machine = "virt,virtualization=on,gic-version=3,acpi=off"
cpu = "max"
memory_mib = 1024
args = ["-kernel", "{probe}"]

[files]
probe = { image = "probe-host" }

[consoles]
uart0 = "the probe"

[[stage]]
name = "probe"
expect = "^realmcheck probe, personality host"
deadline = 10.0
"""
NO_SUCH = 0xFFFF  # S3_7_C15_C15_7
CALL = Call(name="PSCI_VERSION", group="psci", arguments=(PSCI_VERSION,))


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackMachine]:
    directory = tmp_path_factory.mktemp("host")
    files = {"probe": _provide("probe-host").path}
    qemu = _provide("qemu").argv
    prepared = Prepared(
        stack=sample(directory, MANIFEST), qemu=qemu, flash=None, files=files, rmm=None, provenance=()
    )  # fmt: skip
    made = StackMachine(prepared, logs=directory)
    made.boot()
    yield made
    made.power_off()


@pytest.fixture
def probe(machine: StackMachine) -> HostProbe:
    return attach(machine)


def filled(rng: random.Random) -> Fill:
    return Fill(
        x=tuple(rng.getrandbits(64) for _ in range(13)),
        q=tuple(rng.getrandbits(128) for _ in range(32)),
        fpsr=0x1F,
        fpcr=0x01C0_0000,
    )


def test_banner_and_one_probe_for_a_machine(machine: StackMachine, probe: HostProbe) -> None:
    assert (probe.banner.personality, probe.banner.el, probe.banner.lower, probe.banner.windows_l1) == ("host", 2, 0, 0)
    assert "GPCCR_EL3" not in probe.banner.registers and attach(machine) is probe


def test_every_filled_register_arrives_at_the_call_and_comes_back(probe: HostProbe) -> None:
    rng = random.Random(1)
    for _ in range(3):
        fill = filled(rng)
        words = [PSCI_VERSION, *(rng.getrandbits(64) for _ in range(17))]
        result = probe.call(words, fill=fill)
        assert result.x[0] >> 16 == 1, "PSCI 1.x, which QEMU answers"
        assert result.x[1:] == tuple(words[1:])
        assert result.dump.x[:18] == result.x and result.dump.x[18:] == fill.x
        assert (result.dump.q, result.dump.fpsr, result.dump.fpcr) == (fill.q, fill.fpsr, fill.fpcr)


def test_call_without_a_fill_keeps_the_probe_going(probe: HostProbe) -> None:
    assert [probe.smc(PSCI_VERSION)[0] >> 16 for _ in range(3)] == [1, 1, 1]


def test_system_registers_are_written_watched_and_put_back(probe: HostProbe) -> None:
    encodings = {register.name: register.encoding for register in REGISTERS}
    key, thread = encodings["APIAKeyLo_EL1"], encodings["TPIDR_EL2"]
    before = probe.registers([key, thread, NO_SUCH])
    assert before.keys() == {key, thread}
    result = probe.call([PSCI_VERSION], written={key: 0x1234, thread: 0x5678, NO_SUCH: 1}, watched=[key, thread])
    assert result.before == result.after == {key: 0x1234, thread: 0x5678}
    assert probe.registers([key, thread]) == before


def test_hygiene_sees_no_change_where_there_is_none(probe: HostProbe) -> None:
    seen = observe(probe, CALL, random.Random(2))
    assert seen.x0 >> 16 == 1 and seen.filled > 50 and seen.watched > 80
    assert not any(vars(seen.changes).values()), seen.changes


@pytest.mark.parametrize(
    ("group", "name"),
    [("arguments", "x4"), ("arguments", "x17"), ("callee", "x18"), ("callee", "x30"), ("simd", "q0"), ("simd", "FPSR"),
     ("system", "TTBR0_EL1"), ("el2", "HCR_EL2"), ("leaked", "x3")],
)  # fmt: skip
def test_hygiene_names_the_register_that_changed(
    probe: HostProbe, monkeypatch: pytest.MonkeyPatch, group: str, name: str
) -> None:
    call = probe.call
    monkeypatch.setattr(probe, "call", lambda *args, **kwargs: _changed(call(*args, **kwargs), name))
    seen = observe(probe, CALL, random.Random(3))
    assert {kind: set(found) for kind, found in vars(seen.changes).items() if found} == {group: {name}}


def _changed(result: CallResult, name: str) -> CallResult:
    dump = result.dump
    if name == "FPSR":
        return replace(result, dump=replace(dump, fpsr=dump.fpsr ^ 1))
    if name == "q0":
        return replace(result, dump=replace(dump, q=(dump.q[0] ^ 1, *dump.q[1:])))
    if name.startswith("x"):
        index = int(name[1:])
        if index < 18:
            return replace(result, x=(*result.x[:index], result.x[index] ^ 1, *result.x[index + 1 :]))
        return replace(result, dump=replace(dump, x=(*dump.x[:index], dump.x[index] ^ 1, *dump.x[index + 1 :])))
    encoding = next(register.encoding for register in REGISTERS if register.name == name)
    return replace(result, after={**result.after, encoding: result.after[encoding] ^ 1})


def test_accesses_with_the_mmu_off(probe: HostProbe) -> None:
    assert not probe.store(0x7000_0000, 0x1122_3344_5566_7788).taken
    assert probe.load(0x7000_0000).data0 == 0x1122_3344_5566_7788
    unaligned = probe.load(0x7000_0001)
    assert (unaligned.taken, unaligned.esr >> 26, unaligned.esr & 0x3F) == (1, 0x25, 0x21), "alignment fault"
    nothing = probe.load(0x20_0000_0000)
    assert (nothing.taken, nothing.target_el, nothing.esr & 0x3F, nothing.far) == (1, 2, 0x10, 0x20_0000_0000)
    assert (nothing.mfar, nothing.scr) == (0, 0)


def test_what_this_personality_cannot(probe: HostProbe) -> None:
    records = [
        Record(0, Op.NOP, state=World.ROOT, el=3),
        Record(0, Op.NOP, state=World.NON_SECURE, el=1),
        Record(0, Op.NOP, state=World.NON_SECURE, el=2),
        Record(0, Op.SMC, state=World.NON_SECURE, el=2, value0=384, value1=528, aux=8),
        Record(0, Op.HVC, state=World.NON_SECURE, el=2, value0=384, value1=528, aux=16),
    ]
    found = [result.status for result in probe.run_as_they_are(records, bytes(4096))]
    assert found == [Status.UNSUPPORTED, Status.UNSUPPORTED, Status.DONE, Status.REFUSED, Status.UNSUPPORTED]


def test_fill_that_leaves_the_batch_is_refused(probe: HostProbe) -> None:
    refused = probe.run([Record(0, Op.SMC, value0=128, value1=272, aux=1 << 20)], bytes(1024))[0]
    assert refused.status == Status.REFUSED
