"""Mutants that are hunted on one booted stack: which may share, and that a machine which they spoilt is noticed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import harness.forked
from harness.boot import rmm
from harness.boot.mutants import StackMutant
from harness.boot.pool import KeptStacks, StackOptions, StackPool
from harness.cli.mutants import grouped, hunt
from harness.forked import Run
from harness.mutants import MUTANTS, STACK_MUTANTS, falsify, stack_mutant
from refmodel.mutants import Mutant

CHOSEN: Sequence[Mutant] = [mutant for mutant in STACK_MUTANTS if mutant.subject == "granules"]


def test_only_what_falsifies_an_observation_shares_a_machine() -> None:
    groups = grouped(MUTANTS, 2)
    assert sorted(mutant.name for group in groups for mutant in group) == sorted(mutant.name for mutant in MUTANTS)
    together = [mutant for group in groups if len(group) > 1 for mutant in group]
    assert together
    assert max(map(len, groups)) <= 4
    assert all(isinstance(mutant, StackMutant) and not mutant.firmware and not mutant.marks for mutant in together)
    assert all(len({mutant.subject for mutant in group}) == 1 for group in groups)


@pytest.mark.parametrize("control", [0, 1])
def test_kills_on_a_spoilt_machine_are_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, control: int) -> None:
    asked: list[Sequence[str]] = []

    def run_all(groups: Sequence[Sequence[Run]], jobs: int) -> Iterator[tuple[int, ...]]:
        for group in groups:
            for _, output in group:
                output.write_text("FAILED because of something\n")
            asked.append(group[-1][0])
            yield (*[1] * (len(group) - 1), control)

    monkeypatch.setattr(harness.forked, "run_all", run_all)
    kills = {kill.mutant.name: kill for kill in hunt(CHOSEN, Path("suites"), 1, 1)}
    assert len(kills) == len(CHOSEN)
    together = next(group for group in grouped(CHOSEN, 1) if len(group) > 1)
    assert all(("without a mutant too" in kills[mutant.name].problem) == bool(control) for mutant in together)
    assert not any(word.startswith("--target") for word in asked[0])
    assert {f"--rule={rule}" for mutant in together for rule in mutant.rules} <= set(asked[0])


def test_a_mutant_can_be_taken_out_again() -> None:
    mutant = stack_mutant("log-names-another-rmm")
    assert mutant is not None
    genuine, log = rmm.version_in, "NOTICE:  TRP: v2.12.1\n"
    restore = falsify(mutant)
    falsified = rmm.version_in(log)
    restore()
    assert falsified is not None
    assert falsified.rmi == "7.3"
    assert rmm.version_in is genuine


class Machine:
    """Only on or off."""

    on = True

    def power_off(self) -> None:
        self.on = False


def test_what_is_kept_stays_on_when_a_pool_is_closed(tmp_path: Path) -> None:
    kept, machine = KeptStacks(), Machine()
    kept.shared["tfa-trp", ""] = machine  # type: ignore[assignment]
    pool = StackPool(StackOptions(), logs=lambda: tmp_path, kept=kept)
    pool.close()
    assert machine.on
    kept.close()
    assert not machine.on
