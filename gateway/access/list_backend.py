"""Who may see which executions of a list, by the ownership.

Under ownership `backend`, the gateway asks the customer's backend with the user's own token
(`GATEWAY_BACKEND_LIST_URL`). The request is a POST with `{"execution_ids": […]}`; the answer has
those that may be shown, in the same form. 401, 403 and 404 mean none. Answers are remembered for
seconds, then requested again.
"""

import asyncio
import hashlib
from collections.abc import Hashable, Sequence
from urllib.parse import quote

import aiohttp
import orjson
from yarl import URL

from gateway.access.fair_share import FairShare
from gateway.access.ownership import CONNECTIONS, MAX_WAITING, NO, SHARE, backend_session
from gateway.errors import BackendUnavailable, ListsUnavailable
from gateway.lists.view import Viewer
from gateway.principal import Principal
from gateway.retry import unavailable

_ANSWER_BYTES = 64 * 1024
"""Most bytes of an answer: 100 ids of 128 characters have 14 KiB."""

_REMEMBERED = 2000
"""Most executions whose answers are remembered for one viewer."""

_MOST_VIEWERS = 1000
"""Tokens whose answers are remembered while no stream has them."""


class Whole:
    """Sees all of the organization, or the executions that the token names."""

    is_asked = False
    sees_any = True

    def __init__(self, executions: frozenset[str] | None) -> None:
        self._executions = executions

    @property
    def key(self) -> Hashable:
        return self._executions

    def may_see(self, execution_id: str) -> bool | None:
        return self._executions is None or execution_id in self._executions

    async def ask(self, execution_ids: Sequence[str]) -> None:
        """It is known."""


class ListAccess:
    """Says what a principal may see of its organization's list."""

    def __init__(
        self, *, is_backend: bool, url: str | None, timeout: float, cache_seconds: float
    ) -> None:
        """*is_backend*: the backend decides, at *url* if it does so for lists at all."""
        self._is_backend = is_backend
        self._url = url
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self.cache_seconds = cache_seconds
        self._turns = FairShare(CONNECTIONS, SHARE, MAX_WAITING)
        self._session: aiohttp.ClientSession | None = None
        self._viewers: dict[bytes, Asked] = {}

    @property
    def is_on(self) -> bool:
        """Whether there are lists at all."""
        return not self._is_backend or self._url is not None

    def sees(self, principal: Principal) -> Viewer:
        """What *principal* may see.

        Raises:
            ListsUnavailable: the backend decides, and cannot be asked for this.
        """
        if not self._is_backend:
            return Whole(principal.identity.executions)
        if self._url is None:
            raise ListsUnavailable
        if principal.token is None:
            raise ListsUnavailable(
                "A list cannot be opened with a ticket here, since your backend is asked with the "
                "token itself: send the token."
            )
        key = hashlib.sha256(repr((principal.token, principal.organization_id)).encode()).digest()
        viewer = self._viewers.pop(key, None) or Asked(self, principal, key)
        # The latest last; the others live as long as their streams.
        self._viewers[key] = viewer
        while len(self._viewers) > _MOST_VIEWERS:
            self._viewers.pop(next(iter(self._viewers)))
        return viewer

    async def ask(self, principal: Principal, execution_ids: Sequence[str]) -> frozenset[str]:
        """Which of these *principal* may see.

        Raises:
            BackendUnavailable: the backend gave no answer.
        """
        url = (self._url or "").format(organization_id=quote(principal.organization_id, safe=""))
        headers = {
            "Authorization": f"Bearer {principal.token}",
            "X-Organization-ID": principal.organization_id,
            "Content-Type": "application/json",
        }
        body = orjson.dumps({"execution_ids": list(execution_ids)})
        try:
            async with (
                self._turns.turn(principal.identity.payer),
                # No redirects: the credentials are for this address alone.
                self._client().post(
                    URL(url, encoded=True), data=body, headers=headers, allow_redirects=False
                ) as response,
            ):
                if response.status in NO:
                    return frozenset()
                if not 200 <= response.status < 300:
                    raise BackendUnavailable(
                        f"The backend that decides on lists answered {response.status}."
                    )
                answer = await response.content.read(_ANSWER_BYTES)
                return _ids(answer)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise BackendUnavailable(
                f"The backend that decides on lists did not answer ({type(error).__name__})."
            ) from None

    def _client(self) -> aiohttp.ClientSession:
        # Needs a running loop.
        self._session = self._session or backend_session(self._timeout)
        return self._session

    async def stop(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()


class Asked:
    """A viewer of whom the backend is asked."""

    is_asked = True

    def __init__(self, access: ListAccess, principal: Principal, key: bytes) -> None:
        self._access = access
        self._principal = principal
        self.key: Hashable = key
        self._answers: dict[str, tuple[bool, float]] = {}
        """Whether each may be seen, and the loop time at which that was answered."""

    @property
    def sees_any(self) -> bool:
        return any(seen for seen, _ in self._answers.values())

    def may_see(self, execution_id: str) -> bool | None:
        """The last answer, also one that is to be asked again."""
        answer = self._answers.get(execution_id)
        return answer[0] if answer is not None else None

    async def ask(self, execution_ids: Sequence[str]) -> None:
        """Ask about those of which no answer is young enough, a hundred at a time.

        Raises:
            Unavailable: the backend gave no answer; earlier ones still hold.
        """
        now = asyncio.get_running_loop().time()
        due = [
            one
            for one in dict.fromkeys(execution_ids)
            if one not in self._answers or now - self._answers[one][1] >= self._access.cache_seconds
        ]
        for begin in range(0, len(due), 100):
            some = due[begin : begin + 100]
            try:
                seen = await self._access.ask(self._principal, some)
            except BackendUnavailable as error:
                raise unavailable(str(error)) from error
            for one in some:
                self._answers.pop(one, None)
                self._answers[one] = (one in seen, now)
        while len(self._answers) > _REMEMBERED:
            self._answers.pop(next(iter(self._answers)))


def _ids(answer: bytes) -> frozenset[str]:
    try:
        ids = orjson.loads(answer)["execution_ids"]
        return frozenset(one for one in ids if isinstance(one, str))
    except (ValueError, KeyError, TypeError):
        raise BackendUnavailable(
            'The backend that decides on lists did not answer {"execution_ids": […]}.'
        ) from None
