"""Bearer tokens: is this JWT genuine and valid now, and who is its bearer.

PyJWT reads headers and verifies signatures; `gateway.access.claims` decides what the claims must
say. PyJWT would also decode the claims, but takes three times as long, which is a tenth of an
opening. A verified token is cached until it expires, so that a reconnect storm does not verify
every signature again.
"""

import hashlib
import logging
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from sys import getsizeof
from typing import Any

import jwt
import orjson

from gateway.access.claims import Invalid, check, identity, place
from gateway.access.keys import Issuer
from gateway.access.lru_cache import LruCache
from gateway.errors import Forbidden, Unauthenticated
from gateway.log import RateLimitedLog
from gateway.principal import Identity
from gateway.settings.access import AccessSettings

log = logging.getLogger(__name__)

MAX_TOKEN_BYTES = 8 * 1024
"""Longer tokens are refused unread."""
CACHE_BYTES = 16 * 1024 * 1024
"""Most memory for verified tokens: some 20,000 with one organization each, or 200 of the largest,
with a thousand."""

_ENTRY_BYTES = 400
"""Of a cached token without the texts in it, as measured."""

_HEADERS = 64
"""Headers that are remembered: an issuer writes one for each of its keys."""

_HOSTILE = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)
"""What an untrusted token may raise: `Infinity` as a date, JSON a thousand levels deep, or a list
where the oldest PyJWT that is allowed expects text."""


