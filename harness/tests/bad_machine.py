"""Stands for QEMU in tests: ``bad_machine.py BEHAVIOUR REAL-QEMU QEMU-ARGUMENTS...``; some behaviours need a real one.

``fake_machine.py`` beside it has the simple ones; these flood, lie, or break a real machine at a chosen moment.
"""

from __future__ import annotations

import itertools
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterable

from harness.tests.fake_machine import BANNER, frame

FULL = BANNER + " ID_AA64MMFR0_EL1=6 ID_AA64ISAR0_EL1=200000"
LIES = {
    "mailbox-outside": ("mailbox=48000000", "mailbox=fffffffffffff000"),
    "batch-outside": ("batch=48001000", "batch=ffff0000"),
    "batch-too-big": ("batch_size=7fff000", "batch_size=7fffffff000"),
    "mailbox-elsewhere": ("mailbox=48000000", "mailbox=47000000"),
    "negative": ("windows_l1=4020c000", "windows_l1=-1000"),
    "other-personality": ("personality=root", "personality=host"),
    "other-level": ("el=3", "el=2"),
    "no-register": (" ID_AA64ISAR0_EL1=200000", ""),
    "other-l0gptsz": ("GPCCR_EL3=0", "GPCCR_EL3=400000"),
    "old-protocol": ("protocol=1", "protocol=9"),
    "no-number": ("batch=48001000", "batch=here"),
}
"""Banners with one word changed."""


def flood(uart: int, pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        os.write(uart, piece)


def stuck(pid: int, ram: int) -> bool:
    """Whether the machine hangs in one record: its mailbox's index has stood still, a batch being under way."""

    def words() -> tuple[int, ...]:
        data = os.pread(ram, 24, 0x0800_0000)
        return tuple(int.from_bytes(data[at : at + 4], "little") for at in (8, 12, 20))

    before = words()
    time.sleep(0.1)
    bell, acknowledged, _ = before
    return words() == before and bell != acknowledged


def breaking(command: list[str], ram: int) -> None:
    """Run the real machine, and die as QEMU does on a failed assertion when a record never ends."""
    machine = subprocess.Popen(command, close_fds=False)
    while machine.poll() is None:
        if stuck(machine.pid, ram):
            machine.kill()
            sys.stderr.write("qemu-system-aarch64: cpu.c:99: step: Assertion `!endless' failed.\n")
            sys.stderr.flush()
            os.kill(os.getpid(), signal.SIGABRT)


def main() -> None:
    behaviour, real, *arguments = sys.argv[1:]
    if "--version" in arguments:
        sys.stdout.write("QEMU emulator version 99.0.1 (bad)\n")
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    line = " ".join(arguments)
    found = re.search(r"socket,id=uart0,fd=(\d+)", line)
    assert found
    uart = int(found[1])
    banner = frame("BANNER", FULL.encode())
    match behaviour:
        case "noise":
            flood(uart, itertools.cycle([os.urandom(1 << 16)]))
        case "endless-line":
            flood(uart, itertools.cycle([b"!00 BANNER " + b"0" * (1 << 16)]))
        case "frames":
            flood(uart, itertools.chain([banner], itertools.cycle([frame("OK", bytes(16), 200) * 100])))
        case "banners":
            flood(uart, itertools.cycle([banner]))
        case "wrong-checksums":
            os.write(uart, banner)
            while True:  # slowly: a flood of it would be babble
                os.write(uart, frame("OK", bytes(16), 1).replace(b" OK ", b" KO "))
                time.sleep(0.01)
        case "breaking":
            ram = re.search(r"/proc/self/fd/(\d+)", line)
            assert ram
            breaking([*real.split(), *arguments], int(ram[1]))
        case _:
            os.write(uart, frame("BANNER", FULL.replace(*LIES[behaviour]).encode()))
            time.sleep(60)


if __name__ == "__main__":
    main()
