"""Stands for QEMU in tests: ``python fake_machine.py BEHAVIOUR QEMU-ARGUMENTS...`` speaks on the UART's descriptor."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable

from harness.probe import wire

BANNER = (
    "protocol=1 personality=root record=1 el=3 mailbox=48000000 batch=48001000 batch_size=7fff000 windows_l1=4020c000 "
    "GPCCR_EL3=0 ID_AA64PFR0_EL1=10000000000000"
)


def frame(command: str, payload: bytes = b"", sequence: int = 0) -> bytes:
    return wire.encode(wire.Frame(sequence, command, payload), b"!")


def serve(uart: int, answer: Callable[[wire.Frame, int], bytes]) -> None:
    """Answer requests by ``answer(request, how many were there before)`` until the line is closed."""
    reader, count = wire.FrameReader(b"@"), 0
    while data := os.read(uart, 65536):
        for request in reader.feed(data):
            if isinstance(request, wire.Frame):
                os.write(uart, answer(request, count))
                count += 1


def main() -> None:
    behaviour, arguments = sys.argv[1], sys.argv[2:]
    if "--version" in arguments:
        sys.stdout.write("QEMU emulator version 99.0.1 (fake)\n")
        return
    found = re.search(r"socket,id=uart0,fd=(\d+)", " ".join(arguments))
    assert found
    uart = int(found[1])
    banner = frame("BANNER", BANNER.encode())
    match behaviour:
        case "silent":
            time.sleep(60)
        case "babbling":
            while True:
                os.write(uart, b"All work and no play makes a dull console. " * 1000)
        case "text":
            os.write(uart, b"Some other firmware 1.0\r\n")
            time.sleep(60)
        case "refusing":
            sys.exit("qemu: x-rme=on: property not found")
        case "aborting":
            os.kill(os.getpid(), signal.SIGABRT)
        case "damaged-banner":
            os.write(uart, banner.replace(b" BANNER ", b" BANNEQ "))
            time.sleep(60)
        case "old-banner":
            os.write(uart, frame("BANNER", BANNER.replace("record=1", "record=7").encode()))
            time.sleep(60)
        case "short-banner":
            os.write(uart, frame("BANNER", b"protocol=1 record=1"))
            time.sleep(60)
        case "damaged-answers":
            os.write(uart, banner)
            serve(uart, lambda request, count: frame("OK", b"", request.sequence).replace(b" OK ", b" KO "))
        case "deaf":
            os.write(uart, banner)
            time.sleep(60)
        case "noisy":
            os.write(uart, b"!\xff\x00noise" + banner)
            serve(
                uart,
                lambda request, count: (
                    b"\xfe!zz" + (frame("NAK", b"CRC") if count % 2 == 0 else frame("OK", bytes(16), request.sequence))
                ),
            )
        case "fatal":
            os.write(uart, banner)
            serve(uart, lambda request, count: frame("FATAL", b"ESR_EL3=96000021 ELR_EL3=40200000"))


if __name__ == "__main__":
    main()
