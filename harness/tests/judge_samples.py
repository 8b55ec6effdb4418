"""A model target whose answers a test can falsify, and a small scene to judge: for the tests of the judge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from harness.errors import TargetEvidence, TargetLostError
from harness.judge.scene import Scene
from harness.judge.session import Session
from harness.probe.batch import EncodedBatch, decode_results, records_of
from harness.probe.records import RESULT, Record, Result
from harness.targets.model import ModelTarget
from harness.targets.target import TargetOptions
from refmodel.gpt.build import Geometry, GPTBuilder
from refmodel.gpt.decode import GPT_Any

LOW = 2 << 30
RESERVED_GPI = 0b0001

Falsify = Callable[[Record, Result], Result]


class FalsifiedTarget(ModelTarget):
    """The model with ``falsify`` applied to every result; ``lose`` says which records are fatal.

    ``says_where``: whether a loss tells the record.
    """

    def __init__(self, log_directory: Path, options: TargetOptions | None = None) -> None:
        super().__init__(log_directory=log_directory, options=options)
        self.falsify: Falsify = lambda record, result: result
        self.lose: Callable[[Record], bool] = lambda record: False
        self.last_words: tuple[str, ...] = ("machine: assertion failed",)
        self.exit_status = "aborted"
        self.says_where = True
        self.batches = 0
        self.power_ons = 0

    def power_on(self) -> None:
        """Count, and start."""
        self.power_ons += 1
        super().power_on()

    def run_encoded(self, encoded: EncodedBatch) -> bytes:
        """Run, lose or falsify."""
        self.batches += 1
        records = list(records_of(encoded.image))
        for index, record in enumerate(records):
            if self.lose(record):
                where = index if self.says_where else None
                evidence = TargetEvidence(record_index=where, exit_status=self.exit_status, last_words=self.last_words)
                raise TargetLostError("the machine is gone", evidence)
        results = decode_results(super().run_encoded(encoded), encoded.count)
        return b"".join(RESULT.pack(*self.falsify(a, b)) for a, b in zip(records, results, strict=True))


def builder(session: Session, **geometry: int) -> GPTBuilder:
    """A GPT that lets everybody use the first 2 GB, and has a level 1 table of Any for the test RAM."""
    tables = session.target.info.layout.tables
    made = GPTBuilder(replace(Geometry(), **geometry), tables.base, tables.size)  # type: ignore[arg-type]
    made.block(0, GPT_Any)
    made.block(1 << 30, GPT_Any)
    made.table(LOW)
    return made


def scene(session: Session, title: str = "sample") -> Scene:
    """Granules 0 to 5: No access, Secure, Non-secure, Root, Realm, Any; gigabyte 3 is a malformed Block."""
    made = builder(session)
    for number, gpi in enumerate((0b0000, 0b1000, 0b1001, 0b1010, 0b1011, 0b1111)):
        made.granule(LOW + number * 4096, gpi)
    made.block(LOW + (1 << 30), RESERVED_GPI)
    return Scene.of(title, made)
