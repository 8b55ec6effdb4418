"""TF-A's firmware image package (FIP): reading, writing, and putting images in, without TF-A's own tool.

The format is that of ``include/tools_share/firmware_image_package.h`` of TF-A: a header, a table of contents (ToC) of
40-byte entries that ends with an entry of UUID zero, then the images.  All numbers are little-endian; offsets count
from the start of the package.  A package inside a flash image is found by its header (``locate``).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from images.errors import ImageError

HEADER_NAME: Final = 0xAA64_0001
SERIAL: Final = 0x1234_5678  # what TF-A's fiptool writes and its loader asks to be other than zero
_HEADER: Final = struct.Struct("<IIQ")
_ENTRY: Final = struct.Struct("<16sQQQ")
_LOCATE_STEP: Final = 0x1000
_LAST: Final = UUID(int=0)
_REMEDY: Final = "check that it is a whole FIP, or a flash image that holds one"

UUIDS: Final[Mapping[str, UUID]] = {
    "bl2": UUID("5ff9ec0b-4d22-3e4d-a544-c39d81c73f0a"),
    "scp-bl2": UUID("9766fd3d-89be-e849-ae5d-78a140608213"),
    "bl31": UUID("47d4086d-4cfe-9846-9b95-2950cbbd5a00"),
    "bl32": UUID("05d0e189-53dc-1347-8d2b-500a4b7a3e38"),
    "bl32-extra1": UUID("0b70c29b-2a5a-7840-9f65-0a5682738288"),
    "bl32-extra2": UUID("8ea87bb1-cfa2-3f4d-85fd-e7bba50220d9"),
    "bl33": UUID("d6d0eea7-fcea-d54b-9782-9934f234b6e4"),
    "rmm": UUID("6c0762a6-12f2-4b56-92cb-ba8f633606d9"),
    "fw-config": UUID("5807e16a-8459-47be-8ed5-648e8dddab0e"),
    "hw-config": UUID("08b8f1d9-c9cf-9349-a962-6fbc6b7265cc"),
    "tb-fw-config": UUID("6c0458ff-af6b-7d4f-82ed-aa27bc69bfd2"),
    "soc-fw-config": UUID("9979814b-0376-fb46-8c8e-8d267f7859e0"),
    "tos-fw-config": UUID("26257c1a-dbc6-7f47-8d96-c4c4b0248021"),
    "nt-fw-config": UUID("28da9815-93e8-7e44-ac66-1aaf801550f9"),
    "trusted-boot-fw-cert": UUID("d6e269ea-5d63-e411-8d8c-9fbabe9956a5"),
    "trusted-key-cert": UUID("827ee890-f860-e411-a1b4-777a21b4f94c"),
    "soc-fw-key-cert": UUID("8ab8becc-f960-e411-9ad0-eb4822d8dcf8"),
    "soc-fw-content-cert": UUID("e2b20c20-5e63-e411-9ce8-abccf92bb666"),
    "tos-fw-key-cert": UUID("9477d603-fb60-e411-85dd-b7105b8cee04"),
    "tos-fw-content-cert": UUID("a49f4411-5e63-e411-8728-3f05722af33d"),
    "nt-fw-key-cert": UUID("8ad5832a-fb60-e411-8aaf-df30bbc49859"),
    "nt-fw-content-cert": UUID("8ec4c1f3-5d63-e411-a7a9-87ee40b23fa7"),
    "cca-content-cert": UUID("36d83d85-761d-4daf-96f1-cd99d6569b00"),
    "core-swd-key-cert": UUID("52222d31-820f-494d-8bbc-ea6825d3c35a"),
    "plat-key-cert": UUID("d43cd902-5b9f-412e-8ac6-92b6d18be60d"),
}
_NAMES: Final = {uuid: name for name, uuid in UUIDS.items()}


@dataclass(frozen=True, kw_only=True)
class FipImage:
    """One image of a package: its UUID (text order is byte order), its bytes, and the ToC entry's flags."""

    uuid: UUID
    data: bytes
    flags: int = 0

    @property
    def name(self) -> str:
        """The short name of ``UUIDS``, or the UUID itself."""
        return _NAMES.get(self.uuid, str(self.uuid))


