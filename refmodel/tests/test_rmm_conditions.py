"""Every failure condition of every RMI command, met alone: the results are written here by hand from the specification.

Where the text permits two results the set has two.  Source: DEN0137 1.0-rel0, B4.3, tables of failure conditions.
"""

from __future__ import annotations

import pytest

from refmodel.rmm.cases import Case, failure_cases
from refmodel.rmm.scenario import UNPROTECTED
from refmodel.rmm.step import RMI_COMMANDS, context_of
from refmodel.tests.rmm_worlds import LAYOUT, ONE_REC, PARAMETERS, permitted

GB = 1 << 30
SPACE = 1 << 40
INPUT, REALM, REC, RTT = "RMI_ERROR_INPUT", "RMI_ERROR_REALM", "RMI_ERROR_REC", "RMI_ERROR_RTT"
ANY = "<Undefined.UNDEFINED>"

EXPECTED = {
    "GRANULE_DELEGATE": {"gran_align": INPUT, "gran_bound": INPUT, "gran_state": INPUT},
    "GRANULE_UNDELEGATE": {"gran_align": INPUT, "gran_bound": INPUT, "gran_state": INPUT},
    "REALM_CREATE": dict.fromkeys(
        (
            "params_align",
            "params_bound",
            "params_pas",
            "params_valid",
            "params_supp",
            "alias",
            "rd_align",
            "rd_bound",
            "rd_state",
            "rtt_align",
            "rtt_num_level",
            "rtt_state",
            "vmid_valid",
        ),
        INPUT,
    ),
    "REALM_ACTIVATE": {"rd_align": INPUT, "rd_bound": INPUT, "rd_state": INPUT, "realm_state": REALM},
    "REALM_DESTROY": {"rd_align": INPUT, "rd_bound": INPUT, "rd_state": INPUT, "realm_live": REALM},
    "REC_AUX_COUNT": dict.fromkeys(("rd_align", "rd_bound", "rd_state"), f"{INPUT} {ANY}"),
    "REC_CREATE": {
        **dict.fromkeys(
            (
                "params_align",
                "params_bound",
                "params_pas",
                "rec_align",
                "rec_bound",
                "rec_state",
                "rd_align",
                "rd_bound",
                "rd_state",
                "mpidr_index",
                "num_aux",
                "aux_align",
                "aux_alias",
                "aux_state",
            ),
            INPUT,
        ),
        "realm_state": REALM,
        "num_recs": REALM,
    },
    "REC_DESTROY": {"rec_align": INPUT, "rec_bound": INPUT, "rec_gran_state": INPUT, "rec_state": REC},
    "REC_ENTER": {
        **dict.fromkeys(
            ("run_align", "run_bound", "run_pas", "rec_align", "rec_bound", "rec_gran_state"),
            INPUT,
        ),
        "realm_new": REALM,
        "system_off": f"{REALM} 1",
        **dict.fromkeys(("rec_state", "rec_runnable", "rec_mmio", "rec_gicv3", "rec_psci"), REC),
    },
    "PSCI_COMPLETE": dict.fromkeys(
        (
            "alias",
            "calling_align",
            "calling_bound",
            "calling_state",
            "target_align",
            "target_bound",
            "target_state",
            "pending",
            "owner",
            "target",
            "status",
        ),
        INPUT,
    ),
    "DATA_CREATE": {
        **dict.fromkeys(
            (
                "src_align",
                "src_bound",
                "src_pas",
                "data_align",
                "data_bound",
                "data_state",
                "data_bound2",
                "rd_align",
                "rd_bound",
                "rd_state",
                "ipa_align",
                "ipa_bound",
                "ipa_bound (Unprotected)",
            ),
            INPUT,
        ),
        "realm_state": REALM,
        "rtt_walk": f"{RTT} 1",
        "rtte_state": f"{RTT} 3",
    },
    "DATA_CREATE_UNKNOWN": {
        **dict.fromkeys(
            (
                "data_align",
                "data_bound",
                "data_state",
                "data_bound2",
                "rd_align",
                "rd_bound",
                "rd_state",
                "ipa_align",
                "ipa_bound",
                "ipa_bound (Unprotected)",
            ),
            INPUT,
        ),
        "rtt_walk": f"{RTT} 1",
        "rtte_state": f"{RTT} 3",
    },
    "DATA_DESTROY": {
        **dict.fromkeys(
            ("rd_align", "rd_bound", "rd_state", "ipa_align", "ipa_bound", "ipa_bound (Unprotected)"),
            f"{INPUT} {ANY} 0",
        ),
        # ipa is mapped as a block of 2 MB: top == ipa.
        "rtt_walk": f"{RTT} 2 {ANY} 0",
        # Nothing else is live in the table of 2 MB.
        "rtte_state": f"{RTT} 3 {ANY} 200000",
    },
    "RTT_CREATE": {
        **dict.fromkeys(
            (
                "rd_align",
                "rd_bound",
                "rd_state",
                "level_bound",
                "ipa_align",
                "ipa_bound",
                "rtt_align",
                "rtt_bound",
                "rtt_state",
                "rtt_bound2",
            ),
            INPUT,
        ),
        "rtt_walk": f"{RTT} 1",
        "rtte_state": f"{RTT} 1",
    },
    "RTT_DESTROY": {
        **dict.fromkeys(
            ("rd_align", "rd_bound", "rd_state", "level_bound", "ipa_align", "ipa_bound"), f"{INPUT} {ANY} 0"
        ),
        # Nothing is live from 1 GB to the end of the first starting level table, 512 GB.
        "rtt_walk": f"{RTT} 1 {ANY} {512 * GB:x}",
        "rtte_state": f"{RTT} 1 {ANY} {512 * GB:x}",
        "rtt_live": f"{RTT} 2 {ANY} 0",
    },
    "RTT_FOLD": {
        **dict.fromkeys(
            ("rd_align", "rd_bound", "rd_state", "level_bound", "ipa_align", "ipa_bound"), f"{INPUT} {ANY}"
        ),
        "rtt_walk": f"{RTT} 1 {ANY}",
        "rtte_state": f"{RTT} 1 {ANY}",
        "rtt_homo": f"{RTT} 3 {ANY}",
    },
    "RTT_INIT_RIPAS": {
        **dict.fromkeys(
            ("rd_align", "rd_bound", "rd_state", "size_valid", "top_bound", "top_gran_align"), f"{INPUT} {ANY}"
        ),
        "realm_state": f"{REALM} {ANY}",
        "base_align": f"{RTT} 1 {ANY}",
        "rtte_state": f"{RTT} 3 {ANY}",
        "no_progress": f"{RTT} 1 {ANY}",
    },
    "RTT_MAP_UNPROTECTED": {
        **dict.fromkeys(
            (
                "attr_valid",
                "rd_align",
                "rd_bound",
                "rd_state",
                "level_bound",
                "addr_align",
                "addr_bound",
                "ipa_align",
                "ipa_bound",
                "ipa_bound (Protected)",
            ),
            INPUT,
        ),
        "rtt_walk": f"{RTT} 1",
        "rtte_state": f"{RTT} 3",
    },
    "RTT_READ_ENTRY": dict.fromkeys(
        ("rd_align", "rd_bound", "rd_state", "level_bound", "ipa_align", "ipa_bound"),
        f"{INPUT} {ANY} {ANY} {ANY} {ANY}",
    ),
    "RTT_SET_RIPAS": {
        # An RD operand that is none is not the REC's owner either; no order is given between the two conditions.
        **dict.fromkeys(("rd_align", "rd_bound", "rd_state"), f"{INPUT} {ANY}|{REC} {ANY}"),
        **dict.fromkeys(
            ("rec_align", "rec_bound", "rec_gran_state", "size_valid", "base_bound", "top_bound", "top_gran_align"),
            f"{INPUT} {ANY}",
        ),
        "rec_state": f"{REC} {ANY}",
        "rec_owner": f"{REC} {ANY}",
        "base_align": f"{RTT} 1 {ANY}",
        "no_progress": f"{RTT} 1 {ANY}",
    },
    "RTT_UNMAP_UNPROTECTED": {
        **dict.fromkeys(
            (
                "rd_align",
                "rd_bound",
                "rd_state",
                "level_bound",
                "ipa_align",
                "ipa_bound",
                "ipa_bound (Protected)",
            ),
            f"{INPUT} 0",
        ),
        # A block of 2 MB is mapped there: top == ipa.
        "rtt_walk": f"{RTT} 2 {UNPROTECTED:x}",
        # The table's only live entry lies before.
        "rtte_state": f"{RTT} 3 {UNPROTECTED + (2 << 20):x}",
    },
}

