"""The connection of one open stream: what is written to it, what waits, and what both came to.

It is the protocol of the event loop once aiohttp has let go of the transport. While its reader
keeps up, everything is written at once; while the kernel has not taken everything, what comes waits
in a queue. What the stream shows is decided by its owner, `gateway.fanout.subscriber`.
"""

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from gateway.events.batch import as_chunk

if TYPE_CHECKING:
    from gateway.fanout.streams import Streams
    from gateway.fanout.subscriber import Subscriber

_LAST_CHUNK = b"0\r\n\r\n"
"""RFC 9112, section 7.1: without it the body was cut off."""


class Written(NamedTuple):
    """What a stream was given: events, and bytes of the body with its framing."""

    events: int
    bytes: int


@dataclass(slots=True)
class Queue:
    """What waits for a reader, and how much it is."""

    frames: list[bytes] = field(default_factory=list)
    events: int = 0
    bytes: int = 0


class Connection(asyncio.Protocol):
    """Writes the bytes of one stream, in order, and counts them."""

    __slots__ = (
        "_bytes", "_owner", "_streams", "_written_at", "blocked_since", "chunked", "events",
        "queue", "transport",
    )  # fmt: skip

    def __init__(self, owner: "Subscriber") -> None:
        self._owner: Subscriber | None = owner
        self.transport: asyncio.Transport | None = None
        self.chunked = True
        """Whether the body goes in chunks: not for HTTP/1.0."""
        self._streams: Streams | None = None
        """Where the log writes to it: at the tip and not blocked. Then what is counted here lacks
        what the log has written."""
        self.events = self._bytes = 0
        self._written_at = asyncio.get_running_loop().time()
        self.blocked_since: float | None = None
        """Loop time in seconds since when the kernel has not taken everything."""
        # Made when first needed: it would cost every idle tab 150 bytes.
        self.queue: Queue | None = None

    def attach(self, transport: asyncio.Transport, written: int, *, chunked: bool) -> None:
        """Be the protocol of *transport*, to which *written* bytes of the body went already."""
        self.transport, self.chunked, self._bytes = transport, chunked, written
        transport.set_protocol(self)
        # Paused as soon as one byte is left over, resumed when none is: the transport itself tells
        # who is blocked, and nobody has to ask before or after each write.
        transport.set_write_buffer_limits(high=0)
        if transport.get_write_buffer_size() and self.blocked_since is None:
            self.pause_writing()

    @property
    def is_writable(self) -> bool:
        """Whether the reader takes more."""
        return self.blocked_since is None and not (
            self.transport is None or self.transport.is_closing()
        )

    # What is written.

    def put(self, data: bytes, events: int = 0) -> None:
        """Write *data*, whole frames with so many *events*, at once or after what waits."""
        self.events += events
        self._written_at = asyncio.get_running_loop().time()
        if self.queue is None and self.is_writable:
            self.write(data)
            return
        queue = self.queue = self.queue or Queue()
        queue.frames.append(data)
        queue.events += events
        queue.bytes += len(data)

    def write_queue(self) -> bool:
        """Write what waits, as one; False if nothing does."""
        if self.queue is None:
            return False
        queue, self.queue = self.queue, None
        self.write(b"".join(queue.frames))
        return True

    def write(self, data: bytes, *, framed: bool = False) -> None:
        """The only one that writes, but for the log's loop."""
        if self.transport is None:
            return
        if self.chunked and not framed:
            data = as_chunk(data)
        self._bytes += len(data)
        try:
            self.transport.write(data)
        except Exception:
            # As the log's loop: on a handle that was closed a moment before.
            self.fail(0, len(data))

    def fail(self, events: int, size: int) -> None:
        """The last write, of so many *events* and bytes, went wrong."""
        if self._owner is not None:
            self._owner.abort()
        self.events -= events
        self._bytes -= size

    def finish(self) -> None:
        """End the response and the connection, after all that was written."""
        if self.chunked:
            self.write(_LAST_CHUNK, framed=True)
        if self.transport is not None:
            # Sends what is left first; a reader that does not take it is the stall watch's.
            self.transport.close()

    def over(self, written: int) -> None:
        """Its stream is over; *written* bytes went elsewhere."""
        self._bytes += written
        # An object that refers to itself waits for the collector.
        self._owner = self.queue = None

    # What it came to.

    @property
    def keeps_up(self) -> bool:
        """Whether the log writes to it."""
        return self._streams is not None

    def keep_up(self, streams: "Streams") -> None:
        """The log writes to it from now on, and counts."""
        self.events -= streams.events
        self._bytes -= streams.size(chunked=self.chunked)
        self._streams = streams

    def settle(self) -> None:
        """The log has written to it until now."""
        self._written_at = self.written_at
        self.events, self._bytes = self.written
        self._streams = None

    @property
    def written(self) -> Written:
        """All that it was given."""
        streams = self._streams
        if streams is None:
            return Written(self.events, self._bytes)
        size = streams.size(chunked=self.chunked)
        return Written(self.events + streams.events, self._bytes + size)

    @property
    def written_at(self) -> float:
        """Loop time in seconds of the last frame that was written or queued."""
        live = self._streams.written_at if self._streams is not None else 0.0
        return max(self._written_at, live)

    # For the stall watch.

    @property
    def taken(self) -> int:
        """Bytes that the kernel has taken, of those that were written."""
        waiting = self.transport.get_write_buffer_size() if self.transport is not None else 0
        return self.written.bytes - waiting

    def stalled(self) -> None:
        """Its reader has taken nothing for the write timeout."""
        if self._owner is not None:
            self._owner.stalled()

    # For the event loop.

    def data_received(self, data: bytes) -> None:
        """A reader has nothing to say; the response has announced the connection's end."""

    def pause_writing(self) -> None:
        """The kernel has not taken everything. The loop may call this inside a write."""
        self.blocked_since = asyncio.get_running_loop().time()
        if self._owner is not None:
            self._owner.blocked()

    def resume_writing(self) -> None:
        """The kernel has taken everything."""
        self.blocked_since = None
        if self._owner is not None:
            self._owner.unblocked()

    def connection_lost(self, exc: Exception | None) -> None:
        """However the connection has ended."""
        self.transport = None
        if self._owner is not None:
            self._owner.lost()
