"""Failure conditions of commands on granules, realms and RECs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from refmodel.rmm.calls import Memory, RecEnter
from refmodel.rmm.cases.registry import RD, Made, case, ns_operand, operand
from refmodel.rmm.rmi_rec import mpidr_of
from refmodel.rmm.scenario import Script
from refmodel.rmm.types import FID_PSCI_SYSTEM_OFF, RMM_GRANULE_SIZE

# Granules ----------------------------------------------------------------------------------------------------------


@case("GRANULE_DELEGATE", "gran_align")
def _(s: Script) -> Made:
    return (s.undelegated() + 1,), None


@case("GRANULE_DELEGATE", "gran_bound")
def _(s: Script) -> Made:
    return (s.layout.outside,), None


@case("GRANULE_DELEGATE", "gran_state")
def _(s: Script) -> Made:
    # A granule that is not UNDELEGATED is never Non-secure.
    return (s.granule(),), None, {"gran_gpt"}


@case("GRANULE_UNDELEGATE", "gran_align")
def _(s: Script) -> Made:
    return (s.granule() + 1,), None


@case("GRANULE_UNDELEGATE", "gran_bound")
def _(s: Script) -> Made:
    return (s.layout.outside,), None


@case("GRANULE_UNDELEGATE", "gran_state")
def _(s: Script) -> Made:
    return (s.undelegated(),), None


# Realms ------------------------------------------------------------------------------------------------------------


def _new_realm(s: Script) -> tuple[list[int], Memory]:
    rtts = s.granule(align=2 * RMM_GRANULE_SIZE, count=2)
    return [s.granule(), s.ns()], s.params(rtts)


ns_operand("REALM_CREATE", 1, "params", _new_realm)
operand("REALM_CREATE", 0, RD, _new_realm)


def _realm_with(label: str, change: Callable[[Script, int], dict[str, Any]], also: set[str] | None = None) -> None:
    """REALM_CREATE with parameters changed, as a function of the address of its delegated tables."""

    def maker(s: Script) -> Made:
        rtts = s.granule(align=4 * RMM_GRANULE_SIZE, count=4)
        return (s.granule(), s.ns()), s.params(rtts)._replace(**change(s, rtts)), also or set()

    case("REALM_CREATE", label)(maker)


# A hash algorithm that is no encoding is not supported either.
_realm_with("params_valid", lambda s, rtts: {"hash_algo": 9}, {"params_supp"})
_realm_with("params_supp", lambda s, rtts: {"num_bps": 64})
_realm_with("rtt_align", lambda s, rtts: {"rtt_base": rtts + RMM_GRANULE_SIZE})
_realm_with("rtt_num_level", lambda s, rtts: {"rtt_num_start": 1})
_realm_with("rtt_state", lambda s, rtts: {"rtt_base": s.undelegated(align=2 * RMM_GRANULE_SIZE, count=2)})


@case("REALM_CREATE", "alias")
def _(s: Script) -> Made:
    rtts = s.granule(align=2 * RMM_GRANULE_SIZE, count=2)
    return (rtts + RMM_GRANULE_SIZE, s.ns()), s.params(rtts)


@case("REALM_CREATE", "vmid_valid")
def _(s: Script) -> Made:
    s.realm(vmid=7)
    rtts = s.granule(align=2 * RMM_GRANULE_SIZE, count=2)
    return (s.granule(), s.ns()), s.params(rtts)._replace(vmid=7)


for _command in ("REALM_ACTIVATE", "REALM_DESTROY", "REC_AUX_COUNT"):
    operand(_command, 0, RD, lambda s: ([s.realm()], None))


@case("REALM_ACTIVATE", "realm_state")
def _(s: Script) -> Made:
    rd = s.realm()
    s.activate(rd)
    return (rd,), None


@case("REALM_DESTROY", "realm_live")
def _(s: Script) -> Made:
    rd = s.realm()
    s.rec(rd)
    return (rd,), None


# RECs --------------------------------------------------------------------------------------------------------------


def _new_rec(s: Script) -> tuple[list[int], Memory]:
    rd = s.realm()
    params = s.rec_params()
    return [rd, s.granule(), s.ns()], params


operand("REC_CREATE", 0, RD, _new_rec)
operand("REC_CREATE", 1, ("rec_align", "rec_bound", "rec_state"), _new_rec)
ns_operand("REC_CREATE", 2, "params", _new_rec)


@case("REC_CREATE", "realm_state")
def _(s: Script) -> Made:
    args, memory = _new_rec(s)
    s.activate(args[0])
    return tuple(args), memory


@case("REC_CREATE", "num_recs", "few RECs")
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

    case("REC_CREATE", label)(maker)


_rec_with("mpidr_index", lambda s, aux, rec: {"mpidr": mpidr_of(1)})
_rec_with("num_aux", lambda s, aux, rec: {"num_aux": len(aux) - 1})
_rec_with("aux_align", lambda s, aux, rec: {"aux": (aux[0] + 1, *aux[1:])})
_rec_with("aux_alias", lambda s, aux, rec: {"aux": (*aux[:-1], rec)})
_rec_with("aux_state", lambda s, aux, rec: {"aux": (*aux[:-1], s.undelegated())})


def _a_rec(s: Script) -> tuple[list[int], Memory]:
    return [s.rec(s.realm())], None


operand("REC_DESTROY", 0, ("rec_align", "rec_bound", "rec_gran_state"), _a_rec)


@case("REC_DESTROY", "rec_state")
def _(s: Script) -> Made:
    return (s.running()[1],), None


def _ready(s: Script) -> tuple[list[int], Memory]:
    rd = s.realm()
    rec = s.rec(rd)
    s.activate(rd)
    return [rec, s.ns()], RecEnter()


operand("REC_ENTER", 0, ("rec_align", "rec_bound", "rec_gran_state"), _ready)
ns_operand("REC_ENTER", 1, "run", _ready)


@case("REC_ENTER", "realm_new")
def _(s: Script) -> Made:
    return (s.rec(s.realm()), s.ns()), RecEnter()


@case("REC_ENTER", "system_off")
def _(s: Script) -> Made:
    _, rec = s.running()
    s.smc(rec, FID_PSCI_SYSTEM_OFF)
    return (rec, s.ns()), RecEnter()


@case("REC_ENTER", "rec_state")
def _(s: Script) -> Made:
    return (s.running()[1], s.ns()), RecEnter()


@case("REC_ENTER", "rec_runnable")
def _(s: Script) -> Made:
    rd = s.realm()
    rec = s.rec(rd, runnable=False)
    s.activate(rd)
    return (rec, s.ns()), RecEnter()


@case("REC_ENTER", "rec_mmio")
def _(s: Script) -> Made:
    (rec, run), _ = _ready(s)
    return (rec, run), RecEnter(emul_mmio=True)


@case("REC_ENTER", "rec_gicv3")
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


@case("REC_ENTER", "rec_psci")
def _(s: Script) -> Made:
    return (_pending(s)[0], s.ns()), RecEnter()


def _complete(s: Script) -> tuple[list[int], Memory]:
    return [*_pending(s), 0], None


operand("PSCI_COMPLETE", 0, ("calling_align", "calling_bound", "calling_state"), _complete)
operand("PSCI_COMPLETE", 1, ("target_align", "target_bound", "target_state"), _complete)


@case("PSCI_COMPLETE", "alias")
def _(s: Script) -> Made:
    # The request of a REC never names itself, so its MPIDR is not the one that was asked for.
    rec, _ = _pending(s)
    return (rec, rec, 0), None, {"target"}


@case("PSCI_COMPLETE", "pending")
def _(s: Script) -> Made:
    rec, target = _pending(s)
    s.host("RMI_PSCI_COMPLETE", rec, target, (1 << 64) - 3)
    # The request is over and its arguments are cleared, so no MPIDR but 0 would match.
    return (rec, target, 0), None, {"target"}


@case("PSCI_COMPLETE", "owner")
def _(s: Script) -> Made:
    rec, _ = _pending(s)
    other = s.realm()
    s.rec(other)
    return (rec, s.rec(other, 1), 0), None


@case("PSCI_COMPLETE", "target")
def _(s: Script) -> Made:
    rd = s.realm()
    rec, _, third = s.rec(rd), s.rec(rd, 1, runnable=False), s.rec(rd, 2, runnable=False)
    s.activate(rd)
    s.enter(rec)
    s.cpu_on(rec, mpidr_of(1))
    return (rec, third, 0), None


@case("PSCI_COMPLETE", "status")
def _(s: Script) -> Made:
    # PSCI_INTERNAL_FAILURE: the Host may deny, and nothing else.
    return (*_pending(s), (1 << 64) - 6), None
