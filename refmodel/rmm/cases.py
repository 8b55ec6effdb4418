"""For every host command and every failure condition: a script and a call that meets this condition.

``also`` names conditions that hold as well because the specification makes it impossible to meet one alone.  A case
says nothing about the result: that is the model's to say.

Source: the tables of failure conditions of DEN0137 1.0-rel0, B4.3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from refmodel.rmm.calls import AccessKind, DataSource, HostCall, Memory, RealmAccess, RecEnter
from refmodel.rmm.rmi_rec import mpidr_of
from refmodel.rmm.scenario import BLOCK, START_LEVEL, UNPROTECTED, Layout, Script
from refmodel.rmm.types import FID_PSCI_SYSTEM_OFF, RMM_GRANULE_SIZE
from refmodel.rmm.version import Parameters

GB: Final = 1 << 30
_MEMATTR_WRITE_BACK: Final = 0b110 << 2
_S2AP_RW: Final = 0b11 << 6


@dataclass(frozen=True)
class Case:
    """``call`` after ``script`` meets the failure condition ``label`` of ``command``, and those in ``also``."""

    command: str
    label: str
    variant: str
    script: Script
    call: HostCall
    also: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """Command, label and variant."""
        return f"{self.command}:{self.label}{f' ({self.variant})' if self.variant else ''}"


Made = tuple[tuple[int, ...], Memory] | tuple[tuple[int, ...], Memory, set[str]]
_Maker = Callable[[Script], Made]
_MAKERS: dict[tuple[str, str, str], tuple[_Maker, str]] = {}


def _case(command: str, label: str, needs: str = "", variant: str = "") -> Callable[[_Maker], _Maker]:
    """Register what makes the case; ``needs`` names what a layout must have, or that the implementation is small."""

    def register(maker: _Maker) -> _Maker:
        _MAKERS[f"RMI_{command}", label, variant] = maker, needs
        return maker

    return register


def failure_cases(layout: Layout, parameters: Parameters) -> Iterator[Case]:
    """Every case that the layout and the implementation allow."""
    for (command, label, variant), (maker, needs) in _MAKERS.items():
        if needs == "high" and not layout.high:
            continue
        if needs == "few RECs" and parameters.max_recs_order > 1:
            continue
        script = Script(layout, parameters)
        made = maker(script)
        also = frozenset(made[2]) if len(made) == 3 else frozenset[str]()
        yield Case(command, label, variant, script, script.call(command, *made[0], memory=made[1]), also)


def labels_of(command: str) -> frozenset[str]:
    """Labels that have a case, whatever it needs."""
    return frozenset(label for name, label, _ in _MAKERS if name == command)


# Three conditions that nearly every operand has --------------------------------------------------------------------

Arguments = Callable[[Script], tuple[list[int], Memory]]


def _operand(
    command: str, position: int, labels: tuple[str, str, str], arguments: Arguments, also: frozenset[str] = frozenset()
) -> None:
    """Cases for alignment, bound and state of the operand at ``position`` of an otherwise good call."""
    align, bound, state = labels

    def misaligned(s: Script) -> Made:
        args, memory = arguments(s)
        args[position] += 1
        return tuple(args), memory, set(also)

    def beyond(s: Script) -> Made:
        args, memory = arguments(s)
        args[position] = s.layout.outside
        return tuple(args), memory, set(also)

    def wrong_state(s: Script) -> Made:
        args, memory = arguments(s)
        # An operand that must be DELEGATED gets a granule that is not, any other one gets one that is.
        args[position] = s.undelegated() if delegated else s.granule()
        return tuple(args), memory, set(also)

    delegated = labels[2] in _NEEDS_DELEGATED.get(command, ())
    for label, maker in ((align, misaligned), (bound, beyond), (state, wrong_state)):
        _case(command, label)(maker)


_NEEDS_DELEGATED: Final = {
    "DATA_CREATE": {"data_state"},
    "DATA_CREATE_UNKNOWN": {"data_state"},
    "REALM_CREATE": {"rd_state"},
    "REC_CREATE": {"rec_state"},
    "RTT_CREATE": {"rtt_state"},
}


def _ns_operand(command: str, position: int, prefix: str, arguments: Arguments) -> None:
    """The same for an operand in the Host's memory."""
    _operand(command, position, (f"{prefix}_align", f"{prefix}_bound", f"{prefix}_pas"), arguments)


