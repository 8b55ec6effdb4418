"""A standalone ELF: the probe's image with one batch, its memory and what is permitted, run at start.

The probe's ELF is kept as it is but for one doubleword, ``standalone_case_pa``, and gets further PT_LOAD segments.
``images/probe/standalone.c`` has the same layout in C.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from harness.errors import BadInputError, MisuseError
from harness.judge.operation import Operation
from harness.judge.session import Session
from harness.judge.stimulus import WRITING, Kind, Stimulus, perform
from harness.probe.batch import EncodedBatch
from harness.probe.records import RESULT, Result, Status, World
from harness.state.state import merged
from harness.state.witness import BATCH_PA, Testimony
from refmodel.memory import RegionKind
from refmodel.outcomes import AccessPerformed, AddressTranslated, Alternative, ExceptionTaken

CASE: Final = 0x4FF0_0000
"""PA of the case: in the batch area too, far above the batch."""

_MAGIC: Final = 0x53434352
_VERSION: Final = 1
_HEAD: Final = struct.Struct("<IIQIIII")
_WINDOW: Final = struct.Struct("<QQ")
_MEMORY: Final = struct.Struct("<QQ16s16s")
_SYMBOL: Final = "standalone_case_pa"
_GAP: Final = 64  # segments that are closer than this become one: what lies between is zero
_ELF_PHDR: Final = struct.Struct("<IIQQQQQQ")
_PHOFF, _PHENTSIZE, _PHNUM = 32, 54, 56
_PT_LOAD, _RW = 1, 6
_ALL: Final = (1 << 64) - 1
_LANE: Final = 16


@dataclass(frozen=True, kw_only=True)
class Allowed:
    """One permitted outcome as the image compares it: masked result, and the masked 16 bytes at ``pa`` (0: none)."""

    mask: bytes
    value: bytes
    pa: int = 0
    memory_mask: bytes = bytes(_LANE)
    memory: bytes = bytes(_LANE)

    def pack(self) -> bytes:
        """The bytes in the image."""
        return self.mask + self.value + _MEMORY.pack(self.pa, 0, self.memory_mask, self.memory)

    def matches(self, result: bytes, lane: bytes) -> bool:
        """Whether a result, and the 16 bytes at ``pa`` after it, are this outcome."""

        def same(found: bytes, value: bytes, mask: bytes) -> bool:
            return all((a ^ b) & m == 0 for a, b, m in zip(found, value, mask, strict=True))

        return same(result, self.value, self.mask) and same(lane, self.memory, self.memory_mask)


def allowed(testimony: Testimony, session: Session) -> list[Allowed]:
    """What is permitted, for the image."""
    stimulus = testimony.stimulus
    ram = session.memory.map.lookup_any(stimulus.pa) is RegionKind.RAM
    compared = session.calibration.aliased or stimulus.pas is World.ROOT
    found = []
    for alternative in testimony.alternatives:
        outcome = alternative.outcome
        if isinstance(outcome, ExceptionTaken):
            # What a denied store leaves on its other page, if it has one, is not fixed.
            whole = stimulus.kind in WRITING and not (isinstance(stimulus.kind, Operation) and stimulus.kind.elements)
            found.append(_exception(alternative, outcome, testimony, watched=ram and whole))
        elif isinstance(stimulus.kind, Operation) and not stimulus.kind.elements:
            found += _completed(outcome, stimulus, testimony.before, watched=ram and compared)
        else:
            found += _performed(stimulus, testimony.before, compared=compared, watched=ram)
    return found


def _exception(alternative: Alternative, outcome: ExceptionTaken, testimony: Testimony, *, watched: bool) -> Allowed:
    syndrome = outcome.syndrome
    iss = (1 << 25) - 1
    esr = syndrome.ec << 26 | syndrome.il << 25 | syndrome.iss
    fields = {
        "taken": (1, 0xFF),
        "target_el": (syndrome.el.value, 0xFF),
        "vector": (syndrome.vector, 0xFFFF),
        "esr": (esr, _ALL & ~iss | syndrome.iss_known),
    }
    if outcome.far is not None:
        fields["far"] = (outcome.far, _ALL)
    if outcome.mfar is not None:
        fields["mfar"] = (outcome.mfar, _ALL)
    # A store that was denied leaves memory as it was.
    return _allowed(fields, testimony.stimulus.pa if watched else 0, testimony.before)


def _completed(outcome: AccessPerformed, stimulus: Stimulus, before: bytes, *, watched: bool) -> list[Allowed]:
    """An operation that is no access: PAR_EL1 of an AT, zeros of a DC ZVA."""
    fields = {"taken": (0, 0xFF)}
    if isinstance(outcome, AddressTranslated):
        fields["par"] = (outcome.par & outcome.par_known, outcome.par_known)
    if watched and stimulus.kind is Operation.DC_ZVA:
        return [_allowed(fields, stimulus.pa & -_LANE, bytes(_LANE))]
    return [_allowed(fields, 0, before)]


def _performed(stimulus: Stimulus, before: bytes, *, compared: bool, watched: bool) -> list[Allowed]:
    if not compared:
        return [_allowed({"taken": (0, 0xFF)}, 0, before)]
    effect = perform(stimulus, before)
    pa = stimulus.pa if watched and stimulus.kind in WRITING else 0
    after = before if effect.memory is None else effect.memory + before[len(effect.memory) :]
    fields = {"taken": (0, 0xFF), "data0": (effect.data0, _ALL), "data1": (effect.data1, _ALL)}
    found = [_allowed(fields, pa, after)]
    if stimulus.kind is Kind.STORE_EXCLUSIVE:
        # It may fail at any time; then it stores nothing.
        found.append(_allowed({**fields, "data1": (1, _ALL)}, pa, before))
    return found


def _allowed(fields: dict[str, tuple[int, int]], pa: int, lane: bytes) -> Allowed:
    fields = {"status": (int(Status.DONE), 0xFFFF), **fields}
    nothing = Result._make([0] * len(Result._fields))
    mask = nothing._replace(**{name: mask for name, (_, mask) in fields.items()})
    value = nothing._replace(**{name: value for name, (value, _) in fields.items()})
    lane_mask = (b"\xff" if pa else b"\0") * _LANE
    return Allowed(mask=RESULT.pack(*mask), value=RESULT.pack(*value), pa=pa, memory_mask=lane_mask, memory=lane)


def standalone(
    probe: Path,
    encoded: EncodedBatch,
    judged: int,
    *,
    memory: Sequence[tuple[int, bytes]],
    windows: Sequence[tuple[int, int]],
    permitted: Sequence[Allowed],
) -> bytes:
    """The ELF's bytes; ``memory`` are writes (PA, bytes), ``windows`` (index, descriptor) of the window table.

    BadInputError when the probe cannot take a case, MisuseError when the case does not fit.
    """
    case = _HEAD.pack(_MAGIC, _VERSION, BATCH_PA, judged, len(windows), len(permitted), 0)
    case += b"".join(_WINDOW.pack(*window) for window in windows)
    case += b"".join(one.pack() for one in permitted)
    if BATCH_PA + encoded.size > CASE:
        raise MisuseError(
            f"the batch takes {encoded.size} bytes, more than the {CASE - BATCH_PA} of a standalone image"
        )
    segments = [(BATCH_PA, encoded.image), (CASE, case), *_joined(memory)]
    return _with_segments(probe, segments)


def _joined(memory: Sequence[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Blocks as segments, those that lie close to one another as one."""
    joined: list[tuple[int, bytes]] = []
    for block in merged(memory):
        if joined and block.pa - (joined[-1][0] + len(joined[-1][1])) < _GAP:
            pa, data = joined[-1]
            joined[-1] = (pa, data.ljust(block.pa - pa, b"\0") + block.data)
        else:
            joined.append((block.pa, block.data))
    return joined


