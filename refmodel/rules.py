"""The rules that the model fires: a closed list of identifiers; their texts are in ``suites/rules/*.toml``.

An identifier of our own (``GPC-010``) names a rule whose number in the document is not known; the catalogue cites the
section or the pseudocode function.  A linter holds this list and the catalogue against each other.
"""

from __future__ import annotations

from enum import Enum


class Rule(Enum):
    """Rules of the granule protection check for base FEAT_RME, seen from EL3."""

    # Members are singletons: the identity hash serves, and counting by rule is in every judged probe's way.
    __hash__ = object.__hash__

    DISABLED = "GPC-001"
    PPS_RESERVED = "GPC-002"
    PGS_RESERVED = "GPC-003"
    SH_RESERVED = "GPC-004"
    NC_NEEDS_OUTER = "GPC-005"
    ABOVE_PPS_NON_SECURE = "GPC-006"
    ABOVE_PPS_FAULT = "GPC-007"
    GPTBR_ABOVE_PPS = "GPC-008"
    GPTBR_ALIGNMENT = "GPC-009"
    L0_INDEX = "GPC-010"
    L0_INVALID = "GPC-011"
    L0_BLOCK_RESERVED = "GPC-012"
    L0_BLOCK_GPI_RESERVED = "GPC-013"
    L0_BLOCK = "GPC-014"
    L0_TABLE_RESERVED = "GPC-015"
    L0_TABLE_ALIGNMENT = "GPC-016"
    L0_TABLE_ABOVE_PPS = "GPC-017"
    L0_EXTERNAL_ABORT = "GPC-018"
    L1_GRANULES = "GPC-020"
    L1_GRANULES_GPI_RESERVED = "GPC-021"
    L1_CONTIGUOUS_RESERVED = "GPC-022"
    L1_CONTIGUOUS_SIZE_RESERVED = "GPC-023"
    L1_CONTIGUOUS_GPI_RESERVED = "GPC-024"
    L1_CONTIGUOUS = "GPC-025"
    L1_EXTERNAL_ABORT = "GPC-026"
    L1_GRANULES_OTHER_GPI_RESERVED = "GPC-027"
    GPI_NO_ACCESS = "GPC-030"
    GPI_SECURE = "GPC-031"
    GPI_NON_SECURE = "GPC-032"
    GPI_ROOT = "GPC-033"
    GPI_REALM = "GPC-034"
    GPI_ANY = "GPC-035"
    GPF_AT_EL3 = "GPC-040"
    GPT_FAULT_IS_GPC_EXCEPTION = "GPC-041"
    GPCSC = "GPC-042"
    MFAR = "GPC-043"
    FAR = "GPC-044"
    ISS = "GPC-045"
    DENIED_STORE_NO_EFFECT = "GPC-050"
    PERMITTED_ACCESS_EFFECT = "GPC-051"
    INVALIDATED = "GPC-052"
    CACHED = "GPC-053"
    S1_WALK_CHECKED = "GPC-054"
    ROOT_EXECUTE_NEVER = "GPC-060"
    AVAILABILITY = "GPC-080"