_RD: Final = ("rd_align", "rd_bound", "rd_state")


# Granules ----------------------------------------------------------------------------------------------------------


@_case("GRANULE_DELEGATE", "gran_align")
def _(s: Script) -> Made:
    return (s.undelegated() + 1,), None


@_case("GRANULE_DELEGATE", "gran_bound")
def _(s: Script) -> Made:
    return (s.layout.outside,), None


@_case("GRANULE_DELEGATE", "gran_state")
def _(s: Script) -> Made:
    # A granule that is not UNDELEGATED is never Non-secure.
    return (s.granule(),), None, {"gran_gpt"}


@_case("GRANULE_UNDELEGATE", "gran_align")
def _(s: Script) -> Made:
    return (s.granule() + 1,), None


@_case("GRANULE_UNDELEGATE", "gran_bound")
def _(s: Script) -> Made:
    return (s.layout.outside,), None


@_case("GRANULE_UNDELEGATE", "gran_state")
def _(s: Script) -> Made:
    return (s.undelegated(),), None


# Realms ------------------------------------------------------------------------------------------------------------


def _new_realm(s: Script) -> tuple[list[int], Memory]:
    rtts = s.granule(align=2 * RMM_GRANULE_SIZE, count=2)
    return [s.granule(), s.ns()], s.params(rtts)


_ns_operand("REALM_CREATE", 1, "params", _new_realm)
_operand("REALM_CREATE", 0, _RD, _new_realm)


def _realm_with(label: str, change: Callable[[Script, int], dict[str, Any]], also: set[str] | None = None) -> None:
    """REALM_CREATE with parameters changed, as a function of the address of its delegated tables."""

    def maker(s: Script) -> Made:
        rtts = s.granule(align=4 * RMM_GRANULE_SIZE, count=4)
        return (s.granule(), s.ns()), s.params(rtts)._replace(**change(s, rtts)), also or set()

    _case("REALM_CREATE", label)(maker)


# A hash algorithm that is no encoding is not supported either.
_realm_with("params_valid", lambda s, rtts: {"hash_algo": 9}, {"params_supp"})
_realm_with("params_supp", lambda s, rtts: {"num_bps": 64})
_realm_with("rtt_align", lambda s, rtts: {"rtt_base": rtts + RMM_GRANULE_SIZE})
_realm_with("rtt_num_level", lambda s, rtts: {"rtt_num_start": 1})
_realm_with("rtt_state", lambda s, rtts: {"rtt_base": s.undelegated(align=2 * RMM_GRANULE_SIZE, count=2)})


@_case("REALM_CREATE", "alias")
def _(s: Script) -> Made:
    rtts = s.granule(align=2 * RMM_GRANULE_SIZE, count=2)
    return (rtts + RMM_GRANULE_SIZE, s.ns()), s.params(rtts)


@_case("REALM_CREATE", "vmid_valid")
def _(s: Script) -> Made:
    s.realm(vmid=7)
    rtts = s.granule(align=2 * RMM_GRANULE_SIZE, count=2)
    return (s.granule(), s.ns()), s.params(rtts)._replace(vmid=7)


for _command in ("REALM_ACTIVATE", "REALM_DESTROY", "REC_AUX_COUNT"):
    _operand(_command, 0, _RD, lambda s: ([s.realm()], None))


@_case("REALM_ACTIVATE", "realm_state")
def _(s: Script) -> Made:
    rd = s.realm()
    s.activate(rd)
    return (rd,), None