@dataclass(frozen=True, kw_only=True)
class Fip:
    """A package: the ToC header's flags (bits 32-47 are the platform's) and serial number, and the images in order."""

    images: tuple[FipImage, ...]
    flags: int = 0
    serial: int = SERIAL

    def get(self, name: str) -> FipImage:
        """The image of a name or UUID; ImageError that lists what there is."""
        wanted = uuid_of(name)
        for image in self.images:
            if image.uuid == wanted:
                return image
        there = ", ".join(image.name for image in self.images) or "nothing"
        raise ImageError(f"the FIP has no image {name}", remedy=f"it holds: {there}")

    def replace(self, name: str, data: bytes) -> Fip:
        """The package with another content for one image, which is added at the end where it was not there."""
        wanted = uuid_of(name)
        changed = tuple(replace(image, data=data) if image.uuid == wanted else image for image in self.images)
        if changed == self.images and not any(image.uuid == wanted for image in self.images):
            changed = (*self.images, FipImage(uuid=wanted, data=data))
        return replace(self, images=changed)

    def to_bytes(self, align: int = 1) -> bytes:
        """The package, each image at a multiple of ``align`` bytes (a power of two), as TF-A's fiptool lays it out."""
        if align < 1 or align & (align - 1):
            raise ImageError(f"alignment must be a power of two, not {align}")
        offset = _HEADER.size + _ENTRY.size * (len(self.images) + 1)
        toc, body = _HEADER.pack(HEADER_NAME, self.serial, self.flags), b""
        start = offset
        for image in self.images:
            offset = -(-offset // align) * align
            toc += _ENTRY.pack(image.uuid.bytes, offset, len(image.data), image.flags)
            body = body.ljust(offset - start, b"\0") + image.data
            offset += len(image.data)
        end = -(-offset // align) * align
        return toc + _ENTRY.pack(_LAST.bytes, end, 0, 0) + body.ljust(end - start, b"\0")


def uuid_of(name: str) -> UUID:
    """The UUID of a short name, or of a UUID as text; ImageError for anything else."""
    if name in UUIDS:
        return UUIDS[name]
    try:
        found = UUID(name)
    except ValueError:
        raise ImageError(f"no image type {name!r}", remedy=f"known: {', '.join(UUIDS)}, or a UUID") from None
    if found == _LAST:
        raise ImageError("the UUID zero ends the table of contents and can name no image")
    return found


def locate(data: bytes, where: str) -> int:
    """The offset of the first package in ``data`` (at a multiple of 4 KiB); ImageError when there is none."""
    signature = struct.pack("<I", HEADER_NAME)
    for offset in range(0, len(data), _LOCATE_STEP):
        if data.startswith(signature, offset):
            return offset
    raise ImageError(f"holds no FIP ({HEADER_NAME:#x} at no multiple of 4 KiB)", where=where, remedy=_REMEDY)


def parse(data: bytes, where: str) -> tuple[Fip, int]:
    """The package at the start of ``data`` and its size in bytes; ImageError names ``where``, offset and reason."""
    if len(data) < _HEADER.size:
        raise _error(where, 0, f"ends after {len(data)} of the header's {_HEADER.size} bytes")
    name, serial, flags = _HEADER.unpack_from(data)
    if name != HEADER_NAME or serial == 0:
        raise _error(where, 0, f"starts with {name:#x}, serial {serial:#x}: not a FIP header")
    images: list[FipImage] = []
    offset = _HEADER.size
    while True:
        if offset + _ENTRY.size > len(data):
            raise _error(where, offset, "the table of contents has no end")
        raw, start, size, entry_flags = _ENTRY.unpack_from(data, offset)
        uuid = UUID(bytes=raw)
        if uuid == _LAST:
            break
        if start + size > len(data):
            raise _error(where, offset, f"image {uuid} runs from {start:#x} to {start + size:#x}, past the end")
        if any(image.uuid == uuid for image in images):
            raise _error(where, offset, f"image {uuid} is there twice")
        images.append(FipImage(uuid=uuid, data=data[start : start + size], flags=entry_flags))
        offset += _ENTRY.size
    toc_end = offset + _ENTRY.size
    entries = _HEADER.size
    for image in images:
        first = _ENTRY.unpack_from(data, entries)[1]
        if first < toc_end:
            raise _error(where, entries, f"image {image.uuid} starts at {first:#x}, inside the table of contents")
        entries += _ENTRY.size
    if not toc_end <= start <= len(data):
        raise _error(where, offset, f"the package ends at {start:#x}, which is not in the file")
    return Fip(images=tuple(images), flags=flags, serial=serial), start


def _error(where: str, offset: int, what: str) -> ImageError:
    return ImageError(what, where=f"{where}: offset {offset:#x}", remedy=_REMEDY)
