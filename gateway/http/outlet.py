"""The writing end of one stream, and the watch over readers that do not read.

`StreamResponse.write` waits for a reader without end. The stall watch aborts a connection that has
taken nothing for the write timeout; nobody writes to it again, as aiohttp requires. Neither knows
what the bytes mean.
"""

import asyncio

from aiohttp import web

from gateway.events.reasons import CloseReason
from gateway.fanout.subscriber import Subscriber

_CHECKS = 10
"""Checks per write timeout: a stalled reader is closed at most a tenth of it late."""


class StallWatch:
    """Aborts streams whose reader takes nothing for *timeout* seconds; `run` is its one task."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._behind: dict[Outlet, tuple[int, float]] = {}

    def behind(self, outlet: "Outlet") -> None:
        """*outlet* has bytes that its reader has not taken yet."""
        if outlet not in self._behind:
            self._behind[outlet] = (outlet.taken, asyncio.get_running_loop().time())

    def even(self, outlet: "Outlet") -> None:
        """*outlet* has nothing left to send, or is gone."""
        self._behind.pop(outlet, None)

    async def run(self) -> None:
        """Check those that are behind, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._timeout / _CHECKS)
            self._check(loop.time())

    def _check(self, now: float) -> None:
        for outlet, (taken, since) in list(self._behind.items()):
            if outlet.buffered == 0:
                self.even(outlet)
            elif outlet.taken > taken:
                self._behind[outlet] = (outlet.taken, now)
            elif now - since >= self._timeout:
                self.even(outlet)
                outlet.abort()


class Outlet:
    """Writes one stream's bytes to its response."""

    __slots__ = ("_response", "_stalls", "_subscriber", "_transport", "_written")

    def __init__(
        self,
        response: web.StreamResponse,
        transport: asyncio.Transport,
        subscriber: Subscriber,
        stalls: StallWatch,
    ) -> None:
        self._response = response
        self._transport = transport
        self._subscriber = subscriber
        self._stalls = stalls
        self._written = 0

    @property
    def buffered(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return self._transport.get_write_buffer_size()

    @property
    def taken(self) -> int:
        """Bytes that the kernel has taken, but for some bytes of framing."""
        return self._written - self.buffered

    async def write(self, data: bytes) -> None:
        """Write *data*; waits while the reader is more than 64 KiB behind.

        Raises:
            ConnectionResetError: the reader has gone, or was aborted by the stall watch.
        """
        self._written += len(data)
        # Before the write, which may not return until the stall watch has aborted it.
        self._stalls.behind(self)
        try:
            await self._response.write(data)
        finally:
            if self.buffered == 0 or self._transport.is_closing():
                self._stalls.even(self)

    def abort(self) -> None:
        """Cut the connection at once: a reader that does not read gets no last words."""
        self._subscriber.ended = CloseReason.SLOW_READER
        self._transport.abort()
