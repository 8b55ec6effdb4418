"""Lines of an RMM's log as events: TF-RMM (0.6 to 0.9) and Islet.

TF-RMM prints ``SMC_RMI_NAME args > RMI_STATUS [index] outputs`` with the name padded to a width that differs between
releases, so lines are split at white space.  Several CPUs write at once: a line that cannot have been printed as it
stands is ``Garbled``, one that only follows other text on its line is marked ``suspect``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from refmodel.rmm.rsi import RSI_COMMANDS
from refmodel.rmm.step import BY_NAME
from refmodel.rmm.types import Rmi, Rsi


class Origin(Enum):
    """Who called."""

    RMI = "RMI"
    RSI = "RSI"
    SMC = "SMC"


@dataclass(frozen=True)
class Event:
    """A call: ``x0`` is the status with its index for RMI, the printed value else."""

    line: int
    text: str
    origin: Origin
    name: str
    fid: int
    args: tuple[int, ...]
    x0: int
    outputs: tuple[int, ...]
    suspect: bool = False


@dataclass(frozen=True)
class Garbled:
    """A line with pieces of a call that cannot be read."""

    line: int
    text: str


@dataclass(frozen=True)
class Banner:
    """What a booting RMM says of itself: firmware version, or the revision of the RMI."""

    line: int
    firmware: str = ""
    abi: str = ""


@dataclass(frozen=True)
class Unknown:
    """A well-formed line with a command or a status that is not known."""

    line: int
    text: str
    what: str


Parsed = Event | Garbled | Banner | Unknown

_HEX = r"(?:\s+[0-9a-f]+)*"
_CALL = re.compile(
    rf"(SMC_RMI_[A-Z_]+|SMC_RSI_[A-Z_]+|SMC_[0-9a-f]{{8}}|PSCI_[0-9a-f]{{8}})({_HEX})\s+>\s+(\S+)({_HEX})\s*$"
)
_FRAGMENT = re.compile(r"SMC_R|SMC_[0-9a-f]{8}|PSCI_[0-9a-f]|RSI_HOS|c40001|> RMI_|> RSI_")
_PREFIX = re.compile(r"(\[[^\]]*\]\s*)*$")
_ISLET = re.compile(r"RMI: (?:SMC_)?(?:RMI_)?([A-Z_]+)\s*\[([^\]]*)\]\s*>\s*\[([^\]]*)\]")
_BOOT = re.compile(r"Booting RMM v\.?\s*([^\s(]+)")
_ABI = re.compile(r"RMI/RSI ABI v\.?(\d+\.\d+)/")

_ATTESTATION: Final = "RSI_ATTESTATION_TOKEN"
_RSI_ARGUMENTS: Final = {"RSI_MEASUREMENT_EXTEND": 10, f"{_ATTESTATION}_INIT": 8}
_TOP_ON_RTT: Final = ("RMI_RTT_DESTROY", "RMI_DATA_DESTROY", "RMI_RTT_UNMAP_UNPROTECTED")
_STATUS: Final = {**{status.name: int(status) for status in Rmi}, **{status.name: int(status) for status in Rsi}}
_SMC_ARGUMENTS, _SMC_OUTPUTS = 7, 3


def parse(lines: Iterable[str]) -> Iterator[Parsed]:
    """Everything of interest, in the order of the lines, which are numbered from 1."""
    for number, raw in enumerate(lines, 1):
        text = raw.rstrip("\r\n")
        made = _line(number, text)
        if made is not None:
            yield made


def _line(number: int, text: str) -> Parsed | None:
    if found := _CALL.search(text):
        return _tf_rmm(number, text, found)
    if found := _ISLET.search(text):
        return _islet(number, text, found)
    if found := _BOOT.search(text):
        return Banner(number, firmware=found[1])
    if found := _ABI.search(text):
        return Banner(number, abi=found[1])
    return Garbled(number, text) if _FRAGMENT.search(text) else None


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(value, 16) for value in text.split())


def _tf_rmm(number: int, text: str, found: re.Match[str]) -> Parsed:
    name, arguments, status, rest = found[1], _numbers(found[2]), found[3], _numbers(found[4])
    suspect = not _PREFIX.match(text[: found.start()])
    if re.fullmatch(r"(SMC|PSCI)_[0-9a-f]{8}", name):
        return _smc(number, text, name, arguments, (status, rest), suspect)
    name = name.removeprefix("SMC_").replace("RSI_ATTEST_TOKEN", _ATTESTATION)
    command = BY_NAME.get(name)
    if command is None:
        return Garbled(number, text) if suspect else Unknown(number, text, f"command {name}")
    origin = Origin.RSI if command.fid in RSI_COMMANDS else Origin.RMI
    if status in _STATUS:
        x0 = _STATUS[status]
    elif re.fullmatch(r"[0-9a-f]+", status):
        x0 = int(status, 16)
    else:
        return Garbled(number, text) if suspect else Unknown(number, text, f"status {status}")
    if origin is Origin.RSI:
        wanted = _RSI_ARGUMENTS.get(name, len(command.inputs)), len(command.outputs)
        # X0 of a call that left the realm is the FID: any other number is a piece of one.
        known = status in _STATUS or x0 == command.fid
        if (len(arguments), len(rest)) != wanted or not known:
            return Garbled(number, text)
        return Event(number, text, origin, name, command.fid, arguments, x0, rest, suspect)
    return _rmi(number, text, name, arguments, x0, rest, suspect)


def _rmi(
    number: int, text: str, name: str, arguments: tuple[int, ...], x0: int, rest: tuple[int, ...], suspect: bool
) -> Parsed:
    command = BY_NAME[name]
    indexed = x0 == Rmi.RMI_ERROR_RTT or (name == "RMI_REC_ENTER" and x0 == Rmi.RMI_ERROR_REALM)
    outputs = len(command.outputs) if x0 == Rmi.RMI_SUCCESS or (indexed and name in _TOP_ON_RTT) else 0
    if x0 > Rmi.RMI_ERROR_RTT or (len(arguments), len(rest)) != (len(command.inputs), indexed + outputs):
        return Garbled(number, text)
    if indexed:
        x0, rest = x0 | rest[0] << 8, rest[1:]
    return Event(number, text, Origin.RMI, name, command.fid, arguments, x0, rest, suspect)


def _smc(
    number: int,
    text: str,
    name: str,
    arguments: tuple[int, ...],
    result: tuple[str, tuple[int, ...]],
    suspect: bool,
) -> Parsed:
    status, rest = result
    if (len(arguments), len(rest)) != (_SMC_ARGUMENTS, _SMC_OUTPUTS) or not re.fullmatch(r"[0-9a-f]{1,16}", status):
        return Garbled(number, text)
    fid = int(name.rpartition("_")[2], 16)
    return Event(number, text, Origin.SMC, name, fid, arguments, int(status, 16), rest, suspect)


def _islet(number: int, text: str, found: re.Match[str]) -> Parsed:
    name = f"RMI_{found[1]}"
    command = BY_NAME.get(name)
    if command is None:
        return Unknown(number, text, f"command {name}")
    try:
        arguments, results = (
            tuple(int(value.strip().strip('"'), 16) for value in part.split(",") if value.strip())
            for part in (found[2], found[3])
        )
    except ValueError:
        return Garbled(number, text)
    # Islet prints as many registers as it has; those that are no inputs or outputs are left out.
    if len(arguments) < len(command.inputs) or not results:
        return Garbled(number, text)
    x0 = results[0]
    if x0 & 0xFF > Rmi.RMI_ERROR_RTT:
        return Unknown(number, text, f"status {x0:#x}")
    outputs = results[1 : 1 + len(command.outputs)] if len(results) > len(command.outputs) else ()
    return Event(number, text, Origin.RMI, name, command.fid, arguments[: len(command.inputs)], x0, outputs)