@_case("REALM_DESTROY", "realm_live")
def _(s: Script) -> Made:
    rd = s.realm()
    s.rec(rd)
    return (rd,), None


# RECs --------------------------------------------------------------------------------------------------------------


def _new_rec(s: Script) -> tuple[list[int], Memory]:
    rd = s.realm()
    params = s.rec_params()
    return [rd, s.granule(), s.ns()], params


_operand("REC_CREATE", 0, _RD, _new_rec)
_operand("REC_CREATE", 1, ("rec_align", "rec_bound", "rec_state"), _new_rec)
_ns_operand("REC_CREATE", 2, "params", _new_rec)


@_case("REC_CREATE", "realm_state")
def _(s: Script) -> Made:
    args, memory = _new_rec(s)
    s.activate(args[0])
    return tuple(args), memory


@_case("REC_CREATE", "num_recs", "few RECs")
def _(s: Script) -> Made:
    rd = s.realm()
    s.rec(rd)
    params = s.rec_params(1)
    return (rd, s.granule(), s.ns()), params


def _rec_with(label: str, change: Callable[[Script, tuple[int, ...], int], dict[str, Any]]) -> None:
    """REC_CREATE with parameters changed, as a function of the auxiliary granules and the REC's address."""

    def maker(s: Script) -> Made:
        rd = s.realm()
        params = s.rec_params()
        rec = s.granule()
        return (rd, rec, s.ns()), params._replace(**change(s, params.aux, rec))

    _case("REC_CREATE", label)(maker)


_rec_with("mpidr_index", lambda s, aux, rec: {"mpidr": mpidr_of(1)})
_rec_with("num_aux", lambda s, aux, rec: {"num_aux": len(aux) - 1})
_rec_with("aux_align", lambda s, aux, rec: {"aux": (aux[0] + 1, *aux[1:])})
_rec_with("aux_alias", lambda s, aux, rec: {"aux": (*aux[:-1], rec)})
_rec_with("aux_state", lambda s, aux, rec: {"aux": (*aux[:-1], s.undelegated())})


def _a_rec(s: Script) -> tuple[list[int], Memory]:
    return [s.rec(s.realm())], None


_operand("REC_DESTROY", 0, ("rec_align", "rec_bound", "rec_gran_state"), _a_rec)


@_case("REC_DESTROY", "rec_state")
def _(s: Script) -> Made:
    return (s.running()[1],), None


def _ready(s: Script) -> tuple[list[int], Memory]:
    rd = s.realm()
    rec = s.rec(rd)
    s.activate(rd)
    return [rec, s.ns()], RecEnter()


_operand("REC_ENTER", 0, ("rec_align", "rec_bound", "rec_gran_state"), _ready)
_ns_operand("REC_ENTER", 1, "run", _ready)


@_case("REC_ENTER", "realm_new")
def _(s: Script) -> Made:
    return (s.rec(s.realm()), s.ns()), RecEnter()


@_case("REC_ENTER", "system_off")
def _(s: Script) -> Made:
    _, rec = s.running()
    s.smc(rec, FID_PSCI_SYSTEM_OFF)
    return (rec, s.ns()), RecEnter()


@_case("REC_ENTER", "rec_state")
def _(s: Script) -> Made:
    return (s.running()[1], s.ns()), RecEnter()


@_case("REC_ENTER", "rec_runnable")
def _(s: Script) -> Made:
    rd = s.realm()
    rec = s.rec(rd, runnable=False)
    s.activate(rd)
    return (rec, s.ns()), RecEnter()


@_case("REC_ENTER", "rec_mmio")
def _(s: Script) -> Made:
    (rec, run), _ = _ready(s)
    return (rec, run), RecEnter(emul_mmio=True)


@_case("REC_ENTER", "rec_gicv3")
def _(s: Script) -> Made:
    (rec, run), _ = _ready(s)
    return (rec, run), RecEnter(gicv3_hcr=1)


