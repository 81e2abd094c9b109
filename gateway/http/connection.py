"""What a client's connection may do before the gateway knows who it is.

aiohttp limits neither the time that a connection takes for its first request nor the number of
connections, and keeps what it cannot parse. Both are limited here and in `gateway.http.screen`.
What a parsed request may contain is decided by `gateway.http.request_limits`.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from contextlib import suppress

from aiohttp import web

from gateway.http.access_log import AccessLogger, access_log, server_log
from gateway.http.responses import INTERNAL_ERROR, final_error
from gateway.http.screen import MAX_HEADERS, MAX_LINE_BYTES, PIECE_BYTES, Fault, Screen, raw_answer
from gateway.log import RateLimitedLog
from gateway.metrics import Metrics

log = logging.getLogger(__name__)

KEEPALIVE_SECONDS = 75.0
"""Seconds that a connection may be idle, or take for the next request's headers, after a response.
Longer than nginx keeps one to its upstream (60): else nginx could send a request on a connection
that is just being closed, and answer 502."""

LINGER_SECONDS = 1.0
"""Seconds for which a refused body is still read: if the connection were closed at once, the kernel
would discard the refusal before the client has read it."""

_CHECKS = 10
"""Checks per header timeout: a connection is cut at most a tenth of it late."""

_LOG_SECONDS = 60.0
"""Seconds between two log lines about connections that were cut or refused."""


class Connections:
    """All connections but the open streams: cuts those that bring no request in time, and the
    longest idle one when there are too many. `tick` is to be called every `tick_seconds`."""

    def __init__(
        self,
        header_timeout: float,
        set_options: Callable[[socket.socket], None] | None = None,
        *,
        most: int | None = None,
        streams: Callable[[], int] = lambda: 0,
        metrics: Metrics | None = None,
        publish: bool = False,
    ) -> None:
        """*header_timeout*: seconds for the headers of the first request. *set_options* is called
        with each socket; None where the listening one passes its options on. *most*: connections
        that may be open at once, since each takes a file descriptor; None for any number.
        *streams*: how many are open streams, which count too. *metrics* counts refusals. *publish*:
        producers may send larger bodies.
        """
        self._header_timeout = header_timeout
        self.tick_seconds = header_timeout / _CHECKS
        self._set_options = set_options
        self._most = most
        self._streams = streams
        self._metrics = metrics or Metrics()
        self.publish = publish
        self._fault_log = RateLimitedLog(_LOG_SECONDS)
        self._limit_log = RateLimitedLog(_LOG_SECONDS)
        self._open: set[Connection] = set()
        # Those without a request under way; the one that has been idle for longest comes first.
        self._idle: dict[Connection, None] = {}
        # Those without a first request.
        self._deadlines: dict[Connection, float] = {}
        self._none_awaited = asyncio.Event()

    def __len__(self) -> int:
        """How many have not sent a request yet."""
        return len(self._deadlines)

    def __contains__(self, connection: object) -> bool:
        """Whether *connection* has not sent a request yet."""
        return connection in self._deadlines

    def opened(self, connection: "Connection", transport: asyncio.BaseTransport) -> None:
        """*connection* was accepted."""
        if self._set_options is not None:
            self._set_options(transport.get_extra_info("socket"))
        now = asyncio.get_running_loop().time()
        self._deadlines[connection] = now + self._header_timeout
        self._none_awaited.clear()
        self._open.add(connection)
        self._idle[connection] = None
        if self._most is not None and len(self._open) + self._streams() > self._most:
            self._cut_longest_idle(self._most)

    def request_received(self, connection: "Connection") -> None:
        """The head of a request has arrived."""
        if connection in self._deadlines:
            self._stop_waiting(connection)
        self._idle.pop(connection, None)

    def all_answered(self, connection: "Connection") -> None:
        """*connection* has no request under way any more."""
        if connection in self._open:
            self._idle[connection] = None

    def closed(self, connection: "Connection") -> None:
        """*connection* has ended, or is a stream now; calling it again changes nothing."""
        self.request_received(connection)
        self._open.discard(connection)

    def refused(self, connection: "Connection", fault: Fault) -> None:
        """*connection* has sent an invalid request."""
        self._metrics.refusals[fault.code] += 1
        if (held_back := self._fault_log.due()) is not None:
            peer = connection.peername
            server_log.info(
                "A connection from %a sent an invalid request (%s) and is closed (%d more since "
                "the last line).",
                peer[0] if isinstance(peer, tuple) else peer,
                fault.code,
                held_back,
            )

    async def wait_idle(self, seconds: float) -> None:
        """Wait at most *seconds* until each has sent its first request; none is accepted now."""
        if self._deadlines:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._none_awaited.wait()

    def tick(self) -> None:
        """Cut connections that are overdue."""
        now = asyncio.get_running_loop().time()
        overdue = [one for one, deadline in self._deadlines.items() if deadline <= now]
        for connection in overdue:
            self._stop_waiting(connection)
            connection.cut()

    def _stop_waiting(self, connection: "Connection") -> None:
        del self._deadlines[connection]
        if not self._deadlines:
            self._none_awaited.set()

    def _cut_longest_idle(self, most: int) -> None:
        oldest = next(iter(self._idle))
        self.closed(oldest)
        oldest.cut()
        self._metrics.refusals["connection_limit"] += 1
        self._limit_log.warning(
            log,
            "%d connections are open, as many as the limit of open files allows: for each new one "
            "the one that has been idle for longest is cut. Raise LimitNOFILE.",
            most,
        )


class Connection(web.RequestHandler):
    """aiohttp's protocol of one connection, with our limits and our form of errors."""

    __slots__ = ("_connections", "_screen", "_stopped", "_unanswered")

    def __init__(self, server: web.Server, connections: Connections) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=KEEPALIVE_SECONDS,
            # Inherited from the listening socket, which saves two system calls a connection.
            tcp_keepalive=False,
            lingering_time=LINGER_SECONDS,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_LINE_BYTES,
            max_headers=MAX_HEADERS,
            # A body of a few bytes could otherwise decompress to any size.
            auto_decompress=False,
            access_log_class=AccessLogger,
            access_log=access_log,
            logger=server_log,
        )
        self._connections = connections
        self._screen = Screen(asyncio.get_running_loop(), publish=connections.publish)
        self._unanswered = 0
        self._stopped = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        super().connection_made(transport)
        self._connections.opened(self, transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Called by the event loop."""
        self._connections.closed(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Called by the event loop; also by aiohttp, without data, to go on with what it has."""
        if not data:
            super().data_received(data)
        for begin in range(0, len(data), PIECE_BYTES):
            if self._stopped:
                return
            piece = data[begin : begin + PIECE_BYTES]
            parsed = self._screen.feed(piece)
            if parsed.fault is not None:
                self._refuse(parsed.fault)
                return
            if parsed.requests:
                self._unanswered += parsed.requests
                self._connections.request_received(self)
            super().data_received(piece[: parsed.length])
            if parsed.length < len(piece):
                # Another protocol, which we do not speak, or a CONNECT: answered, and no more.
                self._stop()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Called by aiohttp after each read of a body, to go on where reading was paused. Where it
        was not, aiohttp would parse nothing, which takes time all the same."""
        if self.transport is None or not self.transport.is_reading():
            super().resume_reading(resume_parser)

    def _stop(self) -> None:
        """Read no more: aiohttp answers the requests so far, then ends the connection."""
        self._stopped = True
        super().close()

    def _refuse(self, fault: Fault) -> None:
        self._connections.refused(self, fault)
        transport = self.transport
        if self._unanswered or transport is None:
            # Ours would get into the middle of an answer that is under way.
            self._stop()
            return
        self._stopped = True
        transport.pause_reading()
        transport.write(raw_answer(fault))
        self.force_close()

    def close(self) -> None:
        """Called by aiohttp when the gateway begins to stop: ends the connection if it is idle.

        A new connection is about to send its first request, which would be lost.
        """
        if self not in self._connections:
            super().close()

    def cut(self) -> None:
        """End the connection at once, without an answer: its client is too slow to read one."""
        if self.transport is not None:
            self.transport.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what failed outside of all middlewares; then the connection is closed.

        Raises:
            ConnectionError: an answer has already begun, or nobody is there to read one.
        """
        if isinstance(exc, ConnectionResetError):
            # The reader has left in the middle of an answer: no error of the gateway's.
            raise exc
        # For its log line, and to raise.
        super().handle_error(request, status, exc, message)
        return final_error(status, "internal_error", INTERNAL_ERROR)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Called by aiohttp with each answer, also with those that no middleware has seen."""
        if isinstance(resp, web.HTTPException) and resp.status == 417:
            message = "Only `Expect: 100-continue` is supported: leave out any other expectation."
            resp = final_error(417, "expectation_failed", message)
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            self._unanswered -= 1
            if not self._unanswered:
                self._connections.all_answered(self)


class ProtocolFactory:
    """What an event loop calls for each connection that it accepts for *server*."""

    def __init__(self, server: web.Server, connections: Connections) -> None:
        self._server = server
        self._connections = connections

    def __call__(self) -> Connection:
        return Connection(self._server, self._connections)

    @property
    def requests_count(self) -> int:
        """Requests so far, for Gunicorn's `--max-requests`."""
        return self._server.requests_count
