"""What a client's connection may do before anybody knows who it is.

aiohttp sets no limit to the time that a connection takes for its first request, nor to how many
there are, and keeps what it cannot parse. All that is set right here, together with
`gateway.http.screen`. What a parsed request may contain is decided by
`gateway.http.request_limits`.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile

from aiohttp import web

from gateway.http.access_log import AccessLogger, access_log, server_log
from gateway.http.refusal import on_the_wire, refusal
from gateway.http.screen import MAX_HEADERS, MAX_LINE_BYTES, PIECE_BYTES, Fault, Screen
from gateway.log import RateLimitedLog
from gateway.metrics import Metrics

log = logging.getLogger(__name__)

KEEPALIVE_SECONDS = 75.0
"""Seconds that a connection may be idle, or busy with the next request's headers, after a response.
Longer than nginx keeps one to its upstream (60), so that nginx never sends a request into a
connection that is just being closed, which would be a 502."""

LINGER_SECONDS = 1.0
"""Seconds for which a refused body is still read, since closing at once would let the kernel
discard the refusal before the client has read it."""

_CHECKS = 10
"""Checks per header timeout: a connection is cut at most a tenth of it late."""


_LOG_SECONDS = 60.0
"""Seconds between two lines about connections that were cut or refused."""


@dataclass(frozen=True, slots=True)
class Room:
    """How many connections may be open at once, since each takes a file descriptor."""

    most: int
    streams: Callable[[], int]
    """How many of them are streams, which count although they are no `Connection` any more."""


class Connections:
    """Makes the protocol of each connection, and cuts those that bring no request in time.

    An open stream is none of them any more, and costs nothing here. `run` is the one task for all.
    """

    def __init__(
        self,
        header_timeout: float,
        keepalive_timeout: float = KEEPALIVE_SECONDS,
        set_options: Callable[[socket.socket], None] | None = None,
        room: Room | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        """Both in seconds: for the headers of the first request, and between two requests.

        *set_options* is given each socket; None where the listening one has passed its options on.
        *room*: None for any number of connections. *metrics* counts refusals.
        """
        self._header_timeout = header_timeout
        self.keepalive_timeout = keepalive_timeout
        self._set_options = set_options
        self._room = room
        self._metrics = metrics or Metrics()
        self._garbage = RateLimitedLog(_LOG_SECONDS)
        self._crowd = RateLimitedLog(_LOG_SECONDS)
        self._open: set[Connection] = set()
        # Those without a request under way, the one that has been so for longest first.
        self._idle: dict[Connection, None] = {}
        # In the order of their deadlines, since all get the same time.
        self._deadlines: dict[Connection, float] = {}
        self._all_arrived = asyncio.Event()

    def __len__(self) -> int:
        """How many have not brought a request yet."""
        return len(self._deadlines)

    def began(self, connection: "Connection", transport: asyncio.BaseTransport) -> None:
        """*connection* was accepted."""
        if self._set_options is not None:
            self._set_options(transport.get_extra_info("socket"))
        now = asyncio.get_running_loop().time()
        self._deadlines[connection] = now + self._header_timeout
        self._all_arrived.clear()
        self._open.add(connection)
        self._idle[connection] = None
        room = self._room
        if room is not None and len(self._open) + room.streams() > room.most:
            self._make_room(room.most)

    def _make_room(self, most: int) -> None:
        """Cut the connection that has asked for nothing for longest: maybe the newest one."""
        oldest = next(iter(self._idle))
        self.gone(oldest)
        oldest.cut()
        self._metrics.refusals["connection_limit"] += 1
        if (held_back := self._crowd.due()) is not None:
            log.warning(
                "%d connections are open, as many as the limit of open files allows: for each new "
                "one the one that has been idle for longest is cut (%d more since the last line). "
                "Raise LimitNOFILE.",
                most,
                held_back,
            )

    def busy(self, connection: "Connection") -> None:
        """*connection* has brought a request."""
        self.has_request(connection)
        self._idle.pop(connection, None)

    def free(self, connection: "Connection") -> None:
        """*connection* has been answered."""
        if connection in self._open:
            self._idle[connection] = None

    def gone(self, connection: "Connection") -> None:
        """*connection* has ended, or is a stream now; it may be told more than once."""
        self.has_request(connection)
        self._idle.pop(connection, None)
        self._open.discard(connection)

    def refused(self, connection: "Connection", fault: Fault) -> None:
        """*connection* has sent what is no request."""
        self._metrics.refusals[fault.value] += 1
        if (held_back := self._garbage.due()) is not None:
            peer = connection.peername
            server_log.info(
                "A connection from %a sent what is no valid request (%s); it is closed (%d more "
                "since the last line).",
                peer[0] if isinstance(peer, tuple) else peer,
                fault.value,
                held_back,
            )

    def __contains__(self, connection: object) -> bool:
        """Whether *connection* has not brought a request yet."""
        return connection in self._deadlines

    def has_request(self, connection: "Connection") -> None:
        """Watch *connection* no longer; it may be told more than once."""
        self._deadlines.pop(connection, None)
        if not self._deadlines:
            self._all_arrived.set()

    async def wait_idle(self, seconds: float) -> None:
        """Wait until all have brought their requests, at most *seconds*; none is accepted now."""
        if self._deadlines:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._all_arrived.wait()

    async def run(self) -> None:
        """Cut those that are overdue, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._header_timeout / _CHECKS)
            for connection in self._overdue(loop.time()):
                self.has_request(connection)
                connection.cut()

    def _overdue(self, now: float) -> list["Connection"]:
        begun = takewhile(lambda entry: entry[1] <= now, self._deadlines.items())
        return [connection for connection, _ in begun]