def _pending(s: Script) -> tuple[int, int]:
    """A REC with a pending PSCI_CPU_ON, and its target."""
    rd = s.realm()
    rec, target = s.rec(rd), s.rec(rd, 1, runnable=False)
    s.activate(rd)
    s.enter(rec)
    s.cpu_on(rec, mpidr_of(1))
    return rec, target


@_case("REC_ENTER", "rec_psci")
def _(s: Script) -> Made:
    return (_pending(s)[0], s.ns()), RecEnter()


def _complete(s: Script) -> tuple[list[int], Memory]:
    return [*_pending(s), 0], None


_operand("PSCI_COMPLETE", 0, ("calling_align", "calling_bound", "calling_state"), _complete)
_operand("PSCI_COMPLETE", 1, ("target_align", "target_bound", "target_state"), _complete)


@_case("PSCI_COMPLETE", "alias")
def _(s: Script) -> Made:
    # The request of a REC never names itself, so its MPIDR is not the one that was asked for.
    rec, _ = _pending(s)
    return (rec, rec, 0), None, {"target"}


@_case("PSCI_COMPLETE", "pending")
def _(s: Script) -> Made:
    rec, target = _pending(s)
    s.host("RMI_PSCI_COMPLETE", rec, target, (1 << 64) - 3)
    # The request is over and its arguments are cleared, so no MPIDR but 0 would match.
    return (rec, target, 0), None, {"target"}


@_case("PSCI_COMPLETE", "owner")
def _(s: Script) -> Made:
    rec, _ = _pending(s)
    other = s.realm()
    s.rec(other)
    return (rec, s.rec(other, 1), 0), None


@_case("PSCI_COMPLETE", "target")
def _(s: Script) -> Made:
    rd = s.realm()
    rec, _, third = s.rec(rd), s.rec(rd, 1, runnable=False), s.rec(rd, 2, runnable=False)
    s.activate(rd)
    s.enter(rec)
    s.cpu_on(rec, mpidr_of(1))
    return (rec, third, 0), None


@_case("PSCI_COMPLETE", "status")
def _(s: Script) -> Made:
    # PSCI_INTERNAL_FAILURE: the Host may deny, and nothing else.
    return (*_pending(s), (1 << 64) - 6), None


# DATA --------------------------------------------------------------------------------------------------------------


def _new_data(s: Script) -> tuple[list[int], Memory]:
    rd = s.realm()
    s.tables(rd, 0)
    return [rd, s.granule(), 0, s.ns(), 1], DataSource()


def _new_unknown(s: Script) -> tuple[list[int], Memory]:
    args, _ = _new_data(s)
    return args[:3], None


_ns_operand("DATA_CREATE", 3, "src", _new_data)
for _command, _arguments in (("DATA_CREATE", _new_data), ("DATA_CREATE_UNKNOWN", _new_unknown)):
    _operand(_command, 0, _RD, _arguments)
    _operand(_command, 1, ("data_align", "data_bound", "data_state"), _arguments)

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

        _case(command, label, needs, variant)(maker)

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


@_case("DATA_CREATE", "realm_state")
def _(s: Script) -> Made:
    args, memory = _new_data(s)
    s.activate(args[0])
    return tuple(args), memory


def _some_data(s: Script) -> tuple[list[int], Memory]:
    rd = s.realm()
    s.tables(rd, 0)
    s.data_unknown(rd, 0)
    return [rd, 0], None


_operand("DATA_DESTROY", 0, _RD, _some_data)


@_case("DATA_DESTROY", "ipa_align")
def _(s: Script) -> Made:
    (rd, _), _ = _some_data(s)
    return (rd, 1), None


@_case("DATA_DESTROY", "ipa_bound")
def _(s: Script) -> Made:
    (rd, _), _ = _some_data(s)
    return (rd, 2 * UNPROTECTED), None


