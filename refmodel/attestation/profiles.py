"""Profiles of platform and realm tokens and how they go together, as tables.

A profile says which claims a token has.  A combination says which wrapper, platform profile and realm profile belong
together; firmware that is known to mix them is a combination with a name and a note.

Sources: DEN0137 1.0-rel0 A7.2.3; DEN0137 2.0 (draft) A7.2.3; draft-ffm-rats-cca-token-04 section 4.3.3 (profile
values and their binding) and the compatibility lines of each claim; the two legacy profiles: what was written before
1.0-rel0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from refmodel.attestation import claims as c
from refmodel.attestation.claims import Claim
from refmodel.attestation.headers import HEADERS_1, HEADERS_2, HeaderTable

TAG_1_0: Final = 399
TAG_2_0: Final = 907

LEGACY_PLATFORM: Final = "http://arm.com/CCA-SSD/1.0.0"
PLATFORM_1_0: Final = "tag:arm.com,2023:cca_platform#1.0.0"
PLATFORM_2024: Final = "tag:arm.com,2024:cca_platform#2.0.0"
PLATFORM_2026: Final = "tag:arm.com,2026:cca_platform#2.0.0"
PLATFORM_2026_1: Final = "tag:arm.com,2026:cca_platform#2.1.0"
LEGACY_REALM: Final = ""
"""The realm token has no profile claim."""
REALM_1_0: Final = "tag:arm.com,2023:realm#1.0.0"
REALM_2024: Final = "tag:arm.com,2024:realm#2.0.0"
REALM_2026: Final = "tag:arm.com,2026:realm#2.0.0"


class KeyForm(Enum):
    """How the realm public key claim holds the key."""

    RAW_POINT = "uncompressed SEC 1 point"
    COSE_KEY = "COSE_Key"


class Binding(Enum):
    """Which platform claim holds the hash of the RAK.

    ``EITHER``: draft-ffm-rats-cca-token-04 names the nonce in section 4.3.3 and forbids it in 4.3.3.10, and its CDDL
    makes the workload binding mandatory; one of the two, and only one, must be there.
    """

    CHALLENGE = "challenge"
    WORKLOAD = "workload binding"
    EITHER = "workload binding or challenge"

    @property
    def labels(self) -> tuple[int, ...]:
        """The claims that may bind, the expected one first."""
        return {
            Binding.CHALLENGE: (c.CHALLENGE,),
            Binding.WORKLOAD: (c.WORKLOAD_BINDING,),
            Binding.EITHER: (c.WORKLOAD_BINDING, c.CHALLENGE),
        }[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class RealmProfile:
    """A realm profile: its value, claims, and the forms its key may have."""

    value: str
    mandatory: frozenset[int]
    optional: frozenset[int]
    keys: frozenset[KeyForm] = frozenset({KeyForm.COSE_KEY})
    claims: Mapping[int, Claim] = field(default_factory=lambda: c.REALM_CLAIMS)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformProfile:
    """A platform profile: its value, claims and binding.

    ``repeats_challenge``: the claim 10 repeats the realm's challenge (the RAK never leaves the HES).
    ``supported``: False for values whose attestation model is known and is not judged here.
    """

    value: str
    mandatory: frozenset[int]
    optional: frozenset[int]
    binding: Binding = Binding.CHALLENGE
    claims: Mapping[int, Claim] = field(default_factory=lambda: c.PLATFORM_CLAIMS)
    repeats_challenge: bool = False
    supported: bool = True


_REALM_1 = frozenset({c.CHALLENGE, c.RPV, c.REALM_HASH, c.RAK, c.RIM, c.REM, c.RAK_HASH})
_REALM_2 = _REALM_1 | {c.INSTANCE_ID, c.MEC_POLICY}
_REALM_2_OPTIONAL = frozenset({c.PROFILE, c.LFA_POLICY, c.DEVICES_HASH})

REALM_PROFILES: Final = {
    made.value: made
    for made in (
        RealmProfile(value=LEGACY_REALM, mandatory=_REALM_1, optional=frozenset(), keys=frozenset(KeyForm)),
        RealmProfile(value=REALM_1_0, mandatory=_REALM_1 | {c.PROFILE}, optional=frozenset()),
        RealmProfile(value=REALM_2024, mandatory=_REALM_2, optional=_REALM_2_OPTIONAL),
        RealmProfile(value=REALM_2026, mandatory=_REALM_2, optional=_REALM_2_OPTIONAL),
    )
}

_PLATFORM_1 = frozenset(
    {c.PROFILE, c.IMPLEMENTATION_ID, c.INSTANCE_ID, c.CONFIG, c.LIFECYCLE, c.SW_COMPONENTS, c.PLATFORM_HASH}
)
_PLATFORM_1_OPTIONAL = frozenset({c.VERIFICATION_SERVICE, c.MANUFACTURING_CONFIG})
_PLATFORM_2 = _PLATFORM_1 | {c.CLIENT_ID}
_PLATFORM_2_OPTIONAL = _PLATFORM_1_OPTIONAL | {c.EXTENSION, c.TBB_ROTPK, c.PEER_SIGNERS, c.TPM_BINDING}
_CLAIMS_1 = {**c.PLATFORM_CLAIMS, c.SW_COMPONENTS: c.SW_COMPONENTS_1}
_BINDINGS = frozenset({c.CHALLENGE, c.WORKLOAD_BINDING})


def _platform_2026(value: str) -> tuple[PlatformProfile, ...]:
    """A value of 2026 and its variants.

    ``#delegated`` is how drafts of DEN0137 2.0 write what draft-ffm-rats-cca-token-04 writes ``;delegated``.
    """
    default = [
        PlatformProfile(
            value=name, mandatory=_PLATFORM_2, optional=_PLATFORM_2_OPTIONAL | _BINDINGS, binding=Binding.EITHER
        )
        for name in (value, f"{value};delegated", f"{value}#delegated")
    ]
    hesrak = PlatformProfile(
        value=f"{value};HESRAK",
        mandatory=_PLATFORM_2 | _BINDINGS,
        optional=_PLATFORM_2_OPTIONAL,
        binding=Binding.WORKLOAD,
        repeats_challenge=True,
    )
    direct = PlatformProfile(
        value=f"{value};direct", mandatory=_PLATFORM_2, optional=_PLATFORM_2_OPTIONAL | _BINDINGS, supported=False
    )
    return *default, hesrak, direct


PLATFORM_PROFILES: Final = {
    made.value: made
    for made in (
        *(
            PlatformProfile(
                value=value,
                mandatory=_PLATFORM_1 | {c.CHALLENGE},
                optional=_PLATFORM_1_OPTIONAL,
                claims=_CLAIMS_1,
            )
            for value in (LEGACY_PLATFORM, PLATFORM_1_0)
        ),
        PlatformProfile(value=PLATFORM_2024, mandatory=_PLATFORM_2 | {c.CHALLENGE}, optional=_PLATFORM_2_OPTIONAL),
        PlatformProfile(
            value=f"{PLATFORM_2024};direct",
            mandatory=_PLATFORM_2 | {c.CHALLENGE},
            optional=_PLATFORM_2_OPTIONAL,
            supported=False,
        ),
        *_platform_2026(PLATFORM_2026),
        *_platform_2026(PLATFORM_2026_1),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Combination:
    """Wrapper, platform profiles and realm profiles that belong together.

    ``realm_rules``: the profile whose rules hold for the realm token.  ``extra``: realm claims that this firmware
    always adds and its profile does not have.  ``headers``: what both envelopes' headers may hold.  ``note`` is empty
    for what a specification defines, else says who does so.
    """

    name: str
    tag: int
    platforms: frozenset[str]
    realm: str
    realm_rules: str
    keys: frozenset[KeyForm] = frozenset(KeyForm)
    extra: tuple[Claim, ...] = ()
    headers: HeaderTable = HEADERS_1
    note: str = ""

    @property
    def extra_labels(self) -> frozenset[int]:
        """The labels of ``extra``."""
        return frozenset(claim.label for claim in self.extra)


_ALL_2026 = frozenset(value for value in PLATFORM_PROFILES if ",2026:" in value)
_RAW, _COSE = frozenset({KeyForm.RAW_POINT}), frozenset({KeyForm.COSE_KEY})

COMBINATIONS: Final = (
    Combination(
        name="RMM 1.0", tag=TAG_1_0, platforms=frozenset({PLATFORM_1_0}), realm=REALM_1_0, realm_rules=REALM_1_0
    ),
    Combination(
        name="RMM 1.0 without realm profile",
        tag=TAG_1_0,
        platforms=frozenset({PLATFORM_1_0}),
        realm=LEGACY_REALM,
        realm_rules=LEGACY_REALM,
        keys=_COSE,
    ),
    Combination(
        name="legacy",
        tag=TAG_1_0,
        platforms=frozenset({LEGACY_PLATFORM}),
        realm=LEGACY_REALM,
        realm_rules=LEGACY_REALM,
        keys=_RAW,
    ),
    *(
        Combination(name=name, tag=TAG_2_0, platforms=platforms, realm=realm, realm_rules=rules, headers=HEADERS_2)
        for name, platforms, rules in (
            ("RMM 2.0, profiles of 2024", frozenset({PLATFORM_2024}), REALM_2024),
            ("RMM 2.0, profiles of 2026", _ALL_2026, REALM_2026),
        )
        for realm in (rules, LEGACY_REALM)
    ),
    Combination(
        name="TF-RMM 0.9",
        tag=TAG_2_0,
        platforms=frozenset({PLATFORM_1_0}),
        realm=REALM_1_0,
        realm_rules=REALM_1_0,
        extra=(c.MEC_POLICY_EITHER,),
        note="TF-RMM 0.9 wraps tokens of the 1.0 profiles as 2.0 does and adds the MEC policy claim",
    ),
    Combination(
        name="TF-RMM 0.8",
        tag=TAG_1_0,
        platforms=frozenset({PLATFORM_1_0}),
        realm=REALM_1_0,
        realm_rules=REALM_1_0,
        extra=(c.MEC_POLICY_TEXT,),
        note="TF-RMM 0.8 adds the MEC policy claim, as a text, to tokens of the 1.0 profiles",
    ),
    Combination(
        name="TF-RMM after 0.9, on a 1.0 platform token",
        tag=TAG_2_0,
        platforms=frozenset({PLATFORM_1_0}),
        realm=REALM_2024,
        realm_rules=REALM_2024,
        note="TF-RMM has gone to the realm profile of 2.0, TF-A's sample platform token has not",
    ),
    Combination(
        name="TF-RMM before the realm profile, on a 1.0 platform token",
        tag=TAG_1_0,
        platforms=frozenset({PLATFORM_1_0}),
        realm=LEGACY_REALM,
        realm_rules=LEGACY_REALM,
        keys=_RAW,
        note="a realm token without profile has the key as a raw point, as the legacy profile did",
    ),
)
"""What is accepted: first what specifications define, then firmware by name."""


def candidates(
    tag: int | None, platform: str, realm: str, labels: frozenset[int] = frozenset()
) -> tuple[Combination, ...]:
    """The combinations that a token's tag, profile values and realm claims fit; the form of the key may still decide.

    Where the claims that a firmware adds are there, it is that firmware.
    """
    fitting = [
        made
        for made in COMBINATIONS
        if made.tag == tag and platform in made.platforms and made.realm == realm and made.extra_labels <= labels
    ]
    firmware = [made for made in fitting if made.extra]
    return tuple(firmware or fitting)


def nearest(platform: str, realm: str) -> Combination | None:
    """A combination to judge a token by that fits none: by its realm profile, else by its platform profile."""
    specified = [made for made in COMBINATIONS if not made.note]
    by_realm = [made for made in specified if realm and made.realm == realm]
    by_platform = [made for made in specified if platform in made.platforms]
    return next(iter(by_realm + by_platform), None)