class Connection(web.RequestHandler):
    """aiohttp's protocol of one connection, with our limits and our form of a refusal."""

    __slots__ = ("_connections", "_screen", "_stopped", "_unanswered")

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
        self._screen = Screen(asyncio.get_running_loop())
        self._unanswered = 0
        self._stopped = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        super().connection_made(transport)
        self._connections.began(self, transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Called by the event loop."""
        self._connections.gone(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Called by the event loop; and by aiohttp, with nothing, to go on with what it has."""
        if not data:
            super().data_received(data)
        for begin in range(0, len(data), PIECE_BYTES):
            if self._stopped:
                return
            piece = data[begin : begin + PIECE_BYTES]
            seen = self._screen.look(piece)
            if seen.fault is not None:
                self._refuse(seen.fault)
                return
            if seen.requests:
                self._unanswered += seen.requests
                self._connections.busy(self)
            super().data_received(piece[: seen.length])
            if seen.length < len(piece):
                # Another protocol, which we do not speak, or a CONNECT: answered, and no more.
                self._stop()

    def _stop(self) -> None:
        """Take no more: what was asked is answered, then aiohttp ends the connection."""
        self._stopped = True
        super().close()

    def _refuse(self, fault: Fault) -> None:
        """Answer what is no request, and end the connection."""
        self._connections.refused(self, fault)
        transport = self.transport
        if self._unanswered or transport is None:
            # An answer is under way, which ours would get into the middle of.
            self._stop()
            return
        self._stopped = True
        transport.pause_reading()
        transport.write(on_the_wire(fault))
        self.force_close()

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
        """The answer to what failed outside of all middlewares; then the connection is closed.

        Raises:
            ConnectionError: an answer was begun already.
        """
        # For its log line, and to raise.
        super().handle_error(request, status, exc, message)
        return refusal(status, "internal_error", "The gateway failed; its log says why.")

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Called by aiohttp with each answer, also with those that no middleware has seen."""
        if isinstance(resp, web.HTTPException) and resp.status == 417:
            resp = refusal(
                417, "expectation_failed", "Only `Expect: 100-continue` can be met: leave it out."
            )
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            self._unanswered -= 1
            if not self._unanswered:
                self._connections.free(self)


class ProtocolFactory:
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
