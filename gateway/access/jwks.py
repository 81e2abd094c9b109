"""The issuer's keys from the URL where it publishes them: a JWK set (RFC 7517, section 5).

One task fetches them: at the start, every ten minutes, and when a token names an unknown key. So at
most one request runs at a time, and everyone waits for that one. After a failure the keys stay.

Anyone can invent the name of a key (`kid`), so few fetches are made for unknown ones. A token is
refused for its `kid` only after a fetch that began later than its request. Until then its key may
be a new one, and the request waits, or may try again.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import aiohttp
import jwt
import orjson
from cryptography.exceptions import UnsupportedAlgorithm

from gateway.access.keys import Key, fitting, public_key
from gateway.errors import Unavailable
from gateway.log import RateLimitedLog
from gateway.retry import Backoff, jittered
from gateway.settings import variable

log = logging.getLogger(__name__)

REFRESH_SECONDS = 600.0
REFETCH_SECONDS = 10.0
"""Least time between two attempts for an unknown `kid`, on average."""
REFETCH_BURST = 3
"""So many of them may come at once: an invented `kid` rarely delays a new one."""
ABSENT_SECONDS = 30.0
"""How long a `kid` that the issuer does not publish is not asked for again."""
MAX_ABSENT = 1000
"""Most of these that are remembered."""
TIMEOUT_SECONDS = 5.0
MAX_WAIT_SECONDS = 6.0
"""How long a request waits for an attempt."""
MAX_BYTES = 512 * 1024
MAX_KEYS = 100
"""Reading one blocks the event loop for about 0.1 ms."""

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 60.0
"""Seconds between two attempts while they fail."""
_READER = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}
"""PyJWT's algorithm that reads a JWK of each kind; `public_key` decides what the key may verify."""


