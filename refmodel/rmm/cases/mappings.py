"""Failure conditions of commands on Non-secure mappings, entries and RIPAS."""

from __future__ import annotations

from typing import Final

from refmodel.rmm.calls import Memory
from refmodel.rmm.cases.registry import GB, RD, Made, case, operand
from refmodel.rmm.scenario import BLOCK, START_LEVEL, UNPROTECTED, Script
from refmodel.rmm.types import RMM_GRANULE_SIZE

_MEMATTR_WRITE_BACK: Final = 0b110 << 2
_S2AP_RW: Final = 0b11 << 6

# Non-secure mappings -----------------------------------------------------------------------------------------------


def _new_mapping(s: Script) -> tuple[list[int], Memory]:
    rd = s.realm()
    s.tables(rd, UNPROTECTED)
    return [rd, UNPROTECTED, 3, s.ns() | _MEMATTR_WRITE_BACK | _S2AP_RW], None


operand("RTT_MAP_UNPROTECTED", 0, RD, _new_mapping)


def _mapping_with(label: str, *changes: tuple[int, int], variant: str = "", also: frozenset[str] = frozenset()) -> None:
    def maker(s: Script) -> Made:
        args, memory = _new_mapping(s)
        for position, value in changes:
            args[position] = value
        return tuple(args), memory, set(also)

    case("RTT_MAP_UNPROTECTED", label, variant=variant)(maker)


_mapping_with("attr_valid", (3, 0b100 << 2))
_mapping_with("level_bound", (2, START_LEVEL - 1), (3, _MEMATTR_WRITE_BACK))
_mapping_with("addr_align", (1, UNPROTECTED + BLOCK), (2, 2), (3, RMM_GRANULE_SIZE | _MEMATTR_WRITE_BACK))
_mapping_with("addr_bound", (3, 1 << 48 | _MEMATTR_WRITE_BACK))
_mapping_with("ipa_align", (1, UNPROTECTED + 1))
_mapping_with("ipa_bound", (1, 2 * UNPROTECTED))
_mapping_with("ipa_bound", (1, 0), variant="Protected", also=frozenset({"rtt_walk", "rtte_state"}))
_mapping_with("rtt_walk", (1, UNPROTECTED + GB))


@case("RTT_MAP_UNPROTECTED", "rtte_state")
def _(s: Script) -> Made:
    args, memory = _new_mapping(s)
    s.host("RMI_RTT_MAP_UNPROTECTED", *args)
    return tuple(args), memory


def _a_mapping(s: Script) -> tuple[list[int], Memory]:
    args, memory = _new_mapping(s)
    s.host("RMI_RTT_MAP_UNPROTECTED", *args)
    return args[:3], memory


operand("RTT_UNMAP_UNPROTECTED", 0, RD, _a_mapping)


def _unmapping_with(
    label: str, *changes: tuple[int, int], variant: str = "", also: frozenset[str] = frozenset()
) -> None:
    def maker(s: Script) -> Made:
        args, memory = _a_mapping(s)
        for position, value in changes:
            args[position] = value
        return tuple(args), memory, set(also)

    case("RTT_UNMAP_UNPROTECTED", label, variant=variant)(maker)


_unmapping_with("level_bound", (2, START_LEVEL - 1))
_unmapping_with("ipa_align", (1, UNPROTECTED + 1))
_unmapping_with("ipa_bound", (1, 2 * UNPROTECTED))
_unmapping_with("ipa_bound", (1, 0), variant="Protected", also=frozenset({"rtt_walk", "rtte_state"}))
_unmapping_with("rtte_state", (1, UNPROTECTED + RMM_GRANULE_SIZE))


@case("RTT_UNMAP_UNPROTECTED", "rtt_walk")
def _(s: Script) -> Made:
    """A block of 2 MB, unmapped as a page."""
    rd = s.realm()
    s.tables(rd, UNPROTECTED, 2)
    s.host("RMI_RTT_MAP_UNPROTECTED", rd, UNPROTECTED, 2, _MEMATTR_WRITE_BACK)
    return (rd, UNPROTECTED, 3), None


operand("RTT_READ_ENTRY", 0, RD, lambda s: ([s.realm(), 0, 1], None))


@case("RTT_READ_ENTRY", "level_bound")
def _(s: Script) -> Made:
    return (s.realm(), 0, START_LEVEL - 1), None


