"""Mutants of what the Normal world observes: one observation of the probe or of Linux falsified at a time.

Each stands for firmware with one fault: a register that a world switch leaves behind, a granule that a call forgets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from harness.boot.machine import RAM_BASE
from harness.boot.mutants import StackMutant
from harness.host.calls import RMI_GRANULE_DELEGATE, RMI_GRANULE_UNDELEGATE
from harness.host.granules import GRANULE, Granules
from harness.host.linux import Attack, HostShell
from harness.host.probe import CallResult, HostProbe
from harness.host.registers import REGISTERS
from harness.probe.records import Result
from refmodel.mutants.mutant import Original, Patch

_PROBE: Final = "harness.host.probe"
_GRANULES: Final = "harness.host.granules"
_LINUX: Final = "harness.host.linux"
_ENCODINGS: Final = {register.name: register.encoding for register in REGISTERS}
Change = Callable[[CallResult], CallResult]


def _call(name: str, rule: str, change: Change) -> StackMutant:
    """Every call comes back with this change."""

    def make(original: Original) -> Callable[..., CallResult]:
        return lambda *args, **kwargs: change(original(*args, **kwargs))

    return StackMutant(name, "hygiene", (rule,), (Patch(_PROBE, "HostProbe.call", make),), "observation")


def _x(index: int) -> Change:
    """A general register changed: of x0-x17 as the call's results have it, of the others as the dump has it."""

    def change(result: CallResult) -> CallResult:
        if index < len(result.x):
            return replace(result, x=(*result.x[:index], result.x[index] ^ 0x10, *result.x[index + 1 :]))
        x = result.dump.x
        return replace(result, dump=replace(result.dump, x=(*x[:index], x[index] ^ 0x10, *x[index + 1 :])))

    return change


def _q(index: int) -> Change:
    def change(result: CallResult) -> CallResult:
        q = result.dump.q
        return replace(result, dump=replace(result.dump, q=(*q[:index], q[index] ^ 1 << 127, *q[index + 1 :])))

    return change


def _fpcr(result: CallResult) -> CallResult:
    return replace(result, dump=replace(result.dump, fpcr=result.dump.fpcr ^ 1 << 22))


def _system(name: str) -> Change:
    """A system register changed."""
    encoding = _ENCODINGS[name]
    return lambda result: replace(result, after={**result.after, encoding: result.after.get(encoding, 0) ^ 1})


def _lost(name: str) -> Change:
    """A system register that cannot be read any more."""
    return lambda result: replace(result, after={e: v for e, v in result.after.items() if e != _ENCODINGS[name]})


HYGIENE_MUTANTS: Final = (
    _call("smc-changes-x4", "HYG-001", _x(4)),
    _call("smc-changes-x17", "HYG-001", _x(17)),
    StackMutant("rmm-registers-leak", "hygiene", ("HYG-001",), (), "firmware", firmware="tfa-rmm-registers-leak"),
    _call("smc-changes-x18", "HYG-002", _x(18)),
    _call("smc-changes-x30", "HYG-002", _x(30)),
    _call("smc-changes-q31", "HYG-003", _q(31)),
    _call("smc-changes-fpcr", "HYG-003", _fpcr),
    _call("smc-changes-key", "HYG-004", _system("APIAKeyLo_EL1")),
    _call("smc-loses-register", "HYG-004", _lost("TPIDR_EL1")),
    _call("smc-changes-vttbr", "HYG-005", _system("VTTBR_EL2")),
    _call("smc-leaks-x3", "HYG-006", _x(3)),
)


def _granule(name: str, rule: str, *patches: Patch, marks: bool = False) -> StackMutant:
    return StackMutant(name, "granules", (rule,), patches, "observation", marks=marks)


def _status(function: int, change: Callable[[int, int], int]) -> Patch:
    """x0 of a call of ``function`` changed: ``change(status, granule)``."""

    def make(original: Original) -> Callable[..., tuple[int, ...]]:
        def smc(probe: HostProbe, *arguments: int) -> tuple[int, ...]:
            x = original(probe, *arguments)
            return (change(x[0], arguments[1]), *x[1:]) if arguments[0] == function else x

        return smc

    return Patch(_PROBE, "HostProbe.smc", make)


def _silently(function: int) -> Patch:
    """A call of ``function`` is not made, and answered as if it had been."""

    def make(original: Original) -> Callable[..., tuple[int, ...]]:
        def smc(probe: HostProbe, *arguments: int) -> tuple[int, ...]:
            return (0,) * 18 if arguments[0] == function else original(probe, *arguments)

        return smc

    return Patch(_PROBE, "HostProbe.smc", make)


def _too_much(original: Original) -> Callable[..., tuple[int, ...]]:
    """A granule is delegated together with the one after it, which no call gives back."""

    def smc(probe: HostProbe, *arguments: int) -> tuple[int, ...]:
        x: tuple[int, ...] = original(probe, *arguments)
        if arguments[0] == RMI_GRANULE_DELEGATE and x[0] == 0:
            original(probe, RMI_GRANULE_DELEGATE, arguments[1] + GRANULE)
        return x

    return smc


def _refused_but_done(original: Original) -> Callable[..., tuple[int, ...]]:
    """A call that is refused delegates another granule all the same."""

    def smc(probe: HostProbe, *arguments: int) -> tuple[int, ...]:
        x: tuple[int, ...] = original(probe, *arguments)
        if arguments[0] == RMI_GRANULE_DELEGATE and x[0] != 0:
            original(probe, RMI_GRANULE_DELEGATE, _BYSTANDER)
        return x

    return smc


