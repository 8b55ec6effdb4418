"""The realm of the model target: minted tokens, measurements by the model, requests as JSON.

It runs in the machine's process, where mutants are put in; ``realm_client.py`` is its counterpart in the judge's.
"""

from __future__ import annotations

import base64
from typing import Any, Final

from harness.attestation import keys
from harness.attestation.build import TokenParts, new_key
from harness.attestation.mint import Statement, mint_parts
from harness.attestation.mutations import corpus
from harness.attestation.realm import INCOMPLETE, SUCCESS, Chunk, RealmOrder
from harness.attestation.rmi_sequence import read_calls
from refmodel.attestation.profiles import COMBINATIONS, REALM_PROFILES, KeyForm
from refmodel.attestation.rim import REMS, measure
from refmodel.rmm.measurement import TF_RMM_0_6, ZERO_MEASUREMENT, Generation, RemExtend

FALSIFY: Final = ""
"""Name of a mutation of the corpus that every token undergoes: how a mutant falsifies what is observed."""
GENERATION: Final[Generation] = TF_RMM_0_6
_MAX_SIZE: Final = 0x1000
_DEVICE: Final[dict[int, bytes | bool]] = {1: bytes(32), 2: bytes(32), 4: False, 5: True}


class ModelRealm:
    """One realm and the platform under it; a new platform key with every machine."""

    def __init__(self) -> None:
        self._cpak = new_key("P-384")
        self._raks = {curve: new_key(curve) for curve in ("P-256", "P-384")}
        self._order: RealmOrder | None = None
        self._measurements: list[bytes] = []
        self._token = b""
        self._at = 0

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Carry a request out."""
        match request["do"]:
            case "key":
                return {"pem": keys.pem(self._cpak.public_key()).decode()}
            case "create":
                self.create(_order(request))
            case "measurement":
                return {"value": self._measurements[request["index"]].hex()}
            case "extend":
                return {"status": self.extend(request["index"], bytes.fromhex(request["value"]))}
            case "begin":
                self.begin(bytes.fromhex(request["challenge"]))
                return {"size": max(_MAX_SIZE, len(self._token))}
            case "continue":
                chunk = self.take(request["size"])
                return {"status": chunk.status, "data": base64.b64encode(chunk.data).decode()}
        return {}

    def create(self, order: RealmOrder) -> None:
        """A new realm: RIM from its construction, REMs zero."""
        self._order = order
        rim = measure(order.construction, GENERATION).extensions[-1].rim
        self._measurements = [rim, *[ZERO_MEASUREMENT] * REMS]
        self._token, self._at = b"", 0

    def extend(self, index: int, value: bytes) -> str:
        """Extend a REM."""
        assert self._order is not None
        algorithm = self._order.construction.params.hash_algo
        self._measurements[index] = RemExtend(algorithm, self._measurements[index], value, GENERATION.rem[0])
        return SUCCESS

    def begin(self, challenge: bytes) -> None:
        """Make the token for a challenge; one that was under way is forgotten."""
        self._token, self._at = falsified(self.parts(challenge)), 0

    def take(self, size: int) -> Chunk:
        """The next bytes of the token."""
        data = self._token[self._at : self._at + size]
        self._at += len(data)
        return Chunk(SUCCESS if self._at == len(self._token) else INCOMPLETE, data)

    def parts(self, challenge: bytes) -> TokenParts:
        """The parts of the token as it should be."""
        assert self._order is not None
        order = self._order
        combination = next(made for made in COMBINATIONS if made.name == order.combination)
        forms = combination.keys & REALM_PROFILES[combination.realm_rules].keys
        rak = self._raks["P-256" if KeyForm.COSE_KEY in forms else "P-384"]
        algorithm = order.construction.params.hash_algo
        digests = [value[: algorithm.digest_bytes] for value in self._measurements]
        statement = Statement(
            challenge=challenge,
            rpv=order.rpv,
            realm_hash=algorithm,
            rim=digests[0],
            rems=digests[1:],
            devices=(_DEVICE,) if order.devices else (),
        )
        profile = order.platform_profile
        return mint_parts(combination, statement, cpak=self._cpak, rak=rak, platform_profile=profile)


def falsified(parts: TokenParts) -> bytes:
    """The token, spoiled if a mutant asks for it and the token has what is to be spoiled."""
    if FALSIFY:
        for case in corpus(parts):
            if case.name == FALSIFY:
                return case.data
    return parts.build()


def _order(request: dict[str, Any]) -> RealmOrder:
    return RealmOrder(
        construction=read_calls(request["calls"]),
        rpv=bytes.fromhex(request["rpv"]),
        combination=request["combination"],
        platform_profile=request["platform_profile"],
        devices=request["devices"],
    )
