"""Realm measurements: the byte layouts that are hashed, and how RIM and REM are extended.

Pure functions over bytes.  A measurement value (``RmmRealmMeasurement``) is always 64 bytes: the digest, then zeros.
What a command *does* besides measuring is not here, and neither is the attestation token that reports the values.

Source: DEN0137 1.0-rel0, sections A7.1, B3.42 to B3.48, B4.3.1.4, B4.3.9.4, B4.3.12.4, B4.3.18.4 and C1.11 to C1.13.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

MEASUREMENT_BYTES: Final = 64
"""``RMM_REALM_MEASUREMENT_WIDTH`` in bytes."""
DESCRIPTOR_BYTES: Final = 0x100
PAGE_BYTES: Final = 0x1000
ZERO_MEASUREMENT: Final = bytes(MEASUREMENT_BYTES)

_U64: Final = struct.Struct("<Q")
_MEASURE_CONTENT: Final = 1
_RUNNABLE: Final = 1
_REC_GPRS: Final = 8


class HashAlgorithm(Enum):
    """Realm hash algorithms: the encoding of ``RmiHashAlgorithm``, and the name that a Realm token gives them.

    SHA-384 exists from RMM 2.0 on.
    """

    SHA_256 = 0, "sha-256", 32
    SHA_512 = 1, "sha-512", 64
    SHA_384 = 2, "sha-384", 48

    def __init__(self, encoding: int, token_name: str, digest_bytes: int) -> None:
        self.encoding = encoding
        self.token_name = token_name
        self.digest_bytes = digest_bytes

    def digest(self, data: bytes) -> bytes:
        """The bare digest of ``data``."""
        return hashlib.new(self.token_name.replace("-", ""), data).digest()

    def measure(self, data: bytes) -> bytes:
        """The digest of ``data`` as a measurement value: zero filled to 64 bytes."""
        return self.digest(data).ljust(MEASUREMENT_BYTES, b"\0")


class RemRule(Enum):
    """Readings of ``RemExtend`` (B3.42), which pads the new value to 512 bits and does not say what is hashed.

    ``PADDED_FULL``: both values as the 512-bit types that they have.  ``PADDED_DIGEST``: only the digest of the old
    value, then 64 bytes.  ``TF_RMM``: only the digest of the old value, and only ``size`` bytes, as TF-RMM does it.
    """

    PADDED_FULL = "padded-full"
    PADDED_DIGEST = "padded-digest"
    TF_RMM = "tf-rmm"


@dataclass(frozen=True, slots=True)
class Generation:
    """What a generation of specification or firmware measures.

    ``realm_params``: the initial RIM is the hash of the parameters, else zero.  ``ripas``: initialising RIPAS is
    measured.  ``exact_flags``: a DATA Granule's content is measured only if its flags are exactly 1, so not when a
    reserved bit is set as well.  ``rem``: the readings of ``RemExtend`` that may be seen.
    """

    name: str
    realm_params: bool
    ripas: bool
    rem: tuple[RemRule, ...]
    algorithms: tuple[HashAlgorithm, ...] = (HashAlgorithm.SHA_256, HashAlgorithm.SHA_512)
    exact_flags: bool = False


_SPECIFIED: Final = (RemRule.PADDED_FULL, RemRule.PADDED_DIGEST)

RMM_1_0: Final = Generation("rmm-1.0", realm_params=True, ripas=True, rem=_SPECIFIED)
"""RMM specification 1.0-rel0, to the letter."""
TF_RMM_0_6: Final = Generation("tf-rmm-0.6", realm_params=True, ripas=True, rem=(RemRule.TF_RMM,), exact_flags=True)
"""TF-RMM v0.6.0 to v0.8.0."""
TF_RMM_0_9: Final = Generation("tf-rmm-0.9", realm_params=True, ripas=False, rem=(RemRule.TF_RMM,), exact_flags=True)
"""TF-RMM v0.9.0, which no longer measures RIPAS."""
RMM_2_0_DRAFT: Final = Generation(
    "rmm-2.0-draft", realm_params=False, ripas=False, rem=_SPECIFIED, algorithms=tuple(HashAlgorithm)
)
"""Drafts of RMM 2.0: parameters are claims of the token and no part of the RIM."""

GENERATIONS: Final = {made.name: made for made in (RMM_1_0, TF_RMM_0_6, TF_RMM_0_9, RMM_2_0_DRAFT)}


@dataclass(frozen=True, slots=True)
class MeasuredRealmParams:
    """Fields of ``RmiRealmParams`` that the RIM covers; RPV, VMID and the RTT's place are not among them.

    Source: DEN0137 1.0-rel0, B4.3.9.4 (which fields) and B4.4.12 (offsets).
    """

    flags: int
    s2sz: int
    hash_algo: HashAlgorithm
    sve_vl: int = 0
    num_bps: int = 0
    num_wps: int = 0
    pmu_num_ctrs: int = 0

    def page(self) -> bytes:
        """The zero-filled 4 KB structure that is hashed."""
        fields = {0x08: self.s2sz, 0x10: self.sve_vl, 0x18: self.num_bps, 0x20: self.num_wps, 0x28: self.pmu_num_ctrs}
        fields[0x30] = self.hash_algo.encoding
        page = bytearray(PAGE_BYTES)
        _U64.pack_into(page, 0x00, self.flags)
        for offset, value in fields.items():
            struct.pack_into("B", page, offset, value)
        return bytes(page)


def rec_params_page(flags: int, pc: int, gprs: Sequence[int]) -> bytes:
    """The zero-filled 4 KB ``RmiRecParams`` that is hashed: flags, pc and the 8 general-purpose registers.

    Source: DEN0137 1.0-rel0, B4.3.12.4 and B4.4.19.  ValueError unless there are 8 registers.
    """
    if len(gprs) != _REC_GPRS:
        raise ValueError(f"a REC is created with 8 general-purpose registers, not {len(gprs)}")
    page = bytearray(PAGE_BYTES)
    _U64.pack_into(page, 0x000, flags)
    _U64.pack_into(page, 0x200, pc)
    struct.pack_into("<8Q", page, 0x300, *gprs)
    return bytes(page)


def _descriptor(kind: int, rim: bytes, fields: Sequence[tuple[int, bytes]]) -> bytes:
    """A measurement descriptor: type, length and current RIM, then the fields of its kind."""
    made = bytearray(DESCRIPTOR_BYTES)
    made[0] = kind
    _U64.pack_into(made, 0x08, DESCRIPTOR_BYTES)
    for offset, value in ((0x10, rim), *fields):
        made[offset : offset + len(value)] = value
    return bytes(made)


def data_descriptor(rim: bytes, ipa: int, flags: int, content: bytes) -> bytes:
    """``RmmMeasurementDescriptorData`` (C1.11); ``content`` is the measurement of the Granule, or zeros."""
    return _descriptor(0, rim, [(0x50, _U64.pack(ipa)), (0x58, _U64.pack(flags)), (0x60, content)])


def rec_descriptor(rim: bytes, content: bytes) -> bytes:
    """``RmmMeasurementDescriptorRec`` (C1.12); ``content`` is the measurement of the REC's parameters."""
    return _descriptor(1, rim, [(0x50, content)])