def _access(change: Callable[[Result], Result]) -> Patch:
    """What an access in a granule met is changed."""

    def make(original: Original) -> Callable[..., Result]:
        return lambda granules, name, pa: change(original(granules, name, pa))

    return Patch(_GRANULES, "Granules.access", make)


def _stores_arrive(original: Original) -> Callable[..., Result]:
    """An access faults, but what it stores arrives."""

    def access(granules: Granules, name: str, pa: int) -> Result:
        result: Result = original(granules, name, pa)
        if result.taken and name.startswith("store"):
            granules.machine.ram.write(pa - RAM_BASE, b"\xff")
        return result

    return access


def _load_faults(original: Original) -> Callable[..., Result]:
    return lambda probe, pa, size_log2=3: original(probe, 0x0E00_2000, size_log2)


_BYSTANDER: Final = 0x7600_0000
GRANULE_MUTANTS: Final = (
    _granule("delegate-forgets-the-table", "GRN-001", _silently(RMI_GRANULE_DELEGATE)),
    _granule("delegate-takes-the-neighbour", "GRN-001", Patch(_PROBE, "HostProbe.smc", _too_much), marks=True),
    _granule("delegated-granule-reads", "GRN-002", _access(lambda result: result._replace(taken=0, esr=0, far=0))),
    _granule("delegated-granule-wrong-syndrome", "GRN-002", _access(lambda result: result._replace(esr=0x96000010))),
    _granule("delegated-granule-shows-data", "GRN-002", _access(lambda result: result._replace(data0=0x5EC8E7))),
    _granule("delegated-granule-takes-stores", "GRN-002", Patch(_GRANULES, "Granules.access", _stores_arrive)),
    _granule("undelegate-forgets-the-table", "GRN-003", _silently(RMI_GRANULE_UNDELEGATE), marks=True),
    _granule("undelegated-granule-faults", "GRN-003", Patch(_PROBE, "HostProbe.load", _load_faults)),
    _granule("delegate-grants-everything", "GRN-004", _status(RMI_GRANULE_DELEGATE, lambda status, granule: 0)),
    _granule(
        "refused-delegate-changes-the-table", "GRN-004", Patch(_PROBE, "HostProbe.smc", _refused_but_done), marks=True
    ),
    _granule("nobody-wipes", "GRN-005", Patch(_GRANULES, "WIPING", lambda original: "tfa-host")),
)


def _linux(
    name: str, rule: str, method: str, make: Callable[[Original], Callable[..., object]], *, marks: bool = False
) -> StackMutant:
    """A method of the shell, ``make`` giving what takes its place."""
    patches = (Patch(_LINUX, f"HostShell.{method}", make),)
    return StackMutant(name, "linux", (rule,), patches, "observation", marks=marks)


def _attack(name: str, rule: str, method: str, **changes: object) -> StackMutant:
    """What an access met is changed, where it met an exception; the control, which meets none, stays."""

    def make(original: Original) -> Callable[..., Attack]:
        def attack(host: HostShell, *arguments: int) -> Attack:
            seen: Attack = original(host, *arguments)
            return replace(seen, **changes) if seen.outcome in ("fault", "killed") else seen  # type: ignore[arg-type]

        return attack

    return _linux(name, rule, method, make)


def _log(name: str, rule: str, change: Callable[[str], str]) -> StackMutant:
    """The kernel's log, and other text, changed line by line."""
    return _linux(name, rule, "run", lambda original: lambda *words: [change(line) for line in original(*words)])


def _write_arrives(original: Original) -> Callable[..., Attack]:
    def write(host: HostShell, pa: int, value: int) -> Attack:
        seen: Attack = original(host, pa, value)
        if pa >= RAM_BASE and seen.outcome in ("fault", "killed"):
            host.machine.ram.write(pa - RAM_BASE, value.to_bytes(8, "little"))
        return seen

    return write


def _oops(original: Original) -> Callable[..., list[str]]:
    """The kernel's log ends with an error of its own."""
    return lambda host: [*original(host), "Internal error: Oops"]


def _guest(**changes: object) -> Callable[[Original], Callable[..., Attack]]:
    return lambda original: lambda host: replace(original(host), **changes)


LINUX_MUTANTS: Final = (
    _log("linux-at-el1", "LNX-001", lambda line: line.replace("started at EL2", "started at EL1")),
    _log("linux-without-kvm", "LNX-001", lambda line: "" if "kvm [1]" in line else line),
    _log(
        "linux-takes-rmm-memory", "LNX-002", lambda line: line.replace("418fffff : reserved", "418fffff : System RAM")
    ),
    _linux("guest-says-nothing", "LNX-003", "guest", _guest(words={})),
    _attack("linux-reads-realm", "LNX-010", "read", outcome="done", esr=0),
    _attack("linux-read-shows-data", "LNX-010", "read", value=0x5EC8E7),
    _attack("linux-read-wrong-syndrome", "LNX-010", "read", esr=0x9200_0007),
    _attack("linux-writes-realm", "LNX-011", "write", outcome="done", esr=0),
    _linux("linux-write-arrives", "LNX-011", "write", _write_arrives, marks=True),
    _attack("guest-reads-realm", "LNX-012", "guest_read", outcome="done", esr=0),
    _attack("guest-read-shows-data", "LNX-012", "guest_read", value=0x5EC8E7),
    _linux("linux-oops-after-attack", "LNX-013", "log", _oops),
    _linux("no-guest-after-attack", "LNX-013", "guest", _guest(outcome="failed")),
)
HOST_MUTANTS: tuple[StackMutant, ...] = (*HYGIENE_MUTANTS, *GRANULE_MUTANTS, *LINUX_MUTANTS)
