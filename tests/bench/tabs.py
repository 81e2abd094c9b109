"""Many streams read in one process at the least cost: events are counted, and timed if stamped.

The stream is not checked: the tests and `sse-gateway loadtest` do that.
"""

import asyncio
import time
from array import array
from collections.abc import Iterable, Iterator
from typing import cast

from tests.harness.raw import reset_on_close

AT_ONCE = 128
"""Tabs in the act of opening."""

STAMP = b'"ns":'
"""What stands before the time (ns of the monotonic clock) at which an event was published."""


class Crowd:
    """All tabs of one gateway, and what they have seen together."""

    def __init__(self, host: str, port: int, headers: Iterator[str]) -> None:
        """*headers*: of one request after the other."""
        self._host, self._port, self.headers = host, port, headers
        self.tabs: list[CountingTab] = []
        self.events = 0
        self.latencies = array("d")
        """Seconds from PUBLISH to a tab's socket, of events with a stamp."""
        self._progress = asyncio.Event()

    def request(self, execution: str, cursor: str = "") -> bytes:
        more = f"Last-Event-ID: {cursor}\r\n" if cursor else ""
        return (
            f"GET /api/v1/sse/executions/{execution}/stream HTTP/1.1\r\nHost: bench\r\n"
            "Accept: text/event-stream\r\nCache-Control: no-cache\r\n"
            f"{next(self.headers)}{more}\r\n"
        ).encode()

    async def open(self, executions: Iterable[str], replayed: int = 0) -> None:
        """A tab for each of *executions*, until each has its *replayed* events."""
        waiting = iter(executions)

        async def one_by_one() -> None:
            for execution in waiting:
                tab = CountingTab(self, execution)
                async with asyncio.timeout(60):
                    await tab.connect()
                    # In the same step of the loop: a quick answer must find it waiting.
                    await tab.opened(replayed)
                self.tabs.append(tab)

        await asyncio.gather(*(one_by_one() for _ in range(AT_ONCE)))

    async def connect(self, tab: "CountingTab") -> None:
        await asyncio.get_running_loop().create_connection(lambda: tab, self._host, self._port)

    def saw(self, events: int) -> None:
        self.events += events
        self._progress.set()

    async def seen(self, events: int, seconds: float = 60) -> None:
        """Wait until *events* have come to all tabs together."""
        async with asyncio.timeout(seconds):
            while self.events < events:
                self._progress.clear()
                await self._progress.wait()

    def close(self) -> None:
        """Close all by RST: closed properly, ten thousand sockets would wait for a minute each."""
        for tab in self.tabs:
            tab.reset()
        self.tabs.clear()


class CountingTab(asyncio.Protocol):
    """One stream, read without parsing."""

    __slots__ = (
        "_crowd",
        "_opened",
        "_rest",
        "_wanted",
        "execution",
        "ids",
        "last",
        "lost",
        "transport",
    )

    def __init__(self, crowd: Crowd, execution: str) -> None:
        self._crowd = crowd
        self.execution = execution
        self.transport: asyncio.Transport | None = None
        self._opened: asyncio.Future[None] | None = None
        self._wanted = 0
        self._rest = b""
        self.ids = 0
        self.last = b""
        self.lost: asyncio.Future[None] | None = None

    async def connect(self, cursor: str = "") -> None:
        await self._crowd.connect(self)
        assert self.transport is not None
        self.transport.write(self._crowd.request(self.execution, cursor))

    async def opened(self, replayed: int = 0) -> None:
        """Wait until `connected` has come, and *replayed* events."""
        self._wanted = replayed
        self._opened = asyncio.get_running_loop().create_future()
        await self._opened

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        # Whole frames only: a burst to one tab is cut anywhere, in the middle of a stamp too.
        data = self._rest + data
        end = data.rfind(b"\n\n") + 2
        if end < 2:
            self._rest = data
            return
        # With the line end before what follows: by that an `id` line is counted.
        self._rest, data = data[end - 1 :], data[:end]
        # `connected` repeats the cursor, before its own name.
        begin = data.find(b"\nevent: connected\n") if self._opened is not None else 0
        events = data.count(b"\nid: ", max(begin, 0))
        self.ids += events
        if self._opened is not None and self.ids >= self._wanted and b"\n\n" in data:
            self._opened.set_result(None)
            self._opened = None
        if events:
            now = time.monotonic_ns()
            begin = data.find(STAMP)
            while begin >= 0:
                begin += len(STAMP)
                stamp = int(data[begin : data.index(b"}", begin)])
                self._crowd.latencies.append((now - stamp) / 1e9)
                begin = data.find(STAMP, begin)
            begin = data.rindex(b"\nid: ") + 5
            self.last = data[begin : data.index(b"\n", begin)]
            self._crowd.saw(events)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self._opened is not None:
            self._opened.set_exception(exc or ConnectionResetError("the stream ended at once"))
            self._opened = None
        if self.lost is not None:
            self.lost.set_result(None)
            self.lost = None

    def reset(self) -> None:
        if self.transport is not None:
            reset_on_close(self.transport.get_extra_info("socket"))
            self.transport.abort()