def ripas_descriptor(rim: bytes, base: int, top: int) -> bytes:
    """``RmmMeasurementDescriptorRipas`` (C1.13) for one RTT entry, from IPA ``base`` up to ``top``."""
    return _descriptor(2, rim, [(0x50, _U64.pack(base)), (0x58, _U64.pack(top))])


def RimInit(params: MeasuredRealmParams, generation: Generation = RMM_1_0) -> bytes:
    """The RIM that RMI_REALM_CREATE sets.  Source: B4.3.9.4."""
    return params.hash_algo.measure(params.page()) if generation.realm_params else ZERO_MEASUREMENT


def RimExtendData(
    algorithm: HashAlgorithm,
    rim: bytes,
    ipa: int,
    flags: int,
    content: bytes,
    generation: Generation = RMM_1_0,
) -> bytes:
    """The RIM after RMI_DATA_CREATE of a Granule with the 4 KB ``content`` at ``ipa``.  Source: B4.3.1.4.

    ValueError if the content is to be measured and is not 4096 bytes.
    """
    measured = flags == _MEASURE_CONTENT if generation.exact_flags else bool(flags & _MEASURE_CONTENT)
    if measured and len(content) != PAGE_BYTES:
        raise ValueError(f"a DATA Granule has {PAGE_BYTES} bytes, not {len(content)}")
    digest = algorithm.measure(content) if measured else ZERO_MEASUREMENT
    return algorithm.measure(data_descriptor(rim, ipa, flags, digest))


def RimExtendRec(algorithm: HashAlgorithm, rim: bytes, flags: int, pc: int, gprs: Sequence[int]) -> bytes:
    """The RIM after RMI_REC_CREATE; a REC that is not runnable leaves it as it is.  Source: B4.3.12.4."""
    if not flags & _RUNNABLE:
        return rim
    return algorithm.measure(rec_descriptor(rim, algorithm.measure(rec_params_page(flags, pc, gprs))))


def RimExtendRipas(
    algorithm: HashAlgorithm,
    rim: bytes,
    base: int,
    top: int,
    entry_bytes: int,
    generation: Generation = RMM_1_0,
) -> bytes:
    """The RIM after RMI_RTT_INIT_RIPAS of ``[base, top)``, one extension for each RTT entry of ``entry_bytes``.

    ``top`` is the address that the command reached (its output), and the last entry is measured no further than that.
    Source: B4.3.18.4 and B3.46.
    """
    if generation.ripas:
        for ipa in range(base, top, entry_bytes):
            rim = algorithm.measure(ripas_descriptor(rim, ipa, min(ipa + entry_bytes, top)))
    return rim


_REM_INPUT: Final[dict[RemRule, Callable[[bytes, bytes, HashAlgorithm], bytes]]] = {
    RemRule.PADDED_FULL: lambda old, new, algorithm: old + new.ljust(MEASUREMENT_BYTES, b"\0"),
    RemRule.PADDED_DIGEST: lambda old, new, algorithm: (
        old[: algorithm.digest_bytes] + new.ljust(MEASUREMENT_BYTES, b"\0")
    ),
    RemRule.TF_RMM: lambda old, new, algorithm: old[: algorithm.digest_bytes] + new,
}


def RemExtend(algorithm: HashAlgorithm, rem: bytes, value: bytes, rule: RemRule) -> bytes:
    """The REM after RSI_MEASUREMENT_EXTEND with the first ``size`` bytes of the registers as ``value``.

    Source: B3.42 and B5.3.7.  ValueError if ``value`` has more than 64 bytes.
    """
    if len(value) > MEASUREMENT_BYTES:
        raise ValueError(f"at most {MEASUREMENT_BYTES} bytes extend a measurement, not {len(value)}")
    return algorithm.measure(_REM_INPUT[rule](rem, value, algorithm))


def RemExtendPermitted(algorithm: HashAlgorithm, rem: bytes, value: bytes, generation: Generation) -> frozenset[bytes]:
    """Every REM that the generation's readings permit after an extension."""
    return frozenset(RemExtend(algorithm, rem, value, rule) for rule in generation.rem)
