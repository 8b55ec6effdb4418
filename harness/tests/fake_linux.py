"""Stands for QEMU with a Linux shell on its console: ``python fake_linux.py BEHAVIOUR QEMU-ARGUMENTS...``."""

from __future__ import annotations

import os
import re
import sys
import time

PROMPT = b"realmcheck-host# \x1b[6n"
KERNEL = b"[    4.509717] random: crng init done\r\n"
READ = "attack: read pa=0x40100000 outcome=killed value=0x0 signal=0x9 code=0x0 esr=0x0 pid=0x67 end"
LOG = "[    4.5] attack[103]: unhandled exception: DABT (lower EL), ESR 0x0000000092000028, unknown 40 in attack[904]"


asked: list[str] = []


def answer(command: str, behaviour: str) -> str:
    if command.startswith("attack read"):
        return "attack: usage end" if behaviour == "confused" else READ
    if command.startswith("dmesg | grep 'attack.103.: unhandled'"):
        asked.append(command)
        quiet = behaviour == "silent-log" or (behaviour == "limited" and len(asked) < 3)
        return "" if quiet else LOG
    return f"ran {command}"


def main() -> None:
    behaviour, arguments = sys.argv[1], " ".join(sys.argv[2:])
    found = re.search(r"socket,id=uart0,fd=(\d+)", arguments)
    assert found
    fd = int(found[1])
    os.write(fd, b"Linux\r\n" + PROMPT)
    typed = b""
    while data := os.read(fd, 4096):
        for byte in data:
            if byte != 10:
                typed += bytes([byte])
                os.write(fd, bytes([byte]))
                continue
            command, _, marker = typed.decode().partition("; echo end-$((1000+")
            typed = b""
            os.write(fd, b"\r\n" + (KERNEL if behaviour == "interleaved" else b""))
            if behaviour == "hanging":
                time.sleep(60)
            text = answer(command, behaviour).replace("\n", "\r\n").encode()
            # as a terminal may: a carriage return more, the answer in two pieces, the kernel in between
            os.write(fd, text[:9])
            time.sleep(0.01)
            os.write(fd, text[9:] + b"\r\r\n" + (KERNEL if behaviour == "interleaved" else b""))
            os.write(fd, f"end-{1000 + int(marker.rstrip(')'))}\r\n".encode() + PROMPT)


main()
