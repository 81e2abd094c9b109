"""Issuers of tokens for tests: one pair of keys for each algorithm, and what they sign."""

import base64
import hmac
import json
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.access.keys import FixedKeys, Issuer, Key, Keys, public_key, secret_keys
from gateway.access.tokens import TokenVerifier
from gateway.settings.access import AccessSettings
from tests.support import SECRET

SYMMETRIC = ("HS256", "HS384", "HS512")
ASYMMETRIC = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA")
ALGORITHMS = SYMMETRIC + ASYMMETRIC
KINDS = {"RS": "RSA", "PS": "RSA", "ES256": "P-256", "ES384": "P-384", "EdDSA": "Ed25519"}


def pair(kind: str, number: int = 0) -> Any:
    """A private key; the same for the same *kind* and *number*."""
    return _pair(kind, number)


@cache
def _pair(kind: str, number: int) -> Any:
    match kind:
        case "RSA":
            return rsa.generate_private_key(65537, 2048)
        case "weak RSA":
            return rsa.generate_private_key(65537, 1024)
        case "P-256":
            return ec.generate_private_key(ec.SECP256R1())
        case "P-384":
            return ec.generate_private_key(ec.SECP384R1())
        case "P-521":
            return ec.generate_private_key(ec.SECP521R1())
        case _:
            return ed25519.Ed25519PrivateKey.generate()


def kind_of(algorithm: str) -> str:
    return KINDS.get(algorithm) or KINDS[algorithm[:2]]


def signing_key(algorithm: str, number: int = 0) -> Any:
    """What signs by *algorithm*; another one for each *number*."""
    if algorithm in SYMMETRIC:
        return f"{SECRET}-{number}-that-is-long-enough-for-all-three"
    return pair(kind_of(algorithm), number)


def verifying_keys(algorithm: str, number: int = 0) -> FixedKeys:
    """What verifies what `signing_key` of the same arguments has signed."""
    key = signing_key(algorithm, number)
    if algorithm in SYMMETRIC:
        return secret_keys([key])
    return FixedKeys([verifying_key(algorithm, number)])


def verifying_key(algorithm: str, number: int = 0) -> Key:
    return public_key(pair(kind_of(algorithm), number).public_key())


def pem(private: Any, form: PublicFormat = PublicFormat.SubjectPublicKeyInfo) -> str:
    """The public half of a pair, as a PEM block."""
    text: bytes = private.public_key().public_bytes(Encoding.PEM, form)
    return text.decode()


def jwk(algorithm: str, number: int = 0, **members: Any) -> dict[str, Any]:
    """The public half of a pair, as a JWK with the name `<algorithm>-<number>`."""
    public = pair(kind_of(algorithm), number).public_key()
    found = jwt.get_algorithm_by_name(algorithm).to_jwk(public, as_dict=True)
    return {"kid": f"{algorithm}-{number}", "use": "sig", **found, **members}


def rules(*algorithms: str, **others: Any) -> AccessSettings:
    """Settings of what is required of a token; nothing else of them is set."""
    values = {"jwt_algorithms": algorithms or ("HS256",), "jwt_leeway_seconds": 0.0, **others}
    return AccessSettings.model_construct(**values)


def verifier(algorithm: str, *, keys: Any = None, **others: Any) -> TokenVerifier:
    """A verifier that allows *algorithm* alone, by the issuer's key of it."""
    return accepting(rules(algorithm, **others), keys or verifying_keys(algorithm))


def accepting(settings: AccessSettings, keys: Keys, *clock: Callable[[], float]) -> TokenVerifier:
    """A verifier of one issuer, as *settings* describe it, with these *keys*."""
    return TokenVerifier(settings, [_issuer(settings, keys)], *clock)


def replace_keys(access: TokenVerifier, keys: Keys, *algorithms: str) -> None:
    """Make *access* accept what *keys* verify, by these *algorithms*."""
    access.replace_issuers([_issuer(rules(*algorithms), keys)])


def _issuer(settings: AccessSettings, keys: Keys) -> Issuer:
    return Issuer(keys, settings.jwt_algorithms, settings.jwt_issuer, settings.jwt_audience)


def claims(**others: Any) -> dict[str, Any]:
    """Claims of a good token; those given as None are left out."""
    now = int(time.time())
    base = {"organization_id": "acme", "sub": "ada", "iat": now, "exp": now + 600}
    return {name: value for name, value in {**base, **others}.items() if value is not None}


def signed(
    algorithm: str, number: int = 0, header: dict[str, Any] | None = None, **others: Any
) -> str:
    """A token by *algorithm* that is genuine, with `claims(**others)`."""
    key = signing_key(algorithm, number)
    return jwt.encode(claims(**others), key, algorithm=algorithm, headers=header)


def raw(
    header: bytes | str,
    payload: bytes | str,
    algorithm: str | None = None,
    key: Any = None,
) -> str:
    """A token of any bytes, signed by *algorithm* with the genuine key or with *key*, or not."""
    components = [part if isinstance(part, bytes) else part.encode() for part in (header, payload)]
    text = ".".join(_base64url(part) for part in components)
    if algorithm is None:
        return f"{text}."
    tool = jwt.get_algorithm_by_name(algorithm)
    signature = tool.sign(text.encode(), tool.prepare_key(key or signing_key(algorithm)))
    return f"{text}.{_base64url(signature)}"


def payload(**others: Any) -> str:
    """`claims(**others)` as JSON."""
    return json.dumps(claims(**others))


def confused(text: str, algorithm: str) -> str:
    """A token signed with *text* as if it were a secret, which PyJWT refuses to do."""
    unsigned = raw(f'{{"alg":"{algorithm}"}}', payload())
    digest = hmac.digest(text.encode(), unsigned[:-1].encode(), algorithm.replace("HS", "sha"))
    return unsigned + _base64url(digest)


def raw_claims(payload: bytes | str, algorithm: str = "HS256") -> str:
    """A genuine token of any payload."""
    return raw(json.dumps({"alg": algorithm, "typ": "JWT"}), payload, algorithm)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