@_case("DATA_DESTROY", "ipa_bound", variant="Unprotected")
def _(s: Script) -> Made:
    (rd, _), _ = _some_data(s)
    return (rd, UNPROTECTED), None, {"rtt_walk", "rtte_state"}


@_case("DATA_DESTROY", "rtt_walk")
def _(s: Script) -> Made:
    """A block: 512 granules, folded."""
    rd = s.realm()
    s.tables(rd, 0)
    block = s.granule(align=BLOCK, count=512)
    for number in range(512):
        s.host("RMI_DATA_CREATE_UNKNOWN", rd, block + number * RMM_GRANULE_SIZE, number * RMM_GRANULE_SIZE)
    s.host("RMI_RTT_FOLD", rd, 0, 3)
    return (rd, 0), None


@_case("DATA_DESTROY", "rtte_state")
def _(s: Script) -> Made:
    (rd, _), _ = _some_data(s)
    return (rd, RMM_GRANULE_SIZE), None


# Tables ------------------------------------------------------------------------------------------------------------


def _new_table(s: Script) -> tuple[list[int], Memory]:
    return [s.realm(), s.granule(), 0, 2], None


_operand("RTT_CREATE", 0, _RD, _new_table)
_operand("RTT_CREATE", 1, ("rtt_align", "rtt_bound", "rtt_state"), _new_table)


@_case("RTT_CREATE", "rtt_bound2", "high")
def _(s: Script) -> Made:
    rd = s.realm()
    s.host("RMI_GRANULE_DELEGATE", s.layout.high)
    return (rd, s.layout.high, 0, 2), None


@_case("RTT_CREATE", "level_bound")
def _(s: Script) -> Made:
    return (s.realm(), s.granule(), 0, START_LEVEL), None


@_case("RTT_CREATE", "ipa_align")
def _(s: Script) -> Made:
    return (s.realm(), s.granule(), BLOCK, 2), None


@_case("RTT_CREATE", "ipa_bound")
def _(s: Script) -> Made:
    return (s.realm(), s.granule(), 2 * UNPROTECTED, 2), None


@_case("RTT_CREATE", "rtt_walk")
def _(s: Script) -> Made:
    return (s.realm(), s.granule(), 0, 3), None


@_case("RTT_CREATE", "rtte_state")
def _(s: Script) -> Made:
    rd = s.realm()
    s.tables(rd, 0, 2)
    return (rd, s.granule(), 0, 2), None


def _a_table(s: Script) -> tuple[list[int], Memory]:
    rd = s.realm()
    s.tables(rd, 0, 2)
    return [rd, 0, 2], None


for _command in ("RTT_DESTROY", "RTT_FOLD"):
    _operand(_command, 0, _RD, _a_table)

    @_case(_command, "level_bound")
    def _(s: Script) -> Made:
        (rd, *_), _m = _a_table(s)
        return (rd, 0, START_LEVEL), None

    @_case(_command, "ipa_align")
    def _(s: Script) -> Made:
        (rd, *_), _m = _a_table(s)
        return (rd, BLOCK, 2), None

    @_case(_command, "ipa_bound")
    def _(s: Script) -> Made:
        (rd, *_), _m = _a_table(s)
        return (rd, 2 * UNPROTECTED, 2), None

    @_case(_command, "rtt_walk")
    def _(s: Script) -> Made:
        # A walk that ends too early has not ended at a table.
        (rd, *_), _m = _a_table(s)
        return (rd, GB, 3), None, {"rtte_state"}

    @_case(_command, "rtte_state")
    def _(s: Script) -> Made:
        (rd, *_), _m = _a_table(s)
        return (rd, GB, 2), None


@_case("RTT_DESTROY", "rtt_live")
def _(s: Script) -> Made:
    rd = s.realm()
    s.tables(rd, 0)
    return (rd, 0, 2), None


