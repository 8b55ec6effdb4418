"""The token of a Linux realm on a booted stack, where a stack with an RMM and a realm has been obtained."""

from __future__ import annotations

import pytest

import images
from harness.attestation import tsm
from harness.attestation.keys import point_key
from harness.attestation.vectors import SAMPLE_CPAK
from harness.attestation.verify import verify_token
from harness.boot.check import StackCheck
from harness.host.linux import HostShell
from suites.attestation.test_token import FORM

STACK, ARCHIVE = "qemu-rme", "qemu-rme-stack"


@pytest.mark.rule(*FORM, "ATT-060")
def test_token(stack: StackCheck) -> None:
    """Every rule that does not need the realm's construction, and the challenge; the platform is TF-A's sample."""
    if images.find(ARCHIVE) is None:
        stack.not_applicable = f"no stack with a realm is there: realmcheck images provide {ARCHIVE}"
        return
    machine = stack.boot(STACK, "realm-shell")
    challenge = stack.rng.randbytes(64)
    token = tsm.fetch(HostShell(machine), challenge)
    found = verify_token(token, platform_key=point_key(SAMPLE_CPAK), challenge=challenge).findings
    stimulus = {"challenge": challenge.hex(), "stack": STACK}
    for rule in found.held:
        if rule not in found.broken():
            stack.judge(rule.value, True, case=rule.value, stimulus=stimulus, expected={}, observed={})
    for error in found.errors:
        stack.judge(
            error.rule.value,
            False,
            case=f"{error.rule.value} {error.claim}",
            stimulus=stimulus,
            expected={error.claim: "as the rule says"},
            observed={error.claim: error.message, "at": f"byte {error.offset}"},
            signature=f"{error.rule.value} {error.claim}",
        )
