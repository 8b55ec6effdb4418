"""The flash image that QEMU's ``virt`` machine boots TF-A from: BL1 at its start, a FIP with the rest at 256 KiB."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from images import elf, tfa
from images.errors import ImageError
from images.fip import UUIDS, Fip, FipImage
from images.image import Image

FIP_OFFSET: Final = 0x4_0000  # PLAT_QEMU_FIP_BASE
SIZE: Final = 0x400_0000  # flash 0 of the virt machine, bytes
ENDLESS_LOOP: Final = bytes.fromhex("5f2003d5 ffffff17")  # wfe; b .-4: a non-secure payload that does nothing


def compose(firmware: Image, *, bl33: bytes = ENDLESS_LOOP, rmm: bytes | None = None) -> bytes:
    """The flash image of TF-A ``firmware`` with a non-secure payload and an RMM (None: TF-A's test realm payload).

    ``bl33`` is loaded to 0x6000_0000 and entered there at NS-EL2, ``rmm`` to 0x4010_0000 at R-EL2.  ImageError when a
    binary cannot be read or all of them do not fit.
    """
    directory = firmware.path.parent
    bl1, bl2, bl31 = (_read(directory / name) for name in tfa.BINARIES)
    parts = {"bl2": bl2, "bl31": bl31, "rmm": _read(directory / tfa.TRP) if rmm is None else rmm, "bl33": bl33}
    if len(bl1) > FIP_OFFSET:
        raise ImageError(f"BL1 has {len(bl1)} bytes, more than {FIP_OFFSET}", where=str(directory / tfa.BINARIES[0]))
    fip = Fip(images=tuple(FipImage(uuid=UUIDS[name], data=data) for name, data in parts.items()))
    flash = bl1.ljust(FIP_OFFSET, b"\0") + fip.to_bytes()
    if len(flash) > SIZE:
        raise ImageError(f"the flash image needs {len(flash)} bytes, the flash has {SIZE}", where=str(directory))
    return flash


def payload(path: Path) -> bytes:
    """A non-secure payload as it lies in memory: a file as it is, an ELF file as what it loads (``elf.flat_image``)."""
    data = _read(path)
    return elf.flat_image(path) if data.startswith(b"\x7fELF") else data


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror}", where=str(path)) from error
