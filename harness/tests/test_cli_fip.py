"""``realmcheck fip`` on a package inside a flash image."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cli import main
from images import fip
from images.fip import UUIDS, Fip, FipImage

SMALL = Fip(images=(FipImage(uuid=UUIDS["bl33"], data=b"abc"), FipImage(uuid=UUIDS["rmm"], data=b"defgh", flags=5)))


@pytest.fixture
def flash(tmp_path: Path) -> Path:
    path = tmp_path / "flash.bin"
    path.write_bytes(b"BL1".ljust(0x40000, b"\0") + SMALL.to_bytes() + b"\xff" * 64)
    return path


def test_the_command_lists(flash: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fip", "list", str(flash), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["offset"] == 0x40000
    assert [(row["name"], row["size"], row["flags"]) for row in found["images"]] == [("bl33", 3, 0), ("rmm", 5, 5)]
    assert main(["fip", "list", str(flash)]) == 0
    assert "bl33                 d6d0eea7-fcea-d54b-9782-9934f234b6e4          3 bytes" in capsys.readouterr().out


def test_the_command_extracts_and_replaces(flash: Path, tmp_path: Path) -> None:
    out, new = tmp_path / "out.bin", tmp_path / "new.bin"
    assert main(["fip", "extract", "rmm", str(flash), "-o", str(out)]) == 0
    assert out.read_bytes() == b"defgh"
    for data in (b"a longer payload", b""):
        new.write_bytes(data)
        assert main(["fip", "replace", f"bl33={new}", str(flash), "-o", str(out)]) == 0
        made = out.read_bytes()
        assert made.startswith(flash.read_bytes()[:0x40000]) and len(made) == flash.stat().st_size
        package, _ = fip.parse(made[0x40000:], "out")
        assert package.get("bl33").data == data and package.get("rmm") == SMALL.get("rmm")


def test_the_command_refuses_what_would_destroy(
    flash: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flash.write_bytes(flash.read_bytes() + b"somebody's data")
    big, out = tmp_path / "big.bin", tmp_path / "out.bin"
    big.write_bytes(bytes(1000))
    assert main(["fip", "replace", f"bl33={big}", str(flash), "-o", str(out)]) == 3
    assert "the package grows by 997 bytes, and what follows it is not empty" in capsys.readouterr().err
    assert not out.exists()
    for arguments, what in (
        (["list", str(tmp_path / "absent")], "cannot be read: No such file"),
        (["extract", "bl2", str(flash), "-o", str(out)], "the FIP has no image bl2"),
        (["replace", "bl33", str(flash), "-o", str(out)], "an image is replaced by NAME=FILE, not 'bl33'"),
        (["extract", "rmm", str(flash), "-o", str(tmp_path / "no/where")], "cannot be written"),
    ):
        assert main(["fip", *arguments]) == 3
        captured = capsys.readouterr()
        assert what in captured.err and captured.err.count("\n") == 1
