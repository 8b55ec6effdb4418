"""The C header and the Python module state the same record format: compared by compiling the header."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from enum import IntEnum, IntFlag
from pathlib import Path

import pytest

import images
from harness.probe import records

HEADER = Path(images.__file__).parent / "probe" / "record.h"

STRUCTS: dict[str, tuple[tuple[str, ...], struct.Struct]] = {
    "record": (records.Record._fields, records.RECORD),
    "result": (records.Result._fields, records.RESULT),
    "batch_header": (records.BatchHeader._fields, records.BATCH_HEADER),
    "mailbox": (records.Mailbox._fields, records.MAILBOX),
}
ENUMS: dict[str, type[IntEnum] | type[IntFlag]] = {
    "OP": records.Op,
    "FLAG": records.RecordFlag,
    "STATUS": records.Status,
    "WORLD": records.World,
    "REQUESTER": records.Requester,
    "BATCH": records.BatchStatus,
    "RESULT": records.ResultFlag,
    "BATCH_FLAG": records.BatchFlag,
}
CONSTANTS = {
    "RECORD_VERSION": records.VERSION,
    "BATCH_MAGIC": records.BATCH_MAGIC,
    "MAILBOX_MAGIC": records.MAILBOX_MAGIC,
    "DUMP_SIZE": records.DUMP_SIZE,
    "REGS_MAX": records.REGS_MAX,
    "SMC_REGISTERS": records.SMC_REGISTERS,
}
NOT_IN_PYTHON = {"OP_COUNT", "FLAG_ALL"}


def expected_fields(names: tuple[str, ...], layout: struct.Struct) -> dict[str, tuple[int, int]]:
    codes = layout.format.removeprefix("<")
    at, fields = 0, {}
    for name, code in zip(names, codes, strict=True):
        size = struct.calcsize("<" + code)
        fields[name] = (at, size)
        at += size
    return fields


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no host C compiler")
    text = HEADER.read_text()
    enumerators = re.findall(r"\b((?:OP|FLAG|STATUS|WORLD|REQUESTER|BATCH|RESULT)_[A-Z0-9_]+)\s*=", text)
    lines = [f'printf("{name} %llu\\n", (unsigned long long){name});' for name in [*enumerators, *CONSTANTS]]
    for name, (fields, _) in STRUCTS.items():
        lines.append(f'printf("{name} %zu\\n", sizeof(struct {name}));')
        for field in fields:
            member = f"((struct {name} *)0)->{field}"
            lines.append(f'printf("{name}.{field} %zu\\n", offsetof(struct {name}, {field}));')
            lines.append(f'printf("{name}.{field}:size %zu\\n", sizeof({member}));')
    directory = tmp_path_factory.mktemp("layout")
    source = directory / "layout.c"
    body = "\n".join(lines)
    source.write_text(f'#include <stdio.h>\n#include "{HEADER}"\nint main(void) {{\n{body}\nreturn 0;\n}}\n')
    subprocess.run([compiler, "-std=c11", "-Wall", "-Werror", source, "-o", directory / "layout"], check=True)
    output = subprocess.run([directory / "layout"], check=True, capture_output=True, text=True).stdout
    return {key: int(value) for key, value in (line.split() for line in output.splitlines())}


@pytest.mark.parametrize("name", STRUCTS)
def test_struct_is_the_same_in_c(name: str, measured: dict[str, int]) -> None:
    fields, layout = STRUCTS[name]
    assert measured[name] == layout.size
    for field, (offset, size) in expected_fields(fields, layout).items():
        assert (measured[f"{name}.{field}"], measured[f"{name}.{field}:size"]) == (offset, size), field


@pytest.mark.parametrize("prefix", ENUMS)
def test_enum_is_the_same_in_c(prefix: str, measured: dict[str, int]) -> None:
    others = (*NOT_IN_PYTHON, *CONSTANTS, *(f"{other}_" for other in ENUMS if other.startswith(prefix + "_")))
    in_c = {k: v for k, v in measured.items() if k.startswith(prefix + "_") and not k.startswith(others)}
    in_python = {f"{prefix}_{member.name}": member.value for member in ENUMS[prefix] if member.name != "NONE"}
    assert in_c.items() <= in_python.items()
    missing = in_python.keys() - in_c.keys()
    # The probe need not know requesters that it cannot be.
    assert missing == set() or prefix == "REQUESTER"


def test_constants_are_the_same_in_c(measured: dict[str, int]) -> None:
    assert {name: measured[name] for name in CONSTANTS} == CONSTANTS