@_case("RTT_FOLD", "rtt_homo")
def _(s: Script) -> Made:
    rd = s.realm()
    s.tables(rd, 0)
    s.data_unknown(rd, RMM_GRANULE_SIZE)
    return (rd, 0, 3), None


# Non-secure mappings -----------------------------------------------------------------------------------------------


def _new_mapping(s: Script) -> tuple[list[int], Memory]:
    rd = s.realm()
    s.tables(rd, UNPROTECTED)
    return [rd, UNPROTECTED, 3, s.ns() | _MEMATTR_WRITE_BACK | _S2AP_RW], None


_operand("RTT_MAP_UNPROTECTED", 0, _RD, _new_mapping)


def _mapping_with(label: str, *changes: tuple[int, int], variant: str = "", also: frozenset[str] = frozenset()) -> None:
    def maker(s: Script) -> Made:
        args, memory = _new_mapping(s)
        for position, value in changes:
            args[position] = value
        return tuple(args), memory, set(also)

    _case("RTT_MAP_UNPROTECTED", label, variant=variant)(maker)


_mapping_with("attr_valid", (3, 0b100 << 2))
_mapping_with("level_bound", (2, START_LEVEL - 1), (3, _MEMATTR_WRITE_BACK))
_mapping_with("addr_align", (1, UNPROTECTED + BLOCK), (2, 2), (3, RMM_GRANULE_SIZE | _MEMATTR_WRITE_BACK))
_mapping_with("addr_bound", (3, 1 << 48 | _MEMATTR_WRITE_BACK))
_mapping_with("ipa_align", (1, UNPROTECTED + 1))
_mapping_with("ipa_bound", (1, 2 * UNPROTECTED))
_mapping_with("ipa_bound", (1, 0), variant="Protected", also=frozenset({"rtt_walk", "rtte_state"}))
_mapping_with("rtt_walk", (1, UNPROTECTED + GB))


@_case("RTT_MAP_UNPROTECTED", "rtte_state")
def _(s: Script) -> Made:
    args, memory = _new_mapping(s)
    s.host("RMI_RTT_MAP_UNPROTECTED", *args)
    return tuple(args), memory


def _a_mapping(s: Script) -> tuple[list[int], Memory]:
    args, memory = _new_mapping(s)
    s.host("RMI_RTT_MAP_UNPROTECTED", *args)
    return args[:3], memory


_operand("RTT_UNMAP_UNPROTECTED", 0, _RD, _a_mapping)


def _unmapping_with(
    label: str, *changes: tuple[int, int], variant: str = "", also: frozenset[str] = frozenset()
) -> None:
    def maker(s: Script) -> Made:
        args, memory = _a_mapping(s)
        for position, value in changes:
            args[position] = value
        return tuple(args), memory, set(also)

    _case("RTT_UNMAP_UNPROTECTED", label, variant=variant)(maker)


_unmapping_with("level_bound", (2, START_LEVEL - 1))
_unmapping_with("ipa_align", (1, UNPROTECTED + 1))
_unmapping_with("ipa_bound", (1, 2 * UNPROTECTED))
_unmapping_with("ipa_bound", (1, 0), variant="Protected", also=frozenset({"rtt_walk", "rtte_state"}))
_unmapping_with("rtte_state", (1, UNPROTECTED + RMM_GRANULE_SIZE))


@_case("RTT_UNMAP_UNPROTECTED", "rtt_walk")
def _(s: Script) -> Made:
    """A block of 2 MB, unmapped as a page."""
    rd = s.realm()
    s.tables(rd, UNPROTECTED, 2)
    s.host("RMI_RTT_MAP_UNPROTECTED", rd, UNPROTECTED, 2, _MEMATTR_WRITE_BACK)
    return (rd, UNPROTECTED, 3), None


_operand("RTT_READ_ENTRY", 0, _RD, lambda s: ([s.realm(), 0, 1], None))


@_case("RTT_READ_ENTRY", "level_bound")
def _(s: Script) -> Made:
    return (s.realm(), 0, START_LEVEL - 1), None


