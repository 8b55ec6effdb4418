"""The QEMU machine that the `root` probe runs on: its command line, memory plan and shared RAM."""

from __future__ import annotations

import functools
import mmap
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from harness.errors import MisuseError, TargetProtocolError
from harness.probe.banner import Banner
from harness.targets.target import Layout, Window

RAM: Final = Window(base=0x4000_0000, size=5 << 30)
_TABLES: Final = Window(base=0x5000_0000, size=0x3000_0000)
_TEST: Final = Window(base=0x8000_0000, size=0x1_0000_0000)
_SECURE_RAM: Final = Window(base=0x0E00_0000, size=0x100_0000)
_PROBE: Final = Window(base=0x4000_0000, size=0x1000_0000)
_HIGH_PCIE: Final = Window(base=0x80_0000_0000, size=0x80_0000_0000)
_PA_END: Final = 1 << 52
PAGE: Final = 4096
_ENTRY: Final = 0x4020_0000  # the probe's entry point, see images/probe/root.ld


def layout(banner: Banner) -> Layout:
    """Where things are: RAM from 1 GB on, nothing between its end and the high PCIe window, nothing above 1 TB."""
    return Layout(
        probe=(_PROBE,),
        tables=_TABLES,
        test=(_TEST,),
        hole=(
            Window(base=0x2_0000_0000, size=0x3E_0000_0000),
            Window(base=_HIGH_PCIE.end, size=_PA_END - _HIGH_PCIE.end),
        ),
        secure=(_SECURE_RAM,),
        windows_l1=banner.windows_l1,
        lower=banner.lower,
    )


def check_banner(banner: Banner) -> None:
    """TargetProtocolError for a banner that this machine's `root` probe cannot have sent.

    What it says is used as addresses in the shared memory, so it is not taken on trust.
    """
    if (banner.personality, banner.el) != ("root", 3):
        what = f"personality {banner.personality!r} at EL{banner.el}, not 'root' at EL3"
        raise TargetProtocolError(f"the probe is of {what}; boot the probe of personality root")
    areas = {
        "mailbox": (banner.mailbox, PAGE),
        "batch": (banner.batch, banner.batch_size),
        "windows_l1": (banner.windows_l1, PAGE),
    }
    for name, (base, size) in areas.items():
        if base % PAGE or size < PAGE or not _PROBE.holds(base, size):
            window = f"{_PROBE.base:#x}..{_PROBE.end:#x}"
            raise TargetProtocolError(
                f"the probe's banner puts its {name} at {base:#x}, {size:#x} bytes, not whole pages inside {window}; "
                "boot a probe built from the same release"
            )


def machine_argv(
    qemu: Sequence[str],
    *,
    probe: Path,
    l0gptsz: int,
    uart_fd: int,
    ram_fd: int | None,
    extra: Sequence[str] = (),
) -> list[str]:
    """The command line.  ``ram_fd`` None: RAM is private to QEMU."""
    machine = "virt,secure=on,virtualization=on,gic-version=3,acpi=off"
    argv = [*qemu]
    if ram_fd is not None:
        machine += ",memory-backend=ram0"
        path = f"/proc/self/fd/{ram_fd}"
        argv += ["-object", f"memory-backend-file,id=ram0,size={RAM.size},mem-path={path},share=on"]
    return [
        *argv,
        "-M", machine,
        "-accel", "tcg",
        "-cpu", f"max,x-rme=on,x-l0gptsz={l0gptsz}",
        "-m", f"{RAM.size >> 20}M",
        "-nodefaults",
        "-no-user-config",
        "-display", "none",
        "-monitor", "none",
        "-chardev", f"socket,id=uart0,fd={uart_fd}",
        "-serial", "chardev:uart0",
        "-device", f"loader,file={probe},cpu-num=0",
        *extra,
    ]  # fmt: skip


def standalone_arguments(elf: str, *, l0gptsz: int, pes: int) -> list[str]:
    """QEMU's arguments for a standalone case: the same machine with its own RAM, semihosting, UART on stdout."""
    return [
        "-M", "virt,secure=on,virtualization=on,gic-version=3,acpi=off",
        "-accel", "tcg",
        "-cpu", f"max,x-rme=on,x-l0gptsz={l0gptsz}",
        "-m", f"{RAM.size >> 20}M",
        "-nodefaults",
        "-no-user-config",
        "-display", "none",
        "-monitor", "none",
        "-serial", "stdio",
        "-semihosting-config", "enable=on,target=native",
        "-device", f"loader,file={elf},cpu-num=0",
        *more_pes(pes),
    ]  # fmt: skip


def more_pes(pes: int) -> tuple[str, ...]:
    """The arguments that give the machine ``pes`` PEs, all of which start at the probe's entry point."""
    started = (word for pe in range(1, pes) for word in ("-device", f"loader,addr={_ENTRY:#x},cpu-num={pe}"))
    return ("-smp", str(pes), *started) if pes > 1 else ()


@functools.cache
def version_of(qemu: tuple[str, ...]) -> str:
    """QEMU's version, ``11.1.3``; MisuseError when the command is not a working QEMU."""
    try:
        answer = subprocess.run([*qemu, "--version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MisuseError(f"cannot run {qemu[0]}: {error}; name a qemu-system-aarch64 with REALMCHECK_QEMU") from error
    found = re.search(r"QEMU emulator version (\d+(?:\.\d+)+)", answer.stdout)
    if found is None:
        raise MisuseError(f"{qemu[0]} is not QEMU (--version said {answer.stdout[:60]!r}); check REALMCHECK_QEMU")
    return found[1]


class SharedRam:
    """Guest RAM in an anonymous file that harness and QEMU both map: nothing is left behind, however either ends."""

    def __init__(self, size: int) -> None:
        self.fd = os.memfd_create("realmcheck-ram")
        try:
            os.ftruncate(self.fd, size)
            self.map = mmap.mmap(self.fd, size)
        except OSError as error:
            os.close(self.fd)
            raise MisuseError(
                f"the machine's {size >> 20} MiB of RAM cannot be mapped: {error.strerror}; "
                "raise the limits of this shell (ulimit -v, ulimit -f), or use --wire-only"
            ) from None

    def read(self, offset: int, length: int) -> bytes:
        """``length`` bytes from byte ``offset`` on."""
        return self.map[offset : offset + length]

    def write(self, offset: int, data: bytes) -> None:
        """Write ``data`` at byte ``offset``."""
        self.map[offset : offset + len(data)] = data

    def close(self) -> None:
        """Unmap and close; every view of the map must have been released."""
        self.map.close()
        os.close(self.fd)
