"""Bearer tokens: is this JWT genuine and valid now, and who is its bearer.

PyJWT verifies; this module decides what is required. A verified token is cached until it expires,
so that a reconnect storm does not verify every signature again.
"""

import hashlib
import time
from collections.abc import Callable, Mapping
from sys import getsizeof
from typing import Any

import jwt
from jwt.types import Options

from gateway.access.claims import Claims, identity, place
from gateway.access.keys import Keys
from gateway.access.lru_cache import LruCache
from gateway.errors import Unauthenticated
from gateway.principal import Identity
from gateway.settings.access import AccessSettings

MAX_TOKEN_BYTES = 8 * 1024
"""Longer tokens are refused unread."""
CACHE_BYTES = 16 * 1024 * 1024
"""Most memory for verified tokens: some 20,000 with one organization each, or 200 of the largest,
with a thousand."""

_ENTRY_BYTES = 400
"""Of a cached token without the texts in it, as measured."""

_HOSTILE = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)
"""What an untrusted token may raise: `Infinity` as a date, JSON a thousand levels deep, or a list
where the oldest PyJWT that is allowed expects text."""


_CLAIMS: Options = {
    # The signature comes after: it is tried with each key, and the token is parsed once.
    "verify_signature": False,
    "verify_exp": True,
    "verify_nbf": True,
    "verify_iat": True,
    "verify_iss": True,
    "verify_sub": True,
    "verify_jti": True,
    "require": ["exp"],
}


class TokenVerifier:
    """Turns a token into an identity."""

    def __init__(
        self, settings: AccessSettings, keys: Keys, clock: Callable[[], float] = time.time
    ) -> None:
        """*clock*: seconds since the Unix epoch, by which cached tokens expire."""
        self._settings = settings
        self._algorithms: tuple[str, ...] = settings.jwt_algorithms
        self._keys = keys
        self._clock = clock
        self._generation = keys.generation
        # By digest: no token stays in memory.
        self._cache: LruCache[Identity] = LruCache(CACHE_BYTES, _size_of)

    @property
    def keys(self) -> Keys:
        """Where its keys come from."""
        return self._keys

    def replace_keys(self, keys: Keys, algorithms: tuple[str, ...]) -> None:
        """Verify with these from now on, tokens that were verified before too."""
        self._keys = keys
        self._algorithms = algorithms
        self._clear_cache()

    async def verify(self, token: str) -> Identity:
        """The identity that *token* proves; never waits for a token in the cache.

        Raises:
            Unauthenticated: it is not genuine, or not valid now; the message does not say why.
            Forbidden: it names no organization.
            Unavailable: the keys could not be fetched.
        """
        # With padding, which PyJWT accepts and RFC 7515 (section 2) does not, one token would have
        # several texts.
        if len(token) > MAX_TOKEN_BYTES or not token.isascii() or "=" in token:
            raise _invalid()
        digest = hashlib.blake2b(token.encode(), digest_size=32).digest()
        if (cached := self._cached(digest)) is not None:
            return cached
        claims, header, signature = self._parse(token)
        algorithm = header["alg"]
        keys = self._keys
        # No await after this: a key that is removed meanwhile would still be used.
        candidates = await keys.candidates(algorithm, header.get("kid"))
        signed = token.rpartition(".")[0].encode()
        if not any(key.has_signed(signed, signature, algorithm) for key in candidates):
            raise _invalid()
        proved = self._identity(claims, digest)
        if keys is self._keys:
            self._cache.put(digest, proved)
        return proved

    def _clear_cache(self) -> None:
        self._cache.clear()
        self._generation = self._keys.generation

    def _cached(self, digest: bytes) -> Identity | None:
        if self._generation != self._keys.generation:
            self._clear_cache()
        cached = self._cache.get(digest)
        now = self._clock() - self._settings.jwt_leeway_seconds
        if cached is not None and cached.expires_at <= now:
            # It stays in the cache, and is refused cheaply if it comes again.
            raise _expired()
        return cached

    def _parse(self, token: str) -> tuple[Claims, dict[str, Any], bytes]:
        """Claims, header and signature of *token*, whose claims are valid now; nobody has checked
        yet who signed it."""
        settings = self._settings
        try:
            parsed = jwt.decode_complete(
                token,
                options={**_CLAIMS, "verify_aud": settings.jwt_audience is not None},
                issuer=settings.jwt_issuer,
                audience=settings.jwt_audience,
                leeway=settings.jwt_leeway_seconds,
            )
        except jwt.ExpiredSignatureError:
            raise _expired() from None
        except _HOSTILE:
            raise _invalid() from None
        header = parsed["header"]
        # The header chooses among the allowed algorithms, and the key must fit that: a public key
        # must not be used as a secret (RFC 8725, sections 3.1 and 3.2). The gateway supports no
        # extension, so none may be critical (RFC 7515, section 4.1.11).
        if header.get("alg") not in self._algorithms or "crit" in header or "b64" in header:
            raise _invalid()
        # PyJWT has checked that a `kid` is text.
        return parsed["payload"], header, parsed["signature"]

    def _identity(self, claims: Claims, digest: bytes) -> Identity:
        try:
            proved = identity(
                claims,
                self._settings.organization_claim,
                reads_executions=self._settings.ownership == "token",
                digest=digest,
            )
        except _HOSTILE:
            raise _invalid() from None
        if proved.expires_at <= self._clock() - self._settings.jwt_leeway_seconds:
            # While the keys were fetched.
            raise _expired()
        return proved


def _size_of(proved: Identity) -> int:
    size = _ENTRY_BYTES + getsizeof(proved.subject) + getsizeof(proved.token_id)
    for names in (proved.organizations, proved.executions):
        if names is not None:
            size += getsizeof(names) + sum(map(getsizeof, names))
    return size


def _invalid() -> Unauthenticated:
    return Unauthenticated(
        "The token is not valid for this gateway: get a new one. If that is refused too, compare "
        "the key, the algorithms, the issuer and the audience in the gateway's settings with those "
        "of your tokens."
    )


def _expired() -> Unauthenticated:
    return Unauthenticated("The token has expired: get a new one.", "token_expired")


def issue(
    secret: str,
    *,
    organization_id: str,
    subject: str = "dev",
    ttl_seconds: int = 3600,
    claim: str = "organization_id",
    algorithm: str = "HS256",
    more: Mapping[str, str] | None = None,
) -> str:
    """A signed token for development and tests; *more*: further claims, such as `iss`."""
    now = int(time.time())
    claims = {
        "sub": subject,
        **place(claim, organization_id),
        "iat": now,
        "exp": now + ttl_seconds,
        **(more or {}),
    }
    return jwt.encode(claims, secret, algorithm=algorithm)
