"""Stack manifests: those that ship, and what is said of broken ones, with the line."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from images import stack as stacks
from images.errors import ImageError
from images.stack import Owner, load

SHIPPED = (stacks.STACKS / "tfa-trp.toml").read_text()


def manifest(directory: Path, text: str) -> str:
    path = directory / "own.toml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", stacks.names())
def test_shipped_stacks(name: str) -> None:
    stack = load(name)
    assert stack.name == name and stack.stages and stack.summary
    assert stack.path == stacks.STACKS / f"{name}.toml"


def test_a_manifest_that_extends_another() -> None:
    base, own = load("tfa-trp"), load("tfa-rmm")
    assert own.firmware is not None and (own.firmware.image, own.firmware.rmm) == ("tfa", "user")
    assert (own.machine.machine, own.machine.memory_mib) == (base.machine.machine, 3072)
    assert own.stages == base.stages and own.fail == base.fail
    assert [region.owner for region in own.regions] == [region.owner for region in base.regions]
    ends = [stack.regions[-1].base + stack.regions[-1].size for stack in (base, own)]
    assert ends == [0x4000_0000 + (2048 << 20), 0x4000_0000 + (3072 << 20)]


def test_stages_replace_and_follow(tmp_path: Path) -> None:
    text = 'summary = "x"\nextends = "tfa-trp"\n'
    text += '[[stage]]\nname = "rmm"\nexpect = "other"\ndeadline = 1\n'
    text += '[[stage]]\nname = "shell"\nprompt = "# "\ndeadline = 2\n'
    stack = load(manifest(tmp_path, text))
    assert [stage.name for stage in stack.stages] == ["bl1", "gpt", "bl2", "bl31", "rmm", "normal-world", "shell"]
    assert (stack.stage("rmm").expect, stack.stage("rmm").after) == ("other", ("bl31",))
    assert (stack.stage("shell").prompt, stack.stage("shell").after) == ("# ", ("normal-world",))


def test_the_plan_of_the_shipped_stack_covers_its_memory() -> None:
    regions = load("tfa-trp").regions
    for begin, end in ((0x0, 0x0400_0000), (0x0E00_0000, 0x0F00_0000), (0x4000_0000, 0xC000_0000)):
        inside = [region for region in regions if begin <= region.base < end]
        assert inside[0].base == begin and inside[-1].base + inside[-1].size == end
        assert all(a.base + a.size == b.base for a, b in itertools.pairwise(inside))
    assert {region.owner for region in regions} == set(Owner)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("memory_mib = 2048", 'memory_mib = "2G"', r"own.toml:\d+: machine.memory_mib: must be an integer, not '2G'"),
        ("memory_mib = 2048", "memory_mib = 1", r"machine.memory_mib: must be 64 to 1048576 MiB, not 1"),
        ("memory_mib = 2048", "memory_mib = 2048\npes = 0", r"machine.pes: must be 1 to 512, not 0"),
        ("memory_mib = 2048", 'memory_mib = 2048\nargs = ["{disk}"]', r"machine.args: names a file 'disk' that"),
        ('rmm = "trp"', 'rmm = "mine"', r"firmware.rmm: must be trp or user, not 'mine'"),
        ('bl33 = "loop"', 'bl33 = "linux"', r"firmware.bl33: must be loop or the name of a file"),
        ("[boot]", '[files]\nx = { image = "a", user = "b" }\n[boot]', r"files.x: must be \{ image = \.\.\. \}"),
        ("[boot]", '[files]\nx = { image = "a", private = 1 }\n[boot]', r"files.x.private: must be true or false"),
        ('owner = "realm"', 'owner = "host"', r"region#7.owner: must be root, secure, realm, non-secure, not 'host'"),
        ("base = 0x4010_0000", "base = 0x4010_0001", r"region#7.base: must be whole pages after the region above"),
        ("base = 0x4010_0000", "base = 0x4000_0000", r"region#7.base: must be whole pages after the region above"),
        ('name = "bl2"', 'name = "gpt"', r"stage#3.name: must be a new name such as .*, not 'gpt'"),
        ('name = "bl2"', 'name = "bl2"\nafter = ["rmm"]', r"stage#3.after: must name stages above this one, not 'rmm'"),
        ('name = "bl2"', 'name = "bl2"\nconsole = "hvc0"', r"stage#3.console: must be one of uart0, uart1, not 'hvc0'"),
        ('name = "bl2"', 'name = "bl2"\nprompt = "x"', r"stage#3.name: must have either expect or prompt"),
        ('expect = "NOTICE:  BL2: Booting BL31"', 'expect = "("', r"stage#3.expect: is no regular expression: missing"),
        (
            'expect = "NOTICE:  BL2: Booting BL31"',
            'expect = ".*"',
            r"stage#3.expect: would match an empty line: '\.\*'",
        ),
        ("deadline = 5.0", "deadline = 0", r"own.toml:\d+: stage#1.deadline: must be above 0 and up to 3600 s, not 0"),
        ("summary", "colour = 1\nsummary", r"own.toml:\d+: colour: is not a known key"),
        ("[consoles]", "[consoles.x]", r"consoles.x: must be a string"),
    ],
)
def test_errors_name_file_line_and_key(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in SHIPPED
    with pytest.raises(ImageError, match=message) as caught:
        load(manifest(tmp_path, SHIPPED.replace(old, new, 1)))
    assert "\n" not in str(caught.value)


def test_the_line_is_the_right_one(tmp_path: Path) -> None:
    """Of eleven tables with the same head, the one with the mistake."""
    text = SHIPPED.replace('name = "RMM\'s memory"\nbase = 0x4010_0000', 'name = "RMM\'s memory"\nbase = "low"')
    line = next(n for n, line in enumerate(text.splitlines(), 1) if 'base = "low"' in line)
    with pytest.raises(ImageError, match=rf"own.toml:{line}: region#7.base: must be an integer, not 'low'"):
        load(manifest(tmp_path, text))


def test_every_truncation_is_read_or_refused_in_one_line(tmp_path: Path) -> None:
    refused = 0
    for length in range(0, len(SHIPPED), 7):
        path = manifest(tmp_path, SHIPPED[:length])
        try:
            load(path)
        except ImageError as error:
            refused += 1
            assert str(error).startswith(f"{path}:") and "\n" not in str(error)
    assert refused > 100


def test_unknown_names() -> None:
    with pytest.raises(ImageError, match=r"there is no stack 'tfa'; stacks: .*tfa-trp, or a manifest's path"):
        load("tfa")
    with pytest.raises(ImageError, match="stack tfa-trp has no stage 'bl9'; its stages: bl1, gpt"):
        load("tfa-trp").stage("bl9")
    with pytest.raises(ImageError, match=r"absent.toml: cannot be read"):
        load("absent.toml")
