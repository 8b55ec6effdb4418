"""The firmware package: layout to the byte, round trips, replacement, and what is said of broken ones."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from images import fip
from images.errors import ImageError
from images.fip import UUIDS, Fip, FipImage

BL33, RMM = UUIDS["bl33"], UUIDS["rmm"]
SMALL = Fip(images=(FipImage(uuid=BL33, data=b"abc"), FipImage(uuid=RMM, data=b"defgh", flags=5)), flags=1 << 32)
LAID_OUT = (  # written by hand after the header file: header, two entries, the last entry, the images
    "010064aa 78563412 0000000001000000"
    "d6d0eea7fcead54b97829934f234b6e4 8800000000000000 0300000000000000 0000000000000000"
    "6c0762a612f24b5692cbba8f633606d9 8b00000000000000 0500000000000000 0500000000000000"
    "00000000000000000000000000000000 9000000000000000 0000000000000000 0000000000000000"
    "616263 6465666768"
)

images = st.builds(
    FipImage,
    uuid=st.uuids().filter(lambda uuid: uuid.int != 0),
    data=st.binary(max_size=64),
    flags=st.integers(0, 2**64 - 1),
)
packages = st.builds(
    Fip,
    images=st.lists(images, max_size=6, unique_by=lambda image: image.uuid).map(tuple),
    flags=st.integers(0, 2**64 - 1),
    serial=st.integers(1, 2**32 - 1),
)


def test_layout() -> None:
    assert SMALL.to_bytes() == bytes.fromhex(LAID_OUT)
    assert fip.parse(bytes.fromhex(LAID_OUT), "x") == (SMALL, 0x90)


@given(packages, st.sampled_from([1, 2, 16, 4096]), st.binary(max_size=20))
def test_what_is_written_is_read(package: Fip, align: int, behind: bytes) -> None:
    data = package.to_bytes(align)
    assert fip.parse(data + behind, "x") == (package, len(data))
    assert fip.locate(bytes(4096) + data, "x") == 4096


@given(packages, images, st.binary(max_size=80))
def test_replacing_changes_one_image(package: Fip, image: FipImage, data: bytes) -> None:
    changed = package.replace(str(image.uuid), data)
    assert changed.get(str(image.uuid)).data == data
    others = [i for i in changed.images if i.uuid != image.uuid]
    assert others == [i for i in package.images if i.uuid != image.uuid]
    assert len(changed.images) == len(package.images) + (image.uuid not in {i.uuid for i in package.images})


@given(st.binary(max_size=300), st.booleans())
def test_noise_is_read_or_refused_in_one_line(data: bytes, headed: bool) -> None:
    whole = SMALL.to_bytes()[:16] + data if headed else data
    try:
        package, size = fip.parse(whole, "noise.bin")
    except ImageError as error:
        assert str(error).startswith("noise.bin: offset 0x") and "\n" not in str(error)
    else:
        assert size <= len(whole) and all(len(image.data) <= len(whole) for image in package.images)


@given(st.data())
def test_a_changed_byte_never_reads_past_the_end(data: st.DataObject) -> None:
    whole = bytearray(SMALL.to_bytes())
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    try:
        package, _ = fip.parse(bytes(whole), "x")
    except ImageError:
        return
    assert sum(len(image.data) for image in package.images) <= 2 * len(whole)


def test_every_truncation_is_refused() -> None:
    whole = SMALL.to_bytes()
    for length in range(len(whole)):
        with pytest.raises(ImageError, match=r"short.bin: offset 0x[0-9a-f]+: "):
            fip.parse(whole[:length], "short.bin")


def changed(offset: int, value: int, size: int = 8) -> bytes:
    whole = bytearray(SMALL.to_bytes())
    whole[offset : offset + size] = value.to_bytes(size, "little")
    return bytes(whole)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "offset 0x0: ends after 0 of the header's 16 bytes"),
        (changed(0, 0x12345678, 4), r"offset 0x0: starts with 0x12345678, serial 0x12345678: not a FIP header"),
        (changed(4, 0, 4), "offset 0x0: starts with 0xaa640001, serial 0x0: not a FIP header"),
        (changed(32, 1 << 40), r"offset 0x10: image d6d0eea7-.* runs from 0x10000000000 to .*, past the end"),
        (changed(32, 20), r"offset 0x10: image d6d0eea7-.* starts at 0x14, inside the table of contents"),
        (changed(40, 2**64 - 1), r"offset 0x10: image .* past the end"),
        (changed(56, int.from_bytes(BL33.bytes, "little"), 16), r"offset 0x38: image d6d0eea7-.* is there twice"),
        (changed(112, 4), r"offset 0x60: the package ends at 0x4, which is not in the file"),
    ],
)
def test_broken_packages_are_named(data: bytes, message: str) -> None:
    with pytest.raises(ImageError, match=message) as caught:
        fip.parse(data, "f.bin")
    assert "check that it is a whole FIP" in str(caught.value)


def test_wrong_names_and_alignments() -> None:
    with pytest.raises(ImageError, match="no image type 'bl99'; known: bl2, "):
        fip.uuid_of("bl99")
    with pytest.raises(ImageError, match="the UUID zero ends the table"):
        fip.uuid_of(str(UUID(int=0)))
    with pytest.raises(ImageError, match="the FIP has no image bl31; it holds: bl33, rmm"):
        SMALL.get("bl31")
    with pytest.raises(ImageError, match="alignment must be a power of two, not 3"):
        SMALL.to_bytes(3)
    with pytest.raises(ImageError, match=r"x.bin: holds no FIP"):
        fip.locate(bytes(8192), "x.bin")
