"""The child process in which a model machine runs: requests on standard input, answers on standard output.

A process of its own keeps the machine's (possibly mutated) model apart from the judge's.  Frames are one request byte,
two 64-bit numbers and a payload; answers are a 64-bit length and a payload.  Run by ``harness.targets.model``.
"""

from __future__ import annotations

import argparse
import json
import mmap
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from harness.attestation.model_realm import ModelRealm
    from harness.targets.model_machine import Machine

REQUEST = struct.Struct("<cQQ")
ANSWER = struct.Struct("<Q")


def exactly(stream: BinaryIO, length: int) -> bytes:
    """``length`` bytes, or b"" at the end of the stream."""
    data = stream.read(length)
    return data if len(data) == length else b""


INDEX = struct.Struct("<q")
"""The progress file: index of the record being run, -1 between batches; it outlives the child."""


def serve(requests: BinaryIO, answers: BinaryIO, *, machine: Machine, progress: mmap.mmap) -> None:
    """Answer requests until the stream ends: I info, R read, W write, B batch, P that batch afterwards, T the realm of
    ``model_realm.py``.
    """
    realm: ModelRealm | None = None
    while head := exactly(requests, REQUEST.size):
        command, first, second = REQUEST.unpack(head)
        answer = b""
        match command:
            case b"I":
                answer = json.dumps(machine.id_registers()).encode()
            case b"R":
                answer = machine.memory.read(first, second)
            case b"W":
                machine.write_memory(first, exactly(requests, second))
            case b"T":
                if realm is None:
                    # Imported only when asked for: cryptography takes its time, and most machines need none.
                    from harness.attestation.model_realm import ModelRealm

                    realm = ModelRealm()
                answer = json.dumps(realm.answer(json.loads(exactly(requests, second)))).encode()
            case b"B":
                answer = machine.run(exactly(requests, second), lambda index: INDEX.pack_into(progress, 0, index))
                INDEX.pack_into(progress, 0, -1)
            case b"P":
                answer = bytes(machine.rmm.image)
            case _:
                raise SystemExit(f"unknown request {command!r}")
        answers.write(ANSWER.pack(len(answer)) + answer)
        answers.flush()


def main() -> None:
    """Entry point of ``python -m harness.targets.model_server``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutant", default="")
    parser.add_argument("--l0gptsz", type=int, default=30)
    parser.add_argument("--pes", type=int, default=1)
    parser.add_argument("--variant", default="")
    parser.add_argument("--progress", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.mutant:
        from refmodel.mutants import apply

        apply(arguments.mutant)
    # Imported late, so that mutants are applied before the machine's module binds any of their functions.
    from harness.targets.model_machine import Machine

    machine = Machine(l0gptsz=arguments.l0gptsz, pes=arguments.pes, variant=arguments.variant)
    with arguments.progress.open("r+b") as file, mmap.mmap(file.fileno(), INDEX.size) as progress:
        serve(sys.stdin.buffer, sys.stdout.buffer, machine=machine, progress=progress)


if __name__ == "__main__":
    main()
