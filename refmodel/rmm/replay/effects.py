"""What is known after a call that succeeded."""

from __future__ import annotations

from collections.abc import Sequence

from refmodel.rmm.command import Command
from refmodel.rmm.replay.knowledge import Kind, Knowledge, KnownRealm, KnownRec
from refmodel.rmm.rmi_rec import mpidr_of
from refmodel.rmm.types import RealmState, Rmi


def apply(command: Command, args: tuple[int, ...], status: int, outputs: Sequence[int], k: Knowledge) -> None:
    """Learn from a success; a failure changes nothing."""
    if status != Rmi.RMI_SUCCESS:
        return
    match command.name, args:
        case "RMI_GRANULE_DELEGATE", (addr,):
            k.learn(addr, {Kind.DELEGATED})
        case "RMI_GRANULE_UNDELEGATE", (addr,):
            k.learn(addr, {Kind.NS})
        case "RMI_REALM_CREATE", (rd, _):
            k.realms[rd] = KnownRealm(RealmState.REALM_NEW)
            k.did(command.name)
            k.learn(rd, {Kind.RD})
        case "RMI_REALM_ACTIVATE", (rd,) if rd in k.realms:
            k.realms[rd].state = RealmState.REALM_ACTIVE
        case "RMI_REALM_DESTROY", (rd,):
            _forget_realm(rd, k)
        case "RMI_REC_AUX_COUNT", (rd,) if rd in k.realms:
            k.realms[rd].aux_count = outputs[0] if outputs else None
        case "RMI_REC_CREATE", (rd, rec, _):
            _rec_created(rd, rec, k)
        case "RMI_REC_DESTROY", (rec,):
            _rec_destroyed(rec, k)
        case "RMI_PSCI_COMPLETE", (_, target, _) if target in k.recs:
            k.requests[k.recs[target].mpidr] -= 1
        case "RMI_FEATURES", (0,):
            k.features = outputs[0] if outputs else None
        case _:
            _memory(command.name, args, outputs, k)


def _forget_realm(rd: int, k: Knowledge) -> None:
    k.realms.pop(rd, None)
    k.did("RMI_REALM_DESTROY")
    k.learn(rd, {Kind.DELEGATED})
    for realm in k.realms.values():
        realm.maybe_off = realm.maybe_off and len(k.realms) > 0


def _rec_created(rd: int, rec: int, k: Knowledge) -> None:
    realm = k.realms.get(rd)
    if realm is not None:
        k.recs[rec] = KnownRec(rd, mpidr_of(realm.rec_index))
        realm.rec_index += 1
        realm.num_recs += 1
    k.did("RMI_REC_CREATE")
    k.learn(rec, {Kind.REC})


def _rec_destroyed(rec: int, k: Knowledge) -> None:
    known = k.recs.pop(rec, None)
    if known is not None and known.owner in k.realms:
        k.realms[known.owner].num_recs -= 1
    k.did("RMI_REC_DESTROY")
    k.learn(rec, {Kind.DELEGATED})


def _memory(name: str, args: tuple[int, ...], outputs: Sequence[int], k: Knowledge) -> None:
    match name, args:
        case "RMI_DATA_CREATE" | "RMI_DATA_CREATE_UNKNOWN", (rd, data, ipa, *_):
            k.learn(data, {Kind.DATA})
            k.pages[rd, ipa] = data
        case "RMI_DATA_DESTROY", (rd, ipa):
            k.pages.pop((rd, ipa), None)
            if outputs:
                k.learn(outputs[0], {Kind.DELEGATED})
        case "RMI_RTT_CREATE", (_, rtt, _, _):
            k.learn(rtt, {Kind.RTT})
        case "RMI_RTT_DESTROY" | "RMI_RTT_FOLD", _ if outputs:
            k.learn(outputs[0], {Kind.DELEGATED})
        case _:
            pass
