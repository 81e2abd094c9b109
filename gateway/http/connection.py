"""What a client's connection may do before anybody knows who it is.

aiohttp sets no limit to the time that a connection takes for its first request, words the refusal
of what it cannot parse as plain text, and repeats the request's own bytes in it. All three are
mended here. What a parsed request may contain is decided by `gateway.http.hygiene`.
"""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from itertools import takewhile

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from gateway.http.access_log import AccessLogger, access_log, server_log
from gateway.http.errors import json_response
from gateway.http.headers import add_common_headers

MAX_LINE_BYTES = 8192
"""Most bytes of a request's target, and of one header's value: a token of many claims takes 4 KiB,
in the header or in the query; nginx by default passes on no more either."""

MAX_HEADERS = 64
"""Most headers of a request: browsers send some 20, and proxies add a few."""

KEEPALIVE_SECONDS = 75.0
"""Seconds that a connection may be idle, or busy with the next request's headers, after a response.
Longer than nginx keeps one to its upstream (60), so that nginx never sends a request into a
connection that is just being closed, which would be a 502."""

LINGER_SECONDS = 1.0
"""Seconds for which a refused body is still read, since closing at once would let the kernel
discard the refusal before the client has read it."""

_CHECKS = 10
"""Checks per header timeout: a connection is cut at most a tenth of it late."""


class Connections:
    """Makes the protocol of each connection, and cuts those that bring no request in time.

    A connection stands in here from its beginning to its first request, and an open stream costs
    nothing. `run` is the one task for all of them.
    """

    def __init__(
        self,
        header_timeout: float,
        keepalive_timeout: float = KEEPALIVE_SECONDS,
        set_options: Callable[[socket.socket], None] | None = None,
    ) -> None:
        """Both in seconds: for the headers of the first request, and between two requests.

        *set_options* is given each socket; None where the listening one has passed its options on.
        """
        self._header_timeout = header_timeout
        self.keepalive_timeout = keepalive_timeout
        self._set_options = set_options
        # In the order of their deadlines, since all get the same time.
        self._deadlines: dict[Connection, float] = {}
        self._all_settled = asyncio.Event()

    def __len__(self) -> int:
        """How many have not brought a request yet."""
        return len(self._deadlines)

    def began(self, connection: "Connection", transport: asyncio.BaseTransport) -> None:
        """*connection* was accepted."""
        if self._set_options is not None:
            self._set_options(transport.get_extra_info("socket"))
        now = asyncio.get_running_loop().time()
        self._deadlines[connection] = now + self._header_timeout
        self._all_settled.clear()

    def __contains__(self, connection: object) -> bool:
        """Whether *connection* has not brought a request yet."""
        return connection in self._deadlines

    def settled(self, connection: "Connection") -> None:
        """*connection* has brought a request, or is gone; it may be told more than once."""
        self._deadlines.pop(connection, None)
        if not self._deadlines:
            self._all_settled.set()

    async def settle(self, seconds: float) -> None:
        """Wait until all have brought their requests, at most *seconds*; none is accepted now."""
        if self._deadlines:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._all_settled.wait()

    async def run(self) -> None:
        """Cut those that are overdue, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._header_timeout / _CHECKS)
            for connection in self._overdue(loop.time()):
                self.settled(connection)
                connection.cut()

    def _overdue(self, now: float) -> list["Connection"]:
        begun = takewhile(lambda entry: entry[1] <= now, self._deadlines.items())
        return [connection for connection, _ in begun]


class Connection(web.RequestHandler):
    """aiohttp's protocol of one connection, with our limits and our form of a refusal."""

    __slots__ = ("_connections",)

    def __init__(self, server: web.Server, connections: Connections) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=connections.keepalive_timeout,
            # Inherited from the listening socket, which saves two system calls a connection.
            tcp_keepalive=False,
            lingering_time=LINGER_SECONDS,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_LINE_BYTES,
            max_headers=MAX_HEADERS,
            # A body of a few bytes could otherwise unfold to any size.
            auto_decompress=False,
            access_log_class=AccessLogger,
            access_log=access_log,
            logger=server_log,
        )
        self._connections = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        super().connection_made(transport)
        self._connections.began(self, transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Called by the event loop."""
        self._connections.settled(self)
        super().connection_lost(exc)

    def request_arrived(self) -> None:
        """The headers of a request are complete."""
        self._connections.settled(self)

    def close(self) -> None:
        """Called by aiohttp when the gateway begins to stop: who has nothing to ask is let go.

        Who has just connected is about to ask, and would lose a request that is on its way.
        """
        if self not in self._connections:
            super().close()

    def cut(self) -> None:
        """End it at once, without a word: whoever is that slow has no use for one."""
        if self.transport is not None:
            self.transport.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what could not be parsed, which aiohttp then closes the connection on.

        Raises:
            ConnectionError: an answer was begun already.
        """
        # For its log line alone: the text that it answers repeats what the stranger sent.
        super().handle_error(request, status, exc, message)
        if isinstance(exc, LineTooLong):
            # RFC 6585, section 5.
            return _refusal(
                431, "headers_too_large", "The request line or a header exceeds 8 KiB: shorten it."
            )
        if status < 500:
            return _refusal(
                400,
                "malformed_request",
                "The request is not valid HTTP: mend the client that sent it.",
            )
        return _refusal(status, "internal_error", "The gateway failed; its log says why.")

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Called by aiohttp with each answer, also with those that no middleware has seen."""
        if isinstance(resp, web.HTTPException) and resp.status == 417:
            resp = _refusal(
                417, "expectation_failed", "Only `Expect: 100-continue` can be met: leave it out."
            )
        return await super().finish_response(request, resp, start_time)


class Accepting:
    """What an event loop calls for each connection that it accepts on behalf of *server*."""

    def __init__(self, server: web.Server, connections: Connections) -> None:
        self._server = server
        self._connections = connections

    def __call__(self) -> Connection:
        return Connection(self._server, self._connections)

    @property
    def requests_count(self) -> int:
        """Requests so far, for Gunicorn's `--max-requests`."""
        return self._server.requests_count


def _refusal(status: int, code: str, message: str) -> web.Response:
    response = json_response({"error": code, "message": message}, status)
    # No signal of the application is sent for a request that could not be parsed.
    add_common_headers(response)
    response.force_close()
    return response
