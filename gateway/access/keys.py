"""Keys that verify tokens, from a secret or a PEM file (those from a URL: `access.jwks`).

A key's kind, curve and size decide which algorithms it may verify. A token's header chooses among
the keys; it cannot allow a key another algorithm.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from gateway.settings.checks import read_text
from gateway.settings.keys import MAX_TRIED, MIN_SECRET_BYTES

_MIN_RSA_BITS = 2048
"""RFC 7518, section 3.3."""
_RSA = frozenset({"RS256", "RS384", "RS512", "PS256"})
_CURVES = {"secp256r1": frozenset({"ES256"}), "secp384r1": frozenset({"ES384"})}
"""An ES algorithm belongs to one curve (RFC 7518, section 3.4)."""

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey


@dataclass(frozen=True, slots=True)
class Key:
    """One key, and the algorithms that it may verify."""

    # Not in a repr, which may end up in a log.
    material: str | PublicKey = field(repr=False)
    algorithms: frozenset[str]
    kid: str | None = None
    """Its name in a JWK set; None if it has none."""
    _prepared: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def has_signed(self, signed: bytes, signature: bytes, algorithm: str) -> bool:
        """Whether *signature*, by *algorithm*, is its signature of *signed*; False for an algorithm
        that it may not verify."""
        if algorithm not in self.algorithms:
            return False
        verifier: Any = jwt.get_algorithm_by_name(algorithm)
        if algorithm not in self._prepared:
            self._prepared[algorithm] = verifier.prepare_key(self.material)
        return bool(verifier.verify(signed, self._prepared[algorithm], signature))


class Keys(Protocol):
    """A source of keys."""

    @property
    def generation(self) -> int:
        """Grows with each change; what was verified before it must be verified again."""
        ...

    async def candidates(self, algorithm: str, kid: str | None) -> Sequence[Key]:
        """At most `MAX_TRIED` keys for *algorithm*, named *kid* if that is given.

        Raises:
            Unavailable: the keys could not be fetched.
        """
        ...


class FixedKeys:
    """Keys that do not change. They have no names, so a token's `kid` is ignored."""

    generation = 0

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = tuple(keys)

    async def candidates(self, algorithm: str, kid: str | None) -> Sequence[Key]:
        return fitting(self._keys, algorithm)


def fitting(keys: Iterable[Key], algorithm: str) -> list[Key]:
    """The first `MAX_TRIED` of *keys* that may verify *algorithm*."""
    return [key for key in keys if algorithm in key.algorithms][:MAX_TRIED]


@dataclass(frozen=True, slots=True)
class Issuer:
    """Whose tokens are accepted, and what they must have."""

    keys: Keys
    algorithms: tuple[str, ...]
    name: str | None = None
    """Their `iss`; None for any."""
    audience: str | None = None
    """What their `aud` must contain; None for any."""


def secret_keys(secrets: Iterable[str]) -> FixedKeys:
    """The keys of an issuer that shares *secrets*: while one replaces another, there are two.

    Raises:
        ValueError: one is a public key, so anyone could sign with it.
    """
    return FixedKeys(map(_secret_key, secrets))


def _secret_key(secret: str) -> Key:
    """For the HS algorithms that it is long enough for (RFC 7518, section 3.2)."""
    try:
        # PyJWT recognizes other keys as text.
        jwt.get_algorithm_by_name("HS256").prepare_key(secret)
    except jwt.InvalidKeyError:
        raise ValueError(
            "this is a key of a key pair, which others may know, and not a secret: make a secret "
            "with `openssl rand -hex 32`"
        ) from None
    size = len(secret.encode())
    algorithms = frozenset(name for name, least in MIN_SECRET_BYTES.items() if size >= least)
    return Key(secret, algorithms)


def public_key(material: object, kid: str | None = None) -> Key:
    """A public key, with the algorithms for its kind and curve.

    Raises:
        ValueError: it is weak, or of a kind that the gateway does not support.
    """
    match material:
        case RSAPublicKey():
            if material.key_size < _MIN_RSA_BITS:
                raise ValueError(f"an RSA key under {_MIN_RSA_BITS} bits can be broken")
            return Key(material, _RSA, kid)
        case EllipticCurvePublicKey() if material.curve.name in _CURVES:
            return Key(material, _CURVES[material.curve.name], kid)
        case Ed25519PublicKey():
            return Key(material, frozenset({"EdDSA"}), kid)
        case _:
            raise ValueError("only RSA, P-256, P-384 and Ed25519 keys can be used")


_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)


def read_pem(file: Path, algorithms: Collection[str]) -> tuple[Key, ...]:
    """All public keys in *file*; each fits at least one of the allowed *algorithms*.

    Raises:
        ValueError: the file cannot be read, or has something else in it; says what to do.
    """
    text = read_text(file)
    keys = tuple(_key(block) for block in _BLOCK.finditer(text))
    if not keys or len(keys) != text.count("-----BEGIN"):
        raise ValueError(
            f"{file} has no complete public key in PEM format: it must start with "
            "-----BEGIN PUBLIC KEY-----"
        )
    if len(keys) > MAX_TRIED:
        raise ValueError(f"{file} has more than {MAX_TRIED} keys: remove the old ones")
    for key in keys:
        if key.algorithms.isdisjoint(algorithms):
            raise ValueError(
                f"{file} has a key for {' or '.join(sorted(key.algorithms))}, which is not "
                "allowed: allow that algorithm, or remove the key"
            )
    return keys


def _key(block: re.Match[str]) -> Key:
    label = block[1]
    if "PRIVATE" in label:
        raise ValueError(
            "it has a private key, and everybody who can read it can sign tokens: put the public "
            "key in the file, made with `openssl pkey -pubout`, and replace the key pair"
        )
    if label not in ("PUBLIC KEY", "RSA PUBLIC KEY"):
        raise ValueError(
            f"it has a {label} instead of a public key: take the key out of a certificate with "
            "`openssl x509 -pubkey -noout`"
        )
    try:
        material = load_pem_public_key(block[0].encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("a key in it is damaged or of an unknown kind: export it again") from None
    return public_key(material)
