"""Stage 1 of the regimes below EL3, with tables laid out by hand: spaces, levels, permissions, MMU off.

DDI 0487, AArch64_S1Walk, AArch64_S1Translate, AArch64_S1DisabledOutput, AArch64_S1NextWalkStateTable,
AArch64_S1NextWalkStateLeaf, AArch64_S1DirectBasePermissions.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import pytest

from refmodel.access import Access, PermittedOutcomes, PEState, access_at
from refmodel.choices import Chooser
from refmodel.context import PEContext, Regime
from refmodel.features import Features
from refmodel.gpt.cache import PossibleGPT
from refmodel.memory import Memory
from refmodel.outcomes import AccessPerformed, ExceptionTaken, Outcome
from refmodel.pas import EL, PASpace, SecurityState
from refmodel.rules import Rule
from refmodel.sysregs import (
    HCR_EL2,
    SCTLR_EL1,
    SCTLR_EL2,
    TCR_EL1,
    TCR_EL2,
    TCR_EL2_E2H,
    TCR_EL3,
    TTBR0_EL1,
    TTBR0_EL2,
    TTBR0_EL3,
    TTBR1_EL1,
    TTBR1_EL2,
)
from refmodel.tests.worlds import context, esr, gpt_of, put64, ram
from refmodel.translation.el3 import EL3Regime
from refmodel.translation.regimes import EL2Regime, EL10Regime, EL20Regime, Stage1

S, NS, REALM = SecurityState.SS_Secure, SecurityState.SS_NonSecure, SecurityState.SS_Realm
EL0, EL1, EL2, EL3 = EL
SECURE_ONLY, NS_ONLY, REALM_ONLY, ANY, NO_ACCESS = 0b1000, 0b1001, 0b1011, 0b1111, 0b0000
OWN = {S: SECURE_ONLY, NS: NS_ONLY, REALM: REALM_ONLY}

L0, L1, L2, L3 = 0x4000_0000, 0x4000_1000, 0x4000_2000, 0x4000_3000
PAGE = 0x5000_0000
VA = 1 << 39 | 2 << 30 | 3 << 21 | 4 << 12 | 0x568
"""Index 1 at level 0, 2 at level 1, 3 at level 2, 4 at level 3."""
AF, TABLE = 1 << 10, 0b11
NS_BIT, UXN, PXN, XN = 1 << 5, 1 << 54, 1 << 53, 1 << 54
EL0_MAY, READ_ONLY = 1 << 6, 1 << 7
EL3_REGIME = EL3Regime(TTBR0_EL3(), TCR_EL3.of(T0SZ=16))


def tables(leaf: int = PAGE | AF | TABLE, upper: int = 0, *, size: int = 1 << 56) -> Memory:
    """Four levels of tables that lead VA to ``leaf``; ``upper`` is added to each Table descriptor.

    RAM ends at ``size``.
    """
    memory = ram(size)
    put64(memory, L0 + 8 * 1, L1 | TABLE | upper)
    put64(memory, L1 + 8 * 2, L2 | TABLE | upper)
    put64(memory, L2 + 8 * 3, L3 | TABLE | upper)
    put64(memory, L3 + 8 * 4, leaf)
    return memory


def regime_of(
    regime: Regime, *, enabled: int = 1, sctlr: Mapping[str, int] = MappingProxyType({}), **tcr: int
) -> Stage1:
    """A regime whose lower VA range is 48 bits wide and walks from L0; ``tcr`` changes fields of TCR_ELx."""
    control = {"M": enabled, **sctlr}
    if regime is Regime.Regime_EL2:
        return EL2Regime(TTBR0_EL2(L0), TCR_EL2.of(**{"T0SZ": 16, "PS": 5, **tcr}), SCTLR_EL2.of(**control))
    two = {"T0SZ": 16, "IPS": 5, "T1SZ": 16, "TG1": 0b10, **tcr}
    if regime is Regime.Regime_EL20:
        return EL20Regime(TTBR0_EL2(L0), TTBR1_EL2(L0), TCR_EL2_E2H.of(**two), SCTLR_EL2.of(**control))
    return EL10Regime(TTBR0_EL1(L0), TTBR1_EL1(L0), TCR_EL1.of(**two), SCTLR_EL1.of(**control))


def run(
    memory: Memory,
    pe: PEContext,
    gpis: Mapping[int, int],
    *,
    kind: str = "load",
    va: int = VA,
    stage1: Stage1 | None = None,
) -> Outcome:
    """One access with nothing cached."""
    regime = pe.TranslationRegime(access_at(kind, pe).el)
    state = PEState(EL3_REGIME, memory, pe, {regime: stage1 or regime_of(regime)})
    return Access(state, gpt_of(memory, gpis, pe.features), va, access_at(kind, pe), Chooser())


ALL_TABLES = (L0, L1, L2, L3)
REGIMES = [
    (EL2, {}, Regime.Regime_EL2),
    (EL2, {"E2H": 1}, Regime.Regime_EL20),
    (EL1, {}, Regime.Regime_EL10),
    (EL0, {}, Regime.Regime_EL10),
    (EL0, {"E2H": 1, "TGE": 1}, Regime.Regime_EL20),
]


def leaf_for(el: EL) -> int:
    return PAGE | AF | TABLE | (EL0_MAY if el is EL0 else 0)


@pytest.mark.parametrize("ss", [S, NS, REALM])
@pytest.mark.parametrize(("el", "hcr", "regime"), REGIMES)
def test_tables_are_fetched_in_the_state_s_own_space(
    ss: SecurityState, el: EL, hcr: dict[str, int], regime: Regime
) -> None:
    """Every table in a granule of the walking state's own space, the page too: nothing faults."""
    pe = context(el, ss, hcr=HCR_EL2.of(**hcr))
    # NS of the leaf stays 0: Secure, Realm, and in Non-secure state it is ignored.
    memory = tables(leaf_for(el))
    own = dict.fromkeys((*ALL_TABLES, PAGE), OWN[ss])
    assert pe.TranslationRegime(el) is regime
    assert run(memory, pe, own) == AccessPerformed()


