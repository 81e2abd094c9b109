"""Bearer tokens: is this JWT genuine and in force, and whom does it prove.

PyJWT verifies; this module decides what is required. A verified token is remembered until it
expires, so that a reconnect storm does not verify every signature again. It does not know which
execution is asked for: that is `gateway.access.policy`.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from sys import getsizeof

import jwt

from gateway.access.claims import Claims, identity, place
from gateway.access.keys import Key, Keys
from gateway.access.remembered import Remembered
from gateway.errors import Unauthenticated
from gateway.principal import Identity

MAX_TOKEN_BYTES = 8 * 1024
"""Longer ones are refused unread."""
CACHED_BYTES = 16 * 1024 * 1024
"""Most memory that verified tokens take which are remembered: some 20,000 with one organization
each, or 200 of the largest, with a thousand."""

_ENTRY_BYTES = 400
"""Of a remembered token beside the texts in it, as measured."""

_HOSTILE = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)
"""What reading a stranger's token may raise: `Infinity` as a date, JSON a thousand levels deep, or
a list where PyJWT's floor version takes text for granted."""


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What a token must look like."""

    organization_claim: str
    """Name or path of the claim; empty where the backend decides who belongs to whom."""
    algorithms: tuple[str, ...]
    """All that may be used, by whichever key."""
    issuer: str | None = None
    audience: str | None = None
    leeway_seconds: float = 0.0
    """Bridges clocks that differ."""
    reads_executions: bool = False
    """Whether the claim `executions` narrows a token (ownership `token`)."""


class TokenVerifier:
    """Turns a token into an identity."""

    def __init__(
        self, rules: TokenRules, keys: Keys, clock: Callable[[], float] = time.time
    ) -> None:
        """*clock*: seconds since the epoch, by which remembered tokens expire."""
        self._rules = rules
        self._keys = keys
        self._clock = clock
        self._generation = keys.generation
        # By digest: a token itself is not kept anywhere.
        self._verified: Remembered[Identity] = Remembered(CACHED_BYTES, _bytes_of)

    @property
    def keys(self) -> Keys:
        """Where its keys come from."""
        return self._keys

    def replace_keys(self, keys: Keys, algorithms: tuple[str, ...]) -> None:
        """Verify with these from now on; what was verified before is forgotten."""
        self._keys = keys
        self._rules = replace(self._rules, algorithms=algorithms)
        self.forget()

    def forget(self) -> None:
        """Forget all verified tokens: each must be verified again."""
        self._verified.clear()
        self._generation = self._keys.generation

    async def verify(self, token: str) -> Identity:
        """The identity that *token* proves; a token that is remembered is answered at once.

        Raises:
            Unauthenticated: it is not genuine or not in force; never says more than that.
            Forbidden: it names no organization at all.
            Unavailable: the keys could not be fetched.
        """
        # RFC 7515, section 2: base64url without padding. PyJWT reads it, and so takes two texts
        # for one token.
        if len(token) > MAX_TOKEN_BYTES or not token.isascii() or "=" in token:
            raise _invalid()
        digest = hashlib.blake2b(token.encode(), digest_size=32).digest()
        known = self._remembered(digest)
        if known is not None:
            return known
        algorithm, kid = self._header(token)
        keys = self._keys
        # Nothing may wait after this: a key that was removed meanwhile would still be used.
        proved = self._proved(token, digest, await keys.candidates(algorithm, kid))
        if keys is self._keys:
            self._verified.put(digest, proved)
        return proved

    def _remembered(self, digest: bytes) -> Identity | None:
        if self._generation != self._keys.generation:
            self.forget()
        known = self._verified.get(digest)
        if known is None:
            return None
        if known.expires_at <= self._clock() - self._rules.leeway_seconds:
            # It stays remembered as expired, until newer ones take its place.
            raise _expired()
        return known

    def _header(self, token: str) -> tuple[str, str | None]:
        """Algorithm and name of the key, as the token's unverified header claims them."""
        try:
            header = jwt.get_unverified_header(token)
        except _HOSTILE:
            raise _invalid() from None
        algorithm: object = header.get("alg")
        # The gateway understands no extension, so none may be critical (RFC 7515, 4.1.11).
        if algorithm not in self._rules.algorithms or "crit" in header or "b64" in header:
            raise _invalid()
        # PyJWT has seen to it that a `kid` is text.
        return str(algorithm), header.get("kid")

    def _proved(self, token: str, digest: bytes, candidates: Sequence[Key]) -> Identity:
        try:
            return identity(
                self._claims(token, candidates),
                self._rules.organization_claim,
                reads_executions=self._rules.reads_executions,
                digest=digest,
            )
        except jwt.ExpiredSignatureError:
            raise _expired() from None
        except _HOSTILE:
            raise _invalid() from None

    def _claims(self, token: str, candidates: Sequence[Key]) -> Claims:
        """The claims of a token that one of the keys has signed, and that is in force."""
        rules = self._rules
        for key in candidates:
            try:
                return jwt.decode(
                    token,
                    key.material,
                    # What is allowed and fits the key: the token's header must not choose, nor a
                    # public key pass for a secret (RFC 8725, sections 3.1 and 3.2).
                    algorithms=[name for name in rules.algorithms if name in key.algorithms],
                    issuer=rules.issuer,
                    audience=rules.audience,
                    leeway=rules.leeway_seconds,
                    options={"require": ["exp"], "verify_aud": rules.audience is not None},
                )
            except jwt.InvalidSignatureError:
                # Another key's, perhaps.
                continue
        raise _invalid()


def _bytes_of(proved: Identity) -> int:
    """The memory that a remembered token takes."""
    size = _ENTRY_BYTES + getsizeof(proved.subject) + getsizeof(proved.token_id)
    for names in (proved.organizations, proved.executions):
        if names is not None:
            size += getsizeof(names) + sum(map(getsizeof, names))
    return size


def _invalid() -> Unauthenticated:
    return Unauthenticated("The token is not valid here: renew it.")


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
    """A signed token for development and tests; in production the customer's issuer signs.

    *more*: further claims, such as `iss`.
    """
    now = int(time.time())
    claims = {
        "sub": subject,
        **place(claim, organization_id),
        "iat": now,
        "exp": now + ttl_seconds,
        **(more or {}),
    }
    return jwt.encode(claims, secret, algorithm=algorithm)
