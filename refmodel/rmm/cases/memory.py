"""Failure conditions of commands on DATA granules and tables."""

from __future__ import annotations

from collections.abc import Callable

from refmodel.rmm.calls import DataSource, Memory
from refmodel.rmm.cases.registry import GB, RD, Arguments, Made, case, ns_operand, operand
from refmodel.rmm.scenario import BLOCK, START_LEVEL, UNPROTECTED, Script
from refmodel.rmm.types import RMM_GRANULE_SIZE

# DATA --------------------------------------------------------------------------------------------------------------


def _new_data(s: Script) -> tuple[list[int], Memory]:
    rd = s.realm()
    s.tables(rd, 0)
    return [rd, s.granule(), 0, s.ns(), 1], DataSource()


def _new_unknown(s: Script) -> tuple[list[int], Memory]:
    args, _ = _new_data(s)
    return args[:3], None


ns_operand("DATA_CREATE", 3, "src", _new_data)
for _command, _arguments in (("DATA_CREATE", _new_data), ("DATA_CREATE_UNKNOWN", _new_unknown)):
    operand(_command, 0, RD, _arguments)
    operand(_command, 1, ("data_align", "data_bound", "data_state"), _arguments)

    def _changed(
        label: str,
        change: Callable[[Script, list[int]], None],
        needs: str = "",
        command: str = _command,
        base: Arguments = _arguments,
        variant: str = "",
        also: frozenset[str] = frozenset(),
    ) -> None:
        def maker(s: Script) -> Made:
            args, memory = base(s)
            change(s, args)
            return tuple(args), memory, set(also)

        case(command, label, needs, variant)(maker)

    def _high_data(s: Script, args: list[int]) -> None:
        s.host("RMI_GRANULE_DELEGATE", s.layout.high)
        args[1] = s.layout.high

    def _at(position: int, value: int) -> Callable[[Script, list[int]], None]:
        def change(s: Script, args: list[int]) -> None:
            args[position] = value

        return change

    def _taken(s: Script, args: list[int]) -> None:
        s.data_unknown(args[0], 0)

    _changed("data_bound2", _high_data, "high")
    _changed("ipa_align", _at(2, 1))
    _changed("ipa_bound", _at(2, 2 * UNPROTECTED))
    _changed("ipa_bound", _at(2, UNPROTECTED), variant="Unprotected", also=frozenset({"rtt_walk", "rtte_state"}))
    _changed("rtt_walk", _at(2, GB))
    _changed("rtte_state", _taken)


@case("DATA_CREATE", "realm_state")
def _(s: Script) -> Made:
    args, memory = _new_data(s)
    s.activate(args[0])
    return tuple(args), memory


def _some_data(s: Script) -> tuple[list[int], Memory]:
    rd = s.realm()
    s.tables(rd, 0)
    s.data_unknown(rd, 0)
    return [rd, 0], None


operand("DATA_DESTROY", 0, RD, _some_data)


@case("DATA_DESTROY", "ipa_align")
def _(s: Script) -> Made:
    (rd, _), _ = _some_data(s)
    return (rd, 1), None


@case("DATA_DESTROY", "ipa_bound")
def _(s: Script) -> Made:
    (rd, _), _ = _some_data(s)
    return (rd, 2 * UNPROTECTED), None


@case("DATA_DESTROY", "ipa_bound", variant="Unprotected")
def _(s: Script) -> Made:
    (rd, _), _ = _some_data(s)
    return (rd, UNPROTECTED), None, {"rtt_walk", "rtte_state"}


@case("DATA_DESTROY", "rtt_walk")
def _(s: Script) -> Made:
    """A block: 512 granules, folded."""
    rd = s.realm()
    s.tables(rd, 0)
    block = s.granule(align=BLOCK, count=512)
    for number in range(512):
        s.host("RMI_DATA_CREATE_UNKNOWN", rd, block + number * RMM_GRANULE_SIZE, number * RMM_GRANULE_SIZE)
    s.host("RMI_RTT_FOLD", rd, 0, 3)
    return (rd, 0), None


@case("DATA_DESTROY", "rtte_state")
def _(s: Script) -> Made:
    (rd, _), _ = _some_data(s)
    return (rd, RMM_GRANULE_SIZE), None


# Tables ------------------------------------------------------------------------------------------------------------


def _new_table(s: Script) -> tuple[list[int], Memory]:
    return [s.realm(), s.granule(), 0, 2], None


operand("RTT_CREATE", 0, RD, _new_table)
operand("RTT_CREATE", 1, ("rtt_align", "rtt_bound", "rtt_state"), _new_table)


@case("RTT_CREATE", "rtt_bound2", "high")
def _(s: Script) -> Made:
    rd = s.realm()
    s.host("RMI_GRANULE_DELEGATE", s.layout.high)
    return (rd, s.layout.high, 0, 2), None


@case("RTT_CREATE", "level_bound")
def _(s: Script) -> Made:
    return (s.realm(), s.granule(), 0, START_LEVEL), None


@case("RTT_CREATE", "ipa_align")
def _(s: Script) -> Made:
    return (s.realm(), s.granule(), BLOCK, 2), None


@case("RTT_CREATE", "ipa_bound")
def _(s: Script) -> Made:
    return (s.realm(), s.granule(), 2 * UNPROTECTED, 2), None


@case("RTT_CREATE", "rtt_walk")
def _(s: Script) -> Made:
    return (s.realm(), s.granule(), 0, 3), None


@case("RTT_CREATE", "rtte_state")
def _(s: Script) -> Made:
    rd = s.realm()
    s.tables(rd, 0, 2)
    return (rd, s.granule(), 0, 2), None


def _a_table(s: Script) -> tuple[list[int], Memory]:
    rd = s.realm()
    s.tables(rd, 0, 2)
    return [rd, 0, 2], None


for _command in ("RTT_DESTROY", "RTT_FOLD"):
    operand(_command, 0, RD, _a_table)

    @case(_command, "level_bound")
    def _(s: Script) -> Made:
        (rd, *_), _m = _a_table(s)
        return (rd, 0, START_LEVEL), None

    @case(_command, "ipa_align")
    def _(s: Script) -> Made:
        (rd, *_), _m = _a_table(s)
        return (rd, BLOCK, 2), None

    @case(_command, "ipa_bound")
    def _(s: Script) -> Made:
        (rd, *_), _m = _a_table(s)
        return (rd, 2 * UNPROTECTED, 2), None

    @case(_command, "rtt_walk")
    def _(s: Script) -> Made:
        # A walk that ends too early has not ended at a table.
        (rd, *_), _m = _a_table(s)
        return (rd, GB, 3), None, {"rtte_state"}

    @case(_command, "rtte_state")
    def _(s: Script) -> Made:
        (rd, *_), _m = _a_table(s)
        return (rd, GB, 2), None


@case("RTT_DESTROY", "rtt_live")
def _(s: Script) -> Made:
    rd = s.realm()
    s.tables(rd, 0)
    return (rd, 0, 2), None


@case("RTT_FOLD", "rtt_homo")
def _(s: Script) -> Made:
    rd = s.realm()
    s.tables(rd, 0)
    s.data_unknown(rd, RMM_GRANULE_SIZE)
    return (rd, 0, 3), None