@pytest.mark.parametrize("ss", [S, NS, REALM])
@pytest.mark.parametrize(("level", "table"), list(enumerate(ALL_TABLES)))
@pytest.mark.parametrize(("el", "hcr", "regime"), REGIMES)
def test_a_denied_table_faults_at_its_level(
    ss: SecurityState, level: int, table: int, el: EL, hcr: dict[str, int], regime: Regime
) -> None:
    pe = context(el, ss, hcr=HCR_EL2.of(**hcr), scr={"GPF": 1})
    foreign = REALM_ONLY if ss is not REALM else SECURE_ONLY
    taken = run(tables(leaf_for(el)), pe, {table: foreign}, kind="store")
    assert esr(taken) == (EL3, 0x1E, 0b001101 << 14 | 1 << 6 | 0x24 | level)
    assert isinstance(taken, ExceptionTaken)
    top = {S: 0b00, NS: 0b10, REALM: 0b11}[ss]
    index = (1, 2, 3, 4)[level]
    assert taken.mfar == top << 62 | table
    assert taken.far == VA
    assert index < 512
    below = context(el, ss, hcr=HCR_EL2.of(**hcr))
    target = EL2 if el is EL2 or hcr.get("TGE") else EL1
    assert esr(run(tables(leaf_for(el)), below, {table: foreign}))[::2] == (target, 0x24 | level)