class TokenVerifier:
    """Turns a token into an identity."""

    def __init__(
        self,
        settings: AccessSettings,
        issuers: Sequence[Issuer],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """*clock*: seconds since the Unix epoch, by which cached tokens expire."""
        self._settings = settings
        self._issuers = issuers
        self._clock = clock
        self._generation = self._keys_generation()
        # By digest: no token stays in memory.
        self._cache: LruCache[Identity] = LruCache(CACHE_BYTES, _size_of)
        # For each reason, so that a stranger's invented tokens do not hide another one.
        self._logs: defaultdict[str, RateLimitedLog] = defaultdict(lambda: RateLimitedLog(60.0))

    @property
    def issuers(self) -> Sequence[Issuer]:
        """Whose tokens it accepts."""
        return self._issuers

    def replace_issuers(self, issuers: Sequence[Issuer]) -> None:
        """Accept their tokens from now on; tokens that were verified before are verified again."""
        self._issuers = issuers
        self._clear_cache()

    async def verify(self, token: str) -> Identity:
        """The identity that *token* proves; never waits for a token in the cache.

        Raises:
            Unauthenticated: it is not genuine, or not valid now; the message does not say why.
            Forbidden: it names no organization.
            Unavailable: the keys could not be fetched.
        """
        try:
            _check_form(token)
            digest = hashlib.blake2b(token.encode(), digest_size=32).digest()
            return self._cached(digest) or await self._verify(token, digest)
        except Invalid as invalid:
            self._log(invalid.reason, str(invalid))
            raise _refusal(invalid) from None
        except Forbidden:
            self._log("claim_missing", f"claim missing: {self._settings.organization_claim}")
            raise

    async def _verify(self, token: str, digest: bytes) -> Identity:
        parsed = parse(token)
        issuers = self._issuers
        leeway = self._settings.jwt_leeway_seconds
        issuer = check(parsed.claims, issuers, leeway, self._clock())
        # No await after this: a key that is removed meanwhile would still be used.
        await check_signature(parsed, issuer)
        proved = identity(
            parsed.claims,
            self._settings.organization_claim,
            reads_executions=self._settings.ownership == "token",
            digest=digest,
            publish_right=self._settings.publish_right,
        )
        # The keys may have been fetched meanwhile.
        check(parsed.claims, [issuer], leeway, self._clock())
        if issuers is self._issuers:
            self._cache.put(digest, proved)
        return proved

    def _log(self, reason: str, text: str) -> None:
        if (suppressed := self._logs[reason].due()) is not None:
            # Every token expires one day.
            level = logging.INFO if reason == "expired" else logging.WARNING
            log.log(
                level,
                "A token was refused: %s (%d more since the last line; `sse-gateway check --token` "
                "explains a token).",
                text,
                suppressed,
            )

    def _keys_generation(self) -> int:
        return sum(issuer.keys.generation for issuer in self._issuers)

    def _clear_cache(self) -> None:
        self._cache.clear()
        self._generation = self._keys_generation()

    def _cached(self, digest: bytes) -> Identity | None:
        if self._generation != self._keys_generation():
            self._clear_cache()
        cached = self._cache.get(digest)
        now = self._clock() - self._settings.jwt_leeway_seconds
        if cached is not None and cached.expires_at <= now:
            # It stays in the cache, and is refused cheaply if it comes again.
            raise Invalid("expired", "it was valid here before")
        return cached


@dataclass(frozen=True, slots=True)
class ParsedToken:
    """A token's parts; nobody has checked yet who signed it."""

    claims: Any
    header: dict[str, Any]
    signed: bytes = field(repr=False)
    signature: bytes = field(repr=False)


def parse(token: str) -> ParsedToken:
    """The parts of *token*.

    Raises:
        Invalid: it is no JWT.
    """
    _check_form(token)
    try:
        head, payload, signature = token.split(".")
        return ParsedToken(
            orjson.loads(_decoded(payload)),
            _header(head),
            token.rpartition(".")[0].encode(),
            _decoded(signature),
        )
    except _HOSTILE:
        raise Invalid("malformed", "it is no JWT") from None


def _check_form(token: str) -> None:
    # With padding, which PyJWT accepts and RFC 7515 (section 2) does not, one token would have
    # several texts.
    if len(token) > MAX_TOKEN_BYTES or not token.isascii() or "=" in token:
        raise Invalid("malformed", f"it is no JWT of at most {MAX_TOKEN_BYTES} bytes")


async def check_signature(token: ParsedToken, issuer: Issuer) -> None:
    """Whether *issuer* has signed *token*; nothing is awaited after its keys are known.

    Raises:
        Invalid: it has not.
        Unavailable: its keys could not be fetched.
    """
    algorithm, kid = token.header.get("alg"), token.header.get("kid")
    # The header chooses among the allowed algorithms, and the key must fit that: a public key
    # must not be used as a secret (RFC 8725, sections 3.1 and 3.2). The gateway supports no
    # extension, so none may be critical (RFC 7515, section 4.1.11).
    if algorithm not in issuer.algorithms:
        raise Invalid("algorithm", f"wanted {' or '.join(issuer.algorithms)}, got {algorithm}")
    if "crit" in token.header or "b64" in token.header:
        raise Invalid("algorithm", "its header asks for an extension (crit or b64)")
    candidates = await issuer.keys.candidates(algorithm, kid)
    if not candidates:
        raise Invalid("unknown_key", f"there is no key for {algorithm} with the kid {kid}")
    if not any(key.has_signed(token.signed, token.signature, algorithm) for key in candidates):
        raise Invalid("signature", "no key that is set has signed it")


@lru_cache(maxsize=_HEADERS)
def _header(segment: str) -> dict[str, Any]:
    """The header in the first *segment* of a token; PyJWT checks that a `kid` is text."""
    return jwt.get_unverified_header(f"{segment}.e30.")


def _decoded(segment: str) -> bytes:
    """What *segment* is the one base64url text of (RFC 7515, section 2)."""
    decoded = urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    # Python's decoder skips what does not belong there.
    if urlsafe_b64encode(decoded).rstrip(b"=") != segment.encode():
        raise ValueError("not base64url")
    return decoded


def _size_of(proved: Identity) -> int:
    size = _ENTRY_BYTES + getsizeof(proved.subject) + getsizeof(proved.token_id)
    for names in (proved.organizations, proved.executions, proved.publishes):
        if names:
            size += getsizeof(names) + sum(map(getsizeof, names))
    return size


def _refusal(invalid: Invalid) -> Unauthenticated:
    if invalid.reason == "expired":
        refusal = Unauthenticated("The token has expired: get a new one.", "token_expired")
    else:
        refusal = Unauthenticated(
            "The token is not valid for this gateway: get a new one. If that is refused too, "
            "compare the key, the algorithms, the issuer and the audience in the gateway's "
            "settings with those of your tokens."
        )
    refusal.reason = invalid.reason
    return refusal


def issue(
    secret: str,
    *,
    organization_id: str,
    subject: str = "dev",
    ttl_seconds: int = 3600,
    claim: str = "organization_id",
    algorithm: str = "HS256",
    more: Mapping[str, object] | None = None,
) -> str:
    """A signed token for development and tests; *more*: further claims, such as `iss`, or others
    than the usual ones."""
    now = int(time.time())
    claims = {
        "sub": subject,
        **place(claim, organization_id),
        "iat": now,
        "exp": now + ttl_seconds,
        **(more or {}),
    }
    return jwt.encode(claims, secret, algorithm=algorithm)
