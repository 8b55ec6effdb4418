"""The realm of the model target as its host and its owner see it: requests to the machine's process."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from harness.attestation import keys
from harness.attestation.realm import Chunk, RealmOrder
from harness.attestation.rmi_sequence import as_calls
from refmodel.rmm.measurement import MEASUREMENT_BYTES


class RealmClient:
    """An ``AttestingRealm``; ``ask`` sends a request's bytes and returns the answer's."""

    def __init__(self, ask: Callable[[bytes], bytes]) -> None:
        self._ask = ask
        self.platform_key = keys.parse_public_key(self._do(do="key")["pem"].encode(), "the model's platform key")

    def _do(self, **request: object) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._ask(json.dumps(request).encode()))
        return answer

    def create(self, order: RealmOrder) -> None:
        """Create a realm."""
        self._do(
            do="create",
            calls=as_calls(order.construction),
            rpv=order.rpv.hex(),
            combination=order.combination,
            platform_profile=order.platform_profile,
            devices=order.devices,
        )

    def measurement(self, index: int) -> bytes:
        """Read a measurement."""
        value = bytes.fromhex(self._do(do="measurement", index=index)["value"])
        return value.ljust(MEASUREMENT_BYTES, b"\0")

    def extend(self, index: int, value: bytes) -> str:
        """Extend a REM."""
        return str(self._do(do="extend", index=index, value=value.hex())["status"])

    def begin_token(self, challenge: bytes) -> int:
        """Begin a token."""
        return int(self._do(do="begin", challenge=challenge.hex())["size"])

    def continue_token(self, size: int) -> Chunk:
        """Continue a token."""
        answer = self._do(do="continue", size=size)
        return Chunk(answer["status"], base64.b64decode(answer["data"]))