@pytest.mark.parametrize(
    ("ss", "el", "hcr", "ns", "space"),
    [
        (S, EL2, {}, 0, PASpace.PAS_Secure),
        (S, EL2, {}, 1, PASpace.PAS_NonSecure),
        (S, EL1, {}, 1, PASpace.PAS_NonSecure),
        (S, EL1, {}, 0, PASpace.PAS_Secure),
        (NS, EL2, {}, 0, PASpace.PAS_NonSecure),
        (NS, EL1, {}, 1, PASpace.PAS_NonSecure),
        (REALM, EL2, {}, 0, PASpace.PAS_Realm),
        (REALM, EL2, {}, 1, PASpace.PAS_NonSecure),
        (REALM, EL2, {"E2H": 1}, 1, PASpace.PAS_NonSecure),
        (REALM, EL1, {}, 0, PASpace.PAS_Realm),
        (REALM, EL1, {}, 1, PASpace.PAS_Realm),
    ],
)
def test_output_space(ss: SecurityState, el: EL, hcr: dict[str, int], ns: int, space: PASpace) -> None:
    """Seen in MFAR_EL3 of an access to a granule that admits nobody.  Realm EL1 cannot leave the Realm space."""
    pe = context(el, ss, hcr=HCR_EL2.of(**hcr), scr={"GPF": 1})
    taken = run(tables(PAGE | AF | TABLE | (NS_BIT if ns else 0)), pe, {PAGE: NO_ACCESS})
    assert isinstance(taken, ExceptionTaken)
    assert taken.mfar == (space.value & 1) << 63 | (space.value >> 1) << 62 | PAGE
    assert esr(taken)[2] & 0x3F == 0x28


def test_nstable_leads_out_of_the_secure_space_for_good() -> None:
    """The tables below are Non-secure, and NS = 0 in the leaf does not lead back."""
    pe = context(EL2, S, scr={"GPF": 1})
    memory = tables()
    put64(memory, L1 + 8 * 2, L2 | TABLE | 1 << 63)
    granules = {L0: SECURE_ONLY, L1: SECURE_ONLY, L2: NS_ONLY, L3: NS_ONLY, PAGE: NS_ONLY}
    assert run(memory, pe, granules) == AccessPerformed()
    realm = context(EL2, REALM, scr={"GPF": 1})
    granules = {**dict.fromkeys(ALL_TABLES, REALM_ONLY), PAGE: REALM_ONLY}
    assert run(memory, realm, granules) == AccessPerformed(), "NSTable is for the Secure space only"


@pytest.mark.parametrize(
    ("ss", "el", "leaf", "scr", "rule"),
    [
        (S, EL2, NS_BIT, {"SIF": 1}, Rule.FOREIGN_EXECUTE_NEVER),
        (S, EL2, NS_BIT, {}, None),
        (S, EL2, 0, {"SIF": 1}, None),
        (REALM, EL2, NS_BIT, {}, Rule.FOREIGN_EXECUTE_NEVER),
        (REALM, EL2, 0, {}, None),
        (NS, EL2, 0, {}, None),
    ],
)
def test_foreign_spaces_are_execute_never(
    ss: SecurityState, el: EL, leaf: int, scr: dict[str, int], rule: Rule | None
) -> None:
    pe = context(el, ss, scr=scr)
    memory = tables(PAGE | AF | TABLE | leaf)
    state = PEState(EL3_REGIME, memory, pe, {Regime.Regime_EL2: regime_of(Regime.Regime_EL2)})
    permitted = PermittedOutcomes(state, gpt_of(memory, {}), VA, access_at("fetch", pe)).alternatives
    assert len(permitted) == 1
    if rule is None:
        assert permitted[0].outcome == AccessPerformed()
    else:
        assert esr(permitted[0].outcome) == (el, 0x21, 0x0F), "permission fault, level 3"
        assert rule in permitted[0].rules


@pytest.mark.parametrize("ss", [S, NS, REALM])
@pytest.mark.parametrize(("el", "hcr", "regime"), REGIMES)
def test_mmu_off_is_flat_in_the_state_s_own_space(
    ss: SecurityState, el: EL, hcr: dict[str, int], regime: Regime
) -> None:
    pe = context(el, ss, hcr=HCR_EL2.of(**hcr), scr={"GPF": 1})
    off = regime_of(regime, enabled=0)
    assert run(ram(), pe, {PAGE: OWN[ss]}, va=PAGE + 8, stage1=off) == AccessPerformed()
    taken = run(ram(), pe, {PAGE: NO_ACCESS}, va=PAGE + 8, stage1=off)
    assert isinstance(taken, ExceptionTaken)
    assert taken.mfar == {S: 0b00, NS: 0b10, REALM: 0b11}[ss] << 62 | PAGE
    assert taken.far == PAGE + 8
    beyond = run(ram(), pe, {}, va=1 << 48, stage1=off)
    assert esr(beyond)[2] == 0x00, "address size fault, level 0"


