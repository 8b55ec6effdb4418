"""Enumerations and constants of the RMM specification, spelt as there, with the encodings of their concrete types.

Values only: what an object of the RMM consists of stands in ``state``, layouts of structures in memory in ``layout``.

Source: DEN0137 1.0-rel0, chapters B4.4, B5.4, B6.4 and C1.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Final

RMM_GRANULE_SIZE: Final = 0x1000
RMM_RTT_PAGE_LEVEL: Final = 3


class GranuleState(Enum):
    """``RmmGranuleState`` (C1.7)."""

    __hash__ = object.__hash__

    UNDELEGATED = "UNDELEGATED"
    DELEGATED = "DELEGATED"
    RD = "RD"
    REC = "REC"
    REC_AUX = "REC_AUX"
    DATA = "DATA"
    RTT = "RTT"


class Gpt(Enum):
    """``RmmGptEntry`` (C1.5)."""

    __hash__ = object.__hash__

    GPT_NS = "NS"
    GPT_REALM = "REALM"
    GPT_SECURE = "SECURE"
    GPT_ROOT = "ROOT"
    GPT_AAP = "AAP"


class RealmState(Enum):
    """``RmmRealmState`` (C1.18)."""

    __hash__ = object.__hash__

    REALM_NEW = "NEW"
    REALM_ACTIVE = "ACTIVE"
    REALM_SYSTEM_OFF = "SYSTEM_OFF"


class RecState(Enum):
    """``RmmRecState`` (C1.25)."""

    __hash__ = object.__hash__

    REC_READY = "READY"
    REC_RUNNING = "RUNNING"


class EntryState(Enum):
    """``RmmRttEntryState`` (C1.30): HIPAS, or that the entry leads to a further table."""

    __hash__ = object.__hash__

    UNASSIGNED = "UNASSIGNED"
    ASSIGNED = "ASSIGNED"
    UNASSIGNED_NS = "UNASSIGNED_NS"
    ASSIGNED_NS = "ASSIGNED_NS"
    TABLE = "TABLE"


RMI_ENTRY_STATE: Final = {
    EntryState.UNASSIGNED: 0,
    EntryState.UNASSIGNED_NS: 0,
    EntryState.ASSIGNED: 1,
    EntryState.ASSIGNED_NS: 1,
    EntryState.TABLE: 2,
}
"""``RmiRttEntryState`` (B4.4.24), by the function ``RttEntryState`` (B3.61)."""


class Ripas(IntEnum):
    """``RmmRipas`` (C1.26) with the encoding of ``RmiRipas`` (B4.4.23)."""

    EMPTY = 0
    RAM = 1
    DESTROYED = 2


class Rmi(IntEnum):
    """``RmiStatusCode`` (B4.4.25)."""

    RMI_SUCCESS = 0
    RMI_ERROR_INPUT = 1
    RMI_ERROR_REALM = 2
    RMI_ERROR_REC = 3
    RMI_ERROR_RTT = 4


class Rsi(IntEnum):
    """``RsiCommandReturnCode`` (B5.4.1)."""

    RSI_SUCCESS = 0
    RSI_ERROR_INPUT = 1
    RSI_ERROR_STATE = 2
    RSI_INCOMPLETE = 3
    RSI_ERROR_UNKNOWN = 4


class Psci(IntEnum):
    """``PsciReturnCode`` (B6.4.2)."""

    PSCI_OFF = 1
    PSCI_SUCCESS = 0
    PSCI_NOT_SUPPORTED = -1
    PSCI_INVALID_PARAMETERS = -2
    PSCI_DENIED = -3
    PSCI_ALREADY_ON = -4
    PSCI_ON_PENDING = -5
    PSCI_INTERNAL_FAILURE = -6
    PSCI_NOT_PRESENT = -7
    PSCI_DISABLED = -8
    PSCI_INVALID_ADDRESS = -9


SMCCC_NOT_SUPPORTED: Final = (1 << 64) - 1


def PsciReturnCodeEncode(value: int) -> int:
    """A PSCI return code as the 64 bits of X0.  Source: B3.26."""
    return value & ((1 << 64) - 1)


class ExitReason(IntEnum):
    """``RmiRecExitReason`` (B4.4.17)."""

    RMI_EXIT_SYNC = 0
    RMI_EXIT_IRQ = 1
    RMI_EXIT_FIQ = 2
    RMI_EXIT_PSCI = 3
    RMI_EXIT_RIPAS_CHANGE = 4
    RMI_EXIT_HOST_CALL = 5
    RMI_EXIT_SERROR = 6


class RecResponse(IntEnum):
    """``RmmRecResponse`` (C1.23) with the encoding of ``RmiResponse`` (B4.4.22)."""

    ACCEPT = 0
    REJECT = 1


FID_PSCI_VERSION: Final = 0x84000000
FID_PSCI_CPU_SUSPEND: Final = 0xC4000001
FID_PSCI_CPU_OFF: Final = 0x84000002
FID_PSCI_CPU_ON: Final = 0xC4000003
FID_PSCI_AFFINITY_INFO: Final = 0xC4000004
FID_PSCI_SYSTEM_OFF: Final = 0x84000008
FID_PSCI_SYSTEM_RESET: Final = 0x84000009
FID_PSCI_FEATURES: Final = 0x8400000A
FID_SMCCC_VERSION: Final = 0x80000000
