"""Running batches through the shared-memory mailbox.  The layouts are ``records.py``'s subject."""

from __future__ import annotations

import mmap
import struct
import time
from collections.abc import Callable
from typing import Final

from harness.errors import MisuseError, TargetLostError, TargetProtocolError
from harness.probe.banner import Banner
from harness.probe.batch import EncodedBatch, decode_header
from harness.probe.records import MAILBOX, MAILBOX_MAGIC, RESULT_SIZE, VERSION, BatchStatus, Mailbox
from harness.probe.wire_client import check_run

_SPINS: Final = 2000
_SLEEP_FIRST: Final = 20e-6
_SLEEP_LONGEST: Final = 500e-6
_WATCH_EVERY: Final = 0.01
_WORDS: Final = 16
_DOORBELL, _ACK, _CURRENT = 2, 3, 5


class MailboxClient:
    """A client of one probe whose RAM the harness has mapped.

    ``memory`` is that mapping, byte 0 being PA ``ram_base``.  ``watch`` is called while waiting and raises when the
    machine is gone.  TargetProtocolError when there is no mailbox of this version.
    """

    def __init__(self, memory: mmap.mmap, ram_base: int, banner: Banner, *, watch: Callable[[], None]) -> None:
        self._memory = memory
        self._watch = watch
        self._page = banner.mailbox - ram_base
        self._batch_pa = banner.batch
        self._batch = banner.batch - ram_base
        self._room = banner.batch_size
        box = self._box()
        if box.magic != MAILBOX_MAGIC or box.version != VERSION:
            raise TargetProtocolError(f"no version {VERSION} mailbox at {banner.mailbox:#x}: magic {box.magic:#x}")
        # Through a cast view a 32-bit word is read and written whole, which struct does not promise.  Made last: while
        # a view exists the mapping cannot be closed.
        self._words = memoryview(memory)[self._page : self._page + 4 * _WORDS].cast("I")

    def close(self) -> None:
        """Let go of the mapping, so that it can be closed."""
        self._words.release()

    @property
    def current(self) -> int:
        """Index of the record that is being run, or was when the machine died."""
        return self._words[_CURRENT]

    def run(self, encoded: EncodedBatch, timeout: float) -> bytes:
        """Run a batch and return the result bytes; TargetLostError when it takes longer than ``timeout`` seconds."""
        if encoded.size > self._room:
            raise MisuseError(f"the batch needs {encoded.size} bytes, the probe has {self._room}; send smaller batches")
        self._memory[self._batch : self._batch + len(encoded.image)] = encoded.image
        struct.pack_into("<Q", self._memory, self._page + 24, self._batch_pa)
        bell = self._words[_DOORBELL] + 1 & 0xFFFFFFFF
        self._words[_DOORBELL] = bell
        self._await(bell, timeout)
        header = decode_header(self._memory[self._batch : self._batch + 64])
        if header.status == BatchStatus.BAD:
            self._watch()  # a PE of the probe may have said more on the console
        check_run(header.status, header.completed, header.reserved, encoded.count)
        return self._results(encoded, encoded.count)

    def partial(self, encoded: EncodedBatch) -> bytes:
        """The result bytes of the records that were completed; for a batch that did not come to its end."""
        header = decode_header(self._memory[self._batch : self._batch + 64])
        return self._results(encoded, min(header.completed, encoded.count))

    def _results(self, encoded: EncodedBatch, count: int) -> bytes:
        start = self._batch + encoded.results_offset
        return self._memory[start : start + count * RESULT_SIZE]

    def _await(self, bell: int, timeout: float) -> None:
        words = self._words
        for _ in range(_SPINS):
            if words[_ACK] == bell:
                return
        begin = time.monotonic()
        pause, look = _SLEEP_FIRST, begin + _WATCH_EVERY
        while words[_ACK] != bell:
            time.sleep(pause)
            pause = min(pause * 1.5, _SLEEP_LONGEST)
            now = time.monotonic()
            if now >= look:
                self._watch()
                look = now + _WATCH_EVERY
            if now - begin > timeout and words[_ACK] != bell:
                raise TargetLostError(f"the batch did not end within {timeout:.1f} s")

    def _box(self) -> Mailbox:
        return Mailbox._make(MAILBOX.unpack_from(self._memory, self._page))
