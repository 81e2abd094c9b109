"""`GATEWAY_OWNERSHIP=backend`: asks the customer's own backend whether a viewer may see an
execution, with the viewer's own credentials, as nginx's `auth_request` does.

2xx is a yes, 401, 403 and 404 are a no, anything else means that it cannot tell now. Its answers
are remembered for moments, and all who ask the same at the same time share one request.
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from urllib.parse import quote

import aiohttp
from yarl import URL

from gateway.access.patience import wait_until
from gateway.errors import BackendUnavailable, ExecutionNotFound
from gateway.single_flight import SingleFlight
from gateway.viewer import Viewer

NO_SECONDS = 1.0
"""A "no" is remembered for so long at most: it may only mean "not yet"."""
CONNECTIONS = 32
"""Most requests to the backend at a time; the others wait their turn."""
REMEMBERED = 10_000
"""Most answers that are remembered; about 300 bytes each."""

_NO = (401, 403, 404)
_DOTS = (".", "..")
"""Valid ids, but in a path they mean another one, and no encoding changes that (RFC 3986, 3.3)."""

Question = tuple[bytes, str, str]


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
        self._asking: SingleFlight[Question, bool] = SingleFlight()
        # The answer and the moment at which it is forgotten, the oldest first.
        self._answers: OrderedDict[Question, tuple[bool, float]] = OrderedDict()

    async def admit(self, viewer: Viewer) -> None:
        """See `Ownership.admit`.

        Whoever comes with a ticket has no credentials to ask with. The backend said yes when the
        ticket was given, half a minute ago at most.
        """
        if viewer.token is None:
            return
        if viewer.execution_id in _DOTS or viewer.organization_id in _DOTS:
            raise ExecutionNotFound
        if not await wait_until(lambda: self._may_see(viewer), self._wait, "The backend"):
            raise ExecutionNotFound

    async def close(self) -> None:
        """Give up what is under way and close the connections."""
        await self._asking.stop()
        if self._session is not None:
            await self._session.close()

    async def _may_see(self, viewer: Viewer) -> bool:
        token = (viewer.token or "").encode()
        # The digest: no token is kept that need not be.
        question = (hashlib.sha256(token).digest(), viewer.organization_id, viewer.execution_id)
        if (answer := self._remembered(question)) is not None:
            return answer
        return await self._asking.ask(question, lambda: self._ask_and_remember(question, viewer))

    def _remembered(self, question: Question) -> bool | None:
        answer, until = self._answers.get(question, (False, 0.0))
        return answer if self._clock() < until else None

    async def _ask_and_remember(self, question: Question, viewer: Viewer) -> bool:
        # Trouble is raised, and so not remembered.
        answer = await self._ask(viewer)
        seconds = self._remember if answer else min(self._remember, NO_SECONDS)
        self._answers[question] = (answer, self._clock() + seconds)
        self._answers.move_to_end(question)
        if len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)
        return answer

    async def _ask(self, viewer: Viewer) -> bool:
        """One request.

        Raises:
            BackendUnavailable: it gave no answer, or one that is neither yes nor no.
        """
        url = self._url.format(
            execution_id=quote(viewer.execution_id, safe=""),
            organization_id=quote(viewer.organization_id, safe=""),
        )
        headers = {
            "Authorization": f"Bearer {viewer.token}",
            "X-Organization-ID": viewer.organization_id,
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