def test_tge_turns_stage_1_of_el1_off() -> None:
    pe = context(EL0, NS, hcr=HCR_EL2.of(TGE=1), scr={"GPF": 1})
    assert pe.TranslationRegime(EL0) is Regime.Regime_EL10
    taken = run(tables(), pe, {PAGE: NO_ACCESS}, va=PAGE)
    assert isinstance(taken, ExceptionTaken)
    assert taken.mfar == 0b10 << 62 | PAGE


@pytest.mark.parametrize(
    ("level", "block", "pa"), [(1, 0x1_4000_0000, 0x1_4060_4568), (2, 0x5_0020_0000, 0x5_0020_4568)]
)
def test_blocks(level: int, block: int, pa: int) -> None:
    """A 1 GB and a 2 MB block: the lower bits come from the address."""
    memory = tables()
    put64(memory, (L1 + 8 * 2) if level == 1 else (L2 + 8 * 3), block | AF | 0b01)
    pe = context(EL2, NS, scr={"GPF": 1})
    taken = run(memory, pe, {pa & ~0xFFF: NO_ACCESS})
    assert isinstance(taken, ExceptionTaken)
    assert taken.mfar == 0b10 << 62 | pa & ~0xFFF


@pytest.mark.parametrize(("level", "entry"), [(0, L0 + 8), (1, L1 + 16), (2, L2 + 24), (3, L3 + 32)])
@pytest.mark.parametrize("descriptor", [0, 0b10, PAGE | AF | 0b01])
def test_invalid_descriptors(level: int, entry: int, descriptor: int) -> None:
    memory = tables()
    put64(memory, entry, descriptor)
    outcome = run(memory, context(EL2, NS), {})
    if descriptor & 3 == 1 and level in (1, 2):
        assert outcome == AccessPerformed()
    else:
        assert esr(outcome) == (EL2, 0x25, 0x04 | level)


def test_level_minus_1() -> None:
    """52-bit input addresses with DS: a fifth level, faults of which have codes of their own."""
    memory = tables()
    top = 0x4000_4000
    put64(memory, top + 8 * 5, L0 | TABLE)
    features = Features(lpa2=True, pamax=52)
    pe = context(EL2, NS, features=features, scr={"GPF": 1})
    wide = EL2Regime(TTBR0_EL2(top), TCR_EL2.of(T0SZ=12, PS=6, DS=1), SCTLR_EL2.of(M=1))
    va = 5 << 48 | VA
    assert run(memory, pe, {}, va=va, stage1=wide) == AccessPerformed()
    assert esr(run(memory, pe, {top: NO_ACCESS}, va=va, stage1=wide)) == (EL3, 0x1E, 0b001101 << 14 | 0x23)
    assert esr(run(memory, pe, {}, va=6 << 48, stage1=wide)) == (EL2, 0x25, 0x2B)


@pytest.mark.parametrize(
    ("va", "fsc"),
    [
        (1 << 48 | VA, 0x04),
        (0xFFFF << 48 | VA, 0x04),
        (1 << 63 | VA, 0x04),
    ],
)
def test_addresses_out_of_range(va: int, fsc: int) -> None:
    assert esr(run(tables(), context(EL2, NS), {}, va=va)) == (EL2, 0x25, fsc)


def test_upper_range() -> None:
    pe = context(EL1, NS)
    upper = 0xFFFF << 48 | VA
    assert run(tables(), pe, {}, va=upper) == AccessPerformed()
    assert esr(run(tables(), pe, {}, va=0xFFFE << 48 | VA)) == (EL1, 0x25, 0x04)
    disabled = regime_of(Regime.Regime_EL10, EPD1=1)
    assert esr(run(tables(), pe, {}, va=upper, stage1=disabled)) == (EL1, 0x25, 0x04)
    assert run(tables(), pe, {}, stage1=disabled) == AccessPerformed()


