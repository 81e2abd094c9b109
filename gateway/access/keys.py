"""Keys that tokens are verified with: what each is good for, and who offers them.

A key says itself which algorithms it is good for, by its kind, curve and size. A token's header
chooses among the keys; it never makes one good for more. Nothing here reads a file or the network:
that is `gateway.access.keys` and `gateway.access.jwks`.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from gateway.settings.access import MIN_SECRET_BYTES
from gateway.settings.checks import read_text

MAX_TRIED = 8
"""Most keys that one token is tried with, so that a stranger's token costs a bounded time."""

_MIN_RSA_BITS = 2048
"""RFC 7518, section 3.3."""
_RSA = frozenset({"RS256", "RS384", "RS512", "PS256"})
_CURVES = {"secp256r1": frozenset({"ES256"}), "secp384r1": frozenset({"ES384"})}
"""An ES algorithm belongs to one curve (RFC 7518, section 3.4)."""

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey


@dataclass(frozen=True, slots=True)
class Key:
    """One key and all that it may verify."""

    # A repr may end in a log.
    material: str | PublicKey = field(repr=False)
    algorithms: frozenset[str]
    kid: str | None = None
    """Its name in a JWK set; None where keys have no names."""


class Keys(Protocol):
    """Offers the keys that a token may have been signed with."""

    @property
    def generation(self) -> int:
        """Counts the changes of the keys: what was verified under another one must be forgotten."""
        ...

    async def candidates(self, algorithm: str, kid: str | None) -> Sequence[Key]:
        """At most `MAX_TRIED` keys that are good for *algorithm*, and named *kid* where given.

        Raises:
            Unavailable: the keys are not known, since they could not be fetched.
        """
        ...


class FixedKeys:
    """Keys that do not change; without names, so a token's `kid` means nothing."""

    generation = 0

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = tuple(keys)

    async def candidates(self, algorithm: str, kid: str | None) -> Sequence[Key]:
        """See `Keys.candidates`; never waits."""
        return fitting(self._keys, algorithm)


def fitting(keys: Iterable[Key], algorithm: str) -> list[Key]:
    """The first `MAX_TRIED` of *keys* that are good for *algorithm*."""
    return [key for key in keys if algorithm in key.algorithms][:MAX_TRIED]


def secret_keys(secret: str) -> FixedKeys:
    """The one key of an issuer that shares *secret*; good for the HS algorithms it is long enough
    for (RFC 7518, section 3.2).

    Raises:
        ValueError: it is a public key, so anybody could sign with it.
    """
    try:
        # PyJWT knows what keys look like as text.
        jwt.get_algorithm_by_name("HS256").prepare_key(secret)
    except jwt.InvalidKeyError:
        raise ValueError(
            "this is no secret but a key pair's key, which others may know: make a secret with "
            "`openssl rand -hex 32`"
        ) from None
    size = len(secret.encode())
    algorithms = frozenset(name for name, least in MIN_SECRET_BYTES.items() if size >= least)
    return FixedKeys([Key(secret, algorithms)])


def public_key(material: object, kid: str | None = None) -> Key:
    """A public key, with the algorithms that fit its kind and curve.

    Raises:
        ValueError: it is weak, or of a kind that no algorithm of the gateway uses.
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
    """All public keys in *file*, each good for one of the allowed *algorithms* at least.

    Raises:
        ValueError: the file cannot be read, or is not made of such keys; says what to do.
    """
    text = read_text(file)
    keys = tuple(_key(block) for block in _BLOCK.finditer(text))
    if not keys or len(keys) != text.count("-----BEGIN"):
        raise ValueError(
            f"{file} holds no complete public key in PEM: it must begin with "
            "-----BEGIN PUBLIC KEY-----"
        )
    if len(keys) > MAX_TRIED:
        raise ValueError(f"{file} holds more than {MAX_TRIED} keys: remove those of the past")
    for key in keys:
        if key.algorithms.isdisjoint(algorithms):
            raise ValueError(
                f"{file} holds a key for {' or '.join(sorted(key.algorithms))}, which is not "
                "among the allowed algorithms: allow one of them, or remove the key"
            )
    return keys


def _key(block: re.Match[str]) -> Key:
    label = block[1]
    if "PRIVATE" in label:
        raise ValueError(
            "a private key has no place here, whoever reads it can sign: put its public half "
            "in the file, made with `openssl pkey -pubout`, and replace the pair"
        )
    if label not in ("PUBLIC KEY", "RSA PUBLIC KEY"):
        raise ValueError(
            f"{label} is no public key: take it out of a certificate with "
            "`openssl x509 -pubkey -noout`"
        )
    try:
        material = load_pem_public_key(block[0].encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("a key in it is damaged or of an unknown kind: export it anew") from None
    return public_key(material)