@_case("RTT_READ_ENTRY", "ipa_align")
def _(s: Script) -> Made:
    return (s.realm(), RMM_GRANULE_SIZE, 1), None


@_case("RTT_READ_ENTRY", "ipa_bound")
def _(s: Script) -> Made:
    return (s.realm(), 2 * UNPROTECTED, 1), None


# RIPAS -------------------------------------------------------------------------------------------------------------


def _new_ripas(s: Script) -> tuple[list[int], Memory]:
    rd = s.realm()
    s.tables(rd, 0)
    return [rd, 0, 2 * RMM_GRANULE_SIZE], None


_operand("RTT_INIT_RIPAS", 0, _RD, _new_ripas)


def _init_with(label: str, base: int, top: int) -> None:
    def maker(s: Script) -> Made:
        args, memory = _new_ripas(s)
        return (args[0], base, top), memory

    _case("RTT_INIT_RIPAS", label)(maker)


_init_with("size_valid", 2 * RMM_GRANULE_SIZE, RMM_GRANULE_SIZE)
_init_with("top_bound", 0, UNPROTECTED + RMM_GRANULE_SIZE)
_init_with("base_align", GB + RMM_GRANULE_SIZE, 2 * GB)
_init_with("top_gran_align", 0, RMM_GRANULE_SIZE + 1)
_init_with("no_progress", GB, GB + RMM_GRANULE_SIZE)


@_case("RTT_INIT_RIPAS", "realm_state")
def _(s: Script) -> Made:
    args, memory = _new_ripas(s)
    s.activate(args[0])
    return tuple(args), memory


@_case("RTT_INIT_RIPAS", "rtte_state")
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
_operand("RTT_SET_RIPAS", 0, _RD, _ripas_change, frozenset({"rec_owner"}))
_operand("RTT_SET_RIPAS", 1, ("rec_align", "rec_bound", "rec_gran_state"), _ripas_change)


def _set_with(label: str, requested: tuple[int, int], base: int, top: int) -> None:
    def maker(s: Script) -> Made:
        (rd, rec, *_), memory = _ripas_change(s, *requested)
        return (rd, rec, base, top), memory

    _case("RTT_SET_RIPAS", label)(maker)


_PAGES: Final = (2 * RMM_GRANULE_SIZE, 4 * RMM_GRANULE_SIZE)
_set_with("size_valid", _PAGES, 2 * RMM_GRANULE_SIZE, RMM_GRANULE_SIZE)
_set_with("base_bound", _PAGES, 3 * RMM_GRANULE_SIZE, 4 * RMM_GRANULE_SIZE)
_set_with("top_bound", _PAGES, 2 * RMM_GRANULE_SIZE, 5 * RMM_GRANULE_SIZE)
_set_with("base_align", (GB + RMM_GRANULE_SIZE, 2 * GB), GB + RMM_GRANULE_SIZE, 2 * GB)
_set_with("top_gran_align", _PAGES, 2 * RMM_GRANULE_SIZE, 3 * RMM_GRANULE_SIZE + 1)
_set_with("no_progress", (GB, GB + 2 * RMM_GRANULE_SIZE), GB, GB + 2 * RMM_GRANULE_SIZE)


@_case("RTT_SET_RIPAS", "rec_state")
def _(s: Script) -> Made:
    args, memory = _ripas_change(s)
    s.enter(args[1])
    return tuple(args), memory


@_case("RTT_SET_RIPAS", "rec_owner")
def _(s: Script) -> Made:
    (_, rec, base, top), memory = _ripas_change(s)
    other = s.realm()
    s.tables(other, 0)
    return (other, rec, base, top), memory


def mmio_exit(rec: int, kind: AccessKind = AccessKind.READ) -> RealmAccess:
    """An access that the Host can emulate: to an Unprotected IPA where nothing is mapped."""
    return RealmAccess(rec, UNPROTECTED, kind)
