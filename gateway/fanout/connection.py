"""The connection of one open stream: what is written to it, what waits, and what both came to.

It is the protocol of the event loop once aiohttp has let go of the transport. While its reader
keeps up, everything is written at once; while the kernel has not taken everything, what comes waits
in a queue. What the stream shows is decided by `gateway.fanout.subscriber`.
"""

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from gateway.events.batch import as_chunk
from gateway.fanout.log import Log

if TYPE_CHECKING:
    from gateway.fanout.stalls import StallWatch

_LAST_CHUNK = b"0\r\n\r\n"
"""RFC 9112, section 7.1: without it the body was cut off."""


class StreamConnection(asyncio.Protocol, ABC):
    """Writes the bytes of one stream, and counts them."""

    __slots__ = (
        "_blocked_since", "_bytes", "_events", "_keeps_up", "_log", "_queue", "_queue_bytes",
        "_queue_events", "_stalls", "_transport", "_written_at", "chunked",
    )  # fmt: skip

    def __init__(self, log: Log, stalls: "StallWatch") -> None:
        self._log = log
        self._stalls = stalls
        self._transport: asyncio.Transport | None = None
        self.chunked = True
        """Whether its body goes in chunks: not for HTTP/1.0."""
        self._keeps_up = False
        """Whether the log writes to it: at the tip and not blocked. Then what is counted here
        lacks what the log has written."""
        self._events = self._bytes = 0
        self._written_at = asyncio.get_running_loop().time()
        self._blocked_since: float | None = None
        self._queue: list[bytes] | None = None
        self._queue_events = self._queue_bytes = 0

    @abstractmethod
    def _pump(self) -> None:
        """Do what is due until nothing is, or the reader is blocked."""

    @abstractmethod
    def _step_aside(self) -> None:
        """It is blocked from now on: the log must not write to it."""

    @abstractmethod
    def abort(self) -> None:
        """Cut the connection."""

    def _attach(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        transport.set_protocol(self)
        # Paused as soon as one byte is left over, resumed when none is: the transport itself tells
        # who is blocked, and nobody has to ask before or after each write.
        transport.set_write_buffer_limits(high=0)
        if transport.get_write_buffer_size() and self._blocked_since is None:
            self.pause_writing()

    def data_received(self, data: bytes) -> None:
        """A reader has nothing to say; the response has announced the connection's end."""

    def pause_writing(self) -> None:
        """The kernel has not taken everything. The loop may call this inside a write."""
        self._blocked_since = asyncio.get_running_loop().time()
        self._stalls.behind(self)
        self._step_aside()

    def resume_writing(self) -> None:
        """The kernel has taken everything."""
        self._blocked_since = None
        self._stalls.even(self)
        self._pump()

    @property
    def taken(self) -> int:
        """Bytes that the kernel has taken, of those that were written."""
        waiting = self._transport.get_write_buffer_size() if self._transport is not None else 0
        return self._totals()[1] - waiting

    def stalled(self) -> None:
        """A reader that does not read gets no last words."""
        self.abort()

    def _is_gone(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    def _settle(self) -> None:
        """The log has written to it until now."""
        self._events, self._bytes, self._written_at = self._totals()
        self._keeps_up = False

    def _totals(self) -> tuple[int, int, float]:
        """Events, bytes, and the loop time of the last frame."""
        live = self._log.live
        if not self._keeps_up:
            return self._events, self._bytes, self._written_at
        size = live.chunked_bytes if self.chunked else live.plain_bytes
        written_at = max(self._written_at, live.written_at)
        return self._events + live.events, self._bytes + size, written_at

    def _put(self, data: bytes, now: float) -> None:
        """Write *data*, whole frames, at once or when what is before it was taken."""
        self._written_at = now
        if self._queue is None and self._blocked_since is None and not self._is_gone():
            self._write(data)
            return
        self._queue_bytes += len(data)
        if self._queue is None:
            # An empty list would cost every idle tab its 56 bytes and more.
            self._queue = [data]
        else:
            self._queue.append(data)

    def _write_queue(self) -> bool:
        """Write what waits, as one; False if nothing does."""
        if self._queue is None:
            return False
        data = b"".join(self._queue)
        self._queue, self._queue_events, self._queue_bytes = None, 0, 0
        self._write(data)
        return True

    def _finish(self) -> None:
        if self.chunked:
            self._write(_LAST_CHUNK, framed=True)
        if self._transport is not None:
            # Sends what is left first; a reader that does not take it is the stall watch's.
            self._transport.close()

    def _write(self, data: bytes, *, framed: bool = False) -> None:
        """The only one that writes, but for the log's loop."""
        if self._transport is None:
            return
        if self.chunked and not framed:
            data = as_chunk(data)
        self._bytes += len(data)
        try:
            self._transport.write(data)
        except Exception:
            # As the loop's own: on a handle that was closed a moment before.
            self._bytes -= len(data)
            self.abort()
