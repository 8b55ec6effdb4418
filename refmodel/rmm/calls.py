"""What may happen to the RMM: commands of the Host with the structures in its memory, and events in a realm.

Plain values.  Bytes are turned into them by ``layout``.

Source: DEN0137 1.0-rel0, B4.4.12, B4.4.14, B4.4.15, B4.4.19, A4.3.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

from refmodel.rmm.state import HOST_CONTENT, Content

NUM_LRS: Final = 16
NO_LRS: Final = (0,) * NUM_LRS


class RealmParams(NamedTuple):
    """``RmiRealmParams`` (B4.4.12) as the Host wrote it: ``hash_algo`` and ``flags`` may be invalid encodings."""

    s2sz: int
    rtt_base: int
    rtt_level_start: int
    rtt_num_start: int = 1
    vmid: int = 0
    flags: int = 0
    sve_vl: int = 0
    num_bps: int = 1
    num_wps: int = 1
    pmu_num_ctrs: int = 0
    hash_algo: int = 0
    rpv: bytes = bytes(64)


class RecParams(NamedTuple):
    """``RmiRecParams`` (B4.4.19).  ``aux`` has 16 entries in memory; entries that are missing here are 0."""

    num_aux: int
    aux: tuple[int, ...] = ()
    mpidr: int = 0
    flags: int = 1
    pc: int = 0
    gprs: tuple[int, ...] = (0,) * 8


class RecEnter(NamedTuple):
    """``RmiRecEnter`` (B4.4.14) with its flags (B4.4.15) as fields."""

    emul_mmio: bool = False
    inject_sea: bool = False
    trap_wfi: bool = False
    trap_wfe: bool = False
    ripas_response: int = 0
    gprs: tuple[int, ...] = (0,) * 31
    gicv3_hcr: int = 0
    gicv3_lrs: tuple[int, ...] = NO_LRS


class DataSource(NamedTuple):
    """The 4 KB granule that RMI_DATA_CREATE copies: its bytes for the measurement, its tag for the model."""

    page: bytes = bytes(0x1000)
    content: Content = HOST_CONTENT


Memory = RealmParams | RecParams | RecEnter | DataSource | None
"""The structure in the Host's memory that a command reads; None if it reads none."""


class HostCall(NamedTuple):
    """A command of the Host: FID, X1 onwards as unsigned 64-bit values, and what it reads from memory."""

    fid: int
    args: tuple[int, ...] = ()
    memory: Memory = None


class AccessKind(Enum):
    """Kinds of memory access by a realm."""

    __hash__ = object.__hash__

    READ = "read"
    WRITE = "write"
    FETCH = "instruction fetch"


class RealmAccess(NamedTuple):
    """A memory access by a REC to the IPA that its stage 1 gives; ``far`` is the virtual address.

    ``isv``, ``sas``, ``sse``, ``srt`` and ``sf`` are what ESR_EL2.ISS would say of the instruction if stage 2 faulted;
    ``value`` is what a store writes, and the tag that the model gives to what the store leaves in memory.
    """

    rec: int
    ipa: int
    kind: AccessKind = AccessKind.READ
    isv: bool = True
    sas: int = 3
    sse: bool = False
    srt: int = 0
    sf: bool = True
    value: int = 0
    far: int = 0


class HostCallData(NamedTuple):
    """``RsiHostCall`` (B5.4.3) in the realm's memory."""

    imm: int = 0
    gprs: tuple[int, ...] = (0,) * 31


class RealmSmc(NamedTuple):
    """An SMC by a REC: X0 (the FID) onwards; ``data`` is the structure that RSI_HOST_CALL points to."""

    rec: int
    args: tuple[int, ...]
    data: HostCallData = HostCallData()


class RealmHvc(NamedTuple):
    """An HVC by a REC."""

    rec: int


class RealmWfx(NamedTuple):
    """WFI, WFE, WFIT or WFET by a REC: ``ti`` is ESR_EL2.ISS.TI, ``timeout`` the register of the forms with one."""

    rec: int
    ti: int
    timeout: int = 0
    esr: int = 0


class Interrupt(Enum):
    """Why a PE leaves a realm without the realm's doing."""

    __hash__ = object.__hash__

    IRQ = "IRQ"
    FIQ = "FIQ"
    SERROR = "SError"


class RealmInterrupt(NamedTuple):
    """An interrupt for the Host while a REC runs; ``esr`` is ESR_EL2 for an SError."""

    rec: int
    kind: Interrupt = Interrupt.IRQ
    esr: int = 0


class Vcpu(NamedTuple):
    """Registers that every REC exit reports: GIC, timers, PMU, as they are at the exit."""

    ich_hcr: int = 0
    ich_lrs: tuple[int, ...] = NO_LRS
    ich_misr: int = 0
    ich_vmcr: int = 0
    cntp_ctl: int = 0
    cntp_cval: int = 0
    cntv_ctl: int = 0
    cntv_cval: int = 0
    pmu_overflow: bool = False


NO_VCPU: Final = Vcpu()

RealmEvent = RealmAccess | RealmSmc | RealmHvc | RealmWfx | RealmInterrupt
Call = HostCall | RealmEvent
