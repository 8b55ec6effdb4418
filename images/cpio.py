"""Writing a cpio archive of the "newc" form, as the Linux kernel unpacks an initramfs; same members, same bytes.

Source of the form: Documentation/driver-api/early-userspace/buffer-format.rst of the kernel.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_MAGIC: Final = "070701"
_END: Final = "TRAILER!!!"
_ALIGNMENT: Final = 4
_BLOCK: Final = 512


@dataclass(frozen=True, kw_only=True)
class Member:
    """One file: ``mode`` is type and permissions as in ``st_mode``, ``device`` the (major, minor) of a device node."""

    name: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def directory(name: str) -> Member:
    """A directory that everybody may read."""
    return Member(name=name, mode=stat.S_IFDIR | 0o755)


def program(name: str, data: bytes) -> Member:
    """A file that can be run."""
    return Member(name=name, mode=stat.S_IFREG | 0o755, data=data)


def character_device(name: str, major: int, minor: int) -> Member:
    """A character device that its owner may read and write."""
    return Member(name=name, mode=stat.S_IFCHR | 0o600, device=(major, minor))


def archive(members: Iterable[Member]) -> bytes:
    """The archive of these members in their order; all belong to root and carry no time."""
    whole = bytearray()
    for inode, member in enumerate(members, start=1):
        whole += _entry(member, inode)
    whole += _entry(Member(name=_END, mode=0), 0)
    return bytes(whole) + bytes(-len(whole) % _BLOCK)


def _entry(member: Member, inode: int) -> bytes:
    name = member.name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(member.mode) else 1
    fields = (
        inode, member.mode, 0, 0, links, 0, len(member.data), 0, 0, *member.device, len(name), 0,
    )  # fmt: skip
    head = _MAGIC.encode() + b"".join(b"%08x" % field for field in fields) + name
    return _padded(head) + _padded(member.data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _ALIGNMENT)
