"""The model, or a mutant of it, as a target: proves that suites accept the model and that their checks bite.

Its reports are SELF-TEST and never claim conformance.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import MisuseError, TargetEvidence, TargetLostError
from harness.probe.batch import Batch, EncodedBatch, decode_results
from harness.probe.records import Result
from harness.targets.model_machine import LAYOUT, VARIANTS
from harness.targets.model_rmm import parameters
from harness.targets.model_server import ANSWER, INDEX, REQUEST
from harness.targets.target import TargetInfo, TargetOptions, log_directory

if TYPE_CHECKING:
    from harness.attestation.realm_client import RealmClient

_FEATURES: Mapping[str, int | bool] = {"rme": 3, "sel2": True, "lse": True, "pamax": 52}

IMPLEMENTATION = parameters(LAYOUT.test[0])
"""What the simulated RMM reports of itself."""

_LAST_BREATH = 5.0  # seconds from a closed pipe to the end of the child


def _countable(features: Mapping[str, object]) -> dict[str, int]:
    """Features that a report can hold as a number."""
    return {name: value for name, value in features.items() if isinstance(value, int)}


class ModelTarget:
    """A model machine in a child process; ``mutant`` names the fault to put in, empty for none."""

    def __init__(self, *, log_directory: Path, options: TargetOptions | None = None, mutant: str = "") -> None:
        self._options = options or TargetOptions()
        self._mutant = mutant
        self._log_directory = log_directory
        self._progress = log_directory / "model.progress"
        self._process: subprocess.Popen[bytes] | None = None
        self._info: TargetInfo | None = None
        self._started = 0.0

    @property
    def info(self) -> TargetInfo:
        """What the machine says about itself; legal once it is on."""
        if self._info is None:
            raise TargetLostError("the model target is not powered on")
        return self._info

    @property
    def log_directory(self) -> Path:
        """Where the child's standard error goes."""
        return self._log_directory

    def power_on(self) -> None:
        """Start the child and read its ID registers."""
        log_directory(self._log_directory)
        command = [sys.executable, "-m", "harness.targets.model_server", f"--l0gptsz={self._options.l0gptsz}"]
        command += [f"--pes={self._options.pes}", f"--variant={self._options.variant}"]
        command += [f"--progress={self._progress}"]
        command += [f"--mutant={self._mutant}"] if self._mutant else []
        try:
            self._progress.write_bytes(INDEX.pack(-1))
            with (self._log_directory / "model.stderr").open("ab") as errors:
                # A session of its own: Ctrl-C is for the harness, which then ends the child.
                self._process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
                )
        except OSError as error:
            remedy = "free space or give another directory with --results DIR"
            raise MisuseError(f"{self._log_directory}: the model cannot be started: {error}; {remedy}") from None
        self._started = time.monotonic()
        registers = json.loads(self._ask(b"I", 0, 0))
        self._info = TargetInfo(
            name=f"mutant:{self._mutant}" if self._mutant else "model",
            kind="mutant" if self._mutant else "model",
            version=version("realmcheck"),
            self_test=True,
            layout=LAYOUT,
            id_registers=registers,
            features={
                **_FEATURES,
                **_countable(VARIANTS[self._options.variant]),
                "l0gptsz": self._options.l0gptsz,
                "rmm": True,
                "rmm_features": IMPLEMENTATION.feature_register_0,
                "rmm_rec_aux_count": IMPLEMENTATION.rec_aux_count,
            },
            command=tuple(command),
            pes=self._options.pes,
        )

    def power_off(self) -> None:
        """End the child; idempotent."""
        process, self._process = self._process, None
        if process is None:
            return
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                # The child may be gone already.
                with contextlib.suppress(OSError):
                    stream.close()
        try:
            process.wait(_LAST_BREATH)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def power_cycle(self) -> None:
        """Off and on again."""
        self.power_off()
        self.power_on()

    def read_memory(self, pa: int, length: int) -> bytes:
        """Bytes of the machine's memory, past the check."""
        return self._ask(b"R", pa, length)

    def write_memory(self, pa: int, data: bytes) -> None:
        """Write the machine's memory, past the check."""
        self._ask(b"W", pa, len(data), data)

    def run_encoded(self, encoded: EncodedBatch) -> bytes:
        """Run a batch that is laid out already; the result bytes, ``count`` x 128."""
        return self._ask(b"B", 0, len(encoded.image), encoded.image)

    def run(self, batch: Batch) -> Sequence[Result]:
        """Run a batch."""
        encoded = batch.encode()
        return decode_results(self.run_encoded(encoded), encoded.count)

    def read_batch(self) -> bytes:
        """The image of the last batch as it is after the run: where records put what they read."""
        return self._ask(b"P", 0, 0)

    def attesting_realm(self) -> RealmClient:
        """The model's realm."""
        # Imported only when asked for, as in the child.
        from harness.attestation.realm_client import RealmClient

        return RealmClient(lambda request: self._ask(b"T", 0, len(request), request))

    def partial_results(self) -> bytes:
        """Nothing: the child answers a batch as a whole."""
        return b""

    def console_tail(self, lines: int = 20) -> tuple[str, ...]:
        """The last lines of the child's standard error."""
        path = self._log_directory / "model.stderr"
        return tuple(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ()

    def _ask(self, command: bytes, first: int, second: int, payload: bytes = b"") -> bytes:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise TargetLostError("the model target is not powered on")
        try:
            process.stdin.write(REQUEST.pack(command, first, second) + payload)
            process.stdin.flush()
            head = process.stdout.read(ANSWER.size)
            if len(head) == ANSWER.size:
                (length,) = ANSWER.unpack(head)
                answer = process.stdout.read(length)
                if len(answer) == length:
                    return answer
        except OSError:
            pass  # a broken pipe: the child is gone, which the lines below report
        try:
            process.wait(_LAST_BREATH)
        except subprocess.TimeoutExpired:
            process.kill()  # it closed its pipes and yet lives on
            process.wait()
        (index,) = INDEX.unpack(self._progress.read_bytes())
        raise TargetLostError(
            f"the model process ended with status {process.returncode}; see {self._log_directory / 'model.stderr'}",
            TargetEvidence(
                stage="probe",
                elapsed=time.monotonic() - self._started,
                exit_status=f"exit status {process.returncode}",
                tail=self.console_tail(),
                log=str(self._log_directory / "model.stderr"),
                record_index=None if index < 0 else index,
            ),
        )
