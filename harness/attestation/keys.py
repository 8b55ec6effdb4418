"""Public keys and signatures: PEM, JWK and points in, yes or no out.

ECDSA over P-256, P-384 and P-521 with raw signatures (r, then s, each as long as a coordinate); RFC 9053 section 2.1.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from harness.errors import BadInputError
from refmodel.attestation.headers import Algorithm
from refmodel.attestation.rak import Point

PublicKey = ec.EllipticCurvePublicKey
PrivateKey = ec.EllipticCurvePrivateKey

CURVES: Final[dict[str, type[ec.EllipticCurve]]] = {"P-256": ec.SECP256R1, "P-384": ec.SECP384R1, "P-521": ec.SECP521R1}
_NAMES: Final = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_HASHES: Final[dict[str, type[hashes.HashAlgorithm]]] = {
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}
_SIZE_LIMIT: Final = 1 << 20
_REMEDY: Final = "give a PEM public key, a PEM certificate or a JWK of an EC key on P-256, P-384 or P-521"


def curve_of(key: PublicKey | PrivateKey) -> str:
    """The JWK name of a key's curve; empty for one that is not supported."""
    return _NAMES.get(key.curve.name, "")


def point_key(point: Point) -> PublicKey | None:
    """The key of a point; None when the point is not on its curve."""
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(CURVES[point.curve](), point.octets)
    except ValueError:
        return None


def verify(key: PublicKey, algorithm: Algorithm, message: bytes, signature: bytes) -> bool:
    """Whether ``signature`` (raw, of the right length) is ``key``'s over ``message``."""
    half = len(signature) // 2
    r, s = int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big")
    try:
        key.verify(encode_dss_signature(r, s), message, ec.ECDSA(hash_of(algorithm)))
    except InvalidSignature:
        return False
    return True


def hash_of(algorithm: Algorithm) -> hashes.HashAlgorithm:
    """The hash of a signature algorithm."""
    return _HASHES[algorithm.hash]()


def load_public_key(path: Path) -> PublicKey:
    """A key from a file: PEM (public key, private key or certificate) or JWK; BadInputError for anything else."""
    try:
        with path.open("rb") as file:
            data = file.read(_SIZE_LIMIT)
    except OSError as error:
        raise BadInputError(f"cannot be read: {error.strerror}", path=path) from None
    return parse_public_key(data, path)


def load_private_key(path: Path) -> PrivateKey:
    """An unencrypted private EC key from a PEM file; BadInputError for anything else."""
    remedy = "give an unencrypted PEM private key on P-256, P-384 or P-521"
    try:
        found = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise BadInputError(f"cannot be read: {error.strerror}", path=path) from None
    except (ValueError, TypeError) as error:
        raise BadInputError(f"holds no private key: {error}", path=path, remedy=remedy) from None
    if not isinstance(found, ec.EllipticCurvePrivateKey) or not curve_of(found):
        raise BadInputError("holds a key of another kind", path=path, remedy=remedy)
    return found


def parse_public_key(data: bytes, path: Path | str) -> PublicKey:
    """A key from the bytes of a PEM or JWK; ``path`` names their source in a BadInputError."""
    try:
        found = _from_jwk(json.loads(data)) if data.lstrip().startswith(b"{") else _from_pem(data)
    except (ValueError, TypeError, KeyError) as error:
        raise BadInputError(f"holds no public key: {error}", path=path, remedy=_REMEDY) from None
    if not isinstance(found, ec.EllipticCurvePublicKey) or not curve_of(found):
        raise BadInputError("holds a key of another kind", path=path, remedy=_REMEDY)
    return found


def _from_pem(data: bytes) -> Any:  # noqa: ANN401 - any kind of key may stand in a PEM file
    if b"BEGIN CERTIFICATE" in data:
        return x509.load_pem_x509_certificate(data).public_key()
    if b"PRIVATE KEY" in data:
        return serialization.load_pem_private_key(data, password=None).public_key()
    return serialization.load_pem_public_key(data)


def _from_jwk(jwk: Any) -> PublicKey:  # noqa: ANN401 - a JSON value
    if jwk["kty"] != "EC" or jwk["crv"] not in CURVES:
        raise ValueError(f"kty {jwk['kty']!r}, crv {jwk.get('crv')!r}")
    octets = b"\x04" + _base64url(jwk["x"]) + _base64url(jwk["y"])
    return ec.EllipticCurvePublicKey.from_encoded_point(CURVES[jwk["crv"]](), octets)


def _base64url(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def public_octets(key: PublicKey) -> bytes:
    """The uncompressed point of a key."""
    return key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


def pem(key: PublicKey | PrivateKey) -> bytes:
    """A key as PEM: SubjectPublicKeyInfo, or unencrypted PKCS #8."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def jwk(key: PublicKey) -> dict[str, str]:
    """A key as a JWK (RFC 7517, RFC 7518 section 6.2.1)."""
    octets = public_octets(key)[1:]
    half = len(octets) // 2
    x, y = (base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (octets[:half], octets[half:]))
    return {"kty": "EC", "crv": curve_of(key), "x": x, "y": y}
