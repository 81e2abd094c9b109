"""`GATEWAY_OWNERSHIP=backend`: asks the customer's own backend whether a viewer may see an
execution, with the viewer's own credentials, as nginx's `auth_request` does.

2xx is a yes, 401, 403 and 404 are a no, anything else means that it cannot tell now. Its answers
are remembered for moments, and all who ask the same at the same time share one request. What one
subject asks keeps nobody else's question waiting.
"""

import hashlib
import time
from collections.abc import Callable
from urllib.parse import quote

import aiohttp
from yarl import URL

from gateway.access.fair_share import FairShare
from gateway.access.remembered import Remembered
from gateway.dataloader import SingleFlight
from gateway.errors import BackendUnavailable, ExecutionNotFound
from gateway.principal import Principal
from gateway.retry import poll_until, unavailable

NO_SECONDS = 1.0
"""A "no" is remembered for so long at most: it may only mean "not yet"."""
CONNECTIONS = 32
"""Most requests to the backend at a time; the others wait their turn."""
SHARE = 8
"""Most of these for one subject, who may invent any number of ids to ask about."""
MAX_WAITING = 256
"""Most questions of one subject that wait; more are tried again as long as their request waits."""
REMEMBERED_BYTES = 4 * 1024 * 1024
"""Most memory that remembered answers take: some 16,000."""

_ANSWER_BYTES = 256
"""Of a digest, an answer and its time, as measured."""

_NO = (401, 403, 404)
_DOTS = (".", "..")
"""Valid ids, but in a path they mean another one, and no encoding changes that (RFC 3986, 3.3)."""

Answer = tuple[bool, float]
"""The answer and the moment at which it is forgotten."""


class BackendOwnership:
    """Asks the backend; `close` when the gateway stops."""

    def __init__(
        self,
        url: str,
        *,
        timeout: float,
        remember: float,
        wait: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """*url* is a template with `{execution_id}`, perhaps `{organization_id}`. In seconds: the
        *timeout* of a request, how long to *remember* a yes, how long to *wait* for one."""
        self._url = url
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._remember = remember
        self._wait = wait
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._asking: SingleFlight[tuple[bytes, bool], bool] = SingleFlight()
        self._turns = FairShare(CONNECTIONS, SHARE, MAX_WAITING)
        self._answers: Remembered[Answer] = Remembered(REMEMBERED_BYTES, lambda _: _ANSWER_BYTES)

    async def admit(self, principal: Principal, *, again: bool = False) -> None:
        """See `Ownership.admit`.

        A ticket leaves no credentials to ask with. The backend said yes when it was given, half a
        minute ago at most, and that is good for opening a stream, but not for a later history.
        """
        if principal.token is None:
            if again:
                raise unavailable("The history has begun again, and a ticket is good once.")
            return
        if principal.execution_id in _DOTS or principal.organization_id in _DOTS:
            raise ExecutionNotFound
        if not await poll_until(lambda: self._may_see(principal, again), self._wait, "The backend"):
            raise ExecutionNotFound

    async def close(self) -> None:
        """Give up what is under way and close the connections."""
        await self._asking.stop()
        if self._session is not None:
            await self._session.close()

    async def _may_see(self, principal: Principal, again: bool) -> bool:
        # A digest: no token is kept that need not be, and every question is as long.
        asked = (principal.token, principal.organization_id, principal.execution_id)
        question = hashlib.sha256(repr(asked).encode()).digest()
        answer, until = self._answers.get(question) or (False, 0.0)
        # A yes that is remembered was for the history before.
        if self._clock() < until and not (answer and again):
            return answer
        return await self._asking.ask(
            (question, again), lambda: self._ask_and_remember(question, principal)
        )

    async def _ask_and_remember(self, question: bytes, principal: Principal) -> bool:
        # Trouble is raised, and so not remembered.
        async with self._turns.turn(principal.identity.payer):
            answer = await self._ask(principal)
        seconds = self._remember if answer else min(self._remember, NO_SECONDS)
        self._answers.put(question, (answer, self._clock() + seconds))
        return answer

    async def _ask(self, principal: Principal) -> bool:
        """One request.

        Raises:
            BackendUnavailable: it gave no answer, or one that is neither yes nor no.
        """
        url = self._url.format(
            execution_id=quote(principal.execution_id, safe=""),
            organization_id=quote(principal.organization_id, safe=""),
        )
        headers = {
            "Authorization": f"Bearer {principal.token}",
            "X-Organization-ID": principal.organization_id,
        }
        try:
            # A redirect is no answer, and the credentials are for this address alone.
            async with self._client().get(
                URL(url, encoded=True), headers=headers, allow_redirects=False
            ) as response:
                status = response.status
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise BackendUnavailable(
                f"The backend that knows whose executions are whose cannot be asked "
                f"({type(error).__name__})."
            ) from None
        if 200 <= status < 300 or status in _NO:
            return status not in _NO
        raise BackendUnavailable(
            f"The backend that knows whose executions are whose answered {status}."
        )

    def _client(self) -> aiohttp.ClientSession:
        # Not before the loop runs. Without cookies: one viewer's must not reach another's request.
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=self._timeout,
                headers={"User-Agent": "sse-gateway", "Accept": "application/json"},
            )
        return self._session
