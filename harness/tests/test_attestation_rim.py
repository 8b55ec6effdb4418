"""RIM and REM recomputed: from construction files and recorded sequences, against values built by hand."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from harness.attestation.build import new_key
from harness.attestation.construction import load_construction
from harness.attestation.mint import Statement, mint
from harness.cli import main
from harness.errors import BadInputError
from harness.tests.attestation_samples import RECORDED, combination
from refmodel.attestation.rim import Data, Extend, Rec, Ripas, measure, measure_all
from refmodel.rmm.measurement import GENERATIONS, HashAlgorithm, RemRule

TOML = """
[realm]
s2sz = 40
hash_algo = "sha-256"
pmu_num_ctrs = 2

[[step]]
kind = "ripas"
base = 0x80000000
top = 0x80400000
level = 2

[[step]]
kind = "data"
ipa = 0x80000000
file = "image.bin"

[[step]]
kind = "rec"
pc = 0x80000000
gprs = [1, 2]

[[extend]]
index = 2
value = "0102"
"""
IMAGE = bytes(range(256)) * 20  # a Granule and a quarter
PARAMS = {"flags": 0, "s2sz": 40, "hash_algo": 0, "pmu_num_ctrs": 2, "rtt_level_start": 0}


def write(directory: Path, text: str = TOML) -> Path:
    (directory / "image.bin").write_bytes(IMAGE)
    path = directory / "realm.toml"
    path.write_text(text)
    return path


def granules() -> list[bytes]:
    padded = IMAGE.ljust(8192, b"\0")
    return [padded[:4096], padded[4096:]]


def by_hand() -> bytes:
    """The RIM of ``TOML`` under RMM 1.0, from the layouts and hashlib alone."""

    def h(data: bytes | bytearray) -> bytes:
        return hashlib.sha256(data).digest()

    def descriptor(kind: int, rim: bytes, tail: bytes) -> bytes:
        return (bytes([kind]) + bytes(7) + struct.pack("<Q", 0x100) + rim.ljust(64, b"\0") + tail).ljust(0x100, b"\0")

    page = bytearray(4096)
    page[8], page[0x28] = 40, 2
    rim = h(page)
    for base in (0x80000000, 0x80200000):
        rim = h(descriptor(2, rim, struct.pack("<QQ", base, base + 0x200000)))
    for index, granule in enumerate(granules()):
        rim = h(descriptor(0, rim, struct.pack("<QQ", 0x80000000 + 4096 * index, 1) + h(granule)))
    rec = bytearray(4096)
    struct.pack_into("<Q", rec, 0, 1)
    struct.pack_into("<Q", rec, 0x200, 0x80000000)
    struct.pack_into("<QQ", rec, 0x300, 1, 2)
    return h(descriptor(1, rim, h(rec)))


def sequence(realm: int = 0x1000, *, fine: bool = False) -> list[dict[str, object]]:
    calls: list[dict[str, object]] = [
        {"call": "RMI_REALM_CREATE", "args": [realm, 0], "result": [0], "params": PARAMS},
        {"call": "RMI_RTT_CREATE", "args": [realm, 1, 0, 1], "result": [0]},
        {"call": "RMI_RTT_CREATE", "args": [realm, 2, 0x80000000, 2], "result": [0]},
        {"call": "RMI_RTT_CREATE", "args": [realm, 3, 0x80000000, 3], "result": [0 if fine else 4]},
        {"call": "RMI_RTT_INIT_RIPAS", "args": [realm, 0x80000000, 0x80800000], "result": [0, 0x80400000]},
    ]
    for index, granule in enumerate(granules()):
        content = base64.b64encode(granule).decode()
        args = [realm, 7, 0x80000000 + 4096 * index, 9, 1]
        calls.append({"call": "RMI_DATA_CREATE", "args": args, "result": [0], "content": content})
    rec = {"flags": 1, "pc": 0x80000000, "gprs": [1, 2]}
    calls += [
        {"call": "RMI_REC_CREATE", "args": [realm, 8, 0], "result": [0], "params": rec},
        {"call": "RMI_REALM_ACTIVATE", "args": [realm], "result": [0]},
        {"call": "RSI_MEASUREMENT_EXTEND", "args": [2, 2, 0x0201, 5], "result": [0]},
    ]
    return calls


def record(directory: Path, calls: list[dict[str, object]]) -> Path:
    path = directory / "calls.jsonl"
    path.write_text("\n".join(map(json.dumps, calls)) + "\n")
    return path


def test_a_construction_file(tmp_path: Path) -> None:
    made = load_construction(write(tmp_path))
    assert made.steps[0] == Ripas(0x80000000, 0x80400000, 1 << 21)
    assert made.steps[1:3] == tuple(Data(0x80000000 + 4096 * i, 1, part) for i, part in enumerate(granules()))
    assert made.steps[3] == Rec(1, 0x80000000, (1, 2, 0, 0, 0, 0, 0, 0))
    assert made.extends == (Extend(2, b"\1\2"),)
    assert measure(made, GENERATIONS["rmm-1.0"]).rim == by_hand()


def test_a_recorded_sequence_is_the_same_realm(tmp_path: Path) -> None:
    other = [dict(call, args=[0x2000, *call["args"][1:]]) for call in sequence() if str(call["call"])[:3] == "RMI"]  # type: ignore[index]
    failed = [dict(call, result=[1]) for call in sequence()]
    path = record(tmp_path, [*failed, *sequence(), *other])
    assert load_construction(path) == load_construction(write(tmp_path))


def test_the_walk_level_of_ripas_follows_the_tables(tmp_path: Path) -> None:
    ripas = load_construction(record(tmp_path, sequence(fine=True))).steps[0]
    assert ripas == Ripas(0x80000000, 0x80400000, 4096)


def test_generations_differ_where_they_should(tmp_path: Path) -> None:
    construction = load_construction(write(tmp_path))
    rims = {made.generation.name: made.rim for made in measure_all(construction)}
    assert rims["rmm-1.0"] == rims["tf-rmm-0.6"]
    assert len(set(rims.values())) == 3
    without = replace(construction, steps=construction.steps[1:])
    again = {made.generation.name: made.rim for made in measure_all(without)}
    assert again["tf-rmm-0.9"] == rims["tf-rmm-0.9"]
    assert again["rmm-1.0"] == again["tf-rmm-0.9"]
    rems = measure(construction, GENERATIONS["rmm-1.0"]).rems
    assert rems[RemRule.PADDED_FULL][1] == hashlib.sha256(bytes(64) + b"\1\2" + bytes(62)).digest()
    assert rems[RemRule.PADDED_FULL][0] == bytes(32)


@pytest.mark.parametrize("name", ["sha-256", "sha-384", "sha-512"])
def test_the_command_finds_the_generation_of_a_token(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, TOML.replace("sha-256", name))
    generation = "rmm-2.0-draft" if name == "sha-384" else "tf-rmm-0.9"
    made = measure(load_construction(path), GENERATIONS[generation])
    algorithm = next(one for one in HashAlgorithm if one.token_name == name)
    statement = Statement(realm_hash=algorithm, rim=made.rim, rems=next(iter(made.rems.values())))
    key = new_key("P-256")
    token = tmp_path / "token.cbor"
    token.write_bytes(mint(combination("RMM 1.0"), statement, cpak=key, rak=key))
    assert main(["rim", str(path), "--token", str(token), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["matching"] == [generation]
    assert [len(one["extensions"]) for one in report["measured"]] == [5] * len(report["measured"])
    assert main(["rim", str(path), "--token", str(RECORDED)]) == 1
    assert "no generation makes them" in capsys.readouterr().out


def test_the_command_prints_every_extension(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rim", str(write(tmp_path)), "--generation", "rmm-1.0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "rmm-1.0, sha-256"
    assert ["RIM", by_hand().hex()] in [line.split() for line in lines]
    assert lines[5].split()[:2] == ["4", by_hand().hex()]
    assert sum("DATA" in line for line in lines) == 2
    assert main(["rim", str(write(tmp_path)), "--hash", "all", "--brief"]) == 0
    assert capsys.readouterr().out.count("RIM ") == 4 + 4 + 1  # one generation has SHA-384


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("s2sz = 40", "s2sz = 400", r"\[realm\]: key 's2sz' must be an integer of 8 bits"),
        ('"sha-256"', '"sha-1"', "no hash algorithm 'sha-1'"),
        ("level = 2", "level = 4", r"\[\[step\]\] 1: level must be 0 to 3"),
        ('"image.bin"', '"none.bin"', "none.bin: cannot be read"),
        ("ipa = 0x80000000", "ipa = 0x80000001", "not a multiple of 4096"),
        ("index = 2", "index = 0", "index must be 1 to 4"),
        ('value = "0102"', 'value = "xy"', "must be hexadecimal digits"),
        ('kind = "rec"', 'kind = "run"', "no step of kind 'run'"),
        ("[realm]", "[real]", "key 'real' is not known"),
        ("[realm]", "[realm", "is not valid TOML"),
        ("pc = 0x80000000", "pcs = 1", "key 'pcs' is not known"),
    ],
)
def test_bad_construction_files(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert old in TOML
    with pytest.raises(BadInputError, match=message):
        load_construction(write(tmp_path, TOML.replace(old, new)))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1: is no recorded call"),
        ("[]", "line 1: is no recorded call"),
        ('{"call": "RMI_REALM_CREATE", "args": [1, 2], "result": [0]}', "no 'params'"),
        ('{"call": "RMI_VERSION", "args": [1], "result": [0]}', "creates no realm"),
        (
            '{"call": "RMI_REALM_CREATE", "args": [1], "result": [0], "params": {"s2sz": 1, "hash_algo": 7}}',
            "algo 7",
        ),
    ],
)
def test_bad_sequences(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    path.write_text(line)
    with pytest.raises(BadInputError, match=message):
        load_construction(path)
