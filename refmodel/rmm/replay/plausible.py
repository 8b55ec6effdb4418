"""What must hold of a call's outputs whatever the state is, and of those that a log has told before.

Each function gives what is wrong, or an empty text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from refmodel.rmm.command import Command
from refmodel.rmm.replay.knowledge import Knowledge
from refmodel.rmm.types import RMM_GRANULE_SIZE, RMM_RTT_PAGE_LEVEL, Rmi

_LEVEL_POSITION: Final = {"RMI_RTT_CREATE": 3, "RMI_RTT_DESTROY": 2, "RMI_RTT_FOLD": 2}
_MAP_LEVEL_POSITION: Final = {"RMI_RTT_MAP_UNPROTECTED": 2, "RMI_RTT_UNMAP_UNPROTECTED": 2}
_TOP_OUTPUT: Final = {"RMI_DATA_DESTROY": 1, "RMI_RTT_DESTROY": 1, "RMI_RTT_UNMAP_UNPROTECTED": 0}
_IPA_POSITION: Final = 1
_MAX_AUX: Final = 16


def implausible(
    command: Command,
    args: tuple[int, ...],
    status: int,
    error_index: int,
    outputs: Sequence[int],
    k: Knowledge,
) -> str:
    """What no state permits, or an empty text."""
    if status == Rmi.RMI_ERROR_RTT:
        return _rtt_error(command, args, error_index, outputs)
    if status != Rmi.RMI_SUCCESS:
        return ""
    match command.name:
        case "RMI_REC_AUX_COUNT":
            return _aux_count(args[0], outputs[0], k)
        case "RMI_FEATURES":
            return _features(args[0], outputs[0], k)
        case "RMI_VERSION":
            return (
                "" if outputs[0] == args[0] <= outputs[1] else "lower must be what was asked for, and not above higher"
            )
        case "RMI_PSCI_COMPLETE":
            return _psci_complete(args, k)
        case "RMI_DATA_CREATE" | "RMI_DATA_CREATE_UNKNOWN":
            taken = k.pages_known and not k.lost and (args[0], args[2]) in k.pages
            return f"IPA {args[2]:#x} is assigned already" if taken else ""
        case "RMI_DATA_DESTROY":
            return _data_destroy(args, outputs, k)
        case "RMI_RTT_INIT_RIPAS" | "RMI_RTT_SET_RIPAS":
            base, top = args[-2:]
            return "" if base <= outputs[0] <= top else f"out_top {outputs[0]:#x} is not within the range"
    return ""


def _rtt_error(command: Command, args: tuple[int, ...], level: int, outputs: Sequence[int]) -> str:
    highest = RMM_RTT_PAGE_LEVEL
    if command.name in _LEVEL_POSITION:
        asked = args[_LEVEL_POSITION[command.name]]
        highest = asked - 1 if command.name == "RMI_RTT_CREATE" else asked
    elif command.name in _MAP_LEVEL_POSITION:
        highest = args[_MAP_LEVEL_POSITION[command.name]]
    # A walk may start at level -1, which X0[15:8] holds as 0xff.
    if level != 0xFF and level > highest:
        return f"the walk is said to have reached level {level}, and goes no further than {highest}"
    if command.name in _TOP_OUTPUT and outputs and level != 0xFF:
        return _top(args[_IPA_POSITION], outputs[_TOP_OUTPUT[command.name]], level, highest)
    return ""


def _top(ipa: int, top: int, level: int, target: int) -> str:
    """``top`` of a walk that ended at ``level``: the ipa itself, or a later entry of the same table."""
    size = RMM_GRANULE_SIZE << 9 * (RMM_RTT_PAGE_LEVEL - level)
    # A live table at the target level gives its own address; so does a block, which starts at the ipa only if aligned.
    if top == ipa or top == ipa // size * size:
        return ""
    end = (ipa // (size << 9) + 1) * (size << 9)
    if top % size or not ipa < top <= end:
        return f"top {top:#x} is no entry of the level {level} table that describes {ipa:#x}"
    return ""


def _aux_count(rd: int, count: int, k: Knowledge) -> str:
    if count > _MAX_AUX:
        return f"{count} auxiliary granules, and a REC has at most {_MAX_AUX}"
    before = k.realms[rd].aux_count if rd in k.realms else None
    if before is not None and before != count:
        return f"{count} auxiliary granules, and it was {before} for the same realm"
    return ""


def _features(index: int, value: int, k: Knowledge) -> str:
    if index != 0:
        return "" if value == 0 else "only feature register 0 has a value"
    if k.features is not None and k.features != value:
        return f"feature register 0 is {value:#x}, and was {k.features:#x}"
    return ""


def _psci_complete(args: tuple[int, ...], k: Knowledge) -> str:
    target = k.recs.get(args[1])
    if target is None or k.lost or k.requests[target.mpidr] > 0:
        return ""
    return f"no PSCI request for the REC with MPIDR {target.mpidr:#x} is pending"


def _data_destroy(args: tuple[int, ...], outputs: Sequence[int], k: Knowledge) -> str:
    if not outputs:
        return ""
    expected = k.pages.get((args[0], args[1])) if k.pages_known else None
    if expected is not None and expected != outputs[0]:
        return f"the granule at IPA {args[1]:#x} is {expected:#x}, not {outputs[0]:#x}"
    return _top(args[1], outputs[1], RMM_RTT_PAGE_LEVEL, RMM_RTT_PAGE_LEVEL) if len(outputs) > 1 else ""