CASES = [
    *(case for case in failure_cases(LAYOUT, PARAMETERS)),
    *(case for case in failure_cases(LAYOUT, ONE_REC) if case.label == "num_recs"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_condition_alone(case: Case) -> None:
    parameters = case.script.parameters
    state = case.script.run()
    command = RMI_COMMANDS[case.call.fid]
    held = command.true_conditions(context_of(command, state, case.call, parameters))
    assert held == {case.label} | case.also
    outcomes = permitted(state, case.call, parameters)
    variant = f"{case.label} ({case.variant})" if case.variant else case.label
    expected = EXPECTED[case.command.removeprefix("RMI_")][variant]
    assert "|".join(sorted(str(outcome.result) for outcome in outcomes)) == expected
    for outcome in outcomes:
        assert outcome.state == state


def test_every_condition_of_every_command_has_a_case() -> None:
    missing = {
        (command.name, condition.label)
        for command in RMI_COMMANDS.values()
        for condition in command.conditions
        if not any(case.command == command.name and case.label == condition.label for case in CASES)
    }
    # GPT entries that are not Non-secure come from the Root world; (inject_sea) is no condition of the specification.
    assert missing == {("RMI_GRANULE_DELEGATE", "gran_gpt"), ("RMI_REC_ENTER", "(inject_sea)")}


def test_every_expectation_is_used() -> None:
    made = {case.name for case in CASES}
    written = {f"RMI_{command}:{label}" for command, labels in EXPECTED.items() for label in labels}
    assert made == written


def test_the_number_of_conditions() -> None:
    # Counted in the tables of B4.3: 4+3, 15+11+7, 13+4+4+3+16+4+13+11, 12+9+9+10+11+6+14+8.
    counted = sum(len(command.conditions) for command in RMI_COMMANDS.values())
    assert counted - 1 == 187