class JwksKeys:
    """The keys at a URL, updated by `run`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._published: list[Any] | None = None
        self._keys: tuple[Key, ...] | None = None
        self.problem: str | None = None
        """What was wrong with the last attempt; None if it succeeded, or before the first one."""
        self._wanted = asyncio.Event()
        self._attempting = False
        # Of the attempt that runs or comes next; set at its end, and then there is another one.
        self._ended = asyncio.Event()
        self._attempt_began = float("-inf")
        # The generic cell rate algorithm: when attempts for an unknown kid are all paid for.
        self._paid_at = float("-inf")
        # By the digest of a kid, when it may be asked for again. The oldest is first.
        self._absent: dict[bytes, float] = {}
        self._failure_log = RateLimitedLog(60.0)
        self._fetched_at = time.monotonic()
        self.generation = 0

    @property
    def age(self) -> float:
        """Seconds since the keys were last fetched, or since the start if they never were."""
        return time.monotonic() - self._fetched_at

    @property
    def never_had(self) -> str | None:
        """Why there are no keys at all, as a sentence; None before the first attempt."""
        if self._keys is not None or self.problem is None:
            return None
        # The problem may have the address.
        return (
            "No token can be checked: the issuer's keys could not be fetched. See the gateway's "
            f"log, and check {variable('jwks_url')}."
        )

    async def run(self) -> None:
        """Fetch the keys again and again, until cancelled."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            pauses = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
            while True:
                await self._attempt(session)
                if self.problem is None:
                    pauses.reset()
                pause = pauses.next() if self.problem else jittered(REFRESH_SECONDS)
                await self._pause(pause)

    async def candidates(self, algorithm: str, kid: str | None) -> Sequence[Key]:
        """Waits for a fetch if *kid* is not known."""
        if not self._knows(kid) and not self._is_absent(kid):
            await self._look_for(kid)
        named = [key for key in self._keys or () if kid is None or key.kid == kid]
        return fitting(named, algorithm)

    def _knows(self, kid: str | None) -> bool:
        keys = self._keys
        return keys is not None and (kid is None or any(key.kid == kid for key in keys))

    def _is_absent(self, kid: str | None) -> bool:
        now = asyncio.get_running_loop().time()
        return kid is not None and self._absent.get(_digest(kid), now) > now

    async def _look_for(self, kid: str | None) -> None:
        """Wait until *kid* is known, or an attempt that began later shows that it is not there.

        Raises:
            Unavailable: nothing has shown either.
        """
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        with suppress(TimeoutError):
            async with asyncio.timeout(MAX_WAIT_SECONDS):
                while True:
                    if not self._attempting:
                        self._wanted.set()
                    await self._ended.wait()
                    if self._knows(kid):
                        return
                    if self.problem is not None:
                        break
                    if kid is not None and self._attempt_began >= asked_at:
                        self._remember_absent(kid, loop.time() + ABSENT_SECONDS)
                        return
        # The token may be valid with a new key: the refusal must be temporary.
        raise Unavailable(
            "The token cannot be checked now: its key is not known, and the issuer's keys could "
            "not be fetched yet. Try again in a few seconds."
        )

    def _remember_absent(self, kid: str, until: float) -> None:
        digest = _digest(kid)
        self._absent.pop(digest, None)
        self._absent[digest] = until
        if len(self._absent) > MAX_ABSENT:
            del self._absent[next(iter(self._absent))]

    async def _pause(self, seconds: float) -> None:
        """Until a fetch is wanted and paid for, but no longer than *seconds*."""
        loop = asyncio.get_running_loop()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wanted.wait()
                debt = self._paid_at - (REFETCH_BURST - 1) * REFETCH_SECONDS - loop.time()
                await asyncio.sleep(max(0.0, debt))
                self._paid_at = max(self._paid_at, loop.time()) + REFETCH_SECONDS

    async def _attempt(self, session: aiohttp.ClientSession) -> None:
        self._wanted.clear()
        self._attempting = True
        self._attempt_began = asyncio.get_running_loop().time()
        try:
            self._take(await self._fetch(session))
            self.problem = None
            self._fetched_at = time.monotonic()
        except (aiohttp.ClientError, OSError, ValueError) as error:
            self.problem = type(error).__name__ + (f" ({error})" if str(error) else "")
            self._failure_log.warning(
                log,
                "The issuer's keys (GATEWAY_JWKS_URL) could not be fetched: %s; %s.",
                self.problem,
                "the last ones stay in use" if self._keys else "no token can be checked",
            )
        finally:
            self._attempting = False
            ended, self._ended = self._ended, asyncio.Event()
            ended.set()

    async def _fetch(self, session: aiohttp.ClientSession) -> bytes:
        body = bytearray()
        # No redirects: they could lead anywhere, to plain HTTP too.
        async with session.get(self.url, allow_redirects=False) as response:
            if response.status != 200:
                raise ValueError(f"the answer was {response.status} instead of 200")
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise ValueError(f"the answer is larger than {MAX_BYTES} bytes")
        return bytes(body)

    def _take(self, body: bytes) -> None:
        """Use the keys of a fetched set if it has changed."""
        document = orjson.loads(body)
        published = document.get("keys") if isinstance(document, dict) else None
        if not isinstance(published, list) or len(published) > MAX_KEYS:
            raise ValueError(f"the answer is not a JWK set of at most {MAX_KEYS} keys")
        if published == self._published:
            return
        keys = read_jwks(published)
        if not keys:
            raise ValueError("the answer has no key that can be used")
        self._published, self._keys = published, keys
        self.generation += 1


def _digest(kid: str) -> bytes:
    return hashlib.blake2b(kid.encode(errors="replace"), digest_size=16).digest()


def read_jwks(published: Sequence[object]) -> tuple[Key, ...]:
    """The usable keys of a JWK set; for each of the others a log line says what is wrong."""
    keys = []
    for number, jwk in enumerate(published, 1):
        try:
            keys.append(_read(jwk))
        except (jwt.PyJWTError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            # PyJWT's own message may quote the whole key.
            why = "it is damaged" if isinstance(error, jwt.PyJWTError) else error
            log.warning("Key %d of the issuer's JWK set is not used: %s.", number, why)
    return tuple(keys)


def _read(jwk: object) -> Key:
    if not isinstance(jwk, dict) or jwk.get("kty") not in _READER:
        raise ValueError("its kty is not RSA, EC or OKP")
    if jwk.get("use", "sig") != "sig":
        raise ValueError("its use is not sig")
    if "d" in jwk:
        raise ValueError("it is a private key, which is public now: replace it")
    kid, algorithm = jwk.get("kid"), jwk.get("alg")
    if not (kid is None or isinstance(kid, str)):
        raise ValueError("its kid is not text")
    key = public_key(jwt.PyJWK(jwk, _READER[jwk["kty"]]).key, kid)
    if algorithm is None:
        return key
    if algorithm not in key.algorithms:
        raise ValueError("its alg does not fit it, or is not supported")
    return Key(key.material, frozenset({algorithm}), kid)
