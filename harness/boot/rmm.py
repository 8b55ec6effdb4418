"""Which RMM runs, as its own lines in the log say."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RmmVersion:
    """``name`` is the line that names the RMM, ``rmi`` and ``rsi`` its interface versions (empty: not told)."""

    name: str
    rmi: str = ""
    rsi: str = ""


def version_in(log: str) -> RmmVersion | None:
    """The RMM that a boot log speaks of: TF-RMM, or TF-A's test realm payload; None for none."""
    text = log.replace("\r", "")
    if found := re.search(r"^Booting RMM (v\.\S+.*)$", text, re.MULTILINE):
        abi = re.search(r"^RMI/RSI ABI v\.(\d+\.\d+)/(\d+\.\d+)", text, re.MULTILINE)
        return RmmVersion(name=f"TF-RMM {found[1]}", rmi=abi[1] if abi else "", rsi=abi[2] if abi else "")
    if found := re.search(r"^NOTICE:  TRP: (v\S+)$", text, re.MULTILINE):
        return RmmVersion(name=f"test realm payload {found[1]}")
    return None
