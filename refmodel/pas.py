"""Security states, physical address spaces and exception levels: the four worlds and what each may name.

Enumerations are open at the level of the architecture: FEAT_RME_GDI adds GPI values and address spaces, which would
be added here and in ``gpt/decode.py`` and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class SecurityState(Enum):
    """SecurityState of the pseudocode; the value is {NSE, NS} as in SCR_EL3."""

    SS_Secure = 0b00
    SS_NonSecure = 0b01
    SS_Root = 0b10
    SS_Realm = 0b11


class PASpace(Enum):
    """PASpace of the pseudocode; the value is {NSE, NS} as in MFAR_EL3 and in EL3 stage-1 descriptors."""

    __hash__ = object.__hash__  # singletons, and keys of every remembered check

    PAS_Secure = 0b00
    PAS_NonSecure = 0b01
    PAS_Root = 0b10
    PAS_Realm = 0b11

    @property
    def short(self) -> str:
        """``Secure``, ``NonSecure``, ``Root`` or ``Realm``."""
        return self.name.removeprefix("PAS_")


class EL(Enum):
    """Exception levels."""

    EL0 = 0
    EL1 = 1
    EL2 = 2
    EL3 = 3


@dataclass(frozen=True, slots=True)
class FullAddress:
    """A physical address (56 bits at most) in a physical address space."""

    paspace: PASpace
    address: int

    def __str__(self) -> str:
        return f"{self.paspace.short}:{self.address:#x}"


def DecodePASpace(nse: int, ns: int) -> PASpace:
    """PASpace named by {NSE, NS}.

    Source: DDI 0487, pseudocode ``DecodePASpace``.
    """
    return PASpace(nse << 1 | ns)


def accessible_spaces(state: SecurityState) -> frozenset[PASpace]:
    """The physical address spaces that a security state can name at all, whatever the GPT says.

    Source: DDI 0487, D9 "The Realm Management Extension", table of PAS accessibility: Root names all four, Realm and
    Secure their own and Non-secure, Non-secure only its own.
    """
    match state:
        case SecurityState.SS_Root:
            return frozenset(PASpace)
        case SecurityState.SS_Realm:
            return frozenset({PASpace.PAS_Realm, PASpace.PAS_NonSecure})
        case SecurityState.SS_Secure:
            return frozenset({PASpace.PAS_Secure, PASpace.PAS_NonSecure})
        case SecurityState.SS_NonSecure:
            return frozenset({PASpace.PAS_NonSecure})
