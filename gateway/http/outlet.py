"""The writing end of one stream: an open connection once aiohttp has let go of it.

It is a bare `asyncio.Protocol`. The feed's bursts go straight to the transport while the reader
keeps up; once the kernel has not taken everything, all that comes waits in the subscriber's queue
until it has. So a live stream has no task, no coroutine and no request: only a held one has a task,
which catches up. It decides nothing about events: that is the subscriber's.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gateway.events.batch import EventBatch, as_chunk
from gateway.events.sse_encoder import CloseReason
from gateway.fanout.subscriber import Subscriber
from gateway.http.stalls import StallWatch

log = logging.getLogger(__name__)

_LAST_CHUNK = b"0\r\n\r\n"
"""RFC 9112, section 7.1: without it the body was cut off."""


@dataclass(frozen=True, slots=True)
class Care:
    """What all outlets of one gateway share."""

    stalls: StallWatch
    catch_up: Callable[[Subscriber, "Outlet"], Awaitable[None]]
    """Brings a held subscriber back to live; raises ConnectionResetError when its reader leaves."""


class Outlet(asyncio.Protocol):
    """Writes one stream's bytes to its connection, and is told when that has ended."""

    __slots__ = (
        "_care", "_catching_up", "_chunked", "_drained", "_leave", "_subscriber", "_transport",
        "behind_since", "written",
    )  # fmt: skip

    def __init__(
        self,
        subscriber: Subscriber,
        care: Care,
        leave: Callable[[int], None],
        *,
        chunked: bool,
        written: int,
    ) -> None:
        """*leave* is called once, when the connection has ended, with the bytes of the body; of
        these *written* were written before. *chunked*: not for HTTP/1.0."""
        self._subscriber = subscriber
        self._care = care
        self._leave = leave
        self._chunked = chunked
        self._transport: asyncio.Transport | None = None
        self.behind_since: float | None = None
        """Loop time in seconds since when the kernel holds bytes that the reader has not taken."""
        self.written = written
        """Bytes of the body so far, with the framing of all chunks but the first."""
        self._catching_up: asyncio.Task[None] | None = None
        self._drained: asyncio.Future[None] | None = None

    def take_over(self, transport: asyncio.Transport, rest: bytes) -> None:
        """Serve *transport* from now on; its response has begun and no one else writes to it.
        *rest* of the first page comes before all else."""
        self._transport = transport
        transport.set_protocol(self)
        # Paused as soon as one byte is left over, resumed when none is: the transport itself tells
        # who is behind, and nobody has to ask before or after each write.
        transport.set_write_buffer_limits(high=0)
        if rest:
            self._put(transport, rest)
        if transport.get_write_buffer_size() and self.behind_since is None:
            self.pause_writing()
        self._subscriber.attach(self)

    @property
    def taken(self) -> int:
        """Bytes that the kernel has taken, of those that were written."""
        waiting = self._transport.get_write_buffer_size() if self._transport is not None else 0
        return self.written - waiting

    def offer(self, burst: EventBatch) -> bool:
        """See `Sink.offer`: the way of nearly every event."""
        transport = self._transport
        if (
            self.behind_since is not None
            or self._catching_up is not None
            or transport is None
            or transport.is_closing()
        ):
            return False
        data = burst.chunk if self._chunked else burst.data
        self.written += len(data)
        transport.write(data)
        return True

    def wake(self) -> None:
        """See `Sink.wake`: write what waits, then catch up if held, or end if ended."""
        transport, subscriber = self._transport, self._subscriber
        while (
            self.behind_since is None
            and self._catching_up is None
            and transport is not None
            and not transport.is_closing()
        ):
            if data := subscriber.take():
                self._put(transport, data)
            elif subscriber.ended is not None:
                self._finish(transport)
            elif subscriber.held:
                self._catching_up = asyncio.get_running_loop().create_task(self._catch_up())
            else:
                return

    async def write(self, data: bytes) -> None:
        """Write *data*, for whoever catches up; waits until the kernel has taken all of it.

        Raises:
            ConnectionResetError: the reader has gone, or was cut off.
        """
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError
        self._put(self._transport, data)
        while self.behind_since is not None:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained

    def abort(self) -> None:
        """End the connection at once, without a word."""
        if self._transport is not None:
            self._transport.abort()

    def stalled(self) -> None:
        """See `stalls.Writer`: a reader that does not read gets no last words."""
        self._subscriber.ended = CloseReason.SLOW_READER
        self.abort()

    def data_received(self, data: bytes) -> None:
        """A reader has nothing to say; the response has announced the connection's end."""

    def pause_writing(self) -> None:
        """Called by the transport: the kernel has not taken everything."""
        self.behind_since = asyncio.get_running_loop().time()
        self._care.stalls.behind(self)

    def resume_writing(self) -> None:
        """Called by the transport: the kernel has taken everything."""
        self.behind_since = None
        self._care.stalls.even(self)
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None
        self.wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the transport once, however the connection has ended."""
        self._transport = None
        self._subscriber.detach()
        self._care.stalls.even(self)
        if self._catching_up is not None:
            self._catching_up.cancel()
        self._leave(self.written)

    def _put(self, transport: asyncio.Transport, data: bytes) -> None:
        framed = as_chunk(data) if self._chunked else data
        self.written += len(framed)
        transport.write(framed)

    def _finish(self, transport: asyncio.Transport) -> None:
        if self._chunked:
            self.written += len(_LAST_CHUNK)
            transport.write(_LAST_CHUNK)
        # Sends what is left first; a reader that does not take it is the stall watch's.
        transport.close()

    async def _catch_up(self) -> None:
        try:
            await self._care.catch_up(self._subscriber, self)
        except ConnectionResetError:
            pass
        except Exception:
            log.exception("A stream of %s failed and is cut off.", self._subscriber.execution_id)
            self.abort()
        self._catching_up = None
        self.wake()
