"""Taking states from a results directory: which case is meant, and what a record was."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from harness import cli
from harness.errors import BadInputError, MisuseError
from harness.judge.scene import Invalidate, Item, Scene, TableWrite, Under
from harness.judge.session import Session
from harness.judge.stimulus import Kind
from harness.judge.tally import Tally
from harness.probe.address_space import MemoryType
from harness.probe.records import Op, RecordFlag, Result, World
from harness.report import BatchStore, TargetRecord
from harness.report.records import FailingCase
from harness.report.records import Outcome as ReportOutcome
from harness.report.verdicts import Verdict
from harness.state.capture import capture, named
from harness.state.replay import Outcome, Player
from harness.tests.judge_samples import LOW, RESERVED_GPI, FalsifiedTarget, builder
from harness.tests.report_samples import check, header, write_run
from refmodel.sysregs import GPTBR_EL3

HIGH = 1 << 45
TEST = "suites/gpt/test_a.py::test_it[x]"


def falsify(record: object, result: Result) -> Result:
    return result._replace(mfar=result.mfar | 8) if result.mfar else result


@pytest.fixture
def target(tmp_path: Path) -> FalsifiedTarget:
    made = FalsifiedTarget(tmp_path / "logs")
    made.power_on()
    made.falsify = falsify
    return made


@pytest.fixture
def run(target: FalsifiedTarget, tmp_path: Path) -> Path:
    """A run with one batch of five records; of the last two every result deviates."""
    directory = tmp_path / "run"
    directory.mkdir()
    store = BatchStore(directory)
    meta = {"l0gptsz": 30, "windows_l1": target.info.layout.windows_l1, "ds": 1}

    def keep(image: bytes, results: bytes, memory: Sequence[tuple[int, bytes]], title: str) -> str:
        return store.store(image, results, memory, {"scene": title, **meta})

    session = Session(target, store=keep)
    made = builder(session)
    made.block(LOW, RESERVED_GPI)
    scene = Scene.of("a scene", made)
    items: list[Item] = [
        session.stimulus(Kind.FETCH, 1 << 30 | 0x3000_0000, World.ROOT),
        TableWrite(session.target.info.layout.tables.base + 16, 0x11),
        Invalidate(),
        Under(session.stimulus(Kind.STORE, LOW, World.REALM, value0=9), gptbr=GPTBR_EL3(made.gptbr.value)),
        session.stimulus(Kind.LOAD, HIGH, World.NON_SECURE, memory=MemoryType.DEVICE, size_log2=2),
    ]
    tally = Tally()
    session.run(scene, items, tally)
    cases = tuple(case for rule in tally.rules.values() for case in rule.cases)
    return _write(directory, target, cases)


def _write(directory: Path, target: FalsifiedTarget, cases: tuple[FailingCase, ...]) -> Path:
    result = check(Verdict.FAIL, test=TEST, cases=cases)
    write_run(directory, result, head=header(target=TargetRecord.of(target.info)), status=1)
    return directory


def test_the_records_are_what_was_sent(run: Path) -> None:
    state = capture(*named(f"{run}:{_batch(run)}/4"))
    ops = [record.op for record in state.records]
    assert ops == [Op.FETCH, Op.MEM_WRITE, Op.TLBI_PAALL, Op.STORE, Op.LOAD] and state.judged == 4
    write, under, far = state.records[1], state.records[3], state.records[4]
    assert write.data == (0x11).to_bytes(8, "little") and write.pa == state.memory[0].pa + 16
    assert under.pas is World.REALM and under.flags is RecordFlag.TLBI_BEFORE and len(under.registers) == 1
    assert (far.pa, far.pas, far.memory, far.size_log2) == (HIGH, World.NON_SECURE, MemoryType.DEVICE, 2)
    assert state.title == "a scene" and state.needs.l0gptsz == 30 and len(state.context) == 2
    assert all(block.pa != 0x4101_1000 for block in state.memory)  # windows are part of the records' addresses


def test_what_comes_later_is_left_out(run: Path) -> None:
    assert len(capture(*named(f"{run}:{_batch(run)}/3")).records) == 4


def test_a_state_from_a_result_shows_the_same_again(run: Path, target: FalsifiedTarget) -> None:
    state = capture(*named(f"{run}:{_batch(run)}/3"))
    seen = Player(target).play(state)
    assert seen.outcome is Outcome.DEVIATES and seen.case.signature == state.origin.signature
    assert seen.case.rules == state.origin.rules == ("GPC-043",) and state.origin.test == TEST
    target.falsify = lambda record, result: result
    assert Player(target).play(state).outcome is Outcome.PERMITTED


def _batch(run: Path) -> str:
    return next((run / "batches").iterdir()).stem[:16]


def test_a_test_with_one_case_needs_no_more(run: Path) -> None:
    assert capture(*named(f"{run}:{TEST}")) == capture(*named(str(run))) == capture(*named(f"{run}:{_batch(run)}/3"))


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        (":suites/gpt/test_b.py", r"has no test 'suites/gpt/test_b.py'; name a record as .*run:BATCH/INDEX"),
        (":{batch}/9", r"holds 5 records, there is none of index 9"),
        (":ffff/0", r"no batch ffff; 'realmcheck repro .* lists the failing cases"),
    ],
)
def test_what_is_not_there_is_refused(run: Path, rest: str, message: str) -> None:
    with pytest.raises(MisuseError, match=message):
        capture(*named(str(run) + rest.format(batch=_batch(run))))


def test_several_cases_are_listed(run: Path, target: FalsifiedTarget) -> None:
    first = capture(*named(str(run))).origin
    cases = tuple(
        FailingCase(
            case="c", title="t", signature="s", rules=("GPC-043",), stimulus={}, expected=(), batch=first.batch,
            index=index, observed=ReportOutcome(fields={}),
        )
        for index in range(2)
    )  # fmt: skip
    other = _write(run.parent / "other", target, cases)
    with pytest.raises(MisuseError, match=rf"2 cases; choose one as .*: {first.batch[:16]}/0 \(suites/gpt/test_a"):
        capture(*named(str(other)))


def test_a_batch_of_an_earlier_release_is_refused(run: Path) -> None:
    name = BatchStore(run).store(*_raw(run), {"scene": "old"})
    with pytest.raises(BadInputError, match=r"its meta data has no windows_l1; run the check again"):
        capture(*named(f"{run}:{name[:16]}/0"))


def _raw(run: Path) -> tuple[bytes, bytes, Sequence[tuple[int, bytes]]]:
    raw = BatchStore(run).load(next((run / "batches").iterdir()).stem)
    return raw.image, raw.results, raw.memory


def test_a_damaged_batch_is_one_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = next((run / "batches").iterdir())
    path.write_bytes(path.read_bytes()[:-3])
    assert cli.main(["repro", str(run), "-o", str(run / "out"), "--target=model"]) == 3
    said = capsys.readouterr().err
    assert said.startswith(f"realmcheck: {path}: ") and said.count("\n") == 1 and not (run / "out").exists()
