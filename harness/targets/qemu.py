"""QEMU's ``virt`` machine as a target: power, consoles, memory and batches of the `root` probe.

How batches travel is ``harness/probe``'s subject, how the process lives and dies ``harness/process.py``'s.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from harness.console import Console, socket_pair
from harness.errors import MisuseError, TargetError, TargetEvidence, TargetLostError
from harness.probe.banner import Banner
from harness.probe.batch import Batch, EncodedBatch, decode_results, records_of
from harness.probe.describe import describe
from harness.probe.mailbox import MailboxClient
from harness.probe.records import Result
from harness.probe.wire import readable
from harness.probe.wire_client import WireClient
from harness.process import Process
from harness.targets.qemu_machine import RAM, SharedRam, check_banner, layout, machine_argv, more_pes, version_of
from harness.targets.target import TargetInfo, TargetOptions, log_directory
from images.image import Provenance

BOOT_TIMEOUT: Final = 10.0
BATCH_TIMEOUT: Final = 5.0
RECORD_TIMEOUT: Final = 100e-6
_DEATH_GRACE: Final = 0.2
_LAST_READS: Final = 32
_L0GPTSZ_CODES: Final = {30: 0b0000, 34: 0b0100, 36: 0b0110, 39: 0b1001}


class QemuTarget:
    """One QEMU machine.

    ``qemu_argv`` starts ``qemu-system-aarch64``, ``probe_elf`` is the probe, ``extra_args`` end the command line.
     Logs: ``uart0.log`` and ``qemu.stderr`` in ``log_directory``, appended to by every power-on.
    """

    def __init__(
        self,
        *,
        qemu_argv: Sequence[str],
        probe_elf: Path,
        log_directory: Path,
        options: TargetOptions | None = None,
        provenance: tuple[Provenance, ...] = (),
        extra_args: Sequence[str] = (),
    ) -> None:
        self._options = options or TargetOptions()
        if self._options.l0gptsz not in _L0GPTSZ_CODES:
            raise MisuseError(f"l0gptsz must be one of {sorted(_L0GPTSZ_CODES)}, not {self._options.l0gptsz}")
        self._qemu_argv = tuple(qemu_argv)
        self._probe_elf = probe_elf
        self._log_directory = log_directory
        self._provenance = provenance
        self._extra_args = tuple(extra_args)
        self._stage = "off"
        self._started = 0.0
        self._process: Process | None = None
        self._console: Console | None = None
        self._ram: SharedRam | None = None
        self._wire: WireClient | None = None
        self._mailbox: MailboxClient | None = None
        self._info: TargetInfo | None = None
        self._banner: Banner | None = None
        self._batch: EncodedBatch | None = None
        self._tail: tuple[str, ...] = ()

    @property
    def info(self) -> TargetInfo:
        """What the machine says about itself; legal once it is on."""
        if self._info is None:
            raise MisuseError("the target is not powered on; call power_on() first")
        return self._info

    @property
    def log_directory(self) -> Path:
        """Where ``uart0.log`` and ``qemu.stderr`` are."""
        return self._log_directory

    @property
    def pid(self) -> int:
        """Process id of QEMU; MisuseError when it is off."""
        return self._running().pid

    def power_on(self) -> None:
        """Start QEMU and wait for the probe's banner."""
        if self._process is not None:
            raise MisuseError("the target is already powered on; power_cycle() starts it anew")
        version = version_of(self._qemu_argv)
        log_directory(self._log_directory)
        self._stage, self._started = "boot", time.monotonic()
        try:
            with self._evidence():
                self._start()
                self._banner = self._the_wire().await_banner(BOOT_TIMEOUT)
                check_banner(self._banner)
                if self._ram is not None:
                    self._mailbox = MailboxClient(self._ram.map, RAM.base, self._banner, watch=self._watch)
            self._stage = "probe"
            self._info = self._describe(version, self._banner)
        except BaseException:
            self.power_off()
            raise

    def power_off(self) -> None:
        """Kill QEMU and let everything go; idempotent.  Logs stay, and so does ``console_tail``."""
        if self._process is not None:
            self._process.kill()
        if self._mailbox is not None:
            self._mailbox.close()
        if self._ram is not None:
            self._ram.close()
        if self._console is not None:
            self._tail = self._console.tail(1000)
            self._console.close()
        self._process = self._mailbox = self._ram = self._console = self._wire = self._info = self._batch = None
        self._stage = "off"

    def power_cycle(self) -> None:
        """Off and on again."""
        self.power_off()
        self.power_on()

    def pause(self) -> None:
        """Stop the process where it stands: an idle probe looks for work 2,000 times a second, which costs a tenth of a
        core, and more with several PEs.
        """
        if self._process is not None:
            self._process.pause()

    def resume(self) -> None:
        """Let a paused process go on."""
        if self._process is not None:
            self._process.resume()

    def read_memory(self, pa: int, length: int) -> bytes:
        """Root memory, past the GPC; RAM from the shared mapping, the rest over the wire."""
        self._running()
        if self._ram is not None and RAM.holds(pa, length):
            return self._ram.read(pa - RAM.base, length)
        with self._evidence():
            return self._the_wire().read(pa, length)

    def write_memory(self, pa: int, data: bytes) -> None:
        """Write Root memory, past the GPC."""
        self._running()
        if self._ram is not None and RAM.holds(pa, len(data)):
            self._ram.write(pa - RAM.base, data)
            return
        with self._evidence():
            self._the_wire().write(pa, data)

    def run(self, batch: Batch) -> Sequence[Result]:
        """Run the records in order; TargetLostError names the record that was being run."""
        encoded = batch.encode()
        return decode_results(self.run_encoded(encoded), encoded.count)

    def run_encoded(self, encoded: EncodedBatch) -> bytes:
        """Run a batch that is laid out already; the result bytes, ``count`` x 128."""
        self._running()
        self._batch = encoded
        timeout = BATCH_TIMEOUT + RECORD_TIMEOUT * encoded.count
        with self._evidence():
            if self._mailbox is not None:
                return self._mailbox.run(encoded, timeout * self._options.timeout_scale)
            return self._the_wire().run(self._the_banner().batch, encoded, timeout)

    def read_batch(self, offset: int, length: int) -> bytes:
        """Bytes of the last batch, from its start: what SMC, MEM_READ and register dumps left in the pool."""
        self._running()
        return self.read_memory(self._the_banner().batch + offset, length)

    def partial_results(self) -> bytes:
        """The result bytes of the last batch as far as it came, also after the machine died.

        Empty without shared memory, and where the machine left no batch in it.
        """
        if self._batch is None or self._mailbox is None:
            return b""
        try:
            return self._mailbox.partial(self._batch)
        except TargetError:
            return b""

    def console_tail(self, lines: int = 20) -> tuple[str, ...]:
        """The last lines of the probe's console, frames in a form for people; ``uart0.log`` has every byte."""
        tail = self._console.tail(lines) if self._console is not None else self._tail[-lines:]
        return tuple(map(readable, tail))

    def _start(self) -> None:
        mine, theirs = socket_pair()
        try:
            self._ram = None if self._options.wire_only else SharedRam(RAM.size)
            argv = machine_argv(
                self._qemu_argv,
                probe=self._probe_elf,
                l0gptsz=self._options.l0gptsz,
                uart_fd=theirs.fileno(),
                ram_fd=self._ram.fd if self._ram else None,
                extra=(*more_pes(self._options.pes), *self._extra_args),
            )
            fds = (theirs.fileno(), *((self._ram.fd,) if self._ram else ()))
            self._console = Console(mine, self._log_directory / "uart0.log")
            self._process = Process(argv, stderr=self._log_directory / "qemu.stderr", pass_fds=fds)
        finally:
            theirs.close()
            if self._console is None:
                mine.close()
        self._wire = WireClient(self._console, watch=self._alive, scale=self._options.timeout_scale)

    def _running(self) -> Process:
        if self._process is None:
            raise MisuseError("the target is not powered on; call power_on() first")
        return self._process

    def _the_wire(self) -> WireClient:
        assert self._wire is not None
        return self._wire

    def _the_banner(self) -> Banner:
        assert self._banner is not None
        return self._banner

    def _alive(self) -> None:
        status = self._running().poll()
        if status is not None:
            raise TargetLostError(f"QEMU {status}")

    def _watch(self) -> None:
        self._alive()
        self._the_wire().drain()

    @contextmanager
    def _evidence(self) -> Iterator[None]:
        """Give a TargetError that passes what is known here, and its message the reason in QEMU's own words."""
        try:
            yield
        except TargetError as error:
            evidence = self._gather()
            exit_status = f"QEMU {evidence.exit_status}" if evidence.exit_status else ""
            parts = [str(error), exit_status if exit_status not in str(error) else "", *self._stderr()]
            message = "; ".join(part for part in parts if part)
            raise type(error)(f"{message} (stage {evidence.stage})", evidence) from error

    def _gather(self) -> TargetEvidence:
        process = self._running()
        # A console that just closed is often the first sign of a death that is complete a moment later.
        status = process.wait(_DEATH_GRACE)
        if self._console is not None:
            with suppress(TargetError):
                # Bounded: a machine that babbles never stops by itself.
                for _ in range(_LAST_READS):
                    if not self._console.read(0.0):
                        break
        evidence = TargetEvidence(
            stage=self._stage,
            elapsed=time.monotonic() - self._started,
            exit_status=str(status) if status else "",
            tail=self.console_tail(20),
            log=str(self._log_directory / "uart0.log"),
            last_words=self._stderr(),
        )
        if self._batch is None or self._mailbox is None:
            return evidence
        index = self._mailbox.current
        if index >= self._batch.count:
            return evidence
        record = list(records_of(self._batch.image))[index]
        return replace(
            evidence,
            stage=f"record {index} of {self._batch.count}",
            record_index=index,
            stimulus=describe(index, record),
        )

    def _stderr(self) -> tuple[str, ...]:
        return self._process.stderr_tail(2) if self._process is not None else ()

    def _describe(self, version: str, banner: Banner) -> TargetInfo:
        registers = dict(banner.registers)
        expected = _L0GPTSZ_CODES[self._options.l0gptsz]
        found = registers.get("GPCCR_EL3", 0) >> 20 & 0xF
        if found != expected:
            raise MisuseError(f"QEMU has GPCCR_EL3.L0GPTSZ {found:#06b}, asked for {expected:#06b}; use QEMU >= 8.1")
        return TargetInfo(
            name="qemu",
            kind="qemu",
            version=version,
            self_test=False,
            layout=layout(banner),
            id_registers=registers,
            features={"l0gptsz": self._options.l0gptsz},
            provenance=self._provenance,
            command=self._running().argv,
            banner=banner.text,
            pes=banner.pes,
        )
