"""Mutants of stacks: firmware of our own with one fault, or one observation falsified.

They prove that the suites that boot firmware notice what they are there to notice.  The stack still runs on QEMU; only
what it is built of, or what the harness is told of it, differs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from refmodel.gpt.decode import GPT_NonSecure, GPT_Secure
from refmodel.mutants.mutant import Mutant, Patch

_TABLES = "harness.boot.tables"


@dataclass(frozen=True)
class StackMutant(Mutant):
    """A mutant of a stack; ``firmware`` is the image of the catalogue that takes TF-A's place, if any.

    ``marks``: it leaves something behind on the machine, which no other may then use.
    """

    firmware: str = ""
    marks: bool = False

    @property
    def shares(self) -> bool:
        """Whether it only falsifies what is seen of the stack, so that others can be hunted on the same machine."""
        return not (self.firmware or self.marks)


def _built(name: str, *rules: str) -> StackMutant:
    """TF-A with the optional edit of images/tfa/build.toml that the image ``tfa-NAME`` is built with."""
    return StackMutant(name, "boot", rules, (), "firmware", firmware=f"tfa-{name}")


def _falsified(name: str, rule: str, attribute: str, make: Callable[[Any], Any]) -> StackMutant:
    """What ``attribute`` of harness/boot/tables.py gives is changed by ``make``."""
    return StackMutant(name, "boot", (rule,), (Patch(_TABLES, attribute, make),), "observation")


def _registers(**changes: Callable[[int], int]) -> Callable[[Any], Any]:
    """Some registers read otherwise than they are."""

    def make(read: Any) -> Any:
        def falsified(machine: Any) -> dict[str, int]:
            found: Mapping[str, int] = read(machine)
            return {name: changes.get(name, int)(value) for name, value in found.items()}

        return falsified

    return make


def _granules(pa: int, gpi: int) -> Callable[[Any], Any]:
    """The 16 granules at ``pa`` have another GPI than in memory."""
    return _descriptor(pa, gpi * 0x1111_1111_1111_1111)


def _descriptor(pa: int, value: int) -> Callable[[Any], Any]:
    """The level 1 descriptor for ``pa`` (below 1 GB with TF-A's first level 1 table) is another one than in memory."""

    def make(snapshot: Any) -> Any:
        def falsified(*arguments: Any) -> Any:
            tables = snapshot(*arguments)
            table, index = tables.level_1[pa >> 30], pa % (1 << 30) >> 16
            tables.memory.write(table + index * 8, value.to_bytes(8, "little"))
            return tables

        return falsified

    return make


def _announced(**changes: Callable[[int], int]) -> Callable[[Any], Any]:
    """TF-A's log says something else of the tables."""

    def make(announced: Any) -> Any:
        def falsified(log: str) -> Any:
            found = announced(log)
            return replace(found, **{name: change(getattr(found, name)) for name, change in changes.items()})

        return falsified

    return make


def _another_version(version_in: Any) -> Any:
    """The log names an interface version that nobody has, whatever RMM it names."""
    return lambda log: replace(version_in(log), rmi="7.3")


BOOT_MUTANTS: tuple[StackMutant, ...] = (
    _built("rmm-init-fails", "BOOT-001", "BOOT-002"),
    _built("no-realm-region", "BOOT-013"),
    _falsified("gpc-left-off", "BOOT-010", "read_registers", _registers(GPCCR_EL3=lambda v: v & ~(1 << 16))),
    _falsified("gpccr-shareability-reserved", "BOOT-010", "read_registers",
               _registers(GPCCR_EL3=lambda v: v & ~(3 << 12) | 1 << 12)),
    _falsified("tables-elsewhere-than-announced", "BOOT-011", "announced", _announced(l0_base=lambda v: v + 0x1000)),
    _falsified("a-region-more-than-announced", "BOOT-011", "announced", _announced(pas_count=lambda v: v - 1)),
    _falsified("granule-of-the-rmm-is-the-hosts", "BOOT-012", "snapshot", _granules(0x418F_0000, GPT_NonSecure)),
    _falsified("granule-of-el3-is-secure", "BOOT-012", "snapshot", _granules(0x0E0F_0000, GPT_Secure)),
    _falsified("granule-of-the-tables-is-secure", "BOOT-014", "snapshot", _granules(0x0EF6_0000, GPT_Secure)),
    _falsified("descriptor-with-a-reserved-gpi", "BOOT-015", "snapshot",
               _descriptor(0x0900_0000, 0x0123_4567_89AB_CDEF)),
    _falsified("normal-world-in-realm-state", "BOOT-016", "read_registers", _registers(SCR_EL3=lambda v: v | 1 << 62)),
    _falsified("normal-world-at-el1", "BOOT-016", "read_registers", _registers(cpsr=lambda v: v & ~0xF | 0x5)),
    StackMutant("log-names-another-rmm", "boot", ("BOOT-017",), (
        Patch("harness.boot.rmm", "version_in", _another_version),
        Patch("harness.host.version", "STACK", lambda original: "tfa-host"),
    ), "observation"),
)  # fmt: skip