def test_top_byte_ignore() -> None:
    pe = context(EL1, NS)
    tagged = 0xA5 << 56 | VA
    assert esr(run(tables(), pe, {}, va=tagged)) == (EL1, 0x25, 0x04)
    ignored = regime_of(Regime.Regime_EL10, TBI0=1)
    assert run(tables(), pe, {}, va=tagged, stage1=ignored) == AccessPerformed()
    data_only = regime_of(Regime.Regime_EL10, TBI0=1, TBID0=1)
    assert run(tables(), pe, {}, va=tagged, stage1=data_only) == AccessPerformed()
    assert esr(run(tables(), pe, {}, va=tagged, stage1=data_only, kind="fetch")) == (EL1, 0x21, 0x04)


PERMISSIONS = [
    # leaf, tables, EL, what is allowed
    (0, 0, EL1, "load store fetch"),
    (READ_ONLY, 0, EL1, "load fetch"),
    (EL0_MAY, 0, EL1, "load store"),
    (EL0_MAY | READ_ONLY, 0, EL1, "load fetch"),
    (PXN, 0, EL1, "load store"),
    (UXN, 0, EL1, "load store fetch"),
    (0, 1 << 62, EL1, "load fetch"),
    (0, 1 << 59, EL1, "load store"),
    (0, 0, EL0, "fetch"),
    (EL0_MAY, 0, EL0, "load store fetch"),
    (EL0_MAY | READ_ONLY, 0, EL0, "load fetch"),
    (EL0_MAY | UXN, 0, EL0, "load store"),
    (EL0_MAY, 1 << 61, EL0, "fetch"),
    (EL0_MAY, 1 << 62, EL0, "load fetch"),
    (EL0_MAY, 1 << 60, EL0, "load store"),
]


@pytest.mark.parametrize(("leaf", "upper", "el", "allowed"), PERMISSIONS)
@pytest.mark.parametrize("kind", ["load", "store", "fetch", "atomic"])
def test_permissions(leaf: int, upper: int, el: EL, allowed: str, kind: str) -> None:
    pe = context(el, NS)
    outcome = run(tables(PAGE | AF | TABLE | leaf, upper), pe, {}, kind=kind)
    wanted = ("load", "store") if kind == "atomic" else (kind,)
    if all(need in allowed for need in wanted):
        assert outcome == AccessPerformed()
        return
    # WnR of a denied atomic: 1 if reading would have been permitted.
    write = kind == "store" or (kind == "atomic" and "load" in allowed)
    base = 0x20 if kind == "fetch" else 0x24
    assert esr(outcome) == (EL1, base + (el is EL1), (1 << 6 if write else 0) | 0x0F)
    hpd = regime_of(Regime.Regime_EL10, HPD0=1)
    flat = run(tables(PAGE | AF | TABLE | leaf, upper), pe, {}, kind=kind, stage1=hpd)
    assert (flat == outcome) == (upper == 0), "hierarchical permissions disabled"


def test_el2_without_el0() -> None:
    """AP[1] is ignored; XN and XNTable deny execution, AP[2] and APTable[1] deny writing."""
    pe = context(EL2, NS)
    assert run(tables(PAGE | AF | TABLE | EL0_MAY), pe, {}, kind="fetch") == AccessPerformed()
    assert esr(run(tables(PAGE | AF | TABLE | XN), pe, {}, kind="fetch")) == (EL2, 0x21, 0x0F)
    assert esr(run(tables(upper=1 << 60), pe, {}, kind="fetch")) == (EL2, 0x21, 0x0F)
    assert esr(run(tables(upper=1 << 62), pe, {}, kind="store")) == (EL2, 0x25, 1 << 6 | 0x0F)
    assert run(tables(upper=1 << 61), pe, {}, kind="store") == AccessPerformed()


