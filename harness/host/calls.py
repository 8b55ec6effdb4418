"""Calls of the firmware from the Normal world: function identifiers, and which result registers each defines.

Sources: SMC Calling Convention (DEN0028), PSCI (DEN0022), Realm Management Monitor specification (DEN0137) 1.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

SMCCC_VERSION: Final = 0x8000_0000
SMCCC_ARCH_FEATURES: Final = 0x8000_0001
PSCI_VERSION: Final = 0x8400_0000
PSCI_AFFINITY_INFO: Final = 0xC400_0004
PSCI_FEATURES: Final = 0x8400_000A
RMI_VERSION: Final = 0xC400_0150
RMI_GRANULE_DELEGATE: Final = 0xC400_0151
RMI_GRANULE_UNDELEGATE: Final = 0xC400_0152
RMI_REALM_CREATE: Final = 0xC400_0158
RMI_REALM_DESTROY: Final = 0xC400_0159
RMI_REC_DESTROY: Final = 0xC400_015B
RMI_RTT_READ_ENTRY: Final = 0xC400_0161
RMI_FEATURES: Final = 0xC400_0165

RMI_ABI: Final = 0x1_0000  # version 1.0
NOT_SUPPORTED: Final = (1 << 64) - 1
"""SMCCC NOT_SUPPORTED, -1 in x0."""

_NAMELESS_STANDARD: Final = 0xC400_7F00
_NAMELESS_RMI: Final = 0xC400_018F
_NAMELESS_CPU: Final = 0xC100_7F00
_NAMELESS_SIP: Final = 0xC200_7F00
_NAMELESS_VENDOR: Final = 0xC600_7F00


@dataclass(frozen=True, kw_only=True)
class Call:
    """A fast call: x0 and the arguments after it; ``results``: how many registers from x0 on hold results.

    ``granted``: x0 has to be 0, or the call did not do what it is made for.  ``group`` is what the call belongs to:
    ``arch``, ``psci``, ``rmi``, or ``unknown`` for what nobody implements.
    """

    name: str
    group: str
    arguments: tuple[int, ...]
    results: int = 1
    granted: bool = False


def calls(granule: int) -> Sequence[Call]:
    """Calls that change nothing for good; ``granule`` is a Non-secure granule that they may delegate and give back."""
    return (
        Call(name="SMCCC_VERSION", group="arch", arguments=(SMCCC_VERSION,)),
        Call(name="SMCCC_ARCH_FEATURES", group="arch", arguments=(SMCCC_ARCH_FEATURES, SMCCC_VERSION)),
        Call(name="PSCI_VERSION", group="psci", arguments=(PSCI_VERSION,)),
        Call(name="PSCI_FEATURES", group="psci", arguments=(PSCI_FEATURES, PSCI_VERSION)),
        Call(name="PSCI_AFFINITY_INFO", group="psci", arguments=(PSCI_AFFINITY_INFO, 0, 0)),
        Call(name="RMI_VERSION", group="rmi", arguments=(RMI_VERSION, RMI_ABI), results=3),
        Call(name="RMI_FEATURES", group="rmi", arguments=(RMI_FEATURES, 0), results=2),
        Call(name="RMI_GRANULE_DELEGATE", group="rmi", arguments=(RMI_GRANULE_DELEGATE, granule), granted=True),
        Call(name="RMI_GRANULE_UNDELEGATE", group="rmi", arguments=(RMI_GRANULE_UNDELEGATE, granule), granted=True),
        Call(name="RMI_GRANULE_DELEGATE, unaligned", group="rmi", arguments=(RMI_GRANULE_DELEGATE, granule + 1)),
        Call(name="RMI_GRANULE_UNDELEGATE, not delegated", group="rmi", arguments=(RMI_GRANULE_UNDELEGATE, granule)),
        Call(name="RMI_REALM_CREATE, no realm descriptor", group="rmi", arguments=(RMI_REALM_CREATE, granule, granule)),
        Call(name="RMI_REALM_DESTROY, no realm", group="rmi", arguments=(RMI_REALM_DESTROY, granule)),
        Call(name="RMI_REC_DESTROY, no REC", group="rmi", arguments=(RMI_REC_DESTROY, granule)),
        Call(
            name="RMI_RTT_READ_ENTRY, no realm", group="rmi", arguments=(RMI_RTT_READ_ENTRY, granule, 0, 3), results=5
        ),
        Call(name="RMI, no such function", group="unknown", arguments=(_NAMELESS_RMI,)),
        Call(name="standard service, no such function", group="unknown", arguments=(_NAMELESS_STANDARD,)),
        Call(name="CPU service, no such function", group="unknown", arguments=(_NAMELESS_CPU,)),
        Call(name="SiP service, no such function", group="unknown", arguments=(_NAMELESS_SIP,)),
        Call(name="vendor hypervisor service, no such function", group="unknown", arguments=(_NAMELESS_VENDOR,)),
    )
