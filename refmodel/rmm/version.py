"""Which RMM is modelled: the interface revision, and what an implementation chooses or reports within it.

``RMM_1_0`` is complete.  Later revisions are laid out as data: which commands they drop and add is in ``COMMANDS_OF``,
so that a model of 1.1 or 2.0 is further tables and further parameters, and no rewriting.

Source: DEN0137 1.0-rel0, A3.1, B2, B4.3.4, B4.4.6; the public drafts of 1.1 and 2.0 for their command lists.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

from refmodel.rmm.measurement import RMM_1_0 as MEASURE_1_0
from refmodel.rmm.measurement import Generation


class Revision(Enum):
    """Revisions of the interface: (major, minor)."""

    V1_0 = 1, 0
    V1_1 = 1, 1
    V2_0 = 2, 0

    @property
    def encoding(self) -> int:
        """``RmiInterfaceVersion`` (B4.4.9)."""
        major, minor = self.value
        return major << 16 | minor


def revision_code(major: int, minor: int) -> int:
    """``RmiInterfaceVersion`` of a revision that need not be a known one."""
    return major << 16 | minor


def negotiate(supported: tuple[tuple[int, int], ...], requested: int) -> tuple[bool, int, int]:
    """(compatible, lower, higher) for a requested revision.  Source: B4.3.23 and B5.3.10, cases a, b and c.

    A supported revision x.y is compatible with a request x.z if z is not above y.
    """
    major, minor = requested >> 16 & 0x7FFF, requested & 0xFFFF
    higher = max(supported)
    if any(have[0] == major and minor <= have[1] for have in supported):
        return True, revision_code(major, minor), revision_code(*higher)
    below = [have for have in supported if have < (major, minor)]
    return False, revision_code(*(max(below) if below else higher)), revision_code(*higher)


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """An implementation: what RMI_FEATURES reports, and what the platform below it is.

    ``delegable``: whether a granule-aligned physical address is delegable memory (``PaIsDelegable``, B3.25).
    ``rec_aux_count``: auxiliary granules of every REC.  ``stride``: address bits that one RTT level resolves; the
    specification's value is 9, and a smaller one makes a small model for exhaustive exploration.  ``min_ipa_width``
    cannot be discovered by the Host.  ``max_start_rtts``: how many starting level RTTs may be concatenated.
    ``priority_res0``: bits of a List Register's priority that the GIC does not implement.
    """

    revision: Revision = Revision.V1_0
    supported: tuple[tuple[int, int], ...] = ((1, 0),)
    rsi_supported: tuple[tuple[int, int], ...] = ((1, 0),)
    measurement: Generation = MEASURE_1_0
    delegable: Callable[[int], bool]
    max_ipa_width: int = 48
    min_ipa_width: int = 32
    feat_lpa2: bool = False
    feat_sve: bool = True
    max_sve_vl: int = 15
    num_bps: int = 5
    num_wps: int = 3
    feat_pmu: bool = True
    pmu_num_ctrs: int = 6
    feat_sha_256: bool = True
    feat_sha_512: bool = True
    gicv3_num_lrs: int = 15
    max_recs_order: int = 9
    rec_aux_count: int = 16
    vmid_bits: int = 16
    stride: int = 9
    max_start_rtts: int = 16
    priority_res0: int = 0x07

    @property
    def feature_register_0(self) -> int:
        """``RmiFeatureRegister0`` (B4.4.6)."""
        fields = (
            (self.max_ipa_width, 0),
            (self.feat_lpa2, 8),
            (self.feat_sve, 9),
            (self.max_sve_vl, 10),
            (self.num_bps, 14),
            (self.num_wps, 20),
            (self.feat_pmu, 26),
            (self.pmu_num_ctrs, 27),
            (self.feat_sha_256, 32),
            (self.feat_sha_512, 33),
            (self.gicv3_num_lrs, 34),
            (self.max_recs_order, 38),
        )
        return sum(int(value) << shift for value, shift in fields)


def with_feature_register_0(parameters: Parameters, value: int) -> Parameters:
    """``parameters`` with everything that a value of feature register 0 states."""

    def field(shift: int, width: int) -> int:
        return value >> shift & ((1 << width) - 1)

    return replace(
        parameters,
        max_ipa_width=field(0, 8),
        feat_lpa2=bool(field(8, 1)),
        feat_sve=bool(field(9, 1)),
        max_sve_vl=field(10, 4),
        num_bps=field(14, 6),
        num_wps=field(20, 6),
        feat_pmu=bool(field(26, 1)),
        pmu_num_ctrs=field(27, 5),
        feat_sha_256=bool(field(32, 1)),
        feat_sha_512=bool(field(33, 1)),
        gicv3_num_lrs=field(34, 4),
        max_recs_order=field(38, 4),
    )


RMI_1_0: frozenset[str] = frozenset(
    {
        "RMI_VERSION",
        "RMI_GRANULE_DELEGATE",
        "RMI_GRANULE_UNDELEGATE",
        "RMI_DATA_CREATE",
        "RMI_DATA_CREATE_UNKNOWN",
        "RMI_DATA_DESTROY",
        "RMI_REALM_ACTIVATE",
        "RMI_REALM_CREATE",
        "RMI_REALM_DESTROY",
        "RMI_REC_CREATE",
        "RMI_REC_DESTROY",
        "RMI_REC_ENTER",
        "RMI_RTT_CREATE",
        "RMI_RTT_DESTROY",
        "RMI_RTT_MAP_UNPROTECTED",
        "RMI_RTT_READ_ENTRY",
        "RMI_RTT_UNMAP_UNPROTECTED",
        "RMI_PSCI_COMPLETE",
        "RMI_FEATURES",
        "RMI_RTT_FOLD",
        "RMI_REC_AUX_COUNT",
        "RMI_RTT_INIT_RIPAS",
        "RMI_RTT_SET_RIPAS",
    }
)
_ADDED_1_1 = {
    "RMI_RTT_AUX_CREATE",
    "RMI_RTT_AUX_DESTROY",
    "RMI_RTT_SET_S2AP",
    "RMI_MEC_SET_SHARED",
    "RMI_MEC_SET_PRIVATE",
}
_DROPPED_2_0 = {
    "RMI_GRANULE_DELEGATE",
    "RMI_GRANULE_UNDELEGATE",
    "RMI_DATA_CREATE",
    "RMI_DATA_CREATE_UNKNOWN",
    "RMI_DATA_DESTROY",
    "RMI_RTT_MAP_UNPROTECTED",
    "RMI_RTT_UNMAP_UNPROTECTED",
    "RMI_REC_AUX_COUNT",
}
_ADDED_2_0 = {"RMI_GRANULE_RANGE_DELEGATE", "RMI_GRANULE_RANGE_UNDELEGATE", "RMI_RTT_DATA_MAP_INIT", "RMI_OP_CONTINUE"}

COMMANDS_OF: dict[Revision, frozenset[str]] = {
    Revision.V1_0: RMI_1_0,
    Revision.V1_1: RMI_1_0 | _ADDED_1_1,
    Revision.V2_0: (RMI_1_0 - _DROPPED_2_0) | _ADDED_2_0,
}
"""RMI commands by revision, as far as they matter here: the base, and what the later drafts drop and add to it."""