def _with_segments(probe: Path, segments: Sequence[tuple[int, bytes]]) -> bytes:
    """The probe's ELF with further PT_LOAD segments, and told where the case is."""
    try:
        image = bytearray(probe.read_bytes())
        elf = ELFFile(BytesIO(bytes(image)))
        place = _symbol(elf)
        heads = [bytes(image[at : at + _ELF_PHDR.size]) for at in _heads(elf)]
    except OSError as error:
        raise BadInputError(f"cannot be read: {error.strerror}", path=probe, remedy="give a probe ELF") from None
    except (ELFError, ValueError) as error:
        raise BadInputError(f"not a readable ELF file: {error}", path=probe, remedy="give a probe ELF") from None
    if place is None:
        remedy = "use the probe of this release, built with its symbols"
        raise BadInputError(f"has no symbol {_SYMBOL}, so it cannot take a case", path=probe, remedy=remedy)
    image[place : place + 8] = CASE.to_bytes(8, "little")
    for pa, data in segments:
        image += bytes(-len(image) % 8)
        heads.append(_ELF_PHDR.pack(_PT_LOAD, _RW, len(image), pa, pa, len(data), len(data), 8))
        image += data
    image += bytes(-len(image) % 8)
    struct.pack_into("<Q", image, _PHOFF, len(image))
    struct.pack_into("<HH", image, _PHENTSIZE, _ELF_PHDR.size, len(heads))
    return bytes(image) + b"".join(heads)


def _heads(elf: ELFFile) -> range:
    """Offsets of the program headers in the file."""
    start, size, count = (int(elf[name]) for name in ("e_phoff", "e_phentsize", "e_phnum"))
    return range(start, start + size * count, size or 1)


def _symbol(elf: ELFFile) -> int | None:
    """File offset of the doubleword that says where the case is."""
    for section in elf.iter_sections():
        if isinstance(section, SymbolTableSection):
            for symbol in section.get_symbol_by_name(_SYMBOL) or ():
                address = int(symbol["st_value"])
                for segment in elf.iter_segments("PT_LOAD"):
                    start, size = int(segment["p_vaddr"]), int(segment["p_filesz"])
                    if start <= address and address + 8 <= start + size:
                        return int(segment["p_offset"]) + address - start
    return None
