"""The issuer's keys from where it publishes them: a JWK set (RFC 7517, section 5) at a URL.

One task fetches, at the start, every ten minutes, and when a token names a key that is not known.
So there is never more than one request under way, and whoever needs it waits for that one. A fetch
that fails leaves the keys as they were. Which key has signed a token is decided elsewhere.
"""

import asyncio
import logging
import random
from collections.abc import Sequence
from typing import Any

import aiohttp
import jwt
import orjson
from cryptography.exceptions import UnsupportedAlgorithm

from gateway.access.keys import Key, fitting, public_key
from gateway.errors import Unavailable
from gateway.log import RateLimitedLog

log = logging.getLogger(__name__)

REFRESH_SECONDS = 600.0
REFETCH_SECONDS = 30.0
"""Least time between the last attempt and one for an unknown `kid`, which a stranger can invent."""
TIMEOUT_SECONDS = 5.0
MAX_WAIT_SECONDS = 6.0
"""How long a request waits for an attempt, which is over by then if anybody makes one."""
MAX_BYTES = 512 * 1024
MAX_KEYS = 100
"""Reading one takes 0.1 ms or so, in which the loop does nothing else."""

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 60.0
"""Seconds between two attempts while they fail."""
_READER = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}
"""The algorithm of PyJWT that reads a JWK of each kind; what it is good for, `public_key` says."""


class JwksKeys:
    """The keys at a URL, kept up to date by `run`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._published: list[Any] | None = None
        self._keys: tuple[Key, ...] | None = None
        self.problem: str | None = None
        """What was wrong with the last attempt; None while it was a good one, or before any."""
        self._last_attempt = float("-inf")
        self._wanted = asyncio.Event()
        # Clear while an attempt is under way or about to begin, as it is at the start.
        self._attempted = asyncio.Event()
        self._complaints = RateLimitedLog(60.0)
        self.generation = 0

    async def run(self) -> None:
        """Fetch the keys again and again; ends only by cancellation, which closes all."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            pause = _FIRST_PAUSE
            while True:
                await self._attempt(session)
                if self.problem is not None:
                    wait, pause = pause, min(pause * 2, _LONGEST_PAUSE)
                else:
                    wait, pause = REFRESH_SECONDS, _FIRST_PAUSE
                await self._rest(wait)

    async def candidates(self, algorithm: str, kid: str | None) -> Sequence[Key]:
        """See `Keys.candidates`; waits for a fetch if *kid* is not known."""
        if not self._knows(kid):
            await self._look_again()
        if self._keys is None or (self.problem is not None and not self._knows(kid)):
            # The keys may just have been changed: that is no reason to turn a user away for good.
            raise Unavailable(
                "The token cannot be checked now: the issuer's keys could not be fetched. Try "
                "again in a few seconds."
            )
        named = [key for key in self._keys if kid is None or key.kid == kid]
        return fitting(named, algorithm)

    def _knows(self, kid: str | None) -> bool:
        """Whether there are keys, and one of that name if there is a name."""
        keys = self._keys
        return keys is not None and (kid is None or any(key.kid == kid for key in keys))

    async def _look_again(self) -> None:
        """Wait for the attempt that is under way, or for one of its own if it is time for one."""
        now = asyncio.get_running_loop().time()
        if now >= self._last_attempt + REFETCH_SECONDS:
            self._attempted.clear()
            self._wanted.set()
        try:
            async with asyncio.timeout(MAX_WAIT_SECONDS):
                await self._attempted.wait()
        except TimeoutError:
            raise Unavailable(
                "The token cannot be checked now: nobody fetches the issuer's keys. Try again in "
                "a few seconds; if that does not help, the gateway must be restarted."
            ) from None

    async def _rest(self, seconds: float) -> None:
        """Until a fetch is wanted, but no longer than *seconds*, shortened at random."""
        # Several gateways that lost the issuer together do not come back together.
        jitter = random.uniform(0.5, 1.0)  # noqa: S311  spreads load, guards nothing
        try:
            async with asyncio.timeout(seconds * jitter):
                await self._wanted.wait()
        except TimeoutError:
            return

    async def _attempt(self, session: aiohttp.ClientSession) -> None:
        self._attempted.clear()
        self._wanted.clear()
        self._last_attempt = asyncio.get_running_loop().time()
        try:
            self._take(await self._fetch(session))
            self.problem = None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            said = f" ({error})" if str(error) else ""
            self.problem = f"{type(error).__name__}{said}"
            if (held_back := self._complaints.due()) is not None:
                log.warning(
                    "The issuer's keys (GATEWAY_JWKS_URL) could not be fetched: %s; %s. "
                    "%d such lines held back.",
                    self.problem,
                    "the last ones stay in use" if self._keys else "no token can be checked",
                    held_back,
                )
        finally:
            self._attempted.set()

    async def _fetch(self, session: aiohttp.ClientSession) -> bytes:
        body = bytearray()
        # A redirect could lead anywhere, to plain HTTP too.
        async with session.get(self._url, allow_redirects=False) as response:
            if response.status != 200:
                raise ValueError(f"the answer was {response.status} instead of 200")
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise ValueError(f"the answer is larger than {MAX_BYTES} bytes")
        return bytes(body)

    def _take(self, body: bytes) -> None:
        """Use the keys of a fetched set, if it is another one than before."""
        document = orjson.loads(body)
        published = document.get("keys") if isinstance(document, dict) else None
        if not isinstance(published, list) or len(published) > MAX_KEYS:
            raise ValueError(f"the answer is no JWK set of at most {MAX_KEYS} keys")
        if published == self._published:
            return
        keys = read_jwks(published)
        if not keys:
            raise ValueError("the answer holds no key that can be used")
        self._published, self._keys = published, keys
        self.generation += 1


def read_jwks(published: Sequence[object]) -> tuple[Key, ...]:
    """The usable keys of a JWK set; each of the others is logged with what is wrong with it."""
    keys = []
    for number, jwk in enumerate(published, 1):
        try:
            keys.append(_read(jwk))
        except (jwt.PyJWTError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            # Not with PyJWT's own words, which may hold the whole key.
            why = "it is damaged" if isinstance(error, jwt.PyJWTError) else error
            log.warning("Key %d of the issuer's JWK set is not used: %s.", number, why)
    return tuple(keys)


def _read(jwk: object) -> Key:
    """One public signature key.

    Raises:
        ValueError: it is something else.
        jwt.PyJWTError, TypeError, UnsupportedAlgorithm: its numbers make no key.
    """
    if not isinstance(jwk, dict) or jwk.get("kty") not in _READER:
        raise ValueError("its kty is none of RSA, EC and OKP")
    if jwk.get("use", "sig") != "sig":
        raise ValueError("its use is not sig")
    if "d" in jwk:
        raise ValueError("it is a private key, which everybody can read there: replace it")
    kid, algorithm = jwk.get("kid"), jwk.get("alg")
    if not (kid is None or isinstance(kid, str)):
        raise ValueError("its kid is no text")
    key = public_key(jwt.PyJWK(jwk, _READER[jwk["kty"]]).key, kid)
    if algorithm is None:
        return key
    if algorithm not in key.algorithms:
        raise ValueError("its alg does not fit it, or is not supported")
    return Key(key.material, frozenset({algorithm}), kid)
