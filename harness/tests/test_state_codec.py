"""State files: what is written is read back, and every malformed file is one clear line."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from harness import cli
from harness.errors import BadInputError
from harness.probe.address_space import MemoryType
from harness.probe.records import Op, RecordFlag, RegisterEntry, Requester, World, sysreg_encoding
from harness.state import MemoryBlock, Needs, Origin, State, StateRecord, read_state, state_text
from harness.state.state import merged
from harness.state.text import digest
from harness.tests.judge_samples import LOW
from harness.tests.state_samples import CONTEXT, TABLES, state

UNNAMED = RegisterEntry(sysreg_encoding(3, 4, 15, 2, 7), 5)

FULL = state(
    StateRecord(op=Op.MEM_WRITE, pa=TABLES + 16, data=bytes(range(8))),
    StateRecord(op=Op.TLBI_PAALL),
    StateRecord(op=Op.SMC, data=b"\x01" * 144, state=World.REALM, el=1),
    StateRecord(op=Op.SYS, va=0xFFFF_0000_0000_1000, aux=0x4398, state=World.SECURE, el=2, group=1),
    StateRecord(
        op=Op.ATOMIC_CAS,
        pa=1 << 45,
        pas=World.NON_SECURE,
        memory=MemoryType.DEVICE,
        size_log2=2,
        value0=(1 << 64) - 1,
        value1=2,
        pe=1,
        group=2,
        requester=Requester.PE_FETCH,
        flags=RecordFlag.TLBI_BEFORE | RecordFlag.DUMP,
        registers=(*CONTEXT, UNNAMED),
    ),
    title='quotes " and \\ and \x7f and \u00e4 and a\nnew line',
    judged=4,
    needs=Needs(l0gptsz=36, pes=2, features=("FEAT_RME", "FEAT_LSE")),
    memory=(MemoryBlock(pa=TABLES, data=b"\xff" * 4096 + b"abcdefgh"), MemoryBlock(pa=LOW, data=b"\xc0\x03\x5f\xd6")),
    origin=Origin(target="qemu", rules=("GPC-043", "GPC-027"), signature="EC=0x1e", index=7, lost=True),
)


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("made", [state(), FULL], ids=["small", "full"])
def test_what_is_written_is_read_back(made: State, tmp_path: Path) -> None:
    assert read_state(written(tmp_path / "a.state", state_text(made))) == made


def test_memory_is_written_in_order_and_neighbours_are_joined(tmp_path: Path) -> None:
    parts = (MemoryBlock(pa=TABLES + 8, data=b"b" * 8), MemoryBlock(pa=TABLES, data=b"a" * 8))
    made = state(memory=parts)
    assert read_state(written(tmp_path / "a.state", state_text(made))).memory == (
        MemoryBlock(pa=TABLES, data=b"a" * 8 + b"b" * 8),
    )


def test_later_writes_win() -> None:
    assert merged([(8, b"aaaa"), (20, b"z"), (10, b"bbbb")]) == (
        MemoryBlock(pa=8, data=b"aabbbb"),
        MemoryBlock(pa=20, data=b"z"),
    )


def test_a_person_can_read_it() -> None:
    text = state_text(FULL)
    assert "fill = 0xffffffffffffffff\ncount = 512" in text
    assert 'name = "GPCCR_EL3"' in text and "PPS=0b010 (1TB)" in text and "S3_4_C15_C2_7" in text
    assert "0x0000000000000011,  # 0x50000010" in state_text(state())


def test_comments_and_space_may_change(tmp_path: Path) -> None:
    text = re.sub(r" *#.*", "", state_text(FULL)).replace("\n\n", "\n\n\n")
    assert read_state(written(tmp_path / "a.state", text)) == FULL


def test_every_field_counts_in_the_checksum() -> None:
    record = FULL.record
    others = [
        replace(FULL, title="x"),
        replace(FULL, judged=0),
        replace(FULL, needs=replace(FULL.needs, pes=3)),
        replace(FULL, origin=replace(FULL.origin, index=8)),
        replace(FULL, context=FULL.context[::-1]),
        replace(FULL, memory=FULL.memory[:1]),
        replace(FULL, records=(*FULL.records[:4], replace(record, flags=RecordFlag.NONE))),
        replace(FULL, records=(*FULL.records[:4], replace(record, pas=World.REALM))),
    ]
    assert len({digest(one) for one in (FULL, *others)}) == 1 + len(others)


GOOD = state_text(FULL)
BAD = [
    ("version = 1", "version = 2", r"line 3: version: state file version 2, this realmcheck reads 1; use the release"),
    ("version = 1", 'version = "1"', r"line 3: version: must be an integer, not '1'"),
    ("version = 1\n", "", r"version: is missing"),
    ("judged = 4", "judged = 5", r"line 6: judged: must be from 0x0 to 0x4, not 0x5"),
    ("judged = 4", "judged = 3", r"line 4: checksum: does not fit the content; .*set it to [0-9a-f]{64}"),
    ("judged = 4", "judged = true", r"judged: must be an integer, not True"),
    ("judged = 4", "judged = 4\njudged = 4", r"line 7: not TOML: Cannot overwrite"),
    ("judged = 4", "judged = 4\nmore = 1", r"line 7: more: is not a known key; known are checksum, context"),
    ("l0gptsz = 36", "l0gptsz = 35", r"line 9: needs.l0gptsz: must be one of \(30, 34, 36, 39\), not 35"),
    ("pes = 2", "pes = 1", r"needs: needs.pes is 1, and a record names another PE"),
    ('"FEAT_LSE"', '"FEAT_X"', r"needs.features: unknown feature 'FEAT_X'; known are FEAT_RME"),
    ("lost = true", "lost = 1", r"origin.lost: must be true or false, not 1"),
    ('rules = ["GPC-043"', "rules = [43", r"origin.rules: must be a list of strings"),
    ('name = "GPTBR_EL3"', 'name = "GPTBR_EL4"', r"context 0.name: unknown register 'GPTBR_EL4'; use a name"),
    ('"S3_4_C15_C2_7"', '"S3_4_C16_C2_7"', r"record.register 2.name: unknown register"),
    ("value = 0x13502", f"value = {1 << 64:#x}", r"context 1.value: must be from 0x0 to 0xf{16}, not 0x10{16}"),
    ("count = 512", "count = 0", r"memory 0.count: must be from 0x1"),
    ("count = 512\n", "", r"memory 0.pa: must have the keys words, or fill and count, or bytes"),
    ("pa = 0x80000000", "pa = 0x50000008", r"memory 2.pa: 0x50000008 to 0x5000000b overlaps an earlier block"),
    ("c0035fd6", "c0035fd", r"memory 2.bytes: must be an even number of hexadecimal digits"),
    ('op = "SYS"', 'op = "SYSL"', r"record 3.op: unknown 'SYSL'; known are NOP, LOAD"),
    ("el = 1", "el = 4", r"record 2.el: must be from 0x0 to 0x3, not 0x4"),
    ('flags = ["DUMP"', 'flags = ["DUMB"', r"record 4.flags: unknown flag 'DUMB'; known are NONE, DUMP"),
    ("group = 2", "group = 0", r"record: groups must not decrease"),
    ("pa = 0x200000000000", "pa = 0x200000000000\nva = 1", r"record 4.va: a record has pa or va, not both"),
    ("va = 0xffff000000001000", "pa = 16", r"record 3.pa: below EL3 an address is a virtual one; write va"),
    ("va = 0xffff000000001000", 'pas = "ROOT"', r"record 3.pas: has no meaning without pa"),
    ("aux = 0x4398", 'aux = 0x4398\ndata = "00"', r"record 3.data: SYS has no data"),
    ("01" * 144, "01" * 145, r"record 2.data: x0 to x17 are 144 bytes, not 145"),
    ("[needs]", "[[needs]]", r"needs: must be a table"),
    ("[needs]", "[needs", r"line 8: not TOML"),
    ("[[record]]", "[record]", r"not TOML"),
]


@pytest.mark.parametrize(("old", "new", "message"), BAD)
def test_a_malformed_file_is_one_line(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert old in GOOD
    path = written(tmp_path / "bad.state", GOOD.replace(old, new, 1))
    with pytest.raises(BadInputError, match=message) as caught:
        read_state(path)
    assert "\n" not in str(caught.value) and str(caught.value).startswith(f"{path}: line ")


@pytest.mark.parametrize("length", [0, 10, 60, 300, 700, len(GOOD) - 90])
def test_a_file_cut_short_is_refused(length: int, tmp_path: Path) -> None:
    with pytest.raises(BadInputError):
        read_state(written(tmp_path / "cut.state", GOOD[:length]))


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "raw.state"
    path.write_bytes(b"version = 1\n\xff")
    with pytest.raises(BadInputError, match="not UTF-8 at byte 12"):
        read_state(path)
    with pytest.raises(BadInputError, match="cannot be read: No such file"):
        read_state(tmp_path / "none.state")


def test_the_command_says_it_in_one_line_and_runs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "bad.state", GOOD.replace("judged = 4", "judged = 9"))
    # A target that cannot exist: it would be refused as well, if it were looked at.
    assert cli.main(["probe", "run", str(path), "--target=model", "--probe=nowhere"]) == 3
    said = capsys.readouterr()
    assert said.out == "" and re.fullmatch(rf"realmcheck: {path}: line 6: judged: [^\n]*\n", said.err)
