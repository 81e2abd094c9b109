"""How a publisher sends by HTTP: one request for one or several events of an execution.

`SyncPublisher` needs urllib3, which keeps connections and shares them among threads.
"""

import inspect
import os
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import aiohttp

from gateway.contract.registration import Registration
from gateway.errors import ConfigurationError
from gateway.publisher.composer import Outgoing
from gateway.publisher.http_target import Answer, HttpTarget, Request, Token, is_token
from gateway.publisher.retry import AttemptFailed

if TYPE_CHECKING:
    import urllib3

_CONNECTIONS = 100
"""Most that are kept, for as many threads or tasks that publish at the same time."""


class _Bearer:
    """The token that was taken last. Where it is refused, it is asked for again."""

    def __init__(self, token: Token | None) -> None:
        self._given = token if callable(token) else lambda: token or ""
        self._known = ""

    def ask(self) -> str | Awaitable[str]:
        """The token, or an awaitable of it; raises AttemptFailed where the function fails."""
        with _renewal():
            return self._known or self._given()

    def header(self, token: object) -> Mapping[str, str]:
        """The header with *token*, which is remembered; raises AttemptFailed if it is none."""
        if not is_token(token):
            raise AttemptFailed("The function `token` has returned no token.", is_temporary=True)
        self._known = token
        return {"Authorization": f"Bearer {token}"}

    def check(self, status: int, token: object) -> None:
        """Forget *token* if the gateway has refused it."""
        if status == 401 and self._known == token:
            self._known = ""


@contextmanager
def _renewal() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # Only its name: what it says may hold a secret.
        name = type(error).__name__
        raise AttemptFailed(
            f"The function `token` has raised {name}.", is_temporary=True, detail=name
        ) from error


class AsyncHttp:
    """Sends from asyncio; *timeout*: seconds of one attempt."""

    def __init__(self, target: HttpTarget, timeout: float) -> None:
        self._target = target
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._bearer = _Bearer(target.token)
        # It belongs to a loop, which may not run yet.
        self._session: aiohttp.ClientSession | None = None

    async def publish(self, events: Sequence[Outgoing], began: int | None) -> list[str]:
        """One attempt to publish *events*; see `HttpTarget.ids`."""
        answer = await self._answer(self._target.publishing(events, began))
        return self._target.ids(events, answer)

    async def register(self, registration: Registration) -> None:
        """One attempt to register; see `HttpTarget.check_registered`."""
        self._target.check_registered(await self._answer(self._target.registering(registration)))

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    async def _answer(self, request: Request) -> Answer:
        token = self._bearer.ask()
        if inspect.isawaitable(token):
            with _renewal():
                token = await token
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout)
        try:
            async with self._session.request(
                request.method,
                request.url,
                data=request.body,
                headers={**request.headers, **self._bearer.header(token)},
                allow_redirects=False,
            ) as answer:
                content = await answer.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _unreachable(error, isinstance(error, TimeoutError)) from error
        self._bearer.check(answer.status, token)
        return Answer(answer.status, answer.headers.get("Retry-After"), content)


class SyncHttp:
    """Sends from threads; *timeout*: seconds of one attempt."""

    def __init__(self, target: HttpTarget, timeout: float) -> None:
        try:
            import urllib3
        except ImportError:
            raise ConfigurationError(
                ["url: SyncPublisher needs urllib3 for HTTP: pip install 'sse-gateway[http]'."]
            ) from None
        self._target = target
        self._timeout = urllib3.Timeout(total=timeout)
        self._bearer = _Bearer(target.token)
        self._http = urllib3
        self._pools: dict[int, urllib3.PoolManager] = {}

    def publish(self, events: Sequence[Outgoing], began: int | None) -> list[str]:
        """One attempt to publish *events*; see `HttpTarget.ids`."""
        return self._target.ids(events, self._answer(self._target.publishing(events, began)))

    def register(self, registration: Registration) -> None:
        """One attempt to register; see `HttpTarget.check_registered`."""
        self._target.check_registered(self._answer(self._target.registering(registration)))

    def close(self) -> None:
        """Close all connections of this process."""
        if (pool := self._pools.pop(os.getpid(), None)) is not None:
            pool.clear()

    def _pool(self) -> "urllib3.PoolManager":
        # After a fork a child must not write into its parent's connections.
        if (pool := self._pools.get(os.getpid())) is None:
            pool = self._http.PoolManager(maxsize=_CONNECTIONS, timeout=self._timeout)
            pool = self._pools.setdefault(os.getpid(), pool)
        return pool

    def _answer(self, request: Request) -> Answer:
        token = self._bearer.ask()
        headers = {**request.headers, **self._bearer.header(token)}
        try:
            answer = self._pool().request(
                request.method,
                request.url,
                body=request.body,
                # http.client would send what is not ASCII as Latin-1.
                headers={name: text.encode().decode("latin-1") for name, text in headers.items()},
                redirect=False,
                retries=False,
            )
        except (self._http.exceptions.HTTPError, OSError) as error:
            kinds = self._http.exceptions
            # That is a timeout to urllib3, too.
            is_refused = isinstance(error, kinds.NewConnectionError)
            is_timeout = isinstance(error, kinds.TimeoutError | TimeoutError) and not is_refused
            raise _unreachable(error, is_timeout) from error
        self._bearer.check(answer.status, token)
        return Answer(answer.status, answer.headers.get("Retry-After"), answer.data)


def _unreachable(error: Exception, is_timeout: bool) -> AttemptFailed:
    if is_timeout:
        problem = "The gateway does not answer in time: it hangs, or the network does."
    elif "CERTIFICATE_VERIFY_FAILED" in str(error):
        problem = (
            "The certificate of the gateway is not trusted: name the authority that signed it in "
            "SSL_CERT_FILE, and use the host name that the certificate has."
        )
    else:
        problem = "The gateway cannot be reached: check that it runs and that the URL names it."
    return AttemptFailed(problem, is_temporary=True, detail=repr(error))