def test_wxn_and_pan() -> None:
    pe = context(EL1, NS)
    wxn = regime_of(Regime.Regime_EL10, sctlr={"WXN": 1})
    assert esr(run(tables(), pe, {}, kind="fetch", stage1=wxn)) == (EL1, 0x21, 0x0F)
    assert run(tables(PAGE | AF | TABLE | READ_ONLY), pe, {}, kind="fetch", stage1=wxn) == AccessPerformed()
    pan = context(EL1, NS, pan=1)
    user = PAGE | AF | TABLE | EL0_MAY
    assert esr(run(tables(user), pan, {})) == (EL1, 0x25, 0x0F)
    assert run(tables(user), pan, {}, kind="load-unprivileged") == AccessPerformed()
    assert run(tables(), pan, {}) == AccessPerformed()
    epan = regime_of(Regime.Regime_EL10, sctlr={"EPAN": 1})
    assert esr(run(tables(), pan, {}, stage1=epan)) == (EL1, 0x25, 0x0F), "EL0 may execute it"
    assert run(tables(PAGE | AF | TABLE | UXN), pan, {}, stage1=epan) == AccessPerformed()


def test_access_flag_and_output_size() -> None:
    pe = context(EL2, NS)
    assert esr(run(tables(PAGE | TABLE), pe, {})) == (EL2, 0x25, 0x0B)
    small = regime_of(Regime.Regime_EL2, PS=0)
    assert esr(run(tables(1 << 32 | AF | TABLE), pe, {}, stage1=small)) == (EL2, 0x25, 0x03)
    memory = tables()
    put64(memory, L1 + 8 * 2, 1 << 32 | TABLE)
    assert esr(run(memory, pe, {}, stage1=small)) == (EL2, 0x25, 0x01), "the level that names the table"
    far = EL2Regime(TTBR0_EL2(1 << 32), TCR_EL2.of(T0SZ=16), SCTLR_EL2.of(M=1))
    assert esr(run(memory, pe, {}, stage1=far)) == (EL2, 0x25, 0x00)


def test_e0pd() -> None:
    pe = context(EL0, NS)
    shut = regime_of(Regime.Regime_EL10, E0PD0=1)
    user = tables(PAGE | AF | TABLE | EL0_MAY)
    assert esr(run(user, pe, {}, stage1=shut)) == (EL1, 0x24, 0x04)
    assert run(user, context(EL1, NS), {}, stage1=shut) == AccessPerformed()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"TG0": 1}, "only the 4KB"),
        ({"HA": 1}, "hardware update"),
    ],
)
def test_what_is_not_modelled_is_refused(fields: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        stage1 = EL2Regime(TTBR0_EL2(L0), TCR_EL2.of(**{"T0SZ": 16, **fields}), SCTLR_EL2.of(M=1))
        run(tables(), context(EL2, NS), {}, stage1=stage1)


def test_registers_that_were_not_given() -> None:
    with pytest.raises(ValueError, match="no registers of stage 2 were given"):
        run(tables(), context(EL1, NS, hcr=HCR_EL2.of(VM=1)), {})
    missing = PEState(EL3_REGIME, ram(), context(EL1, NS))
    gpt: PossibleGPT = gpt_of(ram(), {})
    with pytest.raises(KeyError, match="EL1&0 regime"):
        Access(missing, gpt, VA, access_at("load", missing.context), Chooser())


@pytest.mark.parametrize(
    ("enabled", "granules", "rules"),
    [
        (1, {}, [Rule.WALK_SPACE, Rule.OUTPUT_SPACE]),
        (1, {PAGE: NO_ACCESS}, [Rule.WALK_SPACE, Rule.OUTPUT_SPACE]),
        (0, {}, [Rule.FLAT_MAP]),
        (1, {L2: NO_ACCESS}, [Rule.WALK_SPACE, Rule.S1_WALK_CHECKED]),
    ],
)
def test_rules_that_an_access_shows(enabled: int, granules: dict[int, int], rules: list[Rule]) -> None:
    """Which space it was shows in every outcome; that fetches are checked only where one is denied."""
    pe = context(EL2, REALM)
    memory = tables()
    state = PEState(EL3_REGIME, memory, pe, {Regime.Regime_EL2: regime_of(Regime.Regime_EL2, enabled=enabled)})
    va = VA if enabled else PAGE
    (only,) = PermittedOutcomes(state, gpt_of(memory, granules), va, access_at("load", pe)).alternatives
    about_walks = (Rule.WALK_SPACE, Rule.OUTPUT_SPACE, Rule.FLAT_MAP, Rule.S1_WALK_CHECKED)
    assert [rule for rule in only.rules if rule in about_walks] == rules
