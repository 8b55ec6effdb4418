"""What the RMI suite's tests share: the RMM of a target, and scripts for it."""

from __future__ import annotations

from harness.check import Check
from harness.rmi.run import RmiRun
from harness.rmi.targets import OnTarget
from refmodel.rmm.scenario import Script
from refmodel.rmm.version import Parameters, with_feature_register_0

PAGE = 0x1000
RMI_FEATURES = 0xC4000165


def rmm(check: Check) -> RmiRun | None:
    """The target's RMM; None, with the reason in the check, if it has none."""
    info = check.session.target.info
    if not info.features.get("rmm"):
        check.tally.not_applicable = "the target has no RMM"
        return None
    window = info.layout.test[0]
    parameters = Parameters(
        delegable=lambda addr: window.base <= addr < window.end,
        rec_aux_count=int(info.features["rmm_rec_aux_count"]),
    )
    parameters = with_feature_register_0(parameters, int(info.features["rmm_features"]))
    return RmiRun(OnTarget(check.session.target), parameters, check.tally, check.session.reproduce)


def script(run: RmiRun) -> Script:
    """An empty script for the target's memory."""
    return Script(run.layout, run.parameters)