@case("RTT_READ_ENTRY", "ipa_align")
def _(s: Script) -> Made:
    return (s.realm(), RMM_GRANULE_SIZE, 1), None


@case("RTT_READ_ENTRY", "ipa_bound")
def _(s: Script) -> Made:
    return (s.realm(), 2 * UNPROTECTED, 1), None


# RIPAS -------------------------------------------------------------------------------------------------------------


def _new_ripas(s: Script) -> tuple[list[int], Memory]:
    rd = s.realm()
    s.tables(rd, 0)
    return [rd, 0, 2 * RMM_GRANULE_SIZE], None


operand("RTT_INIT_RIPAS", 0, RD, _new_ripas)


def _init_with(label: str, base: int, top: int) -> None:
    def maker(s: Script) -> Made:
        args, memory = _new_ripas(s)
        return (args[0], base, top), memory

    case("RTT_INIT_RIPAS", label)(maker)


_init_with("size_valid", 2 * RMM_GRANULE_SIZE, RMM_GRANULE_SIZE)
_init_with("top_bound", 0, UNPROTECTED + RMM_GRANULE_SIZE)
_init_with("base_align", GB + RMM_GRANULE_SIZE, 2 * GB)
_init_with("top_gran_align", 0, RMM_GRANULE_SIZE + 1)
_init_with("no_progress", GB, GB + RMM_GRANULE_SIZE)


@case("RTT_INIT_RIPAS", "realm_state")
def _(s: Script) -> Made:
    args, memory = _new_ripas(s)
    s.activate(args[0])
    return tuple(args), memory


@case("RTT_INIT_RIPAS", "rtte_state")
def _(s: Script) -> Made:
    args, memory = _new_ripas(s)
    s.data(args[0], 0)
    return tuple(args), memory


def _ripas_change(s: Script, base: int = 0, top: int = 4 * RMM_GRANULE_SIZE) -> tuple[list[int], Memory]:
    """A REC that has asked for RAM in ``[base, top)``; tables exist for the first 2 MB."""
    rd = s.realm()
    rec = s.rec(rd)
    s.tables(rd, 0)
    s.activate(rd)
    s.enter(rec)
    s.ripas_request(rec, base, top)
    return [rd, rec, base, top], None


# Another operand than the descriptor of the REC's owner is that of another realm as well.
operand("RTT_SET_RIPAS", 0, RD, _ripas_change, frozenset({"rec_owner"}))
operand("RTT_SET_RIPAS", 1, ("rec_align", "rec_bound", "rec_gran_state"), _ripas_change)


def _set_with(label: str, requested: tuple[int, int], base: int, top: int) -> None:
    def maker(s: Script) -> Made:
        (rd, rec, *_), memory = _ripas_change(s, *requested)
        return (rd, rec, base, top), memory

    case("RTT_SET_RIPAS", label)(maker)


_PAGES: Final = (2 * RMM_GRANULE_SIZE, 4 * RMM_GRANULE_SIZE)
_set_with("size_valid", _PAGES, 2 * RMM_GRANULE_SIZE, RMM_GRANULE_SIZE)
_set_with("base_bound", _PAGES, 3 * RMM_GRANULE_SIZE, 4 * RMM_GRANULE_SIZE)
_set_with("top_bound", _PAGES, 2 * RMM_GRANULE_SIZE, 5 * RMM_GRANULE_SIZE)
_set_with("base_align", (GB + RMM_GRANULE_SIZE, 2 * GB), GB + RMM_GRANULE_SIZE, 2 * GB)
_set_with("top_gran_align", _PAGES, 2 * RMM_GRANULE_SIZE, 3 * RMM_GRANULE_SIZE + 1)
_set_with("no_progress", (GB, GB + 2 * RMM_GRANULE_SIZE), GB, GB + 2 * RMM_GRANULE_SIZE)


@case("RTT_SET_RIPAS", "rec_state")
def _(s: Script) -> Made:
    args, memory = _ripas_change(s)
    s.enter(args[1])
    return tuple(args), memory


@case("RTT_SET_RIPAS", "rec_owner")
def _(s: Script) -> Made:
    (_, rec, base, top), memory = _ripas_change(s)
    other = s.realm()
    s.tables(other, 0)
    return (other, rec, base, top), memory
