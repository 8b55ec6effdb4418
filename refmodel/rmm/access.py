"""A realm's accesses to memory: performed, aborted to the realm, or a REC exit, by IPA, HIPAS and RIPAS.

Source: DEN0137 1.0-rel0, A5.2.3 to A5.2.9, A5.3.1, A4.3.4.2 and A4.3.4.3.
"""

from __future__ import annotations

from collections.abc import Iterator

from refmodel.rmm.calls import AccessKind, RealmAccess, Vcpu
from refmodel.rmm.exits import abort_syndrome, exit_gprs, hpfar, instruction_syndrome, leave, reported
from refmodel.rmm.results import Accessed, Outcome, RealmException, RecExit, ToRealm
from refmodel.rmm.rtt import AddrIsProtected, RttLevelSize, RttWalk, Walk
from refmodel.rmm.state import Author, Content, LastExit, Realm, Rec, State
from refmodel.rmm.types import RMM_GRANULE_SIZE, RMM_RTT_PAGE_LEVEL, EntryState, ExitReason, Gpt, Ripas
from refmodel.rmm.version import Parameters

_S2AP_READ, _S2AP_WRITE = 1, 2


def output_address(walk: Walk, ipa: int, stride: int) -> int:
    """Physical address of an IPA in the page or block of an entry."""
    return walk.rtte.addr + (ipa & (RttLevelSize(walk.level, stride) - 1))


def realm_access(state: State, p: Parameters, access: RealmAccess, vcpu: Vcpu) -> Iterator[Outcome]:
    """Permitted outcomes of one access that does not cross a granule."""
    rec = state.recs[access.rec]
    realm = state.realms[rec.owner]
    if access.ipa >> realm.ipa_width:
        yield Outcome(state, ToRealm(RealmException.ADDRESS_SIZE), "outside the IPA space")
        return
    walk = RttWalk(state, realm, access.ipa, RMM_RTT_PAGE_LEVEL, p.stride)
    if AddrIsProtected(access.ipa, realm):
        yield _protected(state, p, access, realm, walk, vcpu)
    else:
        yield from _unprotected(state, p, access, walk, vcpu)


def _protected(state: State, p: Parameters, access: RealmAccess, realm: Realm, walk: Walk, vcpu: Vcpu) -> Outcome:
    """The table of A5.3.1."""
    match walk.rtte.ripas, walk.rtte.state:
        case Ripas.EMPTY, _:
            return Outcome(state, ToRealm(RealmException.SEA), "RIPAS is EMPTY")
        case Ripas.RAM, EntryState.ASSIGNED:
            pa = output_address(walk, access.ipa, p.stride)
            after = _written(state, pa, realm, access) if access.kind is AccessKind.WRITE else state
            return Outcome(after, Accessed(pa), "RIPAS is RAM, HIPAS is ASSIGNED")
        case Ripas.RAM, _:
            why = "RIPAS is RAM, HIPAS is UNASSIGNED"
        case _:
            why = "RIPAS is DESTROYED"
    return abort_exit(state, access, walk, vcpu, unprotected=False, permission=False, why=why)


def _written(state: State, pa: int, realm: Realm, access: RealmAccess) -> State:
    granule = pa & ~(RMM_GRANULE_SIZE - 1)
    content = Content(Author.REALM, realm.serial, access.value)
    return state.with_granule(granule, state.granule(granule)._replace(content=content))


def _unprotected(state: State, p: Parameters, access: RealmAccess, walk: Walk, vcpu: Vcpu) -> Iterator[Outcome]:
    if access.kind is AccessKind.FETCH:
        yield Outcome(state, ToRealm(RealmException.SEA), "instruction fetch from an Unprotected IPA")
        return
    if walk.rtte.state is not EntryState.ASSIGNED_NS:
        why = "HIPAS is UNASSIGNED_NS"
        yield abort_exit(state, access, walk, vcpu, unprotected=True, permission=False, why=why)
        return
    write = access.kind is AccessKind.WRITE
    if not walk.rtte.S2AP & (_S2AP_WRITE if write else _S2AP_READ):
        why = "stage 2 permission fault"
        yield abort_exit(state, access, walk, vcpu, unprotected=True, permission=True, why=why)
        return
    pa = output_address(walk, access.ipa, p.stride)
    granule = state.granule(pa & ~(RMM_GRANULE_SIZE - 1))
    if granule.gpt is not Gpt.GPT_NS and granule.gpt is not Gpt.GPT_AAP:
        # I_KQJML: the RMM does not ensure that the granule is Non-secure; how the fault reaches the realm is open.
        for exception in (RealmException.GPF, RealmException.SEA):
            yield Outcome(state, ToRealm(exception), "the granule is not Non-secure")
        return
    yield Outcome(state, Accessed(pa, secure=False), "HIPAS is ASSIGNED_NS")


def abort_exit(
    state: State, access: RealmAccess, walk: Walk, vcpu: Vcpu, *, unprotected: bool, permission: bool, why: str
) -> Outcome:
    """REC exit due to Data Abort or Instruction Abort (A4.3.4.2, A4.3.4.3)."""
    rec: Rec = state.recs[access.rec]
    fetch, write = access.kind is AccessKind.FETCH, access.kind is AccessKind.WRITE
    emulatable = unprotected and access.isv
    described = 0
    if not fetch:
        described = instruction_syndrome(access.isv, access.sas, access.sse, access.srt, access.sf, write)
    esr = abort_syndrome(fetch, walk.level, permission, described)
    told = RecExit(
        ExitReason.RMI_EXIT_SYNC,
        esr=reported(esr, emulatable, unprotected),
        far=access.far & (RMM_GRANULE_SIZE - 1) if emulatable else 0,
        hpfar=hpfar(access.ipa),
        gprs=exit_gprs(access.value) if emulatable and write else exit_gprs(),
    )
    reason = LastExit.OTHER
    if unprotected:
        reason = LastExit.EMULATABLE_ABORT if emulatable else LastExit.UNPROTECTED_ABORT
    after, result = leave(state, access.rec, rec._replace(esr=esr), reason, told, vcpu)
    return Outcome(after, result, why)
