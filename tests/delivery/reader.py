"""A tab: follows one execution by the rules of EventSource until it must stop for good.

It reads a bare socket, so that it can read slowly, leave in the middle of a frame, and see every
byte that a gateway wrote. It reconnects after `retry:` (cut short here), sends `Last-Event-ID`, and
ends at 204. Each habit of leaving or being slow is a class of its own.
"""

import asyncio
import random
import socket
from collections.abc import Callable
from urllib.parse import urlencode

from gateway.tools.loadtest.wire import Answer
from tests.conftest import credentials
from tests.delivery.journal import Journal
from tests.harness.raw import reset_on_close
from tests.harness.sse import Seen, SseParser

LONGEST_RETRY = 0.1
"""Seconds: what gateways ask for would make a scenario three times as long."""

_CHUNK = 64 * 1024


class Left(Exception):
    """The reader ends its connection itself."""


class Reader:
    """A tab that reads all it gets. Beginning, habits and requests are drawn from *chance*."""

    receive_buffer = 0
    """Bytes of the kernel's receive buffer; 0 for as many as it likes."""

    def __init__(
        self,
        name: str,
        where: Callable[[], int],
        journal: Journal,
        over: asyncio.Event,
        chance: random.Random,
    ) -> None:
        """*where* gives the port of a gateway, again for each connection; *over* is set when the
        execution has ended."""
        self.name = name
        self.journal = journal
        self.over = over
        self.chance = chance
        self.connections = 0
        self.done = False
        """It was told to stop for good."""
        self._where = where
        self._credentials = credentials(subject=name)
        self._last_event_id = ""
        self._retry = LONGEST_RETRY

    async def run(self) -> None:
        """Follow the execution to its end.

        Raises:
            AssertionError: it has seen what no reader may see.
        """
        try:
            await self._run()
        except AssertionError as complaint:
            complaint.add_note(f"seen by {self.name} on connection {self.connections}")
            raise

    async def _run(self) -> None:
        await self.before_first()
        while not self.done:
            with socket.socket() as sock:
                try:
                    await self._follow(sock)
                except Left:
                    self.leave(sock)
                except ConnectionError:
                    self.journal.disconnected(clean=False)
            await self.between()

    async def before_first(self) -> None:
        """Wait as long as this tab is not open yet."""

    async def between(self) -> None:
        """Wait until the next connection."""
        await asyncio.sleep(min(self._retry, LONGEST_RETRY) * self.chance.uniform(0.5, 1))

    async def pace(self, taken: int) -> int:
        """Wait until this tab reads on, and say how many bytes at most; *taken* is how many bytes
        its connection has brought.

        Raises:
            Left: it does not.
        """
        return _CHUNK

    async def _follow(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        if self.receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer)
            # Loopback's segments are larger than such a buffer: the kernel would then wait for
            # room for one that never comes, and send by its probe timer alone, up to seconds apart.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        self.connections += 1
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self._where()))
        # As browsers do, if the answer lets them: the next request may come on the same connection,
        # and whatever a gateway wrote after the end of a body would be taken for its answer.
        while await self._exchange(sock) and not self.done and self.chance.random() < 0.5:
            await Reader.between(self)

    async def _exchange(self, sock: socket.socket) -> bool:
        """One request and its answer; whether the connection can bring another one."""
        loop = asyncio.get_running_loop()
        self.journal.connecting(self._last_event_id or None)
        await loop.sock_sendall(sock, self._request())
        answer, parser, taken = Answer(), SseParser(), 0
        while not answer.complete:
            data = await loop.sock_recv(sock, await self.pace(taken))
            if not data:
                raise ConnectionResetError
            taken += len(data)
            body = answer.feed(data)
            if answer.status == 200:
                for seen in parser.feed(body):
                    self._take(seen)
            elif answer.status:
                self.journal.refused(answer.status)
                self.done = True
                return False
        self.journal.disconnected(clean=True)
        if answer.closes:
            assert await loop.sock_recv(sock, 1) == b"", "bytes follow after the end of the stream"
        return not answer.closes

    def _take(self, seen: Seen) -> None:
        self.journal.take(seen)
        if seen.id is not None:
            self._last_event_id = seen.id
        if seen.retry is not None:
            self._retry = seen.retry / 1000

    def _request(self) -> bytes:
        """Cursor and credentials stand in headers or, as a native EventSource must, in the URL."""
        headers = {"Host": "gateway", "Accept": "text/event-stream", "Cache-Control": "no-store"}
        query = {}
        if self.chance.random() < 0.5:
            headers |= self._credentials
        else:
            query["Authorization"] = self._credentials["Authorization"]
            query["organization_id"] = self._credentials["X-Organization-ID"]
        # Some SDKs send -1 for "from the beginning".
        cursor = self._last_event_id or self.chance.choice(["", "-1"])
        if cursor and self.chance.random() < 0.5:
            headers["Last-Event-ID"] = cursor
        elif cursor:
            query["last_event_id"] = cursor
        path = f"{self.where}{urlencode(query)}"
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {text}" for name, text in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode()

    @property
    def where(self) -> str:
        """The path of its stream, and what its query begins with."""
        return f"/api/v1/sse/executions/{self.journal.execution_id}/stream?"

    def leave(self, sock: socket.socket) -> None:
        """End the connection: half of the time with a RST, as when a process is killed."""
        if self.chance.random() < 0.5:
            reset_on_close(sock)
