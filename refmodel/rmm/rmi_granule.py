"""RMI commands on granules, and the two that report what the RMM is.

Source: DEN0137 1.0-rel0, B4.3.4 to B4.3.6 and B4.3.23.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from refmodel.rmm.command import Command, Condition, Success, failed
from refmodel.rmm.context import AddrIsGranuleAligned, Context
from refmodel.rmm.results import RmiResult
from refmodel.rmm.state import WIPED, Granule, delegated
from refmodel.rmm.types import Gpt, GranuleState, Rmi
from refmodel.rmm.version import negotiate

_INPUT = failed(Rmi.RMI_ERROR_INPUT)


def _delegate(c: Context) -> Iterable[Success]:
    # What the Host wrote stays until the granule leaves DELEGATED, where nobody sees it (A2.2.4).
    content = c.state.granule(c.addr).content
    yield Success(c.state.with_granule(c.addr, delegated(content)))


GRANULE_DELEGATE: Final = Command(
    name="RMI_GRANULE_DELEGATE",
    fid=0xC4000151,
    section="B4.3.5",
    inputs=("addr",),
    conditions=(
        Condition("gran_align", lambda c: not AddrIsGranuleAligned(c.addr), _INPUT),
        Condition("gran_bound", lambda c: not c.PaIsDelegable(c.addr), _INPUT),
        Condition("gran_state", lambda c: c.Granule(c.addr).state is not GranuleState.UNDELEGATED, _INPUT),
        Condition("gran_gpt", lambda c: c.Granule(c.addr).gpt is not Gpt.GPT_NS, _INPUT),
    ),
    success=_delegate,
)


def _undelegate(c: Context) -> Iterable[Success]:
    yield Success(c.state.with_granule(c.addr, Granule(GranuleState.UNDELEGATED, Gpt.GPT_NS, WIPED)))


GRANULE_UNDELEGATE: Final = Command(
    name="RMI_GRANULE_UNDELEGATE",
    fid=0xC4000152,
    section="B4.3.6",
    inputs=("addr",),
    conditions=(
        Condition("gran_align", lambda c: not AddrIsGranuleAligned(c.addr), _INPUT),
        Condition("gran_bound", lambda c: not c.PaIsDelegable(c.addr), _INPUT),
        Condition("gran_state", lambda c: c.Granule(c.addr).state is not GranuleState.DELEGATED, _INPUT),
    ),
    success=_undelegate,
)


def _features(c: Context) -> Iterable[Success]:
    yield Success(c.state, (c.p.feature_register_0 if c.index == 0 else 0,))


FEATURES: Final = Command(
    name="RMI_FEATURES",
    fid=0xC4000165,
    section="B4.3.4",
    inputs=("index",),
    outputs=("value",),
    success=_features,
)


def _version(c: Context) -> Iterable[Success]:
    # A request that is not met is no failure condition: X1 and X2 are returned all the same.
    compatible, lower, higher = negotiate(c.p.supported, c.req)
    status = Rmi.RMI_SUCCESS if compatible else Rmi.RMI_ERROR_INPUT
    yield Success(c.state, result=RmiResult(status, 0, (lower, higher)))


VERSION: Final = Command(
    name="RMI_VERSION",
    fid=0xC4000150,
    section="B4.3.23",
    inputs=("req",),
    outputs=("lower", "higher"),
    success=_version,
)
