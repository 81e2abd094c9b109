"""Who owns an execution: by the registry, the customer's backend, or the token alone."""

import hashlib
import logging
import time
from collections.abc import Callable
from typing import Protocol
from urllib.parse import quote

import aiohttp
from yarl import URL

from gateway.access.fair_share import FairShare
from gateway.access.lru_cache import LruCache
from gateway.bus.registry import Registry
from gateway.bus.revocations import Revocations
from gateway.dataloader import SingleFlight
from gateway.errors import BackendUnavailable, ExecutionNotFound, RegistrationLost
from gateway.principal import Principal
from gateway.retry import poll_until, unavailable

log = logging.getLogger(__name__)

NO_SECONDS = 1.0
"""How long a "no" of the backend is cached at most: it may only mean "not yet"."""
CONNECTIONS = 32
"""Most requests to the backend at a time; the others wait."""
COMES_BACK = 5.0
"""Seconds in which a tab whose stream was closed comes back."""
SHARE = 8
"""Most of these for one subject, who can invent any number of ids to ask about."""
MAX_WAITING = 256
"""Most questions of one subject that wait."""
CACHE_BYTES = 4 * 1024 * 1024
"""Most memory for cached answers: some 16,000."""

_ANSWER_BYTES = 256
"""Of a digest, an answer and its time, as measured."""
NO = (401, 403, 404)
_DOTS = (".", "..")
"""Valid ids, but in a path they mean another one, and encoding does not help (RFC 3986, 3.3)."""


class Ownership(Protocol):
    """Decides whether a principal's organization may see an execution."""

    learns_revocations: bool
    """Whether `admit` has learned of all that was revoked before its last question."""

    async def admit(self, principal: Principal, *, again: bool = False) -> None:
        """Return when it may. *again*: its stream is open, and the history has a new epoch; answers
        about the former one do not count.

        Raises:
            ExecutionNotFound: it may not, or there is no such execution.
            Unavailable: the question could not be answered in time.
        """


class TokenOwnership:
    """`GATEWAY_OWNERSHIP=token`: a valid token may see any execution, or those that its claim
    `executions` lists."""

    learns_revocations = False

    def __init__(self) -> None:
        log.warning(
            "Ownership is `token`: every valid token may watch every execution, of any "
            "organization, unless its claim `executions` lists some. Use it only for a gateway "
            "with one customer; GATEWAY_OWNERSHIP=registry keeps organizations apart."
        )

    async def admit(self, principal: Principal, *, again: bool = False) -> None:
        executions = principal.identity.executions
        if executions is not None and principal.execution_id not in executions:
            raise ExecutionNotFound


class RegistryOwnership:
    """`GATEWAY_OWNERSHIP=registry`: the organization that the execution was registered for."""

    learns_revocations = True

    def __init__(self, registry: Registry, revocations: Revocations, wait: float) -> None:
        """*wait*: seconds to wait for a registration, or for Redis."""
        self._registry = registry
        self._revocations = revocations
        self._wait = wait
        self._lost_at = float("-inf")

    def storage_lost(self) -> None:
        """Redis has lost registrations: for a while an unknown execution is a temporary refusal,
        since it may be registered again."""
        self._lost_at = time.monotonic()

    async def admit(self, principal: Principal, *, again: bool = False) -> None:
        """Raises RegistrationLost too: *again*, and nobody's registration is there any more."""
        began = time.monotonic()
        owner: str | None = None

        async def ask() -> bool:
            nonlocal owner
            begun = self._revocations.begin()
            owner = await self._registry.owner(principal.execution_id)
            if owner != principal.organization_id:
                return False
            # In the same trip, which the wait for the execution was before.
            await self._revocations.refresh(begun)
            return True

        if await poll_until(ask, self._wait, "Redis"):
            return
        if again and owner is None:
            self.storage_lost()
            raise RegistrationLost
        # Also of another organization's: one answer for both.
        if began - self._lost_at < self._wait + COMES_BACK:
            raise unavailable("Redis has lost its data, and the execution is not registered again.")
        raise ExecutionNotFound


