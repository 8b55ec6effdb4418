"""Records below EL3: where the probe's code is there, and register lists that make a state and EL usable.

A record names state and EL; what translation regime it meets is what the registers say that the harness sets at EL3
beforehand, in the batch's context or in the record's list.  The tables are the harness's; they must map the probe's
pages with VA = PA.  ``docs/reference/probe-protocol.md`` is the contract.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from harness.errors import MisuseError
from harness.probe.records import RegisterEntry, World, sysreg_encoding
from harness.targets.target import Window

SCR_EL3: Final = sysreg_encoding(3, 6, 1, 1, 0)
HCR_EL2: Final = sysreg_encoding(3, 4, 1, 1, 0)
CPTR_EL2: Final = sysreg_encoding(3, 4, 1, 1, 2)
SCTLR_EL2: Final = sysreg_encoding(3, 4, 1, 0, 0)
TTBR0_EL2: Final = sysreg_encoding(3, 4, 2, 0, 0)
TTBR1_EL2: Final = sysreg_encoding(3, 4, 2, 0, 1)
TCR_EL2: Final = sysreg_encoding(3, 4, 2, 0, 2)
MAIR_EL2: Final = sysreg_encoding(3, 4, 10, 2, 0)
VTTBR_EL2: Final = sysreg_encoding(3, 4, 2, 1, 0)
VTCR_EL2: Final = sysreg_encoding(3, 4, 2, 1, 2)
SCTLR_EL1: Final = sysreg_encoding(3, 0, 1, 0, 0)
TTBR0_EL1: Final = sysreg_encoding(3, 0, 2, 0, 0)
TTBR1_EL1: Final = sysreg_encoding(3, 0, 2, 0, 1)
TCR_EL1: Final = sysreg_encoding(3, 0, 2, 0, 2)
MAIR_EL1: Final = sysreg_encoding(3, 0, 10, 2, 0)

SCR_BASE: Final = 1 << 18 | 1 << 10 | 1 << 8 | 0b11 << 4 | 1 << 3 | 1
"""SCR_EL3 as the probe has it at EL3: EEL2, RW, HCE, RES1, EA, NS.  At a drop {NSE, NS} become the record's."""

SCR_GPF: Final = 1 << 48
HCR_RW: Final = 1 << 31
HCR_E2H: Final = 1 << 34
HCR_TGE: Final = 1 << 27
HCR_GPF: Final = 1 << 48

STATES: Final = (World.SECURE, World.NON_SECURE, World.REALM)
_BLOCK: Final = 0x10000
_PAGE: Final = 0x1000
_KINDS: Final = 3
CPTR_E2H: Final = 0b11 << 20  # FPEN: SIMD is not trapped


@dataclass(frozen=True)
class LowerPages:
    """The probe's pages below EL3, from ``base``, which its banner announces as ``lower``.

    For every PE and each of Secure, Non-secure and Realm: a page of stubs and two of vectors, for EL1 and for EL2.
    Each kind and state has a block of 64 KB of its own, so that a GPT of any granule size can deny one and permit the
    others.
    """

    base: int

    @property
    def whole(self) -> Window:
        """All of the probe's pages, the gaps between them included."""
        return Window(base=self.base, size=_KINDS * len(World) * _BLOCK)

    def stubs(self, state: World, pe: int = 0) -> Window:
        """The page that the operations of ``state`` run from."""
        return self._page(0, state, pe)

    def vectors(self, el: int, state: World, pe: int = 0) -> Window:
        """The page of EL1's or EL2's vectors in ``state``."""
        if el not in (1, 2):
            raise MisuseError(f"EL{el} has no vector page in the probe; EL1 and EL2 have one")
        return self._page(el, state, pe)

    def of(self, state: World, pe: int = 0) -> Iterator[Window]:
        """The three pages that a table for ``state`` has to map, with VA = PA, executable at the ELs in use."""
        return (self._page(kind, state, pe) for kind in range(_KINDS))

    def _page(self, kind: int, state: World, pe: int) -> Window:
        if state not in STATES:
            raise MisuseError(f"no record below EL3 runs in {World(state).name}; choose Secure, Non-secure or Realm")
        return Window(base=self.base + (len(World) * kind + state) * _BLOCK + pe * _PAGE, size=_PAGE)


def scr(*, gpf: bool = False) -> RegisterEntry:
    """SCR_EL3 with or without GPF: granule protection faults of lower ELs go to EL3."""
    return RegisterEntry(SCR_EL3, SCR_BASE | (SCR_GPF if gpf else 0))


def hcr(*, e2h: bool = False, tge: bool = False, gpf: bool = False) -> tuple[RegisterEntry, ...]:
    """HCR_EL2 for EL2 (``e2h`` clear), EL2&0 (``e2h``; with ``tge`` EL0 is its EL0), and no trap of SIMD by EL2.

    ``gpf``: granule protection faults of EL1 and EL0 go to EL2.
    """
    value = HCR_RW | (HCR_E2H if e2h else 0) | (HCR_TGE if tge else 0) | (HCR_GPF if gpf else 0)
    entries = (RegisterEntry(HCR_EL2, value),)
    return (*entries, RegisterEntry(CPTR_EL2, CPTR_E2H)) if e2h else entries
