"""Stage 2 descriptors as RMI commands pass them: attribute fields and address, nothing of the type.

Source: DEN0137 1.0-rel0, A5.5.11, B3.56, B3.59, B4.3.19, B4.3.20; the fields are those of a VMSAv8-64 stage 2
descriptor with FEAT_S2FWB (DDI 0487, D8.3 and D8.6).
"""

from __future__ import annotations

from typing import Final

from refmodel.rmm.state import RttEntry
from refmodel.rmm.types import EntryState

_MEMATTR_SHIFT: Final = 2
_MEMATTR_MASK: Final = 0b111
_S2AP_SHIFT: Final = 6
_S2AP_MASK: Final = 0b11
_MEMATTR_RESERVED: Final = 0b100
"""With FEAT_S2FWB, MemAttr[2:0] = 0b100 is reserved."""
_ADDR: Final = ((1 << 48) - 1) & ~0xFFF
_ADDR_LPA2: Final = ((1 << 50) - 1) & ~0xFFF
_ADDR_51_50_SHIFT: Final = 8


def _address_mask(lpa2: bool) -> int:
    return (_ADDR_LPA2 | 0b11 << _ADDR_51_50_SHIFT) if lpa2 else _ADDR


def RttDescriptorIsValidForUnprotected(desc: int, lpa2: bool) -> bool:
    """Whether Host-controlled attributes are valid and all other fields are zero.  Source: B3.56."""
    controlled = _MEMATTR_MASK << _MEMATTR_SHIFT | _S2AP_MASK << _S2AP_SHIFT | _address_mask(lpa2)
    # Address bits that a realm without LPA2 cannot use are for addr_bound to refuse, which is the same error.
    controlled |= _ADDR_LPA2
    return not desc & ~controlled and desc >> _MEMATTR_SHIFT & _MEMATTR_MASK != _MEMATTR_RESERVED


def RttEntryFromDescriptor(desc: int, lpa2: bool) -> RttEntry:
    """The ASSIGNED_NS entry that a descriptor describes.  Source: B3.59."""
    addr = desc & _ADDR_LPA2
    if lpa2:
        addr |= (desc >> _ADDR_51_50_SHIFT & 0b11) << 50
    return RttEntry(
        EntryState.ASSIGNED_NS,
        addr=addr,
        MemAttr=desc >> _MEMATTR_SHIFT & _MEMATTR_MASK,
        S2AP=desc >> _S2AP_SHIFT & _S2AP_MASK,
    )


def descriptor_of(entry: RttEntry, lpa2: bool) -> int:
    """What RMI_RTT_READ_ENTRY reports of an entry: address and attributes, zero where it has none (B4.3.20.3)."""
    desc = entry.addr & _ADDR_LPA2 | entry.MemAttr << _MEMATTR_SHIFT | entry.S2AP << _S2AP_SHIFT
    if lpa2:
        desc |= (entry.addr >> 50 & 0b11) << _ADDR_51_50_SHIFT
    return desc