class BackendOwnership:
    """`GATEWAY_OWNERSHIP=backend`: asks the customer's backend with the caller's own credentials,
    as nginx's `auth_request` does.

    2xx is a yes; 401, 403 and 404 are a no; anything else is no answer. Answers are cached for
    seconds, and equal questions share one request.
    """

    learns_revocations = False

    def __init__(
        self,
        url: str,
        *,
        timeout: float,
        cache_seconds: float,
        wait: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """*url* is a template with `{execution_id}` and perhaps `{organization_id}`. In seconds:
        the *timeout* of one request, how long a yes is cached, how long to *wait* for one."""
        self._url = url
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._cache_seconds = cache_seconds
        self._wait = wait
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._requests: SingleFlight[tuple[bytes, bool], bool] = SingleFlight()
        self._turns = FairShare(CONNECTIONS, SHARE, MAX_WAITING)
        # The answer, and when it expires.
        self._cache: LruCache[tuple[bool, float]] = LruCache(CACHE_BYTES, lambda _: _ANSWER_BYTES)

    async def admit(self, principal: Principal, *, again: bool = False) -> None:
        """See `Ownership.admit`. A ticket leaves no credentials to ask with. The backend said yes
        when it was issued, half a minute ago at most: enough to open a stream, but not for a later
        epoch."""
        if principal.token is None:
            if again:
                raise unavailable(
                    "The history has a new epoch, and a ticket cannot be used again: get a new one."
                )
            return
        if principal.execution_id in _DOTS or principal.organization_id in _DOTS:
            raise ExecutionNotFound
        if not await poll_until(lambda: self._may_see(principal, again), self._wait, "The backend"):
            raise ExecutionNotFound

    async def stop(self) -> None:
        """Cancel the requests under way and close the connections."""
        await self._requests.stop()
        if self._session is not None:
            await self._session.close()

    async def _may_see(self, principal: Principal, again: bool) -> bool:
        # A digest: no token stays in memory, and every key has the same size.
        asked = (principal.token, principal.organization_id, principal.execution_id)
        key = hashlib.sha256(repr(asked).encode()).digest()
        answer, expires_at = self._cache.get(key) or (False, 0.0)
        # A cached yes was about the former epoch.
        if self._clock() < expires_at and not (answer and again):
            return answer
        return await self._requests.ask((key, again), lambda: self._ask_and_cache(key, principal))

    async def _ask_and_cache(self, key: bytes, principal: Principal) -> bool:
        async with self._turns.turn(principal.identity.payer):
            answer = await self._ask(principal)
        seconds = self._cache_seconds if answer else min(self._cache_seconds, NO_SECONDS)
        self._cache.put(key, (answer, self._clock() + seconds))
        return answer

    async def _ask(self, principal: Principal) -> bool:
        url = self._url.format(
            execution_id=quote(principal.execution_id, safe=""),
            organization_id=quote(principal.organization_id, safe=""),
        )
        headers = {
            "Authorization": f"Bearer {principal.token}",
            "X-Organization-ID": principal.organization_id,
        }
        try:
            # No redirects: the credentials are for this address alone.
            async with self._client().get(
                URL(url, encoded=True), headers=headers, allow_redirects=False
            ) as response:
                status = response.status
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise BackendUnavailable(
                f"The backend that decides on access did not answer ({type(error).__name__})."
            ) from None
        if 200 <= status < 300 or status in NO:
            return status not in NO
        raise BackendUnavailable(f"The backend that decides on access answered {status}.")

    def _client(self) -> aiohttp.ClientSession:
        # Needs a running loop.
        self._session = self._session or backend_session(self._timeout)
        return self._session


def backend_session(timeout: aiohttp.ClientTimeout) -> aiohttp.ClientSession:
    """The connections to the backend."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONNECTIONS),
        # Without cookies: one caller's must not reach another's request.
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=timeout,
        headers={"User-Agent": "sse-gateway", "Accept": "application/json"},
    )
