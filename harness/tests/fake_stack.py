"""Stands for QEMU with a whole stack: ``python fake_stack.py BEHAVIOUR QEMU-ARGUMENTS...`` speaks on two consoles."""

from __future__ import annotations

import os
import re
import signal
import sys
import time

STAGES = (b"NOTICE:  first up\r\n", b"NOTICE:  second up\r\n", b"INFO:    ready\r\n")
PROMPT = b"\x1b[6nroot@gu\x1b[0mest:~# "


def say(fd: int, *pieces: bytes, pause: float = 0.0) -> None:
    for piece in pieces:
        os.write(fd, piece)
        time.sleep(pause)


def good(one: int) -> None:
    say(one, *STAGES, PROMPT)


def echo(fd: int, *, lose: int = 0) -> None:
    """Echo what is typed as a terminal does; of every 16 characters the last ``lose`` are lost, burst or not."""
    count = 0
    while data := os.read(fd, 4096):
        if len(data) > 64:
            time.sleep(60)  # a realm's console stalls at a burst
        kept = b""
        for byte in data:
            count += 1
            if byte == 10:
                say(fd, kept + b"\r\nANSWER\r\n" + PROMPT)
                kept, count = b"", 0
            elif count % 16 < 16 - lose:
                kept += bytes([byte])
        say(fd, kept)


def main() -> None:
    behaviour, arguments = sys.argv[1], " ".join(sys.argv[2:])
    if "--version" in arguments:
        sys.stdout.write("QEMU emulator version 99.0.1 (fake)\n")
        return
    one, two = (int(re.search(rf"socket,id={name},fd=(\d+)", arguments)[1]) for name in ("uart0", "uart1"))  # type: ignore[index]
    match behaviour:
        case "good":
            good(one)
        case "split":
            say(one, *(bytes([byte]) for byte in b"".join(STAGES) + PROMPT), pause=0.001)
        case "line-ends":
            say(
                one,
                STAGES[0].replace(b"\r\n", b"\r\r\r\n"),
                STAGES[1].replace(b"\r", b""),
                b"\r\r\n",
                STAGES[2],
                PROMPT,
            )
        case "dropped":
            say(one, STAGES[0], STAGES[1].replace(b"second", b"secnd"), STAGES[2].replace(b"ready", b"redy"))
        case "duplicated":
            say(one, STAGES[0], STAGES[1].replace(b"second", b"seecond"))
        case "interleaved":
            rmm = b"SMC_RMI_DATA_CREATE 41900000 > RMI_SUCCESS\r\n"
            say(one, STAGES[0], b"NOTICE:  seco" + rmm + b"nd up\r\n", rmm, STAGES[2], b"root@gu" + rmm + b"est:~# ")
        case "half-line":
            say(one, STAGES[0], b"version 1.2")
            time.sleep(0.3)
            say(one, b"34\r\n", *STAGES[1:], PROMPT)
        case "reported":
            say(one, STAGES[0], b"ERROR:   second failed: -7\r\n", *STAGES[1:], PROMPT)
        case "reported-elsewhere":
            say(two, b"PANIC in EL3 at x30 = 0x0\r\n")
            time.sleep(0.2)
            good(one)
        case "skipped":
            say(one, STAGES[0], STAGES[2], PROMPT)
        case "looping":
            while True:
                say(one, STAGES[0], STAGES[1], pause=0.05)
        case "endless-line":
            while True:
                say(one, b"All work and no play makes a dull console. " * 1000)
        case "hanging":
            say(one, STAGES[0])
        case "aborting":
            say(one, *STAGES[:2], b"last words of the guest")
            sys.stderr.write("ERROR:target/arm/ptw.c:1: assertion failed\n")
            sys.stderr.flush()
            os.kill(os.getpid(), signal.SIGABRT)
        case "ending":
            say(one, *STAGES[:2])
            sys.exit(3)
        case "closing":
            say(one, STAGES[0])
            os.close(one)
        case "echoing":
            good(one)
            echo(one)
        case "losing":
            good(one)
            echo(one, lose=1)
        case "refusing":
            sys.exit("qemu-system-aarch64: Property 'max-arm-cpu.x-rme' not found")
    time.sleep(60)


if __name__ == "__main__":
    main()
